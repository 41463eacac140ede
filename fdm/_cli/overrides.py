"""Settings: a pipeline with parameters replaced as `--set batch.size=64` says."""

import ast
import inspect
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import attrs

from .._errors import PipelineError, did_you_mean, unknown
from .._pipeline import Pipeline, pipeline
from .._stages import constructors
from .._stages.describe import summary
from .._stages.function import Function, function, own_parameters
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
        msg = "a setting is WHERE.PARAMETER=VALUE, such as batch.size=64 or seed=7"
        raise PipelineError(msg)
    value = _value(text.strip())
    stages = list(p.stages)
    if dot:
        number = _number(stages, where, name)
        stages[number] = evolved(stages[number], **_changed(stages[number], name, value))
        return pipeline(*stages, seed=p.seed)
    if name != "seed":
        fitting = dict.fromkeys(f"{each}.{name}=VALUE" for s in stages if name in _settable(s) for each in _labels(s))
        say = " or ".join(fitting) or "WHERE.PARAMETER=VALUE"
        msg = f"only seed stands alone{did_you_mean(name, ['seed'])}; say {say}"
        raise PipelineError(msg)
    return attrs.evolve(p, seed=value)


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
    function = getattr(stage, "function", None)
    if isinstance(function, Function):
        taken: Iterable[inspect.Parameter] = ()
        with suppress(TypeError, ValueError):  # some functions written in C do not tell
            taken = inspect.signature(function.call).parameters.values()
        names = [p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        return list(dict.fromkeys([*names, *dict(function.params)]))
    if isinstance(stage, Alias):
        return list(dict(stage.names))
    parameters = inspect.signature(getattr(constructors, stage.kind)).parameters
    own = [name for name, each in parameters.items() if name != "into" and each.kind is not each.VAR_KEYWORD]
    return [*_sizes(stage), *_params_of_divider(stage), *own]


def _params_of_divider(stage: Stage) -> list[str]:
    """The parameters of the function of a split; nothing where sizes decide."""
    if not isinstance(stage, Split) or not isinstance(stage.into, Function):
        return []
    return list(own_parameters(stage.into.call))


def _sizes(stage: Stage) -> dict[str, Any]:
    """The sizes of a split by name; nothing where a function decides them."""
    return dict(stage.into) if isinstance(stage, Split) and isinstance(stage.into, tuple) else {}


def _changed(stage: Stage, name: str, value: Any) -> dict[str, Any]:
    """The field of a stage that a parameter is in, as it is with another value of that."""
    held = getattr(stage, "function", None)
    if isinstance(held, Function):
        return {"function": function(held.call, {**dict(held.params), name: value}, stage.kind)}
    if isinstance(stage, Alias):
        return {"names": {**dict(stage.names), name: value}}
    if isinstance(stage, Split) and isinstance(stage.into, Function) and name in _params_of_divider(stage):
        return {"into": function(stage.into.call, {**dict(stage.into.params), name: value}, stage.kind)}
    if name in _sizes(stage):
        return {"into": {**_sizes(stage), name: value}}
    if name not in _settable(stage):
        msg = f"{stage.kind}: {unknown('parameter', name, _settable(stage))}"
        raise PipelineError(msg)
    return {_FIELDS.get(name, name): value}


_FIELDS = {"n_or_fraction": "amount"}
