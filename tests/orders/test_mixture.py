"""The laws of mixtures: which part and which of its draws each position of an endless run has."""

import pickle
from collections import Counter
from fractions import Fraction
from itertools import accumulate
from math import ceil, floor, gcd, sqrt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fdm
from fdm._orders.mixture import Tree, mixture
from fdm._orders.shares import exact_shares, power_shares
from fdm._random.permutation import random_bits


HALF = Fraction(1, 2)
keys = st.integers(0, 2**64 - 1)
weightings = st.lists(st.integers(1, 50) | st.sampled_from([1, 999, 10**6]), min_size=1, max_size=12)
LIMIT = 5  # standard deviations; keys are fixed


def named(weights, prefix="part"):
    return {f"{prefix}{number:04}": weight for number, weight in enumerate(weights)}


def of_weights(weights, until=10**9, key=0, phases=(), sizes=None):
    shares = named(weights)
    names = {name for _, later in phases for name in later} | shares.keys()
    return mixture([(0, shares), *phases], sizes or dict.fromkeys(names, 1000), until=until, key=key)


def drawn(mixed, first, last):
    """The draws at a range of positions, as pairs of name and number."""
    parts, draws = mixed.at(np.arange(first, last, dtype=np.int64))
    return [(mixed.names[part], draw) for part, draw in zip(parts.tolist(), draws.tolist(), strict=True)]


# The naive equivalent: a tree of tuples, and one position after the other


def naive_tree(weights):
    """The two lightest nodes pair, the older first among equals: (weight, age, leaf) or (weight, age, left, right)."""
    nodes = [(weight, leaf, leaf) for leaf, weight in enumerate(weights)]
    for age in range(len(weights), 2 * len(weights) - 1):
        right, left, *nodes = sorted(nodes, key=lambda node: node[:2])
        nodes.append((left[0] + right[0], age, left, right))
    return nodes[0]


def dealt_left(node, draws):
    return floor(Fraction(draws * node[2][0], node[0]) + HALF)


def naive_counts(node, draws):
    """The draws of each leaf, leaves from left to right."""
    if len(node) == 3:
        return {node[2]: draws}
    left = dealt_left(node, draws)
    return naive_counts(node[2], left) | naive_counts(node[3], draws - left)


def naive_leaf(node, draw):
    """The leaf that has a draw of the node: the left half's where its count rises."""
    if len(node) == 3:
        return node[2]
    before, after = dealt_left(node, draw), dealt_left(node, draw + 1)
    return naive_leaf(node[2], before) if after > before else naive_leaf(node[3], draw - before)


def naive_stretch(tree, first, last, start, key):
    """The leaves and draws of a phase at positions of one block and epoch: drawn in order, each to a position by key."""
    counts = naive_counts(tree, first - start)
    leaves = Counter(naive_leaf(tree, position - start) for position in range(first, last))
    bits = random_bits(np.arange(first, last), key).tolist()
    places = [
        place for _, place in sorted((bit >> 12, place) for place, bit in zip(range(first, last), bits, strict=True))
    ]
    stretch = {}
    for leaf in counts:  # from left to right
        own, places = places[: leaves[leaf]], places[leaves[leaf] :]
        stretch |= {place: (leaf, counts[leaf] + number) for number, place in enumerate(sorted(own))}
    return [stretch[place] for place in range(first, last)]


