"""The laws of orders and plans: which example stands where, in every epoch, step and rank."""

from collections import Counter
from itertools import chain, zip_longest
from math import floor, sqrt

import attrs
import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st

import fdm
from fdm._orders.order import Chosen, Drawn, Natural, Shuffled, Window, Without, is_natural, take, written_out
from fdm._plans.branch import batch_of
from fdm._plans.plan import Plan, applying, check_names, order_of_epoch
from fdm._plans.steps import Steps
from fdm._random.permutation import permute, uniforms
from fdm._splits.splits import resolve_splits, weights_of
from fdm._stages.stage import Alias, Fold, Sample, Split


keys = st.integers(0, 2**64 - 1)


@st.composite
def natural(draw, most=60):
    """An order with its examples written out the naive way."""
    size = draw(st.integers(0, most))
    return Natural(size), list(range(size))


@st.composite
def changed(draw, below):
    of, ids = draw(below)
    kind = draw(st.sampled_from(["shuffled", "window", "without", "chosen", "drawn"]))
    start, stop = sorted((draw(st.integers(0, len(ids))), draw(st.integers(0, len(ids)))))
    key = draw(keys)
    if kind == "shuffled":
        return Shuffled(of, key), [ids[place] for place in permute(np.arange(len(ids)), len(ids), key)]
    if kind == "window":
        return Window(of, start, stop - start), ids[start:stop]
    if kind == "without":
        return Without(of, start, stop), ids[:start] + ids[stop:]
    if kind == "chosen":
        places = draw(st.lists(st.integers(0, len(ids) - 1))) if ids else []
        return Chosen(of, np.array(places, dtype=np.int64)), [ids[place] for place in places]
    size = draw(st.integers(0, 30)) if ids else 0
    weights = np.array(draw(st.lists(st.integers(1, 9), min_size=60, max_size=60)), dtype=np.float64)
    return Drawn(of, weights, size, key), drawn_one_by_one(ids, weights, size, key)


def drawn_one_by_one(ids, weights, size, key):
    running = np.cumsum([weights[index] for index in ids])
    aims = [uniform * running[-1] for uniform in uniforms(np.arange(size), key)]
    return [next(index for index, end in zip(ids, running, strict=True) if aim < end) for aim in aims]


orders = st.recursive(natural(), changed, max_leaves=4)


def planned(p, source, split, epoch=0):
    """The order of an epoch of a split."""
    sources = source if isinstance(source, dict) else {"all": source}
    examples = resolve_splits(list(p.of_kind(Split, Fold, Alias)), sources)[split]
    weights = {number: weights_of(stage.weights, sources[examples.source]) for number, stage in p.of_kind(Sample)}
    return order_of_epoch(p, examples, epoch, weights)


def epoch_of(stages, source, split="all", epoch=0, seed=0):
    """The example ids of an epoch."""
    return written_out(planned(fdm.pipeline(*stages, seed=seed), source, split, epoch)).tolist()


# Orders


@given(orders)
def test_an_order_has_the_examples_of_its_naive_equivalent(pair):
    order, ids = pair
    assert ids == written_out(order).tolist()
    assert len(ids) == order.size


@given(orders, st.data())
def test_any_positions_have_the_examples_that_they_have_in_the_whole_order(pair, data):
    order, ids = pair
    places = data.draw(st.lists(st.integers(0, len(ids) - 1))) if ids else []
    assert [ids[place] for place in places] == order.at(np.array(places, dtype=np.int64)).tolist()


@given(orders, st.integers(0, 80))
def test_take_has_the_first_examples_of_an_order_or_all(pair, count):
    order, ids = pair
    assert ids[:count] == written_out(take(order, count)).tolist()


@given(orders)
def test_an_order_that_is_natural_has_all_examples_as_they_come(pair):
    order, ids = pair
    assert not is_natural(order, 40) or list(range(40)) == ids
    assert is_natural(Natural(40), 40)
    assert not is_natural(Natural(39), 40)


# Shuffle and take


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 5))
def test_shuffle_then_take_has_the_first_of_the_epochs_permutation(n, count, epoch):
    whole = epoch_of([fdm.shuffle()], range(n), epoch=epoch)
    assert list(range(n)) == sorted(whole)
    assert whole[:count] == epoch_of([fdm.shuffle(), fdm.take(count)], range(n), epoch=epoch)


