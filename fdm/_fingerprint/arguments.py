"""Arguments: what code changes by handing it to functions of the user's own, followed through their parameters."""

import ast
import inspect
import types
from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from .changes import Passed, changes_of
from .excerpt import closure_of, function_excerpt
from .imports import imported, is_own_code, is_own_namespace, late_sources
from .origins import RESULT, is_in_place
from .syntax import Import, Use, uses_of


Known = dict[int, tuple[Any, list[Use]]]
"""What functions change of their parameters, by the identity of the function, which is kept."""


def changing_uses(text: str, scope: Mapping[str, Any], known: Known) -> list[Use]:
    """What a piece of code changes: names from outside, and its parameters, which stand in brackets."""
    changes = changes_of(text)
    if not changes.uses and not changes.passed:
        return []
    uses = uses_of(text)
    late: dict[str, Any] = _late_names(uses.late, scope.get("__package__") or None)
    libraries: dict[str, Any] = dict.fromkeys(_bound_by((*uses.imports, *uses.late)), _LIBRARY)
    names: ChainMap[str, Any] = ChainMap(late, dict(imported(uses.imports, scope)), libraries, dict(scope))
    found = [use for use in changes.uses if not isinstance(names.get(use.path[0]), types.ModuleType) or not use.is_deep]
    for each in changes.passed:
        found += _changed_by_call(each, names, known)
    return list(dict.fromkeys(found))


@attrs.frozen
class _Late:
    """A function or module of the user's that is imported only when code runs, and whether it changes anything in place."""

    changes: bool


