"""Differences: where two items of any structure differ, and copies of items that share nothing with them."""

import copy
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._text import short
from .indexing import dtype_name
from .ragged import Ragged
from .tree import map_leaves, places


def difference(one: Any, other: Any) -> str | None:
    """Where two items differ first, and how; None where they are equal. A NaN is equal to a NaN.

    >>> difference({"x": torch.tensor([1, 2])}, {"x": torch.tensor([1, 3])})
    'x[1] is 2, then 3'
    >>> difference({"x": 1, "y": [float("nan")]}, {"x": 1, "y": [float("nan")]})
    """
    if one is other:
        return None
    ones, others = dict(places(one, _is_compared)), dict(places(other, _is_compared))
    if ones.keys() != others.keys():
        odd = next(at for at in [*ones, *others] if (at in ones) != (at in others))
        return f"{odd or 'it'} is there only {'at first' if odd in ones else 'the second time'}"
    for at, leaf in ones.items():
        how = _leaf_difference(leaf, others[at])
        if how is not None:
            return f"{at}{how}" if at or how.startswith("[") else f"it{how}"
    return None


def unlike(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[str, str, str] | None:
    """The first entry that two descriptions have otherwise, and what each of them has there; None where there is none.

    >>> unlike({"x": "int64"}, {"x": "int64", "y": "str"})
    ('y', 'not there', 'str')
    """
    for entry in [*one, *other]:
        if one.get(entry) != other.get(entry):
            return entry, one.get(entry, "not there"), other.get(entry, "not there")
    return None


def copied(item: Any) -> Any:
    """A copy that shares nothing with the item that could be changed in place, as far as its leaves can be copied.

    A tensor that is a view of a larger one is copied alone, which `copy.deepcopy` does not do.
    """
    return map_leaves(_copied_leaf, item)


def nonfinite(item: Any) -> str | None:
    """Where an item has its first floating number that is infinite or none, and which; None where all are finite.

    >>> nonfinite({"x": torch.tensor([0.0, float("inf")])})
    'x[1] is inf'
    """
    for at, leaf in places(item, _is_compared):
        values = leaf.values if isinstance(leaf, Ragged) else leaf
        if isinstance(values, np.ndarray | np.generic) and values.dtype.kind == "f":
            values = torch.from_numpy(np.asarray(values, dtype=np.float64))
        if isinstance(values, float):
            values = torch.tensor(values, dtype=torch.float64)
        if isinstance(values, Tensor) and values.is_floating_point() and not values.is_sparse:
            bad = ~values.isfinite()
            if bad.any():
                where = bad.nonzero()[0].tolist()
                return f"{at or 'it'}{where or ''} is {values[tuple(where)].item()}"
    return None


def structure(item: Any, *, batched: bool, exact: bool) -> tuple[tuple[str, str], ...]:
    """The leaves of an item with their types; of a batch without the first size, and sizes only where `exact`.

    >>> structure({"x": torch.zeros(4, 2)}, batched=True, exact=True)
    (('x', 'float32 of ? x 2'),)
    """
    found = {}
    for at, leaf in places(item, _is_compared):
        if isinstance(leaf, Ragged):
            found[at] = f"ragged {leaf.kind}, {dtype_name(leaf.values.dtype)}"
        elif isinstance(leaf, Tensor | np.ndarray):
            shape = ["?" if batched and place == 0 else str(size) for place, size in enumerate(leaf.shape)]
            shown = " x ".join(shape) if exact else f"{leaf.ndim} dimensions"
            found[at] = f"{dtype_name(leaf.dtype)} of {shown}" if shape else dtype_name(leaf.dtype)
        else:
            found[re.split(r"\[\d+]", at)[0]] = type(leaf).__name__  # lists may be of any length
    return tuple(found.items())


def _is_compared(item: Any) -> bool:
    """Whether an item is compared as one: a set has no places, and what is empty holds nothing else to compare."""
    return isinstance(item, Ragged | set | frozenset) or (isinstance(item, Mapping | list | tuple) and not item)


def _leaf_difference(one: Any, other: Any) -> str | None:
    if one is other:
        return None
    if type(one) is not type(other):
        return f" is a {type(one).__name__}, then a {type(other).__name__}"
    if isinstance(one, Ragged):
        if one.kind != other.kind or not torch.equal(one.offsets, other.offsets):
            return " has rows of other lengths"
        how = _leaf_difference(one.values, other.values)
        return how and f".values{how}"
    if isinstance(one, Tensor):
        if one.dtype != other.dtype or one.shape != other.shape or one.device != other.device:
            return f" is {_shape(one)}, then {_shape(other)}"
        return _first_unlike(_array(one), _array(other))
    if isinstance(one, np.ndarray):
        if one.dtype != other.dtype or one.shape != other.shape:
            return f" is {_shape(one)}, then {_shape(other)}"
        return _first_unlike(one, other)
    return None if _is_same(one, other) else f" is {_short(one)}, then {_short(other)}"


def _first_unlike(one: Any, other: Any) -> str | None:
    if one.dtype.hasobject:
        unlike = np.asarray([not _is_same(*pair) for pair in zip(one.flat, other.flat, strict=True)], dtype=bool)
        unlike = unlike.reshape(one.shape)
    else:
        with np.errstate(invalid="ignore"):
            unlike = one != other
        if one.dtype.kind in "fc":
            unlike &= ~(np.isnan(one) & np.isnan(other))
    if not np.any(unlike):
        return None
    where = tuple(np.argwhere(unlike)[0].tolist())
    return f"{list(where) or ''} is {_short(one[where].item())}, then {_short(other[where].item())}"


def _is_same(one: Any, other: Any) -> bool:
    with suppress(Exception):  # whatever a user's __eq__ raises, or returns in place of a truth
        if one == other or (one != one and other != other):  # noqa: PLR0124 - true of NaN alone
            return True
    equals: Any = type(one).__eq__
    if equals is not object.__eq__ or type(one) is not type(other):
        return False
    try:  # equal by identity alone, which says nothing of copies
        return difference(getattr(one, "__dict__", None), getattr(other, "__dict__", None)) is None
    except RecursionError:  # objects that know each other
        return True


def _array(tensor: Tensor) -> Any:
    plain = tensor.detach().cpu()
    plain = plain.to_dense() if plain.is_sparse else plain.resolve_conj().resolve_neg()
    exact = plain.dtype in _OF_NUMPY
    return (plain if exact else plain.to(torch.float64)).numpy()


def _copied_leaf(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return leaf.detach().clone()
    if isinstance(leaf, np.ndarray):
        return leaf.copy() if not leaf.dtype.hasobject else copy.deepcopy(leaf)
    with suppress(Exception):  # whatever a user's __deepcopy__ raises: open files, locks
        return copy.deepcopy(leaf)
    return leaf


def _shape(array: Any) -> str:
    return f"{dtype_name(array.dtype)} of shape {tuple(array.shape)}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else short(value, 40)


_OF_NUMPY = {
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128),
}
