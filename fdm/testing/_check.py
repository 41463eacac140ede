"""Checks: the laws tested on a user's own pipeline, with the stage to blame for each that is broken."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Any, TypeAlias

import attrs

from .._checks import integer
from .._data import Data
from .._errors import DataError, LawError, ParameterError, UnknownNameError, did_you_mean, listed, stage_of, unknown
from .._executor import Executor, check_options
from .._loaders.options import LoaderOptions
from .._pipeline import Pipeline
from .._processes.torch_state import settled, single
from .._stages.function import Function
from .._stages.stage import Augment, Change, Measure, Split
from .._text import shortened
from ._apart import Apart, importable, opened_there, same_batches, same_orders, same_splits
from ._laws import (
    disjoint,
    epochs_differ,
    measured_again,
    partitioned,
    resumed,
    settled_orders,
    settled_splits,
    side_by_side,
    unchanged_by,
)
from ._process import rows_of
from ._purity import AUGMENT, DRAWS, FINITE, INPUTS, MADE, ONCE, SOURCE, STRUCTURE, TRANSFORM, Walk, walked
from ._remedies import REMEDIES
from ._report import Report, Verdict
from ._subject import Broken, Skipped, Trial, shown_stage, told, under


@attrs.frozen(eq=False, slots=False)
class Examination:
    """What the laws look at: the open pipeline, what a walk through its batches finds, and another process.

    `rows` are some examples of the sources, from before the user's functions had them.
    """

    trial: Trial
    executor: Executor
    rows: Mapping[str, Mapping[int, Any]]

    @cached_property
    def walk(self) -> Walk:
        """What a walk through the batches finds."""
        return walked(self.trial)

    @cached_property
    def apart(self) -> Apart:
        """The trial beside another process."""
        return Apart(self.trial, self.walk, self.rows)


Law: TypeAlias = Callable[[Examination], Broken | Skipped | None]


def check(
    pipeline: Pipeline,
    /,
    *,
    splits: Sequence[str] | None = None,
    steps: int = 4,
    without: Sequence[str] = (),
    **options: Any,
) -> Report:
    """`examine`, but raise `LawError`, whose message is the table, if a law is broken: a test in one line.

    >>> import fdm
    >>> from fdm.testing import check, doubled, example_table
    >>> p = fdm.pipeline(fdm.load(example_table, n=20), fdm.shuffle(), fdm.transform(doubled), fdm.batch(4))
    >>> check(p, without=["workers change nothing"]).passed
    True
    """
    report = examine(pipeline, splits=splits, steps=steps, without=without, **options)
    if not report.passed:
        msg = f"the pipeline breaks {len(report.broken)} of {len(report.results)} laws\n{report}"
        raise LawError(msg, report)
    return report


def examine(
    pipeline: Pipeline,
    /,
    *,
    splits: Sequence[str] | None = None,
    steps: int = 4,
    without: Sequence[str] = (),
    **options: Any,
) -> Report:
    """Test the laws on a pipeline with its own functions; the report tells each law's verdict and the stage to blame.

    Opens the pipeline as `fdm.open(pipeline, **options)` does, so what is kept comes from the store. Looks at the first
    `steps` batches of each of `splits` (default: all), at the last one, and at the first of another epoch: each stage
    is called several times for each, with copies of its input. Then `workers` (default 1, begun by `start_method`) and
    `threads` (default 2) make the same batches, and one process that is started afresh finds the same again. `without`
    names laws that are not tested, such as `"batches are finite"` where a NaN is meant.

    A pipeline that cannot be opened raises what opening it raises, but for splits that overlap and facts that nothing
    measured, which are laws. Raises `UnknownNameError` for a split that is not there, and `ParameterError` for an
    option or a law that is not.

    >>> import fdm
    >>> from fdm.testing import example_table, examine
    >>> def halves(source):
    ...     return {"train": range(6), "val": range(5, 10)}
    >>> report = examine(fdm.pipeline(fdm.load(example_table, n=10), fdm.split(halves), fdm.batch(4)))
    >>> report.broken[0].law, report.broken[0].number
    ('splits are disjoint and in range', 1)
    """
    _check_arguments(steps, without, options)
    executor = Executor(**options)
    inline = attrs.evolve(executor, workers=0, threads=0)
    try:
        data = inline.open(pipeline)
    except DataError as error:
        return _report_of_closed(pipeline, error, without)
    with data:
        trial = Trial(data, inline, _checked_splits(data, splits), steps)
        seeded: Callable[[Callable[[], Report]], Report] = partial(under, 0)
        return single(settled(seeded))(partial(_report, trial, executor, without))


def _report(trial: Trial, executor: Executor, without: Sequence[str]) -> Report:
    examination = Examination(trial, executor, {name: _first_rows(trial, name) for name in trial.prepared.sources})
    return Report(tuple(_verdict(examination, name, law) for name, law in LAWS.items() if name not in without))


def _first_rows(trial: Trial, source: str) -> dict[int, Any]:
    with suppress(Exception):  # what cannot be read is told where batches are made of it
        return rows_of(trial, source)
    return {}


def _verdict(examination: Examination, name: str, law: Law) -> Verdict:
    try:
        found = law(examination)
    except Exception as error:  # noqa: BLE001 - of a user's function, which works elsewhere
        found = Broken(stage_of(error), told(error))
    return _as_verdict(examination.trial.pipeline, name, found)


def _as_verdict(p: Pipeline, name: str, found: Broken | Skipped | None) -> Verdict:
    if isinstance(found, Broken):
        remedy = REMEDIES[name]
        return Verdict(
            name, "broken", found.number, shown_stage(p, found.number), shortened(found.text, 400), remedy=remedy
        )
    return Verdict(name, "skipped", why=found.why) if isinstance(found, Skipped) else Verdict(name, "holds")


def _report_of_closed(p: Pipeline, error: DataError, without: Sequence[str]) -> Report:
    """The report on a pipeline that cannot be opened because it breaks a law; other errors are raised."""
    number = stage_of(error)
    stage = None if number is None else p.stages[number]
    if isinstance(stage, Split) and isinstance(stage.into, Function):
        law = DISJOINT
    elif isinstance(error, UnknownNameError) and isinstance(stage, Change | Measure):
        law = FACTS
    else:
        raise error
    skipped = Skipped("the pipeline cannot be opened")
    found = {name: Broken(number, told(error)) if name == law else skipped for name in LAWS if name not in without}
    return Report(tuple(_as_verdict(p, name, each) for name, each in found.items()))


def _walked(law: str, *kinds: type, otherwise: str = "") -> Law:
    """A law that the walk tells of, skipped where there is nothing that it is about."""

    def test(examination: Examination) -> Broken | Skipped | None:
        walk = examination.walk
        broken = walk.of(law)
        if broken is not None:
            return broken
        if kinds and next(examination.trial.pipeline.of_kind(*kinds), None) is None:
            return Skipped(otherwise)
        if not walk.whole:
            return Skipped("no batch can be made" if walk.failed else "there are no examples")
        return None

    return test


def _by_threads(examination: Examination) -> Broken | Skipped | None:
    options = LoaderOptions(threads=examination.executor.threads or 2)
    return unchanged_by(examination.trial, examination.walk, options)


def _by_workers(examination: Examination) -> Broken | Skipped | None:
    executor = examination.executor
    options = LoaderOptions(
        executor.workers or 1, executor.threads, executor.prefetch, start_method=executor.start_method
    )
    return unchanged_by(examination.trial, examination.walk, options)


def _check_arguments(steps: Any, without: Any, options: Any) -> None:
    check_options("examine", options, own=("splits", "steps", "without"))
    integer("examine: steps", steps, ParameterError, least=1)
    for law in [without] if isinstance(without, str) else without:
        if law not in LAWS or isinstance(without, str):
            msg = (
                f"examine: without is a list of laws, not {law!r}{did_you_mean(law, LAWS)}; the laws are {listed(LAWS)}"
            )
            raise ParameterError(msg)


def _checked_splits(data: Data, splits: Sequence[str] | None) -> tuple[str, ...]:
    if splits is None:
        return tuple(data.splits)
    if isinstance(splits, str):
        msg = f"examine: splits is a list of splits, not {splits!r}; the splits are {listed(data.splits)}"
        raise UnknownNameError(msg)
    for split in splits:
        if split not in data.splits:
            msg = f"examine: {unknown('split', split, data.splits)}"
            raise UnknownNameError(msg)
    return tuple(splits)


DISJOINT = "splits are disjoint and in range"
FACTS = "facts that stages use are measured"
LAWS: dict[str, Law] = {
    FACTS: lambda _: None,  # else the pipeline would not be open
    DISJOINT: lambda examination: disjoint(examination.trial),
    "splits do not depend on the global random state": lambda examination: settled_splits(examination.trial),
    "orders do not depend on the global random state": lambda examination: settled_orders(examination.trial),
    "only shuffled epochs differ in order": lambda examination: epochs_differ(examination.trial),
    "ranks partition the epoch": lambda examination: partitioned(examination.trial),
    "measures find the same facts again": lambda examination: measured_again(examination.trial),
    SOURCE: _walked(SOURCE),
    TRANSFORM: _walked(TRANSFORM),
    AUGMENT: _walked(AUGMENT, Augment, otherwise="nothing is augmented"),
    DRAWS: _walked(DRAWS, Augment, otherwise="nothing is augmented"),
    ONCE: _walked(ONCE, Augment, otherwise="nothing is augmented"),
    INPUTS: _walked(INPUTS),
    MADE: _walked(MADE),
    FINITE: _walked(FINITE),
    STRUCTURE: _walked(STRUCTURE),
    "sources can be read side by side": lambda examination: side_by_side(examination.trial),
    "resuming equals skipping": lambda examination: resumed(examination.trial, examination.walk),
    "workers change nothing": _by_workers,
    "threads change nothing": _by_threads,
    "functions can be imported and pickled": lambda examination: importable(examination.apart),
    "sources are the same in another process": lambda examination: opened_there(examination.apart),
    "splits are the same in another process": lambda examination: same_splits(examination.apart),
    "orders are the same in another process": lambda examination: same_orders(examination.apart),
    "batches are the same in another process": lambda examination: same_batches(examination.apart),
}