def naive_run(weights, size, key, first, last, *, start=0):
    """Positions of the run from the beginning of a stretch on."""
    run = []
    while first < last:
        end = min(first // 64 * 64 + 64, first // size * size + size)
        run += naive_stretch(naive_tree(weights), first, end, start, key)
        first = end
    return run[: len(run) - (first - last)]


# Shares


@given(weightings)
def test_whole_shares_are_in_lowest_terms_and_in_the_order_of_the_names(weights):
    shares = named(weights)
    exact = exact_shares(dict(reversed(shares.items())))
    assert {name: weight // gcd(*weights) for name, weight in shares.items()} == exact
    assert sorted(shares) == list(exact)


@given(weightings, st.fractions(Fraction(1, 1000), 1000), st.sampled_from([0.1, 3.0, 1 / 3, 1e-5, 7.7]))
def test_a_factor_of_all_shares_does_not_matter(weights, factor, rounded):
    exact = exact_shares(named(weights))
    assert exact == exact_shares(named([weight * factor for weight in weights]))
    if sum(exact.values()) < 10**6:
        assert exact == exact_shares(named([weight * rounded for weight in weights]))
        assert exact == exact_shares(named([weight / sum(weights) for weight in weights]))


@pytest.mark.parametrize(
    "shares, exact",
    [
        ({"a": 0.7, "b": 0.3}, [7, 3]),
        ({"a": 0.7 * 3, "b": 0.3 * 3}, [7, 3]),
        ({"a": 0.29, "b": 0.71}, [29, 71]),
        ({"a": np.float32(0.7), "b": np.float64(0.3), "c": np.int64(1)}, [7, 3, 10]),
        ({"a": 1e-9, "b": 4e-9}, [1, 4]),
        ({"a": Fraction(1, 3), "b": 2}, [1, 6]),
        ({"a": 10**30, "b": 3 * 10**30}, [1, 3]),
        ({"a": 5e-324, "b": 5e-324}, [1, 1]),
    ],
)
def test_shares_are_what_was_written(shares, exact):
    assert exact == list(exact_shares(shares).values())


@given(st.lists(st.integers(10**9, 10**12), min_size=2, max_size=50))
def test_shares_that_need_larger_numbers_are_off_by_less_than_one_in_two_to_the_thirty(weights):
    exact = exact_shares(named(weights))
    whole = sum(exact.values())
    assert whole <= 2**30
    assert 1 == gcd(*exact.values())
    for weight, given_weight in zip(exact.values(), weights, strict=True):
        assert abs(Fraction(weight, whole) - Fraction(given_weight, sum(weights))) < Fraction(1, 2**30)


@pytest.mark.parametrize(
    "shares, error, message",
    [
        ({}, fdm.PipelineError, "no shares"),
        ({"a": 1, "b": 0}, fdm.PipelineError, "'b' is a number above 0, not 0; to leave a part out, do not name it"),
        ({"a": -0.5}, fdm.PipelineError, "'a' is a number above 0, not -0.5"),
        ({"a": float("nan")}, fdm.PipelineError, "not nan"),
        ({"a": float("inf")}, fdm.PipelineError, "not inf"),
        ({"a": True}, fdm.PipelineError, "not True"),
        ({"a": "0.5"}, fdm.PipelineError, "not '0.5'"),
        ({"a": None}, fdm.PipelineError, "not None"),
        ({"a": 1, "b": 10**12}, fdm.PipelineError, "'a' is less than one in 2\\*\\*30"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares, error, message):
    with pytest.raises(error, match=message):
        exact_shares(shares)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(1, 400), min_size=1, max_size=9))
def test_powers_go_from_equal_shares_to_those_of_the_sizes(sizes):
    assert exact_shares(dict.fromkeys(sizes, 1)) == power_shares(sizes, 0)
    assert exact_shares(sizes) == power_shares(sizes, 1)
    assert exact_shares({name: size**3 for name, size in sizes.items()}) == power_shares(sizes, 3.0)
    squares = {name: size * size for name, size in sizes.items()}
    assert exact_shares(sizes) == power_shares(squares, 0.5)
    between = power_shares(sizes, 0.3)
    for name, weight in between.items():
        wanted = sizes[name] ** 0.3 / sum(size**0.3 for size in sizes.values())
        assert abs(weight / sum(between.values()) - wanted) < 1e-8


@pytest.mark.parametrize("power", [float("nan"), float("inf"), 1000, True, "1", None])
def test_a_power_that_is_no_number_is_refused(power):
    with pytest.raises(fdm.PipelineError, match="power"):
        power_shares({"a": 1, "b": 2}, power)


# The tree


@given(weightings, st.integers(0, 300) | st.integers(0, 10**12))
def test_a_tree_deals_draws_as_its_naive_equivalent(weights, draws):
    counts = Tree(tuple(weights)).counts(draws)
    assert naive_counts(naive_tree(weights), draws) == dict(enumerate(counts))
    assert draws == sum(counts)


@given(weightings, st.integers(0, 10**12))
def test_one_more_draw_is_one_more_of_the_leaf_that_has_it(weights, draws):
    before, after = (Tree(tuple(weights)).counts(number) for number in (draws, draws + 1))
    rises = [leaf for leaf, (low, high) in enumerate(zip(before, after, strict=True)) if high > low]
    assert [naive_leaf(naive_tree(weights), draws)] == rises
    assert 1 == sum(after) - sum(before)


@given(weightings, st.data())
def test_a_count_is_reached_at_the_least_draws_that_have_it(weights, data):
    tree = Tree(tuple(weights))
    counts = [data.draw(st.integers(1, 100) | st.integers(1, 10**12)) for _ in weights]
    for leaf, (draws, count) in enumerate(zip(tree.reached(counts), counts, strict=True)):
        assert tree.counts(draws)[leaf] == count
        assert tree.counts(draws - 1)[leaf] == count - 1


def furthest(weights, draws):
    """How far the leaf that strays most is from its share."""
    whole = sum(weights)
    counts = Tree(tuple(weights)).counts(draws)
    return max(abs(count - Fraction(draws * weight, whole)) for count, weight in zip(counts, weights, strict=True))


@settings(max_examples=300)
@given(
    st.lists(st.integers(1, 2**20) | st.integers(0, 20).map(lambda bits: 2**bits), min_size=1, max_size=40), st.data()
)
def test_no_leaf_ever_strays_from_its_share_by_two_draws(weights, data):
    for _ in range(10):
        assert furthest(weights, data.draw(st.integers(0, 2 * sum(weights)) | st.integers(0, 2**62))) < 2


@pytest.mark.parametrize(
    "weights", [[1, 98, 1], [2, 3, 5, 8, 13, 21, 34], [1, 2, 4, 8, 16, 32, 64, 999], [5, 5, 5, 100, 7], [1] * 33]
)
def test_no_leaf_strays_by_two_draws_at_any_position_of_a_period(weights):
    assert max(furthest(weights, draws) for draws in range(sum(weights) + 1)) < 2


# The run


@settings(max_examples=150)
@given(weightings, st.integers(1, 300), keys, st.integers(0, 12))
def test_a_run_is_that_of_its_naive_equivalent(weights, size, key, epoch):
    mixed = of_weights(weights, until=size, key=key)
    first = epoch * size
    parts, draws = mixed.at(np.arange(first, first + 200))
    assert naive_run(weights, size, key, first, first + 200) == list(zip(parts.tolist(), draws.tolist(), strict=True))


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 2**20), min_size=1, max_size=30),
    st.integers(0, 2**62 - 1000) | st.integers(2**62 - 10_000, 2**62 - 1000) | st.integers(0, 10**12),
    st.integers(1, 200) | st.integers(1, 10**12),
    keys,
)
@example([2**30 - 1, 1], 2**62 - 500, 2**61, 1)
@example([2**29, 2**29 - 1, 1], 2**62 - 500, 2**61 + 1, 1)
def test_nothing_overflows_far_into_a_run(weights, position, size, key):
    mixed = of_weights(weights, until=size, key=key)
    first = max(position // 64 * 64, position // size * size)
    parts, draws = mixed.at(np.arange(first, first + 130))
    weights = list(exact_shares(named(weights)).values())
    assert naive_run(weights, size, key, first, first + 130) == list(zip(parts.tolist(), draws.tolist(), strict=True))


@given(weightings, st.integers(1, 500), keys, st.lists(st.integers(0, 2000), max_size=60), st.integers(0, 10**12))
def test_any_positions_have_the_draws_that_they_have_among_all(weights, size, key, positions, offset):
    mixed = of_weights(weights, until=size, key=key, phases=[(700, {"part0000": 1, "new": 2})])
    for start in (0, offset):
        parts, draws = mixed.at(np.arange(start, start + 2001))
        some = mixed.at(np.array(positions, dtype=np.int64) + start)
        assert parts[positions].tolist() == some[0].tolist()
        assert draws[positions].tolist() == some[1].tolist()


def test_a_long_look_up_is_that_of_its_positions_piece_by_piece():
    mixed = of_weights([5, 3, 1], until=10_007, key=3, phases=[(70_000, {"part0001": 1, "new": 1})])
    positions = np.concatenate([np.arange(150_000), np.arange(0, 10**9, 20_011)])
    before = positions.copy()
    whole = np.array(mixed.at(positions))
    pieces = [mixed.at(piece) for piece in np.array_split(positions, 200)]
    assert (np.concatenate(pieces, axis=1) == whole).all()
    assert (before == positions).all()
    assert np.int64 == whole.dtype


@given(weightings, st.integers(1, 400), keys, st.integers(0, 1500), st.integers(64, 1000))
def test_counts_are_those_of_the_draws_before(weights, size, key, position, change):
    mixed = of_weights(weights, until=size, key=key, phases=[(change, {"part0000": 3, "new": 1})])
    counted = Counter(name for name, _ in drawn(mixed, 0, position))
    assert [counted[name] for name in mixed.names] == mixed.counts(position).tolist()


@settings(deadline=None)
@given(st.integers(1, 1000), st.integers(0, 10**12), st.integers(0, 2**32))
@example(1000, 10**12, 0)
def test_shares_are_within_two_draws_at_every_multiple_of_64(parts, position, seed):
    numbers = np.random.default_rng(seed)
    weights = numbers.integers(1, 10 ** numbers.integers(1, 6), parts).tolist()
    mixed = of_weights(weights, until=10**6 + 1, key=seed)
    whole, block = sum(weights), position // 64
    for at in {block * 64, block * 64 + 64, block * 64 // mixed.size * mixed.size}:  # also at the ends of epochs
        for count, weight in zip(mixed.counts(at).tolist(), weights, strict=True):
            assert abs(count - Fraction(at * weight, whole)) < 2
    found, _ = mixed.at(np.arange(block * 64, block * 64 + 64))
    risen = mixed.counts(block * 64 + 64) - mixed.counts(block * 64)
    assert np.bincount(found, minlength=parts).tolist() == risen.tolist()


@given(weightings, st.integers(1, 400), keys, st.integers(64, 1000))
def test_each_part_goes_through_its_draws_in_order(weights, size, key, change):
    mixed = of_weights(weights, until=size, key=key, phases=[(change, {"part0000": 3, "new": 1})])
    following = Counter()
    for name, draw in drawn(mixed, 0, 2000):
        assert following[name] == draw
        following[name] += 1


@given(weightings, st.integers(1, 2000), st.data())
def test_no_example_comes_again_before_all_others_of_its_part(weights, stop, data):
    sizes = {name: data.draw(st.integers(1, 40)) for name in named(weights)}
    mixed = of_weights(weights, until="all", sizes=sizes)
    parts, draws = mixed.at(np.arange(stop))
    passes, indices = mixed.passes(parts, draws)
    seen = Counter(zip(parts.tolist(), indices.tolist(), strict=True))
    for part, size in enumerate(mixed.sizes):
        times = [seen[part, index] for index in range(size)]
        assert max(times) - min(times) <= 1
    sizes_of = np.array(mixed.sizes)[parts]
    assert (passes * sizes_of + indices == draws).all()
    assert ((indices >= 0) & (indices < sizes_of)).all()


@given(st.integers(1, 500), st.floats(0.001, 1000), keys, st.sampled_from(["all", "first"]))
def test_a_mixture_of_one_part_is_that_part_epoch_by_epoch(n, share, key, until):
    mixed = mixture([(0, {"a": share})], {"a": n}, until=until, key=key)
    assert n == mixed.size
    for epoch in range(3):
        passes, indices = mixed.passes(*mixed.at(np.arange(epoch * n, epoch * n + n)))
        assert {epoch} == set(passes.tolist())
        assert list(range(n)) == indices.tolist()


@given(weightings, st.integers(2, 9), st.randoms(), keys)
def test_neither_scale_nor_the_order_of_the_mapping_matters(weights, factor, random, key):
    sizes = {name: 10 + weight for name, weight in named(weights).items()}
    shuffled = list(named(weights).items())
    random.shuffle(shuffled)
    mixed = mixture([(0, named(weights))], sizes, until="all", key=key)
    other = mixture([(0, {name: weight * factor for name, weight in shuffled})], sizes, until="all", key=key)
    assert mixed == other
    assert drawn(mixed, 0, 200) == drawn(other, 0, 200)


# Phases


phased = st.lists(
    st.tuples(
        st.integers(1, 700), st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), min_size=1, max_size=5)
    ),
    min_size=1,
    max_size=5,
)


