"""Gathering to disk: results larger than memory, spooled by every rank and brought into order in one table."""

import errno
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from .._arrays.table import Table
from .._errors import StoreError
from .._processes.owner import is_abandoned, owned
from .._public import public
from ..store._publish import flush
from ..store._tables import named_files, open_table, open_tables, saving
from .exchange import Group, Ranks, agree, attempted, ranks_of, same, told
from .pieces import order_of
from .spools import FIT, Spools, ids_of, in_order, spool


@public
def gather_to(folder: str | Path, pieces: Iterable[Any], *, group: Group = None) -> Table:
    """The results of all ranks as one table on disk, in the order of the data, memory-mapped on every rank. Collective.

    `pieces` are pairs `(values, ids)`, one for each batch, and may be a generator that computes them. `values` is a
    mapping from column name to a tensor, `Ragged` or list of strings with a row for each id; one tensor is the column
    `"value"`. The table has the column `"id"`, ascending, and these. A rank without batches gives no pieces.

    >>> import tempfile
    >>> batches = [({"name": ["c", "a"]}, [2, 0]), ({"name": ["b"]}, [1])]
    >>> table = gather_to(tempfile.mkdtemp(), batches)
    >>> table
    Table(3 rows: id int64, name ragged str)
    >>> table["name"].tolist()
    ['a', 'b', 'c']

    Every rank writes its results as they come, in files of 32 MB next to `folder`, so all ranks must see the same file
    system; then the first rank brings them into order, which takes memory for the ids alone, and publishes the folder by
    one rename. A process that is killed leaves nothing at `folder`. The ranks are those of the `torch.distributed` group,
    by default all.

    Raises `StoreError` on every rank if `folder` is there and not empty, cannot be written, or is not the same on all
    ranks; `DataError` if an id comes twice or pieces do not fit together. An error of one rank's `pieces` is raised
    there, and soon on every other rank, as a `DataError` or `PreparationError` that has its words.
    """
    ranks, folder = ranks_of("fdm.gather_to", group), Path(folder).expanduser().absolute()
    with _staged(ranks, folder) as staging:
        spools = _spooled(ranks, pieces, staging)
        _finish(ranks, lambda: _published(ranks, spools, staging, folder))
    return open_tables(folder)["all"]


@contextmanager
def _staged(ranks: Ranks, folder: Path) -> Iterator[Path]:
    """A folder next to `folder` that all ranks see, until it is removed."""
    name, error = attempted(lambda: _made(folder, is_maker=ranks.at == 0))
    made = folder.parent / name if name is not None and ranks.at == 0 else None
    try:
        begun = ranks.every((told(error), name))
        staging = folder.parent / str(begun[0][1])
        part = staging / f"rank-{ranks.at}"
        made = made or part
        agree(ranks, [verdict for verdict, _ in begun], error)
        _, error = attempted(lambda: _check_seen(ranks, staging, part))
        agree(ranks, ranks.every(told(error)), error)
        yield staging
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


def _made(folder: Path, *, is_maker: bool) -> str:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder} is there, and nothing is ever overwritten; give a folder that is empty or not there yet"
        raise StoreError(errno.EEXIST, msg)
    prefix = f".fdm-gather-{folder.name}"
    staging = folder.with_name(owned(prefix))
    if is_maker:
        with _explained(folder.parent):
            folder.parent.mkdir(parents=True, exist_ok=True)
            for path in folder.parent.glob(".fdm-gather-*"):
                if path.name.rsplit(".", 2)[0] == prefix and is_abandoned(path):
                    shutil.rmtree(path, ignore_errors=True)
            staging.mkdir()
    return staging.name


def _check_seen(ranks: Ranks, staging: Path, own: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while not staging.is_dir():  # file systems of many machines may take a moment
        if time.monotonic() > until:
            msg = (
                f"what {ranks.name(0)} wrote in {staging.parent} is not seen on {ranks.name(ranks.at)}; gather_to needs "
                f"one folder on a file system that all ranks share; without one, gather in parts that fit into memory"
            )
            raise StoreError(errno.ENOENT, msg)
        time.sleep(_PATIENCE / 50)
    with _explained(staging):
        own.mkdir()


def _spooled(ranks: Ranks, pieces: Iterable[Any], staging: Path) -> dict[Path, str]:
    """Write the pieces of this rank; returns the tables of all ranks, each with what messages call its rank."""
    failed = staging / _FAILED
    own, error = attempted(lambda: spool(pieces, staging / f"rank-{ranks.at}", _seldom(failed.exists)))
    if error is not None:
        with suppress(OSError):
            failed.touch()  # so that no rank goes on for hours
    every = [(verdict, spools or Spools()) for verdict, spools in ranks.every((told(error), own))]
    agree(ranks, [verdict for verdict, _ in every], error)
    same(ranks, {at: spools.kinds for at, (_, spools) in enumerate(every) if spools.rows}, FIT)
    folders = {ranks.name(at): spools.paths(staging / f"rank-{at}") for at, (_, spools) in enumerate(every)}
    return {path: name for name, paths in folders.items() for path in paths}


def _published(ranks: Ranks, spools: Mapping[Path, str], staging: Path, folder: Path) -> Iterator[None]:
    """Write the rows of all tables in the order of their ids, and publish that, on the first rank."""
    for path, name in spools.items():
        if not path.is_file():
            msg = f"{path} of {name} is not seen on {ranks.name(0)}; all ranks need one file system"
            raise StoreError(errno.ENOENT, msg)
    ids = [ids_of(open_table(path)).copy() for path in spools]
    order = order_of(ranks.function, ids, list(spools.values()))
    blocks = in_order(list(spools), [len(own) for own in ids], order)
    like = map(open_table, spools) if spools else [Table({"id": torch.empty(0, dtype=torch.int64, device="cpu")})]
    table = staging / "table"
    with _explained(folder):
        table.mkdir()
        yield from saving(blocks, like, named_files(["all"], table)["all"])
        flush(table)
        if folder.is_dir():
            folder.rmdir()  # an empty one, which some systems cannot rename to
        table.rename(folder)


def _finish(ranks: Ranks, work: Callable[[], Iterator[None]]) -> None:
    """Let the first rank work to the end; all meet now and then, since a group gives up on a rank that is silent."""
    steps = work() if ranks.at == 0 else iter(())
    is_going = True
    while is_going:
        goes_on, error = attempted(lambda: _some(steps))
        found = ranks.every((told(error), goes_on))
        agree(ranks, [verdict for verdict, _ in found], error)
        is_going = bool(found[0][1])


def _some(steps: Iterator[None]) -> bool:
    """Work for some seconds; whether there is more to do."""
    until = time.monotonic() + _MEETING
    return any(time.monotonic() > until for _ in steps)


def _seldom(ask: Callable[[], bool]) -> Callable[[], bool]:
    """The same question, asked once in a while, for asking costs a file system's time."""
    asked = time.monotonic()

    def answer() -> bool:
        nonlocal asked
        if time.monotonic() - asked < _PAUSE:
            return False
        asked = time.monotonic()
        return ask()

    return answer


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        msg = f"{folder} cannot be written ({error.strerror or error}); give another folder, or free some space"
        raise StoreError(error.errno, msg) from error


_FAILED = "failed"
_PATIENCE = 5.0  # seconds that a new folder may take to be seen on another machine
_MEETING = 5.0  # seconds between meetings
_PAUSE = 0.5  # seconds between looks for a rank that failed
