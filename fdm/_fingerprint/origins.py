"""Origins: which names from outside the values in a piece of code may come from, through its local names."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import attrs


GLOBALS = ("globals()",)
"""Stands for the names of the module itself, as a mapping or as the module."""

RESULT = "()"
"""Stands in a path for what a call returns: an instance, whose methods may be known."""


@attrs.frozen
class Origin:
    """Where a value may come from: `depth` items into what `path` names, below `fresh` containers that were made anew.

    `only` tells of which values that holds: a slice is a part of an array, but a copy of a list.
    """

    path: tuple[str, ...]
    depth: int = 0
    fresh: int = 0
    only: str = ""

    def item(self) -> "Origin":
        if self.fresh:
            return attrs.evolve(self, fresh=self.fresh - 1)
        return attrs.evolve(self, depth=min(self.depth + 1, 3))

    def attribute(self, name: str) -> "Origin":
        if self.path == GLOBALS and not (self.fresh or self.depth):
            return Origin((name,))
        return self.item() if self.fresh or self.depth else attrs.evolve(self, path=(*self.path, name))

    def within(self, containers: int = 1) -> "Origin":
        return attrs.evolve(self, fresh=min(self.fresh + containers, 4))


Origins: TypeAlias = frozenset[Origin]
NOTHING: Origins = frozenset()


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


class Names(ast.NodeVisitor):
    """What each local name may come from, at one place in the code."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.known: dict[str, Origins] = {}

    def of(self, node: ast.AST | None) -> Origins:
        match node:
            case ast.Name(id=name):
                return self._of_name(name)
            case ast.Attribute(value=value, attr="__class__"):
                return self._class_of(self.of(value))
            case ast.Attribute(value=value, attr=name):
                return frozenset(origin.attribute(name) for origin in self.of(value))
            case ast.Subscript(value=ast.Attribute(attr="modules"), slice=ast.Name(id="__name__")):
                return frozenset([Origin(GLOBALS)])
            case ast.Subscript(value=value, slice=ast.Constant(value=str(name))):
                return frozenset(
                    each.attribute(name) if each.path == GLOBALS else each.item() for each in self.of(value)
                )
            case ast.Subscript(value=value, slice=ast.Slice()):
                return _parts(self.of(value))
            case ast.Subscript(value=value):
                return items(self.of(value))
            case ast.NamedExpr(value=value) | ast.Await(value=value):
                return self.of(value)
            case ast.IfExp(body=one, orelse=other):
                return self.of(one) | self.of(other)
            case ast.BoolOp(values=values):
                return union(map(self.of, values))
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                return union(map(self._element, elements))
            case ast.Dict(keys=keys, values=values):
                return union(
                    within(self.of(value) if key is not None else items(self.of(value)))
                    for key, value in zip(keys, values, strict=True)
                )
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                return self._of_comprehension(node, node.elt)
            case ast.DictComp():
                return self._of_comprehension(node, node.value)
            case ast.Call():
                return self._of_call(node)
        return NOTHING

    def _of_name(self, name: str) -> Origins:
        if name in self.known:
            return self.known[name]
        return NOTHING if self.is_local(name) else frozenset([Origin((name,))])

    def is_local(self, name: str) -> bool:
        for depth, scope in enumerate(reversed(self.scopes)):
            if name in scope.declared:
                return False
            if name in scope.bound and (not depth or not scope.is_class):
                return True
        return False

    def _class_of(self, origins: Origins) -> Origins:
        return frozenset(Origin(("(cls)",)) for origin in origins if origin.path == ("(self)",) and not origin.depth)

    def _element(self, node: ast.expr) -> Origins:
        return within(items(self.of(node.value)) if isinstance(node, ast.Starred) else self.of(node))

    def _of_comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, element: ast.expr
    ) -> Origins:
        before = dict(self.known)
        for each in node.generators:
            self.bind(each.target, items(self.of(each.iter)))
        found = within(self.of(element))
        self.known = before
        return found

    def _of_call(self, node: ast.Call) -> Origins:
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr=name), args=args):
                receiver = self.of(value)
            case ast.Call(func=ast.Name(id=name), args=args):
                receiver = NOTHING
            case _:
                return NOTHING
        if name == "globals" and not args:
            return frozenset([Origin(GLOBALS)])
        given = [self.of(each.value if isinstance(each, ast.Starred) else each) for each in args]
        if name == "type" and len(given) == 1:
            return self._class_of(given[0])
        if name == "copy":
            return frozenset(
                attrs.evolve(each.item().within(), only="containers") for each in receiver | union(given[:1])
            )
        if name in _COPYING_ITEMS:
            return within(items(union(given)), _COPYING_ITEMS[name])
        if name in _OF_ITEMS:
            return items(union(given))
        if name == "getattr" and len(args) > 1 and isinstance(args[1], ast.Constant):
            return frozenset(each.attribute(str(args[1].value)) for each in given[0])
        if name in _THE_SAME:
            return union(given)
        if name in _SHARING or is_in_place(name):
            return items(receiver if is_in_place(name) else receiver | union(given[:1]))
        if name in _OF_MAPPINGS:
            return within(items(receiver), _OF_MAPPINGS[name])
        called = self.of(node.func)
        return frozenset(Origin((*each.path, RESULT)) for each in called if not (each.fresh or each.depth))

    def bind(self, target: ast.AST, origins: Origins) -> None:
        match target:
            case ast.Name(id=name):
                if self.scopes and self.is_local(name):
                    self.known[name] = origins
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for element in elements:
                    self.bind(element, items(origins))
            case ast.Starred(value=value):
                self.bind(value, within(origins))
            case ast.Attribute(value=value):
                self.stored(value, ".", target)
            case ast.Subscript(value=value):
                self.stored(value, "[]", target)

    def stored(self, value: ast.expr, by: str, target: ast.Attribute | ast.Subscript) -> None:
        """Note that something is put into a value; those who only look have nothing to note."""


