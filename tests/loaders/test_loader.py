"""Loaders and datasets on data of every form: the fast path, per-example work, device stages, and errors."""

from collections import namedtuple

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import fdm
from fdm.testing import doubled, example_table


Pair = namedtuple("Pair", ["image", "label"])  # noqa: PYI024 - the plain form is what users have


class Images(Dataset):
    """A map-style dataset that counts how it is read."""

    def __init__(self, n=10):
        self.n, self.single, self.together = n, 0, 0

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.single += 1
        return torch.full((2, 2), index), index

    def __getitems__(self, indices):
        self.together += 1
        return [(torch.full((2, 2), index), index) for index in indices]


IMAGES = Images()


def images():
    return IMAGES


def pairs(n):
    return [Pair(torch.tensor(float(index)), index) for index in range(n)]


def strings():
    return ["a", "b", "c"]


def texts():
    rows = [torch.arange(length) for length in (3, 1, 4, 1, 5)]
    words = ["x", "yy", "", "zzz", "é"]
    return fdm.Table({"tokens": fdm.Ragged.of(rows), "word": fdm.Ragged.of(words), "n": torch.arange(5)})


def first_two(example):
    return {**example, "tokens": example["tokens"][:2]}


def in_place(item):
    item["row"].mul_(0)
    return item


def failing(item, *, at):
    if (torch.as_tensor(item["row"]) == at).any():
        msg = "bad luck"
        raise ZeroDivisionError(msg)
    return item


def forgetful(item):
    item["row"] += 1


def stacked(examples):
    return torch.stack([example["row"] for example in examples])


def as_pair(batch):
    return Pair(batch["row"], batch["label"])


def on_meta(batch):
    assert "meta" == batch["row"].device.type
    return {**batch, "seen": torch.ones(1)}


def rows(n=10):
    return fdm.load(example_table, n=n)


def opened(*stages, **options):
    return fdm.open(fdm.pipeline(*stages), **options)


def test_a_table_without_stages_on_examples_is_gathered_by_columns():
    data = opened(rows(), fdm.batch(4))
    expected = example_table(10)
    for step, batch in enumerate(data.loader("all")):
        ids = list(range(10))[4 * step : 4 * step + 4]
        assert all(torch.equal(expected[name][ids], batch[name]) for name in ("row", "label", "group", "weight"))
        assert expected["text"][ids].tolist() == batch["text"].tolist()


def test_collating_one_by_one_gives_what_gathering_gives():
    gathered = list(opened(rows(), fdm.shuffle(), fdm.batch(4)).loader("all"))
    collated = list(opened(rows(), fdm.shuffle(), fdm.transform(doubled), fdm.batch(4)).loader("all"))
    for one, other in zip(gathered, collated, strict=True):
        assert torch.equal(one["row"] * 2, other["double"])
        assert one["text"].tolist() == other["text"].tolist()
        assert isinstance(other["text"], fdm.Ragged)


def test_ragged_rows_stay_ragged_when_a_transform_changed_their_length():
    batch = next(iter(opened(fdm.load(texts), fdm.transform(first_two), fdm.batch(5)).loader("all")))
    assert [[0, 1], [0], [0, 1], [0], [0, 1]] == [row.tolist() for row in batch["tokens"].tolist()]
    assert ["x", "yy", "", "zzz", "é"] == batch["word"].tolist()


def images_as_bytes(n):
    return fdm.Table({"image": fdm.Ragged.of([bytes([n] * (n + 1)) for n in range(n)]), "pixels": ragged_pixels(n)})


def ragged_pixels(n):
    return fdm.Ragged.of([torch.arange(4 * (n + 1)) for n in range(n)])


def decoded(example):
    return {
        "image": torch.zeros(3, 4, 4),
        "pixels": example["pixels"].reshape(-1, 4)[:1],
        "length": len(example["image"]),
    }


