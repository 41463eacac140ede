"""Passes: iterations over the train batches, in a trainer's fit or by hand, where each begins and how long it is."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from ._cursor import Cursor, Loading, Place, batches_done, begun, following, place
from ._feed import Train
from ._trainer import Hush, has_others, is_fitting, steps_ahead


@attrs.define(eq=False)
class Passes:
    """The passes over the train batches of a datamodule: the cursor of a fit, and the epoch that comes by hand.

    `is_restored` tells that the checkpoint of a fit was asked for its place.
    """

    cursor: Cursor = attrs.field(factory=Cursor)
    by_hand: Place | None = None
    is_restored: bool = False
    _hush: Hush = attrs.field(factory=Hush)
    _reloads: int | None = None
    _is_told_early: bool = False

    def begin_anew(self) -> None:
        """Begin a run: with the epoch that its trainer is in, or by hand with the first."""
        self.cursor, self.by_hand, self.is_restored = Cursor(), None, False

    def restore(self, at: Place) -> None:
        """Go on from there."""
        self.cursor, self.by_hand, self.is_restored = Cursor(at), None, True

    def kept(self) -> "Passes":
        """What another process has to know of them."""
        return Passes(Cursor(place(self.cursor)), self.by_hand)

    def begin(self, train: Callable[[], Train], trainer: Any) -> Callable[[], Loading]:
        """What gives the loader of the pass that begins now."""
        if not is_fitting(trainer):
            loader = train().at(start=self.by_hand or self.cursor.restored)
            return lambda: loader
        self._hush_over(trainer)
        if trainer.overfit_batches:  # the same batches in every epoch
            return train().at
        return partial(self._next, train, trainer)  # where it begins is known when the trainer has read its checkpoint

    def went_on(self, trainer: Any, loader: Loading) -> None:
        """Hear that a pass was more than a look at its first batch."""
        self._hush.end()
        if not is_fitting(trainer):
            self.by_hand = following(loader)

    def steps_of_epoch(self, train: Train, trainer: Any) -> int:
        """The steps of the epoch that comes: in a fit in the trainer's count.

        One that another batch size or number of ranks began has its own number, so the loader is asked for anew after it.
        """
        whole = len(train.at())
        if not is_fitting(trainer):
            return whole
        self._reload_as_before(trainer)
        if self.cursor.restored is None or self.cursor.passes:
            return whole
        progress = trainer.fit_loop.epoch_loop.batch_progress
        done, self._is_told_early = batches_done(progress), not progress.total.ready
        steps = done + len(train.at(start=self.cursor.restored))
        if steps == whole or not done:
            return whole
        self._reloads, trainer.reload_dataloaders_every_n_epochs = trainer.reload_dataloaders_every_n_epochs, 1
        return steps

    def end(self, trainer: Any) -> None:
        """End a run: what was changed for it is as before."""
        self._hush.end()
        self._reload_as_before(trainer)

    def _next(self, train: Callable[[], Train], trainer: Any) -> Loading:
        here, loop = train(), trainer.fit_loop
        epoch, progress = loop.epoch_progress.current.processed, loop.epoch_loop.batch_progress
        self.cursor = begun(
            self.cursor,
            progress,
            steps_ahead(trainer),
            lambda start: here.at(start=start),
            lambda step: here.at(epoch)[step:],
        )
        current = self.cursor.passes[-1]
        if self._is_told_early and current.ready + len(current.loader) != len(here.at()):
            warnings.warn(_OTHER_STEPS, stacklevel=2)
        self._is_told_early = False
        return current.loader

    def _hush_over(self, trainer: Any) -> None:
        """Say nothing of loaders that cannot be resumed, unless there is one."""
        self._hush.end()
        if self.cursor.restored is not None and not self.cursor.passes and not has_others(trainer):
            self._hush.begin()

    def _reload_as_before(self, trainer: Any) -> None:
        if self._reloads is not None:
            trainer.reload_dataloaders_every_n_epochs, self._reloads = self._reloads, None


_OTHER_STEPS = (
    "the checkpoint was written inside an epoch with another batch size or number of ranks, and the Trainer asked for the "
    "number of batches (estimated_stepping_batches does) before it knew that: it may end that epoch early or late; resume "
    "from the end of an epoch"
)
