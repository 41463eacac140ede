"""Cursors: how far a trainer is in the train batches, from its own counts; the same on every rank."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import attrs

from .._errors import SnapshotError
from .._loaders.combine import Combined, CombinedSnapshot, snapshots_of
from .._loaders.loader import Loader
from .._plans.snapshot import VERSION, Snapshot, check_json, check_plain
from .._text import short


ENTRIES = "version", "fingerprint", "cursor", "ended"
"""Of a datamodule's state; what a subclass keeps there beside them is its own."""

Place: TypeAlias = Snapshot | CombinedSnapshot
Loading: TypeAlias = Loader | Combined


class Counts(Protocol):
    """How many batches a trainer asked for, and worked through."""

    @property
    def ready(self) -> int: ...
    @property
    def processed(self) -> int: ...


class Progress(Protocol):
    """A trainer's own account of its batches: in all, and in the epoch it is in."""

    @property
    def total(self) -> Counts: ...
    @property
    def current(self) -> Counts: ...
    @property
    def is_last_batch(self) -> bool: ...


@attrs.frozen(eq=False)
class Pass:
    """One iteration over the train batches: what was left of its epoch, and the trainer's counts when it began."""

    loader: Loading
    progress: Progress
    ready: int
    total: int

    @property
    def is_used(self) -> bool:
        """Whether the trainer took a batch since it began: else somebody only looked."""
        return self.progress.total.ready > self.total


@attrs.frozen(eq=False)
class Cursor:
    """The passes of a run over the train batches, or the place that a checkpoint restored.

    What is consumed is told by the trainer's counts and not by what was handed out, so workers that are ahead, and a
    batch whose step failed, do not count. A callback may look at the first batch of the loader: a pass is one only when
    the trainer takes a batch.
    """

    restored: Place | None = None
    passes: tuple[Pass, ...] = ()


def begun(
    cursor: Cursor, progress: Progress, ahead: int, resumed: Callable[[Place], Loading], fresh: Callable[[int], Loading]
) -> Cursor:
    """The cursor when an iteration begins now; its last pass has the loader.

    `ahead` is how many batches the trainer has counted that it is only about to ask for. `resumed` makes the loader from
    a place, `fresh` the one of the trainer's own epoch from a step on, for a run that nothing restored.
    """
    last, ready = _current(cursor), progress.current.ready - ahead
    if last is None:  # the trainer's counts are a checkpoint's, whose last batch may come again
        loader = fresh(ready) if cursor.restored is None else resumed(cursor.restored)
    elif ready and not _is_over(progress):  # inside an epoch, somebody looks at what comes next
        left = last.loader[ready - last.ready :]
        loader = left if len(left) else resumed(following(last.loader))
    else:
        loader, ready = resumed(following(last.loader)), 0
    kept = () if last is None else (last,)
    return attrs.evolve(cursor, passes=(*kept, Pass(loader, progress, ready, progress.total.ready - ahead)))


def place(cursor: Cursor) -> Place | None:
    """Where a run goes on that is resumed from now; None where it has not begun, and nothing restored it."""
    last, newest = _current(cursor), cursor.passes[-1] if cursor.passes else None
    if newest is not None and newest is not last and not newest.ready:
        return newest.loader.snapshot(0)  # of an epoch that has just begun nothing is worked through
    if last is None:
        return cursor.restored
    if _is_over(last.progress):
        return following(last.loader)
    done = last.progress.current.processed - last.ready
    return last.loader.snapshot(min(max(done, 0), len(last.loader)))


def batches_done(progress: Progress) -> int:
    """How many batches of the epoch that comes a trainer has worked through already."""
    return 0 if _is_over(progress) else progress.current.processed


def to_plain(at: Place) -> dict[str, Any]:
    """A place as plain JSON values, by split."""
    parts = {at.split: at} if isinstance(at, Snapshot) else at.parts
    ended = [] if isinstance(at, Snapshot) else list(at.ended)
    return {"version": VERSION, "cursor": {name: part.to_dict() for name, part in parts.items()}, "ended": ended}


def has_cursor(state: Any) -> bool:
    """Whether a state has a place: before the first batch there is none. Raises `SnapshotError` for what is no state."""
    if not isinstance(state, Mapping):
        msg = f"a datamodule's state is a mapping, as its state_dict writes it, not {short(state, 60)}"
        raise SnapshotError(msg)
    return any(name in state for name in ENTRIES)


def from_plain(plain: Mapping[str, Any], mode: str) -> Place:
    """The place that `to_plain` wrote. Raises `SnapshotError` for anything else; entries of others are theirs."""
    check_plain("datamodule's state", {name: plain[name] for name in ENTRIES if name in plain}, ENTRIES[1:])
    for name in ("fingerprint", "ended"):
        check_json(f"the state's {name}", plain[name])
    if not isinstance(plain["fingerprint"], str):
        msg = f"the state's fingerprint is the pipeline's, a str, not {short(plain['fingerprint'], 60)}"
        raise SnapshotError(msg)
    if not isinstance(plain["cursor"], Mapping) or not plain["cursor"]:
        msg = f"the datamodule's state has a cursor by split, not {short(plain['cursor'], 60)}"
        raise SnapshotError(msg)
    parts: Mapping[str, Snapshot] = snapshots_of(plain["cursor"])
    for name, part in parts.items():
        if name != part.split:
            msg = f"the state's cursor has {short(name, 60)}, but there a snapshot of split {short(part.split, 60)}"
            raise SnapshotError(msg)
    if len(parts) > 1:
        return CombinedSnapshot(mode, parts, plain["ended"])
    if not isinstance(plain["ended"], list | tuple) or plain["ended"]:
        msg = f"the state's ended is empty where there is one split, not {short(plain['ended'], 60)}"
        raise SnapshotError(msg)
    (single,) = parts.values()
    return single


def _current(cursor: Cursor) -> Pass | None:
    """The last pass from which the trainer took a batch."""
    return next((one for one in reversed(cursor.passes) if one.is_used), None)


def _is_over(progress: Progress) -> bool:
    """Whether the trainer has worked through its epoch, which limits may have cut short."""
    return progress.is_last_batch and progress.current.processed >= progress.current.ready


def following(loader: Loading) -> Place:
    """The start of the epoch after the one that a loader is of."""
    if isinstance(loader, Loader) and not len(loader):
        return loader.again(epoch=loader.epoch + 1).snapshot(0)
    return loader.snapshot(len(loader))
