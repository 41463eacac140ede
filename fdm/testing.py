"""Hypothesis strategies for contexts, sizes, tables and whole pipelines, to state laws about one's own."""

from collections.abc import Mapping
from typing import Any

import hypothesis.strategies as st
import torch
from torch import Tensor

from ._construct import alias, augment, batch, fold, load, sample, shuffle, split, take, transfer, transform
from ._context import RankContext
from ._key import Key
from ._pipeline import Pipeline, pipeline
from ._ragged import Ragged
from ._stage import Augment, Transform
from ._table import Table


@st.composite
def contexts(draw: st.DrawFn, max_world_size: int = 8) -> RankContext:
    """Rank contexts of up to `max_world_size` ranks, on machines of equal size, on the CPU."""
    local_world_size = draw(st.integers(1, max_world_size))
    world_size = local_world_size * draw(st.integers(1, max_world_size // local_world_size))
    rank = draw(st.integers(0, world_size - 1))
    return RankContext(rank, world_size, rank % local_world_size, local_world_size)


def every_rank(world_size: int) -> list[RankContext]:
    """The contexts of all ranks of a world on one machine, on the CPU.

    >>> [context.rank for context in every_rank(3)]
    [0, 1, 2]
    """
    return [RankContext(rank, world_size, rank, world_size) for rank in range(world_size)]


@st.composite
def sizes(draw: st.DrawFn, n: int) -> Mapping[str, int | float | None]:
    """Sizes for `split` that account for all of `n` examples: counts, tenths, and in most cases a rest."""
    names = draw(st.lists(st.sampled_from(["train", "val", "test", "extra"]), min_size=1, max_size=4, unique=True))
    if draw(st.booleans()):
        cuts = sorted(draw(st.lists(st.integers(0, n), min_size=len(names) - 1, max_size=len(names) - 1)))
        return {name: high - low for name, low, high in zip(names, [0, *cuts], [*cuts, n], strict=True)}
    tenths = sorted(draw(st.lists(st.integers(0, 10), min_size=len(names) - 1, max_size=len(names) - 1)))
    fractions = [(high - low) / 10 for low, high in zip([0, *tenths], tenths, strict=False)]
    return {**dict(zip(names, fractions, strict=False)), names[-1]: None}


@st.composite
def tables(draw: st.DrawFn, max_rows: int = 40) -> Table:
    """Tables as `example_table` makes them, of 1 to `max_rows` rows."""
    return example_table(draw(st.integers(1, max_rows)), draw(st.integers(1, 5)))


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


@st.composite
def pipelines(draw: st.DrawFn, max_rows: int = 60) -> Pipeline:
    """Whole pipelines from `load` to `transfer` over a table of up to `max_rows` rows.

    With splits of all kinds, nested ones, folds, aliases, order stages for all or some splits, transforms and augments
    at every place, and a batch stage. Batches have the entries of `example_table`, and `id`.
    """
    n = draw(st.integers(1, max_rows))
    made = [load(example_table, n=n, classes=draw(st.integers(1, 4)))]
    cut, names = draw(_cuts(n))
    where = st.lists(st.sampled_from(names), min_size=1, unique=True)
    order = draw(st.lists(_order_stages(), max_size=3))
    limited = [stage.on(*draw(where)) if draw(st.booleans()) else stage for stage in order]
    changes: st.SearchStrategy[list[Transform | Augment]] = st.lists(
        st.sampled_from([transform(doubled), transform(shifted, by=3), augment(jittered), augment(jittered, most=3)]),
        max_size=2,
    )
    size = batch(draw(st.integers(1, 9)), drop_last=draw(st.booleans()), ids="id")
    before, between, after = draw(changes), draw(changes), draw(changes)
    seed = draw(st.integers(0, 99))
    return pipeline(*made, *cut, *limited, *before, size, *between, transfer(), *after, seed=seed)


@st.composite
def _cuts(draw: st.DrawFn, n: int) -> tuple[list[Any], list[str]]:
    """Split stages for one source of `n` examples, and the names of the splits that they make."""
    seed = draw(st.integers(0, 99))
    kind = draw(st.sampled_from(["none", "sizes", "in order", "stratify", "groups", "key", "nested", "fold"]))
    if kind == "none":
        return [], ["all"]
    if kind == "fold" and n >= 3:
        return [fold(3, draw(st.integers(0, 2)), seed=seed)], ["train", "val"]
    if kind == "key":
        return [split({"train": 0.7, "val": None}, key="row", seed=seed)], ["train", "val"]
    into = draw(sizes(n))
    stratify = "label" if kind == "stratify" else None
    groups = "group" if kind == "groups" else None
    first = split(into, seed=seed, shuffle=kind != "in order", stratify=stratify, groups=groups)
    name = next(iter(into))
    if kind == "nested":
        second = split({"inner": 0.5, "outer": None}, of=name, seed=seed)
        return [first, second], ["inner", "outer", *[other for other in into if other != name]]
    return ([first, alias(predict=name)], [*into, "predict"]) if draw(st.booleans()) else ([first], list(into))


def _order_stages() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(shuffle, seed=st.none() | st.integers(0, 9)),
        st.builds(take, st.integers(0, 50) | st.sampled_from([0.3, 0.5, 1.0])),
        st.builds(sample, st.just("weight"), seed=st.none() | st.integers(0, 9)),
    )
