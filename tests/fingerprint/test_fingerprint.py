"""Fingerprints: equal in every process, changed by what changes a result, and by nothing else."""

import importlib
import itertools
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdm


HEAD = "import attrs, enum, functools, logging, os, threading, typing, torch, fdm\n"
P = "p = fdm.pipeline(fdm.clean(read))\n"


def written(folder, text):
    """The modules of a case: main.py, and what `--- name` begins; without a `p`, main.py cleans by `read`."""
    main, *others = text.split("--- ")
    for part in (f"main.py\n{HEAD}{main}{'' if 'p = ' in main else P}", *others):
        name, _, source = part.partition("\n")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        if path.parent != folder:
            (path.parent / "__init__.py").touch()
    return folder


@pytest.fixture
def fingerprint(tmp_path):
    """A function from the text of a case to the fingerprint of its `p`, in modules that are imported anew."""
    numbers = itertools.count()

    def fingerprint_of(text, module="main"):
        folder = written(tmp_path / str(next(numbers)), text)
        before = set(sys.modules)
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        try:
            return fdm.fingerprint(importlib.import_module(module).p)
        finally:
            sys.path.remove(str(folder))
            for name in set(sys.modules) - before:
                if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                    del sys.modules[name]

    return fingerprint_of


def cases(text):
    """Cases by name, from lines `=== name: old => new`, each with the modules in which old becomes new."""
    found = {}
    for block in text.split("=== ")[1:]:
        title, _, source = block.partition("\n")
        name, _, change = title.partition(": ")
        found[name] = (source, *change.replace("\\n", "\n").split(" => "))
    return found


