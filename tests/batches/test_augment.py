"""Augmentation: random changes that depend on pipeline, split, epoch and example, and on nothing else."""

import pickle
import random

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm
from fdm.testing import example_table


def rows(n=20):
    return fdm.load(example_table, n=n)


def drawn(item, key, *, name="drawn", count=2):
    """For an example as for a batch: numbers from the key beside the other entries."""
    return {**item, name: key.uniform(count)}


def other(item, key):
    return {**item, "other": key.randint(0, 10**9)}


def ambiently(item, *, most=1.0):
    return {**item, "ambient": torch.rand(()) * most + np.random.rand() + random.random()}


def own_generator(item, key):
    return {**item, "drawn": torch.rand(2, generator=key.generator())}


def needs_no_key(item):
    return item


def as_is(item):
    return item


@attrs.frozen
class Noise:
    scale: float

    def __call__(self, item, key):
        return {**item, "drawn": key.normal(2) * self.scale}


class Jitter(torch.nn.Module):
    """As torchvision's: a module without parameters, that draws from torch's global state."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def forward(self, item):
        return {**item, "ambient": torch.rand(1) * self.most}


def opened(*stages, seed=0, **options):
    return fdm.open(fdm.pipeline(*stages, seed=seed), **options)


def by_id(loader, name="drawn", rows_of="row"):
    """What was drawn for each example, by its id, of all batches; a list for what comes more than once."""
    found = {}
    for batch in loader:
        for row, value in zip(batch[rows_of].tolist(), batch[name].tolist(), strict=True):
            found.setdefault(row, []).append(value)
    return found


# What a draw depends on


@given(st.integers(1, 30), st.integers(1, 7), st.integers(0, 3), st.integers(0, 9))
def test_a_draw_depends_on_seed_epoch_and_example_alone(n, size, epoch, seed):
    plain = by_id(opened(rows(n), fdm.augment(drawn), fdm.batch(size), seed=seed).loader("all", epoch=epoch))
    for stages in (
        [fdm.augment(drawn), fdm.batch(size + 1)],
        [fdm.shuffle(), fdm.augment(drawn), fdm.batch(size)],
        [fdm.transform(as_is), fdm.augment(other), fdm.augment(drawn), fdm.batch(size)],
        [fdm.batch(size), fdm.augment(drawn)],
        [fdm.batch(size), fdm.transfer(), fdm.augment(drawn)],
    ):
        data = opened(rows(n), *stages, seed=seed)
        assert plain == by_id(data.loader("all", epoch=epoch))
    assert plain != by_id(data.loader("all", epoch=epoch + 1))
    assert plain != by_id(
        opened(rows(n), fdm.augment(drawn), fdm.batch(size), seed=seed + 1).loader("all", epoch=epoch)
    )


def test_a_draw_is_the_same_in_every_split_that_has_the_example():
    whole = by_id(opened(rows(), fdm.augment(drawn), fdm.batch(4)).loader("all", epoch=0))
    cut = fdm.split({"train": 0.5, "val": None}), fdm.split({"inner": 0.5, "outer": None}, of="train")
    data = opened(rows(), *cut, fdm.augment(drawn), fdm.batch(4))
    parts = [by_id(data.loader(split, epoch=0)) for split in data.splits]
    assert whole == {row: values for part in parts for row, values in part.items()}


@given(st.integers(1, 6), st.integers(1, 25), st.integers(1, 5))
def test_ranks_draw_what_one_rank_draws(world_size, n, size):
    p = fdm.pipeline(rows(n), fdm.shuffle(), fdm.batch(size), fdm.augment(drawn), seed=3)
    with fdm.open(p) as data:
        alone = by_id(data.loader("all", epoch=0))
    together = {}
    for rank in range(world_size):
        with fdm.open(p, context=fdm.RankContext(rank, world_size)) as data:
            together |= by_id(data.loader("all", epoch=0))
    assert alone == together


def test_a_resumed_loader_draws_what_the_whole_one_draws():
    data = opened(rows(), fdm.shuffle(), fdm.augment(drawn), fdm.batch(4))
    whole = list(data.loader("all", epoch=2))
    for done in range(len(whole)):
        resumed = data.loader("all", start=data.loader("all", epoch=2).snapshot(done))
        for one, other_ in zip(whole[done:], resumed, strict=True):
            assert one["drawn"].equal(other_["drawn"])


def test_stages_draw_apart_and_those_of_one_function_by_their_count():
    stages = [fdm.augment(drawn, name=name) for name in ("a", "b")]
    batch = opened(rows(), *stages, fdm.augment(other), fdm.batch(20)).loader("all", epoch=0)[0]
    assert not batch["a"].equal(batch["b"])
    alone = opened(rows(), fdm.augment(drawn, name="a"), fdm.batch(20)).loader("all", epoch=0)[0]
    assert batch["a"].equal(alone["a"])
    across = opened(rows(), stages[0], fdm.batch(20), stages[1]).loader("all", epoch=0)[0]
    assert batch["b"].equal(across["b"])


def test_a_stage_of_another_split_moves_nothing():
    cut = fdm.split({"train": 10, "val": 10})
    both = opened(rows(), cut, fdm.augment(drawn).on("val"), fdm.augment(drawn).on("train"), fdm.batch(5))
    alone = opened(rows(), cut, fdm.augment(drawn).on("train"), fdm.batch(5))
    assert by_id(both.loader("train", epoch=0)) == by_id(alone.loader("train", epoch=0))


def test_an_alias_draws_as_what_it_stands_for():
    cut = fdm.split({"train": 10, "test": 10}), fdm.alias(predict="test")
    data = opened(rows(), *cut, fdm.augment(drawn).on("test"), fdm.batch(5))
    assert by_id(data.loader("test", epoch=0)) == by_id(data.loader("predict", epoch=0))


@pytest.mark.parametrize("place", ["before", "after"])
def test_repeats_of_an_example_within_an_epoch_differ(place):
    stage, size = fdm.augment(drawn), fdm.batch(5)
    order = [stage, size] if place == "before" else [size, stage]
    data = opened(rows(10), fdm.sample("weight", size=200), *order)
    found = by_id(data.loader("all", epoch=0))
    assert any(len(values) > 1 for values in found.values())
    assert 200 == len({tuple(value) for values in found.values() for value in values})
    again = [batch["drawn"] for batch in data.loader("all", epoch=0)]
    for step in (0, 7, -1):
        assert again[step].equal(data.loader("all", epoch=0)[step]["drawn"])
    other_size = opened(rows(10), fdm.sample("weight", size=200), stage, fdm.batch(7))
    assert found == by_id(other_size.loader("all", epoch=0))


def test_a_dataset_draws_as_the_loader_does():
    for order in ([fdm.shuffle()], [fdm.sample("weight")], []):
        data = opened(rows(), *order, fdm.augment(drawn), fdm.batch(4))
        loaded = [value for batch in data.loader("all", epoch=1) for value in batch["drawn"]]
        dataset = data.dataset("all", epoch=1)
        for index, value in enumerate(loaded):
            assert value.equal(dataset[index]["drawn"])
        few = dataset.__getitems__([3, 1])
        assert all(one["drawn"].equal(loaded[index]) for one, index in zip(few, (3, 1), strict=True))


def test_a_generator_of_a_key_is_reproducible_too():
    data = opened(rows(), fdm.augment(own_generator), fdm.batch(4))
    assert by_id(data.loader("all", epoch=0)) == by_id(data.loader("all", epoch=0))
    assert by_id(data.loader("all", epoch=0)) != by_id(data.loader("all", epoch=1))


def test_frozen_instances_and_lists_of_parameters_are_functions_too():
    data = opened(rows(), fdm.augment(Noise(0.5)), fdm.batch(4))
    assert by_id(data.loader("all", epoch=0)) == by_id(
        opened(rows(), fdm.batch(3), fdm.augment(Noise(0.5))).loader("all", epoch=0)
    )


# The device


def test_after_transfer_keys_draw_on_the_device():
    p = fdm.pipeline(rows(), fdm.batch(4), fdm.augment(drawn, name="host"), fdm.transfer(), fdm.augment(drawn))
    with fdm.open(p, context=fdm.RankContext(device="meta")) as data:
        batch = data.loader("all", epoch=0)[0]
    assert ["meta", "meta", (4, 2)] == [
        batch["host"].device.type,
        batch["drawn"].device.type,
        tuple(batch["drawn"].shape),
    ]


# Ambient state


@pytest.mark.parametrize("call", [ambiently, Jitter(2.0)], ids=["function", "module"])
def test_ambient_callables_are_as_reproducible_as_any_and_leave_no_trace(call):
    data = opened(rows(), fdm.shuffle(), fdm.augment(fdm.ambient(call)), fdm.batch(4))
    first = by_id(data.loader("all", epoch=0), "ambient")
    for seed in (1, 2):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        expected = torch.rand(3), np.random.rand(3), random.random()
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        assert first == by_id(data.loader("all", epoch=0), "ambient")
        assert torch.rand(3).equal(expected[0])
        assert (np.random.rand(3) == expected[1]).all()
        assert random.random() == expected[2]
    assert first != by_id(data.loader("all", epoch=1), "ambient")
    assert 20 == len({value for values in first.values() for value in map(str, values)})


def test_ambient_state_is_restored_after_an_error():
    def state():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = state()
    with pytest.raises(ZeroDivisionError):
        fdm.ambient(dividing)(0, fdm.Key(0))
    assert before == state()


def dividing(item):
    torch.rand(3), np.random.rand(3), random.random()
    return 1 / item


def test_ambient_stages_are_named_and_edited_by_their_function():
    p = fdm.pipeline(rows(), fdm.augment(fdm.ambient(ambiently), most=2.0), fdm.batch(4))
    assert "test_augment.ambiently(most=2.0), ambient=True" in str(p)
    assert 2 == len(fdm.without(p, "ambiently").stages)
    assert p != fdm.replace(p, fdm.augment(fdm.ambient(ambiently), most=3.0))
    assert pickle.loads(pickle.dumps(p)) == p


# What is refused


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: fdm.augment(lambda item, key: item), "lambda"),
        (lambda: fdm.augment(fdm.ambient(lambda item: item)), "lambda"),
        (lambda: fdm.augment(drawn, nmae="x"), r"no parameter 'nmae' \(did you mean 'name'\?\)"),
        (lambda: fdm.augment(fdm.ambient(ambiently), mots=1), r"no parameter 'mots' \(did you mean 'most'\?\)"),
        (lambda: fdm.augment(drawn, 3), "by keyword"),
        (lambda: fdm.transform(fdm.ambient(ambiently)), "is random, and so for augment"),
        (lambda: fdm.pipeline(fdm.augment(needs_no_key)), r"cannot be called as needs_no_key\(item, key\)"),
        (lambda: fdm.pipeline(fdm.augment(fdm.ambient(drawn))), r"cannot be called as drawn\(item\)"),
        (lambda: fdm.pipeline(fdm.batch(2), fdm.augment(fdm.ambient(ambiently))), "so before batch"),
        (lambda: fdm.pipeline(fdm.augment(drawn), fdm.shuffle()), "the order of stages is"),
    ],
)
def test_what_cannot_augment_is_refused(make, message):
    with pytest.raises(fdm.PipelineError, match=message):
        make()


def failing(item, key):
    raise ZeroDivisionError


def test_errors_say_where_they_happened():
    for stages, ids in (
        ([fdm.augment(failing), fdm.batch(2)], "example 0"),
        ([fdm.batch(2), fdm.augment(failing)], "0, 1"),
    ):
        with pytest.raises(ZeroDivisionError) as caught:
            opened(rows(), *stages).loader("all", epoch=0)[0]
        (note,) = caught.value.__notes__
        assert "augment test_augment.failing(), defined at " in note
        assert note.endswith(ids)
