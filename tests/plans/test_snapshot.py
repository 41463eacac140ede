"""The laws of snapshots: small plain values that fit one order and no other."""

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdm
from fdm._plans.plan import order_entries
from fdm._plans.snapshot import check_same_order, order_fingerprint, order_stages
from fdm._splits.splits import resolve_splits
from fdm._stages.stage import Alias, Fold, Split


def numbers(*, n=100, path=""):
    return list(range(n))


def halves(source):
    return {"train": range(len(source) // 2), "val": range(len(source) // 2, len(source))}


def by_tens(source):
    return [index // 10 for index in range(len(source))]


def doubled(item):
    return item


def snapshot_of(p, split="train", source=range(100), epoch=0, examples=0):
    """The snapshot that a loader of `split` takes."""
    sources = source if isinstance(source, dict) else {"all": source}
    found = resolve_splits(list(p.of_kind(Split, Fold, Alias)), sources)[split]
    entries = order_entries(p, found, len(sources[found.source]), {})
    return fdm.Snapshot(order_fingerprint(entries), split, epoch, examples, order_stages(entries, split))


def check(snapshot, other):
    check_same_order(snapshot, other.fingerprint, other.stages)


def size_of(snapshot):
    return len(json.dumps(snapshot.to_dict()).encode())


PARTS = fdm.load(numbers), fdm.split({"train": 80, "val": None}), fdm.shuffle().on("train"), fdm.take(50)
P = fdm.pipeline(*PARTS, fdm.batch(4), seed=3)
PLAIN = snapshot_of(P, epoch=2, examples=40).to_dict()

texts = st.text(max_size=60)
snapshots = st.builds(
    fdm.Snapshot,
    st.text("0123456789abcdef", min_size=32, max_size=32),
    texts,
    st.integers(0, 10**9),
    st.integers(0, 10**15),
    st.lists(texts, max_size=20).map(tuple),
)


# As plain values


@given(snapshots)
def test_a_snapshot_survives_the_way_through_json(snapshot):
    back = fdm.Snapshot.from_dict(json.loads(json.dumps(snapshot.to_dict())))
    assert snapshot == back
    assert hash(snapshot) == hash(back)
    assert snapshot.to_dict() == back.to_dict()


@given(snapshots, snapshots)
def test_snapshots_are_equal_exactly_when_their_plain_values_are(left, right):
    assert (left == right) == (left.to_dict() == right.to_dict())


def test_plain_values_are_not_shared_with_the_snapshot():
    snapshot = snapshot_of(P)
    snapshot.to_dict()["stages"].clear()
    assert snapshot_of(P) == snapshot


@pytest.mark.parametrize("count", [0, 1, 5, 18, 19, 20, 60, 500])
def test_a_snapshot_of_many_stages_stays_below_a_kilobyte(count):
    p = fdm.pipeline(*PARTS, *[fdm.shuffle(seed=10**18 + number) for number in range(count)])
    assert size_of(snapshot_of(p, epoch=10**9, examples=10**15)) < 1000


NAMES = {
    "long": "x" * 200,
    "umlauts": "ä" * 60,
    "chinese": "训练集" * 20,
    "emoji": "🚂" * 30,
    "quotes": '"' * 60,
    "backslashes": "\\" * 60,
    "newlines": "\n" * 60,
    "escapes": "\x1b" * 40,
}


@pytest.mark.parametrize("count", [0, 3, 60])
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_snapshot_with_any_names_stays_below_a_kilobyte(name, count):
    into = {name: 0.5, f"{name}2": None}
    p = fdm.pipeline(fdm.load(numbers, path=name), fdm.split(into), *[fdm.shuffle(seed=i) for i in range(count)])
    snapshot = snapshot_of(p, name, {name: range(100)}, epoch=10**6, examples=10**12)
    assert size_of(snapshot) < 1000
    assert snapshot == fdm.Snapshot.from_dict(json.loads(json.dumps(snapshot.to_dict())))


long_texts = st.builds(str.__mul__, st.text('a"\\\n\x1bä🚂', max_size=5), st.integers(0, 60))
digests = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(st.lists(st.tuples(long_texts, digests), max_size=60))
def test_whatever_stages_say_a_snapshot_stays_below_a_kilobyte(entries):
    snapshot = fdm.Snapshot(order_fingerprint(entries), "train", 10**6, 10**12, order_stages(entries, "train"))
    assert size_of(snapshot) < 1000


@pytest.mark.parametrize("name", PLAIN)
def test_a_missing_entry_is_refused_by_name(name):
    with pytest.raises(fdm.SnapshotError, match=f"missing or unknown: {name}$"):
        fdm.Snapshot.from_dict({key: value for key, value in PLAIN.items() if key != name})


@pytest.mark.parametrize("name", ["step", "", 3])
def test_an_unknown_entry_is_refused_by_name(name):
    with pytest.raises(fdm.SnapshotError, match=f"missing or unknown: {name}$"):
        fdm.Snapshot.from_dict({**PLAIN, name: 1})


@pytest.mark.parametrize("name", ["epoch", "examples"])
@pytest.mark.parametrize("value", [-1, "1", 1.0, True, None, [1]])
def test_a_number_that_cannot_be_is_refused_by_name(name, value):
    with pytest.raises(fdm.SnapshotError, match=f"the snapshot's {name} is"):
        fdm.Snapshot.from_dict({**PLAIN, name: value})


@pytest.mark.parametrize("name", ["fingerprint", "split"])
@pytest.mark.parametrize("value", [1, None, ["train"], b"train"])
def test_a_text_that_cannot_be_is_refused_by_name(name, value):
    with pytest.raises(fdm.SnapshotError, match=f"the snapshot's {name} is"):
        fdm.Snapshot.from_dict({**PLAIN, name: value})


@pytest.mark.parametrize("value", ["shuffle", None, {}, [1], [["shuffle"]], ["shuffle", None]])
def test_stages_that_cannot_be_are_refused(value):
    with pytest.raises(fdm.SnapshotError, match="the snapshot's stages is"):
        fdm.Snapshot.from_dict({**PLAIN, "stages": value})


@pytest.mark.parametrize("value", [0, 2, -1, "1", None, 1.5])
def test_another_version_is_refused_with_both(value):
    with pytest.raises(fdm.SnapshotError, match=r"of version .*; this fdm reads version 1"):
        fdm.Snapshot.from_dict({**PLAIN, "version": value})


@pytest.mark.parametrize("value", [True, 1.0])
def test_a_version_of_another_type_is_refused(value):
    with pytest.raises(fdm.SnapshotError, match="version"):
        fdm.Snapshot.from_dict({**PLAIN, "version": value})


@pytest.mark.parametrize("plain", [None, [], "{}", 3, snapshot_of(P)])
def test_what_is_no_mapping_is_refused(plain):
    with pytest.raises(fdm.SnapshotError, match="a snapshot is a mapping"):
        fdm.Snapshot.from_dict(plain)


# Of one order and no other


@pytest.mark.parametrize(
    "same",
    [
        fdm.replace(P, fdm.batch(9)),
        fdm.replace(P, fdm.batch(9, drop_last=True, ids="id")),
        fdm.without(P, "batch"),
        fdm.replace(P, fdm.shuffle(seed=3).on("train")),  # the seed that it had from the pipeline
        fdm.pipeline(P, fdm.transform(doubled), fdm.transfer()),
        fdm.pipeline(*PARTS[:3], fdm.shuffle(seed=4).on("val"), *PARTS[3:], seed=3),
        fdm.pipeline(*PARTS[:2], fdm.alias(predict="val"), *PARTS[2:], seed=3),
        fdm.pipeline(*PARTS[:2], fdm.split({"a": 5, "b": None}, of="val"), *PARTS[2:], seed=3),
        fdm.pipeline(*PARTS[:2], fdm.shuffle(), *PARTS[3:], seed=3),
    ],
)
def test_what_does_not_decide_the_order_does_not_change_the_snapshot(same):
    assert snapshot_of(P) == snapshot_of(same)
    check(snapshot_of(P), snapshot_of(same))


@pytest.mark.parametrize(
    "other, ours, theirs",
    [
        (fdm.replace(P, seed=4), "shuffle seed=4", "shuffle seed=3"),
        (fdm.replace(P, fdm.take(60)), "take 60", "take 50"),
        (fdm.replace(P, fdm.take(0.5)), "take 0.5", "take 50"),
        (fdm.replace(P, fdm.load(numbers, n=99)), "load .*n=99", r"load .*numbers\(\)"),
        (fdm.replace(P, fdm.split({"train": 80, "val": None}, seed=1)), "split .*seed=1", "split .*seed=0"),
        (fdm.replace(P, fdm.split({"train": 70, "val": None})), "train=70", "train=80"),
        (fdm.replace(P, fdm.split({"train": 80, "val": 20})), "val=20", "val=rest"),
        (fdm.replace(P, fdm.split(halves)), "halves", "train=80"),
        (fdm.pipeline(*PARTS[:3], seed=3), "nothing", "take 50"),
        (fdm.pipeline(P.stages[0], *PARTS[1:2], PARTS[3], PARTS[2], seed=3), "take 50", "shuffle seed=3"),
        (fdm.pipeline(*PARTS, fdm.sample(by_tens, seed=1), seed=3), "sample .*by_tens.*seed=1", "nothing"),
    ],
)
def test_a_snapshot_of_another_order_is_refused_with_what_differs_here_and_there(other, ours, theirs):
    with pytest.raises(
        fdm.SnapshotError, match=rf"where this one has \[.*{ours}.*\], the snapshot has \[.*{theirs}.*\]"
    ):
        check(snapshot_of(P), snapshot_of(other))


@pytest.mark.parametrize("count", [5, 19, 25, 60])
@pytest.mark.parametrize("at", [0, 0.5, 1])
def test_one_stage_of_many_that_differs_is_noticed(count, at):
    stages = [fdm.shuffle(seed=number) for number in range(count)]
    changed = [
        attrs.evolve(stage, seed=99) if place == int(at * (count - 1)) else stage for place, stage in enumerate(stages)
    ]
    left, right = (snapshot_of(fdm.pipeline(*PARTS[:2], *them)) for them in (stages, changed))
    with pytest.raises(fdm.SnapshotError, match="belongs to another pipeline: where this one has"):
        check(left, right)


def test_stages_whose_text_is_cut_off_are_still_told_apart():
    into = {f"part {number}": 0.1 for number in range(10)}
    left, right = (snapshot_of(fdm.pipeline(fdm.split(into, seed=seed)), "part 3") for seed in (0, 1))
    with pytest.raises(fdm.SnapshotError, match="where this one has"):
        check(left, right)


def test_a_source_of_another_size_has_another_fingerprint():
    grown = snapshot_of(P, source=range(101))  # train has 80 examples as before, but not all the same
    assert snapshot_of(P).fingerprint != grown.fingerprint


def test_a_source_of_another_name_has_another_fingerprint():
    p = fdm.pipeline(fdm.load(numbers), fdm.split({"train": 0.5, "val": None}))  # its seed is derived from the name
    left, right = (snapshot_of(p, source={name: range(100)}) for name in ("a", "b"))
    assert left.fingerprint != right.fingerprint


def test_pipelines_seeds_that_no_stage_reads_make_no_difference():
    p = fdm.pipeline(*PARTS[:2], fdm.shuffle(seed=1))
    assert snapshot_of(p) == snapshot_of(fdm.replace(p, seed=9))


def test_where_the_stages_look_alike_the_fingerprints_are_named():
    with pytest.raises(fdm.SnapshotError, match=r"its fingerprint is aa, not bb"):
        check_same_order(fdm.Snapshot("aa", "train", 0, 0, ("shuffle #1",)), "bb", ("shuffle #1",))


def test_an_alias_has_the_fingerprint_of_what_it_stands_for():
    p = fdm.pipeline(*PARTS[:2], fdm.alias(predict="val"), fdm.shuffle())
    assert snapshot_of(p, "val").fingerprint == snapshot_of(p, "predict").fingerprint