def test_rows_that_a_stage_has_decoded_are_no_longer_ragged():
    batch = opened(fdm.load(images_as_bytes, n=4), fdm.transform(decoded), fdm.batch(4)).loader("all")[0]
    assert (4, 3, 4, 4) == batch["image"].shape
    assert (4, 1, 4) == batch["pixels"].shape
    assert [1, 2, 3, 4] == batch["length"].tolist()


def test_a_source_with_getitems_is_read_batch_by_batch():
    data = opened(fdm.load(images), fdm.batch(4))
    IMAGES.single = IMAGES.together = 0
    batches = list(data.loader("all"))
    assert (0, 3) == (IMAGES.single, IMAGES.together)
    assert [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] == [label.tolist() for _, label in batches]


def test_examples_of_any_form_are_collated_as_torch_does():
    batch = opened(fdm.load(pairs, n=3), fdm.batch(3)).loader("all")[0]
    assert isinstance(batch, Pair)
    assert [[0.0, 1.0, 2.0], [0, 1, 2]] == [batch.image.tolist(), batch.label.tolist()]
    assert [["a", "b"], ["c"]] == list(opened(fdm.load(strings), fdm.batch(2)).loader("all"))


def test_a_collate_function_gets_the_list_of_examples():
    batches = list(opened(rows(), fdm.batch(4, collate=stacked)).loader("all"))
    assert [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] == [batch.tolist() for batch in batches]


def test_ids_are_added_to_batches_that_are_dicts():
    data = opened(rows(), fdm.shuffle(), fdm.batch(4, ids="id"))
    assert all(torch.equal(batch["row"], batch["id"]) for batch in data.loader("all"))
    with pytest.raises(fdm.DataError, match=r"stage 1 \(batch\): ids='row' .* has an entry 'row' already"):
        opened(rows(), fdm.batch(4, ids="row")).loader("all")[0]
    with pytest.raises(fdm.DataError, match="this one is a list"):
        opened(fdm.load(strings), fdm.batch(2, ids="id")).loader("all")[0]


def test_stages_run_at_their_place():
    context = fdm.RankContext(device="meta")
    p = fdm.pipeline(rows(), fdm.batch(4), fdm.transfer(skip=("label",)), fdm.transform(on_meta))
    with fdm.open(p, context=context) as data:
        batch = data.loader("all")[1]
    assert ["meta", "cpu", "cpu"] == [batch[name].device.type for name in ("row", "label", "seen")]
    assert "meta" == batch["text"].values.device.type


def test_without_transfer_nothing_moves():
    with fdm.open(fdm.pipeline(rows(), fdm.batch(4)), context=fdm.RankContext(device="meta")) as data:
        assert "cpu" == data.loader("all")[0]["row"].device.type


def test_a_transform_that_works_in_place_harms_no_other_batch():
    data = opened(rows(), fdm.transform(in_place), fdm.batch(4), fdm.transform(in_place))
    assert all(0 == batch["row"].sum() for batch in data.loader("all"))
    assert 45 == data._prepared.sources["all"]["row"].sum()


def test_a_batch_may_become_anything():
    assert isinstance(opened(rows(), fdm.batch(4), fdm.transform(as_pair)).loader("all")[0], Pair)


def test_the_batch_stage_that_names_a_split_wins():
    cut = fdm.split({"train": 6, "val": 4}, shuffle=False)
    data = opened(rows(), cut, fdm.alias(predict="val"), fdm.batch(2), fdm.batch(3).on("val"))
    assert {"train": 3, "val": 2, "predict": 2} == {name: len(data.loader(name)) for name in data.splits}
    data = opened(rows(), cut, fdm.alias(predict="val"), fdm.batch(4).on("val"), fdm.batch(1).on("predict"))
    assert {"val": 1, "predict": 4} == {name: len(data.loader(name)) for name in ("val", "predict")}
    with pytest.raises(fdm.DataError, match="no batch stage for 'train'"):
        data.loader("train")


def test_a_pipeline_without_batch_has_datasets_but_no_loaders():
    data = opened(rows(), fdm.transform(doubled))
    assert [0, 2, 4] == [data.dataset("all")[index]["double"].item() for index in range(3)]
    with pytest.raises(fdm.DataError, match="no batch stage"):
        data.loader("all")


