"""Lists: columns of what lists hold, a value for each row."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from .._errors import DataError
from .indexing import dtype_name, plain_tensor, tensor_of
from .numbers import group_of, lists_of_numbers, numbers, strange
from .ragged import Ragged, ragged_of, ragged_of_texts


Column: TypeAlias = Tensor | Ragged


def column_of(values: Sequence[Any], what: str, first: int = 0) -> Column:
    """The column that has these values: a tensor of numbers, bools, or equal tensors; `Ragged` of all else.

    Strings, bytes, lists of numbers, whatever their lengths, and tensors of different length are rows of a `Ragged`.
    `what` names the column in the `DataError` for what would be lost, and `first` is the number of its first row.

    >>> column_of([1, 2], "column 'a'"), column_of(["a", "b"], "column 'b'")
    (tensor([1, 2]), Ragged(2 rows of str, 2 values))
    """
    if not len(values):
        msg = f"{what} is an empty list, whose dtype nobody knows; give an empty tensor: torch.empty(0, dtype=...)"
        raise DataError(msg)
    groups = {group_of(kind) for kind in set(map(type, values))}
    if len(groups) > 1 or None in groups:
        raise strange(values, what, lambda place: first + place)
    match groups.pop():
        case "bool" | "number":
            return numbers(values, what, lambda place: first + place)
        case "list":
            flat, lengths = lists_of_numbers(values, what, lambda place: first + place)
            return ragged_of(flat, lengths)
        case "array":
            return _of_arrays(values, what, first)
        case _:
            return ragged_of_texts(values, what, first)


def _of_arrays(arrays: Sequence[Any], what: str, first: int) -> Column:
    tensors = [_tensor(array, f"{what}, row {first + place},") for place, array in enumerate(arrays)]
    same = tensors[0].dtype, tensors[0].shape[1:], tensors[0].ndim
    for place, tensor in enumerate(tensors):
        if (tensor.dtype, tensor.shape[1:], tensor.ndim) != same:
            one, other = (f"{dtype_name(each.dtype)} of shape {tuple(each.shape)}" for each in (tensors[0], tensor))
            msg = (
                f"{what} has {one} in row {first} and {other} in row {first + place}; the rows of a column have one "
                f"dtype, and differ at most in their length, the first dimension"
            )
            raise DataError(msg)
    if len({len(tensor) for tensor in tensors if tensor.ndim}) > 1:
        return ragged_of(torch.cat(tensors), list(map(len, tensors)))
    return torch.stack(tensors)


def _tensor(array: Any, what: str) -> Tensor:
    return tensor_of(array, what) if isinstance(array, np.ndarray) else plain_tensor(array, what)
