"""Settings: a pipeline with parameters replaced as `--set batch.size=64` says."""

import ast
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from .._errors import PipelineError, did_you_mean, listed
from .._pipeline import Pipeline, pipeline
from .._stages import constructors as _construct
from .._stages.describe import summary
from .._stages.function import Function, function
from .._stages.stage import Alias, Split, Stage, evolved
from .target import UsageError


def with_settings(p: Pipeline, settings: Sequence[str]) -> Pipeline:
    """`p` with each setting in turn: `seed=7`, or `WHERE.PARAMETER=VALUE` for a parameter of a stage.

    `WHERE` is a kind of stage, the name of a function, or a stage's number. Values are Python literals, and all else is
    a string. The stage is made anew, which checks it.

    >>> import fdm
    >>> print(with_settings(fdm.pipeline(fdm.shuffle(), fdm.batch(32)), ["batch.size=64", "seed=7"]))
    0 shuffle
    1 batch    64
    seed 7

    Raises `UsageError` for a setting that fits no stage, or several, or that the stage refuses.
    """
    for setting in settings:
        try:
            p = _with_setting(p, setting)
        except PipelineError as error:
            msg = f"--set {setting}: {error}"
            raise UsageError(msg) from error
    return p


def _with_setting(p: Pipeline, setting: str) -> Pipeline:
    left, equals, text = setting.partition("=")
    where, dot, name = left.strip().rpartition(".")
    if not equals or not name or (dot and not where):
        msg = f"--set takes WHERE.PARAMETER=VALUE, such as batch.size=64 or seed=7, not {setting!r}"
        raise UsageError(msg)
    value = _value(text.strip())
    if not dot:
        if name != "seed":
            fitting = [f"{label}.{name}" for stage in p.stages for label in _labels(stage) if name in _settable(stage)]
            msg = f"--set {setting}: only seed stands alone{did_you_mean(name, ['seed'])}; say {_choice(fitting)}"
            raise UsageError(msg)
        return attrs.evolve(p, seed=value)
    number = _place(p, where, name, setting)
    stages = list(p.stages)
    stages[number] = _made_anew(stages[number], name, value)
    return pipeline(*stages, seed=p.seed)


def _choice(fitting: Sequence[str]) -> str:
    return " or ".join(f"{each}=VALUE" for each in dict.fromkeys(fitting)) or "WHERE.PARAMETER=VALUE"


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _place(p: Pipeline, where: str, name: str, setting: str) -> int:
    """The number of the one stage that a setting is about."""
    if where.isdecimal():
        if int(where) < len(p.stages):
            return int(where)
        msg = f"--set {setting}: the stages have the numbers 0 to {len(p.stages) - 1}"
        raise UsageError(msg)
    named = [number for number, stage in enumerate(p.stages) if where in _labels(stage)]
    if not named:
        there = list(dict.fromkeys(label for stage in p.stages for label in _labels(stage)))
        msg = f"--set {setting}: no stage is named {where!r}{did_you_mean(where, there)}; there are {listed(there)}"
        raise UsageError(msg)
    fitting = [number for number in named if name in _settable(p.stages[number])]
    if len(fitting) == 1 or (not fitting and len(named) == 1):
        return (fitting or named)[0]
    if not fitting:
        known = list(dict.fromkeys(known for number in named for known in _settable(p.stages[number])))
        hint = did_you_mean(name, known)
        msg = f"--set {setting}: no {where} stage has a parameter {name!r}{hint}; they have {listed(known)}"
        raise UsageError(msg)
    found = "; ".join(f"{number} {p.stages[number].kind} {' '.join(summary(p.stages[number]))}" for number in fitting)
    msg = f"--set {setting}: several stages could be meant: {found}; say which by its number: {fitting[0]}.{name}=..."
    raise UsageError(msg)


def _labels(stage: Stage) -> list[str]:
    """What a stage can be called by: its kind, and its function's name."""
    function = getattr(stage, "function", None)
    return [stage.kind, function.name] if isinstance(function, Function) else [stage.kind]


def _settable(stage: Stage) -> list[str]:
    """The parameters that a setting can give to a stage."""
    function = getattr(stage, "function", None)
    if isinstance(function, Function):
        try:
            taken = inspect.signature(function.call).parameters.values()
        except (TypeError, ValueError):  # some functions written in C do not tell
            return [name for name, _ in function.params]
        by_name = [p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        return list(dict.fromkeys([*by_name, *(name for name, _ in function.params)]))
    if isinstance(stage, Alias):
        return [new for new, _ in stage.names]
    parameters = [name for name in inspect.signature(_constructor(stage)).parameters if name != "into"]
    return [*_split_names(stage), *parameters]


def _split_names(stage: Stage) -> list[str]:
    return [name for name, _ in stage.into] if isinstance(stage, Split) and isinstance(stage.into, tuple) else []


def _constructor(stage: Stage) -> Callable[..., Any]:
    constructor: Callable[..., Any] = getattr(_construct, stage.kind)
    return constructor


def _made_anew(stage: Stage, name: str, value: Any) -> Stage:
    """The stage with one parameter changed; it checks itself."""
    return evolved(stage, **_changed(stage, name, value))


def _changed(stage: Stage, name: str, value: Any) -> dict[str, Any]:
    """The field of a stage that a parameter is in, as it is with another value of that."""
    held = getattr(stage, "function", None)
    if isinstance(held, Function):
        return {"function": function(held.call, {**dict(held.params), name: value}, stage.kind)}
    if isinstance(stage, Alias):
        return {"names": {**dict(stage.names), name: value}}
    if isinstance(stage, Split) and isinstance(stage.into, tuple) and name in dict(stage.into):
        return {"into": {**dict(stage.into), name: value}}
    settable = _settable(stage)
    if name not in settable:
        msg = f"{stage.kind} has no parameter {name!r}{did_you_mean(name, settable)}; it has {listed(settable)}"
        raise PipelineError(msg)
    return {_FIELDS.get(name, name): value}


_FIELDS = {"n_or_fraction": "amount"}
