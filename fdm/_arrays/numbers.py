"""Numbers: tensors of lists of Python's and numpy's numbers, with nothing lost."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._errors import DataError
from .indexing import tensor_of


def numbers(values: Sequence[Any], what: str, row: Callable[[int], int], within: str = "") -> Tensor:
    """The numbers as a tensor: bool, int64, float64 or complex128, or the dtype of numpy's numbers that all have one.

    Whole numbers stand among floats where they are the same as floats. `what` and `row`, from a place to the number of a
    row, name them in the `DataError` for what has no such value; `within` is what they stand in.

    >>> numbers([1, 2.5], "column 'a'", int)
    tensor([1.0000, 2.5000], dtype=torch.float64)
    """
    types = set(map(type, values))
    kinds = {kind_of(kind) for kind in types}
    if None in kinds or not (len(kinds) == 1 or kinds <= {"int", "float", "complex"}):
        raise strange(values, what, row, within)
    if len(types) == 1 and issubclass(next(iter(types)), np.generic):
        return tensor_of(np.array(values), what)
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    if kinds == {"bool"}:
        return torch.tensor(plain, dtype=torch.bool, device="cpu")
    if kinds == {"int"}:
        return _integers(plain, what, row)
    _check_exact(plain, what, row)
    return torch.from_numpy(np.array(plain, dtype=np.complex128 if "complex" in kinds else np.float64))


def lists_of_numbers(rows: Sequence[Any], what: str, row: Callable[[int], int]) -> tuple[Tensor, list[int]]:
    """The values of lists of numbers one after the other, and the lengths of the lists.

    Lists of lists are rows of more dimensions, whose inner lists are of one length. Raises `DataError` as `numbers` does.

    >>> lists_of_numbers([[1, 2], [], [3]], "column 'a'", int)
    (tensor([1, 2, 3]), [2, 0, 1])
    """
    lengths = list(map(len, rows))
    values = list(chain.from_iterable(rows))
    if not values:
        return torch.empty(0, dtype=torch.int64, device="cpu"), lengths
    ends = list(accumulate(lengths))

    def row_of(place: int) -> int:
        return row(bisect_right(ends, place))

    if not all(isinstance(value, LISTS) for value in values):
        return numbers(values, what, row_of, "a list with "), lengths
    widths = list(map(len, values))
    other = next((place for place, width in enumerate(widths) if width != widths[0]), None)
    if other is not None:
        msg = (
            f"{what} has, in row {row_of(other)}, lists of lists of different length, {widths[0]} and {widths[other]} "
            f"values; a row may differ from others in its length alone: keep it flat, and how to cut it in a column beside"
        )
        raise DataError(msg)
    inner, _ = lists_of_numbers(values, what, row_of)
    return inner.reshape(len(values), widths[0], *inner.shape[1:]), lengths


def kind_of(kind: type) -> str | None:
    """The kind of number that a type is; None for others, and for what no dtype of torch holds."""
    if issubclass(kind, _NO_NUMBERS):
        return None
    return next((name for name, types in _KINDS.items() if issubclass(kind, types)), None)


def strange(values: Sequence[Any], what: str, row: Callable[[int], int], within: str = "") -> DataError:
    """Why values make no column: the first that is of no kind, or of another than the first one."""
    first = group_of(type(values[0]))
    groups = (group_of(type(value)) for value in values)
    at = next((place for place, group in enumerate(groups) if group is None or group != first), 0)
    value, where = values[at], f"{what} has, in row {row(at)}, {within}"
    if value is None:
        return DataError(f"{where}None; fill it with a value that says so (-1, '', float('nan')), or leave the row out")
    if value is np.ma.masked:
        return DataError(
            f"{where}a masked value, and tensors have no masks; fill it, and keep the mask as a column beside"
        )
    if first is None or group_of(type(value)) is None:
        return DataError(f"{where}{article(value)}; {_remedy(value, within)}")
    missing = [each for each in (values[0], value) if isinstance(each, float) and each != each]  # noqa: PLR0124 - NaN
    hint = "; NaN among others is a value that is missing: fill it" if missing else "; make them alike"
    if within and first not in ("bool", "number"):
        return DataError(f"{what} has, in row {row(0)}, {within}{article(values[0])}; {_remedy(values[0], within)}")
    return DataError(
        f"{what} has {within}{article(values[0])} in row {row(0)} and {article(value)} in row {row(at)}{hint}"
    )


def group_of(kind: type) -> str | None:
    """What values of a type may stand beside in a column: all numbers but bools are one group."""
    number = kind_of(kind)
    if number is not None:
        return "bool" if number == "bool" else "number"
    if issubclass(kind, np.ma.core.MaskedConstant):
        return None
    return next((name for name, types in _GROUPS.items() if issubclass(kind, types)), None)


def article(value: object) -> str:
    """The class of a value, as a sentence has it.

    >>> article(3), article("a"), article(None)
    ('an int', 'a str', 'None')
    """
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"


def _integers(values: list[int], what: str, row: Callable[[int], int]) -> Tensor:
    try:
        return torch.from_numpy(np.array(values, dtype=np.int64))
    except OverflowError:
        at = next(place for place, value in enumerate(values) if not -(2**63) <= value < 2**63)
        msg = (
            f"{what} has, in row {row(at)}, {values[at]}, which is beyond the 64 bits of int64; give "
            f"np.array(values, dtype=np.uint64) where that holds all, or keep it as text"
        )
        raise DataError(msg) from None


def _check_exact(values: list[Any], what: str, row: Callable[[int], int]) -> None:
    """Raise `DataError` for a whole number that is no float."""
    for place, value in enumerate(values):
        if isinstance(value, int) and not _is_float(value):
            msg = (
                f"{what} has, in row {row(place)}, {value} among floats, and no float is that number; make all whole "
                f"numbers, or write float(...) where it may be rounded"
            )
            raise DataError(msg)


def _is_float(value: int) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def _remedy(value: object, within: str) -> str:
    name = type(value).__name__.lower()
    if "date" in name or "time" in name or name == "timestamp":
        return "tensors hold no dates, times and durations; keep a number, value.timestamp() say, or the text of it"
    if isinstance(value, dict):
        return "give each of its entries a column of its own"
    if "image" in type(value).__module__.lower():
        return "make it an array, np.asarray(image), or keep the bytes of its file"
    if name in ("natype", "nattype"):
        return "a value is missing there; fill it, or leave the row out"
    if within and isinstance(value, str | bytes):
        return "lists are of numbers; encode them, join them to one text, or give each a row of its own"
    if within and group_of(type(value)) == "array":
        return "lists are of numbers; make the row one tensor: torch.stack(row)"
    return "a column has numbers, bools, strings, bytes, tensors and arrays, or lists of numbers"


_NO_NUMBERS: tuple[Any, ...] = (np.timedelta64, np.longdouble, np.clongdouble)
LISTS = (list, tuple, range)
_KINDS = {
    "bool": (bool, np.bool_),
    "int": (int, np.integer),
    "float": (float, np.floating),
    "complex": (complex, np.complexfloating),
}
_GROUPS: dict[str, tuple[type, ...]] = {"str": (str,), "bytes": (bytes,), "array": (Tensor, np.ndarray), "list": LISTS}
