"""The datamodule around a pipeline, under the real Trainer: hooks, roles, hyperparameters, release, tuner and CLI."""

import copy
import pickle
import sys
from contextlib import nullcontext

import lightning.pytorch as pl
import numpy as np
import pytest
import pytorch_lightning
import torch
from lightning.pytorch.callbacks import BasePredictionWriter, Callback
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.tuner import Tuner
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lit import NOISY, PLAIN, Notes, Saves, epochs, quiet, table, tables, trainer
from torch.utils.data import DataLoader

import fdm
import fdm.lightning
from fdm.lightning import datamodule, datamodule_class
from fdm.lightning._feed import Train
from fdm.testing import every_rank


pytestmark = quiet

RUNS = []


def counted(n):
    RUNS.append("clean")
    return table(n)


def statistics(train):
    RUNS.append("measure")
    return {"mean": train["x"].mean().item(), "classes": 10}


def centred(batch, *, mean):
    return {**batch, "x": batch["x"] - mean}


def marked(batch):
    return {**batch, "marked": torch.ones(1)}


def broken(batch):
    raise ZeroDivisionError


def pipeline(batch_size: int = 4, *, n: int = 40) -> fdm.Pipeline:
    """Numbers.

    Args:
        batch_size: examples in a batch
        n: how many numbers there are
    """
    cut = fdm.split({"train": 24, "val": 8, "test": None})
    steps = fdm.batch(batch_size, ids="ids"), fdm.transfer(), fdm.augment(noisy_too)
    return fdm.pipeline(fdm.load(table, n=n), cut, fdm.alias(predict="test"), fdm.shuffle().on("train"), *steps, seed=3)


def noisy_too(batch, key):
    return {**batch, "noise": key.uniform()}


HOOKS = (
    *("prepare_data", "setup", "train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader"),
    *("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"),
    *("state_dict", "load_state_dict", "teardown", "on_exception"),
)


def recorded(parent):
    """A subclass of a datamodule class that notes its calls, and the Trainer's stage."""

    def noting(name):
        def hook(self, *args, **kwargs):
            self.calls.append((name, self.trainer.state.stage and self.trainer.state.stage.value))
            return getattr(parent, name)(self, *args, **kwargs)

        return hook

    return type("Recorded", (parent,), {"calls": [], **{name: noting(name) for name in HOOKS}})()


class ByHand(pl.LightningDataModule):
    """What people write."""

    def setup(self, stage):
        numbers = torch.utils.data.random_split(range(40), [24, 8, 8])
        self.sets = {name: list(part) for name, part in zip(["train", "val", "test"], numbers, strict=True)}

    def loader(self, name):
        examples = [{"x": torch.tensor(float(number)), "id": number} for number in self.sets[name]]
        return DataLoader(examples, batch_size=4, shuffle=name == "train")

    def train_dataloader(self):
        return self.loader("train")

    def val_dataloader(self):
        return self.loader("val")

    def test_dataloader(self):
        return self.loader("test")

    predict_dataloader = test_dataloader

    def state_dict(self):
        return {"anything": 1}


# Of the datamodule by hand, whose loaders have few workers and are not resumable.
@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*dataloader is not resumable")
@pytest.mark.parametrize("sanity", [0, 2])
def test_hooks_are_called_as_those_of_a_datamodule_by_hand(sanity, tmp_path):
    found = []
    for number, parent in enumerate([ByHand, datamodule_class(pipeline)]):
        module, data = Notes(), recorded(parent)
        saves = Saves(tmp_path / str(number), every_n_train_steps=2)
        options = {"max_epochs": 2, "num_sanity_val_steps": sanity}
        runs = trainer(**options, callbacks=[saves], enable_checkpointing=True)
        runs.fit(module, datamodule=data)
        runs.validate(module, datamodule=data)
        runs.test(module, datamodule=data, ckpt_path=next(iter(saves.saved)))
        runs.predict(module, datamodule=data)
        trainer(**options).fit(module, datamodule=data, ckpt_path=next(iter(saves.saved)))
        found.append(data.calls)
    assert found[0] == found[1]
    assert 100 < len(found[0])