def test_a_dataset_works_in_torchs_own_loader():
    dataset = opened(fdm.load(pairs, n=7), fdm.batch(2)).dataset("all")
    batches = list(DataLoader(dataset, batch_size=3))
    assert [[0, 1, 2], [3, 4, 5], [6]] == [batch.label.tolist() for batch in batches]
    assert 6 == dataset[-1].label
    with pytest.raises(IndexError):
        dataset[7]


def test_nothing_happens_before_the_first_next():
    data = opened(rows(), fdm.batch(5), fdm.transform(failing, at=0))
    iterator = iter(data.loader("all"))
    with pytest.raises(ZeroDivisionError):
        next(iterator)


def test_an_error_in_a_users_function_keeps_its_type_and_says_where_it_happened():
    p = fdm.pipeline(rows(), fdm.shuffle(), fdm.transform(failing, at=7), fdm.batch(5))
    with fdm.open(p, context=fdm.RankContext(rank=1, world_size=2)) as data, pytest.raises(ZeroDivisionError) as caught:
        [list(data.loader("all", epoch=epoch)) for epoch in range(10)]
    (note,) = caught.value.__notes__
    assert note.startswith("in stage 2, transform test_loader.failing(at=7), defined at ")
    assert "test_loader.py:" in note
    assert "split 'all', epoch " in note
    assert note.endswith("rank 1 of 2, example 7")


def test_an_error_on_a_batch_names_its_examples():
    data = opened(rows(), fdm.batch(4), fdm.transform(failing, at=5))
    with pytest.raises(ZeroDivisionError) as caught:
        data.loader("all")[1]
    assert caught.value.__notes__[0].endswith("split 'all', epoch 0, examples 4, 5, 6, 7")


def test_a_function_that_forgets_to_return_is_told_so():
    with pytest.raises(fdm.DataError, match="forgetful returned None in place of the item"):
        opened(rows(), fdm.batch(4), fdm.transform(forgetful)).loader("all")[0]


def test_unknown_names_are_refused_with_those_that_are_there():
    cut = fdm.split({"train": 0.5, "val": None})
    data = opened(rows(), cut, fdm.batch(2))
    for ask in (data.loader, data.dataset, data.indices, data.epochs):
        with pytest.raises(fdm.UnknownNameError, match=r"no split 'trian' \(did you mean 'train'\?\).*'train', 'val'"):
            ask("trian")
    with pytest.raises(fdm.UnknownNameError, match=r"stage 2 \(shuffle\): there is no split 'tran'.*'train', 'val'"):
        opened(rows(), cut, fdm.shuffle().on("tran"))
    with pytest.raises(fdm.UnknownNameError, match="wants the fact 'means', which nothing measured"):
        opened(rows(), fdm.batch(2), fdm.transform(failing, at=fdm.fact("means")))
    with pytest.raises(fdm.UnknownNameError, match=r"no column 'lable'.*did you mean 'label'"):
        opened(rows(), fdm.split({"train": 0.5, "val": None}, stratify="lable"))
    with pytest.raises(fdm.UnknownNameError, match="no column 'wieght'"):
        opened(rows(), fdm.sample("wieght"), fdm.batch(2)).loader("all")
    with pytest.raises(fdm.ParameterError, match=r"no option 'worker'"):
        fdm.open(fdm.pipeline(rows()), worker=3)


def test_steps_and_epochs_that_cannot_be_are_refused():
    data = opened(rows(), fdm.batch(4))
    loader = data.loader("all")
    for step in (3, -4, 100):
        with pytest.raises(IndexError, match=f"step {step} of a loader of 3 steps"):
            loader[step]
    with pytest.raises(fdm.DataError, match="from 0 to the loader's 3, not 4"):
        loader.snapshot(4)
    with pytest.raises(fdm.DataError, match="contiguous"):
        loader[::2]
    for epoch in (-1, 0.5, True, "1"):
        with pytest.raises(fdm.DataError, match="epoch is an integer of at least 0"):
            data.loader("all", epoch=epoch)


