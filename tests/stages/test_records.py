"""Frozen records check themselves: what is refused is refused in every way that there is of making one."""

import copy
import pickle

import attrs
import numpy as np
import pytest

import fdm
from fdm._checks import integer
from fdm._cli.overrides import with_settings
from fdm._cli.target import UsageError
from fdm._stages.function import Function
from fdm._stages.stage import Change, Cut, Ordering, Preparation, Source, Stage


def read(upstream=None, *, n=3):
    return fdm.Table({"x": range(n)})


def parts(upstream=None):
    return ["a", "b"]


def clean_part(upstream, part):
    return read()


def tally(source):
    return {"n": len(source)}


def by_half(source):
    return [0] * len(source)


def scale(item, *, factor=1.0):
    return item


def jitter(item, key):
    return item


def stack(examples):
    return examples


def drawing(item):
    return item


STEPS = {"train": 0.5, "val": None}
GOOD = {
    "fetch": fdm.fetch(tally),
    "clean": fdm.clean(clean_part).each(parts),
    "load": fdm.load(read),
    "split": fdm.split(STEPS, stratify="label"),
    "fold": fdm.fold(5, 1),
    "alias": fdm.alias(predict="val"),
    "measure": fdm.measure(tally).on("train"),
    "shuffle": fdm.shuffle(),
    "sample": fdm.sample("weight"),
    "take": fdm.take(3),
    "pack": fdm.pack(8, "tokens"),
    "mix": fdm.mix({"a": 1, "b": 2}, into="c"),
    "transform": fdm.transform(scale),
    "augment": fdm.augment(jitter),
    "batch": fdm.batch(2),
    "transfer": fdm.transfer(skip=["id"]),
    "pipeline": fdm.pipeline(fdm.batch(2), seed=3),
    "fact": fdm.fact("mean"),
    "tracked": fdm.tracked("a.txt"),
    "File": fdm.File("http://127.0.0.1/a.csv"),
    "RankContext": fdm.RankContext(),
    "Executor": fdm.Executor(context=fdm.RankContext()),
    "Snapshot": fdm.Snapshot("00ff", "train", 3, 640, ("shuffle #1",)),
    "CombinedSnapshot": fdm.CombinedSnapshot("max_size", {"a": fdm.Snapshot("00ff", "a", 0, 0)}, ("a",)),
}
NO_FUNCTIONS = (3, None, "scale", lambda item: item)
NO_COLUMNS = (3, "", [], lambda source: source)
NO_COUNTS = (-1, 1.0, True, "3", None, np.float64(2), np.bool_(1))
NO_SEEDS = (0.5, "x", True)
NO_SWITCHES = (1, 0, None, "yes", np.bool_(1))
NO_NAMES = (3, "", b"a", ["a"])
NO_SPLITS = (("a", "a"), (3,), ("",), (None,))
# Values that a field refuses, and the other way to say them: the function that users call, or the method.
WRONG = {
    "fetch.function": (NO_FUNCTIONS, fdm.fetch),
    "fetch.pinned": (NO_NAMES, GOOD["fetch"].version),
    "clean.function": (NO_FUNCTIONS, fdm.clean),
    "clean.pinned": (NO_NAMES, GOOD["clean"].version),
    "clean.parts": ((3, "a", lambda upstream: []), GOOD["clean"].each),
    "load.function": (NO_FUNCTIONS, fdm.load),
    "load.pinned": (NO_NAMES, GOOD["load"].version),
    "load.is_shared": (NO_SWITCHES, None),
    "load.is_ambient": (NO_SWITCHES, None),
    "split.into": (
        (
            *({}, [1, 2], 3, None, {1: 0.5, "b": None}, {"": 0.5, "b": None}, {"a": 0.9, "b": 0.2}, {"a": 1.5}),
            *({"a": 0.5, "b": 0.2}, {"a": float("nan"), "b": None}, {"a": -1, "b": None}, {"a": True, "b": None}),
            *({"a": None, "b": None}, {"a": "5", "b": None}, by_half, lambda source: {}),
        ),
        lambda into: fdm.split(into, stratify="label"),
    ),
    "split.of": (NO_NAMES, lambda of: fdm.split(STEPS, of=of)),
    "split.seed": ((*NO_SEEDS, None), lambda seed: fdm.split(STEPS, seed=seed)),
    "split.shuffle": ((*NO_SWITCHES, False), lambda shuffle: fdm.split(STEPS, stratify="label", shuffle=shuffle)),
    "split.stratify": (NO_COLUMNS, lambda by: fdm.split(STEPS, stratify=by)),
    "split.groups": (NO_COLUMNS, lambda by: fdm.split(STEPS, groups=by)),
    "split.key": ((*NO_COLUMNS, "id"), lambda by: fdm.split(STEPS, key=by, stratify="label")),
    "split.block": ((0, 4, *NO_COUNTS[:4]), lambda block: fdm.split(STEPS, stratify="label", block=block)),
    "split.pinned": (NO_NAMES, GOOD["split"].version),
    "fold.k": ((1, *NO_COUNTS), lambda k: fdm.fold(k, 1)),
    "fold.index": ((5, 6, *NO_COUNTS), lambda index: fdm.fold(5, index)),
    "fold.of": (NO_NAMES, lambda of: fdm.fold(5, 1, of=of)),
    "fold.seed": ((*NO_SEEDS, None), lambda seed: fdm.fold(5, 1, seed=seed)),
    "fold.stratify": (NO_COLUMNS, lambda by: fdm.fold(5, 1, stratify=by)),
    "fold.groups": (NO_COLUMNS, lambda by: fdm.fold(5, 1, groups=by)),
    "fold.pinned": (NO_NAMES, GOOD["fold"].version),
    "alias.names": (({}, {"a": 3}, {"a": ""}, {"a": None}, {"": "val"}), lambda names: fdm.alias(**names)),
    "measure.function": (NO_FUNCTIONS, fdm.measure),
    "measure.pinned": (NO_NAMES, GOOD["measure"].version),
    "measure.splits": (NO_SPLITS, lambda splits: GOOD["measure"].on(*splits)),
    "shuffle.seed": (NO_SEEDS, lambda seed: fdm.shuffle(seed=seed)),
    "shuffle.block": ((0, 4, *NO_COUNTS[:4]), lambda block: fdm.shuffle(block=block)),
    "shuffle.window": ((0, 4, *NO_COUNTS[:4]), lambda window: fdm.shuffle(window=window)),
    "shuffle.lanes": ((0, 2, *NO_COUNTS), lambda lanes: fdm.shuffle(lanes=lanes)),
    "shuffle.splits": (NO_SPLITS, lambda splits: GOOD["shuffle"].on(*splits)),
    "sample.weights": ((*NO_COLUMNS, None), fdm.sample),
    "sample.size": (NO_COUNTS[:4], lambda size: fdm.sample("weight", size)),
    "sample.seed": (NO_SEEDS, lambda seed: fdm.sample("weight", seed=seed)),
    "sample.splits": (NO_SPLITS, lambda splits: GOOD["sample"].on(*splits)),
    "take.amount": ((-1, 1.5, float("nan"), None, "3", True), fdm.take),
    "pack.length": ((0, *NO_COUNTS), lambda length: fdm.pack(length, "tokens")),
    "pack.column": ((*NO_NAMES, None), lambda column: fdm.pack(8, column)),
    "pack.whole": ((1, 0, None, "yes"), lambda whole: fdm.pack(8, "tokens", whole=whole)),
    "pack.most": ((0, *NO_COUNTS[:4]), lambda most: fdm.pack(8, "tokens", most=most)),
    "pack.splits": (NO_SPLITS, lambda splits: GOOD["pack"].on(*splits)),
    "mix.shares": (
        (
            {},
            3,
            None,
            "a",
            ["a", "a"],
            {"a": 0},
            {"a": -1.0},
            {"a": float("nan")},
            {"a": True},
            {"a": "1"},
            {"": 1},
            {"c": 1},
        ),
        lambda shares: fdm.mix(shares, into="c"),
    ),
    "mix.into": ((*NO_NAMES, "a", None), lambda into: fdm.mix({"a": 1}, into=into)),
    "mix.until": ((0, "every", 1.5, None, True), lambda until: fdm.mix({"a": 1, "b": 2}, into="c", until=until)),
    "mix.power": ((-1, "x", True, float("inf"), 0.5), lambda power: fdm.mix({"a": 1, "b": 2}, into="c", power=power)),
    "mix.later": (([(0, {"a": 1})], [(64, {})], [(64, {"a": 1}), (1, {"a": 1})], [(1.5, {"a": 1})]), None),
    "take.splits": (NO_SPLITS, lambda splits: GOOD["take"].on(*splits)),
    "transform.function": ((*NO_FUNCTIONS, fdm.ambient(drawing)), fdm.transform),
    "transform.splits": (NO_SPLITS, lambda splits: GOOD["transform"].on(*splits)),
    "augment.function": (NO_FUNCTIONS, fdm.augment),
    "augment.ambient": (NO_SWITCHES, None),
    "augment.splits": (NO_SPLITS, lambda splits: GOOD["augment"].on(*splits)),
    "batch.size": ((0, *NO_COUNTS), fdm.batch),
    "batch.drop_last": (NO_SWITCHES, lambda drop: fdm.batch(2, drop_last=drop)),
    "batch.collate": ((3, "stack", lambda examples: 0), lambda collate: fdm.batch(2, collate=collate)),
    "batch.ids": (NO_NAMES, lambda ids: fdm.batch(2, ids=ids)),
    "batch.across": (("word", 3, []), lambda across: fdm.batch(2, across=across)),
    "batch.origin": (NO_NAMES, lambda origin: fdm.batch(2, origin=origin)),
    "batch.alike": (NO_NAMES, lambda column: fdm.batch(2, alike=column)),
    "batch.of": (NO_NAMES, lambda column: fdm.batch(2, of=column)),
    "batch.buckets": ((0, *NO_COUNTS), lambda buckets: fdm.batch(2, buckets=buckets)),
    "batch.edges": (((), 3, "8", (8, 8), (8, 4), (0, 4), (4.0,)), lambda edges: fdm.batch(2, edges=edges)),
    "batch.splits": (NO_SPLITS, lambda splits: GOOD["batch"].on(*splits)),
    "transfer.splits": (NO_SPLITS, lambda splits: GOOD["transfer"].on(*splits)),
    "transfer.skip": (("id", 3, None, [3], {"id"}), lambda skip: fdm.transfer(skip=skip)),
    "pipeline.stages": ((3, None, (3,), (fdm.batch,), GOOD["batch"]), None),
    "pipeline.seed": (NO_SEEDS, lambda seed: fdm.pipeline(fdm.batch(2), seed=seed)),
    "fact.name": ((*NO_NAMES, None), fdm.fact),
    "tracked.path": ((3, "", None, "a\0"), fdm.tracked),
    "File.url": ((3, "ftp://a/b", "http://[", None), fdm.File),
    "File.sha256": ((3, "00", "x" * 64), lambda sha256: fdm.File("http://127.0.0.1/a", sha256=sha256)),
    "File.name": ((3, "", "../a", "/a", b"a"), lambda name: fdm.File("http://127.0.0.1/a", name=name)),
    "File.unpack": (NO_SWITCHES, lambda unpack: fdm.File("http://127.0.0.1/a", unpack=unpack)),
    "File.headers": (
        (3, None, "a", {"A": "Bearer x"}, {"": "A"}),
        lambda headers: fdm.File("http://127.0.0.1/a", headers=headers),
    ),
    "File.mirrors": ((3, None, "a", [3], ("b",)), lambda mirrors: fdm.File("http://127.0.0.1/a", mirrors=mirrors)),
    "RankContext.rank": ((1, *NO_COUNTS), lambda rank: fdm.RankContext(rank=rank)),
    "RankContext.world_size": ((0, *NO_COUNTS), lambda size: fdm.RankContext(world_size=size)),
    "RankContext.local_rank": ((1, *NO_COUNTS), lambda rank: fdm.RankContext(local_rank=rank)),
    "RankContext.local_world_size": ((0, *NO_COUNTS), lambda size: fdm.RankContext(local_world_size=size)),
    "RankContext.device": ((None, "cudo", 3.5), lambda device: fdm.RankContext(device=device)),
    "Executor.context": (("cuda", None), lambda context: fdm.Executor(context=context)),
    "Executor.store": ((3, b"a"), lambda store: fdm.Executor(store=store)),
    "Executor.workers": (NO_COUNTS, lambda workers: fdm.Executor(workers=workers)),
    "Executor.threads": (NO_COUNTS, lambda threads: fdm.Executor(threads=threads)),
    "Executor.prefetch": ((0, *NO_COUNTS), lambda prefetch: fdm.Executor(prefetch=prefetch)),
    "Executor.pin_memory": ((1, "x"), lambda pin: fdm.Executor(pin_memory=pin)),
    "Executor.pool": ((3, "x"), lambda pool: fdm.Executor(pool=pool)),
    "Executor.progress": ((1, "x"), lambda progress: fdm.Executor(progress=progress)),
    "Executor.wait": ((-1, "3", True, float("nan")), lambda wait: fdm.Executor(wait=wait)),
    "Executor.start_method": (("fork it", 3, []), lambda method: fdm.Executor(start_method=method)),
    "Executor.verify": ((1, "x", None), lambda verify: fdm.Executor(verify=verify)),
    "Snapshot.fingerprint": ((3, None, b"a"), None),
    "Snapshot.split": ((3, None, ["train"]), None),
    "Snapshot.epoch": (NO_COUNTS, None),
    "Snapshot.examples": (NO_COUNTS, None),
    "Snapshot.stages": (("shuffle", None, {}, [1], [["shuffle"]]), None),
    "CombinedSnapshot.mode": (("longest", None, []), None),
    "CombinedSnapshot.parts": (([], None, "a"), None),
    "CombinedSnapshot.ended": ((["d"], "d", None, [3]), None),
}
PLAIN = {
    "Snapshot": GOOD["Snapshot"].to_dict(),
    "CombinedSnapshot": GOOD["CombinedSnapshot"].to_dict(),
}


