"""Classes as code: what was written, and what was put in its place after that."""

import abc
import ast
import sys
import types
from collections import ChainMap, Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import cached_property, partial, partialmethod, singledispatchmethod
from typing import Any, NamedTuple

import attrs
import numpy as np
import torch

from .._errors import listed
from .arguments import changed_parameters, changing_uses
from .canonical import module_of, namespace_of, qualified_name, set_on_member
from .constants import Place, check_defaults, edited, unreadable
from .excerpt import (
    Excerpt,
    class_excerpts,
    closure_of,
    function_excerpt,
    is_inside,
    is_literally,
)
from .imports import is_own_code, is_own_namespace, is_standard
from .instances import state_of
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
        excerpts = [] if _is_namedtuple(cls) else class_excerpts(cls, reach.kept)
    except (OSError, TypeError, KeyError, SyntaxError):
        excerpts = []
    if not excerpts:
        _without_source(reach, cls, label, runs=runs)
        return
    _check_unedited(cls, excerpts, label)
    runs_when_called = runs and not issubclass(cls, type)  # a metaclass makes classes, before anything runs
    methods = {name: list(_functions_of(item)) for name, item in vars(cls).items()}
    within: dict[str, Any] = {}
    for excerpt in excerpts:
        for layer in (layer for layers in methods.values() for layer in layers):
            if is_inside(layer, cls, excerpt.node):
                within |= {name: value for name, value in closure_of(layer).items() if name != "__class__"}
    for excerpt in excerpts:
        reach.add(f"{label}()", excerpt.text)
        reach.importing(excerpt.around, namespace_of(cls))
        if runs_when_called:
            reach.running(excerpt)
        scope = ChainMap(within, {"(self)": cls, "(cls)": cls}, dict(namespace_of(cls)))
        changing = changing_uses(excerpt.bare, scope, reach.known)
        uses = uses_of(excerpt.bare).with_names(use for use in changing if not use.path[0].startswith("("))
        reach.uses(uses, scope, label, f"class {label}", runs=runs_when_called)
        if runs_when_called:
            _check_methods(reach, cls, node=excerpt.node, methods=methods, changing=changing, label=label)
        defined = Counter(definitions_in(excerpt.node))
        for name, layers in methods.items():
            for layer in (layer for layer in layers if is_inside(layer, cls, excerpt.node)):
                reach.state_of_method(layer, label, runs=runs)
                if defined[name] != 1 or layer.__code__.co_name != name:  # the source does not tell which one it is
                    reach.follow(layer, f"{label}.{name}", runs=runs)
    nodes: list[Any] = [excerpt.node for excerpt in excerpts]
    written: dict[str, ast.expr | None] = {}
    for node in nodes:
        written |= _written(node)
    for name, item in vars(cls).items():
        outside = [each for each in methods[name] if not any(is_inside(each, cls, node) for node in nodes)]
        for layer in outside:
            if not _is_generated(cls, layer):
                reach.follow(layer, f"{label}.{name}", runs=runs)
        is_function = methods[name] and isinstance(item, _OF_FUNCTIONS)
        if not is_function and not _is_told(cls, name, item, written):
            place = Place(name, namespace_of(cls), nodes[-1])
            reach.at_end(partial(_note_attribute, reach, cls, item, place, f"{label}.{name}", runs=runs))
    for name, item in _beside(reach, cls):
        reach.held(item, f"{label}.{name}", runs=runs)


