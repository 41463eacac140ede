"""Operations: what is done for a batch, one after the other, from example ids to what the loop gets."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import torch
from torch import Tensor

from .._errors import DataError, StageNote, note, noted, stage_note
from .._plans.branch import Applied, Branch, Parts, Where, sources_of
from .._plans.rows import Rows
from .._processes.torch_state import settled, single
from .._random.ambient import Ambient
from .._random.key import Key, chosen
from .._sources.loaded import is_drawn, kind_of
from .collate import collate
from .draws import Draws, is_ambient, text_of_draw, to_watch, watched, watched_first
from .entries import edged, identifying, originating
from .in_place import keeps_examples, text_of_change, watched_examples
from .reading import (
    Read,
    gatherer,
    has_sequences,
    numbered,
    of_parts,
    ragged_columns,
    source_reader,
    tell_batch,
)
from .rows import Told, check_keyed, rows_told, with_own_ids


def is_drawing(branch: Branch) -> bool:
    """Whether a stage or the source draws from the global random state by intent, which the threads of a process share."""
    drawn = any(map(is_drawn, sources_of(branch.source)))
    return drawn or any(map(is_ambient, branch.on_examples))


@attrs.frozen(eq=False)
class Operation:
    """One thing that is done for a batch: what there is, and its rows, from what there was before, and its rows.

    `number` is that of the stage to blame; what reads from the source has none. An operation `is_of_examples` whose
    result is a list of examples.
    """

    name: str
    call: Callable[[Any, Rows], tuple[Any, Rows]]
    number: int | None = None
    is_of_examples: bool = False
    is_on_device: bool = False


def on_host(branch: Branch) -> tuple[Operation, ...]:
    """What is done for a batch before the transfer, stage by stage."""
    number, batch = branch.batching
    if branch.is_whole:
        operations = [Operation("gather", _with_rows(gatherer(branch)))]
    else:
        operations = [*on_examples(branch), Operation(f"{number} batch: collate", collator(branch), number)]
    if batch.column is not None:
        operations.append(Operation(f"{number} batch: edge", partial(edged, batch.column), number))
    if batch.ids is not None:
        operations.append(Operation(f"{number} batch: ids", identifying(branch, batch.ids), number))
    if batch.origin is not None:
        operations.append(Operation(f"{number} batch: origin", originating(branch, batch.origin), number))
    return (*operations, *(_of_batches(applied, branch) for applied in branch.on_host))


def on_examples(branch: Branch) -> tuple[Operation, ...]:
    """What is done for the examples of a batch one by one, stage by stage, each for all of them."""
    name = f"read from {' and '.join(dict.fromkeys(map(kind_of, sources_of(branch.source))))}"
    reading = Operation(name, _with_rows(source_reader(branch)), is_of_examples=True)
    return (reading, *(_of_examples(applied, branch) for applied in branch.on_examples))


def after_transfer(branch: Branch, device: str) -> tuple[Operation, ...]:
    """What is done for a batch on the device, stage by stage."""
    return tuple(_of_batches(applied, branch, device) for applied in branch.on_device)


def in_turn(operations: Sequence[Operation]) -> Callable[[Any, Rows], tuple[Any, Rows]]:
    """All of these, one after the other."""
    calls = [operation.call for operation in operations]
    if len(calls) == 1:
        return calls[0]

    def run(made: Any, rows: Rows) -> tuple[Any, Rows]:
        for call in calls:
            made, rows = call(made, rows)
        return made, rows

    return run


def batch_maker(branch: Branch, draws: Draws, make_examples: Read | None = None) -> Callable[[Rows], Any]:
    """A function from rows to the batch on the host, of which the first of opened data is watched for `draws`.

    Examples are made by `make_examples`, by default one after the other through all stages, so that what they are in
    between is not held for the whole batch. Where nothing works on single examples, a batch is one gather per column, on
    as many threads as torch has.
    """
    operations = [operation for operation in on_host(branch) if not operation.is_of_examples]
    if branch.is_whole:
        begin, rest = operations[0].call, operations[1:]
    else:
        begin, rest = _with_rows(make_examples or example_maker(branch)), operations
    finish = in_turn(rest)
    if branch.on_host or not branch.is_whole:
        finish = single(finish)

    def gather(rows: Rows) -> Any:
        return begin(None, rows)[0]

    def gather_and_finish(rows: Rows) -> Any:
        return finish(*begin(None, rows))[0]

    make = settled(gather_and_finish if rest else gather)
    numbers = to_watch(branch)
    if not draws.are_open(numbers):
        return make
    every = single(in_turn(watching(on_host(branch), numbers, branch, draws)))

    def make_watched(rows: Rows) -> Any:
        return every(None, rows)[0]

    return watched_first(draws, numbers, settled(make_watched), make)


def watching(operations: Sequence[Operation], numbers: Sequence[int], branch: Branch, draws: Draws) -> list[Operation]:
    """The operations, those of the stages of these numbers watched for draws from the global random state.

    Where the source hands out examples that it keeps, those before the device are watched for changes of these too.
    """
    drawn = [
        attrs.evolve(each, call=watched(each.call, each.number, partial(text_of_draw, branch, each.number), draws))
        if each.number is not None and each.number in numbers
        else each
        for each in operations
    ]
    keeps = drawn and drawn[0].is_of_examples and any(map(keeps_examples, sources_of(branch.source)))
    return watched_examples(drawn, partial(text_of_change, branch), draws) if keeps else drawn


@attrs.frozen(eq=False)
class Applier:
    """A stage ready to be called on items of one epoch; errors of the user's function say where they happened."""

    applied: Applied
    where: Where
    repeats: bool
    call: Callable[..., Any]
    key: Key | None
    key_of_epoch: Key | None
    device: str = "cpu"
    ids: str | None = None
    parts: Parts | None = None
    streams: tuple[Key | None, ...] = ()

    def after(self, item: Any, rows: Rows) -> tuple[Any, Rows]:
        """The batch after the stage, and its rows, which the stage may have changed where the batch has ids."""
        if self.ids is None:
            return self._on_batch(item, rows), rows
        before = Told.by(item, self.ids)
        batch = self._on_batch(item, rows)
        try:
            return batch, before.after(batch, rows)
        except DataError as error:
            error.add_note(self.note(rows.ids))
            raise

    def _on_batch(self, item: Any, rows: Rows) -> Any:
        try:
            if self.key is None:
                batch = self.call(item)
            else:
                check_keyed(item, rows, self.ids)
                keys = self._keys(rows_told(rows, item, self.ids))
                batch = self.call(item, keys if self.device == "cpu" else keys.to(self.device, non_blocking=True))
        except BaseException as error:
            note(error, self.note(rows.ids))
            tell_batch(error, item, len(rows.ids))
            raise
        return batch if batch is not None else self.refuse_none(rows.ids)

    def keys_of_examples(self, rows: Rows) -> list[Key] | None:
        """The key of each example; None where the stage takes none."""
        return None if self.key is None else self._keys(rows).unbind()

    def _keys(self, rows: Rows) -> Key:
        """The key of each example: by epoch and id, and where examples repeat, by position; of a mixture those of its parts."""
        if self.parts is None:
            keys = self._by_epoch_and_id(rows, self.key)
            return keys.fold(rows.positions) if self.repeats else keys
        numbers, own = self.parts.own(rows)
        keys = self._by_epoch_and_id(own, self.streams[0])
        for stream in dict.fromkeys(self.streams[1:]):
            if stream != self.streams[0]:
                of_stream = torch.tensor([each == stream for each in self.streams])[numbers]
                keys = chosen(of_stream, self._by_epoch_and_id(own, stream), keys)
        repeats = torch.tensor([part.repeats for part in self.parts.branches])[numbers]
        return chosen(repeats, keys.fold(own.positions), keys) if bool(repeats.any()) else keys

    def _by_epoch_and_id(self, rows: Rows, stream: Key | None) -> Key:
        assert stream is not None, "asked for by those that have one"
        assert self.key_of_epoch is not None
        return (self.key_of_epoch if rows.passes is None else stream.fold(rows.passes)).fold(rows.ids)

    def note(self, ids: Tensor) -> StageNote:
        """The note on an error: stage, place and examples."""
        number, stage = self.applied.number, self.applied.stage
        by = f"{stage.kind} {stage.function!r}, defined at {stage.function.location}"
        return stage_note(number, by, f"{self.where}, {numbered(ids)}")

    def refuse_none(self, ids: Tensor) -> Any:
        """Raise for a function that returned nothing."""
        name = self.applied.stage.function.name
        error = DataError(f"{name} returned None in place of the item; end it with a return")
        error.add_note(self.note(ids))
        raise error


