"""The executor: it interprets a pipeline for one rank, and is the only way from a value to data."""

import multiprocessing
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor as PoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from ._checks import Field, checked, integer, switch, switch_or_none
from ._collectives.agreement import agreement
from ._collectives.content import Part, content
from ._data import Data, prepared_of, weights_in
from ._errors import ParameterError, PipelineError, did_you_mean, listed
from ._habits.calls import guided, guided_class, habit
from ._loaders.options import LoaderOptions
from ._pipeline import Pipeline
from ._prepare.means import Means
from ._prepare.pool import PoolOption
from ._prepare.prepare import Prepared, prepare_kept, prepared
from ._processes.progress import is_shown, tell
from ._public import public
from ._ranks.context import RankContext
from ._sources.drawing import warn_of_drawing
from ._sources.loaded import close_all, closed_on_failure
from ._stages.stage import Load, Measure, Stage
from ._text import short
from .store._manifest import check_digests
from .store._publish import Patience, store_folder


def _given_store(store: str | Path | None) -> Path | None:
    if store is not None and not isinstance(store, str | Path):
        msg = f"store is the path of a folder, or None for the default, not {store!r}"
        raise PipelineError(msg)
    # A folder that is given stays the same when the working directory changes; the default is asked for when used.
    return None if store is None else store_folder(store, {})


def _seconds(wait: float | None) -> float | None:
    if wait is None or (isinstance(wait, float) and wait >= 0):
        return None if wait is None else float(wait)
    try:
        return integer("wait", wait, PipelineError, least=0)
    except PipelineError:
        msg = f"wait is a number of seconds, or None for as long as it takes, not {wait!r}"
        raise PipelineError(msg) from None


def _checked_pool(_: object, __: object, pool: Any) -> None:
    if pool is not None and not isinstance(pool, PoolExecutor) and not callable(pool):
        msg = f"pool is a concurrent.futures.Executor or a function that makes one, not {short(pool, 60)}"
        raise PipelineError(msg)


def _count(least: int) -> Field:
    return checked(integer, PipelineError, "{field}", least=least)


def _checked_start_method(_: object, __: object, method: Any) -> None:
    known = multiprocessing.get_all_start_methods()
    if method is not None and method not in known:
        msg = f"start_method is None or one of {listed(known)}, not {method!r}{did_you_mean(method, known)}"
        raise PipelineError(msg)


def _checked_context(_: object, __: object, context: Any) -> None:
    if not isinstance(context, RankContext):
        msg = f"context is a RankContext, such as fdm.RankContext(device='cuda:0'), not {context!r}"
        raise PipelineError(msg)


_SWITCH = checked(switch_or_none, PipelineError, "{field}")


@public
@guided_class
@attrs.frozen
class Executor:
    """How and where pipelines run: nothing in it can change a batch.

    `context` is the rank and device, by default those of this process; `store` is the folder for what is kept, by
    default `$FDM_STORE` or the user's cache folder.

    `workers` is the number of processes that make whole batches, for work in Python on each example; they stay for all
    epochs, and begin by `start_method` (default: Python's own). `threads` does the same in this process, for work that
    releases the GIL: decoding, copying large examples. With both, each process makes the examples of a batch on that many
    threads. `prefetch` is how many batches may be made ahead: of each process, as in torch, or of all threads together
    (but enough that each has one to make). `pin_memory` (default: where the device is a CUDA one) copies batches to pinned memory first.

    `pool` runs the parts of `clean(...).each(...)`: a `concurrent.futures.Executor`, or a function that makes one, which
    can then be renewed when it breaks; by default a process for each core. `progress` shows bars (default: on the
    terminal of a machine's first rank). `wait` is for how many seconds to wait for another process that prepares the
    same (default: as long as it takes), and for the other ranks of a process group to open it (default: as long as the group).
    `verify` compares all that is opened from the store with its sha256 first, which reads all of it (default: sizes only).
    """

    context: RankContext = attrs.field(factory=RankContext.detect, validator=_checked_context)
    store: Path | None = attrs.field(default=None, converter=_given_store)
    workers: int = attrs.field(default=0, **_count(0))
    threads: int = attrs.field(default=0, **_count(0))
    prefetch: int = attrs.field(default=2, **_count(1))
    pin_memory: bool | None = attrs.field(default=None, **_SWITCH)
    pool: PoolOption = attrs.field(default=None, validator=_checked_pool)
    progress: bool | None = attrs.field(default=None, **_SWITCH)
    wait: float | None = attrs.field(default=None, converter=_seconds)
    start_method: str | None = attrs.field(default=None, validator=_checked_start_method)
    verify: bool = attrs.field(default=False, **checked(switch, PipelineError, "{field}"))

    def prepare(self, p: Pipeline, /) -> None:
        """Run fetch, clean and measure where their results are not in the store yet.

        Load and split run only where there is something to measure, which needs them. No other rank has to make this
        call: it waits for others only where they are at work on the same artifact.
        """
        _check_pipeline(p)
        if next(p.of_kind(Measure), None) is None:
            prepare_kept(p, self._means())
        else:
            close_all(prepared(p, self._means()).sources.values())

    def open(self, p: Pipeline, /) -> Data:
        """The pipeline's data for this rank; what is not prepared yet is prepared first.

        Where a process group exists, every rank of it opens the pipeline, and they compare what they have.

        Raises `PipelineError` for a pipeline without a source, and where a rank has another pipeline, splits or data than
        rank 0; `PreparationError` where another rank fails; `DataError` for data that does not fit, and
        `UnknownNameError` for a split, column or fact that is not there. Errors of user functions keep their type.
        """
        _check_pipeline(p)
        with agreement(self.context, self.wait) as compare:
            made = prepared(p, self._means())
            with closed_on_failure(made.sources.values()):
                data = self._data(p, made)
                compare(lambda: contents(data))
        return data

    def _data(self, p: Pipeline, made: Prepared) -> Data:
        if self.context.local_rank == 0:
            _warn_of_drawing(p, made.sources)
        options = LoaderOptions(self.workers, self.threads, self.prefetch, self.pin_memory, self.start_method)
        return Data(p, self.context, made, options)

    def _means(self) -> Means:
        shown = is_shown(self.progress, self.context)
        patience = Patience(self.wait, partial(tell, shown=shown))
        means = Means(self._folder, self.pool, patience, shown, self.context)
        return attrs.evolve(means, check=check_digests) if self.verify else means

    def _folder(self) -> Path:
        return store_folder(self.store, os.environ)


