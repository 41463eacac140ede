"""Mixtures in whole pipelines: each batch is what the parts alone have, one after the other, in their shares."""

import pickle
from collections import Counter
from fractions import Fraction
from itertools import chain

import pytest
import torch
from composed import column, for_ever, jitter_into, plain, several, steps_of
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import fdm


SIZES = {"a": 11, "b": 30, "c": 1, "d": 70}


def zeroed(item, *, name):
    return {**item, name: torch.zeros(len(item["row"]) if item["row"].ndim else (), dtype=torch.int64)}


def in_epochs(p, split, epochs, world, *names):
    """The rows of some epochs, of all ranks in the order of the global steps."""
    return [row for epoch in range(epochs) for row in column(steps_of(p, split, epoch, world), *names)]


def as_the_parts_alone(front, mix, back, *names, epochs=2, world=1):
    """Assert that a mixture is its parts' own examples in turn: draw j of a part is the j-th of the part's endless epochs."""
    with (
        fdm.open(fdm.pipeline(*front, *back, seed=5)) as alone,
        fdm.open(fdm.pipeline(*front, mix, *back, seed=5)) as data,
    ):
        parts = [for_ever(alone, part, *names) for part in data.origins("train")]
        rows = in_epochs(data.pipeline, "train", epochs, world, "domain", *names)
        assert len(rows) == epochs * data.splits["train"]
        for number, (part, *entries) in enumerate(rows):
            assert tuple(entries) == next(parts[part]), f"position {number} of the run, of part {part}"
    return [row[0] for row in rows]


def stray(parts, shares, position):
    """How far the counts of parts are from their exact shares of the first positions of the run."""
    counts, whole = Counter(parts[:position]), sum(shares)
    return max(abs(counts[part] - Fraction(position) * share / whole) for part, share in enumerate(shares))


ORDERS = {
    "natural": ([], "rows"),
    "shuffled": ([fdm.shuffle()], "rows"),
    "taken": ([fdm.shuffle(), fdm.take(0.4).on("b", "d"), fdm.take(3).on("a")], "rows"),
    "taken, then shuffled": ([fdm.take(5), fdm.shuffle(seed=9).on("b")], "rows"),
    "sampled": ([fdm.sample("weight").on("b"), fdm.sample("weight", 4).on("a"), fdm.shuffle()], "rows"),
    "in blocks": ([fdm.shuffle(block=4, window=4, lanes=2)], "rows"),
    "packed": ([fdm.shuffle(), fdm.pack(16, "tokens")], "documents"),
    "packed into more sequences than documents": ([fdm.shuffle(), fdm.pack(2, "tokens")], "documents"),
    "packed, then taken": ([fdm.pack(9, "tokens", most=2), fdm.shuffle(), fdm.take(0.5)], "documents"),
    "joined and cut": ([fdm.pack(5, "tokens", whole=False), fdm.shuffle(block=2, window=2)], "documents"),
}


