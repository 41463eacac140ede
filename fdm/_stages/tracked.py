"""Tracked paths: the content of files and folders, which stands for them in fingerprints."""

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import attrs

from .._errors import DataError
from .._fingerprint.canonical import Value, digest
from .function import Function, Tracked


@attrs.frozen(eq=False)
class Content(Value):
    """What stands for a tracked path in a fingerprint: a file's digest, or that of the names and digests in a folder."""

    kind: str
    sha256: str


def with_content(function: Function) -> Function:
    """The function with the content of its tracked paths in their place. Raises `DataError` for what cannot be read."""
    return function.with_tracked(content_of) if function.tracked else function


def content_of(tracked: Tracked) -> Content:
    """The content of a file, or of all files below a folder, by their names in it; links count as what they lead to.

    Digests are remembered by size, times and inode while the process lives. Raises `DataError` for what is not there,
    cannot be read, is no file or folder, or changes meanwhile.
    """
    path = tracked.absolute()
    try:
        kind = path.stat().st_mode
        if stat.S_ISREG(kind):
            return Content("file", _file(path))
        if not stat.S_ISDIR(kind):
            msg = f"{tracked!r} is neither a file nor a folder, so it has no content that could be told: {path}"
            raise DataError(msg)
        files = sorted(_files(path, "", (path.resolve(),)))
        with ThreadPoolExecutor(8) as threads:
            digests = threads.map(_file, [each for _, each in files])
            listing = [[name, sha256] for (name, _), sha256 in zip(files, digests, strict=True)]
    except FileNotFoundError as error:
        msg = (
            f"{tracked!r} names nothing that is there: {error.filename or path} (the working directory is {Path.cwd()}); "
            f"its content is part of the fingerprint, so it has to be there when the pipeline is prepared or opened"
        )
        raise DataError(msg) from None
    except OSError as error:
        msg = f"{tracked!r} cannot be read, and its content is part of the fingerprint: {error}"
        raise DataError(msg) from error
    return Content("folder", digest(listing))


def _files(folder: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """All files below a folder with their names in it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name, path = f"{prefix}{entry.name}", Path(entry.path)
            if entry.is_dir():
                if entry.is_symlink() and path.resolve() in above:
                    msg = f"{path} leads back to a folder that it lies in"
                    raise DataError(msg)
                yield from _files(path, f"{name}/", (*above, path.resolve()))
            elif stat.S_ISREG(path.stat().st_mode):
                yield name, path
            else:
                msg = f"{path} is no file that could be read; take it out of the tracked folder"
                raise DataError(msg)


def _file(path: Path) -> str:
    seen = path.stat()
    # Within the grain of a file system's clock a file can change without another time, so young files are read again.
    is_old = time.time_ns() - max(seen.st_mtime_ns, seen.st_ctime_ns) > _GRAIN
    known = _digest if is_old else _digest.__wrapped__
    return known(path, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)


@lru_cache(maxsize=1 << 20)
def _digest(path: Path, size: int, changed: int, touched: int, inode: int) -> str:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    seen = path.stat()
    if (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino) != (size, changed, touched, inode):
        msg = f"{path} changed while it was read; prepare again when nothing writes to it"
        raise DataError(msg)
    return sha256


_GRAIN = 2_000_000_000  # nanoseconds
