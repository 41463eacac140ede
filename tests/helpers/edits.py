"""A table of edits of a user's code: `=== name: old => new`, then the modules in which old becomes new.

The first module is main.py, and `--- name` begins another. `read` is what a stage calls, unless main.py makes a `p`.
`MATTERING` edits change what it returns, `HARMLESS` ones do not, and `REFUSED` code is none that a fingerprint could
cover: the name in brackets is one that the message has to tell.
"""

HEAD = """\
import abc, argparse, asyncio, attrs, collections, contextlib, dataclasses, datetime, decimal, enum, fractions, functools
import importlib, inspect, itertools, logging, math, operator, os, pathlib, random, re, string, sys, threading, types, typing
import uuid, numpy as np, torch, fdm
"""

MATTERING = r'''
=== builtin shadowed by a function, round: return 1 => return 2
def round(x): return 1
def read(): return round(1.5)

=== builtin shadowed by a function, filter: return 1 => return 2
def filter(x): return 1
def read(): return filter(1.5)

=== builtin shadowed by an import, open: return 1 => return 2
from helpers import open
def read(): return open("x")
--- helpers.py
def open(name): return 1

=== builtin shadowed by a constant, format: format = 1 => format = 2
format = 1
def read(): return format

=== builtin shadowed by a lambda, hash: lambda x: 1 => lambda x: 2
hash = lambda x: 1
def read(): return hash("x")

=== builtin shadowed in a closure, print: make(1) => make(2)
def make(k):
    def print(): return k
    def read_(): return print()
    return read_
inner = make(1)
def read(): return inner()

=== builtin shadowed in a helper of another module: return 1 => return 2
from helpers import go
def read(): return go()
--- helpers.py
def compile(): return 1
def go(): return compile()

=== builtin shadowed by a class, list: k = 1 => k = 2
class list:
    k = 1
def read(): return list.k

=== builtin shadowed by a star import, sorted: return 1 => return 2
from helpers import *
def read(): return sorted([3])
--- helpers.py
def sorted(x): return 1

=== builtin shadowed inside the function: return 1 => return 2
def read():
    from helpers import max
    return max()
--- helpers.py
def max(): return 1

=== no longer shadowed: def round(x): return 7 => def around(x): return 7
def round(x): return 7
def read(): return round(1.5)

=== name with underscores at both ends: __version__ = 1 => __version__ = 2
__version__ = 1
def read(): return __version__

=== private name: _k = 1 => _k = 2
_k = 1
def read(): return _k

=== operator: 5 + 3 => 5 - 3
def read(): return 5 + 3

=== comparison: x < 3 => x <= 3
def read(x=3): return x < 3

=== slice: [1:] => [:1]
def read(): return [1, 2, 3][1:]

=== negated condition: if x => if not x
def read(x=3): return 1 if x else 2

=== format of an f-string: :.1f => :.2f
def read(x=1.234): return f"{x:.1f}"

=== conversion in an f-string: {x} => {x!r}
def read(x="a"): return f"{x}"

=== exception that is caught: except KeyError => except LookupError
def read():
    try:
        [][1]
    except KeyError:
        return 1
    except IndexError:
        return 2

=== finally: return 1 => return 2
def read():
    try: pass
    finally: return 1

=== pattern of a match: case 1 => case 2
def read(x=1):
    match x:
        case 1: return "a"
        case _: return "b"

=== class in a pattern: A: pass => A(B): pass
class B: pass
class A: pass
def read():
    match A():
        case B(): return "a"
        case _: return "b"

=== constant in a pattern: K = 1 => K = 2
import consts
def read(x=1):
    match x:
        case consts.K: return "a"
        case _: return "b"
--- consts.py
K = 1

=== walrus: n := 1 => n := 2
def read(): return (n := 1)

=== generator: yield 1 => yield 2
def go(): yield 1
def read(): return list(go())

=== async helper: return 1 => return 2
async def go(): return 1
def read(): return asyncio.run(go())

=== async generator: yield 1 => yield 2
async def go(): yield 1
async def all_(): return [x async for x in go()]
def read(): return asyncio.run(all_())

=== nonlocal: n += 1 => n += 2
def read():
    n = 0
    def go():
        nonlocal n
        n += 1
    go()
    return n

=== assertion: x > 0 => x > 9
def read(x=3):
    try:
        assert x > 0
        return 1
    except AssertionError:
        return 2

=== star arguments: return go(*args) => return go(*args, last=1)
def go(*args, last=0): return args, last
def wrap(*args): return go(*args)
def read(): return wrap(1)

=== order of two statements: a(); b() => b(); a()
def read():
    log = []
    def a(): log.append("a")
    def b(): log.append("b")
    a(); b()
    return log

=== del: del x => x = 3
def read():
    x = 1
    del x
    return "x" in locals()

=== string of another type: "a" => b"a"
def read(): return "a"

=== minus zero: 0.0 => -0.0
def read(): return math.copysign(1, 0.0)

=== integer to float: 1 => 1.0
def read(): return 1

=== chained comparison in a comprehension: x if x > 1 else 0 => x if x > 2 else 0
def read(): return [x if x > 1 else 0 for x in (1, 2, 3)]

=== keyword-only default: k=1 => k=2
def go(*, k=1): return k
def read(): return go()

=== positional-only default: k=1 => k=2
def go(k=1, /): return k
def read(): return go()

=== mutable default: [1] => [2]
def go(k=[1]): return k[0]
def read(): return go()

=== default bound early: n = 1 => n = 2
n = 1
def go(k=n): return k
n = 7
def read(): return go()

=== default of a function in a factory: make(1) => make(2)
def make(k):
    def go(x=k): return x
    return go
go = make(1)
def read(): return go()

=== keyword default of a function in a factory: make(1) => make(2)
def make(k):
    def go(*, x=k): return x
    return go
go = make(1)
def read(): return go()

=== default of a lambda in a loop: (1, 2) => (1, 3)
GO = [lambda x=k: x for k in (1, 2)]
def read(): return [go() for go in GO]

=== default that is a helper: return 1 => return 2
def helper(): return 1
def go(f=helper): return f()
def read(): return go()

=== closure over a list: make([1]) => make([2])
def make(k):
    def go(): return k[0]
    return go
go = make([1])
def read(): return go()

=== closure over a function: return 1 => return 2
def helper(): return 1
def make(f):
    def go(): return f()
    return go
go = make(helper)
def read(): return go()

=== closure within a closure: make(1)(2) => make(1)(3)
def make(a):
    def middle(b):
        def go(): return a, b
        return go
    return middle
go = make(1)(2)
def read(): return go()

=== closure of a class: make(1) => make(2)
def make(k):
    class A:
        def go(self): return k
    return A
A = make(1)
def read(): return A().go()

=== attribute of a class in a factory: make(1) => make(2)
def make(k):
    class A:
        size = k
    return A
A = make(1)
def read(): return A().size

=== base of a class in a factory: make(B) => make(C)
class B: k = 1
class C: k = 2
def make(base):
    class A(base): pass
    return A
A = make(B)
def read(): return A.k

=== argument of a decorator: add(1) => add(2)
def add(k):
    def wrap(f):
        @functools.wraps(f)
        def g(): return f() + k
        return g
    return wrap
@add(1)
def go(): return 1
def read(): return go()

=== order of decorators: @a\n@b => @b\n@a
def a(f):
    @functools.wraps(f)
    def g(): return "a" + f()
    return g
def b(f):
    @functools.wraps(f)
    def g(): return "b" + f()
    return g
@a
@b
def go(): return ""
def read(): return go()

=== decorator taken away: @twice\ndef go => def go
def twice(f):
    @functools.wraps(f)
    def g(): return f() * 2
    return g
@twice
def go(): return 1
def read(): return go()

=== decorator without wraps: f() + 1 => f() + 2
def more(f):
    def g(): return f() + 1
    return g
@more
def go(): return 1
def read(): return go()

=== body below a decorator without wraps: return 1 => return 2
def more(f):
    def g(): return f() + 1
    return g
@more
def go(): return 1
def read(): return go()

=== wrapper applied by a call: f() + 1 => f() + 2
def more(f):
    @functools.wraps(f)
    def g(): return f() + 1
    return g
def plain(): return 1
go = more(plain)
def read(): return go()

=== another wrapper applied by a call: go = more(plain) => go = less(plain)
def more(f):
    @functools.wraps(f)
    def g(): return f() + 1
    return g
def less(f):
    @functools.wraps(f)
    def g(): return f() - 1
    return g
def plain(): return 1
go = more(plain)
def read(): return go()

=== argument of a wrapper applied by a call: more(2)(plain) => more(3)(plain)
def more(k):
    def wrap(f):
        @functools.wraps(f)
        def g(): return f() + k
        return g
    return wrap
def plain(): return 1
go = more(2)(plain)
def read(): return go()

=== decorator that is a class: self.f() + 1 => self.f() + 2
class more:
    def __init__(self, f):
        functools.update_wrapper(self, f)
        self.f = f
    def __call__(self): return self.f() + 1
@more
def go(): return 1
def read(): return go()

=== argument of a class that wraps by a call: more(1)(plain) => more(2)(plain)
class more:
    def __init__(self, k): self.k = k
    def __call__(self, f):
        made = wrapped()
        functools.update_wrapper(made, f)
        made.f, made.k = f, self.k
        return made
class wrapped:
    def __call__(self): return self.f() + self.k
def plain(): return 1
go = more(1)(plain)
def read(): return go()

=== decorator with a constant of its module: K = 1 => K = 2
from decorators import more
@more
def go(): return 1
def read(): return go()
--- decorators.py
import functools
K = 1
def more(f):
    @functools.wraps(f)
    def g(): return f() + K
    return g

=== body below functools.cache: return 1 => return 2
@functools.cache
def go(): return 1
def read(): return go()

=== body of what a call caches: return 1 => return 2
def plain(): return 1
go = functools.lru_cache(maxsize=3)(plain)
def read(): return go()

=== context manager: yield 1 => yield 2
@contextlib.contextmanager
def go(): yield 1
def read():
    with go() as k: return k

=== context manager that is a class: return 1 => return 2
class A:
    def __enter__(self): return 1
    def __exit__(self, *_): pass
def read():
    with A() as k: return k

=== registration of singledispatch: return 1 => return 2
@functools.singledispatch
def go(x): return 0
@go.register(str)
def _(x): return 1
def read(): return go("a")

=== registration of singledispatch by annotation: x: str => x: bytes
@functools.singledispatch
def go(x): return 0
@go.register
def _(x: str): return 1
def read(): return go("a")

=== registration of singledispatch in another module: return 1 => return 2
from base import go
import more
def read(): return go("a")
--- base.py
import functools
@functools.singledispatch
def go(x): return 0
--- more.py
from base import go
@go.register(str)
def _(x): return 1

=== registration of singledispatch taken away: @go.register(str)\ndef => def
@functools.singledispatch
def go(x): return 0
@go.register(str)
def _(x): return 1
def read(): return go("a")

=== singledispatchmethod: return 1 => return 2
class A:
    @functools.singledispatchmethod
    def go(self, x): return 0
    @go.register(str)
    def _(self, x): return 1
def read(): return A().go("a")

=== table that a decorator fills: return 1 => return 2
TABLE = {}
def register(name):
    def add(f):
        TABLE[name] = f
        return f
    return add
@register("a")
def go(): return 1
def read(): return TABLE["a"]()

=== name in a table that a decorator fills: register("b") => register("c")
TABLE = {}
def register(name):
    def add(f):
        TABLE[name] = f
        return f
    return add
@register("a")
def go(): return 1
@register("b")
def stay(): return 2
def read(): return sorted(TABLE)

=== table that the top of the module fills: TABLE["a"] = 1 => TABLE["a"] = 2
TABLE = {}
TABLE["a"] = 1
def read(): return TABLE["a"]

=== list that the top of the module sorts: L.sort() => L.reverse()
L = [1, 3, 2]
L.sort()
def read(): return L

=== table that another function fills before: set_it(1) => set_it(2)
CONFIG = {}
def set_it(k): CONFIG["k"] = k
set_it(1)
def read(): return CONFIG["k"]

=== table of lambdas: lambda: 1 => lambda: 3
TABLE = {"a": lambda: 1, "b": lambda: 2}
def read(): return TABLE["a"]()

=== second lambda of a line: lambda: 2 => lambda: 3
TABLE = [lambda: 1, lambda: 2]
def read(): return TABLE[1]()

=== lambdas that change places: lambda: 1, lambda: 2 => lambda: 2, lambda: 1
TABLE = [lambda: 1, lambda: 2]
def read(): return TABLE[1]()

=== lambda over several lines: 2 => 3
go = lambda x: (
    x +
    2
)
def read(): return go(1)

=== lambda in a call: x + 1 => x + 2
go = functools.partial(lambda x: x + 1, 1)
def read(): return go()

=== table of classes: k = 1 => k = 3
class A: k = 1
class B: k = 2
TABLE = {"a": A, "b": B}
def read(): return TABLE["a"].k

=== table of functions, swapped: {"a": f, "b": g} => {"a": g, "b": f}
def f(): return 1
def g(): return 2
TABLE = {"a": f, "b": g}
def read(): return TABLE["a"]()

=== table of frozen instances: A(1) => A(2)
@attrs.frozen
class A:
    k: int
    def go(self): return self.k
TABLE = {"a": A(1)}
def read(): return TABLE["a"].go()

=== method of an instance in a table: return 1 => return 2
@attrs.frozen
class A:
    def go(self): return 1
TABLE = [A()]
def read(): return TABLE[0].go()

=== bound method: A(1).go => A(2).go
@attrs.frozen
class A:
    k: int
    def go(self): return self.k
go = A(1).go
def read(): return go()

=== body of a bound method: return 1 => return 2
@attrs.frozen
class A:
    def go(self): return 1
go = A().go
def read(): return go()

=== bound method of a text: ", ".join => "; ".join
join = ", ".join
def read(): return join("ab")

=== bound method of a dict: {"a": 1} => {"a": 2}
get = {"a": 1}.get
def read(): return get("a")

=== partial: partial(go, 1) => partial(go, 2)
def go(x): return x
part = functools.partial(go, 1)
def read(): return part()

=== function of a partial: return x => return -x
def go(x): return x
part = functools.partial(go, 1)
def read(): return part()

=== keyword of a partial: x=1 => x=2
def go(x): return x
part = functools.partial(go, x=1)
def read(): return part()

=== partial of a builtin: base=2 => base=3
part = functools.partial(int, base=2)
def read(): return part("10")

=== partialmethod: go, 1 => go, 2
class A:
    def go(self, x): return x
    one = functools.partialmethod(go, 1)
def read(): return A().one()

=== itemgetter: itemgetter(0) => itemgetter(1)
get = operator.itemgetter(0)
def read(): return get("ab")

=== attrgetter: "real" => "imag"
get = operator.attrgetter("real")
def read(): return get(1j)

=== methodcaller: "upper" => "lower"
call = operator.methodcaller("upper")
def read(): return call("aB")

=== ufunc of an attribute: np.add => np.subtract
go = np.add
def read(): return int(go(3, 2))

=== body of a method: return 1 => return 2
class A:
    def go(self): return 1
def read(): return A().go()

=== property: return 1 => return 2
class A:
    @property
    def go(self): return 1
def read(): return A().go

=== setter: self._k = k => self._k = -k
class A:
    @property
    def k(self): return self._k
    @k.setter
    def k(self, k): self._k = k
def read():
    a = A()
    a.k = 1
    return a.k

=== cached property: return 1 => return 2
class A:
    @functools.cached_property
    def go(self): return 1
def read(): return A().go

=== class attribute: k = 1 => k = 2
class A: k = 1
def read(): return A.k

=== class attribute set later: A.k = 1 => A.k = 2
class A: k = 0
A.k = 1
def read(): return A.k

=== new class attribute set later: A.k = 1 => A.k = 2
class A: pass
A.k = 1
def read(): return A.k

=== method replaced later: return 1 => return 2
class A:
    def go(self): return 0
def other(self): return 1
A.go = other
def read(): return A().go()

=== method replaced later by another: A.go = one => A.go = two
class A:
    def go(self): return 0
def one(self): return 1
def two(self): return 2
A.go = one
def read(): return A().go()

=== method alias: also = one => also = two
class A:
    def one(self): return 1
    def two(self): return 2
    also = one
def read(): return A().also()

=== base class: class A(B) => class A(C)
class B: k = 1
class C: k = 2
class A(B): pass
def read(): return A.k

=== name of the base class: Base = B => Base = C
class B: k = 1
class C: k = 2
Base = B
class A(Base): pass
def read(): return A.k

=== base class of a base class in another module: return 1 => return 2
from middle import B
class A(B): pass
def read(): return A().go()
--- middle.py
from bottom import C
class B(C): pass
--- bottom.py
class C:
    def go(self): return 1

=== order of bases: class A(B, C) => class A(C, B)
class B: k = 1
class C: k = 2
class A(B, C): pass
def read(): return A.k

=== metaclass: return 1 => return 2
class M(type):
    def __getattr__(cls, name): return 1
class A(metaclass=M): pass
def read(): return A.k

=== metaclass of a base: return 1 => return 2
class M(type):
    def __call__(cls): return 1
class B(metaclass=M): pass
class A(B): pass
def read(): return A()

=== __init_subclass__: k = 1 => k = 2
class B:
    def __init_subclass__(cls): cls.k = 1
class A(B): pass
def read(): return A.k

=== argument of __init_subclass__: k=1 => k=2
class B:
    def __init_subclass__(cls, k): cls.k = k
class A(B, k=1): pass
def read(): return A.k

=== class that registers itself: return 1 => return 2
class B:
    known = {}
    def __init_subclass__(cls): B.known[cls.__name__] = cls
class A(B):
    def go(self): return 1
def read(): return B.known["A"]().go()

=== subclasses: return 1 => return 2
class B: pass
class A(B):
    def go(self): return 1
def read(): return [each().go() for each in B.__subclasses__()]

=== new subclass: class C(B) => class C
class B: pass
class A(B): pass
class C(B): pass
def read(): return [each.__name__ for each in B.__subclasses__()]

=== dunder method: return 1 => return 2
class A:
    def __len__(self): return 1
def read(): return len(A())

=== __getattr__ of a class: return 1 => return 2
class A:
    def __getattr__(self, name): return 1
def read(): return A().k

=== descriptor: return 1 => return 2
class D:
    def __get__(self, instance, owner): return 1
class A: k = D()
def read(): return A.k

=== argument of a descriptor: D(1) => D(2)
class D:
    def __init__(self, k): self.k = k
    def __get__(self, instance, owner): return self.k
class A: k = D(1)
def read(): return A.k

=== slots: "a", "b" => "a",
class A: __slots__ = ("a", "b")
def read():
    try: A().b = 1
    except AttributeError: return 1
    return 2

=== class decorator: k = 1 => k = 2
def mark(cls):
    cls.k = 1
    return cls
@mark
class A: pass
def read(): return A.k

=== argument of a class decorator: mark(1) => mark(2)
def mark(k):
    def add(cls):
        cls.k = k
        return cls
    return add
@mark(1)
class A: pass
def read(): return A.k

=== nested class: k = 1 => k = 2
class A:
    class B: k = 1
def read(): return A.B.k

=== super: return 1 => return 2
class B:
    def go(self): return 1
class A(B):
    def go(self): return super().go()
def read(): return A().go()

=== abstract base class: return 1 => return 2
class B(abc.ABC):
    @abc.abstractmethod
    def go(self): return 1
class A(B):
    def go(self): return super().go()
def read(): return A().go()

=== protocol: return 1 => return 2
class B(typing.Protocol):
    def go(self): return 1
class A(B): pass
def read(): return A().go()

=== class in a condition: FLAG = True => FLAG = False
FLAG = True
if FLAG:
    class A: k = 1
else:
    class A: k = 2
def read(): return A.k

=== method of a class in a condition: FLAG = True => FLAG = False
FLAG = True
if FLAG:
    class A:
        def go(self): return 1
else:
    class A:
        def go(self): return 2
def read(): return A().go()

=== function in a condition: FLAG = True => FLAG = False
FLAG = True
if FLAG:
    def go(): return 1
else:
    def go(): return 2
def read(): return go()

=== class defined twice: k = 2 => k = 3
class A: k = 1
class A: k = 2
def read(): return A.k

=== function defined twice: return 2 => return 3
def go(): return 1
def go(): return 2
def read(): return go()

=== generic class: return 1 => return 2
T = typing.TypeVar("T")
class A(typing.Generic[T]):
    def go(self): return 1
def read(): return A[int]().go()

=== dataclass default: k: int = 1 => k: int = 2
@dataclasses.dataclass
class A: k: int = 1
def read(): return A().k

=== dataclass factory: return [1] => return [2]
def make(): return [1]
@dataclasses.dataclass
class A: k: list = dataclasses.field(default_factory=make)
def read(): return A().k

=== field of a dataclass: compare=True => compare=False
@dataclasses.dataclass
class A: k: int = dataclasses.field(compare=True)
def read(): return A(1) == A(2)

=== option of a dataclass: eq=True => eq=False
@dataclasses.dataclass(eq=True)
class A: k: int = 1
def read(): return A() == A()

=== annotation that makes a field: k: int = 1 => k: typing.ClassVar = 1
@dataclasses.dataclass
class A: k: int = 1
def read(): return len(dataclasses.fields(A))

=== order of the fields of a dataclass: a: int = 1; b: int = 2 => b: int = 2; a: int = 1
@dataclasses.dataclass
class A: a: int = 1; b: int = 2
def read(): return dataclasses.astuple(A())

=== __post_init__: self.k + 1 => self.k + 2
@dataclasses.dataclass
class A:
    k: int = 1
    def __post_init__(self): self.k = self.k + 1
def read(): return A().k

=== attrs default: k: int = 1 => k: int = 2
@attrs.define
class A: k: int = 1
def read(): return A().k

=== attrs converter: x + 1 => x + 2
def more(x): return x + 1
@attrs.define
class A: k: int = attrs.field(converter=more)
def read(): return A(1).k

=== attrs validator: x > 1 => x > 0
def check(instance, attribute, x):
    if x > 1: raise ValueError(x)
@attrs.define
class A: k: int = attrs.field(validator=check)
def read():
    try: return A(1).k
    except ValueError: return "no"

=== attrs default by method: return 1 => return 2
@attrs.define
class A:
    k: int = attrs.field()
    @k.default
    def _(self): return 1
def read(): return A().k

=== member of an enum: A = 1 => A = 2
class E(enum.Enum): A = 1
def read(): return E.A.value

=== method of an enum: return 1 => return 2
class E(enum.Enum):
    A = 1
    def go(self): return 1
K = E.A
def read(): return K.go()

=== order of an enum: A = 1; B = 2 => B = 2; A = 1
class E(enum.Enum): A = 1; B = 2
def read(): return [e.name for e in E]

=== alias in an enum: K = E.A => K = E.B
class E(enum.Enum): A = 1; B = 2
K = E.A
def read(): return K.name

=== member of an enum by a constant: N = 1 => N = 2
N = 1
class E(enum.Enum): A = N
def read(): return E.A.value

=== enum by a call: {"A": 1} => {"A": 2}
E = enum.Enum("E", {"A": 1})
def read(): return E.A.value

=== flag: E.A => E.A | E.B
class E(enum.Flag): A = 1; B = 2
K = E.A
def read(): return K.value

=== IntEnum: A = 1 => A = 2
class E(enum.IntEnum): A = 1
K = E.A
def read(): return K + 1

=== auto in an enum: A = enum.auto(); B => B = enum.auto(); A
class E(enum.Enum): A = enum.auto(); B = enum.auto()
def read(): return E.A.value

=== default of a NamedTuple: k: int = 1 => k: int = 2
class A(typing.NamedTuple): k: int = 1
def read(): return A().k

=== method of a NamedTuple: return 1 => return 2
class A(typing.NamedTuple):
    k: int = 1
    def go(self): return 1
def read(): return A().go()

=== method of a NamedTuple instance: return 1 => return 2
class A(typing.NamedTuple):
    k: int = 1
    def go(self): return 1
K = A()
def read(): return K.go()

=== namedtuple by a call: "x y" => "y x"
A = collections.namedtuple("A", "x y")
def read(): return A(1, 2).x

=== default of a namedtuple by a call: defaults=[1] => defaults=[2]
A = collections.namedtuple("A", "x", defaults=[1])
def read(): return A().x

=== TypedDict: total=True => total=False
class A(typing.TypedDict, total=True): k: int
def read(): return A.__total__

=== method of a list subclass: return 1 => return 2
class L(list):
    def go(self): return 1
K = L()
def read(): return K.go()

=== method of a dict subclass: return 1 => return 2
class D(dict):
    def __missing__(self, key): return 1
K = D()
def read(): return K["a"]

=== method of a str subclass: return 1 => return 2
class S(str):
    def go(self): return 1
K = S("a")
def read(): return K.go()

=== attribute of an int subclass: K.unit = 1 => K.unit = 2
class N(int): pass
K = N(3)
K.unit = 1
def read(): return K.unit

=== plain dataclass instance: A(1) => A(2)
@dataclasses.dataclass
class A: k: int
K = A(1)
def read(): return K.k

=== attribute beside the fields of an instance: A(1, 2) => A(1, 3)
@dataclasses.dataclass
class A:
    k: int
    extra: dataclasses.InitVar[int]
    def __post_init__(self, extra): self.more = extra
K = A(1, 2)
def read(): return K.more

=== private field: _k=1 => _k=2
@dataclasses.dataclass(frozen=True)
class A: _k: int
K = A(_k=1)
def read(): return K._k

=== field that does not compare: A(1) => A(2)
@dataclasses.dataclass(frozen=True)
class A: k: int = dataclasses.field(compare=False, repr=False)
K = A(1)
def read(): return K.k

=== attrs field without eq: A(1) => A(2)
@attrs.frozen
class A: _k: int = attrs.field(eq=False, repr=False)
K = A(1)
def read(): return K._k

=== attrs field without init: default=1 => default=2
@attrs.frozen
class A: k: int = attrs.field(init=False, default=1)
K = A()
def read(): return K.k

=== namespace: k=1 => k=2
K = types.SimpleNamespace(k=1)
def read(): return K.k

=== nested constant: {1: [(2, {3})]} => {1: [(2, {4})]}
K = {1: [(2, {3})]}
def read(): return K

=== order of a dict: {"a": 1, "b": 2} => {"b": 2, "a": 1}
K = {"a": 1, "b": 2}
def read(): return list(K)

=== order of a list: [1, 2] => [2, 1]
K = [1, 2]
def read(): return K

=== list to tuple: [1, 2] => (1, 2)
K = [1, 2]
def read(): return K

=== set to frozenset: {1} => frozenset({1})
K = {1}
def read(): return type(K).__name__

=== integer to truth: K = 1 => K = True
K = 1
def read(): return K

=== integer to numpy's: K = 1 => K = np.int64(1)
K = 1
def read(): return type(K).__name__

=== float to numpy's: K = 1.0 => K = np.float64(1.0)
K = 1.0
def read(): return type(K).__name__

=== truth to numpy's: K = True => K = np.bool_(True)
K = True
def read(): return type(K).__module__

=== not a number: float("inf") => float("nan")
K = float("inf")
def read(): return repr(K)

=== sign of zero: K = 0.0 => K = -0.0
K = 0.0
def read(): return repr(K)

=== bytes: b"a" => b"b"
K = b"a"
def read(): return K

=== bytes to bytearray: K = b"a" => K = bytearray(b"a")
K = b"a"
def read(): return type(K).__name__

=== complex: 1j => 2j
K = 1j
def read(): return K

=== range: range(3) => range(0, 3, 2)
K = range(3)
def read(): return list(K)

=== slice as a constant: slice(1) => slice(2)
K = slice(1)
def read(): return [1, 2, 3][K]

=== Decimal: "1.0" => "1.00"
K = decimal.Decimal("1.0")
def read(): return str(K)

=== Fraction: 1, 2 => 1, 3
K = fractions.Fraction(1, 2)
def read(): return str(K)

=== Path: "a" => "b"
K = pathlib.Path("a")
def read(): return K.name

=== Path to text: pathlib.Path("a") => "a"
K = pathlib.Path("a")
def read(): return type(K).__name__

=== time zone: datetime.timezone.utc => None
K = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
def read(): return str(K)

=== timedelta: 1 => 2
K = datetime.timedelta(1)
def read(): return str(K)

=== flags of a regular expression: re.I => re.M
K = re.compile("a", re.I)
def read(): return bool(K.match("A"))

=== pattern of a regular expression: compile("a") => compile("b")
K = re.compile("a")
def read(): return bool(K.match("a"))

=== array: [1, 2] => [1, 3]
K = np.array([1, 2])
def read(): return K.tolist()

=== dtype of an array: "<i4" => ">i4"
K = np.zeros(2, "<i4")
def read(): return K.dtype.str

=== array of no dimension: np.array(1) => np.array([1])
K = np.array(1)
def read(): return K.tolist()

=== structured array: ("a", "i4") => ("b", "i4")
K = np.zeros(1, [("a", "i4")])
def read(): return K.dtype.names

=== value in a structured array: (1, 2) => (1, 3)
K = np.array([(1, 2)], [("a", "i4"), ("b", "i8")])
def read(): return K.tolist()

=== tensor: [1, 2] => [1, 3]
K = torch.tensor([1, 2])
def read(): return K.tolist()

=== tensor that is not contiguous: .T => .T.contiguous().flip(0)
K = torch.arange(6).reshape(2, 3).T
def read(): return K.tolist()

=== conjugated tensor: [1j] => [2j]
K = torch.tensor([1j]).conj()
def read(): return K.tolist()

=== conjugated: ]).conj() => ])
K = torch.tensor([1j]).conj()
def read(): return K.tolist()

=== dtype: torch.int32 => torch.int64
K = torch.int32
def read(): return str(K)

=== tensor that wants a gradient: requires_grad=True => requires_grad=False
K = torch.ones(1, requires_grad=True)
def read(): return K.requires_grad

=== factory of a defaultdict: (list => (int
K = collections.defaultdict(list, {})
def read(): return type(K["a"]).__name__ if False else K.default_factory.__name__

=== Counter to dict: collections.Counter("a") => {"a": 1}
K = collections.Counter("a")
def read(): return type(K).__name__

=== OrderedDict: (a=1, b=2) => (b=2, a=1)
K = collections.OrderedDict(a=1, b=2)
def read(): return list(K)

=== longest a deque can be: maxlen=2 => maxlen=3
K = collections.deque([1], maxlen=2)
def read(): return K.maxlen

=== constant by a constant: A = 1 => A = 2
A = 1
K = A + 1
def read(): return K

=== constant by a function: return 1 => return 2
def make(): return 1
K = make()
def read(): return K

=== constant assigned twice: K = 2 => K = 3
K = 1
K = 2
def read(): return K

=== constant by unpacking: A, B = 1, 2 => A, B = 2, 1
A, B = 1, 2
def read(): return A

=== constant by a loop: range(3) => range(4)
for K in range(3): pass
def read(): return K

=== constant imported from a package: K = 1 => K = 2
from pkg import K
def read(): return K
--- pkg/__init__.py
from .inner import K
--- pkg/inner.py
K = 1

=== helper that a package exports: return 1 => return 2
import pkg
def read(): return pkg.helper()
--- pkg/__init__.py
from .inner import helper
--- pkg/inner.py
def helper(): return 1

=== import a.b as c: return 1 => return 2
import pkg.inner as c
def read(): return c.helper()
--- pkg/inner.py
def helper(): return 1

=== from . import x: K = 1 => K = 2
from pkg.outer import helper
def read(): return helper()
--- pkg/outer.py
from . import inner
def helper(): return inner.K
--- pkg/inner.py
K = 1

=== relative import of the folder above: K = 1 => K = 2
from pkg.deep.outer import helper
def read(): return helper()
--- pkg/__init__.py
--- pkg/inner.py
K = 1
--- pkg/deep/outer.py
from ..inner import K
def helper(): return K

=== module imported where another fails: K = 1 => K = 2
try:
    from nowhere_to_be_found import K
except ImportError:
    from consts import K
def read(): return K
--- consts.py
K = 1

=== first of two imports in a function: K = 1 => K = 2
def read():
    try:
        from first import K
    except ImportError:
        from second import K
    return K
--- first.py
K = 1
--- second.py
K = 7

=== star import of __all__: K = 1 => K = 2
from consts import *
def read(): return K
--- consts.py
__all__ = ["K"]
K = 1

=== module named like one of the standard library: return 1 => return 2
import colorsys_ as colorsys
def read(): return colorsys.go()
--- colorsys_.py
def go(): return 1

=== module that the standard library has too: return 1 => return 2
def read():
    import this
    return this.go()
--- this.py
def go(): return 1

=== import_module: return 1 => return 2
other = importlib.import_module("other")
def read(): return other.helper()
--- other.py
def helper(): return 1

=== import_module in the function: return 1 => return 2
def read(): return importlib.import_module("other").helper()
--- other.py
def helper(): return 1

=== __import__ in the function: return 1 => return 2
def read(): return __import__("other").helper()
--- other.py
def helper(): return 1

=== what import_module reaches: K = 1 => K = 2
def read(): return importlib.import_module("other").helper()
--- other.py
from third import K
def helper(): return K
--- third.py
K = 1

=== getattr of a module: return 1 => return 2
import other
def read(): return getattr(other, "help" + "er")()
--- other.py
def helper(): return 1

=== what getattr of a module reaches: K = 1 => K = 2
import other
def read(): return getattr(other, "helper")()
--- other.py
from third import K
def helper(): return K
--- third.py
K = 1

=== vars of a module: K = 1 => K = 2
import other
def read(): return vars(other)["K"]
--- other.py
K = 1

=== module in a table: return 1 => return 2
import other
TABLE = {"a": other}
def read(): return TABLE["a"].helper()
--- other.py
def helper(): return 1

=== __getattr__ of a module: return 1 => return 2
import other
def read(): return other.anything
--- other.py
def __getattr__(name):
    if name.startswith("__"): raise AttributeError(name)
    return 1

=== globals: K = 1 => K = 2
K = 1
def read(): return globals()["K"]

=== eval: K = 1 => K = 2
K = 1
def read(): return eval("K + 1")

=== eval of a helper: return 1 => return 2
def helper(): return 1
def read(): return eval("helper()")

=== exec: return 1 => return 2
def helper(): return 1
def read():
    names = {"helper": helper}
    exec("x = helper()", names)
    return names["x"]

=== sys.modules: K = 1 => K = 2
import other
def read(): return sys.modules["other"].K
--- other.py
K = 1

=== function of a module that is replaced: other.helper = one => other.helper = two
import other
def one(): return 1
def two(): return 2
other.helper = one
def read(): return other.helper()
--- other.py
def helper(): return 0

=== constant of a module that is set: other.K = 1 => other.K = 2
import other
other.K = 1
def read(): return other.K
--- other.py
K = 0

=== function of a library that is replaced: return 1 => return 2
import colorsys
def mine(*_): return 1
colorsys.rgb_to_hsv = mine
def read(): return colorsys.rgb_to_hsv(0, 0, 0)

=== alias: go = one => go = two
def one(): return 1
def two(): return 2
go = one
def read(): return go()

=== attribute of a function: go.k = 1 => go.k = 2
def go(): return go.k
go.k = 1
def read(): return go()

=== attribute of another function: go.k = [1] => go.k = [2]
def go(): pass
go.k = [1]
def read(): return go.k[0]

=== docstring that is read: """1""" => """2"""
def go(): """1"""
def read(): return go.__doc__

=== docstring of the module that is read: Docs 1 => Docs 2
import other
def read(): return other.go()
--- other.py
"""Docs 1"""
def go(): return __doc__

=== docstring that inspect reads: """1""" => """2"""
def go(): """1"""
def read(): return inspect.getdoc(go)

=== docstring of a class that is read: """1""" => """2"""
class A: """1"""
def read(): return A.__doc__

=== annotation that is read: x: 1 => x: 2
def go(x: 1): pass
def read(): return go.__annotations__["x"]

=== annotation that type hints tell: x: int => x: str
def go(x: int): pass
def read(): return str(typing.get_type_hints(go))

=== annotation in a signature: x: int => x: str
def go(x: int): pass
def read(): return str(inspect.signature(go))

=== annotation of a class: k: int => k: str
class A: k: int
def read(): return str(A.__annotations__)

=== annotation that a decorator of a library reads: x: int => x: str
def check(f):
    hints = f.__annotations__
    @functools.wraps(f)
    def g(x): return hints["x"].__name__
    return g
@check
def go(x: int): pass
def read(): return go(1)

=== source that is read: # one => # two
def go():
    return 1  # one
def read(): return inspect.getsource(go)

=== name that is read: def one => def two
def one(): pass
F = [v for k, v in list(globals().items()) if k in ("one", "two")][0]
def read(): return F.__name__

=== module without parameters: M(1) => M(2)
class M(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k = k
K = M(1)
def read(): return K.k

=== private attribute of a module: M(1) => M(2)
class M(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self._k = k
K = M(1)
def read(): return K._k

=== private attribute of a module's child: M(1) => M(2)
class M(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self._k = k
K = torch.nn.Sequential(M(1))
def read(): return K[0]._k

=== buffer of a module: [1.0] => [2.0]
class M(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("k", torch.tensor([1.0]))
K = M()
def read(): return K.k.tolist()

=== order of a Sequential: A(), B() => B(), A()
class A(torch.nn.Module):
    def forward(self, x): return x + 1
class B(torch.nn.Module):
    def forward(self, x): return x * 2
K = torch.nn.Sequential(A(), B())
def read(): return K(3)

=== child of a module under two names: M(a, a) => M(a, b)
class C(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k = k
class M(torch.nn.Module):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y
a, b = C(1), C(2)
K = M(a, a)
def read(): return K.y.k

=== hook of a module: return 1 => return 2
def hook(*_): return 1
K = torch.nn.Identity()
K.register_forward_hook(hook)
def read(): return K(0)

=== mode of a module: K.train() => K.eval()
K = torch.nn.Dropout(0.999999)
K.train()
def read(): return K.training

=== function in a module: return 1 => return 2
def helper(): return 1
class M(torch.nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f
K = M(helper)
def read(): return K.f()

=== memo: return x + 1 => return x + 2
MEMO = {}
def go(x):
    if x not in MEMO: MEMO[x] = slow(x)
    return MEMO[x]
def slow(x): return x + 1
def read(): return go(1)

=== memo of a decorator: return 1 => return 2
def memo(f):
    cache = {}
    @functools.wraps(f)
    def g(x):
        if x not in cache: cache[x] = f(x)
        return cache[x]
    return g
@memo
def go(x): return 1
def read(): return go(0)

=== value that is made when first asked for: return 1 => return 2
_LOADED = None
def make(): return 1
def loaded():
    global _LOADED
    if _LOADED is None: _LOADED = make()
    return _LOADED
def read(): return loaded()

=== body of a function that counts its calls: return 1 => return 2
CALLS = []
def read():
    CALLS.append(1)
    return 1

=== type alias: Kind = int => Kind = str
Kind = int
def read(): return Kind("1")

=== new type: NewType("A", int) => NewType("A", str)
A = typing.NewType("A", int)
def read(): return A.__supertype__.__name__

=== generic alias with a class of one's own: k = 1 => k = 2
class C: k = 1
A = list[C]
def read(): return typing.get_args(A)[0].k

=== class as a parameter: k = 1 => k = 2
class A: k = 1
def read(*, a): return a.k
p = fdm.pipeline(fdm.clean(read, a=A))

=== partial as a parameter: (go, 1) => (go, 2)
def go(x): return x
def read(*, a): return a()
p = fdm.pipeline(fdm.clean(read, a=functools.partial(go, 1)))

=== function of a partial as a parameter: return 1 => return 2
def go(): return 1
def read(*, a): return a()
p = fdm.pipeline(fdm.clean(read, a=functools.partial(go)))

=== enum with a method as a parameter: return 1 => return 2
class E(enum.Enum):
    A = 1
    def go(self): return 1
def read(*, a): return a.go()
p = fdm.pipeline(fdm.clean(read, a=E.A))

=== order of a dict as a parameter: {"a": 1, "b": 2} => {"b": 2, "a": 1}
def read(*, a): return list(a)
p = fdm.pipeline(fdm.clean(read, a={"a": 1, "b": 2}))

=== private attribute of a module as a parameter: M(3) => M(5)
class M(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self._size = size
def read(*, a): return a._size
p = fdm.pipeline(fdm.clean(read, a=M(3)))

=== private attribute of a module that is called: M(3) => M(5)
class M(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self._size = size
    def forward(self): return self._size
p = fdm.pipeline(fdm.clean(M(3)))

=== parts of each: ["a"] => ["b"]
def parts(): return ["a"]
def one(part): return part
p = fdm.pipeline(fdm.clean(one).each(parts))
def read(): return parts()

=== Cython-like wrapper that vectorises: x + 1 => x + 2
def more(x): return x + 1
@functools.wraps(more)
def go(x): return [more(each) for each in x]
def read(): return go([1])

=== name mangled in a class: return 1 => return 2
class A:
    def __go(self): return 1
    def go(self): return self.__go()
def read(): return A().go()

=== function returned by a function: return 1 => return 2
def make():
    def go(): return 1
    return go
def read(): return make()()

=== recursion by the name of a wrapper: n + 1 => n + 2
def count(f):
    @functools.wraps(f)
    def g(n): return f(n + 1)
    return g
def go(n): return n if n > 6 else go(n)
go = count(go)
def read(): return go(0)

=== global that a loop over names reads: "A" => "B"
A, B = 1, 2
NAMES = ["A"]
def read(): return [globals()[name] for name in NAMES]

=== string template: "$a" => "$b"
K = "$a"
def read(): return string.Template(K).substitute(a=1, b=2)

=== helper imported by another name inside a class: return 1 => return 2
class A:
    from helpers import go as run
    def it(self): return A.run()
def read(): return A().it()
--- helpers.py
def go(): return 1

=== mix-in from another module: return 1 => return 2
import mixins
class A(mixins.M): pass
def read(): return A().go()
--- mixins.py
class M:
    def go(self): return 1

=== exception class of one's own: (KeyError) => (ValueError)
class Wrong(KeyError): pass
def read():
    try: raise Wrong
    except KeyError: return 1
    except ValueError: return 2

=== operator overloaded: return 1 => return 2
class A:
    def __add__(self, other): return 1
def read(): return A() + A()

=== iterator: range(2) => range(3)
class A:
    def __iter__(self): return iter(range(2))
def read(): return list(A())

=== starred in a call: ONE = (1,) => ONE = (2,)
ONE = (1,)
def go(*xs): return xs
def read(): return go(*ONE)

=== dictionary merged: {"a": 1} => {"a": 2}
BASE = {"a": 1}
def read(): return {**BASE, "b": 1}

=== constant under typing.Final: K: typing.Final = 1 => K: typing.Final = 2
K: typing.Final = 1
def read(): return K

=== cached method: return 1 => return 2
class A:
    @functools.lru_cache
    def go(self): return 1
def read(): return A().go()

=== static method called through an instance: return 1 => return 2
class A:
    @staticmethod
    def go(): return 1
def read(): return A().go()

=== class method called through a subclass: return 1 => return 2
class B:
    @classmethod
    def go(cls): return 1
class A(B): pass
def read(): return A.go()

=== attribute of a tensor: K.n = 1 => K.n = 2
K = torch.ones(1)
K.n = 1
def read(): return K.n


=== attribute of a tensor in a list: K.n = 1 => K.n = 2
K = torch.ones(1)
K.n = 1
L = [K]
def read(): return L[0].n


=== list of which code only reads copies: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    y = L.copy()
    y.append(1)
    z = list(L)
    z[0] = 4
    return y, z, L


=== list of which code only reads a copy of the same name: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    z = L
    z = sorted(z)
    z.append(1)
    return z


=== list of which code only reads a slice: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    z = L[:1]
    z.append(5)
    z[0] = 7
    z += [1]
    return z, L


=== list of which code only reads items that are counted: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    n = 0
    for z in L:
        n += z
        z += 1
    return n


=== list of which code only reads library functions: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    return len(L), sum(L), max(L), torch.tensor(L).add_(1).tolist(), np.array(L).tolist(), sorted(L), L.index(1), L.count(1)


=== list of which code only reads a tensor of it: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    z = torch.tensor(L)
    z[0] = 5
    z += 1
    return z.tolist()


=== list of which code only reads helpers that copy: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    return go(L), more(L)


=== list of which code only reads helpers that read: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    return total(L)


=== list of which code only reads what is made of it: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    z = [x + 1 for x in L]
    z.append(3)
    y = {'a': L}
    y['b'] = 1
    x = [L]
    x.append(1)
    return z, y, x


=== list of which code only reads a set of it: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    s = set(L)
    s.add(5)
    s.discard(1)
    return sorted(s)


=== list of which code only reads it after a branch: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    z = L
    if z: z = list(z)
    else: z = []
    z.append(1)
    return z


=== list of which code only reads it in a loop: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    out = []
    for _ in range(2):
        z = L
        z = z + [1]
        z.append(2)
        out.append(z)
    return out


=== list of which code only reads it in a dict: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    d = {}
    for i, z in enumerate(L): d.setdefault(z, []).append(i)
    d[3] = L
    d.update(a=L)
    return d


=== list of which code only reads it in an instance: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    b = Box(L)
    b.n += 1
    b.name = 'x'
    return b.n, b.items


=== list of which code only reads it by a key: [1, 2] => [1, 3]
L = [1, 2]
class Box:
    n = 0
    def __init__(self, items):
        self.items = items
        self.n = 3
def go(z):
    z = list(z)
    z.append(1)
    return z
def more(z): return [*z, 1]
def total(z):
    n = 0
    for each in z: n += each
    return n
def negative(x): return -x
def read():
    return sorted(L, key=negative), list(map(negative, L))


=== dict of which code only reads: 'a': 1 => 'a': 2
K = {'a': 1, 'b': [2]}
def read():
    z = dict(K)
    z['c'] = 1
    y = {**K, 'd': 1}
    y.pop('d')
    for k, v in K.items(): y[k] = v
    return z, y, K.get('a'), list(K.values()), K | {'e': 1}, 'a' in K


=== array of which code only reads: [3, 1] => [3, 2]
K = np.array([3, 1])
def read():
    z = K.copy()
    z[0] = 1
    z += 1
    y = K + 1
    y[0] = 4
    n = K.sum()
    n += 1
    x = np.sort(K)
    x[:] = 3
    return z.tolist(), y.tolist(), int(n), np.mean(K), K.max(), K.astype(int).tolist(), torch.tensor(K).add_(1).tolist()


=== tensor of which code only reads: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    z = K.clone()
    z.add_(1)
    z[K % 2] = 5
    y = torch.zeros(2, dtype=torch.int64)
    y.add_(K)
    y.copy_(K)
    y[:] = K
    return z.tolist(), y.tolist(), K.view(-1).tolist(), (K.float() / 2).tolist()


=== matrix of which code only reads a copy: [3, 1] => [3, 2]
K = np.array([[3, 1]])
def read():
    z = K.copy()
    z[0][1] += 2
    return z.tolist()


=== number of which an alias counts on: N = 1 => N = 2
N = 1
def read():
    n = N
    n += 1
    return n


=== text of which an alias grows: N = 'a' => N = 'b'
N = 'a'
P = pathlib.Path('x')
def read():
    n, p = N, P
    n += 'c'
    p /= 'd'
    return n, p


=== rows of text that are split: N = ['a, => N = ['b,
N = ['a,b']
def read():
    return [row.partition(',') for row in N] + [row.strip().split(',') for row in N]


=== rows of tensors that are sorted: [3, 1] => [3, 2]
N = [torch.tensor([3, 1])]
def read():
    return [row.sort().values.tolist() for row in N]


=== class attribute made when first asked for: return 1 => return 2
class C: loaded = None
def make(): return 1
def read():
    if C.loaded is None: C.loaded = make()
    return C.loaded


=== global made when first asked for, by or: return 1 => return 2
K = None
def make(): return 1
def read():
    global K
    K = K or make()
    return K


=== default that begins empty: return n + 1 => return n + 2
def go(n, known={}):
    if n not in known: known[n] = make(n)
    return known[n]
def make(n): return n + 1
def read(): return go(1)


=== attribute of an instance that counts: n = 0 => n = 5
class C:
    n = 0
    def go(self):
        self.n += 1
        return self.n
def read(): return C().go()


=== list of an instance that grows: [1] => [2]
class C:
    def __init__(self): self.items = [1]
    def go(self):
        self.items.append(3)
        return self.items
def read(): return C().go()


=== instance that is made and changed: Box([1]) => Box([2])
@dataclasses.dataclass
class Box:
    items: list
    def push(self): self.items.append(5)
def read():
    b = Box([1])
    b.push()
    return b.items


=== default that is copied: [1] => [2]
def read(z=[1]):
    z = list(z)
    z.append(5)
    return z


=== parameter that is not given the constant: [1, 2] => [1, 3]
L = [1, 2]
def push(z, y): z.append(len(y))
def read():
    z = []
    push(z, L)
    return z, L

=== list that is mapped to lists: [1, 2] => [1, 3]
L = [1, 2]
def go(x, known=None):
    known = known or []
    known.append(x)
    return known
def read(): return list(map(go, L))

=== list that is given to instances: [1, 2] => [1, 3]
L = [1, 2]
@attrs.define
class A:
    x: list = attrs.field(factory=list)
    def go(self, y):
        self.x.extend(y)
        return self.x
def read(): return A().go(L)
'''

