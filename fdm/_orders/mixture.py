"""Mixtures: which part of an endless run each position is of, and which of the part's draws, in exact shares."""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from .._errors import DataError, PipelineError
from .._random.permutation import random_bits
from .order import Ids
from .shares import check_sizes, exact_shares


BLOCK = 64  # positions of the run that are permuted together; a power of two below 2**8
LONGEST = 2**62  # positions of the run end here
_TOGETHER = 128  # blocks worked on at once: longer arrays cost the system more to hand out than to fill


@attrs.frozen(slots=False)
class Tree:
    """Draws of leaves in proportion to their weights: each node deals its draws to two children, rounded to nearest.

    Of c draws of a node, `floor(c * w(left) / w + 1/2)` are the left child's, so that both children stay within one half
    of their shares of c. Nodes pair as in Huffman's tree: a child that has children itself weighs at most two thirds of
    its parent, so what strays sums to less than (1/2) (1 + 1 + 2/3 + (2/3)**2 + ...) = 2 draws at any leaf, for ever.
    """

    weights: tuple[int, ...]

    @property
    def leaves(self) -> int:
        """The number of leaves, which are nodes 0 and up; the last node is the root."""
        return len(self.weights)

    @cached_property
    def nodes(self) -> NDArray[np.int64]:
        """The left child, the right child and the weight of each node, in rows; a leaf has no children: -1."""
        rows = [(-1, -1, weight) for weight in self.weights]
        heap = [(weight, node) for node, weight in enumerate(self.weights)]
        heapq.heapify(heap)
        while len(heap) > 1:
            (lighter, right), (heavier, left) = heapq.heappop(heap), heapq.heappop(heap)
            heapq.heappush(heap, (lighter + heavier, len(rows)))
            rows.append((left, right, lighter + heavier))
        return np.array(rows, dtype=np.int64).T

    def counts(self, draws: int) -> list[int]:
        """How many of the first `draws` of the root are of each leaf."""
        left, right, weight = self.nodes.tolist()
        counts = [0] * len(weight)
        counts[-1] = draws
        for node in range(len(weight) - 1, self.leaves - 1, -1):
            counts[left[node]] = (2 * counts[node] * weight[left[node]] + weight[node]) // (2 * weight[node])
            counts[right[node]] = counts[node] - counts[left[node]]
        return counts[: self.leaves]

    def reached(self, counts: Sequence[int]) -> list[int]:
        """For each leaf, the least draws of the root of which as many as its number in `counts`, at least 1, are its own."""
        left, _, weight = self.nodes.tolist()
        above = self._parents
        return [self._least(leaf, count, left, weight, above) for leaf, count in enumerate(counts)]

    @cached_property
    def _parents(self) -> list[int]:
        parents = [-1] * self.nodes.shape[1]
        for node, children in enumerate(self.nodes[:2].T.tolist()):
            for child in children:
                if child >= 0:
                    parents[child] = node
        return parents

    @staticmethod
    def _least(node: int, count: int, left: list[int], weight: list[int], above: list[int]) -> int:
        """Up from a node to the root: a parent has dealt `count` to a child once it has half a draw less than its share."""
        while (parent := above[node]) >= 0:
            dealt, twice = weight[parent] * (2 * count - 1), 2 * weight[node]
            count = -(-dealt // twice) if left[parent] == node else dealt // twice + 1
            node = parent
        return count

    def deal(self, starts: Ids, lengths: Ids) -> tuple[Ids, Ids, Ids, Ids]:
        """The draws of stretches of the root: for each leaf with draws in one, leaf, first draw, number, and place.

        Places count through the stretches, one after the other: a stretch's draws stand together, and in it a leaf's.
        Equivalent to going through the draws of each stretch one by one, in time O(leaves drawn * depth).
        """
        periods, rest = np.divmod(starts, self.nodes[2, -1])  # counts are those of a period, and whole periods' draws
        places = np.cumsum(lengths)
        items: tuple[Ids, ...] = np.full(len(starts), self.nodes.shape[1] - 1), rest, lengths, places - lengths
        dealt = []
        while len(items[0]):
            at_leaf = items[0] < self.leaves
            dealt.append(_chosen(items, np.flatnonzero(at_leaf)))
            items = self._halved(*_chosen(items, np.flatnonzero(~at_leaf)))
        leaf, first, count, place = _in_order(*map(np.concatenate, zip(*dealt, strict=True)), places=int(places[-1]))
        return leaf, first + np.repeat(periods, lengths)[place] * self.nodes[2][leaf], count, place

    def _halved(self, node: Ids, first: Ids, count: Ids, place: Ids) -> tuple[Ids, ...]:
        """The children of nodes with the draws that are dealt to them, without those that get none."""
        left, right, weight = (row.take(node) for row in self.nodes)
        twice, step = 2 * weight, 2 * self.nodes[2].take(left)
        dealt = first * step + weight
        low = dealt // twice
        taken = (dealt + count * step) // twice - low
        some, rest = np.flatnonzero(taken), np.flatnonzero(taken < count)
        to_left = _chosen((left, low, taken, place), some)
        to_right = _chosen((right, first - low, count - taken, place + taken), rest)
        return tuple(map(np.concatenate, zip(to_left, to_right, strict=True)))


def _chosen(items: Sequence[Ids], which: Ids) -> tuple[Ids, ...]:
    return tuple(field.take(which) for field in items)


def _in_order(leaf: Ids, first: Ids, count: Ids, place: Ids, *, places: int) -> tuple[Ids, ...]:
    """Items in the order of their places, which are distinct and below `places`: without a sort."""
    number = np.full(places, -1)
    number[place] = np.arange(len(place))
    return _chosen((leaf, first, count, place), number[number >= 0])


@attrs.frozen
class Phase:
    """Exact shares by name, in the order of the names, from a position of the run on, which is a multiple of BLOCK."""

    start: int
    shares: tuple[tuple[str, int], ...]


@attrs.frozen(slots=False)
class Mixture:
    """An endless run of draws of parts in exact shares, cut into epochs of `size` examples.

    Position P = epoch * size + p of the run holds one draw of one part. Draw j of a part of n examples is example
    `j mod n` of epoch `j div n` of the part's own order, and the draws of a part come in order: all of the part is gone
    through before any of it comes again, across the mixture's epochs. Which part a position has is permuted by key
    within blocks of 64 positions (and not across the end of an epoch), so that ranks and parts do not alias.

    At the ends of blocks and of epochs, the number of draws of a part is within 2 of its share of the phase so far.

    Parts are numbered in the order of the phases in which they appear first, and within it by name: so a later phase
    with new parts changes no number.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    phases: tuple[Phase, ...]
    size: int
    key: int

    def at(self, positions: Ids) -> tuple[Ids, Ids]:
        """The part numbers and the draw numbers at positions of the run, in any order, in O(log parts) each.

        A block is computed whole, so neighbours cost least; where each is of another block, a position costs 64.
        """
        if (np.diff(positions) >= 0).all():
            return self._at_ascending(positions)
        order = np.argsort(positions, kind="stable")
        drawn = np.empty((2, len(positions)), dtype=np.int64)
        drawn[:, order] = self._at_ascending(positions[order])
        return drawn[0], drawn[1]

    def passes(self, parts: Ids, draws: Ids) -> tuple[Ids, Ids]:
        """For draws of parts, the epoch of the part that each is of, and its position in that epoch."""
        sizes = np.array(self.sizes, dtype=np.int64)[parts]
        passes = draws // sizes
        return passes, draws - passes * sizes

    def counts(self, position: int) -> Ids:
        """How many of the positions before `position` of the run each part has."""
        whole = max(position - position % BLOCK, position - position % self.size)
        counts = np.array(self._dealt(whole), dtype=np.int64)
        parts, _ = self.at(np.arange(whole, position, dtype=np.int64))
        return counts + np.bincount(parts, minlength=len(self.names))

    def begun(self, position: int) -> "Mixture":
        """The mixture without the phases that begin at `position` of the run or later: what decided all before it.

        The first phase stays, since the size of an epoch is made of it.
        """
        phases = self.phases[: max(1, bisect_left(self._starts, position))]
        names = {name for phase in phases for name, _ in phase.shares}
        return attrs.evolve(self, names=self.names[: len(names)], sizes=self.sizes[: len(names)], phases=phases)

    def same_past(self, other: "Mixture", position: int) -> bool:
        """Whether two mixtures have the same draws before `position` of the run, because what decided them is the same."""
        return self.begun(position) == other.begun(position)

    def first_difference(self, other: "Mixture", position: int) -> int | None:
        """The number of the first phase begun before `position` that another mixture has otherwise, or has not."""
        mine, others = self.begun(position).phases, other.begun(position).phases
        for number, pair in enumerate(zip(mine, others, strict=False)):
            if pair[0] != pair[1]:
                return number
        return None if len(mine) == len(others) else min(len(mine), len(others))

    @cached_property
    def _starts(self) -> list[int]:
        return [phase.start for phase in self.phases]

    @cached_property
    def _trees(self) -> list[Tree]:
        return [Tree(tuple(weight for _, weight in phase.shares)) for phase in self.phases]

    @cached_property
    def _numbers(self) -> list[Ids]:
        """The numbers of each phase's parts."""
        number = {name: part for part, name in enumerate(self.names)}
        return [np.array([number[name] for name, _ in phase.shares], dtype=np.int64) for phase in self.phases]

    @cached_property
    def _carried(self) -> list[Ids]:
        """The draws of each part before each phase."""
        carried = [np.zeros(len(self.names), dtype=np.int64)]
        for number, (start, end) in enumerate(pairwise(self._starts)):
            carried.append(carried[-1].copy())
            carried[-1][self._numbers[number]] += self._trees[number].counts(end - start)
        return carried

    def _dealt(self, position: int) -> Ids:
        """The draws of each part before the end of a block or of an epoch."""
        number = bisect_right(self._starts, position) - 1
        counts = self._carried[number].copy()
        counts[self._numbers[number]] += self._trees[number].counts(position - self._starts[number])
        return counts

    def _at_ascending(self, positions: Ids) -> tuple[Ids, Ids]:
        parts, draws = np.empty((2, len(positions)), dtype=np.int64)
        block = positions // BLOCK
        new = np.diff(block, prepend=-1) > 0
        blocks, row = block[new], np.cumsum(new) - 1
        for phase, first, last in self._pieces(blocks):
            low, high = np.searchsorted(row, [first, last]).tolist()
            inside = row[low:high] - first, positions[low:high] % BLOCK
            parts[low:high], draws[low:high] = (numbers[inside] for numbers in self._blocks(phase, blocks[first:last]))
        return parts, draws

    def _pieces(self, blocks: Ids) -> Iterator[tuple[int, int, int]]:
        """Ranges of the distinct blocks, each of one phase and of at most _TOGETHER: phase, first, one past the last."""
        ends = [*np.searchsorted(blocks, np.array(self._starts[1:], dtype=np.int64) // BLOCK).tolist(), len(blocks)]
        first = 0
        for phase, end in enumerate(ends):
            for start in range(first, end, _TOGETHER):
                yield phase, start, min(start + _TOGETHER, end)
            first = end

    def _stretches(self, positions: Ids) -> tuple[Ids, Ids]:
        """The epochs of whole blocks' positions, counted from that of the block's first, and where another one begins."""
        blocks = np.arange(0, positions.size, BLOCK)
        first, last = (positions[:, [0, -1]] // self.size).T
        if (first == last).all():
            return np.zeros((len(positions), 1), dtype=np.int64), blocks
        epochs = positions // self.size - first[:, None]
        new = np.flatnonzero(np.diff(epochs.ravel()))
        return epochs, np.union1d(new + 1, blocks)

    def _blocks(self, phase: int, blocks: Ids) -> tuple[Ids, Ids]:
        """The part and the draw of each position of whole blocks, a block a row."""
        positions = blocks[:, None] * BLOCK + np.arange(BLOCK)
        epochs, stretches = self._stretches(positions)
        starts = positions.ravel()[stretches] - self._starts[phase]
        lengths = np.diff(np.append(stretches, positions.size))
        leaf, first, count, place = self._trees[phase].deal(starts, lengths)
        part = self._numbers[phase][leaf]
        first = first + self._carried[phase][part]

        # A stretch's positions in an order drawn by key, of which each part takes as many as it has draws, and in turn.
        bits = random_bits(positions.ravel(), self.key).reshape(positions.shape) >> np.uint64(12)
        drawn = _sorted_columns(bits + (epochs.astype(np.uint64) << np.uint64(52)), np.arange(BLOCK))
        group = np.repeat((place % BLOCK).astype(np.uint32), count).reshape(positions.shape)
        targets = (_sorted_columns(group, drawn) + np.arange(0, positions.size, BLOCK)[:, None]).ravel()
        parts, draws = np.empty((2, positions.size), dtype=np.int64)
        parts[targets] = np.repeat(part, count)
        draws[targets] = np.repeat(first - place, count) + np.arange(positions.size)
        return parts.reshape(positions.shape), draws.reshape(positions.shape)


def mixture(
    phases: Sequence[tuple[int, Mapping[str, float]]], sizes: Mapping[str, int], *, until: str | int, key: int
) -> Mixture:
    """The mixture of parts of these `sizes` whose shares change in phases.

    A phase is the position of the run from which its shares hold, rounded up to a multiple of 64; the first begins at 0.
    An epoch ends `until` each part was gone through once ("all"), until one would begin again ("first"), or after a
    number of examples. That is decided by the shares that the run begins with alone, so that later phases change
    nothing of what was before them: not even where epochs end.

    Raises:
        PipelineError: Shares are not as `exact_shares` wants them, phases do not come one after the other, or `until`
            is none of the above.
        DataError: A part has no examples, or an epoch would have more than 2**62.

    >>> of_two = mixture([(0, {"web": 3, "code": 1})], {"web": 60, "code": 40}, until="all", key=0)
    >>> of_two.size, of_two.counts(of_two.size).tolist()
    (159, [40, 119])
    """
    exact = _phases(phases)
    names = tuple(dict.fromkeys(name for phase in exact for name, _ in phase.shares))
    counts = {name: int(sizes[name]) for name in names}
    check_sizes(counts)
    size = _epoch_size(exact[0].shares, counts, until)
    return Mixture(names, tuple(counts.values()), exact, size, key)


def _phases(phases: Sequence[tuple[int, Mapping[str, float]]]) -> tuple[Phase, ...]:
    exact = tuple(Phase(-(-start // BLOCK) * BLOCK, tuple(exact_shares(shares).items())) for start, shares in phases)
    if not exact or exact[0].start:
        msg = "mix: the first shares are those from example 0 of the run on"
        raise PipelineError(msg)
    for number, (before, after) in enumerate(pairwise(exact)):
        if before.start >= after.start:
            asked = f"{phases[number][0]} and {phases[number + 1][0]}"
            msg = (
                f"mix: shares change at examples {asked} of the run, which are rounded up to {before.start} and "
                f"{after.start}; each change comes at least {BLOCK} examples after the one before it"
            )
            raise PipelineError(msg)
    return exact


def _epoch_size(shares: Sequence[tuple[str, int]], sizes: Mapping[str, int], until: str | int) -> int:
    tree, counts = Tree(tuple(weight for _, weight in shares)), [sizes[name] for name, _ in shares]
    if until == "all":
        size = max(tree.reached(counts))
    elif until == "first":
        size = min(tree.reached([count + 1 for count in counts])) - 1
    elif isinstance(until, bool) or not isinstance(until, int | np.integer) or until < 1:
        msg = f"mix: until is 'all', 'first' or a number of examples of at least 1, not {until!r}"
        raise PipelineError(msg)
    else:
        size = int(until)
    if size > LONGEST:
        msg = f"mix: an epoch until {until!r} has {size} examples, more than 2**62; give a number of examples instead"
        raise DataError(msg)
    return size


def _sorted_columns(keys: NDArray[Any], columns: NDArray[Any]) -> NDArray[Any]:
    """Numbers of columns, row by row in the order of their keys, and of themselves where keys are equal.

    Packed into one word with its key, so that a plain sort does it, which numpy has in vector instructions.
    """
    word = keys.dtype.type
    packed: NDArray[Any] = (keys << word(6)) | columns.astype(word)
    packed.sort(axis=1)
    packed &= word(BLOCK - 1)
    return packed
