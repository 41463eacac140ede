"""Stages and pipelines as values: the grammar, editing, printing, and what is refused."""

import itertools
import json
import re

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdm


def read(path="x"):
    return fdm.Table({"x": [path]})


def refine(upstream, *, limit=0):
    return upstream


def tally(source):
    return {"n": len(source)}


def scale(item, *, factor=1.0):
    return item


def crop(item, *, size):
    return item


def halves(source):
    return {"a": range(len(source) // 2), "b": range(len(source) // 2, len(source))}


ONE_OF_EACH = {
    "f": fdm.fetch(tally),
    "c": fdm.clean(refine),
    "l": fdm.load(refine),
    "s": fdm.split({"train": 0.5, "val": None}),
    "d": fdm.fold(3, 0),
    "a": fdm.alias(predict="val"),
    "m": fdm.measure(tally).on("train"),
    "h": fdm.shuffle(),
    "w": fdm.sample("weight"),
    "k": fdm.take(3),
    "t": fdm.transform(scale),
    "b": fdm.batch(2),
    "x": fdm.transfer(),
}
GRAMMAR = r"f?c*l?[sda]*m*[hwk]*t*b?t*x?t*"


@given(st.text("fclsdamhwktbx", max_size=7))
def test_stages_stand_in_the_order_of_the_grammar(word):
    legal = re.fullmatch(GRAMMAR, word) is not None
    try:
        p = fdm.pipeline(*(ONE_OF_EACH[letter] for letter in word))
    except fdm.PipelineError:
        assert not legal
    else:
        assert legal
        assert tuple(ONE_OF_EACH[letter] for letter in word) == p.stages


@given(st.lists(st.sampled_from("lsmhtbxt"), max_size=6), st.integers(0, 6))
def test_pipelines_compose_by_splicing(word, cut):
    stages = [ONE_OF_EACH[letter] for letter in sorted(word, key="lsmhtbx".index)]
    stages = list(dict.fromkeys(stages))
    whole = fdm.pipeline(*stages, seed=5)
    assert whole == fdm.pipeline(fdm.pipeline(*stages[:cut], seed=5), fdm.pipeline(*stages[cut:], seed=7))
    assert whole == fdm.pipeline(fdm.pipeline(*stages[:cut]), *stages[cut:], seed=5)


def test_the_seed_is_the_outer_calls_or_the_first_spliced_or_zero():
    part = fdm.pipeline(fdm.shuffle(), seed=3)
    assert [0, 3, 4, 3] == [
        fdm.pipeline(fdm.shuffle()).seed,
        fdm.pipeline(part, fdm.batch(2)).seed,
        fdm.pipeline(part, fdm.batch(2), seed=4).seed,
        fdm.pipeline(part, fdm.pipeline(fdm.batch(2), seed=9)).seed,
    ]


def test_counts_and_fractions_are_different_values():
    values = [fdm.take(1), fdm.take(1.0), fdm.split({"a": 1}), fdm.split({"a": 1.0})]
    assert 4 == len(set(values))
    assert all(one != other for one, other in itertools.combinations(values, 2))


def test_stages_and_pipelines_are_frozen():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        fdm.batch(2).size = 3
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        fdm.pipeline().seed = 3


P = fdm.pipeline(
    fdm.load(read, path="y"),
    fdm.split({"train": 0.9, "val": None}, seed=42),
    fdm.measure(tally).on("train"),
    fdm.shuffle().on("train"),
    fdm.transform(scale, factor=fdm.fact("n")),
    fdm.batch(32),
    fdm.batch(64).on("val"),
    fdm.transform(crop, size=2).on("train", "val"),
    fdm.transfer(),
    seed=7,
)


def test_a_pipeline_prints_as_a_numbered_table():
    assert """\
0 load       test_pipeline.read(path='y')
1 split      train=0.9, val=rest, seed=42
2 measure    test_pipeline.tally()                  on train
3 shuffle                                           on train
4 transform  test_pipeline.scale(factor=fact('n'))
5 batch      32
6 batch      64                                     on val
7 transform  test_pipeline.crop(size=2)             on train, val
8 transfer
seed 7""" == str(P)


def test_a_pipeline_describes_itself_as_plain_json():
    described = fdm.describe(P)
    assert json.loads(json.dumps(described)) == described
    assert 7 == described["seed"]
    assert {
        "stage": "transform",
        "function": "test_pipeline.scale",
        "params": {"factor": {"fact": "n"}},
    } == described["stages"][4]


def test_replace_puts_a_stage_in_place_of_the_one_of_its_kind_or_function():
    assert fdm.shuffle(seed=1) == fdm.replace(P, fdm.shuffle(seed=1)).stages[3]
    assert fdm.transform(crop, size=5) == fdm.replace(P, fdm.transform(crop, size=5)).stages[7]
    assert (256, 64) == tuple(stage.size for stage in fdm.replace(P, fdm.batch(256)).stages[5:7])
    assert (32, 8) == tuple(stage.size for stage in fdm.replace(P, fdm.batch(8).on("val")).stages[5:7])
    assert (9, P.stages) == (fdm.replace(P, seed=9).seed, fdm.replace(P, seed=9).stages)
    assert P == fdm.replace(P)


def test_replace_lists_the_candidates_where_several_could_be_meant():
    p = fdm.pipeline(fdm.transform(scale, factor=1).on("a"), fdm.transform(scale, factor=2).on("b"))
    with pytest.raises(fdm.PipelineError, match=r"several stages: 0 transform .*factor=1.*1 transform .*factor=2"):
        fdm.replace(p, fdm.transform(scale, factor=3))
    with pytest.raises(fdm.PipelineError, match=r"no transform halves.*transform scale, transform scale"):
        fdm.replace(p, fdm.transform(halves))


def test_without_drops_stages_by_kind_or_function_name():
    assert ["load", "split", "measure", "transform", "transform", "transfer"] == [
        stage.kind for stage in fdm.without(P, "shuffle", "batch").stages
    ]
    assert fdm.without(P, "transform") == fdm.without(P, "scale", "crop")
    assert P.seed == fdm.without(P, "scale").seed
    with pytest.raises(fdm.PipelineError, match=r"named 'shufle' \(did you mean 'shuffle'\?\)"):
        fdm.without(P, "shufle")


BAD_STAGES = {
    "batch of zero": (lambda: fdm.batch(0), "size is an integer of at least 1, not 0"),
    "batch of a fraction": (lambda: fdm.batch(0.5), "size is an integer of at least 1, not 0.5"),
    "batch of a bool": (lambda: fdm.batch(True), "size is an integer of at least 1, not True"),
    "batch of text": (lambda: fdm.batch("32"), "size is an integer of at least 1, not '32'"),
    "batch ids": (lambda: fdm.batch(2, ids=""), "ids is the name of an entry"),
    "batch drop_last": (lambda: fdm.batch(2, drop_last=1), "drop_last is True or False, not 1"),
    "batch collate": (lambda: fdm.batch(2, collate=3), "batch takes a function, not 3"),
    "no splits": (lambda: fdm.split({}), "split takes sizes"),
    "a list of sizes": (lambda: fdm.split([1, 2]), "split takes sizes"),
    "split names": (lambda: fdm.split({1: 0.5, "b": None}), "the name of a split is a string, not 1"),
    "fractions over 1": (lambda: fdm.split({"a": 0.9, "b": 0.2}), "sum to 1.1, more than 1"),
    "a fraction over 1": (lambda: fdm.split({"a": 1.5}), "fractions lie in 0 to 1"),
    "fractions under 1": (lambda: fdm.split({"a": 0.5, "b": 0.2}), "some examples would be in no split"),
    "nan": (lambda: fdm.split({"a": float("nan"), "b": None}), "fractions lie in 0 to 1"),
    "a negative count": (lambda: fdm.split({"a": -1, "b": None}), "a is an integer of at least 0, not -1"),
    "two rests": (lambda: fdm.split({"a": None, "b": None}), "only one split can take the rest"),
    "key with counts": (lambda: fdm.split({"a": 5, "b": None}, key="id"), "with key, sizes are fractions"),
    "key and groups": (lambda: fdm.split({"a": 0.5, "b": None}, key="id", groups="g"), "key decides alone"),
    "function and stratify": (lambda: fdm.split(halves, stratify="y"), "a function decides alone"),
    "in order, stratified": (lambda: fdm.split({"a": None}, shuffle=False, stratify="y"), "need shuffle=True"),
    "split seed": (lambda: fdm.split({"a": None}, seed="x"), "seed is an integer, not 'x'"),
    "split of": (lambda: fdm.split({"a": None}, of=3), "of is the name of a source or split, not 3"),
    "stratify": (lambda: fdm.split({"a": None}, stratify=3), "stratify is a column name or a function"),
    "one fold": (lambda: fdm.fold(1, 0), "k is an integer of at least 2, not 1"),
    "fold beyond": (lambda: fdm.fold(5, 5), "5 is no fold of 5"),
    "negative fold": (lambda: fdm.fold(5, -1), "index is an integer of at least 0"),
    "alias of nothing": (fdm.alias, "alias takes new names"),
    "alias of a number": (lambda: fdm.alias(a=3), "a=3 is not the name of a split"),
    "take below zero": (lambda: fdm.take(-1), "at least 0, not -1"),
    "take over one": (lambda: fdm.take(1.5), "fractions lie in 0 to 1"),
    "take of None": (lambda: fdm.take(None), "at least 0, not None"),
    "sample size": (lambda: fdm.sample("w", size=-2), "size is an integer of at least 0, not -2"),
    "sample weights": (lambda: fdm.sample(None), "weights is a column name or a function"),
    "shuffle seed": (lambda: fdm.shuffle(seed=0.5), "seed is an integer, not 0.5"),
    "transfer skip": (lambda: fdm.transfer(skip="id"), "skip is a tuple of names"),
    "on nothing": (lambda: fdm.shuffle().on(), "one or more different splits"),
    "on twice": (lambda: fdm.shuffle().on("a", "a"), "one or more different splits"),
    "on a number": (lambda: fdm.shuffle().on(3), "names of splits, strings, not 3"),
    "version": (lambda: fdm.clean(read).version(2), 'takes a string such as "2", not 2'),
    "no function": (lambda: fdm.transform(3), "transform takes a function, not 3"),
    "positional": (lambda: fdm.transform(scale, 2.0), "parameters by keyword; 2.0 has no name"),
    "misspelt": (lambda: fdm.transform(scale, factr=2.0), r"no parameter 'factr' \(did you mean 'factor'\?\)"),
    "no such parameter": (lambda: fdm.clean(read, pth="x"), r"did you mean 'path'\?"),
    "lambda": (lambda: fdm.transform(lambda item: item), "importable name, not a lambda"),
    "fact": (lambda: fdm.fact(3), "fact takes the name of a fact"),
}


@pytest.mark.parametrize("make, message", BAD_STAGES.values(), ids=BAD_STAGES)
def test_a_stage_that_cannot_be_is_refused_where_it_is_made(make, message):
    with pytest.raises(fdm.PipelineError, match=message):
        make()


BAD_PIPELINES = {
    "order": ([fdm.batch(2), fdm.shuffle()], r"stage 1 \(shuffle\) comes after stage 0 \(batch\)"),
    "two transfers": ([fdm.batch(2), fdm.transfer(), fdm.transfer()], "comes after|one transfer at most"),
    "two loads": ([fdm.load(read), fdm.load(read)], "one load at most"),
    "two batches": ([fdm.batch(2), fdm.batch(3)], "stages 0 and 1 are both a batch without .on"),
    "two for val": ([fdm.batch(2).on("val"), fdm.batch(3).on("a", "val")], "both a batch for 'val'"),
    "measure of all": ([fdm.measure(tally)], "needs one split to learn from"),
    "measure of two": ([fdm.measure(tally).on("a", "b")], "needs one split to learn from"),
    "missing": ([fdm.batch(2), fdm.transform(crop)], "crop.*cannot be called as crop.*missing.*'size'"),
    "second clean": ([fdm.clean(read), fdm.clean(tally, source=1)], "multiple values for argument 'source'"),
    "no stage": ([32], "pipeline takes stages"),
    "a class": ([fdm.Table], "pipeline takes stages"),
}


@pytest.mark.parametrize("stages, message", BAD_PIPELINES.values(), ids=BAD_PIPELINES)
def test_a_pipeline_that_cannot_be_is_refused_where_it_is_made(stages, message):
    with pytest.raises(fdm.PipelineError, match=message):
        fdm.pipeline(*stages)


def test_a_batch_across_the_world_is_described_shown_and_compared_as_such():
    across, usual = fdm.batch(8, across="world"), fdm.batch(8)
    assert across != usual
    assert usual == fdm.batch(8, across="rank")
    assert {"stage": "batch", "size": 8, "drop_last": False, "across": "world"} in fdm.describe(fdm.pipeline(across))[
        "stages"
    ]
    assert "across=world" in str(fdm.pipeline(across))
    with pytest.raises(fdm.PipelineError, match=r"across is one of 'rank', 'world', not 'word' \(did you mean 'world'"):
        fdm.batch(8, across="word")


def kept(item):
    return item


WHOLE = fdm.pipeline(
    fdm.split({"train": 0.9, "val": None}), fdm.shuffle(), fdm.transform(kept), fdm.batch(8), fdm.transfer(), seed=4
)
PLACES = {
    "a clean first": (fdm.clean(kept), 0),
    "an alias behind the splits": (fdm.alias(test="val"), 1),
    "a take behind the orders": (fdm.take(10), 2),
    "a batch for one split behind the batches": (fdm.batch(2).on("val"), 4),
    "a transform on the device": (fdm.transform(kept), 5),
}


@pytest.mark.parametrize("stage, number", PLACES.values(), ids=PLACES)
def test_a_stage_is_inserted_last_in_its_place(stage, number):
    inserted = fdm.insert(WHOLE, stage)
    assert [*WHOLE.stages[:number], stage, *WHOLE.stages[number:]] == list(inserted.stages)
    assert inserted.seed == 4


def test_a_stage_is_inserted_beside_the_one_that_is_named():
    stage = fdm.take(3)
    assert 1 == fdm.insert(WHOLE, stage, before="shuffle").stages.index(stage)
    assert 2 == fdm.insert(WHOLE, stage, after="shuffle").stages.index(stage)
    assert 2 == fdm.insert(WHOLE, fdm.augment(keyed), before="kept").stages.index(fdm.augment(keyed))


def keyed(item, key):
    return item


@pytest.mark.parametrize(
    "inserted, message",
    {
        "before a split": (lambda: fdm.insert(WHOLE, fdm.take(3), before="split"), "comes after stage 0 .take."),
        "no such name": (lambda: fdm.insert(WHOLE, fdm.take(3), before="shufle"), "did you mean 'shuffle'"),
        "two of the name": (
            lambda: fdm.insert(fdm.insert(WHOLE, fdm.transform(kept)), fdm.take(3), after="kept"),
            "2 trans.*5 trans",
        ),
        "both sides": (lambda: fdm.insert(WHOLE, fdm.take(3), before="batch", after="shuffle"), "give one of them"),
        "a second transfer": (lambda: fdm.insert(WHOLE, fdm.transfer()), "one transfer at most"),
        "no stage": (lambda: fdm.insert(WHOLE, 3), "insert takes a pipeline and stages"),
        "nothing": (lambda: fdm.insert(WHOLE), "insert takes a pipeline and stages"),
        "no pipeline": (lambda: fdm.insert(fdm.take(3), WHOLE), "insert takes a Pipeline"),
        "too late for a pipeline": (lambda: fdm.pipeline(WHOLE, fdm.take(3)), "fdm.insert.pipeline, stage. puts it"),
    }.values(),
)
def test_what_cannot_be_inserted_is_told_with_the_reason(inserted, message):
    with pytest.raises(fdm.PipelineError, match=message):
        inserted()
