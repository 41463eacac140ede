"""The store: folders of files under the fingerprint of what made them, published whole by one rename."""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
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
from .._processes.owner import is_abandoned, owned
from ._access import check_readable, not_removed, whose
from ._lock import Tell, turn


MANIFEST = "manifest.json"


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


def artifact_folder(store: Path, label: str, address: str) -> Path:
    """Where the artifact of this address stands; `label` is for people who look into the store."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", label)[:60]
    return store / f"{readable}-{address[:32]}"


def is_published(folder: Path) -> bool:
    """Whether an artifact is there. It is there whole or not at all; `StoreError` if this user may not look."""
    try:
        return stat.S_ISREG((folder / MANIFEST).stat().st_mode)
    except PermissionError:
        check_readable(folder)
        raise
    except (OSError, ValueError):
        return False


def publish(
    folder: Path, make: Callable[[Staging], None], about: Mapping[str, Any], patience: Patience | None = None
) -> Path:
    """The artifact at `folder`, which `make` writes if it is not there yet.

    Its files are written in a staging folder, digested, flushed to disk, and appear under `folder` by one rename,
    together with a manifest (files, sizes, digests). A lock keeps others from doing the same work; it is the rename,
    not the lock, that keeps the store right. If `make` fails nothing is left but what it put into `kept`.

    Raises `StoreError` if the store cannot be written, or waiting for another process took too long;
    `PreparationError` if that process failed. Errors of `make` pass through.
    """
    if is_published(folder):
        with suppress(OSError):  # a store that cannot be written does not tell when it was used
            os.utime(folder / MANIFEST)
        _tidy(folder)
        return _readable(folder)
    store = folder.parent
    patience = patience or Patience()
    with explained(store):
        for name in (".locks", ".staging", ".kept"):
            (store / name).mkdir(parents=True, exist_ok=True)
    waited = turn(
        store / ".locks",
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
                sweep(store)
            _make(folder, make, about, mine)
    return _readable(folder)


def _readable(folder: Path) -> Path:
    """The folder of an artifact, if this user may read what is in it; `StoreError` else."""
    check_readable(folder)
    for path in folder.iterdir():
        check_readable(path)
    return folder


def sweep(store: Path) -> list[Path]:
    """Remove what dead processes left half-made, and return what that was."""
    removed = []
    for path in sorted((store / ".staging").iterdir()):
        with suppress(OSError):  # its owner, or another sweeper, was faster; or it is another user's
            if is_abandoned(path):
                shutil.rmtree(path)
                removed.append(path)
    for path in (store / ".kept").iterdir():
        _tidy(store / path.name)
    return removed


def remove(folder: Path) -> None:
    """Take an artifact away: it vanishes by one rename, so nobody can read half of it; who has it open keeps it.

    Raises `StoreError` if this user may not.
    """
    gone = folder.parent / ".staging" / owned(folder.name)
    try:
        gone.parent.mkdir(exist_ok=True)
        folder.rename(gone)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise not_removed(folder, gone.parent) from error
    with explained(folder.parent):
        shutil.rmtree(gone)


def manifest(folder: Path) -> dict[str, Any]:
    """What an artifact says of itself; `StoreError` if that cannot be read."""
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        check_readable(folder / MANIFEST)
        msg = f"the manifest of {folder} cannot be read ({error}); remove the folder, and it is made again"
        raise StoreError(errno.EIO, msg) from error
    return found


def digest_of(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make(folder: Path, make: Callable[[Staging], None], about: Mapping[str, Any], note: Tell) -> None:
    store = folder.parent
    staging, kept = store / ".staging" / owned(folder.name), store / ".kept" / folder.name
    try:
        with explained(store):
            staging.mkdir()
            kept.mkdir(exist_ok=True)
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
        _tidy(folder)


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


def _tidy(folder: Path) -> None:
    """Remove what was kept for an artifact's next attempt, once it is published; before, only an empty folder."""
    kept = folder.parent / ".kept" / folder.name
    with suppress(OSError):
        kept.rmdir()
    with suppress(OSError):
        if kept.exists() and is_published(folder):
            shutil.rmtree(kept, ignore_errors=True)


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
    content = {"version": 1, **about, "created": datetime.now(UTC).isoformat(timespec="seconds"), "files": files}
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
    except OSError:
        # Someone whose lock did not exclude ours may have been first, with the same result.
        if not is_published(folder):
            raise
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
