"""Downloads: files from the net into a folder, resumed, retried, mirrored and verified."""

import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager, suppress
from functools import partial as bind
from pathlib import Path, PurePosixPath, PureWindowsPath
from queue import Empty, SimpleQueue
from typing import Any
from unicodedata import category, normalize
from urllib.parse import unquote, urlsplit

import attrs
from toolz import frequencies

from .._checks import checked, switch
from .._errors import DownloadError, PipelineError
from .._fingerprint.canonical import digest
from .._processes.owner import is_abandoned, owned
from .._public import public
from ..store._publish import FULL, digest_of, explained
from .progress import bar
from .unpack import unpack


def _checked_url(_: object, attribute: "attrs.Attribute[Any]", url: object) -> None:
    try:
        known = isinstance(url, str) and urlsplit(url).scheme in ("http", "https", "file")
    except ValueError:
        known = False
    if not known:
        msg = f"File: {attribute.name} is an http:, https: or file: URL, not {url!r}"
        raise PipelineError(msg)


def _checked_digest(_: object, attribute: "attrs.Attribute[str | None]", value: object) -> None:
    if value is not None and not (isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value)):
        msg = f"File: {attribute.name} is 64 hexadecimal digits, not {value!r}"
        raise PipelineError(msg)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _checked_mirrors(_: object, attribute: "attrs.Attribute[tuple[str, ...]]", mirrors: tuple[str, ...]) -> None:
    for mirror in mirrors:
        _checked_url(None, attribute, mirror)


def _several(mirrors: Any) -> tuple[str, ...]:
    return tuple(mirrors) if isinstance(mirrors, Iterable) and not isinstance(mirrors, str) else (mirrors,)


def _check_parts(path: str) -> None:
    """Raise `PipelineError` for a path that not every file system has, or that downloads need for themselves."""
    parts = path.split("/")
    odd = next((part for part in parts if part in ("", ".") or not _is_written(part)), None)
    if odd is not None:
        msg = (
            f"File: {path!r:.300} is no name of a file; its parts, between slashes, are names of 1 to {_LONGEST_NAME} "
            f"bytes without control characters, and {odd!r:.100} is none"
        )
        raise PipelineError(msg)
    if parts[0].casefold() == ".partial":
        msg = f"File: {path!r:.300} is in .partial, where download keeps what is not whole; give another name"
        raise PipelineError(msg)


def _is_written(part: str) -> bool:
    try:
        size = len(part.encode())
    except UnicodeEncodeError:  # a half of a character
        return False
    return size <= _LONGEST_NAME and not any(category(character) == "Cc" for character in part)


@public
@attrs.frozen
class File:
    """A file to download: where from, what it must be, and what to call it.

    `sha256` is checked; `name` (default: the last part of the URL) is the path below the folder; `unpack` takes a tar,
    zip or gz apart into that folder; `mirrors` are tried in turn where `url` fails.

    >>> File("https://example.org/data/train.csv").path
    'train.csv'

    Raises `PipelineError` for a URL of another kind, a digest that is none, or a name that leaves the folder.
    """

    url: str = attrs.field(validator=_checked_url)
    sha256: str | None = attrs.field(default=None, converter=_lower, validator=_checked_digest)
    name: str | None = None
    unpack: bool = attrs.field(default=False, **checked(switch, PipelineError, "File: {field}"))
    mirrors: tuple[str, ...] = attrs.field(default=(), converter=_several, validator=_checked_mirrors)

    def __attrs_post_init__(self) -> None:
        written = self.path if isinstance(self.path, str) else ""
        path = PurePosixPath(written)
        strange = "\\" in written or "\0" in written or PureWindowsPath(written).drive
        if not path.name or path.is_absolute() or ".." in path.parts or strange:
            msg = f"File: {self.path!r} is no name of a file below the folder; give one: File(..., name='train.csv')"
            raise PipelineError(msg)
        _check_parts(written)

    @property
    def path(self) -> str:
        """Where the file goes below the folder."""
        return unquote(PurePosixPath(urlsplit(self.url).path).name) if self.name is None else self.name


@public
def download(into: Path, *, files: Sequence[File]) -> None:
    """Download files into a folder: a ready-made function for `fetch`.

    Connections that break go on where they stopped; connection errors, 429 and 5xx are retried with growing pauses;
    what else fails, or has another sha256, is tried from the mirrors. Several files come in parallel. What an attempt
    leaves of a file whose sha256 is known is kept for the next: in the store, or called by hand, in `.partial` below
    the folder.

    Raises `DownloadError` with the cause for every URL, and `PipelineError` for two files of one name.
    """
    download_into(into, files, kept=into / ".partial", progress=sys.stderr.isatty())


def download_into(into: Path, files: Sequence[File], *, kept: Path, progress: bool) -> None:
    """`download` with what an attempt leaves in the folder `kept`, and with or without a progress bar."""
    _check_files(files)
    kept.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    with bar(None, "download", "B", shown=progress) as shown:

        def tell(came: int) -> None:
            if stop.is_set():
                raise _StoppedError
            shown.update(came)

        _side_by_side([bind(_get, file, kept, tell) for file in files], stop)
    # Nothing is put in place before everything is there, so that what came is kept where something else failed.
    for file in files:  # before any archive can take a place
        _place(file, _whole(file, kept), into / file.path)
    _side_by_side([bind(_unpack, into / file.path) for file in files if file.unpack], stop)
    shutil.rmtree(kept)


