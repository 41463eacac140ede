"""Mixed orders: one epoch of a mixture, over the epochs that its parts go through meanwhile."""

from collections.abc import Callable

import attrs
import numpy as np

from .mixture import Mixture
from .order import Ids, Order, Window


@attrs.frozen(eq=False)
class Mixed:
    """The examples of a run from `start` on, `size` of them: ids are those of the parts' sources, joined.

    `offsets` has the first id of each part, `epoch_of` the order of an epoch of a part by their numbers.
    """

    run: Mixture
    start: int
    size: int
    offsets: Ids
    epoch_of: Callable[[int, int], Order]

    def at(self, positions: Ids) -> Ids:
        """Equivalent to the parts' examples, one after the other as the run draws them."""
        return self.drawn(positions)[0]

    def drawn(self, positions: Ids) -> tuple[Ids, Ids]:
        """The ids at `positions`, and which draw of its part each is."""
        parts, draws = self.run.at(positions + self.start)
        passes, places = self.run.passes(parts, draws)
        ids = np.empty_like(positions)
        for part in np.unique(parts).tolist():
            for epoch in np.unique(passes[parts == part]).tolist():
                (here,) = np.nonzero((parts == part) & (passes == epoch))
                ids[here] = self.epoch_of(part, epoch).at(places[here]) + self.offsets[part]
        return ids, draws


def drawn(order: Order, positions: Ids) -> tuple[Ids, Ids | None]:
    """The ids at `positions` of an order; of a mixture, or the first examples of one, also which draws of parts they are."""
    if isinstance(order, Window) and isinstance(order.of, Mixed):
        return order.of.drawn(positions + order.start)
    return order.drawn(positions) if isinstance(order, Mixed) else (order.at(positions), None)
