"""Structure: names, shapes, dtypes and devices of what a batch is made of, as plain values."""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import numpy as np
from torch import Tensor

from .._arrays.indexing import dtype_name
from .._arrays.ragged import Ragged
from .._arrays.tree import entries, places


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


def _described(leaf: Any) -> dict[str, Any]:
    if isinstance(leaf, Tensor):
        return {
            "type": "tensor",
            "dtype": dtype_name(leaf.dtype),
            "shape": list(leaf.shape),
            "device": str(leaf.device),
        }
    if isinstance(leaf, Ragged):
        lengths = leaf.lengths.tolist()
        about = {"rows": len(lengths), "shortest": min(lengths, default=0), "longest": max(lengths, default=0)}
        kind = {"type": f"ragged {leaf.kind}", "dtype": dtype_name(leaf.values.dtype)}
        return {**kind, "shape": list(leaf.values.shape), "device": str(leaf.values.device), **about}
    if isinstance(leaf, np.ndarray):
        return {"type": "array", "dtype": str(leaf.dtype), "shape": list(leaf.shape)}
    if isinstance(leaf, list | tuple):
        kinds = sorted({type(value).__name__ for value in leaf})
        return {"type": f"{type(leaf).__name__} of {' or '.join(kinds) or 'nothing'}", "shape": [len(leaf)]}
    return {"type": type(leaf).__name__} | ({"shape": [len(leaf)]} if isinstance(leaf, Mapping) else {})


def _is_leaf(value: Any) -> bool:
    if isinstance(value, list | tuple) and not entries(value):
        return all(map(_is_plain, value))
    return isinstance(value, Ragged | Tensor | set | frozenset) or (isinstance(value, Mapping) and not value)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | bytes)


def plain(value: Any) -> Any:
    """A value as JSON has it: tensors as their dtype, shape and, where there are few, values; no NaN and no infinity.

    >>> plain({"x": float("nan"), "y": (1, 2)})
    {'x': 'nan', 'y': [1, 2]}
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if isfinite(value) else repr(value)
        case Mapping():
            return {str(name): plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case Tensor():
            values = {"values": plain(value.tolist())} if value.numel() <= _FEW else {}
            return {"dtype": dtype_name(value.dtype), "shape": list(value.shape), **values}
        case _:
            return repr(value)


_FEW = 64
