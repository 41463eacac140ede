"""Scopes: which names a function, class or comprehension binds, as Python's own compiler has it."""

import ast
from collections.abc import Iterator, Sequence

import attrs


@attrs.frozen
class Scope:
    """The names that a function binds, and those that it declares global; a class's own are not seen from within."""

    bound: frozenset[str]
    declared: frozenset[str] = frozenset()
    is_class: bool = False


def scope_of(args: ast.arguments | None, body: Sequence[ast.AST]) -> Scope:
    bound, declared, elsewhere = set[str](), set[str](), set[str]()
    if args is not None:
        every = (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg)
        bound |= {arg.arg for arg in every if arg is not None}
    for node in (found for statement in body for found in _same_scope(statement)):
        match node:
            case ast.Global(names=names):
                declared |= set(names)
            case ast.Nonlocal(names=names):
                elsewhere |= set(names)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                bound.add(name)
            case ast.MatchMapping(rest=str(name)):
                bound.add(name)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                bound.add(name)
    # What an import statement binds is looked up as if it came from outside, which it does.
    return Scope(frozenset(bound - declared - elsewhere), frozenset(declared))


def _same_scope(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it that bind names in the same scope."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        for child in ast.walk(node):
            if isinstance(child, ast.NamedExpr):
                yield child.target
        return
    for child in ast.iter_child_nodes(node):
        yield from _same_scope(child)


def names_stored(target: ast.AST) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
