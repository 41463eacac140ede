"""Orders: the stages that decide the order of a split or of a mixture, and which of them cannot go together."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from .._errors import PipelineError, stage_note
from .limits import applying, branches, parts
from .stage import Alias, Batch, Change, Fold, Measure, Mix, Ordering, Pack, Sample, Shuffle, Split, Stage, Take


Numbered = Sequence[tuple[int, Ordering]]
Named = Mapping[str, tuple[str, ...]]


def mix_of(stages: Sequence[Stage], names: Sequence[str]) -> tuple[int, Mix] | None:
    """The stage that makes the split which `names` names, with its number, where it is a mixture."""
    mixes = [(number, stage) for number, stage in enumerate(stages) if isinstance(stage, Mix) and stage.into in names]
    return mixes[0] if mixes else None


def order_stages_of(stages: Sequence[Stage], names: Sequence[str], before: int | None = None) -> Numbered:
    """The order stages of a split, with their numbers: of a mixture those that stand after it.

    With `before` only those in front of that stage, which hold for a part where it is mixed.
    """
    ordering = [(number, stage) for number, stage in enumerate(stages) if isinstance(stage, Ordering)]
    mixed = mix_of(stages, names)
    first = mixed[0] if mixed else -1
    last = len(stages) if before is None else before
    return [pair for pair in applying(ordering, names) if first < pair[0] < last]


def check_orders(stages: Sequence[Stage]) -> None:
    """Raise `PipelineError` for order stages that cannot go together, for one of the splits that stages name."""
    named = branches(stages) or {"others": ("others",)}
    _check_changes(stages, named)
    mixes = [(number, stage) for number, stage in enumerate(stages) if isinstance(stage, Mix)]
    for number, mix in mixes:
        _check_mix(number, mix, stages, named)
    for names in named.values():
        mixed = mix_of(stages, names)
        held = order_stages_of(stages, names)
        if mixed is None:
            _check_split(held)
        batch = [number for number, stage in _batches(stages, names) if stage.column is not None]
        if batch:
            _check_by_length(batch[0], mixed, held)


def changes_by_epoch(held: Numbered) -> bool:
    """Whether another epoch has other examples, not only another order of the same."""
    shuffled = False
    for _, stage in held:
        if isinstance(stage, Sample) or (isinstance(stage, Take) and shuffled):
            return True
        shuffled = shuffled or isinstance(stage, Shuffle)
    return False


def _check_mix(number: int, mix: Mix, stages: Sequence[Stage], named: Named) -> None:
    _check_new(number, mix, stages)
    for other_number, other in enumerate(stages):
        if isinstance(other, Mix) and other_number != number:
            if other.into == mix.into:
                _refuse(number, mix, f"stage {other_number} makes a mixture {mix.into!r} too; a split is made once")
            for part in mix.parts:
                if other.into in named.get(part, (part,)):
                    _refuse(number, mix, f"{part!r} is a mixture itself; mix its parts, each with its share of all")
        _check_beside(other_number, other, number, stages, named)
    packed: dict[bool, str] = {}
    for part in mix.parts:
        held = order_stages_of(stages, named.get(part, (part,)), before=number)
        _check_split(held)
        packed[any(isinstance(stage, Pack) for _, stage in held)] = part
    if len(packed) > 1:
        _refuse(
            number,
            mix,
            f"{packed[True]!r} is packed, and {packed[False]!r} is not, so that batches would have sequences beside "
            f"examples; pack all parts, before mix, or none",
        )


def _check_new(number: int, mix: Mix, stages: Sequence[Stage]) -> None:
    """Raise `PipelineError` for a mixture whose name is that of a split already."""
    taken: set[str] = set()
    for stage in stages:
        if isinstance(stage, Split | Fold):
            taken = (set() if stage.of is None else taken - {stage.of}) | set(parts(stage))
        elif isinstance(stage, Alias):
            taken |= {new for new, _ in stage.names}
    if mix.into in taken:
        _refuse(number, mix, f"there is already a split {mix.into!r}; a mixture has a new name")


def _check_beside(number: int, stage: Stage, mix_number: int, stages: Sequence[Stage], named: Named) -> None:
    """Raise `PipelineError` for a stage that is on a mixture, or on a part of it, where it cannot be."""
    mix: Any = stages[mix_number]
    on = set(getattr(stage, "splits", ()))
    mixture = {name for name, names in named.items() if mix.into in names}
    each = ", ".join(repr(part) for part in mix.parts)
    if isinstance(stage, Measure) and on & mixture:
        _refuse(number, stage, f"{mix.into!r} is a mixture, which is made later; measure a part: one of {each}")
    if not isinstance(stage, Ordering):
        return
    if number < mix_number:
        if on & mixture:
            _refuse(number, stage, f"{mix.into!r} is made by stage {mix_number} (mix); put this stage after it")
        return
    if isinstance(stage, Shuffle | Sample | Pack) and (on & mixture or not on):
        remedy = f"{stage.kind} its parts, before mix: fdm.{stage.kind}(...).on({each})"
        _refuse(number, stage, f"it holds for the mixture {mix.into!r}; {remedy}")
    mixed_later = {part for later in stages[number:] if isinstance(later, Mix) for part in later.parts}
    of_parts = sorted(on & set(mix.parts) - mixed_later)
    if of_parts:
        _refuse(
            number,
            stage,
            f"it is on {', '.join(map(repr, of_parts))}, part of the mixture {mix.into!r}, and stands after mix, where it "
            f"changes nothing of the mixture; put it before mix",
        )


def _check_split(held: Numbered) -> None:
    """Raise `PipelineError` for order stages of a split that cannot stand in this order."""
    packed = False
    for place, (number, stage) in enumerate(held):
        before = held[:place]
        if packed and isinstance(stage, Sample | Pack):
            said = (
                "it is packed before; pack once"
                if isinstance(stage, Pack)
                else (
                    "weights are of examples, and after pack an example is a sequence; leave sample out, or put it in the place of pack"
                )
            )
            _refuse(number, stage, said)
        if not isinstance(stage, Pack):
            continue
        if changes_by_epoch(before):
            _refuse(
                number,
                stage,
                "it follows a sample, or a take of a shuffle, whose examples change by epoch; put pack before it, so that "
                "it is sequences that are taken, or take before shuffle",
            )
        if any(isinstance(each, Shuffle) and each.block is not None for _, each in before):
            why = (
                "it puts examples of all blocks together by their lengths, so a block shuffle before it is in vain; join "
                "and cut neighbours, fdm.pack(..., whole=False), and put fdm.shuffle(block=..., window=...) after it"
                if stage.whole
                else "it joins neighbours as they are stored, so a block shuffle before it is in vain; put "
                "fdm.shuffle(block=..., window=...) after it, where its blocks are of sequences"
            )
            _refuse(number, stage, why)
        packed = True


def _check_by_length(batch: int, mixed: tuple[int, Mix] | None, held: Numbered) -> None:
    """Raise `PipelineError` for order stages of a split whose batches are made by length."""
    kinds = {type(stage) for _, stage in held}
    what = None
    if mixed is not None:
        what = f"the split is a mixture, made by stage {mixed[0]}: batch(size) it"
    elif Pack in kinds:
        what = "sequences that are packed have one length; leave pack out, or alike and of"
    elif changes_by_epoch(held):
        what = (
            "sample, or take of a shuffle, make other examples of every epoch, and steps by length are planned once; leave "
            "sample out, and put take before shuffle"
        )
    elif any(isinstance(stage, Shuffle) and stage.block is not None for _, stage in held):
        what = "a step by length has examples of the whole split, so a block shuffle is in vain: fdm.shuffle()"
    if what is not None:
        msg = f"stage {batch} (batch): {what}"
        raise PipelineError(msg)


def _check_changes(stages: Sequence[Stage], named: Named) -> None:
    """Raise `PipelineError` for what changes batches and is on a part of a mixture, whose batches have all parts."""
    first = next((number for number, stage in enumerate(stages) if isinstance(stage, Batch)), len(stages))
    changes = [(number, stage) for number, stage in enumerate(stages) if isinstance(stage, Change)]
    for mix in (stage for stage in stages if isinstance(stage, Mix)):
        of_mixture = {number for number, _ in applying(changes, (mix.into,))}
        for part in mix.parts:
            for number, stage in applying(changes, named.get(part, (part,))):
                if number > first and number not in of_mixture:
                    msg = (
                        f"it is on {part!r}, part of the mixture {mix.into!r}, whose batches have examples of all parts; "
                        f"put it before batch, where it gets single examples, or on {mix.into!r}"
                    )
                    _refuse(number, stage, msg)


def _batches(stages: Sequence[Stage], names: Sequence[str]) -> list[tuple[int, Batch]]:
    batches = [(number, stage) for number, stage in enumerate(stages) if isinstance(stage, Batch)]
    holding = applying(batches, names)
    named = [pair for pair in holding if pair[1].splits]
    return named or holding


def _refuse(number: int, stage: Stage, why: str) -> NoReturn:
    error = PipelineError(f"stage {number} ({stage.kind}): {why}")
    error.add_note(stage_note(number, stage.kind))
    raise error
