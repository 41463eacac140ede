"""Canonical form: any parameter as plain JSON values that are equal exactly when the parameters are."""

import datetime as dt
import hashlib
import inspect
import json
import logging
import operator
import re
import sys
import types
import typing
import uuid
from argparse import Namespace
from collections import defaultdict, deque
from collections.abc import Callable, Container, Mapping
from dataclasses import is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cached_property, partial, partialmethod
from itertools import takewhile
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import torch
from toolz import valmap

from .._arrays.table import Table
from .._arrays.tree import counted, field_names
from .._errors import PipelineError
from .._public import is_module_of_fdm, public_module
from .._text import short


class Value:
    """Internal base of fdm's records: equal, and hashed, by canonical form.

    Plain field comparison would call the count 1 and the fraction 1.0 equal, and tensors neither equal nor unequal.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and type(self) is type(other) and _identity(self) == _identity(other)

    def __hash__(self) -> int:
        return int(_identity(self)[:15], 16)


def _identity(value: Value) -> str:
    return digest(_unordered(canonical(value)))


def _unordered(plain: Any) -> Any:
    """A canonical form in which mappings are equal as Python has it: in any order."""
    if isinstance(plain, list):
        return [_unordered(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    changed = valmap(_unordered, plain)
    if isinstance(pairs := changed.get("mapping"), list):
        changed["mapping"] = sorted(pairs, key=digest)
    return changed


def digest(plain: object) -> str:
    """The sha256 of plain JSON values, 64 hexadecimal digits; the same in every process and on every machine.

    >>> digest({"b": 1, "a": None})[:8] == digest({"a": None, "b": 1})[:8]
    True
    """
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def canonical(
    value: Any,
    name_function: Callable[[Any], Any] | None = None,
    otherwise: Callable[[Any, Callable[[Any], Any]], Any] | None = None,
) -> Any:
    """`value` as plain JSON values, tagged with types so that 1, 1.0, True and "1" stay apart.

    Knows numbers, strings, paths, containers (with their order), enums, tensors and arrays (by a digest of their bytes),
    dtypes, devices, partials, attrs and dataclass instances, modules without parameters, classes and functions (by name).
    `name_function` renders functions, classes and modules in another way, and `otherwise` what has no form, with the function
    that renders its parts. Raises `PipelineError` for anything else.
    """
    if value is None or type(value) in (bool, str):
        return value

    def recur(child: Any) -> Any:
        return canonical(child, name_function, otherwise)

    if isinstance(value, Enum):
        own = set_on_member(value)
        plain = {"enum": [recur(type(value)), value.name, recur(value.value)]}
        return {**plain, "attributes": recur(own)} if own else plain
    if isinstance(value, type):
        return name_function(value) if name_function else {"name": qualified_name(value)}
    for tag, types_, render in _SCALARS:
        if isinstance(value, types_):
            return _with_type({tag: render(value)}, value, recur)
    if isinstance(value, types.ModuleType):
        return name_function(value) if name_function else {"ModuleType": module_name(value.__name__)}
    if typing.get_origin(value) is not None:  # such as list[int] and Optional[int]
        return {"alias": [recur(typing.get_origin(value)), recur(list(typing.get_args(value)))]}
    if isinstance(value, typing.NewType):
        return {"new type": [value.__name__, recur(value.__supertype__)]}
    if isinstance(value, typing.TypeVar):
        return {"typing": [repr(value), recur(value.__bound__), recur(list(value.__constraints__))]}
    if type(value).__module__ == "typing":
        return {"typing": repr(value)}
    if is_named(value):
        return name_function(value) if name_function else {"name": qualified_name(value)}
    plain = _container(value, recur)
    if plain is not None or otherwise is not None:
        return plain if otherwise is None or plain is not None else otherwise(value, recur)
    msg = f"a {qualified_name(type(value))} cannot be compared by value"
    raise PipelineError(msg)


def set_on_member(member: Enum) -> dict[str, Any]:
    """What was set on a member of an enum beside its value."""
    return {name: item for name, item in vars(member).items() if name not in _OF_MEMBERS and not name.startswith("__")}


def _with_type(plain: dict[str, Any], value: Any, recur: Callable[[Any], Any]) -> dict[str, Any]:
    """The form of a value with its class, and what was set on it, where it is no plain instance of a known one."""
    if type(value) not in _PLAIN and not _SAYS_TYPE & plain.keys():
        plain["type"] = recur(type(value))
    if _SAYS_TYPE & plain.keys():
        return plain
    attributes = getattr(value, "__dict__", {})  # tensors may have them too
    if type(value) not in _PLAIN:
        attributes = {**_slots(value, of=_PLAIN), **attributes}
    if attributes:
        plain["attributes"] = recur(dict(attributes))
    return plain


def _slots(value: Any, *, of: Container[type]) -> dict[str, Any]:
    """What is in the slots of an instance, of classes below those that are known."""
    below = takewhile(lambda cls: cls not in of, type(value).__mro__)
    every = ((name, item) for cls in below for name, item in vars(cls).items() if hasattr(value, name))
    return {name: item.__get__(value) for name, item in every if isinstance(item, types.MemberDescriptorType)}


def _container(value: Any, recur: Callable[[Any], Any]) -> Any:
    if qualified_name(type(value)) == "os._Environ":
        return {"name": "os.environ"}
    if isinstance(value, Mapping):
        # In order, since who iterates over it gets it in order.
        plain: dict[str, Any] = {"mapping": [[recur(key), recur(item)] for key, item in value.items()]}
        if isinstance(value, defaultdict):
            plain["factory"] = recur(value.default_factory)
        return _with_type(plain, value, recur)
    if isinstance(value, Table):
        return {"table": sorted(([name, recur(column)] for name, column in value.items()), key=lambda pair: pair[0])}
    if isinstance(value, set | frozenset):
        tag = "set" if isinstance(value, set) else "frozenset"
        return _with_type({tag: sorted(map(recur, value), key=digest)}, value, recur)
    if isinstance(value, list | tuple | deque):
        tag = next(kind.__name__ for kind in (list, tuple, deque) if isinstance(value, kind))
        size = {"maxlen": value.maxlen} if isinstance(value, deque) else {}
        return _with_type({tag: [recur(item) for item in value], **size}, value, recur)
    if isinstance(value, slice):
        return {"slice": [recur(end) for end in (value.start, value.stop, value.step)]}
    if type(value) in (partial, partialmethod):
        parts = [
            value.func,
            list(value.args),
            value.keywords,
            *([vars(value)] if isinstance(value, partial) and vars(value) else []),
        ]
        return {type(value).__name__: [recur(part) for part in parts]}
    if isinstance(value, operator.itemgetter | operator.attrgetter | operator.methodcaller):
        return {"getter": recur(list(value.__reduce__()))}
    if isinstance(value, types.MethodType):
        return {"method": [recur(value.__self__), recur(value.__func__)]}
    if isinstance(value, types.BuiltinMethodType | types.MethodWrapperType):
        return {"method": [recur(value.__self__), value.__name__]}
    if isinstance(value, torch.nn.Module):
        return {"module": [recur(type(value)), _attributes(value, _module_state(value), recur)]}
    state = _state(value)
    if state is not None:
        return {"record": [_class(value, recur), _attributes(value, state, recur)]}
    return None


def _class(value: Any, recur: Callable[[Any], Any]) -> Any:
    """The class of a record; stages are known by the word that users have for them."""
    kind = getattr(value, "kind", None) if isinstance(value, Value) else None
    return {"name": f"fdm.{kind}"} if kind else recur(type(value))


def _attributes(value: object, state: Mapping[str, Any], recur: Callable[[Any], Any]) -> dict[str, Any]:
    plain = {}
    for name, item in state.items():
        try:
            plain[name] = recur(item)
        except PipelineError as error:
            if type(error) is not PipelineError:
                raise
            msg = f"{type(value).__name__}.{name}: {error}"
            raise PipelineError(msg) from None
    return plain


def _state(value: Any) -> Mapping[str, Any] | None:
    """What an attrs or dataclass instance, or a plain namespace, consists of; None for anything else."""
    if isinstance(value, types.SimpleNamespace | Namespace):
        return vars(value)
    names = field_names(value)
    if names is None:
        return None
    if is_module_of_fdm(type(value).__module__):
        return counted(value, names)
    held = {**_slots(value, of=()), **getattr(value, "__dict__", {})}
    beside = held.keys() - names - _computed(type(value))
    return {name: getattr(value, name) for name in [*names, *sorted(beside)]}


def _computed(cls: type) -> set[str]:
    """The names of an instance's attributes that are computed from the others when they are asked for."""
    every = {name: item for base in reversed(cls.__mro__) for name, item in vars(base).items()}
    return {name for name, item in every.items() if isinstance(item, cached_property)}


