"""Trainers: what Lightning's Trainer and Fabric tell, and what is told to them."""

import warnings
from collections import defaultdict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs

from .._pipeline import Pipeline, describe
from .._ranks.context import RankContext


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
    return is_running(trainer) and getattr(trainer.state.fn, "value", None) == "fit"


def is_running(trainer: Any) -> bool:
    """Whether a Trainer is inside a run of any kind, which all ranks are in."""
    return trainer is not None and trainer.state.status.value == "running"


def steps_ahead(trainer: Any) -> int:
    """How many batches a fit has counted that it is only about to ask for: one, where steps ask for them themselves."""
    loop = trainer.fit_loop
    fetcher: Any = getattr(loop, "_data_fetcher", None)
    progress = loop.epoch_loop.batch_progress
    if type(fetcher).__name__ != "_DataLoaderIterDataFetcher":
        return 0
    return int(progress.current.ready > fetcher.fetched)


def saved_states(trainer: Any) -> list[Mapping[str, Any]]:
    """The states of datamodules of pipelines in the checkpoint from which a Trainer goes on, under whatever name."""
    path = trainer.ckpt_path
    if path is None:
        return []
    sharded = Path(path, _META)
    try:
        found: Mapping[str, Any] = trainer.strategy.checkpoint_io.load_checkpoint(
            sharded if sharded.is_file() else path
        )
    except OSError:  # Lightning has read it, and removed it: the Tuner does
        return []
    return [state for state in found.values() if isinstance(state, Mapping) and state.keys() >= _STATE]


@attrs.define(eq=False)
class Hush:
    """Lightning's warning of loaders that keep no state of their own, ignored while a loader is meant that needs none."""

    ignored: Any = None

    def begin(self) -> None:
        """Ignore it from now on."""
        self.end()
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")
        self.ignored = warnings.filters[0]

    def end(self) -> None:
        """Ignore it no more."""
        if self.ignored is not None and self.ignored in warnings.filters:
            warnings.filters.remove(self.ignored)  # type: ignore[attr-defined]  # it is a list
        self.ignored = None


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


_STATE = {"version", "fingerprint", "cursor", "ended"}
_META = "meta.pt"  # where strategies that save in pieces put what is not in pieces
