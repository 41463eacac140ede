"""Sources: anything with a length and examples by index, and views of some of their examples."""

import inspect
import operator
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from .._arrays.frames import is_of
from .._arrays.indexing import row_numbers, select
from .._arrays.ragged import Ragged
from .._arrays.table import Column, Table
from .._errors import DataError, UnknownNameError, did_you_mean, listed, noted
from .._fingerprint.canonical import canonical, digest
from .._orders.order import Order, is_natural, written_out
from .._public import public
from .._random.ambient import seeded
from .._random.key import Key
from .._random.permutation import derive, permute
from .._text import short


@public
@runtime_checkable
class Source(Protocol):
    """What examples come from: a `Table`, a list, any map-style torch dataset, a Hugging Face dataset.

    A source may offer two methods more. `__getitems__(list of ids)` returns the list of these examples. `gather(ids)`, of an
    int64 tensor, returns their whole batch: a dict, tuple or tensor with a row for each id, in their order, which nobody
    else holds, and which is what collating the examples would give. Where no stage works on single examples and `batch`
    has no `collate`, batches come from `gather` alone, as those of a `Table` do. Hugging Face datasets with the format
    torch are read in this way too. A class whose `__getitems__` returns a batch says so by that name:

        def gather(self, ids):
            return self.__getitems__(ids.tolist())
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...


@attrs.frozen(eq=False, repr=False)
class View:
    """Some examples of a source, in some order, without a copy: what `measure` and split functions are given.

    `view[i]` is an example. Where the source is a `Table`, a view is read as one: `view["label"]` is the column of
    these rows, and `keys`, `items`, `in` and `view[indices]` are the table's.
    """

    source: Any
    order: Order

    def keys(self) -> KeysView[str]:
        """The names of the columns of the table below."""
        return self._table().keys()

    def items(self) -> ItemsView[str, Column]:
        """The columns of these rows, with their names."""
        return {name: self._column(name) for name in self.keys()}.items()

    def values(self) -> ValuesView[Column]:
        """The columns of these rows."""
        return {name: self._column(name) for name in self.keys()}.values()

    def __contains__(self, name: object) -> bool:
        return name in self._table()

    def __len__(self) -> int:
        return self.order.size

    def __iter__(self) -> Iterator[Any]:
        return (self[position] for position in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            return self._column(index)
        positions = row_numbers(index, len(self), "view")
        if positions.ndim:
            return self._table().gather(self.ids(positions.numpy()))
        number = int(self.ids(positions.numpy().reshape(1))[0])
        with noted(f"reading example {number} from a {type(self.source).__name__}"):
            return self.source[number]

    def batches(self, size: int = 1024) -> Iterator[dict[str, Any]]:
        """All rows in order, `size` at a time: for facts about splits that are larger than memory."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """A list of examples."""
        return examples(self.source, self.ids(np.asarray(indices, dtype=np.int64)))

    def ids(self, positions: NDArray[np.int64]) -> Tensor:
        """The example ids at `positions`, as an int64 tensor."""
        return torch.from_numpy(np.ascontiguousarray(self.order.at(positions)))

    def _column(self, name: str) -> Column:
        column = self._table()[name]
        ids = torch.from_numpy(written_out(self.order))
        return column[ids] if isinstance(column, Ragged) else select(column, ids)

    def _table(self) -> Table:
        if not isinstance(self.source, Table):
            msg = f"the examples come from a {type(self.source).__name__}, which has no columns; read them by position"
            raise DataError(msg)
        return self.source

    def __repr__(self) -> str:
        return f"<view of {len(self)} examples of {short(self.source, 100)}>"


def given(view: View) -> Any:
    """What a user's function gets: the view, or the source itself where that is no table, and all of it is meant."""
    # A table is always viewed: who gets it whole could change it in place.
    whole = is_natural(view.order, len(view.source)) and not isinstance(view.source, Table)
    return view.source if whole else view


@contextmanager
def lent(view: View, function: str) -> Iterator[Any]:
    """What a user's function gets, as `given` has it, while it runs.

    Raises `DataError` if `function` has changed the source in place: every reader of this process would see that, and
    none of another one. Lists, tensors and arrays are compared with what they were, large ones in some places; of other
    sources a few examples are, as far as they are values, and the same whenever they are read.
    """
    look = _looking(view.source)
    before = look()
    yield given(view)
    if look() != before:
        kind = type(view.source).__name__
        msg = (
            f"{function} changed the {kind} that it was given, in place; in this process all that read it would see the "
            f"change, in others nobody. Let it work on a copy, such as copy.deepcopy(source) or source.clone(), or change "
            f"what is loaded in the load function"
        )
        raise DataError(msg)


def _looking(source: Any) -> Callable[[], Any]:
    """A function that looks at a source, and returns the same as long as nobody has changed it."""
    match source:
        case Table() | range():  # a table hands out copies
            return lambda: None
        case Tensor() | np.ndarray() if source.nbytes <= _SMALL and source.dtype != object:
            return lambda: canonical(source)
        case Tensor() | np.ndarray() if len(source) and source.dtype != object:
            rows = _some_of(len(source), _ROWS)
            return lambda: (_version(source), source.shape, canonical(source[rows]))
        case np.ndarray():  # of objects
            return _looking_into(source.reshape(-1))
        case TensorDataset():
            parts = [_looking(tensor) for tensor in source.tensors]
            return lambda: [look() for look in parts]
        case Subset():
            parts = [_looking(source.dataset), _looking(source.indices)]
            return lambda: [look() for look in parts]
        case list() | tuple():
            return _looking_into(source)
        case _:
            places = _steady(source, _some_of(len(source), _FEW))
            return lambda: (len(source), _read(source, places))