def applier(applied: Applied, branch: Branch, device: str = "cpu") -> Applier:
    """A stage ready to be called in the branch's epoch, with keys that draw on `device`."""
    stage = applied.stage
    call: Callable[..., Any] = stage.function.bound()
    if is_ambient(applied):
        call = Ambient(call)
    ids = branch.batch[1].ids if branch.batch is not None else None
    parts = branch.source if isinstance(branch.source, Parts) else None
    of_epoch = None if applied.key is None else applied.key.fold(branch.where.epoch)
    streams = () if parts is None else tuple(_stream(applied.number, part) for part in parts.branches)
    return Applier(applied, branch.where, branch.repeats, call, applied.key, of_epoch, device, ids, parts, streams)


def _stream(number: int, part: Branch) -> Key | None:
    """The key of the random stream that the stage of this number has for a part of a mixture."""
    every = (*part.on_examples, *part.on_host, *part.on_device)
    return next((applied.key for applied in every if applied.number == number), None)


def _of_batches(applied: Applied, branch: Branch, device: str | None = None) -> Operation:
    """A stage on whole batches; on a device, in the state of torch in which those on the host are made."""
    stage = applier(applied, branch, device or "cpu")
    if device is not None:
        stage = attrs.evolve(stage, call=settled(single(stage.call), device))
    return Operation(_label(applied), stage.after, applied.number, is_on_device=device is not None)


