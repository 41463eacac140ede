"""The grammar: in which order stages may stand, how often, and what their functions must take."""

from collections.abc import Sequence
from typing import Any, get_args

from .._errors import PipelineError, stage_note
from .digest import KEPT, code_of_stage
from .function import Function
from .orders import check_orders
from .stage import (
    Augment,
    Batch,
    Change,
    Clean,
    Cut,
    Fetch,
    Fold,
    Load,
    Measure,
    Mix,
    Ordering,
    Sample,
    Source,
    Split,
    Stage,
    Transfer,
    Transform,
    functions,
)


def check_grammar(stages: Sequence[Stage]) -> None:
    """Raise `PipelineError` unless the stages can make a pipeline; `ParameterError` for a call that cannot be."""
    _check_order(stages)
    _check_once(stages)
    _check_ambient(stages)
    check_orders(stages)
    _check_functions(stages)


_PHASES: tuple[Any, ...] = (
    *(Fetch, Clean, Load, Cut, Measure, Ordering | Mix),
    *(Change, Batch, Change, Transfer, Change),
)
_ORDER = ", ".join(" or ".join(each.kind for each in get_args(phase) or (phase,)) for phase in _PHASES)


def _check_order(stages: Sequence[Stage]) -> None:
    phase = 0
    for number, stage in enumerate(stages):
        later = [i for i in range(phase, len(_PHASES)) if isinstance(stage, _PHASES[i])]
        if not later:
            before = f"stage {number - 1} ({stages[number - 1].kind})"
            msg = (
                f"stage {number} ({stage.kind}) comes after {before}, but the order of stages is {_ORDER}; "
                f"fdm.insert(pipeline, stage) puts it where it belongs"
            )
            raise PipelineError(msg)
        phase = later[0]


def last_place(stages: Sequence[Stage], stage: Stage) -> int:
    """The last number that a stage can have among others, by the order of stages alone; as if it stood last where there is none."""
    for number in range(len(stages), -1, -1):
        try:
            _check_order([*stages[:number], stage, *stages[number:]])
        except PipelineError:
            continue
        return number
    return len(stages)


def _check_once(stages: Sequence[Stage]) -> None:
    for single in (Fetch, Load, Transfer):
        numbers = [number for number, stage in enumerate(stages) if isinstance(stage, single)]
        if len(numbers) > 1:
            msg = f"a pipeline has one {single.kind} at most, not one each at stages {numbers}"
            raise PipelineError(msg)
    named: dict[str, int] = {}
    for number, stage in enumerate(stages):
        if isinstance(stage, Batch):
            for split in stage.splits or ("",):
                if split in named:
                    which = f"for {split!r}" if split else "without .on"
                    msg = f"stages {named[split]} and {number} are both a batch {which}; there can be one"
                    raise PipelineError(msg)
                named[split] = number
        if isinstance(stage, Measure) and len(stage.splits) != 1:
            msg = f'stage {number} (measure {stage.function.name}) needs one split to learn from: .on("train")'
            raise PipelineError(msg)


def _check_ambient(stages: Sequence[Stage]) -> None:
    batches = [number for number, stage in enumerate(stages) if isinstance(stage, Batch | Transfer)]
    for number, stage in enumerate(stages):
        if isinstance(stage, Augment) and stage.ambient and batches and number > batches[0]:
            name = stage.function.name
            msg = (
                f"stage {number} (augment {name}): ambient is for one example at a time, so before batch; after it, the "
                f"draws of an example would depend on its batch: take them from the key, augment(fn) with fn(batch, key)"
            )
            raise PipelineError(msg)


def _check_functions(stages: Sequence[Stage]) -> None:
    measured = any(isinstance(stage, Measure) for stage in stages)
    for number, stage in enumerate(stages):
        try:
            _check_calls(stage, first=number == 0)
            _check_facts(stage)
            if isinstance(stage, KEPT) or (measured and isinstance(stage, Load)):
                code_of_stage(stage)  # refuses what a fingerprint could not cover
        except PipelineError as error:
            error.add_note(stage_note(number, stage.kind))
            raise


def _check_facts(stage: Stage) -> None:
    early = isinstance(stage, Source | Split)
    facts = [name for function in functions(stage) for name in function.facts] if early else []
    if facts:
        msg = f"{stage.kind} cannot take the fact {facts[0]!r}, since facts are measured later; give it a value"
        raise PipelineError(msg)


def _check_calls(stage: Stage, *, first: bool) -> None:
    match stage:
        case Fetch(function):
            function.check_call("into")
        case Clean(function, parts=Function() as parts):
            given = () if first and parts.can_call() else ("upstream",)
            parts.check_call(*given)
            function.check_call(*given, "part")
        case Clean(function) | Load(function):
            if not (first and function.can_call()):
                function.check_call("upstream")
        case Measure(function):
            function.check_call("source")
        case Transform(function) | Augment(function, ambient=True):
            function.check_call("item")
        case Augment(function):
            function.check_call("item", "key")
        case Batch(collate=Function() as collate):
            collate.check_call("examples")
        case Split() | Fold() | Sample():
            for function in functions(stage):
                function.check_call("source")
