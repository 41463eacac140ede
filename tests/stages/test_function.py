"""Functions as values: what a stage takes, and parameters that are compared by value."""

import copy
import dataclasses
import functools
import itertools
import operator
import pickle
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm


class Color(Enum):
    RED = 1
    BLUE = 2


@attrs.frozen
class Scale:
    by: float
    more: object = None

    def __call__(self, item):
        return item * self.by


@dataclasses.dataclass(frozen=True)
class Shift:
    by: object

    def __call__(self, item):
        return item + self.by


@attrs.define
class Changeable:
    by: float = 1

    def __call__(self, item):
        return item * self.by


@dataclasses.dataclass
class Loose:
    def __call__(self, item):
        return item


class Ordinary:
    def __call__(self, item):
        return item

    def method(self, item):
        return item

    @staticmethod
    def static(item, *, by=1):
        return item * by

    @classmethod
    def of_class(cls, item, *, by=1):
        return item * by


class Normalize(torch.nn.Module):
    def __init__(self, mean):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))

    def forward(self, item, *, scale=1.0):
        return (item - self.mean) * scale


def scale(item, *, by=1, offset=0):
    return item


def crop(item, *, size):
    return item


def anything(item, **params):
    return params


def closure(by):
    def scaled(item):
        return item * by

    return scaled


def stage(value):
    return fdm.transform(scale, by=value)


NOT_NAMED = {
    "lambda": lambda item: item,
    "closure": closure(2),
    "partial": functools.partial(scale, by=2),
    "bound method": Ordinary().method,
    "bound builtin method": [].append,
    "ordinary instance": Ordinary(),
    "attrs instance that can change": Changeable(),
    "dataclass instance that can change": Loose(),
    "itemgetter": operator.itemgetter(1),
    "decorated copy": functools.wraps(scale)(closure(1)),
}


@pytest.mark.parametrize("call", NOT_NAMED.values(), ids=NOT_NAMED)
@pytest.mark.parametrize("construct", [fdm.transform, fdm.clean, fdm.fetch, fdm.load, fdm.measure, fdm.split])
def test_what_has_no_importable_name_is_refused_with_the_remedy(construct, call):
    with pytest.raises(fdm.PipelineError, match=r"importable name.*top of a module"):
        construct(call)


def test_collate_and_columns_take_named_functions_too():
    for construct in (
        lambda: fdm.batch(2, collate=lambda rows: rows),
        lambda: fdm.split({"a": None}, stratify=lambda source: source),
        lambda: fdm.sample(lambda source: source),
    ):
        with pytest.raises(fdm.PipelineError, match="importable name"):
            construct()


@pytest.mark.parametrize("call", [3, "scale", None, {"by": 2}])
def test_what_is_no_function_is_refused(call):
    with pytest.raises(fdm.PipelineError, match="takes a function"):
        fdm.transform(call)


def test_a_module_with_parameters_is_refused():
    with pytest.raises(fdm.PipelineError, match=r"Linear has parameters.*fixed function"):
        fdm.transform(torch.nn.Linear(1, 1))
    with pytest.raises(fdm.PipelineError, match="Sequential has parameters"):
        fdm.transform(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(1, 1)))


NAMED = {
    "function": scale,
    "class": Scale,
    "static method": Ordinary.static,
    "class method": Ordinary.of_class,
    "frozen attrs instance": Scale(2),
    "frozen dataclass instance": Shift(2),
    "module": torch.nn.Flatten(),
    "nested module": torch.nn.Sequential(torch.nn.ReLU(), Normalize(0.5)),
    "torch function": torch.relu,
    "numpy function": np.square,
    "numpy ufunc": np.sqrt,
    "builtin": abs,
    "method of a builtin class": str.lower,
    "method of Tensor": torch.Tensor.float,
}


@pytest.mark.parametrize("call", NAMED.values(), ids=NAMED)
def test_what_has_an_importable_name_or_a_value_makes_a_stage_that_can_be_sent(call):
    made = fdm.transform(call)
    assert made == fdm.transform(copy.deepcopy(call)) == pickle.loads(pickle.dumps(made))
    assert hash(made) == hash(pickle.loads(pickle.dumps(made)))
    assert isinstance(repr(made), str)
    assert fdm.pipeline(made) == fdm.pipeline(made)


