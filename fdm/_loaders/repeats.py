"""Repeats: whether somebody goes again over an epoch that nobody named, of a split that changes with the epoch."""

from collections.abc import Generator, Iterator
from typing import Any

import attrs

from .._errors import warn


@attrs.define(eq=False)
class Repeats:
    """The passes over the examples of `split` in the epoch that one gets without a word.

    To go over them again gives the same order and the same augmentation, which is seldom what was meant.
    """

    split: str
    _begun: set[int] = attrs.field(factory=set, init=False)
    _is_read: bool = attrs.field(default=False, init=False)
    _is_told: bool = attrs.field(default=False, init=False)

    def watched(self, batches: Iterator[Any], first: int) -> Generator[Any, None, None]:
        """The batches from step `first` on; who asks for more than one of them goes over the epoch, and does not just look."""
        try:
            batch = next(batches, _END)
            if batch is not _END:
                yield batch
            if first in self._begun:
                self.tell(f"data.loader({self.split!r})", f"data.stream({self.split!r})")
            self._begun.add(first)
            yield from batches
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    def read_whole(self) -> None:
        """Note that all examples of a dataset were read, or more than all."""
        if self._is_read:
            self.tell(f"data.dataset({self.split!r})", "a dataset whose set_epoch(epoch) it calls")
        self._is_read = True

    def tell(self, made_by: str, for_others: str) -> None:
        """Warn, once, that what `made_by` gives is the epoch that was there before, and what loops of others are given."""
        if not self._is_told:
            self._is_told = True
            call = made_by.removesuffix(")")
            warn(
                f"{made_by} gives epoch 0 again: the same order and the same augmentation as the pass before. For another "
                f"one say which: `for train in data.epochs({self.split!r}, 10):`, or {call}, epoch=epoch); where the same "
                f"is meant, {call}, epoch=0). A loop that goes over one object for each epoch is given "
                f"{for_others}"
            )


@attrs.define(eq=False)
class Reading:
    """How many examples of a dataset of `size` were read, one by one."""

    repeats: Repeats
    size: int
    _read: int = attrs.field(default=0, init=False)

    def count(self, examples: int) -> None:
        """Note that some more were read; who reads more than all of them goes over the epoch again."""
        before, self._read = self._read, self._read + examples
        for _ in range((before < self.size <= self._read) + (before <= self.size < self._read)):
            self.repeats.read_whole()


_END: Any = object()
