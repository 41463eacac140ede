"""Facts on disk: JSON values and tensors that a measure stage found."""

import errno
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .._arrays.indexing import plain_tensor, tensor_of
from .._errors import DataError, StoreError
from .._text import plain
from ._access import remedy_of
from ._tables import STAND_INS, in_place_of, name_of, standing_in


def save_facts(facts: Mapping[str, Any], folder: Path) -> None:
    """Write facts: JSON values to `facts.json`, tensors to `facts.safetensors` under their places."""
    tensors = {str(place): value for place, value in enumerate(facts.values()) if isinstance(value, Tensor)}
    plain = [None if isinstance(value, Tensor) else value for value in facts.values()]
    content = {"names": list(facts), "plain": plain, "tensors": list(tensors)}
    dtypes = {place: name_of(value.dtype) for place, value in tensors.items() if value.dtype in STAND_INS}
    content |= {"dtypes": dtypes} if dtypes else {}
    try:
        (folder / _PLAIN).write_text(json.dumps(content), encoding="utf-8")
        if tensors:
            kept = {place: standing_in(value.contiguous().clone()) for place, value in tensors.items()}
            save_file(kept, folder / _TENSORS)
    except (OSError, SafetensorError) as error:
        msg = f"cannot write facts to {folder} ({error}); what is published is untouched"
        raise StoreError(getattr(error, "errno", None) or errno.EIO, msg) from error


def open_facts(folder: Path) -> dict[str, Any]:
    """The facts that `save_facts` wrote, tensors as copies."""
    try:
        stored = json.loads((folder / _PLAIN).read_text(encoding="utf-8"))
        found = dict(zip(stored["names"], stored["plain"], strict=True))
        if stored["tensors"]:
            with safe_open(folder / _TENSORS, framework="pt") as file:
                for place in stored["tensors"]:
                    kept = file.get_tensor(place).clone()
                    found[stored["names"][int(place)]] = in_place_of(kept, stored.get("dtypes", {}).get(place))
    except (OSError, ValueError, TypeError, LookupError, SafetensorError) as error:
        msg = f"cannot read {folder / _PLAIN} and its tensors: {error}; {remedy_of(folder / _PLAIN)}"
        raise StoreError(errno.EIO, msg) from error
    return found


def plain_fact(name: str, value: Any) -> Any:
    """A fact as it is stored: a JSON value or a tensor; numpy values become those. `DataError` for anything else."""
    if isinstance(value, np.ndarray):
        value = tensor_of(value, f"the fact {name!r}").clone()
    if not isinstance(value, Tensor):
        return plain(value, partial(_json, name))
    return plain_tensor(value, f"the fact {name!r}").cpu()


def _json(name: str, value: Any) -> Any:
    """What JSON has a form for only as numbers: those of numpy, and NaN and infinity, which `json` writes in its own."""
    match value:
        case float():
            return value
        case np.generic() if value.dtype.kind in "biuf":
            return value.item()
        case _:
            msg = f"the fact {name!r} is neither a JSON value nor a tensor: it is, or has inside, {value!r:.60}"
            raise DataError(msg)


_PLAIN, _TENSORS = "facts.json", "facts.safetensors"