def test_instances_and_modules_count_as_functions_of_their_value():
    for same, other in (
        ((Scale(2), Scale(2)), Scale(3)),
        ((Shift([1]), Shift([1])), Shift([2])),
        ((Shift(torch.ones(2)), Shift(torch.ones(2))), Shift(torch.zeros(2))),
        ((torch.nn.Flatten(1), torch.nn.Flatten(1)), torch.nn.Flatten(2)),
        ((Normalize(0.5), Normalize(0.5)), Normalize(0.25)),
        (
            (torch.nn.Sequential(Normalize(1.0)), torch.nn.Sequential(Normalize(1.0))),
            torch.nn.Sequential(Normalize(2.0)),
        ),
    ):
        assert fdm.transform(same[0]) == fdm.transform(same[1])
        assert fdm.transform(same[0]) != fdm.transform(other)
    assert fdm.transform(Scale(2)) != fdm.transform(Scale(2.0))
    assert fdm.transform(Scale(2)) != fdm.transform(Shift(2))


def test_a_misspelt_parameter_is_refused_with_the_nearest():
    with pytest.raises(fdm.ParameterError, match=r"no parameter 'ofset' \(did you mean 'offset'\?\)"):
        fdm.transform(scale, ofset=1)
    with pytest.raises(fdm.ParameterError, match=r"did you mean 'scale'"):
        fdm.transform(Normalize(0.0), scal=2.0)
    with pytest.raises(TypeError, match=r"scale\(item, \*, by=1, offset=0\)"):
        fdm.transform(scale, factor=1)


def test_functions_that_take_any_parameter_take_any():
    assert fdm.pipeline(fdm.transform(anything, whatever=1)) != fdm.pipeline(fdm.transform(anything, whatever=2))


@pytest.mark.parametrize("construct", [fdm.transform, fdm.fetch, fdm.measure])
def test_positional_parameters_are_refused(construct):
    with pytest.raises(fdm.PipelineError, match="by keyword"):
        construct(scale, 2)


@pytest.mark.parametrize("wrong", [fdm.transform(crop), fdm.clean(crop), fdm.measure(crop).on("all"), fdm.load(crop)])
def test_a_missing_parameter_is_refused_by_the_pipeline(wrong):
    with pytest.raises(fdm.ParameterError, match="'size'"):
        fdm.pipeline(wrong)
    assert 1 == len(fdm.pipeline(fdm.transform(crop, size=3)).stages)


def test_a_parameter_for_the_item_is_refused_by_the_pipeline():
    with pytest.raises(fdm.ParameterError, match="'item'"):
        fdm.pipeline(fdm.transform(scale, item=3))


VALUES = {
    "1": lambda: 1,
    "1.0": lambda: 1.0,
    "True": lambda: True,
    "text": lambda: "1",
    "bytes": lambda: b"1",
    "complex": lambda: 1 + 0j,
    "Decimal": lambda: Decimal(1),
    "Fraction": lambda: Fraction(1),
    "numpy int": lambda: np.int64(1),
    "numpy float": lambda: np.float32(1),
    "array": lambda: np.array([1]),
    "0-d array": lambda: np.array(1),
    "float array": lambda: np.array([1.0]),
    "tensor": lambda: torch.tensor([1]),
    "0-d tensor": lambda: torch.tensor(1),
    "float tensor": lambda: torch.tensor([1.0]),
    "bfloat tensor": lambda: torch.tensor([1.0], dtype=torch.bfloat16),
    "2-d tensor": lambda: torch.tensor([[1]]),
    "complex tensor": lambda: torch.tensor([1 + 2j]),
    "conjugate tensor": lambda: torch.tensor([1 + 2j]).conj(),
    "nan tensor": lambda: torch.tensor([float("nan")]),
    "empty tensor": lambda: torch.zeros(0),
    "empty 2-d tensor": lambda: torch.zeros(0, 3),
    "None": lambda: None,
    "text None": lambda: "None",
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "list": lambda: [1],
    "tuple": lambda: (1,),
    "set": lambda: {1},
    "nested list": lambda: [[1]],
    "list of two": lambda: [1, 2],
    "list of two, turned": lambda: [2, 1],
    "empty list": list,
    "empty dict": dict,
    "dict": lambda: {"1": 1},
    "dict with int key": lambda: {1: 1},
    "dict with bool key": lambda: {True: 1},
    "dict like an internal tag": lambda: {"int": "1"},
    "dict of list": lambda: {"1": [1, {"a": torch.ones(2)}]},
    "dict of other list": lambda: {"1": [1, {"a": torch.zeros(2)}]},
    "enum": lambda: Color.RED,
    "other enum": lambda: Color.BLUE,
    "path": lambda: PurePath("1"),
    "slice": lambda: slice(1),
    "range": lambda: range(1),
    "dtype": lambda: torch.float32,
    "numpy dtype": lambda: np.dtype("float32"),
    "device": lambda: torch.device("cpu"),
    "function": lambda: scale,
    "other function": lambda: crop,
    "class": lambda: Scale,
    "frozen instance": lambda: Scale(1),
    "other frozen instance": lambda: Shift(1),
    "frozen instance of tensor": lambda: Shift(torch.ones(1)),
    "changeable instance": Changeable,
    "module": lambda: Normalize(1.0),
    "fact": lambda: fdm.fact("1"),
    "table": lambda: fdm.Table({"x": torch.arange(3)}),
    "other table": lambda: fdm.Table({"x": torch.arange(4)}),
    "ragged": lambda: fdm.Ragged.of(["a", "b"]),
    "other ragged": lambda: fdm.Ragged.of(["ab", ""]),
    "ragged bytes": lambda: fdm.Ragged.of([b"a", b"b"]),
    "ellipsis": lambda: ...,
}


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_a_stage_is_the_value_of_its_parameters(make):
    made = stage(make())
    copies = [stage(make()), copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))]
    assert [made] * 4 == copies
    assert {hash(made)} == set(map(hash, copies))
    assert {fdm.fingerprint(fdm.pipeline(made))} == {fdm.fingerprint(fdm.pipeline(each)) for each in copies}


