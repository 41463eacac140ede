"""Descriptions of stages: a line for people, plain JSON values for logs."""

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from torch import Tensor

from .._arrays.tree import counted, field_names
from .._fingerprint.canonical import canonical, digest, qualified_name
from .._public import is_module_of_fdm
from .._text import plain, visible, without_secrets
from .function import Fact, Function, Tracked, shown
from .stage import Stage


def summary(stage: Stage) -> tuple[str, str]:
    """What a line of `str(p)` says of a stage: its parameters, and the splits it is limited to."""
    on = getattr(stage, "splits", ())
    parts = [
        _text(field.name, getattr(stage, field.name)) for field in attrs.fields(type(stage)) if field.name != "splits"
    ]
    texts = ", ".join(part for part in parts if part), f"on {', '.join(on)}" if on else ""
    return visible(without_secrets(texts[0])), visible(texts[1])


def _text(name: str, value: Any) -> str:
    match name, value:
        case "function", Function():
            return repr(value)
        case "into", tuple():
            return ", ".join(f"{split}={'rest' if size is None else size}" for split, size in value)
        case "names", tuple():
            return ", ".join(f"{new}={old if isinstance(old, str) else '+'.join(old)}" for new, old in value)
        case "shares", tuple():
            return ", ".join(f"{new}={old}" for new, old in value)
        case "later", tuple():
            return ", ".join(
                f"after={start}: {', '.join(f'{name}={share}' for name, share in to)}" for start, to in value
            )
        case "size" | "amount" | "into" | "length", Function() | int() | float():
            return str(value)
        case "whole", False:
            return "whole=False"
        case _, None | False | ():
            return ""
        case ("shuffle" | "whole", True) | ("across", "rank") | ("lanes", 1) | ("buckets", 32) | ("until", "all"):
            return ""
        case "parts", Function():
            return f"each {value!r}"
        case "pinned", _:
            return f"version={value}"
        case "is_shared" | "is_ambient", _:
            return name.removeprefix("is_")
        case _:
            return f"{name}={value}"


def described(stage: Stage) -> dict[str, Any]:
    """A stage as plain JSON values: its kind, function, parameters and fields."""
    fields = {field.name: getattr(stage, field.name) for field in attrs.fields(type(stage))}
    usual = {field.name: field.default for field in attrs.fields(type(stage))}
    given = {name: value for name, value in fields.items() if value is not None and value not in ((), usual[name])}
    entries = {name: _without_secrets(plain(value, _described)) for name, value in given.items()}
    for name in ("into", "names", "shares"):  # pairs, which are mappings by what they mean
        if isinstance(fields.get(name), tuple):
            entries[name] = {key: list(each) if isinstance(each, tuple) else each for key, each in fields[name]}
    if "later" in entries:
        entries["later"] = [[start, dict(shares)] for start, shares in fields["later"]]
    return {"stage": stage.kind, **entries.pop("function", {}), **entries}


def _without_secrets(entry: Any) -> Any:
    """Plain JSON values, with the URLs in them as they may be shown."""
    if isinstance(entry, dict):
        return {_without_secrets(name): _without_secrets(each) for name, each in entry.items()}
    if isinstance(entry, list):
        return [_without_secrets(each) for each in entry]
    return without_secrets(entry) if isinstance(entry, str) else entry


def _described(value: Any) -> Any:
    """What JSON has no form for: by name and parameters, by shape and digest, by fields, or as the text that shows it."""
    match value:
        case Function():
            params = {name: plain(param, _described) for name, param in value.params}
            name = repr(attrs.evolve(value, params=())).removesuffix("()")
            return {"function": name} | ({"params": params} if params else {})
        case Fact():
            return {"fact": value.name}
        case Tracked():
            return {"tracked": value.path}
        case Tensor() | np.ndarray() if value.ndim:
            return {"shape": list(value.shape), "dtype": str(value.dtype), "sha256": digest(canonical(value))}
        case Mapping():  # whose keys are not all names
            return plain(list(value.items()), _described)
        case set() | frozenset():
            return plain(sorted(value, key=repr), _described)
        case _ if (names := field_names(value)) is not None:
            is_own = is_module_of_fdm(type(value).__module__)
            state = counted(value, names) if is_own else {name: getattr(value, name) for name in names}
            return {"type": qualified_name(type(value))} | {
                name: plain(each, _described) for name, each in state.items()
            }
        case _:
            return shown(value)