def is_frozen_instance(value: object) -> bool:
    """Whether `value` is an instance of a frozen attrs class or of a frozen dataclass."""
    cls: Any = type(value)
    if attrs.has(cls):
        return attrs.inspect(cls).is_frozen
    return is_dataclass(value) and bool(cls.__dataclass_params__.frozen)


def is_named(value: object) -> bool:
    """Whether `value` is a function or class, which a name stands for; methods only where bound to a class."""
    if isinstance(value, type):
        return True
    if isinstance(value, types.MethodType | types.BuiltinMethodType | types.MethodWrapperType):
        owner = value.__self__
        return owner is None or isinstance(owner, type | types.ModuleType) or is_library_method(value)
    if isinstance(value, np.ufunc):  # those that frompyfunc makes hide the function that they call
        return any(getattr(sys.modules.get(name), value.__name__, None) is value for name in _WITH_UFUNCS)
    is_method = isinstance(value, staticmethod | classmethod) or type(value).__flags__ & _HEAP  # or a descriptor
    if (inspect.isroutine(value) and not is_method) or hasattr(value, "__code__"):
        return True
    # Decorators may leave an instance in place of a function: one that tells which, or that a library knows by name.
    return hasattr(value, "__qualname__") and (hasattr(value, "__wrapped__") or type(value).__module__ == "torch._ops")