def items(origins: Origins) -> Origins:
    return frozenset(origin.item() for origin in origins)


def within(origins: Origins, containers: int = 1) -> Origins:
    return frozenset(origin.within(containers) for origin in origins)


def _parts(origins: Origins) -> Origins:
    """A slice: a part of an array, which shares its memory, and of a list a copy with the same items."""
    arrays = {attrs.evolve(origin.item(), only="arrays") for origin in origins if origin.only != "containers"}
    copies = {attrs.evolve(origin.item().within(), only="containers") for origin in origins if origin.only != "arrays"}
    return frozenset(arrays | copies)


def union(many: Iterable[Origins]) -> Origins:
    return frozenset(origin for each in many for origin in each)


def is_in_place(method: str) -> bool:
    """Whether a method is named as torch names those that change a tensor: `add_`."""
    return method.endswith("_") and not method.startswith("_") and not method.endswith("__")


_COPYING_ITEMS: dict[str, int] = dict.fromkeys(
    ("list", "tuple", "set", "frozenset", "sorted", "reversed", "iter", "filter"), 1
)
_COPYING_ITEMS |= dict.fromkeys(("dict", "OrderedDict", "deque", "chain", "from_iterable"), 1)
_COPYING_ITEMS |= dict.fromkeys(("enumerate", "zip", "zip_longest", "pairwise", "product"), 2)
_THE_SAME = frozenset(["cast", "nullcontext"])
_OF_ITEMS = frozenset(["next", "max", "min", "choice"])
_OF_MAPPINGS = {"values": 1, "items": 2, "get": 0, "setdefault": 0, "__getitem__": 0, "pop": 0, "popitem": 1}
_SHARING = frozenset(
    [
        "as_strided",
        "as_tensor",
        "asanyarray",
        "asarray",
        "ascontiguousarray",
        "atleast_1d",
        "atleast_2d",
        "broadcast_to",
        "cast",
        "chunk",
        "contiguous",
        "cpu",
        "detach",
        "diagonal",
        "expand",
        "expand_as",
        "flat",
        "flatten",
        "from_dlpack",
        "from_numpy",
        "frombuffer",
        "getattr",
        "itemgetter",
        "memoryview",
        "movedim",
        "narrow",
        "numpy",
        "permute",
        "ravel",
        "reshape",
        "select",
        "split",
        "squeeze",
        "swapaxes",
        "swapdims",
        "t",
        "to",
        "transpose",
        "unbind",
        "unfold",
        "unflatten",
        "unsqueeze",
        "vars",
        "view",
        "view_as",
    ]
)
CHANGING = frozenset(
    [
        "__delattr__",
        "__delitem__",
        "__iadd__",
        "__iand__",
        "__imul__",
        "__ior__",
        "__isub__",
        "__ixor__",
        "__setattr__",
        "__setitem__",
        "add",
        "append",
        "appendleft",
        "clear",
        "difference_update",
        "discard",
        "extend",
        "extendleft",
        "fill",
        "insert",
        "intersection_update",
        "itemset",
        "move_to_end",
        "partition",
        "pop",
        "popitem",
        "popleft",
        "put",
        "remove",
        "resize",
        "reverse",
        "rotate",
        "setdefault",
        "setflags",
        "sort",
        "subtract",
        "symmetric_difference_update",
        "update",
    ]
)
CHANGING_FUNCTIONS = frozenset(
    [
        "copyto",
        "delattr",
        "delitem",
        "fill_diagonal",
        "heapify",
        "heappop",
        "heappush",
        "heappushpop",
        "heapreplace",
        "iadd",
        "iand",
        "iconcat",
        "ifloordiv",
        "imatmul",
        "imod",
        "imul",
        "insort",
        "insort_left",
        "insort_right",
        "ior",
        "ipow",
        "isub",
        "itruediv",
        "ixor",
        "place",
        "put_along_axis",
        "putmask",
        "setattr",
        "setitem",
        "shuffle",
    ]
)
PLAIN_TYPES = frozenset({"list", "dict", "set", "bytearray", "deque", "OrderedDict", "Counter"})
