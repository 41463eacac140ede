"""Mapped files: numpy's maps of files that may only be read, mapped anew such that writing harms nobody."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def private_map(array: NDArray[Any]) -> NDArray[Any]:
    """An array over a file that is mapped to be read, as one over a private map of the same file; others as they are.

    `np.load(path, mmap_mode="r")` may not be written to, and torch knows no such tensors. Of a private map the pages are
    read when they are used, and shared by all processes, until one writes to its own copy. An array stays as it is where
    the file is no longer the one that was mapped, or does not tell which it is.
    """
    owner = _owner(array)
    if owner is None or array.flags.writeable or not array.dtype.isnative or not array.size:
        return array
    if not array.ndim or min(array.strides) < 0:
        return array
    start = array.ctypes.data
    stop = (
        start + array.itemsize + sum((size - 1) * step for size, step in zip(array.shape, array.strides, strict=True))
    )
    offset, path = owner.offset + start - owner.ctypes.data, Path(owner.filename)
    try:
        if not _is_at(path, owner):
            return array
        values = np.memmap(path, dtype=np.uint8, mode="c", offset=offset, shape=(stop - start,))
    except OSError:  # gone, or no longer to be read
        return array
    return np.ndarray(array.shape, array.dtype, values.data, 0, array.strides)


def _owner(array: Any) -> Any:
    """The memory map of a file that an array is, or is a view of; None for other arrays."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):
            return array if array.filename is not None else None
        array = array.base
    return None


def _is_at(path: Path, owner: Any) -> bool:
    """Whether the file at a path is still the one that is mapped: another one may have been put in its place."""
    if path.stat().st_size != owner.base.size():
        return False
    maps = Path("/proc/self/maps")
    if not maps.exists():  # where there are none, a file's size has to do
        return True
    for line in maps.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        bounds, *_, name = line.split(maxsplit=5)
        low, high = (int(address, 16) for address in bounds.split("-"))
        if low <= owner.ctypes.data < high:
            return name == str(path.resolve())
    return False
