"""Code as a value: a function's normalised source, with the user's helpers and constants that it reaches."""

import ast
import builtins
import importlib
import inspect
import os
import symtable
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from ._canonical import canonical, module_name, namespace_of, qualified_name
from ._errors import PipelineError


class UncoveredError(PipelineError):
    """Code that a fingerprint cannot cover; the message names it, and the remedy."""


def code_of(function: Any) -> dict[str, Any]:
    """The code that decides what `function` computes, as plain JSON values under qualified names.

    Holds the source of the function and of every function and class of the user's own that it reaches through
    globals, closures, defaults, decorators, bases and imports, and the values of the constants that they read.
    Comments, docstrings, annotations and formatting do not count. Library code (the standard library, installed
    packages, fdm) counts by name. Raises `PipelineError` for what has no source or no value, and names it.
    """
    found: dict[str, Any] = {}
    _follow(function, qualified_name(function), found, set())
    return found


def _follow(named: Any, label: str, found: dict[str, Any], seen: set[int]) -> None:
    """Add the code of one function or class to `found`, under `label`, and what it reaches."""
    plain = _below(named)
    if id(plain) in seen or not is_own_code(plain):
        return
    seen.add(id(plain))
    if isinstance(named, types.MethodType):  # of a class, whose other methods it can call
        _follow_value(named.__self__, f"{label}.__self__", found, seen)
    tree, text = _tree(plain, label)
    found[f"{label}()"] = text
    for name, value in _reached(plain, tree, text):
        _follow_value(value, f"{label} -> {name}", found, seen)


def _follow_value(value: Any, label: str, found: dict[str, Any], seen: set[int]) -> None:
    def by_name(named: Any) -> dict[str, str]:
        name = qualified_name(named)
        # Closures and lambdas share their names: what leads to them tells them apart.
        _follow(named, label if "<" in name else name, found, seen)
        return {"name": name}

    if isinstance(value, types.ModuleType):
        if is_own_code(value):  # passed around as a whole, so anything in it may be reached
            found[label] = _tree(value, label)[1]
        return
    try:
        found[label] = canonical(value, by_name)
    except UncoveredError:
        raise
    except PipelineError as error:
        msg = (
            f"{label} has no value that a fingerprint could cover ({error}); pass it as a parameter, or pin the "
            f'stage by hand with .version("1") and change the string whenever its result changes'
        )
        raise UncoveredError(msg) from None


def is_own_code(named: Any) -> bool:
    """Whether a function, class or module is the user's own: not built in, not installed, not of fdm."""
    names = vars(named) if isinstance(named, types.ModuleType) else namespace_of(named)
    name, file = str(names.get("__name__", "builtins")), names.get("__file__")
    if file is None:
        return name in ("__main__", "__mp_main__")
    return name.partition(".")[0] != __package__ and not _is_installed(str(Path(file).resolve()))


def _below(named: Any) -> Any:
    """The function below its decorators, such as that of `functools.lru_cache`."""
    return named if isinstance(named, type) else inspect.unwrap(getattr(named, "__func__", named))


@cache
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(f"{Path(folder).resolve()}{os.sep}" for folder in folders)


def _is_installed(file: str) -> bool:
    parts = Path(file).parts
    return "site-packages" in parts or "dist-packages" in parts or file.startswith(_library_folders())


def _tree(named: Any, name: str) -> tuple[ast.Module, str]:
    """The normalised code of a function, class or module: as a tree, and as text."""
    try:
        code = getattr(named, "__code__", None)
        return _normalised(_source_of_function(code, id(code)) if code is not None else inspect.getsource(named))
    except (OSError, TypeError, SyntaxError):  # a lambda inside an expression has no source of its own
        msg = (
            f"the source of {name} cannot be read, so its fingerprint could not cover it; define it in a file with def, "
            f'or pin the stage by hand with .version("1") and change the string whenever its result changes'
        )
        raise UncoveredError(msg) from None


# To open a pipeline asks several times for the code of each function, and a good part of that time is Python's to read
# and parse it. What a code object was compiled from does not change, so it is read and parsed once.
@lru_cache(maxsize=1024)
def _source_of_function(code: types.CodeType, _identity: int) -> str:  # code objects of different sources may be equal
    return inspect.getsource(code)


@lru_cache(maxsize=1024)
def _normalised(source: str) -> tuple[ast.Module, str]:
    tree = _Bare().visit(ast.parse(textwrap.dedent(source)))
    return tree, ast.unparse(tree)


