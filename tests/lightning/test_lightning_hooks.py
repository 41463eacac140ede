"""Hooks as Lightning's: in every run the same calls as of a data module by hand, and batches from wherever they come."""

import functools
import inspect
import pickle
import types
from unittest import mock

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelSummary
from lightning.pytorch.tuner import Tuner
from lit import NOISY, PLAIN, SEVERAL, SLOW, Notes, Saves, epochs, noisy, quiet, table, trainer
from torch.utils.data import DataLoader

import fdm
import fdm.lightning
from fdm.lightning import datamodule, datamodule_class


pytestmark = [
    *quiet,
    # Of loaders and modules by hand.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*dataloader is not resumable"),
    pytest.mark.filterwarnings("ignore:You have overridden"),
    pytest.mark.filterwarnings("ignore:.*`dataloader_iter`"),
    pytest.mark.filterwarnings("ignore:.*to_torchscript", "ignore:.*torch.jit"),
]

HOOKS = (
    *("prepare_data", "setup", "train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader"),
    *("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"),
    *("state_dict", "load_state_dict", "teardown", "on_exception"),
)


def whole() -> fdm.Pipeline:
    return fdm.pipeline(NOISY.stages[0], NOISY.stages[1], fdm.alias(predict="test"), *NOISY.stages[2:], seed=3)


def without_transfer() -> fdm.Pipeline:
    return fdm.without(fdm.without(whole(), "augment"), "transfer")


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

    def prepare_data(self):
        pass

    def state_dict(self):
        return {"anything": 1}

    def load_state_dict(self, state):
        pass

    def teardown(self, stage):
        pass

    def on_exception(self, exception):
        pass


