"""Groups: which split each group goes to as a whole, such that sizes come as near to the wanted ones as groups allow."""

from collections.abc import Sequence
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from .._orders.order import Ids
from .._random.permutation import permute, random_bits


def grouped(groups: Ids, classes: Ids, sizes: Sequence[int], key: int) -> Ids:
    """The number of the split of each position, such that a group is in one split, with sizes near `sizes`.

    `groups` and `classes` have a group number and a class number for each position. Of all ways to put whole groups into
    splits, those are wanted, one after the other,

    1. where a split of size 0 has no group, and as few of the others as possible have none: none, where there are groups
       enough;
    2. where classes deviate least, summed over classes and splits: a class is wanted in proportion to a split's size;
    3. where sizes deviate least, summed over splits, which without classes is the same;
    4. where the largest deviation of a size is least.

    Up to about ten groups it is one of these, as if all ways had been tried. Of more it is one that moving a group, or
    exchanging two, does not bring nearer, as long as that many can be looked at: so without classes each size is within
    the largest group, unless a split would be empty else. Groups are considered in an order that `key` shuffles.
    """
    members = np.zeros((int(groups.max(initial=-1)) + 1, int(classes.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(members, (groups, classes), 1)
    order = permute(np.arange(len(members)), len(members), key)
    split_of = np.empty(len(members), dtype=np.int64)
    if members.shape[1] == 1 and len(members) * len(groups) <= _SUMS:
        split_of[order] = _nearest_sums(members[:, 0], sizes, order)[order]
    else:
        split_of[order] = _greedy(members, sizes, order)[order]
    goal = _goal(members, sizes)
    found = _descended(goal, members[order] * goal.scale, split_of[order])
    split_of[order] = _searched(goal, members[order] * goal.scale, found)
    return split_of[groups]


def _greedy(members: Ids, sizes: Sequence[int], order: Ids) -> Ids:
    """The largest group first, each to the split that lacks its classes most."""
    totals = members.sum(axis=0)
    lacking = np.outer(np.asarray(sizes), totals / max(1, totals.sum()))
    split_of = np.empty(len(members), dtype=np.int64)
    for group in order[np.argsort(-members.sum(axis=1)[order], kind="stable")]:
        chosen = int(np.argmax(lacking @ members[group]))
        split_of[group] = chosen
        lacking[chosen] -= members[group]
    return split_of


def _nearest_sums(members: Ids, sizes: Sequence[int], order: Ids) -> Ids:
    """Each split in turn takes the groups whose sum is nearest to its size."""
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


Change: TypeAlias = tuple[int, int]  # in the deviations of classes, and in those of sizes


@attrs.frozen(eq=False)
class _Goal:
    """What is wanted of each split: of each class so many `scale`-ths of an example; `is_open` where that is not 0."""

    wanted: Ids
    scale: int
    is_open: NDArray[np.bool_]

    def measured(self, sums: Ids) -> list[Ids]:
        """What is to be least, one after the other: splits that lack groups, deviations of classes and of sizes."""
        apart = sums - self.wanted
        empty, sizes = (self.is_open & ~sums.any(axis=-1)).sum(axis=-1), np.abs(apart.sum(axis=-1))
        return [empty, np.abs(apart).sum(axis=(-1, -2)), sizes.sum(axis=-1), sizes.max(axis=-1)]

    @property
    def nearest(self) -> int:
        """No whole examples come nearer than this."""
        over = self.wanted % self.scale
        return int(np.minimum(over, self.scale - over).sum())


def _goal(members: Ids, sizes: Sequence[int]) -> _Goal:
    totals = members.sum(axis=0)
    scale = 1 if len(totals) == 1 else max(1, int(totals.sum()))
    wanted = np.outer(np.asarray(sizes, dtype=np.int64), totals if scale > 1 else np.ones(len(totals), dtype=np.int64))
    return _Goal(wanted, scale, np.asarray(sizes) > 0)


def _descended(goal: _Goal, members: Ids, split_of: Ids) -> Ids:
    """Groups move, one by one or two for each other, as long as that brings the sums nearer to the goal.

    First those go that are in a split of size 0, and to one that has none.
    """
    if not len(members) or not goal.is_open.any():
        return split_of
    rows, kinds = np.unique(members, axis=0, return_inverse=True)
    state = _State(goal, rows, kinds.reshape(-1), split_of.copy())
    while state.must_move():
        state.move(*state.best_move()[1])
    for _ in range(min(_STEPS, _WORK // (rows.size * len(goal.wanted)))):
        change, move = state.best_move()
        if change < _NO_CHANGE:
            state.move(*move)
        elif len(rows) ** 2 * goal.wanted.size * len(goal.wanted) > _SWAPS or not state.swap():
            break
    return state.split_of


@attrs.define(eq=False)
class _State:
    """Groups on their way: `rows` has what the groups of each kind consist of, `kinds` the kind of each group."""

    goal: _Goal
    rows: Ids
    kinds: Ids
    split_of: Ids
    counts: Ids = attrs.field(init=False)  # of each kind in each split
    sums: Ids = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.counts = np.zeros((len(self.rows), len(self.goal.wanted)), dtype=np.int64)
        np.add.at(self.counts, (self.kinds, self.split_of), 1)
        self.sums = self.counts.T @ self.rows

    def must_move(self) -> bool:
        """Whether a split has groups that must go, or none where another has several."""
        held, is_open = self.counts.sum(axis=0), self.goal.is_open
        return bool(held[~is_open].any() or ((held[is_open] == 0).any() and (held[is_open] > 1).any()))

    def best_move(self) -> tuple[Change, tuple[int, int, int]]:
        """What the best move changes in the deviations, and the kind of group that moves, from where and to."""
        held, is_open = self.counts.sum(axis=0), self.goal.is_open
        must_go, lack = held[~is_open].any(), is_open & (held == 0)
        gives = ~is_open if must_go else held > 1
        takes = lack if lack.any() and not must_go else is_open
        can = ((self.counts > 0) & gives)[:, :, None] & takes & ~np.eye(len(held), dtype=bool)
        changes = [
            leaving[:, :, None] + joining[:, None, :]
            for leaving, joining in zip(self._changes(-self.rows), self._changes(self.rows), strict=True)
        ]
        change, (kind, source, target) = _least(changes, can)
        return change, (kind, source, target)

    def move(self, kind: int, source: int, target: int) -> None:
        """Move the first group of a kind."""
        group = np.flatnonzero((self.kinds == kind) & (self.split_of == source))[0]
        self.split_of[group] = target
        self.counts[kind, source] -= 1
        self.counts[kind, target] += 1
        self.sums[source] -= self.rows[kind]
        self.sums[target] += self.rows[kind]

    def swap(self) -> bool:
        """Exchange the two groups by which the deviations become least; whether there are two that lessen them."""
        apart = self.rows[None] - self.rows[:, None]  # what a split gains that gives a group of the first kind
        best, exchange = _NO_CHANGE, (0, 0, 0, 0)
        for one in range(len(self.sums)):
            for other in range(one + 1, len(self.sums)):
                can = (self.counts[:, one] > 0)[:, None] & (self.counts[:, other] > 0)
                pairs = zip(self._change(one, apart), self._change(other, -apart), strict=True)
                change, (kind, other_kind) = _least([first + second for first, second in pairs], can)
                if change < best:
                    best, exchange = change, (kind, other_kind, one, other)
        if best < _NO_CHANGE:
            kind, other_kind, one, other = exchange
            self.move(kind, one, other)
            self.move(other_kind, other, one)
        return best < _NO_CHANGE

    def _changes(self, more: Ids) -> list[Ids]:
        of_parts = zip(*(self._change(part, more) for part in range(len(self.sums))), strict=True)
        return [np.stack(changes, axis=1) for changes in of_parts]

    def _change(self, part: int, more: Ids) -> tuple[Ids, Ids]:
        """How much farther from the goal a split comes in its classes, and in its size, that gains `more`."""
        apart = self.sums[part] - self.goal.wanted[part]
        of_classes = np.abs(apart + more).sum(axis=-1) - np.abs(apart).sum()
        return of_classes, np.abs(apart.sum() + more.sum(axis=-1)) - np.abs(apart.sum())


def _least(changes: Sequence[Ids], can: NDArray[np.bool_]) -> tuple[Change, tuple[int, ...]]:
    """The least of what can be, by the first of these tables and then by the second, and where; no change if nothing can."""
    if not can.any():
        return _NO_CHANGE, (0,) * can.ndim
    least = []
    for table in changes:
        least.append(int(table[can].min()))
        can = can & (table == least[-1])
    return (least[0], least[1]), tuple(int(at) for at in np.unravel_index(int(can.argmax()), can.shape))


def _searched(goal: _Goal, members: Ids, split_of: Ids) -> Ids:
    """A way that is better than the given one, where there is one among those that are looked at, else the given one.

    Group by group, the largest first, all sums are kept that can still lead to a better way; too many, the best of them.
    """
    parts, classes = goal.wanted.shape
    sums = np.zeros_like(goal.wanted)
    np.add.at(sums, split_of, members)
    known = [int(measure) for measure in goal.measured(sums)]
    is_best = known[0] <= max(0, int(goal.is_open.sum()) - len(members)) and known[1] <= goal.nearest and classes == 1
    if not 0 < len(members) <= _FEW or is_best:
        return split_of
    most = int(np.clip(_STATES // (len(members) * parts * parts * classes), 64, 1 << 16))
    order = np.argsort(-members.sum(axis=1), kind="stable")
    reached, steps, open_parts = np.zeros((1, parts, classes), dtype=np.int64), [], np.flatnonzero(goal.is_open)
    for left, group in zip(range(len(order) - 1, -1, -1), order, strict=True):
        made = np.repeat(reached, len(open_parts), axis=0)
        into = np.tile(open_parts, len(reached))
        made[np.arange(len(made)), into] += members[group]
        apart = made - goal.wanted  # what is too much in one split is too little in others
        over, over_size = 2 * np.maximum(apart, 0).sum(axis=(1, 2)), np.maximum(apart.sum(axis=2), 0).sum(axis=1)
        empty = (goal.is_open & ~made.any(axis=2)).sum(axis=1)
        kept = np.flatnonzero((over <= known[1]) & (empty <= left + known[0]))
        kept = kept[np.sort(np.unique(_named(goal, made[kept]), return_index=True)[1])]
        kept = np.sort(kept[np.lexsort((over_size[kept], over[kept]))[:most]])
        steps.append((kept // len(open_parts), into[kept]))
        reached = made[kept]
    if not len(reached):
        return split_of
    measures = goal.measured(reached)
    best = int(np.lexsort(measures[::-1])[0])
    if [int(measure[best]) for measure in measures] >= known:
        return split_of
    found = split_of.copy()
    for group, (parents, into) in zip(order[::-1], reversed(steps), strict=True):
        found[group], best = into[best], int(parents[best])
    return found


def _named(goal: _Goal, sums: Ids) -> NDArray[np.uint64]:
    """64 bits for each table of sums, equal where they differ only by exchanging splits of one size."""
    _, alike = np.unique(goal.wanted, axis=0, return_inverse=True)
    of_class, of_split = random_bits(np.arange(sums.shape[2]), 0) | _ODD, random_bits(alike.reshape(-1), 1) | _ODD
    of_sums = random_bits((sums.astype(np.uint64) * of_class).sum(axis=2, dtype=np.uint64).view(np.int64), 2)
    return np.asarray((of_sums * of_split).sum(axis=1, dtype=np.uint64))


_ODD = np.uint64(1)
_SUMS = 1 << 28  # bits of the table of sums that can be reached: 32 megabytes
_NO_CHANGE = 0, 0
_STEPS = 10_000
_WORK = 1 << 30  # sums that are looked at to move groups
_SWAPS = 1 << 22  # and for one exchange
_FEW = 64  # groups, of which all ways are looked at that can be told apart,
_STATES = 1 << 24  # but for so many sums in all
