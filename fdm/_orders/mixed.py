"""Mixed orders: one epoch of a mixture, over the epochs that its parts go through meanwhile."""

from collections.abc import Callable

import attrs
import numpy as np

from .mixture import Mixture
from .order import Ids, Order, Window


@attrs.frozen(eq=False)
class Mixed:
    """The examples of a run from `start` on, `size` of them: ids are those of what the parts are read from, joined.

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
        for here in together(parts, passes):
            part, epoch = int(parts[here[0]]), int(passes[here[0]])
            ids[here] = self.epoch_of(part, epoch).at(places[here]) + self.offsets[part]
        return ids, draws


def together(parts: Ids, passes: Ids) -> list[Ids]:
    """The places of each part and epoch of it, in their order: those of one stand together in an array."""
    if not len(parts):
        return []
    first = int(passes.min())
    groups = parts * (int(passes.max()) - first + 1) + (passes - first)
    # Few groups fit into 16 bits, by which numpy sorts in one pass.
    small = int(groups.max()) < 2**16
    order = np.argsort(groups.astype(np.uint16) if small else groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def drawn(order: Order, positions: Ids) -> tuple[Ids, Ids | None]:
    """The ids at `positions` of an order; of a mixture, or the first examples of one, also which draws of parts they are."""
    within, places = order, positions
    while isinstance(within, Window):
        places = places + within.start
        within = within.of
    return within.drawn(places) if isinstance(within, Mixed) else (order.at(positions), None)
