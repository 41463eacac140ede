"""Tables: immutable columns of tensors with one row per example."""

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import NDArray
from toolz import valmap
from torch import Tensor
from torch.utils.data import DataLoader

from .._checks import integer
from .._errors import AccessError, DataError, UnknownNameError, did_you_mean, listed
from .._habits.attributes import OtherConstructors, missing
from .._habits.calls import guided_class
from .._public import public
from .._text import number, page, table, visible
from .frames import column_from, columns_of, is_column, is_frame
from .indexing import dtype_name, plain_tensor, row_numbers, select, selector, tensor_of, windowed
from .mapped import private_map
from .ragged import Ragged, mapped


Column: TypeAlias = Tensor | Ragged
Rows: TypeAlias = list[int] | tuple[int, ...] | range | NDArray[Any] | Tensor | slice


@public
@guided_class
class Table(metaclass=OtherConstructors):
    """An immutable columnar dataset: a mapping from column name to tensor, with one row per example.

    Columns are tensors or numpy arrays of any shape and dtype, `Ragged`, or lists of what `Table.of` takes as values. They
    are shared, not copied (but for lists, and arrays that are laid out as torch cannot have them), so a file that numpy maps, `np.load(path, mmap_mode="r")`, stays mapped;
    what is read (`table[i]`, `table[indices]`) is a copy, so a function that works in place harms no one.

    >>> import torch
    >>> table = Table({"image": torch.zeros(10, 8, 8), "label": torch.arange(10)})
    >>> table
    Table(10 rows: image float32 8x8, label int64)
    >>> table[3]["label"], table[[3, 4]]["image"].shape, len(table)
    (tensor(3), torch.Size([2, 8, 8]), 10)

    Raises `DataError` for no columns, columns of different lengths, and columns that are no tensors or would lose
    something: masked arrays, objects, dates, and sparse, nested, quantized and meta tensors.
    """

    __slots__ = ("__weakref__", "_columns", "_is_mapped", "_length", "_origin", "_selectors")

    _columns: Mapping[str, Column]
    _length: int
    _origin: object
    _is_mapped: bool
    _selectors: Mapping[str, Callable[[Tensor], Any]]

    def __init__(self, columns: Mapping[str, Tensor | Ragged | NDArray[Any] | Sequence[Any]]) -> None:
        checked = {name: _checked_column(name, column) for name, column in _checked_mapping(columns).items()}
        lengths = valmap(len, checked)
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
            msg = f"the columns of a table have one row per example, as many in each; {found}"
            raise DataError(msg)
        object.__setattr__(self, "_columns", MappingProxyType(checked))
        object.__setattr__(self, "_length", next(iter(lengths.values())))
        object.__setattr__(self, "_origin", None)
        object.__setattr__(self, "_is_mapped", False)
        object.__setattr__(self, "_selectors", valmap(_selector, checked))

    @classmethod
    def of(cls, rows_or_frame: Any) -> "Table":
        """The table of a list of dicts, a mapping of columns, or a table of pandas, polars, Arrow or Hugging Face's datasets.

        Numbers become int64, float64, bool or complex128 (numpy's numbers and frames keep their dtypes); strings, bytes and
        lists of numbers, whatever their lengths, `Ragged`; tensors and arrays are stacked, or, where their lengths differ,
        `Ragged`. Of other libraries, whatever offers the Arrow C interface is read, none need be installed. Categories
        and dictionaries become the values that they stand for; an unnamed index of pandas is left out.

        >>> Table.of([{"tokens": [1, 2], "label": 0}, {"tokens": [3], "label": 1}])
        Table(2 rows: tokens ragged tensor, label int64)

        Raises `DataError`, which names column and row, for what would be lost: values that are missing (None, null),
        mixed types, integers beyond 64 bits, dates, decimals, structs, objects.
        """
        return rows_or_frame if isinstance(rows_or_frame, cls) else cls(columns_of(rows_or_frame))

    def keys(self) -> KeysView[str]:
        """The names of the columns."""
        return self._columns.keys()

    def values(self) -> ValuesView[Column]:
        """The columns."""
        return self._columns.values()

    def items(self) -> ItemsView[str, Column]:
        """The columns with their names."""
        return self._columns.items()

    def __len__(self) -> int:
        return self._length

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[row] for row in range(len(self)))

    @overload
    def __getitem__(self, index: str) -> Column: ...
    @overload
    def __getitem__(self, index: int | Rows) -> dict[str, Any]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            return self._column(index)
        rows = row_numbers(index, self._length, "table")
        if rows.ndim:
            return self.gather(rows)
        return {name: _row(column, int(rows)) for name, column in self._columns.items()}

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """A list of examples, by one gather per column (torch's protocol for whole-batch fetches)."""
        rows = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        columns = [
            select(column, rows).unbind() if isinstance(column, Tensor) else column.rows(rows)
            for column in self._columns.values()
        ]
        return [dict(zip(self._columns, row, strict=True)) for row in zip(*columns, strict=True)]

    def batches(self, size: int = 1024) -> Iterator[dict[str, Any]]:
        """All rows in order, `size` at a time: for work on tables that are larger than memory."""
        return (self[start : start + size] for start in range(0, self._length, size))

    def windows(self, column: str, length: int, stride: int | None = None) -> "Table":
        """The windows over one long column, without a copy: rows of `length` values, `stride` (default: length) apart.

        Row i holds values `i * stride` to `i * stride + length`, so rows overlap where the stride is less than the
        length, as next-token targets want: `table.windows("tokens", n + 1, stride=n)`. Values at the end that fill no
        window are left out. Of a `Ragged` of tensors, windows run over the joined values, one row after the other.

        >>> import torch
        >>> table = Table({"tokens": torch.arange(10)})
        >>> table.windows("tokens", 4, stride=3)["tokens"]
        tensor([[0, 1, 2, 3],
                [3, 4, 5, 6],
                [6, 7, 8, 9]])
        >>> table.windows("tokens", 4)
        Table(2 rows: tokens int64 4)

        The table has this one column, of shape (rows, length, ...). Raises `UnknownNameError` for a column that is not
        there, `DataError` for one of bytes or strings, or a length or stride that is no integer of at least 1.
        """
        # No column is longer than the limit, and torch knows no longer rows.
        length = min(integer("windows: length", length, DataError, least=1), 2**40)
        stride = length if stride is None else integer("windows: stride", stride, DataError, least=1)
        made = {column: windowed(_values(column, self._column(column)), length, stride)}
        base = Table({column: self._columns[column]}) if self._origin is None else self
        return with_origin(Table(made), (Table.windows, (base, column, length, stride)), is_mapped=self._is_mapped)

    @property
    def is_mapped(self) -> bool:
        """Whether its columns are those of a file, memory-mapped, or windows over them."""
        return self._is_mapped

    def gather(self, rows: Tensor) -> dict[str, Any]:
        """The batch of these rows (int64, in range): one gather per column."""
        return {name: select_rows(rows) for name, select_rows in self._selectors.items()}

    def __setattr__(self, name: str, value: object) -> None:
        msg = f"a Table is immutable; make a new one: Table({{**table, {name!r}: ...}})"
        raise AccessError(msg)

    def __delattr__(self, name: str) -> None:
        msg = "a Table is immutable"
        raise AccessError(msg)

    if not TYPE_CHECKING:  # else checkers would take any attribute for one that is there

        def __getattr__(self, name: str) -> NoReturn:
            if not name.startswith("_") and name in self:
                msg = f"a column is an item of its table: table[{name!r}]"
                raise AccessError(msg)
            raise missing(self, name)

    def __reduce__(self) -> Any:
        # A table on disk travels as its path, so a worker process maps the same pages instead of receiving a copy; and
        # windows as what they are over, since they overlap.
        if self._origin is not None:
            return self._origin
        return Table, (dict(self._columns),)

    def __repr__(self) -> str:
        columns = ", ".join(f"{visible(name)} {_described(column)}" for name, column in self._columns.items())
        return f"Table({self._length} rows: {columns})"

    def _repr_html_(self) -> str:
        columns = table(["column", "type"], [(name, _described(column)) for name, column in self._columns.items()])
        rows = [(row, *(_shown(_row(column, row)) for column in self.values())) for row in range(min(5, self._length))]
        return page(f"fdm.Table of {self._length:,} rows", columns, table(["", *self.keys()], rows, "first rows"))

    def _column(self, name: str) -> Column:
        if name not in self._columns:
            msg = f"no column {name!r}{did_you_mean(name, self.keys())}; the table has {listed(self.keys())}"
            raise UnknownNameError(msg)
        return self._columns[name]


