"""The order and the steps of an epoch by length: which examples are in which step, and what each rank has of it."""

from functools import cached_property
from typing import NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from .._errors import SnapshotError
from .._random.permutation import derive, permute
from .lengths import Layout
from .order import Ids, Order


class Cuts(NamedTuple):
    """Where the steps of an epoch are cut, in its order: step i is the positions `at[i]` to `at[i + 1]`.

    `bucket` is the number of each one's bucket, and `first` its first place among the examples dealt out to that bucket.
    """

    at: NDArray[np.int64]
    bucket: NDArray[np.int64]
    first: NDArray[np.int64]


@attrs.frozen(eq=False, slots=False)
class ByLength:
    """The examples of another order, whose positions `layout` has in buckets, step after step of one bucket each.

    `key` permutes the steps and deals the examples out to them. Without one both are as they come: steps from the
    shortest bucket to the longest, examples as in the other order, where a bucket begins with those it takes over.

    >>> from fdm._orders.lengths import Buckets
    >>> from fdm._orders.order import Natural
    >>> lengths = np.array([3, 9, 2, 12, 0, 4, 1, 2])
    >>> layout = Layout.of_size(Buckets.of(lengths, np.array([4, 16])), size=3)
    >>> order = ByLength(Natural(8), layout)
    >>> order.cuts.at.tolist(), order.at(np.arange(8)).tolist()
    ([0, 3, 6, 8], [0, 2, 4, 5, 6, 7, 1, 3])
    """

    of: Order
    layout: Layout
    key: int | None = None

    @property
    def size(self) -> int:
        """The number of positions."""
        return len(self.layout.buckets.by_bucket)

    @cached_property
    def cuts(self) -> Cuts:
        """Where its steps are cut, 24 bytes a step, made once."""
        steps, placed = self.layout.steps, self.layout.placed
        bucket = np.repeat(np.arange(len(steps)), steps)
        number = np.arange(len(bucket)) - np.repeat(np.cumsum(steps) - steps, steps)
        each, extra = np.divmod(placed, np.maximum(steps, 1))
        first = number * each[bucket] + np.minimum(number, extra[bucket])
        sizes = each[bucket] + (number < extra[bucket])
        if self.key is not None:
            turns = permute(np.arange(len(bucket)), len(bucket), derive(self.key, "steps"))
            bucket, first, sizes = bucket[turns], first[turns], sizes[turns]
        return Cuts(np.append(0, np.cumsum(sizes)), bucket, first)

    def at(self, positions: Ids) -> Ids:
        """The example ids at `positions`.

        Equivalent to going from bucket to bucket, the shortest first, with its own examples and what the one before left
        over in random order, cutting them into steps, and then going through all steps in random order.
        """
        step = np.searchsorted(self.cuts.at, positions, side="right") - 1
        bucket, place = self.cuts.bucket[step], self.cuts.first[step] + (positions - self.cuts.at[step])
        return self.of.at(self._dealt(bucket, place))

    def _dealt(self, bucket: Ids, place: Ids) -> Ids:
        """The positions in the other order that are at these places of these buckets; both arrays are written over.

        An example that a bucket took over is at one of the places that the next shorter one left over, and so on down.
        """
        layout, buckets = self.layout, self.layout.buckets
        positions, waiting = np.empty_like(place), len(place)
        number = int(bucket.max(initial=0))
        while waiting:
            (here,) = np.nonzero(bucket == number)
            waiting -= len(here)
            if len(here):
                taken = int(layout.taken[number])
                dealt = self._permuted(place[here], number)
                own = dealt >= taken
                positions[here[own]] = buckets.by_bucket[buckets.starts[number] - taken + dealt[own]]
                passed = here[~own]
                bucket[passed], place[passed] = number - 1, layout.placed[number - 1] + dealt[~own]
                waiting += len(passed)
            number -= 1
        return positions

    def _permuted(self, places: Ids, number: int) -> Ids:
        if self.key is None:
            return places
        layout = self.layout
        count = int(layout.taken[number] + layout.buckets.counts[number])
        return permute(places, count, derive(self.key, "bucket", number))

    def step_at(self, examples: int) -> int:
        """The step before which there are so many examples. Raises `SnapshotError` if they end within a step."""
        at = self.cuts.at
        step = int(np.searchsorted(at, examples))
        if step == len(at) or at[step] != examples:
            near = [f"{count:,}" for count in at[max(0, step - 1) : step + 1].tolist()]
            msg = (
                f"the snapshot is after {examples:,} examples, but steps of this epoch end after {' and '.join(near)}: it "
                f"is of other buckets, or of another size of step; go on with those, or from the start of an epoch"
            )
            raise SnapshotError(msg)
        return step
