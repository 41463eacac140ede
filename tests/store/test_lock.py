"""Waiting for another process that makes the same: who came while it was at work learns how it ended, at any pace."""

import json
import logging
import multiprocessing
import os
import queue
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

import fdm


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks processes, and stops them by signals")
FORK = multiprocessing.get_context("fork") if sys.platform != "win32" else None


class SpeechlessError(Exception):
    """One whose text is another error."""

    def __str__(self):
        message = "no words"
        raise RuntimeError(message)


def sorrow(how):
    if how == "speechless":
        return SpeechlessError()
    return ZeroDivisionError("the disk of sorrows" if how == "plain" else "sorrow " * 10_000_000)


def until_told(*, gate, how):
    """Writes who works and waits to be told how that ends; each process is told for itself."""
    journal = Path(gate) / "journal"
    with journal.open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    answer = Path(gate) / f"{os.getpid()}.end"
    while not answer.exists():
        time.sleep(0.01)
    if answer.read_text() == "fail":
        raise sorrow(how)
    return fdm.Table({"x": torch.arange(5)})


class Says(logging.Handler):
    """Leaves a file of this process beside the store when it says that it waits."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def emit(self, record):
        if record.getMessage().startswith("waiting for"):
            (self.folder / f"{os.getpid()}.waits").touch()


def opening(p, store, results):
    torch.set_num_threads(1)
    logging.getLogger("fdm").addHandler(Says(store.parent))
    logging.getLogger("fdm").setLevel(logging.INFO)
    try:
        with fdm.open(p, store=store) as data:
            results.put((os.getpid(), "data", str(data.splits["all"])))
    except Exception as error:  # noqa: BLE001 - told to the test
        try:
            text = str(error)[:100_000]
        except RuntimeError:
            text = "speechless"
        results.put((os.getpid(), type(error).__name__, text))


class Scene:
    """Processes that open one pipeline, of which at most one works at a time."""

    def __init__(self, folder, how="plain"):
        self.gate, self.store, self.results, self.found = folder, folder / "store", FORK.Queue(), {}
        self.p = fdm.pipeline(fdm.clean(until_told, gate=str(folder), how=how), fdm.batch(2))
        self.all = []

    def start(self):
        process = FORK.Process(target=opening, args=(self.p, self.store, self.results))
        process.start()
        self.all.append(process)
        return process

    def maker(self):
        """A process that is at work."""
        process = self.start()
        until(lambda: str(process.pid) in self.journal())
        return process

    def waiter(self):
        """A process that waits for the one that is at work."""
        process = self.start()
        until((self.gate / f"{process.pid}.waits").exists)
        return process

    def journal(self):
        path = self.gate / "journal"
        return path.read_text(encoding="utf-8").split() if path.exists() else []

    def end(self, process, how):
        """Let the process that is at work end."""
        staged = self.gate / "staged"
        staged.write_text(how)
        staged.rename(self.gate / f"{process.pid}.end")

    def told(self, process):
        """What a process found: a kind and a text."""
        until = time.monotonic() + 60
        while process.pid not in self.found and time.monotonic() < until:
            try:
                pid, *rest = self.results.get(timeout=1)
            except queue.Empty:
                continue
            self.found[pid] = rest
        return self.found[process.pid]


def until(is_so):
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def scene(tmp_path):
    made = Scene(tmp_path)
    yield made
    for process in made.all:
        process.kill()
        process.join()


def caused(told, process):
    return told[0] == "PreparationError" and f"process {process.pid} of" in told[1] and "the disk of sorrows" in told[1]


def test_who_sleeps_through_later_attempts_learns_of_the_one_that_it_waited_for(scene):
    first = scene.maker()
    sleepers = [scene.waiter() for _ in range(3)]
    for process in sleepers:
        os.kill(process.pid, signal.SIGSTOP)
    scene.end(first, "fail")
    assert "ZeroDivisionError" == scene.told(first)[0]

    second = scene.maker()  # who comes later tries again
    os.kill(sleepers[0].pid, signal.SIGCONT)  # while the second is at work
    assert caused(scene.told(sleepers[0]), first)
    scene.end(second, "fail")
    assert "ZeroDivisionError" == scene.told(second)[0]
    os.kill(sleepers[1].pid, signal.SIGCONT)  # when there are two failures
    assert caused(scene.told(sleepers[1]), first)

    third = scene.maker()
    scene.end(third, "succeed")
    assert ["data", "5"] == scene.told(third)
    os.kill(sleepers[2].pid, signal.SIGCONT)  # when it is there
    assert ["data", "5"] == scene.told(sleepers[2])
    assert 3 == len(scene.journal())


def test_each_of_many_waiters_learns_of_its_own_attempt_in_a_chain_of_them(scene):
    makers, waiters = [], []
    for _ in range(4):
        makers.append(scene.maker())
        waiters.append([scene.waiter() for _ in range(2)])
        for process in waiters[-1]:
            os.kill(process.pid, signal.SIGSTOP)
        scene.end(makers[-1], "fail")
        assert "ZeroDivisionError" == scene.told(makers[-1])[0]
    for maker, slow in zip(makers, waiters, strict=True):
        for process in slow:
            os.kill(process.pid, signal.SIGCONT)
            assert caused(scene.told(process), maker)
    assert 4 == len(scene.journal())


def test_a_waiter_takes_over_from_one_that_is_killed_and_the_others_wait_for_it(scene):
    first = scene.maker()
    others = [scene.waiter() for _ in range(3)]
    first.kill()
    until(lambda: 2 == len(scene.journal()))
    (second,) = [process for process in others if str(process.pid) in scene.journal()]
    scene.end(second, "fail")
    assert "ZeroDivisionError" == scene.told(second)[0]
    assert all(caused(scene.told(process), second) for process in others if process is not second)
    assert 2 == len(scene.journal())


def came_before(scene, results):
    from fdm.store._publish import Patience, publish

    came = time.monotonic()
    scene.end(scene.first, "fail")
    until(lambda: list((scene.store / ".locks").glob("*.failed.json")))
    (failed,) = (scene.store / ".locks").glob("*.failed.json")
    folder = scene.store / failed.name.removesuffix(".failed.json")
    try:
        publish(folder, lambda _: None, {}, Patience(came=came))
    except Exception as error:  # noqa: BLE001 - told to the test
        results.put((os.getpid(), type(error).__name__, str(error)))


def test_who_had_come_but_not_yet_looked_learns_of_the_failure(scene):
    scene.first = scene.maker()
    process = FORK.Process(target=came_before, args=(scene, scene.results))
    process.start()
    scene.all.append(process)
    assert caused(scene.told(process), scene.first)


@pytest.mark.parametrize("how", ["huge", "speechless"])
def test_an_error_of_any_text_is_told_to_who_waits(tmp_path, how):
    scene = Scene(tmp_path, how)
    first = scene.maker()
    waiter = scene.waiter()
    os.kill(waiter.pid, signal.SIGSTOP)
    scene.end(first, "fail")
    assert type(sorrow(how)).__name__ == scene.told(first)[0]
    os.kill(waiter.pid, signal.SIGCONT)
    kind, text = scene.told(waiter)
    assert "PreparationError" == kind
    assert type(sorrow(how)).__name__ in text
    assert "in until_told" in text
    assert len(text) < 50_000
    assert 1 == len(scene.journal())
    for process in scene.all:
        process.join()


def killed_in_replace(scene, results):
    """Die where the record of the failure is whole but has not its name yet."""
    before = Path.replace

    def replace(self, target):
        if str(target).endswith(".failed.json"):
            os.kill(os.getpid(), signal.SIGKILL)
        return before(self, target)

    Path.replace = replace
    opening(scene.p, scene.store, results)


def test_who_is_killed_while_it_writes_the_cause_leaves_the_work_to_the_next_and_no_litter(scene):
    first = FORK.Process(target=killed_in_replace, args=(scene, scene.results))
    first.start()
    scene.all.append(first)
    until(lambda: str(first.pid) in scene.journal())
    waiter = scene.waiter()
    scene.end(first, "fail")
    until(lambda: str(waiter.pid) in scene.journal())
    scene.end(waiter, "succeed")
    assert ["data", "5"] == scene.told(waiter)
    first.join()
    assert {".lock"} == {path.suffix for path in (scene.store / ".locks").iterdir()}


def test_records_of_failures_stay_small(scene):
    for _ in range(12):
        maker = scene.maker()
        scene.end(maker, "fail")
        assert "ZeroDivisionError" == scene.told(maker)[0]
    (failed,) = (scene.store / ".locks").glob("*.failed.json")
    assert 8 == len(json.loads(failed.read_text())["failures"])
