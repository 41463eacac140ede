"""Packing: which pieces of which documents make each sequence, from the lengths of the documents alone."""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import Any, NamedTuple, Self, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from .._arrays.packed import ranges
from .._checks import integer
from .._errors import DataError
from .._random.permutation import derive, permute
from .._random.permutations import hashed, permute_each


Integers: TypeAlias = NDArray[np.int64]
Numbers: TypeAlias = NDArray[np.integer[Any]]


class Pieces(NamedTuple):
    """Pieces of documents, from `starts` to `stops` in each; sequence s has those from `offsets[s]` to `offsets[s + 1]`."""

    documents: Integers
    starts: Integers
    stops: Integers
    offsets: Integers


@attrs.frozen(eq=False, repr=False)
class Packing:
    """Sequences of at most `length` values, made of whole documents as best-fit decreasing makes them.

    Of a document of n values, `n // length` pieces fill sequences of their own, and the rest goes into a pattern: a
    multiset of rests that share a sequence, which `pattern_counts` sequences have. Patterns depend on the histogram of the
    rests; which documents they hold is a permutation among those of one rest. Empty documents are in no sequence.

    `full_documents` are those with pieces that fill sequences, `full_starts` the number of such pieces before each;
    `by_rest` all documents with a rest, by rest, of which `rests` are the values and `rest_starts` where each begins;
    `pattern_starts` the number of sequences before each pattern, `slot_starts` where its slots begin. A slot of a pattern
    holds a document of the rest of number `slot_rests`: in the pattern's first sequence the one of number `slot_firsts`,
    and `slot_strides` on from there in each further one.
    """

    length: int
    most: int | None
    full_documents: Numbers
    full_starts: Integers
    by_rest: Numbers
    rests: Integers
    rest_starts: Integers
    pattern_starts: Integers
    slot_starts: Integers
    slot_rests: Integers
    slot_firsts: Integers
    slot_strides: Integers

    @property
    def size(self) -> int:
        """The number of sequences, in every epoch."""
        return self._full + int(self.pattern_starts[-1])

    @property
    def values(self) -> int:
        """The number of values in all sequences."""
        return self._full * self.length + int((self.rests.astype(np.int64) * np.diff(self.rest_starts)).sum())

    @property
    def density(self) -> float:
        """The share of the sequences' places that have a value; 1 where there are no sequences."""
        return self.values / (self.size * self.length) if self.size else 1.0

    def pieces(self, positions: Integers, key: int | None) -> Pieces:
        """The pieces of the sequences at these positions: of the permutation that a key names, or in natural order.

        Equivalent to the same choice from the sequences of all positions. With a key, sequences are permuted, documents of
        one rest, and the documents within a sequence; without, the documents of a sequence are in their order.
        """
        places = positions if key is None else permute(positions, self.size, derive(key, "sequences"))
        is_full = places < self._full
        others = places[~is_full] - self._full
        patterns = np.searchsorted(self.pattern_starts, others, side="right") - 1
        firsts = self.slot_starts[patterns]
        counts = self.slot_starts[patterns + 1] - firsts
        slots, sequences = ranges(firsts, counts), np.repeat(np.arange(len(counts)), counts)
        documents, rests = self._documents(slots, (others - self.pattern_starts[patterns])[sequences], key)
        order = _within(sequences, documents, key)
        rest_pieces = self._rest_pieces(documents[order], rests[order])
        if len(others) == len(places):
            return Pieces(*rest_pieces, _offsets(counts))
        return _merged(is_full, self._full_pieces(places[is_full]), counts, rest_pieces)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The packing as arrays by name, for `from_arrays`, in which they may be mapped from a file."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return {"limits": np.array([self.length, self.most or 0], dtype=np.int64), **arrays}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The packing that `arrays` has described."""
        length, most = (int(limit) for limit in arrays["limits"])
        return cls(length, most or None, **{name: arrays[name] for name in _ARRAYS})

    def digest(self) -> str:
        """What decides the sequences, apart from who is in them, in short: limits, full pieces and histogram of rests."""
        return _digest([self.length, self.most or 0, self._full], self.rests, np.diff(self.rest_starts))

    @property
    def _full(self) -> int:
        return int(self.full_starts[-1])

    def _documents(self, slots: Integers, repeats: Integers, key: int | None) -> tuple[Integers, Integers]:
        """The documents in the slots, each in one repeat of its pattern, and their rests."""
        numbers = self.slot_rests[slots]
        rests, starts = self.rests[numbers], self.rest_starts[numbers]
        places = self.slot_firsts[slots] + repeats * self.slot_strides[slots]
        if key is not None:
            sizes = self.rest_starts[numbers + 1] - starts
            places = permute_each(places, sizes, rests.astype(np.uint64) + np.uint64(derive(key, "documents")))
        return self.by_rest[starts + places].astype(np.int64), rests

    def _full_pieces(self, numbers: Integers) -> "_Cuts":
        at = np.searchsorted(self.full_starts, numbers, side="right") - 1
        starts = (numbers - self.full_starts[at]) * self.length
        return _Cuts(self.full_documents[at].astype(np.int64), starts, starts + self.length)

    def _rest_pieces(self, documents: Integers, rests: Integers) -> "_Cuts":
        """The rests, which begin after the full pieces of their documents."""
        if not len(self.full_documents):
            return _Cuts(documents, np.zeros_like(documents), rests)
        at = np.searchsorted(self.full_documents, documents)
        at = np.minimum(at, len(self.full_documents) - 1)
        before = np.where(self.full_documents[at] == documents, self.full_starts[at + 1] - self.full_starts[at], 0)
        starts = before * self.length
        return _Cuts(documents, starts, starts + rests)

    def __repr__(self) -> str:
        return f"Packing({self.size} sequences of {self.length}, density {self.density:.4f})"


