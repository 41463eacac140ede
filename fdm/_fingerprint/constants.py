"""Constants: what code reads from outside itself by value, and whether it changes that while it runs."""

import ast
import builtins
import importlib
import linecache
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import attrs
import numpy as np
import torch

from .._arrays.tree import field_names
from .._errors import PipelineError
from .changes import changes_in
from .excerpt import defaults_now, defaults_written, parsed
from .origins import CHANGING, CHANGING_FUNCTIONS, is_in_place
from .syntax import Use, uses_in


class UncoveredError(PipelineError):
    """Code that a fingerprint cannot cover; the message names it, and the remedy."""


Binding: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@attrs.frozen(eq=False)
class Place:
    """Where a name is bound: in a module, given by its names, or in a function or class, given by its source."""

    name: str
    names: Mapping[str, Any]
    around: Binding | None = None
    tree: ast.Module | None = None


@attrs.frozen(eq=False)
class Span:
    """The lines of a piece of code that runs, in the tree of its file."""

    tree: ast.AST
    first: int
    last: int


@attrs.define(eq=False)
class Constant:
    """A value that code reads or changes, by the name under which it was found first, with all uses of it."""

    label: str
    value: Any
    place: Place
    uses: list[tuple[Use, str]] = attrs.field(factory=list)

    def add(self, use: Use, where: str) -> None:
        self.uses.append((use, where))

    def changes(self) -> list[tuple[Use, str]]:
        """The uses that change it while the code runs."""
        return [(use, where) for use, where in self.uses if use.runs and alters(self.value, use)]

    def beginning(self, spans: Sequence[Span]) -> str | None:
        """What stands for a value that the code changes: how it begins, or None where nobody can learn what it was.

        Raises `UncoveredError` where more went into the value than its beginning tells.
        """
        changes = self.changes()
        if not any(use.is_read for use, _ in self.uses):
            return None
        only_bound = all(use.by == "=" for use, _ in changes)
        text = _beginning(self.place, spans, literal=only_bound)
        if text is not None:
            return text
        raise changed(self.label, *changes[0])


def check_defaults(
    function: types.FunctionType, node: ast.AST, changing: Sequence[Use], label: str, where: str
) -> None:
    """Refuse a default value that the function changes, unless it begins empty, since then the source tells all of it."""
    written = dict(defaults_written(node))
    for name, value in defaults_now(function):
        changes = [use for use in changing if use.path[0] == f"({name})" and alters(value, use)]
        if changes and not (name in written and _is_empty(written[name])):
            path = (name, *changes[0].path[1:])
            use = attrs.evolve(changes[0], path=path)
            label = f"{label} -> {name}"
            raise changed(label, use, where)


def computed(where: str) -> UncoveredError:
    """The error for code that changes names of its module that nobody can learn from its text."""
    msg = (
        f"{where} changes globals() by names that it computes, so a fingerprint cannot cover it; name what it changes, "
        f'or pin the stage by hand with .version("1") and change the string whenever its result changes'
    )
    return UncoveredError(msg)


def changed(label: str, use: Use, where: str) -> UncoveredError:
    msg = (
        f"{label} is changed while the code runs, by {_how(use)} in {where}, so its value cannot tell what the "
        f"code computes; change a copy, pass it as a parameter, keep what is to be computed once by functools.cache, "
        f'or pin the stage by hand with .version("1") and change the string whenever its result changes'
    )
    return UncoveredError(msg)


def unreadable(label: str) -> UncoveredError:
    """The error for code without a source."""
    msg = (
        f"the source of {label} cannot be read, so its fingerprint could not cover it; define it in a file with def, "
        f'or pin the stage by hand with .version("1") and change the string whenever its result changes'
    )
    return UncoveredError(msg)


def edited(label: str, why: object) -> UncoveredError:
    """The error for code in memory that its file no longer has."""
    msg = (
        f"{label} was edited after it was imported ({why}): what would run is not what its file says; restart, or "
        f'reload the module, or pin the stage by hand with .version("1")'
    )
    return UncoveredError(msg)


def dynamic(where: str, how: str) -> UncoveredError:
    """The error for code that reaches other code in a way that its text does not tell."""
    msg = (
        f"{where} {how}, so a fingerprint cannot cover it; write import statements and names, pass the functions as "
        f'parameters, or pin the stage by hand with .version("1") and change the string whenever its result changes'
    )
    return UncoveredError(msg)