HARMLESS = r'''
=== comment: # one => # two
def read():
    return 1  # one

=== blank lines: def read => \n\n\ndef read
def read(): return 1

=== docstring: """One.""" => """Two."""
def read():
    """One."""
    return 1

=== docstring that appears: return 1 => """Two."""; return 1
def read():
    return 1

=== docstring of the module: """One.""" => """Two."""
import other
def read(): return other.go()
--- other.py
"""One."""
def go(): return 1

=== docstring of a class: """One.""" => """Two."""
class A:
    """One."""
    k = 1
def read(): return A.k

=== docstring of a helper: """One.""" => """Two."""
def go():
    """One."""
    return 1
def read(): return go()

=== quotes: 'a' => "a"
def read(): return 'a'

=== brackets: (1 + 2) => 1 + 2
def read(): return (1 + 2)

=== spaces: 1+2 => 1 + 2
def read(): return 1+2

=== lines of a call: max(1, 2) => max(\n    1,\n    2,\n)
def read(): return max(1, 2)

=== lines of a condition: 1 if x else 2 => (1\n    if x\n    else 2)
def read(x=1): return 1 if x else 2

=== trailing comma: (1, 2) => (1, 2,)
def read(): return (1, 2)

=== number with underscores: 1000 => 1_000
def read(): return 1000

=== number in hexadecimal: 255 => 0xFF
def read(): return 255

=== escape in a text: "\x41" => "A"
def read(): return "\x41"

=== backslash: 1 + \\n 2 => 1 + 2
def read(): return 1 + \
 2

=== annotation of a parameter: x=1 => x: int = 1
def read(x=1): return x

=== annotation of the result: () => () -> int
def read(): return 1

=== annotation of a variable: x = 1 => x: int = 1
def read():
    x = 1
    return x

=== annotation below a known decorator: (x) => (x: int)
@functools.lru_cache
def go(x): return x
def read(): return go(1)

=== type comment: x = 1 => x = 1  # type: int
def read():
    x = 1
    return x

=== unrelated function: return 2 => return 3
def other(): return 2
def read(): return 1

=== unrelated constant: K = 1 => K = 2
K = 1
def read(): return 1

=== unrelated function named like a local: return 2 => return 3
def x(): return 2
def read():
    x = 1
    return x

=== unrelated constant named like a parameter: K = 1 => K = 2
K = 1
def go(K): return K
def read(): return go(3)

=== unrelated constant named like the variable of a comprehension: x = 1 => x = 2
x = 1
def read(): return [x for x in range(3)]

=== unrelated constant named like an attribute: real = 1 => real = 2
real = 1
def read(): return (1).real

=== unrelated constant named like a keyword argument: base = 1 => base = 2
base = 1
def read(): return int("11", base=2)

=== unrelated function of a module that is read: return 2 => return 3
import other
def read(): return other.go()
--- other.py
def go(): return 1
def stay(): return 2

=== unrelated submodule: K = 1 => K = 2
import pkg.one, pkg.two
def read(): return pkg.one.go()
--- pkg/one.py
def go(): return 1
--- pkg/two.py
K = 1

=== unrelated class: k = 2 => k = 3
class A: k = 2
def read(): return 1

=== unrelated registration: K = 1 => K = 2
K = 1
TABLE = {"a": 1}
def read(): return TABLE

=== order of definitions: def a(): return 1\ndef b(): return 2 => def b(): return 2\ndef a(): return 1
def a(): return 1
def b(): return 2
def read(): return a() + b()

=== order of imports: import one, two => import two, one
import one, two
def read(): return one.K + two.K
--- one.py
K = 1
--- two.py
K = 2

=== another import: import other => import other, json
import other
def read(): return other.K
--- other.py
K = 1

=== guard at the end: x = 1 => x = 2
def read(): return 1
if __name__ == "__main__":
    x = 1

=== order of a set: {1, 2, 3} => {3, 2, 1}
K = {1, 2, 3}
def read(): return sorted(K)

=== order of keyword parameters: a=1, b=2) => b=2, a=1)
def read(*, a, b): return a, b
p = fdm.pipeline(fdm.clean(read, a=1, b=2))

=== constant written otherwise: K = 4 => K = 2 + 2
K = 4
def read(): return K

=== calls that were counted: CALLS = [] => CALLS = [1]
CALLS = []
def read():
    CALLS.append(1)
    return 1

=== global counter that nothing reads: N = 0 => N = 5
N = 0
def read():
    global N
    N += 1
    return 1

=== seen words: SEEN = {} => SEEN = {"a": 2}
SEEN = {}
def read():
    SEEN["a"] = 1
    return 1

=== version of the user's package that nothing reads: "1" => "2"
__version__ = "1"
def read(): return 1

=== layout of an array: order="C" => order="F"
K = np.array([[1, 2], [3, 4]], order="C")
def read(): return K.tolist()

=== a view of a tensor: torch.tensor([1, 2]) => torch.tensor([1, 2, 3])[:2]
K = torch.tensor([1, 2])
def read(): return K.tolist()
'''

