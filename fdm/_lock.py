"""Locks that only save work: one prepares, the others wait, see for what, and learn how it ended."""

import errno
import getpass
import json
import os
import platform
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ._errors import PreparationError, StoreError


Tell = Callable[[str], None]


@contextmanager
def turn(
    locks: Path, name: str, is_done: Callable[[], bool], patience: float | None, tell: Tell
) -> Iterator[Tell | None]:
    """Wait until it is this process's turn to make `name`; yields a function to note progress, or None if it is made.

    The lock is released by the operating system if its holder dies, so the next in line takes over. If the holder's
    work fails, those who were waiting raise `PreparationError` with the true cause instead of repeating it. Where the
    file system has no locks, it is everyone's turn: work may be doubled, never spoilt. `tell` gets messages about who
    is waited for; after `patience` seconds (None: as long as it takes) waiting ends in a `StoreError`.
    """
    status, failed = locks / f"{name}.json", locks / f"{name}.failed.json"
    before = _read(failed).get("attempt")
    lock = FileLock(locks / f"{name}.lock")
    began, told = time.monotonic(), ""
    while not is_done() and not _acquired(lock):
        _raise_if_failed(failed, before)
        holder = _holder(_read(status), name)
        if holder != told:
            tell(f"waiting for {holder}")
            told = holder
        if patience is not None and time.monotonic() - began > patience:
            msg = f"waited {patience:g} seconds for {holder}; wait longer, or end that process: what it did is safe"
            raise StoreError(errno.ETIMEDOUT, msg)
    try:
        if is_done():
            yield None
        else:
            _raise_if_failed(failed, before)
            yield from _held(status, failed)
    finally:
        with suppress(OSError, NotImplementedError):
            lock.release()


def _held(status: Path, failed: Path) -> Iterator[Tell]:
    me = {"who": _whoami(), "since": _now()}
    written = -_POLL

    def note(progress: str) -> None:
        nonlocal written
        if time.monotonic() - written >= _POLL:  # nobody looks more often
            _write(status, {**me, "progress": progress})
            written = time.monotonic()

    _write(status, me)
    try:
        yield note
    except Exception as error:
        cause = "".join(traceback.format_exception(error))
        _write(failed, {**me, "attempt": uuid.uuid4().hex, "error": f"{type(error).__name__}: {error}", "cause": cause})
        raise
    else:
        failed.unlink(missing_ok=True)
    finally:
        status.unlink(missing_ok=True)


def _acquired(lock: FileLock) -> bool:
    """Try for a moment to get the lock; where the file system has none, it is had at once."""
    try:
        lock.acquire(timeout=_POLL, poll_interval=_POLL / 4)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno in _NO_PLACE:
            raise
    return True


def _raise_if_failed(failed: Path, before: str | None) -> None:
    found = _read(failed)
    if found and found.get("attempt") != before:
        msg = f"{found['who']}, for which this process waited, failed: {found['error']}\n\n{found['cause']}"
        raise PreparationError(msg)


def _holder(status: dict[str, Any], name: str) -> str:
    if not status:
        return f"another process, which makes {name}"
    progress = f", {status['progress']}" if status.get("progress") else ""
    return f"{status['who']}, which makes {name} since {status['since']}{progress}"


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replace a note at once; a store that cannot be written is reported where the work itself is saved."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    with suppress(OSError):
        try:
            temporary.write_text(json.dumps(content), encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _whoami() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without users
        user = "?"
    return f"process {os.getpid()} of {user} on {platform.node()}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


_POLL = 0.2  # seconds between looks at the lock and at what its holder says
_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR)
