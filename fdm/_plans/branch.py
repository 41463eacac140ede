"""Branches: the pipeline as one split goes through it, each stage in the place where it works."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs
import torch
from torch import Tensor

from .._arrays.table import Table
from .._errors import DataError, noted, stage_note
from .._pipeline import Pipeline
from .._random.key import Key
from .._ranks.context import RankContext
from .._splits.source import gives_batches
from .._stages.limits import applying
from .._stages.orders import order_stages_of
from .._stages.stage import Augment, Batch, Change, Ordering, Sample, Shuffle, Source, Transfer
from .rows import Rows
from .sequences import Sequences, columns_of


@attrs.frozen(eq=False)
class Where:
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
class Branch:
    """The source of a split, and the stages that hold for it: on its order, its examples, its batches, on the device.

    Facts are filled in. `batch` and `transfer` come with their numbers.
    """

    source: Any
    orders: tuple[tuple[int, Ordering], ...]
    on_examples: tuple[Applied, ...]
    batch: tuple[int, Batch] | None
    on_host: tuple[Applied, ...]
    transfer: tuple[int, Transfer] | None
    on_device: tuple[Applied, ...]
    where: Where

    @property
    def batching(self) -> tuple[int, Batch]:
        """The batch stage and its number. Raises `DataError` where none holds for the split."""
        if self.batch is None:
            split = self.where.split
            msg = f"the pipeline has no batch stage for {split!r}: add fdm.batch(size), or use data.dataset({split!r})"
            raise DataError(msg)
        return self.batch

    @property
    def is_whole(self) -> bool:
        """Whether a batch is one gather per column, with no Python per example."""
        return self.batching[1].collate is None and self.is_gathered

    @property
    def is_gathered(self) -> bool:
        """Whether the source gives whole batches, and no stage works on single examples."""
        if isinstance(self.source, Parts):
            return all(part.has_columns for part in self.source.branches)
        return self.has_columns or (gives_batches(self.source) and not self.on_examples)

    @property
    def has_columns(self) -> bool:
        """Whether examples come from the source by one gather per column, and no stage works on single ones."""
        return isinstance(self.source, Table | Sequences) and not self.on_examples

    @property
    def repeats(self) -> bool:
        """Whether an epoch may have an example more than once, so that its position decides its keys too."""
        return any(isinstance(stage, Sample) for _, stage in self.orders)

    @property
    def changes(self) -> bool:
        """Whether another epoch has another order, or other augmentation."""
        keyed = any(applied.key is not None for applied in (*self.on_examples, *self.on_host, *self.on_device))
        ordered = any(isinstance(stage, Shuffle | Sample) for _, stage in self.orders)
        return keyed or ordered or isinstance(self.source, Parts)

    def at(self, epoch: int) -> Self:
        """The same in another epoch."""
        return attrs.evolve(self, where=attrs.evolve(self.where, epoch=epoch))

    def before_transfer(self) -> Self:
        """The same without what happens in the main process alone."""
        return attrs.evolve(self, transfer=None, on_device=())


@attrs.frozen(eq=False)
class Parts:
    """The parts of a mixture as one source: a branch for each, the first of its ids in the mixture, and how many an epoch has."""

    branches: tuple[Branch, ...]
    offsets: Tensor
    sizes: Tensor

    def __len__(self) -> int:
        return int(self.offsets[-1]) + len(self.branches[-1].source)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts, by their numbers."""
        return tuple(branch.where.split for branch in self.branches)

    def numbers(self, ids: Tensor) -> Tensor:
        """The number of the part that each id of the mixture is of."""
        return torch.searchsorted(self.offsets, ids, right=True) - 1

    def own(self, rows: Rows) -> tuple[Tensor, Rows]:
        """The number of the part of each row, and the rows as the parts have them: ids, places and epochs of their own."""
        numbers = self.numbers(rows.ids)
        draws = rows.positions if rows.draws is None else rows.draws
        sizes = self.sizes[numbers]
        passes = draws.div(sizes, rounding_mode="floor")
        return numbers, Rows(rows.ids - self.offsets[numbers], draws - passes * sizes, passes=passes, edge=rows.edge)

    def apart(self, rows: Rows) -> list[tuple[Branch, Tensor, Rows]]:
        """The rows of each part that has some, and their places among all."""
        numbers, own = self.own(rows)
        places = [(numbers == number).nonzero().flatten() for number in range(len(self.branches))]
        return [
            (branch, here, own.chosen(here)) for branch, here in zip(self.branches, places, strict=True) if len(here)
        ]


