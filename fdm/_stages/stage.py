"""Stages: the frozen records that a pipeline is made of."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, TypeAlias, TypeVar

import attrs

from .._checks import checked, integer, one_of, or_none
from .._errors import PipelineError
from .._fingerprint.canonical import Value
from . import fields
from .fields import Amount, Sizes
from .function import Function, function


RecordT = TypeVar("RecordT", bound=Value)


def evolved(record: RecordT, **values: Any) -> RecordT:
    """`attrs.evolve` where checkers do not know which record it is, such as in the bases below."""
    evolve: Any = attrs.evolve
    changed: RecordT = evolve(record, **values)
    return changed


class Limited(Value):
    """Internal base of the stages that `.on` limits to some splits."""

    __slots__ = ()
    kind: ClassVar[str]
    splits: tuple[str, ...]

    def on(self, *splits: str) -> Self:
        """The same stage for these splits only; without `.on` a stage holds for all."""
        if not splits:
            msg = f"{self.kind}.on takes one or more different splits, not {splits!r}"
            raise PipelineError(msg)
        return evolved(self, splits=splits)


class Versioned(Value):
    """Internal base of the stages whose functions decide what is read; `.version` pins their code by hand."""

    __slots__ = ()
    kind: ClassVar[str]
    pinned: str | None

    def version(self, pinned: str) -> Self:
        """The same stage with its functions' source fingerprinted as `pinned`: change it when the result changes."""
        if pinned is None:
            msg = f'{self.kind}.version takes a string such as "2", not {pinned!r}'
            raise PipelineError(msg)
        return evolved(self, pinned=pinned)


@attrs.frozen(eq=False)
class Fetch(Versioned):
    kind: ClassVar[str] = "fetch"
    function: Function = attrs.field(**fields.FUNCTION)
    pinned: str | None = attrs.field(default=None, **fields.VERSION)


@attrs.frozen(eq=False)
class Clean(Versioned):
    kind: ClassVar[str] = "clean"
    function: Function = attrs.field(**fields.FUNCTION)
    pinned: str | None = attrs.field(default=None, **fields.VERSION)
    parts: Function | None = attrs.field(default=None, **fields.PARTS)

    def each(self, parts: Callable[..., Sequence[str]]) -> "Clean":
        """The same stage, part by part: `parts(upstream)` lists names, and `fn(upstream, part, **params)` cleans one.

        The result is the concatenation of the parts in that order, per source name. Parts run in parallel on the
        executor's pool, and each is saved as it finishes, so that a crash loses only those in flight.
        """
        return attrs.evolve(self, parts=function(parts, {}, "each"))


@attrs.frozen(eq=False)
class Load(Versioned):
    kind: ClassVar[str] = "load"
    function: Function = attrs.field(**fields.FUNCTION)
    pinned: str | None = attrs.field(default=None, **fields.VERSION)
    is_shared: bool = attrs.field(default=False, **fields.SWITCH)
    is_ambient: bool = attrs.field(default=False, **fields.SWITCH)

    def shared(self) -> "Load":
        """The same stage, whose sources threads and forked processes may read side by side.

        Without it each process and each thread that reads opens its own, by calling the function again; that costs
        time and memory, and is right for whatever holds an open file, a cursor or a connection. Changes no batch, and
        no fingerprint.
        """
        return attrs.evolve(self, is_shared=True)

    def ambient(self) -> "Load":
        """The same stage, whose sources draw from the global random state of torch, numpy or random.

        Each example is read under a random stream of its own, named by seed, epoch and example id, so that it is the
        same wherever and however often it is read; what is drawn from elsewhere, such as a generator of the source's
        own, stays as it is. Threads make no batches of such a source; worker processes do.
        """
        return attrs.evolve(self, is_ambient=True)


@attrs.frozen(eq=False)
class Split(Versioned):
    kind: ClassVar[str] = "split"
    into: Sizes | Function = attrs.field(**fields.SIZES)
    of: str | None = attrs.field(**fields.OF)
    seed: int = attrs.field(**fields.SEED)
    shuffle: bool = attrs.field(**fields.SWITCH)
    stratify: str | Function | None = attrs.field(**fields.BY_OR_NONE)
    groups: str | Function | None = attrs.field(**fields.BY_OR_NONE)
    key: str | Function | None = attrs.field(**fields.BY_OR_NONE)
    pinned: str | None = attrs.field(default=None, **fields.VERSION)

    def __attrs_post_init__(self) -> None:
        is_grouped = not (self.stratify is None and self.groups is None)
        if isinstance(self.into, Function) and (not self.shuffle or is_grouped or self.key is not None):
            msg = "split: a function decides alone; leave out shuffle, stratify, groups and key"
            raise PipelineError(msg)
        if self.key is not None and (not self.shuffle or is_grouped):
            msg = "split: key decides alone; leave out shuffle, stratify and groups"
            raise PipelineError(msg)
        if not self.shuffle and is_grouped:
            msg = "split: stratify and groups need shuffle=True; shuffle=False cuts in order"
            raise PipelineError(msg)
        counts = [] if isinstance(self.into, Function) else [size for _, size in self.into if isinstance(size, int)]
        if self.key is not None and counts:
            msg = (
                "split: with key, sizes are fractions (or None for the rest), since data that grows has no fixed counts"
            )
            raise PipelineError(msg)


