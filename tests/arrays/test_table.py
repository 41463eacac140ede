"""Tables: gathers of any dtype, copies on reading, immutability, and what is refused."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

import fdm


DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.uint32,
    torch.int64,
    torch.uint64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
]
FORMS = {
    "list": list,
    "tuple": tuple,
    "array": lambda rows: np.array(rows, dtype=np.int64),
    "small array": lambda rows: np.array(rows, dtype=np.int16),
    "tensor": lambda rows: torch.tensor(rows, dtype=torch.int64),
    "small tensor": lambda rows: torch.tensor(rows, dtype=torch.int32),
}


def same(left, right):
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right)


def filled(dtype, *shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("shape", [(5,), (5, 0), (5, 2), (5, 2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_columns_of_any_dtype_and_shape_are_read_by_rows(dtype, shape):
    column = filled(dtype, *shape)
    table = fdm.Table({"x": column})
    assert column[[3, 0, 3]].tolist() == table[[3, 0, 3]]["x"].tolist()
    assert column[2].tolist() == table[2]["x"].tolist()
    assert column[1:4].tolist() == table[1:4]["x"].tolist()
    assert [column[4].tolist()] == [example["x"].tolist() for example in table.__getitems__([4])]


def small():
    return fdm.Table(
        {
            "image": filled(torch.float32, 6, 2, 3),
            "label": torch.arange(6),
            "text": fdm.Ragged.of(["", "a", "bü", "c", "dd", "e"]),
            "tokens": fdm.Ragged.of([torch.arange(n) for n in range(6)]),
        }
    )


@st.composite
def tables(draw, least=0):
    rows = draw(st.integers(least, 6))
    kinds = st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=2), st.integers(0, 99))
    named = draw(st.dictionaries(st.text(min_size=1, max_size=3), kinds, min_size=1, max_size=3))
    return {name: filled(dtype, rows, *shape, seed=seed) for name, (dtype, shape, seed) in named.items()}


@given(tables(least=1), st.sampled_from(list(FORMS.values())), st.data())
def test_a_batch_is_the_naive_gather_of_every_column(columns, form, data):
    table = fdm.Table(columns)
    rows = data.draw(st.lists(st.integers(-len(table), len(table) - 1), max_size=9))
    batch = table[form(rows)]
    assert list(columns) == list(batch)
    for name, column in columns.items():
        naive = torch.stack([column[row] for row in rows]) if rows else column[:0]
        assert same(naive, batch[name])


@given(tables(least=1), st.data())
def test_an_example_is_the_naive_row_of_every_column(columns, data):
    table = fdm.Table(columns)
    row = data.draw(st.integers(-len(table), len(table) - 1))
    for index in (row, np.int64(row), torch.tensor(row)):
        assert all(same(columns[name][row], value) for name, value in table[index].items())


@given(tables(), st.slices(6))
def test_a_slice_is_the_naive_slice_of_every_column(columns, cut):
    batch = fdm.Table(columns)[cut]
    for name, column in columns.items():
        rows = range(len(column))[cut]
        assert same(torch.stack([column[row] for row in rows]) if rows else column[:0], batch[name])


@given(tables(), st.lists(st.integers(0, 5), max_size=5))
def test_getitems_is_a_list_of_examples(columns, rows):
    table = fdm.Table(columns)
    rows = [row for row in rows if row < len(table)]
    found = table.__getitems__(rows)
    assert len(rows) == len(found)
    for row, example in zip(rows, found, strict=True):
        assert all(same(columns[name][row], value) for name, value in example.items())


@pytest.mark.parametrize(
    "rows",
    [
        range(1, 6, 2),
        np.array([1, 3, 5], dtype=np.uint8),
        np.array([1, 3, 5], dtype=">i8"),
        np.array([5, 3, 1])[::-1],
        np.broadcast_to(np.array([1, 3, 5]), (3,)),
        torch.tensor([1, 3, 5], dtype=torch.uint8),
        [np.int64(1), torch.tensor(3), 5],
    ],
    ids=["range", "uint8 array", "big endian", "negative stride", "read-only", "uint8 tensor", "mixed list"],
)
def test_rows_may_be_any_sequence_of_integers(rows):
    assert [1, 3, 5] == small()[rows]["label"].tolist()


def test_iteration_gives_the_examples_in_order():
    assert [0, 1, 2, 3, 4, 5] == [example["label"].item() for example in small()]
    assert ["", "a", "bü", "c", "dd", "e"] == [example["text"] for example in small()]


def test_rows_of_ragged_columns_are_what_was_put_in_and_batches_are_ragged():
    table = small()
    assert "bü" == table[2]["text"]
    assert [0, 1, 2] == table[-3]["tokens"].tolist()
    assert isinstance(table[[4, 2]]["text"], fdm.Ragged)
    assert ["dd", "bü"] == table[[4, 2]]["text"].tolist()
    assert [[0], [0, 1, 2, 3, 4]] == [row.tolist() for row in table[[1, 5]]["tokens"]]


READS = {
    "an example": lambda table: [table[3]],
    "a batch": lambda table: [table[[0, 3, 5]]],
    "a slice": lambda table: [table[:]],
    "examples": lambda table: table.__getitems__([0, 3]),
    "iteration": list,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_what_is_read_is_a_copy(read):
    table = small()
    for found in read(table):
        for value in found.values():
            if not isinstance(value, str):
                getattr(value, "values", value).fill_(99) if isinstance(value, fdm.Ragged) else value.fill_(99)
    fresh = small()
    assert same(fresh["image"], table["image"])
    assert same(fresh["label"], table["label"])
    assert fresh["text"].tolist() == table["text"].tolist()
    assert same(fresh["tokens"].values, table["tokens"].values)


def test_columns_are_shared_with_what_was_given():
    images, labels = torch.zeros(4, 2), np.arange(4)
    table = fdm.Table({"image": images, "label": labels})
    assert images.data_ptr() == table["image"].data_ptr()
    assert labels.ctypes.data == table["label"].data_ptr()


def test_columns_carry_no_gradient():
    assert not fdm.Table({"x": torch.zeros(3, requires_grad=True)})["x"].requires_grad


def test_a_table_is_immutable():
    table = small()
    with pytest.raises(AttributeError, match="immutable"):
        table.label = torch.zeros(6)
    with pytest.raises(AttributeError, match="immutable"):
        table._length = 3
    with pytest.raises(AttributeError, match="immutable"):
        del table._columns
    with pytest.raises(TypeError):
        table["label"] = torch.zeros(6)
    with pytest.raises(TypeError):
        del table["label"]
    assert 6 == len(table)


def test_changing_the_mapping_that_made_a_table_leaves_the_table_as_it_was():
    columns = {"x": torch.arange(3)}
    table = fdm.Table(columns)
    columns["y"] = torch.arange(5)
    del columns["x"]
    assert ["x"] == list(table.keys())


def test_a_table_is_a_mapping_from_names_to_columns():
    table = small()
    assert ["image", "label", "text", "tokens"] == list(table.keys()) == list(dict(table)) == list(dict(table.items()))
    assert [id(table[name]) for name in table.keys()] == list(map(id, table.values()))  # noqa: SIM118 - no mapping
    assert dict(table) == dict(table.items()) == dict(zip(table.keys(), table.values(), strict=True))
    assert "label" in table
    assert "lable" not in table
    assert 6 == len(table)


def test_a_table_can_be_made_from_another_with_columns_changed_and_added():
    table = small()
    made = fdm.Table({**table, "label": table["label"] * 2, "new": torch.zeros(6)})
    assert ["image", "label", "text", "tokens", "new"] == list(made.keys())
    assert [0, 2, 4, 6, 8, 10] == made["label"].tolist()
    assert [0, 1, 2, 3, 4, 5] == table["label"].tolist()
    assert list(table.keys()) == list(fdm.Table(table).keys())


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"a": torch.zeros(3), "b": torch.zeros(4)}, "'b' has 4"),
        ({"a": torch.zeros(3), "b": fdm.Ragged.of(["x"])}, "'b' has 1"),
        ({}, "one column"),
        ({"a": {1, 2, 3}}, "'a' is a set"),
        ({"a": "text"}, "'a' is a str"),
        ({"a": None}, "'a' is a NoneType"),
        ({"a": torch.tensor(3)}, "'a' is a single number"),
        ({"a": np.array(3)}, "'a' is a single number"),
        ({"a": np.array(["x", "y"])}, r"Ragged\.of"),
        ({"a": np.array([None, {}])}, "'a' has dtype object"),
        ({"a": np.array(["2020-01-01"], dtype="datetime64[D]")}, "'a' has dtype datetime64"),
        ({1: torch.zeros(3)}, "strings, not 1"),
        ({"": torch.zeros(3)}, "strings, not ''"),
        ([torch.zeros(3)], "mapping.*not list"),
        (torch.zeros(3), "mapping.*not Tensor"),
    ],
)
def test_what_is_no_table_is_refused(columns, message):
    with pytest.raises(fdm.DataError, match=message):
        fdm.Table(columns)


@pytest.mark.parametrize("row", [6, -7, [0, 6], [-7, 0], np.array([6]), torch.tensor([3, -7]), 2**40])
def test_a_row_out_of_range_is_an_index_error(row):
    with pytest.raises(IndexError, match="of a table of 6 rows"):
        small()[row]


@pytest.mark.parametrize("row", [[6], [-7], [0, 99]])
def test_getitems_out_of_range_is_an_index_error(row):
    with pytest.raises(IndexError):
        small().__getitems__(row)


def test_an_empty_table_has_no_rows():
    table = fdm.Table({"x": torch.zeros(0, 3), "t": fdm.Ragged.of([])})
    assert (0, 3) == table[[]]["x"].shape
    assert 0 == len(table[:]["t"])
    with pytest.raises(IndexError):
        table[0]
    with pytest.raises(IndexError):
        table[-1]


@pytest.mark.parametrize(
    "index",
    [True, 1.5, [0.0, 1.0], [[0, 1]], [[0], [1, 2]], None, ["label"], b"label"],
    ids=lambda index: type(index).__name__,
)
def test_what_is_no_row_is_refused(index):
    with pytest.raises(fdm.DataError, match="indexed by"):
        small()[index]


def test_a_mask_chooses_the_rows_where_it_is_true():
    table = small()
    mask = [True, False, False, True, False, False]
    assert (
        table[[0, 3]]["label"].tolist() == table[mask]["label"].tolist() == table[torch.tensor(mask)]["label"].tolist()
    )
    with pytest.raises(IndexError, match=r"a mask of shape \(2,\) for a table of 6 rows"):
        table[[True, False]]


def test_an_unknown_column_is_refused_with_the_nearest_and_the_list():
    with pytest.raises(fdm.UnknownNameError, match=r"'lable' \(did you mean 'label'\?\).*'image', 'label', 'text'"):
        small()["lable"]
    with pytest.raises(KeyError):
        small()["lable"]


def packed():
    return np.array([(1, 10), (2, 20), (3, 30)], dtype=[("key", "u1"), ("value", "<i4")])


ARRAYS = {
    "negative strides": np.arange(6).reshape(3, 2)[::-1, ::-1],
    "strided": np.arange(12).reshape(6, 2)[::2],
    "Fortran order": np.asfortranarray(np.arange(6.0).reshape(3, 2)),
    "read-only": np.frombuffer(b"\x01\x02\x03", dtype=np.uint8),
    "broadcast": np.broadcast_to(np.float32(2), (3, 2)),
    "big endian": np.arange(3, dtype=">f4"),
    "big endian, negative strides": np.arange(3, dtype=">i2")[::-1],
    "read-only, negative strides": np.broadcast_to(np.arange(3), (3, 3))[:, ::-1],
    "packed records": packed()["value"],
    "no columns": np.zeros((3, 0)),
    "bool": np.array([True, False, True]),
    "complex": np.array([1 + 2j, 3j, 4], dtype=np.complex64),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_numpy_arrays_of_any_layout_are_columns(array):
    before = array.tolist()
    table = fdm.Table({"x": array})
    assert before == table["x"].tolist()
    assert before[2] == table[2]["x"].tolist()
    table[[0, 1]]["x"].fill_(0)
    assert before == array.tolist() == table["x"].tolist()
    assert array.dtype.newbyteorder("=") == table["x"].numpy().dtype


def test_nobody_can_write_to_a_read_only_array_through_a_table():
    array = np.arange(3)
    array.flags.writeable = False
    fdm.Table({"x": array})["x"].fill_(9)
    assert [0, 1, 2] == array.tolist()


MAPS = {
    "whole": lambda array: array,
    "a slice": lambda array: array[1_000:],
    "every other row": lambda array: array[::2],
    "a column": lambda array: array[:, 1],
    "as an array": np.asarray,
    "turned": lambda array: array.T[:3],
    "backwards": lambda array: array[::-1],
    "one row": lambda array: array[7][None],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("view", MAPS.values(), ids=MAPS)
def test_a_file_that_is_mapped_to_be_read_is_a_column_that_nobody_can_write_through(tmp_path, view):
    np.save(tmp_path / "x.npy", np.arange(30_000.0).reshape(10_000, 3))
    array = view(np.load(tmp_path / "x.npy", mmap_mode="r"))
    table = fdm.Table({"x": array})
    assert array.tolist() == table["x"].tolist()
    table["x"].fill_(0)
    assert 0 == table["x"].sum()
    assert np.arange(30_000.0).tolist() == np.load(tmp_path / "x.npy").ravel().tolist()
    assert array.tolist() == view(np.load(tmp_path / "x.npy")).tolist()


def anonymous():
    """Private memory of this process, in bytes."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Anonymous:"))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs the kernel's account of memory")