def is_library_method(value: Any) -> bool:
    """Whether a bound method is one that a library offers as a function, such as `random.shuffle`."""
    modules = [sys.modules.get(name) for name in ("random", "numpy.random", "secrets")]
    return any(getattr(module, value.__name__, None) == value for module in modules)


def qualified_name(named: Any) -> str:
    """`module.qualname` of a function, class or module, with the real name of a script in place of `__main__`."""
    name = getattr(named, "__qualname__", None) or getattr(named, "__name__", repr(named))
    return f"{module_name(module_of(named), namespace_of(named))}.{name}"


def module_of(named: Any) -> str:
    """The name of the module in which a function or class was defined."""
    owner = getattr(named, "__objclass__", named)  # methods of classes written in C do not say
    return getattr(named, "__module__", None) or getattr(owner, "__module__", None) or "builtins"


def namespace_of(named: Any) -> Mapping[str, Any]:
    """The globals of the module in which a function or class was defined, below any decorators."""
    below = named if isinstance(named, type) else inspect.unwrap(named)
    names: Mapping[str, Any] | None = None if isinstance(named, type) else getattr(below, "__globals__", None)
    if names is not None:
        return names
    module = sys.modules.get(module_of(below))
    return vars(module) if module is not None else {}


def module_name(module: str, namespace: Mapping[str, Any] | None = None) -> str:
    """The name under which `module` can be imported, also while it runs as a script."""
    if module not in ("__main__", "__mp_main__"):
        return public_module(module)
    names = namespace if namespace and namespace.get("__name__") == module else vars(sys.modules[module])
    spec = names.get("__spec__")
    if spec is not None and spec.name not in ("__main__", "__mp_main__"):
        return str(spec.name)
    return importable_name(Path(names["__file__"]).resolve()) if names.get("__file__") else "__main__"


def importable_name(file: Path) -> str:
    """The name under which a script can be imported: that of its file, below the packages that it lies in."""
    parts = [file.stem]
    for folder in file.parents:
        if not (folder / "__init__.py").exists():
            break
        parts.append(folder.name)
    return ".".join(reversed(parts))


def _array(array: Any) -> list[Any]:
    if isinstance(array, np.ma.MaskedArray):
        msg = (
            "a masked array cannot be compared by value, since its mask would be lost; pass array.filled(value), or its "
            "data and its mask as two parameters"
        )
        raise PipelineError(msg)
    if array.dtype.hasobject:
        msg = f"an array of dtype {array.dtype} cannot be compared by value"
        raise PipelineError(msg)
    if array.dtype.names is not None:  # field by field, since there may be anything between them
        return [str(array.dtype), list(array.shape), *(_array(array[name]) for name in array.dtype.names)]
    contiguous = np.ascontiguousarray(array)
    return [_dtype(array.dtype), list(array.shape), hashlib.sha256(contiguous.tobytes()).hexdigest()]


def _dtype(dtype: np.dtype[Any]) -> str:
    return f"{dtype} {sorted(dtype.metadata.items())!r}" if dtype.metadata else str(dtype)


