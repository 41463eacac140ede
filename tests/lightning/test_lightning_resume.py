"""Resuming under Lightning: from every checkpoint, a fresh Trainer goes on with exactly the batches that come next."""

import math
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lit import NOISY, PLAIN, SEVERAL, SLOW, Notes, Saves, epochs, quiet, trainer

import fdm
import fdm.lightning


pytestmark = quiet


def fitted(p, options=None, *, module=None, ckpt_path=None, splits="train", executor=None, **trainers):
    """The module after a fit with a datamodule of its own."""
    module = module or Notes(**(options or {}))
    datamodule = fdm.lightning.datamodule(p, train=splits, **(executor or {}))
    trainer(**trainers).fit(module, datamodule=datamodule, ckpt_path=ckpt_path)
    return module


def resumed_from_all(folder, p, saves, *, options=None, splits="train", executor=None, **trainers):
    """For each checkpoint of a run, whether a fresh Trainer sees what the first one saw after it."""
    saves = Saves(folder, **saves)
    reference = fitted(
        p, options, splits=splits, executor=executor, enable_checkpointing=True, callbacks=[saves], **trainers
    )
    assert saves.saved
    wrong = {}
    for path, done in saves.saved.items():
        pl.seed_everything(len(wrong) + 7)
        again = fitted(p, options, splits=splits, executor=executor, ckpt_path=path, **trainers)
        if again.seen != reference.seen[done:]:
            wrong[Path(path).name] = done, again.seen[:2], reference.seen[done : done + 2]
    return reference.seen, wrong


