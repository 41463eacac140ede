"""Show: what a pipeline is, what of it is prepared, and the plan and first batch of what can be opened at once."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from torch import Tensor

from .._arrays.table import Table
from .._data import Data, branches_of, prepared_of
from .._executor import Executor
from .._pipeline import Pipeline, describe, fingerprint, pipeline
from .._plans.order import written_out
from .._plans.plan import check_names
from .._stages.stage import Clean, Cut, Fold, Load, Measure, Preparation, Source, Split
from .._text import aligned, chart, cut, size
from ..store._artifacts import Kept, kept_facts, kept_sources
from ..store._publish import manifest, store_folder
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
        return {**found, "kept": _told(kept), "missing": "it has no source: no clean or load stage"}
    if not all(each.is_prepared for each in kept):
        unknown = [_untold(number, stage) for number, stage in p.of_kind(Measure)]
        return {**found, "kept": [*_told(kept), *unknown], "missing": _missing(kept)}
    with ExitStack() as stack:
        bare = stack.enter_context(executor.open(_up_to_splits(p)))
        splits = prepared_of(bare).splits
        check_names(p, splits)
        kept += kept_facts(p, splits, folder)
        found |= {"kept": _told(kept), "world_size": world_size, "splits": dict(bare.splits)}
        checked_split(bare, split)
        if not all(each.is_prepared for each in kept):
            return {**found, "classes": _class_counts(bare), "missing": _missing(kept)}
        return {**found, **_of_data(stack.enter_context(executor.open(p)), split), "missing": None}


def prepared(p: Pipeline, *, store: str | None) -> dict[str, Any]:
    """Prepare what is not prepared yet; what is kept, as plain values, and what of it was made now."""
    executor = Executor(context=context_of(0, 1), store=store)
    folder = store_folder(store, os.environ)
    before = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    kept = kept_sources(p, folder)
    if next(p.of_kind(Measure), None) is None:
        executor.prepare(p)
    else:
        with executor.open(p) as data:
            kept += kept_facts(p, prepared_of(data).splits, folder)
    return {"store": str(folder), "kept": [{**each, "made": _is_new(each, before)} for each in _told(kept)]}


def show_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `shown` found, for a terminal."""
    yield from (found["table"], f"fingerprint {found['fingerprint'][:16]}", "", f"store {found['store']}")
    yield from kept_lines(found["kept"])
    if "splits" in found:
        yield from ("", "examples", *chart(found["splits"]))
    if found.get("classes"):
        yield from ("", "classes", *_class_lines(found["classes"]))
    if "plans" in found:
        ranks = "" if found["world_size"] == 1 else f" on each of {found['world_size']} ranks"
        yield from ("", f"steps of an epoch{ranks}", *_plan_lines(found["plans"]))
    if found.get("facts"):
        yield from ("", "facts", *aligned([name, _short(value)] for name, value in found["facts"].items()))
    if found.get("first_batch"):
        yield from ("", f"first batch of {found['first_batch']['split']}")
        yield from structure_lines(found["first_batch"]["entries"])
    if found["missing"]:
        yield from ("", f"not opened: {found['missing']}")


def kept_lines(kept: list[Mapping[str, Any]]) -> list[str]:
    """What is kept of a pipeline, for a terminal."""
    return aligned(
        [
            each["stage"],
            each["kind"],
            each["function"],
            (each["address"] or "")[:12],
            _state(each),
            size(each["bytes"]) if each["bytes"] is not None else "",
        ]
        for each in kept
    ) or ["  nothing of it is kept"]


def _state(each: Mapping[str, Any]) -> str:
    if "made" in each:
        return "prepared now" if each["made"] else "was prepared"
    return "prepared" if each["prepared"] else "not prepared"


def _told(kept: list[Kept]) -> list[dict[str, Any]]:
    return [
        {
            **_untold(each.number, each.stage),
            "address": each.address,
            "prepared": each.is_prepared,
            "folder": str(each.folder),
            "bytes": sum(file["size"] for file in manifest(each.folder)["files"]) if each.is_prepared else None,
        }
        for each in kept
    ]


def _untold(number: int, stage: Preparation) -> dict[str, Any]:
    """A stage of which is not known yet where its result is kept, since the data decides that."""
    function = stage.function.qualified_name
    nothing = {"address": None, "prepared": False, "folder": None, "bytes": None}
    return {"stage": number, "kind": stage.kind, "function": function, **nothing}


def _is_new(each: Mapping[str, Any], before: set[str]) -> bool:
    return os.path.basename(each["folder"]) not in before  # noqa: PTH119 - a name, and no file


def _missing(kept: list[Kept]) -> str:
    names = ", ".join(
        f"{each.number} {each.stage.kind} {each.stage.function.name}" for each in kept if not each.is_prepared
    )
    return f"{names} is not prepared; `fdm prepare` with the same target and options does that"


def _up_to_splits(p: Pipeline) -> Pipeline:
    return pipeline(*(stage for stage in p.stages if isinstance(stage, Source | Cut)), seed=p.seed)


def _of_data(data: Data, split: str | None) -> dict[str, Any]:
    plans = {name: _plan(data, name) for name in data.splits}
    batched = [name for name, plan in plans.items() if plan is not None and data.splits[name]]
    chosen = split or next((name for name in ["train", *batched] if name in batched), None)
    loader = data.loader(chosen) if chosen is not None and chosen in batched else None
    first = {"split": chosen, "entries": structure(loader[0])} if loader else None
    return {"classes": _class_counts(data), "plans": plans, "facts": as_json(data.facts), "first_batch": first}


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
        name = next(
            (name for name in names if isinstance(name, str) and isinstance(source, Table) and name in source), ""
        )
        if name and examples.order.size <= _EXAMPLES and _is_of_integers(source[name]):
            classes, counts = np.unique(source[name].numpy()[written_out(examples.order)], return_counts=True)
            if 0 < len(classes) <= _CLASSES:
                found[split] = dict(zip(map(str, classes.tolist()), counts.tolist(), strict=True))
    return found


def _is_of_integers(column: Any) -> bool:
    return isinstance(column, Tensor) and column.ndim == 1 and not (column.is_floating_point() or column.is_complex())


def _plan(data: Data, split: str) -> dict[str, Any] | None:
    """The plan of a split; None where no batch stage holds for it."""
    if branches_of(data)[split].batch is None:
        return None
    return data.loader(split).plan()


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


def _class_lines(classes: Mapping[str, Mapping[str, int]]) -> list[str]:
    names = list(dict.fromkeys(name for counts in classes.values() for name in counts))
    (first, counts), *_ = classes.items()
    bars = {line.split()[0]: line.split()[-1] for line in chart({name: counts.get(name, 0) for name in names}, 20)}
    rows = [[name, *(of.get(name, 0) for of in classes.values()), bars[name]] for name in names]
    return aligned([["", *classes, first], *rows])


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "dtype" in value and "shape" in value:  # a tensor
        about = f"{value['dtype']} {'x'.join(map(str, value['shape']))}".rstrip()
        return f"{_short(value['values'])} ({about})" if "values" in value else about
    return cut(f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split()), 90)


_EXAMPLES, _CLASSES = 1_000_000, 64