def test_shuffle_then_take_has_new_examples_in_every_epoch():
    epochs = [epoch_of([fdm.shuffle(), fdm.take(10)], range(1000), epoch=epoch) for epoch in range(5)]
    assert [10] * 5 == [len(set(ids)) for ids in epochs]
    assert 5 == len({frozenset(ids) for ids in epochs})


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 5))
def test_take_then_shuffle_has_the_same_examples_in_every_epoch(n, count, epoch):
    ids = epoch_of([fdm.take(count), fdm.shuffle()], range(n), epoch=epoch)
    assert list(range(min(n, count))) == sorted(ids)


def test_take_then_shuffle_has_them_in_another_order_in_every_epoch():
    epochs = [epoch_of([fdm.take(10), fdm.shuffle()], range(1000), epoch=epoch) for epoch in range(5)]
    assert 5 == len(set(map(tuple, epochs)))


@given(st.integers(0, 1000), st.integers(0, 100))
@example(100, 29)  # 28.999999999999996 as floats
def test_a_fraction_of_an_order_rounds_down_as_it_was_written(n, percent):
    assert list(range(n * percent // 100)) == epoch_of([fdm.take(percent / 100)], range(n))


@given(st.lists(st.integers(0, 50) | st.sampled_from([0.0, 0.3, 0.5, 1.0]), max_size=4), st.integers(0, 60))
def test_takes_apply_one_after_the_other(amounts, n):
    left = n
    for amount in amounts:
        left = min(left, amount) if isinstance(amount, int) else floor(left * amount + 1e-9)
    assert list(range(left)) == epoch_of([fdm.take(amount) for amount in amounts], range(n))


@pytest.mark.parametrize("n", [50, 5000])
def test_every_epoch_and_every_seed_has_a_permutation_of_its_own(n):
    found = {
        tuple(epoch_of([fdm.shuffle()], range(n), epoch=epoch, seed=seed)) for epoch in range(4) for seed in range(4)
    }
    assert 16 == len(found)


@pytest.mark.parametrize("order", [fdm.shuffle(seed=5), fdm.sample("weight", seed=5)])
def test_the_seed_of_a_stage_stands_before_the_pipelines(order):
    source = fdm.Table({"weight": torch.ones(100)})
    free = [epoch_of([order], source, seed=seed) for seed in (0, 1)]
    assert free[0] == free[1]
    assert free[0] != epoch_of([order], source, epoch=1)
    assert free[0] == epoch_of([attrs.evolve(order, seed=None)], source, seed=5)


def test_splits_of_one_size_have_permutations_of_their_own():
    stages = [fdm.split({"a": 100, "b": 100}, shuffle=False), fdm.shuffle()]
    first, second = epoch_of(stages, range(200), "a"), epoch_of(stages, range(200), "b")
    assert list(range(200)) == sorted(first + second)
    assert first != [index - 100 for index in second]


def test_two_shuffles_are_told_apart_by_their_count():
    once, twice = (epoch_of([fdm.shuffle()] * times, range(1000)) for times in (1, 2))
    assert [once[place] for place in once] != twice
    assert list(range(1000)) == sorted(twice)


def test_without_order_stages_examples_come_as_the_split_has_them():
    stages = [fdm.split({"train": 70, "val": 30})]
    splits = resolve_splits(list(enumerate(stages)), {"all": range(100)})
    assert written_out(splits["train"].order).tolist() == epoch_of(stages, range(100), "train", epoch=3)


def doubled(item):
    return item


def counted(source):
    return {"n": len(source)}


@pytest.mark.parametrize(
    "more",
    [
        {1: [fdm.alias(predict="val")]},
        {1: [fdm.split({"b": 10, "c": None}, of="val")]},
        {1: [fdm.measure(counted).on("train")]},
        {1: [fdm.shuffle().on("val")], 2: [fdm.take(3).on("val")]},
        {1: [fdm.sample("weight").on("val")]},
        {1: [fdm.take(1000)], 2: [fdm.take(1.0)]},
        {2: [fdm.transform(doubled), fdm.batch(3), fdm.transform(doubled), fdm.transfer()]},
    ],
)
def test_inserting_a_stage_moves_nothing_else(more):
    source = fdm.Table({"weight": torch.ones(100)})
    stages = [fdm.split({"train": 70, "val": 30}), fdm.shuffle().on("train")]
    inserted = [*stages[:1], *more.get(1, []), *stages[1:], *more.get(2, [])]
    for epoch in range(3):
        assert epoch_of(stages, source, "train", epoch) == epoch_of(inserted, source, "train", epoch)


def test_renaming_or_resizing_another_split_moves_nothing():
    first = epoch_of([fdm.split({"train": 70, "val": 30}), fdm.shuffle()], range(100), "train")
    other = epoch_of([fdm.split({"train": 70, "dev": 10, "test": 20}), fdm.shuffle()], range(100), "train")
    assert first == other


# Sample


def favour_late(source):
    return np.arange(len(source)) % 10


def favour_one(source):
    return [1.0 if index == 3 else 0.0 for index in range(len(source))]


def favour_none_of_the_first(source):
    return torch.arange(len(source)) >= 50


def of_the_first(source):
    return torch.arange(len(source)) < 50


@pytest.mark.parametrize("n", [10, 1000])
def test_sample_draws_in_proportion_to_the_weights(n):
    drawn = np.array(epoch_of([fdm.sample(favour_late, size=45_000)], range(n)))
    expected = 45_000 * (np.arange(n) % 10) / (4.5 * n)
    counts = np.bincount(drawn, minlength=n)
    assert 0 == counts[expected == 0].sum()
    likely, freedom = expected > 0, 0.9 * n - 1
    statistic = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
    assert abs(statistic - freedom) < 5 * sqrt(2 * freedom)


def test_draws_of_neighbouring_positions_are_uncorrelated():
    drawn = np.array(epoch_of([fdm.sample(favour_late, size=60_000)], range(1000))) % 10
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 5 / sqrt(60_000)


@pytest.mark.parametrize("size", [None, 0, 1, 7, 500])
def test_sample_draws_as_many_as_asked_for_or_as_there_are(size):
    drawn = epoch_of([fdm.sample(favour_one, size=size)], range(20))
    assert [3] * (20 if size is None else size) == drawn


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 5))
def test_an_example_of_weight_zero_is_never_drawn(weights, epoch):
    assume(any(weights))
    source = fdm.Table({"weight": torch.tensor(weights)})
    drawn = epoch_of([fdm.sample("weight", size=200)], source, epoch=epoch)
    assert set(drawn) <= {index for index, weight in enumerate(weights) if weight}


