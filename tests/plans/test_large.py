"""Integers of any size, wherever one can stand: what they mean is done, or they are refused in words."""

import itertools
import json
import random

import numpy as np
import pytest
import torch

import fdm


LARGE = {"2**62": 2**62, "2**63 - 1": 2**63 - 1, "2**63": 2**63, "2**64 - 1": 2**64 - 1, "2**70": 2**70}
BEYOND = {"10**400": 10**400, "10**5000": 10**5000, "-2**70": -(2**70), "-10**5000": -(10**5000)}
ALL = {**LARGE, **BEYOND}
OTHER_RANK = fdm.RankContext(rank=1, world_size=3)


def numbers():
    return range(10)


def pairs(source):
    return [index // 2 for index in range(len(source))]


def ones(source):
    return [1.0] * len(source)


def moved(item, key):
    return item + key.randint(0, 5)


def shaken(item):
    return item + random.random()


def seen(*stages, split="all", epoch=0, seed=None, **options):
    """The first steps and the last one, and that all there is to say of them can be said."""
    with fdm.open(fdm.pipeline(fdm.load(numbers), *stages, seed=seed), **options) as data:
        loader = data.loader(split, epoch=epoch)
        assert all([repr(loader), loader.plan(), loader._repr_html_(), str(data.pipeline)])
        json.dumps(loader.snapshot(1).to_dict())
        last = loader[-1].tolist()
        assert last == loader[len(loader) - 1].tolist()
        return [batch.tolist() for batch in itertools.islice(loader, 5)]


@pytest.mark.parametrize("size", LARGE.values(), ids=LARGE)
def test_a_batch_of_any_size_is_all_there_is(size):
    assert [list(range(10))] == seen(fdm.batch(size))
    for across in ("rank", "world"):
        assert [[4, 5, 6]] == seen(fdm.batch(size, across=across), context=OTHER_RANK)


@pytest.mark.parametrize("count", LARGE.values(), ids=LARGE)
def test_take_of_any_count_takes_all(count):
    assert [list(range(10))] == seen(fdm.take(count), fdm.batch(10))


@pytest.mark.parametrize("place", ["pipeline", "shuffle", "split", "key", "stratify", "fold", "sample", "ambient"])
def test_a_seed_may_be_any_integer_that_can_be_written(place):
    def of(seed):
        two, batch = {"all": 0.5, "rest": None}, fdm.batch(2)
        stages = {
            "pipeline": (fdm.shuffle(), fdm.augment(moved), batch, fdm.augment(moved)),
            "shuffle": (fdm.shuffle(seed=seed), batch),
            "split": (fdm.split(two, seed=seed), batch),
            "key": (fdm.split({"all": 0.99, "rest": None}, seed=seed, key=pairs), batch),
            "stratify": (fdm.split(two, seed=seed, stratify=pairs, groups=pairs), batch),
            "fold": (fdm.fold(3, 1, seed=seed), batch),
            "sample": (fdm.sample(ones, seed=seed), batch),
            "ambient": (fdm.augment(fdm.ambient(shaken)), batch),
        }
        split = "train" if place == "fold" else "all"
        return seen(*stages[place], split=split, seed=seed if place in ("pipeline", "ambient") else None)

    seeds = [*LARGE.values(), -(2**70), -1, 0, 10**150, np.int64(-3)]
    assert len({str(of(seed)) for seed in seeds}) > (0 if place == "key" else 3)
    for seed in (10**400, -(10**5000), True, 1.0, "1"):
        with pytest.raises(fdm.PipelineError, match="seed"):
            of(seed)


@pytest.mark.parametrize("epoch", [*LARGE.values(), 10**150])
def test_an_epoch_may_be_any_number(epoch):
    stages = fdm.shuffle(), fdm.augment(moved), fdm.batch(4), fdm.augment(moved)
    assert seen(*stages, epoch=epoch) != seen(*stages, epoch=epoch + 1)
    with fdm.open(fdm.pipeline(fdm.load(numbers), *stages)) as data:
        saved = data.loader("all", epoch=epoch).snapshot(2)
        again = data.loader("all", start=fdm.Snapshot.from_dict(json.loads(json.dumps(saved.to_dict()))))
        assert data.loader("all", epoch=epoch)[2].tolist() == again[0].tolist()


def test_a_sample_is_as_large_as_steps_can_count():
    assert 5 == len(seen(fdm.sample(ones, size=2**62), fdm.batch(3)))
    assert 5 == len(seen(fdm.sample(ones, size=2**62), fdm.batch(3), context=OTHER_RANK))
    for size in (2**62 + 1, *list(ALL.values())[1:]):
        with pytest.raises(fdm.PipelineError, match=r"sample: size is an integer of at (most|least)"):
            fdm.sample(ones, size=size)


@pytest.mark.parametrize("size", ALL.values(), ids=ALL)
def test_sizes_that_no_data_has_are_refused_in_words(size):
    for into in ({"a": size, "b": None}, {"a": size, "b": 0.5}, {"a": size, "c": size, "b": None}):
        with pytest.raises((fdm.PipelineError, fdm.DataError), match=r"sizes a=|split: a is an integer of at"):
            seen(fdm.split(into), fdm.batch(2), split="a")
    for k, index in ((size, 0), (3, size)):
        with pytest.raises((fdm.PipelineError, fdm.DataError), match="fold"):
            seen(fdm.fold(k, index), fdm.batch(2), split="train")


@pytest.mark.parametrize("number", BEYOND.values(), ids=BEYOND)
def test_what_can_be_no_size_or_epoch_is_refused_in_words(number):
    for make in (fdm.batch, fdm.take):
        with pytest.raises(fdm.PipelineError, match=r"is an integer of at (most 512 bits|least)"):
            make(number)
    with fdm.open(fdm.pipeline(fdm.load(numbers), fdm.batch(2))) as data:
        for ask in (data.loader, data.dataset):
            with pytest.raises(fdm.DataError, match=r"epoch is an integer of at (most 512 bits|least)"):
                ask("all", epoch=number)
    for field in ("epoch", "examples"):
        with pytest.raises(fdm.SnapshotError, match=f"the snapshot's {field} is"):
            fdm.Snapshot(**{"fingerprint": "f", "split": "all", "epoch": 0, "examples": 0, field: number})


@pytest.mark.parametrize("number", ALL.values(), ids=ALL)
def test_a_step_or_row_that_is_not_there_is_an_index_error(number):
    table = fdm.Table({"x": torch.arange(3), "words": fdm.Ragged.of(["a", "b", "c"])})
    with fdm.open(fdm.pipeline(fdm.load(numbers), fdm.batch(2))) as data:
        loader = data.loader("all", epoch=0)
        both = fdm.combine({"a": loader, "b": loader})
        dataset = data.dataset("all", epoch=0)
        for read in (loader, loader.indices, both, both.indices, dataset, table, table["words"]):
            with pytest.raises(IndexError):
                read(number) if callable(read) and not hasattr(read, "__getitem__") else read[number]
        assert len(loader) * (number < 0) == len(loader[number:])
        for places in (loader, both):
            with pytest.raises(fdm.DataError, match=r"from 0 to (the loader's )?5|at most 512 bits"):
                places.snapshot(number)


@pytest.mark.parametrize("kind", [np.uint64, np.array, torch.tensor, list])
def test_rows_beyond_the_numbers_with_a_sign_are_not_those_at_the_end(kind):
    table = fdm.Table({"x": torch.arange(3), "words": fdm.Ragged.of(["a", "b", "c"])})
    for row in (2**64 - 1, 2**63):
        rows = {list: [row], np.array: np.array([row], np.uint64), np.uint64: np.uint64(row)}
        rows[torch.tensor] = torch.from_numpy(rows[np.array])
        for read in (table, table["words"]):
            with pytest.raises(IndexError, match=f"row {row} of a"):
                read[rows[kind]]


def test_a_parameter_that_cannot_be_written_is_refused_by_name():
    with pytest.raises(fdm.PipelineError, match="the parameter 'by' cannot be compared by value"):
        fdm.transform(added, by=10**5000)
    assert [[2.0**70]] == seen(fdm.take(1), fdm.transform(added, by=2**70), fdm.batch(1, collate=as_tensors))


def added(item, *, by):
    return item + by


def as_tensors(examples):
    return torch.tensor([float(example) for example in examples])
