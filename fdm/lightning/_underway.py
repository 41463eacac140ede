"""Batches under way: a trainer was given them, and its hooks hand them back, one by one, perhaps as something else."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, TypeAlias
from weakref import ref

import attrs
from torch import Tensor

from .._arrays.tree import entries, with_entries
from .._batches.transfer import is_movable
from .._errors import DataError


Finish: TypeAlias = Callable[[Any], Any]
"""What does the stages after the transfer to the batch that it came with."""

Path: TypeAlias = tuple[Any, ...]
"""The keys and positions that lead to a part of a batch; none for the whole."""

Asked: TypeAlias = tuple[int, int]
"""A batch that a trainer asks for: which of its loops does, and how many that one had before."""


@attrs.define(eq=False)
class Handed:
    """A batch that was handed out: what finishes it, and by which leaves it is known again.

    It lies at `place` in what the loader `source` gave, `asked` for by a trainer. It `is_newest` until the pass that it
    is of hands out another, or ends, and `is_met` once a hook has had it.
    """

    finish: Finish
    place: Path
    source: Any
    asked: Asked | None
    leaves: dict[Path, Callable[[], Any]]
    shapes: list[Any]
    is_newest: bool = True
    is_met: bool = False

    def becomes(self, batch: Any) -> None:
        """Know it again as `batch`, which a hook made of it."""
        self.leaves, self.shapes = _leaves(batch)

    def is_held(self) -> bool:
        """Whether somebody has a leaf of it still."""
        return any(isinstance(leaf, ref) and leaf() is not None for leaf in self.leaves.values())

    def is_awaited(self) -> bool:
        """Whether it may still come."""
        return self.is_newest or self.asked is not None or self.is_held()


@attrs.define(eq=False)
class Underway:
    """The batches that were handed out and did not come to their end, the oldest first.

    Those that were `taken` for one that came, none of whose leaves was theirs, are not to come any more.
    """

    batches: list[Handed] = attrs.field(factory=list)
    asked: Asked | None = None
    taken: list[Handed] = attrs.field(factory=list)

    def put(self, batch: Any, finishes: Mapping[Path, Finish], source: Any, asked: Asked | None) -> list[Handed]:
        """Hand out what a loader gives: a batch, or several, by their places. Those that nobody holds are forgotten."""
        self.batches = [one for one in self.batches if one.is_awaited()]
        handed = [
            Handed(finish, place, source, asked, *_leaves(at(batch, place))) for place, finish in finishes.items()
        ]
        self.batches += handed
        return handed

    def under(self, batch: Any, asked: Asked | None, place_of: Callable[[Any], Path | None]) -> dict[Path, Handed]:
        """Which of the batches that were handed out are in this one, and where; none in one that comes from elsewhere.

        They are known by their leaves. One that a hook, or whatever iterated over its loader, has made anew, leaves and
        all, is the one that was handed out when the trainer `asked` for the batch that it brings to the device now, at
        its loader's place among others (`place_of`). Raises `DataError` where that is not one alone, and where one that
        was taken for another comes itself.
        """
        self.taken = [one for one in self.taken if one.is_held()]
        if _by_leaves(self.taken, batch, None):
            raise DataError(_UNCLEAR)
        if asked != self.asked:
            for one in self.batches:
                one.asked = None if one.is_met else one.asked
            self.asked = asked
        found = _by_leaves(self.batches, batch, asked)
        made_anew = [one for one in self.batches if one.asked == asked is not None and one not in found.values()]
        for root, candidates in _by_place(made_anew, place_of).items():
            if root is not None and _overlaps(root, found):
                continue
            if root is None or len(candidates) > 1 or (root and at(batch, root) is None):
                raise DataError(_UNCLEAR)
            found[root] = candidates[0]
            self.taken.append(attrs.evolve(candidates[0]))
        for one in found.values():
            one.is_met = True
        return found

    def by_hand(self, batch: Any) -> dict[Path, Handed]:
        """As `under`, without a trainer: where a hook has made another of it, it is the one that looks alike.

        Raises `DataError` if several do.
        """
        found = _by_leaves(self.batches, batch, None)
        if found:
            return found
        for one in self.batches:
            part = at(batch, one.place)
            if one.is_awaited() and part is not None and _leaves(part)[1] == one.shapes:
                if one.place in found:
                    raise DataError(_UNCLEAR)
                found[one.place] = one
        return found

    def done(self, handed: Handed) -> None:
        """Forget a batch that came to its end."""
        self.batches = [one for one in self.batches if one is not handed]


def at(batch: Any, path: Path) -> Any:
    """The part of a batch at a path; None where there is no such place."""
    for key in path:
        batch = next((child for name, child in _children(batch) if name == key), None)
    return batch


def changed_at(batch: Any, changes: Mapping[Path, Callable[[Any], Any]], rest: Callable[[Any], Any]) -> Any:
    """A batch with the parts at some paths changed, and what lies outside of them by `rest`.

    >>> changed_at({"a": 1, "b": [2, 3]}, {("b", 1): str}, lambda part: part)
    {'a': 1, 'b': [2, '3']}
    """
    if () in changes:
        return changes[()](batch)
    if not changes:
        return rest(batch)
    children = {}
    for key, child in _children(batch):
        below = {path[1:]: change for path, change in changes.items() if path[0] == key}
        children[key] = changed_at(child, below, rest)
    return type(batch)(children.values()) if type(batch) in (list, tuple) else with_entries(batch, children)


def _by_leaves(batches: list[Handed], batch: Any, asked: Asked | None) -> dict[Path, Handed]:
    """The batches of which there are leaves in another, where they lie as in them."""
    known: dict[int, list[tuple[Handed, Path]]] = {}
    for one in batches:
        for within, leaf in one.leaves.items():
            known.setdefault(id(leaf()), []).append((one, within))
    counts: Counter[tuple[Path, Handed]] = Counter()
    for path, node in _nodes(batch) if known else ():
        for one, within in known.get(id(node), ()) if node is not None else ():
            before = path[: len(path) - len(within)]
            if (*before, *within) == path:
                counts[before, one] += 1
    found: dict[Path, Handed] = {}
    for root in sorted({root for root, _ in counts}, key=len):
        if not _overlaps(root, found):
            found[root] = _most({one: count for (place, one), count in counts.items() if place == root}, asked)
    return found


def _by_place(batches: list[Handed], place_of: Callable[[Any], Path | None]) -> dict[Path | None, list[Handed]]:
    """Batches by the place where a trainer has put them; None for that of those that it has not put anywhere."""
    found: dict[Path | None, list[Handed]] = {}
    for one in batches:
        beside = place_of(one.source)
        found.setdefault(None if beside is None else (*beside, *one.place), []).append(one)
    return found


def _most(counts: Mapping[Handed, int], asked: Asked | None) -> Handed:
    most = [one for one, count in counts.items() if count == max(counts.values())]
    now = most if len(most) == 1 else [one for one in most if one.asked == asked is not None]
    if len(now) != 1:
        raise DataError(_UNCLEAR)
    return now[0]


def _overlaps(root: Path, found: Mapping[Path, Any]) -> bool:
    return any(root[: len(other)] == other[: len(root)] for other in found)


def _children(tree: Any) -> list[tuple[Any, Any]]:
    if is_movable(tree) or isinstance(tree, type):
        return []
    if isinstance(tree, list | tuple) and not hasattr(tree, "_fields"):
        return list(enumerate(tree))
    return list(entries(tree).items())


def _nodes(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, tree
    for key, child in _children(tree):
        yield from _nodes(child, (*path, key))


def _leaves(batch: Any) -> tuple[dict[Path, Callable[[], Any]], list[Any]]:
    leaves: dict[Path, Callable[[], Any]] = {}
    shapes: list[Any] = []
    for path, node in _nodes(batch):
        shapes.append((path, (node.shape, node.dtype) if isinstance(node, Tensor) else type(node)))
        is_shared = isinstance(node, Enum) or callable(node)  # by other batches too
        kind: type = type(node)
        if not _children(node) and kind.__weakrefoffset__ and not is_shared:
            leaves[path] = ref(node)
    return leaves or {(): lambda: batch}, shapes


_UNCLEAR = (
    "a batch came back to the datamodule's hooks, made anew, and which of those that its loaders gave it is cannot be told, "
    "so neither can the stages and keys that it is to be finished with. Keep one of its tensors as it is and under its name, "
    'such as the ids of fdm.batch(ids="ids"), in the hook or the wrapper of the loader that makes it anew; or write that '
    "as fdm.transform(fn) before fdm.transfer()"
)
