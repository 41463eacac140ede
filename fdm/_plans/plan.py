"""Plans: the order of an epoch, and the example ids of each step of a rank, from values alone."""

from collections.abc import Iterable, Iterator
from typing import Any, Self

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import index as checked_index
from .._errors import DataError, UnknownNameError, unknown
from .._orders.by_length import ByLength
from .._orders.lengths import Layout
from .._orders.mixed import drawn
from .._orders.order import Order
from .._pipeline import Pipeline
from .._stages.stage import Batch
from .epochs import Epochs, MixedEpochs
from .rows import Rows
from .steps import Steps, StepsByLength, steps_across_world


def check_names(p: Pipeline, splits: Iterable[str]) -> None:
    """Raise `UnknownNameError` for a stage that is `.on` a split which is not there."""
    names = list(splits)
    for number, stage in enumerate(p.stages):
        for name in getattr(stage, "splits", ()):
            if name not in names:
                msg = f"stage {number} ({stage.kind}): {unknown('split', name, names)}"
                raise UnknownNameError(msg)


def planned(  # noqa: PLR0917 - all that decides a plan
    epochs: Epochs | MixedEpochs, batch: Batch, layout: Layout | None, epoch: int, start: int, world_size: int
) -> tuple[Order, Steps | StepsByLength]:
    """The order of an epoch and its steps from example `start` on; `layout` is that of a batch by length.

    Raises `DataError` for a batch smaller than the world.
    """
    order = epochs.order(epoch)
    if layout is not None and isinstance(epochs, Epochs):
        keys = epochs.shuffling()
        by_length = ByLength(epochs.as_they_come(), layout, None if keys is None else keys.of(epoch))
        return by_length, StepsByLength.of(by_length, start, world_size)
    return order, steps_of(batch, start, order.size, world_size, is_strided=epochs.is_strided)


def steps_of(batch: Batch, start: int, stop: int, world_size: int, *, is_strided: bool = False) -> Steps:
    """The steps of the examples `start` to `stop` of an epoch. Raises `DataError` for a batch smaller than the world."""
    if batch.across == "rank":
        return Steps(start, stop, batch.size, world_size, batch.drop_last, is_strided=is_strided)
    if batch.size < world_size:
        msg = (
            f"batch: {batch.size} examples across a world of {world_size} ranks leave ranks without any in every step; "
            f"let the batch have at least {world_size}, or use fewer ranks"
        )
        raise DataError(msg)
    return steps_across_world(start, stop, batch.size, world_size, batch.drop_last, is_strided=is_strided)


def rows_at(order: Order, positions: NDArray[np.int64]) -> Rows:
    """The examples at these positions of an order."""
    ids, draws = drawn(order, positions)
    return Rows(_tensor(ids), torch.from_numpy(positions), None if draws is None else _tensor(draws))


@attrs.frozen(eq=False)
class Plan:
    """Which examples are in which step of an epoch, for one rank: the steps `first` to `last` of all that there are."""

    order: Order
    steps: Steps | StepsByLength
    rank: int
    first: int
    last: int

    @classmethod
    def of(cls, order: Order, steps: Steps | StepsByLength, rank: int) -> Self:
        """The plan of all steps in which `rank` has examples."""
        return cls(order, steps, rank, 0, steps.count_of(rank))

    def __len__(self) -> int:
        return self.last - self.first

    def part(self, first: int, last: int) -> Self:
        """The plan of some of its steps, counted from its own first one."""
        return attrs.evolve(self, first=self.first + first, last=self.first + max(first, last))

    def alone(self, step: int) -> Self:
        """The plan of one step, counted from either end. Raises `IndexError` for one that is not there."""
        number = within(step, len(self))
        return self.part(number, number + 1)

    @property
    def ends_epoch(self) -> bool:
        """Whether its last step is the epoch's last one."""
        return self.last == self.steps.count_of(self.rank)

    @property
    def is_even(self) -> bool:
        """Whether all ranks have the same number of steps: unless there are fewer examples than ranks."""
        return self.steps.count_of(self.steps.world_size - 1) == self.steps.count

    def examples_before(self, step: int) -> int:
        """How many examples of the epoch come before a step, over all ranks; the start of the next one after the last."""
        step += self.first
        return self.steps.bounds(step)[0] if step < self.steps.count else self.steps.start

    def rows(self) -> Iterator[Rows]:
        """The examples of its steps, from one look-up for all."""
        if not len(self):
            return iter(())
        lows, sizes = self.steps.shards(self.first, self.last, self.rank)
        apart = self.steps.stride
        positions = np.arange(sizes.sum()) - np.repeat(sizes.cumsum() - sizes, sizes)
        positions = (positions if apart == 1 else positions * apart) + np.repeat(lows, sizes)
        ids, draws = drawn(self.order, positions)
        places = lows.tolist() if apart == 1 else torch.split(torch.from_numpy(positions), sizes.tolist())
        rows: Iterator[Rows] = map(Rows, torch.split(_tensor(ids), sizes.tolist()), places)
        if draws is not None:
            each = torch.split(_tensor(draws), sizes.tolist())
            rows = (these._replace(draws=own) for these, own in zip(rows, each, strict=True))
        if isinstance(self.steps, StepsByLength):
            edges = self.steps.edges[self.first : self.last].tolist()
            rows = (these._replace(edge=edge) for these, edge in zip(rows, edges, strict=True))
        return rows

    def blocks(self) -> Iterator["Plan"]:
        """Its steps in parts that are looked up at once: many in each, but one in the first, whose batch shall not wait."""
        step, until = 0, min(1, len(self))
        while step < len(self):
            yield self.part(step, until)
            step, until = until, min(until + max(1, _BLOCK // self.steps.size), len(self))


def by_length(plan: Plan) -> dict[str, Any]:
    """The buckets of an epoch by length, as plain values, and the share of the padded values that is none; else nothing."""
    if not isinstance(plan.order, ByLength):
        return {}
    layout = plan.order.layout
    return {"buckets": [row._asdict() for row in layout.rows()], "padding": round(1 - layout.useful, 6)}


def _tensor(numbers: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers))


def within(index: int, length: int) -> int:
    """A step counted from either end as one counted from 0; `IndexError` for a step that is not there."""
    number = checked_index(index)
    if not -length <= number < length:
        msg = f"step {number} of a loader of {length} steps"
        raise IndexError(msg)
    return number % length


_BLOCK = 65_536  # positions looked up at once: less than a millisecond, and half a megabyte
