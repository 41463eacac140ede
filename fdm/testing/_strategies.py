"""Strategies: what Hypothesis draws to state laws about pipelines; the only module that needs it."""

from collections.abc import Mapping
from typing import Any

import hypothesis.strategies as st

from .._arrays.table import Table
from .._data import Data
from .._errors import DataError
from .._pipeline import Pipeline, pipeline
from .._plans.snapshot import Snapshot
from .._ranks.context import RankContext
from .._stages.constructors import alias, augment, batch, fold, load, sample, shuffle, split, take, transfer, transform
from .._stages.stage import Change
from ._examples import doubled, example_table, jittered, shifted


@st.composite
def contexts(draw: st.DrawFn, max_world_size: int = 8) -> RankContext:
    """Rank contexts of up to `max_world_size` ranks, on machines of equal size, on the CPU."""
    local_world_size = draw(st.integers(1, max_world_size))
    world_size = local_world_size * draw(st.integers(1, max_world_size // local_world_size))
    rank = draw(st.integers(0, world_size - 1))
    return RankContext(rank, world_size, rank % local_world_size, local_world_size)


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


@st.composite
def snapshots(draw: st.DrawFn, data: Data | None = None, split: str | None = None, max_epoch: int = 5) -> Snapshot:
    """Snapshots: places in the order of a split of opened data, which its loaders can start from, or of no pipeline.

    With `data`, after any step of an epoch from 0 to `max_epoch` of `split` (default: any split that has steps).
    Without, any values that a snapshot can hold, for what saves and reads them.

    Raises `DataError` for data without a split that has steps.
    """
    if data is None:
        stages = st.lists(st.text(max_size=20), max_size=5).map(tuple)
        code = st.text("0123456789abcdef", min_size=32, max_size=32)
        name = st.just(split) if split is not None else st.text(min_size=1, max_size=10)
        counts = draw(st.integers(0, max_epoch)), draw(st.integers(0, 2**40))
        return Snapshot(draw(code), draw(name), *counts, draw(stages))
    names = [name for name in ([split] if split is not None else data.splits) if len(data.loader(name))]
    if not names:
        of = "any split" if split is None else f"split {split!r}"
        msg = f"snapshots: {data!r} has no steps of {of}, where a snapshot could stand"
        raise DataError(msg)
    loader = data.loader(draw(st.sampled_from(names)), epoch=draw(st.integers(0, max_epoch)))
    return loader.snapshot(draw(st.integers(0, len(loader))))


@st.composite
def pipelines(draw: st.DrawFn, max_rows: int = 60) -> Pipeline:
    """Whole pipelines from `load` to `transfer` over a table of up to `max_rows` rows.

    With splits of all kinds, nested ones, folds, aliases, order stages for all or some splits, block shuffles among them,
    transforms and augments at every place, and a batch stage. Batches have the entries of `example_table`, and `id`.
    """
    n = draw(st.integers(1, max_rows))
    made = [load(example_table, n=n, classes=draw(st.integers(1, 4)))]
    cut, names = draw(_cuts(n))
    where = st.lists(st.sampled_from(names), min_size=1, unique=True)
    order = draw(st.lists(_order_stages(), max_size=3))
    limited = [stage.on(*draw(where)) if draw(st.booleans()) else stage for stage in order]
    changes: st.SearchStrategy[list[Change]] = st.lists(
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
        st.builds(shuffle, block=st.integers(1, 4), window=st.sampled_from([2, 4]), seed=st.none() | st.integers(0, 9)),
        st.builds(take, st.integers(0, 50) | st.sampled_from([0.3, 0.5, 1.0])),
        st.builds(sample, st.just("weight"), seed=st.none() | st.integers(0, 9)),
    )