class _Bare(ast.NodeTransformer):
    """Takes away what does not decide what a function computes: docstrings and the annotations of functions."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        _drop_docstring(node)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        _drop_docstring(node)
        node.returns = None
        return self.generic_visit(node)


def _drop_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
    if ast.get_docstring(node) is not None:
        node.body = node.body[1:] or [ast.Pass()]


def _reached(named: Any, tree: ast.Module, text: str) -> Iterator[tuple[str, Any]]:
    """Names that the code reads from outside itself, with their values, in the order of the names."""
    scope = _scope(named)
    imported = dict(_imports(tree, scope))
    passed, written = _passed_around(tree), _written_to(tree)
    for name in sorted(_free_names(text) | imported.keys()):
        value = imported.get(name, scope.get(name, _MISSING))
        if isinstance(value, types.ModuleType) and name not in passed:
            yield from _attributes(tree, name, value)
        elif value is not _MISSING and not (name in written and isinstance(value, _CONTAINERS)):
            yield name, value


@lru_cache(maxsize=1024)
def _written_to(tree: ast.Module) -> set[str]:
    """The names of containers that the code changes in place: counters and caches, which are no constants."""
    written = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=method) if method in _CHANGING:
                written.add(name)
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                written.add(name)
    return written


_CONTAINERS = (MutableSequence, MutableMapping, MutableSet)
_CHANGING = frozenset(
    [
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "extendleft",
        "insert",
        "pop",
        "popitem",
        "popleft",
        "remove",
        "reverse",
        "setdefault",
        "sort",
        "update",
    ]
)


@lru_cache(maxsize=1024)
def _passed_around(tree: ast.Module) -> set[str]:
    """The names that the code reads otherwise than as `name.x`."""
    before_dots = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in before_dots}


_MISSING = object()


def _scope(named: Any) -> Mapping[str, Any]:
    """The global names that the code sees, its closure's variables in front."""
    cells = getattr(named, "__closure__", None) or ()
    names = named.__code__.co_freevars if cells else ()
    contents = {name: cell.cell_contents for name, cell in zip(names, cells, strict=True) if _is_filled(cell)}
    return {**namespace_of(named), **contents}


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


@lru_cache(maxsize=1024)
def _free_names(source: str) -> frozenset[str]:
    top = symtable.symtable(source, "<source>", "exec")
    own = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned()}
    return frozenset(name for name in _global_names(top) if name not in own and not _is_given(name))


def _is_given(name: str) -> bool:
    """Whether Python gives the name to every module: builtins, and `__file__` or `__name__`, which differ by machine."""
    return hasattr(builtins, name) or (name.startswith("__") and name.endswith("__"))


def _global_names(table: symtable.SymbolTable) -> Iterator[str]:
    top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (top or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _global_names(child)


def _imports(tree: ast.Module, scope: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What import statements inside the code bind, where that is the user's own."""
    package = scope.get("__package__") or None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = _own_module(alias.name)
                if module is not None:
                    top = alias.name.partition(".")[0]
                    yield (alias.asname, module) if alias.asname else (top, sys.modules[top])
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            module = _own_module(base, package)
            for alias in node.names if module is not None else ():
                dot = "" if base.endswith(".") else "."
                value = getattr(module, alias.name, None) or _own_module(f"{base}{dot}{alias.name}", package)
                if value is not None:
                    yield alias.asname or alias.name, value


def _own_module(name: str, package: str | None = None) -> types.ModuleType | None:
    """The user's module of this name, imported if need be: the function would import it itself, but too late."""
    if not name.startswith(".") and name.partition(".")[0] in (*sys.stdlib_module_names, __package__):
        return None
    try:
        module = importlib.import_module(name, package)
    except (ImportError, TypeError):  # the function will say so itself, if it comes to that
        return None
    return module if is_own_code(module) else None


def _attributes(tree: ast.Module, name: str, module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """What the code reads as `name.x` from one of the user's modules, through its submodules."""
    if not is_own_code(module):
        return
    paths = [path[1:] for node in ast.walk(tree) if (path := _dotted(node))[:1] == [name]]
    found = [_resolved(module, path) for path in paths]
    written = {label for label, _, rest in found if rest and rest[0] in _CHANGING}
    for label, value, _ in found:
        known = value is not _MISSING and not isinstance(value, types.ModuleType)
        if known and not (label in written and isinstance(value, _CONTAINERS)):
            yield label, value


def _resolved(module: types.ModuleType, path: Sequence[str]) -> tuple[str, Any, Sequence[str]]:
    """What the first names of a dotted path lead to, down to the first that is no module of the user's; and the rest."""
    value: Any = module
    label, used = "", 0
    while used < len(path) and isinstance(value, types.ModuleType) and is_own_code(value):
        label, value = f"{module_name(value.__name__)}.{path[used]}", getattr(value, path[used], _MISSING)
        used += 1
    return label, value, path[used:]


def _dotted(node: ast.AST) -> list[str]:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []
