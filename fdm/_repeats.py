"""Repeats: whether somebody goes again over an epoch that nobody named, of a split that changes with the epoch."""

from collections.abc import Generator, Iterator
from typing import Any

import attrs

from ._errors import warn


@attrs.define(eq=False)
class Repeats:
    """The passes over the examples of `split` in the epoch that one gets without a word.

    To go over them again gives the same order and the same augmentation, which is seldom what was meant.
    """

    split: str
    _begun: set[int] = attrs.field(factory=set, init=False)
    _read: int = attrs.field(default=0, init=False)
    _is_told: bool = attrs.field(default=False, init=False)

    def watched(self, batches: Iterator[Any], first: int) -> Generator[Any, None, None]:
        """The batches from step `first` on; who asks for more than one of them goes over the epoch, and does not just look."""
        try:
            batch = next(batches, _END)
            if batch is not _END:
                yield batch
            if first in self._begun:
                self._tell(f"data.loader({self.split!r})")
            self._begun.add(first)
            yield from batches
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    def count(self, examples: int, size: int) -> None:
        """Note that some examples of a dataset of this size were read one by one."""
        self._read += examples
        if self._read > size:
            self._tell(f"data.dataset({self.split!r})")

    def _tell(self, made_by: str) -> None:
        if not self._is_told:
            self._is_told = True
            call = made_by.removesuffix(")")
            warn(
                f"{made_by} gives epoch 0 again: the same order and the same augmentation as the pass before. For another "
                f"one say which: `for train in data.epochs({self.split!r}, 10):`, or {call}, epoch=epoch); where the same "
                f"is meant, {call}, epoch=0)"
            )


_END: Any = object()
