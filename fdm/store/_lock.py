"""Locks that only save work: one prepares, the others wait, see for what, and learn how it ended."""

import errno
import getpass
import json
import os
import platform
import stat
import time
import traceback
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .._errors import PreparationError, StoreError, text_of
from .._processes.owner import is_abandoned, machine, owned
from .._text import printable


Tell = Callable[[str], None]


@contextmanager
def turn(
    locks: Path, name: str, is_done: Callable[[], bool], *, patience: float | None, tell: Tell, came: float
) -> Iterator[Tell | None]:
    """Wait until it is this process's turn to make `name`; yields a function to note progress, or None if it is made.

    The lock is released by the operating system if its holder dies, so the next in line takes over. If an attempt of
    another process fails after this one came (at `came`, as `time.monotonic` tells), it raises `PreparationError` with
    the cause instead of repeating the work: which attempts are older is known by their names, so it does not matter when
    this process wakes up to look. Where the file system has no locks, it is everyone's turn: work may be doubled, never
    spoilt. `tell` gets messages about who is waited for; after `patience` seconds (None: as long as it takes) waiting
    ends in a `StoreError`.
    """
    status, failed = locks / f"{name}.json", locks / f"{name}.failed.json"
    older = {failure["attempt"] for failure in _failures(failed) if not _is_after(failure, came)}
    lock = FileLock(locks / f"{name}.lock")
    began, told = time.monotonic(), ""
    while not is_done() and not _acquired(lock):
        _raise_if_failed(failed, older)
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
            _raise_if_failed(failed, older)
            yield from _held(status, failed)
    finally:
        with suppress(OSError, NotImplementedError):
            lock.release()


def _held(status: Path, failed: Path) -> Iterator[Tell]:
    me = {"who": _whoami(), "since": _now()}
    written = -_POLL
    _tidy(status)

    def note(progress: str) -> None:
        nonlocal written
        if time.monotonic() - written >= _POLL:  # nobody looks more often
            _write(status, {**me, "progress": printable(progress)})
            written = time.monotonic()

    _write(status, me)
    try:
        yield note
    except Exception as error:
        failure = {**me, "attempt": uuid.uuid4().hex, "machine": machine(), "ended": time.monotonic(), **_told(error)}
        # Who sleeps through several attempts still learns of the one that it waited for.
        _write(failed, {"failures": [*_failures(failed), failure][-_REMEMBERED:]})
        raise
    else:
        _forget(failed)
    finally:
        _forget(status)


def _forget(note: Path) -> None:
    with suppress(OSError):  # another user's, or no note at all
        note.unlink(missing_ok=True)


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


def _raise_if_failed(failed: Path, older: Collection[str]) -> None:
    """Raise for the first attempt that failed after this process came: no other can have been at work then."""
    failure = next((failure for failure in _failures(failed) if failure["attempt"] not in older), None)
    if failure is not None:
        msg = f"{failure['who']}, for which this process waited, failed: {failure['error']}\n\n{failure['cause']}"
        raise PreparationError(msg)


def _is_after(failure: dict[str, Any], came: float) -> bool:
    """Whether an attempt failed after a moment of this machine's clock, which runs alike in all its processes."""
    return failure["machine"] == machine() and bool(failure["ended"] > came)


def _failures(failed: Path) -> list[dict[str, Any]]:
    found = _read(failed).get("failures", [])
    return [failure for failure in found if _is_failure(failure)] if isinstance(found, list) else []


def _is_failure(found: object) -> bool:
    texts = ("attempt", "machine", "who", "error", "cause")
    return (
        isinstance(found, dict)
        and all(isinstance(found.get(name), str) for name in texts)
        and isinstance(found.get("ended"), int | float)
    )


def _told(error: Exception) -> dict[str, str]:
    """An error as a record of it says it; of an endless text, both ends."""
    try:
        cause = "".join(traceback.format_exception(error))
    except Exception as other:  # noqa: BLE001 - an exception of the user's may answer in any way it likes
        cause = f"its traceback cannot be shown: {text_of(other)}"
    said = f"{type(error).__name__}: {text_of(error)}"
    return {"error": _clipped(printable(said), 2_000), "cause": _clipped(printable(cause), 20_000)}


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}\n... ({len(text):,} letters) ...\n{text[-most // 2 :]}"


def _holder(status: dict[str, Any], name: str) -> str:
    if not {"who", "since"} <= status.keys():
        return f"another process, which makes {name}"
    progress = f", {status['progress']}" if status.get("progress") else ""
    return f"{status['who']}, which makes {name} since {status['since']}{progress}"


def _read(path: Path) -> dict[str, Any]:
    """A note; nothing where there is none, or something else is in its place, which is neither followed nor waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, encoding="utf-8") as file:
            is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
            found: Any = json.loads(file.read(_LONGEST)) if is_file else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replace a note at once; a store that cannot be written is reported where the work itself is saved."""
    temporary = path.with_name(owned(path.name))
    with suppress(OSError):
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(json.dumps(content))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _tidy(status: Path) -> None:
    """Remove the notes that were half-written when their writers were killed."""
    for path in status.parent.glob(f"{status.stem}.*.*.*"):
        with suppress(OSError):
            if is_abandoned(path):
                path.unlink()


def _whoami() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without users
        user = "?"
    return f"process {os.getpid()} of {user} on {platform.node()}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


_LONGEST = 1 << 22  # letters of a note, which has far fewer
_REMEMBERED = 8  # failed attempts
_POLL = 0.2  # seconds between looks at the lock and at what its holder says
_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR)