@given(st.data())
@settings(max_examples=15, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_a_mixture_is_its_parts_own_epochs_in_turn_whatever_their_orders(data):
    order, kind = ORDERS[data.draw(st.sampled_from(sorted(ORDERS)), "order")]
    sizes = {name: size for name, size in SIZES.items() if kind == "rows" or name != "c"}
    parts = data.draw(st.lists(st.sampled_from(sorted(sizes)), min_size=1, max_size=4, unique=True), "parts")
    parts = sorted({"a", *parts})
    shares = {part: data.draw(st.integers(1, 9) | st.floats(0.1, 5).map(lambda x: round(x, 2))) for part in parts}
    until = data.draw(st.sampled_from(["first", "all"]) | st.integers(1, 150), "until")
    mix = fdm.mix(shares, into="train", until=until)
    for start in sorted(data.draw(st.sets(st.integers(1, 4), max_size=2), "phases")):
        mix = mix.after(64 * start - 5, {part: data.draw(st.integers(1, 5)) for part in sorted(sizes) if part != "b"})
    world, across = data.draw(st.integers(1, 5), "world"), data.draw(st.sampled_from(["rank", "world"]))
    size = data.draw(st.integers(5, 13))
    augment = fdm.augment(jitter_into, name="jitter")
    place = data.draw(st.sampled_from(["before batch", "after batch", "on the device"]), "place")
    before = [augment] if place == "before batch" else []
    after = [fdm.transfer()] if place == "on the device" else []
    after = [] if place == "before batch" else [*after, augment]
    back = [*before, fdm.batch(size, origin="domain", across=across), *after]
    names = ["tokens", "row", "jitter"] if kind == "documents" else ["row", "x", "tokens", "text", "raw", "jitter"]
    front = [fdm.load(several, sizes=sizes, kind=kind), *order]
    as_the_parts_alone(front, mix, back, *names, world=world)


@given(shares=st.lists(st.integers(1, 40), min_size=2, max_size=4), until=st.sampled_from(["all", "first", 64, 640]))
@settings(max_examples=10, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_shares_are_exact_within_two_at_every_64_examples_of_the_run(shares, until):
    names = ["a", "b", "d", "c"][: len(shares)]
    by_name = sorted(zip(names, shares, strict=True))
    mix = fdm.mix(dict(by_name), into="train", until=until)
    p = fdm.pipeline(fdm.load(several, sizes=SIZES), fdm.shuffle(), mix, fdm.batch(50, origin="domain"))
    with fdm.open(p) as data:
        epochs = data.epochs("train")
        parts = []
        while len(parts) < 1000:
            parts += [part for batch in next(epochs) for part in batch["domain"].tolist()]
    strays = [stray(parts, [share for _, share in by_name], position) for position in range(64, len(parts), 64)]
    assert max(strays) < 2


def test_augments_of_one_function_on_different_parts_draw_as_in_the_parts_alone():
    """Of the same function a part may have more stages before than another has, and the mixture others of its own."""
    front = [fdm.load(several, sizes=SIZES), fdm.shuffle(), fdm.transform(zeroed, name="first")]
    mix = fdm.mix({"a": 1, "b": 2}, into="train")
    cut, twice = fdm.batch(9, origin="domain"), fdm.augment(jitter_into, name="second")
    first = fdm.augment(jitter_into, name="first").on("a")
    order, mixed = front[:2], front[2:]
    for back in ([*mixed, first, twice, cut], [*mixed, first, cut, twice], [*mixed, first, cut, fdm.transfer(), twice]):
        as_the_parts_alone(order, mix, back, "row", "first", "second", world=2)


@pytest.mark.parametrize("is_before", [True, False])
def test_stages_of_a_part_and_of_its_mixture_with_one_function_draw_apart(is_before):
    of_part, of_mixture = (fdm.augment(jitter_into, name=name) for name in ("first", "second"))
    order = [fdm.load(several, sizes=SIZES), fdm.shuffle(), fdm.mix({"a": 1, "b": 2}, into="train")]
    before = [fdm.transform(zeroed, name="first"), of_part.on("a")]
    place = [of_mixture.on("train"), fdm.batch(9)] if is_before else [fdm.batch(9), of_mixture.on("train")]
    rows = in_epochs(fdm.pipeline(*order, *before, *place), "train", 1, 1, "first", "second")
    assert len(set(rows)) > 9
    assert all(first != second for first, second in rows)


def test_the_same_draws_before_and_after_batch_in_a_mixture():
    front = [fdm.load(several, sizes=SIZES), fdm.shuffle(), fdm.mix({"a": 1, "b": 2}, into="train")]
    stages = [fdm.augment(jitter_into, name="first"), fdm.augment(jitter_into, name="second").on("train")]
    before = in_epochs(fdm.pipeline(*front, *stages, fdm.batch(9)), "train", 2, 1, "row", "first", "second")
    after = in_epochs(fdm.pipeline(*front, fdm.batch(9), *stages), "train", 2, 2, "row", "first", "second")
    assert sorted(before) == sorted(after)


def test_a_mixture_of_one_part_is_the_part():
    front, back = [fdm.load(several, sizes=SIZES), fdm.shuffle()], [fdm.augment(jitter_into, name="j"), fdm.batch(4)]
    alone = in_epochs(fdm.pipeline(*front, *back), "d", 3, 3, "row", "j")
    mixed = in_epochs(fdm.pipeline(*front, fdm.mix({"d": 0.3}, into="train"), *back), "train", 3, 3, "row", "j")
    assert mixed == alone


def test_only_the_proportions_of_shares_matter_and_not_their_order():
    front, back = [fdm.load(several, sizes=SIZES), fdm.shuffle()], [fdm.batch(4, origin="domain")]
    made = [
        in_epochs(fdm.pipeline(*front, fdm.mix(shares, into="train"), *back), "train", 2, 1, "domain", "row")
        for shares in ({"a": 0.3, "b": 0.7}, {"b": 7, "a": 3}, {"b": 0.35, "a": 0.15})
    ]
    assert made[0] == made[1] == made[2]


def test_takes_of_a_mixture_take_the_first_of_each_epoch_and_keep_the_draws_of_the_parts():
    front, augment = [fdm.load(several, sizes=SIZES), fdm.shuffle()], fdm.augment(jitter_into, name="j")
    mix, cut = fdm.mix({"a": 1, "b": 2}, into="train", until=25), fdm.batch(4, ids="id", origin="domain")
    takes = [fdm.take(20).on("train"), fdm.take(0.9).on("train"), fdm.take(11).on("train")]
    names = "domain", "id", "row", "j"
    for back in ([augment, cut], [cut, augment]):
        whole = [in_epochs(fdm.pipeline(*front, mix, *back), "train", 4, 1, *names)[25 * e :][:11] for e in range(4)]
        taken = in_epochs(fdm.pipeline(*front, mix, *takes, *back), "train", 4, 3, *names)
        assert taken == list(chain(*whole))


def test_aliases_of_parts_and_of_mixtures_are_what_they_stand_for():
    front = [
        fdm.load(several, sizes=SIZES),
        fdm.alias(z="a", predict="train", again="predict"),
        fdm.shuffle().on("a", "b"),
    ]
    mix, other = (fdm.mix({name: 1, "b": 2}, into="train") for name in ("a", "z"))
    cut = fdm.batch(4)
    p = fdm.pipeline(*front, mix, cut)
    train = in_epochs(p, "train", 2, 2, "row")
    assert train == in_epochs(p, "predict", 2, 2, "row") == in_epochs(p, "again", 2, 1, "row")
    rows = Counter(in_epochs(fdm.pipeline(*front, other, cut), "train", 2, 2, "row"))
    assert rows == Counter(train)  # b comes before z, and after a, so that others draw first


def test_ids_and_origins_lead_back_to_the_examples_of_the_parts():
    cuts = [fdm.split({"p": 7, "q": None}, of="d", seed=1), fdm.split({"r": 0.5, "rest": None}, of="q")]
    mix = fdm.mix({"p": 1, "r": 2, "a": 3}, into="train")
    p = fdm.pipeline(fdm.load(several, sizes=SIZES), *cuts, fdm.shuffle(), mix, fdm.batch(7, ids="id", origin="domain"))
    sources = several(sizes=SIZES)
    with fdm.open(p) as data:
        assert data.origins("train") == ("a", "p", "r")
        seen = set()
        loader = data.loader("train", epoch=0)
        for step, batch in enumerate(loader):
            assert loader.indices(step).equal(batch["id"])
            pairs = data.origin(batch["id"])
            assert [part for part, _ in pairs] == [data.origins("train")[part] for part in batch["domain"].tolist()]
            source = {"a": "a", "p": "d", "r": "d"}
            assert [int(sources[source[part]]["row"][own]) for part, own in pairs] == batch["row"].tolist()
            seen |= set(batch["id"].tolist())
        assert seen == set(data.indices("train").tolist())
        own = {part: set(data.indices(part).tolist()) for part in data.origins("train")}
        assert all(number in own[part] for part, number in data.origin(sorted(seen)))
        with pytest.raises(fdm.DataError, match="example ids 0 to"):
            data.origin(11 + 70 + 70)


def test_ids_of_a_mixture_of_packed_parts_are_those_of_the_documents():
    front = [fdm.load(several, sizes={"a": 20, "b": 33}, kind="documents"), fdm.shuffle(), fdm.pack(3, "tokens")]
    p = fdm.pipeline(*front, fdm.mix({"a": 1, "b": 1}, into="train"), fdm.batch(5, ids="id", origin="domain"))
    sources = several(sizes={"a": 20, "b": 33}, kind="documents")
    with fdm.open(p) as data:
        assert data.splits["train"] > 20 + 33
        for step, batch in enumerate(data.loader("train")):
            assert plain(data.loader("train").indices(step)) == plain(batch["id"])
            pairs = data.origin(batch["id"])
            for row, (documents, part) in enumerate(zip(pairs, batch["domain"].tolist(), strict=True)):
                assert {name for name, _ in documents} == {"ab"[part]}
                assert [int(sources[name]["row"][own]) for name, own in documents] == batch["row"][row].tolist()


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"workers": 2}, {"workers": 1, "threads": 2}])
def test_how_batches_are_made_changes_none(options):
    augments = fdm.augment(jitter_into, name="j").on("a", "b"), fdm.augment(jitter_into, name="k")
    front = [fdm.load(several, sizes={"a": 20, "b": 33}, kind="documents"), fdm.shuffle(), fdm.pack(5, "tokens")]
    mix, cut = fdm.mix({"a": 1, "b": 1}, into="train", until=50), fdm.batch(5, ids="id", origin="domain")
    p = fdm.pipeline(*front, mix, augments[0], cut, augments[1])
    names = "domain", "id", "tokens", "row", "j", "k"
    expected = [column(steps_of(p, "train", epoch), *names) for epoch in (0, 3)]
    with fdm.open(p, **options) as data:
        for epoch, rows in zip((0, 3), expected, strict=True):
            assert column([(batch,) for batch in data.loader("train", epoch=epoch)], *names) == rows


