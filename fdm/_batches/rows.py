"""Rows of batches: how many a batch has, and which examples they are where a function left some out or moved them."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from .._arrays.packed import Packed
from .._arrays.ragged import Ragged
from .._arrays.tree import entries, with_entries
from .._errors import DataError
from .._plans.rows import Rows


def row_counts(batch: Any) -> frozenset[int]:
    """How many rows the parts of a batch have: tensors, arrays, ragged and packed columns by their first dimension, and lists.

    Nothing for a batch without any such part, numbers or objects of other kinds, of which nobody knows the rows.

    >>> sorted(row_counts({"x": torch.zeros(4, 2), "edges": torch.zeros(2, 9), "sum": torch.tensor(1.0)}))
    [2, 4]
    """
    if isinstance(batch, Tensor | np.ndarray):
        return frozenset((batch.shape[0] if isinstance(batch, np.ndarray) else batch.size(0),) if batch.ndim else ())
    if isinstance(batch, Ragged | Packed):
        return frozenset((len(batch),))
    named = entries(batch)
    if named:
        return frozenset().union(*map(row_counts, named.values()))
    if not isinstance(batch, list | tuple):
        return frozenset()
    inside = batch if batch and not isinstance(batch[0], _PLAIN) else ()
    return frozenset((len(batch),)).union(*map(row_counts, inside))


def rows_told(rows: Rows, batch: Any, name: str | None) -> Rows:
    """The examples of a batch, as its entry `name` has their ids, or as planned where it has no such entry.

    Of an example that comes several times the rows are told apart by their order. What the entry holds is looked at only
    on the host, or where it has another length: a look at a device would wait for it.
    """
    ids = _ids_in(batch, name)
    if ids is None or (ids.shape == rows.ids.shape and not ids.is_cpu):
        return rows
    return among(rows, ids) or rows


def among(rows: Rows, ids: Tensor) -> Rows | None:
    """The rows that have these ids, int64, in this order; None unless all are among `rows`."""
    own = ids.detach().cpu()
    if own.shape == rows.ids.shape and torch.equal(own, rows.ids):
        return rows
    order = torch.argsort(rows.ids, stable=True)
    ordered = rows.ids[order]
    first, end = torch.searchsorted(ordered, own), torch.searchsorted(ordered, own, right=True)
    if bool((first == end).any()):
        return None
    places = order[torch.minimum(first + _times_before(own), end - 1)]
    return rows.chosen(places)._replace(ids=own.clone())


def with_own_ids(examples: list[Any], name: str, ids: Tensor) -> list[Any]:
    """Examples that are dicts, each with its id as an entry more; others as they are."""
    if not all(isinstance(example, dict) and name not in example for example in examples):
        return examples
    return [with_entries(example, {name: own}) for example, own in zip(examples, ids.clone().unbind(), strict=True)]


def ids_returned(made: Any, name: str, ids: Tensor) -> Tensor | None:
    """The ids, int64, that a collate function returned among the entries of a batch; None unless all are of the batch."""
    entry = entries(made).get(name)
    try:
        own = entry if isinstance(entry, Tensor) else torch.tensor([int(one) for one in entry or ()], device="cpu")
    except (TypeError, ValueError):
        return None
    if own.ndim != 1 or own.dtype != torch.int64 or among(Rows(ids, 0), own) is None:
        return None
    return own


def check_collated(made: Any, name: str, count: int, by: str) -> None:
    """Raise `DataError` where a collate function returned other rows than examples, so that they have not their ids."""
    found = row_counts(made)
    if found and count not in found:
        msg = (
            f"{by} returned {rows_in_words(found)} for {count} examples, so whose ids they have is not known; return the ids "
            f"beside the rows: an example that is a dict has its own under {name!r}, and so the batch has them there. "
            f"Or leave examples out in a transform after batch, together with their ids, or in a split"
        )
        raise DataError(msg)


def check_returned(made: Any, name: str, ids: Tensor, count: int, by: str) -> None:
    """Raise `DataError` where a collate function returned ids of some rows, and fewer rows than that or more.

    More rows than examples, with the ids of all examples, are one sequence put together from those of the examples.
    """
    found = _counts_beside(made, name)
    if found and len(ids) not in found and (len(ids) < count or max(found) < count):
        msg = (
            f"{by} returned {rows_in_words(found)}, and {len(ids)} ids beside them under {name!r}, which are of others; return "
            f"the ids of the examples that the rows are of, in their order"
        )
        raise DataError(msg)


def check_keyed(item: Any, rows: Rows, name: str | None) -> None:
    """Raise `DataError` where a batch has no row for each key that an augment is given, and no ids that tell why."""
    if _ids_in(item, name) is not None:
        return
    found = row_counts(item)
    if found and len(rows.ids) not in found:
        remedy = "ask for ids, fdm.batch(size, ids='id')" if name is None else f"keep the entry {name!r}"
        msg = (
            f"the batch has {rows_in_words(found)}, but is of {len(rows.ids)} examples, so the keys would be those of others; a "
            f"collate or a stage before this one left rows out or added some: {remedy}, and return the ids beside the "
            f"rows that they belong to"
        )
        raise DataError(msg)


@attrs.frozen(eq=False)
class Told:
    """What is known of a batch before a stage: the ids that it carries, and whether it has a row for each."""

    name: str
    ids: Tensor | None
    has_row_each: bool

    @classmethod
    def by(cls, batch: Any, name: str) -> "Told":
        """What a batch tells by its entry `name`."""
        ids = _ids_in(batch, name)
        return cls(name, ids, ids is not None and len(ids) in _counts_beside(batch, name))

    def after(self, made: Any, rows: Rows) -> Rows:
        """The rows of the batch after the stage. Raises `DataError` where it returned other rows than ids."""
        ids = _ids_in(made, self.name)
        if ids is None or self.ids is None:
            return rows
        found = _counts_beside(made, self.name) if self.has_row_each else frozenset()
        if found and len(ids) not in found:
            msg = (
                f"it returned {rows_in_words(found)}, and {len(ids)} ids beside them under {self.name!r}, which are of others; "
                f"do to the ids what is done to the rows, batch[{self.name!r}][keep] say, or leave that entry out"
            )
            raise DataError(msg)
        return rows if ids is self.ids else among(rows, ids) or rows


def _counts_beside(batch: Any, name: str) -> frozenset[int]:
    others = [value for entry, value in entries(batch).items() if entry != name]
    return frozenset().union(*map(row_counts, others))


def _ids_in(batch: Any, name: str | None) -> Tensor | None:
    ids = None if name is None else entries(batch).get(name)
    return ids if isinstance(ids, Tensor) and ids.ndim == 1 and ids.dtype == torch.int64 else None


def _times_before(ids: Tensor) -> Tensor:
    """How often each id came before in the same tensor."""
    order = torch.argsort(ids, stable=True)
    ordered = ids[order]
    times = torch.arange(len(ids), device="cpu") - torch.searchsorted(ordered, ordered)
    return torch.empty_like(times).index_put_((order,), times)


def rows_in_words(counts: frozenset[int]) -> str:
    """How many rows these are, as a message says it."""
    few: Sequence[int] = sorted(counts)[:4]
    return f"{' and '.join(map(str, few))} row{'' if few == [1] else 's'}"


_PLAIN = (str, bytes, int, float, bool, type(None))
