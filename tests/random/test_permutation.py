"""The laws of keyed permutations: bijections by position that look like true shuffles."""

from itertools import pairwise, permutations
from math import factorial, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdm._random.permutation import derive, permute, random_bits, uniforms


keys = st.integers(0, 2**64 - 1)
names = st.tuples(st.integers(-2, 2), st.text("a1,", max_size=2), st.text("a1,", max_size=2) | st.integers(-2, 12))
AROUND_POWERS = sorted({max(0, 2**bits + off) for bits in range(17) for off in (-1, 0, 1)} | {4098, 60_000})
HUGE = [2**31, 2**32 - 1, 2**32, 2**32 + 1, 10**12, 2**62, 2**63 - 1]
SIZES = [60_000, 10**6, 10**9]
EPOCHS = [derive(0, "shuffle", "train", epoch) for epoch in range(8)]
LIMIT = 4.5  # standard errors; keys are fixed, and the shuffles that this guards against are off by dozens


def whole(n, key):
    return permute(np.arange(n), n, key)


def first(n, key):
    return permute(np.arange(60_000), n, key)


def correlation(left, right):
    """The correlation of two sequences of uniforms in [-0.5, 0.5), in standard errors."""
    return 12 * float((left * right).mean()) * sqrt(len(left))


def chi_square(observed, expected, freedom):
    """How many standard deviations Pearson's statistic lies above its mean."""
    return (float(((observed - expected) ** 2 / expected).sum()) - freedom) / sqrt(2 * freedom)


@pytest.mark.parametrize("n", AROUND_POWERS)
def test_a_permutation_is_a_bijection_around_every_power_of_two(n):
    assert list(range(n)) == sorted(whole(n, key=3).tolist())


@given(st.integers(0, 20_000), keys)
def test_a_permutation_is_a_bijection_at_any_size_and_key(n, key):
    assert list(range(n)) == sorted(whole(n, key).tolist())


@pytest.mark.parametrize("n", HUGE)
@pytest.mark.parametrize("start", [0, 2**30])
def test_a_permutation_of_a_huge_range_stays_in_it_and_repeats_nothing(n, start):
    found = permute(np.arange(start, start + 10_000), n, key=5)
    assert 0 <= found.min() <= found.max() < n
    assert len(found) == len(np.unique(found))


@pytest.mark.parametrize("n", HUGE)
def test_the_last_positions_of_a_huge_range_have_elements_too(n):
    found = permute(n - 1 - np.arange(100), n, key=5)
    assert 0 <= found.min() <= found.max() < n
    assert len(found) == len(np.unique(found))


@given(st.data(), st.integers(1, 20_000), keys)
def test_any_positions_have_the_elements_that_they_have_in_the_whole(data, n, key):
    positions = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=50)), dtype=np.int64)
    assert whole(n, key)[positions].tolist() == permute(positions, n, key).tolist()


@pytest.mark.parametrize("n", [100_000, 10**12])
def test_a_long_look_up_is_that_of_its_positions_one_after_the_other(n):
    positions = (np.arange(70_001) * 7919) % n  # more than two pieces of work, the last of them short
    parts = [permute(part, n, key=3) for part in np.array_split(positions, 50)]
    assert np.concatenate(parts).tolist() == permute(positions, n, key=3).tolist()


@pytest.mark.parametrize("n", [100, 60_000, 10**9, 10**12])
def test_the_positions_that_are_asked_for_are_not_written_to(n):
    positions = np.arange(100)
    permute(positions, n, key=1)
    assert list(range(100)) == positions.tolist()


@pytest.mark.parametrize("n", [100, 4096, 4097, 60_000])
def test_other_keys_give_permutations_that_agree_by_chance_only(n):
    drawn = [whole(n, derive(0, "key", key)) for key in range(101)]
    agreeing = sum(int((left == right).sum()) for left, right in pairwise(drawn))
    assert abs(agreeing - 100) < LIMIT * sqrt(100)  # one position on average, whatever n


@pytest.mark.parametrize("n", [100, 4096, 4097, 60_000])
def test_one_example_on_average_stays_where_it_was(n):
    fixed = sum(int((whole(n, derive(0, "key", key)) == np.arange(n)).sum()) for key in range(100))
    assert abs(fixed - 100) < LIMIT * sqrt(100)


@pytest.mark.parametrize("lag", [1, 2])
@pytest.mark.parametrize("n", SIZES)
def test_neighbouring_positions_are_uncorrelated(n, lag):
    for key in EPOCHS:
        found = first(n, key)
        for part in (found / n - 0.5, found % 16 / 16 - 15 / 32):  # the size of an element, and its lowest bits
            assert abs(correlation(part[:-lag], part[lag:])) < LIMIT