REACHED = cases(
    r"""
=== body: 1 + 1 => 1 + 2
def read():
    return 1 + 1

=== default value: k=1 => k=2
def read(k=1): return k

=== constant as default value: K = 1 => K = 2
K = 1
def read(k=K): return k

=== parameter: k=1) => k=2)
def read(*, k): return k
p = fdm.pipeline(fdm.clean(read, k=1))

=== type of a parameter: k=1) => k=1.0)
def read(*, k): return k
p = fdm.pipeline(fdm.clean(read, k=1))

=== name of the function: clean(read => clean(reap
def read(): return 1
def reap(): return 1
p = fdm.pipeline(fdm.clean(read))

=== helper in the same file: return 1 => return 2
def helper(): return 1
def read(): return helper()

=== helper of a helper: return 1 => return 2
def inner(): return 1
def helper(): return inner()
def read(): return helper()

=== helpers that call each other: n - 1 => n - 2
def a(n): return b(n)
def b(n): return a(n - 1) if n else 1
def read(): return a(3)

=== another function under the helper's name: helper = one => helper = two
def one(): return 1
def two(): return 2
helper = one
def read(): return helper()

=== helper imported from another module: return 1 => return 2
from other import helper
def read(): return helper()
--- other.py
def helper(): return 1

=== helper imported under another name: return 1 => return 2
from other import helper as h
def read(): return h()
--- other.py
def helper(): return 1

=== helper imported with a star: return 1 => return 2
from other import *
def read(): return helper()
--- other.py
def helper(): return 1

=== helper read from a module: return 1 => return 2
import other
def read(): return other.helper()
--- other.py
def helper(): return 1

=== constant read from a module: K = 1 => K = 2
import other as o
def read(): return o.K
--- other.py
K = 1

=== helper of another module's helper: K = 1 => K = 2
import other
def read(): return other.helper()
--- other.py
from third import K
def helper(): return K
--- third.py
K = 1

=== helper in a submodule: return 1 => return 2
import pkg.sub
def read(): return pkg.sub.helper()
--- pkg/sub.py
def helper(): return 1

=== helper in a module from a package: return 1 => return 2
from pkg import sub
def read(): return sub.helper()
--- pkg/sub.py
def helper(): return 1

=== helper imported inside the function: return 1 => return 2
def read():
    from other import helper
    return helper()
--- other.py
def helper(): return 1

=== module imported inside the function: return 1 => return 2
def read():
    import other
    return other.helper()
--- other.py
def helper(): return 1

=== submodule imported inside the function: return 1 => return 2
def read():
    import pkg.sub
    return pkg.sub.helper()
--- pkg/sub.py
def helper(): return 1

=== submodule imported under a name inside the function: return 1 => return 2
def read():
    import pkg.sub as s
    return s.helper()
--- pkg/sub.py
def helper(): return 1

=== submodule imported from its package inside the function: return 1 => return 2
def read():
    from pkg import sub
    return sub.helper()
--- pkg/sub.py
def helper(): return 1

=== relative import inside a helper: K = 1 => K = 2
from pkg import sub
def read(): return sub.helper()
--- pkg/sub.py
def helper():
    from .other import K
    return K
--- pkg/other.py
K = 1

=== relative import of a module inside a helper: K = 1 => K = 2
from pkg import sub
def read(): return sub.helper()
--- pkg/sub.py
def helper():
    from . import other
    return other.K
--- pkg/other.py
K = 1

=== module bound to a local name: return 1 => return 2
import other
def read():
    o = other
    return o.helper()
--- other.py
def helper(): return 1

=== global constant: K = 1 => K = 2
K = 1
def read(): return K

=== nested global constant: (2,) => (3,)
K = {'a': [1, (2,)]}
def read(): return K

=== global tensor: [1, 2] => [1, 3]
K = torch.tensor([1, 2])
def read(): return K

=== global read in a nested function: K = 1 => K = 2
K = 1
def read():
    def inner(): return K
    return inner()

=== global read in a comprehension: K = 1 => K = 2
K = 1
def read(): return [K for _ in range(2)]

=== global read in a class: K = 1 => K = 2
K = 1
class A:
    k = K
def read(): return A.k

=== value of an enum: A = 1 => A = 2
class E(enum.Enum):
    A = 1
K = E.A
def read(): return K.value

=== value of an enum as parameter: A = 1 => A = 2
class E(enum.Enum):
    A = 1
def read(*, k): return k.value
p = fdm.pipeline(fdm.clean(read, k=E.A))

=== decorator argument: times(1) => times(2)
def times(k):
    def wrap(f):
        @functools.wraps(f)
        def g(): return f() * k
        return g
    return wrap
@times(1)
def read(): return 1

=== decorator's body: f() * 2 => f() * 3
def twice(f):
    @functools.wraps(f)
    def g(): return f() * 2
    return g
@twice
def read(): return 1

=== body below a decorator of another module: return 1 => return 2
from other import twice
@twice
def read(): return 1
--- other.py
import functools
def twice(f):
    @functools.wraps(f)
    def g(): return f() * 2
    return g

=== body below lru_cache: return 1 => return 2
@functools.lru_cache
def read(): return 1

=== body below a decorator of a library: return 1 => return 2
@torch.no_grad()
def read(): return 1

=== helper below a decorator of a library: return 1 => return 2
@torch.no_grad()
def helper(): return 1
def read(): return helper()

=== helper below a decorator of a library, in a dict: return 1 => return 2
@torch.no_grad()
def helper(): return 1
ALL = {'h': helper}
def read(): return ALL['h']()

=== helper in a dict: return 1 => return 2
def helper(): return 1
ALL = {'h': helper}
def read(): return ALL['h']()

=== function as parameter: return 1 => return 2
def helper(): return 1
def read(*, k): return k()
p = fdm.pipeline(fdm.clean(read, k=[helper]))

=== decorated function as parameter: return 1 => return 2
@torch.no_grad()
def helper(): return 1
def read(*, k): return k()
p = fdm.pipeline(fdm.clean(read, k=helper))

=== lambda: lambda: 1 => lambda: 2
helper = lambda: 1
def read(): return helper()

=== second lambda: lambda: 1 => lambda: 2
a = lambda: 0
b = lambda: 1
def read(): return a() + b()

=== value in a closure: times(2) => times(3)
def times(k):
    def inner(x): return x * k
    return inner
double = times(2)
def read(): return double(1)

=== value in the second closure of a factory: times(3) => times(4)
def times(k):
    def inner(x): return x * k
    return inner
double = times(2)
triple = times(3)
def read(): return double(1) + triple(1)

=== method of a class: return 1 => return 2
class A:
    def go(self): return self.helper()
    def helper(self): return 1
def read(): return A().go()

=== method of a base class in another module: return 1 => return 2
from other import B
class A(B): pass
def read(): return A().go()
--- other.py
class B:
    def go(self): return 1

=== static method as the function: return 1 => return 2
class A:
    @staticmethod
    def read(): return 1
p = fdm.pipeline(fdm.clean(A.read))

=== what a class method calls on its class: return 1 => return 2
class A:
    @classmethod
    def read(cls): return cls.helper()
    @staticmethod
    def helper(): return 1
p = fdm.pipeline(fdm.clean(A.read))

=== method of a callable instance: return 1 => return 2
@attrs.frozen
class A:
    k: int
    def __call__(self): return self.go()
    def go(self): return 1
p = fdm.pipeline(fdm.clean(A(1)))

=== field of a callable instance: A(1) => A(2)
@attrs.frozen
class A:
    k: int
    def __call__(self): return self.k
p = fdm.pipeline(fdm.clean(A(1)))

=== function in a field of a callable instance: return 1 => return 2
def helper(): return 1
@attrs.frozen
class A:
    k: object
    def __call__(self): return self.k()
p = fdm.pipeline(fdm.clean(A(helper)))

=== method of a frozen instance as parameter: return 1 => return 2
@attrs.frozen
class A:
    def go(self): return 1
def read(*, a): return a.go()
p = fdm.pipeline(fdm.clean(read, a=A()))

=== method of a frozen global: return 1 => return 2
@attrs.frozen
class A:
    def go(self): return 1
K = A()
def read(): return K.go()

=== forward of a module: return 1 => return 2
class M(torch.nn.Module):
    def forward(self): return 1
p = fdm.pipeline(fdm.clean(M()))

=== forward of a module's child: return 1 => return 2
class K(torch.nn.Module):
    def forward(self): return 1
class M(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k = k
    def forward(self): return self.k()
p = fdm.pipeline(fdm.clean(M(K())))

=== fetch: return 1 => return 2
def get(into): return 1
p = fdm.pipeline(fdm.fetch(get))

=== measure: return 1 => return 2
def stats(s): return 1
p = fdm.pipeline(fdm.measure(stats).on("a"))

=== split: return 1 => return 2
def cut(s): return 1
p = fdm.pipeline(fdm.split(cut))

=== stratify: return 1 => return 2
def by(s): return 1
p = fdm.pipeline(fdm.split({"a": None}, stratify=by))

=== groups of a fold: return 1 => return 2
def by(s): return 1
p = fdm.pipeline(fdm.fold(3, 0, groups=by))

=== version: version("1") => version("2")
def read(): return 1
p = fdm.pipeline(fdm.clean(read).version("1"))
"""
)


