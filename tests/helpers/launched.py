"""What each rank of the tests of Lightning's strategies runs: `launched.py STRATEGY RANKS FOLDER [fails]`, by hand or torchrun."""

import os
import sys
import warnings
from pathlib import Path

import torch
from lit import Notes, table, trainer

import fdm
import fdm.lightning


warnings.filterwarnings("ignore", ".*LeafSpec")
if __name__ in ("__main__", "__mp_main__"):  # and not where pytest looks for doctests
    STRATEGY, RANKS, FOLDER = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])


def statistics(train):
    return {"mean": train["x"].float().mean().item()}


def centred(batch, *, mean):
    return {**batch, "x": batch["x"] - mean}


def listed(*, n):
    return [{"x": torch.tensor(float(number)), "id": number} for number in range(n)]


def largest(train):
    return {"mean": float(max(example["id"] for example in (train[at] for at in range(len(train)))))}


CUT = fdm.split({"train": 24, "val": 8, "test": None})
STEPS = fdm.shuffle().on("train"), fdm.batch(4), fdm.transform(centred, mean=fdm.fact("mean")), fdm.transfer()
PIPELINES = {
    "cleaned and measured": fdm.pipeline(fdm.clean(table, n=40), CUT, fdm.measure(statistics).on("train"), *STEPS),
    "loaded and measured": fdm.pipeline(fdm.load(listed, n=40), CUT, fdm.measure(largest).on("train"), *STEPS),
    "cleaned": fdm.pipeline(fdm.clean(table, n=40), CUT, fdm.shuffle().on("train"), fdm.batch(4)),
}


class Asks(Notes):
    """Reads facts where only one rank does."""

    def on_fit_end(self):
        self.told = self.trainer.is_global_zero and len(self.trainer.datamodule.data.splits)


class Prepares(fdm.lightning.datamodule_class(lambda: PIPELINES["cleaned and measured"])):
    """Asks for facts in `prepare_data`, where other ranks wait."""

    def prepare_data(self):
        assert self.data.splits
        super().prepare_data()


def told(text):
    with (FOLDER / f"{os.getpid()}.txt").open("a") as file:
        file.write(f"{text}\n")


class Tells(Asks):
    def on_train_end(self):
        told(f"{self.case}: rank {self.trainer.global_rank} of {self.trainer.world_size} saw {len(self.seen)}")


def run(name, data):
    module = Tells()
    module.case = name
    runs = trainer(max_epochs=1, strategy=STRATEGY, devices=RANKS)
    runs.fit(module, datamodule=data)
    if STRATEGY != "ddp_spawn":
        if runs.is_global_zero:  # the other ranks do not ask
            assert {"train", "val", "test"} == set(data.data.splits)
        runs.test(module, datamodule=data)
        runs.validate(module, datamodule=data)


def stopping(train):
    return next(iter(()))


if __name__ == "__main__" and sys.argv[4:] == ["fails"]:
    broken = fdm.pipeline(fdm.clean(table, n=40), CUT, fdm.measure(stopping).on("train"), fdm.batch(4))
    run("fails", fdm.lightning.datamodule(broken, store=FOLDER / "fails"))
elif __name__ == "__main__":
    for name, p in PIPELINES.items():
        for kind in ("one store", "a store each"):
            store = FOLDER / name / (kind if kind == "one store" else f"of {os.environ.get('LOCAL_RANK', '0')}")
            data = fdm.lightning.datamodule(p, store=store)
            data.prepare_data_per_node = kind == "one store"
            if "measured" in name and kind == "a store each":
                assert data.facts["mean"]  # before any Trainer
            run(f"{name}, {kind}", data)
    os.environ["FDM_STORE"] = str(FOLDER / "asked")
    if STRATEGY != "ddp_spawn":  # its class has no name that another process could find
        run("asked for while it is prepared", Prepares())
