"""Downloads: files from the net into a folder, resumed, retried, mirrored and verified."""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from ._canonical import digest
from ._errors import DownloadError, PipelineError
from ._owner import is_abandoned, owned
from ._progress import bar
from ._store import digest_of
from ._unpack import unpack


def _checked_url(_: object, attribute: "attrs.Attribute[str]", url: object) -> None:
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https", "file"):
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
        _checked_url(None, attribute, mirror)  # type: ignore[arg-type]


def _several(mirrors: Any) -> tuple[str, ...]:
    return (mirrors,) if isinstance(mirrors, str) else tuple(mirrors)


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
    unpack: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))
    mirrors: tuple[str, ...] = attrs.field(default=(), converter=_several, validator=_checked_mirrors)

    def __attrs_post_init__(self) -> None:
        path = PurePosixPath(self.path)
        if not path.name or path.is_absolute() or ".." in path.parts or "\\" in self.path:
            msg = f"File: {self.path!r} is no name of a file below the folder; give one: File(..., name='train.csv')"
            raise PipelineError(msg)

    @property
    def path(self) -> str:
        """Where the file goes below the folder."""
        return unquote(PurePosixPath(urlsplit(self.url).path).name) if self.name is None else self.name


def download(into: Path, *, files: Sequence[File], partial: Path | None = None, progress: bool = False) -> None:
    """Download files into a folder: a ready-made function for `fetch`.

    Connections that break go on where they stopped; connection errors, 429 and 5xx are retried with growing pauses;
    what else fails, or has another sha256, is tried from the mirrors. Several files come in parallel. What an attempt
    leaves of a file whose sha256 is known is kept below `partial` (default: `.partial` in the folder) for the next.

    Raises `DownloadError` with the cause for every URL, and `PipelineError` for two files of one name.
    """
    _check_files(files)
    kept = into / ".partial" if partial is None else partial
    kept.mkdir(parents=True, exist_ok=True)
    with bar(None, "download", "B", shown=progress) as shown, ThreadPoolExecutor(_PARALLEL) as threads:
        jobs = [threads.submit(_get, file, into, kept, shown.update) for file in files]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            for job in jobs:
                job.cancel()
            raise
    if partial is None:
        shutil.rmtree(kept)


def _check_files(files: object) -> None:
    if not isinstance(files, Sequence) or not files or not all(isinstance(file, File) for file in files):
        msg = f"download takes files, a sequence of fdm.File records, not {files!r:.60}"
        raise PipelineError(msg)
    paths = [file.path for file in files]
    twice = next((path for place, path in enumerate(paths) if path in paths[:place]), None)
    if twice is not None:
        msg = f"download: two files would be named {twice!r}; tell them apart: File(..., name=...)"
        raise PipelineError(msg)


def _get(file: File, into: Path, kept: Path, tell: Callable[[int], object]) -> None:
    target = into / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    from ._http import read  # noqa: PLC0415 - a third of fdm's import time, and most runs download nothing

    causes = []
    with _partial(file, kept) as part:
        for url in (file.url, *file.mirrors):
            try:
                read(url, part, tell)
                _verify(file, url, part)
            except OSError as error:
                causes.append(f"  {url}: {error}")
            else:
                _place(file, part, target)
                return
    msg = f"cannot download {file.path!r}:\n" + "\n".join(causes)
    raise DownloadError(msg)


def _place(file: File, part: Path, target: Path) -> None:
    if target.exists():
        msg = f"{file.path!r} is there already, from another archive perhaps; nothing is overwritten"
        raise DownloadError(msg)
    part.replace(target)
    if file.unpack:
        unpack(target, target.parent)
        target.unlink()


def _verify(file: File, url: str, part: Path) -> None:
    found = digest_of(part)
    if file.sha256 is not None and found != file.sha256:
        size = part.stat().st_size
        part.unlink()
        msg = f"{file.path!r} has another sha256 ({size} bytes): expected {file.sha256}, got {found} from {url}"
        raise DownloadError(msg)


@contextmanager
def _partial(file: File, kept: Path) -> Iterator[Path]:
    """A file of this process's own to download into, with what a dead process or an earlier failure left of it."""
    name = digest([file.url, file.sha256])[:24]
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
