"""Tables of what people have: rows, lists, and frames of other libraries; what would be lost is refused by column and row."""

import datetime as dt
import decimal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm


ROWS = [
    {"n": 1, "x": 0.1, "ok": True, "name": "a", "raw": b"\x00", "image": torch.zeros(2, 3), "tokens": [1, 2, 3]},
    {"n": -(2**63), "x": float("nan"), "ok": False, "name": "", "raw": b"", "image": torch.ones(2, 3), "tokens": []},
]


def test_a_list_of_dicts_is_a_table():
    table = fdm.Table.of(ROWS)
    assert list(table.keys()) == list(ROWS[0])
    assert table["n"].tolist() == [1, -(2**63)]
    assert table["n"].dtype == torch.int64
    assert table["x"].dtype == torch.float64
    assert table["x"][0].item() == 0.1
    assert table["x"].isnan().tolist() == [False, True]
    assert table["ok"].tolist() == [True, False]
    assert table["ok"].dtype == torch.bool
    assert table["name"].tolist() == ["a", ""]
    assert table["raw"].tolist() == [b"\x00", b""]
    assert table["image"].shape == (2, 2, 3)
    assert [row.tolist() for row in table["tokens"]] == [[1, 2, 3], []]


def test_columns_are_given_as_lists():
    columns = {"n": [1, 2], "name": ["a", "b"], "raw": [b"a", b"b"], "tokens": [[1], [2, 3]], "t": torch.zeros(2)}
    for table in (fdm.Table(columns), fdm.Table.of(columns)):
        assert table["n"].tolist() == [1, 2]
        assert table["name"].tolist() == ["a", "b"]
        assert table["tokens"][1].tolist() == [2, 3]


def test_lists_are_rows_of_any_length_and_arrays_have_a_shape():
    table = fdm.Table.of([{"a": [1, 2], "b": torch.tensor([1, 2])}, {"a": [3, 4], "b": torch.tensor([3, 4])}])
    assert isinstance(table["a"], fdm.Ragged)
    assert table["b"].shape == (2, 2)
    ragged = fdm.Table({"a": [np.zeros(2), np.zeros(3)]})["a"]
    assert ragged.lengths.tolist() == [2, 3]
    boxes = fdm.Table({"a": [[[1, 2], [3, 4]], [], [[5, 6]]]})["a"]
    assert boxes.values.shape == (3, 2)
    assert [len(row) for row in boxes] == [2, 0, 1]


def test_ragged_takes_lists_of_numbers():
    assert fdm.Ragged.of([[1, 2], [], [3]]).values.dtype == torch.int64
    assert [row.tolist() for row in fdm.Ragged.of([[0.5], (1, 2)])] == [[0.5], [1.0, 2.0]]
    assert fdm.Ragged.of([range(3), [7]]).values.tolist() == [0, 1, 2, 7]
    assert fdm.Ragged.of([[True], [False, True]]).values.dtype == torch.bool


def test_numbers_of_numpy_keep_their_dtype():
    table = fdm.Table.of([{"a": np.float32(0.1), "b": np.uint64(2**64 - 1)}, {"a": np.float32(2), "b": np.uint64(0)}])
    assert table["a"].dtype == torch.float32
    assert table["b"].dtype == torch.uint64


def test_a_structured_array_has_a_column_for_each_field():
    table = fdm.Table.of(np.array([(1, 0.5), (2, 1.5)], dtype=[("n", "i4"), ("x", "f8")]))
    assert table["n"].tolist() == [1, 2]
    assert table["x"].dtype == torch.float64


def test_whole_numbers_stand_among_floats_where_nothing_is_lost():
    assert fdm.Table.of([{"x": 1}, {"x": 2.5}])["x"].tolist() == [1.0, 2.5]
    with pytest.raises(fdm.DataError, match=r"column 'x'.*row 0.*9007199254740993"):
        fdm.Table.of([{"x": 2**53 + 1}, {"x": 2.5}])


