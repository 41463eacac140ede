"""The laws of whole pipelines: what a batch may depend on, and what resuming gives."""

import itertools
import json
import pickle
import random
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

import fdm
from fdm.testing import contexts, doubled, every_rank, example_table, jittered, pipelines


def same(first, second):
    """Whether two batches are equal, entry by entry."""
    if isinstance(first, fdm.Ragged):
        return isinstance(second, fdm.Ragged) and first.tolist() == second.tolist()
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    return torch.equal(first, second)


def all_same(first, second):
    first, second = list(first), list(second)
    return len(first) == len(second) and all(map(same, first, second))


def ids_of(loaders):
    return [index for loader in loaders for step in range(len(loader)) for index in loader.indices(step).tolist()]


def epoch_of(data, split, epoch=0):
    """The ids of an epoch in global order, as a single rank sees them, one by one."""
    return data.dataset(split, epoch).order.at(np.arange(len(data.dataset(split, epoch)))).tolist()


def draws_no_sample(p):
    return "sample" not in {stage.kind for stage in p.stages}


def is_cut_by_size(p):
    return any(stage.kind in ("split", "fold") for stage in p.stages)


@given(pipelines())
def test_splits_are_disjoint_and_cover_the_source(p):
    with fdm.open(p) as data:
        names = [name for name in data.splits if name != "predict"]
        ids = [index for name in names for index in data.indices(name).tolist()]
        assert list(range(p.stages[0].function.params[1][1])) == sorted(ids)
        assert {name: len(data.indices(name)) for name in data.splits} == dict(data.splits)


