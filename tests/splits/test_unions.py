"""Unions of splits, and functions of splits that take parameters."""

import numpy as np
import pytest
import torch

import fdm
from fdm._cli.overrides import with_settings
from fdm._cli.target import UsageError
from fdm._orders.order import Chosen, Concatenated, Natural, Window
from fdm.testing import check


def numbers(n=10):
    return range(n)


def two(n=10):
    return {"a": range(n), "b": range(n)}


def first_part(source, *, part, names=("train", "val")):
    return dict(zip(names, (range(part), range(part, len(source))), strict=True))


def seeded(source, *, seed):
    return {"train": range(seed), "val": range(seed, len(source))}


def maybe_seeded(source, seed=3):
    return {"train": range(seed), "val": range(seed, len(source))}


THREE = fdm.split({"a": 2, "b": 3, "c": 5}, seed=1)


def opened(*stages):
    return fdm.open(fdm.pipeline(*stages))


def test_a_union_has_the_examples_of_its_parts_one_after_the_other():
    with opened(fdm.load(numbers), THREE, fdm.alias(test=["c", "a"], predict="b"), fdm.batch(2)) as data:
        assert {"a": 2, "b": 3, "c": 5, "test": 7, "predict": 3} == data.splits
        assert torch.equal(torch.cat([data.indices("c"), data.indices("a")]), data.indices("test"))
        assert data.indices("test").tolist() == torch.cat(list(data.loader("test"))).tolist()


def test_a_union_is_cut_shuffled_measured_and_aliased_as_any_split_is():
    p = fdm.pipeline(
        fdm.load(numbers),
        THREE,
        fdm.alias(test=["c", "a"]),
        fdm.alias(predict="test"),
        fdm.alias(everything=["b", "test"]),
        fdm.shuffle().on("test"),
        fdm.batch(3),
    )
    with fdm.open(p) as data:
        assert data.splits["everything"] == 10
        assert sorted(data.indices("everything").tolist()) == list(range(10))
        assert sorted(torch.cat(list(data.loader("predict", epoch=1))).tolist()) == sorted(
            data.indices("test").tolist()
        )
        snapshot = data.loader("test").snapshot(1)
    other = fdm.pipeline(fdm.load(numbers), THREE, fdm.alias(test=["a", "c"]), fdm.shuffle().on("test"), fdm.batch(3))
    with fdm.open(other) as data, pytest.raises(fdm.SnapshotError, match="alias"):
        data.loader("test", start=snapshot)
    assert check(p, without=["workers change nothing"]).passed


def test_a_split_of_splits_may_be_joined():
    stages = [
        fdm.load(numbers),
        fdm.split({"normal": 6, "abnormal": 4}),
        fdm.split({"train": 4, "normal_rest": None}, of="normal"),
        fdm.alias(test=["normal_rest", "abnormal"]),
    ]
    with opened(*stages) as data:
        assert {"train": 4, "normal_rest": 2, "abnormal": 4, "test": 6} == data.splits
        assert not set(data.indices("train").tolist()) & set(data.indices("test").tolist())


def test_what_is_on_a_part_does_not_hold_for_the_union():
    with opened(fdm.load(numbers), THREE, fdm.alias(test=["c", "a"]), fdm.take(1).on("a"), fdm.batch(9)) as data:
        assert (1, 7) == (len(data.dataset("a")), len(data.dataset("test")))


@pytest.mark.parametrize(
    "stages, error, message",
    [
        ([fdm.load(two), fdm.alias(test=["a", "b"])], fdm.DataError, "several sources, 'a', 'b'.*one table.*mix them"),
        ([fdm.load(numbers), THREE, fdm.alias(test=["a", "d"])], fdm.UnknownNameError, "no split 'd'"),
        ([fdm.load(numbers), THREE, fdm.alias(b=["a", "c"])], fdm.DataError, "already a split 'b'"),
        ([fdm.load(numbers), THREE, fdm.alias(x="a"), fdm.alias(test=["a", "x"])], fdm.DataError, "in common"),
        ([fdm.load(numbers), THREE, fdm.alias(x=["a", "b"]), fdm.alias(test=["x", "b"])], fdm.DataError, "in common"),
        (
            [
                fdm.load(numbers),
                THREE,
                fdm.alias(x="a"),
                fdm.split({"p": 1, "q": 1}, of="a"),
                fdm.alias(test=["x", "p"]),
            ],
            fdm.DataError,
            "in common",
        ),
        (
            [fdm.load(numbers), THREE, fdm.alias(test=["m", "c"]), fdm.mix(["a", "b"], into="m")],
            fdm.DataError,
            "'m' is a mixture",
        ),
    ],
)
def test_what_is_no_union_is_refused_when_it_is_opened(stages, error, message):
    with pytest.raises(error, match=message):
        opened(*stages)


