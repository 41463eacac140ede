"""Combined loaders: the batches of several loaders, side by side or one loader after the other."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import accumulate, chain
from types import MappingProxyType
from typing import Any, Self, overload

import attrs
from torch import Tensor

from .._arrays.ragged import Ragged
from .._checks import checked, integer, one_of
from .._errors import DataError, SnapshotError, did_you_mean, listed, noted
from .._fingerprint.canonical import Value
from .._plans.plan import within
from .._plans.snapshot import VERSION, Snapshot, check_json, check_plain
from .._public import public
from .._text import short
from .loader import Loader


MODES = ("min_size", "max_size_cycle", "max_size", "sequential")


def _parts(what: str, value: Any, error: type[SnapshotError]) -> Mapping[str, Snapshot]:
    parts = dict(value) if isinstance(value, Mapping) else {}
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and isinstance(part, Snapshot) for name, part in parts.items()
    ):
        msg = f"{what} are snapshots by the names of loaders, not {short(value, 60)}"
        raise error(msg)
    return parts


def _names(what: str, value: Any, error: type[SnapshotError]) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        msg = f"{what} are names of loaders, not {short(value, 60)}"
        raise error(msg)
    if len(set(value)) < len(value):
        msg = f"{what} are names of loaders, each of them once, not {short(value, 60)}"
        raise error(msg)
    return tuple(value)


@public
@attrs.frozen(eq=False)
class CombinedSnapshot(Value):
    """A place in combined loaders: the place in each of them by name, and which have come to their end.

    As plain values: `to_dict` and `CombinedSnapshot.from_dict`, which are JSON. Like the snapshots in it, it is the same
    on every rank, and independent of world size, batch size and workers.
    """

    mode: str = attrs.field(**checked(one_of, SnapshotError, "the snapshot's mode", known=MODES))
    parts: Mapping[str, Snapshot] = attrs.field(**checked(_parts, SnapshotError, "the snapshot's {field}"))
    ended: tuple[str, ...] = attrs.field(default=(), **checked(_names, SnapshotError, "the snapshot's {field}"))

    def __attrs_post_init__(self) -> None:
        unknown = [name for name in self.ended if name not in self.parts]
        if unknown:
            msg = f"the snapshot says that {listed(unknown)} ended, but it is of {listed(self.parts)}"
            raise SnapshotError(msg)
        if not self.parts:
            msg = "the snapshot's parts are snapshots by the names of loaders, of which there is one at least"
            raise SnapshotError(msg)

    def to_dict(self) -> dict[str, Any]:
        """The snapshot as plain JSON values, under 1 kB for each loader."""
        parts = {name: part.to_dict() for name, part in self.parts.items()}
        return {"version": VERSION, "mode": self.mode, "parts": parts, "ended": list(self.ended)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The snapshot that `to_dict` wrote. Raises `SnapshotError` for anything else, and says what is wrong."""
        check_plain("snapshot of combined loaders", plain, ("mode", "parts", "ended"))
        snapshot = cls(plain["mode"], snapshots_of(plain["parts"]), plain["ended"])
        for name in ("mode", "ended"):
            check_json(f"the snapshot's {name}", plain[name])
        check_json("the snapshot's parts", list(plain["parts"]))
        return snapshot


def snapshots_of(plain: Any) -> Any:
    """The snapshots by name that are in plain values; what is no mapping is left to whom it is for.

    Raises `SnapshotError`, with a note of the name, for what is no snapshot.
    """
    if not isinstance(plain, Mapping):
        return plain
    parts = {}
    for name, part in plain.items():
        with noted(f"in the snapshot's parts, loader {short(name, 60)}"):
            parts[name] = Snapshot.from_dict(part)
    return parts


