"""Classes of datamodules: their names, arguments, options and attributes, as users, pickle and LightningCLI see them."""

import copy
import multiprocessing
import pickle
import sys
import warnings
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import lit_classes
import pytest
from lightning.pytorch.cli import LightningCLI
from lit import PLAIN, SEVERAL, Notes, Saves, epochs, quiet, table, trainer
from lit_classes import Clashing, Digits, Larger, Many, Named, Plain, Threaded, digits, local
from torch.utils.data import DataLoader

import fdm
import fdm.lightning
from fdm.lightning import datamodule, datamodule_class


# Lightning 2.6 calls jsonargparse in ways that it no longer likes.
pytestmark = [*quiet, pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")]


def test_a_class_has_the_name_that_the_user_gives_it():
    for cls, name in (
        (Digits, "Digits"),
        (Larger, "Larger"),
        (Named, "Named"),
        (Threaded, "Threaded"),
        (lit_classes.Holds.Inner, "Holds.Inner"),
        (local(), "local.<locals>.Local"),
        (lit_classes.Other, "One"),
        (lit_classes.First, "First"),
        (lit_classes.Second, "Second"),
        (lit_classes.Third, "Third"),
        (lit_classes.Holds.Later, "Holds.Later"),
        (lit_classes.Walrus, "Walrus"),
    ):
        assert f"<class 'lit_classes.{name}'>" == repr(cls)
        made = cls()
        assert repr(made).startswith(f"<{name}\n")
        assert name == made.__class__.__qualname__
        assert cls is type(made)
    for unnamed in (lit_classes.in_a_dict["k"], lit_classes.in_a_call, lit_classes.attribute_of_one[0]):
        assert "FdmDataModule" == unnamed.__qualname__
    assert "FdmDataModule" == datamodule_class(digits).__qualname__


def test_instances_and_classes_are_pickled_by_their_names():
    several = (lit_classes.One, lit_classes.First, lit_classes.Second, lit_classes.Third, lit_classes.Walrus)
    for cls in (Digits, Larger, Named, Threaded, lit_classes.Holds.Inner, lit_classes.Holds.Later, *several):
        assert cls is pickle.loads(pickle.dumps(cls))
        for again in (pickle.loads(pickle.dumps(cls(8))), copy.deepcopy(cls(8)), copy.copy(cls(8))):
            assert cls is type(again)
            assert digits(8) == again.pipeline
    for cls in (local(), datamodule_class(digits), datamodule_class(partial(digits, n=41))):
        again = pickle.loads(pickle.dumps(cls(batch_size=8)))
        assert cls.__qualname__ == type(again).__qualname__
        assert cls(batch_size=8).pipeline == again.pipeline
        assert cls is type(copy.deepcopy(cls(batch_size=8)))


def first_batch(data):
    return type(data).__qualname__, next(iter(data.train_dataloader()))["id"].tolist()


def test_instances_can_be_sent_to_processes_that_begin_anew():
    made = [Digits(8), Larger(), Named(2), local()(4), datamodule(digits(3))]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert [first_batch(each) for each in made] == pool.map(first_batch, made)


SILENT = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "logger": False}


def cli(*args, data=None, **options):
    defaults = {**SILENT, "enable_checkpointing": False, "max_epochs": 1}
    made = LightningCLI(
        Notes,
        data,
        args=["--seed_everything=1", *args],
        trainer_defaults=defaults,
        save_config_callback=None,
        run=False,
        **options,
    )
    return made.datamodule


