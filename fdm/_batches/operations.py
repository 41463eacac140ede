"""Assembly: what makes the batches of a split on the host, from example ids to the batch stages."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import attrs
from torch import Tensor

from .._arrays.ragged import Ragged
from .._arrays.table import Table
from .._errors import DataError, StageNote, note, noted, stage_note
from .._plans.plan import Rows
from .._plans.source import examples
from .._processes.torch_state import settled, single
from .._random.ambient import Ambient
from .._random.key import Key
from .._sources.loaded import Loaded, is_drawn, kind_of, own
from .._stages.function import Function
from .._stages.stage import Augment, Batch, Change
from .collate import collate
from .readahead import ahead
from .rows import Told, check_collated, check_keyed, check_returned, ids_returned, rows_told, with_own_ids


@attrs.frozen(eq=False)
class Place:
    """Where in a run a batch belongs, and which stage made what it is read from, for the notes on errors."""

    split: str
    epoch: int
    rank: int = 0
    world_size: int = 1
    made_by: tuple[int, str] = (0, "the source")

    def __str__(self) -> str:
        ranks = f", rank {self.rank} of {self.world_size}" if self.world_size > 1 else ""
        return f"split {self.split!r}, epoch {self.epoch}{ranks}"


@attrs.frozen(eq=False)
class Applied:
    """A stage that changes items, with its number, and the key of its random stream where it has one."""

    number: int
    stage: Change
    key: Key | None


@attrs.frozen(eq=False)
class Assembly:
    """What makes the batches of a split on the host: the source, and the stages that apply.

    `repeats` tells that an epoch may have an example more than once, so that its position decides its keys too.
    """

    source: Any
    on_examples: tuple[Applied, ...]
    batch: tuple[int, Batch] | None
    on_batches: tuple[Applied, ...]
    place: Place
    repeats: bool

    @property
    def is_whole(self) -> bool:
        """Whether a batch is one gather per column, with no Python per example."""
        assert self.batch is not None, "a loader is only made where a batch stage holds"
        return isinstance(self.source, Table) and not self.on_examples and self.batch[1].collate is None

    @property
    def is_ambient(self) -> bool:
        """Whether a stage or the source draws from the global random state, which the threads of a process share."""
        return is_drawn(self.source) or any(
            isinstance(applied.stage, Augment) and applied.stage.ambient for applied in self.on_examples
        )

    def at(self, epoch: int) -> "Assembly":
        """The same for another epoch."""
        return attrs.evolve(self, place=attrs.evolve(self.place, epoch=epoch))


Read: TypeAlias = Callable[[Rows], list[Any]]


def example_maker(assembly: Assembly) -> Read:
    """A function from rows to the list of transformed examples."""
    read = source_reader(assembly)
    stages = [applier(applied, assembly) for applied in assembly.on_examples]

    def make(rows: Rows) -> list[Any]:
        found = read(rows)
        if not stages:
            return found
        ids = rows.ids.tolist()
        keys = [stage.keys_of_examples(rows) for stage in stages]
        return [through(example, stages, keys, ids, at) for at, example in enumerate(found)]

    return single(settled(make))


def batch_maker(assembly: Assembly, make_examples: Read | None = None) -> Callable[[Rows], Any]:
    """A function from rows to the batch on the host.

    Where the source is a table and no stage or collate function works on single examples, that is one gather per
    column and the batch stages. Else the examples are made by `make_examples`, by default one after the other.
    """
    assert assembly.batch is not None, "a loader is only made where a batch stage holds"
    number, batch = assembly.batch
    stages = [applier(applied, assembly) for applied in assembly.on_batches]
    name_ids = batch.ids
    if assembly.is_whole:
        gather = _gather(assembly)
    else:
        gather = single(_collated(assembly, make_examples or example_maker(assembly)))
    if assembly.is_whole and name_ids is None and not stages:
        return settled(gather)

    def through_stages(made: Any, rows: Rows) -> Any:
        for stage in stages:
            made, rows = stage.after(made, rows)
        return made

    finish = single(through_stages) if stages else through_stages

    def make(rows: Rows) -> Any:
        made = gather(rows)
        if name_ids is not None:
            made = with_ids(made, name_ids, rows.ids, number, batch.collate)
            rows = rows_told(rows, made, name_ids)
        return finish(made, rows)

    return settled(make)


@attrs.frozen(eq=False)
class Applier:
    """A stage ready to be called on items of one epoch; errors of the user's function say where they happened."""

    applied: Applied
    place: Place
    repeats: bool
    call: Callable[..., Any]
    key: Key | None
    device: str = "cpu"
    ids: str | None = None

    def after(self, item: Any, rows: Rows) -> tuple[Any, Rows]:
        """The batch after the stage, and its rows, which the stage may have changed where the batch has ids."""
        if self.ids is None:
            return self.on_batch(item, rows), rows
        before = Told.by(item, self.ids)
        made = self.on_batch(item, rows)
        try:
            return made, before.after(made, rows)
        except DataError as error:
            error.add_note(self.where(_shown(rows.ids.tolist())))
            raise

    def on_batch(self, item: Any, rows: Rows) -> Any:
        """The batch after the stage."""
        try:
            if self.key is None:
                made = self.call(item)
            else:
                check_keyed(item, rows, self.ids)
                keys = self._keys(self.key, rows_told(rows, item, self.ids))
                made = self.call(item, keys if self.device == "cpu" else keys.to(self.device, non_blocking=True))
        except Exception as error:
            note(error, self.where(_shown(rows.ids.tolist())))
            raise
        return made if made is not None else self.refuse_none(_shown(rows.ids.tolist()))

    def keys_of_examples(self, rows: Rows) -> list[Key] | None:
        """The key of each example; None where the stage takes none."""
        return None if self.key is None else self._keys(self.key, rows).unbind()

    def _keys(self, key: Key, rows: Rows) -> Key:
        keys = key.fold(rows.ids)
        return keys.fold(rows.positions) if self.repeats else keys

    def where(self, ids: str) -> StageNote:
        """The note on an error: stage, place and examples."""
        stage = self.applied.stage
        return where(self.applied.number, stage.kind, stage.function, f"{self.place}, {ids}")

    def refuse_none(self, ids: str) -> Any:
        """Raise for a function that returned nothing."""
        error = DataError(
            f"{self.applied.stage.function.name} returned None in place of the item; end it with a return"
        )
        error.add_note(self.where(ids))
        raise error


