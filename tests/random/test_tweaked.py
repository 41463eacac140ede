"""The laws of families of permutations: each a bijection that looks like a true shuffle, and unlike the others."""

from collections import Counter
from itertools import pairwise, permutations
from math import factorial, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdm._random.tweaked import permute_tweaked


keys = st.integers(0, 2**64 - 1)
tweaks = st.integers(0, 5) | st.integers(0, 2**40)
SIZES = [1, 2, 3, 7, 63, 64, 65, 127, 128, 129, 130, 255, 256, 257, 1000, 4096, 4097, 20_000]
HUGE = [2**31, 2**32 - 1, 2**32, 2**32 + 1, 10**12, 2**62]
LIMIT = 5  # standard deviations; keys are fixed


def whole(n, key, tweak):
    return permute_tweaked(np.arange(n), n, key, np.full(n, tweak))


def chi_square(observed, expected):
    """How many standard deviations Pearson's statistic lies above its mean."""
    freedom = observed.size - 1
    return (float(((observed - expected) ** 2 / expected).sum()) - freedom) / sqrt(2 * freedom)


@pytest.mark.parametrize("n", SIZES)
def test_each_tweak_names_a_bijection(n):
    for tweak in (0, 1, 2**40):
        assert list(range(n)) == sorted(whole(n, 3, tweak).tolist())


@given(st.integers(1, 5000), keys, tweaks)
def test_a_permutation_is_a_bijection_at_any_size_key_and_tweak(n, key, tweak):
    assert list(range(n)) == sorted(whole(n, key, tweak).tolist())


@given(st.sampled_from(SIZES), keys, st.lists(st.tuples(st.integers(0, 10**9), tweaks), max_size=30))
def test_any_positions_under_any_tweaks_have_the_elements_of_their_whole_permutations(n, key, asked):
    positions = np.array([position % n for position, _ in asked], dtype=np.int64)
    of = np.array([tweak for _, tweak in asked], dtype=np.int64)
    expected = [whole(n, key, tweak)[position] for position, tweak in zip(positions, of, strict=True)]
    assert expected == permute_tweaked(positions, n, key, of).tolist()


@pytest.mark.parametrize("n", HUGE)
def test_a_permutation_of_a_huge_range_stays_in_it_and_repeats_nothing(n):
    positions = np.concatenate([np.arange(5000), n - 1 - np.arange(5000)])
    for tweak in (0, 1):
        ids = permute_tweaked(positions, n, 5, np.full(10_000, tweak))
        assert 0 <= ids.min() <= ids.max() < n
        assert 10_000 == len(np.unique(ids))
        assert abs(chi_square(np.bincount(ids // -(-n // 50), minlength=50), 200)) < LIMIT


def test_a_long_look_up_is_that_of_its_positions_one_after_the_other():
    positions = (np.arange(70_001) * 7919) % 5000
    of = np.arange(70_001) % 64 + 10**9
    before = positions.copy(), of.copy()
    parts = zip(np.array_split(positions, 60), np.array_split(of, 60), strict=True)
    pieces = [permute_tweaked(piece, 5000, 3, tweak) for piece, tweak in parts]
    assert np.concatenate(pieces).tolist() == permute_tweaked(positions, 5000, 3, of).tolist()
    assert (positions == before[0]).all()
    assert (of == before[1]).all()


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_short_permutations_are_all_equally_frequent(n):
    count = 2000 * factorial(n)
    orders = permute_tweaked(np.tile(np.arange(n), count), n, 1, np.repeat(np.arange(count), n)).reshape(count, n)
    seen = Counter(map(tuple, orders.tolist()))
    assert set(seen) == set(permutations(range(n)))
    assert abs(chi_square(np.array(list(seen.values())), 2000)) < LIMIT


@pytest.mark.parametrize("n", [16, 64, 128, 129, 160, 256])
@pytest.mark.parametrize("places", [(0, 1), (3, 5), (0, -1), (0, 8)])
def test_pairs_of_elements_are_uniform_over_tweaks(n, places):
    first, second = (place % n for place in places)
    of = np.arange(60_000 if n in (128, 16) else 400_000)  # of 64 a cipher would be seen
    left, right = (permute_tweaked(np.full(len(of), place), n, 11, of) for place in (first, second))
    pairs = np.bincount(left * n + right, minlength=n * n).reshape(n, n)[~np.eye(n, dtype=bool)]
    assert len(of) == pairs.sum()
    assert abs(chi_square(pairs, len(of) / len(pairs))) < LIMIT


@pytest.mark.parametrize("n", [1000, 4096, 10**6, 10**9, 10**12])
def test_neighbours_and_neighbouring_tweaks_are_uncorrelated(n):
    count = min(n, 50_000)
    orders = [permute_tweaked(np.arange(count), n, 7, np.full(count, tweak)) / n - 0.5 for tweak in range(8)]
    for order, other in pairwise(orders):
        for left, right in ((order[1:], order[:-1]), (order, other), (order[1:], other[:-1])):
            assert abs(12 * (left * right).mean() * sqrt(len(left))) < LIMIT


def test_keys_and_tweaks_name_different_permutations():
    made = {tuple(whole(1000, key, tweak)) for key in range(20) for tweak in range(20)}
    assert 400 == len(made)