def refusal(make, *args, **fields):
    with pytest.raises(fdm.FdmError) as caught:
        make(*args, **fields)
    return type(caught.value), str(caught.value)


def test_the_table_has_every_field_of_every_record():
    there = {f"{name}.{field.name}" for name, record in GOOD.items() for field in attrs.fields(type(record))}
    assert there == set(WRONG)
    assert {kind.kind for kind in Stage.__args__} <= set(GOOD)


@pytest.mark.parametrize("place", WRONG)
def test_a_wrong_value_is_refused_alike_however_a_record_is_made(place):
    name, _, field = place.partition(".")
    values, make = WRONG[place]
    for value in values:
        evolved = refusal(attrs.evolve, GOOD[name], **{field: value})
        if make is not None:
            assert evolved == refusal(make, value), value
        elif name in PLAIN:
            assert evolved == refusal(type(GOOD[name]).from_dict, {**PLAIN[name], field: value}), value


@pytest.mark.parametrize("name", GOOD)
def test_a_record_is_equal_to_itself_made_anew_and_pickled(name):
    record = GOOD[name]
    assert record == attrs.evolve(record) == copy.copy(record) == pickle.loads(pickle.dumps(record))
    assert hash(record) == hash(attrs.evolve(record))


WHOLE = [np.int64(3), np.uint8(3), np.array(3)]


