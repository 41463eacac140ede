"""What is fingerprinted is what runs: code that was edited after its import is refused, and nothing is imported early."""

import importlib
import subprocess
import sys

import pytest

import fdm


@pytest.fixture
def module_of(tmp_path, monkeypatch):
    """A function that writes modules, whose names begin with a word of the test, and imports one of them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def imported(name, **texts):
        for module, text in texts.items():
            (tmp_path / f"{module}.py").write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield imported
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


EDITED = {
    "body": ("def read(): return 1\n", "return 1", "return 2"),
    "helper": ("def go(): return 1\ndef read(): return go()\n", "return 1", "return 2"),
    "lines above": ("def read(): return 1\n", "def read", "\n\ndef read"),
    "taken away": ("def read(): return 1\n", "def read(): return 1\n", "x = 1\n"),
    "not Python any more": ("def read(): return 1\n", "return 1", "return (1"),
    "constant in the code": ("def read(): return (1, 'a', (2, 3))\n", "2, 3", "2, 4"),
    "name": ("a, b = 1, 2\ndef read(): return a\n", "return a", "return b"),
    "nested function": ("def read():\n    def go(): return 1\n    return go()\n", "return 1", "return 2"),
    "comprehension": ("def read(): return [x + 1 for x in (1, 2)]\n", "x + 1", "x + 2"),
    "lambda": ("go = lambda: 1\ndef read(): return go()\n", "lambda: 1", "lambda: 2"),
    "second lambda of a line": ("L = [lambda: 1, lambda: 2]\ndef read(): return L[1]()\n", "lambda: 2", "lambda: 3"),
    "assertion": ("def read(x=1):\n    assert x > 0\n    return x\n", "x > 0", "x > 1"),
    "method": ("class A:\n    def go(self): return 1\ndef read(): return A().go()\n", "return 1", "return 2"),
    "new method": (
        "class B:\n    def go(self): return 1\nclass A(B): k = 1\ndef read(): return A().go()\n",
        "k = 1",
        "go = lambda self: 2",
    ),
    "new method at the end": (
        "class B:\n    def go(self): return 1\ndef read(): return A().go()\nclass A(B):\n    k = 1\n",
        "    k = 1\n",
        "    k = 1\n    def go(self): return 2\n",
    ),
    "property": (
        "class A:\n    @property\n    def k(self): return 1\ndef read(): return A().k\n",
        "return 1",
        "return 2",
    ),
    "static method": (
        "class A:\n    @staticmethod\n    def k(): return 1\ndef read(): return A.k()\n",
        "return 1",
        "return 2",
    ),
    "below a decorator": (
        "import functools\n@functools.cache\ndef go(): return 1\ndef read(): return go()\n",
        "return 1",
        "return 2",
    ),
    "generator": ("def go():\n    yield 1\ndef read(): return list(go())\n", "yield 1", "yield 2"),
    "default and body": ("def read(k=1): return k\n", "return k", "return -k"),
}


@pytest.mark.parametrize("text, old, new", EDITED.values(), ids=EDITED)
def test_code_that_was_edited_after_its_import_is_refused_with_the_remedy(module_of, tmp_path, text, old, new):
    module = module_of("edited_a", edited_a=text)
    assert 1 == text.count(old)
    (tmp_path / "edited_a.py").write_text(text.replace(old, new))
    with pytest.raises(fdm.PipelineError, match=r'edited_a\..*restart, or reload the module.*\.version\("1"\)'):
        fdm.pipeline(fdm.clean(module.read))
    fdm.pipeline(fdm.clean(module.read).version("1"))
    if old != "def read(): return 1\n" and "(1" not in new:
        module = importlib.reload(module)
        fdm.pipeline(fdm.clean(module.read))


def test_a_helper_of_another_module_that_was_edited_is_refused(module_of, tmp_path):
    module = module_of(
        "edited_b", edited_b="import edited_c\ndef read(): return edited_c.go()\n", edited_c="def go(): return 1\n"
    )
    (tmp_path / "edited_c.py").write_text("def go(): return 2\n")
    with pytest.raises(fdm.PipelineError, match=r"edited_c\.go was edited after it was imported"):
        fdm.pipeline(fdm.clean(module.read))


def test_code_that_was_read_before_its_file_was_edited_keeps_its_fingerprint(module_of, tmp_path):
    module = module_of("edited_d", edited_d="def read(): return 1\n")
    before = fdm.fingerprint(fdm.pipeline(fdm.clean(module.read)))
    (tmp_path / "edited_d.py").write_text("def read(): return 2\n")
    assert before == fdm.fingerprint(fdm.pipeline(fdm.clean(module.read)))


@pytest.mark.parametrize(
    "old, new",
    [
        ("K = 1", "K = 2"),
        ("return K\n", "return K  # K\n"),
        ("x = 1", "x = 2"),
        ("def other(): pass", "def other(): return"),
    ],
)
def test_an_edit_elsewhere_in_the_file_is_no_edit_of_the_code(module_of, tmp_path, old, new):
    text = "K = 1\ndef read():\n    return K\nx = 1\ndef other(): pass\n"
    module = module_of("edited_e", edited_e=text)
    (tmp_path / "edited_e.py").write_text(text.replace(old, new))
    after = fdm.fingerprint(fdm.pipeline(fdm.clean(module.read)))
    (tmp_path / "edited_e.py").write_text(text)
    importlib.reload(module)
    assert after == fdm.fingerprint(fdm.pipeline(fdm.clean(module.read)))


STARTS = """\
from __future__ import annotations
import fdm

