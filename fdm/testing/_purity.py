"""Walks: batches made operation by operation, each operation several times, to see which stage breaks a law."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeAlias

import attrs

from .._arrays.differences import copied, difference, nonfinite, structure
from .._batches.operations import Operation
from .._batches.reading import has_sequences, ragged_columns
from .._errors import stage_of
from .._plans.rows import Rows
from .._stages.stage import Augment
from ._draws import again_in, recorded_draws
from ._subject import Broken, Look, Trial, told, under


SOURCE = "sources give the same examples again"
TRANSFORM = "transforms give the same output again"
AUGMENT = "augments depend on their key alone"
DRAWS = "augments draw from their key"
ONCE = "augments draw once from a key"
INPUTS = "inputs are not changed"
MADE = "batches can be made"
FINITE = "batches are finite"
STRUCTURE = "batches have one structure"

Fault: TypeAlias = Callable[[Operation, Any, Rows], str | None]
Law: TypeAlias = tuple[str, Fault]


@attrs.frozen(eq=False)
class Walk:
    """What walks through the batches found: how laws are broken, and which splits can be walked through or fail."""

    trial: Trial
    broken: dict[tuple[str, int | None], Broken] = attrs.field(factory=dict)
    whole: set[str] = attrs.field(factory=set)
    failed: set[str] = attrs.field(factory=set)
    drawing: dict[int, str | None] = attrs.field(factory=dict)

    def blamed(self, operation: Operation) -> int:
        """The number of the stage that a operation belongs to; what reads from the sources, to the one that makes them."""
        return self.trial.source_stage if operation.number is None else operation.number

    def of(self, law: str) -> Broken | None:
        """The first stage that breaks a law, and how."""
        found = [broken for (name, _), broken in self.broken.items() if name == law]
        return min(found, key=lambda broken: -1 if broken.number is None else broken.number, default=None)

    def suspect(self) -> Broken | None:
        """The first stage that is impure: what differs elsewhere is its doing."""
        found = [broken for law in (SOURCE, TRANSFORM, AUGMENT, INPUTS) if (broken := self.of(law)) is not None]
        return min(found, key=lambda broken: broken.number or 0, default=None)


def walked(trial: Trial) -> Walk:
    """Walk through the batches of a trial that are looked at."""
    walk = Walk(trial)
    for split in trial.splits:
        kinds: list[dict[Operation, set[Any]]] = []
        for look in trial.looks(split):
            try:
                kinds.append(_walk_through(walk, look))
                walk.whole.add(split)
            except _StopError as stop:
                walk.failed.add(split)
                walk.whole.discard(split)
                walk.broken.setdefault((MADE, stop.broken.number), stop.broken)
                break
        _compare_structures(walk, split, kinds)
    for number, where in walk.drawing.items():
        if where is not None:
            text = f"{where}: it never draws from its key, and so is the same in every epoch; make it a transform"
            walk.broken[DRAWS, number] = Broken(number, text)
    return walk


class _StopError(Exception):
    """A operation cannot be made."""

    def __init__(self, broken: Broken) -> None:
        super().__init__(broken.text)
        self.broken = broken


def _walk_through(walk: Walk, look: Look) -> dict[Operation, set[Any]]:
    """Make one batch, and note each operation that breaks a law; returns the structures that each operation gave."""
    made: Any = None
    kinds: dict[Operation, set[Any]] = {}
    bad: Operation | None = None
    exact = not _is_ragged(walk.trial, look.split)
    for operation in look.operations:
        given = made
        try:
            made = run(operation, given, look.rows)
            for law in _laws_of(walk.trial, operation):
                _note(walk, look, operation, given, law)
            _note_drawing(walk, look, operation, given)
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises
            _stop(walk, look, operation, error)
        bad = (bad or operation) if nonfinite(made) else None
        kinds[operation] = _structures(made, batched=not operation.is_of_examples, exact=exact)
    if bad is not None:
        _note(walk, look, bad, look.before(bad, look.rows), (FINITE, _infinite))
    return kinds


def run(operation: Operation, given: Any, rows: Rows, seed: int = 1) -> Any:
    """What a operation makes of a copy of what it is given, with the global random state seeded by `seed`."""
    return under(seed, lambda: operation.call(copied(given), rows)[0])


def _laws_of(trial: Trial, operation: Operation) -> Iterator[Law]:
    """The laws that a operation has to keep, with what tells how it breaks them."""
    if operation.number is None:
        yield SOURCE, _redrawn
        return
    is_augment = isinstance(trial.pipeline.stages[operation.number], Augment)
    yield AUGMENT if is_augment else TRANSFORM, _unlike
    if is_augment:
        yield ONCE, _drawn_again
    yield INPUTS, _changed


def _unlike(operation: Operation, given: Any, rows: Rows) -> str | None:
    one, other = (run(operation, given, rows, seed) for seed in (1, 2))
    return difference(_alone(one), _alone(other))


def _redrawn(operation: Operation, given: Any, rows: Rows) -> str | None:
    how = _unlike(operation, given, rows)
    return how and f"{how}; if it draws from the global random state, write fdm.load(fn).ambient()"


def _changed(operation: Operation, given: Any, rows: Rows) -> str | None:
    used = copied(given)
    under(1, lambda: operation.call(used, rows)[0])
    how = difference(_alone(given), _alone(used))
    return how and f"of the input, {how} after the call"


def _drawn_again(operation: Operation, given: Any, rows: Rows) -> str | None:
    with recorded_draws() as draws:
        run(operation, given, rows)
    return again_in(draws)


def _infinite(operation: Operation, given: Any, rows: Rows) -> str | None:
    return nonfinite(_alone(run(operation, given, rows)))


def _alone(made: Any) -> Any:
    """The only one of a list of examples, so that its entries need no place in the list."""
    return made[0] if isinstance(made, list) and len(made) == 1 else made


def _note(walk: Walk, look: Look, operation: Operation, given: Any, law: Law) -> None:
    """Note how a operation breaks a law, if it does, for the smallest case: a single example where one will do."""
    number, (name, fault) = walk.blamed(operation), law
    if (name, number) in walk.broken:
        return
    text = fault(operation, given, look.rows)
    if text is None:
        return
    case = look.rows
    for rows in _singles(look.rows):
        try:
            alone = fault(operation, look.before(operation, rows), rows)
        except Exception:  # noqa: BLE001, S112 - a function of batches need not work for one example
            continue
        if alone is not None:
            case, text = rows, alone
            break
    walk.broken[name, number] = Broken(number, f"{look.of(case)}: {text}")


def _singles(rows: Rows) -> Iterator[Rows]:
    """Single rows, the smallest id first, but not too many."""
    for place in rows.ids.argsort(stable=True)[:_SINGLES]:
        yield rows.chosen(place.reshape(1))


class _UntouchableError(Exception):
    """A key was touched."""


class _Untouchable:
    """In place of a key: tells whether a function draws from it at all."""

    def __getattr__(self, name: str) -> NoReturn:
        raise _UntouchableError(name)


def _note_drawing(walk: Walk, look: Look, operation: Operation, given: Any) -> None:
    """Note an augment that works without a key: it draws from none."""
    branch = walk.trial.branches[look.split]
    applied = [*branch.on_examples, *branch.on_host, *branch.on_device]
    stage = next((each.stage for each in applied if each.number == operation.number), None)
    if operation.number is None or not isinstance(stage, Augment) or stage.ambient:
        return
    if walk.drawing.get(operation.number, "") is None:
        return
    call = stage.function.bound()
    for item in [copied(given)] if not operation.is_of_examples else copied(given):
        try:
            under(1, lambda item=item: call(item, _Untouchable()))  # type: ignore[misc]  # a lambda with a default is no type of its own
        except Exception:  # noqa: BLE001 - it wants a key, whatever it makes of this one
            walk.drawing[operation.number] = None
            return
    first = look.rows if not operation.is_of_examples else next(_singles(look.rows))
    walk.drawing.setdefault(operation.number, look.of(first))


def _stop(walk: Walk, look: Look, operation: Operation, error: Exception) -> NoReturn:
    number = stage_of(error)
    case, text = look.rows, told(error)
    for rows in _singles(look.rows):
        try:
            made = look.before(operation, rows)
            operation.call(made, rows)
        except Exception as again:  # noqa: BLE001 - as above
            if type(again) is type(error):
                case, text = rows, told(again)
                break
    raise _StopError(
        Broken(walk.blamed(operation) if number is None else number, f"{look.of(case)}: {text}")
    ) from error


def _is_ragged(trial: Trial, split: str) -> bool:
    """Whether rows may have different lengths, which padding makes the shape of a batch."""
    branch = trial.branches[split]
    own = branch.batch is not None and branch.batch[1].collate is not None
    return own or has_sequences(branch.source) or bool(ragged_columns(branch.source))


def _structures(made: Any, *, batched: bool, exact: bool) -> set[Any]:
    items = [made] if batched else made
    return {structure(item, batched=batched, exact=exact) for item in items}


def _compare_structures(walk: Walk, split: str, kinds: list[dict[Operation, set[Any]]]) -> None:
    """Note batches of different structure, and the first operation from which on they differ."""
    if not kinds or split in walk.failed:
        return
    stages = [list(of_look.values()) for of_look in kinds]
    united = [set[Any]().union(*of_operation) for of_operation in zip(*stages, strict=True)]
    if len(united[-1]) == 1:
        return
    place = max((at for at, of_operation in enumerate(united) if len(of_operation) == 1), default=-1) + 1
    number = walk.blamed(list(kinds[0])[place])
    one, other = (dict(each) for each in sorted(united[-1])[:2])
    text = f"split {split!r}: of two batches, {difference(one, other)}"
    walk.broken.setdefault((STRUCTURE, number), Broken(number, text))


_SINGLES = 64
