"""Parts: one function run over many parts in a pool, each saved as it finishes, whatever dies in between."""

import errno
import pickle
import shutil
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from toolz import first, frequencies, merge_with

from .._arrays.table import Table
from .._errors import DataError, PoisonError, StoreError, add_note, stop_of, text_of
from .._fingerprint.canonical import digest
from .._processes.owner import owned
from .._stages.function import Function
from .._text import printable, short
from ..store._publish import flush
from ..store._tables import open_tables, save_tables
from .pool import Pool
from .streams import save_returned


@attrs.frozen
class Part:
    """One part to clean: its name, the function with what comes before the name, and where its tables go."""

    name: str
    function: Function
    upstream: tuple[Any, ...]
    folder: Path

    @property
    def is_done(self) -> bool:
        """Whether the part's tables are there; they are there whole or not at all."""
        return self.folder.is_dir()


def parts_of(names: object, function: Function, upstream: tuple[Any, ...], kept: Path) -> list[Part]:
    """The parts of these names, in order; `DataError` unless they are different strings, at least one."""
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        msg = f"each takes a function that returns a list of names of parts, strings, not {short(names, 60)}"
        raise DataError(msg)
    if not names:
        msg = "each: there are no parts; the function that lists them returned an empty list"
        raise DataError(msg)
    if len(set(names)) < len(names):
        twice = first(name for name, times in frequencies(names).items() if times > 1)
        msg = f"each: the part {twice!r} is listed twice; the names of parts are different"
        raise DataError(msg)
    return [Part(name, function, upstream, kept / digest(name)[:32]) for name in names]


def run_parts(
    parts: Sequence[Part], pool: Pool, tell: Callable[[int], None], is_superseded: Callable[[], bool] = lambda: False
) -> None:
    """Make every part that is not there yet; `tell` gets the number of those that are.

    Parts are submitted in a window that moves, so a pool that dies takes few with it; what was in it then is run again
    one by one, on a new pool, and a part that ends its process again and again is named in a `PoisonError`. After the
    first error of the user's function no part is begun; those running are finished and saved, and the error is raised
    with the part's name. A later call makes only what is missing. `is_superseded` tells whether another process has
    finished all of it, and perhaps tidied up these parts: a `StoreError` then.
    """
    while missing := [part for part in parts if not part.is_done]:
        done = len(parts) - len(missing)
        tell(done)
        lost, failure = _run(missing, pool, pool.window, partial(_add, tell, done))
        for part in lost:
            failure = failure or _run_alone(part, pool)
        if failure is not None:
            raise failure
        if not lost:
            _check_shared(missing, is_superseded)
    tell(len(parts))


def _check_shared(parts: Sequence[Part], is_superseded: Callable[[], bool]) -> None:
    """Wait for parts that were made elsewhere to appear, as on a shared file system; `StoreError` if they do not."""
    until = time.monotonic() + _PATIENCE
    while unseen := [part for part in parts if not part.is_done]:
        if is_superseded():
            msg = f"the parts in {unseen[0].folder.parent} are tidied up: another process has finished the same"
            raise StoreError(errno.ENOENT, msg)
        if time.monotonic() > until:
            msg = (
                f"{len(unseen)} parts, {unseen[0].name!r} first, were made by the pool's workers but do not appear in "
                f"{unseen[0].folder.parent}; the store must be a folder that all workers share"
            )
            raise StoreError(errno.ENOENT, msg)
        time.sleep(0.1)


def _add(tell: Callable[[int], None], done: int, finished: int) -> None:
    tell(done + finished)


def _run_alone(part: Part, pool: Pool) -> Exception | None:
    """Try a part that was lost in company, which may have been another's fault; returns the user's error."""
    for _ in range(_ATTEMPTS):
        lost, failure = _run([part], pool, 1, lambda _: None)
        if not lost:
            return failure
    raise _poison(part, pool)


