"""Orders: which example stands at each position, computed only for the positions asked for."""

from functools import cached_property
from typing import Protocol, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from .._errors import DataError
from .._random.permutation import permute, uniforms


Ids: TypeAlias = NDArray[np.int64]


class Order(Protocol):
    """Which example stands at each of `size` positions."""

    @property
    def size(self) -> int: ...
    def at(self, positions: Ids, /) -> Ids: ...


@attrs.frozen(eq=False)
class Natural:
    """The examples of a source as they come: position i holds example i."""

    size: int

    def at(self, positions: Ids) -> Ids:
        """The example ids at `positions`. Equivalent to `numpy.arange(size)[positions]`."""
        return positions


@attrs.frozen(eq=False)
class Shuffled:
    """A permutation of another order, in memory independent of its size."""

    of: Order
    key: int

    @property
    def size(self) -> int:
        """The number of positions."""
        return self.of.size

    def at(self, positions: Ids) -> Ids:
        """Equivalent to `of.at(permutation of all positions)[positions]`."""
        return self.of.at(permute(positions, self.of.size, self.key))


@attrs.frozen(eq=False)
class Window:
    """The positions `start` to `start + size` of another order."""

    of: Order
    start: int
    size: int

    def at(self, positions: Ids) -> Ids:
        """Equivalent to `of.at(all positions)[start : start + size][positions]`."""
        return self.of.at(positions + self.start if self.start else positions)


@attrs.frozen(eq=False)
class Without:
    """Another order without its positions `start` to `stop`."""

    of: Order
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of positions."""
        return self.of.size - (self.stop - self.start)

    def at(self, positions: Ids) -> Ids:
        """Equivalent to `numpy.delete(of.at(all positions), range(start, stop))[positions]`."""
        return self.of.at(np.where(positions < self.start, positions, positions + (self.stop - self.start)))


@attrs.frozen(eq=False)
class Chosen:
    """Given positions of another order, written out."""

    of: Order
    positions: Ids

    @property
    def size(self) -> int:
        """The number of positions."""
        return len(self.positions)

    def at(self, positions: Ids) -> Ids:
        """Equivalent to `of.at(self.positions)[positions]`."""
        return self.of.at(self.positions[positions])


@attrs.frozen(eq=False)
class Concatenated:
    """Other orders of the same source, one after the other."""

    parts: tuple[Order, ...]

    @property
    def size(self) -> int:
        """The number of positions."""
        return sum(part.size for part in self.parts)

    def at(self, positions: Ids) -> Ids:
        """Equivalent to `numpy.concatenate([part.at(all positions) for part in parts])[positions]`."""
        starts = np.cumsum([0, *(part.size for part in self.parts)])
        number = np.searchsorted(starts, positions, side="right") - 1
        ids = np.empty(positions.shape, dtype=np.int64)
        for each, part in enumerate(self.parts):
            here = number == each
            ids[here] = part.at(positions[here] - starts[each])
        return ids


@attrs.frozen(eq=False, slots=False)
class Drawn:
    """Draws with replacement from another order, in proportion to the weights of its source's examples."""

    of: Order
    weights: NDArray[np.float64]
    size: int
    key: int

    @cached_property
    def cumulative(self) -> NDArray[np.float64]:
        """The running sum of the weights in the order drawn from, 8 bytes an example, made at the first draw."""
        weights = self.weights[self.of.at(np.arange(self.of.size))]
        most = weights.max(initial=0.0)
        if not most > 0:
            msg = "sample: the examples to draw from all have weight 0"
            raise DataError(msg)
        return np.cumsum(weights / most)

    def at(self, positions: Ids) -> Ids:
        """Equivalent to `of.at(searchsorted(cumulative, uniforms(all positions) * total))[positions]`."""
        if not len(positions):
            return positions
        total = self.cumulative[-1]
        drawn = np.searchsorted(self.cumulative, uniforms(positions, self.key) * total, side="right")
        last = np.searchsorted(self.cumulative, total)  # rounding may lead beyond the last with a weight
        return self.of.at(np.minimum(drawn, last))


def written_out(order: Order) -> Ids:
    """All the example ids of an order, 8 bytes each."""
    return order.at(np.arange(order.size, dtype=np.int64))


def is_natural(order: Order, size: int) -> bool:
    """Whether an order is all of a source of `size` examples as they come, so that nothing need be gathered."""
    return isinstance(order, Natural) and order.size == size


def take(order: Order, count: int) -> Order:
    """The first `count` positions of an order, or all if there are fewer."""
    return order if count >= order.size else Window(order, 0, count)
