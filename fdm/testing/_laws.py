"""Laws: what holds of the splits, facts, orders and loaders of an opened pipeline."""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations, zip_longest
from operator import itemgetter
from types import FrameType
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from .._arrays.differences import difference
from .._arrays.ragged import Ragged
from .._batches.draws import Draws
from .._batches.reading import ids_of as own_ids
from .._errors import DataError, noted, stage_note, stage_of
from .._loaders.loader import Loader, plan_of
from .._loaders.options import LoaderOptions
from .._loaders.threads import Inline
from .._plans.branch import Branch, Parts
from .._plans.plan import rows_at
from .._plans.rows import Rows
from .._ranks.context import RankContext
from .._sources.loaded import Loaded, is_drawn, opened_here, read
from .._splits.source import View, given
from .._splits.splits import Examples, weights_of
from .._stages.stage import Measure, Sample, Shuffle
from ._process import ids_of
from ._purity import Walk
from ._subject import LISTS, Broken, Skipped, Trial, told, twice


def disjoint(trial: Trial) -> Broken | None:
    """Splits of one source have no example in common, and all their examples are there."""
    own = {name: found for name, found in trial.prepared.splits.items() if len(found.names) == 1 and not found.union}
    ids = {name: ids_of(found.order) for name, found in own.items()}
    for name, found in own.items():
        n = len(trial.prepared.sources[found.source])
        outside = [index for index in ids[name] if not 0 <= index < n]
        if outside:
            return Broken(_last(found.lineage), f"split {name!r} has example {outside[0]} of {n}")
    for one, other in combinations(own, 2):
        both = set(ids[one]) & set(ids[other]) if own[one].source == own[other].source else ()
        if both:
            text = f"example {min(both)} is in {one!r} and in {other!r} ({len(both)} such examples)"
            return Broken(_last(own[other].lineage), text)
    return None


def settled_splits(trial: Trial) -> Broken | None:
    """Splits are found again whatever the global random state is."""
    again = trial.resolved
    found = {name: ids_of(examples.order) for name, examples in trial.prepared.splits.items()}
    return compared_splits(trial, found, {name: ids_of(examples.order) for name, examples in again.items()})


def compared_splits(trial: Trial, found: dict[str, list[int]], others: dict[str, list[int]]) -> Broken | None:
    """How splits differ from those found before; of several, the one that the earliest stage makes is to blame."""
    for name in sorted(found, key=lambda name: trial.prepared.splits[name].lineage):
        how = unlike_ids(found[name], others.get(name, []))
        if how is not None:
            return Broken(_last(trial.prepared.splits[name].lineage), f"split {name!r}: {how}")
    return None


def measured_again(trial: Trial) -> Broken | Skipped | None:
    """Measures find the same facts in the same examples, whatever the global random state is."""
    stages = list(trial.pipeline.of_kind(Measure))
    for number, stage in stages:
        examples = trial.prepared.splits[stage.splits[0]]
        call = stage.function.with_facts(trial.facts).bound()
        with noted(stage_note(number, "measure")):
            how = difference(
                *twice(_on_whole, trial.prepared.sources, examples.source, partial(_measured, call, examples))
            )
        if how is not None:
            return Broken(number, f"the fact {how}")
    return None if stages else Skipped("nothing is measured")


def settled_orders(trial: Trial) -> Broken | None:
    """The weights that sample draws by are found again, whatever the global random state is."""
    for number, stage in trial.pipeline.of_kind(Sample):
        for name in trial.prepared.sources:
            if not any(
                found.source == name and _samples(trial, split) for split, found in trial.prepared.splits.items()
            ):
                continue
            with noted(stage_note(number, "sample")):
                one, other = twice(_on_whole, trial.prepared.sources, name, partial(weights_of, stage.weights))
            how = difference({"weights": one}, {"weights": other})
            if how is not None:
                return Broken(number, how)
    return None


def _on_whole(sources: Mapping[str, Any], name: str, call: Callable[[Any], Any]) -> Any:
    with opened_here(sources) as here:
        return call(here[name])


def _measured(call: Callable[..., Any], examples: Examples, source: Any) -> Any:
    return call(given(View(source, examples.order)))