def applier(applied: Applied, assembly: Assembly, device: str = "cpu") -> Applier:
    """A stage ready to be called in the assembly's epoch, with keys that draw on `device`."""
    stage = applied.stage
    call: Callable[..., Any] = stage.function.bound()
    if isinstance(stage, Augment) and stage.ambient:
        call = Ambient(call)
    key = None if applied.key is None else applied.key.fold(assembly.place.epoch)
    ids = assembly.batch[1].ids if assembly.batch is not None else None
    return Applier(applied, assembly.place, assembly.repeats, call, key, device, ids)


def where(number: int, kind: str, function: Function, place: str) -> StageNote:
    """The note on an error inside a user's function."""
    return stage_note(number, f"{kind} {function!r}, defined at {function.location}", place)


def through(
    example: Any, stages: Sequence[Applier], keys: Sequence[list[Key] | None], ids: Sequence[int], at: int
) -> Any:
    """An example, the one `at` this place in its batch, after all the stages on single examples."""
    for stage, of_stage in zip(stages, keys, strict=True):
        try:
            example = stage.call(example) if of_stage is None else stage.call(example, of_stage[at])
        except Exception as error:
            note(error, stage.where(_shown([ids[at]])))
            raise
        if example is None:
            stage.refuse_none(_shown([ids[at]]))
    return example


def _gather(assembly: Assembly) -> Callable[[Rows], Any]:
    gather = ahead(assembly.source, assembly.source.gather)
    return lambda rows: gather(rows.ids)