def _warn_of_drawing(p: Pipeline, sources: Mapping[str, Any]) -> None:
    for number, stage in p.of_kind(Load):
        with closed_on_failure(sources.values()):  # warnings may be errors
            warn_of_drawing(sources, f"stage {number}, load {stage.function!r}")


def open_alone(executor: Executor, p: Pipeline, /) -> Data:
    """What `executor.open` returns, without the comparison: no other rank has to make this call."""
    _check_pipeline(p)
    made = prepared(p, executor._means())  # noqa: SLF001 - the other half of `open`
    with closed_on_failure(made.sources.values()):
        return executor._data(p, made)  # noqa: SLF001 - likewise


def agree(executor: Executor, data: Data, /) -> None:
    """Compare opened data with what the other ranks have opened, as `executor.open` does: all ranks make this call."""
    with agreement(executor.context, executor.wait) as compare:
        compare(lambda: contents(data))


def _check_pipeline(p: object) -> None:
    if not isinstance(p, Pipeline):
        remedy = "; data comes from a stage: fdm.load(fn), where fn() returns it"
        if isinstance(p, Stage):
            remedy = "; stages go into one: fdm.pipeline(stage, stage)"
        elif isinstance(p, list | tuple) and all(isinstance(each, Stage) for each in p):
            remedy = "; stages go into one: fdm.pipeline(*stages)"
        msg = f"an executor takes a Pipeline, made by fdm.pipeline(...), not a {type(p).__name__}{remedy}"
        raise PipelineError(msg)


def contents(data: Data) -> list[Part]:
    """What opened data consists of, to be compared."""
    made = prepared_of(data)
    return content(data.pipeline, made.sources, made.splits, made.files, weights_in(data))


@public
@guided
def open(p: Pipeline, /, **options: Any) -> Data:  # noqa: A001 - fdm.open reads as what it does
    """`Executor(**options).open(p)` in one call: the pipeline's data, prepared if need be.

    >>> import fdm
    >>> def numbers(upto):
    ...     return range(upto)
    >>> with fdm.open(fdm.pipeline(fdm.load(numbers, upto=10), fdm.batch(4))) as data:
    ...     [batch.tolist() for batch in data.loader("all")]
    [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    """
    check_options("open", options)
    return Executor(**options).open(p)


def check_options(
    function: str, options: Iterable[str], *, own: Sequence[str] = (), without: Sequence[str] = ()
) -> None:
    """Raise `ParameterError` for an option that an executor does not have, or that `function` sets itself.

    `own` are the parameters that `function` has besides: somebody may have meant one of these.
    """
    known = [field.name for field in attrs.fields(Executor) if field.name not in without]
    for name in options:
        if name not in known:
            meant = [*own, *known]
            msg = f"{function} has no option {name!r}{did_you_mean(name, meant)}; the options are {listed(meant)}"
            instead = habit("open", name)
            raise ParameterError(f"{function} has no option {name!r}: {instead}" if instead else msg)