@pytest.mark.parametrize("text, old, new", REACHED.values(), ids=REACHED)
def test_what_changes_a_result_changes_the_fingerprint(fingerprint, text, old, new):
    assert 1 == text.count(old)
    before = fingerprint(text)
    assert before == fingerprint(text)
    assert before != fingerprint(text.replace(old, new))


LAMBDAS = """
ALL = {
    'a': lambda: 0,
    'b': lambda: 1,
}
def read(): return ALL['b']()
"""


def test_a_lambda_in_the_midst_of_an_expression_is_followed_or_refused_with_the_remedy(fingerprint):
    try:
        before = fingerprint(LAMBDAS)
    except fdm.PipelineError as error:
        assert '.version("1")' in str(error)  # noqa: PT017 - either of two outcomes is right
    else:
        assert before != fingerprint(LAMBDAS.replace("lambda: 1", "lambda: 2"))


UNREACHED = cases(
    r'''
=== comment: # one => # two
def read():
    # one
    return 1

=== comment in place of nothing: return 1 => return 1  # one
def read():
    return 1

=== docstring: One => Two
def read():
    """One."""
    return 1

=== docstring that was not there: return 1 => """One."""\n    return 1
def read():
    return 1

=== docstring of a class: One => Two
class A:
    """One."""
    k = 1
def read(): return A

=== docstring of a method: """One.""" => pass
class A:
    def go(self):
        """One."""
def read(): return A

=== spaces: (a+b) => a + b
def read(a=1,b=2): return (a+b)

=== lines: dict(a=1, b=2) => dict(\n        a=1,\n        b=2,\n    )
def read(): return dict(a=1, b=2)

=== quotes: 'text' => "text"
def read(): return 'text'

=== place in the file: def read => \n\n\nx = 3\n\n\ndef read
def read(): return 1

=== unrelated function: return 1 => return 2
def other(): return 1
def read(): return 0

=== unrelated constant: K = 1 => K = 2
K = 1
def read(): return 0

=== unrelated function of a module that is read: return 1 => return 2
import other
def read(): return other.helper()
--- other.py
def helper(): return 0
def unrelated(): return 1

=== unrelated import of a module that the function imports: x = 0 => import pkg.sub as x
x = 0
def read():
    from pkg import sub
    return sub.helper()
--- pkg/sub.py
def helper(): return 1

=== unrelated entry of an enum's module: A = 1 => A = 2
def read(k=0): return k
class E(enum.Enum):
    A = 1

=== body of a transform: return 1 => return 2
def change(item): return 1
p = fdm.pipeline(fdm.transform(change), fdm.batch(2))

=== body of a collate function: return 1 => return 2
def put(rows): return 1
p = fdm.pipeline(fdm.batch(2, collate=put))

=== body below a version: return 1 => return 2
def read(): return 1
p = fdm.pipeline(fdm.clean(read).version("1"))

=== helper below a version: return 1 => return 2
def helper(): return 1
def read(): return helper()
p = fdm.pipeline(fdm.clean(read).version("1"))
'''
)


