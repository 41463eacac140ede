"""Plans: the order of an epoch, and the example ids of each step of a rank, from values alone."""

import hashlib
from collections.abc import Iterator, Mapping
from math import floor
from typing import NamedTuple, Self

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import index as checked_index
from .._errors import DataError, UnknownNameError, unknown
from .._fingerprint.canonical import digest
from .._pipeline import Pipeline
from .._random.permutation import derive
from .._stages.describe import summary
from .._stages.digest import decisive, stage_digest
from .._stages.limits import applying
from .._stages.rounding import as_written
from .._stages.stage import Batch, Ordering, Sample, Shuffle, Source, Stage, Take
from .order import Drawn, Order, Shuffled, take
from .splits import Examples
from .steps import Steps, steps_across_world


def check_names(p: Pipeline, splits: Mapping[str, Examples]) -> None:
    """Raise `UnknownNameError` for a stage that is `.on` a split which is not there."""
    for number, stage in enumerate(p.stages):
        for name in getattr(stage, "splits", ()):
            if name not in splits:
                msg = f"stage {number} ({stage.kind}): {unknown('split', name, splits)}"
                raise UnknownNameError(msg)


def order_of_epoch(p: Pipeline, examples: Examples, epoch: int, weights: Mapping[int, NDArray[np.float64]]) -> Order:
    """The order in which `epoch` goes through a split: its shuffle, sample and take stages, one after the other.

    `weights` has, for the number of each sample stage, the weights of the source's examples.
    """
    order = examples.order
    seen: dict[str, int] = {}
    for number, stage in applying(list(p.of_kind(Ordering)), examples.names):
        count = seen[stage.kind] = seen.get(stage.kind, -1) + 1
        if isinstance(stage, Take):
            order = take(order, _count(stage.amount, order.size))
            continue
        seed = p.seed if stage.seed is None else stage.seed
        key = derive(seed, stage.kind, examples.names[-1], count, epoch)
        order = Shuffled(order, key) if isinstance(stage, Shuffle) else _drawn(order, stage, weights[number], key)
    return order


def order_entries(
    p: Pipeline, examples: Examples, source_size: int, weights: Mapping[int, NDArray[np.float64]]
) -> list[tuple[str, str]]:
    """What decides the order of a split: descriptions and digests of its stages, and how large its source is."""
    entries = [_entry(stage) for _, stage in p.of_kind(Source)]
    entries.append((f"{examples.source}: {source_size} examples", digest([examples.source, source_size])))
    entries += [_entry(p.stages[number]) for number in examples.lineage]
    for number, stage in applying(list(p.of_kind(Ordering)), examples.names):
        plain = attrs.evolve(stage, splits=())
        if not isinstance(stage, Take) and stage.seed is None:
            plain = attrs.evolve(plain, seed=p.seed)
        entries.append(
            _entry(plain, hashlib.sha256(weights[number].tobytes()).hexdigest() if number in weights else "")
        )
    return entries


def steps_of(batch: Batch, start: int, stop: int, world_size: int) -> Steps:
    """The steps of the examples `start` to `stop` of an epoch. Raises `DataError` for a batch smaller than the world."""
    if batch.across == "rank":
        return Steps(start, stop, batch.size, world_size, batch.drop_last)
    if batch.size < world_size:
        msg = (
            f"batch: {batch.size} examples across a world of {world_size} ranks leave ranks without any in every step; "
            f"let the batch have at least {world_size}, or use fewer ranks"
        )
        raise DataError(msg)
    return steps_across_world(start, stop, batch.size, world_size, batch.drop_last)


class Rows(NamedTuple):  # made once a batch, and several times faster than a frozen record
    """The examples of a batch: their ids, int64, and where in the order of the epoch they stand, or the first of them."""

    ids: Tensor
    at: Tensor | int

    @property
    def positions(self) -> Tensor:
        """The positions in the order of the epoch, int64."""
        return self.at if isinstance(self.at, Tensor) else torch.arange(self.at, self.at + len(self.ids), device="cpu")


@attrs.frozen(eq=False)
class Plan:
    """Which examples are in which step of an epoch, for one rank: the steps `first` to `last` of all that there are."""

    order: Order
    steps: Steps
    rank: int
    first: int
    last: int

    @classmethod
    def of(cls, order: Order, steps: Steps, rank: int) -> Self:
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
        positions = np.arange(sizes.sum()) + np.repeat(lows + sizes - sizes.cumsum(), sizes)
        ids = torch.from_numpy(np.ascontiguousarray(self.order.at(positions)))
        return map(Rows, torch.split(ids, sizes.tolist()), lows.tolist())

    def blocks(self) -> Iterator["Plan"]:
        """Its steps in parts that are looked up at once: many in each, but one in the first, whose batch shall not wait."""
        step, until = 0, min(1, len(self))
        while step < len(self):
            yield self.part(step, until)
            step, until = until, min(until + max(1, _BLOCK // self.steps.size), len(self))


def within(index: int, length: int) -> int:
    """A step counted from either end as one counted from 0; `IndexError` for a step that is not there."""
    number = checked_index(index)
    if not -length <= number < length:
        msg = f"step {number} of a loader of {length} steps"
        raise IndexError(msg)
    return number % length


def _count(amount: float, size: int) -> int:
    return floor(as_written(amount) * size) if isinstance(amount, float) else amount


def _drawn(order: Order, stage: Sample, weights: NDArray[np.float64], key: int) -> Order:
    size = order.size if stage.size is None else stage.size
    if size and not order.size:
        msg = f"sample: there are no examples to draw {size} from"
        raise DataError(msg)
    return Drawn(order, weights, size, key)


def _entry(stage: Stage, more: str = "") -> tuple[str, str]:
    return f"{stage.kind} {summary(decisive(stage))[0]}".rstrip(), digest([stage_digest(stage), more])


_BLOCK = 65_536  # positions looked up at once: less than a millisecond, and half a megabyte
