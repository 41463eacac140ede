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
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ._canonical import canonical, is_named, module_name, qualified_name
from ._errors import PipelineError


def code_of(function: Any) -> dict[str, Any]:
    """The code that decides what `function` computes, as plain JSON values under qualified names.

    Holds the source of the function and of every function and class of the user's own that it reaches through
    globals, closures, defaults, decorators, bases and imports, and the values of the constants that they read.
    Comments, docstrings and formatting do not count. Library code (the standard library, installed packages, fdm)
    counts by name. Raises `PipelineError` for what has no source or no value, and names it.
    """
    found: dict[str, Any] = {}
    _follow(function, found)
    return found


def _follow(named: Any, found: dict[str, Any]) -> None:
    name = qualified_name(named)
    if name in found:
        return
    plain = inspect.unwrap(named) if not isinstance(named, type) else named
    tree = _Bare().visit(_tree(plain, name))
    found[name] = ast.unparse(tree)
    for reached, value in _reached(plain, tree):
        _follow_value(f"{name} -> {reached}", value, found)


def _follow_value(label: str, value: Any, found: dict[str, Any]) -> None:
    def by_name(function: Any) -> dict[str, str]:
        if is_own_code(function):
            _follow(function, found)
        return {"name": qualified_name(function)}

    if isinstance(value, types.ModuleType):
        return
    try:
        found[label] = canonical(_unwrapped(value), by_name)
    except PipelineError as error:
        msg = (
            f"{label} has no value that a fingerprint could cover ({error}); pass it as a parameter, or pin the "
            f'stage by hand with .version("1") and change the string whenever its result changes'
        )
        raise PipelineError(msg) from None


def is_own_code(named: Any) -> bool:
    """Whether a function, class or module is the user's own: not built in, not installed, not of fdm."""
    module = named if isinstance(named, types.ModuleType) else sys.modules.get(getattr(named, "__module__", None) or "")
    names: Mapping[str, Any] = getattr(named, "__globals__", None) or (vars(module) if module else {})
    name, file = str(names.get("__name__", "builtins")), names.get("__file__")
    if file is None:
        return name in ("__main__", "__mp_main__")
    return name.partition(".")[0] != __package__ and not _is_installed(str(Path(file).resolve()))


@cache
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(f"{Path(folder).resolve()}{os.sep}" for folder in folders)


def _is_installed(file: str) -> bool:
    parts = Path(file).parts
    return "site-packages" in parts or "dist-packages" in parts or file.startswith(_library_folders())


def _tree(named: Any, name: str) -> ast.Module:
    try:
        source = textwrap.dedent(inspect.getsource(named))
    except (OSError, TypeError):
        msg = (
            f"the source of {name} cannot be read, so a change of it would go unnoticed; define it in a file, or pin "
            f'the stage by hand with .version("1") and change the string whenever its result changes'
        )
        raise PipelineError(msg) from None
    return ast.parse(source)


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


def _reached(named: Any, tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """Names that the code reads from outside itself, with their values, in the order of the names."""
    scope = _scope(named)
    imported = dict(_imports(tree, scope))
    names = _free_names(ast.unparse(tree)) | imported.keys()
    for name in sorted(names):
        value = imported.get(name, scope.get(name, _MISSING))
        if value is _MISSING:
            continue
        if isinstance(value, types.ModuleType):
            yield from _attributes(tree, name, value)
        else:
            yield name, value


_MISSING = object()


def _scope(named: Any) -> Mapping[str, Any]:
    """The global names that the code sees, its closure's variables in front."""
    namespace = getattr(named, "__globals__", None)
    if namespace is None:
        namespace = vars(sys.modules[named.__module__])
    cells = getattr(named, "__closure__", None) or ()
    names = named.__code__.co_freevars if cells else ()
    return {**namespace, **{name: cell.cell_contents for name, cell in zip(names, cells, strict=True)}}


def _free_names(source: str) -> set[str]:
    top = symtable.symtable(source, "<source>", "exec")
    own = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned()}
    return {name for name in _global_names(top) if name not in own and not _is_given(name)}


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
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                target = alias.name if alias.asname else alias.name.partition(".")[0]
                yield from _own_module(alias.asname or target, target)
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            for _, module in _own_module("", package, scope.get("__package__") or None):
                for alias in node.names:
                    if hasattr(module, alias.name):
                        yield alias.asname or alias.name, getattr(module, alias.name)


def _own_module(bound: str, name: str, package: str | None = None) -> Iterator[tuple[str, types.ModuleType]]:
    if not name.startswith(".") and name.partition(".")[0] in (*sys.stdlib_module_names, __package__):
        return
    try:
        module = importlib.import_module(name, package)
    except (ImportError, TypeError):  # the function will say so itself, if it comes to that
        return
    if is_own_code(module):
        yield bound, module


def _attributes(tree: ast.Module, name: str, module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """What the code reads as `name.x` from one of the user's modules, through its submodules."""
    if not is_own_code(module):
        return
    for node in ast.walk(tree):
        path = _dotted(node)
        if path[:1] == [name]:
            label, value = _resolved(module, path[1:])
            if value is not _MISSING and not isinstance(value, types.ModuleType):
                yield label, value


def _resolved(module: types.ModuleType, path: Sequence[str]) -> tuple[str, Any]:
    """What the first names of a dotted path lead to, down to the first that is no module of the user's."""
    value: Any = module
    label = ""
    for part in path:
        if not isinstance(value, types.ModuleType) or not is_own_code(value):
            break
        label, value = f"{module_name(value.__name__)}.{part}", getattr(value, part, _MISSING)
    return label, value


def _dotted(node: ast.AST) -> list[str]:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []


def _unwrapped(value: Any) -> Any:
    """The user's function below a decorator's wrapper such as that of `functools.lru_cache`."""
    return inspect.unwrap(value) if is_named(value) and not isinstance(value, type) else value
