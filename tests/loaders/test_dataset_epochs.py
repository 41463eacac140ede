"""A dataset for others' DataLoaders changes its epoch, also in worker processes that are there already."""

import pickle

import pytest
import torch
from torch.utils.data import DataLoader

import fdm


def rows(n):
    return fdm.Table({"row": torch.arange(n)})


def listed(n):
    return [{"row": torch.tensor(float(number))} for number in range(n)]


def parts(n):
    return {"a": fdm.Table({"row": torch.arange(n)}), "b": fdm.Table({"row": torch.arange(100, 100 + n)})}


def tokens(n):
    return fdm.Table({"row": fdm.Ragged.of([torch.arange(1 + number % 3) for number in range(n)])})


def drawn(item, key):
    return {**item, "draw": key.uniform()}


KINDS = {
    "augmented": fdm.pipeline(fdm.clean(rows, n=10), fdm.augment(drawn)),
    "shuffled": fdm.pipeline(fdm.clean(rows, n=10), fdm.shuffle(), fdm.augment(drawn)),
    "loaded": fdm.pipeline(fdm.load(listed, n=10), fdm.shuffle(), fdm.augment(drawn)),
    "sampled": fdm.pipeline(fdm.clean(rows, n=10), fdm.sample("row", size=7), fdm.augment(drawn)),
    "mixed": fdm.pipeline(fdm.clean(parts, n=10), fdm.mix({"a": 1, "b": 1}, into="all"), fdm.augment(drawn)),
    "packed": fdm.pipeline(fdm.clean(tokens, n=10), fdm.shuffle(), fdm.pack(4, "row")),
}


def plain(example):
    return {
        name: column.values.tolist() if isinstance(column, fdm.Packed) else column.tolist()
        for name, column in example.items()
    }


@pytest.mark.parametrize("p", KINDS.values(), ids=KINDS)
def test_set_epoch_gives_the_examples_of_another_epoch(p, recwarn):
    with fdm.open(p) as data:
        dataset = data.dataset("all")
        again = pickle.loads(pickle.dumps(dataset))
        seen = []
        for epoch in (0, 3, 1, 1):
            for each in (dataset, again):
                each.set_epoch(epoch)
                wanted = [plain(example) for example in data.dataset("all", epoch=epoch)]
                assert epoch == each.epoch
                assert wanted == [plain(example) for example in each]
                assert wanted == [plain(example) for example in each.__getitems__(range(len(each)))]
            seen.append(wanted)
        assert seen[0] != seen[1] != seen[2] == seen[3]
    assert [] == [str(each.message) for each in recwarn]  # nobody goes over an epoch that was not named


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("is_persistent", [True, False])
def test_worker_processes_hear_of_the_epoch(method, is_persistent):
    with fdm.open(KINDS["mixed"]) as data:
        dataset = data.dataset("all")
        loader = DataLoader(
            dataset,
            batch_size=4,
            num_workers=1,
            collate_fn=as_is,
            persistent_workers=is_persistent,
            multiprocessing_context=method,
        )
        for epoch in (0, 2):
            dataset.set_epoch(epoch)
            examples = [plain(example) for batch in loader for example in batch]
            assert [plain(example) for example in data.dataset("all", epoch=epoch)] == examples


def as_is(examples):
    return examples


def test_two_datasets_have_each_their_own_epoch():
    with fdm.open(KINDS["shuffled"]) as data:
        first, second = data.dataset("all"), data.dataset("all", epoch=4)
        first.set_epoch(2)
        assert (2, 4) == (first.epoch, second.epoch)
        assert "<fdm dataset of split 'all', epoch 2, 10 examples>" == repr(first)


@pytest.mark.parametrize("epoch", [-1, 1.5, "1", True, 2**63])
def test_an_epoch_that_is_none_is_refused(epoch):
    with fdm.open(KINDS["shuffled"]) as data, pytest.raises(fdm.DataError, match="set_epoch: the epoch is an integer"):
        data.dataset("all").set_epoch(epoch)


def test_an_epoch_of_closed_data_is_refused():
    with fdm.open(KINDS["shuffled"]) as data:
        dataset = data.dataset("all")
    with pytest.raises(fdm.DataError, match="the data is closed"):
        dataset.set_epoch(1)
