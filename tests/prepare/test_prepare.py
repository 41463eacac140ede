"""Preparation: what is kept runs once per store, is published whole or not at all, and hands on what it should."""

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm


def note(log, *words):
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(" ".join(words) + "\n")


def told(log):
    return Path(log).read_text(encoding="utf-8").splitlines() if Path(log).exists() else []


def kind(value):
    return "Path" if isinstance(value, Path) else type(value).__name__


def get(into, *, log, text="abcdef"):
    note(log, "get", kind(into))
    (into / "sub").mkdir()
    (into / "sub" / "letters.txt").write_text(text)


def read(folder, *, log):
    note(log, "read", kind(folder))
    return fdm.Table({"x": torch.tensor([ord(letter) for letter in (folder / "sub" / "letters.txt").read_text()])})


def double(table, *, log, by=2):
    note(log, "double", kind(table))
    return {"a": fdm.Table({"x": table["x"] * by}), "b": fdm.Table({"x": table["x"]})}


def serve(tables, *, log):
    note(log, "serve", kind(tables), *(f"{name}:{kind(table)}" for name, table in tables.items()))
    return {"train": tables["a"], "rest": tables["b"]["x"].tolist()}


def tally(source, *, log, add=0):
    note(log, "tally", kind(source))
    return {"sum": int(source["x"].sum()) + add, "n": len(source)}


def count(*, n, log):
    note(log, "count")
    return fdm.Table({"x": torch.arange(n), "word": fdm.Ragged.of([f"w{i}" for i in range(n)])})


def shown(p, store):
    """What a pipeline with one source holds, by opening it anew."""
    with fdm.open(p, store=store) as data:
        (split,) = data.splits
        return [example["x"].item() for example in map(data.dataset(split).__getitem__, range(data.splits[split]))]


def published(store):
    return sorted(path.name for path in store.iterdir() if not path.name.startswith(".")) if store.exists() else []


def half_made(store):
    return [*(store / ".staging").rglob("*"), *(store / ".kept").rglob("*")]


def test_a_clean_runs_once_and_is_read_from_the_store_afterwards(tmp_path):
    store, log = tmp_path / "store", tmp_path / "log"
    p = fdm.pipeline(fdm.clean(count, n=4, log=str(log)))
    assert [0, 1, 2, 3] == shown(p, store) == shown(p, str(store)) == shown(fdm.pipeline(p, fdm.batch(2)), store)
    assert ["count"] == told(log)
    assert [] == half_made(store)


def test_stages_hand_on_folders_tables_and_mappings_of_them(tmp_path):
    store, log = tmp_path / "store", str(tmp_path / "log")
    p = fdm.pipeline(
        fdm.fetch(get, log=log),
        fdm.clean(read, log=log),
        fdm.clean(double, log=log),
        fdm.load(serve, log=log),
        fdm.measure(tally, log=log).on("train"),
    )
    with fdm.open(p, store=store) as data:
        assert {"train": 6, "rest": 6} == dict(data.splits)
        assert {"sum": 2 * sum(b"abcdef"), "n": 6} == dict(data.facts)
    ran = ["get Path", "read Path", "double Table", "serve dict a:Table b:Table", "tally View"]
    assert sorted(ran) == sorted(told(log))
    assert ran[:3] == [line for line in told(log) if line in ran[:3]]
    fdm.open(p, store=store).close()
    assert ["serve dict a:Table b:Table"] == told(log)[5:]


def test_editing_a_later_stage_does_not_run_the_earlier_ones_again(tmp_path):
    store, log = tmp_path / "store", str(tmp_path / "log")

    def edited(text="abc", by=2, add=0):
        return fdm.pipeline(
            fdm.fetch(get, log=log, text=text),
            fdm.clean(read, log=log),
            fdm.clean(double, log=log, by=by),
            fdm.measure(tally, log=log, add=add).on("a"),
        )

    everything = ["double Table", "get Path", "read Path", "tally View"]
    for changed, runs in (
        ({}, everything),
        ({"add": 1}, ["tally View"]),
        ({"by": 3}, ["double Table", "tally View"]),
        ({"text": "abcd"}, everything),
        ({}, []),
    ):
        before = len(told(log))
        fdm.open(edited(**changed), store=store).close()
        assert runs == sorted(told(log)[before:])


