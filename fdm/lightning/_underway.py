"""Batches under way: a trainer was given them, and its hooks hand them back, one by one, perhaps as something else."""

from collections.abc import Callable
from typing import Any, TypeAlias
from weakref import ReferenceType, ref

import attrs
from torch import Tensor

from .._arrays.tree import map_leaves
from .._batches.transfer import is_movable


Finish: TypeAlias = Callable[[Any], Any]
"""What does the stages after the transfer to the batch that it came with."""


@attrs.define(eq=False)
class Handed:
    """A batch that was handed out: what finishes it, and by which leaves it is known again.

    `is_of_parts` tells that it is of several splits side by side. It `is_newest` until the pass that it is of hands out
    another, or ends.
    """

    finish: Finish
    is_of_parts: bool
    leaves: "list[ReferenceType[Any]]"
    shapes: list[Any]
    is_newest: bool = True

    def becomes(self, batch: Any) -> None:
        """Know it again as `batch`, which a hook made of it."""
        self.leaves, self.shapes = _leaves(batch)

    def is_made_of(self, leaves: "list[ReferenceType[Any]]") -> bool:
        """Whether these are the leaves of this batch, and no others."""
        return bool(leaves) and len(leaves) == len(self.leaves) and all(map(_same, leaves, self.leaves))


@attrs.define(eq=False)
class Underway:
    """The batches that were handed out and did not come to their end, the oldest first."""

    batches: list[Handed] = attrs.field(factory=list)

    def put(self, batch: Any, finish: Finish, *, is_of_parts: bool) -> Handed:
        """Hand out a batch. Of batches that nobody holds any more nothing is kept."""
        self.batches = [one for one in self.batches if one.is_newest or any(leaf() is not None for leaf in one.leaves)]
        handed = Handed(finish, is_of_parts, *_leaves(batch))
        self.batches.append(handed)
        return handed

    def known(self, batch: Any, *, is_asked_for: bool) -> Handed | None:
        """Which of the batches that were handed out this one is; None for one that comes from elsewhere.

        It is known by its leaves. Where a hook has made another of it: under a trainer that has just asked for a batch
        (`is_asked_for`) it is that one; by hand, the oldest that looks alike.
        """
        leaves, shapes = _leaves(batch)
        found = next((one for one in self.batches if one.is_made_of(leaves)), None)
        if found is not None:
            return found
        if is_asked_for:
            return next((one for one in reversed(self.batches) if one.is_newest), None)
        return next((one for one in self.batches if one.shapes == shapes), None)

    def done(self, handed: Handed) -> None:
        """Forget a batch that came to its end."""
        self.batches = [one for one in self.batches if one is not handed]


def _leaves(batch: Any) -> "tuple[list[ReferenceType[Any]], list[Any]]":
    leaves: list[ReferenceType[Any]] = []
    shapes: list[Any] = [type(batch)]

    def see(leaf: Any) -> Any:
        shapes.append((leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else type(leaf))
        if type(leaf).__weakrefoffset__:
            leaves.append(ref(leaf))
        return leaf

    map_leaves(see, batch, is_movable)
    return leaves, shapes


def _same(one: "ReferenceType[Any]", other: "ReferenceType[Any]") -> bool:
    return one() is not None and one() is other()
