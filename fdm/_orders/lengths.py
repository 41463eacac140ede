"""Batches by length: buckets of examples of like length, and steps of one bucket each, whatever the order of an epoch."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import attrs
import numpy as np
from numpy.typing import NDArray

from .._checks import integer
from .._errors import DataError


Counts = NDArray[np.int64]


def best_edges(lengths: NDArray[Any], buckets: int, multiple: int = 8) -> Counts:
    """The at most `buckets` edges that waste least, if each example is padded to the first edge not below its length.

    Equivalent to trying all choices among the candidates: the lengths, rounded up to `multiple`. For a long range of
    lengths they are coarser, 128 in each octave above 256 multiples, since an edge that is off by less than 1 % wastes
    next to nothing more. If there are no more candidates than buckets, all are edges; the longest always is.

    >>> best_edges(np.array([1, 3, 9, 10, 10, 90]), buckets=2).tolist()
    [16, 96]
    """
    if not len(lengths):
        return np.array([multiple], dtype=np.int64)
    codes = _codes(np.asarray(lengths, dtype=np.int64), multiple)
    counts = np.bincount(codes)
    (candidates,) = np.nonzero(counts)
    ends = _ends(candidates, multiple)
    ends[-1] = -(-int(lengths.max()) // multiple) * multiple or multiple
    return ends[_shortest_path(ends, counts[candidates], min(buckets, len(ends)))]


def _codes(lengths: Counts, multiple: int) -> Counts:
    """The number of the candidate that each length is rounded up to; the numbers of longer ones are higher."""
    cells = np.maximum(-(-lengths // multiple), 1)
    coarser = np.maximum(np.frexp(cells - 1)[1].astype(np.int64) - _EXACT_BITS, 0)
    codes: Counts = (coarser << (_EXACT_BITS - 1)) - (-cells >> coarser)
    return codes


def _ends(codes: Counts, multiple: int) -> Counts:
    """The lengths that candidates stand for."""
    coarser = np.maximum((codes - 1 >> (_EXACT_BITS - 1)) - 1, 0)
    ends: Counts = (codes - (coarser << (_EXACT_BITS - 1)) << coarser) * multiple
    return ends


def _shortest_path(ends: Counts, counts: Counts, stops: int) -> list[int]:
    """The `stops` numbers of cells, the last one among them, to whose ends all are padded with the fewest values.

    A way from cell i to cell j pads the examples of the cells after i to the end of j.
    """
    before = np.cumsum([0, *counts])
    costs = ends[:, None] * (before[1:, None] - before[None, :-1])  # of the way to each cell, from before each cell
    costs[np.triu_indices(len(ends), 1)] = _NEVER
    least, came = costs[:, 0], []
    for _ in range(stops - 1):
        ways = costs[:, 1:] + least[None, :-1]
        came.append(ways.argmin(axis=1))
        least = np.minimum(ways[np.arange(len(ends)), came[-1]], _NEVER)
    path = [len(ends) - 1]
    for origins in reversed(came):
        path.append(int(origins[path[-1]]))
    return path[::-1]


def check_edges(edges: Sequence[int], longest: int) -> Counts:
    """Edges that a user gives, as an array. Raises `DataError` unless they rise from 1 or more to the longest example."""
    numbers = [integer("batch: each of edges", edge, DataError, least=1) for edge in edges]
    if not numbers or numbers != sorted(set(numbers)):
        msg = f"batch: edges are lengths that rise, like (64, 128, 512), not {tuple(numbers)}"
        raise DataError(msg)
    if numbers[-1] < longest:
        msg = (
            f"batch: the last of the edges is {numbers[-1]:,}, but the longest example has {longest:,} values; "
            f"add an edge of at least {longest:,}, or leave longer examples out"
        )
        raise DataError(msg)
    return np.array(numbers, dtype=np.int64)


@attrs.frozen(eq=False)
class Buckets:
    """The examples of a split, by the first edge that is not below their length.

    `by_bucket` has the positions in the split, sorted by bucket and else as they come; those of bucket c start at
    `starts[c]`. `values` has the sums of their lengths. The last bucket is that of the longest example.

    >>> buckets = Buckets.of(np.array([3, 9, 2, 12, 0]), np.array([4, 8, 16, 32]))
    >>> buckets.edges.tolist(), buckets.by_bucket.tolist(), buckets.starts.tolist()
    ([4, 8, 16], [0, 2, 4, 1, 3], [0, 3, 3, 5])
    """

    edges: Counts
    starts: Counts
    values: Counts
    by_bucket: NDArray[Any]

    @classmethod
    def of(cls, lengths: NDArray[Any], edges: Counts) -> Self:
        """The buckets of examples of these lengths, none of which is above the last edge."""
        count = 1 + int(np.searchsorted(edges, lengths.max(initial=0)))
        bucket = np.searchsorted(edges[:count], lengths).astype(np.min_scalar_type(count))  # few bits are sorted fast
        narrow = np.int32 if len(lengths) < 2**31 else np.int64
        return cls(
            edges[:count],
            np.cumsum([0, *np.bincount(bucket, minlength=count)]),
            np.bincount(bucket, lengths, minlength=count).astype(np.int64),
            np.argsort(bucket, kind="stable").astype(narrow),
        )

    @property
    def counts(self) -> Counts:
        """The number of examples in each."""
        return np.diff(self.starts)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What it is made of, to keep it and to map it."""
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The buckets that `arrays` gave, without a copy."""
        return cls(**arrays)


class BucketSteps(NamedTuple):
    """What becomes of one bucket: its edge, its own examples, its steps, and how many examples a full one has."""

    edge: int
    examples: int
    steps: int
    size: int


@attrs.frozen(eq=False)
class Layout:
    """How buckets fall into steps, before any order: the same in every epoch and for every number of ranks.

    `sizes` are the examples of a full step of each bucket. Leftovers go into the next longer bucket, which takes over
    `taken` of them. A bucket shares `placed` examples evenly over its `steps`, and hands on those that remain of its own
    and the taken ones. `unit` says what the `amount` of a step counts: values, with the padding, or examples.

    All steps are full, but for those of the longest bucket. If that had one step of fewer than `least` examples, the
    nearest bucket before it that has steps hands on as many as are missing. So each step has `least` examples or more,
    half of a full step of the longest, rounded up; only a split of fewer examples has one smaller step.

    >>> lengths = np.array([3, 9, 2, 12, 0, 4, 1, 2])
    >>> layout = Layout.of_budget(Buckets.of(lengths, np.array([4, 16])), budget=16)
    >>> layout.rows()
    [BucketSteps(edge=4, examples=6, steps=1, size=4), BucketSteps(edge=16, examples=2, steps=4, size=1)]
    """

    buckets: Buckets
    amount: int
    unit: str
    sizes: Counts
    steps: Counts
    placed: Counts
    taken: Counts

    @classmethod
    def of_budget(cls, buckets: Buckets, budget: int) -> Self:
        """Steps of at most `budget` values each, with the padding. Raises `DataError` if the longest do not fit."""
        longest = int(buckets.edges[-1])
        if budget < longest:
            msg = (
                f"batch: a step of {budget:,} values cannot hold one of the longest examples, which are padded to "
                f"{longest:,}; let it be at least {longest:,}, give closer edges, or leave longer examples out"
            )
            raise DataError(msg)
        sizes = budget // buckets.edges
        return cls(buckets, budget, "values", sizes, *_cascade(buckets.counts, sizes))

    @classmethod
    def of_size(cls, buckets: Buckets, size: int) -> Self:
        """Steps of `size` examples each."""
        sizes = np.full(len(buckets.edges), size, dtype=np.int64)
        return cls(buckets, size, "examples", sizes, *_cascade(buckets.counts, sizes))

    @property
    def least(self) -> int:
        """The fewest examples in a step, unless the split has fewer: so many ranks can each have one."""
        return _least(self.sizes)

    @property
    def useful(self) -> float:
        """The share of the values in all steps that is no padding; 1 if there are none."""
        padded = int(self.placed @ self.buckets.edges)
        return int(self.buckets.values.sum()) / padded if padded else 1.0

    def rows(self) -> list[BucketSteps]:
        """What becomes of each bucket."""
        columns = (self.buckets.edges, self.buckets.counts, self.steps, self.sizes)
        return [BucketSteps(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def check_world(self, world_size: int) -> None:
        """Raise `DataError` for more ranks than a step is sure to have examples for."""
        if world_size <= self.least:
            return
        most, needed = int(self.sizes[-1]), 2 * world_size - 1
        amount = needed * int(self.buckets.edges[-1]) if self.unit == "values" else needed
        msg = (
            f"batch: a step of {self.amount:,} {self.unit} holds {most:,} of the longest, and the smallest may hold "
            f"{self.least:,}: up to {self.least:,} ranks are fine, {world_size:,} are not; raise it to {amount:,}, or use "
            f"fewer ranks"
        )
        raise DataError(msg)


def _least(sizes: Counts) -> int:
    return (int(sizes[-1]) + 1) // 2


def _cascade(counts: Counts, sizes: Counts) -> tuple[Counts, Counts, Counts]:
    """The steps of each bucket, the examples in them, and those that it takes over from the shorter ones."""
    taken, steps = np.zeros_like(counts), np.zeros_like(counts)
    rest = 0
    for bucket, (count, size) in enumerate(zip(counts.tolist(), sizes.tolist(), strict=True)):
        taken[bucket] = rest
        steps[bucket], rest = divmod(count + rest, size)
    placed = steps * sizes
    placed[-1] += rest
    steps[-1] += rest > 0
    (shorter,) = np.nonzero(steps[:-1])
    missing = _least(sizes) - int(placed[-1])
    if rest and missing > 0 and len(shorter):
        placed[shorter[-1]] -= missing
        taken[shorter[-1] + 1 :] += missing
        placed[-1] += missing
    return steps, placed, taken


_EXACT_BITS = 8  # up to so many bits of multiples, each multiple is a candidate
_NEVER = 2**61  # values, more than any data have; two of them are still an integer of 64 bits
