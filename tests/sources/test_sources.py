"""Loaded sources: whose they are, when they are opened and closed, and what they may be."""

import functools
import multiprocessing
import random
import secrets
import sqlite3
import threading
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import fdm
import fdm.lightning
import fdm.testing


METHODS = multiprocessing.get_all_start_methods()
WAYS = [{}, {"threads": 3}, {"workers": 2, "threads": 2}, *({"workers": 2, "start_method": each} for each in METHODS)]
N = 120


class Lines(Dataset):
    """An open file that every read moves."""

    def __init__(self, path):
        self.file = path.open("rb")

    def __len__(self):
        return N

    def __getitem__(self, index):
        self.file.seek(index * 100)
        return int(self.file.read(100))

    def close(self):
        self.file.close()


class Zipped(Dataset):
    def __init__(self, path):
        self.archive = zipfile.ZipFile(path)

    def __len__(self):
        return N

    def __getitem__(self, index):
        return int(self.archive.read(f"{index}.txt"))

    def close(self):
        self.archive.close()


class Rows(Dataset):
    """A database connection, which refuses other threads, with a cursor that is moved and read in two steps."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path)
        self.cursor = self.connection.cursor()

    def __len__(self):
        return N

    def __getitem__(self, index):
        self.cursor.execute("SELECT value FROM numbers WHERE id = ?", (index,))
        return self.cursor.fetchone()[0]

    def close(self):
        self.connection.close()


class Scratch(Dataset):
    """A buffer that every read writes to."""

    def __init__(self, path):
        self.lines = path.read_bytes().splitlines()
        self.buffer = torch.zeros(1, dtype=torch.int64)

    def __len__(self):
        return N

    def __getitem__(self, index):
        self.buffer.fill_(int(self.lines[index]))
        return self.buffer.clone()


KINDS = {"file": Lines, "zip": Zipped, "database": Rows, "buffer": Scratch}


def opened_kind(*, folder, kind):
    return KINDS[kind](folder / kind)


def nested(*, folder):
    return {
        "subset": Subset(Lines(folder / "file"), range(N)),
        "concat": ConcatDataset([Lines(folder / "file"), Zipped(folder / "zip")]),
        "values": Subset(TensorDataset(torch.arange(N)), range(N)),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("sources")
    for kind in ("file", "buffer"):
        (made / kind).write_text("".join(f"{index:099}\n" for index in range(N)))
    with zipfile.ZipFile(made / "zip", "w") as archive:
        for index in range(N):
            archive.writestr(f"{index}.txt", f"{index}")
    with sqlite3.connect(made / "database") as connection:
        connection.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY, value INTEGER)")
        connection.executemany("INSERT INTO numbers VALUES (?, ?)", [(index, index) for index in range(N)])
    connection.close()
    return made


def values(batches):
    return [value for batch in batches for value in torch.as_tensor(batch).reshape(-1).tolist()]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_a_source_holds_open_is_never_shared(folder, way):
    for kind in KINDS:
        p = fdm.pipeline(fdm.load(opened_kind, folder=folder, kind=kind), fdm.shuffle(), fdm.batch(7), seed=3)
        with fdm.open(p, **way) as data:
            for epoch in range(2):
                assert data.loader("all", epoch=epoch)[0] is not None  # read here, beside the others
                found = values(data.loader("all", epoch=epoch))
                ids = [index for step in range(18) for index in data.loader("all", epoch=epoch).indices(step).tolist()]
                assert ids == found, kind


def test_what_is_nested_is_not_shared_either(folder):
    p = fdm.pipeline(fdm.load(nested, folder=folder), fdm.batch(7))
    for way in ({"threads": 3}, {"workers": 2}):
        with fdm.open(p, **way) as data:
            assert list(range(N)) == values(data.loader("subset"))
            assert [*range(N), *range(N)] == values(data.loader("concat"))
            assert list(range(N)) == values(batch[0] for batch in data.loader("values"))


@pytest.mark.parametrize("method", METHODS)
def test_a_dataset_in_a_loader_of_ones_own_opens_its_own_source(folder, method):
    with fdm.open(fdm.pipeline(fdm.load(opened_kind, folder=folder, kind="file"), fdm.shuffle(), seed=1)) as data:
        dataset = data.dataset("all", epoch=0)
        loader = DataLoader(dataset, batch_size=7, num_workers=2, multiprocessing_context=method)
        assert data.indices("all").tolist() == sorted(values(loader))
        assert [dataset[index] for index in range(N)] == values(loader)


def test_loops_in_threads_of_ones_own_do_not_disturb_each_other(folder):
    p = fdm.pipeline(fdm.load(opened_kind, folder=folder, kind="database"), fdm.shuffle(), fdm.batch(7))
    with fdm.open(p) as data, ThreadPoolExecutor(4) as pool:
        expected = values(data.loader("all", epoch=0))
        for found in pool.map(lambda _: values(data.loader("all", epoch=0)), range(8)):
            assert expected == found


# Opened, and closed


class Counting(Dataset):
    """Tells who opened and closed it, in a file of its own for each event, since processes do both."""

    def __init__(self, folder):
        self.folder, self.is_open = folder, True
        self.tell("opened")

    def tell(self, what):
        process, thread = multiprocessing.current_process().pid, threading.get_ident()
        with (self.folder / what).open("a") as file:
            file.write(f"{process} {thread}\n")

    def __len__(self):
        return 20

    def __getitem__(self, index):
        assert self.is_open
        return index

    def close(self):
        assert self.is_open
        self.is_open = False
        self.tell("closed")


def counting(*, folder, twice=False):
    source = Counting(folder)
    return {"a": source, "b": source} if twice else source


def events(folder, what):
    return (folder / what).read_text().splitlines() if (folder / what).exists() else []


@pytest.mark.parametrize(
    "way, count", [({}, 1), ({"threads": 2}, 3), ({"workers": 2}, 3), ({"workers": 2, "threads": 2}, 7)], ids=str
)
def test_each_reader_opens_once_and_closes_once(tmp_path, way, count):
    p = fdm.pipeline(fdm.load(counting, folder=tmp_path), fdm.batch(4))
    with fdm.open(p, **way) as data:
        for epoch in range(3):
            assert list(range(20)) == values(data.loader("all", epoch=epoch))
    opened = events(tmp_path, "opened")
    assert len(opened) <= count, "no reader opens twice"
    assert len(set(opened)) == len(opened)
    processes = [[each.partition(" ")[0] for each in events(tmp_path, what)] for what in ("opened", "closed")]
    assert sorted(processes[0]) == sorted(processes[1])


def test_what_is_shared_is_opened_once_in_this_process_and_its_forks(tmp_path):
    p = fdm.pipeline(fdm.load(counting, folder=tmp_path).shared(), fdm.batch(4))
    for way in ({"threads": 3}, {"workers": 2, "start_method": "fork"}):
        with fdm.open(p, **way) as data:
            assert list(range(20)) == values(data.loader("all"))
    assert 2 == len(events(tmp_path, "opened")) == len(events(tmp_path, "closed"))


def test_shared_is_for_speed_alone(tmp_path):
    stage = fdm.load(counting, folder=tmp_path)
    one, other = fdm.pipeline(stage, fdm.batch(4)), fdm.pipeline(stage.shared(), fdm.batch(4))
    assert fdm.fingerprint(one) == fdm.fingerprint(other)
    assert "shared" in str(other)
    assert fdm.describe(other)["stages"][0]["is_shared"] is True
    with fdm.open(one) as a, fdm.open(other) as b:
        assert a.loader("all").snapshot(2) == b.loader("all").snapshot(2)


def test_a_source_under_two_names_is_closed_once(tmp_path):
    with fdm.open(fdm.pipeline(fdm.load(counting, folder=tmp_path, twice=True), fdm.batch(4))) as data:
        assert values(data.loader("a")) == values(data.loader("b"))
    assert 1 == len(events(tmp_path, "closed"))


def test_threads_that_have_ended_leave_nothing_open(tmp_path):
    with fdm.open(fdm.pipeline(fdm.load(counting, folder=tmp_path), fdm.batch(4))) as data:
        for _ in range(5):
            thread = threading.Thread(target=lambda: values(data.loader("all")))
            thread.start()
            thread.join()
        assert 6 == len(events(tmp_path, "opened"))
        assert 5 == len(events(tmp_path, "closed"))
    assert 6 == len(events(tmp_path, "closed"))


class Stubborn(list):
    def close(self):
        msg = "not now"
        raise RuntimeError(msg)


def stubborn():
    return {"a": Stubborn([1]), "b": Stubborn([2])}


def test_a_source_that_cannot_be_closed_is_an_error_that_says_so():
    data = fdm.open(fdm.pipeline(fdm.load(stubborn), fdm.batch(1)))
    with pytest.raises(RuntimeError, match="not now") as caught:
        data.close()
    assert "closing the source, a Stubborn" in caught.value.__notes__
    data.close()


def growing(*, folder):
    with (folder / "calls").open("a") as file:
        file.write("x")
    return Scaled(len((folder / "calls").read_text()))


class Scaled(Dataset):
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return index


def test_a_load_that_opens_something_else_elsewhere_is_told(tmp_path):
    with (
        fdm.open(fdm.pipeline(fdm.load(growing, folder=tmp_path), fdm.batch(1)), threads=1) as data,
        pytest.raises(fdm.DataError, match=r"opens sources of \{'all': 2\} examples in .*, but of \{'all': 1\}"),
    ):
        list(data.loader("all"))


def shuffled_files():
    names = list(range(50))
    random.shuffle(names)
    return Renamed([*names, int(torch.randint(10**6, ())), int(np.random.randint(10**6))])


class Renamed(Dataset):
    def __init__(self, names):
        self.names = names

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        return self.names[index]


@pytest.mark.parametrize("way", WAYS[1:], ids=str)
def test_a_load_that_draws_from_the_global_state_finds_the_same_everywhere(way):
    p = fdm.pipeline(fdm.load(shuffled_files), fdm.batch(7))
    state = random.getstate(), torch.get_rng_state().tolist()
    with fdm.open(p) as alone, fdm.open(p, **way) as data:
        expected = values(alone.loader("all"))
        assert expected == values(data.loader("all"))
        assert list(range(50)) != expected[:50]
    assert state == (random.getstate(), torch.get_rng_state().tolist())


# Drawing


class Drawing(Dataset):
    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return {"id": index, "x": drawn(self.how, index)}


def drawn(how, index):
    match how:
        case "nothing":
            return float(index)
        case "torch":
            return torch.rand(3)
        case "numpy":
            return np.random.rand(3)
        case "random":
            return random.random()
        case "coin":
            return index if random.random() < 0.5 else -index - 1
    return secrets.randbits(60)


DRAWS = ("nothing", "torch", "numpy", "random", "coin", "generator")


def drawing(*, how):
    return Drawing(how)


@pytest.mark.parametrize("how", DRAWS)
def test_a_source_that_draws_is_told_when_it_is_opened(how):
    p = fdm.pipeline(fdm.load(drawing, how=how), fdm.batch(4))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fdm.open(p).close()
    told = [str(each.message) for each in caught]
    if how == "nothing":
        assert [] == told
        return
    assert 1 == len(told)
    assert __file__ == caught[0].filename
    assert "stage 0, load" in told[0]
    assert "a Drawing" in told[0]
    remedy = "cannot be seeded from outside" if how == "generator" else ".ambient()"
    assert remedy in told[0]


def test_an_ambient_source_that_draws_from_elsewhere_is_told_when_it_is_opened():
    for how in DRAWS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fdm.open(fdm.pipeline(fdm.load(drawing, how=how).ambient(), fdm.batch(4))).close()
        assert (how == "generator") == bool(caught), how
        assert all("cannot be seeded from outside" in str(each.message) for each in caught)


@pytest.mark.parametrize("how", ["torch", "numpy", "random", "coin"])
def test_an_ambient_source_is_read_alike_by_all(how):
    def same(one, other):
        return all(
            a["id"].tolist() == b["id"].tolist() and a["x"].tolist() == b["x"].tolist()
            for a, b in zip(one, other, strict=True)
        )

    stages = fdm.load(drawing, how=how).ambient(), fdm.shuffle(), fdm.batch(5, drop_last=True)
    p = fdm.pipeline(*stages, seed=2)
    before = random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
    with fdm.open(p) as data:
        epochs = [list(data.loader("all", epoch=epoch)) for epoch in range(2)]
        assert same(epochs[0][1:], data.loader("all", start=data.loader("all", epoch=0).snapshot(1)))
        assert same([epochs[1][1]], [data.loader("all", epoch=1)[1]])
        xs = [
            dict(zip(torch.cat([b["id"] for b in e]).tolist(), torch.cat([b["x"] for b in e]).tolist(), strict=True))
            for e in epochs
        ]
        assert any(xs[0][index] != xs[1].get(index, xs[0][index]) for index in xs[0]), "another epoch draws anew"
        dataset = data.dataset("all", epoch=1)
        assert [dataset[at]["id"] for at in range(5)] == epochs[1][0]["id"].tolist()
        assert torch.equal(
            torch.stack([torch.as_tensor(dataset[at]["x"]) for at in range(5)]),
            epochs[1][0]["x"].to(torch.as_tensor(dataset[0]["x"]).dtype),
        )
        small = fdm.open(fdm.replace(p, fdm.batch(1)))
        ones = list(small.loader("all", epoch=0))[:10]
        assert [x for batch in epochs[0] for x in batch["x"].tolist()] == [batch["x"].tolist()[0] for batch in ones]
    for way in WAYS[1:]:
        with fdm.open(p, **way) as data:
            assert same(epochs[0], data.loader("all", epoch=0)), way
            assert same(epochs[1], data.loader("all", epoch=1)), way
    assert before == (random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist())


def mean_of(source):
    return {"mean": float(np.mean([np.mean(source[index]["x"]) for index in range(len(source))]))}


def halves(source):
    cut = [index for index in range(len(source)) if np.mean(source[index]["x"]) < 0.5]
    return {"low": cut, "high": sorted(set(range(len(source))) - set(cut))}


def test_splits_and_facts_of_an_ambient_source_are_the_same_again(tmp_path):
    p = fdm.pipeline(fdm.load(drawing, how="random").ambient(), fdm.split(halves), fdm.measure(mean_of).on("low"))
    found = []
    for at in range(2):
        random.seed(at)
        with fdm.open(p, store=tmp_path / str(at)) as data:
            found.append((data.indices("low").tolist(), data.facts["mean"]))
    assert found[0] == found[1]


def test_ambient_sources_sampled_twice_in_an_epoch_differ():
    p = fdm.pipeline(fdm.load(drawing, how="random").ambient(), fdm.sample(ones, size=40), fdm.batch(40))
    with fdm.open(p) as data:
        (batch,) = data.loader("all", epoch=0)
    assert 40 == len(set(batch["x"].tolist()))


def ones(source):
    return [1] * len(source)


def test_check_names_the_remedy_for_a_source_that_draws():
    p = fdm.pipeline(fdm.load(drawing, how="torch"), fdm.batch(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = fdm.testing.examine(p, without=["workers change nothing"])
    (broken, *_) = report.broken
    assert ("sources give the same examples again", 0) == (broken.law, broken.number)
    assert "fdm.load(fn).ambient()" in broken.counterexample
    assert fdm.testing.check(fdm.pipeline(fdm.load(drawing, how="torch").ambient(), fdm.batch(4))).passed


def test_check_finds_sources_that_are_shared_and_should_not_be(folder):
    stage = fdm.load(opened_kind, folder=folder, kind="file")
    assert fdm.testing.check(fdm.pipeline(stage, fdm.batch(30))).passed
    report = fdm.testing.examine(fdm.pipeline(stage.shared(), fdm.batch(30)))
    (broken,) = [verdict for verdict in report.broken if verdict.law == "sources can be read side by side"]
    assert 0 == broken.number
    assert ".shared()" in broken.counterexample


# What may be loaded


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))

    def __len__(self):
        return 3


class Endless(Dataset):
    def __getitem__(self, index):
        return index


class Lengthless(Endless):
    def __len__(self):
        raise NotImplementedError


def frame_of(package, name):
    """What has a length, and an index that finds columns."""
    return type(name, (Columns,), {"__module__": f"{package}.core"})()


class Columns:
    def __len__(self):
        return 2

    def __getitem__(self, name):
        return {"x": [1, 2]}[name]


WRONG = {
    "a pandas frame": (lambda: frame_of("pandas", "DataFrame"), "finds columns, not examples.*fdm.Table"),
    "a polars frame": (lambda: frame_of("polars", "DataFrame"), "finds columns, not examples.*fdm.Table"),
    "an Arrow table": (lambda: frame_of("pyarrow", "Table"), "finds columns, not examples.*fdm.Table"),
    "a pandas series": (lambda: frame_of("pandas", "Series"), "index need not count examples.*to_numpy"),
    "a dict of dicts": (lambda: {"all": {"train": [1], "test": [2]}}, "finds entries by name.*one mapping"),
    "a stream": (Stream, "a stream, whose examples have no numbers.*fdm.clean"),
    "streams by name": (lambda: {"train": Stream()}, "source 'train' a .*Stream, a stream"),
    "a loader": (lambda: DataLoader([1, 2]), "makes batches itself; return its dataset"),
    "a path": (lambda: "train.csv", "single characters"),
    "a generator": (lambda: (i for i in range(3)), "no order by number"),
    "a set": (lambda: {1, 2}, "no order by number"),
    "no length": (Endless, "has no __len__"),
    "a length that is not known": (Lengthless, "whose length is not known"),
    "nothing": (lambda: None, "returned None"),
    "an empty mapping": (dict, "empty mapping"),
    "columns": (lambda: {"x": torch.ones(3)}, "mapping of columns"),
    "a number": (lambda: 3, "has no __len__"),
}


def wrong(*, what):
    return WRONG[what][0]()


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_source_is_refused_with_the_remedy(what):
    with pytest.raises(fdm.DataError, match=WRONG[what][1]) as caught:
        fdm.open(fdm.pipeline(fdm.load(wrong, what=what), fdm.batch(1)))
    assert any("stage 0" in note for note in getattr(caught.value, "__notes__", [])) or "wrong returned" in str(
        caught.value
    )


class Splits(dict):
    """As a DatasetDict is: a dict by split."""


def splits_by_name():
    return Splits(train=[1, 2], test=[3])


def test_a_mapping_of_splits_is_sources_by_name():
    with fdm.open(fdm.pipeline(fdm.load(splits_by_name), fdm.batch(1))) as data:
        assert {"train": 2, "test": 1} == dict(data.splits)


# Opened by somebody else


@functools.cache
def remembered(*, folder):
    return Lines(folder / "file")


@pytest.mark.parametrize("way", [{"threads": 1}, {"workers": 1, "start_method": "fork"}], ids=str)
def test_a_load_that_remembers_its_source_is_told_where_another_would_read_it(folder, way):
    p = fdm.pipeline(fdm.load(remembered, folder=folder), fdm.batch(7))
    with (
        fdm.open(p, **way) as data,
        pytest.raises(fdm.DataError, match=r"the very source 'all', a Lines.*\.shared\(\)"),
    ):
        list(data.loader("all"))
    remembered.cache_clear()


def test_datasets_that_are_given_stay_open_and_are_told_of_where_they_draw(folder):
    given = Lines(folder / "file")
    for _ in range(2):
        dm = fdm.lightning.from_datasets(test_dataset=given, batch_size=7)
        dm.setup("test")
        assert list(range(N)) == values(dm.test_dataloader())
        dm.teardown()
    assert not given.file.closed
    given.close()
    dm = fdm.lightning.from_datasets(test_dataset=Drawing("torch"), batch_size=4)
    with pytest.warns(UserWarning, match="another one each time it is read"):
        dm.setup("test")
    dm.teardown()
