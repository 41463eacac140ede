"""Packed columns: sequences made of whole documents, kept as one run of values with the boundaries of both."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self, TypeVar, overload

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._errors import DataError
from .._public import public
from .indexing import dtype_name, refuse_odd, row_numbers, select
from .ragged import Ragged, bits_of, filled, width_of
from .tree import with_entries


Numbers = NDArray[np.int64]
PackedT = TypeVar("PackedT", bound="Packed")


@public
@attrs.frozen(eq=False, repr=False)
class Packed:
    """Sequences of documents: what a packed column is in a batch, and, as one sequence, in an example.

    `values` holds all documents one after the other, shape (values, ...). `documents` (int64, one more than there are
    documents) says where each begins in the values, `sequences` (int64, one more than there are sequences) which
    document each sequence begins with. What `padded`, `mask`, `positions` and `segments` return has a row for each
    sequence; an example's has one row.

    >>> import torch
    >>> packed = Packed.of([[torch.tensor([1, 2, 3]), torch.tensor([4])], [torch.tensor([5, 6])]])
    >>> packed
    Packed(2 sequences of 3 documents, int64, 6 values)
    >>> packed.padded(0)
    tensor([[1, 2, 3, 4],
            [5, 6, 0, 0]])
    >>> packed.positions().tolist(), packed.segments().tolist()
    ([[0, 1, 2, 0], [0, 1, 0, 0]], [[1, 1, 1, 2], [1, 1, 0, 0]])
    >>> packed.boundaries.tolist(), packed.longest, packed[1].values
    ([0, 3, 4, 6], 3, tensor([5, 6]))

    Raises `DataError` if the boundaries, on the host, do not fit the values.
    """

    values: Tensor
    documents: Tensor
    sequences: Tensor
    # On a device, how long the longest document and sequence are, as the host knew it: a look would wait for the device.
    _longest: tuple[int, int] | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        for name in ("values", "documents", "sequences"):
            if not isinstance(getattr(self, name), Tensor):
                msg = (
                    f"the {name} of a Packed are a tensor, not a {type(getattr(self, name)).__name__}; lists of documents "
                    f"go into fdm.Packed.of(sequences)"
                )
                raise DataError(msg)
        offsets = self.documents, self.sequences
        if self.values.ndim == 0 or any(
            each.dtype != torch.int64 or each.ndim != 1 or not len(each) for each in offsets
        ):
            msg = (
                "Packed needs values of one dimension or more, and int64 documents and sequences, one more than there are "
                "of each"
            )
            raise DataError(msg)
        if not all(each.is_cpu for each in offsets):  # what is there was checked on the host
            return
        refuse_odd(self.values, "what a Packed has as values")
        _check_rise("documents", self.documents, "values", len(self.values))
        _check_rise("sequences", self.sequences, "documents", len(self.documents) - 1)

    @classmethod
    def of(cls, sequences: Sequence[Sequence[Tensor | NDArray[Any]]]) -> Self:
        """The packed column of these sequences, each a list of documents: tensors or arrays that differ in length alone.

        Raises `DataError` for anything else.
        """
        documents = Ragged.of([document for sequence in sequences for document in sequence])
        if documents.kind != "tensor":
            msg = f"a document of a Packed is a tensor, not {documents.kind}; encode it first"
            raise DataError(msg)
        return cls(
            documents.values, documents.offsets, torch.from_numpy(_offsets([len(sequence) for sequence in sequences]))
        )

    @property
    def lengths(self) -> Tensor:
        """How many values each sequence has, an int64 tensor."""
        return self._starts().diff()

    @property
    def boundaries(self) -> Tensor:
        """The cumulative lengths of all documents of the batch, int32: what variable-length attention takes as cu_seqlens.

        They are those of `values`, where sequences follow each other without padding, and have one entry more than there
        are documents; `longest` is the max_seqlen beside them. Raises `DataError` beyond 2**31 - 1 values.
        """
        if len(self.values) > _MOST:
            msg = f"boundaries are int32, which end at {_MOST:,}; this Packed has {len(self.values):,} values: take fewer sequences"
            raise DataError(msg)
        return self.documents.to(torch.int32)

    @property
    def longest(self) -> int:
        """The length of the longest document; 0 where there is none."""
        return self._sizes()[0]

    def padded(self, fill: float = 0, *, to: int | None = None) -> Tensor:
        """The sequences as one tensor (sequences, longest sequence, ...), filled up with `fill` at their ends.

        With `to` it has that many columns. Raises `DataError` if a sequence is longer, or `fill` is no value of the dtype.
        """
        return self._spread(self.values, fill, to)

    def mask(self, *, to: int | None = None) -> Tensor:
        """A bool tensor (sequences, longest sequence or `to`), True where `padded` has a value."""
        return torch.arange(self._width(to), device=self.documents.device) < self.lengths[:, None]

    def positions(self, *, to: int | None = None) -> Tensor:
        """The position of each value in its document, int64, shaped as `mask`; 0 where there is no value."""
        starts = _repeated(self.documents[:-1], self.documents, len(self.values))
        if starts.is_cpu:
            return self._spread(torch.from_numpy(np.arange(len(starts)) - starts.numpy()), 0, to)
        return self._spread(torch.arange(len(starts), device=starts.device) - starts, 0, to)

    def segments(self, *, to: int | None = None) -> Tensor:
        """The number of each value's document in its sequence, from 1 on, int64, shaped as `mask`; 0 where there is none."""
        count = len(self.documents) - 1
        firsts = _repeated(self.sequences[:-1], self.sequences, count)
        numbers = torch.arange(1, count + 1, device=firsts.device) - firsts
        return self._spread(_repeated(numbers, self.documents, len(self.values)), 0, to)

    def tolist(self) -> list[list[Tensor]]:
        """The documents of each sequence."""
        starts, firsts = self.documents.tolist(), self.sequences.tolist()
        documents = [self.values[start:stop].clone() for start, stop in pairwise(starts)]
        return [documents[first:last] for first, last in pairwise(firsts)]

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The same sequences elsewhere, or of another dtype: as `torch.Tensor.to`, which boundaries follow in device."""
        values = self.values.to(*args, **kwargs)
        non_blocking = bool(kwargs.get("non_blocking", False))
        moved = {
            name: getattr(self, name).to(values.device, non_blocking=non_blocking)
            for name in ("documents", "sequences")
        }
        return with_entries(self, {"values": values, **moved, "_longest": None if values.is_cpu else self._sizes()})

    def pin_memory(self) -> Self:
        """The same sequences in page-locked memory, from which copies to a device run beside other work."""
        return with_entries(
            self, {name: getattr(self, name).pin_memory() for name in ("values", "documents", "sequences")}
        )

    def __len__(self) -> int:
        return len(self.sequences) - 1

    def __iter__(self) -> Iterator[Self]:
        return (self[row] for row in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Self: ...
    @overload
    def __getitem__(self, index: Sequence[int] | NDArray[Any] | Tensor | slice) -> Self: ...
    def __getitem__(self, index: Any) -> Self:
        rows = row_numbers(index, len(self), "Packed").reshape(-1)
        firsts, counts = self.sequences.cpu()[rows], self.sequences.cpu().diff()[rows]
        starts, stops = self._starts()[rows].tolist(), self._starts()[rows + 1].tolist()
        values = [self.values[start:stop] for start, stop in zip(starts, stops, strict=True)]
        lengths = self.documents.cpu().diff()[torch.from_numpy(ranges(firsts.numpy(), counts.numpy()))]
        return _evolved(
            self,
            torch.cat(values) if values else self.values[:0].clone(),
            torch.from_numpy(_offsets(lengths)),
            torch.from_numpy(_offsets(counts)),
        )

    def __repr__(self) -> str:
        shape = "".join(f" x {size}" for size in self.values.shape[1:])
        return (
            f"Packed({len(self)} sequences of {len(self.documents) - 1} documents, {dtype_name(self.values.dtype)}{shape}, "
            f"{len(self.values)} values)"
        )

    def _starts(self) -> Tensor:
        """Where each sequence begins in the values, and where the last one ends."""
        return self.documents[self.sequences]

    def _sizes(self) -> tuple[int, int]:
        if self._longest is not None:
            return self._longest
        documents, sequences = self.documents.cpu().numpy(), self.sequences.cpu().numpy()
        return int(np.diff(documents).max(initial=0)), int(np.diff(documents[sequences]).max(initial=0))

    def _width(self, to: int | None) -> int:
        return width_of(self._sizes()[1], to, "sequence")

    def _spread(self, values: Tensor, fill: float, to: int | None) -> Tensor:
        """One value for each of the packed ones, at the places that `padded` gives them."""
        width, starts = self._width(to), self._starts()
        shape = len(self), width, *values.shape[1:]
        if values.is_cpu and starts.is_cpu and not values.requires_grad:
            return _spread_on_host(values, starts.tolist(), filled((), fill, values), shape)
        out = filled(shape, fill, values)
        count = len(values)
        shifts = torch.arange(len(self), device=starts.device) * width - starts[:-1]
        places = _repeated(shifts, starts, count)
        places += torch.arange(count, device=starts.device)
        bits_of(out.flatten(0, 1)).index_copy_(0, places, bits_of(values))
        return out


def _repeated(each: Tensor, offsets: Tensor, size: int) -> Tensor:
    """Each of them as often as its part between the offsets is long, `size` in all: on a device without a look at it."""
    if each.is_cpu:
        return torch.from_numpy(np.repeat(each.numpy(), np.diff(offsets.numpy())))
    return torch.repeat_interleave(each, offsets.diff(), output_size=size)


def _spread_on_host(values: Tensor, starts: Sequence[int], fill: Tensor, shape: Sequence[int]) -> Tensor:
    """The same, by copies of whole sequences, in this thread: waiting for others of torch's may take longer than the work."""
    array = _array(values)
    out = np.full(shape, _array(fill), dtype=array.dtype)
    for row, (start, stop) in zip(out, pairwise(starts), strict=True):
        row[: stop - start] = array[start:stop]
    return torch.from_numpy(out).view(values.dtype)


