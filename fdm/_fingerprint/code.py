"""Code as a value: a function's normalised source, with the user's helpers and constants that it reaches."""

import ast
import sys
import types
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from .._errors import PipelineError
from .._public import is_module_of_fdm
from .arguments import Known, changing_uses
from .canonical import canonical, digest, is_named, module_name, qualified_name
from .classes import class_attribute, class_code, instance_state, is_made_by_a_call, registered, unreadable
from .constants import Constant, Place, Span, UncoveredError, check_defaults, computed, key_of
from .excerpt import Excerpt, closure_of, defaults_of, function_excerpt, functions_around, module_excerpt, span_of
from .imports import imported, is_own_code, is_own_namespace, is_patched, own_module
from .in_place import CHANGING
from .origins import GLOBALS
from .scopes import names_stored
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

        def by_name(named: Any) -> dict[str, str]:
            if isinstance(named, types.ModuleType):
                self.follow(named, label, runs=runs)
                return {"ModuleType": module_name(named.__name__)}
            name = qualified_name(named)
            # Closures and lambdas share their names: what leads to them tells them apart.
            self.follow(named, label if "<" in name else name, runs=runs)
            return {"name": name}

        try:
            return canonical(value, by_name)
        except UncoveredError:
            raise
        except PipelineError as error:
            msg = (
                f"{label} has no value that a fingerprint could cover ({error}); pass it as a parameter, or pin the "
                f'stage by hand with .version("1") and change the string whenever its result changes'
            )
            raise UncoveredError(msg) from None

    def value_if_plain(self, value: Any, label: str, *, runs: bool) -> None:
        """Note a value where it has a form, and leave it out where it has none, since the source tells of it too."""
        with suppress(UncoveredError):
            self.add(label, self.value(value, label, runs=runs))

    # Code

    def _read(self, named: Any, label: str, *, runs: bool) -> None:
        if id(named) in self._seen:
            return
        self._seen[id(named)] = named
        if isinstance(named, types.ModuleType):
            if is_own_namespace(vars(named)):
                self._module(named, label, runs=runs)
        elif isinstance(named, type):
            if is_own_code(named) or is_made_by_a_call(named):
                class_code(self, named, label, runs=runs)
        elif isinstance(named, types.MethodType):  # of a class, whose other methods it can call
            self.follow(named.__self__, qualified_name(named.__self__), runs=runs)
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
            for name, value in instance_state(named):
                self.value_if_plain(value, f"{label} with {name}", runs=runs)
        for kind, function in registered(named):
            self.value_if_plain([kind, function], f"{label} for {qualified_name(kind)}", runs=runs)
        if inner is not None:
            self.follow(inner, label, runs=runs)

    def _library_closure(self, function: Any, label: str, *, runs: bool) -> None:
        for name, value in closure_of(function).items():
            if is_named(value) or isinstance(value, int | float | str | bytes | tuple):
                self.value_if_plain(value, f"{label} with {name}", runs=runs)

    def _source(self, function: Any, label: str) -> Excerpt:
        try:
            return function_excerpt(function, self.kept)
        except (OSError, TypeError, SyntaxError, AttributeError):
            raise unreadable(label) from None

    def function(self, function: types.FunctionType, label: str, *, runs: bool) -> None:
        """Note the code of a function, and follow what it uses."""
        excerpt = self._source(function, label)
        self.add(f"{label}()", excerpt.text)
        if excerpt.compiled:
            self.add(f"{label}() as imported", digest(excerpt.compiled))
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
        note = self.strictly if "<locals>" in function.__qualname__ else self.value_if_plain
        for name, value in defaults_of(function, excerpt.node):
            note(value, f"{label} -> {name}", runs=runs)

    def strictly(self, value: Any, label: str, *, runs: bool) -> None:
        """Note a value, which has to have a form."""
        self.add(label, self.value(value, label, runs=runs))

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
        bound: dict[str, list[Any]] = {}
        for name, value in imported(uses.imports, scope):
            bound.setdefault(name, []).append(value)
            if name not in {use.path[0] for use in uses.names}:
                self._use(value, Use((name,), "", True, True, 0), Place(name, scope), label, where, runs=runs)
        for use in sorted(uses.names, key=lambda use: use.path):
            name = use.path[0]
            if name in _OF_THE_MODULE or name == without:
                continue
            if (name,) == GLOBALS and use.runs and runs:
                raise computed(where)
            place = self._place(name, scope, around)
            for value in bound.get(name, [scope[name]] if name in scope else []):
                self._use(value, attrs.evolve(use, runs=use.runs and runs), place, label, where, runs=runs and use.runs)
        for call, text in uses.calls:
            if call not in scope:
                self._by_text(call, text, scope, label, where, runs=runs)

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
            self._use_of_module(value, use, label, where, runs=runs)
        elif (is_named(value) or callable(getattr(value, "__wrapped__", None))) and use.by != "=":
            name = qualified_name(value)
            self.add(f"{label} -> {use.path[0]}", {"name": name})
            self.follow(value, f"{label} -> {use.path[0]}" if "<" in name else name, runs=runs)
            self._use_of_attribute(value, use, label, where)
        else:
            self.constant(f"{label} -> {use.path[0]}", value, place).add(use, where)

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

    def constant(self, label: str, value: Any, place: Place) -> Constant:
        return self._constants.setdefault(key_of(value, place), Constant(label, value, place))

    def _use_of_module(self, module: types.ModuleType, use: Use, label: str, where: str, *, runs: bool) -> None:
        """What is read as `name.x` from one of the user's modules, through its submodules."""
        is_method = use.by in CHANGING or use.by.endswith("_")  # or a function of a module that is named like one
        path = [*use.path[1:], *([use.by] if is_method else [])]
        value: Any = module
        names, at = vars(module), 0
        while at < len(path) and isinstance(value, types.ModuleType):
            names, name = vars(value), path[at]
            own = is_own_namespace(names)
            known = getattr(value, name, _MISSING) if own else names.get(name, _MISSING)
            if known is _MISSING:
                return
            if not own and not isinstance(known, types.ModuleType) and not is_patched(known):
                return
            label, value, at = f"{module_name(value.__name__)}.{name}", known, at + 1
        if isinstance(value, types.ModuleType):
            self.follow(value, f"{label} -> {'.'.join(use.path)}", runs=runs)
            return
        used_up = at == len(path)
        by = "" if is_method and used_up else "=" if use.by == "." and at == len(use.path) - 1 else use.by
        rest = attrs.evolve(
            use,
            path=(path[at - 1], *path[at : len(use.path) - 1]),
            by=by,
            is_read=use.is_read or (is_method and used_up),
        )
        place = Place(path[at - 1], names)
        if is_named(value) and by != "=":
            self.follow(value, label if "<" in qualified_name(value) else qualified_name(value), runs=runs)
            self.add(label, {"name": qualified_name(value)})
            self._use_of_attribute(value, rest, label, where)
        else:
            self.constant(label, value, place).add(rest, where)

    def _module(self, module: types.ModuleType, label: str, *, runs: bool) -> None:
        """A module that is passed around as a whole, or reached by text, so that anything in it may be used."""
        try:
            excerpt = module_excerpt(module, self.kept)
        except (OSError, TypeError, SyntaxError):
            if module.__spec__ is not None and module.__spec__.origin is None:  # a folder, which has no source
                return
            raise unreadable(label) from None
        self.add(f"module {module_name(module.__name__)}", excerpt.text)
        self.words |= uses_of(excerpt.bare).words
        for name, value in sorted(vars(module).items()):
            if name.startswith("__") or is_module_of_fdm(type(value).__module__):
                continue
            if isinstance(value, types.ModuleType) or is_named(value):
                self.follow(value, f"{module_name(module.__name__)}.{name}", runs=runs)
            else:
                self.value_if_plain(value, f"{module_name(module.__name__)}.{name}", runs=runs)

    def _by_text(
        self, call: str, text: str | None, scope: Mapping[str, Any], label: str, where: str, *, runs: bool
    ) -> None:
        """What code reaches by a text: names that it evaluates, modules that it imports."""
        if call in ("import_module", "__import__", "sys.modules"):
            if text is None:
                msg = (
                    f"{where} imports a module by a name that it computes, so a fingerprint cannot cover it; write "
                    f"import statements, pass the functions as parameters, or pin the stage by hand with "
                    f'.version("1") and change the string whenever its result changes'
                )
                raise UncoveredError(msg)
            module = own_module(text, scope.get("__package__") or None)
            if module is not None:
                self.follow(module, f"{label} -> {text}", runs=runs)
            return
        try:
            evaluated = None if text is None else uses_of(text)
        except SyntaxError:
            evaluated = None
        if evaluated is not None:
            self.uses(evaluated, scope, label, where, runs=runs)
            return
        module = sys.modules.get(str(scope.get("__name__")))
        if module is not None:
            self.follow(module, f"{label} -> {call}", runs=runs)


_MISSING = object()
# Python gives these to every module; they differ by machine and by how a script is started.
_OF_THE_MODULE = frozenset(
    ["__builtins__", "__cached__", "__file__", "__loader__", "__name__", "__package__", "__path__", "__spec__"]
)
