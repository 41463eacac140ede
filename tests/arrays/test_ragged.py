"""Ragged columns: rows come out as they were put in, and what is no row is refused."""

import contextlib
import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm


DTYPES = [torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64, torch.complex64]


def same(left, right):
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right)
    return type(left) is type(right) and left == right


def all_same(left, right):
    return len(left) == len(right) and all(map(same, left, right))


@st.composite
def tensor_rows(draw):
    dtype, extra = draw(st.sampled_from(DTYPES)), draw(st.lists(st.integers(0, 2), max_size=2))
    lengths = draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return [torch.randint(0, 256, (length, *extra), generator=generator).to(dtype) for length in lengths]


rows_of_any_kind = (
    tensor_rows() | st.lists(st.binary(max_size=5), min_size=1) | st.lists(st.text(max_size=5), min_size=1)
)


@given(rows_of_any_kind)
def test_rows_come_out_as_they_were_put_in(rows):
    ragged = fdm.Ragged.of(rows)
    assert len(rows) == len(ragged)
    assert all_same(rows, ragged.tolist())
    assert all_same(rows, list(ragged))
    assert all_same(rows, [ragged[i - len(rows)] for i in range(len(rows))])


@given(rows_of_any_kind, st.data())
def test_indices_are_the_naive_choice_of_rows(rows, data):
    chosen = data.draw(st.lists(st.integers(-len(rows), len(rows) - 1), max_size=8))
    ragged, naive = fdm.Ragged.of(rows), [rows[i] for i in chosen]
    for form in (list, tuple, np.array, torch.tensor):
        picked = ragged[form(chosen)]
        assert isinstance(picked, fdm.Ragged)
        assert all_same(naive, picked.tolist())


@given(rows_of_any_kind, st.slices(8))
def test_slices_are_the_naive_slices(rows, cut):
    naive = [rows[i] for i in np.arange(len(rows))[cut]]
    assert all_same(naive, fdm.Ragged.of(rows)[cut].tolist())


@given(tensor_rows(), st.integers(0, 1))
def test_padded_and_mask_agree_with_the_rows(rows, fill):
    ragged = fdm.Ragged.of(rows)
    padded, mask = ragged.padded(fill), ragged.mask()
    longest = max(len(row) for row in rows)
    assert (len(rows), longest, *rows[0].shape[1:]) == padded.shape
    assert [[i < len(row) for i in range(longest)] for row in rows] == mask.tolist()
    assert [len(row) for row in rows] == ragged.lengths.tolist()
    for row, line in zip(rows, padded, strict=True):
        assert same(row, line[: len(row)])
        assert same(torch.full_like(line[len(row) :], fill), line[len(row) :])


@given(st.lists(st.text(max_size=4), min_size=1))
def test_strings_pad_as_their_bytes(rows):
    ragged = fdm.Ragged.of(rows)
    assert [len(row.encode()) for row in rows] == ragged.lengths.tolist() == ragged.mask().sum(1).tolist()
    assert b"".join(row.encode() for row in rows) == bytes(ragged.padded()[ragged.mask()].tolist())


def test_a_ragged_of_no_rows_is_empty():
    empty = fdm.Ragged.of([])
    assert 0 == len(empty)
    assert [] == empty.tolist() == empty[[]].tolist() == empty[:].tolist()
    assert (0, 0) == empty.padded().shape == empty.mask().shape
    with pytest.raises(IndexError):
        empty[0]


def test_arrays_become_tensors_of_their_dtype():
    ragged = fdm.Ragged.of([np.array([1, 2], dtype=np.int16), torch.tensor([3], dtype=torch.int16)])
    assert all_same([torch.tensor([1, 2], dtype=torch.int16), torch.tensor([3], dtype=torch.int16)], ragged.tolist())


@pytest.mark.parametrize(
    "array",
    [np.arange(3)[::-1], np.broadcast_to(np.int64(1), (3,)), np.arange(3, dtype=">i4")],
    ids=["negative stride", "read-only", "big endian"],
)
def test_arrays_of_any_layout_are_rows(array):
    assert array.tolist() == fdm.Ragged.of([array])[0].tolist()


@pytest.mark.parametrize(
    "rows, message",
    [
        (["a", b"b"], "bytes and str"),
        ([b"a", torch.zeros(1)], "bytes and tensor"),
        ([torch.zeros(1), torch.zeros(1, dtype=torch.int64)], "int64.*float32|float32.*int64"),
        ([torch.zeros(1, 2), torch.zeros(1, 3)], "more than their length"),
        ([torch.zeros(1), torch.zeros(1, 1)], "more than their length"),
        ([torch.tensor(1)], "one dimension or more"),
        ([[1, 2], "ab"], "tensor of one dimension"),
        ([1], "not 1"),
        ([None], "not None"),
        ([np.array(["a"])], "dtype|tensor"),
        ([np.array([None])], "dtype|tensor"),
    ],
)
def test_what_are_no_rows_of_one_kind_is_refused(rows, message):
    with pytest.raises(fdm.DataError, match=message):
        fdm.Ragged.of(rows)


def test_an_iterator_is_refused_or_gives_all_its_rows():
    with contextlib.suppress(fdm.DataError, TypeError):
        assert ["a", "b"] == fdm.Ragged.of(iter(["a", "b"])).tolist()


