"""Collating: the batch of a list of examples."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data._utils.collate import collate as torch_collate
from torch.utils.data._utils.collate import (
    collate_float_fn,
    collate_int_fn,
    collate_numpy_array_fn,
    collate_numpy_scalar_fn,
    collate_tensor_fn,
    default_collate_fn_map,
)

from .._arrays.indexing import refuse_masked, refuse_odd, tensor_of
from .._arrays.packed import Packed, joined
from .._arrays.ragged import Ragged
from .._errors import DataError, FdmError, listed
from .._fingerprint.canonical import qualified_name


def collate(found: Sequence[Any], ragged: Mapping[str, Ragged]) -> Any:
    """A batch of examples as torch collates them, but for rows of `ragged` columns, which become `Ragged`.

    Raises `DataError`, which names the entry, for values that would lose something: masked, sparse, dates; and for those
    of which no batch can be made.
    """
    try:
        return _put_together(found, ragged)
    except FdmError:
        raise
    except Exception as error:
        trouble = _trouble(found, "")
        if trouble is None:
            raise
        raise DataError(trouble) from error


def _put_together(found: Sequence[Any], ragged: Mapping[str, Ragged]) -> Any:
    first = found[0]
    if isinstance(first, dict):
        _check_no_more(found, first)
    names = {name for name, column in ragged.items() if isinstance(first, dict) and _is_row(first.get(name), column)}
    if not names:
        return _collated(found)
    rows = {name: Ragged.of([example[name] for example in found]) for name in names}
    rest = [{name: value for name, value in example.items() if name not in names} for example in found]
    others = _collated(rest) if rest[0] else {}
    return {name: rows[name] if name in rows else others[name] for name in first}


def _check_no_more(found: Sequence[Any], first: dict[Any, Any]) -> None:
    """Raise `DataError` for an entry that a later example has and the first has not: torch would leave it out in silence."""
    for at, example in enumerate(found):
        if isinstance(example, dict) and len(example) > len(first):
            name = next(name for name in example if name not in first)
            msg = (
                f"entry {name!r} of the examples is in example {at} of the batch, and not in example 0, which has "
                f"{listed(first)}; give all the same entries, by a fdm.transform before batch"
            )
            raise DataError(msg)


def _collated(found: Sequence[Any]) -> Any:
    """As `torch.utils.data.default_collate`, with memory of this process also in a worker, whose stages may go on."""
    kinds: dict[Any, Any] = {kind: _OWN.get(call, call) for kind, call in default_collate_fn_map.items()}
    kinds.setdefault(np.datetime64, _arrays)
    kinds.setdefault(Packed, _packed)
    try:
        return torch_collate(list(found), collate_fn_map=kinds)
    except DataError as error:
        msg = f"{_entry(found, kinds)}{error}"
        raise DataError(msg) from error


def _entry(found: Sequence[Any], kinds: Mapping[Any, Any]) -> str:
    """Which of the entries of examples it is that cannot be collated, in words."""
    first, place = found[0], ""
    named = first if isinstance(first, Mapping) else dict(enumerate(first)) if isinstance(first, list | tuple) else {}
    for name in named:
        values = [example[name] for example in found]
        try:
            torch_collate(values, collate_fn_map=dict(kinds))
        except DataError:
            place = f"entry {name!r} of the examples: "
            break
    return place


def _trouble(values: Sequence[Any], path: str) -> str | None:
    """Why these values, one of each example, make no batch, and what to do; None where that is not known."""
    what = f"entry {path} of the examples" if path else "an example"
    first, kinds = values[0], [type(value) for value in values]
    if type(None) in kinds:
        return (
            f"{what} is None in example {kinds.index(type(None))} of the batch; give it a value that says so, -1 or '' "
            f"say, or leave it out by a fdm.transform before batch"
        )
    if isinstance(first, Mapping) and all(isinstance(value, Mapping) for value in values):
        return _trouble_of_entries(values, path)
    if isinstance(first, list | tuple) and all(isinstance(value, list | tuple) for value in values):
        sizes = [len(value) for value in values]
        other = next((at for at, size in enumerate(sizes) if size != sizes[0]), None)
        if other is not None:
            told = f"{sizes[0]} values in example 0 of the batch, and {sizes[other]} in example {other}"
            return f"{what} has {told}; {_UNEQUAL}"
        return _first_of(_trouble(inner, f"{path}[{at}]") for at, inner in enumerate(zip(*values, strict=True)))
    if isinstance(first, Tensor | np.ndarray) and all(isinstance(value, Tensor | np.ndarray) for value in values):
        shapes = [tuple(value.shape) for value in values]
        other = next((at for at, shape in enumerate(shapes) if shape != shapes[0]), None)
        if other is None:
            return None
        return f"{what} has shape {shapes[0]} in example 0 of the batch, and {shapes[other]} in example {other}; {_UNEQUAL}"
    strange = next((at for at, value in enumerate(values) if not isinstance(value, _COLLATED)), None)
    if strange is not None:
        return (
            f"{what} is a {_kind(kinds[strange])} in example {strange} of the batch, of which no batch is made; "
            f"make it a tensor by a fdm.transform before batch (an image: torch.from_numpy(numpy.array(image))), or say "
            f"fdm.batch(n, collate=fn)"
        )
    other = next((at for at, kind in enumerate(kinds) if kind is not kinds[0]), None)
    if other is not None:
        told = f"a {_kind(kinds[0])} in example 0 of the batch, and a {_kind(kinds[other])} in example {other}"
        return f"{what} is {told}; make them of one kind by a fdm.transform before batch"
    return None


def _trouble_of_entries(values: Sequence[Mapping[Any, Any]], path: str) -> str | None:
    for name in values[0]:
        lacking = next((at for at, value in enumerate(values) if name not in value), None)
        if lacking is not None:
            return (
                f"entry {_within(path, name)} of the examples is not in example {lacking} of the batch, which has "
                f"{listed(values[lacking])}; give all the same entries, by a fdm.transform before batch"
            )
    return _first_of(_trouble([value[name] for value in values], _within(path, name)) for name in values[0])


def _within(path: str, name: Any) -> str:
    return f"{path}[{name!r}]" if path else repr(name)


def _kind(kind: type) -> str:
    return qualified_name(kind).removeprefix("builtins.")


def _first_of(troubles: Iterable[str | None]) -> str | None:
    return next((trouble for trouble in troubles if trouble is not None), None)


def _tensors(batch: Sequence[Tensor], *, collate_fn_map: Any = None) -> Tensor:  # noqa: ARG001 - torch gives it
    refuse_odd(batch[0], "a value")
    for tensor in batch:
        if tensor.layout is not torch.strided:  # all else that is unlike the first, torch refuses
            refuse_odd(tensor, "a value")
    return torch.stack(list(batch))


def _packed(batch: Sequence[Any], *, collate_fn_map: Any = None) -> Any:  # noqa: ARG001 - torch gives it
    return joined(list(batch))


def _arrays(batch: Sequence[Any], *, collate_fn_map: Any = None) -> Any:
    plain = [tensor_of(np.asanyarray(array), "a value") for array in batch]
    return torch_collate(plain, collate_fn_map=collate_fn_map)


def _floats(batch: Sequence[Any], *, collate_fn_map: Any = None) -> Any:
    return collate_float_fn(_unmasked(batch), collate_fn_map=collate_fn_map)


def _integers(batch: Sequence[Any], *, collate_fn_map: Any = None) -> Any:
    return collate_int_fn(_unmasked(batch), collate_fn_map=collate_fn_map)


def _scalars(batch: Sequence[Any], *, collate_fn_map: Any = None) -> Any:
    dtypes = {getattr(value, "dtype", None) for value in _unmasked(batch)}
    if len(dtypes) > 1:
        return collate_numpy_scalar_fn(batch, collate_fn_map=collate_fn_map)
    return tensor_of(np.array(batch), "a value")


def _unmasked(batch: Sequence[Any]) -> Sequence[Any]:
    for value in batch:
        if value is np.ma.masked:
            refuse_masked(value, "a value")
    return batch


# Whatever else a user has put into torch's map for a type stays in force.
_OWN = {
    collate_tensor_fn: _tensors,
    collate_numpy_array_fn: _arrays,
    collate_numpy_scalar_fn: _scalars,
    collate_float_fn: _floats,
    collate_int_fn: _integers,
}


def _is_row(value: Any, column: Ragged) -> bool:
    """Whether a value can still be a row of a column: one that a stage has decoded, from bytes to pixels say, cannot."""
    if column.kind == "tensor":
        return isinstance(value, Tensor) and value.ndim == column.values.ndim
    return isinstance(value, bytes if column.kind == "bytes" else str)


_COLLATED = (Tensor, np.ndarray, np.generic, int, float, complex, str, bytes, Mapping, list, tuple, Packed)
_UNEQUAL = (
    "rows of different length go into a column of fdm.Ragged, whose batches have .padded(); or say what a batch of them "
    "is: fdm.batch(n, collate=fn)"
)
