"""Classes: a LightningDataModule class whose arguments are those of a factory, and an executor's options."""

import dis
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature, signature
from pathlib import Path
from types import CodeType, FrameType, NoneType
from typing import Any, get_args, get_type_hints

import attrs

from .._errors import ParameterError, did_you_mean
from .._executor import Executor


def factory_class(
    factory: Callable[..., Any],
    parent: Any,
    make: Callable[..., Any],
    options: Mapping[str, Any],
    shell_options: Mapping[str, Any],
) -> Any:
    """A class below `parent`, which takes a pipeline, that takes the arguments of `factory`, which makes one.

    It takes the options of an executor besides, by keyword, where the factory has no parameter of that name; `options`
    are those that hold for all instances. `make` checks what the factory returns. The class still wants a name.
    """
    takes = signature(factory)
    own = [field for field in attrs.fields(Executor) if field.name not in {"context", *takes.parameters}]
    names = [field.name for field in own]

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it becomes the method of that name
        given = {name: kwargs.pop(name) for name in names if name in kwargs}
        try:
            bound = takes.bind(*args, **kwargs)
        except TypeError as error:
            odd = next((name for name in kwargs if name not in takes.parameters), "")
            hint = did_you_mean(odd, [*takes.parameters, *names])
            msg = f"{type(self).__name__}{takes}: {error}{hint}; it takes executor options besides"
            raise ParameterError(msg) from None
        bound.apply_defaults()
        arguments = _hyperparameters(takes, bound.arguments)
        parent.__init__(self, make(*args, **kwargs), options={**options, **given}, arguments=arguments, **shell_options)

    vars(__init__).update(__signature__=_signature(factory, takes, own, options), __doc__=factory.__doc__)
    return type(parent.__name__, (parent,), {"__init__": __init__, "__doc__": factory.__doc__})


def assigned_name(frame: FrameType) -> str | None:
    """The qualified name that the call which a frame is in gives to its result; None where it names nothing.

    >>> import sys
    >>> def call():
    ...     return assigned_name(sys._getframe(1))
    >>> Digits = call()
    >>> Digits
    'Digits'
    >>> print(call())
    None
    """
    above, before = 0, None  # how many values are above the result on the stack
    for one in dis.get_instructions(frame.f_code):
        if one.offset <= frame.f_lasti or one.opname == "CACHE":
            continue
        if one.opname == "STORE_ATTR" and above == 1 and before is not None and before.opname in _LOADS:
            return f"{_scope(frame.f_code, before.opname)}{before.argval}.{one.argval}"
        if one.opname in _STORES and not above:
            name = one.argval[0] if isinstance(one.argval, tuple) else one.argval
            return f"{_scope(frame.f_code, one.opname)}{name}" if name.isidentifier() else None
        above, before = _above(one, above), one
        if above < 0:
            return None
    return None


def _above(one: dis.Instruction, above: int) -> int:
    """How many values are above one after an instruction, of which so many are before; -1 where it may be used up."""
    if one.opname == "COPY":  # a copy of the result is as good
        return 0 if one.arg == above + 1 else above + 1
    if one.opname == "SWAP":  # with the topmost
        deep = int(one.arg or 1) - 1
        return deep if above == 0 else 0 if above == deep else above
    if one.opname in _STORES:
        return above - 1
    if not one.opname.startswith(("LOAD_", "CALL", "PRECALL", "PUSH_NULL", "KW_NAMES")):
        return -1
    effect = dis.stack_effect(one.opcode, one.arg)
    taken = 1 - effect if one.opname.startswith("CALL") else int(one.opname in {"LOAD_ATTR", "LOAD_METHOD"})
    return -1 if taken > above else above + effect


def _scope(code: CodeType, store: str) -> str:
    if code.co_name == "<module>" or store == "STORE_GLOBAL":
        return ""
    is_function = bool(code.co_flags & _OPTIMIZED)
    return f"{code.co_qualname}.<locals>." if is_function else f"{code.co_qualname}."


def _hyperparameters(takes: Signature, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments as `save_hyperparameters` has them: those of `**kwargs` one by one, those of `*args` not at all."""
    found: dict[str, Any] = {}
    for name, parameter in takes.parameters.items():
        if parameter.kind is Parameter.VAR_KEYWORD:
            found |= arguments[name]
        elif parameter.kind is not Parameter.VAR_POSITIONAL:
            found[name] = arguments[name]
    return found if takes.parameters else None


def _signature(
    factory: Callable[..., Any], takes: Signature, own: "list[attrs.Attribute[Any]]", options: Mapping[str, Any]
) -> Signature:
    """The signature of an `__init__` that takes what a factory does, with its types resolved, for LightningCLI."""
    hints = _hints(factory)
    theirs = [each.replace(annotation=hints.get(name, each.annotation)) for name, each in takes.parameters.items()]
    rest = [each for each in theirs if each.kind is Parameter.VAR_KEYWORD]
    first = [each for each in theirs if each.kind is not Parameter.VAR_KEYWORD]
    # What a command line could not give stays out of the signature.
    ours = [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=options.get(field.name, field.default),
            annotation=_written(field.type),
        )
        for field in own
        if _is_simple(field.type)
    ]
    return Signature([Parameter("self", Parameter.POSITIONAL_ONLY), *first, *ours, *rest])


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(factory)
    except (NameError, TypeError, AttributeError):  # names that only a type checker knows; callables without any
        return {}


def _is_simple(kind: Any) -> bool:
    return {kind, *get_args(kind)} & _SIMPLE == {*(get_args(kind) or [kind])}


def _written(kind: Any) -> Any:
    """A type as it may be written: a path as a string too."""
    return str | kind if Path in get_args(kind) else kind


_STORES = {
    *("STORE_NAME", "STORE_GLOBAL", "STORE_FAST", "STORE_DEREF"),
    "STORE_FAST_LOAD_FAST",
    "STORE_FAST_STORE_FAST",
}
_LOADS = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FAST", "LOAD_DEREF"}
_SIMPLE = {int, float, bool, str, Path, NoneType}
_OPTIMIZED = 0x1  # the flag of a function's code, whose names are local: inspect.CO_OPTIMIZED
