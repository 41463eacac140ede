"""Facts on disk: JSON values and tensors that a measure stage found."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ._errors import DataError


def save_facts(facts: Mapping[str, Any], folder: Path) -> None:
    """Write facts: JSON values to `facts.json`, tensors to `facts.safetensors`."""
    tensors = {name: value for name, value in facts.items() if isinstance(value, Tensor)}
    plain = {name: value for name, value in facts.items() if name not in tensors}
    (folder / _PLAIN).write_text(json.dumps({"order": list(facts), "plain": plain}), encoding="utf-8")
    if tensors:
        save_file({name: value.contiguous().clone() for name, value in tensors.items()}, folder / _TENSORS)


def open_facts(folder: Path) -> dict[str, Any]:
    """The facts that `save_facts` wrote, tensors as copies."""
    stored = json.loads((folder / _PLAIN).read_text(encoding="utf-8"))
    found: dict[str, Any] = dict(stored["plain"])
    if (folder / _TENSORS).exists():
        with safe_open(folder / _TENSORS, framework="pt") as file:
            found.update({name: file.get_tensor(name).clone() for name in file.keys()})  # noqa: SIM118 - no mapping
    return {name: found[name] for name in stored["order"]}


def plain_fact(name: str, value: Any) -> Any:
    """A fact as it is stored: a JSON value or a tensor; numpy values become those. `DataError` for anything else."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Tensor):
        return value.detach().cpu()
    try:
        return json.loads(json.dumps(value, default=_number))
    except (TypeError, ValueError) as error:
        msg = f"the fact {name!r} is neither a JSON value nor a tensor: {error}"
        raise DataError(msg) from error


def _number(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    msg = f"a {type(value).__name__} is no JSON value"
    raise TypeError(msg)


_PLAIN, _TENSORS = "facts.json", "facts.safetensors"
