"""Equality: values that differ are groups, classes and keys of their own, and equal ones are one."""

import enum
import tracemalloc
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm
from fdm._orders.order import written_out
from fdm._splits.splits import resolve_splits, weights_of
from fdm._splits.values import codes, hashed_keys


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    ONE = 1


# Each is equal to the others of its row, and to none of another.
ROWS = [
    [
        1,
        1.0,
        True,
        np.int8(1),
        np.uint64(1),
        np.float32(1),
        np.bool_(True),
        torch.tensor(1),
        torch.tensor(True),
        Size.ONE,
    ],
    [0, 0.0, -0.0, False, torch.tensor(0.0)],
    ["1", np.str_("1")],
    [b"1", np.bytes_(b"1")],
    ["a"],
    ["a\x00"],
    ["a\x00\x00"],
    ["A"],
    ["é"],
    ["e\u0301"],
    [b"a"],
    [b"a\x00"],
    [""],
    [b""],
    ["\x00"],
    [b"\x00"],
    ["1.0"],
    ["True"],
    ["nan"],
    ["None"],
    ["\ud800"],
    [float("nan"), np.float32("nan"), np.nan, torch.tensor(float("nan"))],
    [float("inf"), np.inf],
    [-float("inf")],
    [2**53, float(2**53), np.uint64(2**53), torch.tensor(2**53)],
    [2**53 + 1, np.int64(2**53 + 1), torch.tensor(2**53 + 1)],
    [2**63 - 1],
    [2**63, float(2**63), np.uint64(2**63)],
    [2**64 - 1, np.uint64(2**64 - 1)],
    [2**64, float(2**64)],
    [2**64 + 1],
    [str(2**64)],
    [-(2**63)],
    [-(2**63) - 1],
    [10**400],
    [0.1, np.float64(0.1)],
    [np.float32(0.1).item(), np.float32(0.1), torch.tensor(0.1)],
    ["red", Colour.RED],
    ["blue", Colour.BLUE],
    [1.5, torch.tensor(1.5, dtype=torch.bfloat16), torch.tensor(1.5, dtype=torch.float8_e4m3fn)],
]
VALUES = [(row, value) for row, values in enumerate(ROWS) for value in values]


def columns(values):
    """A column of these values in the ways in which a column comes, without those that would change it before."""
    yield list(values)
    yield tuple(values)
    if not any(isinstance(value, torch.Tensor) for value in values):
        array = np.empty(len(values), dtype=object)
        array[:] = values
        yield array


def test_of_every_two_values_those_that_are_equal_are_one_and_the_others_two():
    for (row, one), (other_row, other) in product(VALUES, VALUES):
        for column in columns([one, other]):
            assert (row == other_row) == (1 == len(set(codes(column, 2, "x").tolist()))), (one, other)
            placed = hashed_keys(column, 2, 7)
            assert (row == other_row) == (placed[0] == placed[1]), (one, other)


def test_of_all_values_together_those_that_are_equal_are_one():
    found = codes([value for _, value in VALUES], len(VALUES), "x").tolist()
    assert len(ROWS) == len(set(zip(found, (row for row, _ in VALUES), strict=True))) == len(set(found))


scalars = st.one_of(
    *(st.integers(), st.integers(2**53 - 2, 2**53 + 2), st.floats(), st.booleans(), st.text(), st.binary()),
    *(st.sampled_from(["1", "1.0", "True", "nan", "a", "a\x00", b"a", b"a\x00", 1, 1.0, True, float("nan")]),),
)


def same(one, other):
    """Equality as is promised: that of Python, but that a NaN is a NaN."""
    if isinstance(one, str | bytes) or isinstance(other, str | bytes):
        return type(one) is type(other) and one == other
    return one == other or (one != one and other != other)


@given(st.lists(scalars, max_size=12), st.integers(0, 2**63))
def test_codes_and_keys_are_equal_where_values_are(values, key):
    found, placed = codes(values, len(values), "x").tolist(), hashed_keys(values, len(values), key).tolist()
    for (one, code, at), (other, other_code, other_at) in product(zip(values, found, placed, strict=True), repeat=2):
        assert same(one, other) == (code == other_code) == (at == other_at)
    assert set(found) == set(range(len(set(found))))


HOMOGENEOUS = {
    "integers": st.integers(-(2**63), 2**63 - 1),
    "floats": st.floats(),
    "bools": st.booleans(),
    "strings": st.text(st.characters(exclude_characters="\x00")),
    "bytes": st.binary().map(lambda raw: raw.rstrip(b"\x00")),
    "complex": st.complex_numbers(allow_nan=False),
}


@pytest.mark.parametrize("values", HOMOGENEOUS.values(), ids=HOMOGENEOUS)
@given(st.data())
def test_values_of_one_kind_are_numbered_as_numpy_does(values, data):
    column = data.draw(st.lists(values, min_size=1))
    expected = np.unique(np.asarray(column), return_inverse=True)[1].tolist()
    assert expected == codes(column, len(column), "x").tolist() == codes(np.asarray(column), len(column), "x").tolist()