@pytest.mark.parametrize("weights", [[5e-324, 0.0], [1e308, 1e308, 1e308, 0.0]])
def test_weights_at_the_ends_of_what_a_float_holds_are_drawn_by(weights):
    source = fdm.Table({"weight": torch.tensor(weights, dtype=torch.float64)})
    drawn = epoch_of([fdm.sample("weight", size=200)], source)
    assert {index for index, weight in enumerate(weights) if weight} == set(drawn)


def test_every_epoch_draws_anew_and_every_seed_too():
    source = fdm.Table({"weight": torch.ones(100)})
    found = {tuple(epoch_of([fdm.sample("weight")], source, "all", *at)) for at in [(0, 0), (1, 0), (0, 1), (1, 1)]}
    assert 4 == len(found)


def test_sample_draws_from_the_split_by_the_weights_of_the_source():
    source = fdm.Table({"weight": torch.arange(100).float()})
    stages = [fdm.split({"train": 10, "val": 90}), fdm.sample("weight", size=5000)]
    train = resolve_splits(list(enumerate(stages[:1])), {"all": source})["train"]
    counts = Counter(epoch_of(stages, source, "train"))
    total = sum(written_out(train.order))
    assert set(counts) <= set(written_out(train.order).tolist())
    assert all(abs(count - 5000 * index / total) < 5 * sqrt(5000 * index / total) for index, count in counts.items())


def test_sample_then_take_has_the_first_draws_and_take_then_sample_draws_from_the_first():
    source = fdm.Table({"weight": torch.ones(1000)})
    draws = epoch_of([fdm.sample("weight")], source)
    assert draws[:20] == epoch_of([fdm.sample("weight"), fdm.take(20)], source)
    assert set(range(20)) == set(epoch_of([fdm.take(20), fdm.sample("weight", size=500)], source))


