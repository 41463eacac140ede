"""Epochs: the order in which each epoch goes through a split, and what decides it."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from math import floor
from typing import Any, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from .._errors import DataError, UnknownNameError, noted, stage_note, unknown
from .._fingerprint.canonical import canonical, digest
from .._orders.blocks import BlockShuffle, BlockShuffled
from .._orders.lengths import Layout
from .._orders.mixed import Mixed
from .._orders.mixture import LONGEST, Mixture, mixture
from .._orders.order import Drawn, Ids, Natural, Order, Shuffled, take
from .._orders.packing import Joined, Packing
from .._orders.shares import power_shares
from .._pipeline import Pipeline
from .._random.permutation import derive
from .._splits.splits import Examples
from .._stages.describe import summary
from .._stages.digest import decisive, stage_digest
from .._stages.orders import Numbered, mix_of, order_stages_of
from .._stages.rounding import as_written
from .._stages.stage import Alias, Batch, Mix, Ordering, Pack, Sample, Shuffle, Source, Stage, Take
from .sequences import Sequences, packed_columns


Entry: TypeAlias = tuple[str, str]
"""What one of the stages that decide an order says, and its digest."""
Weights: TypeAlias = Callable[[int], NDArray[np.float64]]
"""The weights of a source's examples, for the number of a sample stage."""


@attrs.frozen(eq=False)
class EpochKeys:
    """The keys of the random stream that an order stage has for a split, one for each epoch."""

    seed: int
    kind: str
    split: str
    count: int

    def of(self, epoch: int) -> int:
        """The key of an epoch."""
        return derive(self.seed, self.kind, self.split, self.count, epoch)


