"""Values of Arrow: tensors and ragged columns of the buffers that an Arrow array has, type by type, as copies."""

import ctypes
import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._errors import DataError
from .indexing import select, tensor_of
from .ragged import Column, Kind, Ragged


@attrs.frozen
class Field:
    """A type of Arrow: its format, the column's name, and what it is made of."""

    format: str
    name: str
    metadata: Mapping[str, str]
    children: tuple["Field", ...]
    dictionary: "Field | None"


@attrs.frozen
class Chunk:
    """An array of Arrow, or a cut of one: how long, from where on, and the addresses of its buffers, which are lent."""

    length: int
    offset: int
    null_count: int
    buffers: tuple[int | None, ...]
    children: tuple["Chunk", ...]
    dictionary: "Chunk | None"


@attrs.frozen
class Cut:
    """Some values of an array: `length` from `start` on, of the column that `what` names; `row` is the row of each, for errors."""

    field: Field
    chunk: Chunk
    start: int
    length: int
    what: str
    row: Callable[[int], int]

    @property
    def size(self) -> int:
        """How many values each has, of a type of fixed size."""
        return int(self.field.format.partition(":")[2])

    def array(self, word: str, *, buffer: int = 1, times: int = 1, more: int = 0) -> NDArray[Any]:
        """The numbers in a buffer, `times` of each value, and `more` behind."""
        address = self.chunk.buffers[buffer]
        return _array(address, word, self.start * times, self.length * times + more)

    def offsets(self, word: str) -> NDArray[np.int64]:
        """Where in what lies behind each value begins, and where the last one ends."""
        return self.array(word, more=1).astype(np.int64) if self.length else np.zeros(1, dtype=np.int64)


def empty_chunk(field: Field) -> Chunk:
    """An array of a type without any values."""
    dictionary = None if field.dictionary is None else empty_chunk(field.dictionary)
    return Chunk(0, 0, 0, (None,) * 3, tuple(map(empty_chunk, field.children)), dictionary)


def column_of(cut: Cut) -> Column:
    """The column of the values. Raises `DataError` for nulls, and for types that have no place in tensors."""
    if cut.field.format == "n" and cut.length:
        raise null(cut.what, cut.row(0))
    check_nulls(cut)
    return _read(cut)


def check_nulls(cut: Cut) -> None:
    """Raise `DataError` where a value is null."""
    chunk = cut.chunk
    if not chunk.null_count or not cut.length or not chunk.buffers or chunk.buffers[0] is None:
        return
    valid = _bits(chunk.buffers[0], cut.start, cut.length)
    if not valid.all():
        raise null(cut.what, cut.row(int(valid.argmin())))


def null(what: str, row: int) -> DataError:
    """The error of a value that is missing."""
    return DataError(
        f"{what} has no value in row {row} (a null), and tensors have no place for that; fill it, with a value that says so "
        f"(fill_null(-1), fillna('')), or drop such rows (drop_nulls(), dropna())"
    )


def metadata_of(address: int | None) -> dict[str, str]:
    """The keys and values that a type carries: each with its length before it, as 32 bit numbers."""
    if not address:
        return {}
    place, texts = 4, []
    for _ in range(2 * _number(address)):
        size = _number(address + place)
        texts.append(ctypes.string_at(address + place + 4, size).decode(errors="replace"))
        place += 4 + size
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _number(address: int) -> int:
    return ctypes.c_int32.from_address(address).value


def _read(cut: Cut) -> Column:
    kind = cut.field.format.partition(":")[0]
    extension = cut.field.metadata.get("ARROW:extension:name")
    if extension not in (None, _TENSORS) or kind not in _READERS:
        raise _unknown(cut.field, cut.what, extension)
    if cut.field.dictionary is not None:
        return _of_dictionary(cut)
    column = _READERS[kind](cut)
    return column if extension is None else _shaped(cut.field, column, cut.what)