REFUSED = r"""
=== sorted in place [SIZES]: [3, 1, 2] => [3, 1, 0]
SIZES = [3, 1, 2]
def read():
    SIZES.sort()
    return SIZES[0]

=== appended to [SIZES]: [3] => [4]
SIZES = [3]
def read():
    SIZES.append(1)
    return sum(SIZES)

=== extended by += [SIZES]: [3] => [4]
SIZES = [3]
def read():
    global SIZES
    SIZES += [1]
    return sum(SIZES)

=== item assigned [TABLE]: {"a": 1} => {"a": 2}
TABLE = {"a": 1}
def read():
    TABLE["b"] = 2
    return TABLE["a"]

=== item deleted [TABLE]: "b": 2 => "b": 3
TABLE = {"a": 1, "b": 2}
def read():
    del TABLE["a"]
    return TABLE["b"]

=== item counted up [TABLE]: {"a": 1} => {"a": 2}
TABLE = {"a": 1}
def read():
    TABLE["a"] += 1
    return TABLE["a"]

=== setdefault [TABLE]: {"a": 1} => {"a": 2}
TABLE = {"a": 1}
def read(): return TABLE.setdefault("a", 3)

=== update [TABLE]: {"a": 1} => {"a": 2}
TABLE = {"a": 1}
def read():
    TABLE.update(b=2)
    return TABLE["a"]

=== pop [STACK]: [1, 2] => [1, 3]
STACK = [1, 2]
def read(): return STACK.pop()

=== clear [TABLE]: {"a": 1} => {"a": 2}
TABLE = {"a": 1}
def read():
    n = TABLE["a"]
    TABLE.clear()
    return n

=== add [SEEN]: {1} => {2}
SEEN = {1}
def read():
    SEEN.add(3)
    return sum(SEEN)

=== heap [HEAP]: [1, 5] => [2, 5]
import heapq
HEAP = [1, 5]
def read(): return heapq.heappop(HEAP)

=== shuffled [L]: [1, 2, 3] => [4, 5, 6]
L = [1, 2, 3]
def read():
    random.shuffle(L)
    return sum(L)

=== nested list [TABLE]: [1] => [2]
TABLE = {"a": [1]}
def read():
    TABLE["a"].append(3)
    return TABLE["a"][0]

=== array [A]: [3, 1] => [3, 2]
A = np.array([3, 1])
def read():
    A.sort()
    return A.tolist()

=== item of an array [A]: [3, 1] => [3, 2]
A = np.array([3, 1])
def read():
    A[0] = 0
    return A.tolist()

=== array as out [A]: [3, 1] => [3, 2]
A = np.array([3, 1])
def read():
    np.add(A, 1, out=A)
    return A.tolist()

=== tensor [T]: [3, 1] => [3, 2]
T = torch.tensor([3, 1])
def read():
    T.add_(1)
    return T.tolist()

=== item of a tensor [T]: [3, 1] => [3, 2]
T = torch.tensor([3, 1])
def read():
    T[0] = 0
    return T.tolist()

=== attribute of an instance [CONFIG]: Config(1) => Config(2)
@dataclasses.dataclass
class Config: k: int
CONFIG = Config(1)
def read():
    CONFIG.k += 1
    return CONFIG.k

=== changed in a helper [SIZES]: [3, 1, 2] => [3, 1, 0]
SIZES = [3, 1, 2]
def prepare(): SIZES.sort()
def read():
    prepare()
    return SIZES[0]

=== changed in another module [SIZES]: [3, 1, 2] => [3, 1, 0]
from other import SIZES, prepare
def read():
    prepare()
    return SIZES[0]
--- other.py
SIZES = [3, 1, 2]
def prepare(): SIZES.sort()

=== changed through the module [SIZES]: [3, 1, 2] => [3, 1, 0]
import other
def read():
    other.SIZES.sort()
    return other.SIZES[0]
--- other.py
SIZES = [3, 1, 2]

=== changed in a method [SIZES]: [3, 1, 2] => [3, 1, 0]
SIZES = [3, 1, 2]
class A:
    def go(self):
        SIZES.sort()
        return SIZES[0]
def read(): return A().go()

=== changed in a nested function [SIZES]: [3, 1, 2] => [3, 1, 0]
SIZES = [3, 1, 2]
def read():
    def go(): SIZES.sort()
    go()
    return SIZES[0]

=== changed by a method that is handed on [SIZES]: [3, 1, 2] => [3, 1, 0]
SIZES = [3, 1, 2]
def read():
    sort = SIZES.sort
    sort()
    return SIZES[0]

=== cache that the module fills too [CACHE]: CACHE["a"] = 1 => CACHE["a"] = 2
CACHE = {}
CACHE["a"] = 1
def read(): return CACHE.setdefault("a", 3)

=== global bound anew [K]: K = make(1) => K = make(2)
def make(k): return k
K = make(1)
def read():
    global K
    K = K + 1
    return K

=== closure over a list that is changed [k]: make([1]) => make([2])
def make(k):
    def go():
        k.append(3)
        return k[0]
    return go
go = make([1])
def read(): return go()

=== list of the class method of a type [SIZES]: [3, 1] => [3, 2]
SIZES = [3, 1]
def read():
    list.sort(SIZES)
    return SIZES

=== computed import [read]: return 1 => return 2
def read(): return importlib.import_module("oth" + "er").helper()
--- other.py
def helper(): return 1

=== lock [LOCK]: Lock() => RLock()
LOCK = threading.Lock()
def read(): return LOCK

=== instance of a plain class [K]: A(1) => A(2)
class A:
    def __init__(self, k): self.k = k
K = A(1)
def read(): return K.k

=== generator [G]: (1, 2) => (3, 4)
G = (x for x in (1, 2))
def read(): return G

=== random state [R]: RandomState(1) => RandomState(2)
R = np.random.RandomState(1)
def read(): return R.rand()

=== bound method of a random state [go]: Random(1) => Random(2)
go = random.Random(1).random
def read(): return go()

=== ufunc of a function of one's own [go]: x + 1 => x + 2
go = np.frompyfunc(lambda x: x + 1, 1, 1)
def read(): return go(1)

=== vectorised function [go]: x + 1 => x + 2
go = np.vectorize(lambda x: x + 1)
def read(): return int(go(1))

=== masked array [K]: mask=[0, 1] => mask=[1, 0]
K = np.ma.array([1, 2], mask=[0, 1])
def read(): return K.tolist()

=== sparse tensor [K]: [1, 0] => [0, 1]
K = torch.tensor([1, 0]).to_sparse()
def read(): return K.to_dense().tolist()

=== meta tensor [K]: 1 => 2
K = torch.empty(1, device="meta")
def read(): return list(K.shape)

=== array of objects [K]: [1] => [2]
K = np.array([1], dtype=object)
def read(): return K.tolist()

=== function made of text [go]: return 1 => return 2
exec("def go(): return 1")
def read(): return go()

=== class made by a call [A]: k=1 => k=2
A = type("A", (), dict(k=1))
def read(): return A.k

=== open file [F]: stdout => stderr
F = sys.__stdout__
def read(): return F.name

=== global counter that is read [N]: N = 0 => N = 5
N = 0
def read():
    global N
    N += 1
    return N


=== global made of itself [N]: N = 0 => N = 5
N = 0
def read():
    global N
    N = N + 1
    return N


=== nonlocal counter [n]: n = 0 => n = 5
def make():
    n = 0
    def go():
        nonlocal n
        n += 1
        return n
    return go
go = make()
def read(): return go()


=== class attribute that is counted up [n]: n = 0 => n = 5
class C: n = 0
def read():
    C.n += 1
    return C.n


=== class attribute that is counted up, and set elsewhere [n]: C.n = 5 => C.n = 6
class C: n = 0
C.n = 5
def read():
    C.n += 1
    return C.n


=== class attribute counted up by a class method [n]: n = 0 => n = 5
class C:
    n = 0
    @classmethod
    def go(cls):
        cls.n += 1
        return cls.n
def read(): return C.go()


=== class attribute counted up by the type [n]: n = 0 => n = 5
class C:
    n = 0
    def go(self):
        type(self).n += 1
        return self.n
def read(): return C().go()


=== class attribute counted up in another module [n]: n = 0 => n = 5
import other
def read():
    other.C.n += 1
    return other.C.n
--- other.py
class C: n = 0


=== list of a class [items]: [1] => [2]
class C: items = [1]
def read():
    C.items.append(3)
    return C.items


=== list of a class through an instance [items]: [1] => [2]
class C:
    items = [1]
    def go(self):
        self.items.append(3)
        return self.items
def read(): return C().go()


=== changed by helper [L]: [1, 2] => [1, 3]
L = [1, 2]
def push(z): z.append(5)
def read():
    push(L)
    return L


=== changed by helper by keyword [L]: [1, 2] => [1, 3]
L = [1, 2]
def push(a, *, z): z.append(5)
def read():
    push(1, z=L)
    return L


=== changed by helper of a helper [L]: [1, 2] => [1, 3]
L = [1, 2]
def push(z): z.append(5)
def more(y): push(y)
def read():
    more(L)
    return L


=== changed by helper that stars [L]: [1, 2] => [1, 3]
L = [1, 2]
def push(*many):
    for z in many: z.append(5)
def read():
    push(L)
    return L


=== changed by helper given by a star [L]: [1, 2] => [1, 3]
L = [1, 2]
def push(y, z): z.append(5)
def read():
    push(*[1, L])
    return L


=== changed by helper with a wrapper [L]: [1, 2] => [1, 3]
L = [1, 2]
def twice(f):
    @functools.wraps(f)
    def inner(*args): return f(*args)
    return inner
@twice
def push(z): z.append(5)
def read():
    push(L)
    return L


=== changed by helper without wraps [L]: [1, 2] => [1, 3]
L = [1, 2]
def twice(f):
    def inner(*args): return f(*args)
    return inner
@twice
def push(z): z.append(5)
def read():
    push(L)
    return L


=== changed by helper of another name [L]: [1, 2] => [1, 3]
L = [1, 2]
def push(z): z.append(5)
def read():
    f = push
    f(L)
    return L


=== changed by method [L]: [1, 2] => [1, 3]
L = [1, 2]
class A:
    def push(self, z): z.append(5)
A_ = A
def read():
    A().push(L)
    return L


=== changed by static method [L]: [1, 2] => [1, 3]
L = [1, 2]
class A:
    @staticmethod
    def push(z): z.append(5)
def read():
    A.push(L)
    return L


=== changed by initialiser [L]: [1, 2] => [1, 3]
L = [1, 2]
class A:
    def __init__(self, z): z.append(5)
def read():
    A(L)
    return L


=== changed by method of its own class [L]: [1, 2] => [1, 3]
L = [1, 2]
class A:
    def push(self, z): z.append(5)
    def go(self):
        self.push(L)
        return L
def read(): return A().go()


=== changed by inner function [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    def push(z): z.append(5)
    push(L)
    return L


=== changed by lambda [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    push = lambda z: z.append(5)
    push(L)
    return L


=== changed by partial [L]: [1, 2] => [1, 3]
L = [1, 2]
def push(y, z): y.append(5)
def read():
    functools.partial(push, L)(1)
    return L


=== changed by map [L]: [1, 2] => [1, 3]
L = [1, 2]
def push(z): z.append(5)
def read():
    list(map(push, [L]))
    return L


=== changed by thread [L]: [1, 2] => [1, 3]
L = [1, 2]
def push(z): z.append(5)
def read():
    t = threading.Thread(target=push, args=(L,))
    t.start()
    t.join()
    return L


=== changed by helper that is imported inside [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    from other import push
    push(L)
    return L
--- other.py
def push(z): z.append(5)


=== changed by helper of a module [L]: [1, 2] => [1, 3]
L = [1, 2]
import other
def read():
    other.push(L)
    return L
--- other.py
def push(z): z.append(5)


=== changed by alias [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    z = L
    z.append(5)
    return L


=== changed by alias of an alias [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    y = L
    z = y
    z += [5]
    return L


=== changed by alias in a branch [L]: [1, 2] => [1, 3]
L = [1, 2]
def read(c=True):
    z = []
    if c: z = L
    z.append(5)
    return L


=== changed by alias in a tuple [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    y, z = 1, L
    z[:] = [5]
    return L


=== changed by alias in a list [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    y = [L]
    y[0].append(5)
    return L


=== changed by alias in a dict [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    y = {'a': L}
    y['a'].append(5)
    return L


=== changed by walrus [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    if (z := L): z.append(5)
    return L


=== changed by walrus in place [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    (z := L).append(5)
    return L


=== changed by conditional [L]: [1, 2] => [1, 3]
L = [1, 2]
D = []
def read(c=True):
    (L if c else D).append(5)
    return L


=== changed by or [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    z = L or []
    z.append(5)
    return L


=== changed by all items [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    z = L
    z[:] = [5]
    return L


=== changed by deleted items [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    z = L
    del z[0]
    return L


=== changed by globals [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    globals()['L'] += [1]
    return L


=== changed by globals by another name [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    g = globals()
    g['L'].append(1)
    return L


=== changed by globals with a new value [L]: [1, 2] => [1, 3]
L = [1, 2]
def make(): return [1]
def read():
    globals()['L'] = globals()['L'] + make()
    return L


=== changed by the module itself [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    sys.modules[__name__].L += [3]
    return L


=== changed by operator setitem [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    operator.setitem(L, 0, 5)
    return L


=== changed by operator iadd [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    operator.iadd(L, [5])
    return L


=== changed by setitem that is imported [L]: [1, 2] => [1, 3]
L = [1, 2]
from operator import setitem
def read():
    setitem(L, 0, 5)
    return L


=== changed by match [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    match L:
        case [*_] as z: z.append(5)
    return L


=== changed by with [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    with contextlib.nullcontext(L) as z: z.append(5)
    return L


=== changed by default of a parameter [z]: [1, 2] => [1, 3]
L = [1, 2]
def read(z=L):
    z.append(5)
    return z


=== changed by nested function that is handed on [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    z = L
    def go(): z.append(5)
    go()
    return L


=== changed by comprehension [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    [z.append(5) for z in [L]]
    return L


=== changed by an operator that is called [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    L.__iadd__([5])
    return L

=== changed by a method of an instance with a name [L]: [1, 2] => [1, 3]
L = [1, 2]
class A:
    def push(self, z): z.append(5)
def read():
    a = A()
    a.push(L)
    return L

=== changed by getattr [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    getattr(L, 'append')(5)
    return L


=== changed by method by another name [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    f = (z := L).append
    f(5)
    return L


=== changed by method of the class [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    z = L
    list.append(z, 5)
    return L


=== item changed by loop [K]: [[1], => [[3],
K = [[1], [2]]
def read():
    for z in K: z.append(5)
    return K


=== item changed by loop with numbers [K]: [[1], => [[3],
K = [[1], [2]]
def read():
    for i, z in enumerate(K): z.append(i)
    return K


=== item changed by loop over a sorted copy [K]: [[1], => [[3],
K = [[1], [2]]
def read():
    for z in sorted(K): z += [1]
    return K


=== item changed by first item [K]: [[1], => [[3],
K = [[1], [2]]
def read():
    z = K[0]
    z.append(5)
    return K


=== item changed by next item [K]: [[1], => [[3],
K = [[1], [2]]
def read():
    next(iter(K)).append(5)
    return K


=== item changed by shallow copy [K]: [[1], => [[3],
K = [[1], [2]]
def read():
    z = K.copy()
    z[0].append(5)
    return K


=== item changed by slice [K]: [[1], => [[3],
K = [[1], [2]]
def read():
    z = K[:1]
    z[0].append(5)
    return K


=== item changed by unpacking [K]: [[1], => [[3],
K = [[1], [2]]
def read():
    y, z = K
    z.append(5)
    return K


=== item changed by helper for an item [K]: [[1], => [[3],
K = [[1], [2]]
def push(z): z.append(5)
def read():
    push(K[0])
    return K


=== item changed by helper that changes items [K]: [[1], => [[3],
K = [[1], [2]]
def push(z): z[0].append(5)
def read():
    push(K)
    return K


=== item changed by map over items [K]: [[1], => [[3],
K = [[1], [2]]
def push(z): z.append(5)
def read():
    list(map(push, K))
    return K


=== item of a tuple [K]: ([1], => ([3],
K = ([1], 2)
def read():
    K[0].append(5)
    return K


=== values of a dict [K]: [1] => [3]
K = {'a': [1]}
def read():
    for z in K.values(): z.append(5)
    return K


=== items of a dict [K]: [1] => [3]
K = {'a': [1]}
def read():
    for k, z in K.items(): z.append(5)
    return K


=== value of a dict by get [K]: [1] => [3]
K = {'a': [1]}
def read():
    K.get('a').append(5)
    return K


=== list of an instance [B]: Box([1]) => Box([3])
@dataclasses.dataclass
class Box:
    items: list
    def push(self): self.items.append(5)
B = Box([1])
def read():
    B.items.append(5)
    return B.items


=== method of an instance [B]: Box([1]) => Box([3])
@dataclasses.dataclass
class Box:
    items: list
    def push(self): self.items.append(5)
B = Box([1])
def read():
    B.push()
    return B.items


=== helper for an instance [B]: Box([1]) => Box([3])
@dataclasses.dataclass
class Box:
    items: list
    def push(self): self.items.append(5)
B = Box([1])
def go(b): b.items.append(5)
def read():
    go(B)
    return B.items


=== tensor changed by slice [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    z = K[:1]
    z.fill_(9)
    return K.tolist()


=== tensor changed by items of a slice [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    z = K[:1]
    z[0] = 9
    return K.tolist()


=== tensor changed by view [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    K.view(-1).add_(1)
    return K.tolist()


=== tensor changed by view with a name [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    z = K.view(-1)
    z += 1
    return K.tolist()


=== tensor changed by initialiser of torch [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    torch.nn.init.zeros_(K)
    return K.tolist()


=== tensor changed by initialiser that is imported [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    from torch.nn import init
    init.zeros_(K)
    return K.tolist()


=== tensor changed by function of torch [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    torch.relu_(K)
    return K.tolist()


=== tensor changed by array with its memory [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    K.numpy()[0] = 9
    return K.tolist()


=== tensor changed by detached [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    K.detach().add_(1)
    return K.tolist()


=== tensor changed by data [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    K.data.add_(1)
    return K.tolist()


=== tensor changed by loop [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    for z in K: z += 1
    return K.tolist()


=== tensor changed by out of a function [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    z = K
    torch.add(K, 1, out=z)
    return K.tolist()


=== tensor changed by as the same tensor [K]: [3, 1] => [3, 2]
K = torch.tensor([3, 1])
def read():
    torch.as_tensor(K).add_(1)
    return K.tolist()


=== array changed by tensor with its memory [K]: [3, 1] => [3, 2]
K = np.array([3, 1])
def read():
    torch.from_numpy(K).add_(1)
    return K.tolist()


=== array changed by tensor with a name [K]: [3, 1] => [3, 2]
K = np.array([3, 1])
def read():
    z = torch.from_numpy(K)
    z.add_(1)
    return K.tolist()


=== array changed by put [K]: [3, 1] => [3, 2]
K = np.array([3, 1])
def read():
    np.put(K, 0, 9)
    return K.tolist()


=== array changed by place [K]: [3, 1] => [3, 2]
K = np.array([3, 1])
def read():
    np.place(K, K > 1, 9)
    return K.tolist()


=== array changed by reshape [K]: [3, 1] => [3, 2]
K = np.array([3, 1])
def read():
    K.reshape(-1)[0] = 9
    return K.tolist()


=== array changed by slice [K]: [3, 1] => [3, 2]
K = np.array([3, 1])
def read():
    z = K[1:]
    z[:] = 9
    return K.tolist()


=== array changed by alias [K]: [3, 1] => [3, 2]
K = np.array([3, 1])
def read():
    z = K
    z += 1
    return K.tolist()


=== array changed by asarray [K]: [3, 1] => [3, 2]
K = np.array([3, 1])
def read():
    np.asarray(K)[0] = 9
    return K.tolist()


=== array changed by ufunc [K]: [3, 1] => [3, 2]
K = np.array([3, 1])
def read():
    np.add.at(K, 0, 9)
    return K.tolist()


=== default that is changed [z]: [1] => [2]
def read(z=[1]):
    z.append(5)
    return z


=== default of a helper that is changed [z]: [1] => [2]
def go(z=[1]):
    z.append(5)
    return z
def read(): return go()


=== keyword default that is changed [z]: {'a': 1} => {'a': 2}
def read(*, z={'a': 1}):
    z['b'] = 5
    return z


=== default of a method that is changed [z]: [1] => [2]
class A:
    def go(self, z=[1]):
        z.append(5)
        return z
def read(): return A().go()


=== globals by a computed name [globals]: N = 1 => N = 2
N = 1
def read():
    for name in ['N']: globals()[name] += 1
    return N


=== globals that are updated [globals]: N = 1 => N = 2
N = 1
def read():
    globals().update(N=N + 1)
    return N


=== cache that a helper fills too [CACHE]: fill(CACHE, 1) => fill(CACHE, 2)
CACHE = {}
def fill(z, n): z['a'] = n
fill(CACHE, 1)
def read(): return CACHE.setdefault('a', 3)


=== class made by make_dataclass [C]: int, 1) => int, 2)
C = dataclasses.make_dataclass('C', [('v', int, 1)])
def read(): return C().v


=== class made by make_dataclass with a method [C]: return 1 => return 2
def one(self): return 1
C = dataclasses.make_dataclass('C', [], namespace={'v': one})
def read(): return C().v()


=== class made by new_class [C]: return 1 => return 2
def one(self): return 1
C = types.new_class('C', (), {}, lambda ns: ns.update(v=one))
def read(): return C().v()


=== class with bases made by new_class [C]: 'v', 1 => 'v', 2
class A: pass
C = types.new_class('C', (A,), {}, lambda ns: ns.__setitem__('v', 1))
def read(): return C.v


=== class made by attrs [C]: default=1 => default=2
C = attrs.make_class('C', {'v': attrs.field(default=1)})
def read(): return C().v


=== instance of a class made by make_dataclass [C]: return 1 => return 2
def one(self): return 1
C = dataclasses.make_dataclass('C', [], namespace={'v': one})
K = C()
def read(): return K.v()


=== subclass of a class made by a call [C]: return 1 => return 2
def one(self): return 1
C = types.new_class('C', (), {}, lambda ns: ns.update(v=one))
class D(C): pass
def read(): return D().v()
"""
