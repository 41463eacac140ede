"""Stages that draw from the global random state: the loop is told once, and no batch is another one."""

import itertools
import multiprocessing
import random
import threading
import time

import numpy as np
import pytest
import torch

import fdm
from fdm._batches.draws import Draws, watched
from fdm.testing import example_table


def by_torch(item):
    return {**item, "noise": torch.rand(1)}


def by_numpy(item):
    return {**item, "noise": np.random.rand()}


def by_random(item):
    return {**item, "noise": random.random()}


def beside_its_key(item, key):
    return {**item, "noise": torch.rand(1)}


def from_its_key(item, key):
    return {**item, "noise": key.uniform(), "more": torch.rand(1, generator=key.generator())}


def of_batches_from_its_key(batch, key):
    return {**batch, "noise": key.uniform()}


def plain(item):
    return {**item, "noise": torch.ones(1)}


def together(examples):
    random.shuffle(examples)
    return torch.utils.data.default_collate([{"label": example["label"]} for example in examples])


def seeding(item):
    torch.manual_seed(3)
    return item


ROWS = fdm.load(example_table, n=24)
METHODS = multiprocessing.get_all_start_methods()
WAYS = [{}, {"threads": 2}, {"workers": 1, "threads": 2}, *({"workers": 1, "start_method": each} for each in METHODS)]
DRAWING = {
    "torch": ([fdm.transform(by_torch), fdm.batch(4)], 1, "(of torch)", "fdm.augment(fdm.ambient(by_torch))"),
    "numpy": ([fdm.transform(by_numpy), fdm.batch(4)], 1, "(of numpy)", "fdm.augment(fdm.ambient(by_numpy))"),
    "random": ([fdm.transform(by_random), fdm.batch(4)], 1, "(of random)", "fdm.augment(fdm.ambient(by_random))"),
    "beside a key": ([fdm.augment(beside_its_key), fdm.batch(4)], 1, "(of torch)", "draw from the key"),
    "batches": ([fdm.batch(4), fdm.transform(by_torch)], 2, "(of torch)", "draw from its key"),
    "device": ([fdm.batch(4), fdm.transfer(), fdm.transform(by_numpy)], 3, "(of numpy)", "draw from its key"),
    "collate": ([fdm.batch(4, collate=together)], 1, "(of random)", "move what is random into fdm.augment"),
    "seeding": ([fdm.transform(seeding), fdm.batch(4)], 1, "(of torch)", "fdm.augment(fdm.ambient(seeding))"),
}


def state():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


def batches(data, epochs=1):
    return [batch for epoch in range(epochs) for batch in data.loader("all", epoch=epoch)]


@pytest.mark.parametrize("kind", DRAWING)
def test_a_stage_that_draws_is_told_of_once_with_its_number_and_the_remedy(kind):
    stages, number, whose, remedy = DRAWING[kind]
    with fdm.open(fdm.pipeline(ROWS, *stages)) as data:
        with pytest.warns(UserWarning, match="draws from the global") as caught:
            batches(data, epochs=2)
        assert data.loader("all", epoch=0)[0] is not None  # no second time
    (warning,) = caught
    assert __file__ == warning.filename
    text = str(warning.message)
    assert text.startswith(f"stage {number}, ")
    assert whose in text
    assert remedy in text
    assert __file__ in text


@pytest.mark.parametrize("way", WAYS)
def test_it_is_told_wherever_batches_are_made_and_as_an_error_where_warnings_are(way):
    stages = [fdm.transform(plain), fdm.transform(by_numpy), fdm.batch(4), fdm.transform(by_torch)]
    with fdm.open(fdm.pipeline(ROWS, *stages), **way) as data:
        with pytest.warns(UserWarning, match="draws from the global") as caught:
            batches(data, epochs=2)
        assert ["stage 2", "stage 4"] == [str(each.message)[:7] for each in caught]
        assert {__file__} == {each.filename for each in caught}
    with fdm.open(fdm.pipeline(ROWS, *stages), **way) as data:
        with pytest.raises(UserWarning, match=r"stage 2, transform .*by_numpy") as caught:
            batches(data)  # pytest makes errors of warnings
        assert any("in stage 2" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("way", WAYS)
def test_stages_that_do_not_draw_are_told_nothing_of_and_leave_the_state_as_it_is(way):
    stages = [fdm.transform(plain), fdm.augment(from_its_key), fdm.augment(fdm.ambient(by_numpy)), fdm.batch(4)]
    p = fdm.pipeline(ROWS, *stages, fdm.augment(of_batches_from_its_key), fdm.transfer(), fdm.transform(plain))
    before = state()
    with fdm.open(p, **way) as data:
        batches(data, epochs=2)
    assert before == state()


def test_each_split_has_its_own_stages_to_tell_of():
    p = fdm.pipeline(
        ROWS,
        fdm.split({"train": 12, "val": None}),
        fdm.transform(by_torch).on("train"),
        fdm.transform(by_numpy).on("val"),
        fdm.batch(4),
    )
    with fdm.open(p) as data:
        with pytest.warns(UserWarning, match="stage 2"):
            next(iter(data.loader("train", epoch=0)))
        with pytest.warns(UserWarning, match="stage 3"):
            next(iter(data.loader("val", epoch=0)))


def test_watching_changes_no_batch():
    p = fdm.pipeline(ROWS, fdm.transform(by_numpy), fdm.batch(4))
    with fdm.open(p) as data:
        np.random.seed(4)
        with pytest.warns(UserWarning, match="stage 1"):
            watched = [batch["noise"].tolist() for batch in batches(data)]
        np.random.seed(4)
        assert watched == [batch["noise"].tolist() for batch in batches(data)]


def test_another_thread_that_draws_is_not_taken_for_a_stage():
    is_over, draws = threading.Event(), Draws()

    def draw():
        while not is_over.is_set():
            random.random()

    def slow(item):
        time.sleep(0.02)
        return item

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        assert 3 == watched(slow, 1, str, draws)(3)
    finally:
        is_over.set()
        thread.join()
    assert {} == draws.found


def test_only_the_first_batch_is_watched(monkeypatch):
    looks = itertools.count()
    monkeypatch.setattr("fdm._batches.draws._states", lambda: (next(looks), ())[1:])
    with fdm.open(fdm.pipeline(ROWS, fdm.transform(plain), fdm.batch(4), fdm.transform(plain))) as data:
        next(iter(data.loader("all", epoch=0)))
        after_first = next(looks)
        batches(data, epochs=2)
    assert after_first == 2 * (1 + 1)
    assert next(looks) == after_first + 1
