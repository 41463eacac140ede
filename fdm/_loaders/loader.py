"""Loaders: the batches of one epoch of a split, by iteration or by number."""

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, overload

import attrs
from torch import Tensor

from .._batches.operations import Applier, Assembly, applier
from .._batches.rows import rows_told
from .._checks import integer
from .._errors import DataError
from .._plans.order import Order
from .._plans.plan import Rows, rows_of_steps
from .._plans.snapshot import Snapshot
from .._plans.steps import Steps
from .._processes.torch_state import settled, single
from .._public import public
from .._ranks.context import RankContext
from .._text import page, table
from .device import OnDevice, on_device
from .gate import Gate
from .options import Making
from .profile import Profile, profiled
from .repeats import Repeats
from .threads import Inline


@public
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
    _again: Callable[..., "Loader"]
    _passes: Repeats | None = None

    def __len__(self) -> int:
        """The number of steps of this rank."""
        return self._last - self._first

    def __iter__(self) -> Iterator[Any]:
        self._gate.check()
        batches = self._finished(on_device(self._batches(), self._on_device), self._after_transfer())
        return batches if self._passes is None else self._passes.watched(batches, self._first)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> "Loader": ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._slice(index)
        step = self._first + within(index, len(self))
        return next(iter(attrs.evolve(self, first=step, last=step + 1, making=Inline(), passes=None)))

    def again(self, epoch: int | None = None, start: Snapshot | None = None) -> "Loader":
        """A loader of the same split of the same data for another epoch, or from another start; as `data.loader`."""
        return self._again(epoch, start)

    def indices(self, index: int) -> Tensor:
        """The example ids in this rank's batch of step `index`, int64: positions in the split's source."""
        step = self._first + within(index, len(self))
        return next(rows_of_steps(self._order, self._steps, self._context.rank, step, step + 1)).ids

    @property
    def ends_epoch(self) -> bool:
        """Whether its last step is the epoch's last one; a slice may stop before."""
        return self._last == self._steps.count_of(self._context.rank)

    @property
    def is_even(self) -> bool:
        """Whether all ranks have the same number of steps: unless there are fewer examples than ranks."""
        return self._steps.count_of(self._context.world_size - 1) == self._steps.count

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

    def on_host(self) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
        """The batches before the transfer, each with what does the stages after it: for trainers that move batches."""
        self._gate.check()
        stages = self._after_transfer()
        for rows, batch in self._batches():
            yield batch, partial(_through, rows=rows, stages=stages)
            self._gate.check()

    def _batches(self) -> Iterator[tuple[Rows, Any]]:
        """The batches before the transfer with their rows: where a batch has ids, as they tell, since here they are near."""
        made = self._making.batches(self._assembly, self._rows())
        ids = self._assembly.batch[1].ids if self._assembly.batch is not None else None
        return made if ids is None else ((rows_told(rows, batch, ids), batch) for rows, batch in made)

    def _after_transfer(self) -> list[Applier]:
        device = self._on_device.device
        appliers = (applier(applied, self._assembly, device) for applied in self._on_device.stages)
        return [attrs.evolve(stage, call=settled(single(stage.call), device)) for stage in appliers]

    def profile(self, steps: int = 20) -> Profile:
        """How long each stage takes for a batch, over the first `steps` steps; as `data.profile(split)`."""
        part = attrs.evolve(self[: integer("profile: steps", steps, DataError, least=1)], passes=None)
        if not len(part):
            msg = f"there are no steps of {self.split!r} to profile"
            raise DataError(msg)
        return profiled(self._assembly, self._on_device, list(part._rows()), part)  # noqa: SLF001 - one of us

    def _slice(self, index: slice) -> "Loader":
        first, last, stride = index.indices(len(self))
        if stride != 1:
            msg = f"a slice of a loader is contiguous, without a step of {stride}"
            raise DataError(msg)
        return attrs.evolve(self, first=self._first + first, last=self._first + max(first, last))

    def _finished(self, crossed: Iterator[tuple[Rows, Any]], stages: Sequence[Applier]) -> Iterator[Any]:
        try:
            for rows, batch in crossed:
                for stage in stages:
                    batch, rows = stage.after(batch, rows)  # noqa: PLW2901 - a function of its own would be a call more a batch
                yield batch
                self._gate.check()
        except Exception:
            self._gate.check()  # what fails once the data is closed fails for that reason
            raise

    def _rows(self) -> Iterator[Rows]:
        """The rows of the steps in turn, looked up in blocks, but for the first, so that its batch does not wait."""
        step, until = self._first, min(self._first + 1, self._last)
        while step < self._last:
            yield from _settled_rows(self._order, self._steps, self._context.rank, step, until)
            step, until = until, min(until + max(1, _BLOCK // self._steps.size), self._last)

    def __repr__(self) -> str:
        ranks = f", rank {self._context.rank} of {self._context.world_size}" if self._context.world_size > 1 else ""
        return f"<fdm.Loader of {self.split!r}, epoch {self.epoch}, {len(self)} steps{ranks}>"

    def _repr_html_(self) -> str:
        rows = [(name.replace("_", " "), _told(value)) for name, value in self.plan().items()]
        return page(f"fdm.Loader of {self.split!r}", table(["plan", ""], rows))

    def plan(self) -> dict[str, Any]:
        """The plan of the epoch from this loader's start, as plain values: for people and machines to read.

        Has the number of steps and examples, the batch size of a rank, and the tail: how many examples the steps have,
        over all ranks, that are not whole. Steps are those of each rank, of all ranks where they differ.

        >>> import fdm
        >>> def numbers():
        ...     return range(10)
        >>> with fdm.open(fdm.pipeline(fdm.load(numbers), fdm.batch(4))) as data:
        ...     plan = data.loader("all").plan()
        >>> plan["steps"], plan["examples"], plan["tail"]
        (3, 10, [2])
        """
        world, steps = self._context.world_size, self._steps
        counts = [steps.count] if self.is_even else [steps.count_of(rank) for rank in range(world)]
        return {
            "epoch": self.epoch,
            "steps": counts[0] if len(counts) == 1 else counts,
            "examples": steps.bounds(steps.count - 1)[1] - steps.start if steps.count else 0,
            "dropped": steps.stop - (steps.bounds(steps.count - 1)[1] if steps.count else steps.start),
            "rank": self._context.rank,
            "world_size": world,
            "batch_size": steps.size,
            "tail": list(steps.tail),
        }


_settled_rows = settled(rows_of_steps)
_BLOCK = 65_536  # positions looked up at once: less than a millisecond, and half a megabyte


def _through(batch: Any, rows: Rows, stages: Sequence[Applier]) -> Any:
    for stage in stages:
        batch, rows = stage.after(batch, rows)
    return batch


def _told(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}"


def within(index: int, length: int) -> int:
    """A step counted from either end as one counted from 0; `IndexError` for a step that is not there."""
    number = operator.index(index)
    if not -length <= number < length:
        msg = f"step {number} of a loader of {length} steps"
        raise IndexError(msg)
    return number % length
