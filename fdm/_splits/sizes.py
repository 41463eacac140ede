"""Sizes: what a split's counts, fractions and rest come to for n examples, and who goes where."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .._errors import DataError
from .._orders.order import Ids
from .._stages.fields import Sizes
from .._stages.rounding import SLACK, as_written, largest_remainder, proportional


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


def block_sizes(into: Sizes, n: int, block: int) -> list[int]:
    """The sizes of splits of whole blocks; the last one has the short last block too, if there is one.

    >>> block_sizes((("train", 0.8), ("val", None)), 1000, 64)
    [768, 232]

    Raises `DataError` for counts that are no whole blocks, and for sizes that do not sum to `n`.
    """
    blocks, short = divmod(n, block)
    counts = [size for _, size in into if isinstance(size, int)]
    if len(counts) == len(into):
        exact_sizes(into, n)
    last = len(into) - 1
    for place, (name, size) in enumerate(into):
        if isinstance(size, int) and (size - (short if place == last else 0)) % block:
            low = size // block * block
            msg = (
                f"the size {name}={size} is no whole number of blocks of {block}: give {low:,} or {low + block:,}, or a "
                f"fraction, which is one of blocks; the last split has the {short} examples of the short last block"
            )
            raise DataError(msg)
    in_blocks = tuple((name, size // block if isinstance(size, int) else size) for name, size in into)
    sizes = [block * size for size in exact_sizes(in_blocks, blocks)]
    sizes[last] += short
    return sizes


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


def hashed(uniform: NDArray[np.float64], into: Sizes) -> Ids:
    """The number of the split of each position, by where `uniform` falls in the running sum of the fractions."""
    fractions = [Fraction(0) if size is None else as_written(size) for _, size in into]
    rest = 1 - sum(fractions)
    shares = [rest if size is None else part for part, (_, size) in zip(fractions, into, strict=True)]
    bounds = np.cumsum([float(share) for share in shares])[:-1]
    return np.searchsorted(bounds, uniform, side="right").astype(np.int64)


def even_shard(n: int, rank: int, world_size: int) -> tuple[int, int]:
    """The bounds of piece `rank` when `range(n)` is cut into `world_size` pieces as evenly as can be.

    Equivalent to `numpy.array_split(range(n), world_size)[rank]`.

    >>> [even_shard(7, rank, 3) for rank in range(3)]
    [(0, 3), (3, 5), (5, 7)]
    """
    each, extra = divmod(n, world_size)
    low = rank * each + min(rank, extra)
    return low, low + each + (rank < extra)


def _share(size: float | None, n: int, scale: Fraction = Fraction(1)) -> Fraction:
    if size is None:
        return Fraction(0)
    return as_written(size) * n * scale if isinstance(size, float) else Fraction(size)
