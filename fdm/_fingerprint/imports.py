"""Imports: which functions, classes and modules are the user's own, and what import statements bind."""

import ast
import importlib.util
import linecache
import os
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.machinery import PathFinder
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
        return not is_module_of_fdm(name) and not _is_installed(file)
    folders = getattr(names.get("__spec__"), "submodule_search_locations", None)
    if folders:  # a package without an __init__.py
        return not any(map(_is_installed, folders))
    if name in ("__main__", "__mp_main__"):
        return True
    return is_python and "__builtins__" in names and not is_standard(name)


def imported(statements: Sequence[ast.Import | ast.ImportFrom], scope: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What import statements have bound, where that is the user's own; a name may come more than once."""
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
    """The user's module of this name, if it is imported already."""
    try:
        module = sys.modules.get(importlib.util.resolve_name(name, package))
    except (ImportError, ValueError):
        return None
    return module if module is not None and is_own_code(module) else None


def source_of_module(module: types.ModuleType) -> str | None:
    """The text of the user's module, or None where there is none, as of a folder."""
    file = str(getattr(module, "__file__", None) or "")
    return "".join(linecache.getlines(file)) if file.endswith(".py") else None


def late_sources(name: str, package: str | None) -> Iterator[tuple[str, str, str]]:
    """The user's module of this name, its text and its package, without importing anything."""
    try:
        absolute = importlib.util.resolve_name(name, package)
    except (ImportError, ValueError):  # the function will say so itself, if it comes to that
        return
    found = _found_file(absolute)
    if found is not None:
        file, is_package = found
        linecache.checkcache(file)
        yield absolute, "".join(linecache.getlines(file)), absolute if is_package else absolute.rpartition(".")[0]


def _found_file(name: str) -> tuple[str, bool] | None:
    """The file of the user's module of this name, and whether it is that of a package."""
    path: Sequence[str] | None = None
    file: str | None = None
    is_package = False
    parts = name.split(".")
    if is_module_of_fdm(parts[0]):
        return None
    for count in range(1, len(parts) + 1):
        absolute = ".".join(parts[:count])
        module = sys.modules.get(absolute)
        if module is not None:
            file, places = getattr(module, "__file__", None), getattr(module, "__path__", None)
        else:
            spec = PathFinder.find_spec(absolute, path)
            if spec is None:
                return None
            file, places = spec.origin, spec.submodule_search_locations
        is_package = places is not None
        path = list(places or ())
        if not path and count < len(parts):
            return None
    return (file, is_package) if file and file.endswith(".py") and not _is_installed(file) else None


def is_standard(name: str) -> bool:
    return name.partition(".")[0] in (*sys.stdlib_module_names, "builtins", "__builtin__")


@cache
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(f"{Path(folder).resolve()}{os.sep}" for folder in folders)


@cache  # asked for every name that code reads, and following links takes long
def _is_installed(file: str) -> bool:
    path = Path(file).resolve()
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or str(path).startswith(_library_folders())


_MISSING = object()
