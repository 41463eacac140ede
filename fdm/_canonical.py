"""Canonical form: any parameter as plain JSON values that are equal exactly when the parameters are."""

import datetime as dt
import hashlib
import inspect
import json
import logging
import re
import sys
import types
import uuid
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any

import attrs
import numpy as np
import torch

from ._errors import PipelineError
from ._nested import field_names
from ._table import Table


class Value:
    """Internal base of fdm's records: equal, and hashed, by canonical form.

    Plain field comparison would call the count 1 and the fraction 1.0 equal, and tensors neither equal nor unequal.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and digest(canonical(self)) == digest(canonical(other))

    def __hash__(self) -> int:
        return int(digest(canonical(self))[:15], 16)


def digest(plain: object) -> str:
    """The sha256 of plain JSON values, 64 hexadecimal digits; the same in every process and on every machine.

    >>> digest({"b": 1, "a": None})[:8] == digest({"a": None, "b": 1})[:8]
    True
    """
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def canonical(value: Any, name_function: Callable[[Any], Any] | None = None) -> Any:
    """`value` as plain JSON values, tagged with types so that 1, 1.0, True and "1" stay apart.

    Knows numbers, strings, paths, containers, enums, tensors and arrays (by a digest of their bytes), dtypes, devices,
    attrs and dataclass instances, modules without parameters, classes and functions (by name). `name_function` renders
    functions in another way. Raises `PipelineError` for anything else.
    """
    if value is None or (isinstance(value, bool | str) and type(value) in (bool, str)):
        return value
    if isinstance(value, Enum):
        return {"enum": [qualified_name(type(value)), value.name, canonical(value.value, name_function)]}
    for types_, render in _SCALARS:
        if isinstance(value, types_):
            return {types_[0].__name__: render(value)}
    if type(value).__module__ == "typing":  # a TypeVar, or an alias such as Optional[int]
        return {"typing": repr(value)}
    if is_named(value):
        return name_function(value) if name_function else {"name": qualified_name(value)}
    return _container(value, lambda child: canonical(child, name_function))


def _container(value: Any, recur: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        pairs = [[recur(key), recur(item)] for key, item in value.items()]
        return {"mapping": sorted(pairs, key=lambda pair: digest(pair[0]))}
    if isinstance(value, Table):
        return {"table": recur(dict(value.items()))}
    if isinstance(value, set | frozenset):
        return {"set": sorted(map(recur, value), key=digest)}
    if isinstance(value, list | tuple):
        tag = {list: "list", tuple: "tuple"}.get(type(value)) or qualified_name(type(value))
        return {tag: [recur(item) for item in value]}
    if isinstance(value, torch.nn.Module):
        return {"module": [recur(type(value)), recur(_module_state(value))]}
    names = field_names(value)
    if names is not None:
        return {"record": [recur(type(value)), {name: recur(getattr(value, name)) for name in names}]}
    msg = f"a {qualified_name(type(value))} cannot be compared by value"
    raise PipelineError(msg)


def is_frozen_instance(value: object) -> bool:
    """Whether `value` is an instance of a frozen attrs class or of a frozen dataclass."""
    cls: Any = type(value)
    if attrs.has(cls):
        return attrs.inspect(cls).is_frozen
    return is_dataclass(value) and bool(cls.__dataclass_params__.frozen)


def is_named(value: object) -> bool:
    """Whether `value` is a function or class, which a name stands for; methods only where bound to a class."""
    if isinstance(value, types.MethodType):
        return isinstance(value.__self__, type)
    return isinstance(value, type | np.ufunc) or hasattr(value, "__qualname__")


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
    names: Mapping[str, Any] | None = getattr(below, "__globals__", None)
    if names is not None:
        return names
    module = sys.modules.get(module_of(below))
    return vars(module) if module is not None else {}


def module_name(module: str, namespace: Mapping[str, Any] | None = None) -> str:
    """The name under which `module` can be imported, also while it runs as a script."""
    if module not in ("__main__", "__mp_main__"):
        return module
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
    if array.dtype.hasobject:
        msg = f"an array of dtype {array.dtype} cannot be compared by value"
        raise PipelineError(msg)
    contiguous = np.ascontiguousarray(array)
    return [str(array.dtype), list(array.shape), hashlib.sha256(contiguous.tobytes()).hexdigest()]


def _tensor(tensor: torch.Tensor) -> list[Any]:
    plain = tensor.detach().cpu().contiguous()
    raw = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return [str(tensor.dtype), list(tensor.shape), hashlib.sha256(raw).hexdigest()]


def _module_state(module: torch.nn.Module) -> dict[str, Any]:
    if next(module.parameters(), None) is not None:
        msg = (
            f"{type(module).__name__} has parameters, which training would change, and a stage is a fixed function; "
            f"apply it to the batches of the loader, or write a function that loads its weights from a file"
        )
        raise PipelineError(msg)
    public = {name: item for name, item in vars(module).items() if not name.startswith("_")}
    return {**public, **dict(module.named_buffers(recurse=False)), **dict(module.named_children())}


_SCALARS: tuple[tuple[tuple[Any, ...], Callable[[Any], Any]], ...] = (
    ((int,), lambda value: str(int(value))),
    ((float,), lambda value: repr(float(value))),
    ((str,), str),
    ((complex,), repr),
    ((bytes, bytearray), lambda value: hashlib.sha256(value).hexdigest()),
    ((PurePath,), lambda value: value.as_posix()),
    ((Fraction,), str),
    ((Decimal,), str),
    ((range,), repr),
    ((slice,), repr),
    ((np.ndarray,), _array),
    ((np.generic,), lambda value: _array(np.asarray(value))),
    ((np.dtype,), str),
    ((torch.Tensor,), _tensor),
    ((torch.dtype, torch.device, torch.memory_format), str),
    ((types.ModuleType,), lambda module: module_name(module.__name__)),
    ((logging.Logger,), lambda logger: logger.name),
    ((types.EllipsisType,), repr),
    ((re.Pattern,), lambda pattern: [repr(pattern.pattern), pattern.flags]),
    ((dt.date, dt.time, dt.timedelta, dt.tzinfo, uuid.UUID), repr),
    ((types.GenericAlias, types.UnionType), repr),
)
