"""Code as a value: a function's normalised source, with the user's helpers and constants that it reaches."""

import ast
import builtins
import types
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from .._errors import PipelineError
from .arguments import Known, changed_parameters, changing_uses
from .canonical import canonical, digest, is_named, module_name, qualified_name
from .classes import class_attribute, class_code, is_made_by_a_call, registered
from .constants import (
    Constant,
    Place,
    Span,
    UncoveredError,
    check_defaults,
    computed,
    edited,
    key_of,
    unreadable,
)
from .excerpt import (
    EditedError,
    Excerpt,
    closure_of,
    defaults_now,
    function_excerpt,
    functions_around,
    span_of,
)
from .imports import imported, is_own_code, is_own_namespace
from .instances import closure_at_first, function_state, instance_form, set_on_wrapper, wrapper_state
from .modules import (
    OF_THE_MODULE,
    by_text,
    check_path,
    check_value,
    check_words,
    imports,
    late_code,
    late_paths,
    module_code,
    use_of_module,
)
from .origins import GLOBALS, names_stored
from .syntax import Use, Uses, uses_of


def code_of(function: Any) -> dict[str, Any]:
    """The code that decides what `function` computes, as plain JSON values under qualified names.

    Holds the source of the function and of every function and class of the user's own that it reaches through
    globals, closures, defaults, decorators, bases and imports, and the values of the constants that they read.
    Comments and formatting do not count, nor do docstrings and annotations, unless something in that code reads them.
    Library code (the standard library, installed packages, fdm) counts by name. Raises `PipelineError` for what has no
    source or no value, or is changed while the code runs, and names it.
    """
    kept: frozenset[str] = frozenset()
    while True:
        reach = Reach(kept)
        reach.follow(function, qualified_name(function), runs=True)
        found = reach.finished()
        also = frozenset(_READ_BY[word] for word in reach.words) - kept
        if not also:
            return found
        kept |= also


_READ_BY = {
    **dict.fromkeys(("__doc__", "getdoc"), "docstrings"),
    **dict.fromkeys(("__annotations__", "__annotate__", "get_type_hints", "get_annotations"), "annotations"),
    **dict.fromkeys(("signature", "getfullargspec"), "annotations"),
    **dict.fromkeys(("getsource", "getsourcelines", "getcomments", "findsource"), "source"),
    "__subclasses__": "subclasses",
}


