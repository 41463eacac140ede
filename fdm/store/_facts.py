"""Facts: JSON values and tensors that measure stages found, as a mapping that cannot be changed, and on disk."""

import errno
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .._arrays.indexing import dtype_name, plain_tensor, tensor_of
from .._errors import DataError, StoreError, UnknownNameError, did_you_mean, listed
from .._stages.function import shown
from .._text import plain, short, table, without_secrets
from ._access import remedy_of
from ._tables import DAMAGES, STAND_INS, in_place_of, standing_in


@attrs.frozen(eq=False, repr=False)
class Facts(Mapping[str, Any]):
    """Facts by name: JSON values and tensors. Equal to any mapping with the same items.

    >>> Facts({"classes": 10})["classes"]
    10

    Raises `UnknownNameError`, which is a `KeyError`, for a fact that nothing measured.
    """

    _facts: dict[str, Any] = attrs.field(converter=dict)

    def __getitem__(self, name: str) -> Any:
        if name not in self._facts:
            msg = f"there is no fact {name!r}{did_you_mean(name, self._facts)}; measured: {listed(self._facts)}"
            raise UnknownNameError(msg)
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def copy(self) -> dict[str, Any]:
        """The facts as a dict of one's own."""
        return dict(self._facts)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._facts, **other} if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self._facts} if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        return f"Facts({without_secrets(repr(self._facts))})"

    def _repr_html_(self) -> str:
        return table(["fact", "value"], [(name, shown(value)) for name, value in self._facts.items()])


def save_facts(facts: Mapping[str, Any], folder: Path) -> None:
    """Write facts: JSON values to `facts.json`, tensors to `facts.safetensors` under their places."""
    tensors = {str(place): value for place, value in enumerate(facts.values()) if isinstance(value, Tensor)}
    values = [None if isinstance(value, Tensor) else value for value in facts.values()]
    content = {"names": list(facts), "plain": values, "tensors": list(tensors)}
    dtypes = {place: dtype_name(value.dtype) for place, value in tensors.items() if value.dtype in STAND_INS}
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
        if not isinstance(stored["names"], list) or not all(isinstance(name, str) for name in stored["names"]):
            msg = "the names of facts are strings"
            raise TypeError(msg)
        facts = dict(zip(stored["names"], stored["plain"], strict=True))
        if stored["tensors"]:
            with safe_open(folder / _TENSORS, framework="pt") as file:
                for place in stored["tensors"]:
                    kept = file.get_tensor(place).clone()
                    facts[stored["names"][int(place)]] = in_place_of(kept, stored.get("dtypes", {}).get(place))
    except DAMAGES as error:
        msg = f"cannot read {folder / _PLAIN} and its tensors: {error}; {remedy_of(folder / _PLAIN)}"
        raise StoreError(errno.EIO, msg) from error
    return facts


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
            msg = f"the fact {name!r} is neither a JSON value nor a tensor: it is, or has inside, {short(value, 60)}"
            raise DataError(msg)


_PLAIN, _TENSORS = "facts.json", "facts.safetensors"
