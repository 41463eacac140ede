"""Frames: the columns of what people have, lists, rows and tables of other libraries, none of which need be installed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from toolz import frequencies
from torch import Tensor

from .._errors import DataError, listed
from .arrow import arrow_column, arrow_columns, is_arrow
from .arrow_values import null
from .indexing import dtype_name, plain_tensor, tensor_of
from .numbers import article, group_of, lists_of_numbers, numbers, strange
from .ragged import Column, ragged_of, ragged_of_texts


def columns_of(thing: Any) -> Mapping[str, Any]:
    """The columns of rows, of a mapping of columns, or of a table of another library. Raises `DataError` for others."""
    if isinstance(thing, list | tuple):
        return columns_of_rows(thing)
    if isinstance(thing, Mapping):
        return thing
    if is_of(thing, "pandas", "DataFrame"):
        return _columns_of_pandas(thing)
    if is_of(thing, "datasets", "Dataset"):
        return arrow_columns(thing.with_format("arrow")[:])  # its own format, and its order of rows
    if is_arrow(thing) and not is_of(thing, "pandas", "Series"):
        return arrow_columns(thing)
    if isinstance(thing, np.ndarray) and thing.dtype.names:
        return {name: thing[name] for name in thing.dtype.names}
    msg = f"Table.of takes a list of dicts, a mapping of columns, or a table of pandas, polars, Arrow or datasets, not {_remedy(thing)}"
    raise DataError(msg)


def is_frame(thing: Any) -> bool:
    """Whether it is a table of another library."""
    is_known = is_of(thing, "pandas", "DataFrame") or is_of(thing, "datasets", "Dataset")
    return is_known or (is_arrow(thing) and not is_of(thing, "pandas", "Series"))


def is_column(thing: Any) -> bool:
    """Whether it is a list of values, or a column of another library."""
    return isinstance(thing, list | tuple | range) or is_of(thing, "pandas", "Series") or is_arrow(thing)


def column_from(thing: Any, what: str) -> Column:
    """The column of a list of values, or of a column of another library; `what` names it in the `DataError`."""
    if isinstance(thing, list | tuple | range):
        return column_of(thing, what)
    return _column_of_series(thing, what) if is_of(thing, "pandas", "Series") else arrow_column(thing, what)


def columns_of_rows(rows: Sequence[Any], first: int = 0, like: Mapping[str, Any] | None = None) -> dict[str, Column]:
    """The columns of a list of dicts with the same entries: those of `like`, by default of the first row.

    `first` is the number of the first row, for errors.
    """
    if not rows:
        msg = "Table.of was given no rows, so the columns are not known; a table without rows: fdm.Table({name: torch.empty(0)})"
        raise DataError(msg)
    like = rows[0] if like is None and isinstance(rows[0], Mapping) else like
    for at, row in enumerate(rows):
        if not isinstance(row, Mapping):
            msg = f"row {first + at} is {article(row)}, not a dict: give its values names, as in {{'x': ..., 'label': ...}}"
            raise DataError(msg)
        if like is None or row.keys() != like.keys():
            raise _other_entries(first + at, row, like or {})
    return {name: column_of([row[name] for row in rows], f"column {name!r}", first) for name in like or ()}


def column_of(values: Sequence[Any], what: str, first: int = 0) -> Column:
    """The column that has these values: a tensor of numbers, bools, or equal tensors; `Ragged` of all else.

    Strings, bytes, lists of numbers, whatever their lengths, and tensors of different length are rows of a `Ragged`.
    `what` names the column in the `DataError` for what would be lost, and `first` is the number of its first row.

    >>> column_of([1, 2], "column 'a'"), column_of(["a", "b"], "column 'b'")
    (tensor([1, 2]), Ragged(2 rows of str, 2 values))
    """
    if not len(values):
        msg = f"{what} is an empty list, whose dtype nobody knows; give an empty tensor: torch.empty(0, dtype=...)"
        raise DataError(msg)
    groups = {group_of(kind) for kind in set(map(type, values))}
    if len(groups) > 1 or None in groups:
        raise strange(values, what, lambda place: first + place)
    match groups.pop():
        case "bool" | "number":
            return numbers(values, what, lambda place: first + place)
        case "list":
            flat, lengths = lists_of_numbers(values, what, lambda place: first + place)
            return ragged_of(flat, lengths)
        case "array":
            return _of_arrays(values, what, first)
        case _:
            return ragged_of_texts(values, what, first)


def is_of(thing: Any, package: str, name: str) -> bool:
    """Whether it is an instance of a class of this name in a package, which need not be installed."""
    return any(kind.__name__ == name and kind.__module__.partition(".")[0] == package for kind in type(thing).__mro__)


def _of_arrays(arrays: Sequence[Any], what: str, first: int) -> Column:
    tensors = [_tensor(array, f"{what}, row {first + place},") for place, array in enumerate(arrays)]
    same = tensors[0].dtype, tensors[0].shape[1:], tensors[0].ndim
    for place, tensor in enumerate(tensors):
        if (tensor.dtype, tensor.shape[1:], tensor.ndim) != same:
            one, other = (f"{dtype_name(each.dtype)} of shape {tuple(each.shape)}" for each in (tensors[0], tensor))
            msg = (
                f"{what} has {one} in row {first} and {other} in row {first + place}; the rows of a column have one "
                f"dtype, and differ at most in their length, the first dimension"
            )
            raise DataError(msg)
    if len({len(tensor) for tensor in tensors if tensor.ndim}) > 1:
        return ragged_of(torch.cat(tensors), list(map(len, tensors)))
    return torch.stack(tensors)


def _tensor(array: Any, what: str) -> Tensor:
    return tensor_of(array, what) if isinstance(array, np.ndarray) else plain_tensor(array, what)


def _other_entries(at: int, row: Mapping[str, Any], like: Mapping[str, Any]) -> DataError:
    lacking, more = [name for name in like if name not in row], [name for name in row if name not in like]
    about = f"has no {listed(lacking)}" if lacking else f"has {listed(more)}, which is not in the rows before"
    return DataError(
        f"row {at} {about}; all rows have the same entries: give each a value, one that says so where there is none"
    )


def _columns_of_pandas(frame: Any) -> dict[str, Any]:
    twice = [name for name, times in frequencies(list(frame.columns)).items() if times > 1]
    if twice:
        msg = f"the DataFrame has several columns {twice[0]!r}; rename them, since a table has one of each name"
        raise DataError(msg)
    named = [name for name in frame.index.names if name is not None]
    if named:
        msg = f"the DataFrame has an index of its own, {named[0]!r}, and a table has none; make it a column: frame.reset_index()"
        raise DataError(msg)
    return {name: _column_of_series(series, f"column {name!r}") for name, series in frame.items()}


def _column_of_series(series: Any, what: str) -> Column:
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return tensor_of(series.to_numpy(), what)
    missing = series.isna().to_numpy()
    if missing.any():
        raise null(what, int(missing.argmax()))
    numpy_dtype = getattr(dtype, "numpy_dtype", None)
    if isinstance(numpy_dtype, np.dtype) and numpy_dtype.kind in "biufc":
        return tensor_of(series.to_numpy(dtype=numpy_dtype), what)
    if type(dtype).__name__ == "CategoricalDtype":
        values = _column_of_series(series.cat.categories.to_series(), what)
        codes = torch.from_numpy(series.cat.codes.to_numpy().astype(np.int64))
        return values[codes]
    return column_of(series.tolist(), what)


def _remedy(thing: Any) -> str:
    kind = article(thing)
    if isinstance(thing, torch.Tensor | np.ndarray) or is_of(thing, "pandas", "Series"):
        return f"{kind}; name the column: fdm.Table({{name: values}})"
    if hasattr(thing, "collect"):
        return f"{kind}; collect it first: .collect()"
    if hasattr(thing, "__next__") or (hasattr(thing, "__iter__") and not hasattr(thing, "__len__")):
        return f"{kind}; return it from a fdm.clean, which takes it example by example, or give a list of it"
    if hasattr(thing, "__getitem__") and not isinstance(thing, str | bytes):
        return f"{kind}; a dataset goes into fdm.load as it is, or its examples, by iteration, into fdm.clean"
    return kind
