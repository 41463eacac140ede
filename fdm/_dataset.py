"""The examples of a split as a torch map-style Dataset, for those who bring their own DataLoader."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch.utils.data import Dataset

from ._assemble import Assembly, example_maker
from ._order import Order


@attrs.frozen(eq=False, repr=False)
class ExampleDataset(Dataset[Any]):
    """The transformed examples of a split in the order of one epoch; made by `data.dataset`."""

    _assembly: Assembly
    _order: Order
    _check_open: Callable[[], None]

    def __len__(self) -> int:
        return self._order.size

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """A list of examples, fetched together where the source can."""
        self._check_open()
        positions = np.asarray(indices, dtype=np.int64)
        if len(positions) and not (-len(self) <= positions.min() and positions.max() < len(self)):
            msg = f"examples {indices} of a dataset of {len(self)}"
            raise IndexError(msg)
        ids = self._order.at(positions % max(1, len(self)))
        return example_maker(self._assembly)(torch.from_numpy(np.ascontiguousarray(ids)))

    def __repr__(self) -> str:
        return f"<fdm dataset of {self._assembly.place}, {len(self)} examples>"
