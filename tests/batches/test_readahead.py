"""Reading ahead: it changes no value, asks for what the batch needs while that is on disk, and for nothing else."""

import gc
import mmap
import os
import sys
import tempfile
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm
from fdm._batches import readahead as _readahead
from fdm._batches.readahead import ahead
from fdm.store._tables import open_table, save_table


resource = pytest.importorskip("resource", reason="there is no account of reads to go by")
if sys.platform != "linux":
    pytest.skip("only Linux is asked to read ahead", allow_module_level=True)

PAGE = mmap.PAGESIZE


def on_disk(columns, path):
    save_table([fdm.Table(columns)], path)
    return open_table(path)


def filled(rows, *shape, dtype=torch.uint8):
    return torch.randint(0, 256, (rows, *shape), generator=torch.Generator().manual_seed(rows)).to(dtype)


def evict(path):
    """Drop from the page cache what of the file is not mapped by somebody who has read it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def reads():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_inblock, usage.ru_majflt


def same(expected, actual):
    if isinstance(expected, dict):
        return list(expected) == list(actual) and all(same(expected[name], actual[name]) for name in expected)
    if isinstance(expected, fdm.Ragged):
        return same(expected.values, actual.values) and same(expected.offsets, actual.offsets)
    return expected.dtype == actual.dtype and torch.equal(expected, actual)


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the system, as addresses and sizes, in place of asking."""
    found = []
    monkeypatch.setattr(_readahead, "_asker", lambda: lambda address, size, advice: found.append((address, size)))
    return found