def negative(source):
    return [1.0, -1.0, 1.0]


def not_a_number(source):
    return [1.0, float("nan"), 1.0]


def infinite(source):
    return [1.0, float("inf"), 1.0]


def all_zero(source):
    return [0, 0, 0]


@pytest.mark.parametrize("weights", [negative, not_a_number, infinite, all_zero])
def test_weights_that_nothing_can_be_drawn_by_are_refused(weights):
    with pytest.raises(fdm.DataError, match="weights are finite and not negative, and one at least is above 0"):
        weights_of(fdm.sample(weights).weights, range(3))


def test_as_many_weights_as_examples_are_needed():
    with pytest.raises(fdm.DataError, match="one number or string for each of the 4 examples"):
        weights_of(fdm.sample(negative).weights, range(4))


def test_weights_that_are_words_are_refused():
    with pytest.raises(fdm.DataError, match="sample"):
        weights_of("weight", [{"weight": "heavy"}, {"weight": "light"}])


@pytest.mark.parametrize(
    "weights, fine, wrong", [(of_the_first, "low", "high"), (favour_none_of_the_first, "high", "low")]
)
def test_a_split_whose_weights_are_all_zero_has_nothing_to_draw(weights, fine, wrong):
    stages = [fdm.split({"low": 50, "high": 50}, shuffle=False), fdm.sample(weights)]
    assert 50 == len(epoch_of(stages, range(100), fine))
    with pytest.raises(fdm.DataError, match="sample: the examples to draw from all have weight 0"):
        epoch_of(stages, range(100), wrong)


def test_nothing_can_be_drawn_from_an_empty_split():
    stages = [fdm.split({"train": None, "none": 0}), fdm.sample(favour_late, size=3)]
    with pytest.raises(fdm.DataError, match="no examples to draw 3 from"):
        epoch_of(stages, range(10), "none")
    assert [] == epoch_of([stages[0], fdm.sample(favour_late)], range(10), "none")


# What holds for a split


ALIASES = [fdm.split({"train": 30, "test": 20}), fdm.alias(predict="test"), fdm.alias(again="predict")]


@pytest.mark.parametrize("stage", [fdm.shuffle(), fdm.take(7), fdm.sample("weight")])
@pytest.mark.parametrize("on", [(), ("test",)])
def test_an_alias_has_the_order_of_what_it_stands_for(stage, on):
    source = fdm.Table({"weight": torch.arange(50)})
    stages = [*ALIASES, fdm.shuffle(), stage.on(*on) if on else stage]
    for epoch in range(2):
        expected = epoch_of(stages, source, "test", epoch)
        assert expected == epoch_of(stages, source, "predict", epoch) == epoch_of(stages, source, "again", epoch)


def test_a_stage_on_an_alias_does_not_hold_for_what_it_stands_for():
    stages = [*ALIASES, fdm.take(5).on("predict")]
    found = {split: len(epoch_of(stages, range(50), split)) for split in ("train", "test", "predict", "again")}
    assert {"train": 30, "test": 20, "predict": 5, "again": 5} == found


def test_of_stages_of_a_kind_the_nearest_named_holds_beside_those_without_on():
    stages = [*ALIASES, fdm.take(9), fdm.take(5).on("test"), fdm.take(7).on("predict"), fdm.take(8).on("train")]
    found = {split: len(epoch_of(stages, range(50), split)) for split in ("train", "test", "predict", "again")}
    assert {"train": 8, "test": 5, "predict": 7, "again": 7} == found


def test_stages_of_another_kind_on_an_alias_leave_those_of_what_it_stands_for():
    with_take = [*ALIASES, fdm.shuffle().on("test"), fdm.take(5).on("predict")]
    expected = epoch_of([*ALIASES, fdm.shuffle().on("test")], range(50), "test")[:5]
    assert expected == epoch_of(with_take, range(50), "predict")


def halved(item):
    return item


def numbers(stages, *names):
    return [number for number, _ in applying(list(enumerate(stages)), names)]


