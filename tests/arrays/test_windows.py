"""Windows over a long column: what the naive slices are, without a copy, on disk and on the way to other processes."""

import copy
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm
from fdm.store._tables import open_table, save_table


DTYPES = [torch.bool, torch.uint8, torch.uint16, torch.int32, torch.int64, torch.bfloat16, torch.complex64]


def tokens(n, dtype=torch.int64, *shape):
    return torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(n)).to(dtype)


def on_disk(table, path):
    save_table([table], path)
    return open_table(path)


def naive(values, length, stride):
    starts = range(0, len(values) - length + 1, stride)
    return [values[start : start + length] for start in starts]


def same(expected, actual):
    return len(expected) == len(actual) and all(map(torch.equal, expected, actual))


sizes = st.integers(1, 9)


@given(st.integers(0, 40), sizes, st.none() | sizes, st.sampled_from(DTYPES), st.lists(st.integers(0, 2), max_size=2))
def test_windows_are_the_naive_slices(n, length, stride, dtype, shape):
    column = tokens(n, dtype, *shape)
    windows = fdm.Table({"t": column, "other": torch.zeros(n)}).windows("t", length, stride)
    expected = naive(column, length, length if stride is None else stride)
    assert max(0, (n - length) // (length if stride is None else stride) + 1) == len(expected) == len(windows)
    assert ["t"] == list(windows.keys())
    assert (length, *shape) == windows["t"].shape[1:]
    assert dtype == windows["t"].dtype
    assert same(expected, windows["t"])
    assert same(expected[::-1], windows[list(range(len(windows)))[::-1]]["t"])
    assert same(expected, [example["t"] for example in windows])


@given(st.integers(0, 60), sizes, sizes, st.integers(1, 4), st.integers(1, 4))
def test_windows_of_windows_are_the_naive_slices_of_the_naive_slices(n, length, stride, outer, apart):
    windows = fdm.Table({"t": tokens(n)}).windows("t", length, stride)
    twice = windows.windows("t", outer, apart)
    rows = naive(tokens(n), length, stride)
    expected = [torch.stack(rows[start : start + outer]) for start in range(0, len(rows) - outer + 1, apart)]
    assert same(expected, twice["t"])
    assert same(expected, twice[:]["t"])


@given(st.integers(0, 40), sizes, sizes, st.sampled_from(DTYPES))
def test_on_disk_windows_are_the_same_and_can_be_saved(n, length, stride, dtype):
    with tempfile.TemporaryDirectory() as folder:
        table = on_disk(fdm.Table({"t": tokens(n, dtype)}), Path(folder) / "base")
        windows = table.windows("t", length, stride)
        saved = on_disk(windows, Path(folder) / "windows")
        for found in (windows, saved):
            assert len(found) == len(windows)
            assert same(naive(tokens(n, dtype), length, stride), found["t"])


VIEWS = {
    "strided": torch.arange(40)[::2],
    "from the middle": torch.arange(40)[7:29],
    "a column of many": torch.arange(60).reshape(20, 3)[:, 1],
    "expanded": torch.ones(1).expand(20),
    "conjugate": (torch.arange(20) * (1 + 2j)).conj(),
    "turned": torch.arange(40).reshape(2, 20).T,
}


@pytest.mark.parametrize("column", VIEWS.values(), ids=VIEWS)
def test_the_layout_of_the_column_does_not_matter(column):
    windows = fdm.Table({"t": column}).windows("t", 5, 3)
    assert same(naive(column, 5, 3), windows["t"])
    assert same(naive(column, 5, 3), windows[:]["t"])


def test_windows_are_no_copy():
    column = torch.arange(100)
    assert column.data_ptr() == fdm.Table({"t": column}).windows("t", 9, 4)["t"].data_ptr()


def test_what_is_read_of_windows_is_a_copy():
    windows = fdm.Table({"t": torch.arange(20)}).windows("t", 5, 1)
    for found in (windows[3], windows[[3, 4]], windows[:], *windows.__getitems__([3])):
        found["t"].fill_(99)
    assert list(range(20)) == windows["t"][:, 0].tolist() + windows["t"][-1, 1:].tolist()


def test_windows_of_a_ragged_column_run_over_its_joined_values(tmp_path):
    documents = [torch.arange(n) for n in (3, 0, 7, 1, 12)]
    table = fdm.Table({"t": fdm.Ragged.of(documents), "word": fdm.Ragged.of(list("abcde"))})
    for found in (table, on_disk(table, tmp_path / "table")):
        assert same(naive(torch.cat(documents), 5, 4), found.windows("t", 5, 4)["t"])
        assert same(naive(torch.cat(documents), 5, 4), pickle.loads(pickle.dumps(found.windows("t", 5, 4)))["t"])


@pytest.mark.parametrize("rows, kind", [(["a", "b"], "str"), ([b"a", b"b"], "bytes")])
def test_windows_over_text_are_refused_with_the_remedy(rows, kind):
    with pytest.raises(fdm.DataError, match=rf"'t' has rows of {kind}; encode them.*Ragged\.of\(list of tensors\)"):
        fdm.Table({"t": fdm.Ragged.of(rows)}).windows("t", 2)


@pytest.mark.parametrize("size", [0, -1, 1.0, "3", True, [3]], ids=repr)
def test_a_length_or_stride_that_is_no_integer_from_1_is_refused(size):
    table = fdm.Table({"t": torch.arange(9)})
    with pytest.raises(fdm.DataError, match="length is an integer of at least 1, not"):
        table.windows("t", size)
    with pytest.raises(fdm.DataError, match="stride is an integer of at least 1, not"):
        table.windows("t", 3, stride=size)


@pytest.mark.parametrize("size", [np.int64(3), torch.tensor(3)], ids=["numpy", "tensor"])
def test_integers_of_numpy_and_torch_are_sizes(size):
    assert same(naive(torch.arange(9), 3, 3), fdm.Table({"t": torch.arange(9)}).windows("t", size, size)["t"])


def test_a_stride_beyond_the_values_leaves_one_window():
    assert [[0, 1, 2]] == fdm.Table({"t": torch.arange(9)}).windows("t", 3, stride=10**30)["t"].tolist()


def test_windows_over_an_unknown_column_are_refused_with_the_nearest():
    with pytest.raises(fdm.UnknownNameError, match=r"'token' \(did you mean 'tokens'\?\)"):
        fdm.Table({"tokens": torch.arange(9)}).windows("token", 3)


def test_windows_of_a_table_on_disk_travel_as_its_path(tmp_path):
    table = on_disk(fdm.Table({"t": tokens(100_000), "other": torch.zeros(100_000)}), tmp_path / "table")
    once, twice = table.windows("t", 1000, 1), table.windows("t", 100, 50).windows("t", 2, 1)
    for windows in (once, twice):
        sent = pickle.dumps(windows)
        assert len(sent) < 1000
        assert len(pickle.dumps(pickle.loads(sent))) < 1000
        assert same(windows["t"], pickle.loads(sent)["t"])
        assert pickle.loads(sent).is_mapped


def test_windows_of_a_table_in_memory_travel_as_their_column_not_written_out():
    table = fdm.Table({"t": tokens(10_000), "other": torch.zeros(10_000, 100)})
    windows = table.windows("t", 1000, 1)
    sent = pickle.dumps(windows)
    assert len(sent) < 2 * 8 * 10_000
    assert same(windows["t"], pickle.loads(sent)["t"])
    assert len(pickle.dumps(windows.windows("t", 100, 1))) < 2 * 8 * 10_000


TRAVELS = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda table: pickle.loads(pickle.dumps(table))}


