"""Block shuffle: an order for data that is read in blocks, some of which are mixed at a time, in lanes that are read apart."""

from functools import cached_property

import attrs
import numpy as np

from .._errors import PipelineError
from .._random.permutation import derive, permute
from .._random.tweaked import permute_tweaked
from .order import Ids, Order


_FEW = 4096  # as many elements as `permute` sorts at each look-up
_PIECE = 8192  # positions looked up at once: longer arrays cost the system more to hand out than to fill


@attrs.frozen(slots=False)
class BlockShuffle:
    """A permutation of `range(n)` that has `window` blocks of `block` neighbours in play at a time, in `lanes`.

    Blocks are permuted, and dealt to pools of `window / lanes` of them; a pool's examples are permuted. Position p is of
    lane `p mod lanes`, and each lane goes through pools of its own, so that who takes every W-th position, where W
    divides `lanes`, reads 1 / W of the blocks. What does not fill a pool of each lane (fewer than `window` blocks, and
    the short last one) comes last, as one pool that all lanes share: where that is all, the order is a true shuffle.

    Memory does not depend on n.

    Raises:
        PipelineError: `window` is no multiple of `lanes`.
    """

    n: int
    block: int
    window: int
    lanes: int
    key: int

    def __attrs_post_init__(self) -> None:
        if self.window % self.lanes:
            near = max(1, round(self.window / self.lanes)) * self.lanes
            msg = (
                f"shuffle: window counts the blocks of all lanes, so it is a multiple of lanes={self.lanes}, "
                f"not {self.window}; {near} would be"
            )
            raise PipelineError(msg)

    @property
    def size(self) -> int:
        """The number of positions."""
        return self.n

    @property
    def pools(self) -> int:
        """The number of pools that each lane has to itself."""
        return self._full // self.window

    @property
    def regular(self) -> int:
        """The positions before the pool that all lanes share."""
        return self.pools * self.window * self.block

    def at(self, positions: Ids) -> Ids:
        """Equivalent to going through the lanes' pools in turn, `[next(lane) for lane in cycle(lanes)]`, and the last pool.

        The test writes that out.
        """
        if len(positions) > _PIECE:
            return np.concatenate([self.at(positions[at : at + _PIECE]) for at in range(0, len(positions), _PIECE)])
        if len(positions) and positions.max() < self.regular:
            return self._mixed(positions)
        mixed, out = positions < self.regular, np.empty(len(positions), dtype=np.int64)
        out[mixed] = self._mixed(positions[mixed])
        out[~mixed] = self._last(positions[~mixed])
        return out

    def blocks_of(self, pool: int, lane: int) -> Ids:
        """The blocks that are in play in pool `pool` of a lane, at positions `p` with `p mod lanes == lane`."""
        first = (pool * self.lanes + lane) * self._each
        return self._block(np.arange(first, first + self._each, dtype=np.int64))

    def last_blocks(self) -> Ids:
        """The blocks that are in play in the last pool, which all lanes share."""
        return self._block(np.arange(self.pools * self.window, -(-self.n // self.block), dtype=np.int64))

    @property
    def _full(self) -> int:
        """The number of blocks that are not short."""
        return self.n // self.block

    @property
    def _each(self) -> int:
        """The blocks in a pool."""
        return self.window // self.lanes

    @cached_property
    def _keys(self) -> tuple[int, int, int]:
        return derive(self.key, "pools"), derive(self.key, "last"), derive(self.key, "blocks")

    @cached_property
    def _few_blocks(self) -> Ids | None:
        """All blocks in their order where they are few: what sorting them costs is paid once for all look-ups."""
        return permute(np.arange(self._full), self._full, self._keys[2]) if self._full <= _FEW else None

    def _mixed(self, positions: Ids) -> Ids:
        """The ids at positions before the last pool."""
        in_pool = self._each * self.block
        of_lane = positions // self.lanes
        pool = of_lane // in_pool
        number = pool * self.lanes + (positions - of_lane * self.lanes)
        place = permute_tweaked(of_lane - pool * in_pool, in_pool, self._keys[0], number)
        return self._ids(place + number * in_pool)

    def _last(self, positions: Ids) -> Ids:
        """The ids at positions of the last pool."""
        return self._ids(permute(positions - self.regular, self.n - self.regular, self._keys[1]) + self.regular)

    def _ids(self, places: Ids) -> Ids:
        """The ids at places of the permuted blocks, one block after the other."""
        number = places // self.block
        return self._block(number) * self.block + (places - number * self.block)

    def _block(self, numbers: Ids) -> Ids:
        if self._few_blocks is not None and len(numbers) and numbers.max() < self._full:
            return self._few_blocks[numbers]
        return _permuted_blocks(numbers, self._full, self._keys[2])


@attrs.frozen(eq=False)
class InBlocks:
    """Another order with its blocks of `block` neighbours permuted; a last block that is shorter stays last."""

    of: Order
    block: int
    key: int

    @property
    def size(self) -> int:
        """The number of positions."""
        return self.of.size

    def at(self, positions: Ids) -> Ids:
        """Equivalent to `of.at(concatenate(the blocks of all positions, permuted))[positions]`."""
        return self.of.at(block_permuted(positions, self.of.size, self.block, self.key))


@attrs.frozen(eq=False)
class BlockShuffled:
    """A block shuffle of another order."""

    of: Order
    shuffle: BlockShuffle

    @property
    def size(self) -> int:
        """The number of positions."""
        return self.of.size

    def at(self, positions: Ids) -> Ids:
        """Equivalent to `of.at(block shuffle of all positions)[positions]`."""
        return self.of.at(self.shuffle.at(positions))


def block_shuffled(positions: Ids, n: int, block: int, *, window: int, lanes: int, key: int) -> Ids:
    """The example ids at `positions` of the block shuffle of `range(n)` that `key` names, as `BlockShuffle.at`.

    >>> block_shuffled(np.arange(12), n=12, block=2, window=2, lanes=1, key=3).reshape(3, 4).tolist()
    [[0, 10, 11, 1], [5, 4, 2, 3], [6, 7, 9, 8]]
    """
    return BlockShuffle(n, block, window, lanes, key=key).at(positions)


def block_permuted(positions: Ids, n: int, block: int, key: int) -> Ids:
    """The example ids at `positions` of `range(n)` with whole blocks of neighbours permuted; a short last one stays last.

    >>> block_permuted(np.arange(7), n=7, block=2, key=1).tolist()
    [2, 3, 4, 5, 0, 1, 6]
    """
    number = positions // block
    return _permuted_blocks(number, n // block, key) * block + (positions - number * block)


def _permuted_blocks(numbers: Ids, full: int, key: int) -> Ids:
    """The blocks with these numbers in the permutation of the full ones; a short one after them stays where it is."""
    if not len(numbers) or numbers.max() < full:
        return permute(numbers, full, key) if full else numbers
    return np.where(numbers < full, permute(np.minimum(numbers, full - 1), full, key) if full else numbers, numbers)


def strided(first: int, last: int, rank: int, world_size: int) -> Ids:
    """The positions of a step that are a rank's where ranks read lanes: every `world_size`-th, as many as in its piece.

    Equivalent to `range(first, last)[rank::world_size]`. Where `world_size` divides the lanes, and the start and the
    size of steps, a rank's positions are all of the lanes `rank mod world_size`.

    >>> strided(64, 72, rank=1, world_size=4).tolist()
    [65, 69]
    """
    return np.arange(first + rank, last, world_size, dtype=np.int64)


def variance_ratio(batch: int, n: int, block: int, window: int) -> float:
    """The variance of batch means over that of a true shuffle, for data that is sorted by what is averaged.

    With `window` of the blocks in play, it is 1 + batch / window * (1 - share in play): so many small blocks are better
    than few large ones. 1 is as good as a true shuffle, 2 as batches half as large. Data that is not sorted is nearer to 1.

    >>> variance_ratio(256, n=2**20, block=256, window=256)
    1.9375
    """
    in_play = min(1.0, window * block / n) if n else 1.0
    return 1 + batch / window * (1 - in_play)