def epochs_differ(trial: Trial) -> Broken | None:
    """Another epoch has another order where it is shuffled or sampled, and there alone."""
    for split in trial.splits:
        branch = trial.branches[split]
        if isinstance(branch.source, Parts):
            continue  # the run of a mixture goes on, so that an epoch is another part of it
        stages = [pair for pair in branch.orders if isinstance(pair[1], Shuffle | Sample)]
        one, other = (_ids_of_epoch(trial, split, epoch) for epoch in (0, 1))
        number = stages[0][0] if stages else None
        if not stages and (how := unlike_ids(one, other)):
            return Broken(number, f"split {split!r}, in epochs 0 and 1: {how}")
        if stages and len(set(one)) >= _MANY and one == other:
            return Broken(number, f"split {split!r}: epochs 0 and 1 have the same order")
    return None


def partitioned(trial: Trial) -> Broken | None:
    """The ranks of worlds of 1, 2 and 3 see each example of an epoch once, in the order of the epoch."""
    for world_size in (1, 2, 3):
        ranks = [
            trial.reopened(RankContext(rank, world_size), splits=trial.resolved if rank % 2 else None)
            for rank in range(world_size)
        ]
        for split in trial.batched:
            plan = plan_of(ranks[0].loader(split, epoch=0))
            of_steps = zip_longest(*(_steps(data.loader(split, epoch=0)) for data in ranks))
            for step, pieces in enumerate(of_steps):
                positions = np.arange(*plan.steps.bounds(step))
                expected = list(zip(positions.tolist(), plan.order.at(positions).tolist(), strict=True))
                shards = [piece for piece in pieces if piece is not None]
                found = sorted(pair for piece in shards for pair in zip(*_places_and_ids(piece), strict=True))
                if found != expected:
                    ids = [[index for _, index in pairs] for pairs in (expected, found)]
                    ids = [[index for _, index in pairs] for pairs in (expected, found)]
                    text = f"split {split!r}, step {step} of {world_size} ranks: {unlike_ids(*ids)}"
                    return attrs.evolve(settled_splits(trial) or settled_orders(trial) or Broken(None, ""), text=text)
    return None


def _ids_of_epoch(trial: Trial, split: str, epoch: int) -> list[Any]:
    """The example ids of an epoch in its order; of sequences, those of each."""
    order = trial.data.dataset(split, epoch).order
    rows = rows_at(order, np.arange(order.size))
    ids = own_ids(trial.branches[split].source, rows, epoch)
    return [tuple(row.tolist()) for row in ids] if isinstance(ids, Ragged) else ids.tolist()


def _places_and_ids(rows: Rows) -> tuple[list[int], list[int]]:
    return rows.positions.tolist(), rows.ids.tolist()


def _steps(loader: Loader) -> Iterator[Rows]:
    plan = plan_of(loader)
    return plan.part(0, min(len(plan), _STEPS)).rows()


def resumed(trial: Trial, walk: Walk) -> Broken | Skipped | None:
    """A loader from a snapshot goes on with exactly the batches that come after it."""
    for split in _able(trial, walk):
        loader = trial.data.loader(split, epoch=0)
        batches = list(loader[: trial.steps + 1])
        for done in range(1, len(batches)):
            again = trial.data.loader(split, start=loader.snapshot(done))[0]
            how = difference(batches[done], again)
            if how is not None:
                at = f"split {split!r}, epoch 0, resumed after step {done}: {how}"
                return _blamed(trial, walk, split, at, _one_by_one)
    return None if _able(trial, walk) else _NO_BATCHES


def unchanged_by(trial: Trial, walk: Walk, options: LoaderOptions) -> Broken | Skipped | None:
    """Batches that are made by workers or threads are those that the loop makes itself."""
    if options.workers and multiprocessing.current_process().daemon:
        return Skipped("a daemonic process may start no worker processes")
    with trial.reopened(options=options) as data:
        for split in _able(trial, walk):
            expected = list(trial.data.loader(split, epoch=0)[: trial.steps])
            try:
                found = list(data.loader(split, epoch=0)[: trial.steps])
            except DataError as error:
                number = stage_of(error)  # none where a source cannot be sent to a worker
                return Broken(trial.source_stage if number is None else number, f"split {split!r}: {told(error)}")
            for step, (one, other) in enumerate(zip(expected, found, strict=True)):
                how = difference(one, other)
                if how is not None:
                    text = f"split {split!r}, epoch 0, step {step}: {how}"
                    return _blamed(trial, walk, split, text, partial(_made_by, options))
    return None if _able(trial, walk) else _NO_BATCHES


