"""Given batches: those of sources that give whole ones, checked, since every row has the id and the keys of an example."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from .._arrays.indexing import tensor_of
from .._arrays.ragged import Ragged
from .._errors import DataError
from .collate import collate


def batch_of(source: Any, ids: Tensor) -> Any:
    """The batch that a source gives for these ids; arrays of numpy in it are tensors, as in what is collated.

    Raises `DataError` for what has not a row for each id.
    """
    gather = getattr(source, "gather", None)
    if gather is None:
        return _of_hugging_face(source, ids)
    made, count = gather(ids), ids.numel()
    if isinstance(made, dict):
        return {name: _entry(value, count, source, name) for name, value in made.items()}
    if type(made) in (tuple, list) and not any(isinstance(value, Mapping) for value in made):
        return type(made)(_entry(value, count, source, at) for at, value in enumerate(made))
    if isinstance(made, Tensor | np.ndarray | Ragged):
        return _entry(made, count, source)
    if made is None or isinstance(made, list | tuple | str | bytes | int | float):
        found = "a list of examples" if isinstance(made, list | tuple) else f"a {type(made).__name__}"
        remedy = "; a method that returns examples is called __getitems__" if isinstance(made, list | tuple) else ""
        msg = f"gather of {type(source).__name__} returned {found}, not a batch: a dict, tuple or tensor{remedy}"
        raise DataError(msg)
    return made  # of a class of the user's, whose rows nobody else can count


def _entry(value: Any, count: int, source: Any, name: str | int | None = None) -> Any:
    """An entry of a batch, or all of it, if it has so many rows, or is one that has no rows."""
    if isinstance(value, np.ndarray):
        value = tensor_of(value, f"{_place(name)} that gather of {type(source).__name__} returned")
    rows = (value.shape[0] if value.ndim else None) if isinstance(value, Tensor) else _length(value)
    if rows is not None and rows != count:
        msg = (
            f"gather of {type(source).__name__} returned {rows} rows for {count} ids ({_place(name)}); it returns one for "
            f"each, in their order, since each has the id and the keys of its example; leave examples out in clean, or in a "
            f"split"
        )
        raise DataError(msg)
    return value


def _place(name: str | int | None) -> str:
    return "the batch" if name is None else f"entry {name!r} of the batch"


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, list | Ragged) else None


def _of_hugging_face(source: Any, ids: Tensor) -> Any:
    """A slice of a dataset of tensors; collated where that is not what the examples make."""
    batch = source[ids.tolist()]
    if all(isinstance(value, Tensor) or _is_text(value) for value in batch.values()):
        return batch
    return collate(source.__getitems__(ids.tolist()), {})


def _is_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