@public
@attrs.frozen(eq=False, repr=False)
class Combined:
    """The batches of several loaders together: made by `combine`.

    A step is a mapping from names to batches; in mode `"sequential"` it is the name of a loader and its batch. Like a
    loader it has a length, can be iterated any number of times, and `combined[i]` is step i without the ones before.
    """

    mode: str
    loaders: Mapping[str, Loader]
    _ended: frozenset[str]
    _first: int
    _last: int

    def __len__(self) -> int:
        """The number of steps."""
        return self._last - self._first

    def __iter__(self) -> Iterator[Any]:
        return self._walk(iter)

    def on_host(self) -> Iterator[Any]:
        """The steps with `Loader.on_host` of each loader in place of its batches."""
        return self._walk(Loader.on_host)

    def _walk(self, read: Callable[[Loader], Iterator[Any]]) -> Iterator[Any]:
        begun, end = self._done(self._first), self._done(self._last)
        with ExitStack() as stack:
            streams = {
                name: stack.enter_context(closing(_stream(loader, begun[name], read)))
                for name, loader in self.loaders.items()
            }
            for step in range(self._first, self._last):
                batches = {name: next(streams[name]) for name in self._taking(step)}
                done = self._done(step + 1)
                for name in batches:
                    if done[name] == end[name]:
                        streams[name].close()  # its workers are free for the others
                yield self._step(batches)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> "Combined": ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            first, last, stride = index.indices(len(self))
            if stride != 1:
                msg = f"a slice of combined loaders is contiguous, without a step of {stride}"
                raise DataError(msg)
            return attrs.evolve(self, first=self._first + first, last=self._first + max(first, last))
        places = self._places(index)
        return self._step({name: loader[step] for name, (loader, step) in places.items()})

    def indices(self, index: int) -> dict[str, Tensor | Ragged]:
        """The example ids in this rank's batches of step `index`, by the names of the loaders that have one."""
        return {name: loader.indices(step) for name, (loader, step) in self._places(index).items()}

    def snapshot(self, done: int) -> CombinedSnapshot:
        """The place after `done` steps: after the last one, every loader begins the epoch after the one it is in.

        Raises `DataError` unless `done` is from 0 to the number of steps.
        """
        done = integer("snapshot: the number of steps done", done, DataError)
        if not 0 <= done <= len(self):
            msg = f"snapshot takes the number of steps done, from 0 to {len(self)}, not {done}"
            raise DataError(msg)
        step, lengths = self._first + done, self._lengths()
        steps = self._done(step)
        if done and step == _total(self.mode, list(lengths.values())):
            return CombinedSnapshot(self.mode, {name: _after(self.loaders[name], steps[name]) for name in self.loaders})
        parts = {name: _snapshot(self.loaders[name], steps[name]) for name in self.loaders}
        through = [name for name in self.loaders if name in self._ended or 0 < lengths[name] <= steps[name]]
        return CombinedSnapshot(self.mode, parts, tuple(through))

    def _lengths(self) -> dict[str, int]:
        """The steps that each loader has before it comes to its end for the first time."""
        return {name: 0 if name in self._ended else len(loader) for name, loader in self.loaders.items()}

    def _done(self, step: int) -> dict[str, int]:
        lengths = self._lengths()
        return dict(zip(lengths, _done(self.mode, list(lengths.values()), step), strict=True))

    def _taking(self, step: int) -> list[str]:
        """The names of the loaders that have a batch in a step."""
        before, after = self._done(step), self._done(step + 1)
        return [name for name in self.loaders if before[name] < after[name]]

    def _places(self, index: int) -> dict[str, tuple[Loader, int]]:
        step = self._first + within(index, len(self))
        done = self._done(step)
        return {name: _place(self.loaders[name], done[name]) for name in self._taking(step)}

    def _step(self, batches: dict[str, Any]) -> Any:
        if self.mode == "sequential":
            return next(iter(batches.items()))
        return {name: batches.get(name) for name in self.loaders}

    def __repr__(self) -> str:
        return f"<fdm.Combined of {listed(self.loaders)}, {self.mode}, {len(self)} steps>"


@public
def combine(
    loaders: Mapping[str, Loader], *, mode: str = "min_size", start: CombinedSnapshot | None = None
) -> Combined:
    """Several loaders as one, with a name for each, in one of Lightning's modes.

    `"min_size"` stops with the shortest; `"max_size_cycle"` stops with the longest, while shorter ones go on into their
    next epochs, each with its own order; `"max_size"` too, with None in place of a loader that has ended;
    `"sequential"` takes one after the other. With `start`, the loaders say which splits are meant, and the snapshot
    where each of them goes on.

    >>> import fdm
    >>> def numbers(upto):
    ...     return {"odd": range(1, upto, 2), "even": range(0, upto, 4)}
    >>> with fdm.open(fdm.pipeline(fdm.load(numbers, upto=10), fdm.batch(2))) as data:
    ...     both = fdm.combine({name: data.loader(name) for name in data.splits}, mode="max_size")
    ...     for step in both:
    ...         print({name: None if batch is None else batch.tolist() for name, batch in step.items()})
    {'odd': [1, 3], 'even': [0, 4]}
    {'odd': [5, 7], 'even': [8]}
    {'odd': [9], 'even': None}

    Raises `DataError` for a mode that is not there, a slice that stops before its epoch does, and a loader without
    steps that would have to cycle; `SnapshotError` for a snapshot of another mode or of other names.
    """
    one_of("combine: mode", mode, DataError, MODES)
    _check_loaders(loaders)
    if start is not None:
        _check_start(start, mode, loaders)
        loaders = {name: _resumed(name, loader, start) for name, loader in loaders.items()}
    ended = frozenset(start.ended if start is not None else ())
    lengths = [0 if name in ended else len(loader) for name, loader in loaders.items()]
    last = _total(mode, lengths)
    if mode == "max_size_cycle" and last:
        _check_cycles(loaders)
    return Combined(mode, MappingProxyType(dict(loaders)), ended, 0, last)