@attrs.define(eq=False)
class Reach:
    """A walk through code, from what runs to all that it reaches; what only definitions use comes last.

    The difference counts where something is changed in place: a table that decorators fill is a constant for what runs.
    """

    kept: frozenset[str]
    found: dict[str, Any] = attrs.field(factory=dict)
    words: set[str] = attrs.field(factory=set)
    changed_attributes: set[str] = attrs.field(factory=set)
    known: Known = attrs.field(factory=dict)
    files: dict[int, ast.Module] = attrs.field(factory=dict)
    late: set[str] = attrs.field(factory=set)
    _constants: dict[object, Constant] = attrs.field(factory=dict)
    _rendered: dict[object, Any] = attrs.field(factory=dict)
    _spans: list[Span] = attrs.field(factory=list)
    _seen: dict[int, Any] = attrs.field(factory=dict)
    _now: list[tuple[Any, str]] = attrs.field(factory=list)
    _later: list[tuple[Any, str]] = attrs.field(factory=list)
    _at_end: list[Callable[[], None]] = attrs.field(factory=list)

    # What is to come

    def follow(self, named: Any, label: str, *, runs: bool) -> None:
        """Put a function, class or module on the list of what is to be read."""
        (self._now if runs else self._later).append((named, label))

    def add(self, label: str, plain: Any) -> None:
        """Note something under a label; another thing of the same label gets one of its own."""
        count, name = 1, label
        while name in self.found and self.found[name] != plain:
            count += 1
            name = f"{label} #{count}"
        self.found[name] = plain

    def at_end(self, action: Callable[[], None]) -> None:
        """Do something once all the code is known."""
        self._at_end.append(action)

    def finished(self) -> dict[str, Any]:
        """Read all that is reached, and return what was found."""
        while self._step():
            pass
        for key, constant in self._constants.items():
            self._judge(key, constant)
        return self.found

    def _step(self) -> bool:
        """Do one thing that there is to do; what runs comes first."""
        if self._now:
            self._read(*self._now.pop(0), runs=True)
        elif self._render_next():
            pass
        elif self._later:
            self._read(*self._later.pop(0), runs=False)
        elif self._at_end:
            self._at_end.pop(0)()
        else:
            return False
        return True

    def _render_next(self) -> bool:
        """Render a constant that nothing seems to change, since what is in it is to be followed too."""
        for key, constant in list(self._constants.items()):
            if key not in self._rendered and not constant.changes():
                try:
                    self._rendered[key] = self.value(constant.value, constant.label, runs=True)
                except UncoveredError as error:
                    self._rendered[key] = error
                return True
        return False

    def _judge(self, key: object, constant: Constant) -> None:
        if constant.changes():
            text = constant.beginning(self._spans)
            if text is not None:
                self.add(constant.label, {"begins": text})
            return
        rendered = (
            self._rendered[key] if key in self._rendered else self.value(constant.value, constant.label, runs=True)
        )
        if isinstance(rendered, UncoveredError):
            raise rendered
        self.add(constant.label, rendered)

    # Values

    def value(self, value: Any, label: str, *, runs: bool) -> Any:
        """A value as plain JSON; the functions, classes and modules in it are followed."""
        return self._form(value, label, None, runs=runs)

    def held(self, value: Any, label: str, *, runs: bool) -> None:
        """Note a value that code, a class or an instance holds; an instance counts by its class and all that it consists of."""
        self.add(label, self._form(value, label, instance_form(), runs=runs))

    def _form(self, value: Any, label: str, otherwise: Any, *, runs: bool) -> Any:
        def by_name(named: Any) -> dict[str, str]:
            check_value(named, label)
            if isinstance(named, types.ModuleType):
                self.follow(named, label, runs=runs)
                return {"ModuleType": module_name(named.__name__)}
            name = qualified_name(named)
            # Closures and lambdas share their names: what leads to them tells them apart.
            self.follow(named, label if "<" in name else name, runs=runs)
            return {"name": name}

        try:
            return canonical(value, by_name, otherwise)
        except UncoveredError:
            raise
        except (PipelineError, RecursionError) as error:
            msg = (
                f"{label} has no value that a fingerprint could cover ({error}); pass it as a parameter, or pin the "
                f'stage by hand with .version("1") and change the string whenever its result changes'
            )
            raise UncoveredError(msg) from None

    # Code

    def _read(self, named: Any, label: str, *, runs: bool) -> None:
        if id(named) in self._seen:
            return
        self._seen[id(named)] = named
        if isinstance(named, types.ModuleType):
            if is_own_namespace(vars(named)):
                module_code(self, named, label, runs=runs)
        elif isinstance(named, type):
            if is_own_code(named) or is_made_by_a_call(named):
                class_code(self, named, label, runs=runs)
            elif "subclasses" in self.kept:
                subclasses: list[type] = type.__subclasses__(named)
                for subclass in filter(is_own_code, subclasses):
                    self.follow(subclass, qualified_name(subclass), runs=runs)
        elif isinstance(named, types.MethodType):  # of a class, whose other methods it can call
            if isinstance(named.__self__, type):
                self.follow(named.__self__, qualified_name(named.__self__), runs=runs)
            else:
                self.held(named.__self__, f"{label} of", runs=runs)
            self.follow(named.__func__, label, runs=runs)
        else:
            self._callable(named, label, runs=runs)

    def _callable(self, named: Any, label: str, *, runs: bool) -> None:
        """A function, or what decorators have put around one: each layer has code, or values, of its own."""
        inner = getattr(named, "__wrapped__", None)
        if isinstance(named, types.FunctionType):
            if is_own_namespace(named.__globals__):
                self.function(named, label, runs=runs)
            else:
                self._library_closure(named, label, runs=runs)
        elif inner is None:
            if is_own_code(named):  # compiled, or written in C
                raise unreadable(label)
        elif is_own_code(type(named)):
            self.follow(type(named), qualified_name(type(named)), runs=runs)
            wrapper_state(self, named, label, runs=runs)
        else:
            set_on_wrapper(self, named, inner, label, runs=runs)
        for kind, function in registered(named):
            self.held([kind, function], f"{label} for {qualified_name(kind)}", runs=runs)
        if inner is not None:
            self.follow(inner, label, runs=runs)

    def _library_closure(self, function: Any, label: str, *, runs: bool) -> None:
        of_dispatch = function.__qualname__.startswith("singledispatch.<locals>")  # its cache is made of its registry
        for name, value in () if registered(function) else closure_at_first(function):
            if of_dispatch and name != "registry":
                continue
            self.held(value, f"{label} with {name}", runs=runs)

    def _source(self, function: Any, label: str) -> Excerpt:
        try:
            return function_excerpt(function, self.kept)
        except EditedError as error:
            raise edited(label, error) from None
        except (OSError, TypeError, SyntaxError, AttributeError):
            raise unreadable(label) from None

    def function(self, function: types.FunctionType, label: str, *, runs: bool) -> None:
        """Note the code of a function, and follow what it uses."""
        excerpt = self._source(function, label)
        self.add(f"{label}()", excerpt.text)
        if excerpt.compiled:
            self.add(f"{label}() as imported", digest(excerpt.compiled))
        self.importing(excerpt.around, function.__globals__)
        scope = ChainMap(closure_of(function), function.__globals__)
        where = f"{function.__name__} ({Path(function.__code__.co_filename).name}:{function.__code__.co_firstlineno})"
        name = function.__name__
        own = name if "." in function.__qualname__ and name not in closure_of(function) else ""
        changing = changing_uses(excerpt.bare, scope, self.known)
        uses = uses_of(excerpt.bare).with_names(changing)
        if runs:
            self.running(excerpt)
            check_defaults(function, excerpt.node, changing, label, where)
        around = functions_around(excerpt.node, excerpt.around) if function.__closure__ else []
        self.uses(uses, scope, label, where, runs=runs, around=(around, excerpt.around), without=own)
        changed = {use.path[0] for use in changing}
        function_state(self, function, excerpt.node, label, changed, runs=runs)

    def importing(self, tree: ast.Module, names: Mapping[str, Any]) -> None:
        """Note what the file of something that is reached does to others when it is imported."""
        imports(self, tree, names)

    def state_of_method(self, method: types.FunctionType, label: str, *, runs: bool) -> None:
        """Note what a method holds that the source of its class does not tell, and that it is what its file says."""
        excerpt = self._source(method, f"{label}.{method.__name__}")
        changed = {use.path[0] for use in changed_parameters(method, self.known)} if defaults_now(method) else set()
        function_state(self, method, excerpt.node, f"{label}.{method.__name__}", changed, runs=runs)

    def running(self, excerpt: Excerpt) -> None:
        """Remember that this code runs, and may change what it uses."""
        self._spans.append(Span(excerpt.around, *span_of(excerpt.node)))
        self.changed_attributes |= uses_of(excerpt.bare).attributes_changed

    def uses(
        self,
        uses: Uses,
        scope: Mapping[str, Any],
        label: str,
        where: str,
        *,
        runs: bool,
        around: tuple[Sequence[Any], ast.Module] | None = None,
        without: str = "",
    ) -> None:
        """Follow all names that a piece of code uses from outside itself."""
        self.words |= uses.words
        check_words(uses.words, where)
        for statement in uses.late:
            late_code(self, statement, scope.get("__package__") or None, where)
        paths = late_paths(uses.late)
        bound: dict[str, list[Any]] = {}
        for name, value in imported(uses.imports, scope):
            bound.setdefault(name, []).append(value)
            if name not in {use.path[0] for use in uses.names}:
                self._use(value, Use((name,), "", True, True, 0), Place(name, scope), label, where, runs=runs)
        for use in sorted(uses.names, key=lambda use: use.path):
            name = use.path[0]
            if name in OF_THE_MODULE or name == without:
                continue
            if (name,) == GLOBALS and use.runs and runs:
                raise computed(where)
            if name in paths:
                check_path((*paths[name], *use.path[1:]), use, where)
            place = self._place(name, scope, around)
            for value in bound.get(name, [scope[name]] if name in scope else _builtin(name)):
                self._use(value, attrs.evolve(use, runs=use.runs and runs), place, label, where, runs=runs and use.runs)
        for call in uses.calls:
            if call.function not in scope:
                by_text(self, call, scope, label, where, runs=runs)

    def _place(self, name: str, scope: Mapping[str, Any], around: tuple[Sequence[Any], ast.Module] | None) -> Place:
        if around is not None:
            for function in around[0]:
                if name in {*names_stored(function)} | {
                    node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)
                }:
                    return Place(name, scope, function, around[1])
        return Place(name, scope.maps[-1] if isinstance(scope, ChainMap) else scope)

    def _use(self, value: Any, use: Use, place: Place, label: str, where: str, *, runs: bool) -> None:
        if isinstance(value, types.ModuleType):
            use_of_module(self, value, use, label, where, runs=runs)
            return
        if not use.is_told:
            check_value(value, where)
        if value is getattr(builtins, use.path[0], _MISSING) and not is_own_code(value):
            return
        if (is_named(value) or callable(getattr(value, "__wrapped__", None))) and use.by != "=":
            name = qualified_name(value)
            self.add(f"{label} -> {use.path[0]}", {"name": name})
            self.follow(value, f"{label} -> {use.path[0]}" if "<" in name else name, runs=runs)
            self._use_of_attribute(value, use, label, where)
        else:
            self.constant(f"{label} -> {use.path[0]}", value, place).add(use, where)

    def attribute(self, value: Any, use: Use, names: Mapping[str, Any], label: str, where: str, *, runs: bool) -> None:
        """Follow what a module has under the first name of a use."""
        if is_named(value) and use.by != "=":
            name = qualified_name(value)
            self.follow(value, label if "<" in name else name, runs=runs)
            self.add(label, {"name": name})
            self._use_of_attribute(value, use, label, where)
        else:
            self.constant(label, value, Place(use.path[0], names)).add(use, where)

    def _use_of_attribute(self, value: Any, use: Use, label: str, where: str) -> None:
        """What was set on a function, and is read from it."""
        names = getattr(value, "__dict__", None)
        class_attribute(self, value, use, where)
        if len(use.path) == 1 or isinstance(value, type) or not names or use.path[1] not in names:
            return
        name = use.path[1]
        if name != "__wrapped__":
            by = attrs.evolve(use, by="=" if use.by == "." and len(use.path) == 2 else use.by)
            constant = self.constant(f"{label} -> {use.path[0]}.{name}", names[name], Place(name, names))
            constant.add(by, where)

    def knows(self, value: Any, place: Place) -> bool:
        """Whether a value is a constant already, whose uses tell what becomes of it."""
        return key_of(value, place) in self._constants

    def constant(self, label: str, value: Any, place: Place) -> Constant:
        return self._constants.setdefault(key_of(value, place), Constant(label, value, place))


def _builtin(name: str) -> list[Any]:
    """What a name stands for that the module does not have."""
    return [vars(builtins)[name]] if name in vars(builtins) else []


_MISSING = object()
