"""Tables on disk: every dtype, name and layout comes back, memory-mapped, and nothing damaged is read."""

import hashlib
import os
import pickle
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm
from fdm.store._tables import STAND_INS, open_table, open_tables, save_table, save_tables, saving


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
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]


def same(left, right):
    if isinstance(left, fdm.Ragged):
        return left.kind == right.kind and same(left.values, right.values) and same(left.offsets, right.offsets)
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    bits = (left.resolve_conj().contiguous(), right.resolve_conj().contiguous())
    return left.numel() == 0 or torch.equal(*(each.reshape(-1).view(torch.uint8) for each in bits))


def all_same(left, right):
    return list(left.keys()) == list(right.keys()) and all(same(column, right[name]) for name, column in left.items())


def reopened(table, path):
    save_table([table], path)
    return open_table(path)


def filled(dtype, *shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@st.composite
def tables(draw):
    length = draw(st.integers(1, 5))

    def dense(dtype, shape, seed):
        return filled(dtype, length, *shape, seed=seed)

    def ragged(dtype, lengths, seed):
        return fdm.Ragged.of([filled(dtype, n, 2, seed=seed) for n in lengths])

    def several(of):
        return st.lists(of, min_size=length, max_size=length)

    seeds = st.integers(0, 9)
    columns = (
        st.builds(dense, st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=2), seeds)
        | st.builds(
            ragged, st.sampled_from([torch.bool, torch.int16, torch.float32]), several(st.integers(0, 3)), seeds
        )
        | several(st.text(max_size=4)).map(fdm.Ragged.of)
        | several(st.binary(max_size=4)).map(fdm.Ragged.of)
    )
    return fdm.Table(draw(st.dictionaries(st.text(min_size=1, max_size=4), columns, min_size=1, max_size=5)))


@given(tables())
def test_a_table_comes_back_as_it_was(table):
    with tempfile.TemporaryDirectory() as folder:
        assert all_same(table, reopened(table, Path(folder) / "table"))


@given(st.dictionaries(st.text(max_size=4), tables(), min_size=1, max_size=3))
def test_tables_come_back_under_their_names_in_order(named):
    with tempfile.TemporaryDirectory() as folder:
        save_tables({name: [table] for name, table in named.items()}, Path(folder))
        found = open_tables(Path(folder))
        assert list(named) == list(found)
        assert all(all_same(table, found[name]) for name, table in named.items())
        assert all(path.parent == Path(folder) for path in Path(folder).rglob("*"))


@given(tables(), st.data())
def test_parts_come_back_as_their_concatenation(table, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(table)), max_size=3)))
    bounds = zip([0, *cuts], [*cuts, len(table)], strict=True)
    parts = [fdm.Table({name: column[low:high] for name, column in table.items()}) for low, high in bounds]
    with tempfile.TemporaryDirectory() as folder:
        save_table(parts, Path(folder) / "table")
        assert all_same(table, open_table(Path(folder) / "table"))


@given(tables(), st.randoms(), st.data())
def test_blocks_are_written_in_another_order_than_what_they_are_like(table, rng, data):
    order = rng.sample(range(len(table)), len(table))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(table)), max_size=3)))
    blocks = (fdm.Table(table[order[low:high]]) for low, high in zip([0, *cuts], [*cuts, len(table)], strict=True))
    with tempfile.TemporaryDirectory() as folder:
        steps = saving(blocks, iter([table]), Path(folder) / "table")
        assert len(cuts) + 1 == len(list(steps))
        assert all_same(fdm.Table(table[order]), open_table(Path(folder) / "table"))


@pytest.mark.parametrize("dtype", [*DTYPES, *STAND_INS], ids=str)
def test_every_dtype_comes_back_bit_by_bit(tmp_path, dtype):
    raw = torch.randint(0, 256, (6 * dtype.itemsize,), dtype=torch.uint8)
    column = raw.view(dtype).reshape(3, 2) if dtype != torch.bool else (raw > 99).reshape(3, 2)
    assert all_same(fdm.Table({"x": column}), reopened(fdm.Table({"x": column}), tmp_path / "table"))


