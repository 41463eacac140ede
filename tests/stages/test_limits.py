"""Limits: what a pipeline alone can tell of its splits is what they are once the data is there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdm
from fdm._splits.splits import resolve_splits
from fdm._stages.limits import branches, named_splits


NAMES = st.sampled_from(["train", "val", "test", "a", "others"])
SIZES = st.lists(NAMES, min_size=1, max_size=3, unique=True).map(
    lambda names: dict.fromkeys(names, 0) | {names[0]: None}
)


def one_part(source):
    return {"named": range(len(source))}


def three_parts(source):
    return {"train": range(1), "val": range(1, 2), "a": range(2, len(source))}


CUTS = st.lists(
    st.one_of(
        st.builds(fdm.split, SIZES, of=st.none() | NAMES),
        st.builds(fdm.split, st.sampled_from([one_part, three_parts]), of=st.none() | NAMES),
        st.builds(fdm.fold, st.just(2), st.integers(0, 1), of=st.none() | NAMES),
        st.builds(lambda new, old: fdm.alias(**{new: old}), NAMES, NAMES),
    ),
    max_size=4,
)
SOURCES = st.sets(NAMES, min_size=1, max_size=3)


@given(CUTS, SOURCES)
def test_the_splits_that_stages_name_are_those_that_the_data_has(cuts, sources):
    try:
        splits = resolve_splits(list(enumerate(cuts)), {name: range(9) for name in sorted(sources)})
    except fdm.DataError:  # such as names that clash, or of what is not there
        return
    names, is_all = named_splits(cuts)
    assert names == {name: splits[name].names for name in names}
    assert names.keys() <= splits.keys()
    if is_all:
        assert list(splits) == [name for name in splits if name in names]
    assert list(branches(cuts)) == [*names, *(["others"] if names and not is_all and "others" not in names else [])]


def anything(source):
    return {"train": range(1), "val": range(1, len(source))}


@pytest.mark.parametrize(
    "stages, there, is_all",
    [
        ([], [], False),
        ([fdm.split({"train": 0.5, "val": None})], ["train", "val"], True),
        ([fdm.split({"train": None}), fdm.split({"fit": 0.5, "val": None}, of="train")], ["fit", "val"], True),
        ([fdm.fold(5, 0), fdm.alias(test="val")], ["train", "val", "test"], True),
        ([fdm.fold(5, 0, of="a")], ["train", "val"], False),
        ([fdm.split(anything)], [], False),
        ([fdm.split({"all": None}), fdm.split(anything, of="all")], [], False),
        ([fdm.split(anything), fdm.split({"train": 0.5, "val": None})], ["train", "val"], True),
        ([fdm.alias(test="val"), fdm.shuffle().on("a")], ["val", "test", "a"], False),
    ],
)
def test_what_a_pipeline_alone_can_tell_of_its_splits(stages, there, is_all):
    names, is_known = named_splits(stages)
    assert (there, is_all) == (list(names), is_known)


def told(call):
    with pytest.raises(fdm.FdmError) as caught:
        call()
    return str(caught.value)


def numbers(n):
    return range(n)


def test_a_split_that_is_not_there_is_told_in_the_same_words_everywhere(tmp_path, monkeypatch):
    from fdm._cli.show import checked_split
    from fdm.lightning import datamodule
    from fdm.testing import examine

    p = fdm.pipeline(fdm.load(numbers, n=9), fdm.split({"train": 0.5, "val": None}), fdm.batch(2))
    words = "there is no split 'trian' (did you mean 'train'?); the splits are 'train', 'val'"
    with fdm.open(p, store=tmp_path) as data:
        calls = {
            "": lambda: data.loader("trian"),
            "--split trian: ": lambda: checked_split(data, "trian"),
            "examine: ": lambda: examine(p, splits=["trian"]),
            "stage 3 (take): ": lambda: fdm.open(
                fdm.pipeline(p.stages[0], p.stages[1], fdm.shuffle(), fdm.take(2).on("trian"))
            ),
            "train='trian': ": lambda: datamodule(p, train="trian"),
        }
        assert {prefix: f"{prefix}{words}" for prefix in calls} == {
            prefix: told(call) for prefix, call in calls.items()
        }
        for method in (data.dataset, data.indices, data.epochs):
            assert words == told(lambda method=method: method("trian"))
    for stage in (fdm.alias(test="trian"), fdm.split({"a": None}, of="trian"), fdm.fold(2, 0, of="trian")):
        assert words == told(lambda stage=stage: fdm.open(fdm.pipeline(p.stages[0], p.stages[1], stage, fdm.batch(2))))
