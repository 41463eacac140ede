"""Modules as code: what is used of them, what importing them does, and what is imported only when code runs."""

import ast
import builtins
import sys
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import attrs

from .._public import is_module_of_fdm
from .canonical import is_named, module_name, module_of, qualified_name
from .constants import dynamic, unreadable
from .excerpt import module_excerpt, parsed, text_excerpt
from .imports import is_own_code, is_own_namespace, late_sources, own_module, source_of_module
from .origins import CHANGING
from .syntax import FRAMES, Call, Import, Use, uses_in, uses_of


# Modules


def use_of_module(reach: Any, module: types.ModuleType, use: Use, label: str, where: str, *, runs: bool) -> None:
    """What is read as `name.x` from a module, through its submodules."""
    is_method = use.by in CHANGING or use.by.endswith("_")  # or a function of a module that is named like one
    path = [*use.path[1:], *([use.by] if is_method else [])]
    if not is_own_namespace(vars(module)):
        check_path((module.__name__, *path), use, where)
        if use.path[0] != module.__name__:
            reach.add(f"{label} -> {use.path[0]}", {"ModuleType": module_name(module.__name__)})
    value: Any = module
    names, at = vars(module), 0
    while at < len(path) and isinstance(value, types.ModuleType):
        names, name = vars(value), path[at]
        own = is_own_namespace(names)
        known = getattr(value, name, _MISSING) if own else names.get(name, _MISSING)
        if known is _MISSING:
            return
        if not own and not isinstance(known, types.ModuleType) and not _is_put_there(known):
            return
        label, value, at = f"{module_name(value.__name__)}.{name}", known, at + 1
    if isinstance(value, types.ModuleType):
        if not is_own_namespace(vars(value)):
            check_path((value.__name__,), use, where)
        reach.follow(value, f"{label} -> {'.'.join(use.path)}", runs=runs)
        return
    used_up = at == len(path)
    by = "" if is_method and used_up else "=" if use.by == "." and at == len(use.path) - 1 else use.by
    is_read = use.is_read or (is_method and used_up)
    rest = attrs.evolve(use, path=(path[at - 1], *path[at : len(use.path) - 1]), by=by, is_read=is_read)
    reach.attribute(value, rest, names, label, where, runs=runs)


def _is_put_there(value: Any) -> bool:
    """Whether what is found in a library's module is the user's, who has put it there."""
    return is_named(value) and not isinstance(value, type) and is_own_code(value)


def module_code(reach: Any, module: types.ModuleType, label: str, *, runs: bool) -> None:
    """A module that is passed around as a whole, or reached by text, so that anything in it may be used."""
    try:
        excerpt = module_excerpt(module, reach.kept)
    except (OSError, TypeError, SyntaxError):
        if module.__spec__ is not None and module.__spec__.origin is None:  # a folder, which has no source
            return
        raise unreadable(label) from None
    name_of_module = module_name(module.__name__)
    reach.add(f"module {name_of_module}", excerpt.text)
    reach.words |= uses_of(excerpt.bare).words
    imports(reach, excerpt.around, vars(module))
    for name, value in sorted(vars(module).items()):
        if name in OF_THE_MODULE or name in ("__doc__", "__annotations__") or is_module_of_fdm(type(value).__module__):
            continue
        if isinstance(value, types.ModuleType) or is_named(value):
            reach.follow(value, f"{name_of_module}.{name}", runs=runs)
        else:
            reach.held(value, f"{name_of_module}.{name}", runs=runs)


# What importing does


def imports(reach: Any, tree: ast.Module, names: Mapping[str, Any]) -> None:
    """Note what a file does to libraries when it is imported, and what the user's own files do that it imports.

    Such as `random.seed(1)`, `torch.Tensor.go = go` and `copyreg.pickle(A, reduce)`: who reads what it changes cannot be
    seen. What it does to its own things is seen in these.
    """
    if id(tree) in reach.files:
        return
    reach.files[id(tree)] = tree
    statements, imported = _top_of(tree)
    texts = []
    for root, statement in statements:
        value = names.get(root, getattr(builtins, root, None))
        if root in ("exec", "eval") or _is_of_library(value):
            texts.append(ast.unparse(statement))
            _names_in_effect(reach, statement, names)
    if texts:
        reach.add(f"import of {module_name(str(names.get('__name__', '__main__')), names)}", texts)
    package = names.get("__package__") or None
    for statement in imported:
        for name in dict.fromkeys(_modules_in(statement)):
            module = own_module(name, package)
            if module is not None:
                text = source_of_module(module)
                if text is not None:
                    imports(reach, parsed(text), vars(module))


