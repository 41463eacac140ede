"""Many permutations at once: each a bijection, even in its orders, and unlike those of other keys."""

from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdm._random.permutation import random_bits
from fdm._random.permutations import hashed, permute_each


keys = st.integers(0, 2**64 - 1)


def permuted(size, key):
    return permute_each(np.arange(size), np.full(size, size), np.full(size, key, dtype=np.uint64)).tolist()


@given(st.integers(0, 300), keys)
def test_each_is_a_permutation_of_its_range(size, key):
    assert list(range(size)) == sorted(permuted(size, key))


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097, 8192, 8193, 70_000])
def test_sizes_around_powers_of_two_are_permuted(size):
    assert list(range(size)) == sorted(permuted(size, 3))


@given(st.lists(st.tuples(st.integers(1, 80), keys), min_size=1, max_size=30), st.data())
def test_items_do_not_depend_on_each_other(ranges, data):
    positions = [data.draw(st.integers(0, size - 1)) for size, _ in ranges]
    sizes, own = (
        np.array(column, dtype=kind) for column, kind in zip(zip(*ranges, strict=True), ("i8", "u8"), strict=True)
    )
    naive = [permuted(size, key)[at] for at, (size, key) in zip(positions, ranges, strict=True)]
    assert naive == permute_each(np.array(positions), sizes, own).tolist()


@pytest.mark.parametrize("size", [2**31 - 1, 2**31, 2**32 + 1, 2**53, 2**53 + 1, 2**61 + 1, 2**62])
def test_large_ranges_are_permuted_without_repeats(size):
    positions = np.concatenate([np.arange(500), np.arange(size - 500, size)])
    elements = permute_each(positions, np.full(1000, size), np.full(1000, 5, dtype=np.uint64))
    assert 1000 == len(set(elements.tolist()))
    assert 0 <= elements.min()
    assert elements.max() < size
    assert 0.4 < elements.mean() / size < 0.6


def test_the_keys_that_are_given_stay_as_they_are():
    own = np.arange(5, dtype=np.uint64)
    permute_each(np.zeros(5, dtype=np.int64), np.full(5, 4), own)
    assert list(range(5)) == own.tolist()


def chi_square(counts, cells):
    """Per degree of freedom, with its distance from 1 in standard deviations."""
    expected = counts.sum() / cells
    square = ((counts - expected) ** 2).sum() / expected + (cells - len(counts)) * expected
    return square / (cells - 1), abs(square - cells + 1) / np.sqrt(2 * (cells - 1))


@pytest.mark.parametrize("are_neighbours", [False, True], ids=["random keys", "neighbouring keys"])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_all_orders_of_a_handful_come_equally_often(size, are_neighbours):
    times = 1000 * factorial(size)
    own = np.arange(times, dtype=np.uint64) if are_neighbours else random_bits(np.arange(times), 1)
    orders = permute_each(np.tile(np.arange(size), times), np.full(size * times, size), np.repeat(own, size))
    counts = np.unique(orders.reshape(times, size) @ size ** np.arange(size), return_counts=True)[1]
    _, deviations = chi_square(counts, factorial(size))
    assert factorial(size) == len(counts)
    assert deviations < 4


@pytest.mark.parametrize("size", [17, 20, 31, 64])
def test_pairs_of_few_elements_come_equally_often(size):
    times = 60_000
    own = random_bits(np.arange(times), 2)
    first, second = (permute_each(np.full(times, at), np.full(times, size), own) for at in (size // 2, size // 2 + 1))
    counts = np.bincount(first * size + second, minlength=size * size).reshape(size, size)
    assert 0 == counts.trace()
    _, deviations = chi_square(counts[~np.eye(size, dtype=bool)], size * (size - 1))
    assert deviations < 4


@pytest.mark.parametrize("size", [1000, 10**5, 10**9])
def test_neighbours_are_not_correlated(size):
    times = 50_000
    at = np.random.default_rng(0).integers(0, size - 1, times)
    own = np.full(times, 11, dtype=np.uint64) if size > 10**6 else random_bits(np.arange(times), 3)
    here, there = (permute_each(place, np.full(times, size), own) for place in (at, at + 1))
    assert abs(np.corrcoef(here, there)[0, 1]) < 4 / np.sqrt(times) + 1 / size


def test_hashes_of_numbers_are_spread_evenly():
    upper = (hashed(np.arange(100_000), 7) >> np.uint64(56)).astype(np.int64)
    _, deviations = chi_square(np.bincount(upper, minlength=256), 256)
    assert deviations < 4
    assert (hashed(np.arange(100), 7) != hashed(np.arange(100), 8)).all()
