"""Entries: what batches get beside what is read: the edge of their lengths, example ids, origins."""

from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor

from .._arrays.ragged import Ragged
from .._errors import DataError, noted, stage_note
from .._plans.branch import Branch, Parts
from .._plans.rows import Rows
from .._stages.function import Function
from .reading import has_sequences, ids_of
from .rows import check_collated, check_returned, ids_returned, row_counts, rows_in_words, rows_told


def edged(column: str, made: Any, rows: Rows) -> tuple[Any, Rows]:
    """The batch whose ragged columns of these lengths know the edge that their step is padded to."""
    lengths = made.get(column) if isinstance(made, dict) else None
    if not isinstance(lengths, Ragged) or rows.edge is None:
        return made, rows
    alike = {
        name: attrs.evolve(each, edge=rows.edge)
        for name, each in made.items()
        if isinstance(each, Ragged) and torch.equal(each.offsets, lengths.offsets)
    }
    return {**made, **alike}, rows


def identifying(branch: Branch, name: str) -> Callable[[Any, Rows], tuple[Any, Rows]]:
    number, batch = branch.batching
    is_of_sequences = has_sequences(branch.source)

    def identify(made: Any, rows: Rows) -> tuple[Any, Rows]:
        if is_of_sequences:
            ids = ids_of(branch.source, rows, branch.where.epoch)
            with noted(stage_note(number, "batch")):
                return with_entry(made, name, ids, f"stage {number} (batch): ids"), rows
        with_entry_ids = with_ids(made, name, rows.ids, number, batch.collate)
        return with_entry_ids, rows_told(rows, with_entry_ids, name)

    return identify


def originating(branch: Branch, name: str) -> Callable[[Any, Rows], tuple[Any, Rows]]:
    number, batch = branch.batching
    parts = branch.source if isinstance(branch.source, Parts) else None
    by = batch.collate if batch.ids is None or has_sequences(branch.source) else None

    def originate(made: Any, rows: Rows) -> tuple[Any, Rows]:
        found = frozenset() if by is None else row_counts(made)
        if found and len(rows.ids) not in found:
            with noted(stage_note(number, "batch")):
                msg = (
                    f"stage {number} (batch): {by} returned {rows_in_words(found)} for {len(rows.ids)} examples, so whose "
                    f"origins they have is not known; ask for ids too, fdm.batch(..., ids='id'), and return them beside "
                    f"the rows, or leave examples out in a transform after batch"
                )
                raise DataError(msg)
        numbers = torch.zeros_like(rows.ids) if parts is None else parts.numbers(rows)
        with noted(stage_note(number, "batch")):
            return with_entry(made, name, numbers, f"stage {number} (batch): origin"), rows

    return originate


def with_entry(made: Any, name: str, entry: Any, what: str) -> Any:
    """The batch with an entry more. Raises `DataError` for a batch that is no dict, or has such an entry."""
    if not isinstance(made, dict) or name in made:
        found = f"has an entry {name!r} already" if isinstance(made, dict) else f"is a {type(made).__name__}"
        msg = f"{what}={name!r} adds an entry to batches that are dicts without it; this one {found}"
        raise DataError(msg)
    return {**made, name: entry}


def with_ids(made: Any, name: str, ids: Tensor, number: int, collate: Function | None) -> Any:
    """The batch with the example ids as an entry more, or with those that its `collate` function returned."""
    returned = ids_returned(made, name, ids) if collate is not None else None
    if collate is not None and returned is not None:
        with noted(stage_note(number, "batch")):
            check_returned(made, name, returned, len(ids), f"stage {number} (batch): {collate.name}")
        return {**made, name: returned}
    with noted(stage_note(number, "batch")):
        identified = with_entry(made, name, ids.clone(), f"stage {number} (batch): ids")
    if collate is not None:
        with noted(stage_note(number, "batch")):
            check_collated(made, name, len(ids), f"stage {number} (batch): {collate.name}")
    return identified
