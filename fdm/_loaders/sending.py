"""Sending: batches on their way from a worker process, with as little work as can be."""

import io
import os
from collections.abc import Callable
from multiprocessing import reduction
from typing import Any

import torch
from torch.multiprocessing import get_sharing_strategy, reductions


def pickled(batch: Any) -> bytes:
    """`batch` as another process of this machine can receive it.

    Small tensors travel as their bytes. Large ones are written, once, to memory that belongs to a file descriptor; the
    receiver maps it. That takes half the time of torch's own way, which maps the memory here too, and has it cleared
    before; and it asks for no room in /dev/shm. Where the system has no such memory, torch's way is the way.
    """
    buffer = io.BytesIO()
    _Pickler(buffer).dump(batch)
    return buffer.getvalue()


class _Pickler(reduction.ForkingPickler):
    """torch's own pickler, but for the memory of tensors: what shares it here shares it there."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.dispatch_table: Any = {
            **self.dispatch_table,
            torch.Tensor: _reduced_tensor,
            torch.UntypedStorage: _reduced_storage,
        }


def _reduced_tensor(tensor: torch.Tensor) -> Any:
    # torch sends what is in memory, and forgets that it stands for its conjugate, or its negative.
    return _tensor_by_torch(tensor.resolve_conj().resolve_neg())


def _reduced_storage(storage: torch.UntypedStorage) -> Any:
    if storage.device.type != "cpu" or storage.is_shared():
        return _storage_by_torch(storage)
    if storage.nbytes() <= _SMALL:
        return _from_bytes, (bytes(_bytes_of(storage)),)
    if not hasattr(os, "memfd_create") or _sharing_strategy() != "file_descriptor":
        return _storage_by_torch(storage)
    fd = os.memfd_create("fdm")
    try:
        left = _bytes_of(storage)
        while left:
            left = left[os.write(fd, left) :]
        return reductions.rebuild_storage_fd, (torch.UntypedStorage, reduction.DupFd(fd), storage.nbytes())
    finally:
        os.close(fd)


def _bytes_of(storage: torch.UntypedStorage) -> memoryview:
    return torch.empty(0, dtype=torch.uint8, device="cpu").set_(storage).numpy().data


def _from_bytes(content: bytes) -> torch.UntypedStorage:
    storage = torch.empty(len(content), dtype=torch.uint8, device="cpu").untyped_storage()
    if content:
        _bytes_of(storage)[:] = content
    return storage


# torch has no types for these.
_tensor_by_torch: Callable[[torch.Tensor], Any] = reductions.reduce_tensor
_storage_by_torch: Callable[[torch.UntypedStorage], Any] = reductions.reduce_storage
_sharing_strategy: Callable[[], str] = get_sharing_strategy
_SMALL = 1 << 14  # bytes that go through the pipe faster than a descriptor does
