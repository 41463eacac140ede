"""Who goes again over an epoch that nobody named is told, once; who names it, or only looks, is not."""

import itertools
import warnings

import pytest
import torch
from torch.utils.data import DataLoader

import fdm
from fdm.testing import jittered


def rows():
    return [{"row": torch.tensor(float(index))} for index in range(12)]


SHUFFLED = fdm.pipeline(fdm.load(rows), fdm.shuffle(), fdm.batch(4))
SAMPLED = fdm.pipeline(fdm.load(rows), fdm.sample("row", size=12), fdm.batch(4))
AUGMENTED = fdm.pipeline(fdm.load(rows), fdm.augment(jittered), fdm.batch(4))
PLAIN = fdm.pipeline(fdm.load(rows), fdm.batch(4))


def own(dataset, **options):
    return list(DataLoader(dataset, batch_size=4, **options))


AGAIN = {
    "loaders": lambda data: [list(data.loader("all")) for _ in range(3)],
    "a loader": lambda data: [list(loader) for loader in [data.loader("all")] for _ in range(3)],
    "zip": lambda data: [list(zip(data.loader("all"), data.loader("all"), strict=True)) for _ in range(2)],
    "next": lambda data: [list(itertools.islice(iter(data.loader("all")), 2)) for _ in range(2)],
    "a dataset": lambda data: [own(dataset) for dataset in [data.dataset("all")] for _ in range(3)],
    "datasets": lambda data: [own(data.dataset("all")) for _ in range(3)],
    "one by one": lambda data: [list(data.dataset("all")) for _ in range(2)],
}
ONCE = {
    "one pass": lambda data: list(data.loader("all")),
    "epochs": lambda data: [list(loader) for loader in data.epochs("all", 3)],
    "named": lambda data: [list(data.loader("all", epoch=epoch)) for epoch in range(3)],
    "named the same": lambda data: [list(data.loader("all", epoch=0)) for _ in range(3)],
    "looks": lambda data: [next(iter(data.loader("all"))) for _ in range(3)] + [data.loader("all")[0]] * 3,
    "parts of a pass": lambda data: [list(data.loader("all")[step : step + 1]) for step in range(3)],
    "a dataset": lambda data: own(data.dataset("all")),
    "looks at datasets": lambda data: [data.dataset("all")[0] for _ in range(3)] + own(data.dataset("all")),
    "named datasets": lambda data: [own(data.dataset("all", epoch=0)) for _ in range(3)],
}


def told(p, use, **options):
    with warnings.catch_warnings(record=True) as caught, fdm.open(p, **options) as data:
        warnings.simplefilter("always")
        use(data)
    return [(str(each.message), each.filename) for each in caught]


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"workers": 1}], ids=str)
@pytest.mark.parametrize("use", AGAIN.values(), ids=AGAIN)
def test_a_pass_again_over_an_epoch_that_nobody_named_is_told_once(use, options):
    ((message, file),) = told(SHUFFLED, use, **options)
    assert "gives epoch 0 again" in message
    assert "data.epochs('all', 10)" in message
    assert "epoch=epoch" in message
    assert __file__ == file or "torch" in file


@pytest.mark.parametrize("use", ONCE.values(), ids=ONCE)
def test_who_names_the_epoch_or_goes_over_it_once_is_not_told(use):
    assert [] == told(SHUFFLED, use)


@pytest.mark.parametrize("use", AGAIN.values(), ids=AGAIN)
def test_a_split_that_is_the_same_in_every_epoch_may_be_read_again(use):
    assert [] == told(PLAIN, use)


@pytest.mark.parametrize("p", [SAMPLED, AUGMENTED], ids=["sampled", "augmented"])
@pytest.mark.parametrize("use", AGAIN.values(), ids=AGAIN)
def test_what_is_sampled_or_augmented_changes_with_the_epoch_too(p, use):
    assert 1 == len(told(p, use))
