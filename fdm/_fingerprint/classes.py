"""Classes as code: what was written, and what was put in its place after that."""

import ast
import sys
import types
from collections import ChainMap, deque
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cached_property, partialmethod, singledispatchmethod
from typing import Any

import attrs
import numpy as np
import torch

from .arguments import changed_parameters, changing_uses
from .canonical import is_named, module_of, namespace_of, qualified_name
from .constants import Place, UncoveredError, check_defaults
from .excerpt import class_excerpts, closure_of, function_excerpt, is_inside
from .imports import is_own_code, is_own_namespace, is_standard
from .syntax import Use, uses_of


def class_code(reach: Any, cls: type, label: str, *, runs: bool) -> None:
    """Note the code of a class: its definition, its bases, and what was set on it beside that."""
    for base in (*cls.__bases__, type(cls)):
        if is_own_code(base):
            reach.follow(base, qualified_name(base), runs=runs)
    if "subclasses" in reach.kept:
        subclasses: list[type] = type.__subclasses__(cls)
        for subclass in subclasses:
            reach.follow(subclass, qualified_name(subclass), runs=runs)
    try:
        excerpts = class_excerpts(cls, reach.kept)
    except (OSError, TypeError, KeyError, SyntaxError):
        _without_source(reach, cls, label, runs=runs)
        return
    runs_when_called = runs and not issubclass(cls, type)  # a metaclass makes classes, before anything runs
    methods = {name: list(_functions_of(item)) for name, item in vars(cls).items()}
    within: dict[str, Any] = {}
    for excerpt in excerpts:
        for layer in (layer for layers in methods.values() for layer in layers):
            if is_inside(layer, cls, excerpt.node):
                within |= {name: value for name, value in closure_of(layer).items() if name != "__class__"}
    for excerpt in excerpts:
        reach.add(f"{label}()", excerpt.text)
        if runs_when_called:
            reach.running(excerpt)
        scope = ChainMap(within, {"(self)": cls, "(cls)": cls}, dict(namespace_of(cls)))
        changing = changing_uses(excerpt.bare, scope, reach.known)
        uses = uses_of(excerpt.bare).with_names(use for use in changing if not use.path[0].startswith("("))
        reach.uses(uses, scope, label, f"class {label}", runs=runs_when_called)
        if runs_when_called:
            _check_methods(reach, cls, node=excerpt.node, methods=methods, changing=changing, label=label)
        written = _written(excerpt.node)
        for name, layers in methods.items():
            for layer in layers:
                if not is_inside(layer, cls, excerpt.node) and not _is_generated(layer):
                    reach.follow(layer, f"{label}.{name}", runs=runs)
        for name, item in vars(cls).items():
            if not methods[name] and _was_set(cls, name, item, written):
                _note_attribute(reach, name, item, label, name in written, runs=runs)


def class_attribute(reach: Any, cls: Any, use: Use, where: str) -> None:
    """What is changed on a class while code runs, such as a counter: its source tells only how it begins."""
    if not isinstance(cls, type) or len(use.path) < 2 or not use.by or not use.runs:
        return
    name = use.path[1]
    owner = next((base for base in cls.__mro__ if name in vars(base)), cls)
    if not is_own_code(owner):
        return
    try:
        excerpt = class_excerpts(owner, frozenset())[-1]
        node: Any = excerpt.node
        place = Place(name, namespace_of(owner), node, excerpt.around)
    except (OSError, TypeError, KeyError, SyntaxError):
        place = Place(name, namespace_of(owner))
    by = "=" if use.by == "." and len(use.path) == 2 else use.by
    constant = reach.constant(f"{qualified_name(owner)}.{name}", vars(owner).get(name), place)
    constant.add(attrs.evolve(use, path=use.path[1:], by=by, is_read=True), where)


def _check_methods(
    reach: Any,
    cls: type,
    *,
    node: Any,
    methods: Mapping[str, list[types.FunctionType]],
    changing: list[Use],
    label: str,
) -> None:
    """Follow what methods change on their class, and of the defaults of their parameters."""
    own = {use.path[1] for use in changing if use.path[0] == "(self)" and use.by in (".", "+=") and len(use.path) == 2}
    for use in changing:
        first, *names = use.path
        is_shared = bool(names) and names[0] not in own and isinstance(vars(cls).get(names[0]), _SHARED)
        if first == "(cls)" or (first == "(self)" and is_shared):
            class_attribute(reach, cls, use, f"class {label}")
    for name, layers in methods.items():
        for layer in layers:
            if is_inside(layer, cls, node) and (layer.__defaults__ or layer.__kwdefaults__):
                excerpt = function_excerpt(layer, reach.kept)
                uses = changed_parameters(layer, reach.known)
                check_defaults(layer, excerpt.node, uses, f"{label}.{name}", f"class {label}")


def instance_state(value: object) -> Iterator[tuple[str, Any]]:
    """What an instance holds that stands in place of a function."""
    for name, item in sorted(getattr(value, "__dict__", {}).items()):
        if not name.startswith("__") and (is_named(item) or isinstance(item, int | float | str | bytes | tuple)):
            yield name, item


