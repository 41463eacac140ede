"""Steps: how the examples of an epoch fall into global batches, and those into the pieces of the ranks."""

from typing import Self

import attrs
import numpy as np
from numpy.typing import NDArray

from .._orders.by_length import ByLength
from .._splits.sizes import even_shard


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
    [range(0, 2), range(2, 3), range(3, 4), range(4, 5)]
    """

    start: int
    stop: int
    size: int
    world_size: int = 1
    drop_last: bool = False
    whole: int = attrs.field(
        kw_only=True, default=attrs.Factory(lambda steps: steps.size * steps.world_size, takes_self=True)
    )
    is_strided: bool = attrs.field(kw_only=True, default=False)
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

    @property
    def stride(self) -> int:
        """How far apart the positions of a rank in a step are."""
        return self.world_size if self.is_strided else 1

    def shard(self, step: int, rank: int) -> range:
        """The positions of step `step` that are `rank`'s: one piece, or every `world_size`-th where they are strided.

        Sizes differ by one at most, larger ones first.
        """
        first, last = self.bounds(step)
        low, high = even_shard(last - first, rank, self.world_size)
        return range(first + rank, last, self.world_size) if self.is_strided else range(first + low, first + high)

    def shards(self, first: int, last: int, rank: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where `rank`'s pieces of steps `first` to `last` begin, and their sizes.

        Equivalent to `shard` of each step; only the tail is computed one by one.
        """
        tail = [self.shard(step, rank) for step in range(max(first, self.regular), last)]
        lows, sizes = np.array([(piece.start, len(piece)) for piece in tail], dtype=np.int64).reshape(-1, 2).T
        if first >= self.regular:  # and where no step is whole, the size of one need not fit 64 bits
            return lows, sizes
        steps = np.arange(first, min(last, self.regular), dtype=np.int64)
        low, high = even_shard(self.whole, rank, self.world_size)
        regular = np.full(len(steps), high - low, dtype=np.int64)
        begins = self.start + steps * self.whole + (rank if self.is_strided else low)
        return np.concatenate([begins, lows]), np.concatenate([regular, sizes])


def steps_across_world(
    start: int, stop: int, whole: int, world_size: int, drop_last: bool, *, is_strided: bool = False
) -> Steps:
    """The steps whose global batches are `whole` examples in any world, divided over the ranks as evenly as can be.

    So a step has the same examples for every `world_size`, but for the last two where the last one has fewer examples
    than there are ranks.

    >>> steps = steps_across_world(start=0, stop=9, whole=4, world_size=3, drop_last=False)
    >>> [steps.bounds(step) for step in range(steps.count)]
    [(0, 4), (4, 9)]
    >>> [steps.shard(0, rank) for rank in range(3)]
    [range(0, 2), range(2, 3), range(3, 4)]
    """
    size = -(-whole // world_size)
    return Steps(start, stop, size, world_size, drop_last, whole=whole, is_strided=is_strided)


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


@attrs.frozen(eq=False)
class StepsByLength:
    """The steps of an epoch by length that are still to come, and what each of `world_size` ranks has of them.

    Step i is the positions `cuts[i]` to `cuts[i + 1]`, all of which are padded to `edges[i]`.
    """

    cuts: NDArray[np.int64]
    edges: NDArray[np.int64]
    world_size: int

    @classmethod
    def of(cls, order: ByLength, start: int = 0, world_size: int = 1) -> Self:
        """The steps from the one on that starts after `start` examples.

        Raises `DataError` if there may be fewer examples in a step than ranks, and `SnapshotError` if none starts there.
        """
        order.layout.check_world(world_size)
        first = order.step_at(start)
        return cls(order.cuts.at[first:], order.layout.buckets.edges[order.cuts.bucket[first:]], world_size)

    @property
    def start(self) -> int:
        """The position of the first one's first example."""
        return int(self.cuts[0])

    @property
    def stop(self) -> int:
        """The position after the last one's last example."""
        return int(self.cuts[-1])

    @property
    def whole(self) -> int:
        """The most examples of a step, over all ranks."""
        return int(np.diff(self.cuts).max(initial=0))

    @property
    def size(self) -> int:
        """The most examples that a rank has in a step."""
        return -(-int(np.diff(self.cuts).max(initial=0)) // self.world_size)

    @property
    def count(self) -> int:
        """The number of steps."""
        return len(self.edges)

    def count_of(self, rank: int) -> int:
        """The number of steps in which `rank` has examples: all, unless there are fewer examples than ranks in the one."""
        return self.count if rank < self.stop - self.start else 0

    def bounds(self, step: int) -> tuple[int, int]:
        """The positions that a step covers: first, and one past the last."""
        return int(self.cuts[step]), int(self.cuts[step + 1])

    @property
    def stride(self) -> int:
        """How far apart the positions of a rank in a step are: it has one piece."""
        return 1

    def shard(self, step: int, rank: int) -> range:
        """The contiguous piece of a step that is `rank`'s; sizes differ by one at most, larger ones first."""
        first, last = self.bounds(step)
        low, high = even_shard(last - first, rank, self.world_size)
        return range(first + low, first + high)

    def shards(self, first: int, last: int, rank: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where `rank`'s pieces of steps `first` to `last` begin, and their sizes. Equivalent to `shard` of each."""
        cuts = self.cuts[first : last + 1]
        each, extra = np.divmod(np.diff(cuts), self.world_size)
        return cuts[:-1] + rank * each + np.minimum(rank, extra), each + (rank < extra)
