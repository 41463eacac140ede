"""Threads and worker processes: faster, and never different; nothing is left behind, whatever happens."""

import contextlib
import gc
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import fdm
from fdm.testing import doubled, example_table, jittered, pipelines


METHODS = multiprocessing.get_all_start_methods()
SETTINGS = [
    {"threads": 1, "prefetch": 1},
    {"threads": 3},
    {"workers": 1, "prefetch": 1},
    {"workers": 2, "threads": 2},
]


def rows(n=40):
    return fdm.load(example_table, n=n)


def same(one, other):
    """Whether two batches are equal to the bit."""
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, fdm.Ragged):
        return one.tolist() == other.tolist()
    return one.dtype == other.dtype and one.equal(other)


def all_same(one, other):
    return all(same(*pair) for pair in zip(one, other, strict=True))


def global_state():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


def uneven(item, *, journal=None):
    """Slow for some examples, so that later batches are ready first; tells which examples it saw."""
    row = int(item["row"].flatten()[0])
    if journal is not None:
        with Path(journal).open("a") as file:
            file.write(f"{row}\n")
    time.sleep(0.02 if row % 16 < 4 else 0.0)
    return item


def ambiently(item):
    return {**item, "ambient": torch.rand(2)}


class OddError(Exception):
    """One that holds what cannot be sent to another process."""

    def __init__(self, message):
        super().__init__(message)
        self.lock = threading.Lock()


class PathError(Exception):
    """One whose `__init__` takes other arguments than it keeps."""

    def __init__(self, path, reason):
        super().__init__(f"{path}: {reason}")
        self.path = path


class ForgetfulError(Exception):
    """One that loses its notes on the way, as those of json do."""

    def __reduce__(self):
        return ForgetfulError, self.args


ERRORS = {
    "plain": lambda: ZeroDivisionError("boom"),
    "odd": lambda: OddError("very odd"),
    "path": lambda: PathError("a.jpg", "bad"),
    "forgetful": lambda: ForgetfulError("what?"),
    "group": lambda: ExceptionGroup("two", [PathError("a.jpg", "bad"), KeyError("b")]),
}


def failing(item, *, at, how="plain"):
    if int(item["row"]) == at:
        error = ERRORS[how]()
        raise error
    return item


def killing(item, *, at, by):
    if int(item["row"]) == at:
        os.kill(os.getpid(), by)
        time.sleep(60)
    return item


def sleeping(item, *, seconds):
    time.sleep(seconds)
    return item


def unsendable(batch):
    return {**batch, "lock": threading.Lock()}


def pid_of(batch):
    return {**batch, "pid": torch.full_like(batch["row"], os.getpid())}


class Lines:
    """A source that holds what cannot be sent."""

    def __init__(self):
        self.lock = threading.Lock()

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return index


def list_of_locks():
    return [threading.Lock()]


def opened(*stages, **options):
    return fdm.open(fdm.pipeline(*stages, seed=5), **options)


def children():
    return {child.pid for child in multiprocessing.active_children()}


def held():
    """What this process holds: files, threads, children, and shared memory of children that are gone."""
    gc.collect()
    threads = {thread.name for thread in threading.enumerate() if thread.name.startswith(("fdm", "QueueFeeder"))}
    shared = [file.name.split("_")[1] for file in Path("/dev/shm").glob("torch_*")]
    lost = [pid for pid in shared if not Path(f"/proc/{pid}").exists()]
    return len(list(Path("/proc/self/fd").iterdir())), threads, children(), lost


# Never different


