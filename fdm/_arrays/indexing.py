"""Arrays and indices from users: numpy's as tensors that torch can work with, and any index as row numbers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._errors import DataError
from .._text import short


def tensor_of(array: NDArray[Any], what: str) -> Tensor:
    """A numpy array as a tensor: shared where torch can, else copied; `what` names it in the `DataError` if it cannot.

    Copied are arrays that may not be written to, of foreign byte order, with negative or odd strides: torch would warn
    of the first, and does not know the others.
    """
    refuse_masked(array, what)
    if array.dtype.kind not in _NUMERIC:
        raise _no_numbers(array, what)
    odd = any(stride < 0 or stride % max(1, array.itemsize) for stride in array.strides)
    # Torch reads complex numbers from whole multiples of their size only, and crashes at others.
    odd = odd or not array.flags.aligned or (array.dtype.kind == "c" and array.ctypes.data % array.itemsize > 0)
    if odd or not array.flags.writeable or not array.dtype.isnative:
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    if array.dtype.kind in "iu":
        array = array.view(f"{array.dtype.kind}{array.itemsize}")  # of two names for one type, torch knows one
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        to = "complex128" if array.dtype.kind == "c" else "float64"
        msg = f"{what} has dtype {array.dtype}, which torch does not know; convert it: .astype({to!r})"
        raise DataError(msg) from error


def refuse_masked(array: object, what: str) -> None:
    """Raise `DataError`, which names it by `what`, for a numpy array with values that are masked: none has a mask here."""
    if isinstance(array, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(array)
        count = int(np.count_nonzero(mask.view(np.bool_) if mask.dtype.names else mask))
        if count:
            msg = (
                f"{what} is a masked array with {count} of {array.size} values masked, and tensors have no masks; fill "
                f"it, array.filled(0) say, and keep the mask beside it as a column or entry: np.ma.getmaskarray(array)"
            )
            raise DataError(msg)


def dtype_name(dtype: Any) -> str:
    """The name of a dtype of torch or numpy, without its module."""
    return str(dtype).removeprefix("torch.")


def plain_tensor(tensor: Tensor, what: str) -> Tensor:
    """A tensor apart from autograd and with its values in memory; `what` names it in the `DataError` if it has none.

    Refused are sparse, nested, quantized and masked tensors, those on the meta device, and dtypes in which torch does
    not compute.
    """
    refuse_odd(tensor, what)
    return tensor.detach().resolve_conj().resolve_neg()


def refuse_odd(tensor: Tensor, what: str) -> None:
    """Raise `DataError`, which names it by `what`, for a tensor that is no dense array of values in memory."""
    is_plain = type(tensor) is Tensor and tensor.layout is torch.strided and tensor.dtype in _COMMON
    if is_plain and not (tensor.is_meta or tensor.is_nested):
        return
    found, remedy = _oddness(tensor)
    if found is not None:
        msg = f"{what} is {found}; {remedy}"
        raise DataError(msg)


def _oddness(tensor: Tensor) -> tuple[str | None, str]:
    """What a tensor is that no dense one is, and what to do about it; None for a dense one."""
    if hasattr(tensor, "get_mask") and hasattr(tensor, "get_data"):
        return "a masked tensor", "fill it, .to_tensor(0) say, and keep its mask as a column of its own: .get_mask()"
    if tensor.is_nested:
        return "a nested tensor", "rows of different length go into fdm.Ragged.of(list(tensor.unbind()))"
    if tensor.layout is not torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        kind = f"a sparse tensor ({layout})" if "sparse" in layout else f"a tensor of layout {layout}"
        return kind, "make it dense, .to_dense(), or keep indices and values of its rows in columns of fdm.Ragged"
    if hasattr(tensor, "fake_mode"):
        return "a FakeTensor, which has no values", "make it outside of FakeTensorMode"
    if tensor.is_meta:
        return "on the meta device, where tensors have no values", "make it on one that has memory: device='cpu'"
    if tensor.is_quantized:
        return f"a quantized tensor ({tensor.dtype})", "keep its integers, .int_repr(), or its values, .dequantize()"
    if tensor.dtype not in _COMMON and tensor.dtype not in _UNCOMMON:
        return (
            f"a tensor of dtype {tensor.dtype}, in which torch does not compute",
            "keep its bytes: .view(torch.uint8)",
        )
    return None, ""


def to_numpy(tensor: Tensor, what: str) -> NDArray[Any]:
    """A tensor as a numpy array of equal numbers: of a dtype that numpy lacks, bfloat16 say, as float32.

    Raises `DataError` for a dtype of which torch makes no other.
    """
    plain = plain_tensor(tensor, what).cpu()
    if plain.dtype in _UNCOMMON:
        try:
            plain = plain.to(torch.complex64 if plain.is_complex() else torch.float32)
        except RuntimeError as error:
            msg = f"{what} has dtype {plain.dtype}, of which torch makes no numbers; compare its bytes: .view(torch.uint8)"
            raise DataError(msg) from error
    return plain.numpy()


def _no_numbers(array: NDArray[Any], what: str) -> DataError:
    match array.dtype.kind:
        case "M" | "m":
            about = "tensors hold no dates, times and durations; keep them as numbers: .astype('int64')"
        case "O":
            first = next((f", {type(value).__name__} first" for value in array.flat), "")
            about = (
                f"tensors hold no Python objects{first}; numbers: .astype('int64') or .astype('float32'); strings and "
                f"rows of different length: fdm.Ragged.of(list of rows)"
            )
        case "V":
            about = "torch does not know records; give each field a column of its own"
        case _:
            about = "which torch does not know; strings go into fdm.Ragged.of(list of strings)"
    return DataError(f"{what} has dtype {array.dtype}: {about}".replace(": which", ", which"))


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
    if isinstance(index, int) and not -length <= index < length and not isinstance(index, bool):
        msg = f"row {short(index, 60)} of a {what} of {length} rows"
        raise IndexError(msg)
    rows = _integers(index, what)
    if rows.dtype == torch.uint64 and rows.numel() and (most := int(rows.numpy().max())) >= _WRAPPED:
        msg = f"row {most} of a {what} of {length} rows"
        raise IndexError(msg)
    rows = rows if rows.dtype == torch.bool else rows.to(torch.int64)
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
    refuse_masked(index, f"the index of a {what}")
    try:
        rows = index.detach().cpu() if isinstance(index, Tensor) else tensor_of(np.array(index), what)
    except ValueError:  # lists of lists, words
        rows = torch.from_numpy(np.empty((0, 0)))
    whole = not (rows.is_floating_point() or rows.is_complex() or (rows.dtype == torch.bool and not rows.ndim))
    if rows.ndim > 1 or (rows.numel() and not whole):
        msg = f"a {what} is indexed by a row, a slice, or a list of rows, not {short(index, 60)}"
        raise DataError(msg)
    return rows


def _there(*names: str) -> frozenset[torch.dtype]:
    """The dtypes of these names, where this version of torch has them."""
    return frozenset(getattr(torch, name) for name in names if hasattr(torch, name))


_WRAPPED = 2**63  # of 64 bits without a sign, what would be negative with one
_NUMERIC = "biufc"
_COMMON = _there(
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_UNCOMMON = _there(
    *("bfloat16", "complex32", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    *("float8_e8m0fnu", "float4_e2m1fn_x2"),
)
_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64} | dict.fromkeys(
    _there("float4_e2m1fn_x2"), torch.uint8
)
