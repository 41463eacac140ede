"""What newcomers write in place of what is meant: the message names it, and what to write."""

import functools

import numpy as np
import pytest
import torch

import fdm


class Rows:
    def __init__(self, n=2):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return {"x": torch.zeros(index % 2 + 1)}

    def changed(self, item):
        return item


class Picture:
    """As an image of PIL is to torch."""


def scaled(item, *, by=1):
    return item


def generated():
    return (number for number in range(3))


def dataset():
    return Rows()


def listed():
    return [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: fdm.transform(Rows().changed), "'changed', a bound method of Rows.* make Rows a frozen dataclass with __call__"),
        (lambda: fdm.transform(functools.partial(scaled, by=2)), r"functools.partial, .* write fdm.transform\(scaled, by=\.\.\.\)"),
        (lambda: fdm.pipeline(fdm.load(Rows), fdm.shuffle, fdm.batch(2)), r"call it: fdm.shuffle\(\)"),
        (lambda: fdm.pipeline(fdm.load(Rows), fdm.batch), r"call it: fdm.batch\(\.\.\.\)"),
        (lambda: fdm.load(Rows(7)), r"pass what makes it: fdm.load\(Rows, name=value\)"),
        (lambda: fdm.split({"train": "80%"}), r"train='80%' .* a count \(int\), a fraction \(float\) or None"),
    ],
)  # fmt: skip
def test_what_is_no_stage_is_told_with_what_to_write(make, message):
    with pytest.raises(fdm.PipelineError, match=message):
        make()


@pytest.mark.parametrize(
    "stage, message",
    [
        (fdm.clean(dataset), "not a Rows.*a dataset .* goes into fdm.load"),
        (fdm.clean(generated), "row 0 is .* dicts that name their values"),
        (fdm.load(generated), "returned a generator, which has no order"),
    ],
)
def test_what_is_no_table_or_source_is_told_with_the_remedy(stage, message, tmp_path):
    with pytest.raises(fdm.DataError, match=message):
        fdm.open(fdm.pipeline(stage, fdm.batch(2)), store=tmp_path)


EXAMPLES = {
    "lengths": ([{"x": torch.zeros(1)}, {"x": torch.zeros(2)}], r"entry 'x' .* shape \(1,\) in example 0 .*, and \(2,\) in example 1; .*fdm.Ragged.*padded.*collate=fn"),
    "arrays": ([{"x": np.zeros(1)}, {"x": np.zeros(2)}], r"entry 'x' .* shape \(1,\)"),
    "lists": ([{"x": [1]}, {"x": [1, 2]}], r"entry 'x' .* 1 values in example 0 .* 2 in example 1; .*fdm.Ragged"),
    "bare": ([torch.zeros(1), torch.zeros(2)], r"an example has shape \(1,\)"),
    "inner": ([{"x": {"y": torch.zeros(1)}}, {"x": {"y": torch.zeros(2)}}], r"entry 'x'\['y'\] of the examples has shape"),
    "pair": ([(1, None), (2, None)], r"entry \[1\] of the examples is None in example 0"),
    "none": ([{"x": 1}, {"x": None}], "entry 'x' of the examples is None in example 1 .*fdm.transform"),
    "picture": ([{"x": Picture()}] * 2, "entry 'x' .* is a tests.test_messages.Picture|entry 'x' .*Picture in example 0"),
    "lacking": ([{"x": 1, "y": 1}, {"x": 2}], "entry 'y' of the examples is not in example 1 of the batch, which has 'x'"),
    "kinds": ([{"x": 1}, {"x": "a"}], "entry 'x' .* int in example 0 .* str in example 1"),
}  # fmt: skip


def of_kind(*, kind):
    return EXAMPLES[kind][0]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_examples_that_make_no_batch_are_told_by_entry_and_example_with_the_remedy(kind):
    with (
        fdm.open(fdm.pipeline(fdm.load(of_kind, kind=kind), fdm.batch(2))) as data,
        pytest.raises(fdm.DataError, match=EXAMPLES[kind][1]) as caught,
    ):
        next(iter(data.loader("all", epoch=0)))
    assert "examples 0, 1" in caught.value.__notes__[-1]