def test_a_mapped_file_stays_mapped(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((1000, 12_500)))  # 100 MB
    before = anonymous()
    table = fdm.Table({"x": np.load(tmp_path / "x.npy", mmap_mode="r")})
    assert 1000 == table["x"][:, 0].sum()
    assert 12_500 == table[3]["x"].sum()
    assert anonymous() - before < 20_000_000


def test_a_mapped_file_in_whose_place_another_one_is_keeps_its_values(tmp_path):
    for name, value in (("x", 1), ("other", 2)):
        np.save(tmp_path / f"{name}.npy", np.full(1000, value))
    array = np.load(tmp_path / "x.npy", mmap_mode="r")
    (tmp_path / "other.npy").replace(tmp_path / "x.npy")
    assert {1} == set(fdm.Table({"x": array})["x"].tolist())
    (tmp_path / "x.npy").unlink()
    assert {1} == set(fdm.Table({"x": array})["x"].tolist())


TRAVELS = {"pickle": lambda table: pickle.loads(pickle.dumps(table)), "copy": copy.copy, "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("travel", TRAVELS.values(), ids=TRAVELS)
def test_a_copy_of_a_table_holds_the_same(travel):
    table = small()
    made = travel(table)
    assert repr(table) == repr(made)
    assert same(table["image"], made["image"])
    assert table["text"].tolist() == made["text"].tolist()
    assert [row.tolist() for row in table["tokens"]] == [row.tolist() for row in made["tokens"]]


def test_the_repr_tells_rows_and_columns():
    expected = "Table(6 rows: image float32 2x3, label int64, text ragged str, tokens ragged tensor)"
    assert expected == repr(small())


def test_a_fake_tensor_is_no_column():
    with FakeTensorMode():
        fake = torch.ones(3)
    for make in (lambda: fdm.Table({"x": fake}), lambda: fdm.Ragged.of([fake])):
        with pytest.raises(fdm.DataError, match="FakeTensor, which has no values; make it outside"):
            make()


def test_wide_complex_numbers_are_told_to_become_those_that_torch_knows():
    with pytest.raises(fdm.DataError, match=r"column 'x' has dtype .*astype\('complex128'\)"):
        fdm.Table({"x": np.ones(3, dtype=np.clongdouble)})
