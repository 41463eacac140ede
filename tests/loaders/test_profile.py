"""Profiles: what they time, what they find to limit, and what they advise."""

import hashlib
import re
import time

import attrs
import pytest
import torch

import fdm
from fdm._loaders.profile import StageTime, _advice
from fdm.testing import doubled, example_table, jittered


def rows(n=200):
    return fdm.load(example_table, n=n)


def slow_example(item):
    time.sleep(0.001)
    return item


def slow_batch(batch):
    time.sleep(0.02)
    return batch


def hashing(item):
    hashlib.sha256(b"x" * 4_000_000)  # which releases the GIL
    return item


def ambiently(item):
    time.sleep(0.001)
    return {**item, "ambient": torch.rand(1)}


def opened(*stages, **options):
    return fdm.open(fdm.pipeline(*stages), **options)


def test_every_piece_of_a_batch_is_timed_in_order():
    data = opened(
        rows(),
        fdm.transform(doubled),
        fdm.batch(8, ids="id"),
        fdm.augment(jittered),
        fdm.transfer(),
        fdm.augment(jittered),
    )
    profile = data.profile("all", steps=5)
    assert [
        "read from Table",
        "1 transform doubled, each example",
        "2 batch: collate",
        "2 batch: ids",
        "3 augment jittered",
        "4 transfer to cpu",
        "5 augment jittered",
    ] == [stage.name for stage in profile.stages]
    assert ["all", 5] == [profile.split, profile.steps]
    assert 1 == pytest.approx(sum(stage.share for stage in profile.stages))
    assert profile.seconds == pytest.approx(sum(stage.seconds for stage in profile.stages))
    assert all(stage.per_second == pytest.approx(1 / stage.seconds) for stage in profile.stages)
    assert [False] * 5 + [True] * 2 == [stage.is_on_device for stage in profile.stages]


def test_a_batch_of_a_table_is_one_gather():
    names = [stage.name for stage in opened(rows(), fdm.batch(8)).profile("all").stages]
    assert ["gather"] == names


def test_the_stage_that_limits_is_named():
    each = opened(rows(), fdm.transform(slow_example), fdm.batch(8), fdm.transform(doubled)).profile("all", steps=4)
    assert "1 transform slow_example, each example" == each.limit.name
    whole = opened(rows(), fdm.batch(8), fdm.transform(slow_batch)).profile("all", steps=4)
    assert "2 transform slow_batch" == whole.limit.name
    assert 0.015 < whole.seconds


def test_the_table_shows_all_of_it():
    profile = opened(rows(), fdm.transform(slow_example), fdm.batch(8)).profile("all", steps=4)
    lines = str(profile).splitlines()
    assert "all: medians of 4 steps" == lines[0]
    assert re.fullmatch(r"stage +ms a batch +share +batches/s alone", lines[1])
    assert re.fullmatch(r"1 transform slow_example, each example +[\d.]+ +\d+% +[\d,]+", lines[3])
    assert re.fullmatch(r"all, one after the other +[\d.]+ +100% +[\d,]+", lines[5])
    assert re.fullmatch(r"as opened, the loader gives [\d,]+ batches/s", lines[6])
    assert lines[7].startswith("limit: 1 transform slow_example, each example. ")
    assert "limit 1 transform slow_example" in repr(profile)


def test_a_profile_is_a_value():
    profile = opened(rows(), fdm.batch(8)).profile("all")
    assert profile == attrs.evolve(profile)
    with pytest.raises(AttributeError):
        profile.split = "train"


@pytest.mark.parametrize("speed", [{}, {"threads": 2}, {"workers": 1}])
def test_a_profile_changes_nothing(speed):
    with opened(rows(), fdm.shuffle(), fdm.augment(jittered), fdm.batch(8), **speed) as data:
        before = [batch["jitter"].tolist() for batch in data.loader("all", epoch=0)]
        state = torch.get_rng_state()
        data.profile("all", steps=3)
        data.loader("all", epoch=2).profile()
        assert state.equal(torch.get_rng_state())
        assert before == [batch["jitter"].tolist() for batch in data.loader("all", epoch=0)]


def stages(*seconds, on_device=()):
    return [
        StageTime(f"{n} transform f, each example" if n else "gather", each, 0.0, 0.0, n in on_device)
        for n, each in enumerate(seconds)
    ]


@pytest.mark.parametrize(
    "advice, found",
    [
        ("leave workers and threads at 0", (stages(1e-5, 1e-5), 1.9, 0, 0)),
        ("Two threads make 1.9 times as many batches as one: open with threads=", (stages(0, 0.1), 1.9, 0, 0)),
        (
            "Two threads gain little (1.0 times), as where Python holds the GIL: open with workers=",
            (stages(0, 0.1), 1.0, 0, 0),
        ),
        ("It draws from the global random state, so processes help: open with workers=", (stages(0, 0.1), None, 0, 0)),
        ("cores work on batches already (workers=99, threads=0)", (stages(0, 0.1), 1.0, 99, 0)),
        ("move stages before transfer", (stages(0.01, 0.1, on_device={1}), 1.9, 0, 0)),
        ("for whole batches, after batch, it would cost less", (stages(0, 0.1), 1.0, 0, 0)),
    ],
)
def test_advice_follows_from_what_was_measured(advice, found):
    assert advice in _advice(*found)


def test_threads_are_advised_where_they_help():
    """Loose, since machines are noisy: hashing gains from threads at least as much as what holds the GIL all the time."""
    profile = opened(rows(32), fdm.transform(hashing), fdm.batch(4)).profile("all")
    assert profile.gain_of_threads is not None
    assert opened(rows(32), fdm.augment(fdm.ambient(ambiently)), fdm.batch(4)).profile("all").gain_of_threads is None


@pytest.mark.parametrize("steps", [0, -1, 1.5, True, "3"])
def test_steps_that_cannot_be_are_refused(steps):
    with pytest.raises(fdm.DataError, match="steps is an integer of at least 1"):
        opened(rows(), fdm.batch(8)).profile("all", steps=steps)


def test_what_has_no_steps_cannot_be_profiled():
    data = opened(rows(), fdm.split({"train": 200, "val": 0}), fdm.batch(8))
    with pytest.raises(fdm.DataError, match="no steps of 'val' to profile"):
        data.profile("val")
    with pytest.raises(fdm.UnknownNameError, match="did you mean 'train'"):
        data.profile("trian")
