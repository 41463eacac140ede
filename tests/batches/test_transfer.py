"""Transfer: batches of any structure move to a device, and nothing else about them changes."""

import collections
import copy
import dataclasses
import types
from typing import Any, NamedTuple

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import fdm
from fdm._batches.transfer import move


class Named(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Plain:
    x: Any
    y: Any
    made: Any = dataclasses.field(init=False)

    def __post_init__(self):
        self.made = torch.zeros(3)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: Any
    y: Any


@dataclasses.dataclass
class Strict:
    x: Any
    y: Any
    given: dataclasses.InitVar[int]

    def __post_init__(self, given):
        assert given == 1, "a constructor that runs again would fail here"


@attrs.frozen
class Attrs:
    x: Any
    _y: Any
    made: Any = attrs.field(init=False, factory=lambda: torch.zeros(3))


@attrs.define
class Mutable:
    x: Any
    y: Any


class Marked(dict):
    pass


class Pair(tuple):
    __slots__ = ()

    def __new__(cls, x, y):
        return super().__new__(cls, (x, y))


class Movable:
    def __init__(self, device="cpu"):
        self.device = device

    def to(self, device):
        return Movable(device)


class MovesItself:
    device = "cpu"

    def to(self, device):
        self.device = device


def tensor():
    return torch.arange(3)


def on(value):
    return str(getattr(value, "device", None))


BATCHES = {
    "dict": (lambda: {"x": tensor(), "y": "text"}, lambda b: (b["x"], b["y"])),
    "subclass of dict": (lambda: Marked(x=tensor(), y="text"), lambda b: (b["x"], b["y"])),
    "OrderedDict": (lambda: collections.OrderedDict(x=tensor(), y="text"), lambda b: (b["x"], b["y"])),
    "defaultdict": (lambda: collections.defaultdict(list, x=tensor(), y="text"), lambda b: (b["x"], b["y"])),
    "UserDict": (lambda: collections.UserDict(x=tensor(), y="text"), lambda b: (b["x"], b["y"])),
    "MappingProxyType": (lambda: types.MappingProxyType({"x": tensor(), "y": "text"}), lambda b: (b["x"], b["y"])),
    "list": (lambda: [tensor(), "text"], tuple),
    "tuple": (lambda: (tensor(), "text"), tuple),
    "namedtuple": (lambda: Named(tensor(), "text"), tuple),
    "subclass of tuple": (lambda: Pair(tensor(), "text"), tuple),
    "dataclass": (lambda: Plain(tensor(), "text"), lambda b: (b.x, b.y)),
    "frozen dataclass": (lambda: Frozen(tensor(), "text"), lambda b: (b.x, b.y)),
    "dataclass whose constructor checks": (lambda: Strict(tensor(), "text", 1), lambda b: (b.x, b.y)),
    "frozen attrs": (lambda: Attrs(tensor(), "text"), lambda b: (b.x, b._y)),
    "attrs": (lambda: Mutable(tensor(), "text"), lambda b: (b.x, b.y)),
    "nested": (lambda: {"deep": [({"x": Named(tensor(), "text")},)]}, lambda b: tuple(b["deep"][0][0]["x"])),
}


@pytest.mark.parametrize("make, read", BATCHES.values(), ids=BATCHES)
def test_batches_of_any_structure_move_and_keep_their_type(make, read):
    batch = make()
    moved = move(batch, "meta")
    assert type(batch) is type(moved)
    assert batch is not moved
    assert ("meta", "text") == (on(read(moved)[0]), read(moved)[1])
    assert ("cpu", "text") == (on(read(batch)[0]), read(batch)[1])
    assert [0, 1, 2] == read(batch)[0].tolist()


def test_what_a_container_is_besides_its_entries_stays():
    counted = move(collections.defaultdict(list, x=tensor()), "meta")
    assert [] == counted["new"]
    assert ["b", "a"] == list(move(collections.OrderedDict(b=tensor(), a=tensor()), "meta"))
    marked = Marked(x=tensor())
    marked.note = "kept"
    assert "kept" == move(marked, "meta").note


def test_fields_without_init_move_too():
    assert ("meta", "meta") == (on(move(Plain(1, 2), "meta").made), on(move(Attrs(1, 2), "meta").made))


def test_sets_move():
    moved = move({Movable(), "text", 3}, "meta")
    assert ({"text", 3}, ["meta"]) == ({v for v in moved if on(v) == "None"}, [on(v) for v in moved if on(v) != "None"])
    assert frozenset is type(move(frozenset([Movable()]), "meta"))


def test_a_packed_sequence_moves_by_its_own_method():
    batch = {"x": pack_sequence([torch.ones(3), torch.ones(1)])}
    moved = move(batch, "meta")
    assert (PackedSequence, "meta", "cpu") == (type(moved["x"]), on(moved["x"].data), on(batch["x"].data))


def test_a_ragged_moves_whole():
    batch = {"x": fdm.Ragged.of([torch.tensor([1, 2]), torch.tensor([3])])}
    moved = move(batch, "meta")
    assert (fdm.Ragged, "meta", "meta", 2) == (
        type(moved["x"]),
        on(moved["x"].values),
        on(moved["x"].offsets),
        len(moved["x"]),
    )
    assert [[1, 2], [3]] == [row.tolist() for row in batch["x"]]


def test_whatever_has_a_to_method_moves():
    own, itself = Movable(), MovesItself()
    moved = move([own, itself], "meta")
    assert ("meta", "cpu") == (moved[0].device, own.device)
    assert moved[1] is itself
    assert "meta" == itself.device


def test_a_bare_tensor_is_a_batch():
    assert "meta" == on(move(tensor(), "meta"))


@pytest.mark.parametrize("leaf", ["text", b"raw", None, 3, 1.5, True, range(3), object(), Movable, torch.float32])
def test_what_cannot_move_stays_what_it_was(leaf):
    assert move(leaf, "meta") is leaf
    assert move([leaf], "meta")[0] is leaf


leaves = st.none() | st.text(max_size=3) | st.integers() | st.builds(tensor)
trees = st.recursive(
    leaves,
    lambda children: (
        st.lists(children, max_size=3)
        | st.lists(children, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), children, max_size=3)
        | st.builds(Named, children, children)
        | st.builds(Frozen, children, children)
        | st.builds(Attrs, children, children)
    ),
    max_leaves=8,
)