def with_origin(table: Table, origin: tuple[Any, ...], *, is_mapped: bool) -> Table:
    """The same table, which pickles as `origin`, a callable and its arguments that make it again."""
    copy = Table(dict(table.items()))
    object.__setattr__(copy, "_origin", origin)
    object.__setattr__(copy, "_is_mapped", is_mapped)
    return copy


def tables_of(made: object, function: str) -> dict[str, Table]:
    """What a clean function returned, as tables by source name; one table without a name is under the empty name.

    Raises `DataError`, which names `function`, unless it is a Table or a mapping from names to Tables.
    """
    tables = {"": made} if isinstance(made, Table) else made
    if isinstance(tables, Mapping) and tables and all(isinstance(table, Table) for table in tables.values()):
        wrong = [name for name in tables if not isinstance(name, str) or (not name and tables is made)]
        if not wrong:
            return dict(tables)
        msg = f"{function}: the name of a source is a string, not {wrong[0]!r}"
        raise DataError(msg)
    if made is None:
        msg = f"{function} returned None in place of a Table or a mapping of Tables; end it with a return"
        raise DataError(msg)
    found = f"a {type(made).__name__}"
    if isinstance(made, Mapping):
        found = f"a mapping of {', '.join(sorted({type(value).__name__ for value in made.values()})) or 'nothing'}"
    msg = (
        f"{function} returns a Table, an iterable of examples, or a mapping from names to them, not {found}; wrap columns: "
        f"fdm.Table({{...}}){_remedy(made)}"
    )
    raise DataError(msg)