def _of_dictionary(cut: Cut) -> Column:
    words, field = cut.chunk.dictionary, cut.field.dictionary
    assert words is not None
    assert field is not None
    numbers = cut.array(_NUMBERS[cut.field.format]).astype(np.int64)
    if words.null_count and words.buffers[0] is not None and cut.length:
        lacking = ~_bits(words.buffers[0], words.offset, words.length)[numbers]
        if lacking.any():
            raise null(cut.what, cut.row(int(lacking.argmax())))
    values = _read(Cut(field, words, words.offset, words.length, cut.what, lambda _: cut.row(0)))
    rows = torch.from_numpy(numbers)
    return select(values, rows) if isinstance(values, Tensor) else values[rows]


def _numbers(cut: Cut) -> Column:
    return tensor_of(cut.array(_NUMBERS[cut.field.format]), cut.what)


def _bools(cut: Cut) -> Column:
    return torch.from_numpy(_bits(cut.chunk.buffers[1], cut.start, cut.length))


def _texts(cut: Cut) -> Column:
    offsets = cut.offsets("i8" if cut.field.format in "UZ" else "i4")
    values = _array(cut.chunk.buffers[2], "u1", int(offsets[0]), int(offsets[-1] - offsets[0]))
    return _ragged(values, offsets - offsets[0], "str" if cut.field.format in "uU" else "bytes")


def _views(cut: Cut) -> Column:
    """Texts of which each says where it is: in its own 16 bytes, or in one of the buffers behind."""
    views = cut.array("u1", times=16).reshape(cut.length, 16)
    numbers = views.view("<i4").reshape(cut.length, 4)
    places = zip(numbers.tolist(), map(bytes, views), strict=True)
    texts = [
        view[4 : 4 + size] if size <= _INLINE else ctypes.string_at((cut.chunk.buffers[2 + buffer] or 0) + at, size)
        for (size, _, buffer, at), view in places
    ]
    values = np.frombuffer(bytearray(b"".join(texts)), dtype=np.uint8)
    return _ragged(values, _summed(numbers[:, 0]), "str" if cut.field.format == "vu" else "bytes")


def _fixed_bytes(cut: Cut) -> Column:
    values = cut.array("u1", times=cut.size)
    return _ragged(values, np.arange(cut.length + 1, dtype=np.int64) * cut.size, "bytes")


def _lists(cut: Cut) -> Column:
    offsets = cut.offsets("i8" if cut.field.format == "+L" else "i4")
    ends = offsets[1:] - offsets[0]
    values = _inner(cut, int(offsets[0]), int(offsets[-1]), lambda at: int(np.searchsorted(ends, at, side="right")))
    return Ragged(values, torch.from_numpy(offsets - offsets[0]))


def _list_views(cut: Cut) -> Column:
    word = "i8" if cut.field.format == "+vL" else "i4"
    starts, sizes = (cut.array(word, buffer=buffer).astype(np.int64) for buffer in (1, 2))
    begin, end = int(starts.min(initial=0)), int((starts + sizes).max(initial=0))

    def row_of(at: int) -> int:
        return int(((starts <= at) & (at < starts + sizes)).argmax())

    values = _inner(cut, begin, end, row_of)
    pieces = [values[at - begin : at - begin + size] for at, size in zip(starts.tolist(), sizes.tolist(), strict=True)]
    return Ragged(torch.cat(pieces) if pieces else values, torch.from_numpy(_summed(sizes)))


