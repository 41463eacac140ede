"""Interleaving: one batch of several, whose rows are told where to stand."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .indexing import select
from .packed import Packed
from .packed import joined as packed_joined
from .ragged import Ragged


def interleaved(batches: Sequence[Mapping[str, Any]], places: Sequence[Tensor]) -> dict[str, Any]:
    """The batch that has row i of batch k at `places[k][i]`; the places are all numbers from 0 on, each once.

    Columns are tensors, `Ragged` or `Packed`; they are those of the first batch. Equivalent to the rows of all, sorted
    by their places.

    >>> import torch
    >>> first, second = {"x": torch.tensor([1, 2])}, {"x": torch.tensor([3])}
    >>> interleaved([first, second], [torch.tensor([0, 2]), torch.tensor([1])])
    {'x': tensor([1, 3, 2])}
    """
    if len(batches) == 1:
        return dict(batches[0])
    every = torch.cat(list(places))
    order = torch.empty_like(every).index_copy_(0, every, torch.arange(len(every), device=every.device))
    return {name: _interleaved([batch[name] for batch in batches], order) for name in batches[0]}


def _interleaved(columns: Sequence[Any], order: Tensor) -> Any:
    first = columns[0]
    if isinstance(first, Tensor):  # torch gathers rows several times faster than it puts them in places
        return select(torch.cat(list(columns)), order)
    if isinstance(first, Packed):
        return packed_joined(columns)[order]
    lengths = torch.cat([column.lengths for column in columns])
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return Ragged(torch.cat([column.values for column in columns]), offsets, first.kind)[order]