def _collated(assembly: Assembly, make_examples: Read) -> Callable[[Rows], Any]:
    put_together = collator(assembly)
    return lambda rows: put_together(make_examples(rows), rows)


def collator(assembly: Assembly) -> Callable[[list[Any], Rows], Any]:
    """A function from a list of examples and their rows to the batch."""
    assert assembly.batch is not None, "a loader is only made where a batch stage holds"
    number, batch = assembly.batch
    source, function = assembly.source, batch.collate
    columns = source.items() if isinstance(source, Table) else ()
    ragged = {name: column for name, column in columns if isinstance(column, Ragged)}

    def put_together(found: list[Any], rows: Rows) -> Any:
        if function is not None and batch.ids is not None:
            found = with_own_ids(found, batch.ids, rows.ids)
        try:
            made = function.call(found) if function is not None else collate(found, ragged)
        except Exception as error:
            note(error, _where_collated(number, function, assembly.place, rows))
            raise
        if made is None:
            with noted(_where_collated(number, function, assembly.place, rows)):
                msg = f"stage {number} (batch): the collate function returned None; end it with a return"
                raise DataError(msg)
        return made

    return put_together


def _where_collated(number: int, own: Function | None, place: Place, rows: Rows) -> StageNote:
    by = f" by {own!r}, defined at {own.location}" if own is not None else ""
    return stage_note(number, f"batch, putting examples together{by}", f"{place}, {_shown(rows.ids.tolist())}")


def source_reader(assembly: Assembly) -> Read:
    """A function from rows to the list of examples as the source has them."""
    source, place = assembly.source, assembly.place
    if isinstance(source, Loaded) and source.key is not None:
        return partial(_drawn, source, source.key.fold(place.epoch), assembly.repeats, place)
    read = ahead(source, partial(_fetched, source, place=place))
    return lambda rows: read(rows.ids)


def _fetched(source: Any, ids: Tensor, place: Place) -> list[Any]:
    try:
        return examples(own(source), ids)
    except Exception as error:
        note(error, _where_read(source, place, ids))
        raise


def _drawn(source: Loaded, key: Key, repeats: bool, place: Place, rows: Rows) -> list[Any]:
    keys = key.fold(rows.ids)
    keys = keys.fold(rows.positions) if repeats else keys
    try:
        return source.drawn(rows.ids.tolist(), keys.unbind())
    except Exception as error:
        note(error, _where_read(source, place, rows.ids))
        raise


def _where_read(source: Any, place: Place, ids: Tensor) -> StageNote:
    number, made_by = place.made_by
    reading = f"{made_by}, reading from the source, a {kind_of(source)}"
    return stage_note(number, reading, f"{place}, {_shown(ids.tolist())}")


def with_ids(made: Any, name: str, ids: Tensor, number: int, collate: Function | None) -> Any:
    """The batch with the example ids as an entry more, or with those that its `collate` function returned."""
    returned = ids_returned(made, name, ids) if collate is not None else None
    if collate is not None and returned is not None:
        with noted(stage_note(number, "batch")):
            check_returned(made, name, returned, len(ids), f"stage {number} (batch): {collate.name}")
        return {**made, name: returned}
    if not isinstance(made, dict) or name in made:
        found = f"has an entry {name!r} already" if isinstance(made, dict) else f"is a {type(made).__name__}"
        msg = (
            f"stage {number} (batch): ids={name!r} adds an entry to batches that are dicts without it; this one {found}"
        )
        with noted(stage_note(number, "batch")):
            raise DataError(msg)
    if collate is not None:
        with noted(stage_note(number, "batch")):
            check_collated(made, name, len(ids), f"stage {number} (batch): {collate.name}")
    return {**made, name: ids.clone()}


def _shown(ids: Sequence[int]) -> str:
    more = f", ... ({len(ids)} in all)" if len(ids) > 8 else ""
    return f"example{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids[:8]))}{more}"
