"""Loaders: the batches of one epoch of a split, by iteration or by number."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, overload

import attrs
from torch import Tensor

from .._arrays.ragged import Ragged
from .._batches.draws import to_watch, to_watch_on_device, told_after_first, watched_first
from .._batches.operations import after_transfer, in_turn, watching
from .._batches.reading import ids_of
from .._batches.rows import rows_told
from .._checks import integer
from .._errors import DataError
from .._habits.attributes import OtherNames
from .._habits.calls import guided
from .._plans.branch import Branch
from .._plans.plan import Plan, by_length
from .._plans.rows import Rows
from .._plans.snapshot import Snapshot
from .._plans.steps import Steps
from .._processes.torch_state import settled
from .._public import public
from .._sources.gate import Gate
from .._text import page, table
from .device import Crossing, on_device, told_if_left
from .options import Maker
from .profile import Profile, profiled
from .repeats import Repeats
from .threads import Inline


@public
@attrs.frozen(eq=False, repr=False)
class Loader(OtherNames):
    """The batches of one epoch of a split for one rank, from a start to the end of the epoch.

    Can be iterated any number of times, always with the same batches; nothing happens before the first `next`.
    `loader[i]` is the batch of step i, counted from this loader's start, without the ones before; `loader[10:20]` is a
    loader of these steps. Made by `data.loader` and `data.epochs`.
    """

    _branch: Branch
    _plan: Plan
    _crossing: Crossing
    _start: Snapshot
    _named: Callable[[int, int], tuple[str, tuple[str, ...]]]
    _gate: Gate
    _maker: Maker
    _again: Callable[..., "Loader"]
    _passes: Repeats | None = None

    @property
    def split(self) -> str:
        """The name of the split."""
        return self._branch.where.split

    @property
    def epoch(self) -> int:
        """The number of the epoch."""
        return self._branch.where.epoch

    def __len__(self) -> int:
        """The number of steps of this rank."""
        return len(self._plan)

    def __iter__(self) -> Iterator[Any]:
        self._gate.check()
        batches = self._finished(on_device(self._batches(), self._crossing))
        return batches if self._passes is None else self._passes.watched(batches, self._plan.first)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> "Loader": ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._slice(index)
        return next(
            iter(attrs.evolve(self, plan=self._plan.alone(index), maker=Inline(self._maker.draws), passes=None))
        )

    def again(self, epoch: int | None = None, start: Snapshot | None = None) -> "Loader":
        """A loader of the same split of the same data for another epoch, or from another start; as `data.loader`."""
        return self._again(epoch, start)

    def indices(self, index: int) -> Tensor | Ragged:
        """The example ids in this rank's batch of step `index`, int64: positions in the split's source.

        Of packed sequences they are ragged: those of the examples in each.
        """
        return ids_of(self._branch.source, next(self._plan.alone(index).rows()), self.epoch)

    @property
    def ends_epoch(self) -> bool:
        """Whether its last step is the epoch's last one; a slice may stop before."""
        return self._plan.ends_epoch

    @property
    def is_even(self) -> bool:
        """Whether all ranks have the same number of steps: unless there are fewer examples than ranks."""
        return self._plan.is_even

    @guided
    def snapshot(self, done: int) -> Snapshot:
        """The place after `done` steps of this loader: after the last of an epoch, the start of the next.

        Raises `DataError` unless `done` is from 0 to the number of steps.
        """
        done = integer("snapshot: the number of steps done", done, DataError)
        if not 0 <= done <= len(self):
            msg = f"snapshot takes the number of steps done, from 0 to the loader's {len(self)}, not {done}"
            raise DataError(msg)
        if done and self._plan.first + done == self._plan.steps.count:
            return self._snapshot(self.epoch + 1, 0)
        return self._snapshot(self.epoch, self._plan.examples_before(done))

    def _snapshot(self, epoch: int, examples: int) -> Snapshot:
        fingerprint, stages = self._named(epoch, examples)
        return Snapshot(fingerprint, self.split, epoch, examples, stages)

    def on_host(self) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
        """The batches before the transfer, each with what does the stages after it: for trainers that move batches."""
        self._gate.check()
        finish = self._after_transfer()
        for rows, batch in self._batches():
            yield batch, partial(_finished, rows=rows, finish=finish)
            self._gate.check()

    def _batches(self) -> Iterator[tuple[Rows, Any]]:
        """The batches before the transfer with their rows: where a batch has ids, as they tell, since here they are near."""
        batches, draws = self._maker.batches(self._branch, self._rows()), self._maker.draws
        if draws.are_open(to_watch(self._branch)):
            batches = told_after_first(batches, draws)
        batches = told_if_left(batches, self._crossing, draws)
        ids = self._branch.batching[1].ids
        return batches if ids is None else ((rows_told(rows, batch, ids), batch) for rows, batch in batches)

    def _after_transfer(self) -> Callable[[Any, Rows], tuple[Any, Rows]]:
        """What is done for a batch on the device; in the first one of opened data, draws are watched and told of."""
        operations, draws = after_transfer(self._branch, self._crossing.device), self._maker.draws
        finish, numbers = in_turn(operations), to_watch_on_device(self._branch)
        if not draws.are_open(numbers):
            return finish
        every = in_turn(watching(operations, numbers, self._branch, draws))

        def finish_and_tell(batch: Any, rows: Rows) -> tuple[Any, Rows]:
            result = every(batch, rows)
            draws.tell()
            return result

        return watched_first(draws, numbers, finish_and_tell, finish)

    def profile(self, steps: int = 20) -> Profile:
        """How long each stage takes for a batch, over the first `steps` steps; as `data.profile(split)`."""
        part = attrs.evolve(self[: integer("profile: steps", steps, DataError, least=1)], passes=None)
        if not len(part):
            msg = f"there are no steps of {self.split!r} to profile"
            raise DataError(msg)
        return profiled(self._branch, self._crossing, list(part._plan.rows()), part)  # noqa: SLF001 - its own

    def _slice(self, index: slice) -> "Loader":
        first, last, stride = index.indices(len(self))
        if stride != 1:
            msg = f"a slice of a loader is contiguous, without a step of {stride}"
            raise DataError(msg)
        return attrs.evolve(self, plan=self._plan.part(first, last))

    def _finished(self, crossed: Iterator[tuple[Rows, Any]]) -> Iterator[Any]:
        finish = self._after_transfer()
        try:
            for rows, batch in crossed:
                yield finish(batch, rows)[0]
                self._gate.check()
        except Exception:
            self._gate.check()  # what fails once the data is closed fails for that reason
            raise

    def _rows(self) -> Iterator[Rows]:
        for block in self._plan.blocks():
            yield from settled(block.rows)()

    def __repr__(self) -> str:
        rank, world_size = self._plan.rank, self._plan.steps.world_size
        ranks = f", rank {rank} of {world_size}" if world_size > 1 else ""
        return f"<fdm.Loader of {self.split!r}, epoch {self.epoch}, {len(self)} steps{ranks}>"

    def _repr_html_(self) -> str:
        plan = self.plan()
        buckets, padding = plan.pop("buckets", []), plan.pop("padding", None)
        rows = [(name.replace("_", " "), _told(value)) for name, value in plan.items()]
        rows += [] if padding is None else [("padding", f"{padding:.1%}")]
        heads = ["padded to", "examples", "steps", "examples of a full step"]
        pieces = (
            [table(heads, ([_told(value) for value in row.values()] for row in buckets), "buckets")] if buckets else []
        )
        return page(f"fdm.Loader of {self.split!r}", table(["plan", ""], rows), *pieces)

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
        steps, world = self._plan.steps, self._plan.steps.world_size
        counts = [steps.count] if self.is_even else [steps.count_of(rank) for rank in range(world)]
        return {
            "epoch": self.epoch,
            "steps": counts[0] if len(counts) == 1 else counts,
            "examples": steps.bounds(steps.count - 1)[1] - steps.start if steps.count else 0,
            "dropped": steps.stop - (steps.bounds(steps.count - 1)[1] if steps.count else steps.start),
            "rank": self._plan.rank,
            "world_size": world,
            "batch_size": steps.size,
            "tail": list(steps.tail) if isinstance(steps, Steps) else [],
            **by_length(self._plan),
        }


def _finished(batch: Any, rows: Rows, finish: Callable[[Any, Rows], tuple[Any, Rows]]) -> Any:
    return finish(batch, rows)[0]


def _told(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}"


def plan_of(loader: Loader) -> Plan:
    """The plan of a loader, for those who look into it."""
    return loader._plan  # noqa: SLF001 - of this very module