@pytest.mark.filterwarnings("ignore:You have overridden")  # Lightning says which of two hooks it takes
def test_without_stages_at_a_hooks_place_the_modules_own_hook_wins():
    class Own(Notes):
        def __init__(self):
            super().__init__()
            self.called = []

        def on_before_batch_transfer(self, batch, _):
            self.called.append("before")
            return batch

        def transfer_batch_to_device(self, batch, device, _):
            self.called.append("transfer")
            return batch

        def on_after_batch_transfer(self, batch, _):
            self.called.append("after")
            return batch

    for stages, expected in (
        ([], ["before", "transfer", "after"]),
        ([fdm.transfer()], ["before", "after"]),
        ([fdm.transfer(), fdm.transform(marked)], ["before"]),
    ):
        module = Own()
        trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0).fit(
            module, datamodule=datamodule(fdm.pipeline(PLAIN, *stages))
        )
        assert expected == module.called


def test_batches_move_as_the_transfer_stage_says():
    data = datamodule(fdm.pipeline(PLAIN, fdm.transfer(skip=("id",)), fdm.transform(marked)))
    loaders = data.train_dataloader(), data.val_dataloader()
    batch = next(iter(loaders[0]))
    moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert ["meta", "cpu"] == [moved[name].device.type for name in ("x", "id")]
    assert "marked" in data.on_after_batch_transfer(moved, 0)
    with pytest.raises(fdm.DataError, match="from none of this datamodule's loaders"):
        data.on_after_batch_transfer(moved, 0)
    wrong = datamodule(fdm.pipeline(PLAIN, fdm.transfer(skip=("idd",))))
    with pytest.raises(fdm.DataError, match="did you mean 'id'") as caught:
        trainer().fit(Notes(), datamodule=wrong)
    assert ["in stage 4, transfer to cpu"] == caught.value.__notes__


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")  # it has none
def test_what_a_pipeline_cannot_have_is_absent():
    data = datamodule(fdm.pipeline(fdm.load(table, n=8), fdm.split({"train": None}), fdm.batch(4)))
    module = Notes()
    trainer(max_epochs=1).fit(module, datamodule=data)
    assert 2 == len(module.seen)
    assert [] == module.evaluated
    for ask in (trainer().validate, trainer().test, trainer().predict):
        with pytest.raises(MisconfigurationException, match="_dataloader` must be implemented"):
            ask(module, datamodule=data)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")  # it has none
def test_what_only_the_sources_know_is_asked_for_when_it_is_needed():
    p = fdm.pipeline(fdm.load(tables, n=24), fdm.batch(4))
    with pytest.raises(fdm.UnknownNameError, match="no split 'train'; the splits are 'a', 'b', 'val', 'val2'"):
        trainer().fit(Notes(), datamodule=datamodule(p))
    module = Notes()
    trainer(max_epochs=1).fit(module, datamodule=datamodule(p, train="a"))
    assert {(0, (0, 1, 2, 3)), (0, (4, 5))} == {(at, tuple(ids)) for at, ids in module.evaluated}
    trainer(max_epochs=1).fit(module := Notes(), datamodule=datamodule(p, train="b", val=None))
    assert (2, 0) == (len(module.seen), len(module.evaluated))


def test_a_split_that_cannot_be_there_is_refused_when_it_is_named():
    with pytest.raises(fdm.UnknownNameError, match=r"val='vla': there is no split 'vla' \(did you mean 'val'\?\)"):
        datamodule(PLAIN, val="vla")
    for wrong in (3, ("val", "val"), ("",)):
        with pytest.raises(fdm.PipelineError, match="val is the name of a split, a tuple"):
            datamodule(PLAIN, val=wrong)
    with pytest.raises(fdm.ParameterError, match=r"no option 'worker' \(did you mean 'workers'\?\)"):
        datamodule(PLAIN, worker=3)
    with pytest.raises(fdm.ParameterError, match="no option 'context'"):
        datamodule(PLAIN, context=fdm.RankContext())
    with pytest.raises(fdm.PipelineError, match=r"takes a Pipeline, made by fdm.pipeline\(...\), not a list"):
        datamodule([PLAIN])
    with pytest.raises(fdm.PipelineError, match="base is a LightningDataModule class"):
        datamodule(PLAIN, base=Notes)