def test_columns_may_have_any_names_in_any_order(tmp_path):
    names = [
        "z",
        "a",
        "0",
        "0.values",
        "0.offsets",
        "__metadata__",
        "a/b",
        "..",
        ".",
        "ü",
        "日本",
        "\x00",
        " ",
        "x" * 300,
    ]
    table = fdm.Table({name: torch.tensor([i]) for i, name in enumerate(names)} | {"r": fdm.Ragged.of(["word"])})
    found = reopened(table, tmp_path / "table")
    assert [*names, "r"] == list(found.keys())
    assert all_same(table, found)


WHOLE = torch.arange(24.0).reshape(4, 6)
COMPLEX = torch.tensor([1 + 2j, 3 + 4j, 5, 6j])
LAYOUTS = {
    "turned": WHOLE.reshape(6, 4).T,
    "strided": WHOLE[:, ::2],
    "rows of a larger tensor": torch.arange(100)[10:14],
    "expanded": torch.ones(1, 3).expand(4, 3),
    "channels last": torch.arange(96.0).reshape(4, 2, 3, 4).to(memory_format=torch.channels_last),
    "conjugate": COMPLEX.conj(),
    "imaginary part of a conjugate": COMPLEX.conj().imag,
    "with gradient": torch.ones(4, requires_grad=True),
}


@pytest.mark.parametrize("column", LAYOUTS.values(), ids=LAYOUTS)
def test_layout_and_views_do_not_matter(tmp_path, column):
    found = reopened(fdm.Table({"x": column}), tmp_path / "table")["x"]
    assert (column.dtype, column.shape) == (found.dtype, found.shape)
    assert column.tolist() == found.tolist()


def test_columns_that_share_memory_come_back_each_on_its_own(tmp_path):
    table = fdm.Table({"a": WHOLE, "b": WHOLE, "c": WHOLE[:, 0], "d": WHOLE.view(torch.int32), "e": WHOLE[:, 1:]})
    found = reopened(table, tmp_path / "table")
    assert all_same(table, found)
    found["a"].fill_(9)
    assert all_same(fdm.Table({**table, "a": found["a"]}), found)


def test_only_the_rows_of_a_view_are_written(tmp_path):
    reopened(fdm.Table({"x": torch.zeros(1_000_000, dtype=torch.uint8)[:10]}), tmp_path / "table")
    assert (tmp_path / "table").stat().st_size < 1000


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell how much memory is resident in /proc")
def test_opening_a_table_reads_nothing_and_reading_rows_reads_these_rows(tmp_path):
    rows, width = 128, 1 << 20
    save_table([fdm.Table({"x": torch.zeros(rows, width, dtype=torch.uint8)})], tmp_path / "table")
    before = resident()
    table = open_table(tmp_path / "table")
    (tmp_path / "table").unlink()
    assert (rows, 0) == (len(table), int(table[rows - 1]["x"].sum()))
    assert resident() - before < rows * width // 4
    assert 0 == int(table["x"].sum())
    assert resident() - before > rows * width // 2


def test_writing_to_what_was_read_never_changes_the_file(tmp_path):
    path = tmp_path / "table"
    table = reopened(fdm.Table({"x": torch.zeros(9), "r": fdm.Ragged.of(["ab", "c"] + [""] * 7)}), path)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    table["x"].fill_(1)
    table["r"].values.fill_(1)
    table[[0]]["x"].fill_(2)
    assert before == hashlib.sha256(path.read_bytes()).hexdigest()
    again = open_table(path)
    assert (0, ["ab", "c"]) == (int(again["x"].sum()), again["r"].tolist()[:2])


def test_an_open_table_keeps_its_rows_when_its_file_is_replaced(tmp_path):
    table = reopened(fdm.Table({"x": torch.arange(5)}), tmp_path / "table")
    save_table([fdm.Table({"x": torch.zeros(5)})], tmp_path / "other")
    (tmp_path / "other").replace(tmp_path / "table")
    assert [0, 1, 2, 3, 4] == table["x"].tolist()