REFUSED = {
    "none": ([1, None], "'a' has, in row 1, None; fill it"),
    "mixed": ([1, "1"], "'a' has an int in row 0 and a str in row 1"),
    "bool and int": ([True, 1], "'a' has a bool in row 0 and an int in row 1"),
    "text and bytes": (["a", b"a"], "a str in row 0 and a bytes in row 1"),
    "nan among strings": (["a", float("nan")], "a str in row 0 and a float in row 1.*NaN.*missing"),
    "too large": ([0, 2**63], r"row 1.*9223372036854775808.*64 bits.*np.uint64"),
    "beyond": ([0, -(2**70)], "row 1.*64 bits"),
    "dates": ([dt.datetime(2024, 1, 1)], "'a'.*row 0.*datetime.*timestamp"),  # noqa: DTZ001
    "datetime64": ([np.datetime64("2024-01-01")], "'a'.*row 0.*datetime64"),
    "decimals": ([decimal.Decimal("0.1")], "'a'.*row 0.*Decimal"),
    "objects": ([object()], "'a'.*row 0.*object"),
    "dicts": ([{"x": 1}], "'a'.*row 0.*dict.*column of its own"),
    "words in lists": ([["a"]], "'a'.*row 0.*list with a str"),
    "mixed in lists": ([[1], [2, "3"]], "'a' has a list with an int in row 0 and a str in row 1"),
    "none in lists": ([[1], [2, None]], "'a'.*row 1.*None"),
    "odd lists": ([[[1], [2, 3]]], "'a'.*row 0.*different length"),
    "shapes": ([torch.zeros(2, 3), torch.zeros(2, 4)], r"'a'.*\(2, 3\) in row 0.*\(2, 4\) in row 1"),
    "dtypes": ([torch.zeros(2), torch.zeros(2, dtype=torch.int64)], "'a'.*float32.*row 0.*int64.*row 1"),
    "masked": ([np.ma.masked_array([1, 2], [True, False])], "'a'.*row 0.*masked"),
    "masked one": ([1.0, np.ma.masked], "'a'.*row 1.*masked"),
    "surrogate": (["a", "\ud800"], "row 1 of column 'a'.*surrogate"),
    "empty": ([], "'a'.*empty list"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_lost_is_refused_by_column_and_row(kind):
    values, message = REFUSED[kind]
    with pytest.raises(fdm.DataError, match=f"(?s){message}"):
        fdm.Table({"a": values})
    if values:
        with pytest.raises(fdm.DataError, match=f"(?s){message}"):
            fdm.Table.of([{"a": value} for value in values])


NOT_ROWS = {
    "no rows": (list, "no rows"),
    "lacking": (lambda: [{"a": 1, "b": 2}, {"a": 1}], "row 1 has no 'b'"),
    "more": (lambda: [{"a": 1}, {"a": 1, "c": 2}], "row 1 has 'c'.*not in the rows before"),
    "pairs": (lambda: [(1, 2)], "row 0 is a tuple.*name"),
    "numbers": (lambda: [1, 2], "row 0 is an int"),
    "a generator": (lambda: ({"a": n} for n in range(2)), r"generator.*fdm.clean|generator.*list"),
    "a string": (lambda: "abc", "not a str"),
    "a tensor": (lambda: torch.zeros(3), r"not a Tensor.*Table\(\{"),
    "an array": (lambda: np.zeros(3), r"not an? ndarray.*Table\(\{"),
    "a dataset": (lambda: torch.utils.data.TensorDataset(torch.zeros(3)), "TensorDataset.*fdm.load"),
    "no name": (lambda: [{1: 2}], "column names are strings, not 1"),
}


@pytest.mark.parametrize("kind", NOT_ROWS)
def test_what_is_no_table_is_told(kind):
    make, message = NOT_ROWS[kind]
    with pytest.raises(fdm.DataError, match=message):
        fdm.Table.of(make())


def test_a_table_of_a_table_is_the_table():
    table = fdm.Table({"a": [1]})
    assert fdm.Table.of(table) is table


VALUES = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
    st.lists(st.floats(allow_nan=False), min_size=1),
    st.lists(st.booleans(), min_size=1),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1),
    st.lists(st.binary(), min_size=1),
    st.lists(st.lists(st.integers(-(2**63), 2**63 - 1)), min_size=1),
)


@given(VALUES)
def test_what_is_put_in_is_read_back(values):
    column = fdm.Table.of([{"a": value} for value in values])["a"]
    read = [row.tolist() if isinstance(row, torch.Tensor) else row for row in column]
    assert read == values
    assert list(map(type, read)) == list(map(type, values))