def check_alike(parts: Sequence[Branch]) -> None:
    """Raise `DataError` for parts of a mixture whose columns differ in name, kind, dtype or shape of a row."""
    gathered = [part for part in parts if part.has_columns]
    for part in gathered[1:]:
        first, other = (columns_of(each.source) for each in (gathered[0], part))
        for name in dict.fromkeys([*first, *other]):
            of_first, of_other = (_said(columns.get(name)) for columns in (first, other))
            if of_first != of_other:
                msg = (
                    f"parts of a mixture have the same columns, but {name!r} is {of_first} in {gathered[0].where.split!r} "
                    f"and {of_other} in {part.where.split!r}; make them alike in clean, or in transforms before batch: "
                    f"fdm.transform(fn).on({part.where.split!r})"
                )
                raise DataError(msg)


def _said(column: Any) -> str:
    """What a column is, in words."""
    if column is None:
        return "missing"
    values = column if isinstance(column, Tensor) else column.values
    shape = " x ".join(map(str, values.shape[1:]))
    dtype = str(values.dtype).removeprefix("torch.") + (f" of {shape}" if shape else "")
    return dtype if isinstance(column, Tensor) else f"ragged {dtype if column.kind == 'tensor' else column.kind}"


def sources_of(source: Any) -> list[Any]:
    """The sources that examples are read from: of a mixture those of its parts."""
    return [part.source for part in source.branches] if isinstance(source, Parts) else [source]


def branch_of(  # noqa: PLR0917 - all that decides how a split is gone through
    p: Pipeline,
    names: Sequence[str],
    source: Any,
    facts: Mapping[str, Any],
    context: RankContext,
    mixed: tuple[int, Sequence[str]] | None = None,
) -> Branch:
    """The branch of the split that `names` names, aliases first, in epoch 0.

    With `mixed`, the number of a mix stage and the names of its mixture, that of the split as a part of it: the order
    stages before, and on its examples also the stages that hold for the mixture alone.

    Raises `UnknownNameError` for a fact that was not measured.
    """
    numbered = applied_stages(p, names, facts, () if mixed is None else mixed[1])
    end = len(p.stages)
    transfer = next(iter(applying(list(p.of_kind(Transfer)), names)), None)
    boundary = transfer[0] if transfer else end
    first_batch = next((number for number, _ in p.of_kind(Batch)), boundary)
    on_examples = tuple(applied for applied in numbered if applied.number < first_batch)
    if isinstance(source, Parts):
        by_number = {applied.number: applied for part in source.branches for applied in part.on_examples}
        on_examples = tuple(by_number[number] for number in sorted(by_number))
    return Branch(
        source,
        tuple(order_stages_of(p.stages, names, None if mixed is None else mixed[0])),
        on_examples,
        batch_of(p, names),
        tuple(applied for applied in numbered if first_batch <= applied.number < boundary),
        transfer,
        tuple(applied for applied in numbered if applied.number > boundary),
        Where(names[0], 0, context.rank, context.world_size, _made_by(p)),
    )


def batch_of(p: Pipeline, names: Sequence[str]) -> tuple[int, Batch] | None:
    """The batch stage of a split, with its number: the one that names it, else the one that names none."""
    holding = applying(list(p.of_kind(Batch)), names)
    return max(holding, key=lambda pair: bool(pair[1].splits), default=None)


def applied_stages(
    p: Pipeline, names: Sequence[str], facts: Mapping[str, Any], mixture: Sequence[str] = ()
) -> list[Applied]:
    """The transform and augment stages of a split, with facts, and with the keys that name the streams of the augments.

    Of a part of a `mixture`, which that names, they are those of the part, with its own streams, and the mixture's.
    """
    keys = (dict(streams(p, mixture)) if mixture else {}) | dict(streams(p, names))
    applied = []
    for number in sorted(keys):
        stage: Any = p.stages[number]
        with noted(stage_note(number, stage.kind)):
            applied.append(
                Applied(number, attrs.evolve(stage, function=stage.function.with_facts(facts)), keys[number])
            )
    return applied


def streams(p: Pipeline, names: Sequence[str]) -> list[tuple[int, Key | None]]:
    """The transform and augment stages of a split, by number, with the keys that name the streams of the augments.

    A stream is named by the seed, the function and its count among those of the same name: not by its place, so that
    another stage moves none, and an augment draws the same before `batch` and after it.
    """
    seen: dict[str, int] = {}
    keys: list[tuple[int, Key | None]] = []
    for number, stage in applying(list(p.of_kind(Change)), names):
        key = None
        if isinstance(stage, Augment):
            name = stage.function.qualified_name
            seen[name] = seen.get(name, -1) + 1
            key = Key(p.seed, "augment", name, seen[name])
        keys.append((number, key))
    return keys


def check_facts(p: Pipeline, facts: Mapping[str, Any]) -> None:
    """Raise `UnknownNameError` for a fact among the parameters of any transform or augment that was not measured."""
    for number, stage in p.of_kind(Change):
        with noted(stage_note(number, stage.kind)):
            stage.function.with_facts(facts)


def _made_by(p: Pipeline) -> tuple[int, str]:
    """The stage that made the sources: its number, and what it is."""
    number, stage = list(p.of_kind(Source))[-1]
    return number, f"{stage.kind} {stage.function!r}, defined at {stage.function.location}"
