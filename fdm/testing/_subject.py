"""Trials: a pipeline opened to be examined, and the batches of each split that are looked at."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, TypeVar

import attrs
import numpy as np

from .._arrays.differences import copied
from .._batches.operations import Operation, on_examples, on_host
from .._data import Data, branches_of, prepared_of
from .._errors import text_of
from .._executor import Executor
from .._loaders.device import Crossing
from .._loaders.loader import plan_of
from .._loaders.options import LoaderOptions
from .._loaders.profile import on_device
from .._pipeline import Pipeline
from .._plans.branch import Branch
from .._plans.plan import rows_at
from .._plans.rows import Rows
from .._prepare.prepare import Prepared
from .._random.ambient import seeded
from .._random.key import Key
from .._ranks.context import RankContext
from .._sources.loaded import opened_here
from .._splits.splits import Examples, resolve_splits
from .._stages.describe import summary
from .._stages.function import Function
from .._stages.stage import Batch, Cut, Mix, Source
from .._text import shortened


T = TypeVar("T")


@attrs.frozen
class Broken:
    """How a law is broken: the number of the stage to blame, where there is one, and the smallest counterexample."""

    number: int | None
    text: str


@attrs.frozen
class Skipped:
    """Why a law was not tested."""

    why: str


@attrs.frozen(eq=False)
class Look:
    """A batch that is looked at: its split and epoch, its rows, and the operations that make it."""

    split: str
    epoch: int
    rows: Rows
    operations: tuple[Operation, ...]

    def of(self, rows: Rows) -> str:
        """Where some of its rows stand, for a counterexample."""
        ids = rows.ids.tolist()
        more = f", ... ({len(ids)} in all)" if len(ids) > 3 else ""
        shown = f"example{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids[:3]))}{more}"
        return f"split {self.split!r}, epoch {self.epoch}, {shown}"

    def before(self, operation: Operation, rows: Rows) -> Any:
        """What some rows are before an operation."""
        batch: Any = None
        for earlier in self.operations[: self.operations.index(operation)]:
            batch, rows = earlier.call(copied(batch), rows)
        return batch


@attrs.frozen(eq=False, slots=False)
class Trial:
    """A pipeline that is open, the executor that opened it, and the splits and number of steps to look at."""

    data: Data
    executor: Executor
    splits: tuple[str, ...]
    steps: int

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline under examination."""
        return self.data.pipeline

    @property
    def prepared(self) -> Prepared:
        """The sources, splits and facts of the pipeline."""
        return prepared_of(self.data)

    @property
    def branches(self) -> Mapping[str, Branch]:
        """How the pipeline goes through each split."""
        return branches_of(self.data)

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that were measured."""
        return self.data.facts

    @property
    def source_stage(self) -> int:
        """The number of the stage that makes the sources."""
        return max(number for number, _ in self.pipeline.of_kind(Source))

    @cached_property
    def batched(self) -> tuple[str, ...]:
        """The splits whose loader has steps."""
        with_batch = [split for split in self.splits if self.branches[split].batch is not None]
        return tuple(split for split in with_batch if len(self.data.loader(split)))

    @cached_property
    def resolved(self) -> Mapping[str, Examples]:
        """The splits as another rank finds them, whose global random state is another one."""
        cuts = list(self.pipeline.of_kind(Cut))
        with opened_here(self.prepared.sources) as sources:
            later = [mix.into for _, mix in self.pipeline.of_kind(Mix)]
            return under(1, lambda: resolve_splits(cuts, sources, later))

    def reopened(
        self,
        context: RankContext | None = None,
        options: LoaderOptions = LoaderOptions(),  # noqa: B008 - a frozen value
        splits: Mapping[str, Examples] | None = None,
    ) -> Data:
        """The same sources and facts as data of another rank, options or splits; another rank finds its own weights."""
        prepared = attrs.evolve(self.prepared, splits=splits or self.prepared.splits)
        made = Data(self.pipeline, context or self.data.context, prepared, options)
        if context is None:
            made._weights.update(self.data._weights)  # noqa: SLF001 - one of us
        return made

    def looks(self, split: str) -> list[Look]:
        """The batches of a split that are looked at: the first steps, the last one, and the first of another epoch."""
        if self.branches[split].batch is None:
            return self._looks_without_batch(split)
        count = len(self.data.loader(split))
        steps = sorted({*range(min(self.steps, count)), *([count - 1] if count else [])})
        return [self._look(split, *at) for at in [*((0, step) for step in steps), *([(1, 0)] if count else [])]]

    def _look(self, split: str, epoch: int, step: int) -> Look:
        (rows,) = plan_of(self.data.loader(split, epoch=epoch)).alone(step).rows()
        branch = self.branches[split].at(epoch)
        crossing = Crossing(branch.transfer, self.data.context.device, LoaderOptions())
        return Look(split, epoch, rows, (*on_host(branch), *on_device(branch, crossing)))

    def _looks_without_batch(self, split: str) -> list[Look]:
        """Some examples of a split for which no batch stage holds, as lists that nothing puts together."""
        order = self.data.dataset(split).order
        rows = rows_at(order, np.arange(min(_EXAMPLES, order.size)))
        return [Look(split, 0, rows, on_examples(self.branches[split]))] if len(rows.ids) else []


def as_list(found: list[Any]) -> list[Any]:
    """The examples as they are: what collates where examples, not batches, are compared."""
    return found


LISTS = Batch(1, drop_last=False, collate=Function(as_list), ids=None)
_EXAMPLES = 16


def under(seed: int, call: Callable[[], T]) -> T:
    """What `call` returns where the global random state is seeded by `seed`; the state is as before afterwards."""
    with seeded(Key(seed, "examine")):
        return call()


def twice(call: Callable[..., T], *args: Any) -> tuple[T, T]:
    """What a call returns under two global random states."""
    one, other = (under(seed, partial(call, *args)) for seed in (1, 2))
    return one, other


def shown_stage(p: Pipeline, number: int | None) -> str | None:
    """A stage with its number, as the table of its pipeline shows it."""
    return (
        None
        if number is None
        else " ".join(f"{number} {p.stages[number].kind} {' '.join(summary(p.stages[number]))}".split())
    )


def told(error: BaseException) -> str:
    """An error as a counterexample shows it."""
    return shortened(f"{type(error).__name__}: {text_of(error)}", 200)
