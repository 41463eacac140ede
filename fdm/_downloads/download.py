"""Downloads: files from the net into a folder, resumed, retried, mirrored and verified."""

import logging
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager, suppress
from functools import partial as bind
from pathlib import Path
from queue import Empty, SimpleQueue

from toolz import frequencies

from .._errors import DownloadError, PipelineError
from .._fingerprint.canonical import digest
from .._processes.owner import is_abandoned, owned
from .._processes.progress import bar, tell
from .._public import public
from .._text import bare_url, short
from ..store._manifest import digest_of
from ..store._publish import FULL, explained
from .credentials import environment, headers_from, unsaid
from .file import File, check_apart, check_not_starred
from .unpack import unpack


@public
def download(into: Path, *, files: Sequence[File], silence: float = 60.0, total: float | None = None) -> None:
    """Download files into a folder: a ready-made function for `fetch`.

    Connections that break go on where they stopped, if what is there provably is the beginning of the same file: by its
    sha256, or by a strong ETag of the server; otherwise they begin anew. Connection errors, 429 and 5xx are retried
    with growing pauses; what else fails, or has another sha256, is tried from the mirrors. Nothing is redirected from
    https to http. Several files come in parallel. What an attempt leaves of a file whose sha256 is known is kept for
    the next: in the store, or called by hand, in `.partial` below the folder. The sha256 of a file that has none is
    logged, ready to paste.

    A connection that is silent for `silence` seconds counts as broken. `total` (default: no limit) is the time in
    seconds after which what has not come is given up. Neither has a part in the fingerprint.

    Raises `DownloadError` with the cause for every URL, `StoreError` where the disk is full, and `PipelineError` for two
    files of one name, and for limits that are no number of seconds.
    """
    kept = into / ".partial"
    download_into(into, files, kept=kept, progress=sys.stderr.isatty(), silence=silence, total=total)


def download_into(
    into: Path,
    files: Sequence[File],
    *,
    kept: Path,
    progress: bool,
    silence: float = 60.0,
    total: float | None = None,
) -> None:
    """`download` with what an attempt leaves in the folder `kept`, and with or without a progress bar."""
    _check_files(files)
    _check_seconds("silence", silence)
    if total is not None:
        _check_seconds("total", total)
    headers = [headers_from(environment(), file.headers, file.path) for file in files]
    digests: dict[str, str] = {}
    with explained(into):
        kept.mkdir(parents=True, exist_ok=True)
        stop = threading.Event()
        with bar(None, "download", "B", shown=progress) as shown:

            def count(size: int) -> None:
                if stop.is_set():
                    raise _StoppedError
                shown.update(size)

            _side_by_side(
                [
                    bind(_get, *each, kept, count, silence=silence, digests=digests)
                    for each in zip(files, headers, strict=True)
                ],
                stop,
                total,
            )
        # Nothing is put in place before everything is there, so that what came is kept where something else failed.
        for file in files:  # before any archive can take a place
            _place(file, _whole(file, kept), into / file.path)
        _side_by_side([bind(_unpack, file, kept, into / file.path) for file in files if file.unpack], stop)
        shutil.rmtree(kept)
    _tell_digests(digests, shown=progress)


def _tell_digests(digests: Mapping[str, str], *, shown: bool) -> None:
    """Tell the sha256 of files that have none: where bars are shown on the terminal, else as a warning in the log."""
    for path, sha256 in sorted(digests.items()):
        message = f'nothing tells whether {path!r} came right; pin what came in its fdm.File: sha256="{sha256}"'
        tell(message, shown=shown, unseen=logging.WARNING)


class _StoppedError(BaseException):
    """Ends a download for which nobody waits any more."""


def _side_by_side(works: Sequence[Callable[[], None]], stop: threading.Event, total: float | None = None) -> None:
    """Run all in some threads until one fails or `total` seconds are over; those that hang then are left to themselves."""
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
        for job in as_completed(jobs, timeout=total):
            job.result()
    except TimeoutError as error:
        stop.set()
        missing = sum(not job.done() for job in jobs)
        msg = (
            f"{missing} of {len(jobs)} files had not come whole after {total:g} seconds, which is the limit; allow more: "
            f"fdm.download with total=..."
        )
        raise DownloadError(msg) from error
    except BaseException:
        stop.set()
        raise
    finally:
        for thread in threads:
            thread.join(1 if stop.is_set() else None)


def _check_files(files: object) -> None:
    if not isinstance(files, Sequence) or not files or not all(isinstance(file, File) for file in files):
        msg = f"download takes files, a sequence of fdm.File records, not {short(files, 60)}"
        raise PipelineError(msg)
    for file in files:  # those of a checkpoint are not checked when they are made again
        for url in (file.url, *file.mirrors):
            check_not_starred("url", url)
    paths = [file.path for file in files]
    twice = next((path for path, times in frequencies(paths).items() if times > 1), None)
    if twice is not None:
        msg = f"download: two files would be named {twice!r}; tell them apart: File(..., name=...)"
        raise PipelineError(msg)
    check_apart(paths)


def _check_seconds(name: str, seconds: object) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST:
        msg = f"download: {name} is a number of seconds, above 0 and at most {_LONGEST:,}, not {short(seconds, 60)}"
        raise PipelineError(msg)


def _get(
    file: File,
    headers: Mapping[str, str],
    kept: Path,
    count: Callable[[int], object],
    *,
    silence: float,
    digests: dict[str, str],
) -> None:
    """Have a file whole and verified in the folder `kept`, and where it has no sha256, say in `digests` what it is."""
    from .http import read  # noqa: PLC0415 - a third of fdm's import time, and most runs download nothing
    from .session import Secret  # noqa: PLC0415 - likewise

    whole = _whole(file, kept)
    if file.sha256 is not None and whole.is_file() and digest_of(whole) == file.sha256:
        return
    causes, secret = [], Secret(file.url, headers)
    with explained(kept), _partial(file, kept) as part:
        for url in (file.url, *file.mirrors):
            if file.sha256 is None:  # nothing else could tell whether two halves belong together
                part.unlink(missing_ok=True)
            get = bind(read, url, part, count, sha256=file.sha256, silence=silence, secret=secret)
            try:
                if not get() and file.sha256 not in (None, digest_of(part)):  # perhaps the beginning was another file's
                    part.unlink()
                    get()
                _verify(file, url, part)
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno in FULL:  # no mirror helps
                    raise
                causes.append(unsaid(f"  {bare_url(url)}: {error}", (file.url, *file.mirrors), headers.values()))
            else:
                if file.sha256 is None:
                    digests[file.path] = digest_of(part)
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


def _unpack(file: File, kept: Path, archive: Path) -> None:
    try:
        unpack(archive, archive.parent)
    except BaseException:
        archive.replace(_whole(file, kept))  # whose sha256 is known need not come again
        raise
    archive.unlink()


def _whole(file: File, kept: Path) -> Path:
    return kept / f"{_name(file)}.whole"


def _name(file: File) -> str:
    return digest([file.counted()["url"], file.sha256, file.path])[:24]


def _verify(file: File, url: str, part: Path) -> None:
    if file.sha256 is not None and (found := digest_of(part)) != file.sha256:
        size = part.stat().st_size
        part.unlink()
        msg = (
            f"{file.path!r} has another sha256 ({size} bytes): expected {file.sha256}, got {found} from {bare_url(url)}"
        )
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
_LONGEST = 2_000_000  # seconds that every system can wait for: three weeks
