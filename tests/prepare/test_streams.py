"""Clean functions that return streams of examples or tables: drained into a table in bounded memory, or refused by row."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

import fdm


N = 3000


def example(i):
    return {
        "n": i,
        "x": i / 7,
        "text": f"text {i}" * (i % 3),
        "raw": bytes([i % 256]) * (i % 5),
        "image": torch.full((2, 3), i % 256, dtype=torch.uint8),
        "tokens": list(range(i % 4)),
    }


def examples():
    for i in range(N):
        yield example(i)


def as_list():
    return list(examples())


def as_tables():
    for start in range(0, N, 7):
        yield fdm.Table.of([example(i) for i in range(start, min(N, start + 7))])


def mixed():
    yield example(0)
    yield fdm.Table.of([example(i) for i in range(1, 2000)])
    yield fdm.Table.of([example(2000)])
    for i in range(2001, N):
        yield example(i)


def with_empty_tables():
    yield fdm.Table.of([example(0)])
    yield fdm.Table({"n": torch.empty(0)})
    yield from (example(i) for i in range(1, N))


class Stream(IterableDataset):
    def __iter__(self):
        return examples()


def stream():
    return Stream()


def several():
    return {"train": examples(), "test": [example(0)], "whole": fdm.Table.of([example(1)])}


def opened(stage, store, **options):
    with fdm.open(fdm.pipeline(stage), store=store, **options) as data:
        return {split: list(data.dataset(split)) for split in data.splits}


def plain(rows):
    return [
        {name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in row.items()}
        for row in rows
    ]


@pytest.mark.parametrize("function", [examples, as_list, mixed, stream, with_empty_tables])
def test_a_stream_becomes_the_table_of_its_examples(function, tmp_path):
    found = opened(fdm.clean(function), tmp_path)["all"]
    assert plain(found) == plain(fdm.Table.of(list(examples())))
    assert found[0]["x"].dtype == torch.float64


def as_small_tables():
    for start in range(0, N, 7):
        yield fdm.Table({"n": torch.arange(start, min(N, start + 7)), "t": fdm.Ragged.of([[1]] * min(7, N - start))})


def test_tables_are_put_together(tmp_path):
    found = opened(fdm.clean(as_small_tables), tmp_path)["all"]
    assert [int(row["n"]) for row in found] == list(range(N))


def test_a_mapping_of_streams_has_a_source_for_each(tmp_path):
    found = opened(fdm.clean(several), tmp_path)
    assert {"train": N, "test": 1, "whole": 1} == {name: len(rows) for name, rows in found.items()}
    assert found["whole"][0]["n"] == 1


def part_names():
    return ["a", "b", "c"]


def part(name):
    for i in range("abc".index(name) + 1):
        yield {"n": i, "tokens": [i] * i}


def test_parts_are_streams_too(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        found = opened(fdm.clean(part).each(part_names), tmp_path, pool=pool)["all"]
    assert [int(row["n"]) for row in found] == [0, 0, 1, 0, 1, 2]
    assert [len(row["tokens"]) for row in found] == [0, 0, 1, 0, 1, 2]


def changed(at, **entries):
    def rows():
        for i in range(N):
            yield {**example(i), **(entries if i == at else {})}

    return rows()


def bad_dtype():
    return changed(2100, n=0.5)


def bad_text():
    return changed(2100, text=3)


def bad_none():
    return changed(2100, x=None)


def bad_shape():
    return changed(2100, image=torch.zeros(2, 4, dtype=torch.uint8))


def bad_type_of_tensor():
    return changed(2100, image=torch.zeros(2, 3))


def bad_length():
    return ({"crop": torch.zeros(2 + (i == 2100))} for i in range(N))


def bad_entry():
    return changed(2100, more=1)


def bad_table():
    yield from as_small_tables()
    yield fdm.Table({"n": torch.zeros(1), "t": fdm.Ragged.of([[1]])})


def nothing():
    return iter(())


def empty_tables():
    yield fdm.Table({"a": torch.empty(0)})


def pairs():
    yield 1, 2


def numbers():
    return {"x": [1, 2, 3]}


def a_loader():
    return DataLoader([{"x": 1}])


def failing():
    yield example(0)
    raise KeyError("lost")  # noqa: EM101


def stopping():
    yield example(0)
    next(iter(()))


REFUSED = {
    bad_dtype: (fdm.DataError, r"'n' .*float64.* row 2100.*int64"),
    bad_text: (fdm.DataError, r"'text' has .*int in row 2100"),
    bad_none: (fdm.DataError, r"'x' has, in row 2100, None"),
    bad_shape: (fdm.DataError, r"'image' .*\(2, 4\).* row 2100"),
    bad_type_of_tensor: (fdm.DataError, r"'image' .*float32.* row 2100"),
    bad_length: (
        fdm.DataError,
        r"'crop' .*\(2,\) in row 2048 .*\(3,\) in row 2100|'crop' is .*\(3,\) in row 2100.*lists",
    ),
    bad_entry: (fdm.DataError, "row 2100 has 'more'"),
    bad_table: (fdm.DataError, f"'n' .*float32.* row {N}.*int64"),
    nothing: (fdm.DataError, "nothing returned an empty table|nothing .* no examples"),
    empty_tables: (fdm.DataError, "empty_tables returned an empty table"),
    pairs: (fdm.DataError, "row 0 is a tuple"),
    numbers: (fdm.DataError, "row 0 is an int.*fdm.Table.of"),
    a_loader: (fdm.DataError, "DataLoader.*batches.*dataset"),
    failing: (KeyError, "lost"),
    stopping: (RuntimeError, "StopIteration"),
}


@pytest.mark.parametrize("function", REFUSED, ids=lambda function: function.__name__)
def test_what_differs_later_is_told_by_its_row_and_leaves_nothing_behind(function, tmp_path):
    kind, message = REFUSED[function]
    with pytest.raises(kind, match=f"(?s){message}") as caught:
        opened(fdm.clean(function), tmp_path)
    assert any(
        f"clean tests.prepare.test_streams.{function.__name__}" in note or function.__name__ in note
        for note in caught.value.__notes__
    )
    assert [] == list((tmp_path / ".staging").iterdir())


def test_load_says_that_clean_takes_streams(tmp_path):
    for function in (examples, stream):
        with pytest.raises(fdm.DataError, match=f"fdm.clean\\({function.__name__}\\)"):
            opened(fdm.load(function), tmp_path)


def large():
    for i in range(150):
        yield {"x": torch.full((1 << 20,), i, dtype=torch.uint8), "raw": bytes(1 << 20)}


BOUNDED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import test_streams, fdm
def anonymous():
    return int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1]) // 1024
import threading
most, going = [0], [True]
def watch():
    while going[0]:
        most[0] = max(most[0], anonymous())
        threading.Event().wait(0.005)
before = anonymous()
thread = threading.Thread(target=watch); thread.start()
with fdm.open(fdm.pipeline(fdm.clean(test_streams.large)), store=sys.argv[2]) as data:
    print(len(data.dataset("all")))
going[0] = False; thread.join()
print(most[0] - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_stream(tmp_path):
    command = [sys.executable, "-c", BOUNDED, str(Path(__file__).parent), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    count, grown = map(int, ran.stdout.split())
    assert count == 150
    assert grown < 200  # of 300 MB


def test_frames_are_taken_batch_by_batch(tmp_path):
    pytest.importorskip("pyarrow")
    found = opened(fdm.clean(record_batches), tmp_path)["all"]
    assert [int(row["n"]) for row in found] == list(range(100))


def record_batches():
    import pyarrow as pa

    return pa.table({"n": range(100), "t": ["a"] * 100}).to_reader(max_chunksize=7)


def hugging_face():
    from datasets import Dataset

    dataset = Dataset.from_dict({"n": list(range(100)), "t": [[i] * (i % 3) for i in range(100)]})
    return {"map": dataset, "stream": dataset.to_iterable_dataset()}


def test_datasets_of_hugging_face_are_drained(tmp_path):
    pytest.importorskip("datasets")
    found = opened(fdm.clean(hugging_face), tmp_path)
    assert plain(found["map"]) == plain(found["stream"])
    assert found["map"][5]["t"].tolist() == [5, 5]


def test_a_bar_counts_the_examples(tmp_path, capsys):
    opened(fdm.clean(as_list), tmp_path, progress=True)
    assert "3000/3000" in capsys.readouterr().err.replace(",", "")


def part_or_nothing(name):
    return iter([{"n": 1}] if name == "b" else [])


def nothing_of(name):
    return iter(())


def test_a_part_may_have_nothing_but_not_all(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        found = opened(fdm.clean(part_or_nothing).each(part_names), tmp_path, pool=pool)["all"]
        assert [int(row["n"]) for row in found] == [1]
        with pytest.raises(fdm.DataError, match="all parts returned empty tables"):
            opened(fdm.clean(nothing_of).each(part_names), tmp_path, pool=pool)


def with_a_gap():
    return {"a": [{"n": 1}], "b": []}


def test_a_source_of_which_nothing_came_is_told_by_name(tmp_path):
    with pytest.raises(fdm.DataError, match="with_a_gap: nothing came for 'b'"):
        opened(fdm.clean(with_a_gap), tmp_path)
