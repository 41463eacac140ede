"""Answers of a process group's store, each waited for no longer than a limit: the process that holds it may be stopped."""

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from .._errors import StoreError


T = TypeVar("T")


class Answers:
    """A key-value store of torch's that is asked on a thread of its own, until `end`.

    Every call raises `StoreError` after `limit` seconds without an answer, which may be changed, and at once from then on.
    """

    # In torch's TCPStore `add`, `set` and `check` wait for the server's answer on a socket without a time-out, and even
    # the time-outs of `get` and `wait` begin only once the server has begun to answer. So a server that is stopped, but
    # whose machine still acknowledges what arrives, holds them for ever, in C++, where nothing interrupts them. A
    # connection of our own would wait in the same way; a FileStore needs a file system that all ranks share. What hangs
    # here is a daemon thread, which lets the process end.

    def __init__(self, store: Any, limit: float) -> None:
        self._store, self.limit, self._is_silent = store, limit, False
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        threading.Thread(target=_answer, args=(self._calls,), name="fdm-store", daemon=True).start()

    def add(self, key: str, amount: int) -> int:
        """The number at a key, after something is added to it."""
        return self._asked(lambda: int(self._store.add(key, amount)))

    def set(self, key: str, value: str) -> None:
        """Put a text at a key."""
        self._asked(lambda: self._store.set(key, value))

    def get(self, key: str) -> bytes:
        """What is at a key that is there."""
        return self._asked(lambda: bytes(self._store.get(key)))

    def check(self, key: str) -> bool:
        """Whether a key is there."""
        return self._asked(lambda: bool(self._store.check([key])))

    def within(self, prefix: str) -> None:
        """Ask for keys below `prefix` from now on."""
        self._store = torch.distributed.distributed_c10d.PrefixStore(prefix, self._store)

    def end(self) -> None:
        """Let the thread end, once it has all answers."""
        self._calls.put(None)

    def _asked(self, call: Callable[[], T]) -> T:
        answer: Future[T] = Future()
        if not self._is_silent:
            self._calls.put((answer, call))
            try:
                return answer.result(self.limit)
            except TimeoutError:
                if answer.done():  # the store's own
                    raise
        self._is_silent = True
        msg = (
            f"the process group's store did not answer for {self.limit:g} seconds while the ranks opened the pipeline; "
            f"the process that holds it, by default rank 0, is stopped, or its machine is gone or overloaded. End it and "
            f"start again; if it needs longer, raise `wait`"
        )
        raise StoreError(errno.ETIMEDOUT, msg)


def _answer(calls: "SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]") -> None:
    while (asked := calls.get()) is not None:
        answer, call = asked
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised where it was asked
            answer.set_exception(error)
