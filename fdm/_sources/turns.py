"""Turns: one process of a machine runs a load function first, since it may download; the others follow together."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread, get_ident

import torch
from filelock import FileLock, Timeout

from .._ranks.context import RankContext


@contextmanager
def first_on_machine(name: str, context: RankContext, patience: float | None) -> Iterator[None]:
    """Let one process of a machine do what `name` stands for first; the others begin together when it is through.

    This is a courtesy and no promise: where there are no locks, after `patience` seconds (None: as long as it takes),
    and once the first one waits for the others in a collective call, all do it at the same time.
    """
    if context.local_world_size == 1:
        yield
        return
    user = getattr(os, "getuid", lambda: "")()  # others' lock files cannot be opened
    lock = FileLock(Path(tempfile.gettempdir()) / f"fdm-{user}-load-{name[:24]}.lock", thread_local=False)
    is_first = False
    try:
        lock.acquire(timeout=0)
        is_first = True
    except Timeout:
        _wait(lock, patience)
    except (OSError, NotImplementedError):
        pass  # without locks all load at the same time
    try:
        with _letting_others_in(lock, is_watched=is_first and _may_meet()):
            yield
    finally:
        lock.release()


def _wait(lock: FileLock, patience: float | None) -> None:
    try:
        with lock.acquire(timeout=-1 if patience is None else patience):
            pass
    except Timeout:
        pass


@contextmanager
def _letting_others_in(lock: FileLock, *, is_watched: bool) -> Iterator[None]:
    """Release the lock as soon as this thread waits in a collective call, which the others have to make as well."""
    if not is_watched:
        yield
        return
    is_over, thread = Event(), get_ident()

    def watch() -> None:
        while not is_over.wait(_LOOK):
            if _is_meeting(thread):
                lock.release()
                return

    watching = Thread(target=watch, name="fdm-turn", daemon=True)
    watching.start()
    try:
        yield
    finally:
        is_over.set()
        watching.join()


def _may_meet() -> bool:
    group = torch.distributed
    return group.is_available() and group.is_initialized() and group.get_world_size() > 1


def _is_meeting(thread: int) -> bool:
    """Whether a thread of this process is inside a function of torch.distributed."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - nothing public tells
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith("torch.distributed."):
            return True
        frame = frame.f_back
    return False


_LOOK = 0.2  # seconds between looks at what the first process is doing
