"""The state of torch in which batches are made: that of a fresh thread, whatever state the loop is in.

A loop may run under autocast, without gradients, or with a default device. Threads and processes know nothing of that,
so batches that are made in the loop's own thread must not either.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ParamSpec, TypeVar

import torch


A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")


def settled(make: Callable[[A], T]) -> Callable[[A], T]:
    """`make` without autocast and inference mode, with gradients, and with the CPU as the default device."""

    def run(given: A) -> T:
        if _is_fresh():
            return make(given)
        with ExitStack() as stack:
            for context in (
                torch.autocast("cpu", enabled=False),
                torch.inference_mode(mode=False),
                torch.device("cpu"),
            ):
                stack.enter_context(context)
            with torch.enable_grad():
                return make(given)

    return run


def single(make: Callable[P, T]) -> Callable[P, T]:
    """`make` with one thread inside each operation of torch's, on whose number the last bit of a sum depends."""

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        threads = torch.get_num_threads()
        if threads == 1:
            return make(*args, **kwargs)
        torch.set_num_threads(1)
        try:
            return make(*args, **kwargs)
        finally:
            torch.set_num_threads(threads)

    return run


def _is_fresh() -> bool:
    return (
        torch.is_grad_enabled()
        and not torch.is_inference_mode_enabled()
        and not (_casts() and torch.is_autocast_enabled("cpu"))
        and not _modes()
    )


def _no_modes() -> int:
    return 0


def _some_casts() -> bool:
    return True


# This is asked for every batch, and nothing public tells as fast. A default device is a mode on a stack of torch's, and
# torch.get_default_device() takes a tenth of the time of a batch; to ask of one device's autocast takes thrice as long
# as of any device's.
_modes: Callable[[], Any] = getattr(torch._C, "_len_torch_function_stack", _no_modes)  # noqa: SLF001 - as said
_casts: Callable[[], Any] = getattr(torch._C, "_is_any_autocast_enabled", _some_casts)  # noqa: SLF001 - as said