@pytest.mark.parametrize("role", ["val", "test", "predict"])
def test_several_loaders_come_one_after_the_other_with_their_number(role):
    p = fdm.pipeline(fdm.load(tables, n=24), fdm.batch(4), fdm.transfer(), fdm.transform(marked))
    module, data = Notes(), datamodule(p, **{role: ("val", "val2")})
    run = {"val": trainer().validate, "test": trainer().test, "predict": trainer().predict}[role]
    predictions = run(module, datamodule=data)
    if role == "predict":
        assert [[[0, 10, 20, 30], [40, 50]], [[0, 10, 20, 30]]] == [[p.tolist() for p in each] for each in predictions]
    else:
        assert [(0, [0, 1, 2, 3]), (0, [4, 5]), (1, [0, 1, 2, 3])] == module.evaluated


def test_what_is_kept_is_prepared_once_per_store(tmp_path):
    p = fdm.pipeline(
        fdm.clean(counted, n=40),
        fdm.split({"train": 24, "val": 8, "test": None}),
        fdm.measure(statistics).on("train"),
        fdm.batch(4),
        fdm.transform(centred, mean=fdm.fact("mean")),
    )
    RUNS.clear()
    data = datamodule(p, store=tmp_path)
    assert 10 == data.facts["classes"]  # before any Trainer
    for per_node in (True, False):
        data.prepare_data_per_node = per_node
        trainer(max_epochs=1).fit(Notes(), datamodule=data)
        trainer().test(Notes(), datamodule=datamodule(p, store=tmp_path))
    assert ["clean", "measure"] == RUNS
    datamodule(p, store=tmp_path / "other").prepare_data()
    assert ["clean", "measure"] * 2 == RUNS


def test_setup_is_lazy():
    data = datamodule(fdm.pipeline(PLAIN, fdm.transform(broken)))
    data.setup("fit")
    loaders = data.train_dataloader(), data.val_dataloader()
    iterators = [iter(loader) for loader in loaders]
    assert [6, 2] == list(map(len, loaders))
    with pytest.raises(ZeroDivisionError):
        next(iterators[0])


OPEN = []


class Closing(list):
    """A source that notes whether it is open."""

    def __init__(self, n):
        super().__init__({"x": torch.tensor(float(number)), "id": torch.tensor(number)} for number in range(n))
        OPEN.append(id(self))

    def close(self):
        OPEN.remove(id(self))


@pytest.mark.parametrize("options", [{}, {"threads": 2}], ids=str)
@pytest.mark.parametrize("fails", [True, False])
def test_teardown_and_an_exception_close_the_sources(fails, options):
    p = fdm.pipeline(fdm.load(Closing, n=40), fdm.split({"train": 24, "val": None}), fdm.batch(4))
    data, module = datamodule(fdm.pipeline(p, fdm.transform(broken)) if fails else p, **options), Notes()
    with pytest.raises(ZeroDivisionError) if fails else nullcontext():
        trainer(max_epochs=1).fit(module, datamodule=data)
    assert [] == OPEN


def test_teardown_and_an_exception_release_the_data_and_it_can_be_used_again():
    for fails in (True, False):
        p = fdm.pipeline(PLAIN, fdm.transform(broken)) if fails else PLAIN
        data = datamodule(p)
        opened, module = data.data, Notes()
        if fails:
            with pytest.raises(ZeroDivisionError):
                trainer().fit(module, datamodule=data)
        else:
            trainer(max_epochs=1).fit(module, datamodule=data)
        assert data._data is None
        with pytest.raises(fdm.DataError, match="closed"):
            opened.loader("train")
        assert 24 == data.data.splits["train"]
        data.teardown("fit")
    trainer(max_epochs=1).fit(Notes(), datamodule=data)
    trainer().test(Notes(), datamodule=data)
    assert data._data is None


def test_a_fit_begins_where_its_trainer_does():
    data, first, second, third = datamodule(NOISY), Notes(), Notes(), Notes()
    trainer(max_epochs=2).fit(first, datamodule=data)
    runs = trainer(max_epochs=1)
    runs.fit(second, datamodule=data)
    runs.fit_loop.max_epochs = 3
    runs.fit(third, datamodule=data)
    expected = epochs(NOISY)
    assert [expected[:12], expected[:6], expected[6:]] == [first.seen, second.seen, third.seen]


def test_who_looks_at_the_loader_changes_nothing(tmp_path):
    class Looks(Callback):
        def on_train_start(self, trainer, module):
            next(iter(trainer.train_dataloader))

        on_train_epoch_end = on_train_start

        def on_train_batch_end(self, trainer, module, *_):
            next(iter(trainer.train_dataloader))

    module, saves = Notes(), Saves(tmp_path)
    trainer(callbacks=[Looks(), saves], enable_checkpointing=True).fit(module, datamodule=datamodule(PLAIN))
    assert epochs(PLAIN) == module.seen
    for path, done in saves.saved.items():
        again = Notes()
        trainer(callbacks=[Looks()]).fit(again, datamodule=datamodule(PLAIN), ckpt_path=path)
        assert module.seen[done:] == again.seen


