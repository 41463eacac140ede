"""Steps: how the examples of an epoch fall into global batches, and those into the pieces of the ranks."""

import attrs
import numpy as np
from numpy.typing import NDArray


@attrs.frozen
class Steps:
    """The steps in which `world_size` ranks go through the examples `start` to `stop` of an epoch.

    A global batch is `whole` examples, by default `size * world_size`, of which a rank has at most `size`. Without
    `drop_last` every example is in exactly one step and all ranks have the same number of non-empty steps, if there are
    as many examples as ranks: a last global batch smaller than the world is evened out with the one before it.

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
    whole: int = attrs.field(
        kw_only=True, default=attrs.Factory(lambda steps: steps.size * steps.world_size, takes_self=True)
    )
    regular: int = attrs.field(init=False)
    tail: tuple[int, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        examples = max(0, self.stop - self.start)
        regular, tail = _layout(examples, self.whole, self.world_size, self.drop_last)
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
        if step < self.regular:
            return self.start + step * self.whole, self.start + (step + 1) * self.whole
        before = self.start + self.regular * self.whole + sum(self.tail[: step - self.regular])
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
        tail = [self.shard(step, rank) for step in range(max(first, self.regular), last)]
        lows, sizes = np.array([(low, high - low) for low, high in tail], dtype=np.int64).reshape(-1, 2).T
        if first >= self.regular:  # and where no step is whole, the size of one need not fit 64 bits
            return lows, sizes
        steps = np.arange(first, min(last, self.regular), dtype=np.int64)
        low, high = even_shard(self.whole, rank, self.world_size)
        regular = np.full(len(steps), high - low, dtype=np.int64)
        return np.concatenate([self.start + steps * self.whole + low, lows]), np.concatenate([regular, sizes])


def even_shard(n: int, rank: int, world_size: int) -> tuple[int, int]:
    """The bounds of piece `rank` when `range(n)` is cut into `world_size` pieces as evenly as can be.

    Equivalent to `numpy.array_split(range(n), world_size)[rank]`.

    >>> [even_shard(7, rank, 3) for rank in range(3)]
    [(0, 3), (3, 5), (5, 7)]
    """
    each, extra = divmod(n, world_size)
    low = rank * each + min(rank, extra)
    return low, low + each + (rank < extra)


def steps_across_world(start: int, stop: int, whole: int, world_size: int, drop_last: bool) -> Steps:
    """The steps whose global batches are `whole` examples in any world, divided over the ranks as evenly as can be.

    So a step has the same examples for every `world_size`, but for the last two where the last one has fewer examples
    than there are ranks.

    >>> steps = steps_across_world(start=0, stop=9, whole=4, world_size=3, drop_last=False)
    >>> [steps.bounds(step) for step in range(steps.count)]
    [(0, 4), (4, 9)]
    >>> [steps.shard(0, rank) for rank in range(3)]
    [(0, 2), (2, 3), (3, 4)]
    """
    return Steps(start, stop, -(-whole // world_size), world_size, drop_last, whole=whole)


def _layout(examples: int, whole: int, world_size: int, drop_last: bool) -> tuple[int, tuple[int, ...]]:
    """The number of whole global batches, and the sizes of the steps after them."""
    regular, rest = divmod(examples, whole)
    if drop_last or rest == 0:
        return regular, ()
    if rest >= world_size or regular == 0:
        return regular, (rest,)
    if whole + rest < 2 * world_size:
        return regular - 1, (whole + rest,)
    return regular - 1, ((whole + rest + 1) // 2, (whole + rest) // 2)
