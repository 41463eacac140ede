"""Batch: one batch of history as plain values: its examples, structure, numbers, and where they are not finite."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from .._arrays.packed import Packed
from .._arrays.ragged import Ragged
from .._arrays.tree import entries, places
from .._executor import Executor
from .._pipeline import Pipeline
from .._text import aligned, number, plain, short, visible
from .target import UsageError, checked_split, context_of


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
    """A batch with the ids of its examples, of sequences lists of them, and how many steps its epoch has."""

    batch: Any
    ids: list[Any]
    steps: int


def batch_at(p: Pipeline, where: Where, *, store: str | None) -> Seen:
    """The batch, made by itself without the ones before."""
    with Executor(context=context_of(where.rank, where.world_size), store=store).open(p) as data:
        checked_split(data, where.split)
        loader = data.loader(where.split, epoch=where.epoch)
        if not -len(loader) <= where.step < len(loader):
            steps = f"its steps are 0 to {len(loader) - 1}" if len(loader) else "it has no steps"
            rank = f" on rank {where.rank} of {where.world_size}" if where.world_size > 1 else ""
            msg = f"--step {where.step}: there is no such step in epoch {where.epoch} of {where.split!r}{rank}; {steps}"
            raise UsageError(msg)
        ids = loader.indices(where.step)
        numbers = [row.tolist() for row in ids] if isinstance(ids, Ragged) else ids.tolist()
        return Seen(loader[where.step], numbers, len(loader))


def looked_at(seen: Seen, where: Where) -> dict[str, Any]:
    """A batch as plain values."""
    about = zip(structure(seen.batch), leaves(seen.batch), strict=True)
    rows = [{**described, **_summary(leaf, seen.ids)} for described, (_, leaf) in about]
    where = attrs.evolve(where, step=where.step % seen.steps)
    return {**attrs.asdict(where), "steps": seen.steps, "ids": seen.ids, "entries": rows}


def look_lines(look: Mapping[str, Any]) -> Iterator[str]:
    """What `looked_at` found, for a terminal."""
    rank = f", rank {look['rank']} of {look['world_size']}" if look["world_size"] > 1 else ""
    yield f"{visible(look['split'])}, epoch {look['epoch']}, step {look['step']} of {look['steps']}{rank}"
    yield f"examples {_listed(look['ids'])}"
    yield from ("", *structure_lines(look["entries"]))
    numbers = [[each["name"], *(each[name] for name in _NUMBERS)] for each in look["entries"] if "min" in each]
    if numbers:
        yield from ("", *aligned([["", *_NUMBERS], *numbers]))
    yield from ("", *aligned([each["name"], each["preview"]] for each in look["entries"]))
    for each in look["entries"]:
        if each.get("nan") or each.get("inf"):
            where = f" in examples {_listed(each['not_finite'])}" if each["not_finite"] is not None else ""
            yield f"{visible(each['name'])}: {each['nan']} NaN and {each['inf']} infinite values{where}"


def leaves(batch: Any) -> Iterator[tuple[str, Any]]:
    """The tensors and other leaves of a batch with where they are in it; a list of plain values is one leaf.

    >>> [name for name, _ in leaves({"x": [[1], {"y": 2}], "z": ["a", "b"]})]
    ['x[0]', "x[1]['y']", 'z']
    """
    return places(batch, _is_leaf, at="" if entries(batch) and not _is_leaf(batch) else "batch")


def structure(batch: Any) -> list[dict[str, Any]]:
    """The leaves of a batch as plain values: name, type, and for tensors dtype, shape and device.

    >>> import torch
    >>> structure({"x": torch.zeros(2, 3)})
    [{'name': 'x', 'type': 'tensor', 'dtype': 'float32', 'shape': [2, 3], 'device': 'cpu'}]
    """
    return [{"name": name, **_described(leaf)} for name, leaf in leaves(batch)]


def structure_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What `structure` says, for a terminal: name, type, shape, and what else there is."""
    return aligned(
        [
            row["name"],
            " ".join([*([row["type"]] if row["type"] != "tensor" else []), row.get("dtype", "")]).strip(),
            "x".join(map(str, row.get("shape", ()))),
            row.get("device", ""),
            _rows_in_words(row) if "rows" in row else "",
        ]
        for row in rows
    )


def _rows_in_words(row: Mapping[str, Any]) -> str:
    of = f"sequences of {row['documents']} documents," if "documents" in row else "rows of"
    return f"{row['rows']} {of} {row['shortest']} to {row['longest']}" + (" values" if "documents" in row else "")


