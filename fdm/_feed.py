"""Feeds: what a trainer iterates over. It gets host batches, and brings them to the device itself."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import attrs

from ._combine import Combined, combine
from ._cursor import Loading, Place
from ._data import Data
from ._errors import DataError, SnapshotError, listed
from ._loader import Loader
from ._snapshot import Snapshot


Finish: TypeAlias = Callable[[Any], Any]
"""What does the stages after the transfer to the batch that it came with."""


@attrs.frozen(eq=False)
class Feed:
    """The batches of a split for a trainer, up to the transfer, from wherever `begin` says when the first is asked for.

    What is to be done after the transfer waits in `waiting`, in the order of the batches, where somebody does it; the
    example ids of the batches are noted in `seen`, where somebody asks. `batch_sampler` is where Lightning looks for them.
    """

    begin: Callable[[], Loading]
    length: int
    waiting: "deque[Finish] | None" = None
    seen: list[list[int]] | None = None
    batch_sampler: Any = None

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        loader = self.begin()
        if self.waiting is not None:
            self.waiting.clear()  # what an iteration that was given up left
        if self.seen is not None:
            self.seen.clear()
        for step, (batch, finish) in enumerate(on_host(loader)):
            if self.waiting is not None:
                self.waiting.append(finish)
            if self.seen is not None and isinstance(loader, Loader):
                self.seen.append(loader.indices(step).tolist())
            yield batch


@attrs.frozen(eq=False)
class Train:
    """The train split of opened data, or several side by side, of which shorter ones go on into their next epochs."""

    data: Data
    splits: tuple[str, ...]

    def at(self, epoch: int = 0, start: Place | None = None) -> Loading:
        """The loader of an epoch, or from a place, which brings its own epoch."""
        _check_splits(self.splits, start)
        if len(self.splits) == 1 and not isinstance(start, Snapshot):
            return self.data.loader(self.splits[0], epoch)
        if isinstance(start, Snapshot):
            return self.data.loader(self.splits[0], start=start)
        loaders = {name: self.data.loader(name, epoch) for name in self.splits}
        return combine(loaders, mode=TRAIN_MODE, start=start)

    def check_even(self) -> None:
        """Raise `DataError`, on all ranks, if some of them would have no batch, and the others wait for them."""
        for name in self.splits:
            loader, world_size = self.data.loader(name, epoch=0), self.data.context.world_size
            if not loader.is_even:
                msg = f"split {name!r} has fewer examples than there are ranks ({world_size}), so some could not train"
                raise DataError(msg)


TRAIN_MODE = "max_size_cycle"
"""How Lightning puts several train loaders together, unless it is told otherwise."""


def on_host(loader: Loading) -> Iterator[tuple[Any, Finish]]:
    """The batches of a loader before the transfer, each with what comes after it."""
    return loader.on_host() if isinstance(loader, Loader) else _on_host(loader)


def _on_host(loader: Combined) -> Iterator[tuple[Any, Finish]]:
    for step in loader.on_host():
        batches = {name: batch for name, (batch, _) in step.items()}
        yield batches, partial(_each, {name: finish for name, (_, finish) in step.items()})


def _each(finishes: Mapping[str, Finish], batches: Mapping[str, Any]) -> dict[str, Any]:
    return {name: finish(batches[name]) for name, finish in finishes.items()}


def _check_splits(splits: tuple[str, ...], start: Place | None) -> None:
    if start is None:
        return
    theirs = {start.split} if isinstance(start, Snapshot) else set(start.parts)
    if theirs != set(splits):
        msg = f"the checkpoint is of the train splits {listed(theirs)}, but this datamodule trains on {listed(splits)}"
        raise SnapshotError(msg)
