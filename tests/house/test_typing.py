"""What mypy and pyright say of users' pipelines: parameters are checked against the functions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


FUNCTIONS = """
from pathlib import Path
import fdm

def write(into: Path, *, name: str) -> None: assert False
def first(*, n: int) -> fdm.Table: assert False
def second(upstream: fdm.Table, *, limit: float = 0.0) -> dict[str, fdm.Table]: assert False
def by_part(upstream: Path, part: str, *, n: int) -> fdm.Table: assert False
def parts(upstream: Path) -> list[str]: assert False
def tally(source: fdm.Table, *, power: int) -> dict[str, float]: assert False
def scale(item: dict[str, float], *, factor: float) -> dict[str, float]: assert False
def shift(item: dict[str, float], key: fdm.Key, *, pixels: int) -> dict[str, float]: assert False
def drop(item: dict[str, float], *, p: float) -> dict[str, float]: assert False

"""
RIGHT = """
p = fdm.pipeline(
    fdm.fetch(write, name="x"),
    fdm.clean(by_part, n=3).each(parts),
    fdm.clean(second, limit=0.5).version("1"),
    fdm.split({"train": 0.9, "val": None}, stratify="label"),
    fdm.measure(tally, power=2).on("train"),
    fdm.shuffle().on("train"),
    fdm.transform(scale, factor=fdm.fact("mean")),
    fdm.augment(shift, pixels=2).on("train"),
    fdm.augment(fdm.ambient(drop), p=0.5).on("train"),
    fdm.batch(32, ids="id"),
    fdm.transfer(),
)
q = fdm.pipeline(fdm.clean(first, n=3), fdm.replace(p, fdm.batch(2), seed=1))
with fdm.open(p) as data:
    for batch in data.loader("train", epoch=3)[2:5]:
        print(batch, data.facts["mean"], data.splits["train"], data.indices("val").shape)
"""
WRONG = [
    'fdm.fetch(write, nme="x")',
    "fdm.fetch(write, name=3)",
    "fdm.clean(first, m=3)",
    'fdm.clean(second, limit="x")',
    "fdm.clean(by_part, m=3)",
    "fdm.load(first, m=3)",
    "fdm.measure(tally, pow=2)",
    "fdm.transform(scale, fator=2.0)",
    'fdm.transform(scale, factor="x")',
    "fdm.augment(shift, pixel=2)",
    'fdm.augment(shift, pixels="x")',
    "fdm.augment(fdm.ambient(drop), q=0.5)",
    'fdm.batch("32")',
    "fdm.shuffle(seed=0.5)",
    'fdm.split({"train": "x"})',
    "fdm.pipeline(32)",
]


def errors(checker, file):
    """The lines of a file that a checker finds wrong."""
    if checker == "mypy":
        command = ["mypy", "--strict", "--no-error-summary", "--output", "json", str(file)]
        out = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=file.parent).stdout
        return {json.loads(line)["line"] for line in out.splitlines() if json.loads(line)["severity"] == "error"}
    command = ["pyright", "--pythonpath", sys.executable, "--outputjson", str(file)]
    out = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=file.parent).stdout
    found = json.loads(out)["generalDiagnostics"]
    return {error["range"]["start"]["line"] + 1 for error in found if error["severity"] == "error"}


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_checkers_accept_right_parameters_and_refuse_wrong_ones(checker, tmp_path: Path):
    file = tmp_path / "pipelines.py"
    before = (FUNCTIONS + RIGHT).count("\n")
    file.write_text(FUNCTIONS + RIGHT + "\n".join(WRONG) + "\n", encoding="utf-8")
    assert {before + 1 + number for number in range(len(WRONG))} == errors(checker, file)