def _fixed_lists(cut: Cut) -> Column:
    width = cut.size
    values = _inner(cut, cut.start * width, (cut.start + cut.length) * width, lambda at: at // width)
    return values.reshape(cut.length, width, *values.shape[1:])


def _inner(cut: Cut, begin: int, end: int, row_of: Callable[[int], int]) -> Tensor:
    """The values of lists, which are numbers; `row_of` is the place of the list that a value is in."""
    (child,), (field,) = cut.chunk.children, cut.field.children
    values = column_of(Cut(field, child, child.offset + begin, end - begin, cut.what, lambda at: cut.row(row_of(at))))
    if isinstance(values, Ragged):
        kind = "lists" if values.kind == "tensor" else values.kind
        msg = (
            f"{cut.what} has lists of {kind}; a row may be a list of numbers, or one text: join them, explode the rows, or "
            f"encode them as numbers"
        )
        raise DataError(msg)
    return values


def _shaped(field: Field, column: Column, what: str) -> Column:
    """The tensors that a column of the canonical extension type has: of one shape, kept as flat lists."""
    about = json.loads(field.metadata.get("ARROW:extension:metadata") or "{}")
    order = about.get("permutation")
    if not isinstance(column, Tensor) or (order is not None and order != sorted(order)):
        msg = f"{what} has tensors whose dimensions are permuted ({order}); give them in order, as an array"
        raise DataError(msg)
    return column.reshape(len(column), *about["shape"])


def _unknown(field: Field, what: str, extension: str | None) -> DataError:
    kind = field.format
    if extension is not None:
        return DataError(
            f"{what} is of the extension type {extension!r}, whose meaning is not known here; cast it to the type that it is "
            f"kept as, its storage, or to numbers"
        )
    if kind.startswith("t"):
        about = "dates, times and durations, which tensors do not hold; cast it to int64 or to text"
    elif kind.startswith("d"):
        about = "decimals, which tensors do not hold; cast it to float64 where rounding harms nobody, or to text"
    elif kind == "+s":
        about = (
            "structs; give each of their fields a column of its own: table.flatten() (Arrow, datasets), "
            f"frame.unnest({field.name!r}) (polars)"
        )
    elif kind == "+m":
        about = "maps; give each key a column of its own, or keep them as text"
    else:
        about = "a type that tensors do not have; cast it to numbers, text, or lists of numbers"
    return DataError(f"{what} has {about} (Arrow's format {kind!r})")


def _array(address: int | None, word: str, start: int, length: int) -> NDArray[Any]:
    """A copy of values in a buffer."""
    dtype = np.dtype(word)
    if not length or not address:
        return np.zeros(length, dtype=dtype)
    lent = (ctypes.c_char * (length * dtype.itemsize)).from_address(address + start * dtype.itemsize)
    copied: NDArray[Any] = np.frombuffer(memoryview(lent), dtype=dtype).copy()
    return copied


def _bits(address: int | None, start: int, length: int) -> NDArray[np.bool_]:
    packed = _array(address, "u1", start // 8, -(-(start % 8 + length) // 8))
    return np.unpackbits(packed, bitorder="little")[start % 8 :][:length].astype(np.bool_)


def _summed(lengths: NDArray[Any]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _ragged(values: NDArray[Any], offsets: NDArray[np.int64], kind: Kind) -> Ragged:
    return Ragged(torch.from_numpy(values), torch.from_numpy(offsets), kind)


_TENSORS = "arrow.fixed_shape_tensor"
_INLINE = 12  # bytes of a text that stand in its view
_NUMBERS = {
    "c": "i1",
    "C": "u1",
    "s": "i2",
    "S": "u2",
    "i": "i4",
    "I": "u4",
    "l": "i8",
    "L": "u8",
    "e": "f2",
    "f": "f4",
    "g": "f8",
}
_READERS: dict[str, Callable[[Cut], Column]] = {
    **dict.fromkeys(_NUMBERS, _numbers),
    "b": _bools,
    **dict.fromkeys("uUzZ", _texts),
    **dict.fromkeys(("vu", "vz"), _views),
    "w": _fixed_bytes,
    **dict.fromkeys(("+l", "+L"), _lists),
    **dict.fromkeys(("+vl", "+vL"), _list_views),
    "+w": _fixed_lists,
}
