"""Plain values that are no snapshot: whatever stands wherever, it is refused by name, and nothing wrong is accepted."""

import json
import math
from collections import OrderedDict
from types import MappingProxyType

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm


def numbers(*, sizes):
    return {name: range(size) for name, size in sizes}


def opened():
    return fdm.open(fdm.pipeline(fdm.load(numbers, sizes=(("a", 5), ("b", 8))), fdm.shuffle(), fdm.batch(2)))


with opened() as data:
    ONE = data.loader("b").snapshot(2).to_dict()
    BOTH = fdm.combine({name: data.loader(name) for name in "ab"}, mode="max_size").snapshot(3).to_dict()
assert ["a"] == BOTH["ended"]

NO_JSON = [
    torch.tensor(1),
    torch.tensor(True),
    torch.tensor([1, 2]),
    np.int64(1),
    np.str_("b"),
    np.array(["a"]),
    b"b",
    1j,
    {"b"},
    object(),
    10**5000,
    -(10**5000),
    print,
    math.nan,
    math.inf,
]
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, 2**70, -1, 0, 1])
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.sampled_from(["a", "b", "c", "max_size", "min_size", "train", "\ud800", "\x1b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
hostile = json_values | st.sampled_from(NO_JSON)


def places(plain, path=()):
    """The paths to all values in plain ones."""
    yield path
    children = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def put(plain, path, value):
    if not path:
        return value
    copied = dict(plain) if isinstance(plain, dict) else list(plain)
    copied[path[0]] = put(plain[path[0]], path[1:], value)
    return copied


def without(plain, path):
    copied = dict(plain) if isinstance(plain, dict) else list(plain)
    if len(path) == 1:
        del copied[path[0]]
    else:
        copied[path[0]] = without(plain[path[0]], path[1:])
    return copied


def is_same(one, other):
    """Whether plain values are the same, types and all."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return type(one) is type(other) and one == other


def check(kind, plain, path):
    """Either it is refused, in words that can be printed and name the entry, or it is what it says."""
    try:
        snapshot = kind.from_dict(plain)
    except fdm.SnapshotError as error:
        words = "\n".join([str(error), *getattr(error, "__notes__", [])])
        named = [key for key in path if isinstance(key, str) and key != "parts"][-1:]
        assert not named or named[0] in words, words
        assert len(words) < 1000
        return
    assert is_same(json.loads(json.dumps(plain)), snapshot.to_dict())
    assert kind.from_dict(snapshot.to_dict()) == snapshot


KINDS = {fdm.Snapshot: ONE, fdm.CombinedSnapshot: BOTH}


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_any_value_in_any_place_is_refused_by_name_or_is_what_it_says(kind, data):
    path = data.draw(st.sampled_from(list(places(KINDS[kind]))))
    check(kind, put(KINDS[kind], path, data.draw(hostile)), path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", NO_JSON, ids=lambda value: type(value).__name__)
def test_what_json_has_no_form_for_is_refused_in_every_place(kind, value):
    for path in places(KINDS[kind]):
        with pytest.raises(fdm.SnapshotError):
            kind.from_dict(put(KINDS[kind], path, value))


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_that_is_missing_or_added_is_refused(kind):
    plain = KINDS[kind]
    for path in places(plain):
        parent = plain
        for key in path[:-1]:
            parent = parent[key]
        if path and isinstance(parent, dict) and "version" in parent:
            with pytest.raises(fdm.SnapshotError, match=f"(?m)missing or unknown: {path[-1]}$"):
                kind.from_dict(without(plain, path))
        for added in ("more", "Version", "", 3, None, torch.tensor(1), "\ud800"):
            if isinstance(value := at(plain, path), dict) and "version" in value:
                with pytest.raises(fdm.SnapshotError, match="missing or unknown"):
                    kind.from_dict(put(plain, path, {**value, added: 1}))


def at(plain, path):
    for key in path:
        plain = plain[key]
    return plain


WRONG = {
    "version True": {"version": True},
    "version 1.0": {"version": 1.0},
    "version tensor": {"version": torch.tensor(1)},
    "parts empty": {"parts": {}, "ended": []},
    "parts list": {"parts": [ONE]},
    "parts pairs": {"parts": [("a", ONE)]},
    "parts numbered": {"parts": {1: ONE}, "ended": []},
    "parts snapshots": {"parts": {"a": fdm.Snapshot.from_dict(ONE)}},
    "ended text": {"ended": "a"},
    "ended of others": {"ended": ["c"]},
    "ended twice": {"ended": ["a", "a"]},
    "ended None": {"ended": None},
    "ended mapping": {"ended": {"a": 1}},
    "mode None": {"mode": None},
    "mode list": {"mode": ["max_size"]},
}


@pytest.mark.parametrize("name", WRONG)
def test_entries_of_combined_loaders_that_cannot_be_are_refused_by_name(name):
    with pytest.raises(fdm.SnapshotError) as caught:
        fdm.CombinedSnapshot.from_dict({**BOTH, **WRONG[name]})
    assert name.split()[0] in "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


@pytest.mark.parametrize("wrong", [{"ended": ["a", "b"]}, {"mode": "min_size"}], ids=["all", "in min_size"])
def test_a_snapshot_in_which_loaders_ended_that_cannot_have_is_refused_where_it_is_to_begin(wrong):
    snapshot = fdm.CombinedSnapshot.from_dict({**BOTH, **wrong})
    with opened() as data, pytest.raises(fdm.SnapshotError, match="the snapshot's ended are 'a'"):
        fdm.combine({name: data.loader(name) for name in "ab"}, mode=snapshot.mode, start=snapshot)


def test_mappings_of_other_kinds_and_tuples_are_read():
    for kind in (OrderedDict, MappingProxyType):
        assert BOTH == fdm.CombinedSnapshot.from_dict(kind(BOTH)).to_dict()
    assert ONE == fdm.Snapshot.from_dict({**ONE, "stages": tuple(ONE["stages"])}).to_dict()


def test_records_that_are_made_by_hand_are_checked_alike():
    snapshot = fdm.CombinedSnapshot.from_dict(BOTH)
    for wrong in ({"ended": ("b", "b")}, {"parts": {}}, {"mode": "longest"}):
        with pytest.raises(fdm.SnapshotError):
            attrs.evolve(snapshot, **wrong)
    assert 7 == fdm.Snapshot("f", "train", np.int64(7), 0).to_dict()["epoch"]
