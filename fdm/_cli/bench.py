"""Bench: how many batches a second this machine makes of a pipeline, with which setting of the executor."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from statistics import median
from typing import Any

import attrs

from .._data import Data, branches_of
from .._executor import Executor
from .._pipeline import Pipeline
from .._prepare.pool import cores
from .._processes.progress import bar
from .._text import aligned
from .target import UsageError, checked_split, context_of


def measured(p: Pipeline, *, store: str | None, split: str | None, steps: int, shown: bool) -> dict[str, Any]:
    """The profile of a split, and the batches a second with each of a few settings; the medians of rounds in turn."""
    context = context_of(0, 1)
    with ExitStack() as stack:
        opened = [(setting, stack.enter_context(_opened(p, context, store, setting))) for setting in _settings()]
        (_, plain), *_ = opened
        checked_split(plain, split)
        chosen = split or _first_with_batches(plain)
        profile = plain.profile(chosen, steps)
        speeds: list[list[float]] = [[] for _ in opened]
        with bar((_ROUNDS + 1) * len(opened), "bench", "run", shown=shown) as progress:
            for each in range(_ROUNDS + 1):
                for times, (_, data) in zip(speeds, opened, strict=True):
                    per_second = _per_second(data, chosen, steps)
                    times.extend([per_second] if each else [])  # the first round starts processes and threads
                    progress.update()
    rows = [{**setting, "per_second": median(times)} for times, (setting, _) in zip(speeds, opened, strict=True)]
    best = _best(rows)
    about = {"split": chosen, "steps": steps, "rounds": _ROUNDS, "cores": cores(), "device": context.device}
    return {**about, "profile": attrs.asdict(profile), "text": str(profile), "settings": rows, "best": best}


def bench_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `measured` found, for a terminal."""
    yield from (found["text"], "", f"batches a second, medians of {found['rounds']} rounds on {found['cores']} cores")
    base = found["settings"][0]["per_second"]
    chosen = found["best"]
    rows = [
        [
            _setting(row),
            f"{row['per_second']:,.0f}" if row["per_second"] >= 100 else f"{row['per_second']:.2f}",
            f"{row['per_second'] / base:.2f} times",
            "<- best" if _of(row) == chosen else "",
        ]
        for row in found["settings"]
    ]
    yield from aligned(rows)
    yield ""
    options = ", ".join(f"{name}={count}" for name, count in chosen.items() if count)
    yield (
        f"Open it with fdm.open(p, {options})" if options else "Open it as it is: workers and threads gain nothing here"
    )


def _settings() -> list[dict[str, int]]:
    """No setting, and powers of two up to the cores, of threads and of workers."""
    counts = sorted({*(2**power for power in range(cores().bit_length())), cores()})
    none = {"workers": 0, "threads": 0}
    return [none, *({**none, name: count} for name in ("threads", "workers") for count in counts)]


def _opened(p: Pipeline, context: Any, store: str | None, setting: Mapping[str, int]) -> Data:
    return Executor(context=context, store=store, workers=setting["workers"], threads=setting["threads"]).open(p)


def _first_with_batches(data: Data) -> str:
    names = [name for name in data.splits if branches_of(data)[name].batch is not None and data.splits[name]]
    if not names:
        msg = "no split has batches to measure: the pipeline needs a batch stage, fdm.batch(size)"
        raise UsageError(msg)
    return "train" if "train" in names else names[0]


def _per_second(data: Data, split: str, steps: int) -> float:
    loader = data.loader(split, epoch=0)[:steps]
    began = time.perf_counter()
    count = sum(1 for _ in loader)
    return count / max(time.perf_counter() - began, 1e-9)


def _best(rows: list[dict[str, Any]]) -> dict[str, int]:
    """The fastest setting, or a cheaper one that is about as fast."""
    most = max(row["per_second"] for row in rows)
    return min(
        (_of(row) for row in rows if row["per_second"] >= _ABOUT * most),
        key=lambda setting: 2 * setting["workers"] + setting["threads"],
    )


def _of(row: Mapping[str, Any]) -> dict[str, int]:
    return {"workers": row["workers"], "threads": row["threads"]}


def _setting(row: Mapping[str, Any]) -> str:
    return next((f"{name}={row[name]}" for name in ("threads", "workers") if row[name]), "none")


_ROUNDS = 3
_ABOUT = 0.95  # of the best speed, at which fewer processes and threads are the better choice
