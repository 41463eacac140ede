"""Runs: results of one rank, sorted by id, in files of bounded size, and the plan that merges many of them."""

import heapq
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._arrays.ragged import Ragged
from .._arrays.table import Table
from .._errors import DataError, noted
from ..store._tables import DTYPES, save_table
from .pieces import checked_ids, concatenated, kind_of, picked


RUN = 1 << 25  # bytes of a run, which are held in memory until they are written


@attrs.frozen
class Run:
    """A table file sorted by id: where, its rows and bytes, its first and last id, its ragged columns' values."""

    path: str
    rows: int
    size: int
    first: int
    last: int
    values: Mapping[str, int]


@attrs.frozen(eq=False)
class Spilled:
    """What a rank has written: its runs, and its columns as a table without rows (None: it had no piece)."""

    runs: tuple[Run, ...] = ()
    columns: Table | None = None

    @property
    def kinds(self) -> dict[str, str]:
        """What has to agree between ranks: the kind of each column."""
        return {} if self.columns is None else {f"column {name!r}": kind_of(c) for name, c in self.columns.items()}


def spill(pieces: Iterable[Any], folder: Path, is_stopped: Callable[[], bool]) -> Spilled:
    """Write pieces, each `(values, ids)`, as runs below `folder`; at most one run and one piece are in memory.

    Stops early where `is_stopped` says so. Raises `DataError` for a piece that is no such pair, or does not fit the
    ones before; errors of the iterable pass through.
    """
    runs: list[Run] = []
    held: list[Table] = []
    size = 0
    columns: Table | None = None
    for number, piece in enumerate(pieces):
        with noted(f"in piece {number} of this rank"):
            table = _table(piece)
            if columns is None or (len(table) and not runs and not held):
                columns = Table(table[:0])
            elif len(table):
                _check_same(columns, table)
        if len(table):
            held.append(table)
            size += _nbytes(table)
        if size >= RUN:
            runs.append(_written(held, folder))
            held, size = [], 0
        if is_stopped():
            break
    return Spilled((*runs, *([_written(held, folder)] if held else [])), columns)


Cut: TypeAlias = tuple[int, int, int]  # the number of a run, and the first and last of its rows


def merging(
    runs: Sequence[Run], rows: int, read: Callable[[int, int, int], NDArray[np.int64]]
) -> Iterator[tuple[list[Cut], NDArray[np.int64]]]:
    """Cuts of sorted runs that together make the next ids of all, with these ids run by run: about `rows` at a time.

    `read(run, start, stop)` gives ids of a run. Equivalent to sorting all ids. An id that comes twice comes twice in the
    same cuts.
    """
    window = max(1, rows // max(1, _overlap(runs)))
    heads = [(run.first, number, 0) for number, run in enumerate(runs)]
    heapq.heapify(heads)
    while heads:
        taken: list[tuple[int, int, NDArray[np.int64]]] = []
        until = heads[0][0]
        while heads and (not taken or heads[0][0] <= until):
            _, number, at = heapq.heappop(heads)
            ids = read(number, at, min(at + window + 1, runs[number].rows))
            last = int(ids[:window][-1])  # one row more is read: a second of this id comes along
            until = min(until, last) if taken else last
            taken.append((number, at, ids))
        counts = [int(np.searchsorted(ids, until, side="right")) for _, _, ids in taken]
        for (number, at, ids), count in zip(taken, counts, strict=True):
            stop = at + count
            if stop < runs[number].rows:
                head = ids[count] if count < len(ids) else read(number, stop, stop + 1)[0]
                heapq.heappush(heads, (int(head), number, stop))
        yield (
            [(number, at, at + count) for (number, at, _), count in zip(taken, counts, strict=True) if count],
            np.concatenate([ids[:count] for (_, _, ids), count in zip(taken, counts, strict=True)]),
        )


def _overlap(runs: Sequence[Run]) -> int:
    """The largest number of runs that have one id between their first and last."""
    starts, ends = np.sort([run.first for run in runs]), np.sort([run.last for run in runs])
    return int((np.arange(1, len(runs) + 1) - np.searchsorted(ends, starts, side="left")).max(initial=0))


def _table(piece: Any) -> Table:
    if not isinstance(piece, tuple | list) or len(piece) != 2:
        msg = f"a piece is a pair (values, ids), not {piece!r:.60}"
        raise DataError(msg)
    values, ids = piece[0], checked_ids(piece[1])
    named = values if isinstance(values, Mapping) else {"value": values}
    if "id" in named:
        msg = "values have a column 'id', which is the name that the ids get; leave it out, or give it another name"
        raise DataError(msg)
    columns = {name: _column(name, column) for name, column in named.items()}
    for name, column in columns.items():
        if len(column) != len(ids):
            msg = f"column {name!r} has {len(column)} rows for {len(ids)} ids; it needs one for each id"
            raise DataError(msg)
    return Table({"id": torch.from_numpy(ids.copy()), **columns})


def _column(name: Any, column: Any) -> Any:
    """A column in memory of its own: whoever made it may use that memory again for the next piece."""
    if isinstance(column, list | tuple):
        column = Ragged.of(column)
    if isinstance(column, np.ndarray):
        column = Table({name: column})[name]
    if isinstance(column, Ragged):
        column = column.to("cpu")
        return attrs.evolve(column, values=column.values.detach().clone(), offsets=column.offsets.clone())
    if not isinstance(column, Tensor) or not column.ndim:
        msg = f"column {name!r} is {column!r:.60}; a column is a tensor, array, Ragged or list with a row for each id"
        raise DataError(msg)
    if column.dtype not in DTYPES:
        msg = f"column {name!r} has dtype {column.dtype}, which tables on disk cannot have; convert it"
        raise DataError(msg)
    return column.detach().cpu().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)


def _check_same(columns: Table, table: Table) -> None:
    wanted, found = Spilled((), columns).kinds, Spilled((), table).kinds
    for at in [*wanted, *found]:
        if wanted.get(at) != found.get(at):
            msg = (
                f"{at} is {wanted.get(at, 'not there')} in the pieces before and {found.get(at, 'not there')} in this "
                f"one; all pieces have the same columns, with one dtype and shape of a row"
            )
            raise DataError(msg)


def _written(held: Sequence[Table], folder: Path) -> Run:
    ids = np.concatenate([_ids(table) for table in held])
    order = np.argsort(ids, kind="stable")
    columns: Any = {name: picked(concatenated([table[name] for table in held]), order) for name, _ in held[0].items()}
    path = folder / f"{uuid.uuid4().hex}.safetensors"
    save_table([Table(columns)], path)
    values = {name: len(column.values) for name, column in columns.items() if isinstance(column, Ragged)}
    first, last = int(ids[order[0]]), int(ids[order[-1]])
    return Run(f"{folder.name}/{path.name}", len(ids), path.stat().st_size, first, last, values)


def _nbytes(table: Table) -> int:
    """The bytes that a table takes in memory, with about as much as Python needs for it."""
    return 4096 + sum(
        column.nbytes if isinstance(column, Tensor) else column.values.nbytes + column.offsets.nbytes
        for column in table.values()
    )


def _ids(table: Table) -> NDArray[np.int64]:
    ids: Any = table["id"]
    array: NDArray[np.int64] = ids.numpy()
    return array
