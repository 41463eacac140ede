"""Tables on disk: safetensors files, written in one pass at any size, memory-mapped when read."""

import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import attrs
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .._arrays.ragged import Ragged, mapped
from .._arrays.table import Column, Table, with_origin
from .._errors import DataError, StoreError
from ._access import remedy_of


@attrs.frozen
class _Entry:
    """A tensor of a file that is still to be written, in pieces: its name, type, rows, and shape of a row.

    A dtype that files lack is written as `STAND_INS` has it, and its name beside.
    """

    name: str
    dtype: torch.dtype
    rows: int
    row: tuple[int, ...]
    pieces: tuple[Tensor, ...]
    offsets: bool = False

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.rows * torch.Size(self.row).numel() * self.dtype.itemsize


def save_tables(tables: Mapping[str, Sequence[Table]], folder: Path) -> None:
    """Write, for each source name, the concatenation of its tables as one file; `tables.json` has the names in order.

    Tables that are memory-mapped themselves are copied without being held in memory. Raises `DataError` for tables
    that do not fit together, `StoreError` if they cannot be written.
    """
    files = {name: f"{number}-{quote(name, safe='')[:80]}.safetensors" for number, name in enumerate(tables)}
    for name, parts in tables.items():
        save_table(parts, folder / files[name])
    (folder / _TABLES).write_text(json.dumps(files), encoding="utf-8")


