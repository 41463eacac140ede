"""Feeds: what a trainer iterates over. It gets host batches, and brings them to the device itself."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from .._data import Data
from .._errors import DataError, SnapshotError, listed
from .._loaders.combine import combine
from .._loaders.loader import Loader
from .._plans.snapshot import Snapshot
from ._cursor import Loading, Place
from ._underway import Asked, Finish, Handed, Path, Underway


@attrs.frozen(eq=False, repr=False)
class Feed:
    """The batches of `splits` for a trainer, up to the transfer, in `length` steps.

    `begin` is asked when an iteration begins, and what it returns, the loader, when the first batch is. `went_on` hears
    of a loader that somebody did more with than look at its first batch. What is to be done after the transfer waits in
    `underway`, where somebody does it, under the number of the batch that a trainer `asks` for now, or that it `has_asked`
    for and works with; the example ids of the batches are noted in `seen`, where somebody asks.
    `batch_sampler` is where Lightning looks for them.
    """

    splits: tuple[str, ...]
    length: int
    begin: Callable[[], Callable[[], Loading]]
    went_on: Callable[[Loading], None] = lambda _: None
    underway: Underway | None = None
    asks: Callable[[], Asked | None] = lambda: None
    has_asked: Callable[[], Asked | None] = lambda: None
    seen: list[list[int]] | None = None
    batch_sampler: Any = None

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return self._batches(self.begin())

    def _batches(self, loader_of: Callable[[], Loading]) -> Iterator[Any]:
        loader = loader_of()
        if self.seen is not None:
            self.seen.clear()
        for step, batch in enumerate(self._handed_out(loader)):
            if step == 1:
                self.went_on(loader)
            if self.seen is not None and isinstance(loader, Loader):
                self.seen.append(loader.indices(step).tolist())
            yield batch
        if len(loader) < 2:
            self.went_on(loader)

    def _handed_out(self, loader: Loading) -> Iterator[Any]:
        handed: list[Handed] = []
        try:
            for batch, finishes in on_host(loader):
                _are_older(handed)
                if self.underway is not None:
                    handed = self.underway.put(batch, finishes, self, self.asks())
                yield batch
        except GeneratorExit:
            if self.has_asked() is None:  # somebody only looked
                for one in handed:
                    one.asked = None
            raise
        finally:
            _are_older(handed)

    def __repr__(self) -> str:
        return f"<fdm batches of {listed(self.splits)}, {self.length} steps>"


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


def on_host(loader: Loading) -> Iterator[tuple[Any, dict[Path, Finish]]]:
    """The batches of a loader before the transfer, each with what comes after it, by where in it that is to be done."""
    if isinstance(loader, Loader):
        for batch, finish in loader.on_host():
            yield batch, {(): finish}
        return
    for step in loader.on_host():
        batches = {name: batch for name, (batch, _) in step.items()}
        yield batches, {(name,): finish for name, (_, finish) in step.items()}


def _are_older(handed: list[Handed]) -> None:
    for one in handed:
        one.is_newest = False


def _check_splits(splits: tuple[str, ...], start: Place | None) -> None:
    if start is None:
        return
    theirs = {start.split} if isinstance(start, Snapshot) else set(start.parts)
    if theirs != set(splits):
        msg = f"the checkpoint is of the train splits {listed(theirs)}, but this datamodule trains on {listed(splits)}"
        raise SnapshotError(msg)
