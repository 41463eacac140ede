"""Named functions with keyword parameters: what a stage holds, compared by value."""

import builtins
import copy
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import attrs
import numpy as np
import torch

from .._arrays.tree import leaves, map_leaves
from .._checks import checked, text
from .._errors import ParameterError, PipelineError, UnknownNameError, did_you_mean, listed
from .._fingerprint.canonical import (
    Value,
    canonical,
    digest,
    is_frozen_instance,
    is_named,
    module_of,
    namespace_of,
    qualified_name,
)
from .._habits.calls import habit
from .._public import public
from .._text import short, visible, without_secrets


@attrs.frozen(eq=False)
class Fact(Value):
    """A parameter that stands for a measured fact until the pipeline is opened."""

    name: str = attrs.field(**checked(text, PipelineError, "fact takes the name of a fact, a string"))


@public
def fact(name: str) -> Any:
    """A parameter of a later stage that stands for the fact `name` which a `measure` stage finds.

    Typed as `Any`, since it takes the place of a parameter of whatever type the fact has. A fact that nothing measured
    is refused when the pipeline is opened, with the list of those that were.

    >>> fact("mean")
    Fact(name='mean')
    """
    return Fact(name)


def _path(_: str, value: Any, error: type[PipelineError]) -> str:
    if not isinstance(value, str | PurePath) or not str(value) or "\x00" in str(value):
        msg = f"tracked takes the path of a file or folder, a string or Path, not {short(value, 60)}"
        raise error(msg)
    return str(value)


@attrs.frozen(eq=False, repr=False)
class Tracked(Value):
    """A parameter that stands for a file or folder, which is fingerprinted by its content."""

    path: str = attrs.field(**checked(_path, PipelineError))

    def absolute(self) -> Path:
        """Where it is: a relative path is resolved by the working directory."""
        return Path(self.path).expanduser().absolute()

    def __repr__(self) -> str:
        return f"tracked({self.path!r})"


@public
def tracked(path: str | PurePath) -> Any:
    """A parameter that is fingerprinted by content: of a file, or of all files below a folder. The function gets a `Path`.

    Nothing is read until the pipeline is fingerprinted, prepared or opened; it has to be there then (`DataError`). The
    path itself does not count: the same content elsewhere is the same data, under the names that files have in a folder.
    Pipelines are compared by the path, which needs no file. Digests are remembered by size and time in each process.

    >>> tracked("numbers.txt")
    tracked('numbers.txt')
    """
    if isinstance(path, Tracked):
        return path
    unchecked: Any = path
    return Tracked(unchecked)


def _comparable(stage: str, call: Any, error: type[PipelineError]) -> Callable[..., Any]:
    """`call` if it is a function or an instance that has a value, whether or not it can be found by its name now."""
    if not callable(call):
        msg = f"{stage} takes a function, not {short(call, 60)}{_remedy_of_value(call, stage)}"
        raise error(msg)
    if not is_named(call) and not _is_value(call):
        name = qualified_name(type(call)).removeprefix("builtins.")
        odd = _remedy_of(call, stage)
        if odd is not None:
            msg = (
                f"{stage} takes a function with an importable name, not {odd}, with the function at the top of a module"
            )
            raise error(msg)
        msg = (
            f"{stage} takes a function with an importable name, not a {name}: its value cannot be compared or sent to "
            f"a worker; write a function at the top of a module that calls it, fdm.{stage}(fn, name=value), or make "
            f"{type(call).__name__} a frozen attrs class or dataclass"
        )
        raise error(msg)
    if getattr(call, "__name__", "") == "<lambda>":
        raise error(_not_importable(stage, call))
    return call  # type: ignore[no-any-return]  # callable, as was asked


