"""Ragged columns: rows of different length, kept as one run of values and the offsets between them."""

import errno
from collections.abc import Iterator, Sequence
from math import isnan
from operator import gt
from typing import Any, Literal, Self, TypeAlias, overload

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import integer
from .._errors import DataError, StoreError
from .._habits.attributes import OtherConstructors, OtherNames
from .._habits.calls import guided_class
from .._public import public
from .._text import short
from .indexing import plain_tensor, refuse_odd, row_numbers, tensor_of
from .numbers import LISTS, lists_of_numbers


Kind = Literal["tensor", "bytes", "str"]
Row = Tensor | bytes | str


@public
@guided_class
@attrs.frozen(eq=False, repr=False)
class Ragged(OtherNames, metaclass=OtherConstructors):
    """Rows of different length: token sequences, encoded images, strings.

    `values` holds all rows one after the other, shape (sum of lengths, ...); `offsets` (rows + 1 integers) says where
    each begins; `kind` is what a row was put in as: a tensor, bytes or a string (UTF-8). In a batch that was made by
    length, `edge` is the length that all rows of the step, on all ranks, are padded to.

    >>> import torch
    >>> words = Ragged.of(["a", "functional", "pipeline"])
    >>> len(words), words[1], words[[2, 0]].tolist()
    (3, 'functional', ['pipeline', 'a'])
    >>> Ragged.of([torch.tensor([1, 2, 3]), torch.tensor([4])]).padded(fill=0)
    tensor([[1, 2, 3],
            [4, 0, 0]])

    Raises `DataError` if the offsets, on the host, do not fit the values.
    """

    values: Tensor
    offsets: Tensor
    kind: Kind = attrs.field(default="tensor", validator=attrs.validators.in_(("tensor", "bytes", "str")))
    edge: int | None = None

    def __attrs_post_init__(self) -> None:
        offsets = self.offsets
        for name, given in (("values", self.values), ("offsets", offsets)):
            if not isinstance(given, Tensor):
                msg = (
                    f"the {name} of a Ragged are a tensor, not a {type(given).__name__}: torch.as_tensor({name}); rows go "
                    f"into fdm.Ragged.of(rows)"
                )
                raise DataError(msg)
        if offsets.dtype != torch.int64 or offsets.ndim != 1 or len(offsets) == 0 or self.values.ndim == 0:
            msg = "Ragged needs values of one dimension or more and int64 offsets, one more than there are rows"
            raise DataError(msg)
        if not offsets.is_cpu:  # a look would wait for the device; what is there was checked on the host
            return
        refuse_odd(self.values, "what a Ragged has as values")
        if int(offsets[0]) != 0 or int(offsets[-1]) != len(self.values) or bool((offsets.diff() < 0).any()):
            msg = f"Ragged offsets rise from 0 to the number of values, {len(self.values)}; these do not: {offsets}"
            raise DataError(msg)

    @classmethod
    def of(cls, rows: Sequence[Row | NDArray[Any] | Sequence[Any]]) -> Self:
        """The ragged column of these rows: all tensors (or arrays), all lists of numbers, all bytes, or all strings.

        Tensor rows have one dtype and agree in all dimensions but the first. Whole numbers of lists are int64, others
        float64. Raises `DataError` for anything else.

        >>> Ragged.of([[1, 2, 3], [4]])
        Ragged(2 rows of tensor torch.int64, 4 values)
        """
        rows = list(rows)
        if rows and all(isinstance(row, LISTS) for row in rows):
            flat, lengths = lists_of_numbers(rows, "a Ragged", int)
            return cls(flat, _offsets(lengths))
        kind = _kind(rows)
        tensors = [_encoded(row, number, "a Ragged") for number, row in enumerate(rows)]
        if len({(row.dtype, row.shape[1:]) for row in tensors}) > 1:
            found = sorted({f"{row.dtype} {tuple(row.shape)}" for row in tensors})
            msg = f"the rows of a Ragged differ in more than their length: {', '.join(found[:3])}"
            raise DataError(msg)
        values = torch.cat(tensors) if tensors else torch.empty(0, dtype=torch.uint8, device="cpu")
        return cls(values, _offsets([len(row) for row in tensors]), kind)

    @property
    def lengths(self) -> Tensor:
        """The length of each row (bytes for strings), an int64 tensor."""
        return self.offsets.diff()

    def padded(self, fill: float = 0, *, to: int | None = None) -> Tensor:
        """The rows as one tensor (rows, longest or `edge`, ...), filled up with `fill` at their ends.

        With `to` it has that many columns. Raises `DataError` if a row is longer, or `fill` is no value of the dtype.

        >>> Ragged.of([torch.tensor([1, 2, 3]), torch.tensor([4])]).padded(to=4).tolist()
        [[1, 2, 3, 0], [4, 0, 0, 0]]
        """
        mask = self.mask(to=to)
        out = filled((*mask.shape, *self.values.shape[1:]), fill, self.values)
        bits_of(out)[mask] = bits_of(self.values)
        return out

    def mask(self, *, to: int | None = None) -> Tensor:
        """A bool tensor (rows, longest or `to`), True where `padded` has a value."""
        lengths = self.lengths
        width = width_of(int(lengths.max()) if len(self) else 0, self.edge if to is None else to, "row")
        return torch.arange(width, device=lengths.device) < lengths[:, None]

    def tolist(self) -> list[Any]:
        """The rows as they were put in."""
        return self._rows(self.offsets[:-1], self.offsets[1:])

    def rows(self, numbers: Tensor) -> list[Any]:
        """The rows of these numbers (int64, in range), as they were put in, each read once."""
        return self._rows(self.offsets[numbers], self.offsets[numbers + 1])

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The same rows elsewhere, or of another dtype: as `torch.Tensor.to`, which the offsets follow in device."""
        values = self.values.to(*args, **kwargs)
        non_blocking = bool(kwargs.get("non_blocking", False))
        return attrs.evolve(self, values=values, offsets=self.offsets.to(values.device, non_blocking=non_blocking))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: Sequence[int] | NDArray[Any] | Tensor | slice) -> Self: ...
    def __getitem__(self, index: Any) -> Any:
        rows = row_numbers(index, len(self), "Ragged")
        return self._gather(rows) if rows.ndim else self._row(int(rows))

    def _row(self, row: int) -> Row:
        start, end = int(self.offsets[row]), int(self.offsets[row + 1])
        self._check_within([start], [end])
        return _decoded(self.values[start:end], self.kind)

    def _rows(self, starts: Tensor, ends: Tensor) -> list[Any]:
        bounds = starts.tolist(), ends.tolist()
        self._check_within(*bounds)
        return [_decoded(self.values[start:end], self.kind) for start, end in zip(*bounds, strict=True)]

    def _gather(self, rows: Tensor) -> Self:
        starts, ends = self.offsets[rows].tolist(), self.offsets[rows + 1].tolist()
        self._check_within(starts, ends)
        pieces = [self.values[start:end] for start, end in zip(starts, ends, strict=True)]
        values = torch.cat(pieces) if pieces else self.values[:0].clone()
        lengths = [end - start for start, end in zip(starts, ends, strict=True)]
        return attrs.evolve(self, values=values, offsets=_offsets(lengths).to(self.offsets.device))

    def _check_within(self, starts: list[int], ends: list[int]) -> None:
        """Raise `StoreError` for rows that are not within the values, which only a damaged file can have."""
        if starts and (min(starts) < 0 or max(ends) > len(self.values) or any(map(gt, starts, ends))):
            msg = f"rows of a ragged column lie outside of its {len(self.values)} values; {_DAMAGED}"
            raise StoreError(errno.EIO, msg)

    def __repr__(self) -> str:
        shape = "".join(f" x {size}" for size in self.values.shape[1:])
        dtype = f" {self.values.dtype}{shape}" if self.kind == "tensor" else ""
        return f"Ragged({len(self)} rows of {self.kind}{dtype}, {len(self.values)} values)"


def opened(values: Tensor, offsets: Tensor, kind: Kind) -> Ragged:
    """A ragged column as it lies on disk, whose offsets are looked at in pieces; of very many, only at some.

    Raises `DataError` if those that are looked at do not fit the values.
    """
    if offsets.dtype != torch.int64 or offsets.ndim != 1 or not len(offsets) or not values.ndim or kind not in _KINDS:
        msg = f"a ragged column has int64 offsets, and is of {', '.join(_KINDS)}; not {offsets.dtype} and {short(kind, 60)}"
        raise DataError(msg)
    ends = int(offsets[0]), int(offsets[-1])
    pieces = range(0, len(offsets) - 1, _PIECE)
    if len(pieces) > _MOST:
        pieces = pieces[:: -(-len(pieces) // _MOST)]
    if ends != (0, len(values)) or not all(_rises(offsets[at : at + _PIECE + 1], len(values)) for at in pieces):
        msg = f"the offsets of a ragged column do not rise from 0 to the number of values, {len(values)}"
        raise DataError(msg)
    return mapped(values, offsets, kind)


def _rises(offsets: Tensor, most: int) -> bool:
    return bool((offsets[1:] >= offsets[:-1]).all()) and 0 <= int(offsets[0]) <= int(offsets[-1]) <= most


def ragged_of(values: Tensor, lengths: Sequence[int]) -> Ragged:
    """The ragged column of rows of these lengths, whose values follow each other."""
    return Ragged(values, _offsets(lengths))


def ragged_of_texts(rows: Sequence[Any], what: str, first: int) -> Ragged:
    """The ragged column of strings or bytes; `what` names it, and `first` its first row, in the `DataError`."""
    encoded = [_utf8(row, first + at, what) if isinstance(row, str) else row for at, row in enumerate(rows)]
    whole = b"".join(encoded)
    values = (
        torch.frombuffer(bytearray(whole), dtype=torch.uint8)
        if whole
        else torch.empty(0, dtype=torch.uint8, device="cpu")
    )
    return Ragged(values, _offsets(list(map(len, encoded))), _kind(rows))


def joined_columns(columns: "Sequence[Column]") -> "Column":
    """The rows of columns of one kind and dtype, one after the other."""
    first = columns[0]
    if len(columns) == 1:
        return first
    if not isinstance(first, Ragged):
        return _cat([column for column in columns if isinstance(column, Tensor)])
    ragged = [column for column in columns if isinstance(column, Ragged)]
    lengths = torch.cat([column.lengths for column in ragged])
    return Ragged(_cat([column.values for column in ragged]), _offsets(lengths.tolist()), first.kind)


def _cat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([bits_of(tensor) for tensor in tensors]).view(tensors[0].dtype)


Column: TypeAlias = Tensor | Ragged


def mapped(values: Tensor, offsets: Tensor, kind: Kind) -> Ragged:
    """A ragged column whose offsets are known to be right, and are not read now, since they may be on disk."""
    column = Ragged.__new__(Ragged)
    for name, value in (("values", values), ("offsets", offsets), ("kind", kind), ("edge", None)):
        object.__setattr__(column, name, value)
    return column


def width_of(longest: int, to: int | None, what: str) -> int:
    """How many columns a padded tensor has: `to`, or as many as the longest has values; `DataError` if that is more."""
    if to is None:
        return longest
    width = integer("padded: to", to, DataError, least=0)
    if width < longest:
        msg = (
            f"padded: to is {width}, but the longest {what} has {longest} values, and none are cut off here: to={longest} "
            f"or more, or cut it first"
        )
        raise DataError(msg)
    return width


def filled(shape: Sequence[int], fill: float, like: Tensor) -> Tensor:
    """A tensor full of a value, of the dtype and on the device of another; `DataError` if it is no value of the dtype."""
    bits = _BITS.get(like.dtype, like.dtype)
    value = _fill_value(fill, like.dtype).view(bits).item()
    return torch.full(tuple(shape), value, dtype=bits, device=like.device).view(like.dtype)


def bits_of(tensor: Tensor) -> Tensor:
    """A tensor as one of a dtype that torch indexes: it puts no wide unsigned integers and no narrow floats anywhere, but bits."""
    bits = _BITS.get(tensor.dtype)
    return tensor if bits is None else tensor.view(bits)


def _fill_value(fill: float, dtype: torch.dtype) -> Tensor:
    """What is filled up with, as a tensor."""
    try:
        value = torch.tensor(fill, dtype=dtype, device="cpu")
        if value.item() == fill or (isnan(fill) and dtype.is_floating_point):
            return value
    except (RuntimeError, TypeError, ValueError, OverflowError):  # which it is depends on the dtype
        pass
    msg = f"padded: {fill!r} is no value of dtype {dtype}"
    raise DataError(msg)


def _offsets(lengths: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64))


def _kind(rows: Sequence[object]) -> Kind:
    kinds: set[Kind] = set()
    for row in rows:
        match row:
            case str():
                kinds.add("str")
            case bytes():
                kinds.add("bytes")
            case Tensor() | np.ndarray() if row.ndim:
                kinds.add("tensor")
            case _:
                msg = (
                    f"a row of a Ragged is a tensor of one dimension or more, bytes, a string, or, in all rows, a list of "
                    f"numbers, not {short(row, 60)}"
                )
                raise DataError(msg)
    if len(kinds) > 1:
        msg = f"the rows of a Ragged are of one kind; these are {' and '.join(sorted(kinds))}"
        raise DataError(msg)
    return kinds.pop() if kinds else "tensor"


def _encoded(row: Any, number: int, whole: str) -> Tensor:
    if isinstance(row, str | bytes):
        raw = _utf8(row, number, whole) if isinstance(row, str) else row
        return (
            torch.frombuffer(bytearray(raw), dtype=torch.uint8)
            if raw
            else torch.empty(0, dtype=torch.uint8, device="cpu")
        )
    what = "a row of a Ragged"
    return tensor_of(row, what) if isinstance(row, np.ndarray) else plain_tensor(row, what)


def _utf8(row: str, number: int, whole: str) -> bytes:
    try:
        return row.encode()
    except UnicodeEncodeError as error:
        msg = (
            f"row {number} of {whole} has, at {error.start}, half of a surrogate pair, {row[error.start]!r}, which UTF-8 "
            f"cannot have; put something in its place: row.encode('utf-8', 'replace').decode(), or keep bytes: "
            f"row.encode('utf-8', 'surrogatepass')"
        )
        raise DataError(msg) from error


def _decoded(values: Tensor, kind: Kind) -> Row:
    if kind == "tensor":
        return values.clone()
    raw = values.cpu().numpy().tobytes()
    try:
        return raw.decode() if kind == "str" else raw
    except UnicodeDecodeError as error:
        msg = f"a row of strings is no UTF-8 ({error}); {_DAMAGED}; rows of any bytes are of the kind 'bytes'"
        raise StoreError(errno.EIO, msg) from error


_FLOAT8 = "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"
_DAMAGED = "the file that it is from is damaged: fdm.store.verify tells which"
_KINDS = ("tensor", "bytes", "str")
_PIECE = 1 << 16  # offsets that are looked at together
_MOST = 64  # such pieces: at four million offsets, which takes some milliseconds
_BITS = {
    getattr(torch, name): bits
    for name, bits in {
        "uint16": torch.int16,
        "uint32": torch.int32,
        "uint64": torch.int64,
        "complex32": torch.int32,
        **dict.fromkeys(_FLOAT8, torch.uint8),
    }.items()
    if hasattr(torch, name)
}
