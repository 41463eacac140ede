"""Damaged files: flipped, cut, and lying in headers and offsets; none hangs, ends the process, or gives a foreign error."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fdm
from fdm._arrays.ragged import Ragged, mapped
from fdm._batches.readahead import _spans_of, ahead, pages
from fdm.store._facts import open_facts, save_facts
from fdm.store._tables import open_table, open_tables, save_table, save_tables


def table(rows=40):
    return fdm.Table(
        {
            "x": torch.arange(rows * 3).reshape(rows, 3),
            "flag": torch.arange(rows) % 2 == 0,
            "wide": torch.arange(rows).to(torch.complex128),
            "word": fdm.Ragged.of([f"wörd {row}" * (row % 4) for row in range(rows)]),
            "raw": fdm.Ragged.of([bytes([row]) * (row % 3) for row in range(rows)]),
            "tokens": fdm.Ragged.of([torch.arange(row % 5) for row in range(rows)]),
        }
    )


def flipped(raw, rng):
    for _ in range(rng.choice([1, 1, 3, 20])):
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return raw


def cut(raw, rng):
    return raw[: rng.randrange(len(raw))]


def longer(raw, rng):
    return raw + rng.randbytes(rng.randrange(1, 100))


def lying_header(raw, rng):
    """A header of the right form that says something else: names, dtypes, shapes, places, sizes."""
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    about = header[rng.choice(list(header))]
    values = [
        -1,
        0,
        1,
        2**31,
        2**62,
        2**64,
        1e300,
        None,
        [],
        {},
        [0],
        [2**62, 4],
        "I64",
        "F8",
        "nn",
        "tensor",
        "x" * 300,
    ]
    if "columns" in about:
        columns = json.loads(about["columns"])
        column = rng.choice(columns)
        column[rng.choice([*column, "dtype", "ragged", "name"])] = rng.choice(values)
        if rng.random() < 0.3:
            columns = rng.choice([columns + columns, [], {}, None, columns[:1], [[]]])
        about["columns"] = json.dumps(columns)
    else:
        about[rng.choice(list(about))] = rng.choice(values)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + raw[8 + size :]


def lying_offsets(raw, rng):
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    start, end = header[rng.choice([name for name in header if name.endswith("offsets")])]["data_offsets"]
    at = 8 + size + rng.randrange(start, end, 8)
    value = rng.choice([-1, -(2**63), 2**62, 2**40, 10**6, rng.randrange(100)])
    raw[at : at + 8] = value.to_bytes(8, "little", signed=True)
    return raw


def lying_json(raw, rng):
    content = json.loads(raw)
    name = rng.choice(list(content))
    content[name] = rng.choice(
        [None, 3, "x", "../../x", [], [3], {}, {"0": "nn"}, {"0": 3}, [["x"]], ["99"], [None] * 3]
    )
    return json.dumps(content).encode()


def used(found):
    """Read all, as loaders do, and as people do."""
    rows = torch.arange(len(found))
    ahead(found, found.gather)(rows.flip(0))
    found[[0, -1]]
    for column in found.values():
        if isinstance(column, Ragged):
            column.tolist()
            column.padded()


def tried(read, path, ways, seeds):
    """How many of these damages are errors; any error but a `StoreError` ends the process."""
    whole, refused = path.read_bytes(), 0
    for seed in seeds:
        way = ways[seed % len(ways)]
        sys.stderr.write(f"{path.name} {way.__name__} {seed}\n")  # who dies here says of what
        path.unlink()  # what is mapped already stays as it is
        path.write_bytes(way(bytearray(whole), random.Random(seed)))
        try:
            read(path)
        except fdm.StoreError:
            refused += 1
    path.unlink()
    path.write_bytes(whole)
    return refused


def of_tables(folder, seeds):
    save_tables({"": [table()]}, folder)
    (path,) = folder.glob("*.safetensors")
    ways = [flipped, cut, longer, lying_header, lying_offsets]
    found = tried(lambda path: used(open_table(path)), path, ways, seeds)
    return found + tried(
        lambda path: used(open_tables(path.parent)[""]), folder / "tables.json", [flipped, cut, lying_json], seeds[:200]
    )


def of_facts(folder, seeds):
    facts = {
        "n": 3,
        "mean": torch.arange(4.0),
        "wide": torch.arange(3).to(torch.complex128),
        "names": ["a", {"b": None}],
    }
    save_facts(facts, folder)
    found = 0
    for name, ways in {"facts.json": [flipped, cut, lying_json], "facts.safetensors": [flipped, cut, longer]}.items():
        found += tried(lambda path: open_facts(path.parent), folder / name, ways, seeds)
    return found


WORKS = {"tables": (of_tables, 2500), "facts": (of_facts, 400)}


@pytest.mark.parametrize("what", WORKS)
def test_no_damage_hangs_ends_the_process_or_gives_a_foreign_error(tmp_path, what):
    run = subprocess.run(
        [sys.executable, __file__, what, str(tmp_path)], capture_output=True, text=True, timeout=240, check=False
    )
    assert 0 == run.returncode, run.stderr[-3000:]
    assert int(run.stdout) > 100


def test_reading_ahead_stays_within_the_values_whatever_the_offsets_say():
    values = torch.arange(100)
    column = mapped(values, torch.tensor([0, 2**60, -(2**62), 50, 10, 2**62, 100]), "tensor")
    begin, end = values.data_ptr(), values.data_ptr() + values.nbytes
    for found in list(_spans_of(column, torch.arange(6).numpy()))[1:]:
        assert begin <= found[0].min()
        assert found[1].max() <= end
        assert all(start < end + 2**16 and stop < end + 2**16 for start, stop in pages(found))


@pytest.mark.parametrize("at", [1, 70_000, 3_999_999])
def test_offsets_of_millions_of_rows_are_all_looked_at(tmp_path, at):
    offsets = torch.arange(4_000_001)
    column = fdm.Ragged(torch.zeros(4_000_000, dtype=torch.uint8), offsets.clone())
    for value in (-1, 2**40, at + 2):
        column.offsets[at] = value
        save_table([fdm.Table({"x": mapped(column.values, column.offsets, "bytes")})], tmp_path / "table")
        with pytest.raises(fdm.StoreError, match="offsets of a ragged column"):
            open_table(tmp_path / "table")


def test_rows_outside_of_the_values_are_a_store_error_where_offsets_were_not_looked_at():
    for offsets in ([0, -2, 3], [0, 5, 3], [0, 2, 9], [-5, -2, 3]):
        column = mapped(torch.arange(3), torch.tensor(offsets), "tensor")
        for read in (column.tolist, lambda column=column: column[[0, 1]], lambda column=column: [column[0], column[1]]):
            with pytest.raises(fdm.StoreError, match="lie outside"):
                read()


NAMES = ["\ud800", "a\udcffb", "n" * 300, "ü" * 200, "a/b", "..", "\x00", "\n"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_sources_columns_and_facts_have_any_names(tmp_path, name):
    save_tables({name: [fdm.Table({name: torch.arange(3)})], "b": [table()]}, tmp_path)
    found = open_tables(tmp_path)
    assert ([name, "b"], [name]) == (list(found), list(found[name].keys()))
    save_facts({name: 1, "t": torch.ones(2)}, tmp_path)
    assert 1 == open_facts(tmp_path)[name]


DTYPES = [
    torch.float32,
    torch.bool,
    torch.uint8,
    torch.complex64,
    torch.complex128,
    torch.bfloat16,
    torch.float8_e4m3fn,
]
ONES = {
    "one row": lambda wide: wide[:1, 0],
    "one row of one": lambda wide: wide[:1, :1],
    "one row of several": lambda wide: wide[:1, ::2],
    "one column": lambda wide: wide[:, :1],
    "one of a turned one": lambda wide: wide.T[:1],
    "a corner": lambda wide: wide.reshape(2, 2, 5)[:1, :, :1],
}


@pytest.mark.parametrize("one", ONES.values(), ids=ONES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_columns_of_one_row_are_saved_whatever_their_strides(tmp_path, dtype, one):
    column = one(torch.arange(20).reshape(4, 5).to(dtype))
    ragged = mapped(column, torch.tensor([0, len(column)]), "tensor")
    save_table([fdm.Table({"x": column})] * 2, tmp_path / "table")
    assert [*map(str, column), *map(str, column)] == [*map(str, open_table(tmp_path / "table")["x"])]
    save_table([fdm.Table({"x": ragged})], tmp_path / "table")
    assert str(column) == str(open_table(tmp_path / "table")["x"][0])
    save_facts({"x": column}, tmp_path)
    assert str(column) == str(open_facts(tmp_path)["x"])


def test_a_part_may_have_one_row_and_a_block_may_end_with_one(tmp_path):
    wide = torch.arange(3 * ((1 << 24) // 8 + 1)).reshape(-1, 3)
    save_table([fdm.Table({"x": wide[:, 0]})], tmp_path / "table")
    assert torch.equal(wide[:, 0], open_table(tmp_path / "table")["x"])


if __name__ == "__main__":
    work, count = WORKS[sys.argv[1]]
    torch.set_num_threads(1)
    sys.stdout.write(str(work(Path(sys.argv[2]), range(count))))
    sys.stdout.flush()
    os._exit(0)
