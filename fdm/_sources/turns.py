"""Turns: one process of a machine runs a load function first, since it may download; the others follow together."""

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread, get_ident

import platformdirs
import torch
from filelock import FileLock, Timeout

from .._processes.owner import is_folder_of, machine
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
    is_first = False
    try:
        lock = FileLock(_own_folder() / f"load-{machine()}-{name[:24]}.lock", thread_local=False)
    except OSError:  # without locks all load at the same time
        yield
        return
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


def _own_folder() -> Path:
    """A folder that only this user can write to: nobody else can be in the way there, or lead the locks elsewhere."""
    user = getattr(os, "getuid", lambda: 0)()
    for folder in (platformdirs.user_cache_path("fdm") / ".turns", Path(tempfile.gettempdir()) / f"fdm-{user}"):
        try:
            folder.parent.parent.mkdir(parents=True, exist_ok=True)
            folder.parent.mkdir(mode=0o700, exist_ok=True)  # the default store, which may not be there yet
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError:
            continue
        if _is_own(folder, user):
            return folder
    msg = "there is no folder for locks of this user alone"
    raise OSError(errno.EACCES, msg)


def _is_own(folder: Path, user: int) -> bool:
    """Whether a folder is real, no link, and only this user's to write to."""
    is_closed = os.name != "posix" or not folder.lstat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return is_folder_of(folder, user) and is_closed and os.access(folder, os.W_OK | os.X_OK)


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
