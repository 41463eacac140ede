"""The house rules: floors, the public surface, linters and type checkers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fdm


ROOT = Path(__file__).parent.parent

# Imports point down only; within a floor, only to modules named earlier.
FLOORS = (
    # words
    (
        "_public",
        "_errors",
        "_checks",
        "_html",
        "_permutation",
        "_key",
        "_steps",
        "_rounding",
        "_nested",
        "_arrays",
        "_mapped",
        "_ragged",
        "_table",
    ),
    # values
    (
        "_canonical",
        "_function",
        "_scopes",
        "_syntax",
        "_imports",
        "_excerpt",
        "_constants",
        "_classes",
        "_code",
        "_ambient",
        "_stage",
        "_construct",
        "_tracked",
        "_digest",
        "_describe",
        "_holds",
        "_lanes",
        "_mermaid",
        "_layout",
        "_svg",
        "_grammar",
        "_measured",
        "_pipeline",
        "_picture",
        "_launcher",
        "_context",
        "_snapshot",
    ),
    # plans
    ("_order", "_values", "_source", "_sizes", "_grouping", "_splits", "_plan"),
    # running
    (
        "_access",
        "_owner",
        "_processes",
        "_state",
        "_progress",
        "_lock",
        "_store",
        "_disk",
        "_facts",
        "_unpack",
        "_http",
        "_download",
        "_pool",
        "_parts",
    ),
    (
        "_kept",
        "_inputs",
        "_content",
        "_agree",
        "_loadable",
        "_differs",
        "_loaded",
        "_drawing",
        "_turns",
        "_prepare",
        "_gate",
        "_readahead",
        "_collate",
        "_batch_rows",
        "_assemble",
        "_threads",
        "_heap",
        "_sending",
        "_worker_failure",
        "_workers",
        "_transfer",
        "_speed",
        "_crossing",
        "_profile",
        "_repeats",
        "_loader",
        "_combine",
        "_exchange",
        "_reduce",
        "_merge",
        "_gather",
        "_runs",
        "_merged",
        "_gather_to",
        "_dataset",
        "_opened",
        "_balance",
    ),
    ("_data", "_executor"),
    # edges
    (
        "_roles",
        "_hooks",
        "_cursor",
        "_underway",
        "_feed",
        "_trainer",
        "_passes",
        "_shell",
        "_factory_class",
        "_given",
        "lightning",
    ),
    ("_report", "_trial", "_walk", "_elsewhere", "_laws", "_apart", "_check", "_toys", "_strategies"),
    ("_terminal", "_simulate"),
    ("store", "ray", "testing"),
    # the command line
    ("_target", "_set", "_structure", "_show", "_look", "_grid", "_bench", "_stored", "_failure", "_cli"),
    ("__init__", "__main__"),
)
PLACE = {module: place for place, module in enumerate(module for floor in FLOORS for module in floor)}
# What touches disk, clock, network, processes or devices; asked of floors 0 to 2.
IMPURE = {"os", "io", "shutil", "tempfile", "time", "socket", "subprocess", "threading", "multiprocessing", "filelock"}
# The context asks the environment once for everybody; source code and tracked files are read where they are fingerprinted; the global
# random state belongs to all threads.
MAY = {"_context": {"os"}, "_imports": {"os"}, "_tracked": {"os", "time"}, "_ambient": {"os", "threading"}}


def imports(module):
    """The modules that a module of fdm imports, anywhere in it: those of fdm by name, and the others."""
    own, others = set(), set()
    for node in ast.walk(ast.parse((ROOT / "fdm" / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            own |= {node.module} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            others.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            others |= {alias.name.partition(".")[0] for alias in node.names}
    return own, others


def test_every_module_stands_on_a_floor():
    assert {path.stem for path in (ROOT / "fdm").glob("*.py")} == set(PLACE)


@pytest.mark.parametrize("module", PLACE)
def test_imports_point_down(module):
    assert [] == [name for name in imports(module)[0] if PLACE[name] >= PLACE[module]]


@pytest.mark.parametrize("module", [module for floor in FLOORS[:3] for module in floor])
def test_only_the_third_floor_touches_the_world(module):
    assert set() == (imports(module)[1] & IMPURE) - MAY.get(module, set())


def test_the_surface_is_sorted_complete_and_documented():
    assert sorted(fdm.__all__) == fdm.__all__
    public = {name for name in vars(fdm) if not name.startswith("_")} - {"lightning", "ray", "testing"}
    assert public == set(fdm.__all__)
    assert [] == [name for name in fdm.__all__ if not getattr(fdm, name).__doc__]


def test_modules_are_short():
    assert [] == [path.name for path in (ROOT / "fdm").glob("*.py") if len(path.read_text().splitlines()) > 400]


def test_importing_fdm_imports_nothing_optional():
    optional = "lightning", "pytorch_lightning", "dask", "distributed", "ray", "hypothesis", "pytest"
    script = f"import sys, fdm; print([name for name in {optional} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "[]" == ran.stdout.strip()


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["pyright", "--pythonpath", sys.executable],
    ],
    ids=["ruff check", "ruff format", "mypy", "pyright"],
)
def test_the_code_is_clean(command):
    ran = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT)
    assert 0 == ran.returncode, ran.stdout + ran.stderr