@attrs.frozen(eq=False, repr=False)
class Function(Value):
    """A function that can be imported by its name, with keyword parameters.

    `call` is a module-level function or class, an instance of a frozen attrs class or dataclass with `__call__`, or a
    `torch.nn.Module` without parameters. Equality, hash and fingerprint are those of the name (for instances: class and
    fields) and of the parameters by value.
    """

    call: Callable[..., Any] = attrs.field(**checked(_comparable, PipelineError, "a stage"))
    params: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The last part of the function's name: what `replace` and `without` look for."""
        return str(_named(self.call).__qualname__).rpartition(".")[2]

    @property
    def qualified_name(self) -> str:
        """`module.qualname` of the function, or of the class of a callable instance."""
        return qualified_name(_named(self.call))

    @property
    def script(self) -> str:
        """The file where the function is defined, or the name of its module where that is unknown."""
        return self.location.rpartition(":")[0] or self.location

    @property
    def location(self) -> str:
        """`file:line` where the function is defined, or its module where that is unknown."""
        code = getattr(inspect.unwrap(_named(self.call)), "__code__", None)
        if code is None:
            return str(getattr(_named(self.call), "__module__", "?"))
        return f"{code.co_filename}:{code.co_firstlineno}"

    @property
    def facts(self) -> list[str]:
        """The names of the facts among the parameters."""
        params = [value for _, value in self.params]
        return [leaf.name for leaf in leaves(params, _is_fact) if isinstance(leaf, Fact)]

    def with_facts(self, facts: Mapping[str, Any]) -> "Function":
        """The same function with measured values in place of facts; `UnknownNameError` for one that is not there."""
        missing = [name for name in self.facts if name not in facts]
        if missing:
            hint = did_you_mean(missing[0], facts)
            msg = f"{self.name} wants the fact {missing[0]!r}, which nothing measured{hint}; measured: {listed(facts)}"
            raise UnknownNameError(msg)

        def known(leaf: Any) -> Any:
            return facts[leaf.name] if isinstance(leaf, Fact) else leaf

        return attrs.evolve(
            self, params=tuple((name, map_leaves(known, value, _is_fact)) for name, value in self.params)
        )

    @property
    def tracked(self) -> list[Tracked]:
        """The tracked paths among the parameters, and among the fields of a callable instance."""
        values = [self.call, *(value for _, value in self.params)]
        return [leaf for leaf in leaves(values, _is_whole) if isinstance(leaf, Tracked)]

    def with_tracked(self, change: Callable[[Tracked], Any]) -> "Function":
        """The same function with something else in place of its tracked paths."""

        def changed(leaf: Any) -> Any:
            return change(leaf) if isinstance(leaf, Tracked) else leaf

        params = tuple((name, map_leaves(changed, value, _is_whole)) for name, value in self.params)
        return attrs.evolve(self, call=map_leaves(changed, self.call, _is_whole), params=params)

    def bound(self) -> Callable[..., Any]:
        """The bare callable with its parameters filled in; without parameters it is the user's own.

        Parameters that could be changed in place are copies, so whoever does it changes no pipeline; tracked paths are
        absolute paths.
        """
        if self.tracked:
            return self.with_tracked(Tracked.absolute).bound()
        if not self.params:
            return self.call
        call, params = self.call, {name: map_leaves(_copied, value, _is_value) for name, value in self.params}
        return partial(call, **params)

    def can_call(self, *given: str) -> bool:
        """Whether the function can be called with these positional arguments and its parameters."""
        try:
            self.check_call(*given)
        except ParameterError:
            return False
        return True

    def check_call(self, *given: str) -> None:
        """Raise `ParameterError` unless the function can be called with these positional arguments and its parameters.

        `given` names what the stage passes, for the message.
        """
        signature = _signature(self.call)
        if signature is None:
            return
        try:
            signature.bind(*given, **dict(self.params))
        except TypeError as error:
            passed = ", ".join([*given, *(f"{name}=..." for name, _ in self.params)])
            msg = f"{self.name}{signature} cannot be called as {self.name}({passed}): {error} (at {self.location})"
            raise ParameterError(msg) from None

    def __repr__(self) -> str:
        params = ", ".join(f"{name}={shown(value)}" for name, value in self.params)
        if is_named(self.call):
            return visible(f"{self.qualified_name}({params})")
        return without_secrets(repr(self.call)) + (f"({params})" if params else "")


def function(call: Callable[..., Any], params: Mapping[str, Any], stage: str) -> Function:
    """The checked `Function` of a stage: importable, with parameters that it takes and that have a value form.

    Raises `PipelineError` for lambdas, closures, partials and instances that can change, and `ParameterError` for a
    misspelt parameter, with the nearest right one.
    """
    _check_importable(call, stage)
    _check_names(call, params, stage)
    for value in params.values():
        for leaf in leaves(value, _is_opaque):
            if is_named(leaf) or isinstance(leaf, types.MethodType | types.BuiltinMethodType | types.MethodWrapperType):
                _check_importable(leaf, stage)
    frozen = tuple(sorted((name, map_leaves(_copied, value, _is_value)) for name, value in params.items()))
    for name, value in frozen:
        try:
            digest(canonical(value))
        except ValueError as error:  # as PipelineErrors are, and what is said of integers too long to be written
            msg = (
                f"{stage}({_label(call)}): the parameter {name!r} cannot be compared by value: {error}; pass numbers, "
                f"strings, tensors, containers of them, or an instance of a frozen attrs class or dataclass"
            )
            raise PipelineError(msg) from None
    made = Function(_copied(call), frozen)
    canonical(made)
    return made


def _check_importable(call: Any, stage: str) -> None:
    _comparable(stage, call, PipelineError)
    if isinstance(call, torch.nn.Module) or not is_named(call):
        _check_importable(type(call), stage)
        return
    if _resolved(call) is not call and _resolved(call) != call:
        raise PipelineError(_not_importable(stage, call))


