"""Rows of batches: ids and keys are those of the rows beside them, also where a function leaves rows out or adds some."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

import fdm
from fdm._batches.rows import row_counts


def rows(n=20):
    return fdm.Table({"x": torch.arange(n) * 10, "y": torch.arange(n).float()})


def stacked(examples):
    return {name: torch.stack([example[name] for example in examples]) for name in ("x", "y")}


def is_kept(x):
    return x % 30 != 0


def keeping(examples):
    """A collate that leaves examples out and returns nothing of their ids."""
    return stacked([example for example in examples if is_kept(example["x"])])


def keeping_ids(examples):
    kept = [example for example in examples if is_kept(example["x"])]
    return {**stacked(kept), "id": torch.stack([example["id"] for example in kept])}


def listing_ids(examples):
    kept = [example for example in examples if is_kept(example["x"])]
    return {**stacked(kept), "id": [example["id"] for example in kept]}


def turned(examples):
    return keeping_ids(examples[::-1])


def by_torch(examples):
    return torch.utils.data.default_collate([example for example in examples if is_kept(example["x"])])


def twice(examples):
    return by_torch([example for example in examples for _ in range(2)])


def filtered(batch):
    keep = is_kept(batch["x"])
    return {name: value[keep] for name, value in batch.items()}


def forgetful(batch):
    keep = is_kept(batch["x"])
    return {**batch, "x": batch["x"][keep], "y": batch["y"][keep]}


def in_place(batch):
    keep = is_kept(batch["x"])
    batch["x"], batch["y"] = batch["x"][keep], batch["y"][keep]
    return batch


def doubled(batch):
    return {**batch, "x": torch.cat([batch["x"]] * 2), "y": torch.cat([batch["y"]] * 2)}


def without_ids(batch):
    return {name: value for name, value in forgetful(batch).items() if name != "id"}


def reversed_rows(batch):
    return {name: value.flip(0) for name, value in batch.items()}


def noisy(batch, key):
    return {**batch, "noise": key.uniform()}


def dropping(batch, key):
    """An augment that leaves rows out, as its keys say."""
    keep = key.uniform() < 0.5
    return {name: value[keep] for name, value in batch.items()}


def opened(*stages, **options):
    return fdm.open(fdm.pipeline(fdm.load(rows), *stages, seed=3), **options)


def batches(*stages, **options):
    with opened(*stages, **options) as data:
        return list(data.loader("all", epoch=1))


KEPT = [index for index in range(20) if is_kept(index * 10)]
COLLATES = {
    "ids as a tensor": keeping_ids,
    "ids as a list": listing_ids,
    "turned": turned,
    "by torch": by_torch,
    "twice": twice,
}
SPEEDS = [{}, {"threads": 2}, {"workers": 2}]


@pytest.mark.parametrize("collate", COLLATES.values(), ids=COLLATES)
def test_a_collate_that_returns_ids_has_them_beside_their_rows(collate):
    found = batches(fdm.batch(4, collate=collate, ids="id"), fdm.augment(noisy))
    plain = torch.cat([batch["noise"] for batch in batches(fdm.batch(4), fdm.augment(noisy))])
    for batch in found:
        assert torch.int64 == batch["id"].dtype
        assert torch.equal(batch["id"] * 10, batch["x"])
        assert torch.equal(plain[batch["id"]], batch["noise"])
    assert set(KEPT) == {index for batch in found for index in batch["id"].tolist()}


@pytest.mark.parametrize("options", SPEEDS, ids=str)
@pytest.mark.parametrize(
    "stages",
    [
        (fdm.transform(filtered), fdm.augment(noisy)),
        (fdm.transform(filtered), fdm.transform(reversed_rows), fdm.augment(noisy)),
        (fdm.transform(filtered), fdm.transfer(), fdm.augment(noisy)),
        (fdm.transfer(), fdm.transform(reversed_rows), fdm.transform(filtered), fdm.augment(noisy)),
        (fdm.augment(dropping), fdm.transfer(), fdm.augment(noisy)),
    ],
    ids=["on the host", "turned", "across the transfer", "on the device", "by an augment"],
)
def test_keys_follow_the_ids_that_stages_keep(stages, options):
    plain = torch.cat([batch["noise"] for batch in batches(fdm.batch(4), fdm.augment(noisy))])
    found = batches(fdm.batch(4, ids="id"), *stages, **options)
    assert 0 < sum(len(batch["id"]) for batch in found) < 20
    for batch in found:
        assert torch.equal(batch["id"] * 10, batch["x"])
        assert torch.equal(plain[batch["id"]], batch["noise"])


def test_keys_of_examples_that_are_drawn_twice_follow_their_places():
    weights = fdm.sample(heavy, size=40)
    plain = batches(weights, fdm.batch(20, ids="id"), fdm.augment(noisy))
    found = batches(weights, fdm.batch(20, ids="id"), fdm.transform(filtered), fdm.augment(noisy))
    for whole, part in zip(plain, found, strict=True):
        keep = is_kept(whole["x"])
        assert len(set(whole["noise"].tolist())) == 20
        assert torch.equal(whole["id"][keep], part["id"])
        assert torch.equal(whole["noise"][keep], part["noise"])


def heavy(source):
    return [1.0 + 20 * (index == 1) for index in range(len(source))]


def with_all_ids(examples):
    """Leaves the first row out, and its id in."""
    return {
        "x": torch.stack([each["x"] for each in examples])[1:],
        "id": torch.stack([each["id"] for each in examples]),
    }


def with_few_ids(examples):
    return {name: value[:2] if name == "id" else value for name, value in with_all_ids(examples).items()}


FAULTS = {
    "all ids": ((fdm.batch(4, collate=with_all_ids, ids="id"),), r"stage 1 \(batch\).*returned 3 rows, and 4 ids"),
    "few ids": ((fdm.batch(4, collate=with_few_ids, ids="id"),), r"stage 1 \(batch\).*returned 3 rows, and 2 ids"),
    "collate": (
        (fdm.batch(4, collate=keeping, ids="id"),),
        r"stage 1 \(batch\): .*keeping returned 2 rows for 4 examples",
    ),
    "transform": ((fdm.batch(4, ids="id"), fdm.transform(forgetful)), "returned 2 rows, and 4 ids"),
    "in place": ((fdm.batch(4, ids="id"), fdm.transform(in_place)), "returned 2 rows, and 4 ids"),
    "more": ((fdm.batch(4, ids="id"), fdm.transform(doubled)), "returned 8 rows, and 4 ids"),
    "on device": ((fdm.batch(4, ids="id"), fdm.transfer(), fdm.transform(forgetful)), "returned 2 rows, and 4 ids"),
    "keys": (
        (fdm.batch(4), fdm.transform(forgetful), fdm.augment(noisy)),
        "has 2 rows, but is of 4 examples.*ids='id'",
    ),
    "keys of a collate": ((fdm.batch(4, collate=keeping), fdm.augment(noisy)), "has 2 rows, but is of 4 examples"),
    "keys on the device": (
        (fdm.batch(4), fdm.transform(forgetful), fdm.transfer(), fdm.augment(noisy)),
        "has 2 rows, but is of 4 examples",
    ),
    "ids left out": (
        (fdm.batch(4, ids="id"), fdm.transform(without_ids), fdm.augment(noisy)),
        "has 2 rows, but is of 4 examples.*keep the entry 'id'",
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_rows_that_would_have_ids_or_keys_of_others_are_an_error_that_says_how_many(kind):
    stages, message = FAULTS[kind]
    with pytest.raises(fdm.DataError, match=message) as caught:
        batches(*stages)
    assert kind in ("collate", "all ids", "few ids") or any(
        "in stage" in note and "example" in note for note in caught.value.__notes__
    )


def graphs(examples):
    """Nodes and edges of all examples in one: no row for each."""
    nodes = sum(int(example["x"]) // 10 % 3 + 1 for example in examples)
    return {"nodes": torch.zeros(nodes + 100, 2), "edges": torch.zeros(2, nodes * 2 + 100)}


def graphs_with_ids(examples):
    return {**graphs(examples), "id": torch.stack([example["id"] for example in examples])}


def pairs(batch):
    return batch["x"], batch["y"]


def summed(batch):
    return {"total": batch["x"].sum()}


def named(batch):
    return {**batch, "id": batch["id"] + 1000}


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


def as_pair(batch):
    return Pair(batch["x"], batch["y"])


LEGAL = {
    "graphs without ids or keys": (fdm.batch(4, collate=graphs),),
    "graphs with ids": (fdm.batch(4, collate=graphs_with_ids, ids="id"),),
    "graphs with ids and keys": (fdm.batch(4, collate=graphs_with_ids, ids="id"), fdm.augment(noisy)),
    "rows left out, without ids or keys": (fdm.batch(4, collate=keeping), fdm.transform(forgetful)),
    "ids left out": (fdm.batch(4, ids="id"), fdm.transform(without_ids)),
    "a pair": (fdm.batch(4, ids="id"), fdm.transform(pairs)),
    "a named tuple": (fdm.batch(4, ids="id"), fdm.transform(as_pair)),
    "one number": (fdm.batch(4, ids="id"), fdm.transform(summed)),
    "ids of the user's own": (fdm.batch(4, ids="id"), fdm.transform(named), fdm.augment(noisy)),
    "a collate with as many rows": (fdm.batch(4, collate=stacked, ids="id"), fdm.augment(noisy)),
}


@pytest.mark.parametrize("kind", LEGAL)
def test_batches_of_other_forms_pass(kind):
    assert 5 == len(batches(*LEGAL[kind]))


def test_a_collate_of_examples_that_are_no_dicts_gets_them_as_they_are():
    with fdm.open(fdm.pipeline(fdm.load(numbers), fdm.batch(3, collate=of_numbers, ids="id"))) as data:
        assert [[0, 1, 2], [3, 4, 5]] == [batch["id"].tolist() for batch in data.loader("all")]


def numbers():
    return [0, 1, 4, 9, 16, 25]


def of_numbers(examples):
    return {"x": torch.tensor(examples)}


def id_of_the_data():
    return [{"id": index * 7, "x": index} for index in range(6)]


def kept_id(examples):
    return {"id": torch.tensor([example["id"] for example in examples])}


def test_an_entry_of_the_data_is_never_taken_for_ids():
    for collate in (kept_id, None):
        p = fdm.pipeline(fdm.load(id_of_the_data), fdm.batch(3, collate=collate, ids="id"))
        with fdm.open(p) as data, pytest.raises(fdm.DataError, match="has an entry 'id' already"):
            data.loader("all")[0]


class Short:
    """A dataset that gives fewer examples than it was asked for."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return {"x": index}

    def __getitems__(self, indices):
        return [{"x": index} for index in indices if index % 2]


