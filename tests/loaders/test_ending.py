"""Functions that end the process: that is a failure of the function, with words and exit code 1, wherever it runs."""

import os
import subprocess
import sys
from pathlib import Path

import ending
import pytest

import fdm


SCRIPT = Path(__file__).parents[1] / "helpers" / "ending.py"
ENVIRON = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
HOWS = ["exit", "exit 0", "exit 7", "exit words", "generator"]


def ran(place, how, folder):
    command = [sys.executable, str(SCRIPT), place, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env={**ENVIRON, "HOW": how})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", ending.STAGES)
def test_a_function_that_ends_the_process_fails_with_words_wherever_it_runs(place, tmp_path, monkeypatch):
    for how in HOWS if place not in ("each", "workers") else HOWS[1:2]:
        monkeypatch.setenv("HOW", how)
        with pytest.raises(fdm.StopError) as caught:
            ending.go(place, tmp_path)
        assert ("GeneratorExit" if how == "generator" else "SystemExit") in str(caught.value)
        assert how != "exit words" or "with 'no data here'" in str(caught.value)
        assert any("in stage " in note for note in caught.value.__notes__)


def test_the_exit_code_is_1(tmp_path):
    told = ran("transform", "exit 0", tmp_path)
    assert 1 == told.returncode, told.stderr
    assert "StopError: SystemExit was raised" in told.stderr
    assert "in stage 1, transform" in told.stderr


def test_an_interrupt_stays_one_and_says_where_it_came(tmp_path):
    told = ran("transform", "interrupt", tmp_path)
    assert told.returncode in (130, -2), told.stderr
    assert "in stage 1, transform" in told.stderr


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGTERM")
def test_a_handler_of_signals_may_end_the_process(tmp_path):
    told = ran("transform", "signal", tmp_path)
    assert 0 == told.returncode, told.stderr


def test_the_command_line_fails_with_the_stage(tmp_path):
    command = [sys.executable, "-m", "fdm", "prepare", f"{SCRIPT}:p", "--store", str(tmp_path)]
    environ = {**ENVIRON, "PLACE": "clean", "HOW": "exit 0"}
    told = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environ)
    assert 1 == told.returncode, told.stderr
    assert "SystemExit was raised" in told.stderr
    assert "in stage " in told.stderr