@attrs.frozen(eq=False)
class Joined:
    """Sequences of `length` values cut from the documents of a split, joined in their order; the last may be shorter.

    `offsets` (one more than there are documents) rise by their lengths, from any number on: a part of the offsets of a
    ragged column serves as it is.
    """

    length: int
    offsets: Integers

    @property
    def size(self) -> int:
        """The number of sequences, in every epoch."""
        return -(-self.values // self.length)

    @property
    def values(self) -> int:
        """The number of values in all sequences."""
        return int(self.offsets[-1]) - int(self.offsets[0])

    @property
    def density(self) -> float:
        """The share of the sequences' places that have a value; 1 where there are no sequences."""
        return self.values / (self.size * self.length) if self.size else 1.0

    def pieces(self, positions: Integers, key: int | None) -> Pieces:
        """The pieces of the sequences at these positions: of the permutation that a key names, or in natural order.

        Equivalent to the same choice from the sequences of all positions. Empty documents have no piece.
        """
        places = positions if key is None else permute(positions, self.size, derive(key, "sequences"))
        begins = int(self.offsets[0]) + places * self.length
        ends = np.minimum(begins + self.length, int(self.offsets[-1]))
        firsts = np.searchsorted(self.offsets, begins, side="right") - 1
        counts = np.searchsorted(self.offsets, ends, side="left") - firsts
        documents = ranges(firsts, counts)
        origins, nexts = self.offsets[documents], self.offsets[documents + 1]
        starts = np.maximum(np.repeat(begins, counts) - origins, 0)
        stops = np.minimum(np.repeat(ends, counts), nexts) - origins
        sequences = np.repeat(np.arange(len(places)), counts)
        is_piece = stops > starts
        counts = np.bincount(sequences[is_piece], minlength=len(places))
        return Pieces(documents[is_piece], starts[is_piece], stops[is_piece], _offsets(counts))

    def digest(self) -> str:
        """What decides the sequences, apart from who is in them, in short."""
        return _digest([self.length, len(self.offsets) - 1, self.values])


def packing_of(lengths: Numbers, length: int, most: int | None = None) -> Packing:
    """The packing of documents of these lengths, in the order of their split, into sequences of at most `length` values.

    `most` bounds the documents of a sequence. The work grows with the documents once, to sort them by rest, and otherwise
    with the number of different rests. Raises `DataError` for limits that are no integers of at least 1, and negative lengths.

    >>> packing = packing_of(np.array([5, 2, 3, 1]), length=4)
    >>> packing
    Packing(3 sequences of 4, density 0.9167)
    >>> documents, starts, stops, offsets = packing.pieces(np.arange(3), key=None)
    >>> documents.tolist(), starts.tolist(), stops.tolist(), offsets.tolist()
    ([0, 0, 2, 1, 3], [0, 4, 0, 0, 0], [4, 5, 3, 2, 1], [0, 1, 3, 5])
    """
    length = min(integer("pack: length", length, DataError, least=1), _LIMIT)
    most = None if most is None else min(integer("pack: most", most, DataError, least=1), _LIMIT)
    lengths = np.asarray(lengths)
    if len(lengths) and int(lengths.min()) < 0:
        msg = (
            f"pack: the lengths of documents are at least 0; document {int(lengths.argmin())} has {int(lengths.min())}"
        )
        raise DataError(msg)
    (full_documents,) = np.nonzero(lengths >= length)
    fulls = lengths[full_documents].astype(np.int64) // length
    rests = lengths
    if len(full_documents):
        rests = lengths.astype(np.int64)
        rests[full_documents] -= fulls * length
    by_rest, ordered = _sorted_by(rests, length)
    index = np.int32 if len(lengths) <= 2**31 else np.int64
    rest_starts = np.concatenate([np.nonzero(np.diff(ordered, prepend=0))[0], [len(ordered)]])
    values = ordered[rest_starts[:-1]].astype(np.int64)
    patterns = best_fit(values.tolist(), np.diff(rest_starts).tolist(), length, most)
    return Packing(
        length,
        most,
        full_documents.astype(index),
        _offsets(fulls),
        by_rest.astype(index),
        values,
        rest_starts,
        **_slots(patterns),
    )


Content: TypeAlias = "tuple[int, int, Content] | None"
"""What a sequence holds: a number of a rest, how many of it, and what it held before."""


def best_fit(rests: list[int], counts: list[int], length: int, most: int | None = None) -> list[tuple[int, Content]]:
    """Best-fit decreasing on a histogram: how many sequences have what, for so many documents of each rest, ascending.

    From the longest on, a document goes where the least space is left of those where it fits (of equal ones, where the
    fewest documents are), else into a new sequence. Sequences that are alike are one group, so the work does not depend on
    the counts. Equivalent to going document by document: as many sequences, which hold the same.

    >>> best_fit([1, 2, 3], [1, 1, 1], length=4)
    [(1, (0, 1, (2, 1, None))), (1, (1, 1, None))]
    """
    most = most or length
    scale = most + 1
    spaces: list[int] = []  # ascending: the space left, and among equal ones the documents that are there
    groups: dict[int, list[tuple[int, Content]]] = {}
    done: list[tuple[int, Content]] = []

    def put(count: int, free: int, used: int, content: Content) -> None:
        if free == 0 or used == most:
            done.append((count, content))
            return
        space = free * scale + used
        if space not in groups:
            groups[space] = []
            insort(spaces, space)
        groups[space].append((count, content))

    def taken(at: int) -> tuple[int, Content]:
        space = spaces[at]
        group = groups[space].pop()
        if not groups[space]:
            del groups[space], spaces[at]
        return group

    for number in reversed(range(len(rests))):
        rest, left = rests[number], counts[number]
        while left:
            at = bisect_left(spaces, rest * scale)
            free, used = divmod(spaces[at], scale) if at < len(spaces) else (length, 0)
            each = min(free // rest, most - used)
            there, content = taken(at) if at < len(spaces) else (-(-left // each), None)
            filled = min(there, left // each)
            over = min(left - filled * each, each) if filled < there else 0
            if filled:
                put(filled, free - each * rest, used + each, (number, each, content))
            if over:
                put(1, free - over * rest, used + over, (number, over, content))
            if there > filled + (over > 0):
                put(there - filled - (over > 0), free, used, content)
            left -= filled * each + over
    return done + [group for space in spaces for group in groups[space]]


class _Cuts(NamedTuple):
    documents: Integers
    starts: Integers
    stops: Integers


def _merged(is_full: NDArray[np.bool_], fulls: _Cuts, counts: Integers, others: _Cuts) -> Pieces:
    """The pieces of sequences that are one full piece, and of those that have as many as `counts`, in one order."""
    each = np.ones(len(is_full), dtype=np.int64)
    each[~is_full] = counts
    belongs_to_full = np.repeat(is_full, each)
    merged = [np.empty(len(belongs_to_full), dtype=np.int64) for _ in fulls]
    for target, full, other in zip(merged, fulls, others, strict=True):
        target[belongs_to_full], target[~belongs_to_full] = full, other
    documents, starts, stops = merged
    return Pieces(documents, starts, stops, _offsets(each))


def _within(sequences: Integers, documents: Integers, key: int | None) -> Integers:
    """The order of documents within their sequences."""
    if key is None:
        return np.lexsort((documents, sequences))
    upper = sequences.astype(np.uint64) << np.uint64(32)
    return np.argsort(upper | (hashed(documents, derive(key, "within")) >> np.uint64(32)), kind="stable")


def _slots(patterns: list[tuple[int, Content]]) -> dict[str, Integers]:
    """Patterns as arrays: the slots of each, and how often its rests are used before it."""
    counts = np.array([count for count, _ in patterns], dtype=np.int64)
    contents = [_entries(content) for _, content in patterns]
    numbers, each = np.array([entry for entries in contents for entry in entries], dtype=np.int64).reshape(-1, 2).T
    sizes = np.array([len(entries) for entries in contents], dtype=np.int64)
    bases = _before_of_same(numbers, each * np.repeat(counts, sizes))
    ends = np.cumsum(each)[np.cumsum(sizes) - 1]
    slots = np.repeat(np.arange(len(each)), each)
    return {
        "pattern_starts": _offsets(counts),
        "slot_starts": np.append(0, ends),
        "slot_rests": numbers[slots],
        "slot_firsts": ranges(bases, each),
        "slot_strides": each[slots],
    }


def _entries(content: Content) -> list[tuple[int, int]]:
    """The numbers of rests that a sequence holds, and how many of each."""
    entries = []
    while content is not None:
        number, each, content = content
        entries.append((number, each))
    return entries


def _before_of_same(numbers: Integers, uses: Integers) -> Integers:
    """The sum of the uses of the same number before each."""
    order = np.argsort(numbers, kind="stable")
    ordered = uses[order]
    running = np.cumsum(ordered) - ordered
    is_first = np.diff(numbers[order], prepend=-1) != 0
    before = np.empty_like(uses)
    before[order] = running - running[is_first][np.cumsum(is_first) - 1]
    return before


def _sorted_by(rests: Numbers, length: int) -> tuple[Numbers, Numbers]:
    """The documents that have a rest, by rest and then in their order, and their rests."""
    if length <= 2**16:  # numpy sorts so few bits by radix
        rests = rests.astype(np.uint16)
    order = np.argsort(rests, kind="stable")
    ordered = rests[order].astype(np.int64)
    empty = int(np.searchsorted(ordered, 1))
    return order[empty:], ordered[empty:]


def _offsets(counts: Numbers) -> Integers:
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _digest(limits: list[int], *arrays: Numbers) -> str:
    hashed = hashlib.blake2b(digest_size=8)
    for array in (np.array(limits), *arrays):
        hashed.update(array.astype("<i8").tobytes())
    return hashed.hexdigest()


_LIMIT = 2**40  # no column is longer
_ARRAYS = [field.name for field in attrs.fields(Packing) if field.name not in ("length", "most")]
