"""Held functions: those of stages, from what constructors are given."""

from collections.abc import Callable, Mapping
from typing import Any

from .._errors import ParameterError
from .._habits.calls import habit, unknown_parameter
from .._text import short
from .function import Function, function, own_parameters


def held(stage: str, fn: Callable[..., Any], args: tuple[object, ...], params: Mapping[str, Any]) -> Function:
    """The function of a stage with its parameters, which `args` can only misspell."""
    if args:
        name = _next_parameter(fn)
        msg = (
            f"{stage} takes one function and its parameters by keyword; {short(args[0], 60)} has no name: write "
            f"fdm.{stage}({getattr(fn, '__name__', 'fn')}, {name}={short(args[0], 60)})"
        )
        raise ParameterError(msg)
    return function(fn, params, stage)


def _next_parameter(fn: Any) -> str:
    return next(iter(own_parameters(fn)), "name") if callable(fn) else "name"


_OWN = ("of", "seed", "shuffle", "stratify", "groups", "key", "block")


def divider(into: Any, seed: int, params: Mapping[str, Any]) -> Any:
    """Sizes, which take no parameters, or the function of a split with its own."""
    if not callable(into):
        for name in params:
            instead = (
                "" if habit("split", name) else "; what a function takes goes beside one: fdm.split(fn, name=value)"
            )
            raise ParameterError(unknown_parameter("split", name, [*_OWN]) + instead)
        return into
    needed = own_parameters(into)
    for name in _OWN:
        if name in needed and (needed[name] or (name == "seed" and seed != 0)):
            msg = (
                f"split: {name} is a parameter of split itself, so that the function cannot be given one of that name; "
                f"call it otherwise: fdm.split(fn, {name}_of_fn=value)"
            )
            raise ParameterError(msg)
    return function(into, params, "split")