def key_of(value: Any, place: Place) -> object:
    """What tells constants apart: for what can be changed the object itself, which may have several names."""
    return id(value) if isinstance(value, _MUTABLE) else (id(place.names), place.name, id(place.around))


def alters(value: Any, use: Use) -> bool:
    """Whether a use changes a value of this kind, or what is in it."""
    if not use.by or use.by == "=":
        return bool(use.by)
    names = use.path[:-1] if use.by in (".", "+=") else use.path
    if use.by == "+=" and not names:
        return True
    if use.is_deep or len(names) > 1:
        return any(_alters_part(part, use) for part in parts(value))
    return _alters_itself(value, use)


def _alters_part(value: Any, use: Use) -> bool:
    if not isinstance(value, (*_MUTABLE, *_SCALARS, *_NAMED)):
        return use.only != "arrays"  # an instance, whose methods may be anything
    return _alters_itself(value, use)


def _alters_itself(value: Any, use: Use) -> bool:
    is_array = isinstance(value, np.ndarray | torch.Tensor)
    if use.only and is_array != (use.only == "arrays"):
        return False
    if use.by == "__iadd__":
        return isinstance(value, _MUTABLE) or hasattr(type(value), "__iadd__")
    if use.by in ("[]", ".", "+=", "out") or use.by in CHANGING_FUNCTIONS:
        return isinstance(value, _MUTABLE) or not isinstance(value, (*_SCALARS, *_NAMED))
    if isinstance(value, torch.Tensor):
        return use.by.endswith("_")
    if isinstance(value, np.ndarray):
        return use.by in _OF_ARRAYS or is_in_place(use.by)  # of a tensor that shares its memory
    return use.by in CHANGING and isinstance(value, _MUTABLE)


