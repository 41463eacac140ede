"""A stream gives the epochs of a split, one a pass, and goes on inside one, in loops of all kinds."""

import copy
import json
import pickle
import warnings

import pytest
import torch
from torch.utils.data import DataLoader

import fdm


def rows(n):
    return fdm.Table({"row": torch.arange(n)})


def drawn(item, key):
    return {**item, "draw": key.uniform()}


def part(n):
    return {"a": range(n), "b": range(100, 100 + n)}


P = fdm.pipeline(fdm.clean(rows, n=14), fdm.shuffle(), fdm.augment(drawn), fdm.batch(4))
KINDS = {
    "shuffled": P,
    "plain": fdm.pipeline(fdm.clean(rows, n=14), fdm.batch(4)),
    "sampled": fdm.pipeline(fdm.clean(rows, n=14), fdm.sample("row", size=11), fdm.batch(3)),
    "dropped": fdm.pipeline(fdm.clean(rows, n=14), fdm.shuffle(), fdm.batch(4, drop_last=True)),
    "mixed": fdm.pipeline(fdm.load(part, n=9), fdm.mix({"a": 2, "b": 1}, into="all"), fdm.batch(4)),
}


def plain(batch):
    batch = batch if isinstance(batch, dict) else {"row": batch}
    return {name: column.tolist() for name, column in batch.items()}


def passes(stream, count):
    return [[plain(batch) for batch in stream] for _ in range(count)]


def epochs(data, *numbers):
    return [[plain(batch) for batch in data.loader("all", epoch=epoch)] for epoch in numbers]


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def data(request):
    with fdm.open(request.param) as data:
        yield data


@pytest.fixture
def shuffled():
    with fdm.open(P) as data:
        yield data


def test_each_pass_is_the_next_epoch(data):
    stream = data.stream("all")
    assert epochs(data, 0, 1, 2) == passes(stream, 3)
    assert (3, len(data.loader("all")), data.loader("all").split) == (stream.epoch, len(stream), stream.split)


def test_after_the_last_epoch_passes_are_empty(data):
    assert [*epochs(data, 0, 1), [], []] == passes(data.stream("all", stop=2), 4)
    assert [[]] == passes(data.stream("all", stop=0), 1)
    assert [*epochs(data, 1), []] == passes(data.stream("all", 2, data.loader("all", epoch=1).snapshot(0)), 2)


def test_a_state_is_the_place_after_the_batches_that_were_handed_out(data):
    stream = data.stream("all")
    whole = epochs(data, 0, 1, 2)
    for epoch in range(2):
        states = [stream.state_dict(), *(stream.state_dict() for _ in stream)]
        assert [data.loader("all", epoch=epoch).snapshot(done).to_dict() for done in range(len(states))] == states
        for done, state in enumerate(states):
            json.loads(json.dumps(state))
            given, loaded, over = data.stream("all", start=state), data.stream("all"), data.stream("all")
            loaded.load_state_dict(json.loads(json.dumps(state)))
            next(iter(over))
            over.load_state_dict(state)
            for again in (given, loaded, over, data.stream("all", start=fdm.Snapshot.from_dict(state))):
                assert state == again.state_dict()
                rest = [whole[epoch][done:], whole[epoch + 1]] if done < len(stream) else [whole[epoch + 1]]
                assert rest == passes(again, len(rest))


def test_a_pass_that_is_left_early_is_followed_by_the_next_epoch(shuffled):
    stream = shuffled.stream("all")
    unused = iter(stream)
    next(iter(stream))
    assert [epochs(shuffled, 0)[0][0]] == [plain(shuffled.loader("all")[0])]
    assert (0, 4) == (stream.state_dict()["epoch"], stream.state_dict()["examples"])
    assert epochs(shuffled, 1) == passes(stream, 1)
    assert epochs(shuffled, 2)[0][0] == plain(next(unused))  # a pass begins with its first batch


def test_set_epoch_names_the_next_pass_and_leaves_a_place_inside_it(shuffled):
    stream = shuffled.stream("all")
    for epoch in (0, 1, 1, 0, 7):
        stream.set_epoch(epoch)
        assert epoch == stream.epoch
        assert epochs(shuffled, epoch) == passes(stream, 1)
    stream.load_state_dict(shuffled.loader("all", epoch=2).snapshot(3).to_dict())
    stream.set_epoch(2)
    assert [epochs(shuffled, 2)[0][3:]] == passes(stream, 1)
    for bad in (-1, 1.5, "1", True, None):
        with pytest.raises(fdm.DataError, match="set_epoch: the epoch is an integer of at least 0"):
            stream.set_epoch(bad)