@pytest.mark.parametrize("names", [[], ["a", "a"], ["a", 3], 3, {"a"}])
def test_what_names_no_splits_is_refused_when_it_is_made(names):
    with pytest.raises(fdm.PipelineError, match="alias: test="):
        fdm.alias(test=names)


def test_a_union_is_shown_and_described():
    p = fdm.pipeline(THREE, fdm.alias(test=["c", "a"], x="b"))
    assert "alias  test=c+a, x=b" in " ".join(str(p).split()).replace("alias ", "alias  ")
    assert {"test": ["c", "a"], "x": "b"} == fdm.describe(p)["stages"][1]["names"]
    assert "c + a" in fdm.draw_svg(fdm.pipeline(p, fdm.batch(2)))
    assert fdm.alias(test=["a"]) == fdm.alias(test="a")


def test_orders_one_after_the_other_are_what_numpy_concatenates():
    parts = Window(Natural(10), 7, 3), Chosen(Natural(10), np.array([], dtype=np.int64)), Window(Natural(10), 0, 4)
    order = Concatenated(parts)
    whole = np.concatenate([part.at(np.arange(part.size)) for part in parts])
    positions = np.array([6, 0, 3, 2, 3])
    assert order.size == 7
    assert np.array_equal(whole[positions], order.at(positions))
    assert order.at(np.array([], dtype=np.int64)).dtype == np.int64


def test_a_function_of_a_split_takes_parameters():
    p = fdm.pipeline(fdm.load(numbers), fdm.split(first_part, part=3), fdm.batch(2))
    with fdm.open(p) as data:
        assert {"train": 3, "val": 7} == data.splits
        snapshot = data.loader("train").snapshot(1)
    other = fdm.replace(p, fdm.split(first_part, part=4))
    assert other != p
    assert fdm.fingerprint(other) != fdm.fingerprint(p)
    assert fdm.split(first_part, part=3) == fdm.split(first_part, part=3)
    assert {"part": 3} == fdm.describe(p)["stages"][1]["into"]["params"]
    assert "part=3" in str(p)
    with fdm.open(other) as data, pytest.raises(fdm.SnapshotError, match="split"):
        data.loader("train", start=snapshot)
    with opened(fdm.load(two), fdm.split(first_part, of="a", part=1, names=["x", "y"])) as data:
        assert {"x": 1, "y": 9, "b": 10} == data.splits


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: fdm.split(first_part, prt=3), "no parameter 'prt' .did you mean 'part'"),
        (lambda: fdm.pipeline(fdm.split(first_part)), "missing a required argument: 'part'"),
        (lambda: fdm.pipeline(fdm.split(first_part, part=fdm.fact("n"))), "cannot take the fact 'n'"),
        (lambda: fdm.split(first_part, part=lambda: 3), "importable name"),
        (lambda: fdm.split(first_part, part=3, stratify="x"), "a function decides alone"),
        (lambda: fdm.split(seeded, seed=3), "seed is a parameter of split itself"),
        (lambda: fdm.split(maybe_seeded, seed=4), "seed is a parameter of split itself"),
        (lambda: fdm.split({"train": 0.5, "val": None}, part=3), "a function takes goes beside one"),
        (lambda: fdm.split({"train": 0.5, "val": None}, stratfy="x"), "did you mean 'stratify'"),
    ],
)
def test_parameters_that_cannot_be_are_refused(make, message):
    with pytest.raises(fdm.PipelineError, match=message):
        make()


def test_a_parameter_of_its_own_name_that_nobody_gives_stays_the_functions():
    with opened(fdm.load(numbers), fdm.split(maybe_seeded)) as data:
        assert {"train": 3, "val": 7} == data.splits


def test_parameters_of_a_split_function_are_set_on_the_command_line():
    p = fdm.pipeline(fdm.load(numbers), fdm.split(first_part, part=3))
    assert with_settings(p, ["split.part=4"]) == fdm.replace(p, fdm.split(first_part, part=4))
    with pytest.raises(UsageError, match=r"did you mean .part."):
        with_settings(p, ["split.prt=4"])
