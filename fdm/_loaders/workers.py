"""Workers: processes that make whole batches, kept for all epochs and splits, on top of torch's DataLoader."""

import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from itertools import chain
from typing import Any, NoReturn, TypeAlias, cast
from weakref import WeakSet

import attrs
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling

from .._batches.draws import Draws, to_watch
from .._batches.operations import batch_maker, example_maker, is_drawing
from .._batches.reading import Read
from .._errors import DataError, WorkerError, add_note, text_of
from .._plans.branch import Branch
from .._plans.rows import Rows, as_arrays, from_arrays
from .._processes.memory import trim
from .._processes.numerics import Numerics, flushes, flushing, numerics, set_numerics
from .._processes.start import check_may_start, default_method, end_with_parent, start_method, starting, warn_of_fork
from .._processes.torch_state import fresh, settled
from .._sources.loaded import kind_of
from .._text import shortened
from .sending import pickled
from .worker_failure import WorkerFailure


Item: TypeAlias = tuple[str, int, Numerics, tuple[Any, ...]]
"""What a worker is sent: split, epoch, torch's settings, and rows."""


@attrs.frozen(eq=False)
class Workers:
    """`count` processes for each loop that runs at a time; each has up to `prefetch` batches ready.

    `branches` says how the batches of each split are made; it is asked for when the first processes start. With
    `threads`, each process makes the examples of a batch on that many.
    """

    count: int
    threads: int
    prefetch: int
    start_method: str | None
    branches: Callable[[], Mapping[str, Branch]]
    draws: Draws = attrs.field(factory=Draws)
    _of_process: "dict[int, list[_Crew]]" = attrs.field(factory=dict, init=False)
    _idle: "dict[int, list[_Crew]]" = attrs.field(factory=dict, init=False)

    def batches(self, branch: Branch, rows: Iterator[Rows]) -> Iterator[tuple[Rows, Any]]:
        """The host batches of these rows, with their rows, in order.

        Raises `WorkerError` if a process dies; an error of a user's function keeps its type.
        """
        # A process that was forked meanwhile leaves those of its parent alone, and starts its own.
        crews, idle = (kept.setdefault(os.getpid(), []) for kept in (self._of_process, self._idle))
        crew = idle.pop() if idle else self._started(crews)
        try:
            yield from crew.batches(branch, rows)
        finally:
            if crew.is_waiting:  # an interrupt or a death came between: what the processes send next belongs to nobody
                with suppress(ValueError):  # another thread has closed the data
                    crews.remove(crew)
                crew.end()
            elif crew in crews:
                idle.append(crew)

    def close(self) -> None:
        """End all processes."""
        crews = self._of_process.get(os.getpid(), [])
        while crews:
            crews.pop().end()
        self._idle.pop(os.getpid(), None)

    def _started(self, crews: "list[_Crew]") -> "_Crew":
        check_may_start("worker processes (workers=)", "use threads= in their place")
        feed, maker = _Feed(), _Maker(self.branches(), self.threads, self.draws)
        method = start_method(self.start_method)
        # Where the way was fdm's choice, what cannot go it is forked as if there were no threads.
        is_instead = self.start_method is None and method == "forkserver" and default_method() == "fork"
        forked = partial(self._loader, maker, feed, "fork") if is_instead else None
        crew = _Crew(self._loader(maker, feed, method), feed, self.draws, forked)
        crews.append(crew)
        return crew

    def _loader(self, maker: "_Maker", feed: "_Feed", method: str) -> "DataLoader[Any]":
        return _Loader(
            maker,
            batch_size=None,
            sampler=feed,
            num_workers=self.count,
            collate_fn=_as_is,
            worker_init_fn=_begin,
            prefetch_factor=self.prefetch,
            persistent_workers=True,
            multiprocessing_context=method,
            generator=torch.Generator(),  # else torch would draw a seed from the global random state
        )