@pytest.mark.parametrize("done", [0, 2])
def test_a_loop_that_counts_epochs_from_0_after_a_resume_is_told(shuffled, done):
    stream = shuffled.stream("all", start=shuffled.loader("all", epoch=2).snapshot(done))
    with pytest.warns(UserWarning, match=r"set_epoch\(0\) goes back: .*'all' was told to go on in epoch 2"):
        stream.set_epoch(0)
    assert epochs(shuffled, 0, 1) == passes(stream, 2)
    stream.set_epoch(1)


def test_a_pass_ends_with_an_error_where_the_stream_was_told_to_go_on_elsewhere(shuffled):
    stream = shuffled.stream("all")
    running = iter(stream)
    next(running)
    stream.load_state_dict(shuffled.loader("all", epoch=5).snapshot(1).to_dict())
    with pytest.raises(fdm.SnapshotError, match="go on elsewhere"):
        next(running)
    assert [epochs(shuffled, 5)[0][1:]] == passes(stream, 1)


def test_places_of_other_pipelines_and_splits_are_refused_and_change_nothing(shuffled):
    stream = shuffled.stream("all")
    with fdm.open(fdm.replace(P, seed=9)) as other:
        for bad in (other.stream("all").state_dict(), {}, {"epoch": 1}, None, 3):
            with pytest.raises(fdm.SnapshotError):
                stream.load_state_dict(bad)
            if bad is not None:
                with pytest.raises(fdm.SnapshotError):
                    shuffled.stream("all", start=bad)
    assert epochs(shuffled, 0) == passes(stream, 1)
    for stop in (-1, 1.5, True):
        with pytest.raises(fdm.DataError, match="stop is an integer"):
            shuffled.stream("all", stop)
    with pytest.raises(fdm.UnknownNameError):
        shuffled.stream("al")


def test_a_place_holds_with_another_batch_size_and_number_of_ranks(shuffled):
    state = shuffled.loader("all", epoch=1).snapshot(2).to_dict()
    order = [row for batch in epochs(shuffled, 1)[0] for row in batch["row"]]
    for size, world in ((3, 1), (2, 2), (1, 3)):
        seen = []
        for rank in range(world):
            with fdm.open(fdm.replace(P, fdm.batch(size)), context=fdm.RankContext(rank, world)) as data:
                stream = data.stream("all", start=state)
                seen += [row for batch in stream for row in batch["row"].tolist()]
                assert (2, 0) == (stream.state_dict()["epoch"], stream.state_dict()["examples"])
        assert sorted(order[8:]) == sorted(seen)


def test_all_ranks_have_the_same_state_after_each_step():
    states = []
    for rank in range(2):
        with fdm.open(P, context=fdm.RankContext(rank, 2)) as data:
            stream = data.stream("all")
            states.append([stream.state_dict() for _ in range(2) for _ in stream])
    assert states[0] == states[1]


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"workers": 1}], ids=str)
def test_what_makes_the_batches_changes_no_state(options):
    with fdm.open(P, **options) as data, fdm.open(P) as plainly:
        stream, batches = data.stream("all"), epochs(plainly, 0, 1)
        for step, batch in enumerate(stream):
            assert batches[0][step] == plain(batch)
            assert plainly.loader("all", epoch=0).snapshot(step + 1).to_dict() == stream.state_dict()
        assert [batches[1]] == passes(stream, 1)
        skipped = DataLoader(stream.dataset, batch_sampler=After(stream.batch_sampler, 2), collate_fn=stream.collate_fn)
        assert epochs(plainly, 2)[0][2:] == [plain(batch) for batch in skipped]


class After:
    """As trainers skip the steps that they have done."""

    def __init__(self, batch_sampler, skipped):
        self.batch_sampler, self.skipped = batch_sampler, skipped

    def __iter__(self):
        return (each for number, each in enumerate(self.batch_sampler) if number >= self.skipped)

    def __len__(self):
        return len(self.batch_sampler) - self.skipped


def after(stream, skipped):
    sampler = After(stream.batch_sampler, skipped)
    return DataLoader(stream.dataset, batch_sampler=sampler, collate_fn=stream.collate_fn, generator=stream.generator)


def test_loops_may_skip_steps_by_their_own_count(data):
    for skipped in (0, 1, 3):
        stream = data.stream("all")
        loader = after(stream, skipped)
        loader.batch_sampler.batch_sampler.set_epoch(1)
        assert len(stream) - skipped == len(loader)
        batches = []
        for batch in loader:
            batches.append(plain(batch))
            assert data.loader("all", epoch=1).snapshot(skipped + len(batches)).to_dict() == stream.state_dict()
        assert epochs(data, 1)[0][skipped:] == batches
        assert epochs(data, 2) == passes(stream, 1)