@pytest.mark.parametrize("three", WHOLE, ids=lambda three: type(three).__name__ + str(three.dtype))
def test_numbers_of_numpy_become_pythons(three):
    one = three - 2
    numpys = [
        fdm.split({"a": three, "b": None}, seed=three),
        fdm.fold(three, one, seed=three),
        fdm.shuffle(seed=three),
        fdm.sample("w", three, three),
        fdm.take(three),
        fdm.batch(three),
        fdm.pipeline(seed=three),
        fdm.RankContext(one, three, one, three),
        fdm.Executor(context=fdm.RankContext(), workers=three, threads=three, prefetch=three, wait=three),
        fdm.Snapshot("00ff", "a", three, three),
    ]
    pythons = [
        fdm.split({"a": 3, "b": None}, seed=3),
        fdm.fold(3, 1, seed=3),
        fdm.shuffle(seed=3),
        fdm.sample("w", 3, 3),
        fdm.take(3),
        fdm.batch(3),
        fdm.pipeline(seed=3),
        fdm.RankContext(1, 3, 1, 3),
        fdm.Executor(context=fdm.RankContext(), workers=3, threads=3, prefetch=3, wait=3),
        fdm.Snapshot("00ff", "a", 3, 3),
    ]
    assert pythons == numpys
    assert list(map(repr, pythons)) == list(map(repr, numpys))  # np.int64(3) is shown so, and is no JSON


