"""The laws of block shuffle: a permutation that has some blocks in play at a time, in lanes that are read apart."""

import pickle
from itertools import chain
from math import sqrt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fdm
from fdm._orders.blocks import BlockShuffle, block_permuted, block_shuffled, strided, variance_ratio
from fdm._random.permutation import derive, permute
from fdm._random.tweaked import permute_tweaked


keys = st.integers(0, 2**64 - 1)


@st.composite
def layouts(draw, most=3000):
    """Blocks larger than all, windows larger than all, more lanes than blocks, and short last blocks among them."""
    lanes = draw(st.integers(1, 9))
    return BlockShuffle(
        n=draw(st.integers(0, most)),
        block=draw(st.integers(1, 40) | st.integers(1, 2 * most)),
        window=lanes * draw(st.integers(1, 9)),
        lanes=lanes,
        key=draw(keys),
    )


def whole(order):
    return order.at(np.arange(order.n)).tolist()


def neighbours(blocks, order):
    """The examples of blocks, one after the other."""
    return [i for block in blocks for i in range(order.n)[block * order.block : (block + 1) * order.block]]


def naive(order):
    """Lanes in turn, each of which goes through its pools; then what is left. Written with lists of whole pools."""
    full = order.n // order.block
    blocks = permute(np.arange(full), full, derive(order.key, "blocks")).tolist() if full else []
    each = order.window // order.lanes
    lanes = [[] for _ in range(order.lanes)]
    number = 0
    while len(blocks) >= order.window:
        for lane in lanes:
            pool, blocks = neighbours(blocks[:each], order), blocks[each:]
            places = permute_tweaked(
                np.arange(len(pool)), len(pool), derive(order.key, "pools"), np.full(len(pool), number)
            )
            lane.extend(pool[place] for place in places)
            number += 1
    taken = [*chain(*zip(*lanes, strict=True))]
    short = [full] if order.n % order.block else []
    rest = neighbours(blocks + short, order)
    return taken + [rest[place] for place in permute(np.arange(len(rest)), len(rest), derive(order.key, "last"))]


@settings(max_examples=300)
@given(layouts())
def test_a_block_shuffle_is_that_of_its_naive_equivalent(order):
    assert naive(order) == whole(order)


@settings(max_examples=300)
@given(layouts())
def test_a_block_shuffle_has_every_example_once(order):
    assert list(range(order.n)) == sorted(whole(order))
    assert order.n == order.size


@given(layouts(), st.data())
def test_any_positions_have_the_examples_that_they_have_in_the_whole(order, data):
    positions = data.draw(st.lists(st.integers(0, order.n - 1))) if order.n else []
    asked = np.array(positions, dtype=np.int64)
    ids = whole(order)
    assert [ids[position] for position in positions] == order.at(asked).tolist()
    assert positions == asked.tolist()
    assert (
        order.at(asked).tolist()
        == block_shuffled(asked, order.n, order.block, window=order.window, lanes=order.lanes, key=order.key).tolist()
    )


@given(layouts())
def test_each_pool_of_a_lane_has_the_examples_of_its_blocks(order):
    ids = whole(order)
    in_pool = order.window // order.lanes * order.block
    for lane in range(order.lanes):
        own = ids[: order.regular][lane :: order.lanes]
        for pool in range(order.pools):
            blocks = order.blocks_of(pool, lane).tolist()
            assert order.window // order.lanes == len(set(blocks))
            assert neighbours(sorted(blocks), order) == sorted(own[pool * in_pool : (pool + 1) * in_pool])
    assert neighbours(sorted(order.last_blocks().tolist()), order) == sorted(ids[order.regular :])


@given(layouts())
def test_what_all_lanes_share_is_less_than_a_window_and_a_block(order):
    assert order.n - order.regular < (order.window + 1) * order.block
    assert len(order.last_blocks()) <= order.window


