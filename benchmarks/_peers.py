"""Contenders that are iterables of batches, and loaders that may not be installed."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeVar


T = TypeVar("T")
Epoch = Callable[[], Iterable[dict[str, Any]]]
"""Makes the batches of an epoch: of the next one each time."""


def where_installed(package: str, make: Callable[[], Mapping[str, T]]) -> Mapping[str, T]:
    """The contenders that need a package; none, and a line that says so, where it is not installed."""
    if find_spec(package) is not None:
        return make()
    print(f"{package} is not installed: it is left out")
    return {}


def counted(epoch: Epoch) -> Callable[[], int]:
    """A contender that goes through an epoch and returns how many labels it has seen."""
    return partial(_count, epoch)


def _count(epoch: Epoch) -> int:
    return sum(len(batch["label"]) for batch in epoch())
