"""Plans: the order of an epoch, and the example ids of each step of a rank, from values alone."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from math import floor
from typing import NamedTuple

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._errors import DataError, UnknownNameError, unknown
from .._fingerprint.canonical import digest
from .._pipeline import Pipeline
from .._random.key import Key
from .._random.permutation import derive
from .._stages.describe import summary
from .._stages.digest import decisive, stage_digest
from .._stages.limits import applying
from .._stages.rounding import as_written
from .._stages.stage import Augment, Batch, Clean, Fetch, Load, Sample, Shuffle, Stage, Take, Transform
from .order import Drawn, Order, Shuffled, take
from .splits import Examples
from .steps import Steps, steps_across_world


def batch_of(p: Pipeline, names: Sequence[str]) -> tuple[int, Batch] | None:
    """The batch stage of a split, with its number: the one that names it, else the one that names none."""
    found = applying(list(p.of_kind(Batch)), names)
    return max(found, key=lambda pair: bool(pair[1].splits), default=None)


def check_names(p: Pipeline, splits: Mapping[str, Examples]) -> None:
    """Raise `UnknownNameError` for a stage that is `.on` a split which is not there."""
    for number, stage in enumerate(p.stages):
        for name in getattr(stage, "splits", ()):
            if name not in splits:
                msg = f"stage {number} ({stage.kind}): {unknown('split', name, splits)}"
                raise UnknownNameError(msg)


def order_of_epoch(p: Pipeline, examples: Examples, epoch: int, weights: Mapping[int, NDArray[np.float64]]) -> Order:
    """The order in which `epoch` goes through a split: its shuffle, sample and take stages, one after the other.

    `weights` has, for the number of each sample stage, the weights of the source's examples.
    """
    order = examples.order
    seen: dict[str, int] = {}
    for number, stage in applying(list(p.of_kind(Shuffle, Sample, Take)), examples.names):
        count = seen[stage.kind] = seen.get(stage.kind, -1) + 1
        if isinstance(stage, Take):
            order = take(order, _count(stage.amount, order.size))
            continue
        seed = p.seed if stage.seed is None else stage.seed
        key = derive(seed, stage.kind, examples.names[-1], count, epoch)
        order = Shuffled(order, key) if isinstance(stage, Shuffle) else _drawn(order, stage, weights[number], key)
    return order


def order_entries(
    p: Pipeline, examples: Examples, source_size: int, weights: Mapping[int, NDArray[np.float64]]
) -> list[tuple[str, str]]:
    """What decides the order of a split: descriptions and digests of its stages, and how large its source is."""
    entries = [_entry(stage) for _, stage in p.of_kind(Fetch, Clean, Load)]
    entries.append((f"{examples.source}: {source_size} examples", digest([examples.source, source_size])))
    entries += [_entry(p.stages[number]) for number in examples.lineage]
    for number, stage in applying(list(p.of_kind(Shuffle, Sample, Take)), examples.names):
        plain = attrs.evolve(stage, splits=())
        if not isinstance(stage, Take) and stage.seed is None:
            plain = attrs.evolve(plain, seed=p.seed)
        entries.append(
            _entry(plain, hashlib.sha256(weights[number].tobytes()).hexdigest() if number in weights else "")
        )
    return entries


def steps_of(batch: Batch, start: int, stop: int, world_size: int) -> Steps:
    """The steps of the examples `start` to `stop` of an epoch. Raises `DataError` for a batch smaller than the world."""
    if batch.across == "rank":
        return Steps(start, stop, batch.size, world_size, batch.drop_last)
    if batch.size < world_size:
        msg = (
            f"batch: {batch.size} examples across a world of {world_size} ranks leave ranks without any in every step; "
            f"let the batch have at least {world_size}, or use fewer ranks"
        )
        raise DataError(msg)
    return steps_across_world(start, stop, batch.size, world_size, batch.drop_last)


class Rows(NamedTuple):  # made once a batch, and several times faster than a frozen record
    """The examples of a batch: their ids, int64, and where in the order of the epoch they stand, or the first of them."""

    ids: Tensor
    at: Tensor | int

    @property
    def positions(self) -> Tensor:
        """The positions in the order of the epoch, int64."""
        return self.at if isinstance(self.at, Tensor) else torch.arange(self.at, self.at + len(self.ids), device="cpu")


def rows_of_steps(order: Order, steps: Steps, rank: int, first: int, last: int) -> Iterator[Rows]:
    """The examples of `rank` in steps `first` to `last`, from one look-up for all."""
    if first == last:
        return iter(())
    lows, sizes = steps.shards(first, last, rank)
    positions = np.arange(sizes.sum()) + np.repeat(lows + sizes - sizes.cumsum(), sizes)
    ids = torch.from_numpy(np.ascontiguousarray(order.at(positions)))
    return map(Rows, torch.split(ids, sizes.tolist()), lows.tolist())


def streams(p: Pipeline, names: Sequence[str]) -> list[tuple[int, Key | None]]:
    """The transform and augment stages of a split, by number, with the keys that name the streams of the augments.

    A stream is named by the seed, the function and its count among those of the same name: not by its place, so that
    another stage moves none, and an augment draws the same before `batch` and after it.
    """
    seen: dict[str, int] = {}
    found: list[tuple[int, Key | None]] = []
    for number, stage in applying(list(p.of_kind(Transform, Augment)), names):
        key = None
        if isinstance(stage, Augment):
            name = stage.function.qualified_name
            seen[name] = seen.get(name, -1) + 1
            key = Key(p.seed, "augment", name, seen[name])
        found.append((number, key))
    return found


def _count(amount: float, size: int) -> int:
    return floor(as_written(amount) * size) if isinstance(amount, float) else amount


def _drawn(order: Order, stage: Sample, weights: NDArray[np.float64], key: int) -> Order:
    size = order.size if stage.size is None else stage.size
    if size and not order.size:
        msg = f"sample: there are no examples to draw {size} from"
        raise DataError(msg)
    return Drawn(order, weights, size, key)


def _entry(stage: Stage, more: str = "") -> tuple[str, str]:
    return f"{stage.kind} {summary(decisive(stage))[0]}".rstrip(), digest([stage_digest(stage), more])