@attrs.define(eq=False)
class _Crew:
    """The processes of one DataLoader, which go from one loop to the next."""

    loader: "DataLoader[Any]"
    feed: "_Feed"
    draws: Draws
    forked: "Callable[[], DataLoader[Any]] | None" = None
    is_waiting: bool = attrs.field(default=False, init=False)

    def batches(self, branch: Branch, rows: Iterator[Rows]) -> Iterator[tuple[Rows, Any]]:
        sent: deque[Rows] = deque()

        def items() -> Iterator[Item]:
            for these in rows:
                sent.append(these)
                where = branch.where
                yield where.split, where.epoch, numerics(), as_arrays(these)

        self.feed.items = items()
        try:
            self.is_waiting = True
            made = self._begun(branch)
            while (batch := self._next(made, branch)) is not _END:
                yield sent.popleft(), batch
            if sent:
                msg = (
                    f"the batches of {branch.where} ended {len(sent)} too early: something in a batch raises "
                    f"StopIteration where it is received from a worker process"
                )
                raise WorkerError(msg)
        finally:
            self.feed.items = iter(())  # which hold the loader, and with it this crew

    def _next(self, made: Iterator[Any], branch: Branch) -> Any:
        self.is_waiting = True
        try:
            batch = _received(made, _END)
        except Exception as error:  # noqa: BLE001 - of torch's own: those of the user's functions come as a WorkerFailure
            self._tell(error, branch)
        self.is_waiting = False
        if isinstance(batch, _Seen):
            self.draws.hear(batch.watched, batch.found)
            return batch.batch
        if isinstance(batch, WorkerFailure):
            batch.reraise()
        return batch

    def end(self) -> None:
        """End the processes, also where another thread waits for them."""
        running: Any = getattr(self.loader, "_iterator", None)
        if running is not None:
            _end(running)
        self.loader._iterator = None  # noqa: SLF001 - else the loader would give it out again

    def _begun(self, branch: Branch) -> Iterator[Any]:
        try:
            return _begun(self.loader)
        except Exception as error:
            if self.forked is not None:
                self.loader, self.forked = self.forked(), None
                return _begun(self.loader, f"another way was tried, and failed ({shortened(text_of(error), 200)}); ")
            if isinstance(error, _DEATHS):
                self._tell(error, branch)
            if not isinstance(error, TypeError | AttributeError | pickle.PicklingError):
                raise
            msg = (
                f"the source of split {branch.where.split!r}, a {kind_of(branch.source)}, or another one, "
                f"cannot be sent to a worker process: {error}; make it one that pickle can, or a class of your own "
                f"with __len__ and __getitem__, returned by the function of fdm.load, which each process calls itself"
            )
            raise DataError(msg) from error

    def _tell(self, error: Exception, branch: Branch) -> NoReturn:
        """Raise the error of a worker that died; where none did, what torch said, and where."""
        dead = _dead(getattr(getattr(self.loader, "_iterator", None), "_workers", []))
        if not dead:
            add_note(error, f"while worker processes made batches for {branch.where}")
            raise error
        msg = f"a worker process died while batches were made for {branch.where}: {'; '.join(map(_end_of, dead))}"
        msg = f"{msg}. {_remedy(dead[0].exitcode)}"
        raise WorkerError(msg) from error


def _begun(loader: "DataLoader[Any]", why: str = "") -> Iterator[Any]:
    """Start the processes of a loader."""
    if getattr(loader.multiprocessing_context, "_name", "") == "fork":
        warn_of_fork(why)
    with starting(), fresh():
        return _without_signals(iter(loader))


class _Loader(DataLoader[Any]):
    """A DataLoader that leaves to who asked for workers how many suit the machine: `data.profile` tells."""

    def check_worker_number_rationality(self) -> None:
        """Say nothing: the user has made no DataLoader."""


class _Feed:
    """The items of the loop that runs: what torch calls a sampler, and keeps when the loop is over."""

    items: Iterator[Item]

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        return next(self.items)


@attrs.define(eq=False, slots=False)
class _Maker(Dataset[Any]):
    """What a worker process has: how to make the batches of every split."""

    branches: Mapping[str, Branch]
    threads: int
    draws: Draws = attrs.field(factory=Draws)
    _last: tuple[tuple[str, int], Callable[[Rows], Any]] | None = attrs.field(default=None, init=False)

    def __getitem__(self, item: Item) -> Any:
        split, epoch, settings, rows = item
        trim()
        try:
            set_numerics(settings)
            if self._last is None or self._last[0] != (split, epoch):
                self._last = (split, epoch), self._told(self.branches[split].at(epoch))
            return _Sent.of(self._last[1](from_arrays(rows)))
        except Exception as error:  # noqa: BLE001 - torch would rebuild it from its text, without type and notes
            return WorkerFailure.of(error)

    def _told(self, branch: Branch) -> Callable[[Rows], Any]:
        """What makes batches; the first that is watched comes with what was seen."""
        is_first = [True] if self.draws.are_open(to_watch(branch)) else []
        make, draws = self._made(branch), self.draws

        def make_and_tell(rows: Rows) -> Any:
            return _Seen(make(rows), draws.watched, draws.found) if is_first and is_first.pop() else make(rows)

        return make_and_tell if is_first else make

    def _made(self, branch: Branch) -> Callable[[Rows], Any]:
        if not self.threads or branch.is_whole or is_drawing(branch):
            return batch_maker(branch, self.draws)
        return batch_maker(branch, self.draws, self._on_threads(example_maker(branch)))

    def _on_threads(self, make: Read) -> Read:
        def parts(rows: Rows) -> list[Any]:
            flush = flushes()
            pieces = self._pool.map(lambda piece: flushing(flush, make, piece), rows.pieces(self.threads))
            return list(chain.from_iterable(pieces))

        return parts

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads)


