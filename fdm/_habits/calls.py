"""Calls that do not fit: whoever writes them out of habit is told what to write here."""

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

from .._errors import ParameterError, did_you_mean, listed
from .._text import short
from .parameters import EVERYWHERE, EXAMPLES, PARAMETERS


P = ParamSpec("P")
ReturnT = TypeVar("ReturnT")
ClassT = TypeVar("ClassT", bound=type)


def guided(call: Callable[P, ReturnT]) -> Callable[P, ReturnT]:
    """The function, whose calls that do not fit its signature raise a `ParameterError` which says what to write.

    What it costs, it costs only where a `TypeError` was raised.
    """
    explain = _explaining(call)

    def guide(*args: Any, **params: Any) -> Any:
        try:
            return call(*args, **params)
        except TypeError:
            explain(args, params)
            raise

    # Of the module of the function: that is how doctest knows which functions are of a module.
    anything: Any = call
    guiding: Any = FunctionType(guide.__code__, anything.__globals__, anything.__name__, None, guide.__closure__)
    guiding.__dict__.update(anything.__dict__)
    guiding.__module__, guiding.__qualname__ = anything.__module__, anything.__qualname__
    guiding.__doc__, guiding.__annotations__, guiding.__wrapped__ = anything.__doc__, anything.__annotations__, call
    return guiding  # type: ignore[no-any-return]  # what it was


def guided_class(made: ClassT) -> ClassT:
    """The class, whose constructor is `guided`."""
    anything: Any = made
    anything.__init__ = guided(anything.__init__)
    return made


def _explaining(call: Callable[..., Any]) -> Callable[[tuple[Any, ...], Mapping[str, Any]], None]:
    def explain(args: tuple[Any, ...], params: Mapping[str, Any]) -> None:
        signature = inspect.signature(call)
        try:
            signature.bind(*args, **params)
        except TypeError as error:
            raise ParameterError(_explained(call.__qualname__, signature, args, params) or str(error)) from None

    return explain


def _explained(name: str, signature: inspect.Signature, args: tuple[Any, ...], params: Mapping[str, Any]) -> str | None:
    """What is wrong with a call, and what to write instead; None where it is something odd."""
    label = _label(name)
    taken = list(signature.parameters.values())
    if taken and taken[0].name == "self":
        taken, args = taken[1:], args[1:]
    by_keyword = [each.name for each in taken if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    by_place = [each for each in taken if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    example = f"; write {EXAMPLES[label]}" if label in EXAMPLES else ""
    takes_any = any(each.kind is each.VAR_KEYWORD for each in taken)
    for each in params:
        if each not in by_keyword and not takes_any:
            return unknown_parameter(label, each, by_keyword) + ("" if habit(label, each) else example)
    if label == "split" and not args and "into" not in params and params:
        instead = next((said for each in params if (said := habit(label, each))), None)
        sizes = ", ".join(f'"{each}": {short(size, 20)}' for each, size in params.items() if each not in by_keyword)
        return f"split takes a mapping from names to sizes: {instead or f'fdm.split({{{sizes}}})'}"
    if len(args) > len(by_place) and not any(each.kind is each.VAR_POSITIONAL for each in taken):
        return f"{label} takes no {short(args[len(by_place)], 60)} in this place{example}"
    given = {each.name for each in by_place[: len(args)]} | set(params)
    missing = [each.name for each in taken if each.default is each.empty and each.name not in given and _is_one(each)]
    return f"{label} lacks {' and '.join(missing)}{example}" if missing else None


def _is_one(parameter: inspect.Parameter) -> bool:
    return parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)


def _label(qualname: str) -> str:
    """How a function is called: `data.loader` of a method, the name of the class of a constructor.

    >>> _label("Data.loader"), _label("Table.__init__"), _label("batch")
    ('data.loader', 'Table', 'batch')
    """
    owner, _, name = qualname.rpartition(".")
    return owner if name == "__init__" else f"{owner.lower()}.{name}" if owner else name


def unknown_parameter(label: str, name: str, known: list[str]) -> str:
    """What to say of a parameter that a function does not take: what to write for it, or the nearest of those known."""
    instead = habit(label, name)
    if instead:
        return f"{label} has no parameter {name!r}: {instead}"
    return f"{label} has no parameter {name!r}{did_you_mean(name, known)}; its parameters are {listed(known)}"


def habit(label: str, name: str) -> str | None:
    """What to write here in place of a parameter that others have; None where that is not known."""
    return PARAMETERS.get(label, {}).get(name) or EVERYWHERE.get(name)
