"""Steps: how the examples of an epoch fall into global batches, and those into the pieces of the ranks."""

import attrs
import numpy as np
from numpy.typing import NDArray


@attrs.frozen
class Steps:
    """The steps in which `world_size` ranks go through the examples `start` to `stop` of an epoch.

    A global batch is `size * world_size` examples. Without `drop_last` every example is in exactly one step and all
    ranks have the same number of non-empty steps, if there are as many examples as ranks: a last global batch smaller
    than the world is evened out with the one before it.

    >>> steps = Steps(start=0, stop=9, size=2, world_size=4)
    >>> [steps.bounds(step) for step in range(steps.count)]
    [(0, 5), (5, 9)]
    >>> [steps.shard(0, rank) for rank in range(4)]
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """

    start: int
    stop: int
    size: int
    world_size: int = 1
    drop_last: bool = False
    regular: int = attrs.field(init=False)
    tail: tuple[int, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        examples = max(0, self.stop - self.start)
        regular, tail = _layout(examples, self.size, self.world_size, self.drop_last)
        object.__setattr__(self, "regular", regular)
        object.__setattr__(self, "tail", tail)

    @property
    def count(self) -> int:
        """The number of global steps."""
        return self.regular + len(self.tail)

    def count_of(self, rank: int) -> int:
        """The number of steps in which `rank` has examples; the same on all ranks unless there are too few."""
        if self.count == 1 and rank >= self.bounds(0)[1] - self.start:
            return 0
        return self.count

    def bounds(self, step: int) -> tuple[int, int]:
        """The positions in the epoch that global step `step` covers: first, and one past the last."""
        whole = self.size * self.world_size
        if step < self.regular:
            return self.start + step * whole, self.start + (step + 1) * whole
        before = self.start + self.regular * whole + sum(self.tail[: step - self.regular])
        return before, before + self.tail[step - self.regular]

    def shard(self, step: int, rank: int) -> tuple[int, int]:
        """The contiguous piece of step `step` that is `rank`'s; sizes differ by one at most, larger ones first."""
        first, last = self.bounds(step)
        low, high = even_shard(last - first, rank, self.world_size)
        return first + low, first + high

    def shards(self, first: int, last: int, rank: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where `rank`'s pieces of steps `first` to `last` begin, and their sizes.

        Equivalent to `shard` of each step; only the tail is computed one by one.
        """
        steps = np.arange(first, last, dtype=np.int64)
        lows = self.start + (steps * self.world_size + rank) * self.size
        sizes = np.full(len(steps), self.size, dtype=np.int64)
        for step in range(max(first, self.regular), last):
            low, high = self.shard(step, rank)
            lows[step - first], sizes[step - first] = low, high - low
        return lows, sizes


def even_shard(n: int, rank: int, world_size: int) -> tuple[int, int]:
    """The bounds of piece `rank` when `range(n)` is cut into `world_size` pieces as evenly as can be.

    Equivalent to `numpy.array_split(range(n), world_size)[rank]`.

    >>> [even_shard(7, rank, 3) for rank in range(3)]
    [(0, 3), (3, 5), (5, 7)]
    """
    each, extra = divmod(n, world_size)
    low = rank * each + min(rank, extra)
    return low, low + each + (rank < extra)


def _layout(examples: int, size: int, world_size: int, drop_last: bool) -> tuple[int, tuple[int, ...]]:
    """The number of whole global batches, and the sizes of the steps after them."""
    whole = size * world_size
    regular, rest = divmod(examples, whole)
    if drop_last or rest == 0:
        return regular, ()
    if rest >= world_size or regular == 0:
        return regular, (rest,)
    if size == 1:
        return regular - 1, (whole + rest,)
    return regular - 1, ((whole + rest + 1) // 2, (whole + rest) // 2)