@pytest.mark.parametrize("skipped", [1, 2, 3])
def test_a_count_of_skipped_steps_is_of_the_epoch_also_where_the_stream_goes_on_inside_it(shuffled, skipped):
    stream = shuffled.stream("all", start=shuffled.loader("all", epoch=1).snapshot(2))
    assert epochs(shuffled, 1)[0][skipped:] == [plain(batch) for batch in after(stream, skipped)]
    assert epochs(shuffled, 2) == passes(stream, 1)


def test_skipping_makes_no_batches_and_draws_nothing():
    with fdm.open(fdm.insert(fdm.pipeline(fdm.clean(rows, n=14), fdm.batch(4)), fdm.transform(noted))) as data:
        state = torch.get_rng_state()
        MADE.clear()
        list(after(data.stream("all"), 2))
        assert [[8, 9, 10, 11], [12, 13]] == MADE
        list(data.stream("all"))
        assert torch.equal(state, torch.get_rng_state())


MADE = []


def noted(batch):
    MADE.append(batch["row"].tolist())
    return batch


def test_a_stream_is_a_loader_of_torch_with_the_examples_as_its_dataset(shuffled):
    stream = shuffled.stream("all")
    assert isinstance(stream, DataLoader)
    assert (14, 4) == (len(stream.dataset), stream.batch_size)
    assert plain(stream.dataset[3]) == plain(shuffled.dataset("all", epoch=0)[3])
    list(stream)
    assert plain(stream.dataset[3]) == plain(shuffled.dataset("all", epoch=1)[3])
    assert [4, 4, 4, 2] == [len(batch["row"]) for batch in DataLoader(stream.dataset, batch_size=4)]
    with pytest.raises(fdm.DataError, match="sharded already"):
        iter(stream.sampler)
    assert "<fdm.Stream of 'all', 4 steps an epoch, at epoch 1>" == repr(stream)


def test_workers_of_others_do_not_make_the_steps_of_a_stream(shuffled):
    stream = shuffled.stream("all")
    loader = DataLoader(
        stream.dataset,
        batch_sampler=stream.batch_sampler,
        collate_fn=stream.collate_fn,
        num_workers=1,
        multiprocessing_context="fork",
    )
    with pytest.raises(fdm.DataError, match="num_workers=0"):
        list(loader)


def test_a_stream_is_not_copied_but_goes_on_elsewhere_by_its_state(shuffled):
    for move in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(fdm.DataError, match=r"data.stream\('all', start=stream.state_dict\(\)\)"):
            move(shuffled.stream("all"))


def test_closed_data_says_so_and_the_state_stays():
    with fdm.open(P) as data:
        stream = data.stream("all")
        next(running := iter(stream))
        loader = data.loader("all")
    assert 4 == stream.state_dict()["examples"] == loader.snapshot(1).examples
    for use in (lambda: list(stream), lambda: next(running), lambda: data.stream("all"), lambda: stream.set_epoch(4)):
        with pytest.raises(fdm.DataError, match="the data is closed"):
            use()


def test_a_rank_without_examples_has_empty_passes_and_the_state_of_the_others():
    few = fdm.pipeline(fdm.clean(rows, n=1), fdm.batch(4))
    states = []
    for rank in range(2):
        with fdm.open(few, context=fdm.RankContext(rank, 2)) as data:
            stream = data.stream("all")
            assert [1 - rank, 1 - rank] == [len(batches) for batches in passes(stream, 2)]
            states.append(stream.state_dict())
    assert states[0] == states[1]


def test_a_batch_that_fails_is_not_counted():
    with fdm.open(fdm.pipeline(fdm.clean(rows, n=14), fdm.batch(4), fdm.transform(fails_late))) as data:
        stream = data.stream("all")
        with pytest.raises(ZeroDivisionError):
            list(stream)
        assert (0, 8) == (stream.state_dict()["epoch"], stream.state_dict()["examples"])


def fails_late(batch):
    if 8 in batch["row"].tolist():
        raise ZeroDivisionError
    return batch


def test_streams_under_distributed_checkpoint_go_on_inside_an_epoch(shuffled, tmp_path):
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    stream, losses = shuffled.stream("all"), torch.zeros(1)
    running = iter(stream)
    for _ in range(3):
        losses += next(running)["draw"].sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no process group
        checkpoint.save({"losses": losses, "data": stream}, checkpoint_id=tmp_path / "at")
        again = {"losses": torch.zeros(1), "data": shuffled.stream("all")}
        checkpoint.load(again, checkpoint_id=tmp_path / "at")
    assert losses == again["losses"]
    assert [epochs(shuffled, 0)[0][3:], epochs(shuffled, 1)[0]] == passes(again["data"], 2)
