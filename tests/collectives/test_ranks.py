"""Real process groups: every example once, whatever differs is told at the start, and nobody is waited for in vain."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch


SCRIPT = Path(__file__).parents[1] / "helpers" / "groups.py"
pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="there is no gloo here")


def environ(**more):
    cleared = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return {**cleared, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::UserWarning:fdm", **more}


def torchrun(world, *args):
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={world}", "--master-addr=127.0.0.1"]
    command += [f"--master-port={free_port()}", str(SCRIPT), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, env=environ())


def by_hand(world, *args):
    """The ranks as processes that nobody watches, as a launcher would that does not end the others when one dies."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(world)}
    shared["LOCAL_WORLD_SIZE"] = str(world)
    ranks = [
        subprocess.Popen(
            [sys.executable, SCRIPT, *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ(RANK=str(rank), LOCAL_RANK=str(rank), **shared),
        )
        for rank in range(world)
    ]
    told = [rank.communicate(timeout=400) for rank in ranks]
    return [(rank.returncode, *text) for rank, text in zip(ranks, told, strict=True)]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_one_rank_prepares_alone_and_no_load_function_waits_for_another_rank(world, tmp_path):
    ran = torchrun(world, "prepares,meetings", tmp_path)
    assert 0 == ran.returncode, ran.stderr
    assert set(map(str, range(world))) == set(re.findall(r"rank (\d) is done", ran.stdout))


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_every_example_is_seen_once_in_equal_steps_under_torchrun(world, tmp_path):
    ran = torchrun(world, "exact", tmp_path)
    assert 0 == ran.returncode, ran.stderr
    assert set(map(str, range(world))) == set(re.findall(r"rank (\d) is done", ran.stdout))


def test_what_keeps_ranks_apart_is_told_by_every_rank(tmp_path):
    cases = ["mismatches", "pruned", "failure", "alone", "absence"]
    for code, out, err in by_hand(3, ",".join(cases), tmp_path):
        assert 0 == code, err
        assert cases == re.findall(r"told of (\w+)", out)


def test_a_rank_that_dies_while_it_prepares_is_missed_by_the_others(tmp_path):
    (code, out, err), dead, (other_code, other_out, other_err) = by_hand(3, "death", tmp_path)
    assert -9 == dead[0]
    assert ("missed\ntold of death\nrank 0 is done\n", 0) == (out, code), err
    assert ("missed\ntold of death\nrank 2 is done\n", 0) == (other_out, other_code), other_err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its ranks")
def test_whichever_rank_is_killed_at_whichever_step_any_number_of_ranks_goes_on_exactly(tmp_path):
    command = [sys.executable, SCRIPT.with_name("chaos.py"), "0", "60", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environ())
    assert 0 == ran.returncode, ran.stderr
    rounds, starts, again = map(int, re.findall(r"\d+", ran.stdout))
    assert 60 == rounds
    assert starts > 2 * rounds
    assert again > 0
