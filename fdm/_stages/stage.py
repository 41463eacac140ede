"""Stages: the frozen records that a pipeline is made of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeAlias, TypeVar

import attrs

from .._checks import checked, integer, one_of, or_none
from .._errors import PipelineError
from .._fingerprint.canonical import Value
from .._habits.attributes import OtherNames, OtherOperators
from . import fields
from .fields import Amount, Shares, Sizes
from .function import Function, function


RecordT = TypeVar("RecordT", bound=Value)


def evolved(record: RecordT, **values: Any) -> RecordT:
    """`attrs.evolve` where checkers do not know which record it is, such as in the bases below."""
    evolve: Any = attrs.evolve
    changed: RecordT = evolve(record, **values)
    return changed


class Staged(OtherNames, OtherOperators, Value):
    """Internal base of all stages."""

    __slots__ = ()


class Limited(Staged):
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


class Versioned(Staged):
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
    block: int | None = attrs.field(default=None, **fields.LATER, **fields.COUNT_OR_NONE)
    pinned: str | None = attrs.field(default=None, **fields.VERSION)

    def __attrs_post_init__(self) -> None:
        is_grouped = not (self.stratify is None and self.groups is None)
        is_blocked = self.block is not None
        if isinstance(self.into, Function) and (not self.shuffle or is_grouped or self.key is not None or is_blocked):
            msg = "split: a function decides alone; leave out shuffle, stratify, groups, key and block"
            raise PipelineError(msg)
        if self.key is not None and (not self.shuffle or is_grouped or is_blocked):
            msg = "split: key decides alone; leave out shuffle, stratify, groups and block"
            raise PipelineError(msg)
        if is_blocked and is_grouped:
            msg = "split: block keeps neighbours together, whatever their class or group; leave out stratify and groups"
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
class Alias(Staged):
    kind: ClassVar[str] = "alias"
    names: tuple[tuple[str, str | tuple[str, ...]], ...] = attrs.field(**fields.NEW_NAMES)


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
    block: int | None = attrs.field(default=None, **fields.LATER, **fields.COUNT_OR_NONE)
    window: int | None = attrs.field(default=None, **fields.LATER, **fields.COUNT_OR_NONE)
    lanes: int = attrs.field(default=1, **fields.LATER, **fields.COUNT)
    splits: tuple[str, ...] = attrs.field(default=(), **fields.SPLITS)

    def __attrs_post_init__(self) -> None:
        if (self.block is None) != (self.window is None) or (self.block is None and self.lanes != 1):
            msg = (
                "shuffle: block (how many neighbours stay together) and window (how many blocks are mixed at a time) "
                "stand together, and lanes beside them: shuffle(block=256, window=1024, lanes=64), or shuffle()"
            )
            raise PipelineError(msg)
        if self.window is not None and self.window % self.lanes:
            near = max(self.lanes, round(self.window / self.lanes) * self.lanes)
            msg = (
                f"shuffle: window counts blocks over all lanes, so that each has as many; {self.window} blocks do not "
                f"fall evenly to {self.lanes} lanes, {near} do"
            )
            raise PipelineError(msg)


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
class Pack(Limited):
    kind: ClassVar[str] = "pack"
    length: int = attrs.field(**fields.COUNT)
    column: str = attrs.field(**fields.COLUMN)
    whole: bool = attrs.field(default=True, **fields.SWITCH)
    most: int | None = attrs.field(default=None, **fields.COUNT_OR_NONE)
    splits: tuple[str, ...] = attrs.field(default=(), **fields.SPLITS)

    def __attrs_post_init__(self) -> None:
        if self.most is not None and not self.whole:
            msg = "pack: most bounds the documents of a sequence that are whole; with whole=False leave it out"
            raise PipelineError(msg)


@attrs.frozen(eq=False)
class Mix(Staged):
    kind: ClassVar[str] = "mix"
    shares: Shares = attrs.field(**fields.SHARES)
    into: str = attrs.field(**fields.INTO)
    until: str | int = attrs.field(default="all", **fields.UNTIL)
    power: float | None = attrs.field(default=None, **fields.POWER)
    later: tuple[tuple[int, Shares], ...] = attrs.field(default=(), **fields.PHASES)

    def __attrs_post_init__(self) -> None:
        fields.check_shares(self.shares, self.power)
        if self.into in self.parts:
            msg = f"mix: {self.into!r} is a part; into is the name of a new split, which is made of the parts"
            raise PipelineError(msg)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of all parts, also of those that come later, sorted."""
        return tuple(
            sorted({name for shares in (self.shares, *(later for _, later in self.later)) for name, _ in shares})
        )

    def after(self, examples: int, shares: Mapping[str, float]) -> "Mix":
        """The same mixture, with these shares from example number `examples` of the run on, rounded up to 64.

        The run goes on over epochs: example `examples` is the first one of epoch `examples // size` or a later one of
        it. Parts may appear that had no share before. What comes earlier stays as it is, so that shares to come may be
        added and changed when a run is resumed.

        >>> import fdm
        >>> print(fdm.pipeline(fdm.mix({"web": 0.7, "code": 0.3}, into="train", until=10**6).after(800_000, {"code": 1})))
        0 mix  code=0.3, web=0.7, into=train, until=1000000, after=800000: code=1
        seed 0
        """
        phases: tuple[Any, ...] = (*self.later, (examples, shares))
        return attrs.evolve(self, later=phases)


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
    origin: str | None = attrs.field(default=None, **fields.LATER, **fields.ENTRY)
    alike: str | None = attrs.field(default=None, **fields.LATER, **fields.COLUMN_OR_NONE)
    of: str | None = attrs.field(default=None, **fields.LATER, **fields.COLUMN_OR_NONE)
    buckets: int = attrs.field(default=32, **fields.LATER, **fields.COUNT)
    edges: tuple[int, ...] | None = attrs.field(default=None, **fields.LATER, **fields.EDGES)
    splits: tuple[str, ...] = attrs.field(default=(), **fields.SPLITS)

    @property
    def column(self) -> str | None:
        """The ragged column whose lengths decide which examples are in a step together; None where none does."""
        return self.alike if self.alike is not None else self.of

    def __attrs_post_init__(self) -> None:
        if self.ids is not None and self.ids == self.origin:
            msg = f"batch: ids and origin are two entries, which cannot both be {self.ids!r}"
            raise PipelineError(msg)
        if self.column is None:
            if self.buckets != 32 or self.edges is not None:
                msg = "batch: buckets and edges are of lengths; say of which column: alike=column, or of=column"
                raise PipelineError(msg)
            return
        if self.alike is not None and self.of is not None:
            msg = "batch: alike says that size counts examples, of says that it counts padded values; give one of them"
            raise PipelineError(msg)
        if self.across != "world":
            msg = (
                "batch: a step by length is one of the whole world, the same for any number of ranks; leave out across, "
                "and let the size be that of all ranks together"
            )
            raise PipelineError(msg)
        if self.drop_last:
            msg = "batch: by length nothing is left over, since what remains of a bucket goes into the next; leave out drop_last"
            raise PipelineError(msg)
        if self.edges is not None and self.buckets != 32:
            msg = "batch: edges are the buckets; leave out one of edges and buckets"
            raise PipelineError(msg)


@attrs.frozen(eq=False)
class Transfer(Limited):
    kind: ClassVar[str] = "transfer"
    skip: tuple[str, ...] = attrs.field(**fields.ENTRIES)
    splits: tuple[str, ...] = attrs.field(default=(), **fields.LATER, **fields.SPLITS)


Source: TypeAlias = Fetch | Clean | Load
"""Where examples come from."""
Preparation: TypeAlias = Fetch | Clean | Measure
"""What is run once, and kept in the store."""
Cut: TypeAlias = Split | Fold | Alias
"""What makes splits."""
Ordering: TypeAlias = Shuffle | Sample | Take | Pack
"""What decides which examples of a split come, and in which order."""
Change: TypeAlias = Transform | Augment
"""What makes items of items."""
Stage: TypeAlias = Source | Cut | Measure | Ordering | Mix | Change | Batch | Transfer


def functions(stage: Stage) -> list[Function]:
    """The functions that a stage holds."""
    values = [getattr(stage, field.name) for field in attrs.fields(type(stage))]
    return [value for value in values if isinstance(value, Function)]
