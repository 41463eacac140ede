"""The examples of a split as a torch map-style Dataset, for those who bring their own DataLoader."""

import operator
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, cast

import attrs
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .._arrays.indexing import row_numbers
from .._batches.operations import example_maker
from .._checks import integer
from .._errors import DataError
from .._orders.order import Order
from .._plans.branch import Branch
from .._plans.epochs import Epochs, MixedEpochs
from .._plans.plan import rows_at
from .._sources.gate import Gate
from .._stages.stage import Sample
from .repeats import Reading


@attrs.frozen(eq=False, repr=False)
class ExampleDataset(Dataset[Any]):
    """The transformed examples of a split in the order of one epoch; made by `data.dataset`."""

    _branch: Branch
    _orders: "Orders"
    _epoch: Tensor
    _gate: Gate
    _reading: Reading | None = None

    @property
    def epoch(self) -> int:
        """The number of the epoch."""
        return int(self._epoch[0])

    @property
    def order(self) -> Order:
        """The order of the epoch."""
        return self._orders.of(self.epoch)

    def set_epoch(self, epoch: int) -> None:
        """From now on give the examples of another epoch: in its order, with its augmentation.

        Between two passes of a DataLoader, as for a `DistributedSampler`. Its worker processes hear of it too, also
        persistent ones: the number is in memory that they share.
        """
        self._gate.check()
        number = integer("set_epoch: the epoch", epoch, DataError, least=0, most=torch.iinfo(torch.int64).max)
        self._epoch[0], self._epoch[1] = number, _NAMED

    def __len__(self) -> int:
        return self.order.size

    def __iter__(self) -> Iterator[Any]:
        # Without it Python would ask for one after the other, and take an IndexError of the user's for the end.
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Any:
        return self._examples(row_numbers(operator.index(index), len(self), "dataset").reshape(1))[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """A list of examples, fetched together where the source can."""
        return self._examples(row_numbers(list(indices), len(self), "dataset"))

    def _examples(self, positions: Tensor) -> list[Any]:
        self._gate.check()
        epoch, is_named = self._epoch.tolist()
        if self._reading is not None and not is_named:
            self._reading.count(len(positions))
        return example_maker(self._branch.at(epoch))(rows_at(self._orders.of(epoch), positions.numpy()))

    def __repr__(self) -> str:
        return f"<fdm dataset of {self._branch.at(self.epoch).where}, {len(self)} examples>"


def shared_epoch(epoch: int) -> Tensor:
    """The number of an epoch, and whether it was set, in memory that processes share, as torch's samplers keep theirs."""
    number: Any = torch.tensor([epoch, 0], dtype=torch.int64, device="cpu")
    return cast("Tensor", number.share_memory_())


@attrs.define(eq=False)
class Orders:
    """The orders of the epochs of a split, of which the one asked for last is remembered, since some hold running sums.

    They can be sent to another process, without the opened data that they come from.
    """

    epochs: Epochs | MixedEpochs
    _last: tuple[int, Order] | None = attrs.field(default=None, init=False)

    def of(self, epoch: int) -> Order:
        """The order of an epoch."""
        last = self._last
        if last is None or last[0] != epoch:
            self._last = last = epoch, self.epochs.order(epoch)
        return last[1]

    def __getstate__(self) -> tuple[Any, ...]:
        if isinstance(self.epochs, Epochs):
            return (_alone(self.epochs),)
        return attrs.evolve(self.epochs, parts=(), orders=_none), tuple(map(_alone, self.epochs.parts))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        epochs, *parts = state
        self._last = None
        self.epochs = epochs if not parts else attrs.evolve(epochs, parts=parts[0], orders=_orders_of(parts[0]))


def _alone(epochs: Epochs) -> Epochs:
    """The same, with the weights that its samples draw by, in place of the data that knows them."""
    weights = {number: epochs.weights(number) for number, stage in epochs.stages if isinstance(stage, Sample)}
    return attrs.evolve(epochs, weights=weights.__getitem__)


def _orders_of(parts: Sequence[Epochs]) -> Any:
    return lru_cache(maxsize=4 * len(parts))(lambda part, epoch: parts[part].order(epoch))


def _none(part: int, epoch: int) -> Order:
    raise NotImplementedError


_NAMED = 1
