"""Keys: values, streams that are independent by every statistic that matters, and equal draws everywhere."""

import itertools
import pickle
import subprocess
import sys
from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm
from fdm import Key
from fdm._random import key as _key


words = st.integers(0, 2**64 - 1)
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
DRAWS = {
    "uniform": lambda key, *shape: key.uniform(*shape),
    "uniform in a range": lambda key, *shape: key.uniform(*shape, low=-3.0, high=0.1),
    "normal": lambda key, *shape: key.normal(*shape),
    "bernoulli": lambda key, *shape: key.bernoulli(0.3, *shape),
    "randint": lambda key, *shape: key.randint(-5, 1000, *shape),
}
draws = st.sampled_from(list(DRAWS)).map(DRAWS.get)
N = 200_000


def floats(bits):
    """Random bits as numbers around 0 of variance 1."""
    return ((bits >> 11).double() / 2**52) * 3**0.5


def raw(key, n=N):
    return key.randint(-(2**62), 2**62 - 1, n)


def correlation(one, other):
    """In standard errors."""
    one, other = one.double() - one.double().mean(), other.double() - other.double().mean()
    return (one * other).mean() / (one.std() * other.std()) * len(one) ** 0.5


# Values


@given(st.integers(), st.lists(st.text() | st.integers(), max_size=3))
def test_keys_are_values(seed, names):
    key = Key(seed, *names)
    assert key == Key(seed, *names) == pickle.loads(pickle.dumps(key))
    assert hash(key) == hash(Key(seed, *names))
    assert key != Key(seed + 1, *names)
    assert key != Key(seed, *names, "more")


def test_a_key_cannot_be_changed():
    with pytest.raises(AttributeError):
        Key(0)._high = 1


def test_names_and_numbers_are_told_apart():
    made = [Key(1), Key(11), Key(1, 1), Key(1, "1"), Key(0, 1), Key(1, 0), Key(0, "a", "b"), Key(0, "ab")]
    key = Key(0)
    made += [key, key.fold(1), key.fold("1"), key.fold(0), key.fold(""), key.fold(-1), key.fold(2**70), *key.split(3)]
    made += [key.fold(1).fold(2), key.fold(2).fold(1), key.split(1)[0].fold(1)]
    assert len(made) == len(set(made))