@pytest.mark.parametrize("n, block, window, lanes", [(100, 1000, 4, 2), (100, 100, 2, 1), (100, 7, 16, 16)])
def test_less_than_a_window_is_a_true_shuffle(n, block, window, lanes):
    spread = np.array([whole(BlockShuffle(n, block, window, lanes, key)) for key in range(4000)])
    assert abs(spread.mean(axis=0) - 49.5).max() < 5 * sqrt((n * n - 1) / 12 / 4000)


def test_memory_and_time_do_not_depend_on_n():
    order = BlockShuffle(10**15 + 7, 4096, 1024, 64, key=3)
    positions = np.concatenate([np.arange(10**14, 10**14 + 1000), order.n - 1 - np.arange(1000)])
    ids = order.at(positions)
    assert 0 <= ids.min() <= ids.max() < order.n
    assert len(positions) == len(np.unique(ids))
    in_play = {block for lane in range(64) for block in order.blocks_of(10**14 // (4096 * 1024), lane)}
    assert set((ids[:1000] // 4096).tolist()) <= in_play
    assert set((ids[1000:] // 4096).tolist()) <= set(order.last_blocks().tolist())


def test_epochs_and_pools_are_told_apart():
    first, second = (np.array(whole(BlockShuffle(64_000, 10, 100, 1, key))) for key in (1, 2))
    assert (first == second).mean() < 0.01
    inside = first.reshape(64, 1000) % 10  # where a pool's examples stand in their blocks
    assert abs((inside[1:] == inside[:-1]).mean() - 0.1) < 0.01


def test_an_order_is_the_same_in_another_process():
    order = BlockShuffle(1000, 10, 8, 4, key=9)
    ids = whole(order)
    again = pickle.loads(pickle.dumps(order))
    assert again == order
    assert ids == whole(again)


@pytest.mark.parametrize("window, lanes, near", [(10, 4, 8), (1, 64, 64), (65, 64, 64), (100, 64, 128)])
def test_a_window_that_lanes_do_not_divide_is_refused(window, lanes, near):
    with pytest.raises(fdm.PipelineError, match=rf"multiple of lanes={lanes}, not {window}; {near} would be"):
        BlockShuffle(1000, 10, window, lanes, key=0)


# Ranks


@given(layouts(most=600), st.integers(20, 200), st.sampled_from([1, 2, 3, 4, 6, 8]))
def test_ranks_have_the_examples_of_a_step_between_them(order, size, world):
    ids = whole(order)
    for first in range(0, order.n, size):
        last = min(first + size, order.n)
        shards = [strided(first, last, rank, world) for rank in range(world)]
        assert [list(range(first, last))[rank::world] for rank in range(world)] == [shard.tolist() for shard in shards]
        merged = np.empty(last - first, dtype=np.int64)
        for rank, shard in enumerate(shards):
            merged[rank::world] = order.at(shard)
        assert ids[first:last] == merged.tolist()
        sizes = [len(shard) for shard in shards]
        assert sorted(sizes, reverse=True) == sizes
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("lanes, world", [(64, 8), (64, 64), (12, 4), (6, 1)])
def test_a_ranks_positions_are_of_its_own_lanes(lanes, world):
    for rank in range(world):
        for step in range(5):
            assert {rank} == set(
                (strided(step * 4 * world, (step + 1) * 4 * world, rank, world) % lanes % world).tolist()
            )


def blocks_read(order, world, size=4096):
    """The share of the blocks that each rank reads in an epoch."""
    read = []
    for rank in range(world):
        positions = [strided(first, min(first + size, order.n), rank, world) for first in range(0, order.n, size)]
        read.append(len(np.unique(order.at(np.concatenate(positions)) // order.block)) * order.block / order.n)
    return read


@pytest.mark.parametrize("world", [2, 4, 8])
def test_a_node_reads_its_share_of_the_blocks(world):
    order = BlockShuffle(2**20, 64, 1024, 64, key=5)
    assert max(blocks_read(order, world)) <= 1.1 / world
    assert min(blocks_read(BlockShuffle(2**20, 64, 1024, 1, key=5), world)) > 0.9  # without lanes each reads nearly all


# Quality


def measured(order_of_key, labels, batch, epochs=12):
    """The variance of batch means over that of a true shuffle, which is known."""
    n = len(labels)
    means = [
        labels[order_of_key(key).at(np.arange(n // batch * batch))].reshape(-1, batch).mean(axis=1)
        for key in range(epochs)
    ]
    return np.var(np.concatenate(means)) / (labels.var() / batch * (n - batch) / (n - 1))


@pytest.mark.parametrize(
    "block, window, lanes",
    [
        (1024, 16, 1),
        (1024, 64, 1),
        (256, 64, 1),
        (256, 256, 1),
        (64, 256, 1),
        (64, 1024, 1),
        (256, 256, 64),
        (64, 256, 8),
    ],
)
def test_the_variance_of_batch_means_is_that_of_the_formula(block, window, lanes):
    n, batch = 2**18, 256
    labels = np.arange(n) * 1000 // n / 1.0  # sorted by what is averaged
    ratio = measured(lambda key: BlockShuffle(n, block, window, lanes, key), labels, batch)
    assert 0.8 <= ratio / variance_ratio(batch, n, block, window) <= 1.2


def test_a_true_shuffle_has_a_ratio_of_one():
    n = 2**16
    assert (
        1 == variance_ratio(256, n, 64, n // 64) == variance_ratio(256, n, 64, 2 * n) == variance_ratio(256, 0, 64, 1)
    )
    ratio = measured(lambda key: BlockShuffle(n, 64, n // 64, 1, key), np.arange(n) / 1.0, 256)
    assert 0.8 <= ratio <= 1.2


@pytest.mark.parametrize(
    "batch, n, block, window, ratio",
    [
        (256, 2**20, 4096, 4, 64),
        (256, 2**20, 1024, 64, 4.75),
        (100, 400, 10, 10, 8.5),
    ],
)
def test_the_formula_is_one_plus_batch_over_window_times_the_share_at_rest(batch, n, block, window, ratio):
    assert ratio == pytest.approx(variance_ratio(batch, n, block, window))


# Permuted blocks


@given(st.integers(0, 3000), st.integers(1, 4000) | st.integers(1, 50), keys)
@example(10, 10, 0)
@example(10, 11, 0)
def test_permuted_blocks_are_those_of_a_permutation_each_as_it_was(n, block, key):
    full = n // block
    order = [*permute(np.arange(full), full, key), *([full] if n % block else [])]
    expected = [i for number in order for i in range(n)[number * block : (number + 1) * block]]
    assert expected == block_permuted(np.arange(n), n, block, key).tolist()
    assert list(range(n)) == sorted(expected)


@given(st.integers(1, 3000), st.integers(1, 50), keys, st.data())
def test_any_positions_of_permuted_blocks_are_those_of_the_whole(n, block, key, data):
    positions = data.draw(st.lists(st.integers(0, n - 1)))
    ids = block_permuted(np.arange(n), n, block, key)
    asked = np.array(positions, dtype=np.int64)
    assert ids[positions].tolist() == block_permuted(asked, n, block, key).tolist()
    assert positions == asked.tolist()


def test_blocks_of_a_huge_range_are_permuted_without_memory_for_it():
    positions = np.concatenate([np.arange(5000), 10**15 + 7 - 1 - np.arange(7)])
    ids = block_permuted(positions, 10**15 + 7, 1000, key=1)
    assert (ids[:5000].reshape(5, 1000) % 1000 == np.arange(1000)).all()
    assert 5 == len(np.unique(ids[:5000] // 1000))
    assert positions[-7:].tolist() == ids[-7:].tolist()
