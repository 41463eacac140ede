"""Reading ahead: the system is asked for all the bytes of a batch at once, while they are not in memory.

Without that, each row of a batch on disk waits alone, when the gather comes to it; with it, the disk works on all rows
at the same time. To ask is advice to the system: it can change no value.
"""

import ctypes
import mmap
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from threading import local
from time import perf_counter
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import attrs
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._arrays.ragged import Ragged
from .._arrays.table import Column, Table


if sys.platform == "linux":
    import resource

T = TypeVar("T")
Spans: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


def ahead(source: Any, read: Callable[[Tensor], T]) -> Callable[[Tensor], T]:
    """The function `read`, from example ids to what `source` has there, which asks for all their bytes first.

    It asks as long as batches come from disk; once one came from memory, it only watches, at about a microsecond a
    batch. Sources that are no tables on disk, and systems other than Linux, get `read` as it is. Can be called by
    several threads at once.
    """
    ask = _asker()
    if ask is None or not isinstance(source, Table) or not source.is_mapped:
        return read
    columns, state = list(source.values()), _STATES.setdefault(source, _State())

    def read_ahead(ids: Tensor) -> T:
        began = perf_counter()
        if state.is_cold:
            _SEEN.reads = _reads()
            _ask_for(columns, ids.numpy(), ask)
        found = read(ids)
        if state.is_cold or perf_counter() - began > _INSTANT:
            # What the thread has read elsewhere meanwhile counts too: then one batch is asked for in vain.
            before, _SEEN.reads = _SEEN.reads, _reads()
            state.is_cold = _SEEN.reads != before
        return found

    return read_ahead


@attrs.define(eq=False)
class _State:
    """Whether the last batch of a table came from disk: known to all loaders and threads of the process."""

    is_cold: bool = True


class _Seen(local):
    """The count of reads when this thread looked last."""

    reads = 0


def spans(column: Tensor, rows: NDArray[np.int64]) -> Spans:
    """Where the bytes of these rows begin and end in memory; they may overlap, as windows do.

    >>> import torch
    >>> starts, ends = spans(torch.zeros(9, 5, dtype=torch.int16), np.array([2, 8]))
    >>> (starts - starts[0]).tolist(), (ends - starts).tolist()
    ([0, 60], [10, 10])
    """
    inner = list(zip(column.shape[1:], column.stride()[1:], strict=True))
    values = 1 + sum((size - 1) * stride for size, stride in inner) if column[:1].numel() else 0
    starts = column.data_ptr() + rows * (column.stride(0) * column.itemsize)
    return starts, starts + values * column.itemsize


def pages(found: Spans) -> list[tuple[int, int]]:
    """The whole pages that hold these spans, in their order: where each run begins and ends.

    Spans that follow each other are one run. The order is that of the gather, which so waits least.

    >>> page = mmap.PAGESIZE
    >>> runs = pages((np.array([9 * page, page + 5, 2 * page]), np.array([9 * page + 7, 2 * page, 2 * page + 1])))
    >>> [(start // page, end // page) for start, end in runs]
    [(9, 10), (1, 3)]
    """
    some = found[0] < found[1]
    starts, ends = found[0][some] // _PAGE * _PAGE, -(-found[1][some] // _PAGE) * _PAGE
    begins = np.ones(len(starts), dtype=bool)
    begins[1:] = (starts[1:] > ends[:-1]) | (starts[1:] < starts[:-1]) | (ends[1:] < ends[:-1])
    return list(zip(starts[begins].tolist(), ends[np.roll(begins, -1)].tolist(), strict=True))


def _ask_for(columns: Sequence[Column], rows: NDArray[np.int64], ask: Callable[[int, int, int], int]) -> None:
    # Ragged columns last, since they are read a little, to know where their rows are.
    for column in sorted(columns, key=lambda column: isinstance(column, Ragged)):
        for found in _spans_of(column, rows):
            runs = pages(found)
            # Rows one after the other are best left to the system, which sees that and reads on behind them.
            for start, end in runs if len(runs) > 1 else ():
                for piece in range(start, end, _PIECE):
                    ask(piece, min(_PIECE, end - piece), mmap.MADV_WILLNEED)


def _spans_of(column: Column, rows: NDArray[np.int64]) -> Iterator[Spans]:
    """The bytes of these rows; those of the offsets before those of the values, which can only then be known."""
    if isinstance(column, Tensor):
        yield spans(column, rows)
        return
    yield spans(column.offsets.unfold(0, 2, 1), rows)
    offsets = column.offsets.numpy()
    # A damaged file may have any numbers here, and nothing beyond the values is to be asked for.
    at_rows = (np.clip(offsets[at], 0, len(column.values)) for at in (rows, rows + 1))
    (starts, _), (ends, _) = (spans(column.values, at) for at in at_rows)
    yield starts, ends


def _reads() -> int:
    """A count that rises when this thread has something read from disk, or waits until it is.

    Torch's own threads have counts of their own: they gather other parts of the same batch, so that this thread's part
    tells of theirs.
    """
    if sys.platform != "linux":
        return 0
    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return usage.ru_inblock + usage.ru_majflt


@cache
def _asker() -> Callable[[int, int, int], int] | None:
    """The C library's `madvise(address, size, advice)`; None where there is none that reads ahead."""
    if sys.platform != "linux":
        return None
    try:
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    return madvise


_SEEN = _Seen()
_STATES: WeakKeyDictionary[Table, _State] = WeakKeyDictionary()
_INSTANT = 5e-5  # seconds in which a batch is here sooner than a disk answers, so that nobody needs to look
_PAGE = mmap.PAGESIZE
_PIECE = 1 << 17  # bytes asked for in one call: of more, Linux may leave out what is beyond its own reading ahead