class ByHandToDevice(ByHand):
    """The same with hooks at the transfer."""

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return pl.LightningDataModule.transfer_batch_to_device(self, batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch


def noting(calls, name, hook):
    @functools.wraps(hook)
    def wrapped(*args, **kwargs):
        calls.append(name)
        return hook(*args, **kwargs)

    return wrapped


def overridden(parent, calls):
    """A subclass that overrides every hook, and calls `super()`."""

    def of(name):
        return lambda self, *args, **kwargs: (calls.append(name), getattr(super(made, self), name)(*args, **kwargs))[1]

    made = type("Overridden", (parent,), {name: of(name) for name in HOOKS})
    return made()


def wrapped(parent, calls):
    """An instance on which every hook is wrapped."""
    made = parent()
    for name in HOOKS:
        setattr(made, name, noting(calls, name, getattr(made, name)))
    return made


def with_a_loader_of_its_own(parent, calls):
    """A subclass whose train batches come from a DataLoader of its own."""

    class Own(parent):
        def train_dataloader(self):
            examples = [{"x": torch.tensor(float(number)), "id": number} for number in range(24)]
            return DataLoader(examples, batch_size=4)

    return overridden(Own, calls)


def runs_of(data, calls, sanity, folder):
    """The calls of each kind of run."""
    module, saves = Notes(), Saves(folder, every_n_train_steps=2)
    options = {"max_epochs": 2, "num_sanity_val_steps": sanity}
    runs = trainer(**options, callbacks=[saves], enable_checkpointing=True)
    path = None
    found = {}
    for name in ("fit", "validate", "test", "predict", "test of a checkpoint", "resumed", "failed"):
        path = path or next(iter(saves.saved), None)
        calls.clear()
        if name == "failed":
            with pytest.raises(ZeroDivisionError):
                trainer(**options).fit(Fails(), datamodule=data)
        elif name == "resumed":
            trainer(**options).fit(module, datamodule=data, ckpt_path=path)
        else:
            of_checkpoint = {"ckpt_path": path} if name.endswith("checkpoint") else {}
            getattr(runs, name.split()[0])(module, datamodule=data, **of_checkpoint)
        found[name] = list(calls)
    return found


class Fails(Notes):
    def training_step(self, batch, batch_idx):
        raise ZeroDivisionError


@pytest.mark.parametrize("sanity", [0, 2])
@pytest.mark.parametrize("form", [overridden, wrapped, with_a_loader_of_its_own])
def test_hooks_are_called_as_those_of_a_datamodule_by_hand(form, sanity, tmp_path):
    for hand, ours in ((ByHandToDevice, whole), (ByHand, without_transfer)):
        found = []
        for parent in (hand, datamodule_class(ours)):
            calls = []
            found.append(runs_of(form(parent, calls), calls, sanity, tmp_path / parent.__name__))
        if form is with_a_loader_of_its_own:  # of which nothing is kept here
            found = [
                {run: [call for call in calls if call != "load_state_dict"] for run, calls in each.items()}
                for each in found
            ]
        for run in found[0]:
            assert found[0][run] == found[1][run], run
        assert len(found[0]["fit"]) > (10 if hand is ByHand and form is wrapped else 30)


@pytest.mark.parametrize("form", [overridden, wrapped])
def test_what_hooks_do_is_done_where_they_are_overridden_or_wrapped(form):
    module, data = Notes(), form(datamodule_class(whole), [])
    trainer(max_epochs=2).fit(module, datamodule=data)
    assert epochs(whole(), count=2) == module.seen
    data.batch_size = 8  # a new pipeline leaves the user's hooks alone
    trainer(max_epochs=1).fit(module := Notes(), datamodule=data)
    assert epochs(fdm.replace(whole(), fdm.batch(8)), count=1) == module.seen


class Moves(datamodule_class(without_transfer)):
    """Overrides what the pipeline has no stage for, as Lightning's page on hooks shows it."""

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return {**batch, "moved": torch.ones(1, device=device)}

    def on_before_batch_transfer(self, batch, dataloader_idx):
        return super().on_before_batch_transfer(batch, dataloader_idx)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return super().on_after_batch_transfer(batch, dataloader_idx)


class Sees(Notes):
    def training_step(self, batch, _):
        assert "moved" in batch
        return super().training_step(batch, _)


def test_a_subclass_may_override_hooks_that_the_pipeline_has_no_stage_for():
    trainer(max_epochs=2).fit(module := Sees(), datamodule=Moves())
    assert epochs(without_transfer(), count=2) == module.seen
    moved = Moves().transfer_batch_to_device({"x": torch.ones(2)}, torch.device("meta"), 0)
    assert "meta" == moved["x"].device.type


class Replaces(datamodule_class(whole)):
    """Hands on other batches than it got, in each hook."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        return {name: value.clone() for name, value in batch.items()}

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return {name: value.clone() for name, value in batch.items()}


class Looks(Callback):
    """Looks at batches, and asks for what comes next, at every occasion."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        next(iter(trainer.train_dataloader))

    def on_train_batch_end(self, trainer, module, *_):
        self.held = iter(trainer.train_dataloader)
        next(self.held)

    def on_train_start(self, trainer, module):
        next(iter(trainer.train_dataloader))


class Forward(Notes):
    def forward(self, x):
        return self.layer(x)


def test_batches_are_known_again_whatever_hooks_make_of_them():
    trainer(max_epochs=2, callbacks=[Looks()]).fit(module := Forward(), datamodule=Replaces())
    assert epochs(whole(), count=2) == module.seen
    trainer(max_epochs=1, precision="bf16-true").fit(halved := Halved(), datamodule=datamodule_class(whole)())
    assert [step[0][0] for step in module.seen[:6]] == [step[0][0] for step in halved.seen]
    for (one,), (other,) in zip(module.seen, halved.seen, strict=False):
        assert torch.allclose(torch.tensor(one[1]), torch.tensor(other[1]).float(), atol=0.01)


class Halved(Notes):
    def training_step(self, batch, _):
        assert torch.bfloat16 == batch["x"].dtype
        return super().training_step(batch, _)


class Example(Forward):
    def __init__(self, example):
        super().__init__()
        self.example_input_array = example


@pytest.mark.parametrize(
    "example", [torch.ones(3, 1), (torch.ones(3, 1),), {"x": torch.ones(3, 1)}], ids=["tensor", "tuple", "dict"]
)
@pytest.mark.parametrize("p, splits", [(NOISY, "train"), (SEVERAL, ("a", "b"))], ids=["one", "several"])
def test_batches_from_elsewhere_pass_through_the_hooks(p, splits, example, tmp_path):
    skipping = fdm.pipeline(fdm.without(p, "transfer", "augment"), fdm.transfer(skip=("id",)), fdm.augment(noisy))
    for each in (p, skipping):
        data = datamodule(each, train=splits)
        module = Example(example)
        logger = pl.loggers.CSVLogger(tmp_path)
        silent = {"enable_model_summary": True, "callbacks": [ModelSummary(max_depth=-1), Traces()]}
        trainer(max_epochs=1, logger=logger, log_every_n_steps=1, **silent).fit(module, datamodule=data)
        assert 6 == len(module.seen)
        if splits == "train":
            assert epochs(each, count=1) == module.seen
        module.to_torchscript(method="trace") if not isinstance(example, dict) else None


class Traces(Callback):
    """Traces the module in the middle of a fit."""

    def on_train_batch_end(self, trainer, module, *_):
        if not isinstance(module.example_input_array, dict):
            module.to_torchscript(method="trace")

    on_train_start = on_validation_batch_end = on_train_batch_end


@pytest.mark.parametrize("p, splits", [(NOISY, "train"), (SEVERAL, ("a", "b"))], ids=["one", "several"])
def test_the_tuner_finds_a_batch_size_whatever_the_loaders_are(p, splits, tmp_path):
    data, module = datamodule(p, train=splits), Example(torch.ones(3, 1))
    runs = trainer(default_root_dir=tmp_path, max_epochs=1, limit_val_batches=0, enable_model_summary=True)
    found = Tuner(runs).scale_batch_size(module, datamodule=data, init_val=2, max_trials=3, steps_per_trial=1)
    assert found == data.batch_size > 4
    module.seen.clear()
    runs.fit(module, datamodule=data)
    assert -(-24 // found) == len(module.seen)


class Iterates(Notes):
    """Asks for its batches itself."""

    def training_step(self, dataloader_iter):
        batch, _, _ = next(dataloader_iter)
        return super().training_step(batch, 0)


@pytest.mark.parametrize("p", [PLAIN, SLOW], ids=["plain", "slow"])
def test_a_step_that_asks_for_its_batches_itself_sees_every_batch_of_each_epoch(p, tmp_path):
    saves = Saves(tmp_path)
    trainer(callbacks=[saves], enable_checkpointing=True).fit(module := Iterates(), datamodule=datamodule(p))
    assert epochs(p) == module.seen
    assert len(module.seen) == len(saves.saved)
    wrong = []
    for path, done in saves.saved.items():
        trainer().fit(again := Iterates(), datamodule=datamodule(p), ckpt_path=path)
        if module.seen[done:] != again.seen:
            wrong.append((done, len(again.seen)))
    assert [] == wrong


def tables(n):
    return {"train": table(n), "test": table(4)}


SOURCES = fdm.pipeline(fdm.load(tables, n=24), fdm.batch(4))


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
@pytest.mark.parametrize("sanity", [0, 2])
def test_a_role_that_nobody_named_and_that_is_not_there_is_a_loader_that_is_not_there(sanity):
    data, module = datamodule(SOURCES), Notes()
    options = {"max_epochs": 2, "num_sanity_val_steps": sanity, "check_val_every_n_epoch": 1}
    for _ in range(2):
        trainer(**options).fit(module, datamodule=data)
    assert (24, 0) == (len(module.seen), len(module.evaluated))
    trainer().test(module, datamodule=data)
    assert 1 == len(module.evaluated)
    for ask in (trainer().validate, trainer().predict):
        for fresh in (data, datamodule(SOURCES)):
            with pytest.raises(pl.utilities.exceptions.MisconfigurationException, match="must be implemented"):
                ask(module, datamodule=fresh)
    assert "val      absent" in str(data)
    assert ("train",) == data.roles.train
    with pytest.raises(pl.utilities.exceptions.MisconfigurationException):
        datamodule(SOURCES).val_dataloader()


def test_a_role_that_was_named_and_is_not_there_is_an_error():
    for role in ("train", "val", "test", "predict"):
        wrong = datamodule(SOURCES, **{role: "tset"})
        with pytest.raises(fdm.UnknownNameError, match=r"there is no split 'tset' \(did you mean 'test'\?\)"):
            trainer(max_epochs=1).fit(Notes(), datamodule=wrong)
    with pytest.raises(fdm.UnknownNameError, match="no split 'train'"):
        trainer(max_epochs=1).fit(Notes(), datamodule=datamodule(fdm.pipeline(fdm.load(others), fdm.batch(4))))


def others():
    return {"some": table(8)}


def next_of_nothing(*_):
    return next(iter(()))


@pytest.mark.parametrize(
    "name",
    [
        "on_before_batch_transfer",
        "transfer_batch_to_device",
        "on_after_batch_transfer",
        "train_dataloader",
        "val_dataloader",
    ],
)
def test_a_hook_that_stops_ends_no_epoch_in_silence(name):
    stopping = type("Stopping", (datamodule_class(whole),), {name: next_of_nothing})
    for options in ({"reload_dataloaders_every_n_epochs": 1}, {"num_sanity_val_steps": 0}):
        with pytest.raises(fdm.StopError, match="StopIteration") as caught:
            trainer(**options).fit(Notes(), datamodule=stopping())
        assert ["in the hook next_of_nothing"] == caught.value.__notes__


def with_a_mixin(name):
    mixin = type("Mixin", (), {name: next_of_nothing})
    return type("Mixed", (mixin, datamodule_class(whole)), {})()


def with_a_static_method(name):
    return type("Static", (datamodule_class(whole),), {name: staticmethod(lambda *_: next_of_nothing())})()


def set_on_the_class(name):
    made = type("Late", (datamodule_class(whole),), {})
    setattr(made, name, next_of_nothing)
    return made()


def set_on_the_instance(name):
    made = datamodule_class(whole)()
    setattr(made, name, next_of_nothing)
    return made


def with_a_partial(name):
    made = datamodule_class(whole)()
    setattr(made, name, functools.partial(next_of_nothing, 1))
    return made


@pytest.mark.parametrize("name", ["on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"])
@pytest.mark.parametrize(
    "form", [with_a_mixin, with_a_static_method, set_on_the_class, set_on_the_instance, with_a_partial]
)
def test_a_hook_that_stops_ends_no_epoch_in_silence_wherever_it_is_from(form, name):
    for options in ({}, {"num_sanity_val_steps": 0}):
        with pytest.raises(fdm.StopError, match="StopIteration"):
            trainer(max_epochs=1, **options).fit(Notes(), datamodule=form(name))


def test_a_hook_is_the_users_own_to_whoever_looks_at_it():
    data = Replaces()
    assert Replaces.transfer_batch_to_device is data.transfer_batch_to_device.__func__
    assert isinstance(data.transfer_batch_to_device, types.MethodType)
    assert ["batch", "device", "dataloader_idx"] == list(inspect.signature(data.transfer_batch_to_device).parameters)
    again = pickle.loads(pickle.dumps(data.transfer_batch_to_device))
    assert Replaces is type(again.__self__)
    data.on_after_batch_transfer = mock.Mock(return_value={"x": 1})
    assert {"x": 1} == data.on_after_batch_transfer({}, 0)
    data.on_after_batch_transfer.assert_called_once_with({}, 0)


def stop_on_device(batch):
    return next_of_nothing() if 7 in batch["id"] else batch


def stop_on_host(batch):
    return stop_on_device(batch)


@pytest.mark.parametrize("stages", [[fdm.transform(stop_on_host)], [fdm.transfer(), fdm.transform(stop_on_device)]])
def test_a_stage_that_stops_ends_no_epoch_in_silence(stages):
    for options in ({}, {"threads": 2}):
        with pytest.raises(fdm.StopError, match="StopIteration"):
            trainer(max_epochs=1, limit_val_batches=0).fit(
                Notes(), datamodule=datamodule(fdm.pipeline(ALL, *stages), **options)
            )


ALL = fdm.pipeline(fdm.load(table, n=40), fdm.alias(train="all"), fdm.batch(4))