class A:
    def go(self, x: int) -> int:
        assert x > 0, "positive"
        return x if __debug__ else -x

def read(n: int = 3) -> fdm.Table:
    "Docs."
    assert n
    return A().go(n)

if __name__ == "__main__":
    print(fdm.fingerprint(fdm.pipeline(fdm.clean(read))))
"""


def test_code_is_compared_however_it_was_started(tmp_path):
    (tmp_path / "starts.py").write_text(STARTS)
    (tmp_path / "test_starts.py").write_text(
        "import pathlib, starts, fdm\nfrom starts import *\ndef test(capsys):\n    assert 1\n"
        "    p = fdm.pipeline(fdm.clean(starts.read))\n"
        "    pathlib.Path('printed').write_text(fdm.fingerprint(p))\n"
        "def helper():\n    assert 1\n    return 1\n"
        "def test_own():\n    def inner(): pass\n    fdm.pipeline(fdm.clean(helper))\n"
    )
    tell = "import starts, fdm; print(fdm.fingerprint(fdm.pipeline(fdm.clean(starts.read))))"
    commands = {
        "script": ["starts.py"],
        "module": ["-m", "starts"],
        "optimised": ["-O", "starts.py"],
        "without docstrings": ["-OO", "starts.py"],
        "imported": ["-c", tell],
        "imported without bytecode": ["-B", "-c", tell],
        "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_starts.py"],
    }
    running = {
        name: subprocess.Popen(
            [sys.executable, *start], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for name, start in commands.items()
    }
    printed = {name: process.communicate()[0] for name, process in running.items()}
    assert dict.fromkeys(commands, 0) == {name: process.returncode for name, process in running.items()}, printed
    printed["pytest"] = (tmp_path / "printed").read_text()
    assert 1 == len({text.strip() for text in printed.values()}), printed


LATE = """\
import sys
import fdm

def read():
    import late_helpers
    from late_package.inner import go
    import importlib
    other = importlib.import_module("late_other")
    import json.tool
    return late_helpers.K, go(), other.K

p = fdm.pipeline(fdm.clean(read))
before = fdm.fingerprint(p)
late = {"late_helpers", "late_package", "late_package.inner", "late_other", "late_deep", "json.tool"}
assert not late & set(sys.modules), late & set(sys.modules)
read()
assert late <= set(sys.modules)
assert before == fdm.fingerprint(p)
print(before)
"""


def test_nothing_is_imported_that_the_function_would_import_late(tmp_path):
    (tmp_path / "late_package").mkdir()
    files = {
        "main.py": LATE,
        "late_helpers.py": "from late_deep import K\n",
        "late_deep.py": "K = 1\n",
        "late_package/__init__.py": "",
        "late_package/inner.py": "def go(): return 1\n",
        "late_other.py": "K = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    def said():
        return subprocess.run(
            [sys.executable, "-B", "main.py"], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    first = said()
    different = {first}
    for name in ("late_deep.py", "late_package/inner.py", "late_other.py"):
        (tmp_path / name).write_text(files[name].replace("1", "2"))
        different.add(said())
        (tmp_path / name).write_text(files[name])
    assert 4 == len(different)
    assert first == said()
