"""The rank context: which process of how many this is, and on which device its batches go."""

import os
from collections.abc import Mapping
from typing import Any, Self

import attrs
import torch

from ._errors import ContextError


def _count(_: object, attribute: "attrs.Attribute[int]", value: object) -> None:
    least = 1 if attribute.name.endswith("world_size") else 0
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        msg = f"{attribute.name} is an integer of at least {least}, not {value!r}"
        raise ContextError(msg)


def _known_device(_: object, __: object, device: str) -> None:
    try:
        torch.device(device)
    except RuntimeError as error:
        msg = f"device is one that torch knows, such as 'cpu' or 'cuda:0', not {device!r}"
        raise ContextError(msg) from error


@attrs.frozen
class RankContext:
    """Rank `rank` of `world_size` processes, `local_rank` of `local_world_size` on its machine, with its device.

    >>> RankContext(rank=1, world_size=4).world_size
    4

    Raises `ContextError` if a rank is not below its world size, or torch does not know the device.
    """

    rank: int = attrs.field(default=0, validator=_count)
    world_size: int = attrs.field(default=1, validator=_count)
    local_rank: int = attrs.field(default=0, validator=_count)
    local_world_size: int = attrs.field(default=1, validator=_count)
    device: str = attrs.field(default="cpu", converter=str, validator=_known_device)

    def __attrs_post_init__(self) -> None:
        for rank, size in (("rank", "world_size"), ("local_rank", "local_world_size")):
            if getattr(self, rank) >= getattr(self, size):
                msg = f"{rank}={getattr(self, rank)} is not below {size}={getattr(self, size)}; ranks count from 0"
                raise ContextError(msg)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The context that a launcher's variables in `environ` tell: torchrun's, else SLURM's, else Open MPI's.

        Without any of them, rank 0 of 1. The device stays the CPU: a mapping knows no devices.

        >>> RankContext.from_env({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}).rank
        1

        Raises `ContextError` for a variable that is no number, and for a rank beyond the world.
        """
        for names in _LAUNCHERS:
            if names[0] in environ and names[1] in environ:
                return cls(**_numbers(environ, names))
        return cls()

    @classmethod
    def detect(cls) -> Self:
        """The context of this process: an initialised `torch.distributed`, else the launcher's variables.

        The device is the process's own accelerator, by its local rank, where there is one.
        """
        found = cls.from_env(os.environ)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
            agrees = (found.rank, found.world_size) == (rank, world_size)
            local = (found.local_rank, found.local_world_size) if agrees else (rank, world_size)
            found = cls(rank, world_size, *local)
        return attrs.evolve(found, device=_device(found.local_rank))


_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
)


def _numbers(environ: Mapping[str, str], names: tuple[str, str, str, str]) -> dict[str, Any]:
    fields = ("rank", "world_size", "local_rank", "local_world_size")
    found = {field: _number(environ, name) for field, name in zip(fields, names, strict=True) if name in environ}
    # A launcher that does not tell how many ranks share a machine leaves it to be at least this one.
    found.setdefault("local_world_size", found.get("local_rank", 0) + 1)
    return found


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ[name]
    if not text.strip().isdecimal():
        msg = f"the environment variable {name}={text!r} is not a number"
        raise ContextError(msg)
    return int(text)


def _device(local_rank: int) -> str:
    if not torch.accelerator.is_available():
        return "cpu"
    kind = torch.accelerator.current_accelerator()
    count = torch.accelerator.device_count()
    return f"{kind}:{local_rank % max(1, count)}"
