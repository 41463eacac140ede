"""Changes: what code changes of the names from outside, and of its parameters, through the names that it gives them."""

import ast
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

import attrs

from .origins import (
    CHANGING,
    CHANGING_FUNCTIONS,
    GLOBALS,
    NOTHING,
    PLAIN_TYPES,
    RESULT,
    Names,
    Origin,
    Origins,
    Scope,
    is_in_place,
    items,
    scope_of,
    union,
)
from .syntax import WHEN_DEFINED, Use


Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@attrs.frozen
class Passed:
    """An argument of a call: what is called, in which place the argument stands, and what it comes from.

    `at` is a position, a keyword, `self` for what a method belongs to, or None for arguments that come by a star.
    `beside` are the other arguments, among which may be a function that gets this one.
    """

    callee: tuple[str, ...]
    at: int | str | None
    origin: Origin
    line: int
    runs: bool
    beside: tuple[tuple[str, ...], ...] = ()


@attrs.frozen
class Changes:
    """What a piece of code changes, and what it passes on. Parameters stand in brackets, since names cannot."""

    uses: tuple[Use, ...]
    passed: tuple[Passed, ...]


@lru_cache(maxsize=2048)
def changes_of(text: str) -> Changes:
    """The changes that a piece of source code makes, such as one function with its decorators."""
    return changes_in(ast.parse(text))


def changes_in(tree: ast.Module) -> Changes:
    """The changes that a tree makes, with its own line numbers."""
    walk = _Walk()
    walk.block(tree.body)
    return Changes(tuple(dict.fromkeys(walk.uses)), tuple(dict.fromkeys(walk.passed)))