def short():
    return Short()


def test_a_source_that_gives_fewer_examples_than_ids_is_an_error_that_says_how_many():
    p = fdm.pipeline(fdm.load(short), fdm.batch(4))
    with fdm.open(p) as data, pytest.raises(fdm.DataError, match=r"Short.*2 examples for 4 ids"):
        data.loader("all")[0]


COUNTS = {
    "tensor": (torch.zeros(3, 2), {3}),
    "number": (torch.tensor(1.0), set()),
    "array": (np.zeros((3, 2)), {3}),
    "ragged": (fdm.Ragged.of(["a", "b"]), {2}),
    "strings": (["a", "b", "c"], {3}),
    "pair": ((torch.zeros(3), torch.zeros(3, 2)), {2, 3}),
    "named tuple": (Pair(torch.zeros(3), torch.zeros(4)), {3, 4}),
    "boxes": ([torch.zeros(5, 4), torch.zeros(7, 4)], {2, 5, 7}),
    "nested": ({"a": {"b": torch.zeros(3)}, "c": None, "d": "text"}, {3}),
    "object": (object(), set()),
    "nothing": ({}, set()),
}


@pytest.mark.parametrize("kind", COUNTS)
def test_rows_are_counted_where_they_are_known(kind):
    batch, expected = COUNTS[kind]
    assert expected == row_counts(batch)
