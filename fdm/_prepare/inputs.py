"""Inputs: what the parameters of kept stages named when a result was made, and whether they name the same now."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from datetime import datetime
from inspect import Parameter, signature
from pathlib import Path, PurePath
from typing import Any

import torch

from .._arrays.tree import leaves
from .._downloads.download import download
from .._errors import warn
from .._fingerprint.canonical import is_frozen_instance
from .._stages.function import Fact, Function, Tracked
from .._stages.stage import Stage, functions


def named_by(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """The parameters of stages that may name a file or folder, as plain JSON values; nothing is looked up."""
    return [
        {
            "stage": f"{stage.kind} {function.name}",
            "parameter": parameter,
            "given": str(text),
            "is_word": _is_word(text),
        }
        for stage in stages
        for function in functions(stage)
        if function.call is not download  # it checks what it gets
        for parameter, text in _texts(function)
    ]


def seen(named: Sequence[dict[str, Any]], store: Path) -> list[dict[str, Any]]:
    """Those of the parameters that name something that is there, with what it is: absolute path, size, time."""
    return [one | state for one in named if (state := _state(one["given"], store)) is not None]


def warn_of_others(remembered: Sequence[dict[str, Any]], store: Path, told: set[str]) -> None:
    """Warn for each parameter that names something else now than it did; once for what is in `told`."""
    for was in remembered:
        now = _state(was["given"], store)
        name = f"{was['stage']} {was['parameter']} {was['given']}"
        is_gone = now is None and not (was["is_word"] and was["kind"] == "folder")
        is_other = now is not None and any(was[entry] != now[entry] for entry in now)
        if (is_gone or is_other) and name not in told:
            told.add(name)
            warn(_message(was, now))


def _message(was: dict[str, Any], now: dict[str, Any] | None) -> str:
    return (
        f"{was['stage']}: the parameter {was['parameter']} ({was['given']!r}) named {_shown(was)} when the result in the "
        f"store was made, and {f'names {_shown(now)} now' if now else 'names nothing now'}. The result is the earlier one: "
        f"only the path is part of its fingerprint. Pass {was['parameter']}=fdm.tracked({was['given']!r}), so that the "
        f'content counts, or pin the stage by hand with .version("2"), so that it is made anew'
    )


def _shown(state: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(state["time"] / 1e9).astimezone().isoformat(" ", "seconds")
    return f"the {state['kind']} {state['path']} of {state['size']:,} bytes, last changed {when}"


def _texts(function: Function) -> Iterator[tuple[str, str | PurePath]]:
    """Parameters, defaults, and fields of a callable instance, that may name something, by the parameter's name."""
    given = dict(function.params)
    try:
        defaults = {each.name: each.default for each in signature(function.call).parameters.values()}
    except (TypeError, ValueError):
        defaults = {}
    values = {name: value for name, value in defaults.items() if value is not Parameter.empty} | given
    if is_frozen_instance(function.call):
        values[type(function.call).__name__] = function.call
    for name, value in values.items():
        every = (os.fsdecode(leaf) if isinstance(leaf, bytes) else leaf for leaf in leaves(value, _is_opaque))
        yield from ((name, leaf) for leaf in every if isinstance(leaf, str | PurePath) and _may_be_path(leaf))


def _is_opaque(value: object) -> bool:
    return isinstance(value, Tracked | Fact | torch.nn.Module)


def _may_be_path(leaf: str | PurePath) -> bool:
    text = str(leaf)
    if isinstance(leaf, PurePath):
        return "\x00" not in text
    is_text = any(letter.isalnum() for letter in text) and text == text.strip()
    return is_text and len(text) <= _LONGEST and text.isprintable() and "://" not in text


def _is_word(leaf: str | PurePath) -> bool:
    """Whether a text is a word such as "train", which a folder may be called like by chance."""
    return isinstance(leaf, str) and not any(mark in leaf for mark in ("/", os.sep, "."))


def _state(given: str, store: Path) -> dict[str, Any] | None:
    """What a path leads to: of a folder, what lies directly in it."""
    try:
        path = Path(given).resolve()
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            return {"kind": "file", "path": str(path), "size": found.st_size, "time": found.st_mtime_ns, "names": ""}
        return _folder(path, store) if stat.S_ISDIR(found.st_mode) else None
    except (OSError, ValueError, RuntimeError):
        return None


def _folder(path: Path, store: Path) -> dict[str, Any]:
    lines, size, newest = [], 0, 0
    with os.scandir(path) as entries:
        for entry in entries:
            if Path(entry.path) == store or entry.name in ("__pycache__", ".git"):
                continue
            seen_ = entry.stat() if entry.is_file() else None
            size += seen_.st_size if seen_ else 0
            newest = max(newest, seen_.st_mtime_ns if seen_ else 0)
            lines.append(f"{entry.name} {seen_.st_size} {seen_.st_mtime_ns}" if seen_ else entry.name)
            if len(lines) > _MOST:
                break
    names = hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    if len(lines) > _MOST:  # too many to look at each time: when one came or went is what is left to tell
        size, newest, names = 0, path.stat().st_mtime_ns, "many"
    return {"kind": "folder", "path": str(path), "size": size, "time": newest, "names": names}


_LONGEST = 1024  # letters
_MOST = 10_000  # entries of a folder
