"""Settings: a pipeline with parameters replaced as `--set batch.size=64` says."""

import ast
import inspect
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import attrs

from .._checks import integer
from .._errors import PipelineError, did_you_mean, unknown
from .._pipeline import Pipeline, pipeline
from .._random.ambient import ambient
from .._stages import constructors
from .._stages.describe import summary
from .._stages.function import Function
from .._stages.stage import Alias, Augment, Clean, Split, Stage
from .target import UsageError


def with_settings(p: Pipeline, settings: Sequence[str]) -> Pipeline:
    """`p` with each setting in turn: `seed=7`, or `WHERE.PARAMETER=VALUE` for a parameter of a stage.

    `WHERE` is a kind of stage, the name of a function, or a stage's number. Values are Python literals, and all else is
    a string. The stage is made anew by its constructor, which checks it.

    >>> import fdm
    >>> print(with_settings(fdm.pipeline(fdm.shuffle(), fdm.batch(32)), ["batch.size=64", "seed=7"]))
    0 shuffle
    1 batch    64
    seed 7

    Raises `UsageError` for a setting that fits no stage, or several, or that the stage's constructor refuses.
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
        msg = "a setting is WHERE.PARAMETER=VALUE, such as batch.size=64 or seed=7"
        raise PipelineError(msg)
    value = _value(text.strip())
    stages = list(p.stages)
    if dot:
        number = _number(stages, where, name)
        stages[number] = _made_anew(stages[number], name, value)
        return pipeline(*stages, seed=p.seed)
    if name != "seed":
        fitting = dict.fromkeys(f"{each}.{name}=VALUE" for s in stages if name in _settable(s) for each in _labels(s))
        say = " or ".join(fitting) or "WHERE.PARAMETER=VALUE"
        msg = f"only seed stands alone{did_you_mean(name, ['seed'])}; say {say}"
        raise PipelineError(msg)
    return pipeline(*stages, seed=integer("pipeline: seed", value, PipelineError))


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _number(stages: Sequence[Stage], where: str, name: str) -> int:
    """The number of the one stage that a setting of the parameter `name` is about."""
    if where.isdecimal() and int(where) < len(stages):
        return int(where)
    if where.isdecimal():
        msg = f"the stages have the numbers 0 to {len(stages) - 1}"
        raise PipelineError(msg)
    named = [number for number, stage in enumerate(stages) if where in _labels(stage)]
    if not named:
        raise PipelineError(unknown("stage", where, {label for stage in stages for label in _labels(stage)}))
    fitting = [number for number in named if name in _settable(stages[number])]
    if len(fitting or named) == 1:
        return (fitting or named)[0]
    if not fitting:
        known = {known for number in named for known in _settable(stages[number])}
        msg = f"{where}: {unknown('parameter', name, known)}"
        raise PipelineError(msg)
    found = "; ".join(f"{number} {stages[number].kind} {' '.join(summary(stages[number]))}" for number in fitting)
    msg = f"several stages could be meant: {found}; say which by its number: {fitting[0]}.{name}=..."
    raise PipelineError(msg)


def _labels(stage: Stage) -> list[str]:
    """What a stage can be called by: its kind, and its function's name."""
    function = getattr(stage, "function", None)
    return [stage.kind, function.name] if isinstance(function, Function) else [stage.kind]


def _settable(stage: Stage) -> list[str]:
    """The parameters that a setting can give to a stage."""
    names = [name for name in (*_parts(stage), *_given(stage)) if name != "into"]
    function = getattr(stage, "function", None)
    with suppress(TypeError, ValueError):  # some functions written in C do not tell
        taken = inspect.signature(function.call).parameters.values() if isinstance(function, Function) else ()
        names = [*(p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)), *names]
    return list(dict.fromkeys(names))


def _parts(stage: Stage) -> dict[str, Any]:
    """The sizes of a split, whose names are set as parameters are."""
    return dict(stage.into) if isinstance(stage, Split) and not isinstance(stage.into, Function) else {}


def _given(stage: Stage) -> dict[str, Any]:
    """What the constructor of a stage was given by name."""
    if isinstance(stage, Alias):
        return dict(stage.names)
    function = getattr(stage, "function", None)
    if isinstance(function, Function):
        return dict(function.params)
    names = inspect.signature(getattr(constructors, stage.kind)).parameters
    fields = {name: getattr(stage, _FIELDS.get(name, name)) for name in names}
    return {name: value.call if isinstance(value, Function) else value for name, value in fields.items()}


def _made_anew(stage: Stage, name: str, value: Any) -> Stage:
    """The stage as its constructor makes it from what it was given, and one parameter that is changed."""
    function, given, parts = getattr(stage, "function", None), _given(stage), _parts(stage)
    if not isinstance(function, Function) and name not in _settable(stage) and not isinstance(stage, Alias):
        msg = f"{stage.kind}: {unknown('parameter', name, _settable(stage))}"
        raise PipelineError(msg)
    given |= {"into": {**parts, name: value}} if name in parts else {name: value}
    given |= {"into": parts} if parts and name not in parts else {}
    calls = [function.call] if isinstance(function, Function) else []
    if isinstance(stage, Augment) and stage.ambient:
        calls = [ambient(*calls)]
    made = getattr(constructors, stage.kind)(*calls, **given)
    if isinstance(stage, Clean) and stage.parts is not None:
        made = made.each(stage.parts.call)
    kept = ("splits", "pinned", "is_shared", "is_ambient")
    anew: Stage = attrs.evolve(made, **{field: getattr(stage, field) for field in kept if hasattr(stage, field)})
    return anew


_FIELDS = {"n_or_fraction": "amount"}