@attrs.frozen(eq=False)
class Epochs:
    """What decides the order of a split in each epoch: the examples, the order stages that hold, with their numbers.

    They are examples of a source of `source_size`. `packings` has the plan of each pack stage, by its number.
    """

    pipeline: Pipeline
    examples: Examples
    source_size: int
    stages: Numbered
    packings: Mapping[int, Packing | Joined]
    weights: Weights

    @property
    def size(self) -> int:
        """The number of examples, or of sequences, in each epoch."""
        size = self.examples.order.size
        for number, stage in self.stages:
            match stage:
                case Take(amount):
                    size = min(size, counted(amount, size))
                case Sample():
                    size = size if stage.size is None else stage.size
                case Pack():
                    size = self.packings[number].size
                case Shuffle():
                    pass
        return size

    @property
    def rows(self) -> int:
        """The number of different examples, or sequences, that orders may name: those of what they are read from."""
        packs = [number for number, stage in self.stages if isinstance(stage, Pack)]
        return self.packings[packs[-1]].size if packs else self.source_size

    @property
    def is_strided(self) -> bool:
        """Whether ranks take positions by turns, so that each reads from lanes of its own."""
        return any(isinstance(stage, Shuffle) and stage.lanes > 1 for _, stage in self.stages)

    def order(self, epoch: int) -> Order:
        """The order of an epoch: the order stages, one after the other."""
        order = self.examples.order
        for number, stage in self.stages:
            match stage:
                case Take(amount):
                    order = take(order, counted(amount, order.size))
                case Shuffle(block=None):
                    order = Shuffled(order, self._key(number, epoch))
                case Shuffle(block=int(block), window=int(window), lanes=lanes):
                    # More than there are is as good as all: numbers of 64 bits hold no more.
                    block, each = min(block, order.size + 1), min(window // lanes, order.size + 1)
                    shuffle = BlockShuffle(order.size, block, each * lanes, lanes, key=self._key(number, epoch))
                    order = BlockShuffled(order, shuffle)
                case Sample():
                    order = self._drawn(order, number, stage, epoch)
                case Pack():
                    order = Natural(self.packings[number].size)
        return order

    def entries(self, _epoch: int, _seen: int) -> list[Entry]:
        """What decides the order of any epoch: descriptions and digests of stages, in their order."""
        return [*source_entries(self.pipeline), *self.own_entries()]

    def own_entries(self) -> list[Entry]:
        """Those of the split itself: how large its source is, the cuts that made it, and its order stages."""
        source, size = self.examples.source, self.source_size
        return [
            (f"{source}: {size} examples", digest([source, size])),
            *(entry_of(self.pipeline.stages[number]) for number in self.examples.lineage),
            *(self._entry(number, stage) for number, stage in self.stages),
        ]

    def as_they_come(self, before: int | None = None) -> Order:
        """The examples of the split that `take` leaves in front of stage number `before`, in the order of the split."""
        return taken(self.examples.order, [stage for number, stage in self.stages if before is None or number < before])

    def shuffling(self, before: int | None = None) -> "EpochKeys | None":
        """The keys of the last shuffle in front of stage number `before`; None where there is none."""
        shuffles = [number for number, stage in self.stages if isinstance(stage, Shuffle)]
        shuffles = [number for number in shuffles if before is None or number < before]
        return self._keys(shuffles[-1]) if shuffles else None

    def _drawn(self, order: Order, number: int, stage: Sample, epoch: int) -> Order:
        size = order.size if stage.size is None else stage.size
        if size and not order.size:
            msg = f"sample: there are no examples to draw {size} from"
            raise DataError(msg)
        return Drawn(order, self.weights(number), size, self._key(number, epoch))

    def _key(self, number: int, epoch: int) -> int:
        return self._keys(number).of(epoch)

    def _keys(self, number: int) -> "EpochKeys":
        """The keys of a stage: by its kind and its count among those of its kind, so that another stage moves none."""
        stage = dict(self.stages)[number]
        count = sum(type(other) is type(stage) for before, other in self.stages if before < number)
        seed = getattr(stage, "seed", None)
        return EpochKeys(self.pipeline.seed if seed is None else seed, stage.kind, self.examples.names[-1], count)

    def _entry(self, number: int, stage: Ordering) -> Entry:
        plain = attrs.evolve(stage, splits=())
        if isinstance(plain, Shuffle | Sample) and plain.seed is None:
            plain = attrs.evolve(plain, seed=self.pipeline.seed)
        more = ""
        if isinstance(stage, Sample):
            more = hashlib.sha256(self.weights(number).tobytes()).hexdigest()
        if isinstance(stage, Pack):
            more = self.packings[number].digest()
        return entry_of(plain, more)


@attrs.frozen(eq=False)
class MixedEpochs:
    """What decides the order of a mixture in each epoch: its run, and the epochs of its parts in the order of the run's.

    `offsets` has the first id of each part, and `firsts` the first of its rows, which are not examples but sequences where
    a part is packed. `stages` are the order stages after the mixture, and `orders` gives the order of an epoch of a part.
    """

    mix: Mix
    run: Mixture
    parts: tuple[Epochs, ...]
    offsets: Ids
    firsts: Ids
    stages: Numbered
    orders: Callable[[int, int], Order]

    @property
    def size(self) -> int:
        """The number of examples in each epoch."""
        size = self.run.size
        for _, stage in self.stages:
            if isinstance(stage, Take):
                size = min(size, counted(stage.amount, size))
        return size

    @property
    def is_strided(self) -> bool:
        """Whether ranks take positions by turns: not of a mixture, whose parts do not fall into lanes together."""
        return False

    def order(self, epoch: int) -> Order:
        """The order of an epoch: as many examples of the run as an epoch has."""
        start = epoch * self.run.size
        if start + self.run.size > LONGEST:
            msg = f"mix: the run of {self.mix.into!r} has at most {LONGEST} examples, which epoch {epoch} is beyond"
            raise DataError(msg)
        mixed = Mixed(self.run, start, self.run.size, self.firsts, self.orders)
        return taken(mixed, [stage for _, stage in self.stages])

    def entries(self, epoch: int, seen: int) -> list[Entry]:
        """What decides the first `seen` examples of an epoch: the parts and the shares that the run has begun with by then."""
        begun = self.run.begun(epoch * self.run.size + seen)
        of_parts = [
            (f"{name}: {text}", digest([name, code]))
            for name, part in zip(begun.names, self.parts, strict=False)
            for text, code in part.own_entries()
        ]
        size = (
            f"mix into={self.mix.into}, {begun.size} examples an epoch",
            digest([begun.size, begun.key, self.mix.into]),
        )
        phases = [
            (
                f"mix from {phase.start}: {', '.join(f'{name}={share}' for name, share in phase.shares)}",
                digest(canonical([phase.start, phase.shares])),
            )
            for phase in begun.phases
        ]
        after = [entry_of(attrs.evolve(stage, splits=())) for _, stage in self.stages]
        # Phases first, since a snapshot shows a few entries only, and a phase with a new part is what differs then.
        return [*source_entries(self.parts[0].pipeline), size, *phases, *of_parts, *after]


def epochs_of(
    p: Pipeline,
    splits: Mapping[str, Examples],
    source_sizes: Mapping[str, int],
    packings: Mapping[tuple[str, int], Packing | Joined],
    weights: Callable[[str, int], NDArray[np.float64]],
) -> dict[str, Epochs | MixedEpochs]:
    """What decides the order of every split and mixture, by name.

    `packings` has the plan of a pack stage for a split's name and its number, `weights` those of a source's examples for
    the source's name and the number of a sample stage. Raises `UnknownNameError` for a part of a mixture that is no split, `DataError`
    for a mixture whose name is one.
    """

    def epochs(examples: Examples, before: int | None = None) -> Epochs:
        stages = order_stages_of(p.stages, examples.names, before)
        own = {number: packings[examples.names[0], number] for number, stage in stages if isinstance(stage, Pack)}
        size, of_source = source_sizes[examples.source], partial(weights, examples.source)
        return Epochs(p, examples, size, stages, own, of_source)

    def mixed(names: tuple[str, ...]) -> MixedEpochs:
        found = mix_of(p.stages, names)
        assert found is not None, "mixtures has those that are made by a stage"
        number, mix = found
        with noted(stage_note(number, "mix")):
            parts = {name: epochs(_part(name, splits), number) for name in mix.parts}
            sizes = {name: part.size for name, part in parts.items()}
            first = dict(mix.shares) if mix.power is None else power_shares(sizes_of(mix.shares, sizes), mix.power)
            phases = [(0, first), *((start, dict(shares)) for start, shares in mix.later)]
            run = mixture(phases, sizes, until=mix.until, key=derive(p.seed, "mix", mix.into))
        ordered = tuple(parts[name] for name in run.names)
        offsets = _starts([part.source_size for part in ordered])
        firsts = _starts([part.rows for part in ordered])
        return MixedEpochs(mix, run, ordered, offsets, firsts, order_stages_of(p.stages, names), _remembered(ordered))

    return {
        **{name: epochs(examples) for name, examples in splits.items()},
        **{into: mixed(names) for into, names in mixtures(p, splits).items()},
    }


def sizes_of(shares: Iterable[tuple[str, float]], sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes of the parts that these shares name."""
    return {name: sizes[name] for name, _ in shares}


def mixtures(p: Pipeline, splits: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The mixtures that a pipeline makes, and their aliases, each with the names that it goes by.

    Raises `DataError` for one whose name is that of a split.
    """
    names: dict[str, tuple[str, ...]] = {}
    for number, stage in p.of_kind(Mix):
        if stage.into in splits:
            msg = f"stage {number} (mix): there is already a split {stage.into!r}; a mixture has a new name"
            raise DataError(msg)
        names[stage.into] = (stage.into,)
    for number, stage in p.of_kind(Alias):
        for new, old in stage.names:
            if old in names and (new in splits or new in names):
                msg = f"stage {number} (alias): there is already a split {new!r}; an alias is a new name"
                raise DataError(msg)
            if old in names:
                names[new] = (new, *names[old])
    return names


def _starts(sizes: Sequence[int]) -> Ids:
    """Where each of several begins, one after the other."""
    return np.cumsum([0, *sizes[:-1]], dtype=np.int64)


def _part(name: str, splits: Mapping[str, Examples]) -> Examples:
    if name not in splits:
        raise UnknownNameError(unknown("split", name, splits))
    return splits[name]


def _remembered(parts: Sequence[Epochs]) -> Callable[[int, int], Order]:
    """The orders of the epochs of parts, of which those asked for last are remembered, since some hold running sums."""
    return lru_cache(maxsize=4 * len(parts))(lambda part, epoch: parts[part].order(epoch))


def source_of(epochs: Epochs, source: Any) -> Any:
    """What the examples of a split are read from: its source, or where it is packed, sequences of that."""
    for number, stage in epochs.stages:
        if isinstance(stage, Pack):
            with noted(stage_note(number, "pack")):
                packed = packed_columns(source, stage.column)
            documents, keys = epochs.as_they_come(number), epochs.shuffling(number)
            return Sequences(source, documents, epochs.packings[number], packed, keys)
    return source


def steps_entry(batch: Batch, layout: Layout) -> Entry:
    """The entry of a batch stage by length, whose buckets decide the order within an epoch."""
    size = f"of={batch.of}" if batch.of is not None else f"alike={batch.alike}"
    decisive = [batch.size, batch.of, batch.alike, layout.buckets.edges.tolist(), layout.buckets.counts.tolist()]
    return f"batch {batch.size}, {size}", digest(canonical(decisive))


def source_entries(p: Pipeline) -> list[Entry]:
    """The entries of the stages that make the sources."""
    return [entry_of(stage) for _, stage in p.of_kind(Source)]


def entry_of(stage: Stage, more: str = "") -> Entry:
    """What a stage says, and its digest, with what `more` decides."""
    return f"{stage.kind} {summary(decisive(stage))[0]}".rstrip(), digest([stage_digest(stage), more])


def taken(order: Order, stages: Sequence[Ordering]) -> Order:
    """What the `take` stages among these leave of an order."""
    for stage in stages:
        if isinstance(stage, Take):
            order = take(order, counted(stage.amount, order.size))
    return order


def counted(amount: float, size: int) -> int:
    """How many a `take` of `amount` takes of `size`: a count as it is, a fraction rounded down."""
    return floor(as_written(amount) * size) if isinstance(amount, float) else amount
