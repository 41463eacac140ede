"""Values: every dtype comes back exactly from wherever it was put, or is refused with its name and the remedy."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

import fdm
from fdm._batches.collate import collate
from fdm.store._facts import open_facts, plain_fact, save_facts
from fdm.store._tables import open_table, save_table


pytestmark = pytest.mark.filterwarnings("ignore:.*(quantize|ComplexHalf|MaskedTensor|masked|CSR|nested)")


def all_dtypes():
    return sorted({dtype for name in dir(torch) if isinstance(dtype := getattr(torch, name), torch.dtype)}, key=str)


def of_dtype(dtype, rows=4):
    """Rows of two values of any bits; None where torch makes none of this dtype."""
    raw = torch.randint(0, 256, (2 * rows * dtype.itemsize,), generator=torch.Generator().manual_seed(0)).byte()
    try:
        if dtype.is_floating_point or dtype.is_complex:
            raw &= 0x3B  # no NaN
        return (raw > 99)[: 2 * rows].reshape(rows, 2) if dtype == torch.bool else raw.view(dtype).reshape(rows, 2)
    except (RuntimeError, TypeError):
        return None


def bits(tensor):
    return str(tensor.dtype), tuple(tensor.shape), tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def as_table(column):
    return fdm.Table({"x": column})["x"]


def as_batch(column):
    return fdm.Table({"x": column})[range(len(column))]["x"]


def as_examples(column):
    table = fdm.Table({"x": column})
    return collate(table.__getitems__(range(len(table))), {})["x"]


def as_rows(column):
    return collate([{"x": row} for row in column], {})["x"]


def as_ragged(column):
    return fdm.Ragged.of(list(column)).values.reshape(as_tensor(column).shape)


def as_ragged_column(column):
    values = fdm.Ragged.of(list(column))
    return fdm.Table({"x": values})[range(len(values))]["x"].values.reshape(as_tensor(column).shape)


def as_stored(column):
    with tempfile.TemporaryDirectory() as folder:
        save_table([fdm.Table({"x": column}), fdm.Table({"x": column})], Path(folder) / "table")
        return open_table(Path(folder) / "table")["x"][len(column) :].clone()


def as_stored_ragged(column):
    with tempfile.TemporaryDirectory() as folder:
        save_table([fdm.Table({"x": fdm.Ragged.of(list(column))})], Path(folder) / "table")
        return open_table(Path(folder) / "table")["x"].values.clone().reshape(as_tensor(column).shape)


def as_fact(column):
    with tempfile.TemporaryDirectory() as folder:
        save_facts({"x": plain_fact("x", column)}, Path(folder))
        return open_facts(Path(folder))["x"]


PLACES = [
    *(as_table, as_batch, as_examples, as_rows, as_ragged, as_ragged_column),
    *(as_stored, as_stored_ragged, as_fact),
]
REFUSED = {  # what the message says, by where it may say no more than that a row is at fault
    as_rows: r"entry 'x'|a value",
    as_ragged: "a row of a Ragged",
    as_ragged_column: "a row of a Ragged",
    as_stored_ragged: "a row of a Ragged",
}


def as_tensor(column):
    if isinstance(column, torch.Tensor):
        return column
    dtype = (
        f"{column.dtype.kind}{column.dtype.itemsize}" if column.dtype.kind in "iuf" else column.dtype.newbyteorder("=")
    )
    return torch.from_numpy(np.array(column).astype(dtype))


def outcome(place, column):
    """The bits that came back, or the refusal, which names the column and tells what to do."""
    try:
        return bits(place(column))
    except fdm.DataError as error:
        assert "'x'" in str(error) or place in REFUSED  # noqa: PT017 - either of two outcomes is right
        return str(error)


KNOWN = {
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "bfloat16"),
    *("float32", "float64", "complex32", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"),
    *("float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"),
}


@pytest.mark.parametrize("place", PLACES)
def test_every_dtype_of_torch_comes_back_exactly_or_is_refused(place):
    for dtype in all_dtypes():
        column = of_dtype(dtype)
        if column is None:
            assert str(dtype).removeprefix("torch.") not in KNOWN
            continue
        found = outcome(place, column)
        if str(dtype).removeprefix("torch.") in KNOWN:
            assert bits(column) == found
        else:
            assert ".view(torch.uint8)" in found or ".int_repr()" in found, dtype


ARRAYS = {
    **{name: np.arange(8).reshape(4, 2).astype(name) for name in "?bhilqBHILQefdFD"},
    **{f"big endian {name}": np.arange(8).reshape(4, 2).astype(f">{name}") for name in "hiqHIQefdFD"},
    "Fortran order": np.asfortranarray(np.arange(8.0).reshape(4, 2)),
    "negative strides": np.arange(8).reshape(4, 2)[::-1, ::-1],
    "strided": np.arange(16).reshape(8, 2)[::2],
    "read-only": np.frombuffer(bytes(range(8)), dtype=np.uint8).reshape(4, 2),
    "broadcast": np.broadcast_to(np.float32(2), (4, 2)),
    "complex numbers at odd places": np.frombuffer(bytes(8) * 17, np.complex128, 8, offset=8).reshape(4, 2),
    "numbers at odd places": np.frombuffer(bytes(80), np.float64, 8, offset=1).reshape(4, 2),
    "unmasked": np.ma.masked_array(np.arange(8).reshape(4, 2), mask=False),
    "unmasked, with a mask": np.ma.masked_array(np.arange(8).reshape(4, 2), mask=np.zeros((4, 2), bool)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("place", PLACES)
def test_arrays_of_numbers_of_every_dtype_and_layout_come_back_exactly(place):
    for name, array in ARRAYS.items():
        assert bits(as_tensor(array)) == outcome(place, array), name


REFUSED_ARRAYS = {
    "masked": (np.ma.masked_array(np.arange(8).reshape(4, 2), mask=[[0, 1]] * 4), "filled"),
    "masked records": (np.ma.masked_array(np.zeros((4, 2), "i4,f4"), mask=True), "masked"),
    "objects": (np.array([[1, "a"]] * 4, dtype=object), r"astype\('int64'\)"),
    "dates": (np.full((4, 2), np.datetime64("2020-01-01")), r"astype\('int64'\)"),
    "times": (np.full((4, 2), np.datetime64("2020-01-01", "ns")), r"dates.*astype\('int64'\)"),
    "no time": (np.full((4, 2), np.datetime64("NaT")), r"astype\('int64'\)"),
    "durations": (np.full((4, 2), np.timedelta64(1, "s")), r"durations.*astype\('int64'\)"),
    "strings": (np.array([["a", "b"]] * 4), "Ragged.of"),
    "bytes": (np.array([[b"a", b"b"]] * 4), "Ragged.of"),
    "records": (np.zeros((4, 2), "i4,f4"), "column of its own"),
    "long double": (np.zeros((4, 2), np.longdouble), "float64"),
}


@pytest.mark.parametrize("place", PLACES)
def test_arrays_that_would_lose_something_are_refused_with_the_remedy(place):
    for array, remedy in REFUSED_ARRAYS.values():
        named = REFUSED.get(place, "'x'")
        with pytest.raises(fdm.DataError, match=f"(?s)({named}).*{remedy}"):
            place(array)


def ones():
    return torch.ones(4, 2)


REFUSED_TENSORS = {
    "COO": (lambda: ones().to_sparse(), "to_dense"),
    "CSR": (lambda: ones().to_sparse_csr(), "sparse_csr.*to_dense"),
    "CSC": (lambda: ones().to_sparse_csc(), "sparse_csc.*to_dense"),
    "BSR": (lambda: ones().to_sparse_bsr((2, 2)), "sparse_bsr.*to_dense"),
    "meta": (lambda: torch.empty(4, 2, device="meta"), "meta.*cpu"),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]), r"unbind\(\)"),
    "jagged": (lambda: torch.nested.nested_tensor([torch.ones(1)] * 4, layout=torch.jagged), r"unbind\(\)"),
    "masked": (lambda: torch.masked.masked_tensor(ones(), ones() > 0), "get_mask"),
    "quantized": (lambda: torch.quantize_per_tensor(ones(), 0.1, 0, torch.quint8), "dequantize"),
}


@pytest.mark.parametrize("kind", REFUSED_TENSORS)
@pytest.mark.parametrize("place", [as_table, as_fact], ids=["column", "fact"])
def test_tensors_without_dense_values_are_refused_with_the_remedy(place, kind):
    make, remedy = REFUSED_TENSORS[kind]
    with pytest.raises(fdm.DataError, match=f"'x' is .*{remedy}"):
        place(make())


@pytest.mark.parametrize("kind", REFUSED_TENSORS)
def test_rows_without_dense_values_are_refused_with_the_remedy(kind):
    make, remedy = REFUSED_TENSORS[kind]
    with pytest.raises(fdm.DataError, match=f"entry 'x' of the examples: a value is .*{remedy}"):
        collate([{"y": 0, "x": make()}] * 2, {})
    with pytest.raises(fdm.DataError, match=f"a row of a Ragged is .*{remedy}"):
        fdm.Ragged.of([make()] * 2)


@pytest.mark.parametrize("kind", REFUSED_TENSORS)
def test_a_ragged_column_of_values_that_are_not_dense_is_refused(kind):
    make, remedy = REFUSED_TENSORS[kind]
    offsets = torch.arange(3 if kind == "nested" else 5)
    with pytest.raises(fdm.DataError, match=f"{remedy}"):
        fdm.Table({"x": fdm.Ragged(make(), offsets)})


LAZY = {
    "conjugate": lambda: torch.tensor([[1 + 2j]] * 4).conj(),
    "negative": lambda: torch.tensor([[1 + 2j]] * 4).conj().imag,
    "with a gradient": lambda: torch.ones(4, 2, requires_grad=True) * 2,
    "parameter": lambda: torch.nn.Parameter(torch.ones(4, 2)),
    "transposed": lambda: torch.arange(8).reshape(2, 4).T,
    "expanded": lambda: torch.ones(1, 2).expand(4, 2),
}


@pytest.mark.parametrize("place", [place for place in PLACES if place is not as_rows])
def test_lazy_tensors_come_back_as_their_values(place):
    for name, make in LAZY.items():
        wanted = make().detach().resolve_conj().resolve_neg()
        found = place(make())
        assert bits(wanted.clone()) == bits(found), name
        assert (False, False, False) == (found.requires_grad, found.is_conj(), found.is_neg())


def test_a_masked_number_among_examples_is_refused_by_the_name_of_its_entry():
    row = np.ma.masked_array([1.0, 2.0], mask=[False, True])
    for values in ([row[0], row[1]], [1.0, row[1]], [1, row[1]], [row[1], row[0]], [row, row]):
        with pytest.raises(fdm.DataError, match="entry 'x' of the examples: a value is a masked array"):
            collate([{"y": 0, "x": value} for value in values], {})


def test_numpy_numbers_of_every_dtype_are_collated_exactly():
    for name in "?bhilqBHILQefdFD":
        top = np.iinfo(name).max if name in "bhilqBHILQ" else 1
        made = collate([{"x": np.dtype(name).type(top)}] * 2, {})["x"]
        assert [top, top] == made.tolist()
        assert np.dtype(name) == made.numpy().dtype


def test_a_masked_index_is_refused():
    with pytest.raises(fdm.DataError, match="index of a table is a masked array"):
        fdm.Table({"x": torch.arange(3)})[np.ma.masked_array([0, 1], mask=[0, 1])]


def test_a_complex_column_is_written_as_pairs_that_any_reader_of_safetensors_knows(tmp_path):
    from safetensors.torch import load_file

    column = torch.tensor([1 + 2j, 3j], dtype=torch.complex128)
    save_table([fdm.Table({"x": column})], tmp_path / "table.safetensors")
    (found,) = load_file(tmp_path / "table.safetensors").values()
    assert [[1.0, 2.0], [0.0, 3.0]] == found.tolist()


def three(dtype):
    return fdm.Table({"x": torch.tensor([1.5 + 2j, 3j, 1], dtype=torch.complex128).to(dtype)})


@pytest.mark.parametrize("name", ["x" * length for length in range(1, 18)])
def test_a_complex_column_may_have_a_name_of_any_length(tmp_path, name):  # it moves where in the file values begin
    column = torch.full((64,), 1 + 2j, dtype=torch.complex128)
    save_table([fdm.Table({name: column, "y": column.real.int()})], tmp_path / "table")
    table = open_table(tmp_path / "table")
    assert torch.equal(column, table[range(64)][name])
    assert torch.equal(2 * column, table[name] + table[name])


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
def test_clean_keeps_complex_columns(tmp_path, dtype):
    p = fdm.pipeline(fdm.clean(three, dtype=dtype), fdm.batch(3))
    for _ in range(2):
        with fdm.open(p, store=tmp_path) as data:
            (batch,) = data.loader("all")
            assert torch.equal(three(dtype)["x"], batch["x"])
