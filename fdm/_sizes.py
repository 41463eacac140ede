"""Sizes: what a split's counts, fractions and rest come to for n examples, and who goes where."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ._errors import DataError
from ._order import Ids
from ._permutation import permute
from ._rounding import as_written, largest_remainder, proportional
from ._stage import Sizes


def exact_sizes(into: Sizes, n: int) -> list[int]:
    """The number of examples of each split of `n`; fractions round by largest remainder, so the sum is n.

    >>> exact_sizes((("train", 0.8), ("val", 0.15), ("test", None)), 11)
    [9, 2, 0]

    Raises `DataError` for sizes that do not sum to `n`.
    """
    shares: list[Fraction] = [_share(size, n) for _, size in into]
    fractions = [as_written(size) for _, size in into if isinstance(size, float)]
    if len(fractions) == len(into):  # 1/3 three times: their sum is 1 but for rounding
        shares = [share / sum(fractions, Fraction(0)) for share in shares]
    rest = n - sum(shares, Fraction(0))
    if None in (size for _, size in into) and rest >= 0:
        shares = [rest if size is None else share for share, (_, size) in zip(shares, into, strict=True)]
    elif rest != 0:
        found = ", ".join(f"{name}={size}" for name, size in into)
        remedy = 'name one that takes the rest: "unused": None' if rest > 0 else "make them smaller"
        msg = f"the sizes {found} come to {float(sum(shares)):g}, but there are {n} examples; {remedy}"
        raise DataError(msg)
    return largest_remainder(shares, n)


def stratified(classes: Ids, sizes: Sequence[int], shuffled: Ids) -> Ids:
    """The number of the split of each position, such that each class is cut in proportion, within one example.

    `classes` has a class number for each position; members of a class are taken in the order of `shuffled`, a
    permutation of the positions.
    """
    counts = np.bincount(classes)
    cells = np.asarray(proportional(counts.tolist(), sizes), dtype=np.int64).reshape(-1)
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    split_of = np.empty(len(classes), dtype=np.int64)
    split_of[by_class] = np.repeat(np.tile(np.arange(len(sizes)), len(counts)), cells)
    return split_of


def grouped(groups: Ids, classes: Ids, sizes: Sequence[int], key: int) -> Ids:
    """The number of the split of each position, such that a group is in one split, with sizes near `sizes`.

    The largest group goes first, each to the split that lacks its classes most; with one class for all, to the split
    that lacks most examples. Equal groups are taken in an order that `key` shuffles.
    """
    members = np.zeros((int(groups.max(initial=-1)) + 1, int(classes.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(members, (groups, classes), 1)
    lacking = np.outer(np.asarray(sizes), members.sum(axis=0) / max(1, len(groups)))
    split_of = np.empty(len(members), dtype=np.int64)
    order = permute(np.arange(len(members)), len(members), key)
    for group in order[np.argsort(-members.sum(axis=1)[order], kind="stable")]:
        chosen = int(np.argmax(lacking @ members[group]))
        split_of[group] = chosen
        lacking[chosen] -= members[group]
    return split_of[groups]


def hashed(uniform: NDArray[np.float64], into: Sizes) -> Ids:
    """The number of the split of each position, by where `uniform` falls in the running sum of the fractions."""
    fractions = [Fraction(0) if size is None else as_written(size) for _, size in into]
    rest = 1 - sum(fractions)
    shares = [rest if size is None else part for part, (_, size) in zip(fractions, into, strict=True)]
    bounds = np.cumsum([float(share) for share in shares])[:-1]
    return np.searchsorted(bounds, uniform, side="right").astype(np.int64)


def _share(size: float | None, n: int) -> Fraction:
    if size is None:
        return Fraction(0)
    return as_written(size) * n if isinstance(size, float) else Fraction(size)
