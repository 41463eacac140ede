"""Reductions: exact sums and means over all ranks, which do not depend on their number or order."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._arrays.tree import map_leaves, places
from .._errors import DataError
from .._public import public
from .exchange import Group, agree, attempted, ranks_of, same, told


@public
def total(value: Any, *, group: Group = None) -> Any:
    """The exact sum of every rank's `value`: a number, a tensor, or a nested dict of them. Collective.

    Integers are added up exactly: Python's as Python has them, tensors as int64. Floats are added without rounding and
    rounded once, to float64; so the result is the same bits on every rank, in whatever order they come. Tensors keep
    their shape and come back on the CPU. The ranks are those of the `torch.distributed` group, by default all; without
    an initialised group, this process alone.

    >>> import torch
    >>> total({"correct": 17, "loss": torch.tensor([0.5, 0.25])})
    {'correct': 17, 'loss': tensor([0.5000, 0.2500], dtype=torch.float64)}

    Raises `DataError` on every rank if one gives something else, or is at another call than `total`, or their structures
    differ, or an integer tensor's sum does not fit int64. An error of the group, such as its timeout when a rank died, is
    raised as a `PreparationError` with its words and a note.
    """
    return _totals("fdm.total", {"value": value}, group)["value"]


@public
def mean(total: Any, count: Any, *, group: Group = None) -> Any:
    """The sum of every rank's `total` divided by the sum of every rank's `count`. Collective.

    Both are as `fdm.total` takes them, and are summed exactly as it does; the quotient is rounded once more, to float64.
    `count` is one number for all of `total`, or has its structure. Where the count is 0 over all ranks, the mean is nan.

    >>> mean(total=17, count=20)
    0.85
    >>> mean({"loss": 3.0, "accuracy": 2}, 4), mean(0.0, 0)
    ({'loss': 0.75, 'accuracy': 0.5}, nan)

    So the accuracy of a split is `fdm.mean(correct, seen)`, both counted over this rank's batches: the mean of means
    would be wrong, since batches and ranks have different numbers of examples. Raises as `fdm.total`.
    """
    sums = _totals("fdm.mean", {"total": total, "count": count}, group)
    return _divided(sums["total"], sums["count"], "total")


def exact_sum(values: Sequence[Any]) -> Any:
    """The sum of ints and floats, rounded once; an int if all are.

    >>> exact_sum([1e100, 1.0, -1e100]), exact_sum([2**60, 2**60])
    (1.0, 2305843009213693952)
    """
    if all(isinstance(value, int) for value in values):
        return sum(values)
    beyond = [value for value in values if isinstance(value, float) and not math.isfinite(value)]
    if beyond:
        return sum(beyond)
    try:
        if all(isinstance(value, float) for value in values):
            return math.fsum(values)
    except OverflowError:  # a part of the sum has no float, the whole may have one
        pass
    whole = sum(map(Fraction, values))
    try:
        return float(whole)
    except OverflowError:
        return math.inf if whole > 0 else -math.inf


@attrs.frozen(eq=False)
class _Leaf:
    """A number, or the numbers of a tensor in order, of a nested dict: as it travels."""

    numbers: int | float | NDArray[Any]
    shape: tuple[int, ...] | None

    @property
    def kind(self) -> str:
        """What has to be the same on all ranks."""
        if not isinstance(self.numbers, np.ndarray):
            return "a number"
        return f"a tensor of {'floats' if self.is_float else 'integers'} of shape {self.shape}"

    @property
    def is_float(self) -> bool:
        """Whether it is a tensor of floats."""
        return isinstance(self.numbers, np.ndarray) and self.numbers.dtype.kind == "f"

    def values(self) -> list[Any]:
        """The numbers."""
        numbers: list[Any] = self.numbers.tolist() if isinstance(self.numbers, np.ndarray) else [self.numbers]
        return numbers


def _totals(function: str, value: Mapping[str, Any], group: Group) -> Any:
    ranks = ranks_of(function, group)
    own, error = attempted(lambda: {place: _leaf(leaf, place) for place, leaf in places(value, _is_leaf)})
    gathered = ranks.every((told(error), own or {}))
    agree(ranks, [verdict for verdict, _ in gathered], error)
    kinds = [{place: leaf.kind for place, leaf in leaves.items()} for _, leaves in gathered]
    same(ranks, dict(enumerate(kinds)), "begin the sum with the same on every rank, such as torch.zeros(()) or 0")
    sums = {place: _summed(function, place, [leaves[place] for _, leaves in gathered]) for place in gathered[0][1]}
    in_order = iter(own or {})  # that of this rank's dicts, which may be another than that of others
    return map_leaves(lambda _: sums[next(in_order)], value, _is_leaf)


def _is_leaf(value: Any) -> bool:
    return not isinstance(value, Mapping)


def _leaf(value: Any, place: str) -> _Leaf:
    if isinstance(value, Tensor) and not value.is_complex():
        return _Leaf(_numbers(value.detach().cpu()), tuple(value.shape))
    if isinstance(value, int | np.integer | np.bool_):
        return _Leaf(int(value), None)
    if isinstance(value, float | np.floating):
        return _Leaf(float(value), None)
    msg = (
        f"{place} is a {type(value).__name__}; what is summed is a number, a tensor of real numbers, or a nested "
        f"dict of them (numpy arrays: torch.from_numpy)"
    )
    raise DataError(msg)


def _numbers(value: Tensor) -> NDArray[Any]:
    if value.is_floating_point():
        floats: NDArray[Any] = value.double().reshape(-1).numpy()
        return floats
    wide = value if value.dtype == torch.uint64 else value.long()
    integers: NDArray[Any] = wide.reshape(-1).numpy()
    return integers


def _summed(function: str, path: str, leaves: Sequence[_Leaf]) -> Any:
    sums = [exact_sum(column) for column in zip(*(leaf.values() for leaf in leaves), strict=True)]
    shape = leaves[0].shape
    if shape is None:
        return sums[0]
    if leaves[0].is_float:
        return torch.tensor(sums, dtype=torch.float64, device="cpu").reshape(shape)
    outside = [number for number in sums if not -(2**63) <= number < 2**63]
    if outside:
        msg = f"{function}: {path} sums to {outside[0]}, which is no int64; give Python integers or a float64 tensor"
        raise DataError(msg)
    return torch.tensor(sums, dtype=torch.int64, device="cpu").reshape(shape)


def _divided(total: Any, count: Any, path: str) -> Any:
    if isinstance(total, Mapping):
        if isinstance(count, Mapping) and set(count) != set(total):
            _refuse(path, f"the keys {list(total)}", f"the keys {list(count)}")
        return {
            key: _divided(value, count[key] if isinstance(count, Mapping) else count, f"{path}[{key!r}]")
            for key, value in total.items()
        }
    if isinstance(count, Mapping):
        _refuse(path, "no dict", "a dict")
    if not isinstance(total, Tensor) and not isinstance(count, Tensor):
        return _quotient(total, count)
    whole, parts = torch.as_tensor(total, device="cpu"), torch.as_tensor(count, device="cpu")
    if parts.ndim and parts.shape != whole.shape:
        _refuse(path, f"the shape {tuple(whole.shape)}", f"the shape {tuple(parts.shape)}")
    pairs = zip(whole.reshape(-1).tolist(), parts.expand(whole.shape).reshape(-1).tolist(), strict=True)
    return torch.tensor([_quotient(*pair) for pair in pairs], dtype=torch.float64, device="cpu").reshape(whole.shape)


def _quotient(total: Any, count: Any) -> float:
    if not count:
        return math.nan
    try:
        return float(total / count)
    except OverflowError:  # a mean of integers beyond all floats
        return math.inf if (total > 0) == (count > 0) else -math.inf


def _refuse(path: str, of_total: str, of_count: str) -> None:
    msg = (
        f"fdm.mean: {path} has {of_total}, its count {of_count}; count is one number for all, or has total's structure"
    )
    raise DataError(msg)