def joined(packs: Sequence[PackedT]) -> PackedT:
    """The sequences of several packed columns, one after the other: the batch of examples that have one each."""
    return _evolved(
        packs[0],
        torch.cat([packed.values for packed in packs]),
        _joined_offsets([packed.documents for packed in packs]),
        _joined_offsets([packed.sequences for packed in packs]),
    )


def gather_pieces(ragged: Ragged, documents: Numbers, starts: Numbers, stops: Numbers, offsets: Numbers) -> Packed:
    """Pieces of rows, as the documents of sequences: piece i is row `documents[i]` from `starts[i]` to `stops[i]`.

    Sequence s has the pieces `offsets[s]` to `offsets[s + 1]`. Equivalent to
    `Packed.of([[ragged[d][i:j] for d, i, j in pieces of a sequence] for each sequence])`, in one gather.
    """
    return gather_columns({"": ragged}, documents, starts, stops, offsets)[""]


def gather_columns(
    columns: Mapping[str, Ragged], documents: Numbers, starts: Numbers, stops: Numbers, offsets: Numbers
) -> dict[str, Packed]:
    """The same pieces of several columns, whose rows have equal lengths: where they are is worked out once."""
    origins = next(iter(columns.values())).offsets.numpy()[documents]
    begins, ends = _merged(origins + starts, origins + stops)
    bounds, places = _offsets(stops - starts), None
    # Slices cost by their number, and an index by its values: they are even at some hundred values a slice.
    if bounds[-1] <= _EVEN * len(begins):
        places = torch.from_numpy(ranges(begins, ends - begins))
    boundaries = torch.from_numpy(bounds), torch.from_numpy(offsets)
    return {
        name: _unchecked(
            _sliced(column.values, begins, ends) if places is None else select(column.values, places), *boundaries
        )
        for name, column in columns.items()
    }


