"""Instances as values: all that they consist of, where that is written in Python, and what functions hold like them."""

import ast
import sys
import types
from collections.abc import Callable, Container, Iterator, Mapping
from copy import copy
from functools import WRAPPER_ASSIGNMENTS, cached_property, lru_cache, partial, singledispatchmethod
from typing import Any

from .._errors import PipelineError
from .canonical import qualified_name
from .constants import Place, changed, is_plain, unreadable
from .excerpt import class_excerpts, closure_of, defaults_of
from .imports import is_own_code
from .syntax import Use


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


def function_state(
    reach: Any, function: types.FunctionType, node: ast.AST, label: str, filled: Container[str], *, runs: bool
) -> None:
    """Note what a function holds that its source does not tell: defaults, attributes, a name that was set.

    Of the defaults that it has `filled`, which begin empty, the source tells.
    """
    for name, value in defaults_of(function, node):
        if f"({name})" not in filled:
            reach.held(value, f"{label} -> {name}", runs=runs)
    for name, value in {**vars(function), **_set_on(reach, function)}.items():
        if name != "__wrapped__":
            reach.at_end(partial(_note_attribute, reach, function, name, value, label, runs=runs))


def _note_attribute(reach: Any, function: Any, name: str, value: Any, label: str, *, runs: bool) -> None:
    if not reach.knows(value, Place(name, vars(function))):
        reach.held(value, f"{label}.{name}", runs=runs)


def _set_on(reach: Any, function: types.FunctionType) -> dict[str, Any]:
    """What Python keeps of a function beside its code, where that was changed or is read."""
    found: dict[str, Any] = {}
    if function.__name__ != function.__code__.co_name:
        found["__name__"] = function.__name__
    if "docstrings" in reach.kept and not hasattr(function, "__wrapped__"):
        found["__doc__"] = function.__doc__
    if "annotations" in reach.kept:
        found["__annotations__"] = function.__annotations__
    return found


def wrapper_state(reach: Any, wrapper: Any, label: str, *, runs: bool) -> None:
    """Note what an instance holds that a decorator has left in place of a function."""
    copied = {"__wrapped__", "__module__", "__doc__", "__annotations__"} - (
        {"__doc__", "__annotations__"} if reach.kept else set()
    )
    state = state_of(wrapper)
    if state is None:
        raise unreadable(label)
    for name, value in sorted(state.items()):
        if name in copied:
            continue
        if name not in reach.changed_attributes:
            reach.held(value, f"{label} with {name}", runs=runs)
        elif not any(_begins_plainly(cls, name) for cls in type(wrapper).__mro__ if is_own_code(cls)):
            use = Use((name,), ".", is_read=True, runs=True, line=0)
            raise changed(label, use, qualified_name(type(wrapper)))


def set_on_wrapper(reach: Any, wrapper: Any, inner: Any, label: str, *, runs: bool) -> None:
    """Note what was set on what a library's decorator has left in place of a function."""
    copied = vars(inner) if hasattr(inner, "__dict__") else {}
    for name, value in sorted(getattr(wrapper, "__dict__", {}).items()):
        is_copied = name in copied and copied[name] is value
        if not is_copied and name not in ("__wrapped__", *WRAPPER_ASSIGNMENTS):
            reach.held(value, f"{label} with {name}", runs=runs)


def _begins_plainly(cls: type, name: str) -> bool:
    """Whether a class tells how an attribute of its instances begins: empty, or a literal."""
    try:
        excerpts = class_excerpts(cls, frozenset())
    except (OSError, TypeError, KeyError, SyntaxError):
        return False
    values = [
        each.value
        for excerpt in excerpts
        for each in ast.walk(excerpt.node)
        if isinstance(each, ast.Assign)
        and any(isinstance(to, ast.Attribute) and to.attr == name for to in each.targets)
    ]
    return bool(values) and all(map(is_plain, values))


@lru_cache(maxsize=1024)
def closure_at_first(function: Any) -> list[tuple[str, Any]]:
    """The closure of a library's function when it was seen first: libraries keep caches there."""
    plain = (dict, list, set)
    return [(name, copy(value) if type(value) in plain else value) for name, value in closure_of(function).items()]


_IMMUTABLE, _HEAP = 1 << 8, 1 << 9  # flags of classes in CPython
