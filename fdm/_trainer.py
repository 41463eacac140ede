"""Trainers: what Lightning's Trainer and Fabric tell, and what is told to them."""

from collections import defaultdict
from importlib import import_module
from typing import Any

from ._context import RankContext
from ._pipeline import Pipeline, describe


def context_of(trainer: Any) -> RankContext:
    """The rank and device that a Trainer gives this process; without one, those that the process can tell itself.

    Where a strategy puts several ranks on the same data, Lightning's own sampler arguments say which.
    """
    if trainer is None:
        return RankContext.detect()
    shards = trainer.distributed_sampler_kwargs or {}
    return RankContext(
        rank=shards.get("rank", trainer.global_rank),
        world_size=shards.get("num_replicas", trainer.world_size),
        local_rank=trainer.local_rank,
        local_world_size=max(trainer.num_devices, trainer.local_rank + 1),
        device=str(trainer.strategy.root_device),
    )


def fabric_context(fabric: Any) -> RankContext:
    """The rank and device that a Fabric gives this process."""
    here = getattr(fabric.strategy, "num_processes", 1)
    return RankContext(
        fabric.global_rank,
        fabric.world_size,
        fabric.local_rank,
        max(here, fabric.local_rank + 1),
        str(fabric.device),
    )


def is_fitting(trainer: Any) -> bool:
    """Whether a Trainer is inside a fit, and not merely attached."""
    return getattr(trainer.state.fn, "value", None) == "fit" and trainer.state.status.value == "running"


def role_of(trainer: Any) -> str | None:
    """The role of the batches that a Trainer is at; None outside its loops, and without one."""
    stage = None if trainer is None else trainer.state.stage
    return None if stage is None else _ROLES[stage.value]


def indices_for_writers(cls: type, seen: list[list[int]]) -> Any:
    """What Lightning's prediction writers ask for the example ids of each batch; None where it has another name."""
    root = next(base.__module__ for base in cls.__mro__ if base.__name__ == "LightningDataModule").partition(".core")[0]
    wrapper = getattr(import_module(f"{root}.overrides.distributed"), "_IndexBatchSamplerWrapper", None)
    if wrapper is None:
        return None
    sampler = wrapper.__new__(wrapper)
    sampler.seen_batch_indices = seen
    return sampler


def flat_description(p: Pipeline) -> dict[str, Any]:
    """The pipeline for loggers and checkpoints: plain JSON values under `data/`, by the kinds of stages.

    >>> import fdm
    >>> flat_description(fdm.pipeline(fdm.shuffle(), fdm.batch(32).on("train"), fdm.batch(64)))["data/batch_2/size"]
    64
    """
    described = describe(p)
    found, count = {"data/seed": described["seed"]}, defaultdict[str, int](int)
    for stage in described["stages"]:
        kind = stage["stage"]
        count[kind] += 1
        name = kind if count[kind] == 1 else f"{kind}_{count[kind]}"
        found |= {f"data/{name}/{field}": value for field, value in stage.items() if field != "stage"}
    return found


_ROLES = {"train": "train", "sanity_check": "val", "validate": "val", "test": "test", "predict": "predict"}