@given(pipelines(), st.integers(1, 6), st.integers(0, 3))
def test_ranks_partition_the_epoch_in_equal_steps(p, world_size, epoch):
    opened = [fdm.open(p, context=context) for context in every_rank(world_size)]
    for split in opened[0].splits:
        loaders = [data.loader(split, epoch=epoch) for data in opened]
        expected = epoch_of(opened[0], split, epoch)
        drop_last = any(stage.drop_last for stage in p.stages if stage.kind == "batch")
        if drop_last:
            size = next(stage.size for stage in p.stages if stage.kind == "batch")
            expected = expected[: len(expected) // (size * world_size) * size * world_size]
        assert Counter(expected) == Counter(ids_of(loaders))
        if drop_last or len(expected) >= world_size:
            assert len({len(loader) for loader in loaders}) == 1
            assert all(len(loader.indices(step)) for loader in loaders for step in range(len(loader)))


@given(pipelines(), contexts())
def test_a_batch_by_number_is_the_batch_of_iteration(p, context):
    with fdm.open(p, context=context) as data:
        for split in data.splits:
            loader = data.loader(split, epoch=1)
            batches = list(loader)
            assert len(loader) == len(batches)
            assert all(same(batches[step], loader[step]) for step in range(len(loader)))
            assert all(same(batches[step], loader[step]) for step in range(-len(loader), 0))
            assert all(torch.equal(batch["id"], loader.indices(step)) for step, batch in enumerate(batches))
            assert all_same(batches, loader)


@given(pipelines(), contexts(), st.data())
def test_a_slice_is_the_loader_of_these_steps(p, context, draw):
    with fdm.open(p, context=context) as data:
        split = draw.draw(st.sampled_from(sorted(data.splits)))
        loader = data.loader(split, epoch=0)
        low, high = draw.draw(st.integers(-3, len(loader) + 3)), draw.draw(st.integers(-3, len(loader) + 3))
        part = loader[low:high]
        assert all_same(list(loader)[low:high], part)
        assert [loader.snapshot(step) for step in range(len(loader))][low:high] == [
            part.snapshot(step) for step in range(len(part))
        ]


@given(pipelines(), contexts(), st.data())
def test_resuming_from_any_step_gives_the_same_tail(p, context, draw):
    with fdm.open(p, context=context) as data:
        split = draw.draw(st.sampled_from(sorted(data.splits)))
        loader = data.loader(split, epoch=2)
        batches = list(loader)
        for done in range(len(loader) + 1):
            snapshot = fdm.Snapshot.from_dict(json.loads(json.dumps(loader.snapshot(done).to_dict())))
            resumed = data.loader(split, start=snapshot)
            if done and done == len(loader):
                assert (3, all_same(data.loader(split, epoch=3), resumed)) == (resumed.epoch, True)
            else:
                assert (2, all_same(batches[done:], resumed)) == (resumed.epoch, True)


@given(pipelines(), st.integers(1, 5), st.integers(1, 5), st.integers(1, 9), st.data())
def test_resuming_with_other_ranks_and_batch_sizes_gives_exactly_the_unseen(p, before, after, size, draw):
    p = fdm.replace(p, fdm.batch(draw.draw(st.integers(1, 9)), ids="id"))
    first = [fdm.open(p, context=context) for context in every_rank(before)]
    split = draw.draw(st.sampled_from(sorted(first[0].splits)))
    loaders = [data.loader(split) for data in first]
    done = draw.draw(st.integers(0, len(loaders[0])))
    snapshots = [loader.snapshot(min(done, len(loader))) for loader in loaders]
    if all(len(loader) == len(loaders[0]) for loader in loaders):
        assert all(snapshot == snapshots[0] for snapshot in snapshots)
    bigger = fdm.replace(p, fdm.batch(size, ids="id"))
    second = [fdm.open(bigger, context=context) for context in every_rank(after)]
    resumed = [data.loader(split, start=snapshots[0]) for data in second]
    whole = Counter(epoch_of(first[0], split))
    seen = Counter(ids_of([loader[:done] for loader in loaders]))
    ended = snapshots[0].epoch == 1
    assert whole == (seen if ended else seen + Counter(ids_of(resumed)))


@given(pipelines(), contexts())
def test_a_snapshot_after_the_last_step_is_the_start_of_the_next_epoch(p, context):
    with fdm.open(p, context=context) as data:
        for split in data.splits:
            loader = data.loader(split, epoch=4)
            assert loader.snapshot(0) == data.loader(split, start=loader.snapshot(0)).snapshot(0)
            if len(loader):
                assert data.loader(split, epoch=5).snapshot(0) == loader.snapshot(len(loader))


@given(pipelines(), contexts())
def test_epochs_are_the_loaders_of_each_epoch_in_turn(p, context):
    with fdm.open(p, context=context) as data:
        split = min(data.splits)
        start = data.loader(split, epoch=1).snapshot(min(1, len(data.loader(split))))
        loaders = list(data.epochs(split, 4, start=start))
        assert list(range(start.epoch, 4)) == [loader.epoch for loader in loaders]
        assert all_same(data.loader(split, start=start), loaders[0])
        assert all(all_same(data.loader(split, epoch=loader.epoch), loader) for loader in loaders[1:])


@given(pipelines())
def test_two_loaders_do_not_disturb_each_other(p):
    with fdm.open(p) as data:
        split = max(data.splits)
        alone = list(data.loader(split, epoch=0))
        loader = data.loader(split, epoch=0)
        pairs = list(zip(loader, loader, data.loader(split, epoch=0), strict=True))
        assert all(all_same(alone, turn) for turn in zip(*pairs, strict=True)) or not alone


@pytest.mark.parametrize("speed", [{}, {"threads": 2}, {"workers": 1}], ids=["inline", "threads", "workers"])
def test_an_endless_stream_of_epochs_goes_on_undisturbed_by_validation_other_streams_and_early_stops(speed):
    cut = fdm.split({"train": 0.8, "val": None})
    stages = fdm.load(example_table, n=23), cut, fdm.shuffle().on("train"), fdm.augment(jittered), fdm.batch(4)
    with fdm.open(fdm.pipeline(*stages), **speed) as data:
        expected = [batch for epoch in range(5) for batch in data.loader("train", epoch=epoch)]
        validated = list(data.loader("val", epoch=0))
        stream = (batch for loader in data.epochs("train") for batch in loader)
        other = (batch for loader in data.epochs("train") for batch in loader)
        seen = []
        for step, batch in enumerate(stream):
            seen.append(batch)
            if step % 3 == 1:
                assert all_same(validated, data.loader("val", epoch=0))
            if step % 4 == 2:
                next(iter(data.loader("val", epoch=0)))  # and no further
                next(other)
            if len(seen) == len(expected):
                break
        assert all_same(expected, seen)
        assert all_same(
            expected, itertools.islice((b for loader in data.epochs("train") for b in loader), len(expected))
        )


@given(pipelines(), st.integers(0, 2**31))
def test_the_global_random_state_is_neither_read_nor_changed(p, seed):
    def state():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    with fdm.open(p) as data:
        expected = [list(data.loader(split)) for split in data.splits]
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    before = state()
    with fdm.open(p) as data:
        found = [list(data.loader(split)) for split in data.splits]
    assert before == state()
    assert all(map(all_same, expected, found))


@given(pipelines(), st.integers(0, 5))
def test_inserting_a_transform_moves_nothing(p, epoch):
    numbers = [number for number, stage in enumerate(p.stages) if stage.kind == "batch"]
    more = fdm.pipeline(*p.stages[: numbers[0]], fdm.transform(doubled), *p.stages[numbers[0] :], seed=p.seed)
    with fdm.open(p) as data, fdm.open(more) as inserted:
        for split in data.splits:
            one, other = data.loader(split, epoch=epoch), inserted.loader(split, epoch=epoch)
            assert ids_of([one]) == ids_of([other])
            assert one.snapshot(0) == other.snapshot(0)


@given(pipelines())
def test_the_epochs_of_a_shuffle_differ(p):
    p = fdm.pipeline(*p.stages[:1], fdm.shuffle(), fdm.batch(4), seed=p.seed)
    with fdm.open(p) as data:
        orders = {tuple(epoch_of(data, "all", epoch)) for epoch in range(6)}
        assert len(orders) > 1 or data.splits["all"] == 1
        assert len(orders) == 6 or data.splits["all"] < 12


@given(pipelines())
def test_a_dataset_has_the_examples_of_the_loader(p):
    p = fdm.replace(p, fdm.batch(5))
    p = fdm.pipeline(*(stage for stage in p.stages if stage.kind != "transfer"), seed=p.seed)
    numbers = [number for number, stage in enumerate(p.stages) if stage.kind == "batch"]
    p = fdm.pipeline(*p.stages[: numbers[0] + 1], seed=p.seed)
    with fdm.open(p) as data:
        for split in data.splits:
            dataset, loader = data.dataset(split, epoch=3), data.loader(split, epoch=3)
            rows = [example["row"].item() for example in (dataset[i] for i in range(len(dataset)))]
            assert [row for batch in loader for row in batch["row"].tolist()] == rows


@given(pipelines())
def test_a_pipeline_survives_pickling_and_is_equal_exactly_to_its_copies(p):
    copy = pickle.loads(pickle.dumps(p))
    assert p == copy
    assert hash(p) == hash(copy)
    assert fdm.fingerprint(p) == fdm.fingerprint(copy)
    assert p == fdm.pipeline(p)
    assert p != fdm.replace(p, seed=p.seed + 1)
    assert json.loads(json.dumps(fdm.describe(p))) == fdm.describe(p)
    assert len(p.stages) + 1 == len(str(p).splitlines())


@given(pipelines(), pipelines())
def test_fingerprints_agree_exactly_when_pipelines_do(p, q):
    assert (p == q) == (fdm.fingerprint(p) == fdm.fingerprint(q))


@given(st.integers(0, 40), st.integers(1, 6), st.integers(1, 5))
def test_every_example_is_seen_once_by_exactly_one_rank_at_any_length(n, world_size, size):
    p = fdm.pipeline(fdm.load(example_table, n=n), fdm.shuffle(), fdm.batch(size))
    loaders = [fdm.open(p, context=context).loader("all") for context in every_rank(world_size)]
    assert list(range(n)) == sorted(ids_of(loaders))
    steps = [len(loader) for loader in loaders]
    assert steps == [steps[0]] * world_size or n < world_size
