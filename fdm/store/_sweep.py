"""Sweeping: folders for what is not published yet, and what of it may go: this user's own, and only what fdm left there."""

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .._errors import StoreError
from .._processes.owner import is_abandoned, is_folder_of, is_owned, machine
from ._access import whose
from ._manifest import is_artifact_name, is_published


LOCKS, STAGING, KEPT = ".locks", ".staging", ".kept"


def own_folder(store: Path, name: str, user: int) -> Path:
    """The folder of this name in a store; where that is a link or another user's, one that only this user has.

    Raises `StoreError` where that is not to be had either.
    """
    for path in (store / name, store / f"{name}-{user}"):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        if is_folder_of(path, user):
            return path
    msg = f"{path} is no folder of this user's{whose(path)}; remove it, or give another store: store=... or $FDM_STORE"
    raise StoreError(errno.EEXIST, msg)


def locks_folder(store: Path, user: int) -> Path:
    """The folder of a store's locks, which all of its users share; where it is a link, one that only this user has."""
    path = store / LOCKS
    with suppress(FileExistsError):
        path.mkdir()
    return path if stat.S_ISDIR(path.lstat().st_mode) else own_folder(store, LOCKS, user)


def own_kept(store: Path, name: str, user: int, spare: str) -> Path:
    """The folder of what earlier attempts left for an artifact; an empty one, `spare`, where another user may have written.

    What is in it becomes part of an artifact, and is not looked at again.
    """
    room = own_folder(store, KEPT, user)
    path = room / name
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if is_folder_of(path, user) and all(each.lstat().st_uid == user for each in path.iterdir()):
        return path
    (room / spare).mkdir(mode=0o700)
    return room / spare


def sweep(store: Path, user: int) -> None:
    """Remove what dead processes of this user left half-made.

    Only real folders with names that fdm made, whose owner is known to be dead; nothing is followed.
    """
    for path in [*_folders(store, STAGING, user), *_folders(store, KEPT, user)]:
        with suppress(OSError):  # its owner, or another sweeper, was faster
            if is_abandoned(path):
                shutil.rmtree(path)
            elif _is_kept(path) and not _is_locked(store, path.name):  # who makes it puts parts there
                tidy(store / path.name, user)


def sweep_old(store: Path, user: int, seconds: float) -> None:
    """Remove what this user left and nobody has written to for so long: kept parts, and what other machines began.

    What a living process of this machine makes stays, and so does what others have changed within a month.
    """
    for path in _folders(store, KEPT, user):
        if _is_kept(path) and _age(path) > seconds and not _is_locked(store, path.name):
            shutil.rmtree(path, ignore_errors=True)
    for path in [*_folders(store, STAGING, user), *_folders(store, KEPT, user)]:
        if is_owned(path) and _is_elsewhere(path) and _age(path) > max(seconds, _MONTH):
            shutil.rmtree(path, ignore_errors=True)


def tidy(folder: Path, user: int) -> None:
    """Remove what was kept for an artifact's next attempt, once it is published; before, only an empty folder."""
    for room in _rooms(folder.parent, KEPT, user):
        kept = room / folder.name
        if not is_folder_of(kept, user):
            continue
        with suppress(OSError):
            kept.rmdir()
            continue
        with suppress(OSError):
            if is_published(folder):
                shutil.rmtree(kept, ignore_errors=True)


def _rooms(store: Path, name: str, user: int) -> list[Path]:
    return [path for path in (store / name, store / f"{name}-{user}") if is_folder_of(path, user)]


def _folders(store: Path, name: str, user: int) -> Iterator[Path]:
    """The real folders of a user in the folders that `own_folder` gives for a name."""
    for room in _rooms(store, name, user):
        with suppress(OSError):
            yield from sorted(path for path in room.iterdir() if is_folder_of(path, user))


def _is_kept(path: Path) -> bool:
    return path.parent.name.startswith(KEPT) and is_artifact_name(path.name)


def _is_elsewhere(path: Path) -> bool:
    return path.name.rsplit(".", 2)[1].partition("-")[0] != machine()


def _age(path: Path) -> float:
    """For how many seconds nothing has changed in a folder."""
    newest = 0.0
    for folder, _, files in os.walk(path):  # which is silent where something vanishes meanwhile
        for each in (Path(folder), *(Path(folder, file) for file in files)):
            with suppress(OSError):
                newest = max(newest, each.lstat().st_mtime)
    return time.time() - newest if newest else 0.0


def _is_locked(store: Path, name: str) -> bool:
    """Whether a process makes the artifact of this name now; where there are no locks, nobody is known to."""
    for locks in (store / LOCKS, *store.glob(f"{LOCKS}-*")):
        file = locks / f"{name}.lock"
        if not os.path.lexists(file):
            continue
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        except (OSError, NotImplementedError):
            continue
        lock.release()
    return False


_MONTH = 30 * 24 * 3600
