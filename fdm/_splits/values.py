"""Values that groups, classes, keys and weights are: which of them are equal, and in which order they stand."""

import hashlib
from collections.abc import Iterable, Mapping
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._arrays.indexing import refuse_masked, to_numpy
from .._arrays.ragged import Ragged
from .._errors import DataError
from .._random.permutation import derive, uniforms
from .._text import short


def codes(values: Any, size: int, what: str) -> NDArray[np.int64]:
    """Equal values as equal numbers from 0, in the order of the values; one for each of `size` examples.

    Numbers are equal as in Python, whatever their type and size (1, 1.0 and True; not 2**53 and 2**53 + 1), and all NaN
    are one value. A number, a string and bytes never are. Numbers come first, then NaN, strings, bytes.

    >>> codes(["b", "a", "b"], 3, "labels").tolist(), codes([1, "1", b"1", 1.0], 4, "labels").tolist()
    ([1, 0, 1], [0, 1, 2, 0])

    Raises `DataError`, which names the values by `what`, for anything else.
    """
    column = single_values(values, size, what)
    if isinstance(column, np.ndarray):
        return np.unique(column, return_inverse=True)[1].astype(np.int64).reshape(-1)
    kinds = set(map(type, column))
    of_one_kind = kinds <= {int, bool} or kinds in ({str}, {bytes})
    comparable: list[Any] = column if of_one_kind else [_comparable(value) for value in column]
    numbers = {value: number for number, value in enumerate(sorted(set(comparable)))}
    return np.fromiter(map(numbers.__getitem__, comparable), dtype=np.int64, count=size)


def single_values(values: Any, size: int, what: str) -> NDArray[Any] | list[Any]:
    """A column of single numbers or strings, one for each of `size` examples: as an array, or a list of Python's values.

    What comes as a list stays one: an array would have one type for all, and strings as long as the longest.
    """
    needed = f"it needs one number or string for each of the {size} examples"
    if isinstance(values, Tensor | np.ndarray):
        refuse_masked(values, what)
        array = to_numpy(values, what) if isinstance(values, Tensor) else values
        if array.shape != (size,) or array.dtype.kind == "V":
            msg = f"{what} has shape {array.shape} and dtype {array.dtype}; {needed}"
            raise DataError(msg)
        return single_values(array.tolist(), size, what) if array.dtype.kind in "OT" else array
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping | set | frozenset):
        msg = f"{what} is {short(values, 60)}; {needed}"
        raise DataError(msg)
    column = [_plain(value, what) for value in (values.tolist() if isinstance(values, Ragged) else values)]
    if len(column) != size:
        msg = f"{what} has {len(column)} values; {needed}"
        raise DataError(msg)
    if {type(value) for value in column} == {np.datetime64}:
        return np.asarray(column)
    for place, value in enumerate(column):
        if not isinstance(value, _SINGLE):
            missing = ", -1 or '' say where it is missing" if value is None or type(value).__name__ == "NAType" else ""
            msg = f"{what} has {short(value, 60)} for example {place}; {needed}{missing}"
            raise DataError(msg)
    return column


def weights(values: Any, size: int, what: str) -> NDArray[np.float64]:
    """A column of numbers as an array of floats, one for each of `size` examples."""
    column = single_values(values, size, what)
    if isinstance(column, list) and all(isinstance(value, int | float) for value in column):
        return np.fromiter(map(_as_float, column), dtype=np.float64, count=size)
    if isinstance(column, list) or column.dtype.kind not in "biuf":
        kinds = {type(value).__name__ for value in column}
        found = f"of dtype {column.dtype}" if isinstance(column, np.ndarray) else " and ".join(sorted(kinds))
        msg = f"{what} are numbers, not {found}"
        raise DataError(msg)
    return column.astype(np.float64)


def hashed_keys(keys: Any, size: int, key: int) -> NDArray[np.float64]:
    """A uniform number for each key, which depends on the key's value and on nothing else, such as its neighbours.

    Keys that are not equal, as `codes` has it, are placed apart: 1 and "1", "a" and b"a". Numbers are equal whatever
    their type, so that a column which becomes floating point moves nothing.
    """
    column = single_values(keys, size, "key")
    if isinstance(column, np.ndarray) and column.dtype.kind in "bi":
        return uniforms(column.astype(np.int64), key)
    words = [_word(value) for value in (column.tolist() if isinstance(column, np.ndarray) else column)]
    kinds = np.array([kind for kind, _ in words], dtype=object)
    counters = np.fromiter((number for _, number in words), dtype=np.int64, count=size)
    placed = np.empty(size)
    for kind in dict.fromkeys(kinds.tolist()):
        placed[kinds == kind] = uniforms(counters[kinds == kind], derive(key, kind) if kind else key)
    return placed


def _plain(value: Any, what: str) -> Any:
    """A value as Python's own: numpy's and torch's single numbers have one inside."""
    if isinstance(value, np.ndarray) and not value.ndim:
        refuse_masked(value, what)
        return value.item()
    if isinstance(value, Tensor) and not value.ndim:
        return to_numpy(value, what).item()
    return value.item() if isinstance(value, np.generic) and not isinstance(value, np.datetime64) else value


def _comparable(value: Any) -> tuple[Any, ...]:
    """What is equal where values are, of whatever type, and stands in their order."""
    match value:
        case str():
            return _STRING, str.__str__(value)  # members of an enumeration have a hash of their own
        case bytes():
            return _BYTES, bytes(value)
        case int():
            return _NUMBER, int(value), 0
        case _ if value != value:  # noqa: PLR0124 - true of NaN alone
            return (_NAN,)
        case _:
            return _NUMBER, value.real, value.imag


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _word(value: Any) -> tuple[str, int]:
    """A key as a kind of key and 64 bits: small whole numbers as they are, all else by a hash."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return "", int(value)
    match value:
        case str():
            return "text", _hashed(str.__str__(value).encode("utf-8", "surrogatepass"))
        case bytes():
            return "bytes", _hashed(value)
        case int() | float():
            return "number", _hashed(b"nan" if isinstance(value, float) and isnan(value) else repr(value + 0).encode())
        case _:
            msg = f"key: a key is a number or a string, not {short(value, 60)}"
            raise DataError(msg)


def _hashed(raw: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little", signed=True)


_SINGLE = (int, float, complex, str, bytes)
_NUMBER, _NAN, _STRING, _BYTES = range(4)
