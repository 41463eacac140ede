"""Stored: what the command line says of a store, and which ages and sizes it understands."""

import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from .. import store as stores
from .._errors import did_you_mean
from .._pipeline import Pipeline
from .._text import aligned, cut, size, visible
from ..store._access import check_readable
from .target import UsageError


def kept_in(store: str | None) -> dict[str, Any]:
    """The artifacts in a store, the most recently used first, as plain values."""
    return {"artifacts": [_told(artifact) for artifact in stores.artifacts(_there(store))]}


def list_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `kept_in` found, for a terminal."""
    kept = found["artifacts"]
    if kept:
        head = ["stage", "function", "parameters", "script", "address", "size", "made", "used"]
        yield from aligned([head, *(_row(each) for each in kept)], indent="")
    yield from (visible(f"damaged: {each['folder']}: {each['damage']}") for each in kept if each["damage"])
    total = sum(each["bytes"] for each in kept)
    yield f"{len(kept)} artifacts, {size(total)}"


def verified(store: str | None) -> dict[str, Any]:
    """What is damaged in a store, as plain values."""
    count = len(stores.artifacts(_there(store)))
    damages = [
        {"file": str(each.file), "expected": each.expected, "found": each.found} for each in stores.verify(store)
    ]
    return {"artifacts": count, "damages": damages}


def verify_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `verified` found, for a terminal."""
    for each in found["damages"]:
        yield visible(f"{each['file']}: expected {each['expected']}, found {each['found']}")
    if found["damages"]:
        yield f"{len(found['damages'])} files are damaged; remove their folders, and they are made again"
    else:
        yield f"{found['artifacts']} artifacts, all as their manifests say"


def pruned(
    store: str | None, *, unused_for: timedelta | None, larger_than: int | None, keep: Sequence[Pipeline], ask: Any
) -> dict[str, Any]:
    """What goes from a store, as plain values; it goes only if `ask(what goes)` says so."""
    if unused_for is None and larger_than is None:
        msg = "store prune: say what to remove: --unused-for 30d, or --larger-than 100G"
        raise UsageError(msg)
    folder = _there(store)
    prune = partial(stores.prune, folder, unused_for=unused_for, larger_than=larger_than, keep=keep)
    going = {"artifacts": [_told(artifact) for artifact in prune(dry_run=True)]}
    is_wanted = bool(ask(going))
    if is_wanted:
        going = {"artifacts": [_told(artifact) for artifact in prune()]}
    return {**going, "removed": is_wanted}


def prune_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `pruned` did, for a terminal."""
    yield from list_lines(found)
    if not found["artifacts"]:
        yield "there is nothing to remove"
    else:
        yield "removed" if found["removed"] else "nothing is removed yet; add --yes to remove these"


def asked(going: Mapping[str, Any]) -> bool:
    """Ask on the terminal whether these are to go; without a terminal nothing does."""
    if not (going["artifacts"] and sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write("\n".join([*list_lines(going), "Remove these? [y/N] "]))
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def age(text: str) -> timedelta:
    """An age: a number with a unit, days unless one is given.

    >>> age("30d"), age("12h"), age("1.5")
    (datetime.timedelta(days=30), datetime.timedelta(seconds=43200), datetime.timedelta(days=1, seconds=43200))
    """
    number, unit = _number(text, "an age such as 30d, 12h or 90m", _AGES)
    return timedelta(**{_AGES[unit or "d"]: number})


def bytes_of(text: str) -> int:
    """A size: a number of bytes, with a unit of 1024s.

    >>> bytes_of("100"), bytes_of("10K"), bytes_of("1.5GiB")
    (100, 10240, 1610612736)
    """
    number, unit = _number(text, "a size such as 500M or 100G", _UNITS)
    return int(number * 1024 ** _UNITS[unit])


def _number(text: str, what: str, units: Mapping[str, Any]) -> tuple[float, str]:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    unit = match[2].removesuffix("ib") if match and len(match[2]) == 3 else match[2].removesuffix("b") if match else ""
    if match is None or (unit and unit not in units):
        msg = f"{text!r} is not {what}"
        raise ArgumentTypeError(msg)
    return float(match[1]), unit


def _there(store: str | None) -> str | None:
    """The store, which has to be there if it was named: a misspelt one is not an empty one."""
    if store is None:
        return None
    folder = Path(store).expanduser()
    check_readable(folder.absolute())
    if not folder.is_dir():
        near: list[str] = []
        with suppress(OSError):
            near = [str(path) for path in folder.parent.iterdir()]
        msg = f"--store {store}: there is no such folder{did_you_mean(folder, near)}"
        raise UsageError(msg)
    return store


def _told(artifact: stores.Artifact) -> dict[str, Any]:
    return {
        "stage": artifact.stage,
        "function": artifact.function,
        "parameters": artifact.parameters,
        "script": artifact.script,
        "address": artifact.address,
        "bytes": artifact.size,
        "created": artifact.created.isoformat(timespec="seconds"),
        "used": artifact.used.isoformat(timespec="seconds"),
        "folder": str(artifact.folder),
        "damage": artifact.damage,
    }


def _row(each: Mapping[str, Any]) -> list[str]:
    made, used = (each[name][:16].replace("T", " ") for name in ("created", "used"))
    told = [cut(each["parameters"], 40), _from_home(each["script"])]
    return [each["stage"], each["function"], *told, each["address"][:12], size(each["bytes"]), made, used]


def _from_home(script: str) -> str:
    home = str(Path.home())
    return f"~{script.removeprefix(home)}" if script.startswith(f"{home}/") else script


_AGES = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