def test_limits_and_runs_for_a_look():
    def fit(**options):
        module = Notes()
        trainer(**options).fit(module, datamodule=datamodule(NOISY))
        return module

    expected = epochs(NOISY)
    assert expected[:4] + expected[6:10] == fit(max_epochs=2, limit_train_batches=4).seen
    assert expected[:3] == fit(max_epochs=1, limit_train_batches=0.5).seen
    assert expected[:2] == fit(fast_dev_run=2).seen
    assert expected[:2] * 3 == fit(overfit_batches=2).seen  # the same two in every epoch
    looked = fit(max_epochs=1, val_check_interval=2, limit_val_batches=1, num_sanity_val_steps=0)
    assert 3 == len(looked.evaluated)
    assert expected == fit(reload_dataloaders_every_n_epochs=1).seen == fit(accumulate_grad_batches=3).seen


@pytest.mark.parametrize("form", ["instance", "class"])
def test_hyperparameters_are_in_the_checkpoint_and_make_the_datamodule_again(form, tmp_path):
    data = datamodule(pipeline(8)) if form == "instance" else datamodule_class(pipeline)(8)
    saves = Saves(tmp_path)
    trainer(max_epochs=1, callbacks=[saves], enable_checkpointing=True).fit(Notes(), datamodule=data)
    path = next(iter(saves.saved))
    saved = torch.load(path, weights_only=True)
    if form == "instance":
        assert {"data/seed": 3, "data/batch/size": 8}.items() <= saved["datamodule_hyper_parameters"].items()
        assert all(name.startswith("data/") for name in saved["datamodule_hyper_parameters"])
        again = type(data).load_from_checkpoint(path, pipeline=pipeline(8))
    else:
        assert {"batch_size": 8, "n": 40} == saved["datamodule_hyper_parameters"]
        again = datamodule_class(pipeline).load_from_checkpoint(path)
        assert pipeline(2) == datamodule_class(pipeline).load_from_checkpoint(path, batch_size=2).pipeline
    assert pipeline(8) == again.pipeline
    assert saved["FdmDataModule"] == again.state_dict()
    assert ["train"] == list(again.state_dict()["cursor"])


def test_a_logger_gets_the_hyperparameters_beside_the_modules(tmp_path):
    class Sized(Notes):
        def __init__(self, batch_size=3):
            super().__init__()
            self.save_hyperparameters()

    logger = pl.loggers.CSVLogger(tmp_path)
    trainer(fast_dev_run=False, max_epochs=1, logger=logger, log_every_n_steps=1).fit(
        Sized(), datamodule=datamodule(PLAIN)
    )
    text = (tmp_path / "lightning_logs" / "version_0" / "hparams.yaml").read_text()
    assert "batch_size: 3" in text
    assert "data/batch/size: 4" in text


class First(datamodule_class(pipeline)):
    pass


class Renamed(datamodule_class(pipeline)):
    pass


def test_a_renamed_class_is_restored_all_the_same(tmp_path):
    module, saves = Notes(), Saves(tmp_path, every_n_train_steps=4)
    trainer(callbacks=[saves], enable_checkpointing=True).fit(module, datamodule=First())
    for path, done in saves.saved.items():
        trainer().fit(again := Notes(), datamodule=Renamed(), ckpt_path=path)
        assert module.seen[done:] == again.seen
    with pytest.raises(fdm.SnapshotError, match="belongs to another pipeline"):
        trainer().fit(Notes(), datamodule=Renamed(n=41), ckpt_path=path)


