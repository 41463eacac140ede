"""Imports: which functions, classes and modules are the user's own, and what import statements bind."""

import ast
import importlib
import importlib.util
import os
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .._public import is_module_of_fdm
from .canonical import module_of, namespace_of


def is_own_code(named: Any) -> bool:
    """Whether a function, class or module is the user's own: not built in, not installed, not of fdm."""
    names = vars(named) if isinstance(named, types.ModuleType) else namespace_of(named)
    if not names and isinstance(named, type) and module_of(named) not in sys.modules:
        return not is_standard(module_of(named))  # of a module that nobody else can find
    return is_own_namespace(names, is_python=isinstance(named, type) or hasattr(named, "__code__"))


def is_own_namespace(names: Mapping[str, Any], *, is_python: bool = True) -> bool:
    """Whether the global names of a module are the user's own; `is_python` where code in Python was found there."""
    name, file = str(names.get("__name__", "builtins")), names.get("__file__")
    if file is not None:
        return not is_module_of_fdm(name) and not _is_installed(str(Path(file).resolve()))
    folders = getattr(names.get("__spec__"), "submodule_search_locations", None)
    if folders:  # a package without an __init__.py
        return not any(_is_installed(str(Path(folder).resolve())) for folder in folders)
    if name in ("__main__", "__mp_main__"):
        return True
    return is_python and "__builtins__" in names and not is_standard(name)


def imported(statements: Sequence[ast.Import | ast.ImportFrom], scope: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What import statements bind, where that is the user's own; a name may come more than once."""
    package = scope.get("__package__") or None
    for node in statements:
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = own_module(alias.name)
                if module is not None:
                    top = alias.name.partition(".")[0]
                    yield (alias.asname, module) if alias.asname else (top, sys.modules[top])
        else:
            base = "." * node.level + (node.module or "")
            module = own_module(base, package)
            for alias in node.names if module is not None else ():
                dot = "" if base.endswith(".") else "."
                value = getattr(module, alias.name, _MISSING)
                if value is _MISSING:
                    value = own_module(f"{base}{dot}{alias.name}", package)
                if value is not None:
                    yield alias.asname or alias.name, value


def own_module(name: str, package: str | None = None) -> types.ModuleType | None:
    """The user's module of this name, imported if need be: the function would import it itself, but too late."""
    try:
        absolute = importlib.util.resolve_name(name, package)
        top = absolute.partition(".")[0]
        if is_module_of_fdm(top) or (top not in sys.modules and not _may_be_own(top)):
            return None
        if top in sys.modules and not is_own_code(sys.modules[top]):
            return None
        module = importlib.import_module(absolute)
    except (ImportError, TypeError, ValueError):  # the function will say so itself, if it comes to that
        return None
    return module if is_own_code(module) else None


def _may_be_own(top: str) -> bool:
    """Whether a package that nobody has imported yet is the user's, to be found out without importing it."""
    spec = importlib.util.find_spec(top)
    places = [spec.origin] if spec and spec.origin else list(spec.submodule_search_locations or ()) if spec else []
    return any(
        place not in ("built-in", "frozen") and not _is_installed(str(Path(place).resolve())) for place in places
    )


def is_standard(name: str) -> bool:
    return name.partition(".")[0] in (*sys.stdlib_module_names, "builtins", "__builtin__")


@cache
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(f"{Path(folder).resolve()}{os.sep}" for folder in folders)


def _is_installed(file: str) -> bool:
    parts = Path(file).parts
    return "site-packages" in parts or "dist-packages" in parts or file.startswith(_library_folders())


def is_patched(value: Any) -> bool:
    """Whether what is found in a library's module is a function of the user's that was put there."""
    return isinstance(value, types.FunctionType) and is_own_code(value)


_MISSING = object()
