"""Numerics: torch's settings on which results depend to the bit, taken from the loop to where batches are made.

Threads share those of their process, but for whether denormal numbers become zero, which each thread has for itself.
Processes share none: those of the loop when a batch is asked for go along with it.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeAlias, TypeVar

import torch
from torch.utils import deterministic


P = ParamSpec("P")
T = TypeVar("T")
Numerics: TypeAlias = tuple[Any, ...]
"""The values of all settings, in the order of `_SETTINGS`; None for one that cannot be asked for."""


def numerics() -> Numerics:
    """The settings of this process, and of this thread."""
    return tuple([read() for read, _ in _SETTINGS])


def set_numerics(wanted: Numerics) -> None:
    """Make the settings of this process, and of this thread, those."""
    found = numerics()
    if found == wanted:
        return
    for value, before, (_, write) in zip(wanted, found, _SETTINGS, strict=True):
        if value != before and value is not None:
            write(value)


def flushes() -> bool:
    """Whether denormal numbers become zero in this thread: torch tells nobody, but Python's own arithmetic does."""
    return _SMALLEST * _HALF == 0.0


def flushing(flush: bool, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `call` returns in a thread where denormal numbers become zero, or do not, as `flush` says."""
    if flushes() != flush:
        torch.set_flush_denormal(flush)
    return call(*args, **kwargs)


def _matmul_precision() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # somebody has set it for each backend, which only newer versions of torch can tell of
        return None


def _fill() -> bool:
    return bool(getattr(deterministic, "fill_uninitialized_memory"))  # noqa: B009 - a property, which torch's types leave out


def _set_fill(value: bool) -> None:
    setattr(deterministic, "fill_uninitialized_memory", value)  # noqa: B010 - likewise


def _switch(name: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """How a flag of `torch.backends` is read and set, also where somebody has forbidden to set those; private in torch."""
    return getattr(torch._C, f"_get_{name}"), getattr(torch._C, f"_set_{name}")  # noqa: SLF001 - as said


def _precision(backend: str, operation: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    read, write = (getattr(torch._C, f"_{way}_fp32_precision_{way}ter") for way in ("get", "set"))  # noqa: SLF001 - likewise
    return lambda: read(backend, operation), lambda value: write(backend, operation, value)


_SMALLEST, _HALF = 2.2250738585072014e-308, 0.5  # the smallest number that is not denormal
_FLAGS = (
    "mkldnn_enabled",
    "mkldnn_deterministic",
    "onednn_allow_tf32",
    "nnpack_enabled",
    "qengine",
    "cudnn_enabled",
    "cudnn_deterministic",
)
_PRECISIONS = (("generic", "all"), ("mkldnn", "all"), ("mkldnn", "matmul"), ("mkldnn", "conv"), ("mkldnn", "rnn"))
_HAS_PRECISIONS = hasattr(torch._C, "_get_fp32_precision_getter")  # noqa: SLF001 - likewise
_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (flushes, torch.set_flush_denormal),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (_fill, _set_fill),
    (_matmul_precision, torch.set_float32_matmul_precision),
    *(_switch(name) for name in _FLAGS if hasattr(torch._C, f"_get_{name}")),  # noqa: SLF001 - likewise
    *(_precision(*each) for each in (_PRECISIONS if _HAS_PRECISIONS else ())),
)
