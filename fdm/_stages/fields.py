"""Fields of stages: what each may hold, checked and converted wherever a stage is made."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeAlias

from .._checks import Field, checked, converted, integer, one_of, or_none, switch, text
from .._errors import PipelineError
from .._random.ambient import Ambient
from .._text import short
from .function import Function, function
from .rounding import SLACK, as_written


Amount: TypeAlias = int | float
Sizes: TypeAlias = tuple[tuple[str, Amount | None], ...]
Shares: TypeAlias = tuple[tuple[str, Amount], ...]


def _function(value: Any, stage: Any, _: Any) -> Function:
    return value if isinstance(value, Function) else function(value, {}, stage.kind)


def _keyless_function(value: Any, stage: Any, _: Any) -> Function:
    held = _function(value, stage, _)
    if isinstance(held.call, Ambient):
        msg = (
            f"{stage.kind}: what ambient makes is random, and so for augment: "
            f"fdm.augment(fdm.ambient({short(held.call.call, 60)}))"
        )
        raise PipelineError(msg)
    return held


def _keyed_function(value: Any, stage: Any, field: Any) -> Function:
    held = _function(value, stage, field)
    if isinstance(held.call, Ambient):
        msg = (
            f"{stage.kind}: make a stage of what draws from the global state anew: fdm.augment({short(held.call, 60)})"
        )
        raise PipelineError(msg)
    return held


def _column_or_function(value: Any, stage: Any, field: Any) -> str | Function:
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, Function) and not callable(value):
        msg = f"{stage.kind}: {field.name} is a column name or a function of the source, not {value!r}"
        raise PipelineError(msg)
    return _function(value, stage, field)


def amount(what: str, value: Any, error: type[PipelineError]) -> Amount:
    """A count, which is an integer, or a fraction, which is a float from 0 to 1."""
    if isinstance(value, float):
        if not 0 <= value <= 1:
            msg = f"{what}={value} is a float, so a fraction, and fractions lie in 0 to 1; a count is an int"
            raise error(msg)
        return float(value)
    if isinstance(value, str):
        msg = f"{what}={value!r} is a string; a size is a count (int), a fraction (float) or None, for the rest"
        raise error(msg)
    return integer(what, value, error, least=0)


def _sizes_or_function(value: Any, stage: Any, field: Any) -> Sizes | Function:
    if isinstance(value, Function) or callable(value):
        return _function(value, stage, field)
    pairs = _pairs(value)
    if not pairs:
        msg = f'split takes sizes, such as {{"train": 0.9, "val": None}}, or a function, not {short(value, 60)}'
        raise PipelineError(msg)
    for split, _ in pairs:
        text("split: the name of a split is a string", split, PipelineError)
    sizes = tuple(
        (split, None if size is None else amount(f"split: {split}", size, PipelineError)) for split, size in pairs
    )
    _check_sum(sizes)
    return sizes


def _check_sum(sizes: Sizes) -> None:
    if sum(size is None for _, size in sizes) > 1:
        msg = f"split: only one split can take the rest (None), not {[split for split, size in sizes if size is None]}"
        raise PipelineError(msg)
    fractions = sum((as_written(size) for _, size in sizes if isinstance(size, float)), Fraction(0))
    shown = ", ".join(f"{split}={size}" for split, size in sizes)
    if fractions > 1 + SLACK:
        msg = f"split: the fractions {shown} sum to {float(fractions):g}, more than 1"
        raise PipelineError(msg)
    if all(isinstance(size, float) for _, size in sizes) and fractions < 1 - SLACK:
        msg = (
            f"split: the fractions {shown} sum to {float(fractions):g}, so some examples would be in no split; "
            f'name one that takes the rest: "unused": None'
        )
        raise PipelineError(msg)


def _pairs(value: Any) -> tuple[tuple[Any, Any], ...]:
    """A mapping, or its pairs, as pairs; none for what is neither."""
    pairs = tuple(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        return ()
    keys = [key for key, _ in pairs]
    return pairs if all(key not in keys[:place] for place, key in enumerate(keys)) else ()


def _new_names(value: Any, stage: Any, _: Any) -> tuple[tuple[str, str | tuple[str, ...]], ...]:
    pairs = _pairs(value)
    if not pairs:
        msg = f'{stage.kind} takes new names for splits: alias(predict="test")'
        raise PipelineError(msg)
    for new, old in pairs:
        text("alias: the name of a split is a string", new, PipelineError)
        several = old if isinstance(old, list | tuple) else [old]
        if not several or not all(isinstance(each, str) and each for each in several):
            msg = f"alias: {new}={old!r} is not the name of a split, nor a list of several"
            raise PipelineError(msg)
        if len(set(several)) < len(several):
            msg = f"alias: {new}={old!r} names a split twice; each of its examples is in a union once"
            raise PipelineError(msg)
    return tuple((new, _one_or_several(old)) for new, old in pairs)


def _one_or_several(names: Any) -> str | tuple[str, ...]:
    return names if isinstance(names, str) else names[0] if len(names) == 1 else tuple(names)


def _different_splits(value: Any, stage: Any, _: Any) -> tuple[str, ...]:
    is_several = isinstance(value, Sequence) and not isinstance(value, str)
    splits = tuple(value) if is_several else ()
    if len(splits) == 1 and isinstance(splits[0], list | tuple | set):
        names = ", ".join(f'"{split}"' for split in splits[0])
        msg = f"{stage.kind}.on takes names of splits one after the other, .on({names}), not {short(splits[0], 100)}"
        raise PipelineError(msg)
    for split in splits:
        text(f"{stage.kind}.on takes names of splits, strings", split, PipelineError)
    if not is_several or len(set(splits)) < len(splits):
        msg = f"{stage.kind}.on takes one or more different splits, not {value!r}"
        raise PipelineError(msg)
    return splits


def _shares(value: Any, _: Any, __: Any) -> Shares:
    """The shares of a mixture as pairs, in the order of the names of its parts; parts alone have equal ones."""
    names = value if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value) else ()
    pairs = tuple((name, 1) for name in names) or _pairs(value)
    if not pairs or len({name for name, _ in pairs}) < len(pairs):
        msg = f'mix takes shares of splits, such as {{"web": 0.7, "code": 0.3}}, not {short(value, 60)}'
        raise PipelineError(msg)
    for name, share in pairs:
        text("mix: the name of a part is a string", name, PipelineError)
        if isinstance(share, bool) or not isinstance(share, int | float) or not (0 < share < float("inf")):
            msg = (
                f"mix: the share of {name!r} is a number above 0, in proportion to those of the others, not {share!r}; "
                f"leave out parts without a share"
            )
            raise PipelineError(msg)
    return tuple(sorted(pairs))


def _phases(value: Any, stage: Any, _: Any) -> tuple[tuple[int, Shares], ...]:
    phases = tuple(
        (integer("mix.after: examples", start, PipelineError, least=1), _shares(to, stage, _)) for start, to in value
    )
    starts = [start for start, _ in phases]
    for before, after in pairwise(-(-start // RUN_BLOCK) for start in starts):
        if before >= after:
            msg = f"mix.after: shares change from one block of {RUN_BLOCK} examples to a later one, not at {starts}"
            raise PipelineError(msg)
    return phases


def check_shares(shares: Shares, power: float | None) -> None:
    """Raise `PipelineError` for shares beside a power, which takes their place."""
    if power is not None and {share for _, share in shares} != {1}:
        names = [name for name, _ in shares]
        msg = f"mix: power makes the shares of the sizes, so name the parts alone: fdm.mix({names}, power={power}, ...)"
        raise PipelineError(msg)


def _until(value: Any, stage: Any, field: Any) -> str | int:
    if isinstance(value, str):
        return one_of(
            f"{stage.kind}: {field.name}, where it is no number of examples,", value, PipelineError, ("all", "first")
        )
    return integer(f"{stage.kind}: {field.name}", value, PipelineError, least=1)


def _power(value: Any, stage: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10:
        msg = f"{stage.kind}: power is a number from 0 to 10 (0: equal shares, 1: in proportion to the sizes), not {value!r}"
        raise PipelineError(msg)
    return float(value)


def _edges(value: Any, stage: Any, _: Any) -> tuple[int, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not len(value):
        msg = f"{stage.kind}: edges are the longest lengths of the buckets, such as (64, 128, 512), not {short(value, 60)}"
        raise PipelineError(msg)
    edges = tuple(integer(f"{stage.kind}: an edge", edge, PipelineError, least=1) for edge in value)
    if any(low >= high for low, high in pairwise(edges)):
        msg = f"{stage.kind}: edges rise from bucket to bucket, which {edges} do not"
        raise PipelineError(msg)
    return edges


def _parts(value: Any, _: Any, __: Any) -> Function:
    return value if isinstance(value, Function) else function(value, {}, "each")


def _entries(value: Any, stage: Any, field: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(entry, str) for entry in value):
        msg = f"{stage.kind}: {field.name} is a tuple of names of entries, not {value!r}"
        raise PipelineError(msg)
    return tuple(value)


FUNCTION = converted(_function)
FUNCTION_OR_NONE = or_none(FUNCTION)
KEYLESS_FUNCTION = converted(_keyless_function)
KEYED_FUNCTION = converted(_keyed_function)
PARTS = or_none(converted(_parts))
BY = converted(_column_or_function)
BY_OR_NONE = or_none(BY)
OF = or_none(checked(text, PipelineError, "{kind}: of is the name of a source or split"))
SEED = checked(integer, PipelineError)
SEED_OR_NONE = or_none(SEED)
SWITCH = checked(switch, PipelineError)
SIZES = converted(_sizes_or_function)
NEW_NAMES = converted(_new_names)
SPLITS = converted(_different_splits)
ENTRIES = converted(_entries)
ENTRY = or_none(checked(text, PipelineError, "{kind}: {field} is the name of an entry that batches get, a string"))
COUNT = checked(integer, PipelineError, least=1)
COUNT_OR_NONE = or_none(COUNT)
COLUMN = checked(text, PipelineError, "{kind}: {field} is the name of a ragged column, a string")
COLUMN_OR_NONE = or_none(COLUMN)
SHARES = converted(_shares)
PHASES = converted(_phases)
INTO = checked(text, PipelineError, "{kind}: into is the name of the split that is made, a string")
UNTIL = converted(_until)
POWER = or_none(converted(_power))
EDGES = or_none(converted(_edges))
VERSION = or_none(checked(text, PipelineError, '{kind}.version takes a string such as "2"'))

LATER: Field = {"metadata": {"is_later": True}}
"""Of fields that stages have got since: with their defaults they are no part of a digest, so that older ones hold."""
RUN_BLOCK = 64
"""A mixture has its shares exactly, to within 2, after each so many examples of the run."""