def test_a_version_decides_whether_a_stage_runs_again(tmp_path):
    store, log = tmp_path / "store", str(tmp_path / "log")
    stage = fdm.clean(count, n=2, log=log)
    for version, runs in (("1", 1), ("2", 2), ("1", 2)):
        shown(fdm.pipeline(stage.version(version)), store)
        assert runs == len(told(log))


def test_stages_that_do_not_decide_facts_do_not_measure_again(tmp_path):
    store, log = tmp_path / "store", str(tmp_path / "log")
    source = fdm.clean(count, n=10, log=log)
    cut, stats = fdm.split({"train": 6, "val": None}), fdm.measure(tally, log=log).on("train")
    for p in (
        fdm.pipeline(source, cut, stats),
        fdm.pipeline(source, cut, stats, fdm.shuffle(), fdm.batch(3), seed=4),
        fdm.pipeline(source, cut, fdm.alias(test="val"), stats, fdm.take(1)),
    ):
        with fdm.open(p, store=store) as data:
            assert {"sum": int(data.indices("train").sum()), "n": 6} == dict(data.facts)
    assert ["count", "tally View"] == told(log)
    fdm.open(fdm.pipeline(source, fdm.split({"train": 6, "val": None}, seed=1), stats), store=store).close()
    fdm.open(fdm.pipeline(source, cut, fdm.measure(tally, log=log).on("val")), store=store).close()
    assert ["count", *["tally View"] * 3] == told(log)


def test_prepare_makes_what_open_reads(tmp_path):
    store, log = tmp_path / "store", str(tmp_path / "log")
    p = fdm.pipeline(fdm.clean(count, n=3, log=log), fdm.measure(tally, log=log).on("all"))
    assert fdm.Executor(store=store).prepare(p) is None
    assert ["count", "tally View"] == told(log)
    assert [0, 1, 2] == shown(p, store)
    assert ["count", "tally View"] == told(log)


STORY = """
import os, time
import torch, fdm

def slow(*, log, die):
    with open(log, "a") as file:
        file.write("began\\n")
    if os.path.exists(die):
        os.remove(die)
        os.kill(os.getpid(), 9)
    time.sleep(0.5)
    return fdm.Table({"x": torch.arange(4)})

p = fdm.pipeline(fdm.clean(slow, log="log", die="die"), fdm.batch(2))
if __name__ == "__main__":
    with fdm.open(p) as data:
        print(data.loader("all")[1]["x"].tolist())
"""


def test_killed_and_simultaneous_processes_leave_one_whole_artifact_in_the_default_store(tmp_path):
    (tmp_path / "story.py").write_text(STORY)
    (tmp_path / "die").touch()
    start = {"args": [sys.executable, "story.py"], "cwd": tmp_path, "stdout": subprocess.PIPE, "text": True}
    start["env"] = {**os.environ, "FDM_STORE": str(tmp_path / "store")}
    assert -9 == subprocess.run(**start, check=False).returncode
    assert [] == published(tmp_path / "store")
    together = [subprocess.Popen(**start) for _ in range(2)]
    assert ["[2, 3]\n"] * 2 == [process.communicate()[0] for process in together]
    assert ["began"] * 2 == told(tmp_path / "log")
    assert 1 == len(published(tmp_path / "store"))


def test_the_default_store_is_what_the_environment_names_when_it_is_opened(tmp_path, monkeypatch):
    p = fdm.pipeline(fdm.clean(count, n=3, log=str(tmp_path / "log")))
    for name in ("one", "two"):
        monkeypatch.setenv("FDM_STORE", str(tmp_path / name))
        fdm.open(p).close()
        assert 1 == len(published(tmp_path / name))
    fdm.open(p, store=tmp_path / "three").close()
    assert 3 == len(told(tmp_path / "log"))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no variable for the cache folder")