def _unchecked(values: Tensor, documents: Tensor, sequences: Tensor) -> Packed:
    """A packed column whose boundaries are known to be right."""
    packed = Packed.__new__(Packed)
    set_field = object.__setattr__
    set_field(packed, "values", values)
    set_field(packed, "documents", documents)
    set_field(packed, "sequences", sequences)
    set_field(packed, "_longest", None)
    return packed


def ranges(starts: Numbers, counts: Numbers) -> Numbers:
    """The integers from each start on, as many as its count, one after the other.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(counts, dtype=np.int64)
    numbers = np.repeat(starts - (ends - counts), counts)
    numbers += np.arange(len(numbers))
    return numbers


def _merged(starts: Numbers, stops: Numbers) -> tuple[Numbers, Numbers]:
    """The same values as fewer ranges: neighbours that follow each other are one."""
    is_cut = starts[1:] != stops[:-1]
    if is_cut.all():
        return starts, stops
    (cuts,) = np.nonzero(is_cut)
    return starts[np.append(0, cuts + 1)], stops[np.append(cuts, len(stops) - 1)]


def _sliced(values: Tensor, starts: Numbers, stops: Numbers) -> Tensor:
    array = _array(values)
    slices = [array[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
    return torch.from_numpy(np.concatenate(slices)).view(values.dtype)


def _array(values: Tensor) -> NDArray[Any]:
    """The bits of values in memory that is shared: numpy lacks some dtypes."""
    return values.detach().view(_WORDS[values.itemsize]).numpy()


def _offsets(lengths: Any) -> Numbers:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(np.asarray(lengths), out=offsets[1:])
    return offsets


def _joined_offsets(each: Sequence[Tensor]) -> Tensor:
    return torch.from_numpy(_offsets(torch.cat([offsets.diff() for offsets in each]).cpu()))


def _evolved(packed: PackedT, values: Tensor, documents: Tensor, sequences: Tensor) -> PackedT:
    device = packed.documents.device
    return attrs.evolve(packed, values=values, documents=documents.to(device), sequences=sequences.to(device))


def _check_rise(name: str, offsets: Tensor, what: str, end: int) -> None:
    array = offsets.numpy()
    if array[0] != 0 or array[-1] != end or bool((array[1:] < array[:-1]).any()):
        msg = f"the {name} of a Packed rise from 0 to the number of {what}, {end}; these do not: {offsets}"
        raise DataError(msg)


_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}
_EVEN = 256  # values a slice
_MOST = 2**31 - 1