def test_keys_are_the_same_in_every_process():
    script = (
        "import fdm, torch; print(fdm.Key(3, 'x', 7).fold('a').fold(torch.arange(3)).randint(0, 10**6, 2).tolist())"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert str(Key(3, "x", 7).fold("a").fold(torch.arange(3)).randint(0, 10**6, 2).tolist()) == found.strip()


def test_the_streams_never_change():
    """Golden draws: a change would make every resumed training see other augmentations."""
    key = Key(42, "augment", "f", 0).fold(1)
    assert [[65, 22], [44, 29]] == key.fold(torch.tensor([5, 6])).randint(0, 100, 2).tolist()
    assert [5, 3, 2, 4, 1, 0] == key.permutation(6).tolist()
    assert [True, False, False, False] == key.bernoulli(0.5, 4).tolist()


# Draws


@given(words, draws, shapes)
def test_drawing_twice_gives_the_same_and_the_global_state_has_no_part_in_it(seed, draw, shape):
    state = torch.get_rng_state()
    one = draw(Key(seed), *shape)
    assert one.equal(draw(Key(seed), *shape))
    assert shape == tuple(one.shape)
    assert state.equal(torch.get_rng_state())


@given(words, st.lists(st.integers(-(2**63), 2**63 - 1), min_size=0, max_size=5), draws, shapes)
def test_the_key_of_a_batch_draws_for_each_example_what_its_own_key_draws(seed, ids, draw, shape):
    key = Key(seed)
    together = key.fold(torch.tensor(ids, dtype=torch.int64))
    drawn = draw(together, *shape)
    assert (len(ids), *shape) == tuple(drawn.shape)
    for row, example in enumerate(ids):
        assert drawn[row].equal(draw(key.fold(example), *shape))
        assert key.fold(example) == together[row] == together.unbind()[row]
    assert len(ids) == len(together) == len(list(together))


@given(words, st.lists(st.integers(0, 99), min_size=1, max_size=4), st.integers(0, 3))
def test_what_is_derived_from_the_key_of_a_batch_is_derived_for_each(seed, ids, n):
    together = Key(seed).fold(torch.tensor(ids))
    positions = torch.arange(len(ids)) + 7
    for row, key in enumerate(together):
        assert [key.fold("a"), key.fold(3), key.fold(row + 7)] == [
            derived[row] for derived in (together.fold("a"), together.fold(3), together.fold(positions))
        ]
        assert list(key.split(n)) == [one[row] for one in together.split(n)]
        assert key.permutation(5).equal(together.permutation(5)[row])


@given(words, shapes, st.integers(1, 3))
def test_more_draws_begin_with_those_that_fewer_draws_give(seed, shape, more):
    key = Key(seed)
    flat = key.uniform(int(np.prod(shape)) + more)
    assert flat[:-more].equal(key.uniform(*shape).flatten())


@given(words, words, st.lists(words, min_size=1, max_size=20), st.integers(0, 17))
def test_python_numpy_and_devices_compute_the_same_bits(high, low, counters, domain):
    signed = torch.tensor([_key._wrapped(counter) for counter in counters])
    mixed = low ^ _key._DOMAINS[domain]
    one_by_one = [_key._wrapped(_key._bits_of_one(high, mixed, counter)) for counter in counters]
    assert one_by_one == _key._bits(high, low, domain, signed, 64).tolist()
    high, mixed = (torch.tensor(_key._wrapped(word)) for word in (high, mixed))
    assert one_by_one == _key._bits_on_device(high, mixed, signed).tolist()


@given(words, draws, shapes)
def test_a_moved_key_draws_there(seed, draw, shape):
    for key in (Key(seed), Key(seed).fold(torch.arange(3))):
        assert draw(key.to("cpu"), *shape).equal(draw(key, *shape))
        assert "meta" == draw(key.to("meta"), *shape).device.type
        assert draw(key, *shape).shape == draw(key.to("meta"), *shape).shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("draw", DRAWS)
def test_a_device_draws_the_same_bits(draw):
    key = Key(1).fold(torch.arange(100))
    here, there = DRAWS[draw](key, 7), DRAWS[draw](key.to("cuda"), 7).cpu()
    assert torch.allclose(here, there) if draw == "normal" else here.equal(there)


@given(words, st.floats(-1e6, 1e6, width=32), st.floats(0, 1e6, width=32))
def test_uniform_stays_below_high(seed, low, span):
    high = float(np.float32(low) + np.float32(span))
    drawn = Key(seed).uniform(1000, low=low, high=high)
    assert low <= drawn.min()
    assert drawn.max() < high or low == high == drawn.max()


def test_uniform_reaches_neither_end_by_rounding():
    drawn = Key(0).uniform(100_000, low=1.0, high=1.0 + 2**-22)
    assert {1.0, 1.0 + 2**-23} == set(drawn.tolist())


@given(words, st.integers(-(2**63), 2**63 - 2), st.integers(1, 2**63 - 1))
def test_randint_stays_in_its_range(seed, low, span):
    high = min(low + span, 2**63)
    drawn = Key(seed).randint(low, high, 50)
    assert low <= min(drawn.tolist())
    assert max(drawn.tolist()) < high


def test_bernoulli_is_exact_at_its_ends():
    assert not Key(0).bernoulli(0.0, N).any()
    assert Key(0).bernoulli(1.0, N).all()


@given(words, st.integers(0, 50))
def test_permutations_are_permutations(seed, n):
    assert list(range(n)) == sorted(Key(seed).permutation(n).tolist())


def test_generators_are_seeded_by_the_key():
    def draw(key):
        return torch.rand(3, generator=key.generator())

    assert draw(Key(1)).equal(draw(Key(1)))
    assert not draw(Key(1)).equal(draw(Key(2)))
    with pytest.raises(fdm.DataError, match=r"key\[i\].generator"):
        Key(1).fold(torch.arange(2)).generator()


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda key: key.uniform(-1), "sizes of at least 0"),
        (lambda key: key.uniform(2.5), "is an integer"),
        (lambda key: key.uniform((2, 3)), "is an integer"),
        (lambda key: key.uniform(low=1.0, high=0.0), "in this order"),
        (lambda key: key.uniform(high=float("inf")), "float32 numbers"),
        (lambda key: key.uniform(high=1e39), "float32 numbers"),
        (lambda key: key.uniform(low="a"), "float32 numbers"),
        (lambda key: key.fold(torch.arange(5)).fold(torch.arange(3)), "each of the 5 examples of a batch, not 3"),
        (lambda key: key.fold(torch.arange(1)).fold(torch.arange(5)), "each of the 1 examples of a batch, not 5"),
        (lambda key: key.bernoulli(1.5), "from 0 to 1"),
        (lambda key: key.bernoulli(True), "a probability"),
        (lambda key: key.randint(3, 3), "which is above it"),
        (lambda key: key.randint(0, 2.5), "high is an integer"),
        (lambda key: key.permutation(-1), "at least 0"),
        (lambda key: key.split(1.0), "is an integer"),
        (lambda key: key.fold(1.0), "is an integer"),
        (lambda key: key.fold(True), "is an integer"),
        (lambda key: key.fold(torch.rand(3)), "tensor of integers of one dimension"),
        (lambda key: key.fold(torch.zeros(2, 2, dtype=torch.int64)), "one dimension"),
        (lambda _: Key(1.5), "seed is an integer"),
        (lambda _: Key(0, 1.5), "name is an integer"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, message):
    with pytest.raises(fdm.DataError, match=message):
        wrong(Key(0))