def test_a_checkpoint_of_another_pipeline_is_refused_by_the_stage_that_differs(tmp_path):
    saves = Saves(tmp_path, every_n_train_steps=4)
    trainer(max_epochs=1, callbacks=[saves], enable_checkpointing=True).fit(Notes(), datamodule=datamodule(PLAIN))
    (path,) = saves.saved
    other = datamodule(fdm.replace(PLAIN, fdm.shuffle(seed=9).on("train")))
    with pytest.raises(
        fdm.SnapshotError, match=r"where this one has \[shuffle seed=9 #\w+\], the snapshot has \[shuffle seed=3"
    ):
        trainer().fit(Notes(), datamodule=other, ckpt_path=path)
    trainer().test(Notes(), datamodule=other, ckpt_path=path)  # weights may be tested on anything
    changed = datamodule(fdm.pipeline(PLAIN, fdm.transform(marked)), train="train")
    trainer(max_epochs=2).fit(Notes(), datamodule=changed, ckpt_path=path)
    with pytest.raises(fdm.SnapshotError, match="of the train splits 'train', but this datamodule trains on 'val'"):
        trainer().fit(Notes(), datamodule=datamodule(PLAIN, train="val"), ckpt_path=path)
    for wrong in ({"version": 2}, {"version": 1}, {"version": 1, "cursor": {}, "ended": []}):
        with pytest.raises(fdm.SnapshotError):
            datamodule(PLAIN).load_state_dict(wrong)


def test_a_checkpoint_without_the_datamodules_state_goes_on_by_the_trainers_counts(tmp_path):
    saves = Saves(tmp_path, every_n_train_steps=4)
    trainer(callbacks=[saves], enable_checkpointing=True).fit(module := Notes(), datamodule=datamodule(PLAIN))
    for path, done in list(saves.saved.items())[:2]:
        checkpoint = torch.load(path, weights_only=True)
        del checkpoint["FdmDataModule"]
        torch.save(checkpoint, path)
        with pytest.warns(UserWarning, match="your dataloader is not resumable"):
            trainer().fit(again := Notes(), datamodule=datamodule(PLAIN), ckpt_path=path)
        assert module.seen[done:] == again.seen


def test_it_prints_its_roles_and_its_pipeline_and_opens_nothing():
    data = datamodule(fdm.pipeline(fdm.load(broken), PLAIN.stages[1], fdm.batch(4)))
    assert ["train    train", "val      val", "test     test", "predict  absent"] == str(data).splitlines()[:4]
    assert "0 load   test_lightning.broken()" in str(data)
    data = datamodule(PLAIN)
    data.setup("fit")
    assert "train    train 24" == str(data).splitlines()[0]
    assert repr(data).startswith("<fdm datamodule, open")


def test_the_batch_size_can_be_set():
    data = datamodule_class(pipeline)(batch_size=2)
    assert 12 == len(data.train_dataloader())
    data.batch_size = 8
    assert (3, 8, 8) == (len(data.train_dataloader()), data.batch_size, data.hparams.batch_size)
    assert pipeline(8) == data.pipeline
    several = datamodule(fdm.pipeline(fdm.load(table, n=40), PLAIN.stages[1], fdm.batch(2), fdm.batch(3).on("train")))
    several.batch_size = 5
    assert [5, 4] == [len(several.train_dataloader()), len(several.val_dataloader())]
    for size in (0, True, 2.5, None):
        with pytest.raises(fdm.PipelineError, match=f"size is an integer of at least 1, not {size}"):
            data.batch_size = size
    assert 8 == data.batch_size
    data.batch_size = np.int64(4)
    assert "4" == repr(data.batch_size) == repr(data.pipeline.stages[4].size) == repr(data.hparams.batch_size)
    assert not hasattr(datamodule(fdm.pipeline(fdm.load(table, n=3))), "batch_size")


def test_the_tuner_finds_a_batch_size(tmp_path):
    data, module = datamodule(NOISY), Notes()
    runs = trainer(default_root_dir=tmp_path, max_epochs=1, limit_val_batches=0)
    found = Tuner(runs).scale_batch_size(module, datamodule=data, init_val=2, max_trials=3, steps_per_trial=1)
    assert found == data.batch_size == data.pipeline.stages[3].size > 4
    module.seen.clear()
    runs.fit(module, datamodule=data)
    assert epochs(data.pipeline, count=1) == module.seen


class Multiplies(Notes):
    def __init__(self, factor: int = 1):
        super().__init__()
        self.save_hyperparameters()


def made_by_hand(size: int = 4) -> pl.LightningDataModule:
    return datamodule(pipeline(size))


Numbers = datamodule_class(pipeline)


