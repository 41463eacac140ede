"""Gathering: what many ranks made of their examples, in the order of the data, on every rank."""

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._arrays.packed import Packed
from .._arrays.ragged import Ragged
from .._public import public
from .exchange import Group, Ranks, agree, attempted, ranks_of, same, told
from .pieces import Leaf, Piece, concatenated, described, joined, order_of, picked, pieces_of, rebuilt


@public
def gather(values: Any, ids: Any, *, group: Group = None) -> Any:
    """The values of all ranks in the order of the data (ascending ids), on every rank, on the CPU. Collective.

    `ids` are the example ids of this rank's values (`fdm.batch(size, ids="id")` adds them to batches), and every value
    has one row for each: a tensor, numpy array, `Ragged`, `Packed` or list of Python objects, or a nested dict, tuple or frozen
    record of these. `ids` may also be a list of the ids of each batch, and `values` a list of the values of each: two
    empty lists on a rank that had none. What comes back has the structure of one batch, and all rows; where no rank has
    any, the first one's without rows, or an empty list if none gave any batch.

    >>> import torch
    >>> gather({"x": torch.tensor([0.5, 0.25, 0.75])}, ids=[7, 2, 4])
    {'x': tensor([0.2500, 0.7500, 0.5000])}
    >>> gather([["c", "a"], ["b"]], ids=[[2, 0], [1]])
    ['a', 'b', 'c']

    The ranks are those of the `torch.distributed` group, by default all; without an initialised group, this process
    alone. Every rank holds the whole result, so `fdm.gather_to` is for what is larger than memory.

    Raises `DataError` on every rank if an id comes twice, if one rank's values do not fit its ids, or if ranks differ in
    structure, dtype or shape of a row, or one is at another call than `gather`. An error of the group, such as its
    timeout when a rank died, is raised as a `PreparationError` with its words and a note.
    """
    ranks = ranks_of("fdm.gather", group)
    offer, error = attempted(lambda: _offer(values, ids))
    offers = ranks.every((told(error), offer))
    agree(ranks, [verdict for verdict, _ in offers], error)
    found = {at: other for at, (_, other) in enumerate(offers) if other is not None}
    full = {at: other for at, other in found.items() if len(other.ids)} or dict(list(found.items())[:1])
    if not full:
        return []
    same(ranks, {at: other.kinds for at, other in full.items()}, "gather takes values of one structure from every rank")
    order = order_of(ranks.function, [other.ids for other in full.values()], [ranks.name(at) for at in full])
    first = next(iter(full.values()))
    own = offer.leaves if offer is not None else {}
    received = {at: _received(ranks, own.get(at), list(full), order) for at in sorted(first.kinds)}
    leaves = {at: _loaded(leaf, order) for at, leaf in received.items()}
    return rebuilt(pickle.loads(first.structure), leaves.__getitem__)  # noqa: S301 - made by a rank of this very group


@attrs.frozen(eq=False)
class _Offer:
    """What a rank has to give: ids, and of its values the kinds and the structure; the leaves stay where they are."""

    ids: NDArray[np.int64]
    kinds: Mapping[str, str]
    structure: bytes
    leaves: Mapping[str, Any]

    def __reduce__(self) -> Any:
        return _Offer, (self.ids, self.kinds, self.structure, {})


def _offer(values: Any, ids: Any) -> _Offer | None:
    piece = joined(pieces_of(values, ids))
    if piece is None:
        return None
    return _Offer(piece.ids, described(piece), pickle.dumps(piece.structure), _travelling(piece))


def _travelling(piece: Piece) -> dict[str, Any]:
    """The leaves as they travel: objects pickled, so that what cannot be is found before any rank waits for it."""
    return {at: pickle.dumps(leaf) if _has_objects(leaf) else leaf for at, leaf in piece.leaves.items()}


def _has_objects(leaf: Leaf) -> bool:
    return isinstance(leaf, list) or (isinstance(leaf, np.ndarray) and leaf.dtype.hasobject)


def _received(ranks: Ranks, own: Any, givers: Sequence[int], order: NDArray[np.int64]) -> Any:
    """A leaf of all ranks in order; one at a time travels, so that memory holds the result and a few times one leaf."""
    sent = ranks.every(None if ranks.at not in givers else _packed(own))
    if any(isinstance(leaf, bytes) for leaf in sent):
        return [sent[at] for at in givers]
    return picked(concatenated([_unpacked(sent[at]) for at in givers]), order)


def _loaded(leaf: Any, order: NDArray[np.int64]) -> Leaf:
    """Objects are unpickled when all has arrived: a rank that cannot, since it lacks their class, lets none wait."""
    if not isinstance(leaf, list):
        arrived: Leaf = leaf
        return arrived
    return picked(concatenated([pickle.loads(raw) for raw in leaf]), order)  # noqa: S301 - from this very group


def _packed(leaf: Any) -> Any:
    # As bytes: torch would pickle all of the memory that a tensor is a view of.
    if isinstance(leaf, Tensor):
        flat = leaf.contiguous().as_strided((leaf.numel(),), (1,))  # of one value, any stride counts as contiguous
        return leaf.dtype, tuple(leaf.shape), flat.view(torch.uint8).numpy()
    if isinstance(leaf, Ragged):
        return leaf.kind, _packed(leaf.values), _packed(leaf.offsets)
    if isinstance(leaf, Packed):
        return Packed, _packed(leaf.values), _packed(leaf.documents), _packed(leaf.sequences)
    return leaf


def _unpacked(sent: Any) -> Leaf:
    if isinstance(sent, tuple) and isinstance(sent[0], torch.dtype):
        dtype, shape, raw = sent
        if not raw.size:  # torch views no empty array as another dtype
            return torch.empty(shape, dtype=dtype, device="cpu")
        return torch.from_numpy(raw).view(dtype).reshape(shape)
    if isinstance(sent, tuple) and sent[0] is Packed:
        return Packed(*map(_unpacked, sent[1:]))  # type: ignore[arg-type]  # tensors, as they were sent
    if isinstance(sent, tuple):
        kind, values, offsets = sent
        return Ragged(_unpacked(values), _unpacked(offsets), kind)  # type: ignore[arg-type]  # the kind is one of a Ragged
    array: NDArray[Any] = sent
    return array
