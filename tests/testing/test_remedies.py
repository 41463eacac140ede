"""Checks name the remedy beside the law, and tell of draws that are equal because they come from one key."""

import pytest
import torch

import fdm
from fdm.testing import examine
from fdm.testing._check import LAWS
from fdm.testing._remedies import REMEDIES


ONCE = "augments draw once from a key"
HERE = ["workers change nothing", "threads change nothing", *(law for law in LAWS if "another process" in law)]


def numbers():
    return fdm.Table({"x": torch.arange(12.0), "y": torch.zeros(12)})


def twice(item, key):
    return {**item, "x": item["x"] + key.uniform(), "y": item["y"] + key.uniform()}


def in_a_loop(item, key):
    for name in ("x", "y"):
        item = {**item, name: item[name] + key.normal()}
    return item


def of_other_shapes(item, key):
    first = key.uniform(2)
    return {**item, "x": item["x"] + key.uniform() + first.sum()}


def of_one_child(item, key):
    return {**item, "x": item["x"] + key.fold("a").uniform() + key.fold("a").uniform()}


def generated(item, key):
    one = torch.rand((), generator=key.generator())
    return {**item, "x": item["x"] + one + torch.rand((), generator=key.generator())}


def on_batches(batch, key):
    return {**batch, "x": batch["x"] + key.uniform(), "y": batch["y"] + key.uniform()}


def apart(item, key):
    one, other = key.split(2)
    return {**item, "x": item["x"] + one.uniform() + key.fold("a").uniform(), "y": item["y"] + other.uniform()}


def by_two_methods(item, key):
    return {**item, "x": item["x"] + key.uniform() + key.normal()}


def moved(value, key):
    return value + key.uniform()


def paired(item, key):
    return {"x": moved(item["x"], key), "y": moved(item["y"], key)}


def in_place(item):
    item["x"] += 1
    return item


def verdict(law, *stages):
    report = examine(fdm.pipeline(fdm.load(numbers), *stages), without=[each for each in HERE if each != law])
    return next(each for each in report.results if each.law == law), report


@pytest.mark.parametrize("augment", [twice, in_a_loop, of_other_shapes, of_one_child, generated])
def test_equal_draws_of_one_key_are_told(augment):
    found, report = verdict(ONCE, fdm.augment(augment), fdm.batch(4))
    assert ("broken", 1) == (found.outcome, found.number)
    assert f"{augment.__name__} draws" in found.counterexample
    assert "from one key twice" in found.counterexample
    assert "key.split(2)" in str(report)


def test_equal_draws_for_whole_batches_are_told():
    assert "broken" == verdict(ONCE, fdm.batch(4), fdm.augment(on_batches))[0].outcome


@pytest.mark.parametrize("augment", [apart, by_two_methods, paired])
def test_draws_that_differ_or_are_meant_to_be_equal_are_not_told(augment):
    assert "holds" == verdict(ONCE, fdm.augment(augment), fdm.batch(4))[0].outcome


def test_nothing_is_recorded_afterwards():
    before = fdm.Key._draw
    verdict(ONCE, fdm.augment(twice), fdm.batch(4))
    assert before is fdm.Key._draw


def test_the_remedy_stands_beside_the_law():
    found, report = verdict("inputs are not changed", fdm.transform(in_place), fdm.batch(4))
    assert "{**item, name: value}" in found.remedy
    assert f'to mend "inputs are not changed": {found.remedy}' in str(report)
    assert found.remedy in [each["remedy"] for each in report.to_dict()["results"]]
    assert all(each.remedy is None for each in report.results if each.outcome != "broken")


def test_every_law_has_a_remedy():
    assert set(LAWS) == set(REMEDIES)