def lists(*, n):
    return {"l": [{"row": torch.tensor(i)} for i in range(n)], "t": fdm.Table({"row": torch.arange(100, 100 + n)})}


class Odd(torch.utils.data.Dataset):
    """A dataset with a state of its own, which draws from the global random state."""

    def __init__(self, n):
        self.n, self.last = n, None

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.last = index
        return {"row": torch.tensor(index), "noise": torch.rand(())}


def odd():
    return {"a": Odd(7), "b": Odd(20)}


def test_parts_may_come_from_any_source():
    as_the_parts_alone(
        [fdm.load(lists, n=9), fdm.shuffle()],
        fdm.mix({"l": 1, "t": 2}, into="train"),
        [fdm.batch(4, origin="domain")],
        "row",
        world=2,
    )


def test_sources_that_draw_do_so_as_in_the_parts_alone():
    front = [fdm.load(odd).ambient(), fdm.shuffle()]
    as_the_parts_alone(front, fdm.mix({"a": 1, "b": 2}, into="train"), [fdm.batch(4, origin="domain")], "row", "noise")


def mean_row(source):
    return {"mean": float(sum(int(source[i]["row"]) for i in range(len(source))) / len(source))}


def less(item, *, by):
    return {**item, "row": item["row"] - by}


def test_facts_of_a_part_are_for_the_stages_of_its_mixture():
    front = [fdm.load(several, sizes=SIZES), fdm.measure(mean_row).on("b")]
    mix, change = fdm.mix({"a": 1, "b": 2}, into="train"), fdm.transform(less, by=fdm.fact("mean"))
    for back in ([change.on("b"), fdm.batch(9)], [fdm.batch(9), change]):
        rows = in_epochs(fdm.pipeline(*front, mix, *back), "train", 1, 1, "row")
        assert (2000 - 2014.5,) in rows or (2001 - 2014.5,) in rows


