"""Functions that are given a source: one that changes it in place is told, and one that does not is let alone."""

import functools
import random

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

import fdm


LARGE = 5_000_000


class Items:
    """A dataset of one's own, around what it holds."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Noisy(Items):
    """Draws where it reads, from the global state, and from a generator of its own."""

    own = np.random.default_rng()

    def __getitem__(self, index):
        return {"x": self.items[index], "noise": random.random(), "own": self.own.random()}


class Failing(Items):
    """Some of whose examples cannot be read."""

    def __getitem__(self, index):
        if index % 2:
            msg = "a damaged file"
            raise OSError(msg)
        return self.items[index]


@functools.lru_cache
def held(kind):
    """A source, the same one again for every reader, as one may be that a module holds."""
    rows = [{"x": torch.tensor([float(number), 1.0]), "y": number % 2} for number in range(40)]
    return {
        "list of records": rows,
        "list of numbers": [float(number) for number in range(40)],
        "list of lists": [[number, 1] for number in range(40)],
        "tuple of records": tuple(rows),
        "tensor": torch.arange(80.0).reshape(40, 2),
        "large tensor": torch.zeros(LARGE),
        "array": np.arange(80.0).reshape(40, 2),
        "large array": np.zeros(LARGE),
        "array of objects": np.array([[number, 1] for number in range(40)], dtype=object),
        "dataset": Items(rows),
        "dataset of lists": Items([[number] for number in range(40)]),
        "noisy dataset": Noisy([float(number) for number in range(40)]),
        "failing dataset": Failing([[number] for number in range(40)]),
        "tensors": TensorDataset(torch.arange(40.0), torch.zeros(40)),
        "subset": Subset(rows, list(range(40))),
        "table": fdm.Table({"x": torch.arange(40.0)}),
        "range": range(40),
    }[kind]


def changes():
    """For each kind of source, what people do to it in place."""

    def centre(source):
        source -= source.mean() - 1

    def through_numpy(source):
        source.numpy()[...] += 1

    def of_records(source):
        for index in range(len(source)):
            source[index]["x"] -= 1

    def of_lists(source):
        for index in range(len(source)):
            source[index].append(0)

    return {
        "list of records": [of_records, list.reverse, lambda source: source[3].pop("y"), lambda source: source.pop()],
        "list of numbers": [lambda source: random.Random(1).shuffle(source), lambda source: source.append(1.0)],
        "list of lists": [of_lists],
        "tuple of records": [of_records],
        "tensor": [centre, torch.Tensor.zero_, through_numpy, lambda source: source[3].fill_(-1)],
        "large tensor": [centre, through_numpy, lambda source: source[77].fill_(1)],
        "array": [centre, np.random.default_rng(0).shuffle, lambda source: source.__setitem__(3, -1)],
        "large array": [centre],
        "array of objects": [lambda source: source.__setitem__(3, -1)],
        "dataset": [of_records, lambda source: source.items.reverse(), lambda source: source.items.pop()],
        "dataset of lists": [of_lists],
        "failing dataset": [lambda source: [item.append(1) for item in source.items]],
        "tensors": [lambda source: source.tensors[0].zero_()],
        "subset": [of_records, lambda source: source.indices.reverse()],
    }


KIND, CHANGE = "", -1


def changed(source):
    whole = source.source if hasattr(source, "order") else source  # what somebody would reach who means to
    if CHANGE >= 0:
        changes()[KIND][CHANGE](whole)
    else:
        step = 2 if isinstance(whole, Failing) else 1
        assert [source[index] for index in range(0, min(len(source), 100), step)]


def given(kind):
    return held(KIND or kind)


def measured(source):
    changed(source)
    return {"seen": len(source)}


def halves(source):
    changed(source)
    return {"train": range(len(source) // 2), "val": range(len(source) // 2, len(source))}


def by_two(source):
    changed(source)
    return np.arange(len(source)) % 2


def weights(source):
    changed(source)
    return np.ones(len(source))


STAGES = {
    "measure": (fdm.measure(measured).on("all").version("1"),),
    "split": (fdm.split(halves).version("1"),),
    "stratify": (fdm.split({"a": 0.5, "b": None}, stratify=by_two).version("1"),),
    "groups": (fdm.split({"a": 0.5, "b": None}, groups=by_two).version("1"),),
    "key": (fdm.split({"a": 0.5, "b": None}, key=by_two).version("1"),),
    "fold": (fdm.fold(2, 0, stratify=by_two).version("1"),),
    "nested": (fdm.split({"a": 0.5, "b": None}), fdm.split(halves, of="a").version("1")),
    "sample": (fdm.sample(weights), fdm.batch(2)),
}


def run(stage, kind, store):
    """Open the pipeline, and where weights are wanted, ask for a loader."""
    load = fdm.load(given, kind=kind).version("1")
    with fdm.open(fdm.pipeline(load, *STAGES[stage]), store=store) as data:
        if stage == "sample":
            data.loader("all", epoch=0)


@pytest.fixture
def situation(monkeypatch):
    def be(kind, change):
        held.cache_clear()
        monkeypatch.setattr(f"{__name__}.KIND", kind)
        monkeypatch.setattr(f"{__name__}.CHANGE", change)

    yield be
    held.cache_clear()


@pytest.mark.parametrize("kind", changes())
def test_a_measure_that_changes_its_source_in_any_way_is_told_and_nothing_is_kept(kind, situation, tmp_path):
    for change in range(len(changes()[kind])):
        situation(kind, change)
        with pytest.raises(fdm.DataError, match=r"measured changed the .* that it was given, in place") as caught:
            run("measure", kind, tmp_path)
        assert "in stage 1, measure" in "".join(caught.value.__notes__)
    situation(kind, -1)
    run("measure", kind, tmp_path)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", ["list of records", "tensor", "array", "dataset"])
def test_every_function_that_is_given_a_source_is_told(stage, kind, situation, tmp_path):
    situation(kind, 0)
    with pytest.raises(fdm.DataError, match=r"changed the .* that it was given, in place") as caught:
        run(stage, kind, tmp_path)
    assert "in stage " in "".join(caught.value.__notes__)


@pytest.mark.filterwarnings("ignore:.*is another one each time")
@pytest.mark.parametrize("kind", ["range", "table", "noisy dataset", *changes()])
@pytest.mark.parametrize("stage", ["measure", "split", "sample"])
def test_functions_that_read_alone_are_let_alone(stage, kind, situation, tmp_path):
    situation(kind, -1)
    run(stage, kind, tmp_path)


@pytest.mark.filterwarnings("ignore:.*is another one each time")
def test_looking_moves_no_random_state(situation, tmp_path):
    situation("noisy dataset", -1)
    random.seed(3)
    expected = random.Random(3).random()
    fdm.open(fdm.pipeline(fdm.load(given, kind="").version("1"), fdm.split(halves_by_length))).close()
    assert expected == random.random()


def halves_by_length(source):
    return {"train": range(len(source) // 2), "val": range(len(source) // 2, len(source))}