@pytest.mark.parametrize("text, old, new", UNREACHED.values(), ids=UNREACHED)
def test_what_changes_no_result_does_not_change_the_fingerprint(fingerprint, text, old, new):
    assert 1 == text.count(old)
    assert fingerprint(text) == fingerprint(text.replace(old, new))


def test_a_version_still_counts_parameters(fingerprint):
    text = 'def read(*, k): return k\np = fdm.pipeline(fdm.clean(read, k=1).version("1"))'
    assert fingerprint(text) != fingerprint(text.replace("k=1", "k=2"))
    assert fingerprint(text) != fingerprint(text.replace('.version("1")', ""))


VALUELESS = cases(
    r"""
=== lock:
LOCK = threading.Lock()
def read(): return LOCK

=== instance:
class A: pass
LOCK = A()
def read(): return LOCK

=== generator:
LOCK = torch.Generator()
def read(): return LOCK

=== in a helper:
LOCK = threading.Lock()
def helper(): return LOCK
def read(): return helper()

=== in a container:
LOCK = {'a': [threading.Lock()]}
def read(): return LOCK

=== of another module:
import other
def read(): return other.LOCK
--- other.py
import threading
LOCK = threading.Lock()

=== open file:
import sys
LOCK = sys.__stdin__
def read(): return LOCK
"""
)


@pytest.mark.parametrize("text", [text for text, *_ in VALUELESS.values()], ids=VALUELESS)
def test_a_global_without_a_value_is_refused_by_name_with_the_remedy(fingerprint, text):
    with pytest.raises(fdm.PipelineError, match=r'LOCK.*pass it as a parameter.*\.version\("1"\)'):
        fingerprint(text)
    main, mark, others = text.partition("--- ")
    assert fingerprint(main + P.replace("(read)", '(read).version("1")') + mark + others)


@pytest.mark.parametrize(
    "stage",
    [
        "fdm.fetch(read)",
        "fdm.clean(read)",
        'fdm.measure(read).on("a")',
        "fdm.split(read)",
        "fdm.fold(2, 0, groups=read)",
    ],
)
def test_every_stage_whose_result_is_kept_refuses_what_has_no_value(fingerprint, stage):
    text = f"LOCK = threading.Lock()\ndef read(source): return LOCK\np = fdm.pipeline({stage})\n"
    with pytest.raises(fdm.PipelineError, match="LOCK"):
        fingerprint(text)


def test_a_transform_may_read_what_has_no_value(fingerprint):
    assert fingerprint("LOCK = threading.Lock()\ndef read(item): return LOCK\np = fdm.pipeline(fdm.transform(read))\n")


def test_loggers_libraries_and_the_names_of_python_count_by_name(fingerprint):
    text = (
        "LOG = logging.getLogger('data')\nfrom pathlib import Path\nimport numpy as np\nfrom torch.nn import functional\n"
        "def read():\n    LOG.info(np.zeros(3)); os.environ.get('X'); functional.relu(torch.zeros(1))\n"
        "    import json\n    return Path(__file__), __name__, json.dumps(len([]))\n"
    )
    assert fingerprint(text) == fingerprint(text)
    assert fingerprint(text) != fingerprint(text.replace("Logger('data')", "Logger('other')"))