def parts(value: Any) -> Iterator[Any]:
    """All that is in a value; an array is a part of itself, since its items share its memory."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        whole = waiting.pop()
        if isinstance(whole, _ATOMS) or id(whole) in seen:
            continue
        seen.add(id(whole))
        if isinstance(whole, np.ndarray | torch.Tensor):
            yield whole
        within = _within(whole)
        yield from within
        waiting += within


def _within(whole: Any) -> list[Any]:
    if isinstance(whole, Mapping):
        return list(whole.values())
    if isinstance(whole, list | tuple | set | frozenset | deque):
        return list(whole)
    names: Iterable[str] = field_names(whole) or ()
    return [getattr(whole, name) for name in names] + list(getattr(whole, "__dict__", {}).values())


def _how(use: Use) -> str:
    name = ".".join(use.path)
    return {
        "[]": f"{name}[...]",
        ".": name,
        "=": f"{name} = ...",
        "+=": f"{name} += ...",
        "__iadd__": f"{name} += ...",
        "out": f"out={name}",
    }.get(use.by, f"{name} {use.by}(...)")


def _beginning(place: Place, spans: Sequence[Span], *, literal: bool) -> str | None:
    """The expression that a name is bound to, if it is bound once, begins empty, and only the code in `spans` changes it.

    With `literal` any plain literal counts, not only what is empty.
    """
    if place.around is not None and place.tree is not None:
        return _bound_once(place.around, place.tree, place.name, spans, literal=literal)
    file = place.names.get("__file__")
    tree_of_file = parsed("".join(linecache.getlines(str(file)))) if file else None
    if tree_of_file is None:
        return None
    for node in _top_statements(tree_of_file.body):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == place.name:
                    there = _names_of("." * node.level + (node.module or ""), place.names.get("__package__"))
                    return _beginning(Place(alias.name, there), spans, literal=literal) if there else None
    return _bound_once(tree_of_file, tree_of_file, place.name, spans, literal=literal)


def _names_of(module: str, package: str | None) -> Mapping[str, Any]:
    try:
        return vars(importlib.import_module(module, package))
    except (ImportError, TypeError):
        return {}


def _bound_once(
    scope: Binding | ast.Module,
    tree: ast.Module,
    name: str,
    spans: Sequence[Span],
    *,
    literal: bool,
) -> str | None:
    values = []
    for node in _top_statements(scope.body):
        match node:
            case ast.Assign(targets=targets, value=value):
                values += [value for target in targets if name in _names_in(target)]
            case ast.AnnAssign(target=ast.Name(id=bound), value=ast.expr() as value) if bound == name:
                values.append(value)
            case ast.AugAssign(target=target) | ast.For(target=target) if name in _names_in(target):
                return None
    if len(values) != 1 or not (_is_empty(values[0]) or (literal and _is_literal(values[0]))):
        return None
    lines = [(span.first, span.last) for span in spans if span.tree is tree]
    for line in _lines_of_changes(scope, tree, name):
        if not any(first <= line <= last for first, last in lines) or _is_called_at_the_top(tree, line):
            return None
    return ast.unparse(values[0])


def _lines_of_changes(scope: Binding | ast.Module, tree: ast.Module, name: str) -> Iterator[int]:
    """The lines that may change what a name of a scope stands for, wherever they are in its file."""
    within = tree if isinstance(scope, ast.ClassDef) else ast.Module(scope.body, [])
    changes = changes_in(within)
    for use in (*uses_in(within), *changes.uses):
        if use.by and (name in use.path[1:] if isinstance(scope, ast.ClassDef) else name == use.path[0]):
            yield use.line
    for passed in changes.passed:
        is_known = bool(passed.callee) and hasattr(builtins, passed.callee[0])
        if passed.origin.path[0] == name and not passed.runs and not is_known and passed.at != "self":
            yield passed.line


def _is_called_at_the_top(tree: ast.Module, line: int) -> bool:
    """Whether the function that a line is in may be called when its file is imported, as a decorator is."""
    around = [each for each in _functions_of(tree) if each.lineno <= line <= (each.end_lineno or 0)]
    return bool(around) and max(around, key=lambda each: each.lineno).name in _called_at_the_top(tree)


@lru_cache(maxsize=64)
def _functions_of(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@lru_cache(maxsize=64)
def _called_at_the_top(tree: ast.Module) -> set[str]:
    return {getattr(node, "id", "") or getattr(node, "attr", "") for node in _evaluated_at_the_top(tree)}


def _evaluated_at_the_top(node: ast.AST) -> Iterator[ast.AST]:
    """What is called when a file is imported: the functions of calls, and decorators."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for decorator in getattr(child, "decorator_list", ()):
                yield decorator
                yield from _evaluated_at_the_top(decorator)
        elif isinstance(child, ast.If) and any(getattr(each, "id", "") == "__name__" for each in ast.walk(child.test)):
            continue
        else:
            if isinstance(child, ast.Call):
                yield child.func
            yield from getattr(child, "decorator_list", ())
            yield from _evaluated_at_the_top(child)


def _top_statements(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """The statements of a body and of the blocks in it, without those of functions and classes."""
    for node in body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            yield from _top_statements(list(ast.iter_child_nodes(node)))


def _names_in(target: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def is_plain(node: ast.AST) -> bool:
    """Whether an expression is an empty container or a literal."""
    return _is_empty(node) or _is_literal(node)


def _is_empty(node: ast.AST) -> bool:
    match node:
        case ast.Dict(keys=[]) | ast.List(elts=[]):
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args, keywords=keywords):
            is_given = [*args[name == "defaultdict" :], *(each for each in keywords if each.arg != "maxlen")]
            return name in _MADE_EMPTY and not is_given
    return False


def _is_literal(node: ast.AST) -> bool:
    return all(
        isinstance(each, ast.Constant | ast.UnaryOp | ast.USub | ast.Tuple | ast.Load) for each in ast.walk(node)
    )


_MUTABLE = (MutableSequence, MutableMapping, MutableSet, deque, bytearray, np.ndarray, torch.Tensor)
_SCALARS = (str, bytes, int, float, complex, tuple, frozenset, type(None), np.generic)
_NAMED = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)
_ATOMS = (str, bytes, int, float, complex, type(None), *_NAMED)
_OF_ARRAYS = frozenset(
    ["__delitem__", "__setitem__", "fill", "itemset", "partition", "put", "resize", "setflags", "sort"]
)
_MADE_EMPTY = frozenset(
    [
        "dict",
        "list",
        "set",
        "OrderedDict",
        "Counter",
        "deque",
        "defaultdict",
        "WeakValueDictionary",
        "WeakKeyDictionary",
        "bytearray",
    ]
)
