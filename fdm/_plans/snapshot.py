"""Snapshots: a place in the order of a split, as plain JSON values."""

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Self

import attrs

from .._errors import SnapshotError
from .._fingerprint.canonical import Value, digest
from .._public import public
from .._text import cut


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

    fingerprint: str
    split: str
    epoch: int
    examples: int
    stages: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The snapshot as plain JSON values, under 1 kB."""
        return {"version": _VERSION, **attrs.asdict(self), "stages": list(self.stages)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The snapshot that `to_dict` wrote. Raises `SnapshotError` for anything else, and says what is wrong."""
        if not isinstance(plain, Mapping):
            msg = f"a snapshot is a mapping, as Snapshot.to_dict writes it, not {type(plain).__name__}"
            raise SnapshotError(msg)
        wanted = {"version": int, "fingerprint": str, "split": str, "epoch": int, "examples": int, "stages": list}
        if plain.keys() != wanted.keys():
            odd = sorted(set(map(str, plain)) ^ wanted.keys())
            msg = f"a snapshot has the entries {', '.join(wanted)}; missing or unknown: {', '.join(odd)}"
            raise SnapshotError(msg)
        if plain["version"] != _VERSION:
            msg = f"the snapshot is of version {plain['version']!r}; this fdm reads version {_VERSION}"
            raise SnapshotError(msg)
        for name, kind in wanted.items():
            value = plain[name]
            number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            if not isinstance(value, kind) or (kind is int and not number) or (kind is list and not _all_text(value)):
                msg = f"the snapshot's {name} is {value!r:.60}, which is no {kind.__name__} that can be"
                raise SnapshotError(msg)
        return cls(
            **{name: plain[name] for name in wanted if name not in ("version", "stages")}, stages=tuple(plain["stages"])
        )


def _all_text(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


_VERSION = 1
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
