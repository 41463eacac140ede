"""What the tests under Lightning share: a module that notes what it sees, trainers without noise, and their warnings."""

import logging

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

import fdm


logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

# Of Lightning's own making: none says anything about the datamodule.
quiet = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # it still asks torch in the old way
    pytest.mark.filterwarnings("ignore:GPU available but not used"),  # on machines that have one
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),  # resumed from there
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks"),  # only the first run saves
    pytest.mark.filterwarnings("ignore:.*logger.* is smaller than the logging interval"),
]


def table(n):
    return fdm.Table({"x": torch.arange(n).float(), "id": torch.arange(n)})


def tables(n):
    return {"a": table(n), "b": table(n // 3), "val": table(6), "val2": table(4)}


def noisy(batch, key):
    return {**batch, "noise": key.uniform()}


def slow(example):
    return {**example, "x": example["x"] + 0}


SPLIT = fdm.split({"train": 24, "val": 8, "test": None})
PLAIN = fdm.pipeline(fdm.load(table, n=40), SPLIT, fdm.shuffle().on("train"), fdm.batch(4), seed=3)
NOISY = fdm.pipeline(PLAIN, fdm.transfer(), fdm.augment(noisy))
SLOW = fdm.pipeline(
    fdm.load(table, n=40), SPLIT, fdm.shuffle().on("train"), fdm.transform(slow), fdm.batch(4), fdm.transfer(), seed=3
)
SEVERAL = fdm.pipeline(
    fdm.load(tables, n=24), fdm.shuffle().on("a", "b"), fdm.batch(4), fdm.transfer(), fdm.augment(noisy)
)


def numbers(size):
    """A pipeline whose val, test and predict splits are all of so many numbers, in order."""
    roles = fdm.alias(val="all", test="all", predict="all")
    return fdm.pipeline(fdm.load(table, n=size), roles, fdm.batch(2, ids="ids"), fdm.transfer(), fdm.augment(noisy))


class Notes(pl.LightningModule):
    """A linear model that notes epoch, ids and, where there is some, noise of its train batches, and ids of the others."""

    def __init__(self, *, one_cycle=False):
        super().__init__()
        self.layer, self.one_cycle = nn.Linear(1, 1), one_cycle
        self.seen, self.evaluated = [], []

    def training_step(self, batch, _):
        parts = list(batch.values()) if isinstance(next(iter(batch.values())), dict) else [batch]
        self.seen.append([(part["id"].tolist(), part.get("noise", torch.empty(0)).tolist()) for part in parts])
        return sum(self.layer(part["x"][:, None]).mean() for part in parts)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.evaluated.append((dataloader_idx, batch["id"].tolist()))

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        self.evaluated.append((dataloader_idx, batch["id"].tolist()))

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        return batch["id"] * 10

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 1e-3)
        if not self.one_cycle:
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        return [optimizer], [
            {"scheduler": torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps), "interval": "step"}
        ]


class Saves(ModelCheckpoint):
    """Checkpoints that are all kept, each with how many train batches the module had seen."""

    def __init__(self, folder, **options):
        options = {"every_n_train_steps": 1, **options} if "every_n_epochs" not in options else options
        super().__init__(dirpath=folder, save_top_k=-1, filename="{epoch}-{step}", **options)
        self.saved = {}

    def _save_checkpoint(self, trainer, filepath):
        self.saved[filepath] = len(trainer.lightning_module.seen)
        super()._save_checkpoint(trainer, filepath)


def trainer(**options):
    """A Trainer on the CPU for 3 epochs, without loggers, bars and summaries, unless told otherwise."""
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = {"max_epochs": 3, "accelerator": "cpu", "devices": 1, "enable_checkpointing": False, **silent, **options}
    return pl.Trainer(**options)


def epochs(p, count=3, first=0):
    """What a module sees of the train batches in so many epochs, made without Lightning."""
    with fdm.open(p) as data:
        batches = [batch for epoch in range(first, first + count) for batch in data.loader("train", epoch=epoch)]
    return [[(batch["id"].tolist(), batch.get("noise", torch.empty(0)).tolist())] for batch in batches]
