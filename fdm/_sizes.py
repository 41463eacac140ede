"""Sizes: what a split's counts, fractions and rest come to for n examples, and who goes where."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ._errors import DataError
from ._order import Ids
from ._permutation import permute
from ._rounding import SLACK, as_written, largest_remainder, proportional
from ._stage import Sizes


def exact_sizes(into: Sizes, n: int) -> list[int]:
    """The number of examples of each split of `n`; fractions round by largest remainder, so the sum is n.

    >>> exact_sizes((("train", 0.8), ("val", 0.15), ("test", None)), 11)
    [9, 2, 0]

    Raises `DataError` for sizes that do not sum to `n`.
    """
    counts = sum(size for _, size in into if isinstance(size, int))
    fractions = sum((as_written(size) for _, size in into if isinstance(size, float)), Fraction(0)) * n
    rest = n - counts - fractions
    missing = 0 if None in dict(into).values() else rest
    # 1/3 three times is not quite 1: what is off by no more than rounding is spread over the fractions.
    if fractions and 0 < max(missing, -rest) <= SLACK * n:
        scale = (n - counts) / fractions
        return largest_remainder([_share(size, n, scale) for _, size in into], n)
    if rest < 0 or missing > 0:
        found = ", ".join(f"{name}={size}" for name, size in into)
        remedy = 'name one that takes the rest: "unused": None' if rest > 0 else "make them smaller"
        msg = f"the sizes {found} come to {float(counts + fractions):g}, but there are {n} examples; {remedy}"
        raise DataError(msg)
    return largest_remainder([rest if size is None else _share(size, n) for _, size in into], n)


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

    Where there is one class and the table of sums that can be reached is small, each split in turn takes the groups
    whose sum is nearest to its size. Else the largest group goes first, each to the split that lacks its classes most.
    Groups are considered in an order that `key` shuffles.
    """
    members = np.zeros((int(groups.max(initial=-1)) + 1, int(classes.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(members, (groups, classes), 1)
    order = permute(np.arange(len(members)), len(members), key)
    if members.shape[1] == 1 and len(members) * len(groups) <= _SUMS:
        return _nearest_sums(members[:, 0], sizes, order)[groups]
    return _greedy(members, sizes, order)[groups]


def _greedy(members: Ids, sizes: Sequence[int], order: Ids) -> Ids:
    totals = members.sum(axis=0)
    lacking = np.outer(np.asarray(sizes), totals / max(1, totals.sum()))
    split_of = np.empty(len(members), dtype=np.int64)
    for group in order[np.argsort(-members.sum(axis=1)[order], kind="stable")]:
        chosen = int(np.argmax(lacking @ members[group]))
        split_of[group] = chosen
        lacking[chosen] -= members[group]
    return split_of


def _nearest_sums(members: Ids, sizes: Sequence[int], order: Ids) -> Ids:
    split_of = np.full(len(members), len(sizes) - 1)
    left, carried = order.tolist(), 0
    for number, size in enumerate(sizes[:-1]):
        # What one split lacks or has too much, the next makes good; of two sums as near, the one nearer to its size.
        chosen = set(_subset(left, members, max(0, size + carried), prefer_more=carried < 0))
        split_of[list(chosen)] = number
        carried += size - int(members[list(chosen)].sum())
        left = [group for group in left if group not in chosen]
    return split_of


def _subset(groups: Sequence[int], members: Ids, size: int, *, prefer_more: bool) -> list[int]:
    """The groups whose sum is nearest to `size`, by the table of all sums that the first groups can reach."""
    reached = [1]  # bit s is set if some of the groups so far sum to s
    for group in groups:
        reached.append(reached[-1] | reached[-1] << int(members[group]))
    fewer = (reached[-1] & ((1 << (size + 1)) - 1)).bit_length() - 1
    above = reached[-1] >> (size + 1)
    step = (above & -above).bit_length()  # from size up to the next sum, 0 if there is none
    nearer = step < size - fewer or (prefer_more and step == size - fewer)
    total = size + step if step and nearer else fewer
    chosen = []
    for group, before in zip(reversed(groups), reversed(reached[:-1]), strict=True):
        if not before >> total & 1:
            chosen.append(group)
            total -= int(members[group])
    return chosen


def hashed(uniform: NDArray[np.float64], into: Sizes) -> Ids:
    """The number of the split of each position, by where `uniform` falls in the running sum of the fractions."""
    fractions = [Fraction(0) if size is None else as_written(size) for _, size in into]
    rest = 1 - sum(fractions)
    shares = [rest if size is None else part for part, (_, size) in zip(fractions, into, strict=True)]
    bounds = np.cumsum([float(share) for share in shares])[:-1]
    return np.searchsorted(bounds, uniform, side="right").astype(np.int64)


def _share(size: float | None, n: int, scale: Fraction = Fraction(1)) -> Fraction:
    if size is None:
        return Fraction(0)
    return as_written(size) * n * scale if isinstance(size, float) else Fraction(size)


_SUMS = 1 << 28  # bits of that table: 32 megabytes
