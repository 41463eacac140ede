"""Tables on disk: safetensors files, written in one pass at any size, memory-mapped when read."""

import errno
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial, reduce
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import attrs
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .._arrays.indexing import dtype_name
from .._arrays.ragged import Ragged, opened
from .._arrays.table import Column, Table, with_origin
from .._errors import DataError, StoreError
from .._text import short
from ._access import remedy_of


@attrs.frozen
class _Column:
    """A column that is still to be written: name, kind of its rows if ragged, dtype and shape of a value, how many.

    A dtype that files lack is written as `STAND_INS` has it, and its name beside.
    """

    name: str
    ragged: str | None
    dtype: torch.dtype
    shape: tuple[int, ...]
    rows: int
    values: int

    def tensors(self, number: int) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """What a file has of it as its column of this number: names of tensors, their dtypes and shapes."""
        values = self.dtype, (self.values, *self.shape)
        if self.ragged is None:
            return {str(number): values}
        return {f"{number}.values": values, f"{number}.offsets": (torch.int64, (self.rows + 1,))}

    def described(self) -> dict[str, str]:
        """What a file says of it besides its tensors."""
        ragged = {} if self.ragged is None else {"ragged": self.ragged}
        return {"name": self.name, **ragged, **({"dtype": dtype_name(self.dtype)} if self.dtype in STAND_INS else {})}


def save_tables(tables: Mapping[str, Sequence[Table]], folder: Path) -> None:
    """Write, for each source name, the concatenation of its tables as one file; `tables.json` has the names in order.

    Tables that are memory-mapped themselves are copied without being held in memory. Raises `DataError` for tables
    that do not fit together, `StoreError` if they cannot be written.
    """
    for name, path in named_files(list(tables), folder).items():
        save_table(tables[name], path)


def named_files(names: Sequence[str], folder: Path) -> dict[str, Path]:
    """The paths of the files that tables of these names get in a folder, which `tables.json` there has in order."""
    files = {
        name: f"{number}-{quote(name, safe='', errors='surrogatepass')[:80]}.safetensors"
        for number, name in enumerate(names)
    }
    (folder / _TABLES).write_text(json.dumps(files), encoding="utf-8")
    return {name: folder / file for name, file in files.items()}


def open_tables(folder: Path) -> dict[str, Table]:
    """The tables that `save_tables` wrote, memory-mapped."""
    try:
        files: dict[str, str] = json.loads((folder / _TABLES).read_text(encoding="utf-8"))
        outside = next((file for file in files.values() if Path(file).name != file or "\x00" in file), None)
        if outside is not None:
            msg = f"{short(outside, 200)} is no file of that folder"
            raise ValueError(msg)
        paths = {name: folder / file for name, file in files.items()}
    except DAMAGES as error:
        msg = f"cannot read {folder / _TABLES}: {error}; {remedy_of(folder / _TABLES)}"
        raise StoreError(errno.EIO, msg) from error
    return {name: open_table(path) for name, path in paths.items()}


def save_table(parts: Sequence[Table], path: Path) -> None:
    """Write the concatenation of tables as one safetensors file, one piece at a time."""
    for _ in saving(parts, parts, path):
        pass


def save_taken(paths: Sequence[Path], path: Path) -> None:
    """Write the concatenation of the tables in files as one file, and take each away once it is written."""
    if len(paths) == 1:
        paths[0].rename(path)
        return
    for each, _ in zip(paths, saving(map(open_table, paths), map(open_table, paths), path), strict=True):
        with suppress(OSError):  # some systems keep a file while it is mapped
            each.unlink()


def saving(blocks: Iterable[Table], like: Iterable[Table], path: Path) -> Iterator[None]:
    """Write blocks of rows, one after the other, as one safetensors file; yields after each, and holds no other.

    The file begins with what is in it: `like` are tables that have as many rows and values altogether, such as the same
    rows in another order. The library's own writer wants everything in memory at once, and a table may be larger.
    """
    header, places = _header(reduce(_joined, map(_columns, like)))
    ends = dict.fromkeys(places, 0)
    try:
        with path.open("wb") as file:
            file.write(header)
            for name in (name for name in places if name.endswith(".offsets")):
                _write(torch.zeros(1, dtype=torch.int64, device="cpu"), name, places, file)
            for block in blocks:
                for number, column in enumerate(block.values()):
                    if isinstance(column, Ragged):
                        _write(column.values, f"{number}.values", places, file)
                        name = f"{number}.offsets"  # each block's continue where those before ended
                        _write(column.offsets[1:] + ends[name], name, places, file)
                        ends[name] += len(column.values)
                    else:
                        _write(column, str(number), places, file)
                yield
    except StoreError:  # of a block that cannot be read
        raise
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
    except FileNotFoundError as error:
        raise _gone(path) from error
    except DAMAGES as error:
        msg = f"cannot read the table {path}: {short(error, 500)}; {remedy_of(path)}"
        raise StoreError(errno.EIO, msg) from error
    return with_origin(table, (_Opener(path), ()), is_mapped=True)


@attrs.frozen
class _Opener:
    """What opens a table again, here or in another process; sending it fails here where that could only fail there."""

    path: Path

    def __call__(self) -> Table:
        return open_table(self.path)

    def __reduce__(self) -> Any:
        if not self.path.exists():
            raise _gone(self.path)
        return partial, (open_table, self.path)