def test_a_field_takes_what_its_function_takes():
    assert fdm.transform(scale) == attrs.evolve(fdm.transform(jitter), function=scale)
    assert fdm.batch(2, collate=stack) == attrs.evolve(fdm.batch(2), collate=stack)
    assert fdm.split({"a": 1, "b": None}) == attrs.evolve(fdm.split(STEPS), into={"a": 1, "b": None})
    assert fdm.split(by_half) == attrs.evolve(fdm.split(STEPS), into=by_half)
    assert fdm.alias(a="b") == attrs.evolve(fdm.alias(c="d"), names={"a": "b"})
    assert fdm.shuffle().on("a", "b") == attrs.evolve(fdm.shuffle(), splits=["a", "b"])
    assert fdm.transfer(skip=("a",)) == attrs.evolve(fdm.transfer(), skip=["a"])
    assert fdm.shuffle() == attrs.evolve(fdm.shuffle().on("a"), splits=())


@pytest.mark.parametrize(
    "name, field, value",
    [
        ("split", "into", (("a", 0.5), ("a", None))),
        ("split", "into", (("a", 0.5), "b")),
        ("split", "into", ()),
        ("alias", "names", (("a", "val"), ("a", "test"))),
        ("alias", "names", ("ab",)),
        ("shuffle", "splits", "train"),
        ("shuffle", "splits", None),
        ("shuffle", "splits", {"a"}),
        ("augment", "function", fdm.ambient(drawing)),
        ("CombinedSnapshot", "parts", {"a": {}}),
        ("CombinedSnapshot", "parts", {3: fdm.Snapshot("00ff", "a", 0, 0)}),
    ],
)
def test_what_only_evolving_can_say_wrongly_is_refused_too(name, field, value):
    refusal(attrs.evolve, GOOD[name], **{field: value})