def run_of(phases, until=500, key=1):
    """A mixture of phases, given by what each is after the one before it, in positions rounded up to 64 once more."""
    starts = accumulate((ceil(after / 64) * 64 for after, _ in phases[1:]), initial=0)
    names = {name for _, shares in phases for name in shares}
    return mixture(
        [(start, shares) for start, (_, shares) in zip(starts, phases, strict=True)],
        {name: 5 + ord(name) for name in names},
        until=until,
        key=key,
    )


@given(phased, st.sampled_from(["all", "first", 77, 500]), keys)
def test_later_phases_change_nothing_before_them(phases, until, key):
    whole = run_of(phases, until, key)
    for count in range(1, len(phases)):
        fewer, start = run_of(phases[:count], until, key), whole.phases[count].start
        assert fewer.size == whole.size
        assert [part.tolist() for part in fewer.at(np.arange(start))] == [
            part.tolist() for part in whole.at(np.arange(start))
        ]
        assert fewer.same_past(whole, start)
        assert fewer.begun(start) == whole.begun(start)
        assert not fewer.same_past(whole, start + 1)
        assert count == fewer.first_difference(whole, start + 1) == whole.first_difference(fewer, start + 1)
        assert fewer.first_difference(whole, start) is None


@given(phased, keys)
def test_each_phase_is_a_run_of_its_own_shares_with_counts_carried(phases, key):
    mixed = run_of(phases, until=500, key=key)
    carried = Counter()
    for number, phase in enumerate(mixed.phases):
        end = mixed.phases[number + 1].start if number + 1 < len(phases) else phase.start + 256
        names, weights = zip(*phase.shares, strict=True)
        assert exact_shares(phases[number][1]) == dict(phase.shares)
        run = naive_run(weights, 500, key, phase.start, end, start=phase.start)
        assert [(names[leaf], carried[names[leaf]] + draw) for leaf, draw in run] == drawn(mixed, phase.start, end)
        carried.update(names[leaf] for leaf, _ in run)


