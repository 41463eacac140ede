"""Inputs: tracked paths count by content, and other paths that parameters name are remembered and warned of."""

import os
import pickle
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import attrs
import pytest
import torch

import fdm


def numbers(*, path):
    assert isinstance(path, Path | str)
    return fdm.Table({"x": torch.tensor([int(line) for line in Path(path).read_text().split()])})


def numbers_of_bytes(*, path):
    return numbers(path=os.fsdecode(path))


def numbers_of_folder(upstream=None, *, path):
    lines = [line for file in sorted(Path(path).rglob("*.txt")) for line in file.read_text().split()]
    return fdm.Table({"x": torch.tensor([int(line) for line in lines])})


def nested(*, paths):
    return numbers(path=paths["a"][0])


def by_default(*, path="numbers.txt"):
    return numbers(path=path)


def words(*, split, sep=" ", url="https://example.org/a", text="a\nb"):
    return fdm.Table({"x": torch.arange(len(split))})


@attrs.frozen
class Reader:
    path: object

    def __call__(self):
        return numbers(path=self.path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def seen(p, folder):
    """The numbers that a pipeline has, in the store beside the working folder, and the warnings of opening it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with fdm.open(p, store=folder.parent / "store") as data:
            found = [example["x"].item() for example in data.dataset("all")]
    return found, [str(each.message) for each in told]


FORMS = {
    "parameter": lambda path: fdm.clean(numbers, path=path),
    "in a container": lambda path: fdm.clean(nested, paths={"a": [path]}),
    "field of a callable instance": lambda path: fdm.clean(Reader(path)),
    "field of a parameter": lambda path: fdm.clean(field, reader=Reader(path)),
}


def field(*, reader):
    return reader()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_tracked_file_counts_by_content(folder, form):
    file = folder / "numbers.txt"
    file.write_text("1 2")
    p = fdm.pipeline(form(fdm.tracked("numbers.txt")))
    before = fdm.fingerprint(p)
    assert ([1, 2], []) == seen(p, folder)
    file.write_text("1 3")  # of the same size, within the grain of the clock
    assert ([1, 3], []) == seen(p, folder)
    assert before != fdm.fingerprint(p)
    file.write_text("1 2")
    assert before == fdm.fingerprint(p)
    (folder / "other").mkdir()
    shutil.move(file, folder / "other")
    assert before == fdm.fingerprint(fdm.pipeline(form(fdm.tracked(folder / "other" / "numbers.txt"))))
    os.chdir(folder / "other")
    assert ([1, 2], []) == seen(p, folder)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_another_path_is_warned_of_where_it_names_something_else(folder, form):
    file = folder / "numbers.txt"
    file.write_text("1 2")
    p = fdm.pipeline(form("numbers.txt"))
    assert ([1, 2], []) == seen(p, folder)
    assert ([1, 2], []) == seen(p, folder)
    file.write_text("1 2 3")
    found, (told,) = seen(p, folder)
    assert [1, 2] == found
    for part in (str(file), "3 bytes", "5 bytes", "'numbers.txt'", "fdm.tracked('numbers.txt')", '.version("2")'):
        assert part in told
    assert ([1, 2, 3], []) == seen(fdm.pipeline(p.stages[0].version("2")), folder)


def test_a_path_in_another_working_folder_is_warned_of(folder, monkeypatch):
    p = fdm.pipeline(fdm.clean(numbers, path="numbers.txt"))
    (folder / "numbers.txt").write_text("1 2")
    assert ([1, 2], []) == seen(p, folder)
    (folder / "other").mkdir()
    shutil.copy2(folder / "numbers.txt", folder / "other")
    monkeypatch.chdir(folder / "other")
    found, (told,) = seen(p, folder)
    assert [1, 2] == found
    assert str(folder / "numbers.txt") in told
    assert str(folder / "other" / "numbers.txt") in told
    (folder / "other" / "numbers.txt").unlink()
    assert "names nothing now" in seen(p, folder)[1][0]


CHANGES = {
    "touched": lambda file: os.utime(file, (1, 1)),
    "of the same size": lambda file: file.write_text("1 9"),
    "gone": lambda file: file.unlink(),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_of_a_file_is_warned_of(folder, change):
    file = folder / "numbers.txt"
    file.write_text("1 2")
    p = fdm.pipeline(fdm.clean(numbers, path=file))
    seen(p, folder)
    change(file)
    assert 1 == len(seen(p, folder)[1])


def test_a_path_as_bytes_is_remembered_like_a_text(folder):
    file = folder / "numbers.txt"
    file.write_text("1 2")
    p = fdm.pipeline(fdm.clean(numbers_of_bytes, path=os.fsencode(file)))
    assert ([1, 2], []) == seen(p, folder)
    file.write_text("1 2 3")
    found, told = seen(p, folder)
    assert [1, 2] == found
    assert 1 == len(told)
    assert str(file) in told[0]


def test_a_default_value_is_remembered_like_a_parameter(folder):
    (folder / "numbers.txt").write_text("1 2")
    p = fdm.pipeline(fdm.clean(by_default))
    assert [] == seen(p, folder)[1]
    (folder / "numbers.txt").write_text("1 2 3")
    assert 1 == len(seen(p, folder)[1])


def test_a_folder_is_remembered_with_what_lies_in_it(folder):
    (folder / "data").mkdir()
    (folder / "data" / "a.txt").write_text("1 2")
    p = fdm.pipeline(fdm.clean(numbers_of_folder, path="data"))
    assert ([1, 2], []) == seen(p, folder)
    assert ([1, 2], []) == seen(p, folder)
    (folder / "data" / "a.txt").write_text("1 2 3")
    assert 1 == len(seen(p, folder)[1])
    (folder / "data" / "a.txt").unlink()
    assert 1 == len(seen(p, folder)[1])


def test_a_folder_that_holds_the_store_is_no_false_alarm(folder):
    (folder / "a.txt").write_text("1 2")
    p = fdm.pipeline(fdm.clean(numbers_of_folder, path=folder))
    for _ in range(3):
        with fdm.open(p, store=folder / "store"):
            pass


def test_words_that_are_no_paths_are_no_false_alarm(folder):
    (folder / "train").mkdir()
    (folder / "a\nb").touch()
    p = fdm.pipeline(fdm.clean(words, split="train", sep="."))
    assert [] == seen(p, folder)[1]
    (folder / "new").touch()
    (folder / "a\nb").unlink()
    (folder / "train").rmdir()
    assert [] == seen(p, folder)[1]


def append(*, path, log):
    with Path(log).open("a") as file:
        file.write("ran\n")
    return numbers(path=path)


def test_what_a_function_writes_to_is_no_input(folder):
    (folder / "numbers.txt").write_text("1 2")
    (folder / "log.txt").write_text("")
    p = fdm.pipeline(fdm.clean(append, path="numbers.txt", log="log.txt"))
    seen(p, folder)
    (folder / "log.txt").write_text("more\n")
    assert [] == seen(p, folder)[1]


def write(into, *, path):
    shutil.copy(path, into / "copy.txt")


def read_copy(upstream):
    return numbers(path=upstream / "copy.txt")


def tenfold(upstream):
    return fdm.Table({"x": upstream["x"] * 10})


def total(source):
    return {"total": int(source["x"].sum())}


def opened(*, path):
    return numbers(path=path)


def test_what_earlier_stages_were_made_from_is_remembered_by_the_later_ones(folder):
    file = folder / "numbers.txt"
    file.write_text("1 2")
    short = fdm.pipeline(fdm.fetch(write, path="numbers.txt"), fdm.clean(read_copy))
    assert ([1, 2], []) == seen(short, folder)
    file.write_text("1 2 3")
    assert 1 == len(seen(short, folder)[1])
    longer = fdm.pipeline(*short.stages, fdm.clean(tenfold))
    assert 1 == len(seen(longer, folder)[1])  # made of the earlier content
    assert ([10, 20], 1) == (seen(longer, folder)[0], len(seen(longer, folder)[1]))
    measured = fdm.pipeline(*longer.stages, fdm.measure(total).on("all"))
    seen(measured, folder)
    assert 1 == len(seen(measured, folder)[1])


def test_facts_of_a_loaded_file_are_warned_of(folder):
    (folder / "numbers.txt").write_text("1 2")
    p = fdm.pipeline(fdm.load(opened, path="numbers.txt"), fdm.measure(total).on("all"))
    assert [] == seen(p, folder)[1]
    (folder / "numbers.txt").write_text("1 9")
    (told,) = seen(p, folder)[1]
    assert told.startswith("load opened: ")
    q = fdm.pipeline(fdm.load(opened, path=fdm.tracked("numbers.txt")), fdm.measure(total).on("all"))
    for content, expected in (("1 2 3", 6), ("4", 4)):
        (folder / "numbers.txt").write_text(content)
        with fdm.open(q, store=folder.parent / "store") as data:
            assert expected == data.facts["total"]


def test_a_warning_points_to_where_the_pipeline_is_opened(folder):
    (folder / "numbers.txt").write_text("1 2")
    p = fdm.pipeline(fdm.clean(numbers, path="numbers.txt"))
    seen(p, folder)
    (folder / "numbers.txt").write_text("1 2 3")
    with pytest.warns(UserWarning, match=r"numbers\.txt") as told:
        fdm.Executor(store=folder.parent / "store").prepare(p)
    assert [__file__] == [each.filename for each in told]


def test_a_tracked_folder_counts_by_names_and_content(folder):
    data = folder / "data"
    (data / "deep").mkdir(parents=True)
    (data / "a.txt").write_text("1")
    (data / "deep" / "b.txt").write_text("2")
    p = fdm.pipeline(fdm.clean(numbers_of_folder, path=fdm.tracked("data")))
    prints = [fdm.fingerprint(p)]
    assert ([1, 2], []) == seen(p, folder)
    for change in (
        lambda: (data / "deep" / "b.txt").write_text("3"),
        lambda: (data / "a.txt").rename(data / "c.txt"),
        lambda: (data / "d.txt").write_text("4"),
        (data / "deep" / "b.txt").unlink,
    ):
        change()
        prints.append(fdm.fingerprint(p))
    assert len(prints) == len(set(prints))
    assert ([1, 4], []) == seen(p, folder)
    shutil.copytree(data, folder / "copy")
    assert prints[-1] == fdm.fingerprint(fdm.pipeline(fdm.clean(numbers_of_folder, path=fdm.tracked("copy"))))
    (folder / "empty").mkdir()
    fdm.fingerprint(fdm.pipeline(fdm.clean(numbers_of_folder, path=fdm.tracked("empty"))))


def test_links_count_as_what_they_lead_to(folder):
    (folder / "real").mkdir()
    (folder / "real" / "a.txt").write_text("1")
    (folder / "data").mkdir()
    (folder / "data" / "linked").symlink_to(folder / "real")
    p = fdm.pipeline(fdm.clean(numbers_of_folder, path=fdm.tracked("data")))
    before = fdm.fingerprint(p)
    (folder / "real" / "a.txt").write_text("2")
    assert before != fdm.fingerprint(p)
    (folder / "real" / "back").symlink_to(folder / "real")
    with pytest.raises(fdm.DataError, match="leads back"):
        fdm.fingerprint(p)


def test_a_tracked_path_is_a_value_that_opens_nothing(folder):
    p = fdm.pipeline(fdm.clean(numbers, path=fdm.tracked("nowhere.txt")), fdm.batch(2))
    assert (
        p
        == pickle.loads(pickle.dumps(p))
        == fdm.pipeline(fdm.clean(numbers, path=fdm.tracked(Path("nowhere.txt"))), fdm.batch(2))
    )
    assert p != fdm.pipeline(fdm.clean(numbers, path=fdm.tracked("elsewhere.txt")), fdm.batch(2))
    assert p != fdm.pipeline(fdm.clean(numbers, path="nowhere.txt"), fdm.batch(2))
    assert hash(p) == hash(pickle.loads(pickle.dumps(p)))
    assert "path=tracked('nowhere.txt')" in str(p)
    assert {"tracked": "nowhere.txt"} == fdm.describe(p)["stages"][0]["params"]["path"]


def test_a_tracked_path_that_is_not_there_is_an_error_that_says_where_it_was_looked_for(folder):
    p = fdm.pipeline(fdm.clean(numbers, path=fdm.tracked("nowhere.txt")))
    for use in (fdm.fingerprint, lambda p: seen(p, folder)):
        with pytest.raises(fdm.DataError, match=rf"tracked\('nowhere\.txt'\).*{folder}"):
            use(p)


def test_a_tracked_path_that_is_no_file_is_refused(folder):
    os.mkfifo("pipe")
    (folder / "data").mkdir()
    os.mkfifo("data/pipe")
    (folder / "broken").mkdir()
    (folder / "broken" / "link").symlink_to("nowhere")
    for path in ("pipe", "data", "broken"):
        with pytest.raises(fdm.DataError, match=path):
            fdm.fingerprint(fdm.pipeline(fdm.clean(numbers, path=fdm.tracked(path))))


@pytest.mark.parametrize("wrong", ["", 1, None, b"a", "a\x00b"])
def test_tracked_takes_a_path(wrong):
    with pytest.raises(fdm.PipelineError, match="tracked takes the path"):
        fdm.tracked(wrong)


def grow(*, path):
    with path.open("a") as file:
        file.write(" 3")
    return numbers(path=path)


def test_a_tracked_file_that_changes_while_the_function_runs_is_refused(folder):
    (folder / "numbers.txt").write_text("1 2")
    with pytest.raises(fdm.DataError, match="changed while it ran"):
        seen(fdm.pipeline(fdm.clean(grow, path=fdm.tracked("numbers.txt"))), folder)


def add(item, *, path):
    return {"x": item["x"] + int(path.read_text())}


def names():
    return ["a", "b"]


def part(name, *, path):
    return fdm.Table({"x": torch.tensor([int(path.read_text())])})


def test_every_stage_with_parameters_gets_a_path(folder):
    (folder / "k.txt").write_text("5")
    k = fdm.tracked("k.txt")
    p = fdm.pipeline(fdm.clean(part, path=k).each(names), fdm.transform(add, path=k))
    assert ([10, 10], []) == seen(p, folder)
    q = fdm.pipeline(fdm.load(opened, path=k), fdm.measure(fact_of, path=k).on("all"), fdm.shuffle(), fdm.batch(1))
    with fdm.open(q, store=folder.parent / "store") as data:
        assert {"k": 5} == dict(data.facts)
        snapshot = data.loader("all").snapshot(0)
    (folder / "k.txt").write_text("6")
    with fdm.open(q, store=folder.parent / "store") as data, pytest.raises(fdm.SnapshotError, match="load"):
        data.loader("all", start=snapshot)


def fact_of(source, *, path):
    return {"k": int(path.read_text())}


def test_digests_are_remembered_by_size_and_time(folder, monkeypatch):
    file = folder / "numbers.txt"
    file.write_text("1 2")
    time.sleep(2.2)  # younger files are read each time, since a clock has a grain
    p = fdm.pipeline(fdm.clean(numbers, path=fdm.tracked("numbers.txt")))
    before = fdm.fingerprint(p)
    monkeypatch.setattr(Path, "open", None)
    assert before == fdm.fingerprint(p)
    monkeypatch.undo()
    os.chdir(folder)
    then = file.stat()
    file.write_text("1 3")
    os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))  # the same size and time
    assert before != fdm.fingerprint(p)


EDITED = """
import importlib, pathlib, sys, torch, fdm
here = pathlib.Path("mine.py")
here.write_text("import torch, fdm\\ndef read(): return fdm.Table({'x': torch.arange(2)})\\np = fdm.pipeline(fdm.clean(read))\\n")
import mine
prints = [fdm.fingerprint(mine.p)]
here.write_text(here.read_text().replace("arange(2)", "arange(5)"))
with fdm.open(mine.p, store="store") as data: old = data.splits["all"]
again = importlib.reload(mine)
with fdm.open(again.p, store="store") as data: print(old, data.splits["all"])
"""


def test_code_that_was_edited_after_it_was_imported_does_not_pass_for_the_new_one(folder):
    ran = subprocess.run([sys.executable, "-B", "-c", EDITED], capture_output=True, text=True, cwd=folder)
    assert ("2 5", "") == (ran.stdout.strip(), ran.stderr)