@attrs.frozen(eq=False)
class Fold(Versioned):
    kind: ClassVar[str] = "fold"
    k: int = attrs.field(**checked(integer, PipelineError, least=2))
    index: int = attrs.field(**checked(integer, PipelineError, least=0))
    of: str | None = attrs.field(**fields.OF)
    seed: int = attrs.field(**fields.SEED)
    stratify: str | Function | None = attrs.field(**fields.BY_OR_NONE)
    groups: str | Function | None = attrs.field(**fields.BY_OR_NONE)
    pinned: str | None = attrs.field(default=None, **fields.VERSION)

    def __attrs_post_init__(self) -> None:
        if self.index >= self.k:
            msg = f"fold: index counts from 0 to k - 1; {self.index} is no fold of {self.k}"
            raise PipelineError(msg)


@attrs.frozen(eq=False)
class Alias(Value):
    kind: ClassVar[str] = "alias"
    names: tuple[tuple[str, str], ...] = attrs.field(**fields.NEW_NAMES)


@attrs.frozen(eq=False)
class Measure(Versioned, Limited):
    kind: ClassVar[str] = "measure"
    function: Function = attrs.field(**fields.FUNCTION)
    pinned: str | None = attrs.field(default=None, **fields.VERSION)
    splits: tuple[str, ...] = attrs.field(default=(), **fields.SPLITS)


@attrs.frozen(eq=False)
class Shuffle(Limited):
    kind: ClassVar[str] = "shuffle"
    seed: int | None = attrs.field(**fields.SEED_OR_NONE)
    splits: tuple[str, ...] = attrs.field(default=(), **fields.SPLITS)


@attrs.frozen(eq=False)
class Sample(Limited):
    kind: ClassVar[str] = "sample"
    weights: str | Function = attrs.field(**fields.BY)
    size: int | None = attrs.field(**or_none(checked(integer, PipelineError, least=0, most=2**62)))
    seed: int | None = attrs.field(**fields.SEED_OR_NONE)
    splits: tuple[str, ...] = attrs.field(default=(), **fields.SPLITS)


@attrs.frozen(eq=False)
class Take(Limited):
    kind: ClassVar[str] = "take"
    amount: Amount = attrs.field(**checked(fields.amount, PipelineError, "take: n_or_fraction"))
    splits: tuple[str, ...] = attrs.field(default=(), **fields.SPLITS)


@attrs.frozen(eq=False)
class Transform(Limited):
    kind: ClassVar[str] = "transform"
    function: Function = attrs.field(**fields.KEYLESS_FUNCTION)
    splits: tuple[str, ...] = attrs.field(default=(), **fields.SPLITS)


@attrs.frozen(eq=False)
class Augment(Limited):
    kind: ClassVar[str] = "augment"
    function: Function = attrs.field(**fields.KEYED_FUNCTION)
    ambient: bool = attrs.field(**fields.SWITCH)
    splits: tuple[str, ...] = attrs.field(default=(), **fields.SPLITS)


@attrs.frozen(eq=False)
class Batch(Limited):
    kind: ClassVar[str] = "batch"
    size: int = attrs.field(**checked(integer, PipelineError, least=1))
    drop_last: bool = attrs.field(**fields.SWITCH)
    collate: Function | None = attrs.field(**fields.FUNCTION_OR_NONE)
    ids: str | None = attrs.field(**fields.ENTRY)
    across: str = attrs.field(default="rank", **checked(one_of, PipelineError, known=("rank", "world")))
    splits: tuple[str, ...] = attrs.field(default=(), **fields.SPLITS)


@attrs.frozen(eq=False)
class Transfer(Value):
    kind: ClassVar[str] = "transfer"
    skip: tuple[str, ...] = attrs.field(**fields.ENTRIES)


Source: TypeAlias = Fetch | Clean | Load
"""Where examples come from."""
Preparation: TypeAlias = Fetch | Clean | Measure
"""What is run once, and kept in the store."""
Cut: TypeAlias = Split | Fold | Alias
"""What makes splits."""
Ordering: TypeAlias = Shuffle | Sample | Take
"""What decides which examples of a split come, and in which order."""
Change: TypeAlias = Transform | Augment
"""What makes items of items."""
Stage: TypeAlias = Source | Cut | Measure | Ordering | Change | Batch | Transfer


def functions(stage: Stage) -> list[Function]:
    """The functions that a stage holds."""
    values = [getattr(stage, field.name) for field in attrs.fields(type(stage))]
    return [value for value in values if isinstance(value, Function)]