@pytest.mark.parametrize("after, start", [(1, 64), (64, 64), (65, 128), (10**12 + 1, 10**12 + 64)])
def test_a_phase_begins_at_the_next_multiple_of_64(after, start):
    mixed = mixture([(0, {"a": 1}), (after, {"b": 1})], {"a": 9, "b": 9}, until=10, key=0)
    assert [("a", start - 1), ("b", 0)] == drawn(mixed, start - 1, start + 1)


def test_a_part_that_appears_later_changes_no_number():
    mixed = mixture([(0, {"m": 1, "z": 1}), (64, {"a": 1, "m": 1})], {"a": 1, "m": 2, "z": 3}, until=10, key=0)
    assert ("m", "z", "a") == mixed.names
    assert (2, 3, 1) == mixed.sizes


def test_pasts_differ_by_size_key_shares_and_sizes_of_parts_that_have_begun_alone():
    def made(phases=((0, {"a": 1, "b": 1}),), until=100, key=1, **sizes):
        return mixture(phases, {"a": 5, "b": 6, "c": 7} | sizes, until=until, key=key)

    later = ((0, {"a": 1, "b": 1}), (640, {"c": 1}))
    assert made().same_past(made(c=70), 10**6)
    assert made(later).same_past(made(later, c=70), 640)
    assert not made(later).same_past(made(later, c=70), 641)
    for other in (made(until=99), made(key=2), made(a=50), made([(0, {"a": 1, "b": 2})])):
        assert not made().same_past(other, 64)
    assert 0 == made().first_difference(made([(0, {"a": 1, "b": 2})]), 64)


