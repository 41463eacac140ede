"""A StopIteration of the user's ends no loop in silence: wherever it is raised, it is an error that says so."""

from pathlib import Path

import attrs
import pytest
import torch
from torch.utils.data import DataLoader

import fdm


def nothing():
    """What leaves a function by mistake: the next of what has no more."""
    return next(iter(()))


def numbers(*, n):
    return list(range(n))


def table(*, n):
    return fdm.Table({"x": torch.arange(n)})


def stops(item, **_):
    return nothing() if is_last(item) else item


def stops_with_key(item, key):
    return stops(item)


def is_last(item):
    return 7 in item if isinstance(item, torch.Tensor) and item.ndim else 7 == item


def collated(examples):
    return stops(torch.tensor(examples))


class Stops:
    """A source that stops at its seventh example, read one by one."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return stops(index)


class StopsTogether(Stops):
    """The same, read many at a time."""

    def __getitems__(self, indices):
        return [stops(index) for index in indices]


class StopsLazily(Stops):
    """The same, whose examples are an iterator that seems to end."""

    def __getitems__(self, indices):
        return map(stops, indices)


def stopping(*, kind):
    return kind()


class StopsToMove:
    def to(self, device):
        return nothing()


def hard_to_move(batch):
    return [batch, StopsToMove(), batch] if 7 in batch else [batch, batch, batch]


ORDER = fdm.load(numbers, n=10), fdm.shuffle()
MAKING = {
    "transform": fdm.pipeline(*ORDER, fdm.transform(stops), fdm.batch(2)),
    "augment": fdm.pipeline(*ORDER, fdm.augment(stops_with_key), fdm.batch(2)),
    "transform of batches": fdm.pipeline(*ORDER, fdm.batch(2), fdm.transform(stops)),
    "augment of batches": fdm.pipeline(*ORDER, fdm.batch(2), fdm.augment(stops_with_key)),
    "on the device": fdm.pipeline(*ORDER, fdm.batch(2), fdm.transfer(), fdm.transform(stops)),
    "augment on the device": fdm.pipeline(*ORDER, fdm.batch(2), fdm.transfer(), fdm.augment(stops_with_key)),
    "collate": fdm.pipeline(*ORDER, fdm.batch(2, collate=collated)),
    "transfer": fdm.pipeline(*ORDER, fdm.batch(2), fdm.transform(hard_to_move), fdm.transfer()),
    "source": fdm.pipeline(fdm.load(stopping, kind=Stops), fdm.shuffle(), fdm.batch(2)),
    "source of many": fdm.pipeline(fdm.load(stopping, kind=StopsTogether), fdm.shuffle(), fdm.batch(2)),
    "ambient": fdm.pipeline(*ORDER, fdm.augment(fdm.ambient(stops)), fdm.batch(2)),
}
OF_EXAMPLES = "transform", "augment", "source", "source of many", "ambient"


def passed(data):
    return list(data.loader("all", epoch=0))


def stepped(data):
    loader = data.loader("all", epoch=0)
    return [loader[step] for step in range(len(loader))]


def combined(data):
    return list(fdm.combine({"one": data.loader("all", epoch=0), "other": data.loader("all", epoch=0)}))


def on_host(data):
    return [finish(batch) for batch, finish in data.loader("all", epoch=0).on_host()]


def profiled(data):
    return data.profile("all")


def as_dataset(data):
    return list(data.dataset("all"))


def through_a_dataloader(data):
    return list(DataLoader(data.dataset("all"), batch_size=3))


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"workers": 1}, {"workers": 1, "threads": 2}], ids=str)
def test_a_stop_while_batches_are_made_is_an_error_in_every_way_of_running(options):
    for name, p in MAKING.items():
        with fdm.open(p, **options) as data:
            for read in (passed, combined, *(() if options else (stepped, profiled))):
                told(read, data, name)
            if name != "transfer":  # the trainer's to do then
                told(on_host, data, name)
            if name in OF_EXAMPLES and not options:
                told(as_dataset, data, name)
                told(through_a_dataloader, data, name)


def told(read, data, name):
    with pytest.raises(fdm.StopError, match="StopIteration was raised where an item was to be made") as caught:
        read(data)
    assert isinstance(caught.value, RuntimeError), name
    assert any("reading from the source" in note or "in stage" in note for note in caught.value.__notes__), name
    assert caught.value.__cause__ is not None, name


def test_a_source_that_seems_to_end_is_refused():
    with (
        fdm.open(fdm.pipeline(fdm.load(stopping, kind=StopsLazily), fdm.batch(4))) as data,
        pytest.raises(fdm.DataError, match="__getitems__ of StopsLazily returned 3 examples for 4 ids"),
    ):
        passed(data)


def cleans(upstream=None, part=None):
    return nothing()


def fetches(into):
    nothing()


def parts(upstream=None):
    return nothing()


def ids(upstream=None):
    return ["a", "b"]


def reads(source):
    """Reads by a map, which takes a stop for its end."""
    return {"all": list(map(source.__getitem__, range(len(source))))}


def of_source(source):
    return nothing()


class Unmeasurable(Stops):
    def __len__(self):
        return nothing()


@attrs.frozen
class Pool:
    def __call__(self):
        return nothing()


def written(into):
    (Path(into) / "file").write_text("text")


PREPARING = {
    "fetch": [fdm.fetch(fetches), fdm.clean(cleans)],
    "clean": [fdm.clean(cleans)],
    "clean of files": [fdm.fetch(written), fdm.clean(cleans)],
    "parts": [fdm.fetch(written), fdm.clean(cleans).each(parts)],
    "part": [fdm.fetch(written), fdm.clean(cleans).each(ids)],
    "load": [fdm.load(cleans)],
    "length": [fdm.load(stopping, kind=Unmeasurable)],
    "split": [fdm.load(numbers, n=10), fdm.split(of_source)],
    "stratify": [fdm.load(numbers, n=10), fdm.split({"train": 0.5, "val": None}, stratify=of_source)],
    "groups": [fdm.load(numbers, n=10), fdm.split({"train": 0.5, "val": None}, groups=of_source)],
    "key": [fdm.load(numbers, n=10), fdm.split({"train": 0.5, "val": None}, key=of_source)],
    "measure": [fdm.load(numbers, n=10), fdm.measure(of_source).on("all")],
    "measure of a source": [
        fdm.load(stopping, kind=Stops),
        fdm.split({"train": 9, "val": 1}, shuffle=False),
        fdm.measure(reads).on("train"),
    ],
}


@pytest.mark.parametrize("name", PREPARING)
def test_a_stop_while_data_is_prepared_is_an_error(name, tmp_path):
    p = fdm.pipeline(*PREPARING[name], fdm.batch(2))
    with pytest.raises(fdm.StopError, match="StopIteration") as caught:
        fdm.open(p, store=tmp_path)
    assert caught.value.__notes__
    assert isinstance(caught.value.__cause__, StopIteration)


def test_a_stop_while_weights_are_asked_for_is_an_error():
    p = fdm.pipeline(fdm.load(numbers, n=10), fdm.sample(of_source), fdm.batch(2))
    with fdm.open(p) as data, pytest.raises(fdm.StopError):
        data.loader("all", epoch=0)


def out_of_range(example):
    return [][example]


def test_an_index_that_is_not_there_does_not_end_a_pass_over_a_dataset():
    p = fdm.pipeline(fdm.load(numbers, n=3), fdm.transform(out_of_range))
    with fdm.open(p) as data, pytest.raises(IndexError, match="list index out of range"):
        list(data.dataset("all"))


def leaves(example):
    raise GeneratorExit


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"workers": 1}], ids=str)
def test_what_ends_generators_ends_no_pass_in_silence(options):
    p = fdm.pipeline(*ORDER, fdm.transform(leaves), fdm.batch(2))
    with fdm.open(p, **options) as data, pytest.raises((fdm.StopError, fdm.WorkerError)):
        passed(data)


class Received:
    """Cannot be received: what makes it again stops."""

    def __reduce__(self):
        return nothing, ()


def unreceivable(batch):
    return [batch, Received()] if 7 in batch else [batch]


def test_a_batch_that_stops_where_it_is_received_does_not_end_the_epoch():
    p = fdm.pipeline(*ORDER, fdm.batch(2), fdm.transform(unreceivable))
    with fdm.open(p, workers=1) as data, pytest.raises(fdm.WorkerError, match="too early"):
        passed(data)