def definitions_in(node: ast.AST) -> Iterator[str]:
    """The names of all functions that a class defines, in branches too; one that has a condition may come twice."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child.name
        elif not isinstance(child, ast.ClassDef | ast.expr):
            yield from definitions_in(child)


def defined_in(node: ast.AST) -> Iterator[str]:
    """What the body of a class always defines: methods and classes, and values where no decorator could take them away."""
    cls = getattr(node, "name", "").lstrip("_")
    is_bare = not getattr(node, "decorator_list", ()) and not getattr(node, "keywords", ())
    for child in getattr(node, "body", ()):
        match child:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                pass
            case ast.Assign(targets=[ast.Name(id=name)]) if is_bare and not name.startswith("_"):
                pass
            case ast.Delete():
                return
            case _:
                continue
        is_private = name.startswith("__") and not name.endswith("__")
        yield f"_{cls}{name}" if is_private and cls else name


def _check_unedited(cls: type, excerpts: Sequence[Excerpt], label: str) -> None:
    """Refuse a class whose file has methods now that it does not have in memory."""
    if any(set(defined_in(excerpt.node)) <= {*vars(cls), "_"} for excerpt in excerpts):
        return
    names = sorted(set(defined_in(excerpts[0].node)) - set(vars(cls)))
    raise edited(label, f"{listed(names)} came later")


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


def _without_source(reach: Any, cls: Any, label: str, *, runs: bool) -> None:
    """Classes that a call has made, such as `namedtuple("Point", "x y")`: what they were made of."""
    names = vars(cls)
    if issubclass(cls, Enum):
        made_of: Any = {name: (member.value, set_on_member(member)) for name, member in cls.__members__.items()}
    elif issubclass(cls, tuple) and "_fields" in names:
        made_of = [list(names["_fields"]), names["_field_defaults"], names.get("__annotations__")]
    elif "__total__" in names:  # a TypedDict
        made_of = [dict(sorted(names["__annotations__"].items())), names["__total__"]]
    else:
        raise unreadable(label)
    bases = [base for base in cls.__bases__ if base is not tuple]
    made = (
        {name for name in names if name.startswith("_")} | {*cls.__members__} if issubclass(cls, Enum) else _OF_TUPLES
    )
    beside = {name: item for name, item in names.items() if name not in made and not isinstance(item, _OF_PYTHON)}
    reach.held([made_of, bases, beside], f"{label}()", runs=runs)


def _is_namedtuple(cls: type) -> bool:
    """Whether `namedtuple` made a class, whose name may be that of a class statement around the call."""
    return cls.__bases__ == (tuple,) and "_fields" in vars(cls) and "__annotations__" not in vars(cls)


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


def _is_generated(cls: type, function: Any) -> bool:
    """Whether dataclasses, attrs or their like have written a method, from what the class says."""
    if not isinstance(function, types.FunctionType):
        return False
    has_fields = any(name in vars(cls) for name in ("__attrs_attrs__", "__dataclass_fields__", "_fields"))
    return has_fields and function.__code__.co_filename.startswith("<") and function.__name__ in _GENERATED


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


def _is_told(cls: type, name: str, item: Any, written: Mapping[str, ast.expr | None]) -> bool:
    """Whether the source of a class tells the value of an attribute, or Python derives it from what it tells."""
    if isinstance(item, _OF_PYTHON) or name in _BY_PYTHON:
        return True
    if name not in written and issubclass(cls, Enum) and not isinstance(item, cls):
        return name.startswith("_")
    return name in written and is_literally(written[name], item)


def _note_attribute(reach: Any, cls: type, item: Any, place: Place, label: str, *, runs: bool) -> None:
    if reach.knows(item, place):
        return
    if isinstance(item, Enum) and isinstance(item, cls):
        reach.held([item.value, set_on_member(item)], label, runs=runs)
    else:
        reach.held(item, label, runs=runs)


def _beside(reach: Any, cls: Any) -> Iterator[tuple[str, Any]]:
    """What Python and libraries keep of a class: its fields, its docstring if it is read, what is registered with it."""
    fields = (*vars(cls).get("__attrs_attrs__", ()), *vars(cls).get("__dataclass_fields__", {}).values())
    for field in fields:
        yield field.name, {name: value for name, value in (state_of(field) or {}).items() if name != "type"}
    generated = [name for name, item in vars(cls).items() if _is_generated(cls, item)]
    if fields and generated:
        yield "generated", sorted(generated)
    if cls.__name__ != cls.__qualname__.rpartition(".")[2]:
        yield "__name__", cls.__name__
    if "docstrings" in reach.kept:
        yield "__doc__", cls.__doc__
    if "_abc_impl" in vars(cls):
        alike = [each() for each in vars(abc)["_get_dump"](cls)[0]]
        if alike:
            yield "register()", sorted(filter(None, alike), key=qualified_name)


_OF_TUPLES = frozenset(
    [
        "__annotations__",
        "__dict__",
        "__doc__",
        "__getnewargs__",
        "__match_args__",
        "__module__",
        "__mutable_keys__",
        "__new__",
        "__optional_keys__",
        "__orig_bases__",
        "__qualname__",
        "__readonly_keys__",
        "__replace__",
        "__repr__",
        "__required_keys__",
        "__slots__",
        "__total__",
        "__weakref__",
        "_asdict",
        "_field_defaults",
        "_fields",
        "_make",
        "_replace",
    ]
)
_GENERATED = frozenset(
    [
        "__attrs_init__",
        "__delattr__",
        "__eq__",
        "__ge__",
        "__getstate__",
        "__gt__",
        "__hash__",
        "__init__",
        "__le__",
        "__lt__",
        "__ne__",
        "__new__",
        "__replace__",
        "__repr__",
        "__setattr__",
        "__setstate__",
        "__str__",
    ]
)
_BY_PYTHON = frozenset(
    [
        "__abstractmethods__",
        "__annotations__",
        "__attrs_attrs__",
        "__attrs_own_setattr__",
        "__attrs_props__",
        "__callable_proto_members_only__",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__module__",
        "__non_callable_proto_members__",
        "__orig_bases__",
        "__parameters__",
        "__protocol_attrs__",
        "__qualname__",
        "__static_attributes__",
        "__weakref__",
        "_abc_impl",
    ]
)
_OF_FUNCTIONS = (types.FunctionType, staticmethod, classmethod, property, cached_property)
_MADE_BY_PYTHON = 1 << 9  # classes that C code has laid out for good lack this flag
_SHARED = (list, dict, set, deque, bytearray, np.ndarray, torch.Tensor)
_OF_PYTHON = (
    *(types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType),
    type(vars(NamedTuple("Point", [("x", int)]))["x"]),
)
