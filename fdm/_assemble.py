"""Assembly: from example ids to a batch: gather, per-example stages, collate, batch stages."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
import torch
from torch import Tensor
from torch.utils.data import default_collate

from ._errors import DataError
from ._function import Function
from ._ragged import Ragged
from ._source import examples
from ._stage import Batch
from ._table import Table


Numbered: TypeAlias = tuple[int, Function]


@attrs.frozen(eq=False)
class Place:
    """Where in a run a batch belongs, for the notes on errors."""

    split: str
    epoch: int
    rank: int = 0
    world_size: int = 1

    def __str__(self) -> str:
        ranks = f", rank {self.rank} of {self.world_size}" if self.world_size > 1 else ""
        return f"split {self.split!r}, epoch {self.epoch}{ranks}"


@attrs.frozen(eq=False)
class Assembly:
    """What makes the batches of a split on the host: the source, and the functions that apply, with stage numbers."""

    source: Any
    on_examples: tuple[Numbered, ...]
    batch: tuple[int, Batch] | None
    on_batches: tuple[Numbered, ...]
    place: Place


def example_maker(assembly: Assembly) -> Callable[[Tensor], list[Any]]:
    """A function from example ids to the list of transformed examples."""
    source = assembly.source
    apply = applied(assembly.on_examples, assembly.place)

    def make(ids: Tensor) -> list[Any]:
        found = _fetched(source, ids, assembly.place)
        if apply is None:
            return found
        return [apply(example, (index,)) for example, index in zip(found, ids.tolist(), strict=True)]

    return make


def batch_maker(assembly: Assembly) -> Callable[[Tensor], Any]:
    """A function from example ids to the batch on the host.

    Where the source is a table and no stage or collate function works on single examples, that is one gather per
    column and the batch stages; there is no Python per example.
    """
    assert assembly.batch is not None, "a loader is only made where a batch stage holds"
    number, batch = assembly.batch
    source = assembly.source
    whole = isinstance(source, Table) and not assembly.on_examples and batch.collate is None
    gather = source.gather if whole else _collated(assembly, number, batch)
    name_ids = batch.ids
    apply = applied(assembly.on_batches, assembly.place)
    if name_ids is None and apply is None:
        return gather

    def make(ids: Tensor) -> Any:
        made = gather(ids)
        if name_ids is not None:
            made = _with_ids(made, name_ids, ids, number)
        return made if apply is None else apply(made, ids)

    return make


def applied(functions: Sequence[Numbered], place: Place) -> Callable[[Any, Any], Any] | None:
    """One function `(item, ids) -> item` for several stages in a row; None if there are none.

    Errors of the user's functions carry a note that names stage, place and examples.
    """
    if not functions:
        return None
    calls = [(number, function, function.bound()) for number, function in functions]

    def apply(item: Any, ids: Any) -> Any:
        for number, function, call in calls:
            try:
                item = call(item)
            except Exception as error:
                error.add_note(where(number, "transform", function, f"{place}, {_shown(ids)}"))
                raise
            if item is None:
                msg = f"{function.name} returned None in place of the item; end it with a return"
                raise _noted(DataError(msg), where(number, "transform", function, f"{place}, {_shown(ids)}"))
        return item

    return apply


def where(number: int, kind: str, function: Function, place: str) -> str:
    """The note on an error inside a user's function."""
    return f"in stage {number}, {kind} {function!r}, defined at {function.location}; {place}"


def _collated(assembly: Assembly, number: int, batch: Batch) -> Callable[[Tensor], Any]:
    make = example_maker(assembly)
    source = assembly.source
    ragged = (
        {name for name, column in source.items() if isinstance(column, Ragged)} if isinstance(source, Table) else set()
    )

    def gather(ids: Tensor) -> Any:
        found = make(ids)
        try:
            made = batch.collate.call(found) if batch.collate is not None else collate(found, ragged)
        except Exception as error:
            by = f" by {batch.collate!r}, defined at {batch.collate.location}" if batch.collate is not None else ""
            error.add_note(f"in stage {number}, batch, putting examples together{by}; {assembly.place}, {_shown(ids)}")
            raise
        if made is None:
            msg = f"stage {number} (batch): the collate function returned None; end it with a return"
            raise DataError(msg)
        return made

    return gather


def collate(found: Sequence[Any], ragged: set[str]) -> Any:
    """A batch of examples as torch collates them, but for entries named in `ragged`, which become `Ragged`."""
    first = found[0]
    names = ragged & first.keys() if isinstance(first, dict) else set()
    if not names:
        return default_collate(list(found))
    rows = {name: Ragged.of([example[name] for example in found]) for name in names}
    rest = [{name: value for name, value in example.items() if name not in names} for example in found]
    others = default_collate(rest) if rest[0] else {}
    return {name: rows[name] if name in rows else others[name] for name in first}


def _fetched(source: Any, ids: Tensor, place: Place) -> list[Any]:
    try:
        return examples(source, ids)
    except Exception as error:
        error.add_note(f"reading from the source, a {type(source).__name__}; {place}, {_shown(ids)}")
        raise


def _with_ids(made: Any, name: str, ids: Tensor, number: int) -> Any:
    if not isinstance(made, dict) or name in made:
        found = f"has an entry {name!r} already" if isinstance(made, dict) else f"is a {type(made).__name__}"
        msg = (
            f"stage {number} (batch): ids={name!r} adds an entry to batches that are dicts without it; this one {found}"
        )
        raise DataError(msg)
    return {**made, name: ids.clone()}


def _shown(ids: Any) -> str:
    listed = ids.tolist() if isinstance(ids, torch.Tensor) else list(ids)
    more = f", ... ({len(listed)} in all)" if len(listed) > 8 else ""
    return f"example{'s' if len(listed) > 1 else ''} {', '.join(map(str, listed[:8]))}{more}"


def _noted(error: DataError, note: str) -> DataError:
    error.add_note(note)
    return error