class _StoppedError(BaseException):
    """Ends a download for which nobody waits any more."""


def _side_by_side(works: Sequence[Callable[[], None]], stop: threading.Event) -> None:
    """Run all in some threads until one fails; those that hang then are left to themselves."""
    todo: SimpleQueue[tuple[Callable[[], None], Future[None]]] = SimpleQueue()
    jobs: list[Future[None]] = [Future() for _ in works]
    for pair in zip(works, jobs, strict=True):
        todo.put(pair)

    def run() -> None:
        with suppress(Empty):
            while not stop.is_set():
                work, job = todo.get_nowait()
                try:
                    job.set_result(work())
                except BaseException as error:  # noqa: BLE001 - raised again where the job is waited for
                    job.set_exception(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(_PARALLEL, len(works)))]
    for thread in threads:
        thread.start()
    try:
        for job in as_completed(jobs):
            job.result()
    except BaseException:
        stop.set()
        raise
    finally:
        for thread in threads:
            thread.join(1 if stop.is_set() else None)


def _check_files(files: object) -> None:
    if not isinstance(files, Sequence) or not files or not all(isinstance(file, File) for file in files):
        msg = f"download takes files, a sequence of fdm.File records, not {files!r:.60}"
        raise PipelineError(msg)
    paths = [file.path for file in files]
    twice = next((path for path, times in frequencies(paths).items() if times > 1), None)
    if twice is not None:
        msg = f"download: two files would be named {twice!r}; tell them apart: File(..., name=...)"
        raise PipelineError(msg)
    _check_apart(paths)


def _check_apart(paths: Sequence[str]) -> None:
    """Raise `PipelineError` for two paths that are one on some file systems, and for a file that another one lies in."""
    folded = {normalize("NFC", normalize("NFC", path).casefold()): path for path in paths}
    if len(folded) < len(paths):
        twice = next(path for path in paths if path not in folded.values())
        msg = (
            f"download: another file has the name {twice!r} but for the case of letters or how accents are written, which "
            f"is one file on some file systems; tell them apart: File(..., name=...)"
        )
        raise PipelineError(msg)
    for key, path in folded.items():
        above = next((folded[str(folder)] for folder in PurePosixPath(key).parents if str(folder) in folded), None)
        if above is not None:
            msg = (
                f"download: {above!r} would be a file, and the folder that {path!r} lies in; tell them apart: "
                f"File(..., name=...)"
            )
            raise PipelineError(msg)


def _get(file: File, kept: Path, tell: Callable[[int], object]) -> None:
    """Have a file whole and verified in the folder `kept`."""
    from .http import read  # noqa: PLC0415 - a third of fdm's import time, and most runs download nothing

    whole = _whole(file, kept)
    if file.sha256 is not None and whole.is_file() and digest_of(whole) == file.sha256:
        return
    causes = []
    with explained(kept), _partial(file, kept) as part:
        for url in (file.url, *file.mirrors):
            if file.sha256 is None:  # nothing else could tell whether two halves belong together
                part.unlink(missing_ok=True)
            resumed = part.exists()
            try:
                read(url, part, tell)
                if resumed and digest_of(part) != file.sha256:  # perhaps it was the beginning that was wrong
                    part.unlink()
                    read(url, part, tell)
                _verify(file, url, part)
            except OSError as error:
                if error.errno in FULL:  # no mirror helps
                    raise
                causes.append(f"  {url}: {error}")
            else:
                part.replace(whole)
                return
    msg = f"cannot download {file.path!r}:\n" + "\n".join(causes)
    raise DownloadError(msg)


def _place(file: File, whole: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        msg = f"{file.path!r} is there already; nothing is overwritten"
        raise DownloadError(msg)
    whole.replace(target)


def _unpack(archive: Path) -> None:
    unpack(archive, archive.parent)
    archive.unlink()


def _whole(file: File, kept: Path) -> Path:
    return kept / f"{_name(file)}.whole"


def _name(file: File) -> str:
    return digest([file.url, file.sha256, file.path])[:24]


def _verify(file: File, url: str, part: Path) -> None:
    if file.sha256 is not None and (found := digest_of(part)) != file.sha256:
        size = part.stat().st_size
        part.unlink()
        msg = f"{file.path!r} has another sha256 ({size} bytes): expected {file.sha256}, got {found} from {url}"
        raise DownloadError(msg)


@contextmanager
def _partial(file: File, kept: Path) -> Iterator[Path]:
    """A file of this process's own to download into, with what a dead process or an earlier failure left of it."""
    name = _name(file)
    mine = kept / owned(name)
    if file.sha256 is not None:  # nothing else could tell whether two halves belong together
        for left in sorted(kept.glob(f"{name}.*")):
            with suppress(OSError):  # another process was faster
                if left.name == f"{name}.left" or is_abandoned(left):
                    left.replace(mine)
                    break
    try:
        yield mine
    finally:
        if mine.exists():
            mine.replace(kept / f"{name}.left")


_PARALLEL = 4
_LONGEST_NAME = 255  # bytes, on nearly all file systems
