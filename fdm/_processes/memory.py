"""The heap: memory that the C library keeps for reuse, and cannot use, goes back to the system."""

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache


def trim() -> None:
    """Give freed memory back, where much has gathered.

    Tensors are aligned, and what glibc before 2.38 gets back of aligned blocks it cannot give out again for blocks of
    the same size, so a process that makes one large batch after the other grows by one batch at a time.
    """
    calls = _calls()
    if calls is None:
        return
    free, give_back = calls
    if free() - _LEFT.get(os.getpid(), 0) > _MUCH:
        give_back()
        _LEFT[os.getpid()] = free()  # addresses stay free when their memory is gone: only what is new counts


class _Info(ctypes.Structure):
    """What mallinfo2 tells; the ninth number is the free bytes, of all arenas."""

    _fields_ = [("numbers", ctypes.c_size_t * 10)]


@cache
def _calls() -> tuple[Callable[[], int], Callable[[], object]] | None:
    """Functions that tell how many bytes are free, and give them back; None where the C library has none."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None)
        tell, give_back = library.mallinfo2, library.malloc_trim
    except (OSError, AttributeError):
        return None
    tell.restype = _Info
    give_back.argtypes = (ctypes.c_size_t,)
    return (lambda: int(tell().numbers[8])), (lambda: give_back(0))


_MUCH = 1 << 27
_LEFT: dict[int, int] = {}  # for this process, the bytes that were free after the last time