def test_the_environment_and_other_libraries_state_do_not_count(fingerprint, monkeypatch):
    text = "def read(): return os.environ.get('FDM_TEST_VARIABLE')\n"
    before = fingerprint(text)
    monkeypatch.setenv("FDM_TEST_VARIABLE", "1")
    assert before == fingerprint(text)


def test_code_without_source_is_refused_with_the_remedy():
    exec("def made_of_text(): return 1", globals())
    stage = fdm.clean(globals()["made_of_text"])
    with pytest.raises(fdm.PipelineError, match=r'made_of_text cannot be read.*\.version\("1"\)'):
        fdm.pipeline(stage)
    assert fdm.fingerprint(fdm.pipeline(stage.version("1"))) != fdm.fingerprint(fdm.pipeline(stage.version("2")))


@pytest.mark.parametrize("wrong", ["", 1, None])
def test_a_version_is_a_string(wrong):
    with pytest.raises(fdm.PipelineError, match="version takes a string"):
        fdm.clean(len).version(wrong)


STORY = """
K = {"b": 1, "a": {"x", "y", "z"}}
class E(enum.Enum):
    A = 1
@attrs.frozen
class Config:
    k: int
def helper(): return K
@functools.lru_cache
def cached(): return helper(), LOG, BOUND(), PARTIAL(), ALIAS, TABLE, Point(1, 2), kind(E.A), D
LOG = logging.getLogger(__name__)
class Own:
    class Inner: k = {"p", "q"}
BOUND = Config(3).__repr__
PARTIAL = functools.partial(helper)
ALIAS = list[Config], E | None
TABLE = [lambda: Own.Inner, lambda: 2]
D = attrs.make_class and {"z": 1, "y": frozenset("abc")}
class Point(typing.NamedTuple):
    x: int
    y: int
@functools.singledispatch
def kind(x): return x
@kind.register
def _(x: E): return globals()
class Reader:
    @staticmethod
    def read(*, config: Config, names): return cached(), config, E.A
@attrs.frozen
class Cut:
    n: int
    def __call__(self, source): return {"a": range(self.n)}
def stats(source): return {"n": len(source)}
class Add(torch.nn.Module):
    def forward(self, item): return item
p = fdm.pipeline(
    fdm.clean(Reader.read, config=Config(3), names={"x": {"p", "q", "r"}, "y": torch.arange(3)}),
    fdm.split(Cut(2)),
    fdm.measure(stats).on("a"),
    fdm.shuffle(),
    fdm.batch(2, collate=list),
    fdm.transform(Add()),
)
def tell(p): print(fdm.fingerprint(p), flush=True)
if __name__ == "__main__":
    import multiprocessing, sys
    tell(p)
    if "spawn" in sys.argv:
        process = multiprocessing.get_context("spawn").Process(target=tell, args=(p,))
        process.start()
        process.join()
"""