def test_the_default_store_is_the_cache_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.delenv("FDM_STORE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fdm.open(fdm.pipeline(fdm.clean(count, n=3, log=str(tmp_path / "log")))).close()
    assert 1 == len(published(tmp_path / "fdm"))


def once(*, log, how):
    """Fails the first time."""
    note(log, "once")
    if len(told(log)) == 1:
        raise {"error": KeyError("oops"), "interrupt": KeyboardInterrupt(), "exit": fdm.StopError(3)}[how]
    return fdm.Table({"x": torch.arange(2)})


def fetch_once(into, *, log, how):
    (into / "half").write_text("half")
    once(log=log, how=how)


def clean_once(folder, *, log, how):
    return once(log=log, how=how)


def measure_once(source, *, log, how):
    once(log=log, how=how)
    return {"n": 2}


def letters(folder):
    return fdm.Table({"x": torch.tensor([len(list(folder.iterdir())), 1])})


FAILING = {
    "fetch": lambda given: [fdm.fetch(fetch_once, **given), fdm.clean(letters)],
    "first clean": lambda given: [fdm.clean(once, **given)],
    "second clean": lambda given: [fdm.clean(count, n=2, log=given["log"] + "2"), fdm.clean(clean_once, **given)],
    "measure": lambda given: [
        fdm.clean(count, n=2, log=given["log"] + "2"),
        fdm.measure(measure_once, **given).on("all"),
    ],
}


@pytest.mark.parametrize("how, error", [("error", KeyError), ("interrupt", KeyboardInterrupt), ("exit", fdm.StopError)])
@pytest.mark.parametrize("stages", FAILING.values(), ids=FAILING)
def test_what_fails_or_is_interrupted_leaves_nothing_behind_and_can_be_done_again(tmp_path, stages, how, error):
    store, log = tmp_path / "store", tmp_path / "log"
    p = fdm.pipeline(*stages({"log": str(log), "how": how}))
    with pytest.raises(error):
        fdm.open(p, store=store)
    assert [] == half_made(store)
    assert not any("once" in name for name in published(store))
    fdm.open(p, store=store).close()
    assert ["once", "once"] == told(log)
    assert len(p.stages) == len(published(store))


@pytest.mark.parametrize(
    "stages, number",
    [(FAILING[name], len(FAILING[name]({"log": "", "how": ""})) - 1) for name in FAILING if name != "fetch"],
)
def test_an_error_keeps_its_type_and_tells_stage_function_and_place(tmp_path, stages, number):
    p = fdm.pipeline(*stages({"log": str(tmp_path / "log"), "how": "error"}))
    with pytest.raises(KeyError, match="oops") as caught:
        fdm.open(p, store=tmp_path / "store")
    function = p.stages[number].function
    place = f"{__file__}:{function.call.__code__.co_firstlineno}"
    assert KeyError is caught.type
    (told_so,) = [text for text in caught.value.__notes__ if place in text]
    assert all(word in told_so for word in (f"stage {number}", p.stages[number].kind, function.name))


def returns(*, what):
    return RETURNED[what]


@attrs.frozen
class NoLength:
    def __getitem__(self, index):
        return index


def rows():
    return fdm.Table({"x": torch.arange(2)})


RETURNED = {
    "None": None,
    "a list": [1, 2],
    "a dict of tensors": {"x": torch.arange(3)},
    "an empty dict": {},
    "a dict of a table and a list": {"a": rows(), "b": [1]},
    "an empty name": {"": rows()},
    "a number as name": {3: rows()},
    "an empty table": fdm.Table({"x": torch.zeros(0)}),
    "a dict with empty tables only": {"a": fdm.Table({"x": torch.zeros(0)})},
    "an iterator": iter([1]),
    "no length": NoLength(),
    "a number": 3,
}


@pytest.mark.parametrize("what", RETURNED)
def test_a_clean_that_returns_no_tables_is_refused(tmp_path, what):
    with pytest.raises(fdm.DataError, match="returns") as caught:
        fdm.open(fdm.pipeline(fdm.clean(returns, what=what).version("1")), store=tmp_path)
    assert any("stage 0, clean" in text and __file__ in text for text in caught.value.__notes__)
    assert ([], []) == (published(tmp_path), half_made(tmp_path))


@pytest.mark.parametrize(
    "what", ["None", "an empty dict", "an empty name", "a number as name", "an iterator", "no length", "a number"]
)
def test_a_load_that_returns_no_sources_is_refused(tmp_path, what):
    with pytest.raises(fdm.DataError, match="returns"):
        fdm.open(fdm.pipeline(fdm.load(returns, what=what)), store=tmp_path)


def test_a_source_without_length_is_told_so(tmp_path):
    with pytest.raises(fdm.DataError, match="no __len__"):
        fdm.open(fdm.pipeline(fdm.load(returns, what="no length")), store=tmp_path)


def writes_nothing(into):
    pass


def test_a_fetch_that_writes_nothing_is_refused(tmp_path):
    with pytest.raises(fdm.DataError, match=r"writes_nothing wrote nothing.*stage 0, fetch"):
        fdm.open(fdm.pipeline(fdm.fetch(writes_nothing), fdm.clean(letters)), store=tmp_path)
    assert ([], []) == (published(tmp_path), half_made(tmp_path))


def test_a_pipeline_without_a_source_is_refused(tmp_path):
    for p in (fdm.pipeline(), fdm.pipeline(fdm.batch(2)), fdm.pipeline(fdm.fetch(writes_nothing))):
        with pytest.raises(fdm.PipelineError, match="no source"):
            fdm.open(p, store=tmp_path)


def no_upstream(*, k=1):
    return rows()


def test_only_what_comes_first_goes_without_upstream(tmp_path):
    with pytest.raises(fdm.ParameterError):
        fdm.pipeline(fdm.clean(no_upstream), fdm.clean(no_upstream, k=2))
    with pytest.raises(fdm.ParameterError, match="'folder'"):
        fdm.open(fdm.pipeline(fdm.clean(letters)), store=tmp_path)


def odd_names():
    return {name: fdm.Table({"x": torch.tensor([i])}) for i, name in enumerate(["a/b", "..", "ü", "a b", "x" * 300])}


def test_sources_may_have_any_name(tmp_path):
    p = fdm.pipeline(fdm.clean(odd_names), fdm.batch(1))
    for _ in range(2):
        with fdm.open(p, store=tmp_path / "store") as data:
            assert list(odd_names()) == list(data.splits)
            assert [0, 1, 2, 3, 4] == [data.loader(name)[0]["x"].item() for name in data.splits]
    assert ["store"] == [path.name for path in tmp_path.iterdir()]


def test_the_manifest_tells_every_file_with_its_size_and_digest(tmp_path):
    log = str(tmp_path / "log")
    p = fdm.pipeline(
        fdm.fetch(get, log=log),
        fdm.clean(read, log=log),
        fdm.clean(double, log=log),
        fdm.measure(tally, log=log).on("a"),
    )
    fdm.open(p, store=tmp_path / "store").close()
    folders = [tmp_path / "store" / name for name in published(tmp_path / "store")]
    assert 4 == len(folders)
    for folder in folders:
        entries = json.loads((folder / "manifest.json").read_text())["files"]
        expected = {
            path.relative_to(folder).as_posix(): (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in folder.rglob("*")
            if path.is_file() and path.name != "manifest.json"
        }
        assert expected == {entry["path"]: (entry["size"], entry["sha256"]) for entry in entries}
        assert expected


def test_nothing_in_the_store_is_a_pickle(tmp_path):
    log = str(tmp_path / "log")
    p = fdm.pipeline(fdm.clean(count, n=3, log=log), fdm.measure(give, what="tensors").version("1").on("all"))
    fdm.open(p, store=tmp_path / "store").close()
    files = [path for name in published(tmp_path / "store") for path in (tmp_path / "store" / name).rglob("*")]
    assert {".json", ".safetensors"} == {path.suffix for path in files}


def test_a_store_that_cannot_be_written_is_a_store_error(tmp_path):
    (tmp_path / "file").touch()
    p = fdm.pipeline(fdm.clean(count, n=3, log=str(tmp_path / "log")))
    for store in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(fdm.StoreError, match=r"FDM_STORE") as caught:
            fdm.open(p, store=store)
        assert str(store) in str(caught.value)
    assert [] == told(tmp_path / "log")


def listed():
    return [1, 2, 3]


def test_a_pipeline_that_only_loads_needs_no_store(tmp_path):
    with fdm.open(fdm.pipeline(fdm.load(listed), fdm.batch(2)), store=tmp_path / "store") as data:
        assert [1, 2] == data.loader("all")[0].tolist()
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("pattern", ["*.safetensors", "tables.json", "facts.json"])
@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(path.read_bytes()[:-1]), Path.unlink], ids=["cut", "gone"]
)
def test_a_damaged_artifact_is_a_store_error(tmp_path, pattern, damage):
    log = str(tmp_path / "log")
    p = fdm.pipeline(fdm.clean(count, n=3, log=log), fdm.measure(tally, log=log).on("all"))
    fdm.open(p, store=tmp_path / "store").close()
    (path,) = (tmp_path / "store").rglob(pattern)
    damage(path)
    with pytest.raises(fdm.StoreError, match=path.name):
        fdm.open(p, store=tmp_path / "store")