def _late_names(statements: tuple[Import, ...], package: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in statements:
        for alias in node.names:
            name = "." * node.level + (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
            texts = [text for _, text, _ in late_sources(name, package)]
            if texts:
                bound = alias.asname or alias.name.partition(".")[0]
                found[bound] = _Late(any(bool(changes_of(text).uses) for text in texts))
    return found


def changed_parameters(function: Any, known: Known) -> list[Use]:
    """What a function of the user's own changes of its parameters, itself or by what it calls."""
    function = inspect.unwrap(function) if callable(function) else function
    if not isinstance(function, types.FunctionType) or not is_own_namespace(function.__globals__):
        return []
    if id(function) not in known:
        known[id(function)] = function, []  # for functions that call each other
        try:
            text = function_excerpt(function, frozenset()).bare
        except (OSError, TypeError, SyntaxError, AttributeError):  # which is told where the function itself is read
            return []
        uses = changing_uses(text, ChainMap(closure_of(function), function.__globals__), known)
        known[id(function)] = function, [use for use in uses if use.path[0].startswith("(")]
    return known[id(function)][1]


def _changed_by_call(passed: Passed, names: Mapping[str, Any], known: Known) -> Iterator[Use]:
    if not passed.origin.path[0].startswith("(") and passed.origin.path[0] not in names:
        return
    late = names.get(passed.callee[0]) if passed.callee else None
    if isinstance(late, _Late):
        if late.changes and not passed.origin.fresh:  # what it changes of it cannot be known before it is imported
            yield _use(passed, "[]")
            yield attrs.evolve(_use(passed, "[]"), is_deep=True)
        return
    function, is_bound = _found(passed.callee, names)
    if isinstance(function, types.FunctionType) and is_own_code(function):
        for use in changed_parameters(function, known):
            is_packed = _matches(passed.at, use.path[0][1:-1], inspect.unwrap(function).__code__, is_bound=is_bound)
            if is_packed is not None:
                yield from _composed(passed, use, is_packed=is_packed)
    elif _changes_first(passed.callee, names) and passed.at == 0 and not passed.origin.fresh:
        yield _use(passed, "[]")
    for path in passed.beside:  # a function that is handed on, with what it is to be called with
        beside, is_bound = _found(path, names)
        if not isinstance(beside, types.FunctionType) or path in (passed.callee, passed.origin.path) or RESULT in path:
            continue
        needed = _needed(beside, is_bound=is_bound)
        for use in changed_parameters(beside, known):
            if use.path[0][1:-1] in needed:
                yield _use(passed, use.by)
                yield attrs.evolve(_use(passed, use.by), is_deep=True)


def _needed(function: types.FunctionType, *, is_bound: bool) -> set[str]:
    """The parameters that a library may give a value to: all but the instance, and those that have a default."""
    code = inspect.unwrap(function).__code__
    stars = code.co_varnames[code.co_argcount + code.co_kwonlyargcount :][: bool(code.co_flags & inspect.CO_VARARGS)]
    without = code.co_argcount - len(function.__defaults__ or ())
    return {*code.co_varnames[int(is_bound) : without], *stars}


def _use(passed: Passed, by: str) -> Use:
    origin = passed.origin
    return Use(origin.path, by, False, passed.runs, passed.line, origin.depth > 0, origin.only)


def _composed(passed: Passed, use: Use, *, is_packed: bool) -> Iterator[Use]:
    """What a change of a parameter is for what was given; `is_packed` where it is one of those that a star takes."""
    origin = passed.origin
    for _ in range(int(is_packed)):
        origin = origin.within()
    is_deep = use.is_deep
    while origin.fresh and is_deep:
        origin, is_deep = origin.item(), False
    if origin.fresh:
        return
    path = (*origin.path, *use.path[1:]) if not origin.depth else origin.path
    deep = is_deep or origin.depth > 0
    yield Use(path, use.by, False, passed.runs, passed.line, deep, origin.only or use.only)
    if is_packed:  # how far below the star the change is made is not known
        yield Use(path, use.by, False, passed.runs, passed.line, True, origin.only or use.only)


def _matches(at: int | str | None, name: str, code: types.CodeType, *, is_bound: bool) -> bool | None:
    """Whether an argument is one of those that a star takes, if it comes to the parameter `name`; else None."""
    count = code.co_argcount + code.co_kwonlyargcount
    stars = code.co_varnames[count:][: bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & _KEYWORDS)]
    if at == "self":
        return False if is_bound and code.co_varnames[:1] == (name,) else None
    if at is None:
        return name in stars
    if isinstance(at, int):
        position = at + is_bound
        if position < code.co_argcount:
            return False if code.co_varnames[position] == name else None
        return True if code.co_flags & inspect.CO_VARARGS and stars[0] == name else None
    if at in code.co_varnames[:count]:
        return False if at == name else None
    return True if code.co_flags & _KEYWORDS and stars[-1] == name else None


def _found(path: tuple[str, ...], names: Mapping[str, Any]) -> tuple[Any, bool]:
    """What a chain of names leads to, and whether it is called with what stands before the last name."""
    if not path or path[0] not in names:
        return None, False
    value, is_bound = names[path[0]], False
    if path[0] == "(self)" and len(path) > 1:
        return _of_class(value, path[1], is_bound=True) if len(path) == 2 else (None, False)
    for at, name in enumerate(path[1:], start=1):
        is_bound = False
        if name == RESULT:
            continue
        if path[at - 1] == RESULT:
            if not isinstance(value, type):  # who knows what a function returns
                return None, False
            value, is_bound = _of_class(value, name, is_bound=True)
        elif isinstance(value, types.ModuleType):
            value = vars(value).get(name)
        elif isinstance(value, type):
            value, is_bound = _of_class(value, name, is_bound=False)
        elif name in getattr(value, "__dict__", {}):
            value = value.__dict__[name]
        else:
            value, is_bound = _of_class(type(value), name, is_bound=True)
    if isinstance(value, types.MethodType):
        return value.__func__, True
    if isinstance(value, type):
        return inspect.getattr_static(value, "__init__", None), True
    if isinstance(value, types.FunctionType) or not callable(value):
        return value, is_bound
    if callable(getattr(value, "__wrapped__", None)):
        return inspect.unwrap(value), is_bound
    return inspect.getattr_static(type(value), "__call__", None), True


def _of_class(cls: type, name: str, *, is_bound: bool) -> tuple[Any, bool]:
    """What a class has under a name, and whether it gets the class, or the instance that it is asked of."""
    found = inspect.getattr_static(cls, name, None)
    if isinstance(found, staticmethod | classmethod):
        return found.__func__, isinstance(found, classmethod)
    return found, is_bound


def _changes_first(callee: tuple[str, ...], names: Mapping[str, Any]) -> bool:
    """Whether a function of a library changes its first argument, as torch and numpy name those."""
    if not callee or RESULT in callee:
        return False
    is_function = len(callee) == 1 or isinstance(names.get(callee[0]), types.ModuleType)
    return is_function and (is_in_place(callee[-1]) or (len(callee) > 1 and callee[-1] in ("at", "put")))


def _bound_by(statements: Any) -> set[str]:
    return {(alias.asname or alias.name).partition(".")[0] for node in statements for alias in node.names}


_LIBRARY = types.ModuleType("library")
_KEYWORDS = inspect.CO_VARKEYWORDS
