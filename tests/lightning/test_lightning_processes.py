"""Lightning in processes of its own: resuming in a fresh one, and two ranks on gloo that see each example once."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest


HELPERS = Path(__file__).parents[1] / "helpers"
# Roles: what a process does with the datamodule; each rank writes what it saw to a file of its own.
SCRIPT = """
import json, sys, time, warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
from lit import NOISY, Notes, Saves, numbers, trainer

import fdm
import fdm.lightning

task, folder, arguments = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
pl.seed_everything(arguments.pop("seed", 1), verbose=False)
warnings.filterwarnings("ignore", ".*LeafSpec")
size, workers = arguments.pop("size", None), arguments.pop("workers", 0)
p = NOISY if size is None else numbers(size)
data, module = fdm.lightning.datamodule(p, workers=workers), Notes()
ckpt_path = arguments.pop("ckpt_path", None)
saves = [Saves(folder, **arguments.pop("saves"))] if "saves" in arguments else []
runs = trainer(callbacks=saves, enable_checkpointing=bool(saves), **arguments)
predictions = []
if task == "fit":
    runs.fit(module, datamodule=data, ckpt_path=ckpt_path)
else:
    warnings.filterwarnings("ignore", "Total length of .* across ranks is zero")
    runs.validate(module, datamodule=data)
    runs.test(module, datamodule=data)
    predictions = [batch.tolist() for batch in runs.predict(module, datamodule=data) or []]
told = {
    "seen": module.seen,
    "evaluated": module.evaluated,
    "predictions": predictions,
    "saved": saves[0].saved if saves else {},
}
(folder / f"{task}-{runs.global_rank}.json").write_text(json.dumps(told))
time.sleep(0.5)  # gloo's threads let go of the last gradients; torch aborts a process where they do so at exit
"""


def ran(folder, task, **arguments):
    """What each rank of a run saw, in a process of its own."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    for old in folder.glob("*.json"):
        old.unlink()
    paths = os.pathsep.join([str(HELPERS), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "default"}
    command = [sys.executable, str(script), task, str(folder), json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=400)
    assert 0 == done.returncode, done.stdout + done.stderr
    return [json.loads(file.read_text()) for file in sorted(folder.glob(f"{task}-*.json"))]


def test_a_fresh_process_goes_on_where_another_stopped(tmp_path):
    (first,) = ran(tmp_path, "fit", saves={"every_n_train_steps": 4}, max_epochs=2)
    for seed, (path, done) in list(enumerate(first["saved"].items(), start=7))[:2]:
        (second,) = ran(tmp_path, "fit", ckpt_path=path, seed=seed, max_epochs=2, workers=2 * (seed == 7))
        assert first["seen"][done:] == second["seen"]
        assert second["seen"]


DDP = {"strategy": "ddp", "devices": 2}


def test_two_ranks_go_on_where_they_stopped_each_with_its_own_examples(tmp_path):
    ranks = ran(tmp_path, "fit", saves={"every_n_train_steps": 2}, max_epochs=2, **DDP)
    assert 2 == len(ranks)
    for epoch in range(2):
        ids = [
            number for rank in ranks for step in rank["seen"][3 * epoch :][:3] for part in step for number in part[0]
        ]
        assert 24 == len(ids) == len(set(ids))
    path, done = next(iter(ranks[0]["saved"].items()))
    again = ran(tmp_path, "fit", ckpt_path=path, seed=9, max_epochs=2, **DDP)
    assert [rank["seen"][done:] for rank in ranks] == [rank["seen"] for rank in again]
    (alone,) = ran(tmp_path, "fit", ckpt_path=path, seed=9, max_epochs=2)  # one rank goes on for two
    before = [number for rank in ranks for step in rank["seen"][:done] for ids, _ in step for number in ids]
    rest = [number for step in alone["seen"] for ids, _ in step for number in ids]
    assert 24 == len({*before, *rest[: 24 - len(before)]})
    assert 24 == len(set(rest[24 - len(before) :])) == len(rest[24 - len(before) :])


@pytest.mark.parametrize("size", [1, 7])
def test_two_ranks_evaluate_each_example_once_and_predict_in_the_order_of_the_data(size, tmp_path):
    ranks = ran(tmp_path, "evaluate", size=size, **DDP)
    assert 2 == len(ranks)
    evaluated = sorted(number for rank in ranks for _, ids in rank["evaluated"] for number in ids)
    assert sorted([*range(size), *range(size)]) == evaluated
    steps = max(len(rank["predictions"]) for rank in ranks)
    # Step by step the ranks have the next examples of the data, one rank after the other.
    of_steps = [batch for step in range(steps) for rank in ranks for batch in rank["predictions"][step : step + 1]]
    assert [number * 10 for number in range(size)] == [number for batch in of_steps for number in batch]


LAUNCHED = HELPERS / "launched.py"
CASES = 7


@pytest.mark.parametrize(
    "strategy, ranks, launcher",
    [("ddp", 1, []), ("ddp", 2, []), ("ddp", 3, []), ("ddp_spawn", 2, []), ("ddp", 2, ["-m", "torch.distributed.run"])],
    ids=["1", "2", "3", "spawned", "torchrun"],
)
def test_one_rank_prepares_while_the_others_wait_for_it(strategy, ranks, launcher, tmp_path):
    options = (
        [f"--nproc-per-node={ranks}", "--master-addr=127.0.0.1", f"--master-port={free_port()}"] if launcher else []
    )
    ended(LAUNCHED, strategy, str(ranks), str(tmp_path), launcher=[*launcher, *options])
    lines = [line for file in tmp_path.glob("*.txt") for line in file.read_text().splitlines()]
    cases = CASES - (strategy == "ddp_spawn")
    assert ranks * cases == len(lines) == len(set(lines)), lines
    assert all(line.endswith(f"of {ranks} saw {6 // ranks}") for line in lines)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_a_rank_that_cannot_prepare_ends_the_others(tmp_path):
    output = ended(LAUNCHED, "ddp", "2", str(tmp_path), "fails", limit=120, fails=True)
    assert "fdm.StopError: StopIteration was raised" in output
    assert "in stage 2, measure launched.stopping()" in output or "in stage 2, measure __main__.stopping()" in output


def ended(script, *arguments, launcher=(), limit=240, fails=False):
    """A process and all that it started, which ends in time or is ended; what it wrote, and how it ended."""
    paths = os.pathsep.join([str(HELPERS), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    command = [sys.executable, *launcher, str(script), *arguments]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )
    try:
        output, _ = started.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        pytest.fail(f"it hangs: {started.communicate()[0][-4000:]}")
    assert fails == bool(started.returncode), output
    return output