def in_place(table):
    table["x"].fill_(9)
    return fdm.Table({"x": table["x"]})


def test_a_clean_that_works_in_place_does_not_change_what_it_was_given(tmp_path):
    first = fdm.pipeline(fdm.clean(count, n=3, log=str(tmp_path / "log")))
    assert [9, 9, 9] == shown(fdm.pipeline(first, fdm.clean(in_place)), tmp_path / "store")
    assert [0, 1, 2] == shown(first, tmp_path / "store")


def centre(source):
    source["x"].sub_(1)
    return {"n": len(source)}


def test_a_measure_that_works_in_place_changes_no_batch(tmp_path):
    p = fdm.pipeline(fdm.clean(count, n=3, log=str(tmp_path / "log")), fdm.measure(centre).on("all"))
    assert [0, 1, 2] == shown(p, tmp_path / "store") == shown(p, tmp_path / "store")


def give(source, *, what):
    return FACTS[what]


SHARED = torch.arange(6).reshape(2, 3)
FACTS = {
    "plain": {"a": 1, "b": 1.5, "c": "ü", "d": None, "e": True, "f": [1, [2.5, None]], "g": {"h": {"i": []}}},
    "floats": {"inf": float("inf"), "-inf": float("-inf"), "tiny": 5e-324, "third": 1 / 3, "negative": -0.0},
    "order": {"z": 1, "a": torch.tensor(2), "m": 3},
    "names": {"a/b": torch.ones(1), "..": 1, "ü": 2, "0.values": torch.zeros(2), "x" * 300: torch.ones(3)},
    "tensors": {
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 3),
        "int": torch.arange(3),
        "bool": torch.tensor([True, False]),
        "bfloat16": torch.ones(2, dtype=torch.bfloat16),
        "complex": torch.tensor([1 + 2j]),
        "gradient": torch.ones(2, requires_grad=True),
    },
    "views": {"whole": SHARED, "same": SHARED, "turned": SHARED.T, "row": SHARED[1], "wide": torch.ones(1).expand(3)},
    "none": {},
}
NUMPY = {
    "numbers": (
        {"a": np.float32(1.5), "b": np.int64(3), "c": np.bool_(True), "d": [np.float64(2)]},
        [1.5, 3, True, [2.0]],
    ),
    "arrays": ({"a": np.arange(3), "b": np.array(1.5), "c": np.arange(3)[::-1]}, [[0, 1, 2], 1.5, [2, 1, 0]]),
}


