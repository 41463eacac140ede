"""A batch of a class that the transfer does not move is told of, once; all others are not."""

import warnings
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch

import fdm


class Plain:
    def __init__(self, x):
        self.x = x


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


class Inner(Plain):
    """Holds its tensor in a list."""

    def __init__(self, x):
        self.x = [x]


class Movable(Plain):
    def to(self, device):
        return Movable(self.x.to(device))


class Words:
    def __init__(self):
        self.words = ["no", "tensors"]


@dataclass
class Record:
    x: torch.Tensor


Named = namedtuple("Named", "x")  # noqa: PYI024 - as users write it


def numbers():
    return fdm.Table({"x": torch.arange(12)})


def wrapped(batch, *, kind):
    x = batch["x"]
    return {
        "plain": lambda: Plain(x),
        "slotted": lambda: Slotted(x),
        "inner": lambda: Inner(x),
        "entry": lambda: {"id": x, "more": [Plain(x)]},
        "skipped": lambda: {"id": x, "more": Plain(x)},
        "movable": lambda: Movable(x),
        "words": lambda: {"x": x, "words": Words(), "type": Plain},
        "record": lambda: Record(x),
        "named": lambda: Named(x),
        "ragged": lambda: {"x": fdm.Ragged.of([x, x[:1]])},
        "dict": lambda: batch,
    }[kind]()


def told(kind, transfer, device="cpu", **options):
    p = fdm.pipeline(fdm.clean(numbers), fdm.batch(4), fdm.transform(wrapped, kind=kind), *transfer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with fdm.open(p, context=fdm.RankContext(device=device), **options) as data:
            for _ in range(2):
                list(data.loader("all"))
    return [(str(each.message), each.filename) for each in caught]


LEFT = {
    "plain": "batch is a Plain",
    "slotted": "batch is a Slotted",
    "inner": "a Inner",
    "entry": "batch['more'][0] is a",
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("kind", LEFT)
def test_what_stays_on_the_host_is_told_once(kind, device):
    ((message, file),) = told(kind, [fdm.transfer()], device)
    assert LEFT[kind] in message
    assert "which fdm.transfer leaves on the host" in message
    assert __file__ == file


@pytest.mark.parametrize("options", [{"threads": 1}, {"workers": 1}], ids=str)
def test_who_makes_the_batches_changes_nothing(options):
    assert 1 == len(told("plain", [fdm.transfer()], **options))


@pytest.mark.parametrize("kind", ["movable", "words", "record", "named", "ragged", "dict"])
def test_what_moves_or_holds_no_tensors_is_not_told(kind):
    assert [] == told(kind, [fdm.transfer()])


def test_what_is_to_stay_is_not_told():
    assert [] == told("skipped", [fdm.transfer(skip=["more"])])
    assert [] == told("plain", [])
