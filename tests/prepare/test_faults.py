"""Faults, seeded: whatever is killed at whatever moment, nothing half-made is readable, and a rerun completes."""

import faulthandler
import hashlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import fdm


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes with POSIX signals")
ROUNDS = 100
FORK = multiprocessing.get_context("fork") if sys.platform != "win32" else None


def raw(into, *, files):
    for number in range(files):
        (into / f"{number:02}.txt").write_text(" ".join(str(number * 7 + row) for row in range(50)))


def texts(upstream):
    return sorted(path.name for path in upstream.iterdir())


def numbers(upstream, part):
    time.sleep(0.001)
    return fdm.Table({"x": torch.tensor([int(word) for word in (upstream / part).read_text().split()])})


def square(upstream):
    return {"train": fdm.Table({"x": upstream["x"], "y": upstream["x"] ** 2})}


def moments(source):
    return {"mean": source["x"].float().mean(), "n": len(source)}


P = fdm.pipeline(
    fdm.fetch(raw, files=12),
    fdm.clean(numbers).each(texts),
    fdm.clean(square),
    fdm.measure(moments).on("train"),
    fdm.shuffle(),
    fdm.batch(32),
)


def prepare(store):
    torch.set_num_threads(1)
    os.setsid()
    fdm.Executor(store=store).prepare(P)


def contents(store):
    """Names and digests of all that can be read, without what differs by design: when it was made."""
    files = [path for path in sorted(store.rglob("*")) if path.is_file() and not path.parts[-2].startswith(".")]
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != "manifest.json" and not str(path.relative_to(store)).startswith(".")
    }


def finish(store):
    process = FORK.Process(target=prepare, args=(store,))
    process.start()
    process.join(300)
    assert 0 == process.exitcode


def kill(process, how, pause):
    time.sleep(pause)
    if how == "worker":
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        for child in children.read_text().split()[:1] if children.exists() else []:
            os.kill(int(child), signal.SIGKILL)
        process.join(300)
    elif how == "main":
        os.kill(process.pid, signal.SIGKILL)
    else:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it is not the leader of its group yet
            os.kill(process.pid, signal.SIGKILL)
    process.join(300)
    assert process.exitcode is not None


def rounds(first, last, folder):
    """Kill and go on, round by round, and compare with what nobody disturbs."""
    torch.set_num_threads(1)
    began = time.monotonic()
    finish(folder / "undisturbed")
    duration, expected = time.monotonic() - began, contents(folder / "undisturbed")
    assert 4 == len({name.split("/")[0] for name in expected})
    for number in range(first, last):
        dice = random.Random(number)
        store = folder / str(number)
        for _ in range(dice.randint(1, 2)):
            process = FORK.Process(target=prepare, args=(store,))
            process.start()
            kill(process, dice.choice(["main", "group", "worker"]), dice.uniform(0, 1.1 * duration))
            assert [] == fdm.store.verify(store), number
            assert contents(store).items() <= expected.items(), number
        finish(store)
        assert expected == contents(store), number
        assert [] == list((store / ".staging").iterdir()), number
        assert [] == list((store / ".kept").iterdir()), number


@pytest.mark.parametrize("chunk", range(4))
def test_after_a_kill_at_any_moment_a_rerun_gives_the_undisturbed_result(chunk, tmp_path):
    first, last = (ROUNDS * at // 4 for at in (chunk, chunk + 1))
    # A process of its own: to fork the one of the tests would copy whatever its other threads hold.
    command = [sys.executable, __file__, str(first), str(last), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert 0 == ran.returncode, ran.stderr


if __name__ == "__main__":
    faulthandler.dump_traceback_later(800, exit=True)
    rounds(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
