"""Syntax: which names a piece of code reads from outside itself, and which of them it changes."""

import ast
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

import attrs

from .origins import CHANGING, CHANGING_FUNCTIONS, PLAIN_TYPES, Scope, is_in_place, names_stored, scope_of


@attrs.frozen
class Use:
    """One use of a name from outside: `path` is the name with the attributes that follow it.

    `by` is empty where the code reads it; else it tells how it is changed: the name of a method or function, `[]` for
    items, `.` for attributes, `=` where the name itself is bound anew. `is_read` tells whether what was there can be
    learned from the use; `runs` whether the use is made when the code is called, not when it is defined. `is_deep`
    means that something inside is changed, such as an item of an item. `only` tells of which values the use holds: a
    slice shares the memory of "arrays", but only the items of "containers". `is_told` means that the use is a call whose
    text says what it reaches.
    """

    path: tuple[str, ...]
    by: str
    is_read: bool
    runs: bool
    line: int
    is_deep: bool = False
    only: str = ""
    is_told: bool = False


@attrs.frozen
class Call:
    """A call that reaches code by a text: which function it calls, and the text, or the name that holds it."""

    function: str
    text: str | None = None
    name: str | None = None


Import: TypeAlias = ast.Import | ast.ImportFrom


@attrs.frozen
class Uses:
    """What a piece of code uses: names, import statements, and words that tell what it reads of other code.

    `imports` are made when it is defined, and `late` ones when it runs.
    """

    names: tuple[Use, ...]
    imports: tuple[Import, ...]
    late: tuple[Import, ...]
    calls: tuple[Call, ...]
    words: frozenset[str]
    attributes_changed: frozenset[str]

    def with_names(self, more: Iterable[Use]) -> "Uses":
        return attrs.evolve(self, names=(*self.names, *more))


@lru_cache(maxsize=2048)
def uses_of(text: str) -> Uses:
    """The uses in a piece of source code, such as one function with its decorators."""
    visitor = _Visitor()
    visitor.visit(ast.parse(text))
    return Uses(
        tuple(visitor.names),
        tuple(visitor.imports),
        tuple(visitor.late),
        tuple(visitor.calls),
        frozenset(visitor.words),
        frozenset(visitor.attributes_changed),
    )


def uses_in(tree: ast.AST) -> list[Use]:
    """The uses of names in a tree, with its own line numbers."""
    visitor = _Visitor()
    visitor.visit(tree)
    return visitor.names


