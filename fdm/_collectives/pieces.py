"""Pieces: values with example ids, joined and brought into the order of the ids; pure."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._arrays.differences import unlike
from .._arrays.indexing import refuse_masked, select
from .._arrays.packed import Packed
from .._arrays.packed import joined as packed_joined
from .._arrays.ragged import Ragged
from .._arrays.table import Column, Table
from .._arrays.tree import map_leaves, places
from .._errors import DataError
from .._text import short


Leaf: TypeAlias = Tensor | NDArray[Any] | Ragged | Packed | list[Any]
_LEAVES = Tensor, np.ndarray, Ragged, Packed, list


@attrs.frozen(eq=False)
class Piece:
    """Checked values of some examples: their ids, the leaves by where they are, and the structure of these places."""

    ids: NDArray[np.int64]
    leaves: Mapping[str, Leaf]
    structure: Any


def pieces_of(values: Any, ids: Any) -> list[Piece]:
    """What `gather` was given as checked pieces: one, or where `ids` is a list of ids of batches, one for each.

    Raises `DataError` for what is no ids, a value that has no row per id, and another number of values than of ids.
    """
    if not _is_of_batches(values, ids):
        return [_piece(values, ids, "values")]
    if not isinstance(values, list | tuple) or len(values) != len(ids):
        found = f"{len(values)} pieces" if isinstance(values, list | tuple) else f"a {type(values).__name__}"
        msg = f"ids is a list of {len(ids)} pieces, so values is a list of as many, in the same order, not {found}"
        raise DataError(msg)
    return [
        _piece(value, own, f"values[{number}]") for number, (value, own) in enumerate(zip(values, ids, strict=True))
    ]


def joined(pieces: Sequence[Piece]) -> Piece | None:
    """The pieces one after the other; None for none, and of those without rows only the first, if all are.

    Raises `DataError` if they differ in structure, dtype or shape of a row.
    """
    full = [piece for piece in pieces if len(piece.ids)] or pieces[:1]
    if not full:
        return None
    wanted = described(full[0])
    for piece in full[1:]:
        if (differing := unlike(wanted, described(piece))) is not None:
            place, one, other = differing
            msg = (
                f"{place} is {one} in one batch and {other} in another; the values of all batches have one structure, "
                f"with one dtype and shape of a row"
            )
            raise DataError(msg)
    leaves = {at: concatenated([piece.leaves[at] for piece in full]) for at in full[0].leaves}
    return Piece(np.concatenate([piece.ids for piece in full]), leaves, full[0].structure)


def described(piece: Piece) -> dict[str, str]:
    """What has to agree between pieces: the kind of each leaf by its place."""
    return {at: kind_of(leaf) for at, leaf in piece.leaves.items()}


def kind_of(leaf: Leaf) -> str:
    """What has to agree between leaves that are joined, in words: type, dtype and shape of a row."""
    if isinstance(leaf, Tensor):
        return f"a tensor of {leaf.dtype} with rows of shape {tuple(leaf.shape[1:])}"
    if isinstance(leaf, Ragged):
        rows = f" {leaf.values.dtype} {tuple(leaf.values.shape[1:])}" if leaf.kind == "tensor" else ""
        return f"a Ragged of {leaf.kind}{rows}"
    if isinstance(leaf, Packed):
        return f"a Packed of {leaf.values.dtype} {tuple(leaf.values.shape[1:])}"
    if isinstance(leaf, list):
        return "a list"
    dtype = {"U": "str", "S": "bytes"}.get(leaf.dtype.kind, leaf.dtype)
    return f"an array of {dtype} with rows of shape {leaf.shape[1:]}"


def order_of(function: str, ids: Sequence[NDArray[np.int64]], names: Sequence[str]) -> NDArray[np.int64]:
    """The order of all rows by their ids, which are those of the givers of these names, one after the other.

    Raises `DataError`, which names the givers, for an id that comes twice.
    """
    every = np.concatenate([*ids, np.empty(0, np.int64)])
    order = np.argsort(every, kind="stable")
    ordered = every[order]
    again = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(again):
        number = int(ordered[again[0]])
        givers = [name for name, own in zip(names, ids, strict=True) for _ in range(int((own == number).sum()))]
        msg = (
            f"{function}: id {number} comes {len(givers)} times (from {', '.join(givers)}), but each example has one "
            f"result; an fdm loader gives every example to one rank once, unless the split has a sample stage, which "
            f"draws with replacement; a torch DistributedSampler pads with repeats: drop those, or let fdm make the batches"
        )
        raise DataError(msg)
    return order


def concatenated(leaves: Sequence[Leaf]) -> Leaf:
    """Leaves of one kind, one after the other."""
    first: Any = leaves[0]
    rows: Any = leaves
    if len(leaves) == 1:
        return leaves[0]
    if isinstance(first, Tensor):
        return torch.cat(rows)
    if isinstance(first, Packed):
        joined_packed: Packed = packed_joined(rows)
        return joined_packed
    if isinstance(first, Ragged):
        ends = np.cumsum([0, *(len(leaf.values) for leaf in rows)])
        offsets = [leaf.offsets[:-1] + int(end) for leaf, end in zip(rows, ends[:-1], strict=True)]
        last = torch.tensor([int(ends[-1])], device="cpu")
        return attrs.evolve(
            first, values=torch.cat([leaf.values for leaf in rows]), offsets=torch.cat([*offsets, last])
        )
    return list(chain(*rows)) if isinstance(first, list) else np.concatenate(rows)


def picked(leaf: Leaf, order: NDArray[np.int64]) -> Leaf:
    """The rows of a leaf, in this order."""
    if isinstance(leaf, Tensor):
        return select(leaf, torch.from_numpy(order))
    if isinstance(leaf, Ragged | Packed):
        return leaf[torch.from_numpy(order)]
    return [leaf[row] for row in order.tolist()] if isinstance(leaf, list) else leaf[order]


def rebuilt(structure: Any, leaves: Callable[[str], Any]) -> Any:
    """A structure of places with the leaves in them."""
    return map_leaves(leaves, structure)


def table_of(piece: Any) -> Table:
    """A piece `(values, ids)` as a table, whose columns have memory of their own: the next piece may use that again.

    Raises `DataError` for anything else, and for a column that has no row per id.
    """
    if not isinstance(piece, tuple | list) or len(piece) != 2:
        msg = f"a piece is a pair (values, ids), not {short(piece, 60)}"
        raise DataError(msg)
    values, ids = piece[0], checked_ids(piece[1])
    named = values if isinstance(values, Mapping) else {"value": values}
    if "id" in named:
        msg = "values have a column 'id', which is the name that the ids get; leave it out, or give it another name"
        raise DataError(msg)
    columns = {name: _column(name, column) for name, column in named.items()}
    for name, column in columns.items():
        if len(column) != len(ids):
            msg = f"column {name!r} has {len(column)} rows for {len(ids)} ids; it needs one for each id"
            raise DataError(msg)
    return Table({"id": torch.from_numpy(ids.copy()), **columns})


def _column(name: Any, column: Any) -> Column:
    if isinstance(column, list | tuple):
        column = Ragged.of(column)
    if isinstance(column, np.ndarray):
        column = Table({name: column})[name]
    if isinstance(column, Ragged):
        column = column.to("cpu")
        return Ragged(column.values.detach().clone(), column.offsets.clone(), column.kind)
    if not isinstance(column, Tensor) or not column.ndim:
        msg = f"column {name!r} is {short(column, 60)}; a column is a tensor, array, Ragged or list with a row for each id"
        raise DataError(msg)
    plain: Tensor = column.detach().cpu().resolve_conj().resolve_neg()
    return plain.clone(memory_format=torch.contiguous_format)


def checked_ids(ids: Any) -> NDArray[np.int64]:
    """Example ids, a tensor, array or sequence of integers, as an array; `DataError` for anything else."""
    refuse_masked(ids, "what is given as ids")
    try:
        found = np.asarray(ids.detach().cpu() if isinstance(ids, Tensor) else ids)
    except ValueError:  # a list of unlike things
        found = np.empty((1, 1))
    if found.ndim == 1 and not len(found):
        return np.empty(0, np.int64)
    if found.ndim != 1 or found.dtype.kind not in "iu" or (found.dtype.kind == "u" and int(found.max()) >= 2**63):
        msg = f"ids are integers in one dimension, one for each example, not {short(ids, 60)}; fdm.batch(size, ids='id') adds them"
        raise DataError(msg)
    return found.astype(np.int64)


def _is_of_batches(values: Any, ids: Any) -> bool:
    if not isinstance(ids, list | tuple) or (not ids and (not isinstance(values, list | tuple) or values)):
        return False
    return all(
        own.ndim if isinstance(own, Tensor | np.ndarray) else isinstance(own, list | tuple | range) for own in ids
    )


def _piece(values: Any, ids: Any, at: str) -> Piece:
    own = checked_ids(ids)
    leaves = {place: _settled(leaf, place) for place, leaf in places(values, _is_leaf, "values")}
    if not leaves:
        msg = f"{at} holds nothing that has rows"
        raise DataError(msg)
    for place, leaf in leaves.items():
        if len(leaf) != len(own):
            msg = f"{place.replace('values', at, 1)} has {len(leaf)} rows for {len(own)} ids; it needs one for each id"
            raise DataError(msg)
    in_order = iter(leaves)
    return Piece(own, leaves, map_leaves(lambda _: next(in_order), values, _is_leaf))


def _is_leaf(value: Any) -> bool:
    return isinstance(value, (*_LEAVES, set, frozenset))  # a set has no order of its own


def _settled(leaf: Any, place: str) -> Leaf:
    """A leaf on the host, apart from autograd and from memory that it is a small view of."""
    if not isinstance(leaf, _LEAVES):
        msg = (
            f"{place} is a {type(leaf).__name__}; values are tensors, arrays, Ragged, Packed or lists with a row for each id, in "
            f"dicts, tuples or frozen records"
        )
        raise DataError(msg)
    if isinstance(leaf, Tensor) and leaf.ndim and leaf.layout == torch.strided:
        return leaf.detach().cpu().resolve_conj().resolve_neg()
    if isinstance(leaf, np.ndarray) and leaf.ndim:
        refuse_masked(leaf, "a value")
        return leaf
    if isinstance(leaf, Ragged | Packed):
        return leaf.to("cpu")
    if isinstance(leaf, list):
        return [item.detach().cpu().clone() if isinstance(item, Tensor) else item for item in leaf]
    msg = f"a value is {short(leaf, 60)}, which has no rows; values have one row for each id: tensors of one dimension or more"
    raise DataError(msg)
