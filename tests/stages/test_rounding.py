"""The laws of rounding that keeps sums."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fdm._stages.rounding import as_written, largest_remainder, proportional


@st.composite
def tables(draw):
    """Row sums and column sums of the same total."""
    rows = draw(st.lists(st.integers(0, 40), min_size=1, max_size=12))
    cuts = draw(st.lists(st.integers(0, sum(rows)), max_size=5).map(sorted))
    return rows, np.diff([0, *cuts, sum(rows)]).tolist()


def check_proportional(rows, columns):
    table, n = np.array(proportional(rows, columns)), sum(rows)
    assert list(rows) == table.sum(axis=1).tolist()
    assert list(columns) == table.sum(axis=0).tolist()
    assert (abs(table * n - np.outer(rows, columns)) < max(1, n)).all()
    assert (table >= 0).all()


@given(st.lists(st.integers(0, 1000), min_size=1), st.integers(0, 10**12))
def test_rounded_shares_keep_their_sum_and_are_within_one_of_each(weights, total):
    assume(sum(weights))
    shares = [Fraction(total * weight, sum(weights)) for weight in weights]
    rounded = largest_remainder(shares, total)
    assert total == sum(rounded)
    assert all(abs(share - number) < 1 for share, number in zip(shares, rounded, strict=True))


@given(st.lists(st.integers(0, 1000), min_size=1))
def test_whole_shares_stay_as_they_are(shares):
    assert shares == largest_remainder([Fraction(share) for share in shares], sum(shares))


@given(st.integers(1, 50), st.integers(0, 1000))
def test_of_equal_shares_the_earlier_ones_are_rounded_up(parts, total):
    expected = [len(piece) for piece in np.array_split(range(total), parts)]
    assert expected == largest_remainder([Fraction(total, parts)] * parts, total)


@given(st.integers(0, 10**6), st.integers(0, 6))
def test_a_float_is_the_decimal_that_it_was_written_as(digits, places):
    assert Fraction(digits, 10**places) == as_written(digits / 10**places)


@pytest.mark.parametrize("written", ["0.1", "0.29", "1e-07", "0.3333333333333333", "1.0", "0.0"])
def test_the_text_of_a_float_is_its_value(written):
    assert Fraction(written) == as_written(float(written))


@given(tables())
def test_a_proportional_table_keeps_all_sums_and_is_within_one_of_each_share(sums):
    check_proportional(*sums)


@pytest.mark.parametrize("columns", [3, 4, 10])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_many_classes_of_all_sizes_are_cut_in_proportion(classes, columns):
    draw = np.random.default_rng(classes * columns)
    rows = (draw.pareto(1.0, classes) * 5).astype(int)  # a few large classes, many small ones, some of none
    rows[0] += 1
    check_proportional(rows.tolist(), draw.multinomial(rows.sum(), draw.dirichlet(np.ones(columns))).tolist())


@pytest.mark.parametrize(
    "rows, columns",
    [([], []), ([0], [0]), ([0, 0], [0, 0, 0]), ([5, 0], [0, 5, 0]), ([1] * 7, [1] * 7), ([1], [0, 1, 0])],
)
def test_empty_classes_and_splits_have_empty_cells(rows, columns):
    table = proportional(rows, columns)
    assert list(rows) == [sum(row) for row in table]
    assert list(columns) == [sum(row[column] for row in table) for column in range(len(columns))]
