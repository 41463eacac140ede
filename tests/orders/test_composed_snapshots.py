"""Snapshots of mixtures, packed sequences, batches by length and block shuffles: resume anywhere, in any world."""

import json

import pytest
from composed import column, jitter_into, several, steps_of

import fdm


SIZES = {"a": 23, "b": 31, "c": 9}
ROWS, DOCUMENTS = fdm.load(several, sizes=SIZES), fdm.load(several, sizes=SIZES, kind="documents")
MIX = fdm.mix({"a": 1, "b": 2}, into="train", until=50)
AUGMENT = fdm.augment(jitter_into, name="j")
CASES = {
    "mixture": ([ROWS, fdm.shuffle(), MIX.after(64, {"c": 1, "b": 1})], "row", "j"),
    "mixture that is taken": ([ROWS, fdm.shuffle(), MIX, fdm.take(33).on("train")], "row", "j"),
    "mixture of packed parts": (
        [DOCUMENTS, fdm.shuffle(), fdm.pack(3, "tokens"), fdm.mix({"a": 1, "b": 2}, into="train", until=40)],
        "tokens",
        "j",
    ),
    "packed": ([DOCUMENTS, fdm.alias(train="b"), fdm.shuffle(), fdm.pack(12, "tokens")], "tokens", "j"),
    "joined and cut": (
        [DOCUMENTS, fdm.alias(train="b"), fdm.shuffle(), fdm.pack(5, "tokens", whole=False)],
        "tokens",
        "j",
    ),
    "in blocks": (
        [ROWS, fdm.split({"train": 27, "val": None}, of="b", block=9), fdm.shuffle(block=2, window=4, lanes=2)],
        "row",
        "j",
    ),
}


def rows_from(p, names, world, start=None):
    rows = steps_of(p, "train", 1, world, start) if start is None else steps_of(p, "train", None, world, start)
    if start is not None or p is None:
        return column(rows, *names)
    return column(rows, *names)


@pytest.mark.parametrize("case", CASES)
def test_a_run_goes_on_from_any_step_in_another_world_with_another_batch_size(case):
    front, *names = CASES[case]
    p = fdm.pipeline(*front, fdm.batch(4, ids="id"), AUGMENT)
    lanes = any(getattr(stage, "lanes", 1) > 1 for stage in front)
    whole = column(steps_of(p, "train", 1), *names)
    with fdm.open(p) as data:
        loader = data.loader("train", epoch=1)
        for step in range(len(loader)):
            plain = json.loads(json.dumps(loader.snapshot(step).to_dict()))
            assert len(json.dumps(plain)) < 1000
            start = fdm.Snapshot.from_dict(plain)
            world, size, across = step % 5 + 1, 1 + step % 3, ("rank", "world")[step % 2]
            other = fdm.pipeline(*front, fdm.batch(size * world, across=across), AUGMENT)
            rest = column(steps_of(other, "train", None, world, start), *names)
            assert (sorted(rest) if lanes else rest) == (sorted(whole[4 * step :]) if lanes else whole[4 * step :]), (
                step
            )
        after = loader.snapshot(len(loader))
        assert (after.epoch, after.examples) == (2, 0)
        assert column(steps_of(p, "train", None, 1, after), *names) == column(steps_of(p, "train", 2), *names)


@pytest.mark.parametrize("size", [fdm.batch(60, of="tokens", buckets=3), fdm.batch(8, alike="tokens", edges=(2, 5, 9))])
def test_by_length_a_run_goes_on_from_any_step_in_another_world(size):
    front = [ROWS, fdm.alias(train="b"), fdm.take(25), fdm.shuffle()]
    p = fdm.pipeline(*front, size.on("train"), AUGMENT)
    names = "row", "j"
    whole = [column([step], *names) for step in steps_of(p, "train", 1, 1)]
    with fdm.open(p) as data:
        loader = data.loader("train", epoch=1)
        assert [column([step], *names) for step in steps_of(p, "train", 1, 3)] == whole
        for step in range(len(loader) + 1):
            rest = steps_of(p, "train", None, step % 3 + 1, loader.snapshot(step))
            if step < len(loader):
                assert [column([each], *names) for each in rest] == whole[step:]
        middle, begin = loader.snapshot(1), loader.snapshot(0)
    for other in (fdm.batch(72, of="tokens", buckets=3), fdm.batch(9, alike="tokens", edges=(2, 5, 9)), fdm.batch(5)):
        with fdm.open(fdm.pipeline(*front, other.on("train"), AUGMENT)) as data:
            assert list(data.loader("train", start=begin))
            with pytest.raises(fdm.SnapshotError, match="batch"):
                data.loader("train", start=middle)
    with fdm.open(fdm.pipeline(*front, fdm.batch(4), AUGMENT)) as data:
        plain = data.loader("train", epoch=1).snapshot(1)
    with fdm.open(p) as data, pytest.raises(fdm.SnapshotError, match="batch"):
        data.loader("train", start=plain)


def mixture(*phases, until=100, power=None, shares=None):
    mix = fdm.mix(shares or {"a": 1, "b": 2}, into="train", until=until, power=power)
    for start, later in phases:
        mix = mix.after(start, later)
    return fdm.pipeline(ROWS, fdm.shuffle(), mix, fdm.batch(20, ids="id"))