CASES = {
    "every step": ({}, {}),
    "every 3 steps": ({"every_n_train_steps": 3}, {}),
    "every 4 steps": ({"every_n_train_steps": 4}, {}),
    "end of epoch": ({"every_n_epochs": 1}, {}),
    "end of train epoch": ({"every_n_epochs": 1, "save_on_train_epoch_end": True}, {}),
    "validation inside epochs": ({"every_n_epochs": 1}, {"val_check_interval": 2}),
    "validation inside epochs, every step": ({}, {"val_check_interval": 2}),
    "limited": ({}, {"limit_train_batches": 4}),
    "limited by a fraction, end of epoch": ({"every_n_epochs": 1}, {"limit_train_batches": 0.5}),
    "accumulating 2": ({}, {"accumulate_grad_batches": 2}),
    "accumulating 4": ({}, {"accumulate_grad_batches": 4}),
    "max_steps": ({}, {"max_epochs": -1, "max_steps": 15}),
    "max_steps, end of epoch": ({"every_n_epochs": 1}, {"max_epochs": -1, "max_steps": 18}),
    "no validation": ({}, {"limit_val_batches": 0}),
    "no validation, end of epoch": ({"every_n_epochs": 1}, {"limit_val_batches": 0}),
    "reloading": ({}, {"reload_dataloaders_every_n_epochs": 1}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_checkpoint_goes_on_with_the_batches_that_come_next(case, tmp_path):
    saves, options = CASES[case]
    seen, wrong = resumed_from_all(tmp_path, NOISY, saves, **options)
    assert {} == wrong
    if "limit_train_batches" not in options and "max_steps" not in options:
        assert epochs(NOISY) == seen


def test_a_scheduler_that_asks_for_the_number_of_steps_loses_nothing(tmp_path):
    assert {} == resumed_from_all(tmp_path, PLAIN, {}, options={"one_cycle": True})[1]


@pytest.mark.parametrize("executor", [{"threads": 2}, {"workers": 2, "prefetch": 4}], ids=str)
def test_what_workers_and_threads_made_ahead_is_not_consumed(executor, tmp_path):
    seen, wrong = resumed_from_all(tmp_path, SLOW, {"every_n_train_steps": 4}, executor=executor, max_epochs=2)
    assert {} == wrong
    assert epochs(SLOW, count=2) == seen


def test_loops_that_are_cut_short_leave_workers_for_the_next():
    module = fitted(SLOW, executor={"workers": 1}, limit_train_batches=2, limit_val_batches=1, val_check_interval=1)
    assert [step for epoch in range(3) for step in epochs(SLOW, 1, first=epoch)[:2]] == module.seen


@pytest.mark.parametrize("saves", [{}, {"every_n_epochs": 1}], ids=["every step", "end of epoch"])
def test_several_train_loaders_go_on_together(saves, tmp_path):
    options = {"splits": ("a", "b"), "limit_val_batches": 0}
    seen, wrong = resumed_from_all(tmp_path, SEVERAL, saves, **options)
    assert {} == wrong
    with fdm.open(SEVERAL) as data:
        of_b = [batch["id"].tolist() for epoch in range(9) for batch in data.loader("b", epoch=epoch)]
    assert of_b == [
        step[1][0] for step in seen
    ]  # 2 batches an epoch, and 6 of the other: an epoch of its own each time


class Everywhere(Callback):
    """Saves in the hooks around a fit, a batch and the end of an epoch.

    Not in on_train_epoch_start: from there Lightning itself goes on with the epoch after that, whatever the loader.
    """

    def __init__(self, folder):
        self.folder, self.saved = folder, []

    def _save(self, hook, trainer, module):
        path = str(self.folder / f"{len(self.saved)}-{hook}.ckpt")
        self.saved.append((hook, path, len(module.seen)))
        trainer.save_checkpoint(path)

    def on_train_start(self, trainer, module):
        self._save("start", trainer, module)

    def on_train_batch_start(self, trainer, module, *_):
        self._save("batch_start", trainer, module)

    def on_train_batch_end(self, trainer, module, *_):
        self._save("batch_end", trainer, module)

    def on_train_epoch_end(self, trainer, module):
        self._save("epoch_end", trainer, module)

    def on_train_end(self, trainer, module):
        self._save("end", trainer, module)


def test_a_checkpoint_may_be_written_in_any_hook(tmp_path):
    saves = Everywhere(tmp_path)
    reference = fitted(NOISY, max_epochs=2, callbacks=[saves])
    assert {"start", "batch_start", "batch_end", "epoch_end", "end"} == {hook for hook, _, _ in saves.saved}
    wrong = []
    for hook, path, done in saves.saved:
        again = fitted(NOISY, max_epochs=2, ckpt_path=path)
        if again.seen != reference.seen[done:]:
            wrong.append((hook, done, len(again.seen)))
    assert [] == wrong


class SavesFailure(Callback):
    def __init__(self, folder):
        self.folder = folder

    def on_exception(self, trainer, module, exception):
        trainer.save_checkpoint(self.folder / "failed.ckpt")


class Fails(Notes):
    """Fails in its sixth step, the first time."""

    fails = True

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        if self.fails and len(self.seen) == 6 + 3:
            raise ZeroDivisionError
        return loss


def test_a_batch_whose_step_failed_comes_again(tmp_path):
    module = Fails()
    with pytest.raises(ZeroDivisionError):
        fitted(NOISY, module=module, callbacks=[SavesFailure(tmp_path)])
    again = fitted(NOISY, ckpt_path=str(tmp_path / "failed.ckpt"))
    assert epochs(NOISY) == module.seen[:-1] + again.seen


def test_a_batch_that_could_not_be_made_comes_again(tmp_path):
    broken = fdm.pipeline(PLAIN, fdm.transform(refuse, at=10))
    module = Notes()
    with pytest.raises(ZeroDivisionError):
        fitted(broken, module=module, callbacks=[SavesFailure(tmp_path)])
    again = fitted(PLAIN, ckpt_path=str(tmp_path / "failed.ckpt"))
    assert epochs(PLAIN) == module.seen + again.seen


def refuse(batch, *, at):
    if at in batch["id"]:
        raise ZeroDivisionError
    return batch


def test_a_resume_may_use_other_workers(tmp_path):
    saves = Saves(tmp_path, every_n_train_steps=5)
    reference = fitted(SLOW, enable_checkpointing=True, callbacks=[saves], max_epochs=2)
    for executor, (path, done) in zip([{"threads": 2}, {"workers": 1}], saves.saved.items(), strict=True):
        assert reference.seen[done:] == fitted(SLOW, ckpt_path=path, executor=executor, max_epochs=2).seen


@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_resume_with_another_batch_size_at_the_end_of_an_epoch_is_exact(size, tmp_path):
    saves = Saves(tmp_path, every_n_epochs=1)
    fitted(NOISY, enable_checkpointing=True, callbacks=[saves], max_epochs=1)
    (path,) = saves.saved
    changed = fdm.replace(NOISY, fdm.batch(size))
    assert epochs(changed, 2, first=1) == fitted(changed, ckpt_path=path).seen


@pytest.mark.parametrize("size", [2, 3, 5, 8, 24])
def test_a_resume_with_another_batch_size_inside_an_epoch_sees_exactly_what_was_not_seen(size, tmp_path):
    saves = Saves(tmp_path, every_n_train_steps=1)
    reference = fitted(NOISY, enable_checkpointing=True, callbacks=[saves], max_epochs=1, limit_val_batches=0)
    changed = fdm.replace(NOISY, fdm.batch(size))
    for path, done in list(saves.saved.items())[:-1]:
        runs = trainer(num_sanity_val_steps=0)
        runs.fit(module := Notes(), datamodule=fdm.lightning.datamodule(changed), ckpt_path=path)
        assert 0 == runs.reload_dataloaders_every_n_epochs
        seen = reference.seen[:done] + module.seen
        ids = [number for step in seen for part, _ in step for number in part]
        assert set(ids[:24]) == set(ids[24:48]) == set(ids[48:])
        whole = -(-24 // size)
        assert epochs(changed, 2, first=1) == module.seen[-2 * whole :]
        assert 3 * -(-8 // size) == len(module.evaluated)


class Asks(Notes):
    def configure_optimizers(self):
        assert self.trainer.estimated_stepping_batches
        return super().configure_optimizers()


def test_who_asks_for_the_number_of_steps_too_early_is_told_what_cannot_be_exact_then(tmp_path):
    saves = Saves(tmp_path, every_n_train_steps=2)
    fitted(PLAIN, enable_checkpointing=True, callbacks=[saves], max_epochs=1)
    path = next(iter(saves.saved))
    with pytest.warns(UserWarning, match="it may end that epoch early or late"):
        fitted(fdm.replace(PLAIN, fdm.batch(2)), module=Asks(), ckpt_path=path, max_epochs=1)


STATE_KEYS = "version", "fingerprint", "cursor", "ended"


@pytest.mark.parametrize("splits", [("train",), ("train", "val")], ids=["one", "two"])
def test_a_state_that_is_none_is_refused_in_every_entry(splits):
    def shell():
        return fdm.lightning.datamodule(PLAIN, train=splits[0] if len(splits) == 1 else list(splits), val=None)

    with fdm.open(PLAIN) as data:
        loaders = {split: data.loader(split) for split in splits}
        cursor = {split: loader.snapshot(1).to_dict() for split, loader in loaders.items()}
    good = {"version": 1, "fingerprint": fdm.fingerprint(PLAIN), "cursor": cursor, "ended": []}
    module = shell()
    module.load_state_dict({**good, "of a subclass": torch.tensor(1)})
    assert good == module.state_dict()
    module.load_state_dict({})
    odd = [None, True, 1.0, 2, torch.tensor(1), math.nan, "x", ["x"], ["train", "train"], {"x": 1}, [1], 10**5000]
    wrong = [{**good, key: value} for key in STATE_KEYS for value in odd if (key, value) != ("fingerprint", "x")]
    wrong += [{name: value for name, value in good.items() if name != key} for key in STATE_KEYS]
    wrong += [{key: good[key]} for key in STATE_KEYS]
    wrong += [{**good, "cursor": {**cursor, "train": {**cursor["train"], "split": "val"}}}]
    wrong += [{**good, "cursor": {**cursor, "train": {**cursor["train"], name: 1.0}}} for name in cursor["train"]]
    wrong += [None, [], "state", 3, torch.tensor(1), [("version", 1)]]
    for state in wrong:
        with pytest.raises(fdm.SnapshotError):
            shell().load_state_dict(state)
