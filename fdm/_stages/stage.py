"""Stages: the frozen records that a pipeline is made of."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, TypeAlias, TypeVar

import attrs

from .._errors import PipelineError
from .._fingerprint.canonical import Value
from .function import Function, function


Amount: TypeAlias = int | float
Sizes: TypeAlias = tuple[tuple[str, Amount | None], ...]


RecordT = TypeVar("RecordT", bound=Value)


def _changed(record: RecordT, **fields: Any) -> RecordT:
    """`attrs.evolve` for the bases below, which only their subclasses make attrs records."""
    changed: Any = attrs.evolve
    evolved: RecordT = changed(record, **fields)
    return evolved


class Limited(Value):
    """Internal base of the stages that `.on` limits to some splits."""

    __slots__ = ()
    kind: ClassVar[str]
    splits: tuple[str, ...]

    def on(self, *splits: str) -> Self:
        """The same stage for these splits only; without `.on` a stage holds for all."""
        for split in splits:
            if not isinstance(split, str) or not split:
                msg = f"{self.kind}.on takes names of splits, strings, not {split!r}"
                raise PipelineError(msg)
        if not splits or len(set(splits)) < len(splits):
            msg = f"{self.kind}.on takes one or more different splits, not {splits!r}"
            raise PipelineError(msg)
        return _changed(self, splits=splits)


class Versioned(Value):
    """Internal base of the stages whose functions decide what is read; `.version` pins their code by hand."""

    __slots__ = ()
    kind: ClassVar[str]
    pinned: str | None

    def version(self, pinned: str) -> Self:
        """The same stage with its functions' source fingerprinted as `pinned`: change it when the result changes."""
        if not isinstance(pinned, str) or not pinned:
            msg = f'{self.kind}.version takes a string such as "2", not {pinned!r}'
            raise PipelineError(msg)
        return _changed(self, pinned=pinned)


@attrs.frozen(eq=False)
class Fetch(Versioned):
    kind: ClassVar[str] = "fetch"
    function: Function
    pinned: str | None = None


@attrs.frozen(eq=False)
class Clean(Versioned):
    kind: ClassVar[str] = "clean"
    function: Function
    pinned: str | None = None
    parts: Function | None = None

    def each(self, parts: Callable[..., Sequence[str]]) -> "Clean":
        """The same stage, part by part: `parts(upstream)` lists names, and `fn(upstream, part, **params)` cleans one.

        The result is the concatenation of the parts in that order, per source name. Parts run in parallel on the
        executor's pool, and each is saved as it finishes, so that a crash loses only those in flight.
        """
        return attrs.evolve(self, parts=function(parts, {}, "each"))


@attrs.frozen(eq=False)
class Load(Versioned):
    kind: ClassVar[str] = "load"
    function: Function
    pinned: str | None = None
    is_shared: bool = False
    is_ambient: bool = False

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
    into: Sizes | Function
    of: str | None
    seed: int
    shuffle: bool
    stratify: str | Function | None
    groups: str | Function | None
    key: str | Function | None
    pinned: str | None = None


@attrs.frozen(eq=False)
class Fold(Versioned):
    kind: ClassVar[str] = "fold"
    k: int
    index: int
    of: str | None
    seed: int
    stratify: str | Function | None
    groups: str | Function | None
    pinned: str | None = None


@attrs.frozen(eq=False)
class Alias(Value):
    kind: ClassVar[str] = "alias"
    names: tuple[tuple[str, str], ...]


@attrs.frozen(eq=False)
class Measure(Versioned, Limited):
    kind: ClassVar[str] = "measure"
    function: Function
    pinned: str | None = None
    splits: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Shuffle(Limited):
    kind: ClassVar[str] = "shuffle"
    seed: int | None
    splits: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Sample(Limited):
    kind: ClassVar[str] = "sample"
    weights: str | Function
    size: int | None
    seed: int | None
    splits: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Take(Limited):
    kind: ClassVar[str] = "take"
    amount: Amount
    splits: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Transform(Limited):
    kind: ClassVar[str] = "transform"
    function: Function
    splits: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Augment(Limited):
    kind: ClassVar[str] = "augment"
    function: Function
    ambient: bool
    splits: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Batch(Limited):
    kind: ClassVar[str] = "batch"
    size: int
    drop_last: bool
    collate: Function | None
    ids: str | None
    across: str = "rank"
    splits: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Transfer(Value):
    kind: ClassVar[str] = "transfer"
    skip: tuple[str, ...]


Stage: TypeAlias = (
    Fetch
    | Clean
    | Load
    | Split
    | Fold
    | Alias
    | Measure
    | Shuffle
    | Sample
    | Take
    | Transform
    | Augment
    | Batch
    | Transfer
)


def functions(stage: Stage) -> list[Function]:
    """The functions that a stage holds."""
    values = [getattr(stage, field.name) for field in attrs.fields(type(stage))]
    return [value for value in values if isinstance(value, Function)]