def open_tables(folder: Path) -> dict[str, Table]:
    """The tables that `save_tables` wrote, memory-mapped."""
    try:
        files: dict[str, str] = json.loads((folder / _TABLES).read_text(encoding="utf-8"))
        paths = {name: folder / file for name, file in files.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        msg = f"cannot read {folder / _TABLES}: {error}; {remedy_of(folder / _TABLES)}"
        raise StoreError(errno.EIO, msg) from error
    return {name: open_table(path) for name, path in paths.items()}


def save_table(parts: Sequence[Table], path: Path) -> None:
    """Write the concatenation of tables as one safetensors file, one piece at a time.

    The library's own writer wants everything in memory at once, and a table may be larger.
    """
    entries, columns = _entries([table for table in parts if len(table)] or parts[:1])
    header = json.dumps({"__metadata__": {"columns": json.dumps(columns)}, **_offsets(entries)}).encode()
    # Torch reads values from whole multiples of their size, and complex128 has 16 bytes.
    header += b" " * (-(len(header) + 8) % max(8, *(entry.dtype.itemsize for entry in entries)))
    try:
        with path.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for entry in entries:
                _write(entry, file)
    except OSError as error:
        msg = f"cannot write {path} ({error.strerror or error}); what is published is untouched"
        raise StoreError(error.errno, msg) from error


def open_table(path: Path) -> Table:
    """The table in a file, memory-mapped: nothing is read until it is used, and all processes share the pages.

    The mapping is private: no reader can change the file. Pickled, the table is its path.
    """
    try:
        with safe_open(path, framework="pt") as file:
            columns = json.loads(file.metadata()["columns"])
            table = Table({column["name"]: _column(file, number, column) for number, column in enumerate(columns)})
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        msg = f"cannot read the table {path}: {error}; {remedy_of(path)}"
        raise StoreError(errno.EIO, msg) from error
    return with_origin(table, (open_table, (path,)), is_mapped=True)


def _column(file: Any, number: int, column: Mapping[str, Any]) -> Column:
    dtype = column.get("dtype")
    if "ragged" in column:
        values = in_place_of(file.get_tensor(f"{number}.values"), dtype)
        return mapped(values, file.get_tensor(f"{number}.offsets"), column["ragged"])
    return in_place_of(file.get_tensor(str(number)), dtype)


def standing_in(tensor: Tensor) -> Tensor:
    """A tensor as files can have it: complex numbers that they lack as pairs of numbers, all else as bytes."""
    if tensor.dtype not in STAND_INS:
        return tensor
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor.view(torch.uint8)


def in_place_of(tensor: Tensor, dtype: str | None) -> Tensor:
    """The tensor of this dtype that `standing_in` made the tensor of; None for the tensor's own dtype."""
    if dtype is None:
        return tensor
    wanted: torch.dtype = getattr(torch, dtype)
    return torch.view_as_complex(tensor) if wanted.is_complex else tensor.view(wanted)


def name_of(dtype: torch.dtype) -> str:
    """The name of a dtype without its module."""
    return str(dtype).removeprefix("torch.")


def _entries(parts: Sequence[Table]) -> tuple[list[_Entry], list[dict[str, str]]]:
    """What is to be written of the columns of tables, and the names and kinds of these columns in order."""
    entries: list[_Entry] = []
    columns: list[dict[str, str]] = []
    for number, name in enumerate(parts[0].keys()):
        pieces = [_same_columns(table, parts[0])[name] for table in parts]
        ragged = [piece for piece in pieces if isinstance(piece, Ragged)]
        plain = [piece for piece in pieces if isinstance(piece, Tensor)]
        if len({piece.kind for piece in ragged}) + bool(plain) > 1:
            msg = f"column {name!r} is ragged in some tables and not in others, or of several kinds; they must agree"
            raise DataError(msg)
        if ragged:
            entries.append(_entry(f"{number}.values", name, [piece.values for piece in ragged]))
            offsets = _entry(f"{number}.offsets", name, [piece.offsets for piece in ragged])
            entries.append(attrs.evolve(offsets, rows=offsets.rows - len(ragged) + 1, offsets=True))
            columns.append({"name": name, "ragged": ragged[0].kind, **_noted(entries[-2].dtype)})
        else:
            entries.append(_entry(str(number), name, plain))
            columns.append({"name": name, **_noted(entries[-1].dtype)})
    # The widest first, which keeps every tensor aligned without holes.
    return sorted(entries, key=lambda entry: -entry.dtype.itemsize), columns


def _noted(dtype: torch.dtype) -> dict[str, str]:
    return {"dtype": name_of(dtype)} if dtype in STAND_INS else {}


def _same_columns(table: Table, first: Table) -> Table:
    if list(table.keys()) != list(first.keys()):
        msg = f"tables of one source have the same columns; these have {list(first.keys())} and {list(table.keys())}"
        raise DataError(msg)
    return table


def _entry(name: str, column: str, pieces: Sequence[Tensor]) -> _Entry:
    kinds = {(piece.dtype, tuple(piece.shape[1:])) for piece in pieces if len(piece)} or {
        (pieces[0].dtype, tuple(pieces[0].shape[1:]))
    }
    if len(kinds) > 1:
        found = " and ".join(sorted(f"{dtype} of shape {row}" for dtype, row in kinds))
        msg = f"column {column!r} has rows of {found}; the rows of a column have one dtype and shape"
        raise DataError(msg)
    ((dtype, row),) = kinds
    if dtype not in DTYPES and dtype not in STAND_INS:
        msg = f"column {column!r} has dtype {dtype}, which tables on disk cannot have; convert it"
        raise DataError(msg)
    return _Entry(name, dtype, sum(len(piece) for piece in pieces), row, tuple(pieces))


def _offsets(entries: Sequence[_Entry]) -> dict[str, Any]:
    described, start = {}, 0
    for entry in entries:
        stand_in, pair = STAND_INS.get(entry.dtype, (entry.dtype, ()))
        shape, stop = [entry.rows, *entry.row, *pair], start + entry.size
        described[entry.name] = {"dtype": DTYPES[stand_in], "shape": shape, "data_offsets": [start, stop]}
        start = stop
    return described


def _write(entry: _Entry, file: BinaryIO) -> None:
    for piece in _running(entry.pieces) if entry.offsets else entry.pieces:
        for block in torch.split(piece, max(1, _BLOCK // max(1, piece[:1].nbytes))) if len(piece) else ():
            flat = block.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data)


def _running(pieces: Sequence[Tensor]) -> Iterator[Tensor]:
    """Offsets of several ragged columns as those of one: each continues where the one before ended."""
    yield pieces[0][:1]
    end = 0
    for piece in pieces:
        yield piece[1:] + end
        end += int(piece[-1])


_TABLES = "tables.json"
_BLOCK = 1 << 24  # bytes written at a time
DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.int32: "I32",
    torch.uint32: "U32",
    torch.int64: "I64",
    torch.uint64: "U64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}
# What safetensors lacks, or had not from the start: the dtype that is written, and the dimensions that it has more.
STAND_INS: dict[torch.dtype, tuple[torch.dtype, tuple[int, ...]]] = {
    torch.complex128: (torch.float64, (2,)),
    torch.complex32: (torch.float16, (2,)),
    **{
        getattr(torch, name): (torch.uint8, ())
        for name in ("float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2")
        if hasattr(torch, name)
    },
}
