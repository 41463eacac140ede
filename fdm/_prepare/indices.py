"""Indices: the plans of pack stages and of batches by length, made from lengths; those of large splits are kept."""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from .._arrays.table import Table
from .._errors import PipelineError, noted, stage_note
from .._fingerprint.canonical import digest
from .._orders.lengths import Buckets, Layout, best_edges, check_edges
from .._orders.order import Order
from .._orders.packing import Joined, Packing
from .._pipeline import Pipeline
from .._plans.branch import batch_of
from .._plans.epochs import taken
from .._plans.sequences import lengths_of, packing_for
from .._splits.splits import Examples
from .._stages.digest import address, plan_digest
from .._stages.orders import order_stages_of
from .._stages.stage import Batch, Load, Pack, Source
from ..store._artifacts import plan_place
from ..store._manifest import checked_manifest, lasting
from ..store._publish import Staging, publish
from ..store._tables import open_tables, save_tables
from .means import Means


@attrs.frozen(eq=False)
class Indices:
    """The plans of pack stages, and of batch stages by length, for the name of each split and the number of the stage."""

    packings: dict[tuple[str, int], Packing | Joined]
    layouts: dict[tuple[str, int], Layout]


def prepare_indices(
    p: Pipeline,
    sources: Mapping[str, Any],
    splits: Mapping[str, Examples],
    means: Means,
) -> Indices:
    """The plans for all splits, made from the lengths of their examples, or read from the store.

    Raises `DataError` or `UnknownNameError` for a source without such a column, and for lengths that no plan can have.
    """
    packings: dict[tuple[str, int], Packing | Joined] = {}
    layouts: dict[tuple[str, int], Layout] = {}
    for name, examples in splits.items():
        source, held = sources[examples.source], order_stages_of(p.stages, examples.names)
        batch = batch_of(p, examples.names)
        planned: list[tuple[int, Pack | Batch]] = [(each, stage) for each, stage in held if isinstance(stage, Pack)]
        planned += [batch] if batch is not None and batch[1].column is not None else []
        for number, stage in planned:
            order = taken(examples.order, [each for at, each in held if at < number])
            where = f"split {name!r}, for which it holds; .on(...) limits it to others"
            with noted(stage_note(number, stage.kind, where)):
                make = partial(_made, stage, source, order)
                address = _address(p, source, examples, stage, order) if order.size >= _LARGE else None
                made = make() if address is None else _kept(stage, address, make, means)
                if isinstance(stage, Pack):
                    packings[name, number] = made
                else:
                    layouts[name, number] = layout_of(stage, made)
    return Indices(packings, layouts)


def _made(stage: Pack | Batch, source: Any, order: Order) -> Any:
    return packing_for(stage, source, order) if isinstance(stage, Pack) else _buckets(stage, source, order)


def _address(p: Pipeline, source: Any, examples: Examples, stage: Pack | Batch, order: Order) -> str | None:
    """The address of a plan; None where nothing tells whether the examples are still the same: it is made each time."""
    try:
        upstream = address([*(each for _, each in p.of_kind(Source)), *(p.stages[by] for by in examples.lineage)])
    except PipelineError:  # of a load function whose code has no fingerprint, which it needs for nothing else
        return None
    entries = [upstream, examples.source, examples.names[-1], order.size, plan_digest(stage)]
    if any(p.of_kind(Load)):  # what it reads may be another file by now, whose rows have other lengths
        lengths = lengths_of(source, str(stage.column), stage.kind)
        entries.append(hashlib.sha256(np.ascontiguousarray(lengths).data).hexdigest())
    return digest(entries)


def layout_of(batch: Batch, buckets: Buckets) -> Layout:
    """How buckets fall into the steps of a batch stage by length."""
    return Layout.of_budget(buckets, batch.size) if batch.of is not None else Layout.of_size(buckets, batch.size)


def _buckets(batch: Batch, source: Any, order: Order) -> Buckets:
    lengths = lengths_of(source, str(batch.column), "batch")[order.at(np.arange(order.size, dtype=np.int64))]
    if batch.edges is not None:
        return Buckets.of(lengths, check_edges(batch.edges, int(lengths.max(initial=0))))
    edges, longest = best_edges(lengths, batch.buckets), max(1, int(lengths.max(initial=0)))
    if (
        batch.of is not None and longest <= batch.size < edges[-1]
    ):  # what edges are rounded up to does not fit, the longest does
        edges[-1] = longest
    return Buckets.of(lengths, edges)


def _kept(stage: Pack | Batch, at: str, make: Callable[[], Any], means: Means) -> Any:
    """The plan at an address of the store, mapped, so that all processes of a machine share it; made if need be."""
    folder = plan_place(stage, at, means.folder())
    about: dict[str, Any] = {"stage": stage.kind, "function": stage.column, "address": at}
    about |= {"digest": plan_digest(stage), "inputs": []}

    def write(staging: Staging) -> None:
        made = make()
        arrays = {"offsets": made.offsets} if isinstance(made, Joined) else made.arrays()
        tables = {name: [Table({"values": torch.from_numpy(np.array(array))})] for name, array in arrays.items()}
        save_tables(tables, staging.into)

    def read(published: Path) -> Any:
        checked_manifest(published, at)
        means.check(published)
        arrays = {name: _array(table) for name, table in open_tables(published).items()}
        if isinstance(stage, Batch):
            return Buckets.from_arrays(arrays)
        return Packing.from_arrays(arrays) if stage.whole else Joined(stage.length, arrays["offsets"])

    return lasting(folder, lambda: publish(folder, write, about, means.patience), read)


def _array(table: Table) -> NDArray[Any]:
    values: Any = table["values"]
    array: NDArray[Any] = values.numpy()
    return array


_LARGE = 1_000_000  # examples from which on a plan is kept: below, making it takes about as long as finding it
