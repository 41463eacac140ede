"""Class balance: how many examples of each class a split has, where that costs little to know."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._arrays.table import Table
from ._pipeline import Pipeline
from ._plans.order import written_out
from ._plans.splits import Examples
from ._prepare.prepare import Prepared
from ._stages.stage import Fold, Split, Stage


def class_balance(p: Pipeline, prepared: Prepared) -> dict[str, dict[str, int]]:
    """The number of examples of each class, for the splits that are stratified by a column or have a column `label`.

    Only integers in a table's column count as classes, up to 64 of them, in splits of up to a million examples: all
    else would take long to count or to read. What is left out is not in the result.
    """
    found: dict[str, dict[str, int]] = {}
    for name, examples in prepared.splits.items():
        column = _column(examples, prepared.sources[examples.source], p.stages)
        if column is not None:
            counts = _counts(column, examples)
            found |= {name: counts} if 0 < len(counts) <= _CLASSES else {}
    return found


def _column(examples: Examples, source: Any, stages: Sequence[Stage]) -> Tensor | None:
    if not isinstance(source, Table) or not 0 < examples.order.size <= _EXAMPLES:
        return None
    made_by = [stages[number] for number in reversed(examples.lineage)]
    by = [stage.stratify for stage in made_by if isinstance(stage, Split | Fold) and isinstance(stage.stratify, str)]
    name = next((name for name in [*by, "label"] if name in source), None)
    column = source[name] if name is not None else None
    is_class = isinstance(column, Tensor) and column.ndim == 1 and column.dtype in _INTEGERS
    return column if is_class and isinstance(column, Tensor) else None


def _counts(column: Tensor, examples: Examples) -> dict[str, int]:
    values, counts = np.unique(column.numpy()[written_out(examples.order)], return_counts=True)
    return dict(zip(map(str, values.tolist()), counts.tolist(), strict=True)) if len(values) <= _CLASSES else {}


_EXAMPLES, _CLASSES = 1_000_000, 64
_INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
