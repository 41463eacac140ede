"""Walks: batches made piece by piece, each piece several times, to see which stage breaks a law."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeAlias

import attrs

from .._arrays.differences import copied, difference, nonfinite, structure
from .._arrays.ragged import Ragged
from .._arrays.table import Table
from .._errors import stage_of
from .._loaders.profile import Piece
from .._plans.plan import Rows
from .._stages.stage import Augment
from ._subject import Broken, Look, Trial, told, under


SOURCE = "sources give the same examples again"
TRANSFORM = "transforms give the same output again"
AUGMENT = "augments depend on their key alone"
DRAWS = "augments draw from their key"
INPUTS = "inputs are not changed"
MADE = "batches can be made"
FINITE = "batches are finite"
STRUCTURE = "batches have one structure"

Fault: TypeAlias = Callable[[Piece, Any, Rows], str | None]
Law: TypeAlias = tuple[str, Fault]


@attrs.frozen(eq=False)
class Walk:
    """What walks through the batches found: how laws are broken, and which splits can be walked through or fail."""

    trial: Trial
    broken: dict[tuple[str, int | None], Broken] = attrs.field(factory=dict)
    whole: set[str] = attrs.field(factory=set)
    failed: set[str] = attrs.field(factory=set)
    drawing: dict[int, str | None] = attrs.field(factory=dict)

    def blamed(self, piece: Piece) -> int:
        """The number of the stage that a piece belongs to; what reads from the sources, to the one that makes them."""
        return self.trial.source_stage if piece.number is None else piece.number

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
        kinds: list[dict[Piece, set[Any]]] = []
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
    """A piece cannot be made."""

    def __init__(self, broken: Broken) -> None:
        super().__init__(broken.text)
        self.broken = broken


def _walk_through(walk: Walk, look: Look) -> dict[Piece, set[Any]]:
    """Make one batch, and note each piece that breaks a law; returns the structures that each piece gave."""
    made: Any = None
    kinds: dict[Piece, set[Any]] = {}
    bad: Piece | None = None
    exact = not _is_ragged(walk.trial, look.split)
    for piece in look.pieces:
        given = made
        try:
            made = run(piece, given, look.rows)
            for law in _laws_of(walk.trial, piece):
                _note(walk, look, piece, given, law)
            _note_drawing(walk, look, piece, given)
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises
            _stop(walk, look, piece, error)
        bad = (bad or piece) if nonfinite(made) else None
        kinds[piece] = _structures(made, batched=look.is_batched(piece), exact=exact)
    if bad is not None:
        _note(walk, look, bad, look.up_to(bad, look.rows), (FINITE, _infinite))
    return kinds


def run(piece: Piece, given: Any, rows: Rows, seed: int = 1) -> Any:
    """What a piece makes of a copy of what it is given, with the global random state seeded by `seed`."""
    return under(seed, lambda: piece.call(copied(given), rows))


def _laws_of(trial: Trial, piece: Piece) -> Iterator[Law]:
    """The laws that a piece has to keep, with what tells how it breaks them."""
    if piece.number is None:
        yield SOURCE, _redrawn
        return
    is_augment = isinstance(trial.pipeline.stages[piece.number], Augment)
    yield AUGMENT if is_augment else TRANSFORM, _unlike
    yield INPUTS, _changed


def _unlike(piece: Piece, given: Any, rows: Rows) -> str | None:
    one, other = (run(piece, given, rows, seed) for seed in (1, 2))
    return difference(_alone(one), _alone(other))


def _redrawn(piece: Piece, given: Any, rows: Rows) -> str | None:
    how = _unlike(piece, given, rows)
    return how and f"{how}; if it draws from the global random state, write fdm.load(fn).ambient()"


def _changed(piece: Piece, given: Any, rows: Rows) -> str | None:
    used = copied(given)
    under(1, lambda: piece.call(used, rows))
    how = difference(_alone(given), _alone(used))
    return how and f"of the input, {how} after the call"


def _infinite(piece: Piece, given: Any, rows: Rows) -> str | None:
    return nonfinite(_alone(run(piece, given, rows)))


def _alone(made: Any) -> Any:
    """The only one of a list of examples, so that its entries need no place in the list."""
    return made[0] if isinstance(made, list) and len(made) == 1 else made


def _note(walk: Walk, look: Look, piece: Piece, given: Any, law: Law) -> None:
    """Note how a piece breaks a law, if it does, for the smallest case: a single example where one will do."""
    number, (name, fault) = walk.blamed(piece), law
    if (name, number) in walk.broken:
        return
    text = fault(piece, given, look.rows)
    if text is None:
        return
    case = look.rows
    for rows in _singles(look.rows):
        try:
            alone = fault(piece, look.up_to(piece, rows), rows)
        except Exception:  # noqa: BLE001, S112 - a function of batches need not work for one example
            continue
        if alone is not None:
            case, text = rows, alone
            break
    walk.broken[name, number] = Broken(number, f"{look.of(case)}: {text}")


def _singles(rows: Rows) -> Iterator[Rows]:
    """Single rows, the smallest id first, but not too many."""
    positions = rows.positions
    for at in rows.ids.argsort(stable=True).tolist()[:_SINGLES]:
        yield Rows(rows.ids[at : at + 1], positions[at : at + 1])


class _UntouchableError(Exception):
    """A key was touched."""


class _Untouchable:
    """In place of a key: tells whether a function draws from it at all."""

    def __getattr__(self, name: str) -> NoReturn:
        raise _UntouchableError(name)


def _note_drawing(walk: Walk, look: Look, piece: Piece, given: Any) -> None:
    """Note an augment that works without a key: it draws from none."""
    stage = walk.trial.parts.stages.get(-1 if piece.number is None else piece.number)
    if piece.number is None or not isinstance(stage, Augment) or stage.ambient:
        return
    if walk.drawing.get(piece.number, "") is None:
        return
    call = stage.function.bound()
    for item in [copied(given)] if look.is_batched(piece) else copied(given):
        try:
            under(1, lambda item=item: call(item, _Untouchable()))  # type: ignore[misc]  # a lambda with a default is no type of its own
        except Exception:  # noqa: BLE001 - it wants a key, whatever it makes of this one
            walk.drawing[piece.number] = None
            return
    first = look.rows if look.is_batched(piece) else next(_singles(look.rows))
    walk.drawing.setdefault(piece.number, look.of(first))


def _stop(walk: Walk, look: Look, piece: Piece, error: Exception) -> NoReturn:
    number = stage_of(error)
    case, text = look.rows, told(error)
    for rows in _singles(look.rows):
        try:
            made = look.up_to(piece, rows)
            piece.call(made, rows)
        except Exception as again:  # noqa: BLE001 - as above
            if type(again) is type(error):
                case, text = rows, told(again)
                break
    raise _StopError(Broken(walk.blamed(piece) if number is None else number, f"{look.of(case)}: {text}")) from error


def _is_ragged(trial: Trial, split: str) -> bool:
    """Whether rows may have different lengths, which padding makes the shape of a batch."""
    assembly = trial.parts.assembly(split)
    columns = assembly.source.values() if isinstance(assembly.source, Table) else ()
    own = assembly.batch is not None and assembly.batch[1].collate is not None
    return own or any(isinstance(column, Ragged) for column in columns)


def _structures(made: Any, *, batched: bool, exact: bool) -> set[Any]:
    items = [made] if batched else made
    return {structure(item, batched=batched, exact=exact) for item in items}


def _compare_structures(walk: Walk, split: str, kinds: list[dict[Piece, set[Any]]]) -> None:
    """Note batches of different structure, and the first piece from which on they differ."""
    if not kinds or split in walk.failed:
        return
    stages = [list(of_look.values()) for of_look in kinds]
    united = [set[Any]().union(*of_piece) for of_piece in zip(*stages, strict=True)]
    if len(united[-1]) == 1:
        return
    place = max((at for at, of_piece in enumerate(united) if len(of_piece) == 1), default=-1) + 1
    number = walk.blamed(list(kinds[0])[place])
    one, other = (dict(each) for each in sorted(united[-1])[:2])
    text = f"split {split!r}: of two batches, {difference(one, other)}"
    walk.broken.setdefault((STRUCTURE, number), Broken(number, text))


_SINGLES = 64
