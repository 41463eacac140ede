"""Streams: the epochs of a split, one for each pass, for loops that others own."""

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import attrs
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, get_worker_info

from .._checks import integer
from .._errors import DataError, SnapshotError, warn
from .._plans.snapshot import Snapshot
from .._public import public
from .._text import short
from .dataset import ExampleDataset
from .loader import Loader, plan_of


@public
class Stream(DataLoader[Any]):
    """The batches of a split for a loop that others own: each pass over it is the next epoch. Made by `data.stream`.

    A torch DataLoader by its type, so that trainers take it, whose batches are those of `data.loader`: sharded already,
    and where there is a transfer stage on their device. `len` is the number of steps of an epoch. A pass begins with its
    first batch, and whatever was taken of it, the next one is the next epoch.

    `state_dict` is the place after the batches that were handed out: a snapshot's plain values, the same on every rank.
    A loop that takes a batch before it has trained on the one before is ahead of itself then: it counts its own steps, and
    saves `data.loader(split, epoch=epoch).snapshot(steps).to_dict()`. `load_state_dict` goes on there, also inside the epoch: with exactly the
    examples not yet seen. So do trainers that skip the steps of an epoch by their own count.

    >>> import fdm
    >>> def numbers():
    ...     return range(6)
    >>> p = fdm.pipeline(fdm.load(numbers), fdm.batch(2))
    >>> with fdm.open(p) as data:
    ...     stream = data.stream("all")
    ...     for batch in stream:
    ...         break
    ...     state = stream.state_dict()
    >>> with fdm.open(p) as data:
    ...     stream = data.stream("all", start=state)
    ...     [batch.tolist() for batch in stream], stream.epoch
    ([[2, 3], [4, 5]], 1)
    """

    use_stateful_dataloader = True  # Accelerate keeps the state of such loaders,
    _is_accelerate_prepared = True  # and takes those that it has prepared as they are
    end_of_dataloader = False  # whether the batch that is out is the last of its epoch, as Accelerate asks
    remainder = -1  # that it added no examples to the last batch

    def __init__(self, first: Loader, dataset: Callable[..., ExampleDataset], stop: int | None = None) -> None:
        self._first, self._stop = first, None if stop is None else integer("stop", stop, DataError, least=0)
        self._next = first.snapshot(0)
        self._steps = len(first.again(epoch=first.epoch))
        self._out: tuple[_Pass, int] | None = None  # the pass that runs, and how many steps of its epoch are done
        self._loads, self._is_told = 0, self._next.epoch > 0 or self._next.examples > 0
        examples = _Examples(self, dataset)
        # With a generator, torch's own loaders over these steps draw no seed from the global random state.
        super().__init__(examples, batch_sampler=_Steps(self), collate_fn=_only, generator=torch.Generator())
        plan = plan_of(first)
        vars(self)["sampler"] = _Sharded(examples, plan.steps.world_size, plan.rank)
        vars(self)["batch_size"] = plan.steps.size

    @property
    def split(self) -> str:
        """The name of the split."""
        return self._first.split

    @property
    def epoch(self) -> int:
        """The number of the epoch that the next batch is of."""
        return self._place().epoch

    def __len__(self) -> int:
        """The number of steps of this rank in an epoch."""
        return self._steps

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch's own kind is of its own making
        running = self._begun()
        with _active(self):
            for step, batch in enumerate(running.loader, start=running.before + 1):
                self._hand_out(running, step)
                yield batch
        self._end(running)

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be of this epoch: from its start, or where it was to begin inside it already, from there.

        Warns where that goes back behind the place that `start` or `load_state_dict` told.
        """
        epoch = integer("set_epoch: the epoch", epoch, DataError, least=0)
        if epoch == self._next.epoch:
            return
        if epoch < self._next.epoch and self._is_told:
            warn(
                f"set_epoch({epoch}) goes back: the stream of {self.split!r} was told to go on in epoch "
                f"{self._next.epoch}, and gives the batches of epoch {epoch} again; begin the loop over epochs at "
                f"stream.epoch"
            )
        self._next, self._out, self._is_told = self._first.again(epoch=epoch).snapshot(0), None, False

    def state_dict(self) -> dict[str, Any]:
        """The place after the batches that were handed out, as plain values: those of a `Snapshot`."""
        return self._place().to_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on at the place that `state_dict` gave; passes that run end with an error.

        Raises `SnapshotError` for the place of another pipeline or split.
        """
        if not isinstance(state_dict, Mapping):
            msg = f"load_state_dict takes what state_dict gave, a dict, not {short(state_dict, 60)}"
            raise SnapshotError(msg)
        self._next = self._first.again(start=place_of(state_dict)).snapshot(0)
        self._out, self._loads, self._is_told = None, self._loads + 1, True

    def _place(self) -> Snapshot:
        return self._next if self._out is None else self._out[0].snapshot(self._out[1])

    def _begun(self) -> "_Pass":
        """The pass that begins now; the one after it is the next epoch."""
        start = self._next
        loader = self._first.again(start=start)
        if self._stop is not None and start.epoch >= self._stop:
            return _Pass(loader[:0], 0, 0, self._loads)
        self._next = self._first.again(epoch=start.epoch + 1).snapshot(0)
        before = max(0, self._steps - len(loader))
        running = _Pass(loader, before, before + len(loader), self._loads)
        self._out, self._is_told = (running, before), False
        return running

    def _hand_out(self, running: "_Pass", done: int) -> None:
        self._check(running)
        self.end_of_dataloader = done == running.steps
        self._out = None if self.end_of_dataloader else (running, done)

    def _end(self, running: "_Pass") -> None:
        if self._out is not None and self._out[0] is running:
            self._out = None

    def _check(self, running: "_Pass") -> None:
        if running.loads != self._loads:
            msg = (
                f"load_state_dict told the stream of {self.split!r} to go on elsewhere while a loop went over it; "
                f"begin a new pass: `for batch in stream`"
            )
            raise SnapshotError(msg)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        msg = (
            f"the stream of {self.split!r} belongs to the process and the rank that opened the data, and is not copied; "
            f"in another process open the pipeline there, and give its state: "
            f"data.stream({self.split!r}, start=stream.state_dict())"
        )
        raise DataError(msg)

    def __repr__(self) -> str:
        place = self._place()
        return f"<fdm.Stream of {self.split!r}, {len(self)} steps an epoch, at epoch {place.epoch}>"