def told(folder, *starts):
    """The distinct fingerprints that processes print, all started at once in `folder`, each with its own hash seed."""
    running = [
        subprocess.Popen(
            [sys.executable, *start],
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, start in enumerate(starts)
    ]
    lines = [process.communicate()[0].split() for process in running]
    assert [(0, 1 + ("spawn" in start)) for start in starts] == [
        (process.returncode, len(each)) for process, each in zip(running, lines, strict=True)
    ]
    return {line for each in lines for line in each}


def test_fingerprints_are_equal_in_every_process_however_it_was_started(tmp_path, fingerprint):
    assert {fingerprint(STORY)} == told(written(tmp_path, STORY), ("main.py", "spawn"), ("-m", "main"))


def test_fingerprints_are_equal_for_a_module_of_a_package_imported_and_run_by_name(tmp_path, fingerprint):
    story = f"--- pkg/main.py\n{HEAD}{STORY}"
    assert {fingerprint(story, "pkg.main")} == told(written(tmp_path, story), ("-m", "pkg.main"))


def test_fingerprints_are_equal_for_a_module_of_a_package_imported_and_run_as_a_script(tmp_path, fingerprint):
    story = f"--- pkg/main.py\n{HEAD}{STORY}"
    assert {fingerprint(story, "pkg.main")} == told(written(tmp_path, story), ("pkg/main.py",))


def test_decorators_of_libraries_do_not_tell_a_script_from_an_import(tmp_path, fingerprint):
    story = STORY.replace("def stats", "@torch.no_grad()\ndef stats")
    assert {fingerprint(story)} == told(written(tmp_path, story), ("main.py",))


def scale(item, *, by=1):
    return item


def read(*, k=0):
    return k


def shifted(item, *, by=1):
    return item


VALUES = [0, 1, 1.0, True, "1", None, (1,), [1], [True], {"a": 1}, {"a": 1.0}]
CONSTRUCTORS = {
    "read": lambda value: fdm.clean(read, k=value),
    "pinned": lambda value: fdm.clean(read, k=value).version("1"),
    "shuffle": lambda value: fdm.shuffle(seed=value),
    "shuffle on": lambda value: fdm.shuffle(seed=value).on("train"),
    "take": fdm.take,
    "scale": lambda value: fdm.transform(scale, by=value),
    "shifted": lambda value: fdm.transform(shifted, by=value),
    "scale on": lambda value: fdm.transform(scale, by=value).on("train"),
    "batch": lambda value: fdm.batch(2, drop_last=value),
    "skip": lambda value: fdm.transfer(skip=value),
}
PLACES = [
    ("read", "pinned"),
    ("shuffle", "shuffle on", "take"),
    ("scale", "shifted", "scale on"),
    ("batch",),
    ("skip",),
]
TAKES = {
    "shuffle": [None, 0, 1],
    "shuffle on": [None, 0, 1],
    "take": [0, 1, 0.0, 1.0],
    "batch": [True, False],
    "skip": [(), ("a",), ("a", "b")],
}


@st.composite
def recipes(draw):
    """What a small pipeline is made of: equal as text exactly where the pipelines should be."""
    stages = []
    for names in PLACES:
        name = draw(st.sampled_from([None, *names]))
        if name is not None:
            stages.append((name, draw(st.sampled_from(TAKES.get(name, VALUES)))))
    return draw(st.sampled_from([0, 1])), tuple(stages)


def made(recipe):
    seed, stages = recipe
    return fdm.pipeline(*(CONSTRUCTORS[name](value) for name, value in stages), seed=seed)


@given(recipes(), recipes())
def test_fingerprints_are_equal_exactly_for_equal_pipelines(left, right):
    p, q = made(left), made(right)
    assert (repr(left) == repr(right)) == (p == q) == (fdm.fingerprint(p) == fdm.fingerprint(q))
    assert p == made(left)
    assert (hash(p), fdm.fingerprint(p)) == (hash(made(left)), fdm.fingerprint(made(left)))


@given(recipes(), st.data())
def test_every_single_change_of_a_pipeline_changes_its_fingerprint(recipe, data):
    seed, stages = recipe
    changed = [(1 - seed, stages), *((seed, stages[:i] + stages[i + 1 :]) for i in range(len(stages)))]
    for i, (name, value) in enumerate(stages):
        others = [other for other in TAKES.get(name, VALUES) if repr(other) != repr(value)]
        changed.append((seed, (*stages[:i], (name, data.draw(st.sampled_from(others))), *stages[i + 1 :])))
    different = {repr(each): fdm.fingerprint(made(each)) for each in [recipe, *changed]}
    assert len(different) == len(set(different.values()))


def test_a_fingerprint_is_64_hexadecimal_digits():
    digits = fdm.fingerprint(fdm.pipeline())
    assert (64, set()) == (len(digits), set(digits) - set("0123456789abcdef"))


def test_a_container_of_another_module_that_the_code_fills_is_no_constant(tmp_path):
    (tmp_path / "state.py").write_text("CALLS = []\nSIZE = 3\n")
    (tmp_path / "counts.py").write_text(
        "import state, torch, fdm\n"
        "def read():\n    state.CALLS.append(1)\n    return fdm.Table({'x': torch.arange(state.SIZE)})\n"
        "p = fdm.pipeline(fdm.clean(read))\n"
        "before = fdm.fingerprint(p)\nstate.CALLS.append(0)\nassert before == fdm.fingerprint(p)\n"
        "state.SIZE = 4\nassert before != fdm.fingerprint(p)\n"
    )
    ran = subprocess.run([sys.executable, "counts.py"], capture_output=True, text=True, cwd=tmp_path)
    assert (0, "") == (ran.returncode, ran.stderr)