def test_a_mixture_is_the_same_in_another_process():
    mixed = run_of([(1, {"a": 1, "b": 2}), (100, {"c": 1, "a": 1})])
    drawn(mixed, 0, 200)  # what is kept for later look-ups travels, or is made again
    again = pickle.loads(pickle.dumps(mixed))
    assert mixed == again
    assert hash(mixed) == hash(again)
    assert drawn(mixed, 0, 300) == drawn(again, 0, 300)


# Epochs


@given(weightings, st.data())
def test_an_epoch_until_all_ends_when_each_part_was_gone_through(weights, data):
    sizes = {name: data.draw(st.integers(1, 300)) for name in named(weights)}
    mixed = of_weights(weights, until="all", sizes=sizes)
    missing = np.array(mixed.sizes) - mixed.counts(mixed.size)
    assert missing.max() == 0
    before = Tree(tuple(weight for _, weight in mixed.phases[0].shares)).counts(mixed.size - 1)
    assert any(count < size for count, size in zip(before, mixed.sizes, strict=True))


@given(weightings, st.data())
def test_an_epoch_until_first_ends_before_a_part_begins_again(weights, data):
    sizes = {name: data.draw(st.integers(1, 300)) for name in named(weights)}
    mixed = of_weights(weights, until="first", sizes=sizes)
    left = np.array(mixed.sizes) - mixed.counts(mixed.size)
    assert left.min() == 0
    passes, _ = mixed.passes(*mixed.at(np.arange(mixed.size)))
    assert {0} == set(passes.tolist())
    after = Tree(tuple(weight for _, weight in mixed.phases[0].shares)).counts(mixed.size + 1)
    assert any(count > size for count, size in zip(after, mixed.sizes, strict=True))