def _of_examples(applied: Applied, branch: Branch) -> Operation:
    through = _through_stage(applied.number, branch)

    def each(examples: Any, rows: Rows) -> tuple[list[Any], Rows]:
        return through(examples, rows), rows

    return Operation(f"{_label(applied)}, {EACH}", each, applied.number, is_of_examples=True)


def _through_stage(number: int, branch: Branch) -> Callable[[Sequence[Any], Rows], list[Any]]:
    """A function that takes examples through the stage of this number: of a mixture those of the parts that it holds for."""
    if not isinstance(branch.source, Parts):
        stages = [applier(applied, branch) for applied in branch.on_examples if applied.number == number]
        return lambda examples, rows: _through_all(examples, stages, rows) if stages else list(examples)
    parts = branch.source
    of_part = [_through_stage(number, part) for part in parts.branches]

    def each(examples: Sequence[Any], rows: Rows) -> list[Any]:
        made = list(examples)
        for part, places, own_rows in parts.apart(rows):
            through = of_part[part]([examples[place] for place in places.tolist()], own_rows)
            for place, example in zip(places.tolist(), through, strict=True):
                made[place] = example
        return made

    return each


def _label(applied: Applied) -> str:
    return f"{applied.number} {applied.stage.kind} {applied.stage.function.name}"


def example_maker(branch: Branch) -> Read:
    """A function from rows to the list of transformed examples, each through all the stages before the next."""
    if isinstance(branch.source, Parts):
        return of_parts(branch.source, [example_maker(part) for part in branch.source.branches])
    read = source_reader(branch)
    stages = [applier(applied, branch) for applied in branch.on_examples]

    def make(rows: Rows) -> list[Any]:
        return _through_all(read(rows), stages, rows) if stages else read(rows)

    return single(settled(make))


def _through_all(examples: Sequence[Any], stages: Sequence[Applier], rows: Rows) -> list[Any]:
    keys = [stage.keys_of_examples(rows) for stage in stages]
    return [_through(example, stages, keys, rows.ids, at) for at, example in enumerate(examples)]


def _through(example: Any, stages: Sequence[Applier], keys: Sequence[list[Key] | None], ids: Tensor, at: int) -> Any:
    """An example, the one `at` this place in its batch, after all the stages on single examples."""
    for stage, of_stage in zip(stages, keys, strict=True):
        try:
            example = stage.call(example) if of_stage is None else stage.call(example, of_stage[at])
        except BaseException as error:
            note(error, stage.note(ids[at : at + 1]))
            raise
        if example is None:
            stage.refuse_none(ids[at : at + 1])
    return example


def _with_rows(make: Callable[[Rows], Any]) -> Callable[[Any, Rows], tuple[Any, Rows]]:
    return lambda _, rows: (make(rows), rows)


def collator(branch: Branch) -> Callable[[list[Any], Rows], tuple[Any, Rows]]:
    """A function from a list of examples and their rows to the batch and its rows."""
    number, batch = branch.batching
    function, ragged = batch.collate, ragged_columns(branch.source)
    is_of_sequences = has_sequences(branch.source)
    by = f" by {function!r}, defined at {function.location}" if function is not None else ""

    def where(rows: Rows) -> StageNote:
        return stage_note(number, f"batch, putting examples together{by}", f"{branch.where}, {numbered(rows.ids)}")

    def put_together(examples: list[Any], rows: Rows) -> tuple[Any, Rows]:
        if function is not None and batch.ids is not None and not is_of_sequences:
            examples = with_own_ids(examples, batch.ids, rows.ids)
        try:
            made = function.call(examples) if function is not None else collate(examples, ragged)
        except BaseException as error:
            note(error, where(rows))
            raise
        if made is None:
            with noted(where(rows)):
                msg = f"stage {number} (batch): the collate function returned None; end it with a return"
                raise DataError(msg)
        return made, rows

    return put_together


EACH = "each example"  # how the name of an operation ends whose function is called for each example
