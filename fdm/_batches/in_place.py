"""Changes in place: which stage changes the examples that a source keeps, seen at the first batch of opened data."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
from torch import Tensor

from .._arrays.differences import difference
from .._arrays.tree import map_leaves
from .._plans.branch import Branch
from .._plans.rows import Rows
from .._sources.loaded import own
from .draws import Draws


def keeps_examples(source: Any) -> bool:
    """Whether a source hands out the very examples that it keeps, so that who changes one changes the source."""
    return isinstance(own(source), list | tuple | dict)


def watched_examples(operations: Sequence[Any], told: Callable[[int, str], str], draws: Draws) -> list[Any]:
    """The operations, the first of which reads examples: after each of the others some of these are compared with copies.

    The first stage that has changed one is told of: of it what `told` says of its number and the change.
    """
    examples: list[Any] = []
    before: list[Any] = []

    def reading(made: Any, rows: Rows) -> tuple[Any, Rows]:
        read, rows = operations[0].call(made, rows)
        examples[:] = read[:_COMPARED]
        before[:] = [map_leaves(_copied, example) for example in examples]
        return read, rows

    def comparing(operation: Any) -> Callable[[Any, Rows], tuple[Any, Rows]]:
        def run(made: Any, rows: Rows) -> tuple[Any, Rows]:
            result: tuple[Any, Rows] = operation.call(made, rows)
            for one, other in zip(before, examples, strict=True):
                how = difference(one, other)
                if how is not None and operation.number is not None:
                    draws.found[operation.number] = told(operation.number, how)
                    examples.clear()
                    before.clear()
                    break
            return result

        return run

    rest = [attrs.evolve(each, call=comparing(each)) for each in operations[1:]]
    return [attrs.evolve(operations[0], call=reading), *rest]


def text_of_change(branch: Branch, number: int, how: str) -> str:
    """What to tell of a stage that changes the source's own examples."""
    changes = {each.number: each.stage for each in (*branch.on_examples, *branch.on_host)}
    collate = branch.batching[1].collate
    function, kind = (
        (changes[number].function, changes[number].kind) if number in changes else (collate, "batch: collate")
    )
    at = f" {function!r}, defined at {function.location}" if function is not None else ""
    return (
        f"stage {number}, {kind}{at}: changes in place the examples that the source keeps ({how}), so that they are changed "
        f"again in every epoch, and batches cannot be made again; return a new example: {{**item, name: value}} of a dict, "
        f"item.clone() of a tensor"
    )


def _copied(leaf: Any) -> Any:
    """A leaf that is compared by value; an object of another kind is itself, as it may fill in what it is asked for."""
    if isinstance(leaf, Tensor):
        return leaf.detach().clone()
    return leaf.copy() if isinstance(leaf, np.ndarray) and not leaf.dtype.hasobject else leaf


_COMPARED = 16  # examples of the first batch, so that this costs little however large it is