def keep_few(examples):
    kept = [example for example in examples if example["row"] % 3]
    return {"row": torch.stack([each["row"] for each in kept]), "id": torch.stack([each["id"] for each in kept])}


def keep_few_without(examples):
    return {"row": torch.stack([example["row"] for example in examples if example["row"] % 3])}


def test_origins_follow_the_rows_that_a_collate_function_keeps():
    front = [fdm.load(several, sizes=SIZES), fdm.shuffle(), fdm.mix({"a": 1, "b": 2}, into="train")]
    p = fdm.pipeline(*front, fdm.batch(9, collate=keep_few, ids="id", origin="domain"))
    with fdm.open(p) as data:
        for batch in data.loader("train"):
            assert [row >= 2000 for row in batch["row"].tolist()] == batch["domain"].bool().tolist()
            assert [name for name, _ in data.origin(batch["id"])] == ["ab"[part] for part in batch["domain"].tolist()]
    p = fdm.pipeline(*front, fdm.batch(9, collate=keep_few_without, origin="domain"))
    with fdm.open(p) as data, pytest.raises(fdm.DataError, match="origins they have is not known"):
        list(data.loader("train"))


def test_several_mixtures_and_one_part_in_both_are_independent():
    front = [fdm.load(several, sizes=SIZES), fdm.shuffle()]
    one, two = fdm.mix({"a": 1, "b": 2}, into="one"), fdm.mix({"b": 2, "d": 1}, into="two", until=30)
    both = fdm.pipeline(*front, one, two, fdm.batch(6))
    for name, mix in (("one", one), ("two", two)):
        assert in_epochs(both, name, 2, 1, "row") == in_epochs(
            fdm.pipeline(*front, mix, fdm.batch(6)), name, 2, 2, "row"
        )


