"""The laws of batches by length: one bucket in a step, each example once, the same steps for every number of ranks."""

from collections import Counter
from itertools import chain, combinations, pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fdm import DataError, SnapshotError
from fdm._orders.by_length import ByLength
from fdm._orders.lengths import Buckets, Layout, best_edges, check_edges
from fdm._orders.order import Natural, Shuffled
from fdm._plans.steps import StepsByLength
from fdm._random.permutation import derive, permute
from fdm._splits.sizes import even_shard


KEYS = st.none() | st.integers(0, 2**64 - 1)


@st.composite
def some_lengths(draw, least=0, most=300):
    """Lengths of some kind: even, skewed, few distinct ones, or a single long one among short ones."""
    size, random = draw(st.integers(least, most)), np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["even", "skewed", "few", "outlier"]))
    lengths = random.integers(0, 200, size)
    if kind == "skewed":
        lengths = np.minimum(random.lognormal(3, 1, size), 500).astype(np.int64)
    if kind == "few":
        lengths = random.choice([0, 7, 8, 90], size)
    if kind == "outlier":
        lengths = np.append(random.integers(0, 20, max(0, size - 1)), [700] * min(1, size))
    return lengths.astype(np.int64)


@st.composite
def layouts(draw, least=0):
    """Lengths, and how they fall into steps: of a budget or of a size, with the best edges or with given ones."""
    lengths = draw(some_lengths(least))
    edges = best_edges(lengths, draw(st.integers(1, 12)), draw(st.sampled_from([1, 8])))
    if draw(st.booleans()):
        longest = int(lengths.max(initial=0))
        edges = np.array(sorted(draw(st.sets(st.integers(1, 900), max_size=6)) | {longest + draw(st.integers(1, 50))}))
    buckets = Buckets.of(lengths, edges)
    if draw(st.booleans()):
        return lengths, Layout.of_size(buckets, draw(st.integers(1, 40)))
    return lengths, Layout.of_budget(
        buckets, int(buckets.edges[-1]) * draw(st.integers(1, 20)) + draw(st.integers(0, 300))
    )


def in_steps(order):
    """The examples of each step, with its edge."""
    steps = StepsByLength.of(order)
    return [(int(steps.edges[step]), order.at(np.arange(*steps.bounds(step))).tolist()) for step in range(steps.count)]