def shape_of(tree):
    """The structure with a word for each tensor: its device."""
    match tree:
        case torch.Tensor():
            return on(tree)
        case dict():
            return {key: shape_of(value) for key, value in tree.items()}
        case list() | tuple():
            return [type(tree).__name__, *map(shape_of, tree)]
        case Frozen():
            return ["Frozen", shape_of(tree.x), shape_of(tree.y)]
        case Attrs():
            return ["Attrs", shape_of(tree.x), shape_of(tree._y), shape_of(tree.made)]
    return ("leaf", tree)


@given(trees)
def test_only_the_device_changes_and_never_in_the_original(tree):
    before = copy.deepcopy(shape_of(tree))
    moved = move(tree, "meta")
    assert before == shape_of(tree)
    assert repr(before).replace("'cpu'", "'meta'") == repr(shape_of(moved))


SKIPPED = {
    "dict": ({"x": tensor(), "y": tensor()}, dict),
    "defaultdict": (collections.defaultdict(list, x=tensor(), y=tensor()), dict),
    "namedtuple": (Named(tensor(), tensor()), Named._asdict),
    "dataclass": (Frozen(tensor(), tensor()), lambda b: {"x": b.x, "y": b.y}),
    "attrs": (Mutable(tensor(), tensor()), lambda b: {"x": b.x, "y": b.y}),
}


@pytest.mark.parametrize("batch, read", SKIPPED.values(), ids=SKIPPED)
def test_skipped_entries_stay_and_the_others_move(batch, read):
    moved = move(batch, "meta", skip=("y",))
    assert type(batch) is type(moved)
    assert "meta" == on(read(moved)["x"])
    assert read(moved)["y"] is read(batch)["y"]
    assert ["x", "y"] == list(read(moved))


@pytest.mark.parametrize("batch", [batch for batch, _ in SKIPPED.values()], ids=SKIPPED)
def test_an_unknown_skip_is_refused_with_the_list(batch):
    with pytest.raises(fdm.DataError, match=r"skip names 'z'.*'x', 'y'"):
        move(batch, "meta", skip=("x", "z"))


def test_a_misspelt_skip_gets_a_hint():
    with pytest.raises(fdm.DataError, match="did you mean 'label'"):
        move({"label": tensor(), "x": tensor()}, "meta", skip=["lable"])


def test_a_batch_without_entries_has_nothing_to_skip():
    with pytest.raises(fdm.DataError, match="the batch has none"):
        move([tensor()], "meta", skip=("x",))


def numbered():
    return fdm.Table({"x": torch.arange(4), "y": torch.arange(4), "word": fdm.Ragged.of(["a", "b", "c", "d"])})


def test_a_loader_moves_its_batches_to_the_device_of_the_context(tmp_path):
    p = fdm.pipeline(fdm.load(numbered), fdm.batch(2), fdm.transfer(skip=("y", "word")))
    with fdm.open(p, store=tmp_path, context=fdm.RankContext(device="meta")) as data:
        batch = data.loader("all")[1]
    assert ("meta", "cpu", ["c", "d"]) == (on(batch["x"]), on(batch["y"]), batch["word"].tolist())


def test_a_loader_refuses_an_unknown_skip(tmp_path):
    p = fdm.pipeline(fdm.load(numbered), fdm.batch(2), fdm.transfer(skip=("label",)))
    with fdm.open(p, store=tmp_path) as data, pytest.raises(fdm.DataError, match="skip names 'label'"):
        next(iter(data.loader("all")))