def _remedy(made: Any) -> str:
    """What else to do about what a function returned in place of a table."""
    if is_frame(made):
        return f"; fdm.Table.of(frame) reads a {type(made).__name__}"
    if isinstance(made, DataLoader):
        return "; a DataLoader makes batches: return the dataset that it reads, or its examples by iteration"
    is_dataset = hasattr(type(made), "__getitem__") and hasattr(type(made), "__len__")
    return (
        "; a dataset of torch's or your own goes into fdm.load" if is_dataset and not isinstance(made, Mapping) else ""
    )


def _checked_mapping(columns: Any) -> Mapping[str, Any]:
    if not isinstance(columns, Mapping | Table):
        remedy = "; rows and tables of other libraries: fdm.Table.of(rows)" if isinstance(columns, list | tuple) else ""
        remedy = "; fdm.Table.of(frame) reads it" if is_frame(columns) else remedy
        msg = (
            f"Table takes a mapping from column name to tensor, such as fdm.Table({{'image': images, 'label': labels}}), not "
            f"{type(columns).__name__}{remedy}"
        )
        raise DataError(msg)
    if not columns:
        msg = "a Table without columns has no length; give it one column at least"
        raise DataError(msg)
    wrong = [name for name, _ in columns.items() if not isinstance(name, str) or not name]
    if wrong:
        msg = f"column names are strings, not {wrong[0]!r}"
        raise DataError(msg)
    return dict(columns.items())


def _checked_column(name: str, column: Any) -> Column:
    if isinstance(column, Ragged):
        values = plain_tensor(column.values, f"column {name!r}")
        plain = values.dtype == column.values.dtype and values.data_ptr() == column.values.data_ptr()
        return column if plain and not column.values.requires_grad else mapped(values, column.offsets, column.kind)
    if isinstance(column, np.ndarray):
        column = tensor_of(private_map(column), f"column {name!r}")
    if is_column(column):
        column = column_from(column, f"column {name!r}")
        if isinstance(column, Ragged):
            return column
    if not isinstance(column, Tensor):
        msg = (
            f"column {name!r} is a {type(column).__name__}; a column is a tensor, a numpy array, a list, or, for rows of "
            f"different length and strings, fdm.Ragged.of(rows)"
        )
        raise DataError(msg)
    if column.ndim == 0:
        msg = f"column {name!r} is a single number; a column has one row per example"
        raise DataError(msg)
    return plain_tensor(column, f"column {name!r}")


def _values(name: str, column: Column) -> Tensor:
    if isinstance(column, Tensor):
        return column
    if column.kind != "tensor":
        msg = f"windows: column {name!r} has rows of {column.kind}; encode them first: Ragged.of(list of tensors)"
        raise DataError(msg)
    return column.values


def _selector(column: Column) -> Callable[[Tensor], Any]:
    return selector(column) if isinstance(column, Tensor) else column.__getitem__


def _row(column: Column, row: int) -> Any:
    return column[row].clone() if isinstance(column, Tensor) else column[row]


def _shown(value: Any) -> str:
    """A value of a row, or the first few numbers of many."""
    if not isinstance(value, Tensor):
        return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}..."
    first = [number(each) for each in _first(value)]
    return ", ".join(first) + (", ..." if value.numel() > len(first) else "")


def _first(value: Tensor) -> list[Any]:
    while value.ndim > 1:
        value = value[0] if len(value) else value.reshape(-1)
    found: list[Any] = value.reshape(-1)[:6].tolist()
    return found


_SHOWN = 40


def _described(column: Column) -> str:
    if isinstance(column, Ragged):
        return f"ragged {column.kind}"
    shape = "x".join(map(str, column.shape[1:]))
    return f"{dtype_name(column.dtype)} {shape}".rstrip()