def _tensor(tensor: torch.Tensor) -> list[Any]:
    if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        kind = "meta" if tensor.is_meta else "quantized" if tensor.is_quantized else str(tensor.layout)
        remedy = "make it on a device" if tensor.is_meta else "pass tensor.to_dense(), or its parts as parameters"
        msg = f"a {kind} tensor cannot be compared by value; {remedy}"
        raise PipelineError(msg)
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    flat = plain.as_strided((plain.numel(),), (1,))  # a single value may have any stride, and still be contiguous
    raw = flat.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    trained = ["requires_grad"] if tensor.requires_grad else []
    return [str(tensor.dtype), list(tensor.shape), hashlib.sha256(raw).hexdigest(), *trained]


def _module_state(module: torch.nn.Module) -> dict[str, Any]:
    if next(module.parameters(), None) is not None:
        msg = (
            f"{type(module).__name__} has parameters, which training would change, and a stage is a fixed function; "
            f"apply it to the batches of the loader, or write a function that loads its weights from a file"
        )
        raise PipelineError(msg)
    if isinstance(module, torch.jit.ScriptModule):
        msg = "a scripted module cannot be compared by value, since its code cannot be read; pass the module itself"
        raise PipelineError(msg)
    state = vars(module)
    own = {name: item for name, item in state.items() if name not in _BARE_MODULE}
    hooks = {name: list(state[name].values()) for name in _BARE_MODULE if name.endswith(_HOOKS) and state.get(name)}
    parts = {**state["_buffers"], **state["_modules"]}
    return {"training": module.training, **own, **parts, **dict(sorted(hooks.items()))}


def _repr(value: object) -> str:
    text = repr(value)
    if " at 0x" in text:
        msg = f"a {qualified_name(type(value))} that shows itself as {short(value, 60)} cannot be compared by value"
        raise PipelineError(msg)
    return text


_HEAP = 1 << 9  # a flag of classes in CPython
_OF_MEMBERS = frozenset(["_name_", "_value_", "_sort_order_"])
_BARE_MODULE = frozenset(vars(torch.nn.Module()))
_HOOKS = ("_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_pre_hooks")
_WITH_UFUNCS = ("numpy", "scipy.special")
_DATES = (dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone, ZoneInfo)
_SCALARS: tuple[tuple[str, tuple[Any, ...], Callable[[Any], Any]], ...] = (
    ("int", (int,), lambda value: str(int(value))),
    ("float", (float,), lambda value: repr(float(value))),
    ("str", (str,), str.__str__),
    ("complex", (complex,), lambda value: repr(complex(value))),
    ("bytes", (bytes,), lambda value: hashlib.sha256(value).hexdigest()),
    ("bytearray", (bytearray,), lambda value: hashlib.sha256(value).hexdigest()),
    ("PurePath", (PurePath,), lambda value: value.as_posix()),
    ("Fraction", (Fraction,), str),
    ("Decimal", (Decimal,), str),
    ("range", (range,), repr),
    ("ndarray", (np.ndarray,), _array),
    ("generic", (np.generic,), lambda value: _array(np.asarray(value))),
    ("dtype", (np.dtype,), _dtype),
    ("Tensor", (torch.Tensor,), _tensor),
    ("torch", (torch.dtype, torch.device, torch.memory_format, torch.layout), str),
    ("Logger", (logging.Logger,), lambda logger: module_name(logger.name)),
    ("Ellipsis", (types.EllipsisType, types.NotImplementedType), repr),
    ("Pattern", (re.Pattern,), lambda pattern: [repr(pattern.pattern), pattern.flags]),
    ("date", (dt.date, dt.time, dt.timedelta, dt.tzinfo), _repr),
    ("UUID", (uuid.UUID,), repr),
)
_NUMBERS = (bool, int, float, complex, Fraction, Decimal, range)
_CONTAINERS = (str, bytes, bytearray, dict, list, tuple, set, frozenset, deque)
_PATHS = (Path, type(Path()), PurePath, PurePosixPath, PureWindowsPath)
_OF_TORCH = (torch.Tensor, torch.dtype, torch.device, torch.memory_format, torch.layout)
_OTHERS = (np.ndarray, np.memmap, types.EllipsisType, types.NotImplementedType, re.Pattern, uuid.UUID)
_PLAIN: frozenset[type] = frozenset([*_NUMBERS, *_CONTAINERS, *_PATHS, *_OF_TORCH, *_OTHERS, *_DATES])
_SAYS_TYPE = frozenset({"generic", "dtype", "Logger"})
