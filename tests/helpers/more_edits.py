"""More edits of a user's code, of rarer kinds; the form is that of `edits`."""

MATTERING = r'''
=== alias of a library module: import json as codec => import pickle as codec
import json as codec
def read(): return codec.__name__

=== alias of a library module that is called: import json as codec => import pickle as codec
import json as codec
def read(): return type(codec.dumps([1])).__name__

=== alias of a library function: from math import floor as f => from math import ceil as f
from math import floor as f
def read(): return f(1.5)

=== alias of numpy: from numpy import floor as f => from numpy import ceil as f
from numpy import floor as f
def read(): return float(f(1.5))

=== torch function: f = torch.floor => f = torch.ceil
f = torch.floor
def read(): return f(torch.tensor(1.5)).item()

=== method descriptor: f = str.upper => f = str.lower
f = str.upper
def read(): return f("aB")

=== math to torch: f = math.floor => f = np.floor
f = math.floor
def read(): return type(f(1.5)).__name__

=== torch method against function: f = torch.Tensor.add => f = torch.Tensor.sub
f = torch.Tensor.add
def read(): return f(torch.tensor(1), 1).item()

=== library partial module: ops = operator => ops = math
ops = operator
def read(): return hasattr(ops, "itemgetter")

=== monkeypatched method of a library class: return 1 => return 2
def mine(self): return 1
torch.Tensor.fdm_probe = mine
def read(): return torch.tensor(0).fdm_probe()

=== monkeypatched constant of a library: = 1 => = 2
json_probe = 0
math.fdm_probe = 1
def read(): return math.fdm_probe

=== monkeypatched constant of a library, other name: string.digits_ = "1" => string.digits_ = "2"
string.digits_ = "1"
def read(): return string.digits_

=== builtin patched: return 1 => return 2
import builtins
def mine(x): return 1
builtins.fdm_len = mine
def read(): return fdm_len([])

=== builtin constant patched: = 1 => = 2
import builtins
builtins.fdm_k = 1
def read(): return fdm_k

=== seed at the top: random.seed(1) => random.seed(2)
random.seed(1)
def read(): return random.Random(random.getstate()[1][1]).random()

=== setting at the top: prec = 10 => prec = 12
decimal.getcontext().prec = 10
def read(): return str(decimal.Decimal(1) / 3)

=== environment at the top: = "1" => = "2"
os.environ["FDM_PROBE"] = "1"
def read(): return os.environ["FDM_PROBE"]

=== environment at the top by call: "1" => "2"
os.environ.update(FDM_PROBE="1")
def read(): return os.environ["FDM_PROBE"]

=== setting in an imported module: prec = 10 => prec = 12
import setup_
def read(): return str(decimal.Decimal(1) / 3)
--- setup_.py
import decimal
decimal.getcontext().prec = 10

=== class attribute set later, of a name changed elsewhere: A.k = 1 => A.k = 2
class A: pass
class B: pass
A.k = 1
def read():
    b = B()
    b.k = 5
    return A.k

=== class attribute written, replaced later, of a name changed elsewhere: A.k = 1 => A.k = 2
class A: k = 0
class B: pass
A.k = 1
def read():
    b = B()
    b.k = 5
    return A().k

=== class attribute by a call, of a name changed elsewhere: make(1) => make(2)
def make(x): return [x]
class A: k = make(1)
class B: pass
def read():
    b = B()
    b.k = 5
    return A().k

=== class attribute of a plain instance: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
class A: p = P(1)
def read(): return A.p.k

=== class attribute without a form set later: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
class A: pass
A.p = P(1)
def read(): return A.p.k

=== class attribute with the environment: os.environ["FDM_PROBE2"] => os.environ["FDM_PROBE3"]
os.environ.setdefault("FDM_PROBE2", "2"); os.environ.setdefault("FDM_PROBE3", "3")
class A: k = os.environ["FDM_PROBE2"]
def read(): return A.k

=== class attribute that is a generator's list: (1, 2) => (1, 3)
def gen():
    yield from (1, 2)
class A: k = list(gen())
def read(): return A.k

=== class attribute in a loop: range(3) => range(4)
class A:
    k = 0
    for i in range(3): k += i
def read(): return A.k

=== class attribute by exec: "k = 1" => "k = 2"
class A:
    exec("k = 1")
def read(): return A.k

=== class attribute by locals: = 1 => = 2
class A:
    locals()["k"] = 1
def read(): return A.k

=== class attribute by setattr in a loop: (("k", 1),) => (("k", 2),)
class A: pass
for n, v in (("k", 1),): setattr(A, n, v)
def read(): return A.k

=== method by a loop: lambda self: 1 => lambda self: 2
class A: pass
for n in ("go",): setattr(A, n, lambda self: 1)
def read(): return A().go()

=== descriptor instance of a plain class: D(1) => D(2)
class D:
    def __init__(self, k): self.k = k
    def __get__(self, obj, cls): return self.k
class A: d = D(1)
def read(): return A.d

=== descriptor in a factory: make(1) => make(2)
class D:
    def __init__(self, k): self.k = k
    def __get__(self, obj, cls): return self.k
def make(k):
    class A: d = D(k)
    return A
A = make(1)
def read(): return A.d

=== plain instance in a closure of a class: make(1) => make(2)
class P:
    def __init__(self, k): self.k = k
def make(k):
    class A: d = P(k)
    return A
A = make(1)
def read(): return A.d.k

=== default that is a plain instance: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
def go(p=P(1)): return p.k
def read(): return go()

=== default of a method by a constant: K = 1 => K = 2
K = 1
class A:
    def go(self, k=K): return k
K = 5
def read(): return A().go()

=== default by a walrus: (K := 1) => (K := 2)
def go(k=(K := 1)): return k
def read(): return go()

=== default replaced: (1,) => (2,)
def go(k=0): return k
go.__defaults__ = (1,)
def read(): return go()

=== keyword default replaced: 1} => 2}
def go(*, k=0): return k
go.__kwdefaults__ = {"k": 1}
def read(): return go()

=== code replaced: return 1 => return 2
def other(): return 1
def go(): return 0
go.__code__ = other.__code__
def read(): return go()

=== function attribute by getattr: go.k = 1 => go.k = 2
def go(): return getattr(go, "k")
go.k = 1
def read(): return go()

=== function attribute by vars: go.k = 1 => go.k = 2
def go(): return vars(go)["k"]
go.k = 1
def read(): return go()

=== function attribute by __dict__: go.k = 1 => go.k = 2
def go(): return go.__dict__["k"]
go.k = 1
def read(): return go()

=== function attribute by a local alias: go.k = 1 => go.k = 2
def go(): return 0
go.k = 1
def read():
    f = go
    return f.k

=== function attribute of what is passed: go.k = 1 => go.k = 2
def go(): return 0
go.k = 1
def look(f): return f.k
def read(): return look(go)

=== function attribute in a table: go.k = 1 => go.k = 2
def go(): return 0
go.k = 1
T = {"a": go}
def read(): return T["a"].k

=== attribute by a decorator: mark(1) => mark(2)
def mark(n):
    def deco(f):
        f.order = n
        return f
    return deco
@mark(1)
def a(): return "a"
FS = [a]
def read(): return [f.order for f in FS]

=== method attribute by a decorator: mark(n=K1) => mark(n=K2)
K1, K2 = 1, 2
def mark(n):
    def deco(f):
        f.order = n
        return f
    return deco
class A:
    @mark(n=K1)
    def go(self): return 1
def read(): return A.go.order

=== name of a function: __name__ = "a" => __name__ = "b"
def go(): return 0
go.__name__ = "a"
def read(): return go.__name__

=== doc of a function set: __doc__ = "a" => __doc__ = "b"
def go(): return 0
go.__doc__ = "a"
def read(): return go.__doc__

=== doc read by help: """1""" => """2"""
import pydoc
def go(): """1"""
def read(): return pydoc.getdoc(go)

=== annotations set: int} => str}
def go(x): return 0
go.__annotations__ = {"x": int}
def read(): return go.__annotations__["x"].__name__

=== signature set by wraps: (x) => (y)
def plain(x): return 0
@functools.wraps(plain)
def go(*a): return 0
def read(): return str(inspect.signature(go))

=== callable frozen instance: A(1) => A(2)
@attrs.frozen
class A:
    k: int
    def __call__(self): return self.k
go = A(1)
def read(): return go()

=== partial of a partial: (go, 1), 2 => (go, 1), 3
def go(a, b): return a, b
f = functools.partial(functools.partial(go, 1), 2)
def read(): return f()

=== compiled pattern's sub: "a" => "b"
f = re.compile("a").sub
def read(): return f("x", "abc")

=== bound dict get: {"a": 1} => {"a": 2}
f = {"a": 1}.get
def read(): return f("a")

=== bound getitem: [1, 2] => [1, 3]
f = [1, 2].__getitem__
def read(): return f(1)

=== wrapper method: (5) => (6)
f = (5).__add__
def read(): return f(1)

=== map constant: (1, 2) => (1, 3)
K = list(map(str, (1, 2)))
def read(): return K

=== helper that gives back its argument: K = [1, 2] => K = [1, 3]
K = [1, 2]
def same(x): return x
def read(): return same(K)

=== getter: K = [1, 2] => K = [1, 3]
K = [1, 2]
def get(): return K
def read(): return get()

=== mappingproxy: {"a": 1} => {"a": 2}
K = types.MappingProxyType({"a": 1})
def read(): return K["a"]

=== ChainMap: {"a": 1} => {"a": 2}
K = collections.ChainMap({"a": 1}, {"b": 1})
def read(): return K["a"]

=== UserDict: a=1 => a=2
K = collections.UserDict(a=1)
def read(): return K["a"]

=== cached_property of a plain instance: return 1 => return 2
class P:
    @functools.cached_property
    def k(self): return 1
def read(): return P().k

=== eval of a constant text: "1 + 1" => "1 + 2"
K = "1 + 1"
def read(): return eval(K)

=== eval of a text that names a helper: return 1 => return 2
def helper(): return 1
K = "helper" + "()"
def read(): return eval(K)

=== exec in another namespace: return 1 => return 2
import other
def read():
    ns = {}
    exec("from other import go\nk = go()", ns)
    return ns["k"]
--- other.py
def go(): return 1

=== sys modules by a computed name: K = 1 => K = 2
K = 1
def read(): return getattr(sys.modules[__name__], "K")

=== getattr of a library module with a computed name: ("sq" + "rt") => ("ce" + "il")
def read(): return getattr(math, ("sq" + "rt"))(2.25)

=== getattr of an own module with a computed name: return 1 => return 2
import other
def read(): return getattr(other, "g" + "o")()
--- other.py
def go(): return 1

=== attrgetter of an own module: return 1 => return 2
import other
G = operator.attrgetter("go")
def read(): return G(other)()
--- other.py
def go(): return 1

=== module as a parameter: K = 1 => K = 2
import other
def read(*, m): return m.K
p = fdm.pipeline(fdm.clean(read, m=other))
--- other.py
K = 1

=== module passed to a helper: K = 1 => K = 2
import other
def look(m): return m.K
def read(): return look(other)
--- other.py
K = 1

=== module's plain instance passed: P(1) => P(2)
import other
def look(m): return m.K.k
def read(): return look(other)
--- other.py
class P:
    def __init__(self, k): self.k = k
K = P(1)

=== dunder constant of a passed module: return 1 => return 2
import other
def look(m): return m.__k__
def read(): return look(other)
--- other.py
def f(): return 1
__k__ = f()

=== conditional import: FLAG = True => FLAG = False
FLAG = True
if FLAG: from one import go
else: from two import go
def read(): return go()
--- one.py
def go(): return 1
--- two.py
def go(): return 2

=== __all__ changes a star import: ["go"] => ["hop"]
from one import *
from two import *
def read(): return go()
--- one.py
def go(): return 1
--- two.py
__all__ = ["go"]
def go(): return 2
def hop(): return 3

=== __all__ read: ["a"] => ["b"]
import one
def read(): return one.__all__
--- one.py
__all__ = ["a"]

=== dir of a module: k = 1 => kk = 1
import one
def read(): return [n for n in dir(one) if n[0] != "_"]
--- one.py
k = 1

=== star import inside a class: k = 1 => k = 2
class A:
    from one import k
def read(): return A.k
--- one.py
k = 1

=== computed class attribute from an import: k = 1 => k = 2
import one
class A:
    j = one.k + 1
def read(): return A.j
--- one.py
k = 1

=== lazy import by __getattr__: k = 1 => k = 2
import one
def read(): return one.lazy.k
--- one.py
import importlib
def __getattr__(name):
    if name == "lazy": return importlib.import_module("two")
    raise AttributeError(name)
--- two.py
k = 1

=== type alias by TypeAlias: = int => = str
Kind: typing.TypeAlias = int
def read(): return Kind("1")

=== generic subclass: typing.List[int] => typing.List[str]
K = typing.List[int]
def read(): return K.__args__[0].__name__

=== Literal: Literal["a"] => Literal["b"]
K = typing.Literal["a"]
def read(): return typing.get_args(K)

=== Annotated: int, 1] => int, 2]
K = typing.Annotated[int, 1]
def read(): return typing.get_args(K)[1]

=== Callable alias: [[int], str] => [[int], bytes]
K = typing.Callable[[int], str]
def read(): return typing.get_args(K)[1].__name__

=== TypeVar bound: bound=int => bound=str
T = typing.TypeVar("T", bound=int)
def read(): return T.__bound__.__name__

=== ForwardRef: "int" => "str"
K = typing.ForwardRef("int")
def read(): return K.__forward_arg__

=== __class_getitem__: return 1 => return 2
class A:
    def __class_getitem__(cls, item): return 1
def read(): return A[0]

=== Protocol member: def go(self): ... => def hop(self): ...
@typing.runtime_checkable
class P(typing.Protocol):
    def go(self): ...
class A:
    def go(self): return 1
def read(): return isinstance(A(), P)

=== TypedDict keys: k: int => j: int
class T(typing.TypedDict):
    k: int
def read(): return list(T.__annotations__)

=== TypedDict by a call: {"k": int} => {"k": str}
T = typing.TypedDict("T", {"k": int})
def read(): return T.__annotations__["k"].__name__

=== NewType read: "N", int => "N", str
N = typing.NewType("N", int)
def read(): return N.__supertype__.__name__

=== NewType over an own class: k = 1 => k = 2
class A: k = 1
N = typing.NewType("N", A)
def read(): return N.__supertype__.k

=== NamedTuple by a call: int)] => str)]
T = typing.NamedTuple("T", [("k", int)])
def read(): return T.__annotations__["k"].__name__

=== namedtuple method set later: self: 1 => self: 2
T = collections.namedtuple("T", "a")
T.go = lambda self: 1
def read(): return T(1).go()

=== namedtuple subclass: return 1 => return 2
class T(collections.namedtuple("T", "a")):
    def go(self): return 1
def read(): return T(1).go()

=== namedtuple base fields: "a b" => "b a"
class T(collections.namedtuple("T", "a b")): pass
def read(): return T(1, 2).a

=== base made by a call of one's own: make(1) => make(2)
def make(n):
    class B: k = n
    return B
class A(make(1)): pass
def read(): return A.k

=== enum __missing__: return cls.A => return cls.B
class E(enum.Enum):
    A = 1
    B = 2
    @classmethod
    def _missing_(cls, v): return cls.A
def read(): return E(7).name

=== enum _generate_next_value_: return name => return name + "x"
class E(enum.Enum):
    def _generate_next_value_(name, start, count, last): return name
    A = enum.auto()
def read(): return E.A.value

=== enum member's plain value: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
class E(enum.Enum):
    A = P(1)
def read(): return E.A.value.k

=== enum member attribute set later: E.A.unit = 1 => E.A.unit = 2
class E(enum.Enum):
    A = 1
E.A.unit = 1
def read(): return E.A.unit

=== enum member by a helper: return 1 => return 2
def helper(): return 1
class E(enum.Enum):
    A = helper()
def read(): return E.A.value

=== property set by a call: property(one) => property(two)
def one(self): return 1
def two(self): return 2
class A: k = property(one)
def read(): return A().k

=== int subclass method: return 1 => return 2
class I(int):
    def go(self): return 1
K = I(3)
def read(): return K.go()

=== dict subclass __missing__: return 1 => return 2
class D(dict):
    def __missing__(self, k): return 1
K = D()
def read(): return K["x"]

=== dict subclass attribute: K.unit = 1 => K.unit = 2
class D(dict): pass
K = D()
K.unit = 1
def read(): return K.unit

=== tuple subclass __new__: return super().__new__(cls, (1,)) => return super().__new__(cls, (2,))
class T(tuple):
    def __new__(cls): return super().__new__(cls, (1,))
def read(): return T()

=== tensor subclass: return 1 => return 2
class T(torch.Tensor):
    def go(self): return 1
K = torch.zeros(1).as_subclass(T)
def read(): return K.go()

=== ndarray subclass attribute: K.unit = 1 => K.unit = 2
class N(np.ndarray): pass
K = np.zeros(1).view(N)
K.unit = 1
def read(): return K.unit

=== slots of a dict subclass: K.unit = 1 => K.unit = 2
class D(dict):
    __slots__ = ("unit",)
K = D()
K.unit = 1
def read(): return K.unit

=== slots of an int subclass in a plain class: K.unit = 1 => K.unit = 2
class D(list):
    __slots__ = ("unit",)
K = D()
K.unit = 1
def read(): return K.unit

=== slotted dataclass private: object.__setattr__(K, "j", 1) => object.__setattr__(K, "j", 2)
class B: __slots__ = ("j",)
@dataclasses.dataclass(frozen=True)
class A(B):
    k: int
K = A(1)
object.__setattr__(K, "j", 1)
def read(): return K.j

=== defaultdict with a lambda: lambda: 1 => lambda: 2
K = collections.defaultdict(lambda: 1)
def read(): return dict(K).get("x", K.default_factory())

=== record array: names="a" => names="b"
K = np.rec.fromarrays([[1]], names="a")
def read(): return K.dtype.names

=== numpy datetime: 2020 => 2021
K = np.datetime64("2020")
def read(): return str(K)

=== numpy dtype metadata: {"a": 1} => {"a": 2}
K = np.dtype("i4", metadata={"a": 1})
def read(): return K.metadata["a"]

=== numpy dtype alignment: align=True => align=False
K = np.dtype([("a", "i1"), ("b", "i4")], align=True)
def read(): return K.itemsize

=== torch Size: Size([1]) => Size([2])
K = torch.Size([1])
def read(): return tuple(K)

=== torch device: "cpu" => "meta"
K = torch.device("cpu")
def read(): return str(K)

=== torch parameter: 1.0 => 2.0
K = torch.nn.Parameter(torch.tensor(1.0))
def read(): return K.item()

=== nn.Module buffer non persistent: [1.0] => [2.0]
class M(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("b", torch.tensor([1.0]), persistent=False)
    def forward(self): return self.b
K = M()
def read(): return K().item()

=== nn.Module state dict hook: return 1 => return 2
def hook(module, args, output): return 1
K = torch.nn.Identity()
K.register_forward_hook(hook)
def read(): return K(torch.zeros(1))

=== nn.Module forward replaced: lambda x: 1 => lambda x: 2
K = torch.nn.Identity()
K.forward = lambda x: 1
def read(): return K(0)

=== library nn.Module setting: Dropout(0.1) => Dropout(0.2)
K = torch.nn.Dropout(0.1)
def read(): return K.p

=== nn.Sequential of library: torch.nn.ReLU() => torch.nn.Tanh()
K = torch.nn.Sequential(torch.nn.ReLU())
def read(): return K(torch.tensor(-1.0)).item()

=== global hook of torch: return 1 => return 2
def hook(m, i, o): return 1
K = torch.nn.Identity()
K.register_forward_hook(lambda m, i, o: 1 and hook(m, i, o))
def read(): return K(0)

=== jit: return x + 1 => return x + 2
@torch.jit.ignore
def go(x): return x + 1
def read(): return go(1)

=== vmap: x + 1 => x + 2
def plain(x): return x + 1
go = torch.vmap(plain)
def read(): return go(torch.zeros(1)).item()

=== vmap dims: in_dims=0 => in_dims=1
def plain(x): return x.sum()
go = torch.vmap(plain, in_dims=0)
def read(): return list(go(torch.zeros(2, 3)).shape)

=== torch.func.grad: x * 2 => x * 3
go = torch.func.grad(lambda x: x * 2)
def read(): return go(torch.tensor(1.0)).item()

=== torch compile disabled: x + 1 => x + 2
@torch.compiler.disable
def go(x): return x + 1
def read(): return go(1)

=== singledispatch registered later: return 1 => return 2
@functools.singledispatch
def go(x): return 0
def impl(x): return 1
go.register(int, impl)
def read(): return go(1)

=== singledispatch through a partial: return 1 => return 2
@functools.singledispatch
def go(x): return 0
@go.register(int)
def _(x): return 1
f = functools.partial(go, 1)
def read(): return f()

=== lru_cache of a method: return 1 => return 2
class A:
    @functools.lru_cache
    def go(self): return 1
def read(): return A().go()

=== total_ordering: self.k < o.k => self.k > o.k
@functools.total_ordering
class A:
    def __init__(self, k): self.k = k
    def __lt__(self, o): return self.k < o.k
    def __eq__(self, o): return self.k == o.k
def read(): return A(1) >= A(2)

=== contextmanager object: yield 1 => yield 2
@contextlib.contextmanager
def cm(): yield 1
def read():
    with cm() as x: return x

=== ExitStack callback: log.append(1) => log.append(2)
def read():
    log = []
    with contextlib.ExitStack() as s: s.callback(lambda: log.append(1))
    return log

=== file into a module constant: <<1 => <<2
K = pathlib.Path(__file__).with_name("data.txt").read_text()
def read(): return K
--- data.txt
<<1

=== file into a class attribute: <<1 => <<2
class A: k = pathlib.Path(__file__).with_name("data.txt").read_text()
def read(): return A.k
--- data.txt
<<1

=== file into an annotated class attribute: <<1 => <<2
class A:
    k: str = pathlib.Path(__file__).with_name("data.txt").read_text()
def read(): return A.k
--- data.txt
<<1

=== file into a dataclass default: <<1 => <<2
@dataclasses.dataclass
class A:
    k: str = pathlib.Path(__file__).with_name("data.txt").read_text()
def read(): return A().k
--- data.txt
<<1

=== file into a slotted attrs default: <<1 => <<2
@attrs.define
class A:
    k: str = pathlib.Path(__file__).with_name("data.txt").read_text()
def read(): return A().k
--- data.txt
<<1

=== file into an attrs field default: <<1 => <<2
@attrs.define
class A:
    k: str = attrs.field(default=pathlib.Path(__file__).with_name("data.txt").read_text())
def read(): return A().k
--- data.txt
<<1

=== constant into a dataclass default: N = 1 => N = 2
N = 1
@dataclasses.dataclass
class A:
    k: int = N
N = 7
def read(): return A().k

=== constant into a slotted attrs default: N = 1 => N = 2
N = 1
@attrs.define
class A:
    k: int = N
N = 7
def read(): return A().k

=== constant into a slotted dataclass: N = 1 => N = 2
N = 1
@dataclasses.dataclass(slots=True)
class A:
    k: int = N
N = 7
def read(): return A().k

=== constant into a default factory: N = 1 => N = 2
N = 1
@dataclasses.dataclass
class A:
    k: list = dataclasses.field(default_factory=lambda: [N])
def read(): return A().k

=== file into an enum member: <<1 => <<2
class E(enum.Enum):
    A = pathlib.Path(__file__).with_name("data.txt").read_text()
def read(): return E.A.value
--- data.txt
<<1

=== file into a NamedTuple default: <<1 => <<2
class A(typing.NamedTuple):
    k: str = pathlib.Path(__file__).with_name("data.txt").read_text()
def read(): return A().k
--- data.txt
<<1

=== file into a decorator's argument: <<1 => <<2
def mark(k):
    def deco(f):
        @functools.wraps(f)
        def g(): return k
        return g
    return deco
@mark(pathlib.Path(__file__).with_name("data.txt").read_text())
def go(): return 0
def read(): return go()
--- data.txt
<<1

=== file into a class decorator: <<1 => <<2
def mark(k):
    def deco(c):
        c.k = k
        return c
    return deco
@mark(pathlib.Path(__file__).with_name("data.txt").read_text())
class A: pass
def read(): return A.k
--- data.txt
<<1

=== file into a class keyword: <<1 => <<2
class B:
    def __init_subclass__(cls, k): cls.k = k
class A(B, k=pathlib.Path(__file__).with_name("data.txt").read_text()): pass
def read(): return A.k
--- data.txt
<<1

=== file into a metaclass attribute: <<1 => <<2
class M(type):
    k = pathlib.Path(__file__).with_name("data.txt").read_text()
class A(metaclass=M): pass
def read(): return A.k
--- data.txt
<<1

=== condition in a class body by a file: <<1 => <<2
class A:
    if pathlib.Path(__file__).with_name("data.txt").read_text() == "<" + "<1\n":
        def go(self): return 1
    else:
        def go(self): return 2
def read(): return A().go()
--- data.txt
<<1

=== condition in a class body for an attribute by a file: <<1 => <<2
class A:
    if pathlib.Path(__file__).with_name("data.txt").read_text() == "<" + "<1\n":
        k = 1
    else:
        k = 2
def read(): return A.k
--- data.txt
<<1

=== condition in a class body for a class by a file: <<1 => <<2
class A:
    if pathlib.Path(__file__).with_name("data.txt").read_text() == "<" + "<1\n":
        class B: k = 1
    else:
        class B: k = 2
def read(): return A.B.k
--- data.txt
<<1

=== condition at the top for a class by a file: <<1 => <<2
if pathlib.Path(__file__).with_name("data.txt").read_text() == "<" + "<1\n":
    class B: k = 1
else:
    class B: k = 2
def read(): return B.k
--- data.txt
<<1

=== condition at the top for a function by a file: <<1 => <<2
if pathlib.Path(__file__).with_name("data.txt").read_text() == "<" + "<1\n":
    def go(): return 1
else:
    def go(): return 2
def read(): return go()
--- data.txt
<<1

=== method alias by a condition: <<1 => <<2
class A:
    def one(self): return 1
    def two(self): return 2
    go = one if pathlib.Path(__file__).with_name("data.txt").read_text() == "<" + "<1\n" else two
def read(): return A().go()
--- data.txt
<<1

=== lambda by a condition: <<1 => <<2
go = (lambda: 1) if pathlib.Path(__file__).with_name("data.txt").read_text() == "<" + "<1\n" else (lambda: 2)
def read(): return go()
--- data.txt
<<1

=== lambda in a default by a condition: <<1 => <<2
def go(f=(lambda: 1) if pathlib.Path(__file__).with_name("data.txt").read_text() == "<" + "<1\n" else (lambda: 2)): return f()
def read(): return go()
--- data.txt
<<1

=== lambda in a class by a condition: <<1 => <<2
class A: go = (lambda self: 1) if pathlib.Path(__file__).with_name("data.txt").read_text() == "<" + "<1\n" else (lambda self: 2)
def read(): return A().go()
--- data.txt
<<1

=== lambdas in a list by a condition: <<1 => <<2
L = [lambda: 1, lambda: 2]
go = L[int(pathlib.Path(__file__).with_name("data.txt").read_text()[2:]) - 1]
def read(): return go()
--- data.txt
<<1

=== closures by a condition: <<1 => <<2
def make(k):
    if k == 1:
        def go(): return 1
    else:
        def go(): return 2
    return go
go = make(int(pathlib.Path(__file__).with_name("data.txt").read_text()[2:]))
def read(): return go()
--- data.txt
<<1

=== two lambdas alike on a line by a condition: <<1 => <<2
L = [lambda: len("a"), lambda: len("bb")]; go = L[int(pathlib.Path(__file__).with_name("data.txt").read_text()[2:]) - 1]
def read(): return go()
--- data.txt
<<1

=== comprehension variable that hides a constant: for K in (1, 2) => for x in (1, 2)
K = 5
def read(): return [K for K in (1, 2)]

=== f-string nested name: W = 3 => W = 4
W = 3
def read(x=1.5): return f"{x:{W}}"

=== walrus in a comprehension: K = 1 => K = 2
K = 1
def read():
    [y := K for _ in (1,)]
    return y

=== del then global: K = 1 => K = 2
K = 1
def read():
    def go():
        global K
        return K
    return go()

=== async with: return 1 => return 2
class A:
    async def __aenter__(self): return 1
    async def __aexit__(self, *a): return None
async def go():
    async with A() as x: return x
def read(): return asyncio.run(go())

=== match with a class attribute: __match_args__ = ("a", "b") => __match_args__ = ("b", "a")
class A:
    __match_args__ = ("a", "b")
    a, b = 1, 2
def read():
    match A():
        case A(x): return x

=== match args set later: A.__match_args__ = ("a",) => A.__match_args__ = ("b",)
class A: a, b = 1, 2
A.__match_args__ = ("a",)
def read():
    match A():
        case A(x): return x

=== dunder method set later: lambda self: 1 => lambda self: 2
class A: pass
A.__len__ = lambda self: 1
def read(): return len(A())

=== dunder attribute set later: A.__k__ = 1 => A.__k__ = 2
class A: pass
A.__k__ = 1
def read(): return A.__k__

=== dunder in a class body by a constant: N = 1 => N = 2
N = 1
class A: __k__ = N
N = 5
def read(): return A.__k__

=== class doc set: "a" => "b"
class A: pass
A.__doc__ = "a"
def read(): return A.__doc__

=== class name set: "a" => "b"
class A: pass
A.__name__ = "a"
def read(): return A.__name__

=== bases set: (B,) => (C,)
class O: pass
class B(O): k = 1
class C(O): k = 2
class A(O): pass
A.__bases__ = (B,)
def read(): return A.k

=== slots default: 1 => 2
class A:
    __slots__ = ("k",)
    def __init__(self): self.k = 1
def read(): return A().k

=== property deleter: 1 => 2
LOG = 0
class A:
    @property
    def k(self): return 0
    @k.deleter
    def k(self): self.x = 1
def read():
    a = A()
    del a.k
    return a.x

=== abc register: Seq.register(A) => abs(1)
class Seq(abc.ABC): pass
class A: pass
Seq.register(A)
def read(): return isinstance(A(), Seq)

=== abc subclasshook: return True => return False
class Seq(abc.ABC):
    @classmethod
    def __subclasshook__(cls, c): return True
def read(): return issubclass(int, Seq)

=== library abc register: Sized.register(A) => Hashable.register(A)
class A: __hash__ = None
collections.abc.Sized.register(A)
def read(): return isinstance(A(), collections.abc.Sized)

=== copyreg: return (int, (1,)) => return (int, (2,))
import copyreg, copy
class A: pass
def red(a): return (int, (1,))
copyreg.pickle(A, red)
def read(): return copy.copy(A())

=== codec registered: upper() => lower()
import codecs
def read(): return "aB".upper()

=== atexit-like registry of a library: return 1 => return 2
def hook(x): return 1
sys.fdm_hook = hook
def read(): return sys.fdm_hook(0)

=== print hook through a dict of a library: return 1 => return 2
def hook(x): return 1
string.Template.fdm_table = {"a": hook}
def read(): return string.Template.fdm_table["a"](0)

=== torch autograd Function: x * 1 => x * 2
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x * 1
def read(): return F.apply(torch.ones(1)).item()

=== torch dispatch library class: return 1 => return 2
class Mode(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, f, t, a=(), k=None): return 1
def read():
    with Mode(): return torch.zeros(1)

=== thread target: x.append(1) => x.append(2)
def go(x): x.append(1)
def read():
    x = []
    t = threading.Thread(target=go, args=(x,)); t.start(); t.join()
    return x

=== multi inheritance super chain: return 1 => return 2
class B:
    def go(self): return 1
class M:
    def go(self): return super().go()
class A(M, B): pass
def read(): return A().go()

=== mro entries: return (B,) => return (C,)
class B: k = 1
class C: k = 2
class F:
    def __mro_entries__(self, bases): return (B,)
class A(F()): pass
def read(): return A.k

=== metaclass call: return 1 => return 2
class M(type):
    def __call__(cls): return 1
class A(metaclass=M): pass
def read(): return A()

=== metaclass attribute of a factory: make(1) => make(2)
def make(k):
    class M(type):
        @property
        def size(cls): return k
    return M
M = make(1)
class A(metaclass=M): pass
def read(): return A.size

=== metaclass prepare: {"k": 1} => {"k": 2}
class M(type):
    @classmethod
    def __prepare__(m, n, b): return {"k": 1}
class A(metaclass=M): pass
def read(): return A.k

=== set_name: self.n = name => self.n = name + "x"
class D:
    def __set_name__(self, o, name): self.n = name
    def __get__(self, o, c): return self.n
class A: d = D()
def read(): return A.d

=== init_subclass in a library base: k = 1 => k = 2
class A(torch.nn.Module, abc.ABC): k = 1
def read(): return A.k

=== class replaced by a decorator: k = 1 => k = 2
def swap(c):
    class N(c): k = 1
    return N
@swap
class A: k = 0
def read(): return A.k

=== custom wrapper object with __wrapped__: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
class W:
    def __init__(self, f, p):
        functools.update_wrapper(self, f)
        self.p = p
    def __call__(self): return self.p.k
def plain(): return 0
go = W(plain, P(1))
def read(): return go()

=== wrapper object with a list: [1]) => [2])
class W:
    def __init__(self, f, p):
        functools.update_wrapper(self, f)
        self.p = p
    def __call__(self): return self.p[0]
def plain(): return 0
go = W(plain, [1])
def read(): return go()

=== wrapper object with slots: 1) => 2)
class W:
    __slots__ = ("p", "__wrapped__", "__name__", "__qualname__")
    def __init__(self, f, p):
        self.__wrapped__, self.__name__, self.__qualname__ = f, f.__name__, f.__qualname__
        self.p = p
    def __call__(self): return self.p
def plain(): return 0
go = W(plain, 1)
def read(): return go()

=== wrapper object with a private dunder: 1) => 2)
class W:
    def __init__(self, f, p):
        functools.update_wrapper(self, f)
        self.__dict__["__p"] = p
    def __call__(self): return self.__dict__["__p"]
def plain(): return 0
go = W(plain, 1)
def read(): return go()

=== library closure over a list: [0] => [1]
def deco(f): return f
go = operator.itemgetter(*[0])
def read(): return go([5, 6])

=== toolz compose: int => float
import toolz
go = toolz.compose(str, int)
def read(): return go("1")

=== toolz memoize: x + 1 => x + 2
import toolz
@toolz.memoize
def go(x): return x + 1
def read(): return go(1)

=== library closure with a dict: {"k": 1} => {"k": 2}
import toolz
@toolz.memoize(cache={(): 1} and {"k": 1}, key=lambda a, k: "k")
def go(): return 0
def read(): return go()

=== recipe of closures with None: make(None) => make(...)
def make(k):
    def go(): return k
    return go
go = make(None)
def read(): return go()

=== closure of a library over a plain instance: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
    def __call__(self): return self.k
@torch.no_grad()
def plain(): return 0
go = torch.no_grad()(P(1).__call__)
def read(): return go()

=== attribute of a module set by another: other.K = 1 => other.K = 2
import other, patch_
def read(): return other.K
--- other.py
K = 0
--- patch_.py
import other
other.K = 1

=== method of an own class replaced by another module: return 1 => return 2
import other, patch_
def read(): return other.A().go()
--- other.py
class A:
    def go(self): return 0
--- patch_.py
import other
def go(self): return 1
other.A.go = go

=== library method patched in another module: return 1 => return 2
import patch_
def read(): return torch.zeros(1).fdm_probe2()
--- patch_.py
import torch
def mine(self): return 1
torch.Tensor.fdm_probe2 = mine

=== patched by a module that a module imports: return 1 => return 2
import middle
def read(): return torch.zeros(1).fdm_probe3()
--- middle.py
import patch_
--- patch_.py
import torch
def mine(self): return 1
torch.Tensor.fdm_probe3 = mine

=== patched by setattr in a loop: return 1 => return 2
def mine(self): return 1
for name in ("fdm_probe4",): setattr(torch.Tensor, name, mine)
def read(): return torch.zeros(1).fdm_probe4()

=== patched in a try: return 1 => return 2
def mine(self): return 1
try: torch.Tensor.fdm_probe5 = mine
except AttributeError: pass
def read(): return torch.zeros(1).fdm_probe5()

=== patched under a condition: return 1 => return 2
def mine(self): return 1
if os.name: torch.Tensor.fdm_probe6 = mine
def read(): return torch.zeros(1).fdm_probe6()

=== seed by a constant: S = 1 => S = 2
S = 1
random.seed(S)
def read(): return random.Random(random.getstate()[1][1]).random()

=== seed under an underscore: seed(1) => seed(2)
_ = random.seed(1)
def read(): return random.Random(random.getstate()[1][1]).random()

=== instance of an own class in a class attribute with a list: P([1]) => P([2])
class P:
    def __init__(self, k): self.k = k
class A: p = P([1])
def read(): return A.p.k

=== circle of instances: P(1) => P(2)
class P:
    def __init__(self, k): self.k, self.me = k, self
class A: p = P(1)
def read(): return A.p.me.k

=== instance that holds a function: lambda: 1 => lambda: 2
class P:
    def __init__(self, f): self.f = f
class A: p = P(lambda: 1)
def read(): return A.p.f()

=== instance with slots in a class: P(1) => P(2)
class P:
    __slots__ = ("k",)
    def __init__(self, k): self.k = k
class A: p = P(1)
def read(): return A.p.k

=== instance of a base with state: P(1) => P(2)
class B:
    def __init__(self, k): self.k = k
class P(B): pass
class A: p = P(1)
def read(): return A.p.k

=== instance attribute set later: A.p.k = 1 => A.p.k = 2
class P: pass
class A: p = P()
A.p.k = 1
def read(): return A.p.k

=== descriptor with a registry: self.all.append(1) => self.all.append(2)
class D:
    def __init__(self): self.all = []; self.all.append(1)
    def __get__(self, o, c): return self.all
class A: d = D()
def read(): return A.d

=== cached property set: lambda self: 1 => lambda self: 2
class A: pass
A.k = property(lambda self: 1)
def read(): return A().k

=== property of an attrgetter: attrgetter("x") => attrgetter("y")
class A:
    x, y = 1, 2
    k = property(operator.attrgetter("x"))
def read(): return A().k

=== static method of a lambda: lambda: 1 => lambda: 2
class A: go = staticmethod(lambda: 1)
def read(): return A.go()

=== class method of a partial: partial(f, k=1) => partial(f, k=2)
def f(cls, k): return k
class A: go = classmethod(functools.partial(f, k=1))
def read(): return A.go()

=== partialmethod by a constant: N = 1 => N = 2
N = 1
class A:
    def f(self, k): return k
    go = functools.partialmethod(f, N)
N = 7
def read(): return A().go()

=== converter that is chosen: C = int => C = str
C = int
@attrs.define
class A:
    k: object = attrs.field(converter=C)
C = float
def read(): return A("1").k

=== validator that is chosen: V = one => V = two
def one(s, a, v): pass
def two(s, a, v): raise ValueError
V = one
@attrs.define
class A:
    k: object = attrs.field(validator=V)
V = None
def read():
    try: return A(1).k
    except ValueError: return 0

=== on_setattr chosen: H = one => H = two
def one(s, a, v): return v
def two(s, a, v): return -v
H = one
@attrs.define
class A:
    k: object = attrs.field(default=1, on_setattr=H)
H = None
def read():
    a = A(); a.k = 5
    return a.k

=== metadata of a field: N = 1 => N = 2
N = 1
@dataclasses.dataclass
class A:
    k: int = dataclasses.field(default=0, metadata={"n": N})
N = 7
def read(): return dataclasses.fields(A)[0].metadata["n"]

=== default factory chosen: F = list => F = dict
F = list
@dataclasses.dataclass
class A:
    k: object = dataclasses.field(default_factory=F)
F = set
def read(): return A().k

=== factory with a closure: make(1) => make(2)
def make(k): return lambda: k
@dataclasses.dataclass
class A:
    k: object = dataclasses.field(default_factory=make(1))
def read(): return A().k

=== init of a class replaced: self.k = 1 => self.k = 2
@dataclasses.dataclass
class A: k: int = 0
def init(self): self.k = 1
A.__init__ = init
def read(): return A().k

=== repr of a dataclass replaced: return "1" => return "2"
@dataclasses.dataclass
class A: k: int = 0
A.__repr__ = lambda self: str(3) and helper()
def helper(): return "1"
def read(): return repr(A())

=== dataclass options by a constant: F = True => F = False
F = True
@dataclasses.dataclass(order=F)
class A: k: int = 0
F = None
def read(): return hasattr(A, "__lt__") and "__lt__" in vars(A)

=== nested class chosen: class B(X): pass => class B(Y): pass
class X: k = 1
class Y: k = 2
class A:
    class B(X): pass
def read(): return A.B.k

=== class attribute by a nested function: return 1 => return 2
class A:
    def make(): return 1
    k = make()
def read(): return A.k

=== name of a lambda's class: A = one() => A = two()
def one():
    class A: k = 1
    return A
def two():
    class A: k = 2
    return A
A = one()
def read(): return A.k

=== same closure, other cell: make(1, 2) => make(1, 3)
def make(a, b):
    def one(): return a
    def two(): return one() + b
    return two
go = make(1, 2)
def read(): return go()

=== generator function default: yield k => yield -k
def gen(k=1): yield k
K = list(gen())
def read(): return K

=== recursion through a table: n - 1 => n - 2
T = {}
def go(n): return T["go"](n - 1) if n > 0 else n
T["go"] = go
def read(): return go(3)

=== attribute of a partial: F.n = 1 => F.n = 2
def go(): return 0
F = functools.partial(go)
F.n = 1
def read(): return F.n

=== attribute of a lru_cache wrapper: go.n = 1 => go.n = 2
@functools.lru_cache
def go(): return 0
go.n = 1
def read(): return go.n

=== attribute of a lru_cache wrapper by getattr: go.n = 1 => go.n = 2
@functools.lru_cache
def go(): return 0
go.n = 1
def read(): return getattr(go, "n")

=== cache size: maxsize=1 => maxsize=2
@functools.lru_cache(maxsize=1)
def go(k): return k
def read(): return go.cache_info().maxsize

=== module's class attribute of a passed module: k = 1 => k = 2
import other
def look(m): return m.A.k
def read(): return look(other)
--- other.py
class A: k = 1

=== module of modules passed: K = 1 => K = 2
import other
def look(m): return m.third.K
def read(): return look(other)
--- other.py
import third
--- third.py
K = 1

=== late import through a module's function: K = 1 => K = 2
import other
def read(): return other.go()
--- other.py
def go():
    from third import K
    return K
--- third.py
K = 1

=== late import in a method: K = 1 => K = 2
class A:
    def go(self):
        from other import K
        return K
def read(): return A().go()
--- other.py
K = 1

=== late import in a lambda by __import__: K = 1 => K = 2
go = lambda: __import__("other").K
def read(): return go()
--- other.py
K = 1

=== late star module: K = 1 => K = 2
def read():
    import other
    return other.K
--- other.py
from third import *
--- third.py
K = 1

=== late import of what a package imports: K = 1 => K = 2
def read():
    import pkg
    return pkg.K
--- pkg/a.py
K = 1
--- pkg/__init__.py
from .a import K

=== late import in a late import: K = 1 => K = 2
def read():
    from other import go
    return go()
--- other.py
def go():
    from third import K
    return K
--- third.py
K = 1

=== late relative import_module: K = 1 => K = 2
import pkg.a
def read(): return pkg.a.go()
--- pkg/a.py
import importlib
def go(): return importlib.import_module(".b", __package__).K
--- pkg/b.py
K = 1

=== late import below try: import fast as m => import slow as m
def read():
    try:
        import fast as m
    except ImportError:
        import slow as m
    return m.K
--- slow.py
K = 1
--- fast.py
K = 2

=== unicode names: é = 1 => é = 2
é = 1
def read(): return é

=== numpy function aliases: f = np.add.reduce => f = np.multiply.reduce
f = np.add.reduce
def read(): return int(f([2, 3]))

=== bound ufunc method default: np.add.accumulate => np.multiply.accumulate
def go(f=np.add.accumulate): return f([2, 3]).tolist()
def read(): return go()

=== torch nn functional: F.relu => F.elu
import torch.nn.functional as F
def read(): return F.relu(torch.tensor(-1.0)).item()

=== torch nn functional as a constant: act = F.relu => act = F.elu
import torch.nn.functional as F
act = F.relu
def read(): return act(torch.tensor(-1.0)).item()

=== torch op: torch.ops.aten.add => torch.ops.aten.sub
op = torch.ops.aten.add
def read(): return op(torch.tensor(1), 1).item()

=== torch dtype default: float32 => float64
D = torch.float32
def read(): return torch.zeros(1, dtype=D).dtype

=== module-level class instance method as a table: {"a": A(1).go} => {"a": A(2).go}
@attrs.frozen
class A:
    k: int
    def go(self): return self.k
T = {"a": A(1).go}
def read(): return T["a"]()

=== frozen set of enums: {E.A} => {E.B}
class E(enum.Enum):
    A = 1
    B = 2
K = frozenset({E.A})
def read(): return [e.name for e in K]

=== dict keyed by functions: {one: 1} => {one: 2}
def one(): return 0
K = {one: 1}
def read(): return K[one]

=== library wrapper of a library function: math.floor => math.ceil
go = torch.no_grad()(math.floor)
def read(): return go(1.5)

=== library cache of a library function: math.floor => math.ceil
go = functools.lru_cache(math.floor)
def read(): return go(1.5)

=== own wraps of a library function: math.floor => math.ceil
def deco(f):
    @functools.wraps(f)
    def g(x): return f(x)
    return g
go = deco(math.floor)
def read(): return go(1.5)

=== toolz compose of library functions: math.floor => math.ceil
import toolz
go = toolz.compose(math.floor, float)
def read(): return go(1.5)

=== contextmanager by a library function: return 1 => return 2
go = contextlib.contextmanager(lambda: iter([1]) if helper() == 1 else iter([2]))
def helper(): return 1
def read():
    with contextlib.ExitStack() as s: return next(go.__wrapped__())

=== no_grad to enable_grad: torch.no_grad() => torch.enable_grad()
@torch.no_grad()
def go(): return torch.ones(1, requires_grad=True).mul(2).requires_grad
def read(): return go()

=== default of a library wrapper: k=1 => k=2
@torch.no_grad()
def go(k=1): return k
def read(): return go()

=== vmap of a library function: torch.sin => torch.cos
go = torch.vmap(torch.sin)
def read(): return round(go(torch.zeros(1)).item(), 3)
'''

