"""Combined loaders: Lightning's modes step by step, random access, and a resume after every step."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.utilities.combined_loader import CombinedLoader

import fdm
from fdm.testing import every_rank


MODES = ("min_size", "max_size_cycle", "max_size", "sequential")
SIZES = {"a": 5, "b": 2, "c": 9}


def numbers(sizes):
    firsts = {"a": 0, "b": 100, "c": 200}
    return {name: range(firsts[name], firsts[name] + size) for name, size in sizes.items()}


def opened(sizes=SIZES, size=2, *order, **options):
    return fdm.open(fdm.pipeline(fdm.load(numbers, sizes=sizes), *order, fdm.batch(size)), **options)


def combined(data, mode, start=None):
    return fdm.combine({name: data.loader(name, epoch=0) for name in data.splits}, mode=mode, start=start)


def plain(step):
    """A step as values that can be compared."""
    if isinstance(step, tuple):
        return step[0], step[1].tolist()
    return {name: None if batch is None else batch.tolist() for name, batch in step.items()}


def steps(loader):
    return [plain(step) for step in loader]


def lightnings(data, mode):
    """What Lightning gives for the same loaders: batches by name, or the name and the batch."""
    names = list(data.splits)
    loader = CombinedLoader({name: data.loader(name, epoch=0) for name in names}, mode)
    found = [
        (names[dataloader_idx], batch.tolist()) if mode == "sequential" else plain(batch)
        for batch, _, dataloader_idx in loader
    ]
    return len(loader), found


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning 2.6 still asks torch in the old way
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sizes", [SIZES, {"a": 4, "b": 4}, {"a": 1}, {"b": 1, "a": 12}], ids=str)
def test_the_steps_are_lightnings(mode, sizes):
    data = opened(sizes)
    loader = combined(data, mode)
    assert (len(loader), steps(loader)) == lightnings(data, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [(), (fdm.shuffle(),)], ids=["natural", "shuffled"])
def test_resuming_equals_skipping_after_every_step(mode, order):
    data = opened(SIZES, 2, *order)
    loader = combined(data, mode)
    whole = steps(loader)
    for done in range(len(loader)):
        saved = json.loads(json.dumps(loader.snapshot(done).to_dict()))
        resumed = combined(data, mode, fdm.CombinedSnapshot.from_dict(saved))
        assert whole[done:] == steps(resumed) == steps(loader[done:])
        assert len(whole) - done == len(resumed)
        assert [resumed.snapshot(more) for more in range(len(resumed) + 1)] == [
            loader.snapshot(done + more) for more in range(len(resumed) + 1)
        ]


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1),
    st.sampled_from(MODES),
    st.integers(1, 3),
    st.data(),
)
def test_a_step_by_number_is_the_step_in_turn(sizes, mode, size, draw):
    data = opened(sizes, size, fdm.shuffle())
    loader = combined(data, mode)
    whole = steps(loader)
    assert whole == [plain(loader[step]) for step in range(len(loader))] == steps(loader)
    low, high = sorted(draw.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    assert whole[low:high] == steps(loader[low:high]) == [plain(loader[low:high][i]) for i in range(high - low)]
    done = draw.draw(st.integers(0, len(whole) - 1))
    resumed = combined(data, mode, loader.snapshot(done))
    assert whole[done:] == steps(resumed)
    assert loader.snapshot(len(loader)) == resumed.snapshot(len(resumed))


def test_a_loader_that_cycles_goes_on_into_its_next_epoch():
    data = opened({"a": 12, "b": 4}, 2, fdm.shuffle())
    loader = combined(data, "max_size_cycle")
    epochs = [batch.tolist() for epoch in range(3) for batch in data.loader("b", epoch=epoch)]
    assert epochs == [step["b"].tolist() for step in loader]
    assert len({tuple(epochs[at] + epochs[at + 1]) for at in (0, 2, 4)}) > 1
    after = loader.snapshot(len(loader))
    assert {"a": (1, 0), "b": (3, 0)} == {name: (part.epoch, part.examples) for name, part in after.parts.items()}
    assert () == after.ended
    assert {"a": (0, 6), "b": (1, 2)} == {
        name: (part.epoch, part.examples) for name, part in loader.snapshot(3).parts.items()
    }
    assert ("b",) == loader.snapshot(3).ended


def test_the_next_epoch_begins_where_the_snapshot_after_the_last_step_says():
    data = opened({"a": 6, "b": 4}, 2, fdm.shuffle())
    first = combined(data, "min_size")
    second = combined(data, "min_size", first.snapshot(len(first)))
    assert {"a": 1, "b": 1} == {name: loader.epoch for name, loader in second.loaders.items()}
    assert [batch.tolist() for batch in data.loader("b", epoch=1)] == [step["b"].tolist() for step in second]


@pytest.mark.parametrize("mode", MODES)
def test_a_resume_with_other_ranks_sees_what_was_not_seen(mode):
    def seen(data, loaders):
        found = [step for loader in loaders for step in steps(loader)]
        pairs = found if mode == "sequential" else [pair for step in found for pair in step.items() if pair[1]]
        return sorted(number for name, batch in pairs for number in batch if name == "c")

    whole = opened({"a": 5, "c": 24}, 2, fdm.shuffle())
    loader = combined(whole, mode)
    done = 1 if mode == "min_size" else 4
    saved = loader.snapshot(done)
    ranks = [opened({"a": 5, "c": 24}, 3, fdm.shuffle(), context=context) for context in every_rank(2)]
    rest = [combined(data, mode, saved) for data in ranks]
    before = seen(whole, [loader[:done]])
    if mode == "min_size":  # stops with "a", long before "c" ends
        assert not set(before) & set(seen(None, rest))
    else:
        assert list(range(200, 224)) == sorted(before + seen(None, rest))


@pytest.mark.parametrize("options", [{"workers": 1}, {"threads": 2}], ids=str)
def test_workers_and_threads_change_nothing(options):
    for mode in ("max_size_cycle", "sequential"):
        expected = steps(combined(opened(SIZES, 2, fdm.shuffle()), mode))
        with opened(SIZES, 2, fdm.shuffle(), **options) as data:
            loader = combined(data, mode)
            assert expected == steps(loader) == steps(loader)
            if mode == "sequential" and "workers" in options:
                assert [1] == [len(crews) for crews in data._maker._of_process.values()]


def test_indices_are_those_of_the_loaders():
    data = opened({"a": 3, "b": 1}, 2)
    assert {"a": [0, 1], "b": [0]} == {
        name: ids.tolist() for name, ids in combined(data, "max_size").indices(0).items()
    }
    assert ["b"] == list(combined(data, "sequential").indices(-1))


def test_nothing_happens_before_the_first_next():
    data = opened()
    iterator = iter(combined(data, "min_size"))
    data.close()
    with pytest.raises(fdm.DataError, match="closed"):
        next(iterator)


def test_snapshots_are_matched_by_name_and_never_by_position():
    data = opened({"a": 5, "b": 8}, 2, fdm.shuffle())
    saved = combined(data, "max_size").snapshot(1)
    swapped = fdm.combine({"b": data.loader("b"), "a": data.loader("a")}, mode="max_size", start=saved)
    assert {name: batch.tolist() for name, batch in combined(data, "max_size")[1].items()} == plain(swapped[0])
    with pytest.raises(fdm.SnapshotError, match=r"of the loaders 'a', 'b', but 'a', 'bb' are.*\(did you mean 'bb'\?\)"):
        fdm.combine({"a": data.loader("a"), "bb": data.loader("b")}, mode="max_size", start=saved)
    with pytest.raises(fdm.SnapshotError, match="'b' is in one of them only"):
        fdm.combine({"a": data.loader("a")}, mode="max_size", start=saved)
    with pytest.raises(fdm.SnapshotError, match="of split 'b', but the loader of 'a'") as caught:
        fdm.combine({"b": data.loader("a"), "a": data.loader("b")}, mode="max_size", start=saved)
    assert any("in loader" in note for note in caught.value.__notes__)
    with pytest.raises(fdm.SnapshotError, match="of mode 'max_size', but 'min_size'"):
        combined(data, "min_size", saved)
    with pytest.raises(fdm.SnapshotError, match=r"CombinedSnapshot.from_dict"):
        combined(data, "max_size", saved.to_dict())
    other = opened({"a": 6, "b": 8}, 2, fdm.shuffle())
    with pytest.raises(fdm.SnapshotError, match="belongs to another pipeline") as caught:
        combined(other, "max_size", saved)
    assert "in loader 'a'" in caught.value.__notes__


def test_what_is_no_snapshot_is_refused():
    saved = combined(opened(), "max_size").snapshot(3).to_dict()
    assert saved == fdm.CombinedSnapshot.from_dict(saved).to_dict()
    for wrong in (
        None,
        {},
        {**saved, "version": 2},
        {**saved, "mode": "longest"},
        {**saved, "parts": []},
        {**saved, "parts": {"a": {}}},
        {**saved, "ended": ["d"]},
        {**saved, "more": 1},
    ):
        with pytest.raises(fdm.SnapshotError):
            fdm.CombinedSnapshot.from_dict(wrong)


def test_what_cannot_be_combined_is_refused():
    data = opened()
    loader = data.loader("c")
    with pytest.raises(fdm.DataError, match=r"mode is one of .*, not 'max_siz' \(did you mean 'max_size'\?\)"):
        fdm.combine({"a": loader}, mode="max_siz")
    for wrong in ({}, [loader], {"a": [1]}, {"a": combined(data, "min_size")}, {1: loader}):
        with pytest.raises(fdm.DataError, match="combine"):
            fdm.combine(wrong)
    with pytest.raises(fdm.DataError, match="'c' is a slice that stops before its epoch does"):
        fdm.combine({"c": loader[:2]})
    assert 2 == len(fdm.combine({"c": loader[3:]}))
    dropping = fdm.open(fdm.pipeline(fdm.load(numbers, sizes=SIZES), fdm.batch(3, drop_last=True)))
    with pytest.raises(fdm.DataError, match="'b' has no steps, so it cannot cycle"):
        combined(dropping, "max_size_cycle")
    assert [{"a": [0, 1, 2], "b": None, "c": [200, 201, 202]}] == steps(combined(dropping, "max_size")[:1])
    both = combined(data, "max_size")
    with pytest.raises(IndexError):
        both[5]
    with pytest.raises(fdm.DataError, match="contiguous"):
        both[::2]
    with pytest.raises(fdm.DataError, match="from 0 to 5, not 6"):
        both.snapshot(6)


def test_a_resume_with_a_larger_batch_that_leaves_nothing_of_an_epoch_cycles_on():
    data = opened({"a": 9, "b": 3}, 1, fdm.shuffle())
    saved = combined(data, "max_size_cycle").snapshot(2)
    dropping = fdm.open(
        fdm.pipeline(fdm.load(numbers, sizes={"a": 9, "b": 3}), fdm.shuffle(), fdm.batch(2, drop_last=True))
    )
    resumed = combined(dropping, "max_size_cycle", saved)
    assert [batch.tolist() for batch in dropping.loader("b", epoch=1)] == [resumed[0]["b"].tolist()]
    assert all(isinstance(step["b"], torch.Tensor) for step in resumed)
