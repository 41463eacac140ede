"""Streams: examples or tables that come one after the other, drained into a table on disk with few of them in memory."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .._arrays.frames import column_of, columns_of_rows, is_frame, is_of
from .._arrays.indexing import dtype_name
from .._arrays.numbers import article
from .._arrays.ragged import Column, Ragged
from .._arrays.table import Table, tables_of
from .._errors import DataError
from ..store._tables import named_files, save_table, save_tables, save_taken


Tell = Callable[[int], None]


def save_returned(made: Any, function: str, folder: Path, tell: Tell = lambda _: None) -> dict[str, int | None]:
    """Save what a clean function returned: a table, an iterable of examples or tables, or a mapping from names to them.

    `tell` gets the number of examples so far. Returns how many each source has, None where nothing came, so that its
    columns are not known. Raises `DataError`, which names the function, for what is none of these, and the row, for one
    that differs from those before in columns, dtype or shape.
    """
    if not is_stream(made):
        # One table without a name is kept as such, so that the next clean gets what this one returned.
        tables = tables_of(made, function)
        save_tables({name: [table] for name, table in tables.items()}, folder)
        return {name: len(table) for name, table in tables.items()}
    streams = _named(made, function)
    blocks = folder / "blocks"
    drained, rows = dict[str, list[Path]](), dict[str, int | None]()
    for number, (name, stream) in enumerate(streams.items()):
        before = sum(each or 0 for each in rows.values())
        drained[name], rows[name] = _drained(stream, blocks / str(number), before, tell)
    for name, path in named_files([name for name, paths in drained.items() if paths], folder).items():
        save_taken(drained[name], path)
    shutil.rmtree(blocks)
    return rows


def is_stream(made: Any) -> bool:
    """Whether it is an iterable of examples or tables, or a mapping that has such a one among its values."""
    if not isinstance(made, Mapping):
        return _is_iterable(made)
    values = list(made.values())
    return any(map(_is_iterable, values)) and all(isinstance(each, Table) or _is_iterable(each) for each in values)


def length_of(made: Any) -> int | None:
    """How many examples a stream, or a mapping of them, says that it has; None where one does not say."""
    try:
        return sum(map(len, made.values())) if isinstance(made, Mapping) else len(made)
    except (TypeError, NotImplementedError):
        return None


def _is_iterable(made: Any) -> bool:
    if is_of(made, "pyarrow", "RecordBatchReader") or is_of(made, "datasets", "Dataset"):
        return True
    is_other = isinstance(made, Mapping | str | bytes | bytearray | Table | Tensor | np.ndarray | Ragged | DataLoader)
    return hasattr(made, "__iter__") and not (is_other or is_frame(made) or is_of(made, "pandas", "Series"))


def _named(made: Any, function: str) -> dict[str, Iterable[Any]]:
    """The streams by the names of their sources; one without a name is under the empty name."""
    if not isinstance(made, Mapping):
        return {"": made}
    wrong = [name for name in made if not isinstance(name, str) or not name]
    if wrong:
        msg = f"{function}: the name of a source is a string, not {wrong[0]!r}"
        raise DataError(msg)
    return {name: [each] if isinstance(each, Table) else each for name, each in made.items()}


def _drained(stream: Iterable[Any], folder: Path, before: int, tell: Tell) -> tuple[list[Path], int | None]:
    """The files with the tables of a stream, of some MB each, and how many rows they have; None where nothing came.

    `before` of the rows that `tell` gets came from other streams.
    """
    folder.mkdir(parents=True)
    paths, waiting, size, rows = list[Path](), list[Table](), 0, 0
    for table in _tables(stream):
        waiting.append(table)
        size, rows = size + _bytes(table), rows + len(table)
        tell(before + rows)
        if size >= _BLOCK:
            paths.append(_saved(waiting, folder / str(len(paths))))
            waiting, size = [], 0
    if waiting:
        paths.append(_saved(waiting, folder / str(len(paths))))
    return paths, rows if paths else None


def _saved(tables: Sequence[Table], path: Path) -> Path:
    save_table(tables, path)
    return path


def _tables(stream: Iterable[Any]) -> Iterator[Table]:
    """The tables of a stream, examples put together, all of them with the columns of the first rows."""
    drain = _Drain()
    for item in stream:
        if isinstance(item, Mapping):
            if drain.takes(item):
                yield drain.examples_so_far()
            continue
        if drain.examples:
            yield drain.examples_so_far()
        yield drain.table(item)
    if drain.examples:
        yield drain.examples_so_far()


@attrs.define
class _Drain:
    """How far a stream is: the examples that wait, how many bytes they have, how many rows came before, and what they were."""

    examples: list[Mapping[str, Any]] = attrs.field(factory=list)
    size: int = 0
    rows: int = 0
    like: dict[str, Column] | None = None

    def takes(self, example: Mapping[str, Any]) -> bool:
        """Take an example; whether as many wait as should be put together."""
        self.examples.append(example)
        self.size += sum(map(_bytes_of, example.values()))
        return len(self.examples) >= _EXAMPLES or self.size >= _WAITING

    def examples_so_far(self) -> Table:
        """The table of the examples that wait."""
        examples, self.examples, self.size = self.examples, [], 0
        columns = columns_of_rows(examples, self.rows, self.like)
        return self._next({name: self._fitted(name, column, examples) for name, column in columns.items()})

    def table(self, item: Any) -> Table:
        """The table that an item of the stream is."""
        if not isinstance(item, Table) and not is_frame(item):
            msg = (
                f"row {self.rows} is {article(item)}; a stream is one of examples, dicts that name their values, or of "
                f"Tables; where it has columns: fdm.Table.of({{'x': [...], 'label': [...]}})"
            )
            raise DataError(msg)
        try:
            table = Table.of(item)
        except DataError as error:
            error.add_note(f"in the {type(item).__name__} that begins with row {self.rows} of the stream")
            raise
        if self.like is not None and len(table) and list(table.keys()) != list(self.like):
            msg = f"the table that begins with row {self.rows} has columns {list(table.keys())}, and those before {list(self.like)}"
            raise DataError(msg)
        return self._next({name: self._checked(name, column, self.rows) for name, column in table.items()})

    def _next(self, columns: dict[str, Column]) -> Table:
        table = Table(columns)
        self.rows += len(table)
        if self.like is None and len(table):
            self.like = {
                name: column[:1] if isinstance(column, Ragged) else column[:1].clone()
                for name, column in columns.items()
            }
        return table

    def _fitted(self, name: str, column: Column, examples: Sequence[Mapping[str, Any]]) -> Column:
        """A column of examples as those before are; a `DataError` names the example that cannot be."""
        if self.like is None or (found := _as(column, self.like[name])) is None:
            for at, example in enumerate(examples if self.like is not None else ()):
                self._checked(name, column_of([example[name]], f"column {name!r}", self.rows + at), self.rows + at)
            return column
        return found

    def _checked(self, name: str, column: Column, row: int) -> Column:
        """A column as those before are. Raises `DataError`, with the number of its first row, for another one."""
        if self.like is None or not len(column):
            return column
        found = _as(column, self.like[name])
        if found is not None:
            return found
        remedy = "make them alike"
        if isinstance(column, Tensor) and column.ndim > 1:
            remedy += "; what has rows of different length is given as lists, row.tolist(), or as fdm.Ragged.of(rows) in a table"
        msg = f"column {name!r} is {_said(column)} in row {row}, and {_said(self.like[name])} in the rows before; {remedy}"
        raise DataError(msg)


def _as(column: Column, like: Column) -> Column | None:
    """The column in the form of another, if it has it, or is the same in it; None if not."""
    if isinstance(like, Ragged) and isinstance(column, Tensor) and column.ndim > 1:
        starts = torch.arange(len(column) + 1, dtype=torch.int64, device="cpu") * column.shape[1]
        column = Ragged(column.flatten(0, 1), starts)
    if isinstance(column, Ragged) != isinstance(like, Ragged):
        return None
    if not isinstance(column, Ragged) or not isinstance(like, Ragged):
        return (
            _values_as(column, like, like.shape[1:])
            if isinstance(column, Tensor) and isinstance(like, Tensor)
            else None
        )
    if column.kind != like.kind:
        return None
    if not len(column.values) or not len(like.values):  # nobody knows of what dtype nothing is
        return column
    values = _values_as(column.values, like.values, like.values.shape[1:])
    return None if values is None else Ragged(values, column.offsets, column.kind)


def _values_as(values: Tensor, like: Tensor, shape: torch.Size) -> Tensor | None:
    if values.shape[1:] != shape:
        return None
    if values.dtype == torch.int64 and like.dtype == torch.float64:  # JSON writes some floats as whole numbers
        floats = values.to(torch.float64)
        return floats if bool((floats.abs() <= _EXACT).all()) else None
    return values if values.dtype == like.dtype else None


def _said(column: Column) -> str:
    values = column.values if isinstance(column, Ragged) else column
    shape = f" of shape {tuple(values.shape[1:])}" if values.ndim > 1 else ""
    dtype = dtype_name(values.dtype) + shape
    return dtype if isinstance(column, Tensor) else f"ragged {dtype if column.kind == 'tensor' else column.kind}"


def _bytes(table: Table) -> int:
    columns = [column.values if isinstance(column, Ragged) else column for column in table.values()]
    return sum(column.nbytes for column in columns) + _ROW * len(table)


def _bytes_of(value: Any) -> int:
    """About how many bytes a value has."""
    if isinstance(value, Tensor | np.ndarray):
        return value.nbytes
    return (
        _ROW * len(value)
        if isinstance(value, list | tuple | range)
        else len(value)
        if hasattr(value, "__len__")
        else _ROW
    )


_BLOCK = 1 << 26  # bytes that are written at a time
_WAITING = 1 << 22  # bytes of examples that are put together to a table
_EXAMPLES = 1024
_ROW = 8
_EXACT = 2**53  # up to where floats have every whole number
