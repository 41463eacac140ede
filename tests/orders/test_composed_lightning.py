"""Mixtures, packed sequences, batches by length and block shuffles under Lightning: a real Trainer, every checkpoint."""

import json
import os
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
from composed import jitter_into, plain, several
from lit import Saves, quiet, trainer
from torch import nn

import fdm
import fdm.lightning


pytestmark = quiet
HELPERS = Path(__file__).parents[1] / "helpers"
SIZES = {"a": 23, "b": 31, "c": 9, "val": 6}
ROWS, DOCUMENTS = fdm.load(several, sizes=SIZES), fdm.load(several, sizes=SIZES, kind="documents")
MIX, TRAIN = fdm.mix({"a": 1, "b": 2}, into="train", until=36), fdm.alias(train="b")
AUGMENT = fdm.augment(jitter_into, name="j").on("train")
SHUFFLE = fdm.shuffle().on("a", "b", "c")
PIPELINES = {
    "mixture": fdm.pipeline(
        ROWS, SHUFFLE, MIX.after(64, {"c": 1, "a": 1}), fdm.batch(6, ids="id"), fdm.transfer(), AUGMENT
    ),
    "mixture of packed": fdm.pipeline(
        DOCUMENTS, SHUFFLE, fdm.pack(4, "tokens"), MIX, fdm.batch(6, ids="id"), fdm.transfer(), AUGMENT
    ),
    "packed": fdm.pipeline(
        DOCUMENTS, TRAIN, SHUFFLE, fdm.pack(5, "tokens"), fdm.batch(6, ids="id"), AUGMENT, fdm.transfer()
    ),
    "by length": fdm.pipeline(
        ROWS,
        TRAIN,
        SHUFFLE,
        fdm.batch(40, of="tokens", ids="id").on("train"),
        fdm.batch(3, ids="id"),
        fdm.transfer(),
        AUGMENT,
    ),
    "in blocks": fdm.pipeline(
        ROWS,
        TRAIN,
        fdm.shuffle(block=2, window=4, lanes=2).on("train"),
        fdm.batch(6, ids="id"),
        fdm.transfer(),
        AUGMENT,
    ),
}


class Notes(pl.LightningModule):
    """A module that notes the ids and the draws of its batches."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen, self.evaluated = nn.Linear(1, 1), [], []

    def training_step(self, batch, _):
        self.seen.append([plain(batch["id"]), plain(batch["j"])])
        values = batch["tokens"].values.float().mean() if len(batch["tokens"].values) else self.layer.weight.sum()
        return self.layer(values.reshape(1, 1)).mean() * 1e-9

    def validation_step(self, batch, _):
        self.evaluated.append(plain(batch["id"]))

    def configure_optimizers(self):
        return None


def fitted(p, **options):
    module = Notes()
    ckpt_path = options.pop("ckpt_path", None)
    trainer(max_epochs=3, **options).fit(module, datamodule=fdm.lightning.datamodule(p), ckpt_path=ckpt_path)
    return module


@pytest.mark.filterwarnings("ignore:`LightningModule.configure_optimizers` returned `None`")
@pytest.mark.parametrize("name", PIPELINES)
def test_a_trainer_goes_on_from_every_checkpoint(name, tmp_path):
    p, saves = PIPELINES[name], Saves(tmp_path, every_n_train_steps=5)
    first = fitted(p, enable_checkpointing=True, callbacks=[saves])
    with fdm.open(p) as data:
        alone = [[plain(batch["id"]), plain(batch["j"])] for loader in data.epochs("train", 3) for batch in loader]
        validated = [plain(batch["id"]) for batch in data.loader("val")]
    assert first.seen == alone
    assert first.evaluated[-len(validated) :] == validated
    assert len(saves.saved) >= 3
    for path, done in saves.saved.items():
        assert fitted(p, ckpt_path=path).seen == alone[done:], path


SCRIPT = """
import json, sys, time, warnings
from pathlib import Path
warnings.filterwarnings("ignore")
from test_composed_lightning import Notes, PIPELINES
from lit import trainer
import fdm.lightning

folder, seen = Path(sys.argv[1]), {}
for name in ("mixture of packed", "by length"):
    module = Notes()
    runs = trainer(max_epochs=1, devices=2, strategy="ddp", use_distributed_sampler=False)
    runs.fit(module, datamodule=fdm.lightning.datamodule(PIPELINES[name]))
    seen[name] = [ids for ids, _ in module.seen]
(folder / f"{runs.global_rank}.json").write_text(json.dumps(seen))
time.sleep(0.5)
"""


def test_two_ranks_on_gloo_have_the_pieces_of_each_step(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    paths = os.pathsep.join([str(HELPERS), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for name, p in PIPELINES.items():
        if name not in ranks[0]:
            continue
        by_rank = []
        for rank in range(2):
            with fdm.open(p, context=fdm.RankContext(rank, 2, rank, 2)) as data:
                by_rank.append([json.loads(json.dumps(plain(batch["id"]))) for batch in data.loader("train")])
        assert [seen[name] for seen in ranks] == by_rank, name
        assert len(by_rank[0]) == len(by_rank[1]) > 0