HARMLESS = r'''
=== annotation of a local: x = 1 => x: dict[str, int] = 1
def read():
    x = 1
    return x

=== annotation of a local by an own class: x = 1 => x: A = 1
class A: k = 1
def read():
    x = 1
    return x

=== bare annotation of a local: pass => y: int
def read():
    pass
    return 1

=== annotation of an attribute: self.x = 1 => self.x: int = 1
class A:
    def __init__(self):
        self.x = 1
def read(): return A().x

=== annotation of a local of a method: x = 1 => x: int = 1
class A:
    def go(self):
        x = 1
        return x
def read(): return A().go()

=== annotation of a local's class changes: k = 1 => k = 2
class A: k = 1
def read():
    x: A = 1
    return x

=== annotation of a local below an own decorator: y = 1 => y: int = 1
def deco(f):
    @functools.wraps(f)
    def g(x): return f(x)
    return g
@deco
def go(x):
    y = 1
    return y
def read(): return go(1)

=== annotation of a module constant: K = 1 => K: int = 1
K = 1
def read(): return K

=== annotation in a nested function: x = 1 => x: int = 1
def read():
    def go():
        x = 1
        return x
    return go()

=== semicolon: a = 1; b = 2 => a = 1\n    b = 2
def read():
    a = 1; b = 2
    return a + b

=== parenthesised with: with (a) => with a
def read():
    a = contextlib.nullcontext()
    with (a): return 1

=== string concatenation: "a" "b" => "ab"
def read(): return "a" "b"

=== raw string: r"a" => "a"
def read(): return r"a"

=== noqa: return 1 => return 1  # noqa
def read(): return 1

=== local class docstring: """One.""" => """Two."""
def read():
    class A:
        """One."""
        k = 1
    return A.k

=== stage parameters elsewhere: size = 1 => size = 2
size = 1
def read(): return 1

=== another pipeline: batch(2) => batch(3)
def read(): return 1
q = fdm.pipeline(fdm.batch(2))

=== print at the top: print("", end="") => print(end="")
print("", end="")
def read(): return 1

=== logging setup: logging.WARNING => logging.ERROR
logging.getLogger("fdm_x").setLevel(logging.WARNING)
def read(): return 1

=== loop at the top: range(2) => range(3)
total = 0
for i in range(2): total += i
def read(): return 1

=== training at the top: model(2) => model(3)
class Model:
    def __call__(self, x): return x
model = Model()
model(2)
def read(): return 1

=== unrelated class attribute set: B.k = 1 => B.k = 2
class B: pass
B.k = 1
def read(): return 1

=== docstring of a dataclass: """One.""" => """Two."""
@dataclasses.dataclass
class A:
    """One."""
    k: int = 1
def read(): return A().k

=== overload: def go(x: int) -> int: ... => def go(x: str) -> str: ...
@typing.overload
def go(x: int) -> int: ...
@typing.overload
def go(x: bytes) -> bytes: ...
def go(x): return x
def read(): return go(1)

=== TYPE_CHECKING import: import json => import csv
if typing.TYPE_CHECKING:
    import json
def read(): return 1

=== ignore comment in a class: k = 1 => k = 1  # type: ignore
class A:
    k = 1
def read(): return A.k

=== reordered methods: def a(self): return 1\n    def b(self): return 2 => def a(self): return 1\n\n    def b(self): return 2
class A:
    def a(self): return 1
    def b(self): return 2
def read(): return A().a()

=== encoding line: import json => # -*- coding: utf-8 -*-
import json
def read(): return 1

=== comment after a class attribute: x = 1 => x = 1  # c
class A:
    k = 1
    x = 1
def read(): return A.k

=== body of an unrelated method's docstring: """A""" => """B"""
class A:
    def go(self):
        """A"""
        return 1
def read(): return A().go()

=== decorated dataclass comment: k: int = 1 => k: int = 1  # c
@dataclasses.dataclass
class A:
    k: int = 1
def read(): return A().k

=== attrs class docstring: """A""" => """B"""
@attrs.define
class A:
    """A"""
    k: int = 1
def read(): return A().k

=== nn module docstring: """A""" => """B"""
class M(torch.nn.Module):
    """A"""
    def forward(self, x): return x
K = M()
def read(): return K(1)

=== lines moved: def read => \n\n\n\ndef read
class A:
    @property
    def k(self): return 1
    @k.setter
    def k(self, v): pass
L = [lambda: 1, lambda: 2]
def deco(f):
    @functools.wraps(f)
    def g(): return f()
    return g
@deco
def go(): return L[0]()
def read(): return A().k + go()

=== docstring of a wrapped function: """A""" => """B"""
def deco(f):
    @functools.wraps(f)
    def g(): return f()
    return g
@deco
def go():
    """A"""
    return 1
def read(): return go()

=== docstring of a function wrapped by a class: """A""" => """B"""
class W:
    def __init__(self, f):
        functools.update_wrapper(self, f)
        self.f = f
    def __call__(self): return self.f()
@W
def go():
    """A"""
    return 1
def read(): return go()

=== docstring of a namedtuple: """A""" => """B"""
class T(typing.NamedTuple):
    """A"""
    k: int = 1
def read(): return T().k

=== docstring of an enum: """A""" => """B"""
class E(enum.Enum):
    """A"""
    A = 1
def read(): return E.A.value

=== docstring of a late module: """A""" => """B"""
def read():
    import other
    return other.K
--- other.py
"""A"""
K = 1

=== comment in a late module: # a => # b
def read():
    import other
    return other.K
--- other.py
# a
K = 1

=== ordinary use of sys: # a => # b
def read(): return sys.platform, sys.version_info[0], sys.maxsize  # a

=== ordinary use of importlib: # a => # b
import importlib.metadata, importlib.resources
def read(): return bool(importlib.metadata.version("torch"))  # a

=== ordinary use of gc: # a => # b
import gc
def read():
    gc.collect()  # a
    return 1

=== ordinary use of inspect: # a => # b
def go(x): return x
def read(): return len(inspect.signature(go).parameters)  # a

=== ordinary use of builtins: # a => # b
import builtins
def read(): return builtins.len([1])  # a

=== warnings in the function: # a => # b
import warnings
def read():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return 1  # a

=== generic class, again: # a => # b
T = typing.TypeVar("T")
class A(typing.Generic[T]):
    def go(self, x: T) -> T: return x  # a
def read(): return A[int]().go(1)

=== protocol, again: # a => # b
@typing.runtime_checkable
class P(typing.Protocol):
    def go(self): ...  # a
def read(): return isinstance(1, P)

=== abstract class: # a => # b
class B(abc.ABC):
    @abc.abstractmethod
    def go(self): ...
class A(B):
    def go(self): return 1  # a
def read(): return A().go()

=== exceptions: # a => # b
class E(Exception):
    def __init__(self, k):
        super().__init__(k)  # a
        self.k = k
def read():
    try: raise E(1)
    except E as e: return e.k

=== thread pool: # a => # b
from concurrent.futures import ThreadPoolExecutor
def go(x): return x
def read():
    with ThreadPoolExecutor(1) as pool: return list(pool.map(go, [1]))  # a

=== nn module: # a => # b
class M(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("b", torch.zeros(1))  # a
    def forward(self, x): return x + self.b
def read(): return M()(torch.zeros(1)).item()

=== autograd function: # a => # b
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x  # a
def read(): return F.apply(torch.ones(1)).item()

=== flags and int enums: # a => # b
class E(enum.IntFlag):
    A = 1
    B = 2
    C = A | B  # a
def read(): return int(E.C)

=== str enum with a method: # a => # b
class E(str, enum.Enum):
    A = "a"  # a
    @property
    def up(self): return self.value.upper()
    @classmethod
    def of(cls, x): return cls(x)
def read(): return E.of("a").up

=== slots dataclass: # a => # b
@dataclasses.dataclass(slots=True, frozen=True)
class A:
    k: int = 1  # a
    l: list = dataclasses.field(default_factory=list)
    def go(self): return self.k
def read(): return A().go()

=== ordered dataclass with post init: # a => # b
@dataclasses.dataclass(order=True)
class A:
    k: int
    j: dataclasses.InitVar[int] = 2
    c: typing.ClassVar[int] = 3
    def __post_init__(self, j): self.k += j  # a
def read(): return A(1).k

=== attrs with everything: # a => # b
@attrs.define(slots=False, order=True)
class A:
    k: int = attrs.field(default=1, validator=attrs.validators.instance_of(int), converter=int)
    l: list = attrs.field(factory=list)
    m: int = attrs.field(init=False)
    n: int = attrs.field(default=2, validator=[attrs.validators.ge(1), attrs.validators.in_([1, 2])], metadata={"a": 1})
    @m.default
    def _m(self): return self.k  # a
def read(): return A().m

=== total ordering: # a => # b
@functools.total_ordering
class A:
    def __eq__(self, o): return True
    def __lt__(self, o): return False  # a
def read(): return A() <= A()

=== context manager class: # a => # b
class C(contextlib.ContextDecorator):
    def __enter__(self): return 1  # a
    def __exit__(self, *a): return False
def read():
    with C() as x: return x

=== cached properties: # a => # b
class A:
    @functools.cached_property
    def k(self): return 1  # a
    @functools.lru_cache(maxsize=None)
    def j(self): return 2
    @staticmethod
    @functools.cache
    def i(): return 3
def read(): return A().k + A().j() + A.i()

=== logger in a class: # a => # b
class A:
    log = logging.getLogger("x")
    pattern = re.compile("a")
    root = pathlib.Path("a")
    def go(self): return 1  # a
def read(): return A().go()

=== typed dict: # a => # b
class T(typing.TypedDict, total=False):
    k: int  # a
def read() -> T: return {"k": 1}

=== library classes as bases: # a => # b
class S(torch.utils.data.Dataset):
    def __len__(self): return 3  # a
    def __getitem__(self, i): return i
def read(): return len(S())

=== thread local class: # a => # b
class D(dict):
    def __missing__(self, k): return 1  # a
def read(): return D()["a"]

=== html parser: # a => # b
from html.parser import HTMLParser
class H(HTMLParser):
    def handle_data(self, data): self.found = data  # a
def read():
    h = H(); h.feed("<a>x</a>")
    return h.found

=== json encoder: # a => # b
import json
class E(json.JSONEncoder):
    def default(self, o): return 1  # a
def read(): return json.dumps({1: object}, cls=E)

=== pipeline run at the top: epoch=0 => epoch=1
def read(): return fdm.Table({"x": torch.arange(3)})
p = fdm.pipeline(fdm.clean(read), fdm.batch(2))
def train(epoch): return epoch
train(epoch=0)

=== argument parser at the top: default=1 => default=2
parser = argparse.ArgumentParser()
parser.add_argument("--lr", default=1)
args = parser.parse_args([])
def read(): return 1

=== constant in another function: return K => return K + 1
K = 1
def other(): return K
def read(): return 1

=== singledispatch: # a => # b
@functools.singledispatch
def go(x): return 1
@go.register
def _(x: int): return 2  # a
def read(): return go(1)

=== traceback: # a => # b
import traceback
def read():
    try: 1 / 0
    except ZeroDivisionError: return len(traceback.format_exc()) > 0  # a

=== tqdm: # a => # b
from tqdm import tqdm
def read(): return [x for x in tqdm([1], disable=True)]  # a

=== numpy vectorised: # a => # b
def read(): return np.linalg.norm(np.ones(4)), np.random.default_rng(0).random()  # a

=== wrapt-like contextmanager: # a => # b
@contextlib.contextmanager
def cm():
    yield 1  # a
def read():
    with cm() as x: return x

=== no_grad: # a => # b
@torch.no_grad()
def go(): return 1  # a
@torch.inference_mode()
def hop(): return go()
def read(): return hop()

=== vmap, again: # a => # b
go = torch.vmap(lambda x: x + 1)
def read(): return go(torch.zeros(1)).item()  # a
'''