@pytest.mark.parametrize("lag", [1, 2])
def test_neighbouring_examples_are_scattered(lag):
    for key in EPOCHS:
        places = np.argsort(whole(60_000, key)) / 60_000 - 0.5
        assert abs(correlation(places[:-lag], places[lag:])) < LIMIT


@pytest.mark.parametrize("labels", [2, 10, 100, 1000])
@pytest.mark.parametrize("n", SIZES)
def test_a_batch_mixes_labels_as_a_true_shuffle_does(n, labels):
    freedom = (labels - 1) * (n - 128) / (n - 1)  # drawn without replacement
    for key in EPOCHS:
        batches = first(n, key)[: 60_000 // 128 * 128].reshape(-1, 128)
        for label in (batches * labels // n, batches % labels):  # a sorted source, and one that repeats
            cells = np.arange(len(batches))[:, None] * labels + label
            counts = np.bincount(cells.ravel(), minlength=len(batches) * labels)
            statistic = ((counts - 128 / labels) ** 2 / (128 / labels)).reshape(-1, labels).sum(axis=1)
            assert abs(statistic.mean() - freedom) < LIMIT * statistic.std() / sqrt(len(batches))


@pytest.mark.parametrize("n", [10**6, 10**9])
def test_the_first_elements_are_spread_evenly_over_the_range(n):
    for key in EPOCHS:
        found = first(n, key)
        assert abs(found.mean() / n - 0.5) < LIMIT / sqrt(12 * len(found))
        assert chi_square(np.bincount(found * 500 // n, minlength=500), len(found) / 500, 499) < LIMIT


@pytest.mark.parametrize("n", [4096, *SIZES])
def test_epochs_are_independent(n):
    drawn = [permute(np.arange(min(n, 60_000)), n, key) / n - 0.5 for key in EPOCHS]
    for left, right in pairwise(drawn):
        assert abs(correlation(left, right)) < LIMIT
        assert abs(correlation(left[1:], right[:-1])) < LIMIT


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_all_orders_of_a_few_examples_are_equally_likely(n):
    draws = 100 * factorial(n)
    numbers = {order: number for number, order in enumerate(permutations(range(n)))}
    found = [numbers[tuple(whole(n, derive(0, "order", key)).tolist())] for key in range(draws)]
    assert chi_square(np.bincount(found, minlength=len(numbers)), 100, len(numbers) - 1) < LIMIT


def test_streams_are_told_apart_by_all_their_names():
    names = [(0, 1), (1, 0), (0, "1"), (0, 1, 0), (0, 10), (0,), (0, ""), (0, "a", "b"), (0, "ab"), (0, "a,b"), (-1, 1)]
    assert len(names) == len({derive(*name) for name in names})


def test_neither_keys_nor_shuffles_of_seed_and_epoch_add_up():
    later, other = derive(0, "shuffle", "train", 1), derive(1, "shuffle", "train", 0)
    assert later != other
    assert whole(1000, later).tolist() != whole(1000, other).tolist()


@given(names, names)
def test_two_streams_have_one_key_exactly_when_all_their_names_are_equal(left, right):
    assert (left == right) == (derive(*left) == derive(*right))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), keys)
def test_random_bits_of_a_counter_depend_on_no_other_counter(counters, key):
    each = [int(random_bits(np.array([counter], dtype=np.int64), key)[0]) for counter in counters]
    assert each == random_bits(np.array(counters, dtype=np.int64), key).tolist()


def test_uniforms_fill_the_unit_interval_evenly():
    for key in EPOCHS:
        drawn = uniforms(np.arange(60_000), key)
        assert 0 <= drawn.min() <= drawn.max() < 1
        assert chi_square(np.bincount((drawn * 500).astype(int), minlength=500), 120, 499) < LIMIT
        assert abs(correlation(drawn[:-1] - 0.5, drawn[1:] - 0.5)) < LIMIT


def test_each_of_the_64_bits_is_set_half_the_time():
    bits = random_bits(np.arange(60_000), key=1)
    ones = [int(((bits >> np.uint64(bit)) & np.uint64(1)).sum()) for bit in range(64)]
    assert max(abs(count - 30_000) for count in ones) < LIMIT * sqrt(60_000 / 4)


def test_the_algorithm_is_the_one_that_snapshots_in_the_world_were_taken_with():
    assert 15365366237467093521 == derive(0, "shuffle", "train", 0, 0)
    assert [0, 6, 9, 7, 5, 1] == permute(np.arange(6), 10, key=7).tolist()
    assert [42476, 59350, 46020, 29914] == permute(np.arange(4), 60_000, key=7).tolist()
    assert [12490967, 385505605, 508224982, 397300800] == permute(np.arange(4), 10**9, key=7).tolist()
    assert [415015697736, 137352316113] == permute(np.arange(2), 10**12, key=7).tolist()
    assert [1217971623815821061, 5389477530644759640] == random_bits(np.arange(2), key=7).tolist()