@settings(max_examples=25)
@given(pipelines(max_rows=40), st.integers(0, 2), st.integers(1, 3), st.integers(1, 4), st.data())
def test_threads_never_change_a_batch(p, epoch, threads, prefetch, data):
    before = global_state()
    with fdm.open(p) as alone, fdm.open(p, threads=threads, prefetch=prefetch) as ahead:
        split = data.draw(st.sampled_from(list(alone.splits)))
        expected = list(alone.loader(split, epoch=epoch))
        assert all_same(expected, ahead.loader(split, epoch=epoch))
        assert all_same(expected[1:], ahead.loader(split, epoch=epoch)[1:])
    assert before == global_state()


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(pipelines(max_rows=40), st.integers(1, 2), st.integers(0, 2), st.integers(1, 3), st.data())
def test_workers_never_change_a_batch(p, workers, threads, prefetch, data):
    before = global_state()
    speed = {"workers": workers, "threads": threads, "prefetch": prefetch, "start_method": "fork"}
    with fdm.open(p) as alone, fdm.open(p, **speed) as ahead:
        for epoch in (0, 1):
            split = data.draw(st.sampled_from(list(alone.splits)))
            assert all_same(alone.loader(split, epoch=epoch), ahead.loader(split, epoch=epoch))
    assert before == global_state()


@pytest.mark.parametrize("method", METHODS)
def test_no_start_method_changes_a_batch(method, tmp_path):
    p = fdm.pipeline(
        fdm.clean(example_table, n=60),
        fdm.split({"train": 0.7, "val": None}),
        fdm.sample("weight").on("train"),
        fdm.augment(jittered),
        fdm.augment(fdm.ambient(ambiently)),
        fdm.batch(7, ids="id"),
        fdm.augment(jittered),
        fdm.transfer(),
        fdm.augment(jittered),
    )
    before = global_state()
    with fdm.open(p, store=tmp_path) as alone, fdm.open(p, store=tmp_path, workers=2, start_method=method) as ahead:
        for split, epoch in itertools.product(("train", "val"), (0, 3)):
            assert all_same(alone.loader(split, epoch=epoch), ahead.loader(split, epoch=epoch))
    assert before == global_state()


@pytest.mark.parametrize("speed", SETTINGS)
def test_order_is_kept_when_later_batches_are_ready_first(speed):
    data = opened(rows(), fdm.transform(uneven), fdm.batch(4), **speed)
    with data:
        assert list(range(40)) == torch.cat([batch["row"] for batch in data.loader("all")]).tolist()


@pytest.mark.parametrize("speed", SETTINGS)
def test_loops_at_the_same_time_do_not_disturb_each_other(speed):
    stages = rows(), fdm.split({"train": 20, "val": 20}), fdm.shuffle(), fdm.augment(jittered), fdm.batch(4)
    with opened(*stages) as alone, opened(*stages, **speed) as data:
        expected = {split: list(alone.loader(split, epoch=0)) for split in alone.splits}
        train, again, val = (iter(data.loader(split, epoch=0)) for split in ("train", "train", "val"))
        found = list(zip(train, again, val, strict=True))
        for place, split in enumerate(("train", "train", "val")):
            assert all_same(expected[split], [together[place] for together in found])


@pytest.mark.parametrize("speed", SETTINGS)
def test_a_loop_that_is_broken_off_leaves_the_next_as_it_is(speed):
    stages = rows(), fdm.shuffle(), fdm.augment(jittered), fdm.batch(4)
    with opened(*stages) as alone, opened(*stages, **speed) as data:
        for epoch in range(3):
            for _ in zip(data.loader("all", epoch=epoch), range(epoch + 1), strict=False):
                pass
            assert all_same(alone.loader("all", epoch=epoch), data.loader("all", epoch=epoch))
            assert same(alone.loader("all", epoch=epoch)[3], data.loader("all", epoch=epoch)[3])


def test_ambient_stages_leave_the_loops_own_state_alone_also_with_threads():
    stages = rows(), fdm.augment(fdm.ambient(ambiently)), fdm.batch(4)
    with opened(*stages) as alone, opened(*stages, threads=2) as data:
        expected = list(alone.loader("all"))
        torch.manual_seed(3)
        plain = [torch.rand(2) for _ in range(10)]
        torch.manual_seed(3)
        for batch, before, one in zip(data.loader("all"), plain, expected, strict=True):
            assert same(one, batch)
            assert before.equal(torch.rand(2))


class Doubling(TorchFunctionMode):
    """Changes what every function of torch returns, as a mode of somebody's could."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        return made * 2 if func is torch.zeros else made


class Counting(TorchDispatchMode):
    """Sees every operation, and changes the products."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        return made + 1 if func is torch.ops.aten.mm.default else made


