"""Show: what a pipeline is, what of it is prepared, and the plan and first batch of what can be opened at once."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeGuard

import numpy as np
from torch import Tensor

from .._arrays.table import Table
from .._data import Data, branches_of, prepared_of
from .._executor import Executor
from .._loaders.loader import Loader, plan_of
from .._orders.blocks import BlockShuffle, BlockShuffled, variance_ratio
from .._orders.mixed import Mixed
from .._orders.order import Order, Window, written_out
from .._pipeline import Pipeline, describe, fingerprint, pipeline
from .._plans.epochs import mixtures
from .._plans.plan import check_names
from .._stages.constructors import alias
from .._stages.stage import Alias, Clean, Cut, Fold, Load, Measure, Mix, Preparation, Source, Split, Stage
from .._text import aligned, bar, chart, cut, size, visible, without_secrets
from ..store._artifacts import Kept, kept_facts, kept_sources
from ..store._manifest import manifest
from ..store._publish import store_folder
from .batch import as_json, structure, structure_lines
from .target import checked_split, context_of


def shown(p: Pipeline, *, store: str | None, world_size: int, split: str | None) -> dict[str, Any]:
    """What there is to say of a pipeline, as plain values; runs neither fetch nor clean nor measure.

    What needs opened data (`splits` and all after it) is there if all is prepared that has to be, else `missing` says
    what is not.
    """
    executor = Executor(context=context_of(0, world_size), store=store, progress=False)
    folder = store_folder(store, os.environ)
    found: dict[str, Any] = {
        "pipeline": describe(p),
        "table": str(p),
        "fingerprint": fingerprint(p),
        "store": str(folder),
    }
    kept = kept_sources(p, folder)
    if next(p.of_kind(Clean, Load), None) is None:
        return {**found, "kept": _entries(kept), "missing": "it has no source: no clean or load stage"}
    if not all(each.is_prepared for each in kept):
        measures = [_entry(number, stage) for number, stage in p.of_kind(Measure)]
        return {**found, "kept": [*_entries(kept), *measures], "missing": _missing(kept)}
    with ExitStack() as stack:
        bare = stack.enter_context(executor.open(_up_to_splits(p)))
        splits = prepared_of(bare).splits
        mixed = mixtures(p, splits)
        check_names(p, [*splits, *mixed])
        kept += kept_facts(p, splits, folder)
        found |= {"kept": _entries(kept), "world_size": world_size, "splits": dict(bare.splits)}
        if split not in mixed:
            checked_split(bare, split)
        if not all(each.is_prepared for each in kept):
            return {**found, "classes": _class_counts(bare), "missing": _missing(kept)}
        return {**found, **_of_data(stack.enter_context(executor.open(p)), split), "missing": None}


def prepared(p: Pipeline, *, store: str | None) -> dict[str, Any]:
    """Prepare what is not prepared yet; what is kept, as plain values, and what of it was made now."""
    executor = Executor(context=context_of(0, 1), store=store)
    folder = store_folder(store, os.environ)
    before = {str(path) for path in folder.iterdir()} if folder.is_dir() else set()
    kept = kept_sources(p, folder)
    if next(p.of_kind(Measure), None) is None:
        executor.prepare(p)
    else:
        with executor.open(p) as data:
            kept += kept_facts(p, prepared_of(data).splits, folder)
    return {"store": str(folder), "kept": [{**each, "made": each["folder"] not in before} for each in _entries(kept)]}


def show_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `shown` found, for a terminal."""
    yield from (found["table"], f"fingerprint {found['fingerprint'][:16]}", "", f"store {found['store']}")
    yield from kept_lines(found["kept"])
    if "splits" in found:
        yield from ("", "examples", *chart(found["splits"]))
    if found.get("mixtures"):
        rows = [[name, f"{of['examples']:,}", f"of {', '.join(of['parts'])}"] for name, of in found["mixtures"].items()]
        yield from ("", "examples of an epoch of mixtures", *aligned(rows))
    if found.get("classes"):
        yield from ("", "classes", *_class_lines(found["classes"]))
    if "plans" in found:
        ranks = "" if found["world_size"] == 1 else f" on each of {found['world_size']} ranks"
        yield from ("", f"steps of an epoch{ranks}", *_plan_lines(found["plans"]))
        yield from _bucket_lines(found["plans"])
    if found.get("blocks"):
        yield from (
            "",
            "variance of batch means over that of a true shuffle, for sorted data: 1 + batch / window * (1 - in play)",
        )
        yield from _block_lines(found["blocks"])
    if found.get("facts"):
        yield from ("", "facts", *aligned([name, _short(value)] for name, value in found["facts"].items()))
    if found.get("first_batch"):
        yield from ("", f"first batch of {visible(found['first_batch']['split'])}")
        yield from structure_lines(found["first_batch"]["entries"])
    if found["missing"]:
        yield from ("", f"not opened: {found['missing']}")