def as_json(facts: Mapping[str, Any]) -> Any:
    """Facts as JSON has them: tensors as their dtype, shape and, where there are few, values; no NaN and no infinity.

    >>> as_json({"x": float("nan"), "y": torch.ones(2)})
    {'x': 'nan', 'y': {'dtype': 'float32', 'shape': [2], 'values': [1.0, 1.0]}}
    """
    return plain(dict(facts), _as_json)


def _as_json(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return repr(value)
    values = {"values": plain(value.tolist())} if value.numel() <= _FEW else {}
    return {"dtype": _dtype(value), "shape": list(value.shape), **values}


def _described(leaf: Any) -> dict[str, Any]:
    if isinstance(leaf, Tensor):
        return {"type": "tensor", "dtype": _dtype(leaf), "shape": list(leaf.shape), "device": str(leaf.device)}
    if isinstance(leaf, Ragged | Packed):
        lengths = leaf.lengths.tolist()
        about = {"rows": len(lengths), "shortest": min(lengths, default=0), "longest": max(lengths, default=0)}
        if isinstance(leaf, Packed):
            about["documents"] = len(leaf.documents) - 1
        name = "packed" if isinstance(leaf, Packed) else f"ragged {leaf.kind}"
        kind = {"type": name, "dtype": _dtype(leaf.values)}
        return {**kind, "shape": list(leaf.values.shape), "device": str(leaf.values.device), **about}
    if isinstance(leaf, Packed):
        about = {
            "rows": len(leaf),
            "documents": len(leaf.documents) - 1,
            "longest": int(leaf.lengths.max()) if len(leaf) else 0,
        }
        kind = {"type": "packed", "dtype": _dtype(leaf.values)}
        return {**kind, "shape": list(leaf.values.shape), "device": str(leaf.values.device), **about}
    if isinstance(leaf, np.ndarray):
        return {"type": "array", "dtype": str(leaf.dtype), "shape": list(leaf.shape)}
    if isinstance(leaf, list | tuple):
        kinds = sorted({type(value).__name__ for value in leaf})
        return {"type": f"{type(leaf).__name__} of {' or '.join(kinds) or 'nothing'}", "shape": [len(leaf)]}
    return {"type": type(leaf).__name__} | ({"shape": [len(leaf)]} if isinstance(leaf, Mapping) else {})


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _is_leaf(value: Any) -> bool:
    if isinstance(value, list | tuple) and not entries(value):
        return all(each is None or isinstance(each, bool | int | float | str | bytes) for each in value)
    return isinstance(value, Ragged | Packed | Tensor | set | frozenset) or (isinstance(value, Mapping) and not value)


def _summary(leaf: Any, ids: list[Any]) -> dict[str, Any]:
    if isinstance(leaf, Ragged) and leaf.kind != "tensor":
        return {"preview": short(leaf[:3].tolist(), 100)}
    values = leaf.values if isinstance(leaf, Ragged | Packed) else leaf
    if not isinstance(values, Tensor):
        return {"preview": short(list(values[:3]) if isinstance(values, list | tuple) else values, 100)}
    first = values.reshape(-1)[:8].tolist()
    preview = {"preview": ", ".join(map(number, first)) + (", ..." if values.numel() > 8 else "")}
    if values.is_complex() or not values.numel():
        return preview
    numbers = values.detach().cpu().double()
    finite = numbers[numbers.isfinite()]
    least, mean, most = (finite.min(), finite.mean(), finite.max()) if len(finite) else (torch.tensor(torch.nan),) * 3
    summary = {"min": plain(least.item()), "mean": plain(mean.item()), "max": plain(most.item())}
    odd = {"nan": int(numbers.isnan().sum()), "inf": int(numbers.isinf().sum())}
    return {**summary, **odd, "not_finite": _not_finite(leaf, numbers, ids), **preview}


def _not_finite(leaf: Any, numbers: Tensor, ids: list[Any]) -> list[Any] | None:
    """The ids of the examples with values that are not finite; None where rows are not those of the examples."""
    if len(leaf) != len(ids) if numbers.ndim else True:
        return None
    odd = ~numbers.isfinite()
    if isinstance(leaf, Ragged | Packed):
        bounds = (leaf.offsets if isinstance(leaf, Ragged) else leaf.documents[leaf.sequences]).tolist()
        rows = [bool(odd[low:high].any()) for low, high in pairwise(bounds)]
    else:
        rows = odd.reshape(len(odd), -1).any(1).tolist()
    return [number for number, is_odd in zip(ids, rows, strict=True) if is_odd]


def _listed(ids: list[Any]) -> str:
    text = ", ".join(map(str, ids[:32]))
    return text if len(ids) <= 32 else f"{text}, and {len(ids) - 32} more"


_NUMBERS = ("min", "mean", "max", "nan", "inf")
_FEW = 64  # values of a tensor that are all told