@pytest.mark.parametrize(
    "offsets",
    [
        torch.tensor([1, 3]),
        torch.tensor([0, 2]),
        torch.tensor([0, 4]),
        torch.tensor([0, 5, 3]),
        torch.tensor([0, -1, 3]),
        torch.tensor([0, 2, 1, 3]),
        torch.tensor([0, 3], dtype=torch.int32),
        torch.tensor([[0, 3]]),
        torch.tensor([], dtype=torch.int64),
        torch.tensor([0.0, 3.0]),
    ],
    ids=str,
)
def test_offsets_that_do_not_fit_are_refused(offsets):
    with pytest.raises(fdm.DataError):
        fdm.Ragged(torch.arange(3), offsets)


def test_values_without_a_dimension_are_refused():
    with pytest.raises(fdm.DataError):
        fdm.Ragged(torch.tensor(3), torch.tensor([0]))


@pytest.mark.parametrize("row", [3, -4, [0, 3], [-4], np.array([3]), torch.tensor([3])])
def test_a_row_out_of_range_is_an_index_error(row):
    with pytest.raises(IndexError, match="of a Ragged of 3 rows"):
        fdm.Ragged.of(["a", "b", "c"])[row]


@pytest.mark.parametrize(
    "index", [[True, False], torch.ones(4, dtype=torch.bool), True, 1.7, [0.5], "a", None], ids=str
)
def test_what_is_no_row_is_refused(index):
    with pytest.raises((fdm.DataError, TypeError, IndexError)):
        fdm.Ragged.of(["a", "b", "c"])[index]


def test_a_mask_chooses_the_rows_where_it_is_true():
    assert ["a", "c"] == fdm.Ragged.of(["a", "b", "c"])[[True, False, True]].tolist()


def test_what_is_read_is_a_copy():
    ragged = fdm.Ragged.of([torch.tensor([1, 2]), torch.tensor([3])])
    for read in (0, -1):
        ragged[read].fill_(9)
    for many in ([0], [0, 1], slice(None), slice(0, 1)):
        ragged[many].values.fill_(9)
    ragged.padded().fill_(9)
    assert [[1, 2], [3]] == [row.tolist() for row in ragged]


def test_rows_are_copied_from_what_was_given():
    row = torch.tensor([1, 2])
    ragged = fdm.Ragged.of([row])
    row.fill_(9)
    assert [1, 2] == ragged[0].tolist()


def test_to_changes_dtype_and_keeps_rows():
    moved = fdm.Ragged.of([torch.tensor([1, 2]), torch.tensor([3])]).to(torch.float64)
    assert all_same([torch.tensor([1.0, 2.0]).double(), torch.tensor([3.0]).double()], moved.tolist())
    assert torch.int64 == moved.offsets.dtype


def test_to_moves_values_and_offsets_and_leaves_the_original():
    ragged = fdm.Ragged.of(["ab", "c"])
    moved = ragged.to("meta", non_blocking=True)
    assert ("meta", "meta") == (moved.values.device.type, moved.offsets.device.type)
    assert (2, "str") == (len(moved), moved.kind)
    assert ["ab", "c"] == ragged.tolist()


@pytest.mark.parametrize("travel", [lambda ragged: pickle.loads(pickle.dumps(ragged)), copy.copy, copy.deepcopy])
def test_a_copy_of_a_ragged_holds_the_same(travel):
    assert ["a", "", "ü"] == travel(fdm.Ragged.of(["a", "", "ü"])).tolist()


def test_a_ragged_is_frozen():
    with pytest.raises(AttributeError):
        fdm.Ragged.of(["a"]).kind = "bytes"


def test_the_repr_tells_rows_and_kind():
    assert "Ragged(2 rows of str, 4 values)" == repr(fdm.Ragged.of(["a", "bcd"]))
    assert "Ragged(1 rows of tensor torch.float32 x 3, 2 values)" == repr(fdm.Ragged.of([torch.zeros(2, 3)]))


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64, torch.float8_e8m0fnu, torch.bfloat16])
def test_columns_of_every_dtype_are_padded(dtype):
    rows = [torch.tensor([1, 2]).to(dtype), torch.tensor([4]).to(dtype), torch.tensor([], dtype=torch.int64).to(dtype)]
    padded = fdm.Ragged.of(rows).padded(fill=8)
    assert dtype == padded.dtype
    assert [[1.0, 2.0], [4.0, 8.0], [8.0, 8.0]] == padded.float().tolist()


def test_a_column_is_padded_with_every_value_of_its_dtype_and_no_other():
    ragged = fdm.Ragged.of([np.array([1, 2], dtype=np.uint64), np.array([3], dtype=np.uint64)])
    assert [[1, 2], [3, 2**64 - 1]] == ragged.padded(2**64 - 1).tolist()
    for fill in (-1, 2**64, 1.5, "a"):
        with pytest.raises(fdm.DataError, match=r"padded: .* is no value of dtype torch.uint64"):
            ragged.padded(fill)


def test_values_that_require_gradients_are_padded_with_them():
    values = torch.ones(3, requires_grad=True)
    fdm.Ragged(values, torch.tensor([0, 1, 3])).padded().sum().backward()
    assert [1.0, 1.0, 1.0] == values.grad.tolist()


def test_a_string_that_utf8_cannot_have_is_told_with_its_row_and_the_remedy():
    with pytest.raises(fdm.DataError, match=r"row 1 of a Ragged has, at 2, .*'\\ud800'.*surrogatepass"):
        fdm.Ragged.of(["a", "bc\ud800"])


@pytest.mark.parametrize("name", ["values", "offsets"])
def test_values_and_offsets_that_are_no_tensors_are_told(name):
    given = {"values": torch.arange(3), "offsets": torch.tensor([0, 1, 3])}
    given[name] = given[name].numpy()
    with pytest.raises(fdm.DataError, match=f"the {name} of a Ragged are a tensor, not a ndarray.*fdm.Ragged.of"):
        fdm.Ragged(**given)
