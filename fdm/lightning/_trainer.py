"""Trainers: what Lightning's Trainer and Fabric tell, and what is told to them."""

import pathlib
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import attrs
from torch.utils.data import DataLoader

from .._pipeline import Pipeline, describe
from .._ranks.context import RankContext
from ._underway import Asked, Path


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
    if not _is_left_to_steps(fetcher):
        return 0
    return int(progress.current.ready > fetcher.fetched)


def asks_for(trainer: Any) -> Asked | None:
    """The batch that a Trainer asks a loader for now; None where it asks for none, and somebody else does.

    It is told by its loop's own counts: in the midst of a batch, it is a callback or a step that asks.
    """
    loop, fetcher, progress = _loop(trainer)
    if progress is None or _is_left_to_steps(fetcher):
        return None
    fetched, current = getattr(fetcher, "fetched", 0), progress.current
    if fetched and current.ready != current.completed:
        return None
    return id(loop), progress.total.ready + max(fetched - current.ready, 0)


def has_asked_for(trainer: Any) -> Asked | None:
    """The batch that a Trainer has got, and not counted yet, since its hooks bring it to the device; else None."""
    loop, fetcher, progress = _loop(trainer)
    if progress is None or fetcher is None or _is_left_to_steps(fetcher):
        return None
    taken = fetcher.fetched - len(getattr(fetcher, "batches", ()))
    return (id(loop), progress.total.ready) if taken > progress.current.ready else None


def place_beside(trainer: Any, loader: Any) -> Path | None:
    """Where the batches of a loader are in those that a Trainer puts together; None where it is not told.

    A loader that is the only one may be inside of another object, which iterates over it.
    """
    loop, _, _ = _loop(trainer)
    combined = getattr(loop, "_combined_loader", None)
    if combined is None or combined._mode == "sequential":  # noqa: SLF001 - there is no public name for it
        return ()
    there = list(_places(combined.iterables))
    found = [path for path, each in there if each is loader or len(there) == 1]
    return found[0] if len(found) == 1 else None


def _places(loaders: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(loaders, Mapping | list | tuple):
        named = dict(zip(getattr(loaders, "_fields", range(len(loaders))), loaders, strict=False))
        for key, each in (loaders if isinstance(loaders, Mapping) else named).items():
            yield from _places(each, (*path, key))
    else:
        yield path, loaders


def _loop(trainer: Any) -> tuple[Any, Any, Any]:
    """The loop that a Trainer is in, what fetches its batches, and its account of them."""
    loop = getattr(trainer, "_active_loop", None) if is_running(trainer) else None
    progress = getattr(getattr(loop, "epoch_loop", loop), "batch_progress", None)
    return loop, getattr(loop, "_data_fetcher", None), progress


def _is_left_to_steps(fetcher: Any) -> bool:
    return type(fetcher).__name__ == "_DataLoaderIterDataFetcher"


def has_others(trainer: Any) -> bool:
    """Whether a fit has DataLoaders of torch among its loaders."""
    combined = getattr(trainer.fit_loop, "_combined_loader", None)
    return any(isinstance(loader, DataLoader) for loader in getattr(combined, "flattened", ()))


def saved_states(trainer: Any) -> list[Mapping[str, Any]]:
    """The states of datamodules of pipelines in the checkpoint from which a Trainer goes on, under whatever name."""
    path = trainer.ckpt_path
    if path is None:
        return []
    sharded = pathlib.Path(path, _META)
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
