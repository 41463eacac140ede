"""Excerpts: the source of a function or class, found in its file and normalised."""

import ast
import linecache
import sys
import types
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, TypeAlias

import attrs


Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


class EditedError(OSError):
    """What was compiled is not what the file says now."""


@attrs.frozen
class Excerpt:
    """The source of one definition: its tree, as it stands in its file, its normalised code, and the text that counts.

    `compiled` is empty where the source says what the code in memory does, and else, where a loader rewrites what it
    imports, tells what was compiled.
    """

    node: ast.AST
    bare: str
    text: str
    around: ast.Module
    compiled: str = ""


def function_excerpt(function: Any, kept: frozenset[str]) -> Excerpt:
    """The excerpt of a function or lambda. `kept` is what counts beside the code: docstrings, annotations, source.

    Raises `OSError` where there is no source, or it does not have the function.
    """
    code = function.__code__
    return _of_code(code, id(code), kept, type(function.__globals__.get("__loader__")) not in _LOADERS)


def class_excerpts(cls: type, kept: frozenset[str]) -> list[Excerpt]:
    """The excerpts of all definitions in its file that a class may come from; more than one where it has a condition."""
    text = _text_of_class(cls)
    tree, index = _indexed(text)
    found = [node for name, node in index if name == cls.__qualname__ and isinstance(node, ast.ClassDef)]
    if not found:
        msg = f"{cls.__qualname__} is not in its file"
        raise OSError(msg)
    first = getattr(cls, "__firstlineno__", None)
    lines = [first] if first else [code.co_firstlineno for code in _codes_of(cls)]
    exact = [node for node in found if any(_first_line(node) <= line <= (node.end_lineno or 0) for line in lines)]
    return [Excerpt(node, *_normalised(text, node, kept), tree) for node in exact or found]


def module_excerpt(module: types.ModuleType, kept: frozenset[str]) -> Excerpt:
    """The excerpt that is a whole module."""
    return text_excerpt(text_of_file(str(getattr(module, "__file__", ""))), kept)


def text_excerpt(text: str, kept: frozenset[str]) -> Excerpt:
    """The excerpt that is the whole text of a file."""
    tree, _ = _indexed(text)
    return Excerpt(tree, *_normalised(text, tree, kept), tree)


def text_of_file(file: str) -> str:
    """The text of a file, or of a notebook's cell, as it is now; `OSError` where there is none."""
    linecache.checkcache(file)
    text = "".join(linecache.getlines(file))
    if not text:
        msg = f"{file} has no text"
        raise OSError(msg)
    return text


def parsed(text: str) -> ast.Module:
    """The tree of a whole file: the same one that excerpts of it are parts of."""
    return _indexed(text)[0]


def span_of(node: ast.AST) -> tuple[int, int]:
    """The first and the last line of a definition, with its decorators."""
    return _first_line(node), getattr(node, "end_lineno", None) or _first_line(node)


def functions_around(node: ast.AST, tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions that a definition stands in, the innermost first."""
    first, last = span_of(node)
    around = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    holding = [each for each in around if each is not node and span_of(each)[0] <= first and last <= span_of(each)[1]]
    return sorted(holding, key=lambda each: span_of(each)[0], reverse=True)


def closure_of(function: Any) -> dict[str, Any]:
    """The variables that a function has from the functions around it."""
    cells = getattr(function, "__closure__", None) or ()
    return {name: cell.cell_contents for name, cell in zip(function.__code__.co_freevars, cells) if _is_filled(cell)}  # noqa: B905


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def defaults_of(function: types.FunctionType, node: ast.AST) -> Iterator[tuple[str, Any]]:
    """The default values that the source does not write out."""
    written = dict(defaults_written(node))
    for name, value in sorted(defaults_now(function) if isinstance(node, Function) else ()):
        if not is_literally(written.get(name), value):
            yield name, value


def is_literally(node: ast.expr | None, value: Any) -> bool:
    """Whether an expression is a literal for a value."""
    try:
        return node is not None and repr(ast.literal_eval(node)) == repr(value)
    except (ValueError, TypeError, SyntaxError):
        return False


def defaults_written(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The default values of parameters, as the source has them."""
    if not isinstance(node, Function):
        return
    positional = [*node.args.posonlyargs, *node.args.args]
    pairs = [*zip(positional[::-1], node.args.defaults[::-1], strict=False)]
    for arg, default in (*zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True), *pairs):
        if default is not None:
            yield arg.arg, default