def _not_importable(stage: str, call: Any) -> str:
    kind = "a lambda" if "<lambda>" in call.__qualname__ else f"{call.__qualname__!r}"
    return (
        f"{stage} takes a function with an importable name, not {kind} in {module_of(call)}: it cannot be found "
        f"again by name, so it can be neither compared nor sent to a worker; define it with def at the top of a "
        f"module, and pass what it needs as keyword parameters: fdm.{stage}(fn, name=value)"
    )


def _remedy_of(call: Any, stage: str) -> str | None:
    """What a callable is that people often write in the place of a function, and what to write instead."""
    if isinstance(call, types.MethodType):
        owner = type(call.__self__).__name__
        return (
            f"{call.__name__!r}, a bound method of {owner}, whose value cannot be compared: make {owner} a frozen "
            f"dataclass with __call__, and write fdm.{stage}({owner}(...))"
        )
    if isinstance(call, partial):
        fields = ", ".join(f"{name}=..." for name in call.keywords) or "name=value"
        named = getattr(call.func, "__name__", "fn")
        return f"a functools.partial, whose value cannot be compared: write fdm.{stage}({named}, {fields})"
    return None


def _remedy_of_value(value: Any, stage: str) -> str:
    """What to write instead of something that is no function, as an addition to the sentence that says so."""
    kind = type(value).__name__
    if stage == "fetch" and isinstance(value, str | PurePath):
        return f"; a ready-made one downloads: fdm.fetch(fdm.download, files=[fdm.File({short(str(value), 60)})])"
    if isinstance(value, Fact | Tracked):
        return f"; it is a parameter of a function: fdm.{stage}(fn, name={short(value, 60)})"
    is_source = hasattr(type(value), "__getitem__") and hasattr(type(value), "__len__")
    if stage in ("load", "clean") and is_source:
        makes = f"fdm.load({kind}, name=value), or " if stage == "load" and kind not in vars(builtins) else ""
        written = f"def data(): return {kind}(...), at the top of a module, and fdm.{stage}(data)"
        return f"; pass what makes it: {makes}a function that returns it: {written}"
    if stage in ("transform", "augment", "measure", "fetch", "clean", "load"):
        return f"; pass the function itself, without calling it: fdm.{stage}(fn, name=value)"
    return ""


def _resolved(call: Any) -> Any:
    """What the function's own name leads to from the top of its module, or None."""
    head, *rest = call.__qualname__.split(".")
    for namespace in (namespace_of(call), vars(sys.modules.get(module_of(call), builtins))):
        found = namespace.get(head)
        for name in rest:
            found = getattr(found, name, None)
        if found is not None:
            return found
    return getattr(sys.modules.get(module_of(call)), call.__name__, None)


def _check_names(call: Callable[..., Any], params: Mapping[str, Any], stage: str) -> None:
    signature = _signature(call)
    if signature is None:
        return
    taken = signature.parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
        return
    by_name = {p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    for name in params:
        if name not in by_name:
            msg = (
                f"{stage}({_label(call)}): the function has no parameter {name!r}{did_you_mean(name, by_name)}; "
                f"its signature is {_label(call)}{signature}"
            )
            msg += f" ({instead})" if (instead := habit(stage, name)) else ""
            raise ParameterError(msg)


def own_parameters(call: Callable[..., Any]) -> dict[str, bool]:
    """The parameters of a function after the first one, which a stage gives; each with whether it has to be given."""
    signature = _signature(call)
    taken = [] if signature is None else list(signature.parameters.values())[1:]
    named = [each for each in taken if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    return {each.name: each.default is each.empty for each in named}


def _signature(call: Callable[..., Any]) -> inspect.Signature | None:
    target = call.forward if isinstance(call, torch.nn.Module) else call
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):  # some functions written in C do not tell
        return None


def _named(call: Any) -> Any:
    return call if is_named(call) else type(call)


def _label(call: Any) -> str:
    return str(_named(call).__name__)


def _is_fact(value: object) -> bool:
    return isinstance(value, Fact)


def _is_whole(value: object) -> bool:
    return isinstance(value, Tracked | Fact | torch.nn.Module)


def _is_opaque(value: object) -> bool:
    return _is_value(value) or is_named(value)


def _is_value(value: object) -> bool:
    return isinstance(value, torch.nn.Module) or is_frozen_instance(value)


def _copied(leaf: Any) -> Any:
    """A private copy of what could be changed in place behind the pipeline's back."""
    if isinstance(leaf, torch.Tensor):
        return leaf.detach().clone()
    if isinstance(leaf, np.ndarray | bytearray) or _is_value(leaf):
        return copy.deepcopy(leaf)
    return leaf


def shown(value: Any) -> str:
    match value:
        case Fact():
            return f"fact({value.name!r})"
        case torch.Tensor() if value.numel() > 8:
            return f"<tensor {'x'.join(map(str, value.shape))}>"
        case _:
            return short(value, 60)
