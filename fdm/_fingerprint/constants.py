"""Constants: what code reads from outside itself by value, and whether it changes that while it runs."""

import ast
import importlib
import linecache
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from typing import Any

import attrs
import numpy as np
import torch

from .._errors import PipelineError
from .excerpt import parsed
from .syntax import CHANGING, CHANGING_FUNCTIONS, Use, uses_in


class UncoveredError(PipelineError):
    """Code that a fingerprint cannot cover; the message names it, and the remedy."""


@attrs.frozen(eq=False)
class Place:
    """Where a name is bound: in a module, given by its names, or in a function around the code, given by its source."""

    name: str
    names: Mapping[str, Any]
    around: ast.FunctionDef | ast.AsyncFunctionDef | None = None
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
        use, where = changes[0]
        msg = (
            f"{self.label} is changed while the code runs, by {_how(use)} in {where}, so its value cannot tell what the "
            f"code computes; change a copy, pass it as a parameter, keep what is to be computed once by functools.cache, "
            f'or pin the stage by hand with .version("1") and change the string whenever its result changes'
        )
        raise UncoveredError(msg)


def key_of(value: Any, place: Place) -> object:
    """What tells constants apart: for what can be changed the object itself, which may have several names."""
    return id(value) if isinstance(value, _MUTABLE) else (id(place.names), place.name, id(place.around))


def alters(value: Any, use: Use) -> bool:
    """Whether a use changes a value of this kind."""
    if not use.by or use.by == "=":
        return bool(use.by)
    if use.is_deep or use.by in ("[]", ".", "out") or use.by in CHANGING_FUNCTIONS:
        return isinstance(value, _MUTABLE) or not isinstance(value, _SCALARS)
    if isinstance(value, torch.Tensor):
        return use.by.endswith("_")
    if isinstance(value, np.ndarray):
        return use.by in _OF_ARRAYS
    return use.by in CHANGING and isinstance(value, _MUTABLE)


def _how(use: Use) -> str:
    name = ".".join(use.path)
    return {"[]": f"{name}[...]", ".": name, "=": f"{name} = ...", "out": f"out={name}"}.get(
        use.by, f"{name} {use.by}(...)"
    )


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
    scope: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef,
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
    for use in uses_in(ast.Module(scope.body, [])):
        if use.path[0] == name and use.by and not any(first <= use.line <= last for first, last in lines):
            return None
    return ast.unparse(values[0])


def _top_statements(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """The statements of a body and of the blocks in it, without those of functions and classes."""
    for node in body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            yield from _top_statements(list(ast.iter_child_nodes(node)))


def _names_in(target: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


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
_SCALARS = (str, bytes, int, float, complex, tuple, frozenset, type(None))
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