def test_fields_that_contradict_each_other_are_refused_in_whichever_order_they_come():
    assert "key decides alone" in refusal(attrs.evolve, fdm.split({"a": 0.5, "b": None}, key="id"), groups="g")[1]
    assert "with key, sizes" in refusal(attrs.evolve, fdm.split({"a": 0.5, "b": None}, key="id"), into={"a": 1})[1]
    assert "with key, sizes" in refusal(attrs.evolve, fdm.split({"a": 1, "b": None}), key="id")[1]
    assert "need shuffle=True" in refusal(attrs.evolve, fdm.split(STEPS, shuffle=False), groups="g")[1]
    assert "a function decides alone" in refusal(attrs.evolve, fdm.split(by_half), key="id")[1]
    assert "1 is no fold of" not in refusal(attrs.evolve, fdm.fold(5, 4), k=1)[1]
    assert "4 is no fold of 3" in refusal(attrs.evolve, fdm.fold(5, 4), k=3)[1]
    assert "rank=3 is not below" in refusal(attrs.evolve, fdm.RankContext(3, 4), world_size=2)[1]
    assert "'a' ended" in refusal(attrs.evolve, GOOD["CombinedSnapshot"], parts={})[1]


def test_a_function_is_one_that_can_be_compared_wherever_it_is_made():
    assert "takes a function" in refusal(Function, 3)[1]
    assert "not a lambda" in refusal(attrs.evolve, GOOD["transform"].function, call=lambda item: item)[1]
    assert "frozen" in refusal(attrs.evolve, GOOD["transform"].function, call=np.vectorize(scale))[1]


