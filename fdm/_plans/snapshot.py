"""Snapshots: a place in the order of a split, as plain JSON values."""

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, NoReturn, Self

import attrs

from .._checks import checked, integer
from .._errors import SnapshotError
from .._fingerprint.canonical import Value, digest
from .._public import public
from .._text import cut, short


VERSION = 1
"""Of what is written as plain values: snapshots, those of combined loaders, and the states of datamodules."""


def check_plain(what: str, plain: Any, names: Sequence[str]) -> None:
    """Raise `SnapshotError` unless `plain` is a mapping with a version that this fdm reads, and these entries alone."""
    if not isinstance(plain, Mapping):
        msg = f"a {what} is a mapping, as its to_dict writes it, not {type(plain).__name__}"
        raise SnapshotError(msg)
    wanted = ["version", *names]
    names = list(plain)
    odd = [name for name in wanted if name not in names] + [name for name in names if name not in wanted]
    if odd or not all(type(name) is str for name in names):
        shown = sorted(short(name, 60) if type(name) is not str else cut(name, 60) for name in odd or names)
        msg = f"a {what} has the entries {', '.join(wanted)}; missing or unknown: {', '.join(shown)}"
        raise SnapshotError(msg)
    if type(plain["version"]) is not int or plain["version"] != VERSION:
        msg = f"the {what} is of version {short(plain['version'], 60)}; this fdm reads version {VERSION}"
        raise SnapshotError(msg)


def check_json(what: str, plain: Any) -> None:
    """Raise `SnapshotError` for a value that is of no type which JSON has: a tensor, say, that counts as an integer."""
    if isinstance(plain, list | tuple):
        for each in plain:
            check_json(what, each)
    elif isinstance(plain, Mapping):
        for name, each in plain.items():
            check_json(f"{what}[{short(name, 60)}]", each)
    elif type(plain) not in (str, int, float, bool, type(None)):
        msg = f"{what} has {short(plain, 60)}, a {type(plain).__name__}, which is no plain value of JSON"
        raise SnapshotError(msg)


def _texts(what: str, value: Any, error: type[SnapshotError]) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        _refuse(what, value, "list", error)
    return tuple(value)


def _text(what: str, value: Any, error: type[SnapshotError]) -> str:
    return value if isinstance(value, str) else _refuse(what, value, "str", error)


def _count(what: str, value: Any, error: type[SnapshotError]) -> int:
    try:
        return integer(what, value, error, least=0)
    except SnapshotError:
        _refuse(what, value, "int", error)


def _refuse(what: str, value: Any, kind: str, error: type[SnapshotError]) -> NoReturn:
    msg = f"{what} is {short(value, 60)}, which is no {kind} that can be"
    raise error(msg) from None


_TEXT = checked(_text, SnapshotError, "the snapshot's {field}")
_TEXTS = checked(_texts, SnapshotError, "the snapshot's {field}")
_COUNT = checked(_count, SnapshotError, "the snapshot's {field}")


@public
@attrs.frozen(eq=False)
class Snapshot(Value):
    """Epoch `epoch` of split `split`, with its first `examples` examples already seen, over all ranks together.

    The same on every rank, and independent of world size, batch size and workers. `fingerprint` covers what decides
    the order; `stages` tells, for each stage that does, what it says and a short digest of it.

    >>> at = Snapshot("00ff", "train", epoch=3, examples=640)
    >>> Snapshot.from_dict(at.to_dict()) == at
    True
    """

    fingerprint: str = attrs.field(**_TEXT)
    split: str = attrs.field(**_TEXT)
    epoch: int = attrs.field(**_COUNT)
    examples: int = attrs.field(**_COUNT)
    stages: tuple[str, ...] = attrs.field(default=(), **_TEXTS)

    def to_dict(self) -> dict[str, Any]:
        """The snapshot as plain JSON values, under 1 kB."""
        return {"version": VERSION, **attrs.asdict(self), "stages": list(self.stages)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The snapshot that `to_dict` wrote. Raises `SnapshotError` for anything else, and says what is wrong."""
        names = [field.name for field in attrs.fields(cls)]
        check_plain("snapshot", plain, names)
        snapshot = cls(**{name: plain[name] for name in names})
        for name in names:
            check_json(f"the snapshot's {name}", plain[name])
        return snapshot


_BYTES = 800  # for the descriptions and the name of the split, in JSON, which keeps a snapshot under 1 kB
_ENTRIES = 20


def order_stages(entries: Sequence[tuple[str, str]], split: str) -> tuple[str, ...]:
    """Descriptions and digests of the stages that decide an order, shortened to fit into a snapshot of `split`."""
    shown = list(entries[:_ENTRIES])
    if len(entries) > _ENTRIES:
        rest = entries[_ENTRIES - 1 :]
        shown[-1] = (f"{len(rest)} more stages", order_fingerprint(rest))
    room = max(0, _BYTES - len(json.dumps(split))) // max(1, len(shown)) - len('"", #12345678')
    return tuple(f"{_shortened(text, room)} #{code[:8]}" for text, code in shown)


def _shortened(text: str, room: int) -> str:
    """The beginning of a text that takes no more than `room` bytes in JSON."""
    plain = text.encode("ascii", "replace").decode()
    return cut(plain, room, lambda kept: len(json.dumps(kept)) - 2, "..")


def order_fingerprint(entries: Sequence[tuple[str, str]]) -> str:
    """One fingerprint for all the stages that decide an order."""
    return digest([code for _, code in entries])[:32]


def check_same_order(snapshot: Snapshot, fingerprint: str, stages: Sequence[str]) -> None:
    """Raise `SnapshotError`, which names the first stage that differs, if the snapshot is of another order."""
    if snapshot.fingerprint == fingerprint:
        return
    for theirs, ours in zip_longest(snapshot.stages, stages, fillvalue="nothing"):
        if theirs != ours:
            msg = (
                f"the snapshot belongs to another pipeline: where this one has [{ours}], the snapshot has [{theirs}]; "
                f"open the pipeline that wrote it, or start without it"
            )
            raise SnapshotError(msg)
    msg = f"the snapshot belongs to another pipeline: its fingerprint is {snapshot.fingerprint}, not {fingerprint}"
    raise SnapshotError(msg)


def check_start(start: object, split: str, epoch: int | None) -> None:
    if not isinstance(start, Snapshot):
        msg = (
            f"start is a Snapshot, as loader.snapshot(step) makes it, not a {type(start).__name__}; from plain values: "
            f"Snapshot.from_dict(...)"
        )
        raise SnapshotError(msg)
    if start.split != split:
        msg = f"the snapshot is of split {start.split!r}, but the loader of {split!r} was asked for"
        raise SnapshotError(msg)
    if epoch is not None and epoch != start.epoch:
        msg = f"the snapshot is of epoch {start.epoch}, but epoch {epoch} was asked for; leave out one of them"
        raise SnapshotError(msg)
