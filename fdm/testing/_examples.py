"""Toys: a small table, functions for stages, and the ranks of a world, for examples and tests."""

from typing import Any

import torch
from torch import Tensor

from .._arrays.ragged import Ragged
from .._arrays.table import Table
from .._random.key import Key
from .._ranks.context import RankContext


def every_rank(world_size: int) -> list[RankContext]:
    """The contexts of all ranks of a world on one machine, on the CPU.

    >>> [context.rank for context in every_rank(3)]
    [0, 1, 2]
    """
    return [RankContext(rank, world_size, rank, world_size) for rank in range(world_size)]


def example_table(n: int, classes: int = 3) -> Table:
    """A table of `n` rows with their own number, a class, a group, a key, a weight and some text.

    >>> example_table(5, classes=2)["label"]
    tensor([0, 1, 0, 1, 0])
    """
    row = torch.arange(n)
    return Table(
        {
            "row": row,
            "label": row % classes,
            "group": row // 3,
            "weight": (row % 4).float() + 0.5,
            "text": Ragged.of([f"{number:x}" for number in range(n)]) if n else torch.empty(0),
        }
    )


def doubled(example: dict[str, Any]) -> dict[str, Any]:
    """An entry `double` beside the others: a transform for one example or a whole batch."""
    return {**example, "double": example["row"] * 2}


def shifted(item: dict[str, Any], *, by: int) -> dict[str, Tensor]:
    """An entry `shifted` beside the others: a transform with a parameter."""
    return {**item, "shifted": item["row"] + by}


def jittered(item: dict[str, Any], key: Key, *, most: int = 9) -> dict[str, Any]:
    """Entries `jitter` and `noise` beside the others: an augment for one example or a whole batch."""
    return {**item, "jitter": item["row"] + key.randint(0, most + 1), "noise": key.normal(2)}
