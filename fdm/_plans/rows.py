"""Rows: which examples a batch has, and where in an epoch they stand."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Rows(NamedTuple):  # made once a batch, and several times faster than a frozen record
    """The examples of a batch: their ids, int64, and where in the order of the epoch they stand, or the first of them.

    Of a mixture, `draws` says which draw of its part each is. Where a part of one is read, `passes` says which epoch of
    the part each is from. By length, `edge` is the length that all examples of the step are padded to.
    """

    ids: Tensor
    at: Tensor | int
    draws: Tensor | None = None
    passes: Tensor | None = None
    edge: int | None = None

    @property
    def positions(self) -> Tensor:
        """The positions in the order of the epoch, int64."""
        return self.at if isinstance(self.at, Tensor) else torch.arange(self.at, self.at + len(self.ids), device="cpu")

    def chosen(self, places: Tensor) -> "Rows":
        """The rows at some of its places, in their order."""
        draws, passes = (None if each is None else each[places] for each in (self.draws, self.passes))
        return Rows(self.ids[places], self.positions[places], draws, passes, self.edge)

    def pieces(self, count: int) -> "list[Rows]":
        """The rows in so many pieces, one after the other, as even as can be."""
        return [self.chosen(places) for places in torch.arange(len(self.ids), device="cpu").tensor_split(count)]


def as_arrays(rows: Rows) -> tuple[Any, ...]:
    """Rows as a pipe takes them: arrays, which travel as their bytes, and numbers."""
    return tuple(each.numpy() if isinstance(each, Tensor) else each for each in rows)


def from_arrays(arrays: tuple[Any, ...]) -> Rows:
    """The rows that `as_arrays` made plain."""
    fields: Any = (torch.from_numpy(each) if isinstance(each, np.ndarray) else each for each in arrays)
    return Rows(*fields)
