"""Look: one batch of history as plain values: its examples, structure, numbers, and where they are not finite."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import attrs
import torch
from torch import Tensor

from .._arrays.ragged import Ragged
from .._data import Data
from .._executor import Executor
from .._loaders.loader import Loader
from .._pipeline import Pipeline
from .._text import aligned
from .show import checked_split, context_of
from .structure import entry, leaves, plain, structure
from .target import UsageError


@attrs.frozen
class Where:
    """Which batch: of which split, epoch, step and rank."""

    split: str
    epoch: int = 0
    step: int = 0
    rank: int = 0
    world_size: int = 1


@attrs.frozen(eq=False)
class Seen:
    """A batch with the ids of its examples, and how many steps its epoch has."""

    batch: Any
    ids: list[int]
    steps: int


def batch_at(p: Pipeline, where: Where, *, store: str | None) -> Seen:
    """The batch, made by itself without the ones before."""
    executor = Executor(context=context_of(where.rank, where.world_size), store=store)
    with executor.open(p) as data:
        loader = _loader(data, where)
        return Seen(loader[where.step], loader.indices(where.step).tolist(), len(loader))


def looked_at(seen: Seen, where: Where) -> dict[str, Any]:
    """A batch as plain values."""
    described = structure(seen.batch)
    entries = [
        {**about, **_summary(leaf, seen.ids)} for about, (_, leaf) in zip(described, leaves(seen.batch), strict=True)
    ]
    return {
        **attrs.asdict(where),
        "step": where.step % seen.steps,
        "steps": seen.steps,
        "ids": seen.ids,
        "entries": entries,
    }


def look_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `looked_at` found, for a terminal."""
    rank = f", rank {found['rank']} of {found['world_size']}" if found["world_size"] > 1 else ""
    yield f"{found['split']}, epoch {found['epoch']}, step {found['step']} of {found['steps']}{rank}"
    yield f"examples {_listed(found['ids'])}"
    yield from ("", *aligned(entry(each) for each in found["entries"]))
    numbers = [each for each in found["entries"] if "min" in each]
    if numbers:
        rows = [[each["name"], *(each[name] for name in _NUMBERS)] for each in numbers]
        yield from ("", *aligned([["", *_NUMBERS], *rows]))
    yield ""
    yield from aligned([each["name"], each["preview"]] for each in found["entries"])
    for each in found["entries"]:
        if each.get("nan") or each.get("inf"):
            where = f" in examples {_listed(each['not_finite'])}" if each["not_finite"] is not None else ""
            yield f"{each['name']}: {each['nan']} NaN and {each['inf']} infinite values{where}"


def _loader(data: Data, where: Where) -> Loader:
    checked_split(data, where.split)
    loader = data.loader(where.split, epoch=where.epoch)
    if not -len(loader) <= where.step < len(loader):
        steps = f"its steps are 0 to {len(loader) - 1}" if len(loader) else "it has no steps"
        rank = f" on rank {where.rank} of {where.world_size}" if where.world_size > 1 else ""
        msg = f"--step {where.step}: there is no such step in epoch {where.epoch} of {where.split!r}{rank}; {steps}"
        raise UsageError(msg)
    return loader


def _summary(leaf: Any, ids: list[int]) -> dict[str, Any]:
    if isinstance(leaf, Ragged) and leaf.kind != "tensor":
        return {"preview": _preview(leaf[:3].tolist())}
    values = leaf.values if isinstance(leaf, Ragged) else leaf
    if not isinstance(values, Tensor):
        return {"preview": _preview(list(values[:3]) if isinstance(values, list | tuple) else values)}
    first = values.reshape(-1)[:8].tolist()
    preview = {"preview": ", ".join(_number(number) for number in first) + (", ..." if values.numel() > 8 else "")}
    if values.is_complex() or not values.numel():
        return preview
    numbers = values.detach().cpu().double()
    finite = numbers[numbers.isfinite()]
    least, mean, most = (finite.min(), finite.mean(), finite.max()) if len(finite) else (torch.tensor(torch.nan),) * 3
    found = {"min": plain(least.item()), "mean": plain(mean.item()), "max": plain(most.item())}
    odd = {"nan": int(numbers.isnan().sum()), "inf": int(numbers.isinf().sum())}
    return {**found, **odd, "not_finite": _not_finite(leaf, numbers, ids), **preview}


def _not_finite(leaf: Any, numbers: Tensor, ids: list[int]) -> list[int] | None:
    """The ids of the examples with values that are not finite; None where rows are not those of the examples."""
    if len(leaf) != len(ids) if numbers.ndim else True:
        return None
    odd = ~numbers.isfinite()
    if isinstance(leaf, Ragged):
        bounds = leaf.offsets.tolist()
        rows = [bool(odd[low:high].any()) for low, high in pairwise(bounds)]
    else:
        rows = odd.reshape(len(odd), -1).any(1).tolist()
    return [number for number, is_odd in zip(ids, rows, strict=True) if is_odd]


def _number(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _preview(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."


def _listed(ids: list[int]) -> str:
    text = ", ".join(map(str, ids[:32]))
    return text if len(ids) <= 32 else f"{text}, and {len(ids) - 32} more"


_NUMBERS = ("min", "mean", "max", "nan", "inf")
