"""The rank context: which process of how many this is, and on which device its batches go."""

import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any, Self

import attrs
import torch

from .._checks import checked, integer
from .._errors import ContextError
from .._public import public
from .launchers import launched, local_to


_RANK = checked(integer, ContextError, "{field}", least=0)
_SIZE = checked(integer, ContextError, "{field}", least=1)


def _known_device(_: object, __: object, device: str) -> None:
    try:
        torch.device(device)
    except RuntimeError as error:
        msg = f"device is one that torch knows, such as 'cpu' or 'cuda:0', not {device!r}"
        raise ContextError(msg) from error


@public
@attrs.frozen
class RankContext:
    """Rank `rank` of `world_size` processes, `local_rank` of `local_world_size` on its machine, with its device.

    >>> RankContext(rank=1, world_size=4).world_size
    4

    Raises `ContextError` if a rank is not below its world size, or torch does not know the device.
    """

    rank: int = attrs.field(default=0, **_RANK)
    world_size: int = attrs.field(default=1, **_SIZE)
    local_rank: int = attrs.field(default=0, **_RANK)
    local_world_size: int = attrs.field(default=1, **_SIZE)
    device: str = attrs.field(default="cpu", converter=str, validator=_known_device)

    def __attrs_post_init__(self) -> None:
        for rank, size in (("rank", "world_size"), ("local_rank", "local_world_size")):
            if getattr(self, rank) >= getattr(self, size):
                msg = f"{rank}={getattr(self, rank)} is not below {size}={getattr(self, size)}; ranks count from 0"
                raise ContextError(msg)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The context that a launcher's variables in `environ` tell: torchrun's, else SLURM's, else Open MPI's.

        A launcher counts where it tells its rank and its world size; without any, rank 0 of 1. Where one started the
        other, such as SLURM torchrun, the inner one counts. The device stays the CPU: a mapping knows no devices.

        >>> RankContext.from_env({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}).rank
        1

        Raises `ContextError` for variables that are no numbers or contradict each other, and for two launchers that
        disagree about the rank or the world size; the message names the variables.
        """
        return cls(**launched(environ))

    @classmethod
    def detect(cls) -> Self:
        """The context of this process: an initialised `torch.distributed`, else Ray Train, else launchers' variables.

        Of a process group, the local rank is what the variables tell where they fit, else that of one machine.
        The device is the process's own accelerator, by its local rank, where there is one.

        Raises `ContextError` where nothing but variables is known, and `from_env` refuses them.
        """
        told = _ray_train()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            found = cls(**_grouped(told))
        else:
            found = cls(**(told or launched(os.environ)))
        return attrs.evolve(found, device=_device(found.local_rank))


def _grouped(told: dict[str, int]) -> dict[str, int]:
    """What the process group tells, with the local fields of `told` or the environment where they fit."""
    rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    group = {"rank": rank, "world_size": world_size}
    if told and told | group == told:
        return told
    local = local_to(os.environ, rank, world_size) or {"local_rank": rank}
    # All ranks seem to be on one machine, as far as this one can see; else it knows of those up to its own.
    count = world_size if local["local_rank"] == rank else local["local_rank"] + 1
    return {**group, "local_world_size": count, **local}


def _ray_train() -> dict[str, int]:
    """What Ray Train tells its workers; empty in all other processes.

    Only its TorchTrainer sets variables as well. Workers have imported `ray.train`, so nothing is imported here.
    """
    train: Any = sys.modules.get("ray.train")
    if train is None:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # older versions warn outside of their workers, and make up a world of 1
            context = train.get_context()
            if context.get_experiment_name() is None or context.get_world_rank() is None:
                return {}
            return {
                "rank": context.get_world_rank(),
                "world_size": context.get_world_size(),
                "local_rank": context.get_local_rank(),
                "local_world_size": context.get_local_world_size(),
            }
    except (RuntimeError, DeprecationWarning):  # newer versions raise outside of their workers, and inside Ray Tune's
        return {}


def _device(local_rank: int) -> str:
    if not torch.accelerator.is_available():
        return "cpu"
    kind = torch.accelerator.current_accelerator()
    count = torch.accelerator.device_count()
    return f"{kind}:{local_rank % max(1, count)}"
