"""The examples of a split as a torch map-style Dataset, for those who bring their own DataLoader."""

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .._arrays.indexing import row_numbers
from .._batches.operations import example_maker
from .._orders.order import Order
from .._plans.branch import Branch
from .._plans.plan import Rows
from .gate import Gate
from .repeats import Reading


@attrs.frozen(eq=False, repr=False)
class ExampleDataset(Dataset[Any]):
    """The transformed examples of a split in the order of one epoch; made by `data.dataset`."""

    _branch: Branch
    order: Order
    _gate: Gate
    _reading: Reading | None = None

    def __len__(self) -> int:
        return self.order.size

    def __iter__(self) -> Iterator[Any]:
        # Without it Python would ask for one after the other, and take an IndexError of the user's for the end.
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Any:
        return self._examples(row_numbers(operator.index(index), len(self), "dataset").reshape(1))[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """A list of examples, fetched together where the source can."""
        return self._examples(row_numbers(list(indices), len(self), "dataset"))

    def _examples(self, positions: Tensor) -> list[Any]:
        self._gate.check()
        if self._reading is not None:
            self._reading.count(len(positions))
        ids = self.order.at(positions.numpy())
        return example_maker(self._branch)(Rows(torch.from_numpy(np.ascontiguousarray(ids)), positions))

    def __repr__(self) -> str:
        return f"<fdm dataset of {self._branch.where}, {len(self)} examples>"