def is_asked(tensor, asked):
    first, last = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
    covered = {page for address, size in asked for page in range(address, address + size, PAGE)}
    return all(page in covered for page in range(first // PAGE * PAGE, last, PAGE))


columns = st.sampled_from(
    [
        lambda n: filled(n, 700),
        lambda n: filled(n, 3, 5, dtype=torch.float32),
        lambda n: filled(n, dtype=torch.uint16),
        lambda n: filled(n, 0),
        lambda n: fdm.Ragged.of([filled(row % 50) for row in range(n)]),
        lambda n: fdm.Ragged.of(["x" * (row % 7) for row in range(n)]),
        lambda n: fdm.Ragged.of([b""] * n),
    ]
)


@given(st.integers(1, 300), st.lists(columns, min_size=1, max_size=3), st.data())
def test_reading_ahead_changes_no_value(n, makers, data):
    table = fdm.Table({str(number): make(n) for number, make in enumerate(makers)})
    ids = st.lists(st.integers(0, n - 1), max_size=20).map(lambda rows: torch.tensor(rows, dtype=torch.int64))
    with tempfile.TemporaryDirectory() as folder:
        opened = on_disk(table, Path(folder) / "table")
        read = ahead(opened, opened.gather)
        for batch in data.draw(st.lists(ids, max_size=3)):
            evict(Path(folder) / "table")
            assert same(table.gather(batch), read(batch))


@given(st.integers(1, 3000), st.integers(1, 900), st.integers(1, 900), st.integers(0, 99))
def test_reading_windows_ahead_changes_no_value(n, length, stride, seed):
    table = fdm.Table({"t": filled(n, dtype=torch.int32)})
    with tempfile.TemporaryDirectory() as folder:
        windows = on_disk(table, Path(folder) / "table").windows("t", length, stride)
        ids = torch.from_numpy(np.random.default_rng(seed).integers(0, max(1, len(windows)), 9 if len(windows) else 0))
        evict(Path(folder) / "table")
        expected = table.windows("t", length, stride).gather(ids)
        assert same(expected, ahead(windows, windows.gather)(ids))


@given(st.integers(1, 400), st.integers(1, 9000), st.lists(st.integers(0, 399), max_size=30))
def test_the_pages_of_spans_hold_each_span_and_nothing_else_in_order(base, width, rows):
    def of(start, end):
        return range(start // PAGE, -(-end // PAGE))

    starts = np.array(rows, dtype=np.int64) * width + base
    runs = _readahead.pages((starts, starts + width))
    needed = [page for start in starts.tolist() for page in of(start, start + width)]
    assert list(dict.fromkeys(needed)) == list(dict.fromkeys(page for run in runs for page in of(*run)))
    assert len(runs) <= len(rows)


IDS = torch.tensor([90, 3, 40, 41, 77])


def test_all_rows_of_a_batch_are_asked_for(tmp_path, asked):
    table = on_disk({"x": filled(100, 60, 60), "y": filled(100, 9000)}, tmp_path / "table")
    ahead(table, table.gather)(IDS)
    for name in ("x", "y"):
        assert [] == [row for row in IDS.tolist() if not is_asked(table[name][row], asked)]
    assert sum(size for _, size in asked) <= len(IDS) * (3600 + 9000 + 4 * PAGE)


def test_rows_of_ragged_columns_are_asked_for(tmp_path, asked):
    table = on_disk({"r": fdm.Ragged.of([filled(9000 + row) for row in range(100)])}, tmp_path / "table")
    ahead(table, table.gather)(IDS)
    ragged = table["r"]
    for row in IDS.tolist():
        assert is_asked(ragged.values[int(ragged.offsets[row]) : int(ragged.offsets[row + 1])], asked)


def test_windows_are_asked_for(tmp_path, asked):
    windows = on_disk({"t": filled(300_000)}, tmp_path / "table").windows("t", 3000, 2500)
    ahead(windows, windows.gather)(IDS)
    assert [] == [row for row in IDS.tolist() if not is_asked(windows["t"][row], asked)]


def test_long_rows_are_asked_for_in_pieces(tmp_path, asked):
    table = on_disk({"x": filled(6, 300_000)}, tmp_path / "table")
    ahead(table, table.gather)(torch.tensor([4, 1]))
    assert [] == [row for row in (1, 4) if not is_asked(table["x"][row], asked)]
    assert all(size <= 1 << 17 for _, size in asked)


@pytest.mark.parametrize("ids", [[], [7], [3, 4, 5, 6], [5, 5, 6, 6]], ids=str)
def test_rows_side_by_side_are_left_to_the_system(tmp_path, asked, ids):
    table = on_disk({"x": filled(9, 9000)}, tmp_path / "table")
    assert same({"x": filled(9, 9000)[ids]}, ahead(table, table.gather)(torch.tensor(ids, dtype=torch.int64)))
    assert [] == asked


def test_sources_that_are_no_tables_on_disk_are_read_as_they_are():
    table = fdm.Table({"x": filled(9)})
    for source in (table, table.windows("x", 2), [1, 2, 3], range(9)):
        assert len is ahead(source, len)


def test_a_system_that_cannot_be_asked_reads_as_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(_readahead, "_asker", lambda: None)
    assert len is ahead(on_disk({"x": filled(9)}, tmp_path / "table"), len)


def test_an_error_of_the_read_passes_through(tmp_path):
    table = on_disk({"x": filled(9)}, tmp_path / "table")
    with pytest.raises(IndexError):
        ahead(table, table.gather)(torch.tensor([3, 10**6]))


def test_the_table_is_not_kept(tmp_path):
    table = on_disk({"x": filled(9)}, tmp_path / "table")
    ahead(table, table.gather)(torch.tensor([3, 4]))
    kept = weakref.ref(table)
    del table
    gc.collect()
    assert kept() is None


ROWS, WIDTH = 2000, 5000


@pytest.fixture
def cold(tmp_path):
    """A table on disk, with nothing of it in memory."""
    on_disk({"x": filled(ROWS, WIDTH)}, tmp_path / "table")
    evict(tmp_path / "table")
    before = reads()
    (tmp_path / "table").read_bytes()
    if reads() == before:
        pytest.skip("files of this folder are always in memory")
    table = open_table(tmp_path / "table")
    evict(tmp_path / "table")  # once more, since the system reads on behind what opening needs
    return table


def test_asking_has_the_rows_read_before_the_gather(cold):
    ids = torch.arange(0, ROWS, 100)
    before = reads()[0]
    _readahead._ask_for([cold["x"]], ids.numpy(), _readahead._asker())
    between = reads()
    assert between[0] > before
    assert torch.equal(filled(ROWS, WIDTH)[ids], cold.gather(ids)["x"])
    assert between == reads()


def test_it_asks_while_batches_come_from_disk_and_again_after_one_that_did(cold, tmp_path, asked):
    read = ahead(cold, cold.gather)

    def asks(rows):
        before, ids = len(asked), torch.tensor(rows)
        assert torch.equal(filled(ROWS, WIDTH)[ids], read(ids)["x"])
        return len(asked) > before

    # What was read stays mapped, with what is near it: each batch is of rows far from those before. They are few, so
    # that torch gathers them in this thread.
    near, middle, far = range(0, 500, 100), range(800, 1300, 100), range(1500, ROWS, 100)
    assert asks(near)
    (tmp_path / "table").read_bytes()
    assert asks(near)  # the one before came from disk
    assert not asks(near)
    evict(tmp_path / "table")
    assert not asks(far)  # nobody knew
    assert asks(middle)


def test_all_loaders_of_a_table_know_what_one_found(tmp_path, asked):
    table = on_disk({"x": filled(ROWS, WIDTH)}, tmp_path / "table")
    for _ in range(2):
        ahead(table, table.gather)(IDS)
    asked.clear()
    ahead(table, table.gather)(IDS)
    assert [] == asked


def test_threads_read_the_same(cold):
    expected, read = filled(ROWS, WIDTH), ahead(cold, cold.gather)
    batches = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0)).split(16)
    with ThreadPoolExecutor(8) as pool:
        for ids, batch in zip(batches, pool.map(read, batches), strict=True):
            assert torch.equal(expected[ids], batch["x"])


def make_images():
    return fdm.Table({"x": filled(ROWS, WIDTH), "word": fdm.Ragged.of([str(row) for row in range(ROWS)])})


def as_floats(example):
    return {**example, "x": example["x"].float()}


@pytest.mark.parametrize("options", [{}, {"threads": 3}, {"workers": 2}], ids=str)
@pytest.mark.parametrize("stages", [[], [fdm.transform(as_floats)]], ids=["whole", "by example"])
def test_a_loader_makes_the_same_batches_of_a_table_that_is_not_in_memory(tmp_path, stages, options):
    pipeline = fdm.pipeline(fdm.clean(make_images), fdm.shuffle(), *stages, fdm.batch(64))
    table = make_images()
    fdm.Executor(store=tmp_path).prepare(pipeline)
    for path in tmp_path.rglob("*.safetensors"):
        evict(path)
    with fdm.open(pipeline, store=tmp_path, **options) as data:
        loader = data.loader("all")
        for step, batch in enumerate(loader):
            expected = table.gather(loader.indices(step))
            assert torch.equal(expected["x"].float(), batch["x"].float())
            assert expected["word"].tolist() == batch["word"].tolist()