@pytest.mark.parametrize("travel", TRAVELS.values(), ids=TRAVELS)
def test_a_copy_of_windows_holds_the_same(travel):
    windows = fdm.Table({"t": tokens(50)}).windows("t", 6, 4)
    assert repr(windows) == repr(travel(windows))
    assert same(windows["t"], travel(windows)["t"])


def test_only_tables_of_a_file_and_windows_over_them_are_mapped(tmp_path):
    memory = fdm.Table({"t": tokens(50)})
    disk = on_disk(memory, tmp_path / "table")
    assert [False, False] == [memory.is_mapped, memory.windows("t", 3).is_mapped]
    assert [True, True] == [disk.is_mapped, disk.windows("t", 3).is_mapped]


def make_tokens():
    return fdm.Table({"tokens": tokens(1000, torch.uint16)})


def as_windows(table, *, length):
    return table.windows("tokens", length, stride=length - 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pipeline_loads_windows_of_a_clean_table(tmp_path, workers):
    pipeline = fdm.pipeline(fdm.clean(make_tokens), fdm.load(as_windows, length=9), fdm.shuffle(), fdm.batch(16))
    expected = naive(tokens(1000, torch.uint16), 9, 8)
    with fdm.open(pipeline, store=tmp_path, workers=workers) as data:
        loader = data.loader("all")
        seen = [loader.indices(step) for step in range(len(loader))]
        for ids, batch in zip(seen, loader, strict=True):
            assert same([expected[index] for index in ids], batch["tokens"])
    assert list(range(len(expected))) == sorted(torch.cat(seen).tolist())