def _names_in_effect(reach: Any, statement: ast.stmt, names: Mapping[str, Any]) -> None:
    for use in uses_in(statement):
        value = names.get(use.path[0], _MISSING)
        if is_named(value) and is_own_code(value):
            reach.follow(value, qualified_name(value), runs=False)
        elif isinstance(value, _SCALARS) and len(use.path) == 1 and use.path[0] not in OF_THE_MODULE:
            reach.add(f"import -> {use.path[0]}", reach.value(value, use.path[0], runs=False))


def _is_of_library(value: Any) -> bool:
    if isinstance(value, types.ModuleType):
        name = value.__name__
        return not (is_own_namespace(vars(value)) or is_module_of_fdm(name) or name.partition(".")[0] == "logging")
    if not is_named(value) or is_own_code(value):
        return False
    return module_of(value).partition(".")[0] not in ("builtins", "logging") and not is_module_of_fdm(module_of(value))


@lru_cache(maxsize=256)
def _top_of(tree: ast.Module) -> tuple[list[tuple[str, ast.stmt]], list[Import]]:
    """The statements at the top of a file that change something, by the names they begin with, and its imports."""
    effects: list[tuple[str, ast.stmt]] = []
    imported: list[Import] = []
    _gather(tree.body, effects, imported, repeats=False)
    return effects, imported


def _gather(
    body: list[ast.stmt], effects: list[tuple[str, ast.stmt]], imported: list[Import], *, repeats: bool
) -> None:
    for node in body:
        match node:
            case ast.Import() | ast.ImportFrom():
                imported.append(node)
            case ast.If(test=test) if {"__name__", "TYPE_CHECKING"} & set(_words(test)):
                _gather(node.orelse, effects, imported, repeats=repeats)
            case ast.If() | ast.For() | ast.While() | ast.With() | ast.Try():
                # A training loop at the top of a script is no setting.
                inner = repeats or not isinstance(node, ast.If | ast.Try)
                blocks = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
                blocks += [handler.body for handler in getattr(node, "handlers", ())]
                for block in blocks:
                    _gather(block, effects, imported, repeats=inner)
            case _:
                effects += [(root, node) for root in _changed_at_the_top(node, repeats=repeats)][:1]


def _changed_at_the_top(node: ast.stmt, *, repeats: bool) -> Iterator[str]:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[first, *_])):
            yield from _root(first)
        case (
            ast.Expr(value=ast.Call(func=called)) | ast.Assign(targets=[ast.Name(id="_")], value=ast.Call(func=called))
        ) if not repeats:
            yield from _root(called)
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            for target in targets:
                if not isinstance(target, ast.Name):
                    yield from _root(target)
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target) if not isinstance(target, ast.Name):
            yield from _root(target)


def _root(node: ast.expr) -> Iterator[str]:
    below: Any = node
    while isinstance(below, ast.Attribute | ast.Subscript | ast.Call):
        below = below.func if isinstance(below, ast.Call) else below.value
    if isinstance(below, ast.Name):
        yield below.id


def _words(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Name | ast.Attribute):
            yield each.id if isinstance(each, ast.Name) else each.attr


def _modules_in(statement: Import) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            parts = alias.name.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))
        return
    base = "." * statement.level + (statement.module or "")
    yield base
    yield from (f"{base}{'' if base.endswith('.') else '.'}{alias.name}" for alias in statement.names)


# What is imported only when code runs


def late_code(reach: Any, statement: Import, package: str | None, where: str) -> None:
    """Note the whole text of the user's modules that code imports when it runs, and of those that they import.

    Nothing is imported here: their code belongs to what the function does when it is called.
    """
    for name in dict.fromkeys(_modules_in(statement)):
        for module, text, its_package in late_sources(name, package):
            if module in reach.late:
                continue
            reach.late.add(module)
            try:
                excerpt = text_excerpt(text, reach.kept)
            except SyntaxError:
                raise unreadable(module) from None
            reach.add(f"module {module}", excerpt.text)
            uses = uses_of(excerpt.bare)
            reach.words |= uses.words
            check_words(uses.words, f"{module} ({where})")
            for call in uses.calls:
                by_text(reach, call, {"__package__": its_package}, module, f"{module} ({where})", runs=False)
            for inner in (*uses.imports, *uses.late):
                late_code(reach, inner, its_package, where)


# What is reached by text