def side_by_side(trial: Trial) -> Broken | None:
    """Threads that read a source at the same time get the examples that one gets alone."""
    loaded = {name: source for name, source in trial.prepared.sources.items() if isinstance(source, Loaded)}
    sources = {name: source for name, source in loaded.items() if not is_drawn(source)}  # those only the loop reads
    for name, source in sources.items():
        ids = torch.arange(min(len(source), _READ_TOGETHER))
        with noted(stage_note(trial.source_stage, "load")):
            expected = read(source, ids)
        with ThreadPoolExecutor(_READERS) as pool:
            found = list(pool.map(partial(_read_again, source), [ids] * _READERS))
        for how in (difference(expected, again) for of_thread in found for again in of_thread):
            if how is not None:
                shared = "; take .shared() away, so that each thread opens its own" if source.loading.is_shared else ""
                return Broken(
                    trial.source_stage, f"source {name!r}, of which threads read the same examples: {how}{shared}"
                )
    return None


def _read_again(source: Loaded, ids: Tensor) -> list[list[Any]]:
    """The same examples several times, in other orders; or the error, as what was found."""
    found = []
    for shift in range(_ROUNDS):
        turned = ids.roll(shift)
        before = sys.gettrace()
        sys.settrace(_giving_way)  # of this thread alone
        try:
            examples = read(source, turned)
        except Exception as error:  # noqa: BLE001 - of a source that another thread disturbed
            return [[told(error)]]
        finally:
            sys.settrace(before)
        found.append([example for _, example in sorted(zip(turned.tolist(), examples, strict=True), key=itemgetter(0))])
    return found


def _giving_way(_: FrameType, __: str, ___: object) -> Any:
    """Lets other threads run after each line, so that what can come between does."""
    time.sleep(0)
    return _giving_way


def _able(trial: Trial, walk: Walk) -> list[str]:
    return [split for split in trial.batched if split not in walk.failed]


def _blamed(
    trial: Trial, walk: Walk, split: str, text: str, other_way: Callable[[Branch, list[Rows]], list[Any]]
) -> Broken:
    """The first stage after which batches that are made in the other way differ, or one that is known to be impure."""
    suspect = walk.suspect()
    if suspect is not None:
        return Broken(suspect.number, text)
    rows = [look.rows for look in trial.looks(split) if look.epoch == 0]
    for number, branch in _shortened(trial, split):
        expected = [made for _, made in Inline().batches(branch, iter(rows))]
        how = difference(expected, other_way(branch, rows))
        if how is not None:
            return Broken(trial.source_stage if number is None else number, text)
    on_device = trial.branches[split].on_device
    return Broken(on_device[0].number if len(on_device) == 1 else None, text)


def _shortened(trial: Trial, split: str) -> Iterator[tuple[int | None, Branch]]:
    """How the batches of a split are made up to each stage, with its number: none for the source."""
    whole = trial.branches[split]
    number_of_batch, _ = whole.batching
    listed = attrs.evolve(whole, batch=(number_of_batch, LISTS), on_host=())
    for upto in range(len(whole.on_examples) + 1):
        number = whole.on_examples[upto - 1].number if upto else None
        yield number, attrs.evolve(listed, on_examples=whole.on_examples[:upto])
    for upto in range(len(whole.on_host) + 1):
        number = whole.on_host[upto - 1].number if upto else number_of_batch
        yield number, attrs.evolve(whole, on_host=whole.on_host[:upto])


def _one_by_one(branch: Branch, rows: list[Rows]) -> list[Any]:
    return [made for these in reversed(rows) for _, made in Inline().batches(branch, iter([these]))][::-1]


def _made_by(options: LoaderOptions, branch: Branch, rows: list[Rows]) -> list[Any]:
    maker = options.maker(lambda: {branch.where.split: branch}, "cpu", Draws())
    try:
        return [made for _, made in maker.batches(branch, iter(rows))]
    finally:
        maker.close()


def _samples(trial: Trial, split: str) -> bool:
    return trial.branches[split].repeats


def unlike_ids(one: list[int], other: list[int]) -> str | None:
    """Where two orders differ first; None where they are equal."""
    if one == other:
        return None
    at = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    if at is None:
        return f"{len(one)} examples, then {len(other)}"
    return f"position {at} holds example {one[at]}, then {other[at]}"


def _last(lineage: tuple[int, ...]) -> int | None:
    return lineage[-1] if lineage else None


_READ_TOGETHER, _READERS, _ROUNDS = 32, 3, 3
_NO_BATCHES = Skipped("there are no batches")
_MANY = 16  # examples, which two shuffles put into the same order once in 10**13 times
_STEPS = 1000
