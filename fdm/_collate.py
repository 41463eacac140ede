"""Collating: the batch of a list of examples."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data._utils.collate import collate as torch_collate
from torch.utils.data._utils.collate import collate_tensor_fn, default_collate_fn_map

from ._ragged import Ragged


def collate(found: Sequence[Any], ragged: Mapping[str, Ragged]) -> Any:
    """A batch of examples as torch collates them, but for rows of `ragged` columns, which become `Ragged`."""
    first = found[0]
    names = {name for name, column in ragged.items() if isinstance(first, dict) and _is_row(first.get(name), column)}
    if not names:
        return _collated(found)
    rows = {name: Ragged.of([example[name] for example in found]) for name in names}
    rest = [{name: value for name, value in example.items() if name not in names} for example in found]
    others = _collated(rest) if rest[0] else {}
    return {name: rows[name] if name in rows else others[name] for name in first}


def _collated(found: Sequence[Any]) -> Any:
    """As `torch.utils.data.default_collate`, with memory of this process also in a worker, whose stages may go on."""
    kinds = dict(default_collate_fn_map)
    if kinds.get(Tensor) is collate_tensor_fn:
        kinds[Tensor] = _stacked
    return torch_collate(list(found), collate_fn_map=kinds)


def _stacked(batch: Sequence[Tensor], *, collate_fn_map: Any = None) -> Tensor:
    first = batch[0]
    if first.is_nested or first.layout is not torch.strided:
        collate_tensor_fn(batch, collate_fn_map=collate_fn_map)  # which refuses them
    return torch.stack(list(batch))


def _is_row(value: Any, column: Ragged) -> bool:
    """Whether a value can still be a row of a column: one that a stage has decoded, from bytes to pixels say, cannot."""
    if column.kind == "tensor":
        return isinstance(value, Tensor) and value.ndim == column.values.ndim
    return isinstance(value, bytes if column.kind == "bytes" else str)