def _gone(path: Path) -> StoreError:
    msg = (
        f"the table {path} is no longer there: what it belongs to was removed from the store after it was opened; open the "
        f"pipeline again, and it is made anew"
    )
    return StoreError(errno.ENOENT, msg)


def _column(file: Any, number: int, column: Mapping[str, Any]) -> Column:
    dtype = column.get("dtype")
    if "ragged" in column:
        values = _aligned(in_place_of(file.get_tensor(f"{number}.values"), dtype))
        return opened(values, _aligned(file.get_tensor(f"{number}.offsets")), column["ragged"])
    return _aligned(in_place_of(file.get_tensor(str(number)), dtype))


def _aligned(tensor: Tensor) -> Tensor:
    """The tensor, if its values begin at whole multiples of their size, as they are written: torch may crash at others."""
    if tensor.numel() and tensor.data_ptr() % tensor.itemsize:
        msg = f"values of {tensor.dtype} do not begin at a multiple of their size"
        raise ValueError(msg)
    return tensor


def standing_in(tensor: Tensor) -> Tensor:
    """A tensor as files can have it: complex numbers that they lack as pairs of numbers, all else as bytes."""
    if tensor.dtype not in STAND_INS:
        return tensor
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor.view(torch.uint8)


def in_place_of(tensor: Tensor, dtype: str | None) -> Tensor:
    """The tensor of this dtype that `standing_in` made the tensor of; None for the tensor's own dtype."""
    if dtype is None:
        return tensor
    wanted = next((known for known in STAND_INS if dtype_name(known) == dtype), None)
    if wanted is None:
        msg = f"there is no dtype {short(dtype, 60)}"
        raise ValueError(msg)
    return torch.view_as_complex(tensor) if wanted.is_complex else tensor.view(wanted)


def _columns(table: Table) -> list[_Column]:
    return [_column_of(name, column) for name, column in table.items()]


def _column_of(name: str, column: Column) -> _Column:
    ragged, values = (column.kind, column.values) if isinstance(column, Ragged) else (None, column)
    if values.dtype not in DTYPES and values.dtype not in STAND_INS:
        msg = f"column {name!r} has dtype {values.dtype}, which tables on disk cannot have; convert it"
        raise DataError(msg)
    return _Column(name, ragged, values.dtype, tuple(values.shape[1:]), len(column), len(values))


def _joined(ones: list[_Column], others: list[_Column]) -> list[_Column]:
    """The columns of two tables one after the other; a table without rows may have any."""
    if not (ones[0].rows and others[0].rows):
        return ones if ones[0].rows or not others[0].rows else others
    names, of_others = [one.name for one in ones], [other.name for other in others]
    if names != of_others:
        msg = f"tables of one source have the same columns; these have {names} and {of_others}"
        raise DataError(msg)
    return [_joined_column(one, other) for one, other in zip(ones, others, strict=True)]


def _joined_column(one: _Column, other: _Column) -> _Column:
    if one.ragged != other.ragged:
        msg = f"column {one.name!r} is ragged in some tables and not in others, or of several kinds; they must agree"
        raise DataError(msg)
    if one.values and other.values and (one.dtype, one.shape) != (other.dtype, other.shape):
        kinds = " and ".join(sorted(f"{column.dtype} of shape {column.shape}" for column in (one, other)))
        msg = f"column {one.name!r} has rows of {kinds}; the rows of a column have one dtype and shape"
        raise DataError(msg)
    first = one if one.values or not other.values else other
    return attrs.evolve(first, rows=one.rows + other.rows, values=one.values + other.values)


def _header(columns: list[_Column]) -> tuple[bytes, dict[str, int]]:
    """How a file of these columns begins, and where in it each tensor does."""
    tensors = [tensor for number, column in enumerate(columns) for tensor in column.tensors(number).items()]
    described, starts, start = {}, {}, 0
    # The widest first, which keeps every tensor aligned without holes.
    for name, (dtype, shape) in sorted(tensors, key=lambda tensor: -tensor[1][0].itemsize):
        stand_in, pair = STAND_INS.get(dtype, (dtype, ()))
        starts[name], stop = start, start + torch.Size(shape).numel() * dtype.itemsize
        described[name] = {"dtype": DTYPES[stand_in], "shape": [*shape, *pair], "data_offsets": [start, stop]}
        start = stop
    about = json.dumps([column.described() for column in columns])
    header = json.dumps({"__metadata__": {"columns": about}, **described}).encode()
    # Torch reads values from whole multiples of their size, and complex128 has 16 bytes.
    header += b" " * (-(len(header) + 8) % max(8, *(dtype.itemsize for _, (dtype, _) in tensors)))
    begin = len(header).to_bytes(8, "little") + header
    return begin, {name: len(begin) + start for name, start in starts.items()}


def _write(tensor: Tensor, name: str, places: dict[str, int], file: BinaryIO) -> None:
    """Write the next rows of a tensor of the file, a few MB at a time, and advance its place."""
    if not len(tensor):
        return
    file.seek(places[name])
    for block in torch.split(tensor, max(1, _BLOCK // max(1, tensor[:1].nbytes))):
        whole = block.detach().cpu().resolve_conj().resolve_neg().contiguous()
        flat = whole.as_strided((whole.numel(),), (1,))  # one value may have any stride, and count as contiguous
        places[name] += file.write(flat.view(torch.uint8).numpy().data)


# Torch, JSON and safetensors say in many ways that bytes are not what they should be.
DAMAGES = (SafetensorError, OSError, LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError)
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
