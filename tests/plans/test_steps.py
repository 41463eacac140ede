"""The laws of steps and tails: what each rank sees in each step, from arithmetic alone."""

from itertools import chain, pairwise, product

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdm._plans.steps import Steps, steps_across_world
from fdm._splits.sizes import even_shard


SMALL = [
    Steps(start, start + n, size, world_size)
    for size, world_size in product(range(1, 5), range(1, 6))
    for n in range(3 * size * world_size + 1)
    for start in (0, 7)
]

ACROSS = [
    steps_across_world(start, start + n, whole, world_size, drop_last=False)
    for world_size in range(1, 6)
    for whole in range(world_size, 13)
    for n in range(3 * whole + 1)
    for start in (0, 7)
]


@st.composite
def layouts(draw, most=3000):
    size, world_size, start = draw(st.integers(1, 64)), draw(st.integers(1, 40)), draw(st.integers(0, 10**6))
    near = draw(st.integers(0, 4)) * size * world_size + draw(st.integers(-world_size, world_size))
    n = draw(st.integers(0, most) | st.just(max(0, near)))
    return Steps(start, start + n, size, world_size)


def examples(steps):
    return steps.stop - steps.start


def bounds(steps):
    return [steps.bounds(step) for step in range(steps.count)]


def shards(steps):
    return [[steps.shard(step, rank) for rank in range(steps.world_size)] for step in range(steps.count)]


def written_out(steps):
    """The steps as lists of positions, cut the naive way."""
    positions, whole = list(range(steps.start, steps.stop)), steps.size * steps.world_size
    cut = [positions[at : at + whole] for at in range(0, len(positions), whole)]
    if steps.drop_last:
        return [step for step in cut if len(step) == whole]
    if len(cut) > 1 and len(cut[-1]) < steps.world_size:
        last = cut[-2] + cut[-1]
        pieces = np.array_split(last, 1 if steps.size == 1 else 2)
        cut = [*cut[:-2], *(piece.tolist() for piece in pieces)]
    return cut


def check_partition(steps):
    pieces = [list(range(*shard)) for shard in chain(*shards(steps))]
    assert list(range(steps.start, steps.stop)) == list(chain(*pieces))


def check_equal_steps(steps):
    if examples(steps) >= steps.world_size:
        assert {steps.count} == {steps.count_of(rank) for rank in range(steps.world_size)}
        assert all(low < high for low, high in chain(*shards(steps)))


def check_resumes(steps):
    for step in range(steps.count):
        rest = attrs.evolve(steps, start=steps.bounds(step)[0])
        assert shards(steps)[step:] == shards(rest)


@pytest.mark.parametrize("check", [check_partition, check_equal_steps, check_resumes])
def test_all_small_layouts_keep_the_laws_of_tails(check):
    for steps in [*SMALL, *ACROSS]:
        check(steps)


def test_global_batches_across_the_world_are_the_same_for_every_world_unless_the_last_is_smaller_than_it():
    for steps in ACROSS:
        positions = range(steps.start, steps.stop)
        naive = [tuple(positions[at : at + steps.whole]) for at in range(0, len(positions), steps.whole)]
        found = [tuple(range(*steps.bounds(step))) for step in range(steps.count)]
        if not naive or len(naive) == 1 or len(naive[-1]) >= steps.world_size:
            assert naive == found
        else:
            assert naive[:-2] == found[: len(naive) - 2]
            assert naive[-2] + naive[-1] == tuple(chain(*found[len(naive) - 2 :]))


def test_pieces_of_a_step_across_the_world_differ_by_one_example_at_most():
    for steps in ACROSS:
        for pieces in shards(steps):
            sizes = [high - low for low, high in pieces]
            assert max(sizes) - min(sizes) <= 1


def test_steps_looked_up_together_are_those_of_each_step_also_across_the_world():
    for steps in ACROSS:
        for rank in range(steps.world_size):
            lows, sizes = steps.shards(0, steps.count, rank)
            assert [steps.shard(step, rank) for step in range(steps.count)] == list(
                zip(lows.tolist(), (lows + sizes).tolist(), strict=True)
            )


@given(layouts())
def test_the_shards_of_all_ranks_partition_the_epoch_in_order(steps):
    check_partition(steps)


@given(layouts())
def test_every_rank_has_the_same_number_of_non_empty_steps(steps):
    check_equal_steps(steps)


@given(layouts(most=200))
def test_resuming_after_any_step_leaves_the_steps_that_were_left(steps):
    check_resumes(steps)


@given(layouts(), st.booleans())
def test_steps_are_those_of_cutting_the_positions_and_evening_out_the_end(steps, drop_last):
    steps = attrs.evolve(steps, drop_last=drop_last)
    assert [(step[0], step[-1] + 1) for step in written_out(steps)] == bounds(steps)