def test_snapshots_of_something_else_are_refused():
    cut = fdm.split({"train": 0.5, "val": None})
    data = opened(rows(), cut, fdm.shuffle(), fdm.batch(2))
    start = data.loader("train", epoch=3).snapshot(1)
    assert 3 == data.loader("train", start=start).epoch == data.loader("train", epoch=3, start=start).epoch
    with pytest.raises(fdm.SnapshotError, match="of epoch 3, but epoch 0 was asked for"):
        data.loader("train", epoch=0, start=start)
    with pytest.raises(fdm.SnapshotError, match="of split 'train', but the loader of 'val'"):
        data.loader("val", start=start)
    with pytest.raises(fdm.SnapshotError, match=r"Snapshot.from_dict"):
        data.loader("train", start=start.to_dict())
    other = opened(rows(), cut, fdm.shuffle(seed=5), fdm.batch(2))
    with pytest.raises(fdm.SnapshotError, match=r"\[shuffle seed=5 #\w+\], the snapshot has \[shuffle seed=0 #\w+\]"):
        other.loader("train", start=start)
    longer = opened(rows(12), cut, fdm.shuffle(), fdm.batch(2))
    with pytest.raises(fdm.SnapshotError, match=r"load .*n=12.*the snapshot has \[load .*n=10"):
        longer.loader("train", start=start)


def test_snapshots_outlive_changes_that_do_not_move_the_order():
    cut = fdm.split({"train": 0.5, "val": None})
    start = opened(rows(), cut, fdm.shuffle(), fdm.batch(2)).loader("train").snapshot(1)
    changed = opened(
        rows(),
        cut,
        fdm.shuffle(),
        fdm.take(1).on("val"),
        fdm.transform(doubled),
        fdm.batch(3, ids="id"),
        fdm.transfer(),
    )
    assert 1 == len(changed.loader("train", start=start))


def test_closed_data_says_so():
    with opened(rows(), fdm.batch(4)) as data:
        loader, dataset = data.loader("all"), data.dataset("all")
    data.close()
    for use in (lambda: data.loader("all"), lambda: loader[0], lambda: next(iter(loader)), lambda: dataset[0]):
        with pytest.raises(fdm.DataError, match="the data is closed"):
            use()


RUNS = []
SEEN = {}


def counted():
    RUNS.append(1)
    SEEN["last"] = True
    return example_table(4)


def counted_tally(source):
    RUNS.append(2)
    return {"mean": source["row"].float().mean()}


def plus(batch, *, offset):
    offset += 1
    return {**batch, "row": batch["row"] + offset}


def greedy_weights(source):
    source["weight"].mul_(0)
    return source["row"] + 1.0


def broken(source):
    raise ZeroDivisionError


def nothing(source):
    return None


def forgotten(examples):
    return None


def test_counters_and_caches_that_a_function_fills_are_no_constants(tmp_path):
    earlier = len(RUNS)
    p = fdm.pipeline(fdm.clean(counted), fdm.measure(counted_tally).on("all"), fdm.batch(2))
    before = fdm.fingerprint(p)
    for _ in range(3):
        fdm.open(p, store=tmp_path).close()
    assert [1, 2] == RUNS[earlier:]
    assert before == fdm.fingerprint(p)


def test_parameters_and_facts_that_are_changed_in_place_change_no_pipeline(tmp_path):
    p = fdm.pipeline(rows(), fdm.batch(4), fdm.transform(plus, offset=torch.tensor(1)))
    before = fdm.fingerprint(p)
    data = fdm.open(p)
    assert [2, 3, 4, 5] == data.loader("all")[0]["row"].tolist() == data.loader("all")[0]["row"].tolist()
    assert before == fdm.fingerprint(p)
    measured = fdm.open(fdm.pipeline(rows(), fdm.measure(counted_tally).on("all")), store=tmp_path)
    measured.facts["mean"].add_(100)
    assert 4.5 == measured.facts["mean"]


