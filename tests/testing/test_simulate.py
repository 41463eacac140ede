"""Simulated worlds are what their ranks, opened one by one, see."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm
from fdm.testing import every_rank, simulate


def numbers(*, n):
    return range(n)


def columns(*, n):
    return fdm.Table({"x": torch.zeros(n, 3, dtype=torch.float32), "y": torch.zeros(n, dtype=torch.uint8)})


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 7), st.booleans(), st.sampled_from(["rank", "world"]))
def test_a_simulated_world_is_what_its_ranks_see(n, size, world_size, drop_last, across):
    size += world_size if across == "world" else 0
    p = fdm.pipeline(fdm.load(numbers, n=n), fdm.shuffle(), fdm.batch(size, drop_last=drop_last, across=across))
    (world,) = simulate(p, "all", [world_size]).worlds
    seen = []
    for context in every_rank(world_size):
        with fdm.open(p, context=context) as data:
            seen.append([data.loader("all").indices(step).tolist() for step in range(len(data.loader("all")))])
    counts = [sum(map(len, steps)) for steps in seen]
    assert (min(counts), max(counts), counts.count(0)) == (world.least, world.most, world.idle)
    assert max(map(len, seen)) == world.steps
    assert n - sum(counts) == world.dropped
    assert world.is_exact


def test_thousands_of_ranks_and_ten_billion_examples_take_no_memory_for_their_order():
    p = fdm.pipeline(fdm.load(numbers, n=10**10), fdm.split({"a": 0.9, "b": None}), fdm.shuffle(), fdm.batch(32))
    for world in simulate(p, "a").worlds:
        assert world.is_exact
        assert (0, 0, 0) == (world.order_bytes, world.idle, world.dropped)
        assert world.most - world.least <= 2
        assert world.state_bytes < 1000


def test_the_bytes_of_a_rank_are_told_where_the_columns_tell_them():
    p = fdm.pipeline(fdm.load(columns, n=10), fdm.split(halves), fdm.batch(2))
    (world,) = simulate(p, "a", [2]).worlds
    assert 3 * 13 == world.data_bytes
    assert 5 * 8 == world.order_bytes


def halves(source):
    return {"a": range(0, len(source), 2), "b": range(1, len(source), 2)}


def test_what_cannot_be_simulated_is_told():
    p = fdm.pipeline(fdm.load(numbers, n=10), fdm.batch(4, across="world"))
    with pytest.raises(fdm.DataError, match="4 examples across a world of 8 ranks leave ranks without any"):
        simulate(p, "all")
    with pytest.raises(fdm.UnknownNameError, match=r"no split 'al' \(did you mean 'all'"):
        simulate(p, "al", [1])
    with pytest.raises(fdm.ParameterError, match=r"no option 'stor' \(did you mean 'store'"):
        simulate(p, "all", [1], stor=1)
    with pytest.raises(fdm.DataError, match="sizes of the worlds"):
        simulate(p, "all", [])


def test_a_table_of_worlds_is_printed():
    p = fdm.pipeline(fdm.load(numbers, n=10**9), fdm.shuffle(), fdm.batch(32))
    lines = str(simulate(p, "all", (1, 16384))).splitlines()
    assert "1,000,000,000 examples of 'all'" == lines[0]
    assert lines[1].split()[:2] == ["world", "size"]
    assert "16,384" in lines[3]
    assert "yes" in lines[3]
