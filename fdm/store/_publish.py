"""The store: folders of files under the fingerprint of what made them, published whole by one rename."""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import platformdirs

from .._errors import DownloadError, StoreError
from .._processes.owner import owned, user_in
from ._access import not_removed, whose
from ._lock import Tell, turn
from ._manifest import MANIFEST, REMEDY, VERSION, digest_of, is_published
from ._sweep import STAGING, locks_folder, own_folder, own_kept, sweep, tidy


@attrs.frozen
class Staging:
    """Where an artifact is made: `into` is published, `kept` outlives a failed attempt, `note` tells progress.

    `is_superseded` tells whether another process has published the same meanwhile, which happens without locks.
    """

    into: Path
    kept: Path
    note: Tell
    is_superseded: Callable[[], bool]


@attrs.frozen
class Patience:
    """How a process waits for another that makes the same artifact: for how many seconds, whom it tells, since when."""

    seconds: float | None = None
    tell: Tell = lambda _: None
    came: float = attrs.field(factory=time.monotonic)


def store_folder(store: str | Path | None, environ: Mapping[str, str]) -> Path:
    """The folder of a store: as given, else as `$FDM_STORE` says, else in the user's cache folder; always absolute."""
    chosen = store or environ.get("FDM_STORE") or platformdirs.user_cache_path("fdm")
    return Path(chosen).expanduser().absolute()


def publish(
    folder: Path, make: Callable[[Staging], None], about: Mapping[str, Any], patience: Patience | None = None
) -> Path:
    """The artifact at `folder`, which `make` writes if it is not there yet.

    Its files are written in a staging folder, digested, flushed to disk, and appear under `folder` by one rename,
    together with a manifest (files, sizes, digests). A lock keeps others from doing the same work; it is the rename,
    not the lock, that keeps the store right. If `make` fails nothing is left but what it put into `kept`.

    What is there already is taken as it is: `checked_manifest` tells whether it is what its manifest says.

    Raises `StoreError` if the store cannot be written, or waiting for another process took too long;
    `PreparationError` if that process failed. Errors of `make` pass through.
    """
    if is_published(folder):
        with suppress(OSError):  # a store that cannot be written does not tell when it was used
            os.utime(folder / MANIFEST, follow_symlinks=False)
        with suppress(FileNotFoundError):  # it may have been removed since
            tidy(folder, folder.lstat().st_uid)
        return folder
    store = folder.parent
    patience = patience or Patience()
    with explained(store):
        _make_store(store)
        user = user_in(store)
        locks = locks_folder(store, user)
    waited = turn(
        locks,
        folder.name,
        lambda: is_published(folder),
        patience=patience.seconds,
        tell=patience.tell,
        came=patience.came,
    )
    with ExitStack() as stack:
        with explained(store):
            mine = stack.enter_context(waited)
        if mine is not None:
            with explained(store):
                sweep(store, user)
            _make(folder, make, about, mine, user)
    return folder


def _make_store(store: Path) -> None:
    """Make the folder of a store, for its user alone; one that is there keeps its mode, and so its users."""
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        if not store.is_dir():
            store.mkdir(mode=0o700, exist_ok=True)
    except ValueError as error:  # half of a surrogate pair, or a zero
        msg = f"the store {str(store)!r} cannot be, by its name ({error}); give another folder: store=... or $FDM_STORE"
        raise StoreError(errno.EINVAL, msg) from error


def remove(folder: Path) -> None:
    """Take an artifact away: it vanishes by one rename, so nobody can read half of it; who has it open keeps it.

    Raises `StoreError` if this user may not.
    """
    into = folder.parent / STAGING
    try:
        into = own_folder(folder.parent, STAGING, user_in(folder.parent))
        gone = into / owned(folder.name)
        folder.rename(gone)
    except (FileNotFoundError, StoreError):
        raise
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise not_removed(folder, into) from error
    with explained(folder.parent):
        shutil.rmtree(gone)


def _make(folder: Path, make: Callable[[Staging], None], about: Mapping[str, Any], note: Tell, user: int) -> None:
    store = folder.parent
    name = owned(folder.name)
    with explained(store):
        staging = own_folder(store, STAGING, user) / name
        kept = own_kept(store, folder.name, user, name)
    try:
        with explained(store):
            staging.mkdir()
        make(Staging(staging, kept, note, lambda: is_published(folder)))
        with explained(store):
            _seal(staging, about)
            _rename(staging, folder)
    except Exception:
        # Where locks do not work, another process may have finished the same, and tidied up what both had kept.
        if not is_published(folder):
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if kept.name == name:  # nobody else finds it
            shutil.rmtree(kept, ignore_errors=True)
        tidy(folder, user)


def flush(folder: Path) -> None:
    """Bring all files below a folder to disk, so that a rename cannot outlive what it names."""
    paths = files_below(folder)
    if len(paths) > _FEW:  # the disk takes many at a time
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(_flush_file, paths))
    else:
        for path in paths:
            _flush_file(path)
    for parent in {path.parent for path in paths} | {folder}:
        _flush_folder(parent)


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _seal(staging: Path, about: Mapping[str, Any]) -> None:
    """Write the manifest, and bring everything to disk; what waits for the disk is digested meanwhile."""
    paths = files_below(staging)
    with ThreadPoolExecutor(8) as threads:
        digests = threads.map(digest_of, paths)
        flush(staging)
    files = [
        {"path": path.relative_to(staging).as_posix(), "size": path.stat().st_size, "sha256": digest}
        for path, digest in zip(paths, digests, strict=True)
    ]
    content = {"version": VERSION, **about, "created": datetime.now(UTC).isoformat(timespec="seconds"), "files": files}
    (staging / MANIFEST).write_text(json.dumps(content, indent=1), encoding="utf-8")
    _flush_file(staging / MANIFEST)
    _flush_folder(staging)


def _flush_file(path: Path) -> None:
    with path.open("rb") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.EACCES):  # Windows flushes only what is open for writing
                raise


def _flush_folder(folder: Path) -> None:
    with suppress(OSError):  # some systems cannot open a folder, and flush names on their own
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rename(staging: Path, folder: Path) -> None:
    try:
        staging.rename(folder)
    except OSError as error:
        # Someone whose lock did not exclude ours may have been first, with the same result.
        if not is_published(folder):
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            msg = f"{folder} has no manifest, so what is there is damaged, or not fdm's; {REMEDY}"
            raise StoreError(errno.EIO, msg) from error
    _flush_folder(folder.parent)


@contextmanager
def explained(store: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error that says what to do."""
    try:
        yield
    except (StoreError, DownloadError):
        raise
    except OSError as error:
        remedy = "free some space" if error.errno in FULL else "give another folder: store=... or $FDM_STORE"
        msg = (
            f"the store {store} cannot be written ({error.strerror or error}{_blamed(error)}); {remedy}; what is published "
            f"is untouched"
        )
        raise StoreError(error.errno, msg) from error


def _blamed(error: OSError) -> str:
    """The file or folder that another user keeps from being written, as a part of a message."""
    if not isinstance(error, PermissionError) or error.filename is None:
        return ""
    path = Path(os.fsdecode(error.filename))
    path = path if os.path.lexists(path) else path.parent
    return f": {path}{whose(path)}"


FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_FEW = 8  # files that are flushed one after the other, which takes less than making threads