@given(layouts(), st.data())
def test_the_pieces_of_a_step_are_as_even_as_can_be_with_larger_ones_first(steps, data):
    for step in {0, data.draw(st.integers(0, max(0, steps.count - 1))), steps.count - 1} & set(range(steps.count)):
        pieces = np.array_split(range(*steps.bounds(step)), steps.world_size)
        assert [len(piece) for piece in pieces] == [high - low for low, high in shards(steps)[step]]


@given(layouts())
def test_no_rank_gets_more_than_the_batch_size_unless_that_is_one(steps):
    most = max((high - low for low, high in chain(*shards(steps))), default=0)
    assert most <= max(2, steps.size)


@given(layouts())
def test_all_but_the_last_two_steps_are_full(steps):
    whole = steps.size * steps.world_size
    full = [(steps.start + step * whole, steps.start + (step + 1) * whole) for step in range(steps.count - 2)]
    assert full == bounds(steps)[:-2]


@given(layouts())
def test_drop_last_drops_less_than_a_global_batch_and_leaves_full_shards(steps):
    steps = attrs.evolve(steps, drop_last=True)
    kept = sum(high - low for low, high in bounds(steps))
    assert 0 <= examples(steps) - kept < steps.size * steps.world_size
    assert {steps.size} >= {high - low for low, high in chain(*shards(steps))}
    assert {steps.count} == {steps.count_of(rank) for rank in range(steps.world_size)}


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n", range(7))
def test_with_fewer_examples_than_ranks_some_ranks_have_no_step(n, drop_last):
    steps = Steps(start=3, stop=3 + n, size=2, world_size=7, drop_last=drop_last)
    assert [int(rank < n and not drop_last) for rank in range(7)] == [steps.count_of(rank) for rank in range(7)]


def test_no_examples_make_no_steps():
    steps = Steps(start=5, stop=5, size=3, world_size=2)
    assert (0, 0, 0) == (steps.count, steps.count_of(0), steps.count_of(1))


@pytest.mark.parametrize("n", [9, 10, 11])
def test_a_batch_size_of_one_holds_up_to_two_in_the_last_step(n):
    sizes = [[high - low for low, high in step] for step in shards(Steps(start=0, stop=n, size=1, world_size=4))]
    assert [[1] * 4, [2] * (n - 8) + [1] * (12 - n)] == sizes


@pytest.mark.parametrize(
    "steps, expected",
    [
        (Steps(0, 33, size=4, world_size=8), [17, 16]),
        (Steps(0, 39, size=4, world_size=8), [20, 19]),
        (Steps(0, 40, size=4, world_size=8), [32, 8]),
        (Steps(0, 65, size=4, world_size=8), [32, 17, 16]),
        (Steps(0, 11, size=2, world_size=4), [6, 5]),
        (Steps(0, 9, size=1, world_size=4), [4, 5]),
        (Steps(0, 7, size=3, world_size=1), [3, 3, 1]),
    ],
)
def test_a_last_step_too_small_for_the_world_is_evened_out_with_the_one_before(steps, expected):
    assert expected == [high - low for low, high in bounds(steps)]


@given(layouts(), layouts(), st.data())
def test_resuming_with_another_world_or_batch_size_covers_exactly_the_rest(steps, other, data):
    done = data.draw(st.integers(0, steps.count))
    seen = [list(range(*shard)) for shard in chain(*shards(steps)[:done])]
    at = steps.bounds(done)[0] if done < steps.count else steps.stop
    rest = Steps(at, steps.stop, other.size, other.world_size)
    left = [list(range(*shard)) for shard in chain(*shards(rest))]
    assert list(range(steps.start, steps.stop)) == list(chain(*seen, *left))


@given(st.integers(10**9, 10**15), st.integers(1, 10**5), st.data())
def test_any_step_of_a_huge_epoch_follows_the_one_before(n, size, data):
    steps = Steps(start=0, stop=n, size=size, world_size=1000)
    step = data.draw(st.integers(1, steps.count - 1))
    assert steps.shard(step - 1, 999)[1] == steps.shard(step, 0)[0]
    assert n == steps.bounds(steps.count - 1)[1]


@given(st.integers(0, 500), st.integers(1, 60))
def test_even_shards_are_those_of_array_split(n, world_size):
    cuts = [even_shard(n, rank, world_size) for rank in range(world_size)]
    assert [piece.tolist() for piece in np.array_split(range(n), world_size)] == [list(range(*cut)) for cut in cuts]
    assert all(left[1] == right[0] for left, right in pairwise(cuts))