def defaults_now(function: types.FunctionType) -> list[tuple[str, Any]]:
    """The default values of parameters, as the function has them."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    pairs = zip(names[::-1], (function.__defaults__ or ())[::-1], strict=False)
    return [*pairs, *(function.__kwdefaults__ or {}).items()]


def is_inside(function: Any, cls: type, node: ast.AST) -> bool:
    """Whether a function was defined in the body of a class, of which `node` is the definition."""
    code = function.__code__
    first, last = _first_line(node), getattr(node, "end_lineno", 0)
    return bool(code.co_qualname.startswith(f"{cls.__qualname__}.") and first <= code.co_firstlineno <= last)


# To open a pipeline asks several times for the code of each function, and a good part of that time is Python's to read
# and parse it. What a code object was compiled from does not change, so it is read and parsed once.
@lru_cache(maxsize=2048)
def _of_code(code: types.CodeType, _identity: int, kept: frozenset[str], is_rewritten: bool) -> Excerpt:
    text = text_of_file(code.co_filename)
    try:
        tree, index = _indexed(text)
    except SyntaxError as error:
        raise EditedError(str(error)) from None
    found = [node for _, node in index if _name(node) == code.co_name and _first_line(node) == code.co_firstlineno]
    if len(found) > 1:
        found = [node for node in found if _holds(node, code)][-1:]
    if not found:
        msg = f"{code.co_qualname} is not where its file should have it"
        raise EditedError(msg)
    compiled = _what_runs(code, text, found[0], is_rewritten=is_rewritten)
    return Excerpt(found[0], *_normalised(text, found[0], kept), tree, compiled)


@lru_cache(maxsize=64)
def _indexed(text: str) -> tuple[ast.Module, list[tuple[str, Definition]]]:
    tree = ast.parse(text)
    return tree, list(_definitions(tree, ""))


def _definitions(tree: ast.AST, outer: str) -> Iterator[tuple[str, Definition]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            name = outer + _name(node)
            yield name, node
            yield from _definitions(node, f"{name}.<locals>.")
        elif isinstance(node, ast.ClassDef):
            yield outer + node.name, node
            yield from _definitions(node, f"{outer}{node.name}.")
        else:
            yield from _definitions(node, outer)


def _name(node: Definition) -> str:
    return "<lambda>" if isinstance(node, ast.Lambda) else node.name


def _first_line(node: ast.AST) -> int:
    every: list[Any] = [node, *getattr(node, "decorator_list", ())]
    lines: list[int] = [at.lineno for at in every if hasattr(at, "lineno")]
    return min(lines, default=1)


def _holds(node: Any, code: types.CodeType) -> bool:
    """Whether a lambda is the one of this code, by the places of its instructions: a line may have several."""
    inner = node.body if isinstance(node, ast.Lambda) else node
    begin, end = (inner.lineno, inner.col_offset), (inner.end_lineno, inner.end_col_offset)
    for line, last, left, right in code.co_positions():
        if line is None or last is None or left is None or right is None or left == right == 0:
            continue  # of an instruction that no expression stands for
        if (line, left) < begin or end < (last, right):
            return False
    return True


def _codes_of(cls: type) -> list[types.CodeType]:
    return [function.__code__ for function in vars(cls).values() if isinstance(function, types.FunctionType)]


def _text_of_class(cls: type) -> str:
    for code in _codes_of(cls):
        if code.co_qualname.startswith(f"{cls.__qualname__}.") and not code.co_filename.startswith("<attrs"):
            try:
                return text_of_file(code.co_filename)
            except OSError:
                continue
    return text_of_file(str(getattr(sys.modules[cls.__module__], "__file__", "")))


@lru_cache(maxsize=64)
def _compiled(text: str, file: str) -> Mapping[tuple[str, int], list[Any]]:
    """What a file compiles to now, by the names of functions and their lines: a line may have several lambdas."""
    found: dict[tuple[str, int], list[Any]] = {}

    def gather(code: types.CodeType) -> None:
        found.setdefault((code.co_qualname, code.co_firstlineno), []).append(code)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                gather(constant)

    gather(compile(text, file, "exec", dont_inherit=True))
    return found


def _what_runs(code: types.CodeType, text: str, node: ast.AST, *, is_rewritten: bool) -> str:
    """Nothing where a function was compiled to what its file says, or how it was rewritten by what imported it.

    Raises `EditedError` where the file was edited after it was imported.
    """
    if code.co_filename.startswith("<"):
        return ""
    if is_rewritten and any(isinstance(child, ast.Assert) for child in ast.walk(node)):  # as test runners do
        return ""
    try:
        now = _compiled(text, code.co_filename).get((code.co_qualname, code.co_firstlineno), [])
    except (SyntaxError, ValueError):
        now = []
    plain = _plain(code)
    if any(each is code or _plain(each) == plain for each in now):
        return ""
    if is_rewritten:
        return repr(plain)
    msg = f"{Path(code.co_filename).name} has changed"
    raise EditedError(msg)


def _plain(code: types.CodeType) -> list[Any]:
    """What a code object does, without where it stands."""
    constants = [_plain(each) if isinstance(each, types.CodeType) else _shown(each) for each in code.co_consts]
    return [code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, code.co_flags, constants]


def _shown(constant: Any) -> str:
    return f"frozenset({sorted(map(repr, constant))})" if isinstance(constant, frozenset) else repr(constant)


@lru_cache(maxsize=4096)
def _normalised(text: str, node: ast.AST, kept: frozenset[str]) -> tuple[str, str]:
    """The bare code of a part of a file, and the text that counts."""
    copied = ast.parse(ast.unparse(node))  # the tree is shared by all that is found in it
    bare = ast.unparse(_Bare(kept).visit(copied))
    if "source" not in kept:
        return bare, bare
    lines = text.splitlines()
    raw = lines if isinstance(node, ast.Module) else lines[_first_line(node) - 1 : getattr(node, "end_lineno", None)]
    return bare, "\n".join(raw)


class _Bare(ast.NodeTransformer):
    """Takes away what does not decide what code computes: docstrings, and the annotations of functions."""

    def __init__(self, kept: frozenset[str]) -> None:
        self.kept = kept
        self.depth = 0
        self.names: list[tuple[Counter[str], Counter[str]]] = []

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.mod | ast.expr):
            return node
        for block in (getattr(node, name, None) for name in ("body", "orelse")):
            if isinstance(block, list):
                doing = [each for each in block if not isinstance(each, ast.Pass)]
                block[:] = doing or [ast.Pass()][: block is node.body]  # type: ignore[attr-defined]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._drop_docstring(node)
        depth, self.depth = self.depth, 0  # what a class annotates, dataclasses and their like read
        self.generic_visit(node)
        self.depth = depth
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if not self.depth or "annotations" in self.kept:
            return self.generic_visit(node)
        if node.value is not None:
            return self.generic_visit(ast.Assign([node.target], node.value, lineno=node.lineno))
        loads, stores = self.names[-1]
        if isinstance(node.target, ast.Name) and stores[node.target.id] == 1 and loads[node.target.id]:
            node.annotation = ast.Constant(None)  # makes the name a local one
            return node
        return None

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self._drop_docstring(node)
        if "annotations" not in self.kept and all(_is_inert(decorator) for decorator in node.decorator_list):
            node.returns = None
            every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
            for arg in every:
                if arg is not None:
                    arg.annotation = None
        self.depth += 1
        names = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
        loads = Counter(each.id for each in names if isinstance(each.ctx, ast.Load))
        self.names.append((loads, Counter(each.id for each in names if not isinstance(each.ctx, ast.Load))))
        self.generic_visit(node)
        self.names.pop()
        self.depth -= 1
        return node

    def visit_Module(self, node: ast.Module) -> ast.AST:
        self._drop_docstring(node)
        return self.generic_visit(node)

    def _drop_docstring(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module) -> None:
        if "docstrings" not in self.kept and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]


def _is_inert(decorator: ast.expr) -> bool:
    """Whether a decorator is known to read no annotations, as those do that check, convert or dispatch."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(called, "attr", getattr(called, "id", "")) in _INERT


_LOADERS = (SourceFileLoader, types.NoneType)  # which compile what the file says
_INERT = frozenset(
    [
        "abstractmethod",
        "asynccontextmanager",
        "cache",
        "cached_property",
        "classmethod",
        "contextmanager",
        "final",
        "getter",
        "inference_mode",
        "lru_cache",
        "no_grad",
        "override",
        "property",
        "setter",
        "staticmethod",
        "wraps",
    ]
)