def by_text(reach: Any, call: Call, scope: Mapping[str, Any], label: str, where: str, *, runs: bool) -> None:
    """What code reaches by a text: names that it evaluates, modules that it imports."""
    text = call.text
    if text is None and call.name is not None and isinstance(scope.get(call.name), str):
        text = scope[call.name]
    if call.function in ("import_module", "__import__", "sys.modules"):
        if text is None:
            raise dynamic(where, "imports a module by a name that it computes")
        statement = ast.Import([ast.alias(text)]) if not text.startswith(".") else _relative(text)
        late_code(reach, statement, scope.get("__package__") or None, where)
        return
    if call.function in ("eval", "exec"):
        if text is None:
            raise dynamic(where, f"calls {call.function} with a text that it computes")
        try:
            evaluated = uses_of(text)
        except SyntaxError:
            raise dynamic(where, f"calls {call.function} with a text that is no code") from None
        late = (*evaluated.imports, *evaluated.late)
        reach.uses(attrs.evolve(evaluated, imports=(), late=late), scope, label, where, runs=runs)
        return
    module = sys.modules.get(str(scope.get("__name__")))
    if module is not None:
        reach.follow(module, f"{label} -> {call.function}", runs=runs)


def _relative(text: str) -> ast.ImportFrom:
    name = text.lstrip(".")
    return ast.ImportFrom(name or None, [], len(text) - len(name))


def check_words(words: frozenset[str], where: str) -> None:
    """Refuse code that reads the names of other code through functions and frames."""
    for word in sorted(words & FRAMES):
        raise dynamic(where, f"reads {word}, through which it can reach any name")


def check_path(path: tuple[str, ...], use: Use, where: str) -> None:
    """Refuse what can reach any code, as a library names it, unless the text of a call tells what it reaches."""
    dotted = ".".join(path)
    if use.is_told:
        return
    if "__subclasses__" in path:
        raise dynamic(where, f"uses {dotted}, through which it can reach any class")
    if path == (path[0],) and path[0] in _MODULES:
        raise dynamic(where, f"uses the module {path[0]} as a value, through which it can reach any code")
    for end in range(1, len(path) + 1):
        if ".".join(path[:end]) in _FUNCTIONS:
            raise dynamic(where, f"uses {dotted}, through which it can reach any code")


def check_value(value: Any, where: str) -> None:
    """Refuse functions of Python that can reach any code, under whatever name."""
    if value is sys.modules:
        raise dynamic(where, "uses sys.modules, through which it can reach any code")
    if isinstance(value, types.ModuleType):
        if value.__name__ in _MODULES:
            raise dynamic(where, f"uses the module {value.__name__} as a value, through which it can reach any code")
    elif is_named(value) and qualified_name(value) in _FUNCTIONS:
        raise dynamic(where, f"uses {qualified_name(value)}, through which it can reach any code")


def late_paths(statements: tuple[Import, ...]) -> dict[str, tuple[str, ...]]:
    """What the names are called in their library that import statements bind."""
    paths: dict[str, tuple[str, ...]] = {}
    for statement in statements:
        for alias in statement.names:
            if isinstance(statement, ast.ImportFrom):
                paths[alias.asname or alias.name] = (*(statement.module or "").split("."), alias.name)
            elif alias.asname:
                paths[alias.asname] = tuple(alias.name.split("."))
            else:
                top = alias.name.partition(".")[0]
                paths[top] = (top,)
    return paths


_MISSING = object()
_SCALARS = (bool, int, float, complex, str, bytes, type(None))
_MODULES = frozenset(["builtins", "gc", "importlib", "inspect", "pkgutil", "pydoc", "runpy", "sys"])
_FUNCTIONS = frozenset(
    [
        "builtins.__import__",
        "builtins.eval",
        "builtins.exec",
        "builtins.globals",
        "gc.get_objects",
        "gc.get_referents",
        "gc.get_referrers",
        "importlib.__import__",
        "importlib._bootstrap.module_from_spec",
        "importlib._bootstrap_external.spec_from_file_location",
        "importlib.import_module",
        "importlib.machinery",
        "importlib.reload",
        "importlib.util.find_spec",
        "importlib.util.module_from_spec",
        "importlib.util.spec_from_file_location",
        "inspect.currentframe",
        "inspect.getmodule",
        "inspect.stack",
        "inspect.trace",
        "pkgutil.find_loader",
        "pkgutil.get_loader",
        "pkgutil.resolve_name",
        "pydoc.importfile",
        "pydoc.locate",
        "runpy.run_module",
        "runpy.run_path",
        "sys._current_frames",
        "sys._getframe",
        "sys.meta_path",
        "sys.modules",
    ]
)
# Python gives these to every module; they differ by machine and by how a script is started.
OF_THE_MODULE = frozenset(
    ["__builtins__", "__cached__", "__file__", "__loader__", "__name__", "__package__", "__path__", "__spec__"]
)
