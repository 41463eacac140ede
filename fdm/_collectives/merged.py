"""Merged tables: many sorted runs as one table on disk, written in bounded memory."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._arrays.ragged import Ragged
from .._arrays.table import Table
from ..store._tables import DTYPES, open_table, save_tables
from .gather import refuse_twice
from .pieces import concatenated, picked, twice
from .runs import Run, merging


BLOCK = 1 << 24  # bytes that are merged at a time


def merged(runs: Mapping[Path, Run], names: Sequence[str], columns: Table, into: Path, function: str) -> Iterator[None]:
    """Write the rows of all runs, in the order of their ids, as the table of a folder for `open_tables`, bit by bit.

    `names` says of each run which rank made it, `columns` is a table without rows. Raises `DataError` for an id that
    comes twice.
    """
    save_tables({"all": [columns]}, into)
    if not runs:
        return
    ((file_name),) = json.loads((into / "tables.json").read_text(encoding="utf-8")).values()
    paths, each = list(runs), list(runs.values())
    rows = max(1, BLOCK * sum(run.rows for run in each) // sum(run.size for run in each))
    with (into / file_name).open("wb") as file:
        places = _begun(file, _tensors(columns, each), columns)
        for cuts, ids in merging(each, rows, lambda run, start, stop: _ids(paths[run], start, stop)):
            again = twice([ids])
            if again is not None:
                refuse_twice(function, again[0], _givers(cuts, ids, again[0], names))
            order = np.argsort(ids, kind="stable")
            _write(file, places, [open_table(paths[run])[start:stop] for run, start, stop in cuts], order)
            yield


@attrs.frozen
class _Tensor:
    """A tensor of the file: its dtype and shape."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of bytes."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def _tensors(columns: Table, runs: Sequence[Run]) -> dict[str, _Tensor]:
    """The tensors of the file by name, the widest first, which keeps every one aligned without holes."""
    rows = sum(run.rows for run in runs)
    found: dict[str, _Tensor] = {}
    for number, (name, column) in enumerate(columns.items()):
        if isinstance(column, Ragged):
            values = sum(run.values[name] for run in runs)
            found[f"{number}.values"] = _Tensor(column.values.dtype, (values, *column.values.shape[1:]))
            found[f"{number}.offsets"] = _Tensor(torch.int64, (rows + 1,))
        else:
            found[str(number)] = _Tensor(column.dtype, (rows, *column.shape[1:]))
    return dict(sorted(found.items(), key=lambda item: -item[1].dtype.itemsize))


def _begun(file: BinaryIO, tensors: Mapping[str, _Tensor], columns: Table) -> dict[str, int]:
    """Write the header, and tell where in the file each tensor begins."""
    described, starts, start = {}, {}, 0
    for name, tensor in tensors.items():
        starts[name], stop = start, start + tensor.size
        described[name] = {"dtype": DTYPES[tensor.dtype], "shape": tensor.shape, "data_offsets": (start, stop)}
        start = stop
    kinds = [
        {"name": name, **({"ragged": column.kind} if isinstance(column, Ragged) else {})}
        for name, column in columns.items()
    ]
    header = json.dumps({"__metadata__": {"columns": json.dumps(kinds)}, **described}).encode()
    header += b" " * (-len(header) % 8)
    file.write(len(header).to_bytes(8, "little") + header)
    file.truncate(8 + len(header) + start)
    places = {name: 8 + len(header) + at for name, at in starts.items()}
    for name in tensors:
        if name.endswith(".offsets"):
            _put(file, places, name, torch.zeros(1, dtype=torch.int64, device="cpu"))
    return {**places, **{f"{name} end": 0 for name in tensors if name.endswith(".offsets")}}


def _write(
    file: BinaryIO, places: dict[str, int], parts: Sequence[Mapping[str, Any]], order: NDArray[np.int64]
) -> None:
    for number, name in enumerate(parts[0]):
        column = picked(concatenated([part[name] for part in parts]), order)
        if isinstance(column, Ragged):
            _put(file, places, f"{number}.values", column.values)
            end = places[f"{number}.offsets end"]
            _put(file, places, f"{number}.offsets", column.offsets[1:] + end)
            places[f"{number}.offsets end"] = end + len(column.values)
        elif isinstance(column, Tensor):
            _put(file, places, str(number), column)


def _put(file: BinaryIO, places: dict[str, int], name: str, tensor: Tensor) -> None:
    file.seek(places[name])
    places[name] += file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _ids(path: Path, start: int, stop: int) -> NDArray[np.int64]:
    ids: Any = open_table(path)["id"]
    array: NDArray[np.int64] = ids[start:stop].clone().numpy()
    return array


def _givers(
    cuts: Sequence[tuple[int, int, int]], ids: NDArray[np.int64], wanted: int, names: Sequence[str]
) -> list[str]:
    of_rows = np.repeat([run for run, _, _ in cuts], [stop - start for _, start, stop in cuts])
    return [names[int(run)] for run in of_rows[ids == wanted].tolist()]
