"""Access: files that this user may not use, with whose they are and what to do about it."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from .._errors import StoreError, warn


def check_readable(path: Path) -> None:
    """Raise `StoreError` if this user may not read a file or list a folder which is there."""
    blocked = _blocked(path)
    if blocked is not None:
        msg = f"{blocked} cannot be read{whose(blocked)}; {_REMEDY}"
        raise StoreError(errno.EACCES, msg)


@contextmanager
def access_told() -> Iterator[None]:
    """Tell of a file that this user may not read, where it comes up as a bare `PermissionError`, as `check_readable` does."""
    try:
        yield
    except PermissionError as error:
        if error.filename is not None:
            check_readable(Path(os.fsdecode(error.filename)))
        raise


def not_removed(folder: Path, into: Path) -> StoreError:
    """The error of a folder that this user may not move away, by a rename into the folder `into`."""
    blocked = next((path for path in (into, folder.parent, folder) if not os.access(path, os.W_OK | os.X_OK)), folder)
    msg = (
        f"{folder} cannot be removed: {blocked} cannot be written{whose(blocked)}; let that user prune the store, or "
        f"leave it as it is"
    )
    return StoreError(errno.EACCES, msg)


@cache
def tell_of_writers(store: Path) -> None:
    """Warn, once in a process, where others can write to a store that this user could close to them."""
    about = store.stat()
    is_open = os.name == "posix" and about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if is_open and _me() in (0, about.st_uid):
        who = "everybody" if about.st_mode & stat.S_IWOTH else "its group"
        warn(
            f"{who} can write to the store {store} (mode {stat.filemode(about.st_mode)}), and so decide what this user "
            f"reads from it: chmod go-w {store}, unless all of them are trusted with that"
        )


def remedy_of(path: Path) -> str:
    """What to do about a file that cannot be read: it is another user's, or damaged."""
    blocked = _blocked(path)
    return "fdm.store.verify tells what is damaged" if blocked is None else f"{blocked}{whose(blocked)}: {_REMEDY}"


def whose(path: Path) -> str:
    """Whose a file is, and what its mode allows, as a part of a message; nothing where that cannot be asked."""
    with suppress(OSError):
        found = path.stat()
        return (
            f" (it belongs to {_name(found.st_uid)}, mode {stat.filemode(found.st_mode)}, and this is {_name(_me())})"
        )
    return ""


def _blocked(path: Path) -> Path | None:
    """The first folder on the way to a path that may not be entered, or the path itself if it may not be read."""
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK):
            return folder if folder.exists() else None
    needed = os.R_OK | (os.X_OK if path.is_dir() else 0)
    return path if path.exists() and not os.access(path, needed) else None


def _me() -> int:
    return int(getattr(os, "geteuid", lambda: 0)())


def _name(number: int) -> str:
    with suppress(ImportError, KeyError):
        import pwd  # noqa: PLC0415 - not there on Windows

        return f"user {pwd.getpwuid(number).pw_name}"
    return f"user {number}"


_REMEDY = (
    "let that user run chmod -R a+rX on the store, and prepare with umask 022 (for a group alone: g+rX, umask 027), "
    "or give another folder: store=... or $FDM_STORE"
)