def _total(mode: str, lengths: Sequence[int]) -> int:
    """The number of steps of loaders of these lengths."""
    if mode == "sequential":
        return sum(lengths)
    return min(lengths) if mode == "min_size" else max(lengths)


def _done(mode: str, lengths: Sequence[int], step: int) -> list[int]:
    """How many steps of each loader come before `step`: all there is to say of a mode.

    >>> [_done("sequential", [2, 1], step) for step in range(4)]
    [[0, 0], [1, 0], [2, 0], [2, 1]]
    """
    if mode == "sequential":
        before = accumulate(lengths, initial=0)
        return [min(max(step - first, 0), length) for first, length in zip(before, lengths, strict=False)]
    if mode == "max_size":
        return [min(step, length) for length in lengths]
    return [step] * len(lengths)


def _place(loader: Loader, step: int) -> tuple[Loader, int]:
    """Where a step of a loader that goes on into its next epochs is: the loader of its epoch, and the step in that."""
    if step < len(loader):
        return loader, step
    following = loader.again(epoch=loader.epoch + 1)
    epochs, within_epoch = divmod(step - len(loader), len(following))
    return loader.again(epoch=following.epoch + epochs), within_epoch


def _snapshot(loader: Loader, done: int) -> Snapshot:
    """The place after `done` steps of a loader that goes on into its next epochs."""
    if done <= len(loader):
        return loader.snapshot(done)
    at, step = _place(loader, done)
    return at.snapshot(step)


def _after(loader: Loader, done: int) -> Snapshot:
    """The start of the epoch after the one of the last of `done` steps."""
    if not done:
        return loader.snapshot(0)
    at, _ = _place(loader, done - 1)
    return at.snapshot(len(at))


def _stream(loader: Loader, done: int, read: Callable[[Loader], Iterator[Any]]) -> Generator[Any, None, None]:
    """The batches of a loader from a step on, and those of its next epochs."""
    at, step = _place(loader, done) if done > len(loader) else (loader, done)
    for following in chain([at[step:]], _epochs_after(at)):
        yield from read(following)


def _epochs_after(loader: Loader) -> Iterator[Loader]:
    while True:
        loader = loader.again(epoch=loader.epoch + 1)
        yield loader


def _check_loaders(loaders: Mapping[str, Loader]) -> None:
    if not isinstance(loaders, Mapping) or not loaders:
        msg = f'combine takes a mapping from names to loaders, {{"a": data.loader("a"), ...}}, not {short(loaders, 60)}'
        raise DataError(msg)
    for name, loader in loaders.items():
        if not isinstance(name, str) or not isinstance(loader, Loader):
            msg = f"combine: {name!r} is a {type(loader).__name__}; names are strings, and loaders those of data.loader"
            raise DataError(msg)
        if not loader.ends_epoch:
            msg = (
                f"combine: {name!r} is a slice that stops before its epoch does; combine whole loaders, and slice that"
            )
            raise DataError(msg)


def _check_cycles(loaders: Mapping[str, Loader]) -> None:
    for name, loader in loaders.items():
        if not len(loader) and not len(loader.again(epoch=loader.epoch + 1)):
            msg = f"combine: {name!r} has no steps, so it cannot cycle; leave it out, or use another mode than max_size_cycle"
            raise DataError(msg)


def _check_start(start: object, mode: str, loaders: Mapping[str, Loader]) -> None:
    if not isinstance(start, CombinedSnapshot):
        msg = (
            f"start is a CombinedSnapshot, as combined.snapshot(done) returns it, not a {type(start).__name__}; "
            f"from plain values: CombinedSnapshot.from_dict(...)"
        )
        raise SnapshotError(msg)
    if start.mode != mode:
        msg = f"the snapshot is of mode {start.mode!r}, but {mode!r} was asked for"
        raise SnapshotError(msg)
    if len(start.ended) == len(start.parts) or (start.ended and mode == "min_size"):
        msg = (
            f"the snapshot's ended are {listed(start.ended)} of {listed(start.parts)}, but in mode {mode!r} the next epoch "
            f"begins before that, so nothing would be left of this one"
        )
        raise SnapshotError(msg)
    odd = sorted(start.parts.keys() ^ loaders.keys())
    if odd:
        others = start.parts if odd[0] in loaders else loaders
        msg = (
            f"the snapshot is of the loaders {listed(start.parts)}, but {listed(loaders)} are combined: "
            f"{odd[0]!r} is in one of them only{did_you_mean(odd[0], others)}"
        )
        raise SnapshotError(msg)


def _resumed(name: str, loader: Loader, start: CombinedSnapshot) -> Loader:
    with noted(f"in loader {name!r}"):
        return loader.again(start=start.parts[name])