# Lightning 2.6 calls jsonargparse in ways that it no longer likes.
@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
@pytest.mark.parametrize("form", ["class", "factory"])
def test_the_command_line_makes_it_from_a_class_and_from_a_factory(form, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    argument = "batch_size" if form == "class" else "size"
    options = {"logger": False, "enable_checkpointing": True, "max_epochs": 1, "default_root_dir": str(tmp_path)}
    silent = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    cli = LightningCLI(
        Multiplies,
        Numbers if form == "class" else made_by_hand,
        args=["fit", "--seed_everything=1", f"--data.{argument}=8"],
        trainer_defaults={**options, **silent},
        save_config_callback=None,
    )
    assert 8 == cli.datamodule.batch_size
    assert 3 == len(cli.model.seen)
    (path,) = (tmp_path / "checkpoints").glob("*.ckpt")
    if form == "class":
        assert pipeline(8) == Numbers.load_from_checkpoint(path).pipeline


class Written(BasePredictionWriter):
    def __init__(self):
        super().__init__("batch_and_epoch")
        self.batches, self.whole = [], None

    def write_on_batch_end(self, trainer, module, prediction, batch_indices, *_):
        self.batches.append((prediction.tolist(), batch_indices))

    def write_on_epoch_end(self, trainer, module, predictions, batch_indices):
        self.whole = batch_indices


def test_prediction_writers_get_the_ids():
    writer, data = Written(), Numbers(batch_size=3)
    trainer(callbacks=[writer]).predict(Notes(), datamodule=data)
    ids = data.data.indices("test").tolist()
    assert [([number * 10 for number in ids[at : at + 3]], ids[at : at + 3]) for at in (0, 3, 6)] == writer.batches
    assert [[ids[:3], ids[3:6], ids[6:]]] == writer.whole


def test_the_other_tree_of_classes_works_too(tmp_path):
    class Module(pytorch_lightning.LightningModule):
        training_step, validation_step = Notes.training_step, Notes.validation_step
        configure_optimizers = Notes.configure_optimizers

        def __init__(self):
            super().__init__()
            self.layer, self.one_cycle = torch.nn.Linear(1, 1), False
            self.seen, self.evaluated = [], []

    data = datamodule(NOISY, base=pytorch_lightning.LightningDataModule)
    assert isinstance(data, pytorch_lightning.LightningDataModule)
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    runs = pytorch_lightning.Trainer(max_epochs=1, enable_checkpointing=False, **silent)
    runs.fit(module := Module(), datamodule=data)
    assert epochs(NOISY, count=1) == module.seen


@pytest.mark.parametrize("make", [lambda: datamodule(PLAIN), lambda: Numbers(8), lambda: Renamed(8)])
def test_it_can_be_sent_to_another_process(make):
    data = make()
    data.setup("fit")
    next(iter(data.train_dataloader()))
    for again in (pickle.loads(pickle.dumps(data)), copy.deepcopy(data)):
        assert type(data).__name__ == type(again).__name__
        assert data.pipeline == again.pipeline
        assert len(data.train_dataloader()) == len(again.train_dataloader())


def test_a_user_may_override_any_hook():
    class Own(datamodule_class(pipeline)):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return {**super().on_after_batch_transfer(batch, dataloader_idx), "own": 1}

        def on_before_batch_transfer(self, batch, dataloader_idx):
            return {**batch, "x": batch["x"] * 0}

    class Sees(Notes):
        def training_step(self, batch, _):
            assert 1 == batch["own"]
            assert 0 == batch["x"].sum()
            return super().training_step(batch, _)

    trainer(max_epochs=1).fit(module := Sees(), datamodule=Own())
    assert epochs(pipeline(), count=1) == module.seen


def test_what_a_factory_makes_is_a_pipeline():
    with pytest.raises(fdm.PipelineError, match="table returns a Pipeline, made by"):
        datamodule_class(table)(3)


def test_a_role_may_have_several_splits_of_any_name():
    first = fdm.load(tables, n=24)
    assert ("b", "a") == datamodule(fdm.pipeline(first, fdm.batch(2)), train=["b", "a"]).roles.train


def test_training_is_refused_on_all_ranks_where_some_would_have_no_batch():
    p = fdm.pipeline(fdm.load(table, n=2), fdm.alias(train="all"), fdm.batch(4))
    for context in every_rank(3):
        with (
            fdm.open(p, context=context) as data,
            pytest.raises(fdm.DataError, match="fewer examples than there are ranks"),
        ):
            Train(data, ("train",)).check_even()
    for context in every_rank(2):
        with fdm.open(p, context=context) as data:
            Train(data, ("train",)).check_even()
