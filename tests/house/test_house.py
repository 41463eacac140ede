"""The house rules: rooms, the public surface, linters and type checkers."""

import ast
import graphlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import fdm


ROOT = Path(__file__).parents[2]

# What data flows through, in that order: rooms import from rooms above them alone.
HOUSE = (
    *("_public", "_text", "_errors", "_checks", "_habits", "_arrays", "_random"),  # words: compute
    *("_ranks", "_fingerprint", "_stages", "_pictures", "_pipeline"),  # values: compare
    *("_orders", "_splits", "_plans"),  # still compute
    *(
        "_processes",
        "store",
        "_downloads",
        "_sources",
        "_prepare",
        "_batches",
        "_loaders",
        "_collectives",
    ),  # running: touch the world
    *("_data", "_executor"),  # the interpreter
    *("lightning", "testing", "ray", "_cli", "__init__", "__main__"),  # edges: meet others
)
PURE = HOUSE[: HOUSE.index("_processes")]
# What touches disk, clock, network, processes or devices.
IMPURE = {"os", "io", "shutil", "tempfile", "time", "socket", "subprocess", "threading", "multiprocessing", "filelock"}
# The context asks the environment once for everybody; source code and tracked files are read where they are fingerprinted; the global
# random state belongs to all threads.
MAY = {
    ("_ranks", "context"): {"os"},
    ("_fingerprint", "imports"): {"os"},
    ("_stages", "tracked"): {"os", "time"},
    ("_random", "ambient"): {"os", "threading"},
}
PACKAGE = ROOT / "fdm"
MODULES = sorted(path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py"))


def imports(module):
    """What a module of fdm imports, anywhere in it: modules of fdm as the parts of their paths, and others by name."""
    own, others = set(), set()
    for node in ast.walk(ast.parse(PACKAGE.joinpath(*module).with_suffix(".py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = module[: -node.level]
            own |= {(*base, *node.module.split("."))} if node.module else {(*base, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            others.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            others |= {alias.name.partition(".")[0] for alias in node.names}
    return own, others


IMPORTS = {module: imports(module) for module in MODULES}


def test_every_module_is_in_a_room():
    assert set(HOUSE) == {module[0] for module in MODULES}


def test_imports_point_down():
    ups = [(m, i) for m in MODULES for i in IMPORTS[m][0] if HOUSE.index(i[0]) > HOUSE.index(m[0])]
    assert [] == ups


@pytest.mark.parametrize("room", HOUSE)
def test_no_room_goes_in_circles(room):
    graph = {m: {i for i in IMPORTS[m][0] if i[0] == room and i != m} for m in MODULES if m[0] == room}
    graphlib.TopologicalSorter(graph).prepare()


def test_pure_rooms_touch_nothing():
    assert [] == [m for m in MODULES if m[0] in PURE and (IMPORTS[m][1] & IMPURE) - MAY.get(m, set())]


def test_a_path_is_public_or_has_one_underscore():
    paths = {".".join(part for part in module if not part.startswith("__")) for module in MODULES}
    assert {"", "lightning", "ray", "store", "testing"} == {
        path for path in paths if not any(part.startswith("_") for part in path.split("."))
    }
    assert [] == [path for path in paths if sum(part.startswith("_") for part in path.split(".")) > 1]


def test_no_room_has_more_than_a_dozen_modules():
    sizes = Counter(module[0] for module in MODULES)
    assert {} == {room: size for room, size in sizes.items() if size > 13}  # with an __init__


def test_the_surface_is_sorted_complete_and_documented():
    assert sorted(fdm.__all__) == fdm.__all__
    public = {name for name in vars(fdm) if not name.startswith("_")} - {"lightning", "ray", "testing"}
    assert public == set(fdm.__all__)
    assert [] == [name for name in fdm.__all__ if not getattr(fdm, name).__doc__]


def test_modules_are_short():
    assert [] == [path.name for path in PACKAGE.rglob("*.py") if len(path.read_text().splitlines()) > 400]


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
