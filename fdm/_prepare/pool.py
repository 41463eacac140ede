"""Pools: the executor that parts run on, renewed when it breaks."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from typing import TypeAlias

import attrs
import torch

from .._errors import PipelineError
from .._processes.start import check_may_start, end_with_parent, start_method, starting, warn_of_fork
from .._processes.torch_state import fresh
from .._text import short


PoolOption: TypeAlias = Executor | Callable[[], Executor] | None


@attrs.define
class Pool:
    """An executor, how to make another when it breaks, and how many parts to have in it at a time."""

    executor: Executor
    make: Callable[[], Executor] | None
    window: int
    last_error: BaseException | None = None

    def renew(self) -> None:
        """Make a new executor if the old one is broken; raises its error if nobody knows how."""
        if not isinstance(self.last_error, BrokenExecutor):
            return
        if self.make is None:
            self.last_error.add_note(
                "the pool that was given is broken, and fdm cannot make another: finished parts are saved, so run "
                "again, or give a function that makes a pool (pool=make_pool) in place of a pool"
            )
            raise self.last_error
        _end(self.executor)
        self.executor = self.make()


@contextmanager
def opened(option: PoolOption) -> Iterator[Pool]:
    """The pool for an option: processes by default, an executor as it is, or what a function makes, ended afterwards."""
    make = _processes if option is None else None if isinstance(option, Executor) else option
    if isinstance(option, Executor):
        yield Pool(option, None, _window(option))
        return
    assert make is not None
    executor = make()
    if not isinstance(executor, Executor):
        msg = f"pool is a concurrent.futures.Executor or a function that makes one, not one of {short(executor, 60)}"
        raise PipelineError(msg)
    pool = Pool(executor, make, _window(executor))
    try:
        yield pool
    finally:
        _end(pool.executor)


def _processes() -> Executor:
    check_may_start(
        "processes for the parts of clean(...).each(...)", "give a pool of threads, pool=ThreadPoolExecutor()"
    )
    method = start_method(None)
    if method == "fork":
        warn_of_fork()
    made = ProcessPoolExecutor(cores(), get_context(method), initializer=_begin_worker)
    with starting(), fresh():
        made.submit(os.getpid)  # which forks them all
    return made


def _begin_worker() -> None:
    """One thread each, since all cores have a worker; the parent decides about Ctrl-C, and is not outlived."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _end(executor: Executor) -> None:
    """End an executor, whose finished parts are saved, at once.

    A process pool is not asked to end by itself: a worker that was killed while it held the lock of the pool's queue
    would keep the others, and whoever waits for them, for ever.
    """
    workers = list((getattr(executor, "_processes", None) or {}).values())
    manager = getattr(executor, "_executor_manager_thread", None)
    executor.shutdown(wait=not workers, cancel_futures=True)
    for worker in workers:
        with suppress(OSError, ValueError):
            worker.kill()
    if workers and manager is not None:
        manager.join()


def _window(executor: Executor) -> int:
    workers = getattr(executor, "_max_workers", None)
    client = getattr(executor, "_client", None)
    if client is not None and hasattr(client, "nthreads"):  # Dask's
        workers = sum(client.nthreads().values())
    # Other engines do not tell how many workers they have: keep enough for a few hundred of them busy.
    return max(2, 2 * workers) if isinstance(workers, int) else 256


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
