"""Values as parameters: what differs in behaviour differs in the fingerprint, and what has no value is refused."""

import collections
import dataclasses
import datetime as dt
import enum
import functools
import itertools
import operator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import pytest
import torch

import fdm


def read(*, value):
    return value


class Text(str):
    __slots__ = ()


class Count(int):
    pass


class Words(list):
    pass


class Table(dict):
    pass


class Kind(enum.Enum):
    ONE = 1


class Other(enum.Enum):
    ONE = 1


class Number(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass(frozen=True)
class Config:
    k: int
    hidden: int = dataclasses.field(default=0, compare=False, repr=False)


@attrs.frozen
class Setting:
    k: int
    _hidden: int = attrs.field(default=0, eq=False, repr=False)
    late: int = attrs.field(init=False, default=0)


class Module(torch.nn.Module):
    def __init__(self, k, buffer=None):
        super().__init__()
        self._k = k
        self.register_buffer("b", buffer)


def hooked(k):
    module = torch.nn.Identity()
    module.register_forward_hook(k)
    return module


def hook(*_):
    return 1


class Pair(NamedTuple):
    a: int
    b: int


class Twin(NamedTuple):
    a: int
    b: int


DIFFERENT = {
    "numbers": [
        1,
        1.0,
        True,
        "1",
        b"1",
        1 + 0j,
        None,
        Decimal(1),
        Fraction(1),
        np.int64(1),
        np.int32(1),
        np.float64(1),
    ],
    "more numbers": [
        np.float32(1),
        np.bool_(True),
        np.str_("1"),
        np.bytes_(b"1"),
        Count(1),
        Number.ONE,
        Kind.ONE,
        Other.ONE,
    ],
    "floats": [0.0, -0.0, float("nan"), float("inf"), float("-inf"), 5e-324, -0j, complex(-0.0, 0.0)],
    "texts": ["a", "A", "a\x00", "a ", Text("a"), b"a", bytearray(b"a"), Path("a"), "é", "e\u0301", "\ud800"],
    "paths": [Path("a/b"), Path("/a/b"), PurePosixPath("a"), Path("..")],
    "times": [
        dt.date(2020, 1, 1),
        dt.datetime(2020, 1, 1),  # noqa: DTZ001 - without a zone is a kind of its own
        dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        dt.datetime(2020, 1, 1, tzinfo=ZoneInfo("UTC")),
        dt.datetime(2020, 1, 1, fold=1, tzinfo=dt.UTC),
        dt.time(0),
        dt.timedelta(0),
        np.datetime64("2020-01-01"),
        np.datetime64("2020-01-01", "s"),
    ],
    "sequences": [
        [1, 2],
        [2, 1],
        (1, 2),
        Words([1, 2]),
        Pair(1, 2),
        Twin(1, 2),
        range(1, 3),
        collections.deque([1, 2]),
    ],
    "more sequences": [
        collections.deque([1, 2], 2),
        {1, 2},
        frozenset({1, 2}),
        [[1], 2],
        [1, [2]],
        [1, 2, None],
        torch.Size([1, 2]),
    ],
    "mappings": [
        {"a": 1, "b": 2},
        {"b": 2, "a": 1},
        Table(a=1, b=2),
        collections.OrderedDict(a=1, b=2),
        collections.Counter(a=1, b=2),
        collections.defaultdict(int, a=1, b=2),
        collections.defaultdict(float, a=1, b=2),
        [("a", 1), ("b", 2)],
        {"a": 1, "b": True},
    ],
    "arrays": [
        np.array([1, 2]),
        np.array([1, 2], np.int32),
        np.array([1, 2], ">i8"),
        np.array([[1, 2]]),
        np.array([1.0, 2.0]),
        np.array([1, 2], "M8[s]"),
        np.array(["1", "2"]),
        np.array([(1, 2)], [("a", "i8"), ("b", "i8")]),
        np.array([(1, 2)], [("b", "i8"), ("a", "i8")]),
        np.array([1, 2]).view(np.recarray),
        torch.tensor([1, 2]),
    ],
    "no dimension": [np.array(1), np.array([1]), np.int64(1), torch.tensor(1), torch.tensor([1])],
    "tensors": [
        torch.tensor([1.0, 2.0]),
        torch.tensor([1.0, 2.0]).to(torch.bfloat16),
        torch.tensor([1.0, 2.0]).to(torch.float8_e5m2),
        torch.tensor([1j, 2.0]),
        torch.tensor([1j, 2.0]).conj(),
        torch.tensor([1.0, float("nan")]),
        torch.tensor([1.0, -0.0]),
        torch.tensor([1.0, 0.0]),
        torch.zeros(0),
        torch.zeros(0, 1),
        torch.ones(2, dtype=torch.bool),
    ],
    "types": [
        int,
        np.int64,
        np.dtype("int64"),
        torch.int64,
        "int64",
        torch.device("cpu"),
        torch.strided,
        torch.channels_last,
    ],
    "records": [Config(1), Config(2), Config(1, 3), Setting(1), Setting(1, 3), Setting(2)],
    "functions": [
        len,
        max,
        read,
        np.add,
        np.subtract,
        str.upper,
        functools.partial(read, value=1),
        functools.partial(read, value=2),
    ],
    "getters": [
        operator.itemgetter(1),
        operator.itemgetter(1, 2),
        operator.attrgetter("a"),
        operator.methodcaller("a", 1),
    ],
    "bound": ["a".join, "b".join, [1].index, {"a": 1}.get],
    "modules": [
        Module(1),
        Module(2),
        Module(1, torch.zeros(1)),
        Module(1, torch.ones(1)),
        Module(1).eval(),
        torch.nn.Sequential(Module(1), Module(2)),
        torch.nn.Sequential(Module(2), Module(1)),
        torch.nn.Identity(),
        hooked(hook),
        hooked(read),
    ],
    "slices": [slice(1), slice(1, None), slice(0, 1), slice(None, None, 2)],
}


@pytest.mark.parametrize("values", DIFFERENT.values(), ids=DIFFERENT)
def test_values_that_behave_differently_have_different_fingerprints(values):
    stages = [
        fdm.clean(read, value=value) if not callable(value) or isinstance(value, type) else held(value)
        for value in values
    ]
    prints = [fdm.fingerprint(fdm.pipeline(stage)) for stage in stages]
    for (left, one), (right, other) in itertools.combinations(zip(values, prints, strict=True), 2):
        assert one != other, (left, right)
    assert prints == [fdm.fingerprint(fdm.pipeline(stage)) for stage in stages]


def held(value):
    """A stage that holds a function, where a function alone has to be importable."""
    return fdm.clean(read, value=Holder(value))


@dataclasses.dataclass(frozen=True)
class Holder:
    value: object


EQUAL = {
    "layout of an array": [np.array([[1, 2], [3, 4]], order="C"), np.array([[1, 2], [3, 4]], order="F")],
    "view of a tensor": [torch.arange(6)[::2], torch.tensor([0, 2, 4])],
    "negative view": [torch.tensor([1j]).conj().imag, torch.tensor([-1.0])],
    "sets": [{"a", "b", "c"}, {"c", "b", "a"}],
}


@pytest.mark.parametrize("left, right", EQUAL.values(), ids=EQUAL)
def test_values_that_behave_alike_have_one_fingerprint(left, right):
    one, other = (fdm.pipeline(fdm.clean(read, value=value)) for value in (left, right))
    assert one == other
    assert fdm.fingerprint(one) == fdm.fingerprint(other)


def test_mappings_are_equal_in_any_order_but_who_reads_them_in_order_is_not_served_the_other():
    one, other = (fdm.pipeline(fdm.clean(read, value=value)) for value in ({"a": 1, "b": 2}, {"b": 2, "a": 1}))
    assert (one, hash(one)) == (other, hash(other))
    assert fdm.fingerprint(one) != fdm.fingerprint(other)


class Zone(dt.tzinfo):
    pass


REFUSED = {
    "masked array": (np.ma.array([1, 2], mask=[0, 1]), "mask would be lost.*filled"),
    "masked array in a container": ({"a": [np.ma.array([1])]}, "mask would be lost"),
    "array of objects": (np.array([1], object), "dtype object"),
    "sparse": (torch.tensor([1, 0]).to_sparse(), "sparse_coo.*to_dense"),
    "meta": (torch.empty(1, device="meta"), "a meta tensor.*device"),
    "generator": (torch.Generator(), "cannot be compared by value"),
    "random state": (np.random.default_rng(0), "cannot be compared by value"),
    "iterator": (iter([1]), "cannot be compared by value"),
    "instance": (object(), "cannot be compared by value"),
    "zone": (dt.datetime(2020, 1, 1, tzinfo=Zone()), "cannot be compared by value"),
    "module with a lock": (Module(object()), r"Module\._k: .*cannot be compared by value"),
    "record with an instance": (Config(object()), r"Config\.k: .*cannot be compared by value"),
    "vectorised": (Holder(np.vectorize(read)), "vectorize cannot be compared by value"),
    "ufunc": (Holder(np.frompyfunc(read, 1, 1)), "ufunc cannot be compared by value"),
}


@pytest.mark.parametrize("value, message", REFUSED.values(), ids=REFUSED)
@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_what_has_no_value_is_refused_with_its_name(value, message):
    with pytest.raises(fdm.PipelineError, match=rf"'value' cannot be compared by value: .*{message}"):
        fdm.clean(read, value=value)