REFUSED = r"""
=== default by a constant that is plain [K]: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
K = P(1)
def go(p=K): return p.k
def read(): return go()

=== default that is a generator [g]: range(2) => range(3)
def go(g=(x for x in range(2))): return list(g)
def read(): return go()

=== function attribute with a plain instance [go]: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
def go(): return go.p.k
go.p = P(1)
def read(): return go()

=== wrapper class without wraps [go]: self.f() + 1 => self.f() + 2
class more:
    def __init__(self, f): self.f = f
    def __call__(self): return self.f() + 1
@more
def go(): return 1
def read(): return go()

=== partial with a plain instance [f]: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
def go(p): return p.k
f = functools.partial(go, P(1))
def read(): return f()

=== bound method of a plain instance [f]: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
    def go(self): return self.k
f = P(1).go
def read(): return f()

=== iterator constant [K]: [1, 2] => [1, 3]
K = iter([1, 2])
def read(): return next(K)

=== zip constant [K]: [1, 2] => [1, 3]
K = zip([1, 2])
def read(): return list(K)

=== count constant [K]: count(1) => count(2)
K = itertools.count(1)
def read(): return next(K)

=== cycle constant [K]: cycle([1]) => cycle([2])
K = itertools.cycle([1])
def read(): return next(K)

=== UserList [K]: [1] => [2]
K = collections.UserList([1])
def read(): return list(K)

=== memoryview [K]: b"a" => b"b"
K = memoryview(b"a")
def read(): return bytes(K)

=== array module [K]: [1] => [2]
import array
K = array.array("i", [1])
def read(): return list(K)

=== StringIO [K]: "a" => "b"
import io
K = io.StringIO("a")
def read(): return K.getvalue()

=== context variable [K]: default=1 => default=2
import contextvars
K = contextvars.ContextVar("K", default=1)
def read(): return K.get()

=== thread local [K]: K.x = 1 => K.x = 2
K = threading.local()
K.x = 1
def read(): return K.x

=== weakref [K]: f = one => f = two
import weakref
def one(): return 1
def two(): return 2
f = one
K = weakref.ref(f)
def read(): return K()()

=== ast constant [K]: "1" => "2"
import ast
K = ast.parse("1")
def read(): return ast.unparse(K)

=== code object [read]: "1" => "2"
K = compile("1", "x", "eval")
def read(): return eval(K)

=== code object of a function [read]: return 1 => return 2
def go(): return 1
K = go.__code__
def read(): return eval(K)

=== eval by another name [read]: return 1 => return 2
def helper(): return 1
ev = eval
K = "helper" + "()"
def read(): return ev(K)

=== eval from builtins [read]: return 1 => return 2
import builtins
def helper(): return 1
K = "helper" + "()"
def read(): return builtins.eval(K)

=== import_module by another name [read]: return 1 => return 2
from importlib import import_module as im
N = "other"
def read(): return im(N).go()
--- other.py
def go(): return 1

=== import_module in a map [read]: return 1 => return 2
def read(): return [m.go() for m in map(importlib.import_module, ["other"])]
--- other.py
def go(): return 1

=== import_module through getattr [read]: return 1 => return 2
def read(): return getattr(importlib, "import_" + "module")("other").go()
--- other.py
def go(): return 1

=== runpy [read]: k = 1 => k = 2
import runpy
def read(): return runpy.run_module("other")["k"]
--- other.py
k = 1

=== pkgutil resolve_name [read]: return 1 => return 2
import pkgutil
def read(): return pkgutil.resolve_name("other:go")()
--- other.py
def go(): return 1

=== pydoc locate [read]: return 1 => return 2
import pydoc
def read(): return pydoc.locate("other.go")()
--- other.py
def go(): return 1

=== importlib util [read]: return 1 => return 2
import importlib.util
def read():
    spec = importlib.util.find_spec("other")
    m = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(m)
    return m.go()
--- other.py
def go(): return 1

=== globals by another name [read]: K = 1 => K = 2
K = 1
g = globals
def read(): return g()["K"]

=== globals as a constant [G]: K = 1 => K = 2
K = 1
G = globals()
def read(): return G["K"]

=== function globals [read]: K = 1 => K = 2
K = 1
def go(): return 0
def read(): return go.__globals__["K"]

=== frame globals [read]: K = 1 => K = 2
K = 1
def read(): return sys._getframe().f_globals["K"]

=== inspect frame [read]: K = 1 => K = 2
K = 1
def read(): return inspect.currentframe().f_globals["K"]

=== sys modules get [read]: K = 1 => K = 2
K = 1
def read(): return sys.modules.get(__name__).K

=== sys modules values [read]: K = 1 => K = 2
K = 1
def read(): return vars(sys.modules[read.__module__])["K"]

=== module __dict__ [__dict__]: K = 1 => K = 2
import other
def read(): return other.__dict__["K"]
--- other.py
K = 1

=== package passed to a helper [pkg]: K = 1 => K = 2
import pkg
import pkg.sub
def look(m): return m.sub.K
def read(): return look(pkg)
--- pkg/sub.py
K = 1

=== masked constant [K]: fill_value=1 => fill_value=2
K = np.ma.array([1, 2], mask=[0, 1], fill_value=1)
def read(): return K.filled().tolist()

=== numpy generator [K]: default_rng(1) => default_rng(2)
K = np.random.default_rng(1)
def read(): return K.random()

=== nn.Module plain attribute [K]: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
class M(torch.nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p
    def forward(self): return self.p.k
K = M(P(1))
def read(): return K()

=== library wrapper with a plain instance [go]: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
    def __call__(self): return self.k
go = contextlib.nullcontext(P(1))
def read():
    with go as f: return f()

=== np.vectorize signature [go]: x + 1 => x + 2
@np.vectorize
def go(x): return x + 1
def read(): return int(go(1))

=== cmp_to_key [K]: a - b => b - a
K = functools.cmp_to_key(lambda a, b: a - b)
def read(): return sorted([1, 3, 2], key=K)

=== exec of a file [read]: k = 1 => k = 2
def read():
    ns = {}
    exec(pathlib.Path(__file__).with_name("other.py").read_text(), ns)
    return ns["k"]
--- other.py
k = 1

=== own class from a library registry [read]: return 1 => return 2
class A(string.Formatter):
    def go(self): return 1
def read(): return next(c for c in string.Formatter.__subclasses__() if c.__module__ == "main")().go()

=== gc [read]: return 1 => return 2
import gc
def go_probe(): return 1
def read(): return next(f for f in gc.get_objects() if getattr(f, "__name__", "") == "go_probe" and f.__globals__ is globals())()

=== ctypes callback [go]: return 1 => return 2
import ctypes
@ctypes.CFUNCTYPE(ctypes.c_int)
def go(): return 1
def read(): return go()

=== class decorated to an instance [A]: k = 1 => k = 2
def single(c): return c()
@single
class A: k = 1
def read(): return A.k

=== instance by a class call with slots [K]: A(1) => A(2)
class A:
    __slots__ = ("k",)
    def __init__(self, k): self.k = k
K = A(1)
def read(): return K.k

=== toolz curry [go]: x + k, 1 => x + k, 2
import toolz
go = toolz.curry(lambda k, x: x + k, 1)
def read(): return go(1)

=== closure over a plain instance [go]: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
def make(p):
    def go(): return p.k
    return go
go = make(P(1))
def read(): return go()

=== closure over a plain instance through a decorator [p]: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
def deco(p):
    def wrap(f):
        @functools.wraps(f)
        def g(): return p.k
        return g
    return wrap
@deco(P(1))
def go(): return 0
def read(): return go()

=== closure of a library over a callable instance [go]: P(1) => P(2)
class P:
    def __init__(self, k): self.k = k
    def __call__(self): return self.k
go = torch.no_grad()(P(1))
def read(): return go()

=== closure of a library over a callable instance of a frozen class [go]: P(1) => P(2)
@attrs.frozen
class P:
    k: int
    def __call__(self): return self.k
go = torch.no_grad()(P(1))
def read(): return go()

=== handler table by a class [table]: return 1 => return 2
class H:
    table = {}
    @classmethod
    def add(cls, f): cls.table[f.__name__] = f; return f
@H.add
def a(): return 1
def read(): return H.table["a"]()

=== list changed by a late helper [L]: [1, 2] => [1, 3]
L = [1, 2]
def read():
    from other import change
    change(L)
    return L
--- other.py
def change(x): x.append(9)

=== text for eval in a table [read]: "K + 1" => "K + 2"
K = 1
T = {"f": "K + 1"}
def read(): return eval(T["f"])

=== compile and exec [read]: return 1 => return 2
def go(): return 1
def read():
    ns = {"go": go}
    exec(compile("x = go()", "f", "exec"), ns)
    return ns["x"]

=== numexpr-like eval through a frame [look]: K = 1 => K = 2
K = 1
def look(): return sys._getframe(1).f_globals["K"]
def read(): return look()

=== type of three [A]: k=1 => k=2
def make(): return type("A", (), {"k": 1})
A = type("A", (), dict(k=1))
def read(): return A.k

=== dict views [K]: {"a": 1}.items() => {"a": 2}.items()
K = {"a": 1}.items()
def read(): return list(K)
"""