def test_parameters_that_differ_make_stages_that_differ():
    stages = {name: stage(make()) for name, make in VALUES.items()}
    alike = [(a, b) for a, b in itertools.combinations(stages, 2) if stages[a] == stages[b]]
    assert [] == alike
    assert len(stages) == len({fdm.fingerprint(fdm.pipeline(each)) for each in stages.values()})


def test_order_counts_in_sequences_and_not_in_sets_and_mappings():
    assert stage({"a": 1, "b": 2}) == stage({"b": 2, "a": 1})
    assert stage({"x", "y", "z"}) == stage({"z", "y", "x"})
    assert stage(["a", "b"]) != stage(["b", "a"])
    assert fdm.transform(scale, by=1, offset=2) == fdm.transform(scale, offset=2, by=1)


def test_where_a_tensor_lies_in_memory_does_not_count():
    whole = torch.arange(6).reshape(2, 3)
    assert stage(whole.T.contiguous()) == stage(whole.T)
    assert stage(whole[:, 1].clone()) == stage(whole[:, 1])
    array = np.arange(6).reshape(2, 3)
    assert stage(np.asfortranarray(array)) == stage(array) == stage(array[::-1][::-1])


@pytest.mark.parametrize(
    "value", [object(), iter([]), Ordinary(), np.array([None]), torch.nn.Linear(1, 1), [{"a": Ordinary()}]]
)
def test_a_parameter_without_a_value_is_refused_by_name_with_the_remedy(value):
    with pytest.raises(fdm.PipelineError, match=r"transform\(scale\): the parameter 'by'.*pass numbers"):
        stage(value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


def in_order(value):
    """The value with the entries of its dicts in one order, so that equal values have equal reprs."""
    match value:
        case dict():
            return dict(sorted(((key, in_order(item)) for key, item in value.items()), key=repr))
        case list() | tuple():
            return type(value)(map(in_order, value))
    return value


@given(plain, plain)
def test_plain_parameters_are_equal_exactly_when_they_are_written_equal(left, right):
    written_equal = repr(in_order(left)) == repr(in_order(right))
    assert written_equal == (stage(left) == stage(right))
    assert written_equal == (stage([left]) == stage([right])) == (stage({"k": left}) == stage({"k": right}))


@given(plain)
def test_stages_survive_pickle_and_copy(value):
    made = stage(value)
    assert made == pickle.loads(pickle.dumps(made)) == copy.deepcopy(made)
    assert hash(made) == hash(stage(copy.deepcopy(value)))


def set_first(value):
    value[0] = 9


CHANGES = {
    "list": (lambda: [1, 2], set_first),
    "nested list": (lambda: {"a": ([1, 2],)}, lambda value: value["a"][0].append(3)),
    "dict": (lambda: {"a": 1}, lambda value: value.update(b=2)),
    "set": (lambda: {1}, lambda value: value.add(2)),
    "bytearray": (lambda: bytearray(b"ab"), set_first),
    "tensor": (lambda: torch.zeros(3), set_first),
    "nested tensor": (lambda: [{"a": torch.zeros(3)}], lambda value: set_first(value[0]["a"])),
    "array": (lambda: np.zeros(3), set_first),
    "array in a tuple": (lambda: (np.zeros(3),), lambda value: set_first(value[0])),
    "tensor in a changeable instance": (lambda: Changeable(torch.zeros(3)), lambda value: set_first(value.by)),
    "tensor in a frozen instance": (lambda: Scale(torch.zeros(3)), lambda value: set_first(value.by)),
    "list in a frozen instance": (lambda: Shift([1]), lambda value: set_first(value.by)),
    "buffer of a module": (lambda: Normalize(1.0), lambda value: value.mean.fill_(2.0)),
}


@pytest.mark.parametrize("make, change", CHANGES.values(), ids=CHANGES)
def test_changing_a_parameter_afterwards_does_not_change_the_stage(make, change):
    value = make()
    made = stage(value)
    before, shown = hash(made), repr(made)
    change(value)
    assert stage(make()) == made
    assert (before, shown) == (hash(made), repr(made))
    assert stage(value) != made


INSTANCES = {
    "frozen instance": (lambda: Scale(torch.zeros(3)), lambda call: set_first(call.by)),
    "module": (lambda: Normalize(1.0), lambda call: call.mean.fill_(2.0)),
}


@pytest.mark.parametrize("make, change", INSTANCES.values(), ids=INSTANCES)
def test_changing_a_callable_afterwards_does_not_change_the_stage(make, change):
    call = make()
    made = fdm.transform(call)
    before = hash(made)
    change(call)
    assert before == hash(made)


def test_stages_and_pipelines_are_frozen():
    made = stage(1)
    with pytest.raises(AttributeError):
        made.splits = ("train",)
    with pytest.raises(AttributeError):
        made.function.params = ()
    with pytest.raises(AttributeError):
        fdm.pipeline(made).seed = 3


def whole(**changed):
    by = changed.pop("by", [1, {"a": torch.ones(2)}])
    stages = (
        fdm.clean(Ordinary.static, by=2).version("1"),
        fdm.split({"train": 0.5, "val": None}, seed=1),
        fdm.measure(anything, k=np.arange(3)).on("train"),
        fdm.shuffle().on("train"),
        fdm.transform(scale, by=by, offset=fdm.fact("k")).on("train", "val"),
        fdm.batch(2, collate=list),
    )
    return fdm.pipeline(*stages, **changed)


def test_equal_pipelines_have_equal_hashes_fingerprints_and_texts_however_they_came_about():
    p = whole(seed=3)
    made = [whole(seed=3), pickle.loads(pickle.dumps(p)), copy.copy(p), copy.deepcopy(p), fdm.pipeline(p)]
    assert [p] * 5 == made
    assert {p} == set(made)
    assert {fdm.fingerprint(p)} == set(map(fdm.fingerprint, made))
    assert {str(p)} == set(map(str, made))


def test_pipelines_that_differ_in_one_place_are_different():
    different = [whole(), whole(seed=1), whole(by=1), whole(by=[1]), fdm.without(whole(), "scale"), fdm.pipeline()]
    assert len(different) == len(set(different)) == len(set(map(fdm.fingerprint, different)))
    assert whole() != "pipeline"
    assert stage(1) != fdm.measure(scale, by=1)


def count_and_mean(source):
    return {"n": len(source), "mean": torch.tensor([1.5, 2.5])}


def numbers():
    return [1, 2, 3]


def test_facts_in_nested_containers_become_values(tmp_path):
    nested = {"list": [fdm.fact("n"), "n"], "frozen": Shift(fdm.fact("n")), "deep": ({"m": [fdm.fact("mean")]},)}
    p = fdm.pipeline(
        fdm.load(numbers),
        fdm.measure(count_and_mean).on("all"),
        fdm.batch(2),
        fdm.transform(anything, nested=nested, plain=fdm.fact("n")),
    )
    with fdm.open(p, store=tmp_path) as data:
        found = data.loader("all")[0]
    assert 3 == found["plain"]
    assert ([3, "n"], Shift(3)) == (found["nested"]["list"], found["nested"]["frozen"])
    assert [1.5, 2.5] == found["nested"]["deep"][0]["m"][0].tolist()


def test_a_fact_is_named_by_a_string():
    for name in ("", None, 3):
        with pytest.raises(fdm.PipelineError, match="fact takes the name"):
            fdm.fact(name)


def test_a_fact_that_nothing_measured_is_refused_with_the_nearest_and_the_list(tmp_path):
    measured = fdm.pipeline(fdm.load(numbers), fdm.measure(count_and_mean).on("all"))
    p = fdm.pipeline(measured, fdm.batch(2), fdm.transform(scale, by=[fdm.fact("maen")]))
    with pytest.raises(fdm.UnknownNameError, match=r"'maen'.*did you mean 'mean'.*measured: 'mean', 'n'"):
        fdm.open(p, store=tmp_path)


def make_numbers(*, upto):
    return fdm.Table({"x": torch.arange(upto)})


def test_a_fact_before_any_measure_is_refused(tmp_path):
    with pytest.raises(fdm.FdmError, match="'n'"):
        fdm.open(fdm.pipeline(fdm.clean(make_numbers, upto=fdm.fact("n"))), store=tmp_path)