@pytest.mark.parametrize("until", ["all", "first"])
@pytest.mark.parametrize("sizes", [[3, 3], [1000, 1000, 1000], [70, 30], [1], [100, 200, 300, 400]])
def test_parts_whose_shares_are_their_sizes_come_once_in_each_epoch(sizes, until):
    mixed = mixture([(0, named(sizes))], named(sizes), until=until, key=0)
    assert sum(sizes) == mixed.size
    for epoch in range(4):
        passes, _ = mixed.passes(*mixed.at(np.arange(epoch * mixed.size, (epoch + 1) * mixed.size)))
        assert {epoch} == set(passes.tolist())


@pytest.mark.parametrize("until", [1, 63, 64, 65, np.int64(100), 10**15])
def test_an_epoch_has_as_many_examples_as_are_asked_for(until):
    assert until == of_weights([1, 2], until=until).size


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"until": 0}, fdm.PipelineError, "until is 'all', 'first' or a number of examples of at least 1, not 0"),
        ({"until": "last"}, fdm.PipelineError, "not 'last'"),
        ({"until": 1.5}, fdm.PipelineError, "not 1.5"),
        ({"until": True}, fdm.PipelineError, "not True"),
        ({"until": 2**62 + 1}, fdm.DataError, "more than 2\\*\\*62"),
        ({"sizes": {"a": 2**40, "b": 1}, "phases": [(0, {"a": 1, "b": 2**29})]}, fdm.DataError, "more than 2\\*\\*62"),
        ({"sizes": {"a": 0, "b": 1}}, fdm.DataError, "'a' has no examples"),
        ({"phases": []}, fdm.PipelineError, "from example 0"),
        ({"phases": [(64, {"a": 1})]}, fdm.PipelineError, "from example 0"),
        ({"phases": [(0, {"a": 1}), (0, {"b": 1})]}, fdm.PipelineError, "examples 0 and 0 .* rounded up to 0 and 0"),
        ({"phases": [(0, {"a": 1}), (10, {"b": 1}), (20, {"a": 1})]}, fdm.PipelineError, "10 and 20 .* to 64 and 64"),
        ({"phases": [(0, {"a": 1}), (200, {"b": 1}), (100, {"a": 1})]}, fdm.PipelineError, "200 and 100"),
        ({"phases": [(0, {"a": 1}), (64, {"b": 0})]}, fdm.PipelineError, "'b' is a number above 0"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(change, error, message):
    options = {"phases": [(0, {"a": 1, "b": 1})], "sizes": {"a": 5, "b": 5}, "until": "all"} | change
    with pytest.raises(error, match=message):
        mixture(options["phases"], options["sizes"], until=options["until"], key=0)


# Randomness within blocks


def chi_square(observed, expected):
    """How many standard deviations Pearson's statistic lies above its mean."""
    freedom = observed.size - 1
    return (float(((observed - expected) ** 2 / expected).sum()) - freedom) / sqrt(2 * freedom)


def places_of(mixed, part, blocks):
    """The places in their blocks at which a part stands, a row for each block."""
    parts, _ = mixed.at(np.arange(blocks * 64))
    rows, places = np.nonzero(parts.reshape(-1, 64) == part)
    return places.reshape(blocks, -1) if len(rows) % blocks == 0 else None


@pytest.mark.parametrize("key", [0, 1, 2**64 - 1])
def test_the_places_of_a_part_in_its_block_are_uniform(key):
    blocks = 40_000
    places = places_of(of_weights([1, 63], key=key), 0, blocks)
    assert (blocks, 1) == places.shape
    assert abs(chi_square(np.bincount(places[:, 0], minlength=64), blocks / 64)) < LIMIT


@pytest.mark.parametrize("key", [0, 1, 2**64 - 1])
def test_pairs_of_places_of_a_part_are_uniform(key):
    blocks = 100_000
    low, high = places_of(of_weights([1, 31], key=key), 0, blocks).T
    pairs = np.bincount(low * 64 + high, minlength=64 * 64).reshape(64, 64)[np.triu_indices(64, 1)]
    assert blocks == pairs.sum()
    assert abs(chi_square(pairs, blocks / (64 * 63 / 2))) < LIMIT


def test_neighbouring_blocks_and_keys_are_independent():
    blocks = 40_000
    first, other = (places_of(of_weights([1, 63], key=key), 0, blocks)[:, 0] for key in (4, 5))
    for left, right in ((first[1:], first[:-1]), (first, other)):
        counts = np.bincount(left // 8 * 8 + right // 8, minlength=64)
        assert abs(chi_square(counts, len(left) / 64)) < LIMIT


@pytest.mark.parametrize("epoch", [16, 40, 1000])
def test_nothing_is_moved_over_the_end_of_an_epoch(epoch):
    mixed = of_weights([1, 1], until=epoch, key=3)
    for end in range(epoch, 20 * epoch, epoch):
        assert max(abs(mixed.counts(end) - end / 2)) <= 0.5


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_ranks_do_not_alias_with_parts(ranks):
    parts, _ = of_weights([1] * ranks, key=1).at(np.arange(64_000))
    share = np.mean(parts.reshape(-1, ranks) == 0, axis=0)
    assert (abs(share - 1 / ranks) < 0.02).all()


def test_batches_have_a_part_nearly_equally_often():
    parts, _ = of_weights([3, 7], key=1).at(np.arange(256 * 1000))
    spread = (parts.reshape(-1, 256) == 0).sum(axis=1).std()
    assert spread < sqrt(256 * 0.3 * 0.7) / 5
    odd = (parts[: 200 * 1000].reshape(-1, 200) == 0).sum(axis=1).std()  # batches that end within blocks
    assert odd < sqrt(200 * 0.3 * 0.7) / 1.5
