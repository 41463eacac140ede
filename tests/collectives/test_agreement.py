"""Agreement: what ranks do not have in common is told when they open it, and nobody waits for a rank that is frozen."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch


SCRIPT = Path(__file__).parents[1] / "helpers" / "unlike.py"
pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="there is no gloo here")


def started(world, case, folder):
    """The ranks, as a launcher starts them that does not end the others when one ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    own = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    ranks = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "PYTHONWARNINGS": "error::UserWarning:fdm"}
    return [
        subprocess.Popen(
            [sys.executable, SCRIPT, case, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **own, **ranks, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(world)
    ]


def test_other_code_of_any_stage_and_impure_functions_are_told_by_every_rank(tmp_path):
    ranks = started(3, "codes,impurities", tmp_path)
    said = [rank.communicate(timeout=400) for rank in ranks]
    for rank, (out, err) in zip(ranks, said, strict=True):
        assert 0 == rank.returncode, err
        assert ["codes", "impurities"] == re.findall(r"told of (\w+)", out)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux whether a process is stopped")
def test_a_frozen_rank_that_holds_the_store_freezes_no_other_beyond_their_patience(tmp_path):
    first, *others = started(3, "frozen", tmp_path)
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "ready").exists():
            assert time.monotonic() < until
            assert first.poll() is None, first.communicate()[1]
            time.sleep(0.05)
        time.sleep(1)  # rank 2 is waiting in the midst of opening
        first.send_signal(signal.SIGSTOP)
        for rank in others:
            out, err = rank.communicate(timeout=200)
            assert (0, "told of frozen\n") == (rank.returncode, out), err
        assert first.poll() is None
    finally:
        for rank in (first, *others):
            rank.kill()
            rank.communicate()
