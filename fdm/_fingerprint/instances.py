"""Instances as values: their class, and all that they consist of, where both are written in Python."""

import sys
import types
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, singledispatchmethod
from typing import Any

from .._errors import PipelineError
from .canonical import qualified_name


def instance_form() -> Callable[[Any, Callable[[Any], Any]], Any]:
    """A function that renders what `canonical` has no form for; what comes again, as in a circle, is counted."""
    numbers: dict[int, tuple[int, Any]] = {}

    def form(value: Any, recur: Callable[[Any], Any]) -> Any:
        if id(value) in numbers:
            return {"again": numbers[id(value)][0]}
        numbers[id(value)] = len(numbers), value
        if isinstance(value, staticmethod | classmethod):
            return {type(value).__name__: recur(value.__func__)}
        if isinstance(value, property):
            return {"property": [recur(value.fget), recur(value.fset), recur(value.fdel)]}
        if isinstance(value, cached_property):
            return {"cached property": recur(value.func)}
        if isinstance(value, singledispatchmethod):
            return {"dispatch": recur(value.dispatcher)}
        state = state_of(value)
        if state is None:
            msg = f"a {qualified_name(type(value))} cannot be compared by value"
            raise PipelineError(msg)
        return {"instance": [recur(type(value)), {name: recur(item) for name, item in sorted(state.items())}]}

    return form


def state_of(value: Any) -> Mapping[str, Any] | None:
    """All attributes of an instance, in slots or not; None where its class has parts in C, which may hold more."""
    classes = type(value).__mro__[:-1]
    if not all(map(is_written_in_python, classes)):
        return None
    return {**dict(slots_of(value, classes)), **getattr(value, "__dict__", {})}


def is_written_in_python(cls: type) -> bool:
    """Whether a class statement made a class, so that its instances hold nothing but attributes."""
    if not cls.__flags__ & _HEAP or cls.__flags__ & _IMMUTABLE:
        return False
    file = getattr(sys.modules.get(cls.__module__), "__file__", "") or ""
    return not file.endswith((".so", ".pyd"))


def slots_of(value: Any, classes: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """The filled slots of an instance."""
    for cls in classes:
        for name, item in vars(cls).items():
            if isinstance(item, types.MemberDescriptorType):
                try:
                    yield name, item.__get__(value)
                except AttributeError:
                    continue


_IMMUTABLE, _HEAP = 1 << 8, 1 << 9  # flags of classes in CPython