def test_a_table_travels_as_its_path(tmp_path):
    table = reopened(
        fdm.Table({"x": torch.arange(100_000), "word": fdm.Ragged.of(["w"] * 100_000)}), tmp_path / "table"
    )
    sent = pickle.dumps(table)
    assert len(sent) < 1000
    assert all_same(table, pickle.loads(sent))
    assert len(pickle.dumps(pickle.loads(sent))) < 1000
    assert len(pickle.dumps(fdm.Table(dict(table)))) > 100_000


def whole(path):
    table = fdm.Table(
        {"x": torch.arange(6).reshape(3, 2), "b": torch.ones(3).bool(), "r": fdm.Ragged.of(["a", "", "bc"])}
    )
    return reopened(table, path)


def test_a_truncated_file_is_a_store_error_wherever_it_ends(tmp_path):
    path = tmp_path / "table"
    whole(path)
    content = path.read_bytes()
    for end in range(len(content)):
        (tmp_path / "cut").write_bytes(content[:end])
        with pytest.raises(fdm.StoreError, match="cut"):
            open_table(tmp_path / "cut")


@pytest.mark.parametrize("change", [1, 128])
def test_a_damaged_header_is_a_store_error_or_does_no_harm(tmp_path, change):
    path = tmp_path / "table"
    rows = len(whole(path))
    content = bytearray(path.read_bytes())
    refused = 0
    for at in range(8 + int.from_bytes(content[:8], "little")):
        damaged = content.copy()
        damaged[at] ^= change
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            assert rows == len(open_table(tmp_path / "damaged"))
        except fdm.StoreError:
            refused += 1
    assert refused


NO_TABLES = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "empty": lambda path: path.touch(),
    "text": lambda path: path.write_text("no table"),
    "zeros": lambda path: path.write_bytes(bytes(100)),
    "of no table": lambda path: path.write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}"),
    "pickle": lambda path: torch.save({"x": torch.zeros(3)}, path),
}


@pytest.mark.parametrize("write", NO_TABLES.values(), ids=NO_TABLES)
def test_what_is_no_table_is_a_store_error(tmp_path, write):
    write(tmp_path / "table")
    with pytest.raises(fdm.StoreError, match="table"):
        open_table(tmp_path / "table")


def test_a_table_that_cannot_be_written_is_a_store_error(tmp_path):
    with pytest.raises(fdm.StoreError, match="missing"):
        save_table([fdm.Table({"x": torch.zeros(3)})], tmp_path / "missing" / "table")


PARTS = {
    "columns": ({"x": torch.zeros(2)}, {"y": torch.zeros(2)}),
    "order of columns": ({"x": torch.zeros(2), "y": torch.zeros(2)}, {"y": torch.zeros(2), "x": torch.zeros(2)}),
    "dtypes": ({"x": torch.zeros(2)}, {"x": torch.zeros(2, dtype=torch.int64)}),
    "shapes": ({"x": torch.zeros(2, 3)}, {"x": torch.zeros(2, 4)}),
    "ragged and not": ({"x": torch.zeros(2)}, {"x": fdm.Ragged.of([torch.zeros(1), torch.zeros(2)])}),
    "kinds of ragged": ({"x": fdm.Ragged.of(["a"])}, {"x": fdm.Ragged.of([b"a"])}),
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_parts_that_do_not_fit_together_are_refused(tmp_path, parts):
    with pytest.raises(fdm.DataError, match=r"'[xy]'"):
        save_table([fdm.Table(part) for part in parts], tmp_path / "table")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"all": 3}', '{"all": "missing"}', "\xff"])
def test_a_damaged_list_of_tables_is_a_store_error(tmp_path, text):
    save_tables({"all": [fdm.Table({"x": torch.zeros(3)})]}, tmp_path)
    (tmp_path / "tables.json").write_text(text, encoding="latin-1")
    with pytest.raises(fdm.StoreError):
        open_tables(tmp_path)