@contextlib.contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


STATES = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "a device": lambda: torch.device("meta"),
    "a default device": default_device,
    "a function mode": Doubling,
    "a dispatch mode": Counting,
    "one thread": contextlib.nullcontext,
    "a random state": lambda: torch.random.fork_rng(),  # noqa: PLW0108 - one of its own each time
}
KINDS = {
    "inline": {},
    "threads": {"threads": 2},
    **{method: {"workers": 1, "start_method": method} for method in METHODS},
}


def sensitive(item):
    """Depends on all the state that torch has, by the product and the new tensor, and on its threads by the sum."""
    seeds = torch.arange(60_000).float().sin() * item["row"].float().mean()
    return {
        **item,
        "new": torch.zeros(3) + torch.ones(3, device=torch.get_default_device()),
        "product": torch.ones(4, 4) @ torch.ones(4, 4),
        "sum": seeds.sum(),
        "graph": torch.tensor(torch.ones(1, requires_grad=True).mul(2).requires_grad),
        "modes": torch.tensor(torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack()),
    }


def state_of_torch():
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "device": torch.get_default_device(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "modes": (torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()),
        "random": global_state() if not torch._C._len_torch_dispatch_stack() else None,
    }


STAGES = (
    rows(12),
    fdm.augment(jittered),
    fdm.transform(sensitive),
    fdm.batch(4),
    fdm.transform(sensitive),
    fdm.transfer(),
    fdm.transform(sensitive),
)