def kept_lines(kept: list[Mapping[str, Any]]) -> list[str]:
    """What is kept of a pipeline, for a terminal."""
    rows = []
    for each in kept:
        state = "prepared" if each["prepared"] else "not prepared"
        if "made" in each:
            state = "prepared now" if each["made"] else "was prepared"
        held = size(each["bytes"]) if each["prepared"] else ""
        rows.append([each["stage"], each["kind"], each["function"], (each["address"] or "")[:12], state, held])
    return aligned(rows) or ["  nothing of it is kept"]


def _entries(kept: list[Kept]) -> list[dict[str, Any]]:
    return [_entry(each.number, each.stage, each) for each in kept]


def _entry(number: int, stage: Preparation, kept: Kept | None = None) -> dict[str, Any]:
    """What is kept of a stage; without `kept`, data that is not there yet decides where that will be."""
    files = manifest(kept.folder)["files"] if kept is not None and kept.is_prepared else None
    return {
        "stage": number,
        "kind": stage.kind,
        "function": stage.function.qualified_name,
        "address": kept.address if kept is not None else None,
        "prepared": files is not None,
        "folder": str(kept.folder) if kept is not None else None,
        "bytes": sum(file["size"] for file in files) if files is not None else None,
    }


def _missing(kept: list[Kept]) -> str:
    stages = [f"{each.number} {each.stage.kind} {each.stage.function.name}" for each in kept if not each.is_prepared]
    return f"{', '.join(stages)} is not prepared; `fdm prepare` with the same target and options does that"


def _up_to_splits(p: Pipeline) -> Pipeline:
    """The pipeline that makes the splits alone, without the aliases of mixtures, which are made later."""
    later, stages = {mix.into for _, mix in p.of_kind(Mix)}, list[Stage]()
    for stage in p.stages:
        if isinstance(stage, Alias):
            later |= {new for new, old in stage.names if old in later}
            names = {new: old for new, old in stage.names if new not in later}
            stages += [alias(**names)] if names else []
        elif isinstance(stage, Source | Cut):
            stages.append(stage)
    return pipeline(*stages, seed=p.seed)


def _of_data(data: Data, split: str | None) -> dict[str, Any]:
    has_batch = {name: branches_of(data)[name].batch is not None for name in data.splits}
    plans = {name: data.loader(name).plan() if has_batch[name] else None for name in data.splits}
    batched = [name for name, plan in plans.items() if plan is not None and data.splits[name]]
    chosen = split or next((name for name in ["train", *batched] if name in batched), None)
    loader = data.loader(chosen) if chosen is not None and chosen in batched else None
    first = {"split": chosen, "entries": structure(loader[0])} if loader else None
    blocks = [row for name in batched for row in _block_shuffles(data.loader(name))]
    return {
        "classes": _class_counts(data),
        "plans": plans,
        "mixtures": {
            name: {"examples": data.splits[name], "parts": list(data.origins(name))}
            for name in data.splits
            if name not in prepared_of(data).splits
        },
        "blocks": blocks,
        "facts": as_json(data.facts),
        "first_batch": first,
    }


def _block_shuffles(loader: Loader) -> list[dict[str, Any]]:
    """How well the block shuffles of a split mix its steps; in a mixture, how well each part's share of a step is mixed."""
    plan = plan_of(loader)
    orders: list[tuple[str, Order, float]] = [(loader.split, plan.order, 1.0)]
    mixed = _whole(plan.order)
    if isinstance(mixed, Mixed):
        shares = dict(mixed.run.phases[0].shares)
        orders = [
            (f"{name} in {loader.split}", mixed.epoch_of(number, loader.epoch), shares[name] / sum(shares.values()))
            for number, name in enumerate(mixed.run.names)
            if name in shares
        ]
    found = []
    for name, order, share in orders:
        shuffled = _whole(order)
        if isinstance(shuffled, BlockShuffled):
            batch = min(round(plan.steps.whole * share), order.size)
            found.append({"split": name, **_quality(shuffled.shuffle, batch)})
    return found