SETTINGS = [
    *[("batch", "size", value) for value in (0, 2.5, True, "many")],
    *[("batch", "across", value) for value in ("word", 3)],
    *[("batch", "drop_last", value) for value in (1, "yes")],
    *[("batch", "ids", value) for value in (3, "''")],
    *[("fold", "index", value) for value in (5, -1)],
    *[("fold", "k", value) for value in (1, "x")],
    *[("split", "seed", value) for value in ("x", None)],
    *[("split", "train", value) for value in (1.5, -1, "x")],
    *[("split", "key", value) for value in ("id", 3)],
    *[("take", "n_or_fraction", value) for value in (-1, 1.5)],
    *[("sample", "weights", value) for value in (None, 3)],
    *[("alias", "predict", value) for value in (3, None)],
    *[("transfer", "skip", value) for value in ("id", 3)],
    *[("transform", "factr", 2)],
]


@pytest.mark.parametrize("kind, name, value", SETTINGS)
def test_a_setting_is_refused_as_the_record_refuses_it(kind, name, value):
    with pytest.raises(UsageError) as caught:
        with_settings(attrs.evolve(fdm.pipeline(), stages=(GOOD[kind],)), [f"{kind}.{name}={value}"])
    assert isinstance(caught.value.__cause__, fdm.PipelineError)


def test_a_setting_of_a_stage_leaves_all_else_as_it_is():
    p = fdm.pipeline(fdm.load(read, n=3).ambient().shared().version("2"), fdm.augment(fdm.ambient(scale)).on("all"))
    changed = with_settings(p, ["load.n=5", "scale.factor=2"])
    assert fdm.load(read, n=5).ambient().shared().version("2") == changed.stages[0]
    assert fdm.augment(fdm.ambient(scale), factor=2).on("all") == changed.stages[1]


def test_families_of_stages_are_told_apart():
    families = {
        Source: ("fetch", "clean", "load"),
        Cut: ("split", "fold", "alias"),
        Ordering: ("shuffle", "sample", "take", "pack"),
        Change: ("transform", "augment"),
        Preparation: ("fetch", "clean", "measure"),
    }
    stages = {name: record for name, record in GOOD.items() if isinstance(record, Stage)}
    for family, names in families.items():
        assert set(names) == {name for name, stage in stages.items() if isinstance(stage, family)}
        p = attrs.evolve(fdm.pipeline(), stages=tuple(stages.values()))
        assert list(names) == [stage.kind for _, stage in p.of_kind(family)]


@pytest.mark.parametrize(
    "from_dict", [fdm.Snapshot.from_dict, fdm.CombinedSnapshot.from_dict], ids=["Snapshot", "CombinedSnapshot"]
)
@pytest.mark.parametrize("version", [0, 2, "1", None, 1.0, True])
def test_another_version_is_refused_with_both(from_dict, version):
    plain = PLAIN[from_dict.__self__.__name__]
    assert f"of version {version!r}; this fdm reads version 1" in refusal(from_dict, {**plain, "version": version})[1]


def test_an_integer_of_a_record_shows_as_what_it_is():
    with pytest.raises(fdm.DataError, match=r"size is an integer of at least 2, not np.int64\(1\)"):
        integer("size", np.int64(1), fdm.DataError, least=2)
