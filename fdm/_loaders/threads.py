"""Threads: batches made ahead in this process, and handed on in order."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Barrier
from typing import Any, TypeVar

import attrs
import torch

from .._batches.draws import Draws, to_watch
from .._batches.operations import batch_maker, is_drawing
from .._plans.branch import Branch
from .._plans.plan import Rows
from .._processes.numerics import flushes, flushing


T = TypeVar("T")


@attrs.frozen(eq=False)
class Inline:
    """Batches are made one at a time, when they are asked for."""

    draws: Draws = attrs.field(factory=Draws)

    def batches(self, branch: Branch, rows: Iterator[Rows]) -> Iterator[tuple[Rows, Any]]:
        """The host batches of these rows, with their rows."""
        make = batch_maker(branch, self.draws)
        return ((these, make(these)) for these in rows)

    def close(self) -> None:
        """Nothing is held."""


@attrs.frozen(eq=False)
class Threads:
    """`count` threads that make whole batches, up to `ahead` of the one that was handed on last."""

    count: int
    ahead: int
    draws: Draws = attrs.field(factory=Draws)
    _pools: dict[int, ThreadPoolExecutor] = attrs.field(factory=dict, init=False)

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads, started when they are first needed; those of the process that this one was forked from are not there."""
        process = os.getpid()
        if process not in self._pools:
            self._pools[process] = _started(ThreadPoolExecutor(self.count, thread_name_prefix="fdm"), self.count)
        return self._pools[process]

    def batches(self, branch: Branch, rows: Iterator[Rows]) -> Iterator[tuple[Rows, Any]]:
        """The host batches of these rows, with their rows, in order."""
        if is_drawing(branch):  # a thread would disturb what the loop draws from the same global state
            yield from Inline(self.draws).batches(branch, rows)
            return
        is_alone = self.draws.are_open(to_watch(branch))
        make, pool = batch_maker(branch, self.draws), self.pool
        pending: deque[tuple[Rows, Future[Any]]] = deque()
        try:
            for these in rows:
                pending.append((these, pool.submit(flushing, flushes(), make, these)))
                if is_alone:  # the first batch is watched, beside which no other may draw
                    is_alone = bool(wait([pending[0][1]]).not_done)
                if len(pending) > self.ahead:
                    yield _result(*pending.popleft())
            while pending:
                yield _result(*pending.popleft())
        finally:
            for _, future in pending:
                future.cancel()

    def close(self) -> None:
        """End the threads, after the batches that they are at."""
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def pulled_ahead(items: Iterator[T]) -> Iterator[T]:
    """The items of an iterator, which a thread asks for the next one while this one is used."""
    first = next(items, _END)  # here, where processes begin that make the others
    if first is _END:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="fdm-ahead") as pool:
        following = pool.submit(next, items, _END)
        yield first
        while (item := following.result()) is not _END:
            following = pool.submit(next, items, _END)
            yield item


def _result(rows: Rows, future: Future[Any]) -> tuple[Rows, Any]:
    return rows, future.result()


def _started(pool: ThreadPoolExecutor, count: int) -> ThreadPoolExecutor:
    """The pool with all its threads running, each with one thread of torch's own, since all cores have one already."""
    before, all_there = torch.get_num_threads(), Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # else torch would set what follows anew, at the thread's first work
        torch.set_num_threads(1)
        all_there.wait()

    try:
        for future in [pool.submit(begin) for _ in range(count)]:
            future.result()
    except BaseException:  # one that could not be started, while the others wait for it
        all_there.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        torch.set_num_threads(before)  # which threads that begin later take over
    return pool


_END: Any = object()