class _Visitor(ast.NodeVisitor):
    """Walks through code as Python would resolve its names."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.functions: list[str] = []
        self.names: list[Use] = []
        self.imports: list[Import] = []
        self.late: list[Import] = []
        self.calls: list[Call] = []
        self.is_told = False
        self.words: set[str] = set()
        self.attributes_changed: set[str] = set()

    # Scopes

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._signature(node.args)
        self._annotation(node.returns)
        self._inside(node.name, scope_of(node.args, node.body), node.body)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._signature(node.args)
        self._inside("<lambda>", scope_of(node.args, [node.body]), [node.body])

    def _signature(self, args: ast.arguments) -> None:
        for default in (*args.defaults, *args.kw_defaults):
            if default is not None:
                self.visit(default)
        for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
            if arg is not None:
                self._annotation(arg.annotation)

    def _annotation(self, node: ast.expr | None) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                node = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                return
        if node is not None:
            self.visit(node)

    def _inside(self, name: str, scope: Scope, body: Sequence[ast.AST]) -> None:
        self.scopes.append(scope)
        self.functions.append(name)
        for child in body:
            self.visit(child)
        self.functions.pop()
        self.scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for child in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.visit(child)
        self.scopes.append(attrs.evolve(scope_of(None, node.body), is_class=True))
        for statement in node.body:
            self.visit(statement)
        self.scopes.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.visit(node.generators[0].iter)
        targets = [name for each in node.generators for name in names_stored(each.target)]
        self.scopes.append(Scope(frozenset(targets)))
        for number, each in enumerate(node.generators):
            self.visit(each.target)
            for child in (*([each.iter] if number else []), *each.ifs):
                self.visit(child)
        for child in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.visit(child)
        self.scopes.pop()

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node)

    def _is_local(self, name: str) -> bool:
        for depth, scope in enumerate(reversed(self.scopes)):
            if name in scope.declared:
                return False
            if name in scope.bound and (not depth or not scope.is_class):
                return True
        return False

    def _runs(self) -> bool:
        return bool(self.functions) and not WHEN_DEFINED & set(self.functions)

    # Uses

    def visit_Import(self, node: ast.Import) -> None:
        (self.late if self._runs() else self.imports).append(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        (self.late if self._runs() else self.imports).append(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and node.value in _WORDS:
            self.words.add(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._call(node.value, is_read=False)
        else:
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        self._call(node, is_read=True)

    def _call(self, node: ast.Call, *, is_read: bool) -> None:
        changed: ast.expr | None = None
        by = ""
        match node.func:
            case ast.Attribute(value=ast.Name(id=owner), attr=by) if owner in PLAIN_TYPES and node.args:
                changed = node.args[0] if by in CHANGING else None
            case ast.Name(id=by) | ast.Attribute(attr=by) if by in CHANGING_FUNCTIONS and node.args:
                changed = node.args[0]
            case ast.Attribute(value=receiver, attr=by) if by in CHANGING or is_in_place(by):
                changed = receiver
        if changed is None or not self._change(changed, by, is_read=is_read):
            self.is_told = self._tells(node)
            self.visit(node.func)
            self.is_told = False
            changed = None
        elif isinstance(node.func, ast.Attribute):
            self.words |= {node.func.attr} & _WORDS
            if changed is not node.func.value:
                self.visit(node.func)
        else:
            self.visit(node.func)
        for argument in node.args:
            if argument is not changed:
                self.visit(argument)
        for keyword in node.keywords:
            if not (keyword.arg == "out" and self._change(keyword.value, "out", is_read=False)):
                self.visit(keyword.value)

    def _tells(self, node: ast.Call) -> bool:
        """Whether a call reaches code by a text, which is remembered where it is written out."""
        is_method = isinstance(node.func, ast.Attribute)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in BY_TEXT or (is_method and name != "import_module") or (not is_method and self._is_local(name)):
            return False
        match node.args:
            case [ast.Constant(value=str(text)), *_]:
                self.calls.append(Call(name, text))
            case [ast.Name(id=holder)] if not self._is_local(holder):
                self.calls.append(Call(name, name=holder))
            case _:
                self.calls.append(Call(name))
        return True

    def visit_Name(self, node: ast.Name) -> None:
        self.words |= {node.id} & _WORDS
        if self._is_local(node.id):
            return
        if isinstance(node.ctx, ast.Load):
            self._add((node.id,), "", node, is_read=True)
        elif self.scopes:
            self._add((node.id,), "=", node, is_read=False)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.words |= {node.attr} & _WORDS
        if not isinstance(node.ctx, ast.Load):
            on_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            if self._runs() and not on_self:
                self.attributes_changed.add(node.attr)
            root, path, is_deep = _chain(node.value)
            if root is not None and not self._is_local(root.id):
                self._add((*path, node.attr), ".", node, is_read=False, is_deep=is_deep)
                self._slices(node.value)
                return
        root, path, is_deep = _chain(node)
        if root is None or is_deep or self._is_local(root.id):
            self.visit(node.value)
        elif node.attr in CHANGING:  # a method that is handed on, and called who knows where
            self._add(path[:-1], node.attr, node, is_read=True)
        else:
            self._words_of(node)
            self._add(path, "", node, is_read=True)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        match node:
            case ast.Subscript(value=ast.Attribute(attr="modules"), slice=ast.Constant(value=str(name))):
                self.calls.append(Call("sys.modules", name))
                self.is_told = True
            case ast.Subscript(value=ast.Attribute(attr="modules"), slice=ast.Name(id="__name__")):
                self.calls.append(Call("globals"))
                self.is_told = True
        if isinstance(node.ctx, ast.Load) or not self._change(node.value, "[]", is_read=False):
            self.visit(node.value)
        self.is_told = False
        self.visit(node.slice)

    def _change(self, receiver: ast.expr, by: str, *, is_read: bool) -> bool:
        """Note that what `receiver` names is changed, if its name comes from outside."""
        root, path, is_deep = _chain(receiver)
        last = _last_attribute(receiver)
        if last is not None and self._runs():
            self.attributes_changed.add(last)
        if root is None or self._is_local(root.id):
            return False
        self._add(path, by, receiver, is_read=is_read, is_deep=is_deep)
        self._words_of(receiver)
        self._slices(receiver)
        return True

    def _add(self, path: tuple[str, ...], by: str, node: ast.AST, *, is_read: bool, is_deep: bool = False) -> None:
        line = getattr(node, "lineno", 0)
        self.names.append(Use(path, by, is_read, self._runs(), line, is_deep, is_told=self.is_told))

    def _words_of(self, node: ast.AST) -> None:
        self.words |= {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)} & _WORDS

    def _slices(self, node: ast.AST) -> None:
        while isinstance(node, ast.Attribute | ast.Subscript):
            if isinstance(node, ast.Subscript):
                self.visit(node.slice)
            node = node.value


def _chain(node: ast.AST) -> tuple[ast.Name | None, tuple[str, ...], bool]:
    """The name that a chain of attributes and items begins with, its path up to the first item, and whether there is one."""
    parts: list[str] = []
    is_deep = False
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Subscript):
            parts, is_deep = [], True
        else:
            parts.append(node.attr)
        node = node.value
    return (node, (node.id, *reversed(parts)), is_deep) if isinstance(node, ast.Name) else (None, (), is_deep)


def _last_attribute(node: ast.AST) -> str | None:
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else None


BY_TEXT = frozenset({"eval", "exec", "globals", "import_module", "__import__"})
TELLING = frozenset(
    [
        "__doc__",
        "getdoc",
        "__annotations__",
        "__annotate__",
        "get_type_hints",
        "get_annotations",
        "signature",
        "getfullargspec",
        "__code__",
        "getsource",
        "getsourcelines",
        "getcomments",
        "findsource",
        "__subclasses__",
    ]
)
FRAMES = frozenset(
    [
        "__builtins__",
        "__globals__",
        "ag_frame",
        "cr_frame",
        "f_back",
        "f_builtins",
        "f_globals",
        "f_locals",
        "gi_frame",
        "tb_frame",
    ]
)
"""Words that tell that code reads docstrings, annotations, source text or subclasses of other code."""

_WORDS = TELLING | FRAMES
WHEN_DEFINED = frozenset({"__init_subclass__", "__set_name__", "__prepare__"})