def joined(parts: Sequence[Part], into: Path) -> None:
    """Write the concatenation of the parts' tables, in order and per source name, from file to file."""
    tables: dict[str, list[Table]] = merge_with(list, *(open_tables(part.folder) for part in parts))
    if "" in tables and len(tables) > 1:
        msg = "each: some parts returned a Table and some a mapping of Tables; they must agree"
        raise DataError(msg)
    if not sum(len(table) for found in tables.values() for table in found):
        msg = "each: all parts returned empty tables; there are columns but no rows"
        raise DataError(msg)
    save_tables(tables, into)


def clean_part(part: Part, _attempt: str) -> Exception | None:
    """Make one part, in whatever process this runs; the user's error is returned, since raised ones mean a lost part.

    Attempts have different names, since some engines answer equal calls with what they know, such as an earlier loss.
    """
    if part.is_done:
        return None
    try:
        made = part.function.bound()(*part.upstream, part.name)
        _save(made, part.function.name, part.folder)
    except Exception as error:  # noqa: BLE001 - it is raised again where the part was asked for
        return _sendable(error)
    except (SystemExit, GeneratorExit) as error:
        if (stopped := stop_of(error)) is None:
            raise
        return _sendable(stopped)
    return None


def _run(
    parts: Sequence[Part], pool: Pool, window: int, tell: Callable[[int], None]
) -> tuple[list[Part], Exception | None]:
    """Run parts through a window; returns those that were lost with their processes, and the first user's error."""
    waiting = deque(parts)
    running: dict[Future[Exception | None], Part] = {}
    lost: list[Part] = []
    failures: dict[str, Exception] = {}
    finished = 0
    while running or (waiting and not lost and not failures):
        while waiting and len(running) < window and not lost and not failures:
            part = waiting.popleft()
            try:
                running[pool.executor.submit(clean_part, part, uuid.uuid4().hex)] = part
            except BrokenExecutor:
                lost.append(part)
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            part = running.pop(future)
            error = future.exception()
            if error is not None:
                lost.append(part)
                pool.last_error = error
            elif (result := future.result()) is not None:
                failures[part.name] = result
            else:
                finished += 1
                tell(finished)
            del future  # engines keep, and after a death repeat, what somebody still holds
    if lost:
        pool.renew()
    return lost, _first(failures, [part.name for part in parts])


def _first(failures: dict[str, Exception], names: Sequence[str]) -> Exception | None:
    """Of the users' errors the one whose part comes first, with a note that names it and the others."""
    failed = [name for name in names if name in failures]
    if not failed:
        return None
    others = (
        f" (so did {', '.join(map(repr, failed[1:4]))}{' and others' if len(failed) > 4 else ''})" if failed[1:] else ""
    )
    error = failures[failed[0]]
    add_note(
        error, f"part {failed[0]!r} failed{others}; finished parts are saved, and the next run makes only the others"
    )
    return error


def _poison(part: Part, pool: Pool) -> PoisonError:
    msg = (
        f"part {part.name!r} was lost {_ATTEMPTS + 1} times, the last times alone, with {pool.last_error!r}; does "
        f"{part.function.name} end its process (out of memory, a crash in native code) on this part? Finished parts "
        f"are saved"
    )
    return PoisonError(msg)


def _save(made: Any, function: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(owned(folder.name))
    staging.mkdir()
    try:
        save_returned(made, function, staging)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    flush(staging)
    try:
        staging.rename(folder)
    except OSError:
        if not folder.is_dir():  # unless the part was made elsewhere at the same time
            raise


def _sendable(error: Exception) -> Exception:
    """The error with its traceback as a note, or where it cannot be pickled, its text."""
    text = "".join(traceback.format_exception(error))
    # A user's exception may fail to be pickled in any way it likes, and would take the whole pool with it.
    with suppress(Exception):
        if type(pickle.loads(pickle.dumps(error))) is type(error):  # noqa: S301 - made by ourselves
            add_note(error, f"where it happened:\n{text}")
            return error
    return RuntimeError(printable(f"{type(error).__name__}: {text_of(error)}\n\n{text}"))


_PATIENCE = 60.0  # seconds
_ATTEMPTS = 2  # alone, after the first time in company