def snapshot_at(p, epoch, step):
    with fdm.open(p) as data:
        return data.loader("train", epoch=epoch).snapshot(step)


def ids(p, epochs, start=None):
    with fdm.open(p) as data:
        loaders = data.epochs("train", epochs, start=start)
        return [number for loader in loaders for batch in loader for number in batch["id"].tolist()]


LATER = {"a": 3, "b": 1}
WITH_NEW = {"c": 1, "b": 1}


@pytest.mark.parametrize(
    "before, after, position",
    [
        (mixture(), mixture((128, WITH_NEW)), 120),
        (mixture(), mixture((121, LATER)), 120),  # rounded up to 128
        (mixture((128, LATER)), mixture((128, WITH_NEW)), 120),
        (mixture((128, LATER)), mixture(), 120),
        (mixture((64, LATER), (192, WITH_NEW)), mixture((64, LATER), (256, WITH_NEW), (640, {"a": 1})), 180),
        (mixture((192, WITH_NEW)), mixture((192, LATER)), 180),
    ],
)
def test_what_comes_after_a_snapshot_may_be_changed(before, after, position):
    start = snapshot_at(before, *divmod(position // 20, 5))
    done = ids(before, 2)[:position]
    assert done + ids(after, 4, start) == ids(after, 4)


@pytest.mark.parametrize(
    "before, after, position, named",
    [
        (mixture(), mixture((64, LATER)), 120, "mix from 64"),
        (mixture(), mixture((64, WITH_NEW)), 120, "mix from 64"),
        (mixture((64, LATER)), mixture(), 120, "mix from 64"),
        (mixture((64, WITH_NEW)), mixture(), 120, "mix from 64"),
        (mixture((64, LATER)), mixture((64, WITH_NEW)), 120, "mix from 64"),
        (mixture((64, LATER)), mixture((128, LATER)), 200, "mix from (64|128)"),
        (mixture(shares={"a": 1, "b": 3}), mixture(), 20, "mix from 0"),
        (mixture(), mixture(until=101), 20, "100 examples an epoch"),
        (mixture(until="all"), mixture(until="first"), 20, "examples an epoch"),
    ],
)
def test_what_came_before_a_snapshot_may_not_and_the_phase_is_named(before, after, position, named):
    start = snapshot_at(before, *divmod(position // 20, 5))
    with fdm.open(after) as data, pytest.raises(fdm.SnapshotError, match=named):
        data.loader("train", start=start)


def test_the_phase_is_named_among_very_many_parts():
    sizes = {f"part {number:03}": 3 + number for number in range(40)}

    def of_many(*phases):
        mix = fdm.mix(dict.fromkeys(sizes, 1), into="train", until=500)
        for phase in phases:
            mix = mix.after(*phase)
        return fdm.pipeline(fdm.load(several, sizes=sizes), fdm.shuffle(), mix, fdm.batch(20))

    start = snapshot_at(of_many(), 0, 10)
    assert len(json.dumps(start.to_dict())) < 1000
    with fdm.open(of_many((192, {"part 007": 1}))) as data, pytest.raises(fdm.SnapshotError, match="mix from 192"):
        data.loader("train", start=start)
    with fdm.open(of_many((200, {"part 007": 1}))) as data:
        assert len(data.loader("train", start=start)) == 15


def test_other_shuffles_packs_and_sizes_of_parts_are_refused_by_name():
    def of(order, sizes=SIZES, seed=0):
        mix = fdm.mix({"a": 1, "b": 2}, into="train", until=20)
        return fdm.pipeline(fdm.load(several, sizes=sizes, kind="documents"), *order, mix, fdm.batch(5), seed=seed)

    packed = [fdm.shuffle(), fdm.pack(16, "tokens")]
    start = snapshot_at(of(packed), 0, 1)
    others = {
        "pack 12": of([packed[0], fdm.pack(12, "tokens")]),
        "pack 16": of([packed[0], fdm.pack(16, "tokens", most=2)]),
        "shuffle": of([fdm.shuffle(seed=8), packed[1]]),
        "b: shuffle": of([fdm.shuffle().on("a"), packed[1]]),
        "load": of(packed, {**SIZES, "b": 32}),
    }
    for named, other in others.items():
        with fdm.open(other) as data, pytest.raises(fdm.SnapshotError, match=named):
            data.loader("train", start=start)


def test_block_shuffles_with_other_blocks_windows_and_lanes_are_other_orders():
    def of(**sizes):
        return fdm.pipeline(ROWS, fdm.alias(train="b"), fdm.shuffle(**sizes), fdm.batch(4))

    start = snapshot_at(of(block=2, window=4, lanes=2), 0, 2)
    for sizes in (
        {},
        {"block": 3, "window": 4, "lanes": 2},
        {"block": 2, "window": 6, "lanes": 2},
        {"block": 2, "window": 4},
    ):
        with fdm.open(of(**sizes)) as data, pytest.raises(fdm.SnapshotError, match="shuffle"):
            data.loader("train", start=start)
