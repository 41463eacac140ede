"""Tables and facts on disk: safetensors and JSON files, memory-mapped when read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ._errors import DataError, StoreError
from ._ragged import Ragged
from ._table import Table, with_origin


def save_table(table: Table, path: Path) -> None:
    """Write a table as one safetensors file; the names and kinds of its columns are in the file's metadata."""
    tensors: dict[str, Tensor] = {}
    columns: list[dict[str, str]] = []
    for number, (name, column) in enumerate(table.items()):
        if isinstance(column, Ragged):
            tensors[f"{number}.values"] = _alone(column.values)
            tensors[f"{number}.offsets"] = _alone(column.offsets)
            columns.append({"name": name, "ragged": column.kind})
        else:
            tensors[str(number)] = _alone(column)
            columns.append({"name": name})
    try:
        save_file(_apart(tensors), path, metadata={"columns": json.dumps(columns)})
    except SafetensorError as error:
        msg = f"cannot write {path}: {error}"
        raise StoreError(msg) from error


def open_table(path: Path) -> Table:
    """The table in a file, memory-mapped: nothing is read until it is used, and all processes share the pages.

    The mapping is private: no reader can change the file. Pickled, the table is its path.
    """
    try:
        with safe_open(path, framework="pt") as file:
            columns = json.loads(file.metadata()["columns"])
            table = Table({column["name"]: _column(file, number, column) for number, column in enumerate(columns)})
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        msg = f"cannot read the table {path}: {error}"
        raise StoreError(msg) from error
    return with_origin(table, (open_table, (path,)))


def save_tables(tables: Mapping[str, Table], folder: Path) -> None:
    """Write tables by source name, one file each, and `tables.json` with the names in order."""
    files = {name: f"{number}-{quote(name, safe='')[:80]}.safetensors" for number, name in enumerate(tables)}
    for name, table in tables.items():
        save_table(table, folder / files[name])
    (folder / "tables.json").write_text(json.dumps(files), encoding="utf-8")


def open_tables(folder: Path) -> dict[str, Table]:
    """The tables that `save_tables` wrote, memory-mapped."""
    files = json.loads((folder / "tables.json").read_text(encoding="utf-8"))
    return {name: open_table(folder / file) for name, file in files.items()}


def save_facts(facts: Mapping[str, Any], folder: Path) -> None:
    """Write facts: JSON values to `facts.json`, tensors to `facts.safetensors`."""
    tensors = {name: value for name, value in facts.items() if isinstance(value, Tensor)}
    plain = {name: value for name, value in facts.items() if name not in tensors}
    (folder / "facts.json").write_text(json.dumps({"order": list(facts), "plain": plain}), encoding="utf-8")
    if tensors:
        save_file(_apart({name: _alone(value) for name, value in tensors.items()}), folder / "facts.safetensors")


def open_facts(folder: Path) -> dict[str, Any]:
    """The facts that `save_facts` wrote, tensors as copies."""
    stored = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = dict(stored["plain"])
    if (folder / "facts.safetensors").exists():
        with safe_open(folder / "facts.safetensors", framework="pt") as file:
            found.update({name: file.get_tensor(name).clone() for name in file.keys()})  # noqa: SIM118 - no mapping
    return {name: found[name] for name in stored["order"]}


def plain_fact(name: str, value: Any) -> Any:
    """A fact as it is stored: a JSON value or a tensor; numpy values become those. `DataError` for anything else."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, np.generic):
        return value.item()
    try:
        return json.loads(json.dumps(value, allow_nan=True, default=_number))
    except (TypeError, ValueError) as error:
        msg = f"the fact {name!r} is neither a JSON value nor a tensor: {error}"
        raise DataError(msg) from error


def _number(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    msg = f"a {type(value).__name__} is no JSON value"
    raise TypeError(msg)


def _column(file: Any, number: int, column: Mapping[str, str]) -> Tensor | Ragged:
    if "ragged" in column:
        values, offsets = file.get_tensor(f"{number}.values"), file.get_tensor(f"{number}.offsets")
        return Ragged(values, offsets, column["ragged"])  # type: ignore[arg-type]
    tensor: Tensor = file.get_tensor(str(number))
    return tensor


def _alone(tensor: Tensor) -> Tensor:
    """The tensor on the host in storage of its own, which is what the file format takes."""
    host = tensor.detach().cpu().contiguous()
    return host if host.untyped_storage().nbytes() == host.numel() * host.element_size() else host.clone()


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, copied where two are the same memory."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        pointer = tensor.data_ptr()
        apart[name] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    return apart