def registered(named: Any) -> list[tuple[type, Any]]:
    """The functions that a function of `singledispatch` chooses from, by the class of its argument."""
    registry = getattr(named, "registry", None)
    if not isinstance(registry, Mapping) or not hasattr(named, "dispatch"):
        return []
    return sorted(registry.items(), key=lambda pair: qualified_name(pair[0]))


def is_made_by_a_call(cls: type) -> bool:
    """Whether a class says that it is of the standard library, which does not have it: a call made it for the user."""
    name = module_of(cls)
    if not is_standard(name) or "<locals>" in cls.__qualname__ or not cls.__flags__ & _MADE_BY_PYTHON:
        return False
    value: Any = sys.modules.get(name)
    for part in cls.__qualname__.split("."):
        value = getattr(value, part, None)
    return value is not cls and hasattr(cls, "__dict__") and "__module__" in vars(cls)


def unreadable(label: str) -> UncoveredError:
    """The error for code without a source."""
    msg = (
        f"the source of {label} cannot be read, so its fingerprint could not cover it; define it in a file with def, "
        f'or pin the stage by hand with .version("1") and change the string whenever its result changes'
    )
    return UncoveredError(msg)


def _without_source(reach: Any, cls: Any, label: str, *, runs: bool) -> None:
    """Classes that a call has made, such as `namedtuple("Point", "x y")`: what they were made of."""
    names = vars(cls)
    if issubclass(cls, Enum):
        made_of: Any = {name: member.value for name, member in cls.__members__.items()}
    elif issubclass(cls, tuple) and "_fields" in names:
        made_of = [list(names["_fields"]), names["_field_defaults"]]
    elif "__total__" in names:  # a TypedDict
        made_of = [sorted(names["__annotations__"]), names["__total__"]]
    else:
        raise unreadable(label)
    reach.add(f"{label}()", reach.value(made_of, label, runs=runs))


def _functions_of(item: Any) -> Iterator[types.FunctionType]:
    """The functions in an entry of a class, below the descriptors that hold them, and all layers of decorated ones."""
    match item:
        case staticmethod() | classmethod():
            yield from _functions_of(item.__func__)
        case property():
            yield from (each for part in (item.fget, item.fset, item.fdel) for each in _functions_of(part))
        case cached_property() | partialmethod():
            yield from _functions_of(item.func)
        case singledispatchmethod():
            yield from (each for function in item.dispatcher.registry.values() for each in _functions_of(function))
        case types.FunctionType():
            if is_own_namespace(item.__globals__):
                yield item
            yield from _functions_of(getattr(item, "__wrapped__", None))


def _is_generated(function: types.FunctionType) -> bool:
    """Whether dataclasses, attrs or their like have written a method, from what the class says."""
    return function.__code__.co_filename.startswith("<") and function.__name__.startswith("__")


def _written(node: ast.AST) -> dict[str, ast.expr | None]:
    """The names that the body of a class binds, with their values where these are assigned."""
    written: dict[str, ast.expr | None] = {}
    for child in ast.walk(node):
        match child:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                written[name] = None if name in written else value
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                written[name] = value
            case ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                written.setdefault(name, None)
            case ast.ClassDef(name=name) if child is not node:
                written.setdefault(name, None)
            case ast.alias(name=name, asname=asname):
                written.setdefault(asname or name, None)
    return written


def _was_set(cls: type, name: str, item: Any, written: Mapping[str, ast.expr | None]) -> bool:
    """Whether the source of a class does not tell the value of an attribute."""
    if isinstance(item, Enum) and isinstance(item, cls):
        return True
    if isinstance(item, _OF_PYTHON) or name.startswith("__") or name in ("_abc_impl", "_is_protocol"):
        return False
    if name not in written:
        return not (name.startswith("_") and issubclass(cls, Enum | tuple))
    value = written[name]
    if value is None:
        return "<locals>" in cls.__qualname__ and isinstance(item, _SIMPLE)
    try:
        literal = ast.literal_eval(value)
    except (ValueError, TypeError):
        return "<locals>" in cls.__qualname__
    return type(literal) is not type(item) or bool(literal != item)


def _note_attribute(reach: Any, name: str, item: Any, label: str, is_written: bool, *, runs: bool) -> None:
    def note() -> None:
        if name in reach.changed_attributes:
            return  # while the code runs, which begins with what the source says
        if isinstance(item, Enum):
            reach.value_if_plain(item.value, f"{label}.{name}", runs=runs)
        elif is_written or not isinstance(item, _SIMPLE):
            reach.value_if_plain(item, f"{label}.{name}", runs=runs)
        else:
            reach.add(f"{label}.{name}", reach.value(item, f"{label}.{name}", runs=runs))

    reach.at_end(note)


_SIMPLE = (bool, int, float, complex, str, bytes, tuple, frozenset, type(None), list, dict, set)
_MADE_BY_PYTHON = 1 << 9  # classes that C code has laid out for good lack this flag
_SHARED = (list, dict, set, deque, bytearray, np.ndarray, torch.Tensor)
_OF_PYTHON = (types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType)
