"""Simulation: a run of any number of ranks laid out in one process, from arithmetic alone."""

import json
from collections.abc import Iterable
from math import prod
from typing import Any

import attrs
import numpy as np
from torch import Tensor

from .._arrays.table import Table
from .._data import branches_of
from .._errors import DataError
from .._executor import Executor, check_options
from .._loaders.loader import plan_of
from .._orders.order import Order
from .._pipeline import Pipeline
from .._plans.plan import steps_of
from .._plans.steps import Steps
from .._ranks.context import RankContext
from .._text import aligned


@attrs.frozen
class World:
    """How an epoch of a split falls to the ranks of a world.

    `steps` are those of each rank; `least` and `most` are how many examples a rank has, of which `data_bytes` is the
    size at most, where the source's columns tell; `idle` ranks have none. `is_exact`: each example that is not dropped
    is in one piece of one step, and no other. `order_bytes` is what the order takes on each rank, and `state_bytes` a
    snapshot.
    """

    world_size: int
    steps: int
    global_batch: int
    least: int
    most: int
    idle: int
    dropped: int
    is_exact: bool
    order_bytes: int
    data_bytes: int | None
    state_bytes: int


@attrs.frozen
class Simulation:
    """The worlds of a simulation of `examples` examples of `split`; `str` shows them as a table."""

    split: str
    examples: int
    worlds: tuple[World, ...]

    def to_dict(self) -> dict[str, Any]:
        """The simulation as plain JSON values."""
        return attrs.asdict(self)

    def __str__(self) -> str:
        rows = [[_shown(value) for value in attrs.astuple(world)] for world in self.worlds]
        head = [field.name.removeprefix("is_").replace("_", " ") for field in attrs.fields(World)]
        return "\n".join([f"{self.examples:,} examples of {self.split!r}", *aligned([head, *rows], indent="")])


def simulate(
    p: Pipeline, split: str, world_sizes: Iterable[int] = (1, 8, 64, 1024, 16384), /, **options: Any
) -> Simulation:
    """Lay out an epoch of `split` for every rank of worlds of these sizes: coverage, balance, and bytes on each rank.

    Costs memory and time by the number of ranks, whatever the number of examples: a source of 10^10 may be a `range`.
    `options` are an Executor's. Raises `UnknownNameError` for a split that is not there, and `DataError` for a pipeline
    without a batch stage, or a batch across the world that is smaller than a world.

    >>> import fdm
    >>> def numbers(n):
    ...     return range(n)
    >>> p = fdm.pipeline(fdm.load(numbers, n=10**9), fdm.shuffle(), fdm.batch(32))
    >>> worlds = simulate(p, "all", (1, 16384)).worlds
    >>> [(world.steps, world.least, world.most, world.is_exact, world.order_bytes) for world in worlds]
    [(31250000, 1000000000, 1000000000, True, 0), (1908, 61035, 61036, True, 0)]
    """
    check_options("simulate", options, without=["context"])
    # One rank alone: the other ranks of this process's own group, if it has one, need not take part.
    with Executor(context=RankContext(), **options).open(p) as data:
        loader = data.loader(split)
        branch = branches_of(data)[split]
        row_bytes, order = _row_bytes(branch.source), plan_of(loader).order
        state = len(json.dumps(loader.snapshot(0).to_dict()))
        all_steps = [steps_of(branch.batching[1], 0, order.size, world_size) for world_size in world_sizes]
        worlds = tuple(_world(steps, order, row_bytes, state) for steps in all_steps)
    if not worlds:
        msg = "simulate takes the sizes of the worlds, such as (1, 8, 64)"
        raise DataError(msg)
    return Simulation(split, order.size, worlds)


def _world(steps: Steps, order: Order, row_bytes: int | None, state_bytes: int) -> World:
    world_size, is_exact = steps.world_size, True
    of_ranks = np.zeros(world_size, dtype=np.int64)
    # All whole steps are cut alike, so the first one stands for them.
    cuts = [(0, steps.regular)] if steps.regular else []
    cuts += [(step, 1) for step in range(steps.regular, steps.count)]
    at = steps.start
    for step, times in cuts:
        pieces = np.array([steps.shard(step, rank) for rank in range(world_size)])
        first, last = steps.bounds(step)
        is_exact &= bool(first == pieces[0, 0] and last == pieces[-1, 1] and (pieces[1:, 0] == pieces[:-1, 1]).all())
        is_exact &= first == at
        at += (last - first) * times
        of_ranks += (pieces[:, 1] - pieces[:, 0]) * times
    dropped = steps.stop - at
    most = int(of_ranks.max())
    return World(
        world_size,
        steps.count,
        steps.whole,
        int(of_ranks.min()),
        most,
        int((of_ranks == 0).sum()),
        dropped,
        is_exact and (steps.drop_last or dropped == 0),
        _order_bytes(order),
        None if row_bytes is None else row_bytes * most,
        state_bytes,
    )


def _order_bytes(order: Any) -> int:
    """The bytes of the arrays that an order holds; a permutation has none."""
    parts = [getattr(order, field.name) for field in attrs.fields(type(order))]
    arrays = sum(part.nbytes for part in parts if isinstance(part, np.ndarray))
    return arrays + sum(_order_bytes(part) for part in parts if attrs.has(type(part)))


def _row_bytes(source: Any) -> int | None:
    """The bytes of an example of a table whose rows have one size."""
    columns = list(source.values()) if isinstance(source, Table) else []
    tensors = [column for column in columns if isinstance(column, Tensor)]
    if not columns or len(tensors) < len(columns):
        return None
    return sum(int(column.element_size()) * prod(column.shape[1:]) for column in tensors)


def _shown(value: Any) -> object:
    if value is None:
        return "-"
    return {True: "yes", False: "NO"}[value] if isinstance(value, bool) else value
