"""Arrays and indices from users: numpy's as tensors that torch can work with, and any index as row numbers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._errors import DataError


def tensor_of(array: NDArray[Any], what: str) -> Tensor:
    """A numpy array as a tensor: shared where torch can, else copied; `what` names it in the `DataError` if it cannot.

    Copied are arrays that may not be written to, of foreign byte order, with negative or odd strides: torch would warn
    of the first, and does not know the others.
    """
    odd = any(stride < 0 or stride % max(1, array.itemsize) for stride in array.strides)
    if odd or not array.flags.writeable or not array.dtype.isnative:
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        msg = f"{what} has dtype {array.dtype}, which torch does not know; strings go into Ragged.of(list of strings)"
        raise DataError(msg) from error


def row_numbers(index: Any, length: int, what: str) -> Tensor:
    """The rows that an index stands for, as an int64 tensor: one row (no dimension), or several (one dimension).

    Rows are given as an integer, a slice, or a list, array or tensor of integers, from the end if negative, or as a
    mask of booleans. Raises `IndexError` for a row that is not there, `DataError` for what is no index.

    >>> row_numbers(slice(None, None, -2), 5, "table").tolist(), row_numbers([-1, 0], 5, "table").tolist()
    ([4, 2, 0], [4, 0])
    """
    if isinstance(index, slice):
        chosen = range(length)[index]
        return torch.from_numpy(np.arange(len(chosen), dtype=np.int64) * chosen.step + chosen.start)
    rows = _integers(index, what)
    if rows.dtype == torch.bool:
        if rows.shape != (length,):
            msg = f"a mask of shape {tuple(rows.shape)} for a {what} of {length} rows"
            raise IndexError(msg)
        return rows.nonzero().flatten()
    if rows.numel() and not (-length <= int(rows.min()) and int(rows.max()) < length):
        outside = int(rows.max()) if int(rows.max()) >= length else int(rows.min())
        msg = f"row {outside} of a {what} of {length} rows"
        raise IndexError(msg)
    return torch.where(rows < 0, rows + length, rows)


def select(column: Tensor, rows: Tensor) -> Tensor:
    """The rows of a column, copied, by one gather."""
    return selector(column)(rows)


def selector(column: Tensor) -> Callable[[Tensor], Tensor]:
    """The function from rows to these rows of a column, copied, by one gather: for many gathers from one column."""
    signed = _SIGNED.get(column.dtype)
    if signed is None:
        return partial(torch.index_select, column, 0)
    return partial(_select_as, signed, column)


def windowed(values: Tensor, length: int, stride: int) -> Tensor:
    """Windows over values, as a view of shape (windows, length, ...), each `stride` after the one before.

    >>> windowed(torch.arange(6), 3, 2).tolist()
    [[0, 1, 2], [2, 3, 4]]
    """
    rows = max(0, (len(values) - length) // stride + 1)
    step, *others = values.stride()
    # Beyond the values a stride leads nowhere, and torch takes none beyond 64 bits.
    apart = min(stride, len(values)) * step
    return values.as_strided((rows, length, *values.shape[1:]), (apart, step, *others), values.storage_offset())


def _select_as(signed: torch.dtype, column: Tensor, rows: Tensor) -> Tensor:
    return torch.index_select(column.view(signed), 0, rows).view(column.dtype)  # torch gathers no wide unsigned ones


def _integers(index: Any, what: str) -> Tensor:
    try:
        rows = index.detach().cpu() if isinstance(index, Tensor) else tensor_of(np.array(index), what)
    except ValueError:  # lists of lists, words
        rows = torch.from_numpy(np.empty((0, 0)))
    whole = not (rows.is_floating_point() or rows.is_complex() or (rows.dtype == torch.bool and not rows.ndim))
    if rows.ndim > 1 or (rows.numel() and not whole):
        msg = f"a {what} is indexed by a row, a slice, or a list of rows, not {index!r:.60}"
        raise DataError(msg)
    return rows if rows.dtype == torch.bool else rows.to(torch.int64)


_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