def test_the_key_of_one_example_has_no_parts():
    for wrong in (len, list, lambda key: key[0]):
        with pytest.raises(TypeError, match="has no length"):
            wrong(Key(0))


# Streams: every bound is 5 standard errors, and the seeds are fixed, so that no test fails by chance.


STREAMS = {
    "numbers of one key": lambda: raw(Key(0)),
    "first numbers of neighbouring ids": lambda: raw(Key(0).fold(torch.arange(N)), 1).flatten(),
    "first numbers of neighbouring positions": lambda: raw(
        Key(0).fold(torch.zeros(N, dtype=torch.int64)).fold(torch.arange(N)), 1
    ).flatten(),
    "first numbers of ids far apart": lambda: raw(Key(0).fold(torch.arange(N) << 40), 1).flatten(),
    "first numbers of neighbouring seeds": lambda: torch.stack([raw(Key(seed), 1)[0] for seed in range(20_000)]),
    "first numbers of neighbouring epochs": lambda: torch.stack([raw(Key(0).fold(n), 1)[0] for n in range(20_000)]),
    "first numbers of split keys": lambda: torch.stack([raw(key, 1)[0] for key in Key(0).split(20_000)]),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_streams_are_uniform_in_every_bit_and_uncorrelated(stream):
    numbers = STREAMS[stream]()
    n = len(numbers)
    shifted = numbers + 2**62
    for bit in range(63):
        ones = ((shifted >> bit) & 1).sum().item()
        assert abs(ones - n / 2) < 5 * n**0.5 / 2, f"bit {bit} is set {ones} times of {n}"
    counts = torch.bincount(shifted >> 55, minlength=256).double()[:256]
    chi = ((counts - n / 256) ** 2 / (n / 256)).sum()
    assert abs(chi - 255) < 5 * 510**0.5
    for lag in (1, 2, 3, 7, 8, 64, 128):
        assert abs(correlation(numbers[:-lag], numbers[lag:])) < 5, f"lag {lag}"
    for low, high in itertools.combinations(range(0, 63, 9), 2):
        both = (((shifted >> low) & (shifted >> high)) & 1).sum().item()
        assert abs(both - n / 4) < 5 * (3 / 16 * n) ** 0.5, f"bits {low} and {high}"
    assert len(numbers.unique()) == n


PAIRS = {
    "an id and the next": (Key(0).fold(5), Key(0).fold(6)),
    "an epoch and the next": (Key(0, "f").fold(0), Key(0, "f").fold(1)),
    "a seed and the next": (Key(0, "f"), Key(1, "f")),
    "an epoch and an id": (Key(0).fold(1).fold(2), Key(0).fold(2).fold(1)),
    "a seed and an epoch": (Key(0).fold(1), Key(1).fold(0)),
    "a key and its child": (Key(0), Key(0).fold(0)),
    "two children": Key(0).split(2),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_related_keys_have_unrelated_streams(pair):
    one, other = (raw(key) for key in PAIRS[pair])
    for lag in range(-3, 4):
        assert abs(correlation(one[max(0, lag) : N + min(0, lag)], other[max(0, -lag) : N - max(0, lag)])) < 5
    agree = (~(one ^ other) & 0xFFFFFFFF).numpy().astype(np.uint64)
    same = int(np.unpackbits(agree.view(np.uint8)).sum())
    assert abs(same - 16 * N) < 5 * (8 * N) ** 0.5
    assert not set(one.tolist()) & set(other.tolist())


def test_a_changed_bit_of_id_or_seed_changes_half_of_the_bits():
    base = int(raw(Key(0).fold(0), 1))
    for bit in range(63):
        flipped = [
            int(raw(Key(0).fold(2**bit).fold(row), 1)) ^ int(raw(Key(0).fold(0).fold(row), 1)) for row in range(50)
        ]
        changed = sum((difference & (2**63 - 1)).bit_count() for difference in flipped)
        assert abs(changed - 50 * 31) < 5 * (50 * 62 / 4) ** 0.5 + 50
        assert base != int(raw(Key(0).fold(2**bit), 1))


def test_draws_of_different_methods_are_independent():
    key = Key(0).fold(torch.arange(N))
    drawn = {name: draw(key).double() for name, draw in DRAWS.items() if name != "uniform in a range"}
    for one, other in itertools.combinations(drawn, 2):
        assert abs(correlation(drawn[one], drawn[other])) < 5, f"{one} and {other}"


def test_draws_have_the_distributions_that_they_say():
    key = Key(7)
    uniform, normal = key.uniform(N).double(), key.normal(N).double()
    assert abs(uniform.mean() - 0.5) < 5 * (1 / 12 / N) ** 0.5
    assert abs(uniform.var() - 1 / 12) < 5 * (1 / 180 / N) ** 0.5
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((normal**power).mean() - moment) < 5 * (spread / N) ** 0.5
    expected = torch.special.ndtr(normal.sort().values)
    assert (expected - (torch.arange(N) + 0.5) / N).abs().max() < 2 / N**0.5  # Kolmogorov and Smirnov
    assert abs(key.bernoulli(0.3, N).double().mean() - 0.3) < 5 * (0.21 / N) ** 0.5
    counts = torch.bincount(key.randint(0, 7, N), minlength=7).double()
    assert ((counts - N / 7) ** 2 / (N / 7)).sum() < 6 + 5 * 12**0.5


def test_every_permutation_is_as_likely():
    orders = Key(0).fold(torch.arange(24_000)).permutation(4)
    counts = torch.bincount(orders @ torch.tensor([64, 16, 4, 1])).double()
    counts = counts[counts > 0]
    assert 24 == len(counts)
    assert ((counts - 1000) ** 2 / 1000).sum() < 23 + 5 * 46**0.5


def test_runs_of_bernoulli_are_as_long_as_chance_makes_them():
    rows = Key(3).fold(torch.arange(N)).bernoulli(0.5, 4).sum(1)
    for ones in range(5):
        share = comb(4, ones) / 16
        assert abs((rows == ones).sum() - N * share) < 5 * (N * share * (1 - share)) ** 0.5
