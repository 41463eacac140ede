"""Nested structures: one walk, whose places are Python's way to each leaf."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm
from fdm._arrays.differences import difference, nonfinite, structure
from fdm._arrays.tree import leaves, map_leaves, places
from fdm._cli import batch as of_batches


class Pair(NamedTuple):
    x: object
    y: object


@attrs.frozen
class Box:
    left: object
    _right: object


@dataclass
class Words:
    text: object


def containers(child):
    several = st.lists(child, max_size=3)
    keys = st.text(max_size=3) | st.integers(-2, 2) | st.none() | st.tuples(st.integers(), st.text(max_size=1))
    return (
        several
        | several.map(tuple)
        | st.dictionaries(keys, child, max_size=3)
        | st.dictionaries(keys, child, max_size=3).map(OrderedDict)
        | st.builds(Pair, child, child)
        | st.builds(Box, child, child)
        | st.builds(Words, child)
    )


TREES = st.recursive(st.integers() | st.text(max_size=2) | st.none(), containers, max_leaves=12)


@given(TREES)
def test_a_place_is_what_python_evaluates_to_get_there(tree):
    for place, leaf in places(tree, at="batch"):
        assert leaf is eval(place, {"batch": tree})


@given(TREES)
def test_the_walks_agree_on_leaves_and_their_order(tree):
    told = list(places(tree, at="batch"))
    assert [leaf for _, leaf in told] == list(leaves(tree))
    assert len(told) == len({place for place, _ in told})
    numbers = iter(range(len(told)))
    numbered = map_leaves(lambda _: next(numbers), tree)
    assert list(range(len(told))) == list(leaves(numbered))
    assert [place for place, _ in told] == [place for place, _ in places(numbered, at="batch")]
    assert type(tree) is type(numbered) or next(leaves(tree)) is tree


def test_without_a_name_places_begin_with_that_of_the_entry():
    tree = {"image": 1, "boxes": [{"x": 2}, Pair(3, 4)], 5: 6, "a": {"b": (7,)}}
    wanted = ["image", "boxes[0]['x']", "boxes[1].x", "boxes[1].y", "[5]", "a['b'][0]"]
    assert wanted == [place for place, _ in places(tree)]
    assert ["left[0]", "_right"] == [place for place, _ in places(Box([1], 2))]
    assert ["[0]", "[1]['x']"] == [place for place, _ in places([1, {"x": 2}])]
    assert [("", 3)] == list(places(3))


DIFFERENT = [
    ({1: 2, "1": 3}, {1: 2, "1": 4}, "1 is 3, then 4"),
    ({"a": {"b": 1}}, {"a.b": 1}, "a['b'] is there only at first"),
    ({"a": {"b": 1}}, {"a": Words(1)}, "a['b'] is there only at first"),
    ({}, [], "it is a dict, then a list"),
    ({"a": 1, "b": []}, {"a": 1}, "b is there only at first"),
    ({"a": ()}, {"a": [1]}, "a is there only at first"),
    ({"a": {"b": [1, torch.tensor([1, 2])]}}, {"a": {"b": [1, torch.tensor([1, 3])]}}, "a['b'][1][1] is 2, then 3"),
    ({"a": {3, 1}}, {"a": {1, 4}}, "a is {1, 3}, then {1, 4}"),
    (1, 2, "it is 1, then 2"),
    ([1, 2], [1, 3], "[1] is 2, then 3"),
]


@pytest.mark.parametrize("one, other, words", DIFFERENT, ids=[words for *_, words in DIFFERENT])
def test_what_differs_is_told_by_the_way_to_it(one, other, words):
    assert words == difference(one, other)
    assert difference(one, one) is None
    assert difference(other, map_leaves(lambda leaf: leaf, other)) is None


@given(TREES)
def test_a_copy_does_not_differ(tree):
    assert difference(tree, map_leaves(lambda leaf: leaf, tree)) is None


def test_what_is_not_finite_and_what_a_batch_is_made_of_are_told_in_the_same_places():
    batch = {"a": {"b": [torch.zeros(2, 3), torch.tensor([[1.0], [torch.inf]])]}, "n": ["x", "y"], "m": {"k": 1}}
    assert "a['b'][1][1, 0] is inf" == nonfinite(batch)
    wanted = {"a['b'][0]": "float32 of ? x 3", "a['b'][1]": "float32 of ? x 1", "n": "str", "m['k']": "int"}
    assert wanted == dict(structure(batch, batched=True, exact=True))
    assert ["a['b'][0]", "a['b'][1]", "n", "m['k']"] == [each["name"] for each in of_batches.structure(batch)]


def test_a_printed_batch_is_named_by_its_entries_or_as_the_batch():
    def names(batch):
        return [each["name"] for each in of_batches.structure(batch)]

    assert ["batch"] == names(torch.zeros(2)) == names(["a", "b"]) == names({}) == names([])
    assert ["batch"] == names(fdm.Ragged.of(["a"]))
    assert ["batch[0]", "batch[1]['x']"] == names((torch.zeros(2), {"x": np.zeros(2)}))
    assert ["x", "y[0]", "y[1].left", "y[1]._right", "z"] == names(
        {"x": fdm.Ragged.of(["a"]), "y": [torch.zeros(1), Box(1, {2})], "z": {}}
    )