@pytest.fixture(scope="module")
def alone():
    with opened(*STAGES) as data:
        return list(data.loader("all"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", STATES)
def test_the_state_of_the_loop_is_no_matter_and_stays(state, kind, alone):
    assert torch.float32 == alone[0]["product"].dtype
    threads = torch.get_num_threads()

    stages = STAGES
    with opened(*stages, **KINDS[kind]) as data, STATES[state]():
        torch.set_num_threads(1 if state == "one thread" else threads)
        before = state_of_torch()
        found = list(data.loader("all"))
        again = data.loader("all")[1]
        assert before == state_of_torch()
        torch.set_num_threads(threads)
    with opened(*stages) as data:
        expected = alone if stages is STAGES else list(data.loader("all"))
    assert all_same(expected, found)
    assert same(expected[1], again)
    assert not any(torch.is_tensor(each) and each.is_inference() for batch in found for each in batch.values())


@pytest.mark.parametrize("state", ["inference mode", "a default device", "a dispatch mode"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_gather_makes_ordinary_tensors_in_any_state(state, kind):
    with opened(rows(12), fdm.batch(4), **KINDS[kind]) as data, STATES[state]():
        found = list(data.loader("all"))
    assert not any(torch.is_tensor(each) and each.is_inference() for batch in found for each in batch.values())
    with opened(rows(12), fdm.batch(4)) as data:
        assert all_same(data.loader("all"), found)


def careless(item):
    """Leaves its own state behind."""
    torch.set_grad_enabled(False)
    torch.set_default_device("cpu")
    torch.set_autocast_enabled("cpu", True)
    return item


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_function_leaves_behind_does_not_stay(kind):
    before = state_of_torch()
    try:
        for stages in (
            (fdm.transform(careless), fdm.batch(4)),
            (fdm.batch(4), fdm.transform(careless)),
            (fdm.batch(4), fdm.transfer(), fdm.transform(careless)),
        ):
            with opened(rows(12), *stages, fdm.transform(sensitive), **KINDS[kind]) as data:
                list(data.loader("all"))
            assert before == state_of_torch()
    finally:
        torch.set_grad_enabled(True)
        torch.set_default_device(None)
        torch.set_num_threads(before["threads"])
        torch.set_autocast_enabled("cpu", False)


def kept_sensitive():
    made = sensitive({"row": torch.arange(4)})
    return fdm.Table({name: made[name].reshape(1, -1) for name in ("new", "product", "sum", "graph", "modes")})


def measured_sensitive(source):
    return {"product": torch.ones(4, 4) @ torch.ones(4, 4), "new": torch.zeros(3)}


def test_what_is_kept_does_not_depend_on_the_state_of_who_prepares(tmp_path):
    p = fdm.pipeline(fdm.clean(kept_sensitive), fdm.measure(measured_sensitive).on("all"), fdm.batch(1))
    with fdm.open(p, store=tmp_path / "plain") as data:
        expected, facts = data.loader("all")[0], dict(data.facts)
    for state in (
        "autocast",
        "inference mode",
        "no gradients",
        "a default device",
        "a function mode",
        "a dispatch mode",
    ):
        with STATES[state]():
            fdm.Executor(store=tmp_path / state).prepare(p)
        with fdm.open(p, store=tmp_path / state) as data:
            assert same(expected, data.loader("all")[0]), state
            assert same(facts, dict(data.facts)), state


def test_a_default_dtype_is_that_of_the_loop_everywhere():
    torch.set_default_dtype(torch.float64)
    try:
        for speed in ({}, {"threads": 2}, {"workers": 1}, {"workers": 1, "start_method": "spawn"}):
            with opened(rows(12), fdm.batch(4), fdm.transform(with_new), **speed) as data:
                assert torch.float64 == next(iter(data.loader("all")))["new"].dtype
    finally:
        torch.set_default_dtype(torch.float32)


def with_new(batch):
    return {**batch, "new": torch.zeros(3)}


def test_ambient_stages_in_two_threads_do_not_disturb_each_other():
    stages = rows(), fdm.augment(fdm.ambient(ambiently)), fdm.batch(4)
    before = global_state()
    with opened(*stages) as data:
        expected = list(data.loader("all", epoch=0))
        with ThreadPoolExecutor(3) as pool:
            for found in pool.map(lambda _: list(data.loader("all", epoch=0)), range(3)):
                assert all_same(expected, found)
    assert before == global_state()


# Kept, and no further than asked for


def test_workers_stay_for_all_epochs_and_splits():
    stages = rows(), fdm.split({"train": 20, "val": 20}), fdm.batch(4), fdm.transform(pid_of)
    with opened(*stages, workers=2) as data:
        pids = [
            {int(batch["pid"][0]) for batch in data.loader(split, epoch=epoch)}
            for epoch in range(3)
            for split in ("train", "val")
        ]
        assert 2 == len(set.union(*pids))
        assert os.getpid() not in set.union(*pids)


@pytest.mark.parametrize(
    "speed",
    [{"threads": 1}, {"threads": 2, "prefetch": 3}, {"threads": 3}, {"workers": 1}, {"workers": 2, "prefetch": 1}],
)
def test_nothing_is_read_further_ahead_than_prefetch(speed, tmp_path):
    journal = tmp_path / "journal"
    data = opened(rows(400), fdm.transform(uneven, journal=str(journal)), fdm.batch(4), **speed)
    prefetch = speed.get("prefetch", 2)
    ahead = max(prefetch * speed["workers"] if "workers" in speed else prefetch, speed.get("threads", 0) - 1)
    with data:
        batches = iter(data.loader("all"))
        assert not journal.exists()
        for taken in (1, 2):
            next(batches)
            time.sleep(0.5)
            assert taken * 4 < len(journal.read_text().split()) <= (taken + ahead) * 4


def test_without_threads_or_workers_nothing_is_read_ahead(tmp_path):
    journal = tmp_path / "journal"
    batches = iter(opened(rows(), fdm.transform(uneven, journal=str(journal)), fdm.batch(4)).loader("all"))
    next(batches)
    assert 4 == len(journal.read_text().split())


# Errors


@pytest.mark.parametrize("speed", SETTINGS)
def test_an_error_keeps_its_type_and_notes_and_comes_at_its_step(speed):
    data = opened(rows(), fdm.transform(failing, at=9), fdm.batch(4), **speed)
    with data:
        batches = iter(data.loader("all"))
        assert [[0, 1, 2, 3], [4, 5, 6, 7]] == [next(batches)["row"].tolist() for _ in range(2)]
        with pytest.raises(ZeroDivisionError, match="boom") as caught:
            next(batches)
        assert any(note.endswith("split 'all', epoch 0, example 9") for note in caught.value.__notes__)
        if "workers" in speed:
            assert "in failing" in str(caught.value.__cause__)
        assert [36, 37, 38, 39] == list(data.loader("all")[8:])[-1]["row"].tolist()


@pytest.mark.parametrize("how", ["plain", "path", "forgetful", "group"])
def test_errors_of_every_kind_come_from_a_worker_as_they_are(how):
    expected = ERRORS[how]()
    with opened(rows(), fdm.transform(failing, at=3, how=how), fdm.batch(4), workers=1) as data:
        with pytest.raises(type(expected)) as caught:
            next(iter(data.loader("all")))
        assert str(expected) == str(caught.value)
        assert vars(expected) == {name: value for name, value in vars(caught.value).items() if name != "__notes__"}
        assert ["in stage 1, transform"] == [note[:21] for note in caught.value.__notes__]


def test_an_error_that_cannot_travel_is_told_in_words():
    with opened(rows(), fdm.transform(failing, at=3, how="odd"), fdm.batch(4), workers=1) as data:
        with pytest.raises(fdm.WorkerError, match="OddError in a worker process: very odd") as caught:
            next(iter(data.loader("all")))
        assert any("example 3" in note for note in caught.value.__notes__)


def test_a_batch_that_cannot_travel_is_told_and_does_not_hang():
    with (
        opened(rows(), fdm.batch(4), fdm.transform(unsendable), workers=1) as data,
        pytest.raises(
            fdm.DataError, match=r"a batch cannot be sent from a worker process: cannot pickle '_thread.lock'"
        ),
    ):
        next(iter(data.loader("all")))


@pytest.mark.skipif("spawn" not in METHODS, reason="no spawn here")
def test_a_source_that_cannot_travel_is_opened_by_each_process_itself():
    with (
        opened(fdm.load(Lines), fdm.batch(2)) as alone,
        opened(fdm.load(Lines), fdm.batch(2), workers=1, start_method="spawn") as data,
    ):
        assert all_same(alone.loader("all"), data.loader("all"))


@pytest.mark.skipif("spawn" not in METHODS, reason="no spawn here")
def test_examples_that_cannot_travel_are_told_with_the_remedy():
    with (
        opened(fdm.load(list_of_locks), fdm.batch(2), workers=1, start_method="spawn") as data,
        pytest.raises(fdm.DataError, match=r"a list, .*cannot be sent to a worker process: .*the function of fdm.load"),
    ):
        next(iter(data.loader("all")))


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_dies_is_an_error_and_the_next_loop_has_new_ones(by):
    with opened(rows(), fdm.transform(killing, at=21, by=by), fdm.batch(4), workers=2) as data:
        began = time.monotonic()
        with pytest.raises(
            fdm.WorkerError, match=rf"a worker process died .* 'all', epoch 0: process \d+ was killed by {by.name}"
        ):
            list(data.loader("all"))
        assert time.monotonic() - began < 30
        assert 5 == len(list(data.loader("all")[:5]))


def test_a_worker_that_is_killed_between_two_loops_is_told():
    with opened(rows(), fdm.batch(4), fdm.transform(pid_of), workers=1) as data:
        pid = int(next(iter(data.loader("all")))["pid"][0])
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)  # which nothing disturbs
        with pytest.raises(fdm.WorkerError, match="was killed by SIGKILL"):
            list(data.loader("all"))
        assert 10 == len(list(data.loader("all")))


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_loop_after_an_interrupt_is_as_any_other(tmp_path):
    """As in a notebook, where a cell is stopped and run again: at whatever moment that is."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import faulthandler, os, signal, sys, threading, time
            from contextlib import suppress
            import torch
            import fdm
            from fdm.testing import example_table

            def slow(item):
                time.sleep(0.001)
                return item

            faulthandler.dump_traceback_later(240, exit=True)
            sys.unraisablehook = lambda _: None  # what an interrupt hits in a destructor, Python tells and goes on
            p = fdm.pipeline(fdm.load(example_table, n=40), fdm.transform(slow), fdm.batch(4))
            with fdm.open(p, workers=2) as data:
                for number in range(12):
                    batches = iter(data.loader("all"))
                    next(batches)  # while processes begin, an interrupt can hit Python's own hooks
                    sent = threading.Timer(0.001 + 0.002 * number, os.kill, (os.getpid(), signal.SIGINT))
                    with suppress(KeyboardInterrupt):
                        sent.start()
                        for _ in batches:
                            pass
                        while True:  # where it came too late, it comes here
                            time.sleep(0.01)
                    del batches
                    seen = torch.cat([batch["row"] for batch in data.loader("all")]).tolist()
                    assert list(range(40)) == seen, (number, seen)
            print("ended")
            """
        )
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert ("ended", 0) == (ran.stdout.strip(), ran.returncode), ran.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("speed", [{"threads": 2}, {"workers": 2, "start_method": "fork"}])
def test_a_process_that_is_forked_after_a_loop_has_threads_and_workers_of_its_own(speed):
    with opened(rows(), fdm.shuffle(), fdm.batch(4), **speed) as data:
        expected = [batch["row"].tolist() for batch in data.loader("all", epoch=0)]
        context = multiprocessing.get_context("fork")
        results = context.Queue()
        child = context.Process(target=tell_rows, args=(data, results), daemon=False)
        child.start()
        assert expected == results.get(timeout=300)
        child.join(300)
        assert 0 == child.exitcode
        assert expected == [batch["row"].tolist() for batch in data.loader("all", epoch=0)]


def tell_rows(data, results):
    results.put([batch["row"].tolist() for batch in data.loader("all", epoch=0)])
    data.close()


@pytest.mark.parametrize("speed", [{"threads": 2}, {"workers": 2}])
def test_data_that_another_thread_closes_ends_the_loop(speed):
    told = []

    def loop(data):
        try:
            list(data.loader("all"))
        except fdm.DataError as error:
            told.append(str(error))

    with opened(rows(400), fdm.transform(sleeping, seconds=0.01), fdm.batch(4), **speed) as data:
        thread = threading.Thread(target=loop, args=(data,))
        thread.start()
        time.sleep(0.7)
    thread.join(300)
    assert not thread.is_alive()
    assert ["the data is closed"] == [message[:18] for message in told]


# Nothing is left behind


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux lists them")
@pytest.mark.parametrize("speed", [{"threads": 2}, {"workers": 2, "start_method": "fork"}])
@pytest.mark.parametrize("ending", ["end", "break", "error", "close inside the loop", "garbage"])
def test_nothing_is_left_after(ending, speed):
    def run():
        at = 9 if ending == "error" else -1
        data = opened(rows(), fdm.transform(failing, at=at), fdm.batch(4), **speed)
        if ending == "garbage":
            next(iter(data.loader("all")))
            return
        with data:
            try:
                for step, _ in enumerate(data.loader("all")):
                    if ending == "break" and step == 2:
                        break
                    if ending == "close inside the loop":
                        data.close()
            except (ZeroDivisionError, fdm.DataError):
                assert ending in ("error", "close inside the loop")

    run()  # what Python begins once, such as the process that tracks shared memory, is there from now on
    settle(ending)
    before = held()
    for _ in range(3):
        run()
    settle(ending)
    assert before == held()
    assert set() == before[1]


def settle(ending):
    """Wait for the threads of what was never closed: who closes need not wait."""
    until = time.monotonic() + 60
    while ending == "garbage" and held()[1] and time.monotonic() < until:
        time.sleep(0.01)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("speed", ["threads=2", "workers=2", "workers=2, start_method='spawn'"])
def test_an_interrupt_ends_cleanly(speed, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, os, sys, time
            import fdm
            from fdm.testing import example_table

            def slow(item):
                time.sleep(0.05)
                return item

            if __name__ == "__main__":
                p = fdm.pipeline(fdm.load(example_table, n=4000), fdm.transform(slow), fdm.batch(4))
                try:
                    with fdm.open(p, {speed}) as data:
                        for step, batch in enumerate(data.loader("all")):
                            if step == 2:
                                print("pids", *(child.pid for child in multiprocessing.active_children()), flush=True)
                except KeyboardInterrupt:
                    print("ended", flush=True)
            """
        )
    )
    running = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    pids = [int(pid) for pid in running.stdout.readline().split()[1:]]
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=300)
    assert ("ended", "", 0) == (out.strip(), err, running.returncode)
    assert [] == [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads what Linux tells of memory")
@pytest.mark.parametrize("method", METHODS)
def test_workers_share_the_pages_of_a_table_on_disk(method, tmp_path):
    p = fdm.pipeline(fdm.clean(images, n=400), fdm.shuffle(), fdm.batch(50), fdm.transform(pages_of_tables))
    with fdm.open(p, store=tmp_path, workers=2, start_method=method) as data:
        for batch in data.loader("all"):
            assert 50 * 200_000 <= batch["there"]
            assert 0 == batch["own"]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads what Linux tells of memory")
def test_a_worker_does_not_grow_batch_by_batch(tmp_path):
    p = fdm.pipeline(fdm.clean(images, n=400), fdm.shuffle(), fdm.batch(50), fdm.transform(own_memory))
    with fdm.open(p, store=tmp_path, workers=1) as data:
        found = [int(batch["own"]) for epoch in range(4) for batch in data.loader("all", epoch=epoch)]
    assert found[-1] - found[0] < 200e6, "320 MB were made"


def images(n):
    return fdm.Table({"image": torch.zeros(n, 200_000, dtype=torch.uint8)})


def memory(name, of=""):
    """The bytes of a kind that the mappings of files whose names end so have in memory."""
    total, here = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            here = line.endswith(of)
        elif here and first == f"{name}:":
            total += 1024 * int(rest[0])
    return total


def pages_of_tables(batch):
    own, there = (memory(name, of=".safetensors") for name in ("Anonymous", "Rss"))
    return {"own": torch.tensor(own), "there": torch.tensor(there)}


def own_memory(batch):
    return {"own": torch.tensor(memory("Anonymous"))}


def test_closed_data_ends_a_running_loop():
    for speed in ({}, {"threads": 2}, {"workers": 1}):
        data = opened(rows(400), fdm.batch(4), **speed)
        batches = iter(data.loader("all"))
        next(batches)
        data.close()
        with pytest.raises(fdm.DataError, match="the data is closed"):
            list(batches)


def test_a_dataset_can_be_sent_to_a_users_own_workers_from_data_with_threads():
    with opened(rows(), fdm.transform(doubled), fdm.batch(4), threads=2) as data:
        next(iter(data.loader("all")))
        dataset = data.dataset("all")
        loader = torch.utils.data.DataLoader(
            dataset, batch_size=4, num_workers=1, multiprocessing_context="spawn", collate_fn=len
        )
        assert [4] * 10 == list(loader)


# Options


@pytest.mark.parametrize(
    "options, message",
    [
        ({"workers": -1}, "workers is an integer of at least 0, not -1"),
        ({"workers": True}, "workers is an integer"),
        ({"threads": 1.5}, "threads is an integer of at least 0, not 1.5"),
        ({"prefetch": 0}, "prefetch is an integer of at least 1, not 0"),
        ({"pin_memory": 1}, "pin_memory is None, True or False, not 1"),
        ({"progress": "x"}, "progress is None, True or False, not 'x'"),
        ({"context": "cuda"}, "context is a RankContext, .* not 'cuda'"),
        ({"store": 3}, "store is the path of a folder, .* not 3"),
        ({"start_method": "spwan"}, r"one of .*'spawn'.*not 'spwan' \(did you mean 'spawn'\?\)"),
        ({"thread": 2}, r"no option 'thread' \(did you mean 'threads'\?\)"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(fdm.PipelineError, match=message):
        opened(rows(), **options)


@pytest.mark.parametrize("speed", [{"pin_memory": True}, {"pin_memory": False, "threads": 1}])
def test_pinning_is_no_matter_where_there_is_no_accelerator(speed):
    stages = rows(), fdm.batch(4), fdm.transfer()
    context = fdm.RankContext()
    with opened(*stages, context=context) as alone, opened(*stages, context=context, **speed) as data:
        assert all_same(alone.loader("all"), data.loader("all"))