def test_loaders_of_mixtures_have_random_access_slices_and_combine():
    p = fdm.pipeline(
        fdm.load(several, sizes=SIZES),
        fdm.shuffle(),
        fdm.mix({"a": 1, "b": 2}, into="train", until=40),
        fdm.batch(6, ids="id"),
    )
    assert pickle.loads(pickle.dumps(p)) == p
    with fdm.open(p) as data:
        loader = data.loader("train", epoch=2)
        rows = [batch["row"].tolist() for batch in loader]
        assert [loader[step]["row"].tolist() for step in range(len(loader))] == rows
        assert loader[-1]["row"].tolist() == rows[-1]
        assert [batch["row"].tolist() for batch in loader[2:5]] == rows[2:5]
        assert loader[2:5].snapshot(2) == loader.snapshot(4)
        assert [int(example["row"]) for example in data.dataset("train", epoch=2)] == list(chain(*rows))
        both = fdm.combine({"mix": data.loader("train", epoch=1), "part": data.loader("d", epoch=0)}, mode="min_size")
        assert [
            step["mix"]["row"].tolist()
            for step, *_ in (batch if isinstance(batch, tuple) else (batch,) for batch in both)
        ] == [batch["row"].tolist() for batch in data.loader("train", epoch=1)]
        plan = loader.plan()
        assert (plan["steps"], plan["examples"], plan["tail"]) == (7, 40, [4])
        assert "mix" in str(data.profile("train", steps=2)) or data.profile("train", steps=2)


def test_parts_without_examples_are_refused():
    for stage in (fdm.take(0).on("a"), fdm.split({"a": 0, "rest": None}, of="d")):
        p = fdm.pipeline(
            fdm.load(several, sizes={"d": 5} if stage.kind == "split" else SIZES),
            stage,
            fdm.mix({"a": 1, **({"rest": 1} if stage.kind == "split" else {"b": 1})}, into="train"),
            fdm.batch(3),
        )
        with pytest.raises(fdm.DataError, match="'a' has no examples"), fdm.open(p):
            pass