def test_a_long_string_costs_its_own_length():
    values = [*map(str, range(20_000)), "x" * 1_000_000]
    tracemalloc.start()
    try:
        assert 20_001 == len(set(codes(values, 20_001, "x").tolist()))
        hashed_keys(values, 20_001, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000


def parts(source, stage):
    return {
        name: written_out(found.order).tolist() for name, found in resolve_splits([(0, stage)], {"all": source}).items()
    }


def by_itself(source):
    return [example["x"] for example in source]


def of_column(source):
    return source["x"]


def sources(values):
    """What groups and classes come from: a table's column of strings, or entries of examples."""
    yield [{"x": value} for value in values], "x"
    yield [{"x": value} for value in values], by_itself
    if all(isinstance(value, str) for value in values) or all(isinstance(value, bytes) for value in values):
        yield fdm.Table({"x": fdm.Ragged.of(values)}), "x"
        yield fdm.Table({"x": fdm.Ragged.of(values)}), of_column


@pytest.mark.parametrize("pair", [("a", "a\x00"), (1, "1"), (b"a", "a"), (2**53, 2**53 + 1), (b"a", b"a\x00")], ids=str)
def test_values_that_differ_are_groups_and_classes_of_their_own(pair):
    values = [pair[index % 2] for index in range(40)] + ([0.5] * 2 if isinstance(pair[0], int) else [])
    for source, by in sources(values):
        grouped = parts(source, fdm.split({"train": 20, "val": None}, groups=by))
        assert 20 == len(grouped["train"])
        assert 1 == len({values[index] for index in grouped["train"] if index < 40})
        classes = parts(source, fdm.split({"train": 0.5, "val": 0.5}, stratify=by))["train"]
        assert 10 == sum(index < 40 and index % 2 == 0 for index in classes)
        val = parts(source, fdm.fold(2, 0, groups=by))["val"]
        assert 1 == len({values[index] for index in val if index < 40})


SMALL = [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint64, torch.bool]


@pytest.mark.parametrize("dtype", [*SMALL, torch.float32, torch.int64], ids=str)
def test_columns_of_any_dtype_are_classes_groups_keys_and_weights(dtype):
    plain = (torch.arange(64) % 2).float()
    source, as_float = fdm.Table({"x": plain.to(dtype)}), fdm.Table({"x": plain})
    into = {"train": 0.5, "val": None}
    for by in ({"stratify": "x"}, {"groups": "x"}, {"key": "x"}):
        assert parts(as_float, fdm.split(into, **by)) == parts(source, fdm.split(into, **by))
    assert weights_of("x", as_float).tolist() == weights_of("x", source).tolist()


LOST = {
    "masked array": (lambda: np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]), "filled"),
    "masked number": (lambda: list(np.ma.masked_array([1, 2, 3], mask=[0, 1, 0])), "filled"),
    "None": (lambda: [1, None, 3], "None for example 1.*missing"),
    "object array with None": (lambda: np.array([1, None, 3], dtype=object), "None for example 1"),
    "list": (lambda: [[1], [2], [3]], r"\[1\] for example 0"),
    "tuple": (lambda: [(1, 2), (1, 3), (1, 2)], r"\(1, 2\) for example 0"),
    "vector": (lambda: torch.ones(3, 2), r"shape \(3, 2\)"),
    "sparse": (lambda: torch.ones(3).to_sparse(), "to_dense"),
    "meta": (lambda: torch.ones(3, device="meta"), "meta"),
    "records": (lambda: np.zeros(3, "i4,i4"), "dtype"),
    "rows of tensors": (lambda: fdm.Ragged.of([torch.ones(1)] * 3), "for example 0"),
    "one number": (lambda: 3, "is 3"),
    "one string": (lambda: "abc", "is 'abc'"),
    "too few": (lambda: ["a", "b"], "has 2 values"),
}
CURRENT = {}


def current(source):
    return CURRENT["make"]()


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("kind", LOST)
@pytest.mark.parametrize("by", ["stratify", "groups", "key"])
def test_what_is_no_single_value_is_refused_by_what_it_is_for(by, kind):
    CURRENT["make"], message = LOST[kind]
    with pytest.raises(fdm.DataError, match=rf"{by}.*{message}"):
        parts([0, 1, 2], fdm.split({"train": 0.5, "val": None}, **{by: current}))


@pytest.mark.parametrize("kind", LOST)
def test_what_is_no_weight_is_refused(kind):
    CURRENT["make"], message = LOST[kind]
    with pytest.raises(fdm.DataError, match=rf"sample: weights.*{message}"):
        weights_of(fdm.sample(current).weights, [0, 1, 2])


@pytest.mark.parametrize(
    "values", [["1", "2", "3"], [b"1"] * 3, [1j] * 3, np.array(["1"] * 3), [10**400, 1, 1], [1, -1, 1]]
)
def test_weights_that_are_no_numbers_or_too_large_are_refused(values):
    CURRENT["make"] = lambda: values
    with pytest.raises(fdm.DataError, match=r"sample: weights are"):
        weights_of(fdm.sample(current).weights, [0, 1, 2])


def test_weights_of_unlike_types_are_the_numbers_that_they_are():
    CURRENT["make"] = lambda: [1, 2.5, np.float32(0.5), True, torch.tensor(3, dtype=torch.bfloat16), 2**60]
    assert [1, 2.5, 0.5, 1, 3, 2**60] == weights_of(fdm.sample(current).weights, range(6)).tolist()


def masked_parts(source):
    return {"train": np.ma.masked_array([0, 1, 2], mask=[0, 0, 1])}


def test_masked_indices_of_a_split_are_refused():
    with pytest.raises(fdm.DataError, match="split 'train' is made of is a masked array with 1 of 3"):
        parts([0, 1, 2], fdm.split(masked_parts))