def test_the_command_line_finds_classes_by_path_and_by_name(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    several = {"data": pl.LightningDataModule, "subclass_mode_data": True}
    for name, cls in (
        ("lit_classes.Digits", Digits),
        ("lit_classes.Named", Named),
        ("Named", Named),
        ("Larger", Larger),
    ):
        made = cli(f"--data={name}", "--data.batch_size=16", **several)
        assert (cls, 16) == (type(made), made.batch_size)
        made = cli(f"--data={name}", "--data.n=48", "--data.threads=1", "--data.prefetch=3", **several)
        assert (48, 1, 3) == (made.hparams.n, made._executor.threads, made._executor.prefetch)
    with pytest.raises(SystemExit):
        cli("--help", data=Named)
    for asked in ("--data.help=Digits", "--help"):
        with pytest.raises(SystemExit):
            cli(asked, **several)
    told = capsys.readouterr().out
    assert {"lit_classes.Digits,", "lit_classes.Named,"} <= set(told.split())
    assert "examples in a batch" in told
    assert "--data.workers" in told
    assert "FdmDataModule" not in told


def test_options_of_an_executor_are_given_to_an_instance(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    for made in (
        Digits(8, workers=1, store=tmp_path),
        cli("--data.batch_size=8", "--data.workers=1", f"--data.store={tmp_path}", data=Digits),
    ):
        executor = made.data and made._executor
        assert (1, tmp_path, 0) == (executor.workers, executor.store, executor.threads)
        assert digits(8) == made.pipeline
        assert [step[0][0] for step in epochs(digits(8), 1)] == [
            each["id"].tolist() for each in made.train_dataloader()
        ]
        made.teardown()
    assert {"batch_size": 8, "n": 40} == dict(Digits(8, workers=1).hparams)
    assert 2 == Threaded()._executor.threads == cli(data=Threaded)._executor.threads
    assert 0 == Threaded(threads=0)._executor.threads
    with pytest.raises(fdm.ParameterError, match=r"unexpected keyword argument 'worker' \(did you mean 'workers'\?\)"):
        Digits(worker=2)
    with pytest.raises(fdm.ParameterError, match="'context'"):
        Digits(context=fdm.RankContext())
    with pytest.raises(fdm.PipelineError, match="workers is an integer of at least 0"):
        Digits(workers=-1)


def test_an_argument_of_the_factory_wins_over_an_option_of_its_name():
    made = Clashing(workers=8, store="here", prefetch=3)
    assert (8, 0, None, 1, 3) == (
        made.batch_size,
        made._executor.workers,
        made._executor.store,
        made._executor.threads,
        made._executor.prefetch,
    )
    assert {"workers": 8, "store": "here"} == dict(made.hparams)


class Written(pl.LightningDataModule):
    """What `save_hyperparameters` makes of such arguments."""

    def __init__(self, first, /, *sizes, kind="plain", **more):
        super().__init__()
        self.save_hyperparameters()


def test_arguments_of_a_factory_are_hyperparameters_as_lightning_has_them():
    for args, kwargs in (((1,), {}), ((1, 2), {"kind": "odd"}), ((1,), {"other": 3, "rest": 4})):
        assert dict(Written(*args, **kwargs).hparams) == dict(Many(*args, **kwargs).hparams)
    assert 1 + 2 + 3 == Many(1, 2, other=3).batch_size
    assert "more" not in Many(1).hparams


class Sized(Notes):
    def __init__(self, batch_size=3):
        super().__init__()
        self.save_hyperparameters()


def test_hyperparameters_may_be_left_out(tmp_path):
    def fit(data):
        logger = pl.loggers.CSVLogger(tmp_path)
        trainer(max_epochs=1, logger=logger, log_every_n_steps=1).fit(Sized(), datamodule=data)

    with pytest.raises(RuntimeError, match="batch_size"):  # Lightning's, where both have other values
        fit(Digits())
    for data in (Plain(), datamodule(digits(), save_hyperparameters=False)):
        fit(data)
        assert {} == dict(data.hparams)
        data.batch_size = 8
        assert ({}, 8) == (dict(data.hparams), data.batch_size)


def measured(train):
    return {"num_classes": 10}


WITH_FACTS = fdm.pipeline(
    fdm.clean(table, n=40), fdm.split({"train": 24, "val": None}), fdm.measure(measured).on("train"), fdm.batch(4)
)


def failing(n):
    return n.no_such_attribute


def test_an_attribute_that_is_not_there_says_where_facts_are(tmp_path):
    data = datamodule(WITH_FACTS, store=tmp_path)
    for _ in range(2):
        with pytest.raises(AttributeError, match=r'no attribute .num_classes.*dm\.facts\["num_classes"\]') as caught:
            data.num_classes  # noqa: B018
        assert "num_classes" == caught.value.name
        assert not hasattr(data, "num_classes")
        assert 10 == data.facts["num_classes"]
    with pytest.raises(AttributeError, match=r"did you mean 'num_classes'"):
        data.num_class  # noqa: B018
    # Errors of properties stay what they are.
    with pytest.raises(AttributeError, match="the pipeline has no batch stage"):
        datamodule(fdm.pipeline(fdm.load(table, n=3))).batch_size  # noqa: B018
    with pytest.raises(AttributeError, match="'int' object has no attribute 'no_such_attribute'"):
        datamodule(fdm.pipeline(fdm.load(failing, n=3), fdm.batch(2))).facts  # noqa: B018
    assert not hasattr(data, "_no_such_attribute")


@pytest.mark.parametrize("data", [datamodule(PLAIN), Digits(), datamodule(SEVERAL, train=("a", "b"), val=("a", "b"))])
def test_the_repr_of_a_loader_is_one_line(data):
    for loader in [
        data.train_dataloader(),
        *([data.val_dataloader()] if data.roles.val == ("val",) else data.val_dataloader()),
    ]:
        assert 1 == len(repr(loader).splitlines())
        assert f"{len(loader)} steps" in repr(loader)
        assert len(repr(loader)) < 80


def ids(loader):
    return [batch["id"].tolist() for batch in loader]


def test_each_pass_by_hand_is_the_next_epoch():
    expected = [[step[0][0] for step in epochs(PLAIN, 1, first=epoch)] for epoch in range(4)]
    data = datamodule(PLAIN)
    loader = data.train_dataloader()
    assert expected == [ids(loader) for _ in range(4)]
    data.setup("fit")
    assert expected == [ids(data.train_dataloader()) for _ in range(4)]
    data.setup("fit")
    assert expected[0][0] == next(iter(data.train_dataloader()))["id"].tolist()  # who looks changes nothing
    assert expected[0][:3] == [
        batch["id"].tolist() for batch, _ in zip(data.train_dataloader(), range(3), strict=False)
    ]
    assert expected[1] == ids(data.train_dataloader())
    again = pickle.loads(pickle.dumps(data))
    assert expected[2] == ids(again.train_dataloader())
    trainer(max_epochs=1).fit(module := Notes(), datamodule=data)
    assert epochs(PLAIN, 1) == module.seen
    assert ids(data.val_dataloader()) == ids(data.val_dataloader())


def test_each_pass_over_several_splits_by_hand_is_the_next_epoch():
    data = datamodule(SEVERAL, train=("a", "b"))
    with fdm.open(SEVERAL) as opened:
        expected = [ids(opened.loader("a", epoch=epoch)) for epoch in range(3)]
    for epoch in range(3):
        assert expected[epoch] == [batch["a"]["id"].tolist() for batch in data.train_dataloader()]


def test_a_checkpoint_is_gone_on_from_by_hand(tmp_path):
    saves = Saves(tmp_path, every_n_train_steps=4)
    trainer(max_epochs=2, callbacks=[saves], enable_checkpointing=True).fit(Notes(), datamodule=Digits())
    again = Digits.load_from_checkpoint(next(iter(saves.saved)))
    expected = [step[0][0] for step in epochs(digits(), 2)]
    assert expected[4:6] == ids(again.train_dataloader())
    assert expected[6:] == ids(again.train_dataloader())


class WithALoaderOfItsOwn(Digits):
    def train_dataloader(self):
        return DataLoader([{"x": table(1)["x"][0], "id": number} for number in range(24)], batch_size=4)


class LooksAtItsOwn(WithALoaderOfItsOwn):
    """Asks for the loader of the datamodule, and returns another, or both."""

    def __init__(self, look):
        super().__init__()
        self.look = look

    def train_dataloader(self):
        return self.look(Digits.train_dataloader(self), super().train_dataloader())


class First(Notes):
    """Of loaders side by side, the first."""

    def training_step(self, batch, _):
        return super().training_step(batch[0] if isinstance(batch, list) else batch, _)


RESUMING = "You're resuming from a checkpoint that ended before the epoch ended"


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:You defined a `validation_step`")
def test_resuming_hides_no_warning_that_is_about_another_loader(tmp_path):
    saves = Saves(tmp_path, every_n_train_steps=4)
    trainer(max_epochs=2, callbacks=[saves], enable_checkpointing=True).fit(Notes(), datamodule=Digits())
    path = next(iter(saves.saved))
    before = list(warnings.filters)
    trainer(max_epochs=2).fit(Notes(), datamodule=Digits(), ckpt_path=path)
    assert before == list(warnings.filters)
    with pytest.warns(UserWarning, match=RESUMING):
        trainer(max_epochs=2).fit(Notes(), datamodule=WithALoaderOfItsOwn(), ckpt_path=path)
    for look in (lambda own, other: other, lambda own, other: [other, own]):
        data = LooksAtItsOwn(look)
        with pytest.warns(UserWarning, match=RESUMING):
            trainer(max_epochs=2).fit(First(), datamodule=data, ckpt_path=path)
    assert before == list(warnings.filters)
    plain = DataLoader([{"x": table(1)["x"][0], "id": number} for number in range(24)], batch_size=4)
    with pytest.warns(UserWarning, match=RESUMING):
        trainer(max_epochs=2).fit(Notes(), plain, ckpt_path=path)


def test_a_checkpoint_goes_on_under_any_name_of_its_class(tmp_path):
    saves = Saves(tmp_path, every_n_train_steps=4)
    trainer(max_epochs=2, callbacks=[saves], enable_checkpointing=True).fit(module := Notes(), datamodule=Digits())
    for path, done in saves.saved.items():
        for data in (Named(), Larger(batch_size=4), local()(), datamodule(digits()), datamodule_class(digits)()):
            trainer(max_epochs=2).fit(again := Notes(), datamodule=data, ckpt_path=path)
            assert module.seen[done:] == again.seen, type(data)


def untyped(batch_size, store: "Unknown" = None):  # noqa: F821 - a name that only a type checker knows
    return digits(batch_size)


class Factory:
    def __call__(self, batch_size: int = 4):
        return digits(batch_size)


def test_any_callable_is_a_factory():
    assert 8 == datamodule_class(untyped)(8).batch_size
    assert 8 == datamodule_class(Factory())(batch_size=8).batch_size
    assert 4 == datamodule_class(partial(digits, n=40))().batch_size
    with pytest.raises(fdm.PipelineError, match="Path returns a Pipeline"):
        datamodule_class(Path)()