class _Walk(Names, ast.NodeVisitor):
    """Walks through code as it runs, and knows at each place what each local name may come from."""

    def __init__(self) -> None:
        super().__init__()
        self.functions: list[str] = []
        self.defined: dict[str, Definition] = {}
        self.inlined: list[ast.AST] = []
        self.uses: list[Use] = []
        self.passed: list[Passed] = []

    # What is changed

    def _change(self, node: ast.AST | None, by: str, at: ast.AST) -> None:
        for origin in self.of(node):
            if not origin.fresh:
                self._add(origin, by, at)

    def _add(self, origin: Origin, by: str, at: ast.AST) -> None:
        if RESULT in origin.path:
            return
        line = getattr(at, "lineno", 0)
        use = Use(origin.path, by, False, self._runs(), line, origin.depth > 0, origin.only)
        self.uses.append(use)

    def _runs(self) -> bool:
        return bool(self.functions) and not WHEN_DEFINED & set(self.functions)

    def stored(self, value: ast.expr, by: str, target: ast.Attribute | ast.Subscript) -> None:
        match target:
            case ast.Subscript(slice=ast.Constant(value=str(name))) if Origin(GLOBALS) in self.of(value):
                self._add(Origin((name,)), "=", target)
            case ast.Attribute(attr=name):
                for origin in self.of(value):
                    if not origin.fresh:
                        self._add(origin.attribute(name), "=" if origin.path == GLOBALS else by, target)
            case _:
                self._change(value, by, target)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        origins = self.of(node.value)
        for target in node.targets:
            match target, node.value:
                case (ast.Tuple(elts=left), ast.Tuple(elts=right)) if len(left) == len(right) and not any(
                    isinstance(each, ast.Starred) for each in (*left, *right)
                ):
                    values = [self.of(value) for value in right]
                    for one, value in zip(left, values, strict=True):
                        self.bind(one, value)
                case ast.Name(id=name), ast.Lambda() if self.is_local(name):
                    self.defined[name] = node.value
                case _:
                    self.bind(target, origins)
            self._grown(target, node.value)

    def _grown(self, target: ast.expr, value: ast.expr) -> None:
        """Whether a name is bound to what is made of its own value, as a counter is, and not a value made only once."""
        if isinstance(value, ast.BoolOp | ast.IfExp) or isinstance(target, ast.Tuple | ast.List):
            return
        text = ast.unparse(target)
        if any(isinstance(each, ast.Name | ast.Attribute) and ast.unparse(each) == text for each in ast.walk(value)):
            self._rebound(target)

    def _rebound(self, target: ast.expr) -> None:
        match target:
            case ast.Name(id=name) if self.scopes and not self.is_local(name):
                self._add(Origin((name,)), "+=", target)
            case ast.Attribute():
                self._change(target, "+=", target)
            case ast.Subscript(value=value, slice=ast.Constant(value=str())) if Origin(GLOBALS) in self.of(value):
                self._change(target, "+=", target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            self.bind(node.target, self.of(node.value))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if isinstance(node.target, ast.Name) and self.is_local(node.target.id):
            self._change(node.target, "__iadd__", node)
        else:
            self._rebound(node.target)
            if isinstance(node.target, ast.Subscript):
                self.stored(node.target.value, "[]", node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.bind(node.target, self.of(node.value))

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if not isinstance(target, ast.Name):
                self.bind(target, NOTHING)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        if node.attr in CHANGING or is_in_place(node.attr):  # it may be handed on, and called who knows where
            self._change(node.value, node.attr, node)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(value=ast.Name(id=owner), attr=by) if owner in PLAIN_TYPES and by in CHANGING:
                self._change(node.args[0] if node.args else None, by, node)
            case ast.Name(id=by) | ast.Attribute(attr=by) if by in CHANGING_FUNCTIONS and node.args:
                self._change(node.args[0], by, node)
            case ast.Call(func=ast.Name(id="getattr"), args=[receiver, ast.Constant(value=str(by))]) if by in CHANGING:
                self._change(receiver, by, node)
        for keyword in node.keywords:
            if keyword.arg == "out":
                self._change(keyword.value, "out", node)
        self._pass(node)

    def _pass(self, node: ast.Call) -> None:
        callee: Definition | None = node.func if isinstance(node.func, ast.Lambda) else None
        if isinstance(node.func, ast.Name) and self.is_local(node.func.id):
            callee = self.defined.get(node.func.id)
        if callee is not None:
            self._inline(callee, node)
            return
        places: list[tuple[int | str | None, Origins]] = []
        for number, each in enumerate(node.args):
            places.append(
                (None, items(self.of(each.value))) if isinstance(each, ast.Starred) else (number, self.of(each))
            )
        places += [(each.arg, self.of(each.value)) for each in node.keywords]
        if isinstance(node.func, ast.Attribute):
            places.append(("self", self.of(node.func.value)))
        given = tuple({origin.path: None for _, origins in places for origin in origins if not origin.depth})
        called = {origin.path: None for origin in self.of(node.func) if not (origin.fresh or origin.depth)}
        handed = [(at, origin) for at, origins in places for origin in origins if RESULT not in origin.path]
        for path in called or [()]:
            self.passed += [Passed(path, at, origin, node.lineno, self._runs(), given) for at, origin in handed]

    def _inline(self, function: Definition, node: ast.Call) -> None:
        """Go through a function that is defined in the code itself, with what it is given here."""
        if function in self.inlined:
            return
        names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
        given = {name: self.of(each) for name, each in zip(names, node.args, strict=False)}
        given |= {each.arg: self.of(each.value) for each in node.keywords if each.arg is not None}
        self.inlined.append(function)
        self._inside(function, given)
        self.inlined.pop()

    # The order in which code runs

    def block(self, statements: Iterable[ast.AST]) -> None:
        for statement in statements:
            self.visit(statement)

    def _branches(self, branches: Sequence[Sequence[ast.AST]]) -> None:
        """Go through what may run instead of each other; after that a name may come from where any of them left it."""
        before, after = self.known, list[dict[str, Origins]]()
        for branch in branches:
            self.known = dict(before)
            self.block(branch)
            after.append(self.known)
        self.known = {
            name: union(each.get(name, NOTHING) for each in after) for name in {name for each in after for name in each}
        }

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._branches([node.body, node.orelse])

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        origins = self.of(node.subject)
        for each in ast.walk(node):
            if isinstance(each, ast.MatchAs | ast.MatchStar) and each.name:
                self.known[each.name] = origins | items(origins)
        self._branches([case.body for case in node.cases])

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        for _ in range(2):
            if not isinstance(node, ast.While):
                self.bind(node.target, items(self.of(node.iter)))
            self._branches([[node.test, *node.body] if isinstance(node, ast.While) else node.body, []])
        self.block(node.orelse)

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self._loop(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._loop(node)

    def visit_While(self, node: ast.While) -> None:
        self._loop(node)

    def visit_Try(self, node: ast.Try) -> None:
        self._branches([node.body, []])
        self._branches([*([*handler.body] for handler in node.handlers), node.orelse])
        self.block(node.finalbody)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, self.of(item.context_expr))
        self.block(node.body)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        before = dict(self.known)
        targets = {each.id for one in node.generators for each in ast.walk(one.target) if isinstance(each, ast.Name)}
        self.scopes.append(Scope(frozenset(targets)))
        for each in node.generators:
            self.visit(each.iter)
            self.bind(each.target, items(self.of(each.iter)))
            self.block(each.ifs)
        self.block([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self.scopes.pop()
        self.known = before

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node)

    # Scopes

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.block(node.decorator_list)
        self.block(each for each in (*node.args.defaults, *node.args.kw_defaults) if each is not None)
        if self.functions:
            self.defined[node.name] = node
        self._inside(node, {} if self.functions else self._parameters(node))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _parameters(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, Origins]:
        names = _names(node.args)
        known = {name: frozenset([Origin((f"({name})",))]) for name in names}
        decorators = {getattr(each, "id", "") for each in node.decorator_list}
        if self.scopes and names and "staticmethod" not in decorators:
            is_class = "classmethod" in decorators or node.name == "__new__"
            known[names[0]] = frozenset([Origin(("(cls)" if is_class else "(self)",))])
        return known

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._inside(node, {})

    def _inside(self, node: Definition, parameters: dict[str, Origins]) -> None:
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        scope, before, defined = scope_of(node.args, body), self.known, self.defined
        self.known = {name: each for name, each in before.items() if name not in scope.bound} | parameters
        self.defined = dict(defined)
        self.scopes.append(scope)
        self.functions.append(getattr(node, "name", "<lambda>"))
        self.block(body)
        self.functions.pop()
        self.scopes.pop()
        self.known, self.defined = before, defined

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scopes.append(attrs.evolve(scope_of(None, node.body), is_class=True))
        self.block(node.body)
        self.scopes.pop()


def _names(args: ast.arguments) -> list[str]:
    every = (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg)
    return [arg.arg for arg in every if arg is not None]