def _looking_into(source: Any) -> Callable[[], Any]:
    """The same for a container of objects: which ones they are, and of some the values."""
    held = list(source)
    places = _some_of(len(held), _ROWS)

    def look() -> Any:
        are_same = len(held) == len(source) and all(map(operator.is_, held, source))
        return are_same, [_value(held[place]) for place in places]

    return look


def _steady(source: Any, places: Sequence[int]) -> list[int]:
    """The places where a source has the same value whenever it is read."""
    first, again = _read(source, places), _read(source, places)
    return [place for place, one, other in zip(places, first, again, strict=True) if one == other != None]  # noqa: E711


def _read(source: Any, places: Sequence[int]) -> list[Any]:
    values = []
    for place in places:
        with seeded(_KEY.fold(place)):  # what it draws shall move nothing else
            try:
                values.append(_value(source[place]))
            except (Exception, SystemExit, GeneratorExit):  # noqa: BLE001 - told where it is read in earnest
                values.append(None)
    return values


def _value(example: Any) -> str | None:
    """The digest of an example; None where it is no value that can be compared."""
    try:
        return digest(canonical(example))
    except Exception:  # noqa: BLE001 - a user's object, which may raise anything
        return None


def _version(source: Any) -> int:
    """How often torch has changed a tensor in place, or its views."""
    return source._version if isinstance(source, Tensor) and not source.is_inference() else 0  # noqa: SLF001 - torch's


def _some_of(size: int, most: int) -> list[int]:
    """All places, or of many the first, the last, and some between."""
    if size <= most:
        return list(range(size))
    between = permute(np.arange(most - 2, dtype=np.int64), size, derive(0, "compared", size))
    return sorted({0, *between.tolist(), size - 1})


def gives_batches(source: Any) -> bool:
    """Whether a source that is no table gives whole batches, by `gather(ids)` or as Hugging Face's datasets of tensors."""
    if isinstance(source, list | tuple | Tensor | np.ndarray):  # a tensor's own is another thing
        return False
    known = getattr(source, "has_gather", None)  # of one that is opened elsewhere
    if isinstance(known, bool):
        return known
    return _takes_ids(getattr(source, "gather", None)) or is_of_tensors(source)


def is_of_tensors(source: Any) -> bool:
    """Whether it is a dataset of Hugging Face's in the format torch."""
    return is_of(source, "datasets", "Dataset") and source.format["type"] == "torch"


def _takes_ids(gather: Any) -> bool:
    try:
        inspect.signature(gather).bind(None)
    except (TypeError, ValueError):  # no function, of other arguments, or one that does not tell
        return False
    return True


def examples(source: Any, ids: Tensor) -> list[Any]:
    """The examples with these ids, by the source's `__getitems__` where it has one.

    Raises `DataError` if that gives more or fewer: some would have the ids and keys of others.
    """
    if hasattr(source, "__getitems__"):
        returned = source.__getitems__(ids.tolist())
        if isinstance(returned, Mapping):
            msg = (
                f"__getitems__ of {type(source).__name__} returned a {type(returned).__name__}, a whole batch it seems, and "
                f"not a list of examples; a source that gives batches has a method gather(ids): "
                f"def gather(self, ids): return self.__getitems__(ids.tolist()), and needs no stages on single examples"
            )
            raise DataError(msg)
        found = list(returned)
        if len(found) != len(ids):
            msg = (
                f"__getitems__ of {type(source).__name__} returned {len(found)} examples for {len(ids)} ids; it returns "
                f"one for each, in their order; leave examples out in clean, or in a split; a method that returns whole "
                f"batches is called gather"
            )
            raise DataError(msg)
        return found
    return [source[index] for index in ids.tolist()]


def column_of(source: Any, name: str) -> Any:
    """The column `name` of a source: of a table, of a dataset that has columns, or entry by entry of its examples."""
    if isinstance(source, View):
        if isinstance(source.source, Table):
            return source[name]
        whole = column_of(source.source, name)
        return [whole[index] for index in written_out(source.order).tolist()]
    if isinstance(source, Table):
        return source[name]
    if hasattr(source, "column_names"):
        if name not in source.column_names:
            raise _no_column(name, source.column_names)
        return source[name]
    column = []
    for index in range(len(source)):
        example = source[index]
        if not isinstance(example, Mapping):
            msg = (
                f"column {name!r} of a {type(source).__name__}: its examples are {type(example).__name__}s, which have "
                f"no named entries; give a function of the source instead"
            )
            raise DataError(msg)
        if name not in example:
            raise _no_column(name, example)
        column.append(example[name])
    return column


_SMALL = 1 << 24  # bytes of an array that is looked at as a whole
_ROWS = 256  # examples that are looked at, in memory,
_FEW = 8  # and those that a source makes
_KEY = Key(0, "compared")


def _no_column(name: str, there: Any) -> UnknownNameError:
    return UnknownNameError(f"no column {name!r}{did_you_mean(name, there)}; there are {listed(there)}")
