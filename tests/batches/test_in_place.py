"""Examples that a function changes in place in a list are told of at the first batch."""

import re
import warnings

import numpy as np
import pytest
import torch

import fdm


class Keeper(list):
    """A list by another name."""


def dicts(n=6):
    return [{"x": torch.full((2,), float(i)), "y": np.ones(2), "tags": [i], "n": i} for i in range(n)]


def tensors(n=6):
    return [torch.full((2,), float(i)) for i in range(n)]


def kept(n=6):
    return Keeper(dicts(n))


def pair():
    return {"a": dicts(4), "b": dicts(4)}


class Fresh(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return {"x": torch.full((2,), float(index))}


def fresh():
    return Fresh()


def table():
    return fdm.Table({"x": torch.arange(12.0).reshape(6, 2)})


def halving(item):
    item["x"] /= 2
    return item


def replacing(item):
    item["x"] = item["x"] / 2
    return item


def adding(item):
    item["z"] = 1
    return item


def growing(item):
    item["tags"].append(0)
    return {"x": item["x"]}


def arrays(item):
    item["y"] += 1
    return {"x": item["x"]}


def in_tensor(item):
    return item.mul_(2)


def pure(item):
    return {**item, "x": item["x"] / 2, "tags": 0}


def fed(item):
    return {"x": item["x"].clone()}


def noisy(item, key):
    item["x"] += key.uniform(2)
    return {"x": item["x"]}


def as_they_are(examples):
    return examples


def in_batch(batch):
    batch[0]["x"] += 1
    return batch


def batched(batch):
    batch["x"] += 1
    return batch


def told(*stages, **options):
    """What is warned of two passes over the data."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with fdm.open(fdm.pipeline(*stages), **options) as data:
            for split in data.splits:
                for _ in range(2):
                    list(data.loader(split, epoch=0))
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("load", [dicts, kept])
@pytest.mark.parametrize("change", [halving, replacing, adding, growing, arrays])
def test_a_change_of_the_lists_own_examples_is_told_once(load, change):
    only = fdm.transform(fed)
    (message,) = told(fdm.load(load), fdm.transform(change), only, fdm.batch(2))
    assert re.match(
        rf"stage 1, transform .*{change.__name__}\(\), defined at .*: changes in place the examples", message
    )
    assert "{**item, name: value}" in message


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"workers": 1}])
def test_it_is_told_whoever_makes_the_batches(options):
    (message,) = told(fdm.load(tensors), fdm.transform(in_tensor), fdm.batch(2), **options)
    assert "item.clone()" in message


def test_an_augment_and_what_stands_after_a_collate_are_told_too():
    (message,) = told(fdm.load(dicts), fdm.augment(noisy), fdm.batch(2))
    assert message.startswith("stage 1, augment")
    (message,) = told(fdm.load(dicts), fdm.batch(2, collate=as_they_are), fdm.transform(in_batch))
    assert message.startswith("stage 2, transform")


def test_a_change_in_a_part_of_a_mixture_is_told():
    stages = (
        fdm.load(pair),
        fdm.mix(["a", "b"], into="m"),
        fdm.transform(halving).on("b"),
        fdm.transform(fed),
        fdm.batch(4),
    )
    assert any("stage 2, transform" in message for message in told(*stages))


@pytest.mark.parametrize(
    "stages",
    [
        (fdm.load(dicts), fdm.transform(pure), fdm.batch(2)),
        (fdm.load(dicts), fdm.transform(fed), fdm.transform(halving), fdm.batch(2)),
        (fdm.load(dicts), fdm.transform(fed), fdm.batch(2), fdm.transform(batched)),
        (fdm.load(fresh), fdm.transform(halving), fdm.batch(2)),
        (fdm.load(table), fdm.transform(halving), fdm.batch(2)),
    ],
)
def test_what_changes_its_own_items_alone_is_not_told(stages):
    assert [] == told(*stages)


def of_one_example(item):
    return {"x": item["x"].permute(2, 0, 1)}


def test_an_example_transform_after_batch_is_told_what_it_got():
    p = fdm.pipeline(fdm.load(fresh), fdm.batch(2), fdm.transform(of_one_example))
    with fdm.open(p) as data, pytest.raises(RuntimeError) as caught:
        data.loader("all")[0]
    (note,) = [each for each in caught.value.__notes__ if "batch of 2 examples" in each]
    assert "(x: float32 of 2 x 2), since the stage stands after batch; before batch it gets one example" in note
    p = fdm.pipeline(fdm.load(fresh), fdm.transform(of_one_example), fdm.batch(2))
    with fdm.open(p) as data, pytest.raises(RuntimeError) as caught:
        data.loader("all")[0]
    assert not [each for each in caught.value.__notes__ if "stands after batch" in each]
