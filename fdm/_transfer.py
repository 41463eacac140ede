"""The device boundary: batches of any structure move to a device, and nothing else about them changes."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from ._errors import DataError, did_you_mean, listed
from ._nested import entries, map_leaves, with_entries


T = TypeVar("T")


def move(batch: T, device: torch.device | str, skip: Sequence[str] = ()) -> T:
    """`batch` with everything that has a `.to` method moved to `device`, except the top-level entries in `skip`.

    Goes through mappings, lists, tuples, named tuples, sets, dataclasses and attrs classes, frozen or not; containers
    are new and of the same type. What has no `.to` stays as it is. Raises `DataError` if `skip` names an entry that
    the batch does not have.
    """
    top = entries(batch)
    for name in skip:
        if name not in top:
            msg = f"transfer: skip names {name!r}{did_you_mean(name, top)}, but the batch has {listed(top)}"
            raise DataError(msg)
    kept = {name: top[name] for name in skip}
    hidden = with_entries(batch, dict.fromkeys(kept)) if kept else batch
    moved = map_leaves(lambda leaf: _moved(leaf, device), hidden, _is_movable)
    return with_entries(moved, kept) if kept else moved


def _is_movable(leaf: Any) -> bool:
    return not isinstance(leaf, type) and callable(getattr(leaf, "to", None))


def _moved(leaf: Any, device: torch.device | str) -> Any:
    if not _is_movable(leaf):
        return leaf
    moved = leaf.to(device)
    return leaf if moved is None else moved  # some move themselves in place, and return nothing
