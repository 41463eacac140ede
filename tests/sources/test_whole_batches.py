"""Sources that give whole batches: the batches that their examples make, read by each process and thread for itself, and checked."""

import numpy as np
import pytest
import torch

import fdm


class Windows:
    """Windows over numbers, read example by example or batch by batch; it counts what is asked of it."""

    def __init__(self, n, returns="dict"):
        self.numbers, self.n, self.returns = torch.arange(n + 4), n, returns
        self.asked = []

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.asked.append("item")
        return self._as({"x": self.numbers[index : index + 4], "n": index})

    def gather(self, ids):
        self.asked.append("gather")
        assert ids.dtype == torch.int64
        return self._as({"x": self.numbers[ids[:, None] + torch.arange(4)], "n": ids.clone()})

    def _as(self, entries):
        return {
            "dict": dict,
            "tuple": lambda e: tuple(e.values()),
            "tensor": lambda e: e["x"],
            "array": lambda e: {"x": np.asarray(e["x"])},
        }[self.returns](entries)


SOURCES = []


def windows(*, n, returns="dict"):
    SOURCES.append(Windows(n, returns))
    return SOURCES[-1]


def plain(batch):
    if isinstance(batch, dict):
        return {name: value.tolist() for name, value in batch.items()}
    return batch.tolist() if isinstance(batch, torch.Tensor) else [value.tolist() for value in batch]


def collated(examples):
    return torch.utils.data.default_collate(examples)


def double(batch):
    return {**batch, "x": batch["x"] * 2}


def same(example):
    return example


@pytest.mark.parametrize("returns", ["dict", "tuple", "tensor", "array"])
def test_batches_are_those_of_the_examples(returns):
    found = []
    for batch, is_fast in ((fdm.batch(8), True), (fdm.batch(8, collate=collated), False)):
        load = fdm.load(windows, n=50, returns=returns)
        SOURCES.clear()
        with fdm.open(fdm.pipeline(load, fdm.split({"a": 40, "b": None}, seed=2), fdm.shuffle(), batch)) as data:
            found.append([plain(batch) for batch in data.loader("a")])
        asked = [each for source in SOURCES for each in source.asked]
        assert is_fast == ("gather" in asked)
        assert is_fast == (asked.count("item") < 40)  # some are read when it is opened
    assert found[0] == found[1]


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"workers": 2}], ids=str)
def test_whoever_reads_has_a_source_of_its_own(options):
    p = fdm.pipeline(fdm.load(windows, n=50), fdm.shuffle(), fdm.batch(8, ids="id"), fdm.transform(double))
    with fdm.open(p, **options) as data:
        for batch in data.loader("all"):
            assert batch["id"].tolist() == batch["n"].tolist()
            assert batch["x"][:, 0].tolist() == (2 * batch["id"]).tolist()


def test_stages_on_examples_read_examples():
    with fdm.open(fdm.pipeline(fdm.load(windows, n=9), fdm.transform(same), fdm.batch(4))) as data:
        assert data.loader("all")[0]["n"].tolist() == [0, 1, 2, 3]
        assert data.dataset("all")[3]["n"] == 3
    assert "gather" not in SOURCES[-1].asked


class Bad(Windows):
    def gather(self, ids):
        return BAD[self.returns][0](ids)


def bad(*, kind):
    return Bad(20, kind)


BAD = {
    "fewer": (lambda ids: {"x": ids[1:]}, "gather of Bad returned 3 rows for 4 ids .entry 'x'"),
    "one of two": (lambda ids: {"x": ids, "y": ids[1:]}, "3 rows for 4 ids .entry 'y'"),
    "tuple": (lambda ids: (ids, ids[1:]), "3 rows for 4 ids .entry 1"),
    "tensor": (lambda ids: ids[1:], "3 rows for 4 ids .the batch"),
    "list": (lambda ids: {"x": [1]}, "1 rows for 4 ids"),
    "examples": (lambda ids: [{"x": 1}] * len(ids), "a list of examples.*__getitems__"),
    "none": (lambda ids: None, "a NoneType, not a batch"),
    "objects": (lambda ids: {"x": np.array([None] * len(ids))}, "entry 'x' of the batch .* object"),
}


@pytest.mark.parametrize("kind", BAD)
def test_batches_with_other_rows_than_ids_are_refused(kind):
    with fdm.open(fdm.pipeline(fdm.load(bad, kind=kind), fdm.batch(4))) as data:
        with pytest.raises(fdm.DataError, match=BAD[kind][1]) as caught:
            next(iter(data.loader("all")))
        assert "reading from the source, a Bad" in caught.value.__notes__[-1]


class Collating:
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return {"x": index, "y": index}

    def __getitems__(self, ids):
        return {"x": torch.tensor(ids), "y": torch.tensor(ids)}


def collating():
    return Collating()


def test_a_batch_from_getitems_is_told_with_the_name_that_it_should_have():
    for size in (2, 4):  # as many as there are entries, too
        with (
            fdm.open(fdm.pipeline(fdm.load(collating), fdm.batch(size))) as data,
            pytest.raises(fdm.DataError, match=r"returned a dict, a whole batch.*def gather"),
        ):
            next(iter(data.loader("all")))


class Other(Windows):
    def gather(self, dim, index):
        raise AssertionError


def other():
    return Other(9)


def tensor():
    return torch.arange(9)


def test_what_is_called_gather_and_is_something_else_is_left_alone():
    with fdm.open(fdm.pipeline(fdm.load(other), fdm.batch(4))) as data:
        assert data.loader("all")[0]["n"].tolist() == [0, 1, 2, 3]
    with fdm.open(fdm.pipeline(fdm.load(tensor), fdm.batch(4))) as data:
        assert data.loader("all")[0].tolist() == [0, 1, 2, 3]


def two():
    return {"a": Windows(20), "b": Windows(30)}


def test_parts_of_a_mixture_may_be_such_sources():
    p = fdm.pipeline(
        fdm.load(two), fdm.shuffle().on("a", "b"), fdm.mix({"a": 0.5, "b": 0.5}, into="train"), fdm.batch(8).on("train")
    )
    with fdm.open(p) as data:
        assert data.loader("train")[0]["x"].shape == (8, 4)


def hugging_face(*, kind):
    datasets = pytest.importorskip("datasets")
    columns = {
        "numbers": {
            "n": list(range(40)),
            "x": [i / 7 for i in range(40)],
            "t": [f"{i}" for i in range(40)],
            "v": [[i, i] for i in range(40)],
        },
        "nested": {"n": list(range(40)), "s": [{"a": i} for i in range(40)]},
    }
    return datasets.Dataset.from_dict(columns[kind]).with_format("torch").select(range(1, 40))


@pytest.mark.parametrize("kind", ["numbers", "nested"])
def test_datasets_of_hugging_face_are_read_by_slices(kind):
    pytest.importorskip("datasets")
    load = fdm.load(hugging_face, kind=kind)
    with (
        fdm.open(fdm.pipeline(load, fdm.shuffle(), fdm.batch(8))) as fast,
        fdm.open(fdm.pipeline(load, fdm.shuffle(), fdm.batch(8, collate=collated))) as slow,
    ):
        for one, other_ in zip(fast.loader("all", epoch=1), slow.loader("all", epoch=1), strict=True):
            assert str(one) == str(other_)
            assert one["n"].dtype == other_["n"].dtype
