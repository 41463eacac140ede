"""Reading: examples, and whole batches, from the source of a branch, as the source has them."""

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .._arrays.differences import structure
from .._arrays.interleaved import interleaved
from .._arrays.ragged import Ragged
from .._arrays.table import Table
from .._errors import StageNote, add_note, note, stage_note
from .._plans.branch import Branch, Parts, Where, sources_of
from .._plans.rows import Rows
from .._plans.sequences import Sequences, columns_of
from .._random.key import Key
from .._sources.loaded import Loaded, kind_of, own
from .._splits.source import examples
from .given import batch_of
from .readahead import ahead


Read: TypeAlias = Callable[[Rows], list[Any]]


def gatherer(branch: Branch) -> Callable[[Rows], Any]:
    """A function from rows to their batch, by one gather per column, and per part of a mixture; or as the source gives it."""
    source = branch.source
    if isinstance(source, Parts):
        tables = [part.source for part in source.branches]
        if isinstance(tables[0], Table) and all(
            table is tables[0] for table in tables
        ):  # parts that a split made of one
            gather_all = ahead(tables[0], tables[0].gather)
            return lambda rows: gather_all(source.own_ids(rows))
        gathers = [gatherer(part) for part in source.branches]
        return lambda rows: _together(source, gathers, rows)
    if isinstance(source, Sequences):
        return partial(_gathered_sequences, source, branch.where)
    if not isinstance(source, Table):
        return partial(_given, source, branch.where)
    gather = ahead(source, source.gather)
    return lambda rows: gather(rows.ids)


def source_reader(branch: Branch) -> Read:
    """A function from rows to the list of examples as the source has them."""
    source, where = branch.source, branch.where
    if isinstance(source, Parts):
        return of_parts(source, [source_reader(part) for part in source.branches])
    if isinstance(source, Sequences):
        return partial(_read_sequences, source, where)
    if isinstance(source, Loaded) and source.key is not None:
        return partial(_drawn, source, source.key, branch.repeats, where)
    read = ahead(source, partial(_read, source, where=where))
    return lambda rows: read(rows.ids)


def of_parts(parts: Parts, reads: list[Read]) -> Read:
    """A function from the rows of a mixture to their examples, each as its part's function reads it."""

    def read(rows: Rows) -> list[Any]:
        made: list[Any] = [None] * len(rows.ids)
        for number, places, own_rows in parts.apart(rows):
            for place, example in zip(places.tolist(), reads[number](own_rows), strict=True):
                made[place] = example
        return made

    return read


def ids_of(source: Any, rows: Rows, epoch: int) -> Tensor | Ragged:
    """The example ids of rows, as users have them: of sequences those of their examples, ragged."""
    if isinstance(source, Sequences):
        batches = [{"": source.ids(numbers, passed)} for passed, numbers, _ in _by_pass(rows, epoch)]
        ids: Ragged = interleaved(batches, [places for _, _, places in _by_pass(rows, epoch)])[""]
        return ids
    if isinstance(source, Parts) and any(isinstance(part.source, Sequences) for part in source.branches):
        batches, places = [], []
        for number, here, own_rows in source.apart(rows):
            found = ids_of(source.branches[number].source, own_rows, epoch)
            ragged = found if isinstance(found, Ragged) else Ragged(found, torch.arange(len(found) + 1))
            first = int(source.offsets[number])
            batches.append({"": Ragged(ragged.values + first, ragged.offsets)})
            places.append(here)
        joined: Ragged = interleaved(batches, places)[""]
        return joined
    return rows.ids


def _together(parts: Parts, gathers: list[Callable[[Rows], dict[str, Any]]], rows: Rows) -> dict[str, Any]:
    apart = parts.apart(rows)
    batches = [gathers[number](own_rows) for number, _, own_rows in apart]
    return interleaved(batches, [places for _, places, _ in apart])


def _by_pass(rows: Rows, epoch: int) -> list[tuple[int, Tensor, Tensor]]:
    """The epochs that rows are of, each with the ids of its rows and their places among all."""
    if rows.passes is None:
        return [(epoch, rows.ids, torch.arange(len(rows.ids), device="cpu"))]
    passes = rows.passes
    places = [(each, (passes == each).nonzero().flatten()) for each in sorted(set(passes.tolist()))]
    return [(each, rows.ids[here], here) for each, here in places]


def _gathered_sequences(source: Sequences, where: Where, rows: Rows) -> dict[str, Any]:
    apart = _by_pass(rows, where.epoch)
    batches = [source.gather(numbers, epoch) for epoch, numbers, _ in apart]
    return interleaved(batches, [places for _, _, places in apart])


def _read_sequences(source: Sequences, where: Where, rows: Rows) -> list[Any]:
    made: list[Any] = [None] * len(rows.ids)
    for epoch, numbers, places in _by_pass(rows, where.epoch):
        for place, example in zip(places.tolist(), source.examples(numbers, epoch), strict=True):
            made[place] = example
    return made


def _read(source: Any, ids: Tensor, where: Where) -> list[Any]:
    try:
        return examples(own(source), ids)
    except BaseException as error:
        note(error, _note_of_reading(source, where, ids))
        raise


def _given(source: Any, where: Where, rows: Rows) -> Any:
    try:
        return batch_of(own(source), rows.ids)
    except Exception as error:
        note(error, _note_of_reading(source, where, rows.ids))
        raise


def _drawn(source: Loaded, key: Key, repeats: bool, where: Where, rows: Rows) -> list[Any]:
    keys = (key.fold(where.epoch) if rows.passes is None else key.fold(rows.passes)).fold(rows.ids)
    keys = keys.fold(rows.positions) if repeats else keys
    try:
        return source.drawn(rows.ids.tolist(), keys.unbind())
    except BaseException as error:
        note(error, _note_of_reading(source, where, rows.ids))
        raise


def _note_of_reading(source: Any, where: Where, ids: Tensor) -> StageNote:
    number, made_by = where.made_by
    return stage_note(number, f"{made_by}, reading from the source, a {kind_of(source)}", f"{where}, {numbered(ids)}")


def has_sequences(source: Any) -> bool:
    """Whether examples of a source, or of a part of it, are sequences."""
    return any(isinstance(each, Sequences) for each in sources_of(source))


def ragged_columns(source: Any) -> dict[str, Ragged]:
    """The columns whose rows become `Ragged` when examples of a source are put together."""
    sources = [each for each in sources_of(source) if isinstance(each, Table | Sequences)]
    columns = chain.from_iterable(columns_of(each).items() for each in reversed(sources))  # those of the first count
    return {name: column for name, column in columns if isinstance(column, Ragged)}


def tell_batch(error: BaseException, batch: Any, count: int) -> None:
    """Note on an error what a function that stands after batch was called with: it may have been written for one example."""
    if isinstance(error, TypeError | AttributeError | LookupError | ValueError | RuntimeError | AssertionError):
        parts = structure(batch, batched=False, exact=True)[:6]
        told = ", ".join(f"{at or 'it'}: {kind}" for at, kind in parts)
        add_note(
            error,
            f"its item was a batch of {count} example{'s' * (count != 1)} ({told}), since the stage stands after batch; before "
            f"batch it gets one example at a time",
        )


def numbered(numbers: Tensor) -> str:
    """Which examples these are, in words."""
    ids = numbers.tolist()
    more = f", ... ({len(ids)} in all)" if len(ids) > 8 else ""
    return f"example{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids[:8]))}{more}"
