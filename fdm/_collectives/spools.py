"""Spools: the results of a rank as tables on disk, written as they come, and the rows of many in one order."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from .._arrays.differences import unlike
from .._arrays.ragged import Ragged
from .._arrays.table import Table
from .._errors import DataError, noted
from ..store._tables import open_table, save_table
from .pieces import concatenated, kind_of, picked, table_of


SPOOL = 1 << 25  # bytes of a table, which are held in memory until they are written
BLOCK = 1 << 24  # bytes that are brought into order at a time
FIT = "all pieces have the same columns, with one dtype and shape of a row"


@attrs.frozen
class Spools:
    """What a rank has written: how many tables, their rows in all, and what their columns are, in words."""

    number: int = 0
    rows: int = 0
    kinds: Mapping[str, str] = attrs.field(factory=dict)

    def paths(self, folder: Path) -> list[Path]:
        """The tables, if they are in this folder."""
        return [folder / _FILE.format(number) for number in range(self.number)]


def spool(pieces: Iterable[Any], folder: Path, is_stopped: Callable[[], bool]) -> Spools:
    """Write pieces, each `(values, ids)`, as tables below `folder`; at most one table and one piece are in memory.

    Stops early where `is_stopped` says so. Raises `DataError` for a piece that is no such pair, or does not fit the
    ones before; errors of the iterable pass through.
    """
    spools = Spools()
    for table in _sorted(_tables(pieces, is_stopped)):
        save_table([table], folder / _FILE.format(spools.number))
        spools = Spools(spools.number + 1, spools.rows + len(table), _kinds(table))
    return spools


def in_order(paths: Sequence[Path], lengths: Sequence[int], order: NDArray[np.int64]) -> Iterator[Table]:
    """The rows of tables on disk, of these lengths, in this order of all of them: some MB at a time."""
    ends = np.cumsum(lengths, dtype=np.int64)
    starts = ends - np.asarray(lengths, np.int64)
    rows = max(1, BLOCK * len(order) // max(1, sum(path.stat().st_size for path in paths)))
    for start in range(0, len(order), rows):
        block = order[start : start + rows]
        tables = np.searchsorted(ends, block, side="right")
        by_table = np.argsort(tables, kind="stable")
        numbers, firsts = np.unique(tables[by_table], return_index=True)
        own_rows = np.split((block - starts[tables])[by_table], firsts[1:])
        parts = [open_table(paths[number])[own] for number, own in zip(numbers.tolist(), own_rows, strict=True)]
        yield _rows(parts, np.argsort(by_table))


def ids_of(table: Table) -> NDArray[np.int64]:
    """The ids of a table's rows."""
    ids: Any = table["id"]
    array: NDArray[np.int64] = ids.numpy()
    return array


def _tables(pieces: Iterable[Any], is_stopped: Callable[[], bool]) -> Iterator[Table]:
    """The pieces that have rows as tables, or where none has any, the first."""
    first: Table | None = None
    for number, piece in enumerate(pieces):
        with noted(f"in piece {number} of this rank"):
            table = table_of(piece)
            if first is None or (len(table) and not len(first)):
                first = table
            elif len(table):
                _check_fits(table, first)
        if len(table):
            yield table
        if is_stopped():
            return
    if first is not None and not len(first):
        yield first


def _check_fits(table: Table, first: Table) -> None:
    if (differing := unlike(_kinds(first), _kinds(table))) is not None:
        column, before, here = differing
        msg = f"{column} is {before} in the pieces before and {here} in this one; {FIT}"
        raise DataError(msg)


def _kinds(table: Table) -> dict[str, str]:
    return {f"column {name!r}": kind_of(column) for name, column in table.items()}


def _sorted(tables: Iterable[Table]) -> Iterator[Table]:
    """Tables joined to some MB, each sorted by id: so rows that are read together later lie together."""
    held: list[Table] = []
    size = 0
    for table in tables:
        held.append(table)
        size += _nbytes(table)
        if size >= SPOOL:
            yield _rows(held, np.argsort(np.concatenate([*map(ids_of, held)]), kind="stable"))
            held, size = [], 0
    if held:
        yield _rows(held, np.argsort(np.concatenate([*map(ids_of, held)]), kind="stable"))


def _rows(tables: Sequence[Any], order: NDArray[np.int64]) -> Table:
    """The rows of tables, one after the other, in this order."""
    names = list(tables[0].keys())
    columns: Any = {name: picked(concatenated([table[name] for table in tables]), order) for name in names}
    return Table(columns)


def _nbytes(table: Table) -> int:
    """The bytes that a table takes in memory, with about as much as Python needs for it."""
    tensors = [
        (column.values, column.offsets) if isinstance(column, Ragged) else (column,) for column in table.values()
    ]
    return 4096 + sum(tensor.nbytes for of_column in tensors for tensor in of_column)


_FILE = "{}.safetensors"