def _quality(shuffle: BlockShuffle, batch: int) -> dict[str, Any]:
    return {
        "block": shuffle.block,
        "window": shuffle.window,
        "lanes": shuffle.lanes,
        "batch": batch,
        "in_play": min(1.0, shuffle.window * shuffle.block / shuffle.n) if shuffle.n else 1.0,
        "variance_ratio": variance_ratio(batch, shuffle.n, shuffle.block, shuffle.window),
    }


def _whole(order: Order) -> Order:
    """The order of which `take` left this one."""
    return _whole(order.of) if isinstance(order, Window) else order


def _class_counts(data: Data) -> dict[str, dict[str, int]]:
    """The number of examples of each class, for the splits that are stratified by a column or have a column `label`.

    Only integers in a table's column count as classes, up to 64 of them, in splits of up to a million examples: all
    else would take long to count or to read. What is left out is not in the result.
    """
    found: dict[str, dict[str, int]] = {}
    for split, examples in prepared_of(data).splits.items():
        source = prepared_of(data).sources[examples.source]
        stages = [data.pipeline.stages[number] for number in reversed(examples.lineage)]
        names = [*(stage.stratify for stage in stages if isinstance(stage, Split | Fold)), "label"]
        columns = [
            source[name] for name in names if isinstance(source, Table) and isinstance(name, str) and name in source
        ]
        if columns and examples.order.size <= _EXAMPLES and _is_of_integers(columns[0]):
            classes, counts = np.unique(columns[0].numpy()[written_out(examples.order)], return_counts=True)
            if 0 < len(classes) <= _CLASSES:
                found[split] = dict(zip(map(str, classes.tolist()), counts.tolist(), strict=True))
    return found


def _is_of_integers(column: Any) -> TypeGuard[Tensor]:
    return isinstance(column, Tensor) and column.ndim == 1 and not (column.is_floating_point() or column.is_complex())


def _plan_lines(plans: Mapping[str, Any]) -> list[str]:
    rows: list[list[object]] = []
    for name, plan in plans.items():
        if plan is None:
            rows.append([name, "", "no batch stage"])
            continue
        steps = plan["steps"] if isinstance(plan["steps"], int) else f"{min(plan['steps'])} or {max(plan['steps'])}"
        tail = f"; at the end {' and '.join(f'{n:,}' for n in plan['tail'])} over all ranks" if plan["tail"] else ""
        tail += f"; {plan['dropped']:,} examples are dropped" if plan["dropped"] else ""
        rows.append([name, steps, f"batches of up to {plan['batch_size']:,}{tail}"])
    return aligned(rows)


def _bucket_lines(plans: Mapping[str, Any]) -> list[str]:
    """The buckets of all splits whose batches are made by length, and how much of what they compute is padding."""
    by_length = {name: plan for name, plan in plans.items() if plan is not None and "buckets" in plan}
    if not by_length:
        return []
    rows: list[list[object]] = [["", "padded to", "examples", "steps", "of"]]
    for name, plan in by_length.items():
        rows += [[name, *row.values()] for row in plan["buckets"]]
    padding = ", ".join(f"{plan['padding']:.1%} of {name}" for name, plan in by_length.items())
    return ["", f"buckets; padding is {padding}", *aligned(rows, right=(1, 2, 3, 4))]


def _block_lines(blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    return aligned(
        [
            row["split"],
            f"{row['variance_ratio']:.2f}",
            f"1 + {row['batch']:,} / {row['window']:,} * (1 - {row['in_play']:.3g})",
            f"blocks of {row['block']:,}" + (f", {row['lanes']:,} lanes" if row["lanes"] > 1 else ""),
        ]
        for row in blocks
    )


def _class_lines(classes: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The classes of all splits side by side, with bars of the first one."""
    (split, first), *_ = classes.items()
    names, most = dict.fromkeys(name for counts in classes.values() for name in counts), max(first.values())
    rows = [[name, *(of.get(name, 0) for of in classes.values()), bar(first.get(name, 0) / most, 20)] for name in names]
    return aligned([["class", *classes, f"share in {split}"], *rows])


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "dtype" in value and "shape" in value:  # a tensor
        about = f"{value['dtype']} {'x'.join(map(str, value['shape']))}".rstrip()
        return f"{_short(value['values'])} ({about})" if "values" in value else about
    return f"{value:.6g}" if isinstance(value, float) else cut(" ".join(without_secrets(str(value)).split()), 90)


_EXAMPLES, _CLASSES = 1_000_000, 64
