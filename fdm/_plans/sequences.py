"""Sequences: what pack makes of a table, as a source whose examples are put together when they are read."""

from collections.abc import Mapping
from typing import Any, Protocol

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._arrays.indexing import select
from .._arrays.packed import gather_columns
from .._arrays.ragged import Ragged
from .._arrays.table import Table
from .._errors import DataError, UnknownNameError, did_you_mean, listed
from .._orders.order import Order
from .._orders.packing import Joined, Packing, Pieces, packing_of
from .._stages.stage import Pack


class EpochKeys(Protocol):
    """The keys of epochs."""

    def of(self, epoch: int, /) -> int: ...


@attrs.frozen(eq=False)
class Sequences:
    """The sequences of `documents`, an order over the examples of `table`, as `packing` has them; some are `packed` columns.

    By the `keys` of epochs other documents come together in each; without them they stay.
    """

    table: Table
    documents: Order
    packing: Packing | Joined
    packed: tuple[str, ...]
    keys: EpochKeys | None

    def __len__(self) -> int:
        return self.packing.size

    def __getitem__(self, number: int) -> Any:
        return self.examples(torch.tensor([number]), 0)[0]

    def gather(self, numbers: Tensor, epoch: int) -> dict[str, Any]:
        """The batch of these sequences in an epoch: what is packed as `Packed`, other columns ragged by sequence."""
        documents, starts, stops, offsets = self._pieces(numbers, epoch)
        packed = gather_columns(self._ragged(), documents, starts, stops, offsets)
        rows, bounds = torch.from_numpy(documents), torch.from_numpy(offsets)
        return {
            name: Ragged(select(column, rows), bounds) if isinstance(column, Tensor) else packed[name]
            for name, column in self.table.items()
        }

    def examples(self, numbers: Tensor, epoch: int) -> list[dict[str, Any]]:
        """These sequences, each as an example: a `Packed` of one sequence, and tensors with a row for each document."""
        batch = self.gather(numbers, epoch)
        return [{name: column[row] for name, column in batch.items()} for row in range(len(numbers))]

    def ids(self, numbers: Tensor, epoch: int) -> Ragged:
        """The example ids of the documents in these sequences."""
        documents, _, _, offsets = self._pieces(numbers, epoch)
        return Ragged(torch.from_numpy(documents), torch.from_numpy(offsets))

    def _pieces(self, numbers: Tensor, epoch: int) -> Pieces:
        pieces = self.packing.pieces(numbers.numpy(), None if self.keys is None else self.keys.of(epoch))
        return pieces._replace(documents=np.ascontiguousarray(self.documents.at(pieces.documents)))

    def _ragged(self) -> dict[str, Ragged]:
        columns = {name: self.table[name] for name in self.packed}
        return {name: column for name, column in columns.items() if isinstance(column, Ragged)}


def packing_for(stage: Pack, table: Any, documents: Order) -> Packing | Joined:
    """The plan of the sequences of a split, from the lengths of its documents.

    Raises `DataError`, or `UnknownNameError`, for a source that is no table or has no such ragged column.
    """
    lengths = lengths_of(table, stage.column, "pack")[documents.at(np.arange(documents.size, dtype=np.int64))]
    if stage.whole:
        return packing_of(lengths, stage.length, stage.most)
    return Joined(stage.length, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))


def lengths_of(source: Any, column: str, kind: str) -> NDArray[np.int64]:
    """The length of each row of a ragged column; `kind` is the stage that asks."""
    if not isinstance(source, Table):
        msg = (
            f"{kind}: lengths are those of a ragged column of a Table, and the examples come from a "
            f"{type(source).__name__}; make a table of them in clean, with fdm.Ragged.of(rows)"
        )
        raise DataError(msg)
    if column not in source:
        msg = (
            f"{kind}: no column {column!r}{did_you_mean(column, source.keys())}; the table has {listed(source.keys())}"
        )
        raise UnknownNameError(msg)
    ragged = source[column]
    if not isinstance(ragged, Ragged):
        others = [name for name, each in source.items() if isinstance(each, Ragged)]
        there = f"the ragged ones are {listed(others)}" if others else "make it one with fdm.Ragged.of(rows)"
        msg = f"{kind}: rows of column {column!r} all have one length, of shape {tuple(ragged.shape[1:])}; {there}"
        raise DataError(msg)
    return ragged.offsets.diff().numpy()


def packed_columns(table: Table, column: str) -> tuple[str, ...]:
    """The ragged columns that are packed with `column`: all, since they have its lengths.

    Raises `DataError` for one that has others, or is of strings or bytes.
    """
    lengths = lengths_of(table, column, "pack")
    names = [name for name, each in table.items() if isinstance(each, Ragged)]
    for name in names:
        ragged = table[name]
        assert isinstance(ragged, Ragged)
        if ragged.kind != "tensor":
            what = "is what is packed" if name == column else "stands beside it"
            msg = f"pack: column {name!r}, of {ragged.kind}, {what}; {_remedy(name, column)}"
            raise DataError(msg)
        others = ragged.offsets.diff().numpy()
        if not np.array_equal(lengths, others):
            row = int(np.flatnonzero(lengths != others)[0])
            msg = (
                f"pack: ragged columns are packed alike, and in row {row} {column!r} has {lengths[row]} values, {name!r} "
                f"{others[row]}; {_remedy(name, column)}"
            )
            raise DataError(msg)
    return tuple(names)


def _remedy(name: str, column: str) -> str:
    if name == column:
        return "encode it to numbers in clean: tokens, or bytes as torch.uint8"
    return f"leave {name!r} out in clean, or keep in its place one number for each example"


def columns_of(source: Table | Sequences) -> Mapping[str, Any]:
    """The columns of what can be gathered whole, by name; of sequences as a batch without any has them."""
    empty = torch.empty(0, dtype=torch.int64, device="cpu")
    return source.gather(empty, 0) if isinstance(source, Sequences) else dict(source.items())
