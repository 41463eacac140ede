"""Branches: the pipeline as one split goes through it, each stage in the place where it works."""

from collections.abc import Container, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._arrays.packed import Packed
from .._arrays.ragged import Ragged
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
    """The parts of a mixture as one source: a branch for each, where its rows begin, and how many an epoch has.

    `firsts` has the first row of each, a sequence where it is packed, and `offsets` the first example id.
    """

    branches: tuple[Branch, ...]
    firsts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.firsts[-1]) + len(self.branches[-1].source)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts, by their numbers."""
        return tuple(branch.where.split for branch in self.branches)

    def numbers(self, rows: Rows) -> Tensor:
        """The number of the part that each row of the mixture is of."""
        return torch.from_numpy(self._numbers(rows.ids.numpy()))

    def own_ids(self, rows: Rows) -> Tensor:
        """The ids that rows have in their parts' sources."""
        ids = rows.ids.numpy()
        return torch.from_numpy(ids - self.firsts[self._numbers(ids)])

    def own(self, rows: Rows) -> tuple[Tensor, Rows]:
        """The number of the part of each row, and the rows as the parts have them: ids, places and epochs of their own."""
        numbers = self._numbers(rows.ids.numpy())
        return torch.from_numpy(numbers), _rows(*self._own(rows, numbers, np.arange(len(numbers))), rows.edge)

    def apart(self, rows: Rows) -> list[tuple[int, Tensor, Rows]]:
        """The numbers of the parts that have some of the rows, with these rows and their places among all."""
        numbers = self._numbers(rows.ids.numpy())
        if not len(numbers):
            return []
        # Numbers of 16 bits are sorted in one pass.
        small = len(self.branches) <= 2**16
        order = np.argsort(numbers.astype(np.uint16) if small else numbers, kind="stable")
        numbers = numbers[order]
        ends = [*(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        ids, positions, passes = self._own(rows, numbers, order)
        apart = []
        for start, end in pairwise([0, *ends]):
            own = _rows(ids[start:end], positions[start:end], passes[start:end], rows.edge)
            apart.append((int(numbers[start]), torch.from_numpy(order[start:end]), own))
        return apart

    def _numbers(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self.firsts, ids, side="right") - 1

    def _own(
        self, rows: Rows, numbers: NDArray[np.int64], places: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The ids, positions and epochs that the rows at some places, of parts of these numbers, have in their parts."""
        draws = (rows.positions if rows.draws is None else rows.draws).numpy()[places]
        sizes = self.sizes[numbers]
        passes = draws // sizes
        return rows.ids.numpy()[places] - self.firsts[numbers], draws - passes * sizes, passes


def _rows(ids: NDArray[np.int64], positions: NDArray[np.int64], passes: NDArray[np.int64], edge: int | None) -> Rows:
    return Rows(torch.from_numpy(ids), torch.from_numpy(positions), passes=torch.from_numpy(passes), edge=edge)


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
    kind = "packed" if isinstance(column, Packed) else "ragged"
    shape = " x ".join(map(str, values.shape[1:]))
    dtype = str(values.dtype).removeprefix("torch.") + (f" of {shape}" if shape else "")
    if isinstance(column, Tensor):
        return dtype
    return f"{kind} {column.kind if isinstance(column, Ragged) and column.kind != 'tensor' else dtype}"


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
    keys = dict(streams(p, names))
    keys |= dict(streams(p, mixture, beside=keys))
    applied = []
    for number in sorted(keys):
        stage: Any = p.stages[number]
        with noted(stage_note(number, stage.kind)):
            applied.append(
                Applied(number, attrs.evolve(stage, function=stage.function.with_facts(facts)), keys[number])
            )
    return applied


def streams(p: Pipeline, names: Sequence[str], beside: Container[int] = ()) -> list[tuple[int, Key | None]]:
    """The transform and augment stages of a split, by number, with the keys that name the streams of the augments.

    A stream is named by the seed, the function and its count among those of the same name: not by its place, so that
    another stage moves none, and an augment draws the same before `batch` and after it. `beside` has the numbers of stages
    that are counted already: those of a part, beside which the stages of its mixture have other streams.
    """
    changes: list[tuple[int, Change]] = list(p.of_kind(Change))
    augments = [stage for number, stage in changes if number in beside and isinstance(stage, Augment)]
    names_before = [stage.function.qualified_name for stage in augments]
    seen = {name: names_before.count(name) - 1 for name in names_before}
    keys: list[tuple[int, Key | None]] = []
    for number, stage in applying(changes, names):
        if number in beside:
            continue
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