@attrs.frozen(eq=False)
class _Seen:
    """A batch with what was seen of the stages while it was made."""

    batch: Any
    watched: set[int]
    found: dict[int, str]


@attrs.frozen(eq=False)
class _Sent:
    """A batch on its way: received as itself.

    It is pickled where it is made. torch's queue would do that in a thread, whose failure the loop would never hear of,
    and which is aborted inside torch where the process ends meanwhile.
    """

    content: bytes

    @classmethod
    def of(cls, batch: Any) -> "_Sent":
        try:
            return cls(pickled(batch))
        except Exception as error:
            msg = f"a batch cannot be sent from a worker process: {error}; let the stages return what pickle can"
            raise DataError(msg) from error

    def __reduce__(self) -> Any:
        return pickle.loads, (self.content,)


def _begin(_: int) -> None:
    """A worker leaves Ctrl-C to the process that it works for, and ends with it."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _without_signals(running: Any) -> Iterator[Any]:
    """The iterator of a DataLoader whose workers' death is told where batches are asked for, and there alone.

    torch raises it where the signal of it arrives, too: in the middle of whatever the main thread is doing.
    """
    if getattr(running, "_worker_pids_set", False):
        forget: Any = getattr(signal_handling, "_remove_worker_pids")  # noqa: B009 - torch does not export it
        forget(id(running))
        running._worker_pids_set = False  # noqa: SLF001 - likewise
    _RUNNING.add(running)
    return cast("Iterator[Any]", running)


def _end(running: Any) -> None:
    shut_down, status = "_shutdown_workers", "_workers_status"
    getattr(running, shut_down)()  # what its destructor does, but now
    # The threads that fed the workers hold semaphores, which are lost if the process ends before they do.
    for queue in getattr(running, "_index_queues", ()):
        if (feeder := getattr(queue, "_thread", None)) is not None:
            feeder.join(_FAREWELL)
    # A thread that waits looks for dead workers among those that count as alive, and else waits for ever.
    setattr(running, status, [True] * len(getattr(running, status)))


def _dead(workers: Sequence[Any]) -> list[Any]:
    """The workers that are dead; the system may tell a little later than a broken connection does."""
    until = time.monotonic() + 1.0
    while not (found := [worker for worker in workers if not worker.is_alive()]) and time.monotonic() < until:
        time.sleep(0.01)
    return found


def _end_of(worker: Any) -> str:
    code = worker.exitcode
    if code < 0:
        with suppress(ValueError):
            return f"process {worker.pid} was killed by {signal.Signals(-code).name}"
    return f"process {worker.pid} ended with exit code {code}"


def _remedy(code: int) -> str:
    if code == -getattr(signal, "SIGKILL", 9):
        return (
            "If the system killed it, memory ran out: use fewer workers, a smaller prefetch, or threads. The snapshot of "
            "the last step is a place to go on from"
        )
    if code < 0:
        return "Native code that a stage calls has crashed, or somebody ended it"
    return (
        "What it said stands above. Where processes do not begin by fork, they import the script: let it start its work "
        "below `if __name__ == '__main__':`, and keep functions of notebooks in a module, or use threads"
    )


def _as_is(batch: Any) -> Any:
    return batch


def _leave_to_parent() -> None:
    """In a process that is forked, DataLoaders that it did not start must not end their workers when they are dropped."""
    for running in list(_RUNNING):
        running._shutdown = True  # noqa: SLF001 - what keeps its destructor from doing it
    _RUNNING.clear()


_RUNNING: WeakSet[Any] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
_END: Any = object()
_received: Callable[..., Any] = settled(next)
_FAREWELL = 10.0  # seconds for a thread that has nothing left to do
_DEATHS = (RuntimeError, OSError, EOFError)  # what torch's loop, or a connection that breaks, raises then