def dealt_one_by_one(lengths, layout, key):
    """The steps as lists of examples with their edges: buckets filled, cut and handed on the naive way."""
    edges, sizes = layout.buckets.edges.tolist(), layout.sizes.tolist()

    def shuffled(pool, *names):
        return (
            pool if key is None else [pool[at] for at in permute(np.arange(len(pool)), len(pool), derive(key, *names))]
        )

    def dealt(spared):
        """The steps of each bucket, where the last bucket before the longest that has steps keeps `spared` examples back."""
        steps, rest, keeps = [], [], [spared if bucket == giver else 0 for bucket in range(len(edges))]
        for bucket, (edge, size) in enumerate(zip(edges, sizes, strict=True)):
            below = edges[bucket - 1] if bucket else -1
            pool = shuffled(rest + [i for i, n in enumerate(lengths) if below < n <= edge], "bucket", bucket)
            count = len(pool) // size if bucket < len(edges) - 1 and bucket <= giver else 0
            end = count * size - keeps[bucket]
            if bucket == len(edges) - 1:
                count, end = -(-len(pool) // size), len(pool)
            steps.append([(edge, part.tolist()) for part in np.array_split(pool[:end], count)] if count else [])
            rest = pool[end:]
        return steps

    giver = len(edges)
    steps = dealt(0)
    missing = (sizes[-1] + 1) // 2 - sum(len(step) for _, step in steps[-1])
    if steps[-1] and missing > 0 and any(steps[:-1]):
        giver = max(bucket for bucket, own in enumerate(steps[:-1]) if own)
        steps = dealt(missing)
    return shuffled(list(chain(*steps)), "steps")


@given(layouts(), KEYS)
def test_steps_are_those_of_buckets_that_are_dealt_out_one_by_one(made, key):
    lengths, layout = made
    assert dealt_one_by_one(lengths.tolist(), layout, key) == in_steps(ByLength(Natural(len(lengths)), layout, key))


@given(layouts(), KEYS)
def test_each_example_is_in_one_step_and_no_longer_than_its_edge(made, key):
    lengths, layout = made
    steps = in_steps(ByLength(Natural(len(lengths)), layout, key))
    assert list(range(len(lengths))) == sorted(chain(*(members for _, members in steps)))
    assert all(lengths[members].max() <= edge for edge, members in steps)


@given(layouts(), KEYS)
def test_a_step_has_at_least_half_of_a_full_one_of_the_longest_and_never_more_than_its_own_bucket_holds(made, key):
    lengths, layout = made
    full = dict(zip(layout.buckets.edges.tolist(), layout.sizes.tolist(), strict=True))
    for edge, members in in_steps(ByLength(Natural(len(lengths)), layout, key)):
        assert min(layout.least, len(lengths)) <= len(members) <= full[edge]
        if layout.unit == "values":
            assert len(members) * edge <= layout.amount
        else:
            assert len(members) <= layout.amount
    assert int(layout.sizes[-1]) // 2 <= layout.least


@given(layouts(), KEYS)
def test_steps_and_their_sizes_are_the_same_in_every_epoch(made, key):
    lengths, layout = made
    natural, keyed = (in_steps(ByLength(Natural(len(lengths)), layout, each)) for each in (None, key))
    assert Counter((edge, len(members)) for edge, members in natural) == Counter((edge, len(m)) for edge, m in keyed)
    assert sum(layout.steps) == len(keyed)


@given(layouts(), KEYS)
def test_only_the_longest_bucket_and_the_one_that_helps_it_out_have_steps_that_are_not_full(made, key):
    _, layout = made
    (short,) = np.nonzero(layout.placed < layout.steps * layout.sizes)
    assert len(short) <= 2
    assert all(bucket == len(layout.sizes) - 1 or not layout.steps[bucket + 1 : -1].any() for bucket in short)


@given(layouts(), KEYS)
def test_every_number_of_ranks_has_the_same_steps_and_each_rank_its_even_share(made, key):
    lengths, layout = made
    order = ByLength(Natural(len(lengths)), layout, key)
    alone = StepsByLength.of(order)
    for world_size in range(1, min(layout.least, 64) + 1):
        steps = StepsByLength.of(order, world_size=world_size)
        assert [alone.bounds(step) for step in range(alone.count)] == [
            steps.bounds(step) for step in range(steps.count)
        ]
        assert alone.edges.tolist() == steps.edges.tolist()
        for step in range(steps.count):
            shards = [(piece.start, piece.stop) for piece in (steps.shard(step, rank) for rank in range(world_size))]
            first, last = steps.bounds(step)
            assert shards == [
                tuple(first + at for at in even_shard(last - first, r, world_size)) for r in range(world_size)
            ]
            assert [last > first for first, last in shards] == [
                step < steps.count_of(rank) for rank in range(world_size)
            ]
            assert max(stop - start for start, stop in shards) <= steps.size


@given(layouts(least=1), KEYS, st.data())
def test_shards_are_the_shards_of_each_step(made, key, data):
    lengths, layout = made
    world_size = data.draw(st.integers(1, layout.least))
    steps = StepsByLength.of(ByLength(Natural(len(lengths)), layout, key), world_size=world_size)
    first = data.draw(st.integers(0, steps.count))
    last = data.draw(st.integers(first, steps.count))
    for rank in range(world_size):
        lows, sizes = steps.shards(first, last, rank)
        of_each = [range(low, low + size) for low, size in zip(lows.tolist(), sizes.tolist(), strict=True)]
        assert of_each == [steps.shard(step, rank) for step in range(first, last)]


@given(layouts(), KEYS, st.integers(0, 2**32))
def test_any_positions_are_looked_up_as_all_of_them_are(made, key, seed):
    lengths, layout = made
    order = ByLength(Natural(len(lengths)), layout, key)
    whole = order.at(np.arange(order.size))
    positions = np.random.default_rng(seed).integers(0, max(1, order.size), 20 * (order.size > 0))
    before = positions.copy()
    assert whole[positions].tolist() == order.at(positions).tolist()
    assert before.tolist() == positions.tolist()


@given(layouts(), KEYS, st.integers(0, 2**64 - 1))
def test_positions_are_those_of_the_order_below(made, key, below):
    lengths, layout = made
    natural, shuffled = Natural(len(lengths)), Shuffled(Natural(len(lengths)), below)
    positions = np.arange(len(lengths))
    expected = shuffled.at(ByLength(natural, layout, key).at(positions))
    assert expected.tolist() == ByLength(shuffled, layout, key).at(positions).tolist()


@given(layouts(), KEYS, st.data())
def test_a_resume_at_any_step_is_the_tail_for_any_number_of_ranks(made, key, data):
    lengths, layout = made
    order = ByLength(Natural(len(lengths)), layout, key)
    whole = StepsByLength.of(order)
    for step in range(whole.count + 1):
        rest = StepsByLength.of(order, int(whole.cuts[step]), data.draw(st.integers(1, layout.least)))
        assert whole.cuts[step:].tolist() == rest.cuts.tolist()
        assert whole.edges[step:].tolist() == rest.edges.tolist()
        assert whole.count - step == rest.count
        assert (whole.cuts[step], whole.stop) == (rest.start, rest.stop)


@given(layouts(), KEYS)
def test_a_resume_within_a_step_or_beyond_the_end_is_refused(made, key):
    lengths, layout = made
    order = ByLength(Natural(len(lengths)), layout, key)
    for examples in {*range(len(lengths) + 2)} - set(StepsByLength.of(order).cuts.tolist()):
        with pytest.raises(SnapshotError, match=f"after {examples:,} examples, but steps of this epoch end after"):
            StepsByLength.of(order, examples)


@given(some_lengths(), st.data())
def test_an_example_is_in_the_first_bucket_whose_edge_is_not_below_its_length(lengths, data):
    edges = np.array(sorted({*data.draw(st.sets(st.integers(1, 900))), int(lengths.max(initial=0)) + 1}))
    buckets = Buckets.of(lengths, edges)
    by_bucket = [[] for _ in edges]
    for position, length in enumerate(lengths):
        by_bucket[next(bucket for bucket, edge in enumerate(edges) if edge >= length)].append(position)
    while len(by_bucket) > 1 and not by_bucket[-1]:
        by_bucket.pop()
    assert by_bucket == [buckets.by_bucket[a:b].tolist() for a, b in pairwise(buckets.starts)]
    assert [sum(lengths[each]) for each in by_bucket] == buckets.values.tolist()
    assert edges[: len(by_bucket)].tolist() == buckets.edges.tolist()


def test_buckets_take_4_bytes_an_example_and_are_what_they_were_when_they_are_kept(tmp_path):
    buckets = Buckets.of(np.arange(100), best_edges(np.arange(100), 4))
    np.savez(tmp_path / "buckets.npz", **buckets.arrays())
    again = Buckets.from_arrays(dict(np.load(tmp_path / "buckets.npz")))
    assert 400 == again.by_bucket.nbytes
    assert {k: v.tolist() for k, v in buckets.arrays().items()} == {k: v.tolist() for k, v in again.arrays().items()}


def padded(lengths, edges):
    """The values that padding makes of examples of these lengths."""
    return sum(next(edge for edge in edges if edge >= length) for length in lengths)


@given(st.lists(st.integers(0, 70), min_size=1, max_size=30), st.integers(1, 9), st.sampled_from([1, 3, 8]))
def test_the_best_edges_waste_as_little_as_any(lengths, buckets, multiple):
    candidates = sorted({max(1, -(-length // multiple)) * multiple for length in lengths})
    edges = best_edges(np.array(lengths), buckets, multiple).tolist()
    few = min(buckets, len(candidates))
    inner = combinations(candidates[:-1], few - 1) if len(candidates) < 14 else [edges[:-1]]
    assert min(padded(lengths, [*some, candidates[-1]]) for some in inner) == padded(lengths, edges)
    assert few == len(edges)
    assert set(edges) <= set(candidates)
    assert sorted(set(edges)) == edges


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5])
def test_edges_for_a_long_range_of_lengths_waste_hardly_more_than_the_best(sigma):
    lengths = np.random.default_rng(0).lognormal(8, sigma, 20_000).astype(np.int64)
    counts = np.bincount(-(-lengths // 8))
    longest, below = len(counts) - 1, np.cumsum(counts)
    best = 8 * (below * np.arange(len(counts)) + (len(lengths) - below) * longest).min()
    edges = best_edges(lengths, 2)
    assert 8 * longest == edges[-1]
    assert best <= edges[np.searchsorted(edges, lengths)].sum() <= 1.0005 * best


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=40), st.sampled_from([1, 8]))
@example([0], 8)
@example([256 * 8, 256 * 8 + 1, 258 * 8 + 1, 512 * 8, 512 * 8 + 1, 514 * 8 + 1], 8)
def test_with_a_bucket_for_each_length_an_edge_is_within_one_percent_above_it(lengths, multiple):
    edges = best_edges(np.array(lengths), len(lengths), multiple)
    up = edges[np.searchsorted(edges, lengths)]
    assert all(n <= edge <= n * 129 / 128 + multiple for n, edge in zip(lengths, up.tolist(), strict=True))
    assert set(edges.tolist()) == set(up.tolist())
    assert max(1, -(-max(lengths) // multiple)) * multiple == edges[-1]
    assert not (edges % multiple).any()


def test_no_examples_have_one_edge_and_no_steps():
    layout = Layout.of_budget(
        Buckets.of(np.array([], dtype=np.int64), best_edges(np.array([], dtype=np.int64), 32)), 100
    )
    steps = StepsByLength.of(ByLength(Natural(0), layout, 1))
    assert (0, 0, 0, 1.0) == (steps.count, steps.start, steps.stop, layout.useful)
    assert [(8, 0, 0, 12)] == layout.rows()


def test_examples_of_no_length_are_in_the_shortest_bucket():
    layout = Layout.of_budget(
        Buckets.of(np.zeros(10, dtype=np.int64), best_edges(np.zeros(10, dtype=np.int64), 32)), 32
    )
    assert [(8, 10, 3, 4)] == layout.rows()
    assert 0.0 == layout.useful


@pytest.mark.parametrize(
    "edges", [(), (0, 700), (-1, 700), (8, 8, 700), (700, 64), (64.0, 700), (True, 700), ("64", 700)], ids=repr
)
def test_edges_that_do_not_rise_are_refused(edges):
    with pytest.raises(DataError, match="edges"):
        check_edges(edges, 700)


def test_edges_below_the_longest_example_are_refused_with_its_length():
    with pytest.raises(DataError, match=r"last of the edges is 512, but the longest example has 1,700 values"):
        check_edges((64, 512), 1700)
    assert [64, 512] == check_edges([np.int32(64), 512], 512).tolist()


def test_a_budget_below_the_longest_example_is_refused_with_both_numbers():
    buckets = Buckets.of(np.array([3, 1700]), np.array([64, 2048]))
    with pytest.raises(
        DataError, match=r"a step of 2,047 values cannot hold .* padded to 2,048; let it be at least 2,048"
    ):
        Layout.of_budget(buckets, 2047)
    assert [(64, 1, 0, 32), (2048, 1, 2, 1)] == Layout.of_budget(buckets, 2048).rows()


def test_a_world_with_more_ranks_than_a_step_is_sure_to_have_examples_is_refused_with_the_numbers():
    buckets = Buckets.of(np.arange(2049), best_edges(np.arange(2049), 16))
    layout = Layout.of_budget(buckets, 131_072)
    message = (
        r"a step of 131,072 values holds 64 of the longest, and the smallest may hold 32: up to 32 ranks are fine, 40 are "
        r"not; raise it to 161,792, or use fewer ranks"
    )
    with pytest.raises(DataError, match=message):
        StepsByLength.of(ByLength(Natural(2049), layout, 1), world_size=40)
    Layout.of_budget(buckets, 161_792).check_world(40)
    with pytest.raises(DataError):
        Layout.of_budget(buckets, 161_791).check_world(40)
    with pytest.raises(DataError, match=r"a step of 64 examples holds 64 of the longest.* raise it to 79"):
        Layout.of_size(buckets, 64).check_world(40)
    Layout.of_size(buckets, 79).check_world(40)


def test_the_rows_and_the_useful_share_are_those_of_the_steps_counted():
    lengths = np.random.default_rng(0).integers(0, 300, 5000)
    layout = Layout.of_budget(Buckets.of(lengths, best_edges(lengths, 6)), 6000)
    steps = in_steps(ByLength(Natural(5000), layout, 3))
    useful = lengths.sum() / sum(edge * len(members) for edge, members in steps)
    assert useful == pytest.approx(layout.useful, rel=1e-12)
    rows = layout.rows()
    assert [(edge, count) for edge, count in sorted(Counter(edge for edge, _ in steps).items())] == [
        (row.edge, row.steps) for row in rows if row.steps
    ]
    assert [row.size for row in rows] == [6000 // row.edge for row in rows]
    assert 5000 == sum(row.examples for row in rows)


def example_of_a_million():
    """Lengths of mean 435, none above 2048, skewed as those of documents and of speech are."""
    drawn = np.exp(5.7703 + 0.8 * np.random.default_rng(0).standard_normal(1_000_000))
    return np.clip(np.ceil(drawn), 1, 2048).astype(np.int64)


@pytest.fixture(scope="module")
def million():
    lengths = example_of_a_million()
    return lengths, Layout.of_budget(Buckets.of(lengths, best_edges(lengths, 16)), 131_072)


def test_16_buckets_of_a_million_lengths_are_nine_tenths_useful(million):
    lengths, layout = million
    assert 435 == round(lengths.mean())
    assert 2048 == lengths.max()
    assert layout.useful >= 0.90


def test_the_padded_lengths_of_successive_steps_are_not_correlated(million):
    lengths, layout = million
    for key in range(3):
        edges = StepsByLength.of(ByLength(Natural(len(lengths)), layout, key)).edges
        assert abs(np.corrcoef(edges[1:], edges[:-1])[0, 1]) < 4 / np.sqrt(len(edges))


def test_the_examples_of_a_bucket_are_shuffled_anew_in_every_epoch(million):
    lengths, layout = million
    orders = [ByLength(Natural(len(lengths)), layout, key) for key in (1, 2)]
    steps_of, step_buckets = [], []
    for order in orders:
        step_of = np.empty(len(lengths), dtype=np.int64)
        cuts = StepsByLength.of(order).cuts
        step_of[order.at(np.arange(order.size))] = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))
        steps_of.append(step_of)
        step_buckets.append(order.cuts.bucket)
    one, other = steps_of
    random = np.random.default_rng(0)
    members = orders[0].at(np.arange(orders[0].size))
    pairs = random.integers(0, len(members) - 1, 200_000)
    left, right = members[pairs], members[pairs + 1]
    together = one[left] == one[right]
    left, right = left[together], right[together]
    # two of one step meet again as often as if each bucket's examples were dealt out blindly: 1 in its number of steps
    chance = (1 / layout.steps[step_buckets[1][other[left]]]).mean()
    again = (other[left] == other[right]).mean()
    assert again == pytest.approx(chance, abs=5 * np.sqrt(chance / len(left)))


def test_examples_that_a_bucket_takes_over_stand_among_its_own_in_random_places():
    lengths = np.repeat([8, 16], [1900, 8100])
    layout = Layout.of_budget(Buckets.of(lengths, np.array([8, 16])), 16 * 1000)
    shares = []
    for key in range(20):
        order = ByLength(Natural(10_000), layout, key)
        for edge, members in in_steps(order):
            if edge == 16:
                shares.append((lengths[members] == 8).mean())
    assert 0 < min(shares)
    assert np.mean(shares) == pytest.approx(1900 / 10_000, rel=0.01)
