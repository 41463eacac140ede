"""Train on real handwritten digits with Lightning, stop in the middle of an epoch, and resume exactly.

python examples/lightning_digits.py
"""

import logging
import tempfile
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
from digits import digits
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

import fdm.lightning


class Classifier(pl.LightningModule):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, classes))
        self.first: list[int] | None = None

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        self.first = self.first or batch["label"].tolist()
        return nn.functional.cross_entropy(self.net(batch["image"]), batch["label"])

    def validation_step(self, batch: dict[str, Tensor]) -> None:
        right = (self.net(batch["image"]).argmax(1) == batch["label"]).float().mean()
        self.log("accuracy", right, batch_size=len(batch["label"]))

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def trainer(folder: Path, **options: object) -> pl.Trainer:
    saves = ModelCheckpoint(folder, save_last=True, every_n_train_steps=20)
    return pl.Trainer(callbacks=[saves], logger=False, enable_progress_bar=False, enable_model_summary=False, **options)


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", ".*LeafSpec|Checkpoint directory")  # of Lightning's own making
    data = fdm.lightning.datamodule(digits)
    print(data)
    folder = Path(tempfile.mkdtemp())
    trainer(folder, max_epochs=8, max_steps=100).fit(Classifier(data.facts["classes"]), datamodule=data)
    saved = torch.load(folder / "last.ckpt", weights_only=True)["FdmDataModule"]["cursor"]["train"]
    print(f"stopped in epoch {saved['epoch']} after {saved['examples']} examples")
    model, second = Classifier(data.facts["classes"]), trainer(folder, max_epochs=8)
    second.fit(model, datamodule=data, ckpt_path=folder / "last.ckpt")
    with fdm.open(digits) as plain:
        expected = plain.loader("train", start=fdm.Snapshot.from_dict(saved))[0]["label"].tolist()
    print(f"resumed with exactly the next batch: {model.first == expected}")
    print(f"accuracy {second.test(model, datamodule=data, verbose=False)[0]['accuracy']:.1%} on test")
