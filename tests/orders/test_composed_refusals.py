"""What cannot go together is refused when the pipeline is built, with the remedy; what can is not."""

import pytest

import fdm


def corpora():
    return {"a": range(10), "b": range(20), "c": range(5)}


def fact(source):
    return {"n": len(source)}


def same(batch):
    return batch


LOAD, MIX = fdm.load(corpora), fdm.mix({"a": 1, "b": 2}, into="train")
ALIAS = fdm.alias(p="train", q="p")
BLOCKS = fdm.shuffle(block=2, window=2)
REFUSED = {
    "measure a part": [[fdm.measure(fact).on("train"), MIX], [ALIAS, fdm.measure(fact).on("q"), MIX]],
    "put this stage after it": [[fdm.take(3).on("train"), MIX], [ALIAS, fdm.shuffle().on("p"), MIX]],
    "its parts, before mix": [
        [MIX, fdm.shuffle()],
        [MIX, BLOCKS],
        [MIX, fdm.pack(8, "t")],
        [MIX, fdm.sample("w").on("train")],
        [ALIAS, MIX, fdm.shuffle().on("q")],
    ],
    "put it before mix": [[MIX, fdm.shuffle().on("a")], [MIX, fdm.take(3).on("a", "c")]],
    "mix its parts": [
        [MIX, fdm.mix({"train": 1, "c": 1}, into="big")],
        [ALIAS, MIX, fdm.mix({"q": 1, "c": 1}, into="big")],
        [MIX, fdm.mix({"c": 1}, into="big").after(64, {"train": 1})],
    ],
    "made once": [[MIX, fdm.mix({"c": 1}, into="train")]],
    "already a split 'train'": [
        [fdm.split({"train": 5, "val": None}, of="a"), fdm.mix({"b": 1}, into="train")],
        [fdm.alias(train="a"), MIX],
    ],
    "pack all parts": [[fdm.pack(8, "t").on("a"), MIX]],
    r"batch\(size\) it": [[MIX, fdm.batch(8, of="t")], [ALIAS, MIX, fdm.batch(4), fdm.batch(8, alike="t").on("q")]],
    "have one length": [[fdm.pack(8, "t"), fdm.batch(4, alike="t")]],
    "pack once": [[fdm.pack(8, "t"), fdm.pack(8, "t")]],
    "put pack before it": [[fdm.sample("w"), fdm.pack(8, "t")], [fdm.shuffle(), fdm.take(3), fdm.pack(8, "t").on("a")]],
    "leave sample out": [[fdm.pack(8, "t"), fdm.sample("w")], [fdm.sample("w"), fdm.batch(8, of="t")]],
    "put take before shuffle": [[fdm.shuffle(), fdm.take(3), fdm.batch(8, of="t")]],
    "block shuffle": [
        [BLOCKS, fdm.pack(8, "t")],
        [BLOCKS, fdm.pack(8, "t", whole=False)],
        [BLOCKS, fdm.batch(8, of="t")],
    ],
    "put it before batch": [
        [MIX, fdm.batch(3), fdm.transform(same).on("a")],
        [fdm.alias(z="a"), fdm.mix({"z": 1, "b": 1}, into="train"), fdm.batch(3), fdm.transform(same).on("a")],
    ],
    "from 0 to 10": [[lambda: fdm.mix(["a", "b"], into="train", power=11)]],
    "into is the name of a new split": [
        [lambda: fdm.mix({"a": 1, "b": 1}, into="a")],
        [lambda: fdm.mix({"a": 1}, into="b").after(64, {"b": 1})],
    ],
}
ACCEPTED = [
    [MIX, fdm.shuffle().on("c")],
    [MIX, fdm.take(5)],
    [MIX, fdm.batch(4), fdm.batch(8, of="t").on("c")],
    [fdm.pack(8, "t").on("a"), fdm.batch(4, alike="t").on("b"), fdm.batch(3)],
    [fdm.sample("w").on("a"), fdm.pack(8, "t").on("b")],
    [fdm.take(3), fdm.shuffle(), fdm.pack(8, "t")],
    [fdm.shuffle(), fdm.pack(8, "t", whole=False), BLOCKS],
    [MIX, fdm.batch(3), fdm.transform(same).on("a", "train")],
    [MIX, fdm.transform(same).on("a"), fdm.batch(3)],
    [MIX, fdm.take(2).on("b"), fdm.mix({"b": 1, "c": 1}, into="other")],
]


@pytest.mark.parametrize(
    "remedy, stages", [(remedy, stages) for remedy, several in REFUSED.items() for stages in several]
)
def test_what_cannot_go_together_is_refused_when_it_is_built(remedy, stages):
    with pytest.raises(fdm.PipelineError, match=remedy):
        fdm.pipeline(LOAD, *(stage() if callable(stage) else stage for stage in stages))


@pytest.mark.parametrize("stages", ACCEPTED)
def test_what_can_go_together_is_accepted(stages):
    assert fdm.pipeline(LOAD, *stages)


def test_a_mixture_named_as_a_source_or_of_no_split_is_refused_when_it_is_opened():
    for mix, error in (
        (fdm.mix({"a": 1}, into="c"), fdm.DataError),
        (fdm.mix({"x": 1}, into="train"), fdm.UnknownNameError),
    ):
        with pytest.raises(error, match=r"'c'|'x'"), fdm.open(fdm.pipeline(LOAD, mix, fdm.batch(2))):
            pass
    with (
        pytest.raises(fdm.DataError, match="already a split 'b'"),
        fdm.open(fdm.pipeline(LOAD, fdm.alias(b="train"), MIX, fdm.batch(2))),
    ):
        pass


def test_replacing_one_of_two_mixtures_means_the_one_of_its_name():
    p = fdm.pipeline(LOAD, MIX, fdm.mix({"b": 1, "c": 1}, into="other"), fdm.batch(2))
    q = fdm.replace(p, fdm.mix({"b": 9, "c": 1}, into="other"))
    assert [dict(mix.shares) for _, mix in q.of_kind(type(MIX))] == [{"a": 1, "b": 2}, {"b": 9, "c": 1}]
    assert str(fdm.pipeline(fdm.pack(8, "t", whole=False))).startswith("0 pack  8, column=t, whole=False")
