"""The state of torch in which batches are made: that of a fresh thread, whatever state the loop is in.

A loop may run under autocast, without gradients, with a default device or under a mode that looks at every operation.
Threads know nothing of that, so batches that are made in the loop's own thread, and in processes that are forked from
it, must not either.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ParamSpec, TypeVar

import torch
from torch import overrides
from torch.utils import _python_dispatch as dispatch


P = ParamSpec("P")
T = TypeVar("T")


def settled(make: Callable[P, T], device: str = "cpu") -> Callable[P, T]:
    """`make` without autocast, inference mode and other modes, with gradients, and with the CPU as the default device.

    What `make` itself leaves behind, such as a default device, does not stay. `device` is where it computes.
    """
    kind = device.partition(":")[0]

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if not _is_fresh(kind):
            with fresh(kind):
                return make(*args, **kwargs)
        try:
            return make(*args, **kwargs)
        finally:
            if not _is_fresh(kind):
                _clear(kind)

    return run


@contextmanager
def fresh(device: str = "cpu") -> Iterator[None]:
    """The state of a fresh thread, and afterwards the one before. A process that is forked in it stays in it."""
    modes, default = _popped(), getattr(_DEFAULT, "device_context", None)
    _DEFAULT.device_context = None
    try:
        with ExitStack() as stack:
            for kind in {"cpu", "cuda", device}:
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            stack.enter_context(torch.inference_mode(mode=False))
            with torch.enable_grad():
                yield
    finally:
        _popped()
        _DEFAULT.device_context = default
        for push, mode in reversed(modes):
            push(mode)


def single(make: Callable[P, T]) -> Callable[P, T]:
    """`make` with one thread inside each operation of torch's, on whose number the last bit of a sum depends."""

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        threads = torch.get_num_threads()
        if threads != 1:
            torch.set_num_threads(1)
        try:
            return make(*args, **kwargs)
        finally:
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)

    return run


def _is_fresh(kind: str) -> bool:
    return (
        torch.is_grad_enabled()
        and not torch.is_inference_mode_enabled()
        and not (_casts() and (torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled(kind)))
        and not _modes()
        and not _dispatch_modes()
    )


def _clear(kind: str) -> None:
    """Undo what was left behind by a function that was called in a fresh state."""
    _popped()
    _DEFAULT.device_context = None
    torch.set_grad_enabled(mode=True)
    for name in {"cpu", kind}:
        torch.set_autocast_enabled(name, False)


def _popped() -> list[tuple[Callable[[Any], None], Any]]:
    """All modes of this thread, taken off their stacks, the innermost first, each with what puts it back.

    A mode that is merely overruled by another would go on to cost time at every operation.
    """
    push, push_dispatch = (getattr(module, "_push_mode") for module in (overrides, dispatch))  # noqa: B009 - private
    pop, pop_dispatch = (getattr(module, "_pop_mode") for module in (overrides, dispatch))  # noqa: B009 - private
    return [
        *((push, pop()) for _ in range(_modes())),
        *((push_dispatch, pop_dispatch()) for _ in range(_dispatch_modes())),
    ]


def _some_casts() -> bool:
    return True


# This is asked for every batch, and nothing public tells as fast. A default device is a mode on a stack of torch's, and
# torch.get_default_device() takes a tenth of the time of a batch; to ask of one device's autocast takes thrice as long
# as of any device's.
_modes: Callable[[], int] = torch._C._len_torch_function_stack  # noqa: SLF001 - as said
_dispatch_modes: Callable[[], int] = torch._C._len_torch_dispatch_stack  # noqa: SLF001 - as said
_casts: Callable[[], Any] = getattr(torch._C, "_is_any_autocast_enabled", _some_casts)  # noqa: SLF001 - as said
_DEFAULT: Any = getattr(torch, "_GLOBAL_DEVICE_CONTEXT")  # noqa: B009 - what torch.get_default_device() tells in this thread