def measured(facts, store):
    """The facts that come back, twice: when they are measured and when they are read."""
    FACTS["given"] = facts
    p = fdm.pipeline(fdm.load(listed), fdm.measure(give, what="given").version("1").on("all"))
    found = []
    for _ in range(2):
        with fdm.open(p, store=store) as data:
            found.append(dict(data.facts))
    assert repr(found[0]) == repr(found[1])
    return found[1]


def bare(value):
    if isinstance(value, torch.Tensor):
        return value.detach().to_dense().tolist()
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


@pytest.mark.parametrize("what", FACTS)
def test_facts_come_back_as_they_were_in_their_order(tmp_path, what):
    found = measured(FACTS[what], tmp_path)
    assert list(FACTS[what]) == list(found)
    for put, got in zip(FACTS[what].values(), found.values(), strict=True):
        assert bare(put) == bare(got)
        assert not isinstance(put, torch.Tensor) or (put.dtype, put.shape, False) == (
            got.dtype,
            got.shape,
            got.requires_grad,
        )


@pytest.mark.parametrize("facts, expected", NUMPY.values(), ids=NUMPY)
def test_numpy_facts_become_json_values_and_tensors(tmp_path, facts, expected):
    found = measured(facts, tmp_path)
    assert expected == list(map(bare, found.values()))
    assert not any(isinstance(value, np.ndarray | np.generic) for value in found.values())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=3))
def test_json_facts_come_back_as_they_were(facts):
    with tempfile.TemporaryDirectory() as store:
        assert repr(facts) == repr(measured(facts, store))


DOUBTFUL = {
    "numbers as keys": {0: 1.0, 1: 2.0},
    "keys that are equal as text": {1: "a", "1": "b"},
    "set": {1, 2},
    "bytes": b"raw",
    "complex": 1j,
    "object": object(),
    "ragged": fdm.Ragged.of(["a"]),
    "list of tensors": [torch.ones(1)],
    "array of strings": np.array(["a"]),
    "array of objects": np.array([None]),
    "array of dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "big endian array": np.arange(3, dtype=">i4"),
    "numpy complex": np.complex64(1j),
    "numpy date": np.datetime64("2020-01-01"),
    "numpy bytes": np.bytes_(b"raw"),
    "conjugate tensor": torch.tensor([1 + 2j]).conj(),
    "complex128 tensor": torch.tensor([1 + 2j], dtype=torch.complex128),
    "sparse tensor": torch.eye(2).to_sparse(),
}


