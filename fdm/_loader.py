"""Loaders: the batches of one epoch of a split, by iteration or by number."""

import operator
from collections.abc import Iterator, Sequence
from typing import Any, overload

import attrs
from torch import Tensor

from ._assemble import Applied, Applier, Assembly, applier
from ._context import RankContext
from ._errors import DataError, noted
from ._gate import Gate
from ._order import Order
from ._plan import Rows, rows_of_steps
from ._snapshot import Snapshot
from ._speed import Making, Speed
from ._stage import Transfer
from ._steps import Steps
from ._threads import Inline, pulled_ahead
from ._transfer import arrived, has_streams, move, moved_ahead


@attrs.frozen(eq=False)
class OnDevice:
    """What happens to a batch in the main process: the transfer, with its stage number, and the stages after it."""

    transfer: tuple[int, Transfer] | None
    stages: tuple[Applied, ...]
    device: str
    speed: Speed


@attrs.frozen(eq=False, repr=False)
class Loader:
    """The batches of one epoch of a split for one rank, from a start to the end of the epoch.

    Can be iterated any number of times, always with the same batches; nothing happens before the first `next`.
    `loader[i]` is the batch of step i, counted from this loader's start, without the ones before; `loader[10:20]` is a
    loader of these steps. Made by `data.loader` and `data.epochs`.
    """

    split: str
    epoch: int
    _assembly: Assembly
    _on_device: OnDevice
    _order: Order
    _steps: Steps
    _context: RankContext
    _start: Snapshot
    _first: int
    _last: int
    _gate: Gate
    _making: Making

    def __len__(self) -> int:
        """The number of steps of this rank."""
        return self._last - self._first

    def __iter__(self) -> Iterator[Any]:
        self._gate.check()
        crossed = on_device(self._making.batches(self._assembly, self._rows()), self._on_device)
        stages = [applier(applied, self._assembly, self._on_device.device) for applied in self._on_device.stages]
        return (_through(batch, rows, stages) for rows, batch in crossed) if stages else map(_LAST, crossed)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> "Loader": ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._slice(index)
        step = self._first + _within(index, len(self))
        return next(iter(attrs.evolve(self, first=step, last=step + 1, making=Inline())))

    def indices(self, index: int) -> Tensor:
        """The example ids in this rank's batch of step `index`, int64: positions in the split's source."""
        step = self._first + _within(index, len(self))
        return next(rows_of_steps(self._order, self._steps, self._context.rank, step, step + 1)).ids

    def snapshot(self, done: int) -> Snapshot:
        """The place after `done` steps of this loader: after the last of an epoch, the start of the next.

        Raises `DataError` unless `done` is from 0 to the number of steps.
        """
        done = operator.index(done)
        if not 0 <= done <= len(self):
            msg = f"snapshot takes the number of steps done, from 0 to the loader's {len(self)}, not {done}"
            raise DataError(msg)
        step = self._first + done
        if done and step == self._steps.count:
            return attrs.evolve(self._start, epoch=self.epoch + 1, examples=0)
        at = self._steps.bounds(step)[0] if step < self._steps.count else self._steps.start
        return attrs.evolve(self._start, epoch=self.epoch, examples=at)

    def _slice(self, index: slice) -> "Loader":
        first, last, stride = index.indices(len(self))
        if stride != 1:
            msg = f"a slice of a loader is contiguous, without a step of {stride}"
            raise DataError(msg)
        return attrs.evolve(self, first=self._first + first, last=self._first + max(first, last))

    def _rows(self) -> Iterator[Rows]:
        """The rows of the steps in turn, looked up in blocks, but for the first, so that its batch does not wait."""
        step, until = self._first, min(self._first + 1, self._last)
        while step < self._last:
            for rows in rows_of_steps(self._order, self._steps, self._context.rank, step, until):
                self._gate.check()
                yield rows
            step, until = until, min(until + max(1, _BLOCK // self._steps.size), self._last)

    def __repr__(self) -> str:
        ranks = f", rank {self._context.rank} of {self._context.world_size}" if self._context.world_size > 1 else ""
        return f"<fdm.Loader of {self.split!r}, epoch {self.epoch}, {len(self)} steps{ranks}>"


def on_device(on_host: Iterator[tuple[Rows, Any]], crossing: OnDevice) -> Iterator[tuple[Rows, Any]]:
    """The batches where the transfer brings them, with their rows; where there is no transfer, as they are."""
    if crossing.transfer is None:
        return on_host
    number, transfer = crossing.transfer
    where = f"in stage {number}, transfer to {crossing.device}"
    if has_streams(crossing.device):
        return _streamed(on_host, crossing, transfer.skip, where)
    return _moved(on_host, crossing.device, transfer.skip, where)


def _moved(
    on_host: Iterator[tuple[Rows, Any]], device: str, skip: Sequence[str], where: str
) -> Iterator[tuple[Rows, Any]]:
    for rows, batch in on_host:
        try:
            moved = move(batch, device, skip)
        except Exception as error:
            error.add_note(where)
            raise
        yield rows, moved


def _streamed(
    on_host: Iterator[tuple[Rows, Any]], crossing: OnDevice, skip: Sequence[str], where: str
) -> Iterator[tuple[Rows, Any]]:
    """The same, copied on a stream of its own; where batches are made ahead, the next one while this one is used."""
    sent = moved_ahead(on_host, crossing.device, skip, pin=crossing.speed.pins(crossing.device))
    for rows, batch, there in pulled_ahead(sent) if crossing.speed.is_ahead else sent:
        with noted(where):
            moved = arrived(batch, there, crossing.device, skip)
        yield rows, moved


def _through(batch: Any, rows: Rows, stages: list[Applier]) -> Any:
    for stage in stages:
        batch = stage.on_batch(batch, rows)
    return batch


_LAST = operator.itemgetter(1)
_BLOCK = 32_768  # positions looked up at once: a third of a millisecond, and a quarter of a megabyte


def _within(index: int, length: int) -> int:
    number = operator.index(index)
    if not -length <= number < length:
        msg = f"step {number} of a loader of {length} steps"
        raise IndexError(msg)
    return number % length