def place_of(start: Any) -> Snapshot:
    """A place that is given as a snapshot, or as the plain values of one."""
    return Snapshot.from_dict(start) if isinstance(start, Mapping) else start


@attrs.define(eq=False)
class _Pass:
    """A pass: the loader of what comes of its epoch, how many steps come `before` that, and how many there are in all.

    `loads` is how many places the stream had been told when it began.
    """

    loader: Loader
    before: int
    steps: int
    loads: int
    _running: tuple[int, Iterator[Any]] | None = attrs.field(default=None, init=False)

    def snapshot(self, done: int) -> Snapshot:
        """The place after so many steps of the epoch."""
        if done < self.before:
            return self.loader.again(epoch=self.loader.epoch).snapshot(done)
        return self.loader.snapshot(done - self.before)

    def batch(self, step: int) -> Any:
        """The batch of a step of the epoch; those of steps one after the other are made ahead, as the loader makes them."""
        if self._running is None or self._running[0] != step:
            self._running = step, self._from(step)
        batches = self._running[1]
        batch = next(batches)
        self._running = step + 1, batches
        if step + 1 == self.steps:
            next(batches, None)  # which ends it
        return batch

    def _from(self, step: int) -> Iterator[Any]:
        if step < self.before:  # a loop that skips fewer steps than were done when the place was kept
            return iter(self.loader.again(epoch=self.loader.epoch)[step:])
        return iter(self.loader[step - self.before :])


@attrs.frozen(eq=False)
class _Step:
    """A step of the epoch of a pass, as samplers give it."""

    running: _Pass
    number: int


class _Steps:
    """The steps of an epoch as a batch sampler has them, which trainers skip by a count of their own.

    They are all steps of the epoch, also where the stream goes on inside it: so the count means the same there.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __len__(self) -> int:
        return len(self._stream)

    def __iter__(self) -> Iterator[list[_Step]]:
        stream = self._stream
        running = stream._begun()  # noqa: SLF001 - of this very module
        with _active(stream):
            for number in range(running.steps):
                yield [_Step(running, number)]
        stream._end(running)  # noqa: SLF001 - likewise

    def set_epoch(self, epoch: int) -> None:
        """As the stream's: trainers that skip steps know its sampler alone."""
        self._stream.set_epoch(epoch)


class _Sharded(DistributedSampler[Any]):
    """What tells trainers that the stream is sharded already. The epoch they tell it, as Fabric counts it from 0, is not meant."""

    def __init__(self, dataset: Dataset[Any], world_size: int, rank: int) -> None:
        super().__init__(dataset, num_replicas=world_size, rank=rank, shuffle=False)

    def __iter__(self) -> NoReturn:
        msg = "a stream is sharded already and makes its own batches: iterate over the stream, not over its sampler"
        raise DataError(msg)

    def set_epoch(self, epoch: int) -> None:
        """Leave the epoch to the stream, of which each pass is the next one."""


class _Examples(Dataset[Any]):
    """The examples of the epoch that a stream is in, by number; and the batch of a step, as its sampler gives them."""

    def __init__(self, stream: Stream, dataset: Callable[..., ExampleDataset]) -> None:
        self._stream, self._dataset = stream, dataset
        self._size = len(dataset(epoch=0))

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: Any) -> Any:
        return self._batch(index) if isinstance(index, _Step) else self._dataset(epoch=self._stream.epoch)[index]

    def __getitems__(self, indices: Sequence[Any]) -> list[Any]:
        """Several of them."""
        if any(isinstance(index, _Step) for index in indices):
            return [self[index] for index in indices]
        return self._dataset(epoch=self._stream.epoch).__getitems__(indices)

    def _batch(self, step: _Step) -> Any:
        if get_worker_info() is not None:
            msg = "a stream makes its batches itself: let DataLoaders over its steps have num_workers=0, and give workers to fdm.open(p, workers=4)"
            raise DataError(msg)
        batch = step.running.batch(step.number)
        self._stream._hand_out(step.running, step.number + 1)  # noqa: SLF001 - of this very module
        return batch


def _only(batches: list[Any]) -> Any:
    (batch,) = batches
    return batch


@contextmanager
def _active(stream: Stream) -> Generator[None, None, None]:
    """While the batches of a pass are handed out, Accelerate knows whether one is the last, where it accumulates gradients."""
    known: Any = getattr(sys.modules.get("accelerate.state"), "GradientState", None)
    state = known() if known is not None and known._shared_state else None  # noqa: SLF001 - it has no other way to tell
    try:
        if state is not None:
            state._add_dataloader(stream)  # noqa: SLF001 - likewise
        yield
    finally:
        stream.end_of_dataloader = False
        if state is not None:
            state._remove_dataloader(stream)  # noqa: SLF001 - likewise