def test_a_weights_function_that_works_in_place_leaves_the_source_as_it_was():
    data = opened(rows(), fdm.sample(greedy_weights), fdm.batch(4))
    data.loader("all")[0]
    assert (data._prepared.sources["all"]["weight"] > 0).all()


@pytest.mark.parametrize(
    "stage", [fdm.split(broken), fdm.split({"a": None}, stratify=broken), fdm.split({"a": None}, key=broken)]
)
def test_errors_in_functions_of_a_split_say_where_the_function_is(stage):
    with pytest.raises(ZeroDivisionError) as caught:
        opened(rows(), stage)
    assert "in test_loader.broken(), defined at " in caught.value.__notes__[0]
    assert "in stage 1, split" in caught.value.__notes__[1]


def test_functions_that_forget_to_return_are_told_so():
    for stage in (fdm.split({"a": None}, stratify=nothing), fdm.split({"a": None}, groups=nothing)):
        with pytest.raises(fdm.DataError, match=r"nothing returned None.*end it with a return"):
            opened(rows(), stage)
    with pytest.raises(fdm.DataError, match="collate function returned None; end it with a return"):
        opened(rows(), fdm.batch(2, collate=forgotten)).loader("all")[0]


def test_an_error_at_the_transfer_names_its_stage():
    with pytest.raises(fdm.ContextError, match="device is one that torch knows"):
        fdm.RankContext(device="gpu")
    with pytest.raises(fdm.DataError, match=r"skip names 'lable' \(did you mean 'label'\?\)") as caught:
        opened(rows(), fdm.batch(2), fdm.transfer(skip=("lable",))).loader("all")[0]
    assert ["in stage 2, transfer to cpu"] == caught.value.__notes__


def test_a_default_device_changes_nothing():
    p = fdm.pipeline(rows(), fdm.shuffle(), fdm.transform(doubled), fdm.batch(4))
    data = fdm.open(p)
    expected = [batch["row"].tolist() for batch in data.loader("all", epoch=0)]
    torch.set_default_device("meta")
    try:
        assert expected == [batch["row"].tolist() for batch in data.loader("all", epoch=0)]
        assert 0 <= data.dataset("all")[0]["row"] < 10
        assert [3, 4] == data._prepared.sources["all"][3:5]["row"].tolist()
    finally:
        torch.set_default_device(None)


def test_prepare_runs_what_is_kept_and_nothing_else(tmp_path):
    p = fdm.pipeline(fdm.load(broken, source=None), fdm.split(broken), fdm.batch(2))
    fdm.Executor(store=tmp_path).prepare(p)
    before = len(RUNS)
    fdm.Executor(store=tmp_path).prepare(fdm.pipeline(fdm.clean(counted), fdm.split(broken), fdm.batch(2)))
    assert [1] == RUNS[before:]


def test_options_that_cannot_be_are_refused_where_they_are_given():
    for options in ({"pool": 3}, {"wait": "3"}, {"wait": -1}, {"progress": "yes"}, {"context": "cpu"}):
        with pytest.raises((fdm.PipelineError, TypeError, ValueError)):
            fdm.Executor(**options)
    assert fdm.Executor(store="x").store.is_absolute()
    assert "~" not in str(fdm.Executor(store="~/x").store)


def test_opened_data_says_for_whom_and_cannot_be_redirected():
    data = opened(rows(), fdm.batch(2))
    assert fdm.RankContext().rank == data.context.rank
    with pytest.raises(AttributeError):
        data.context = fdm.RankContext(rank=1, world_size=2)
    with pytest.raises(AttributeError):
        data.pipeline = None


def test_functions_among_the_parameters_have_importable_names():
    assert fdm.transform(failing, at=failing) != fdm.transform(failing, at=doubled)
    for value in (lambda item: item, [lambda item: item], {"a": [].append}):
        with pytest.raises(fdm.PipelineError):
            fdm.transform(failing, at=value)