def test_stages_with_functions_stand_aside_only_for_their_own_function():
    stages = [
        fdm.transform(doubled).on("test"),
        fdm.transform(halved).on("test"),
        fdm.transform(doubled).on("predict"),
        fdm.transform(halved),
    ]
    assert [0, 1, 3] == numbers(stages, "test")
    assert [1, 2, 3] == numbers(stages, "predict", "test")
    assert [3] == numbers(stages, "train")


def test_several_stages_on_one_name_all_hold():
    stages = [fdm.shuffle().on("test"), fdm.shuffle().on("test", "train"), fdm.shuffle().on("train")]
    assert [0, 1] == numbers(stages, "test") == numbers(stages, "predict", "test")


def test_the_batch_that_names_a_split_or_its_alias_wins():
    p = fdm.pipeline(fdm.batch(2).on("test"), fdm.batch(3), fdm.batch(4).on("predict", "val"))
    found = {
        names: batch_of(p, names) for names in [("train",), ("test",), ("predict", "test"), ("more", "test"), ("val",)]
    }
    assert [3, 2, 4, 2, 4] == [stage.size for _, stage in found.values()]
    assert [1, 0, 2, 0, 2] == [number for number, _ in found.values()]
    assert batch_of(fdm.pipeline(fdm.batch(2).on("test")), ("train",)) is None


@pytest.mark.parametrize(
    "stage", [fdm.shuffle(), fdm.take(1), fdm.sample("w"), fdm.transform(doubled), fdm.batch(2), fdm.measure(counted)]
)
def test_a_stage_on_a_split_that_is_not_there_is_refused_with_those_that_are(stage):
    splits = resolve_splits(list(enumerate(ALIASES)), {"all": range(50)})
    check_names(fdm.pipeline(stage.on("predict")), splits)
    message = r"stage 0 \(\w+\): there is no split 'tran' \(did you mean 'train'\?\); the splits are 'again', 'predict', 'test', 'train'"
    with pytest.raises(fdm.UnknownNameError, match=message):
        check_names(fdm.pipeline(stage.on("tran")), splits)


# Steps of ranks


@given(orders, st.integers(1, 6), st.integers(1, 5), st.data())
def test_the_ids_of_all_steps_and_ranks_are_those_of_the_order(pair, size, world_size, data):
    order, ids = pair
    start = data.draw(st.integers(0, len(ids)))
    steps = Steps(start, order.size, size, world_size)
    ranks = [list(Plan.of(order, steps, rank).rows()) for rank in range(world_size)]
    in_turn = [step for step in chain(*zip_longest(*ranks)) if step is not None]
    assert ids[start:] == list(chain(*(step.ids.tolist() for step in in_turn)))
    assert list(range(start, order.size)) == list(chain(*(step.positions.tolist() for step in in_turn)))
    assert all(torch.int64 == step.ids.dtype == step.positions.dtype for step in in_turn)


@given(orders, st.integers(1, 6), st.integers(1, 3), st.data())
def test_steps_looked_up_together_are_those_looked_up_alone(pair, size, world_size, data):
    order, _ = pair
    steps = Steps(0, order.size, size, world_size)
    rank = data.draw(st.integers(0, world_size - 1))
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, steps.count_of(rank))] * 2)))
    alone = [next(Plan(order, steps, rank, step, step + 1).rows()) for step in range(first, last)]
    together = list(Plan(order, steps, rank, first, last).rows())
    for one, other in zip(alone, together, strict=True):
        assert one.ids.equal(other.ids)
        assert one.positions.equal(other.positions)


def test_a_step_of_a_thousand_ranks_over_a_billion_examples_is_found_alone():
    p = fdm.pipeline(fdm.split({"train": 0.9, "val": None}), fdm.shuffle(), seed=1)
    order = planned(p, range(10**9), "train", epoch=7)
    steps = Steps(0, order.size, size=32, world_size=1000)
    middle, last = (list(Plan(order, steps, 500, at, at + 1).rows()) for at in (steps.count // 2, steps.count - 1))
    assert 32 == len(set(middle[0].ids.tolist()))
    assert 0 < len(last[0].ids) <= 32
    assert not set(middle[0].ids.tolist()) & set(last[0].ids.tolist())
