"""The device boundary: batches of any structure move to a device, and nothing else about them changes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from toolz import valmap
from torch import Tensor

from .._arrays.packed import Packed
from .._arrays.ragged import Ragged
from .._arrays.tree import entries, leaves, map_leaves, places, with_entries
from .._errors import DataError, did_you_mean, listed
from .._plans.rows import Rows


T = TypeVar("T")


def move(batch: T, device: torch.device | str, skip: Sequence[str] = ()) -> T:
    """`batch` with everything that has a `.to` method moved to `device`, except the top-level entries in `skip`.

    Goes through mappings, lists, tuples, named tuples, sets, dataclasses and attrs classes, frozen or not; containers
    are new and of the same type. What has no `.to` stays as it is. Raises `DataError` if `skip` names an entry that
    the batch does not have.
    """
    plain: Any = batch
    if device == "cpu" and not skip and type(plain) is dict and _is_on_host(plain):
        moved: Any = plain.copy()  # which is what follows, in a tenth of its time
        return cast("T", moved)
    return _except_entries(batch, skip, lambda rest: map_leaves(lambda leaf: _moved(leaf, device), rest, is_movable))


def _is_on_host(batch: dict[Any, Any]) -> bool:
    for value in batch.values():  # noqa: SIM110 - a generator would take as long again
        if type(value) is not Tensor or not value.is_cpu:
            return False
    return True


def left_behind(batch: Any, skip: Sequence[str] = ()) -> tuple[str, Any] | None:
    """The first object in a batch that a transfer leaves where it is with the tensors that it holds, and its place."""
    top = entries(batch)
    rest: Any = {name: top[name] for name in top if name not in skip} if skip else batch
    for place, leaf in places(rest, is_movable, at="" if skip else "batch"):
        if not is_movable(leaf) and not isinstance(leaf, type) and _holds_tensors(leaf):
            return place, leaf
    return None


def _holds_tensors(thing: Any) -> bool:
    slots = [name for cls in type(thing).__mro__ for name in getattr(cls, "__slots__", ()) if hasattr(thing, name)]
    held = [*getattr(thing, "__dict__", {}).values(), *(getattr(thing, name) for name in slots)]
    return any(isinstance(leaf, Tensor | Ragged | Packed) for value in held for leaf in leaves(value, is_movable))


def moved_ahead(
    batches: Iterator[tuple[Rows, Any]], device: str, skip: Sequence[str], *, pin: bool
) -> Iterator[tuple[Rows, Any, Any]]:
    """Batches on their way to a CUDA device: copies that a stream of their own goes on with while others compute.

    Each has the event after which its copies are there; `arrived` waits for it.
    """
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch has no types for it
    for rows, batch in batches:
        with torch.cuda.stream(stream):
            sent = _except_entries(batch, skip, lambda rest: map_leaves(_sender(device, pin), rest, is_movable))
            there = stream.record_event()
        yield rows, sent, there


def arrived(batch: T, event: Any, device: str, skip: Sequence[str]) -> T:
    """A batch that `moved_ahead` sent, once the work that follows on this stream may use it."""
    current = torch.cuda.current_stream(device)
    current.wait_event(event)

    def here(leaf: Any) -> Any:
        for tensor in _tensors(leaf):
            if tensor.is_cuda:
                tensor.record_stream(current)  # else its memory could be given away while this stream still reads it
        return _moved(leaf, device)

    return _except_entries(batch, skip, lambda rest: map_leaves(here, rest, is_movable))


def has_streams(device: str) -> bool:
    """Whether copies to the device can run beside its computations."""
    return torch.device(device).type == "cuda"


def numbered(device: str) -> str:
    """A device that has streams with its number: which one "cuda" is depends on the thread that asks."""
    return device if ":" in device else f"{device}:{torch.cuda.current_device()}"


def wait_for(device: str) -> None:
    """Wait until a device has done what it was asked for; the CPU always has."""
    if has_streams(device):
        torch.cuda.synchronize(device)


def _except_entries(batch: T, skip: Sequence[str], change: Callable[[T], T]) -> T:
    if not skip:
        return change(batch)
    top = entries(batch)
    for name in skip:
        if name not in top:
            msg = f"transfer: skip names {name!r}{did_you_mean(name, top)}, but the batch has {listed(top)}"
            raise DataError(msg)
    kept = {name: top[name] for name in skip}
    return with_entries(change(with_entries(batch, dict.fromkeys(kept))), kept)


def _sender(device: str, pin: bool) -> Callable[[Any], Any]:
    """What starts the copy of a leaf; objects with a `.to` of their own wait until they are used, on that stream."""

    def pinned(tensor: Tensor) -> Tensor:
        return tensor.pin_memory() if pin and tensor.is_cpu and not tensor.is_sparse else tensor

    def send(leaf: Any) -> Any:
        if isinstance(leaf, Ragged | Packed):
            tensors = {name: value for name, value in entries(leaf).items() if isinstance(value, Tensor)}
            return with_entries(leaf, valmap(send, tensors))
        return pinned(leaf).to(device, non_blocking=True) if isinstance(leaf, Tensor) else leaf

    return send


def _tensors(leaf: Any) -> tuple[Tensor, ...]:
    if isinstance(leaf, Ragged | Packed):
        return tuple(value for value in entries(leaf).values() if isinstance(value, Tensor))
    return (leaf,) if isinstance(leaf, Tensor) else ()


def is_movable(leaf: Any) -> bool:
    """Whether a transfer moves it as a whole."""
    return not isinstance(leaf, type) and callable(getattr(leaf, "to", None))


def _moved(leaf: Any, device: torch.device | str) -> Any:
    if not is_movable(leaf):
        return leaf
    moved = leaf.to(device)
    return leaf if moved is None else moved  # some move themselves in place, and return nothing