@pytest.mark.parametrize("value", DOUBTFUL.values(), ids=DOUBTFUL)
def test_a_fact_comes_back_as_it_was_or_is_refused_by_name(tmp_path, value):
    try:
        found = measured({"doubtful": value}, tmp_path)
    except fdm.DataError as error:
        assert "'doubtful'" in str(error)  # noqa: PT017 - either of two outcomes is right
    else:
        assert bare(value) == bare(found["doubtful"])


@pytest.mark.parametrize("name", ["__metadata__", "", "\x00", "facts.json"])
def test_a_fact_may_have_any_name(tmp_path, name):
    assert {name: [1.0, 1.0]} == {key: fact.tolist() for key, fact in measured({name: torch.ones(2)}, tmp_path).items()}


@pytest.mark.parametrize(
    "facts", [None, [("a", 1)], {3: 1}, 3, rows()], ids=["None", "pairs", "number", "int", "table"]
)
def test_a_measure_that_returns_no_mapping_of_names_is_refused(tmp_path, facts):
    with pytest.raises(fdm.DataError, match="give returns a mapping") as caught:
        measured(facts, tmp_path)
    assert any("stage 1, measure" in text and __file__ in text for text in caught.value.__notes__)
    assert ([], []) == (published(tmp_path), half_made(tmp_path))


def test_a_fact_that_was_measured_before_is_refused_by_name(tmp_path):
    log = str(tmp_path / "log")
    again = [fdm.measure(tally, log=log, add=add).on("all") for add in (0, 1)]
    with pytest.raises(fdm.DataError, match=r"'n', 'sum' was measured before"):
        fdm.open(fdm.pipeline(fdm.clean(count, n=3, log=log), *again), store=tmp_path / "store")


def from_fact(source, *, n):
    return {"twice": n * 2}


def test_a_measure_may_take_facts_of_the_measures_before_it(tmp_path):
    log = str(tmp_path / "log")
    for n in (3, 4):
        p = fdm.pipeline(
            fdm.clean(count, n=n, log=log),
            fdm.measure(tally, log=log).on("all"),
            fdm.measure(from_fact, n=fdm.fact("n")).on("all"),
        )
        for _ in range(2):
            with fdm.open(p, store=tmp_path / "store") as data:
                assert 2 * n == data.facts["twice"]


def test_facts_cannot_be_changed(tmp_path):
    with fdm.open(fdm.pipeline(fdm.load(listed)), store=tmp_path) as data, pytest.raises(TypeError):
        data.facts["new"] = 1


def test_all_tables_of_a_store_are_read_back_with_their_ragged_columns(tmp_path):
    p = fdm.pipeline(fdm.clean(count, n=3, log=str(tmp_path / "log")), fdm.batch(2))
    for _ in range(2):
        with fdm.open(p, store=tmp_path / "store") as data:
            assert ["w0", "w1"] == data.loader("all")[0]["word"].tolist()


def arrive(*, journal):
    with Path(journal).open("a", encoding="utf-8") as file:
        file.write(f"begin {time.monotonic()}\n")
    time.sleep(0.3)
    with Path(journal).open("a", encoding="utf-8") as file:
        file.write(f"end {time.monotonic()}\n")
    return list(range(5))


def open_as(rank, p):
    torch.set_num_threads(1)
    fdm.open(p, context=fdm.RankContext(rank, 4, rank, 4))


def test_one_process_of_a_machine_loads_first_and_the_others_follow_together(tmp_path):
    p = fdm.pipeline(fdm.load(arrive, journal=str(tmp_path / "journal")), fdm.batch(2))
    processes = [multiprocessing.get_context("fork").Process(target=open_as, args=(rank, p)) for rank in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert 0 == process.exitcode
    events = [line.split() for line in (tmp_path / "journal").read_text().splitlines()]
    ordered = [kind for kind, _ in sorted(events, key=lambda event: float(event[1]))]
    assert ["begin", "end"] == ordered[:2]
    assert "begin begin" in " ".join(ordered[2:])
    assert 4 == ordered.count("end")
