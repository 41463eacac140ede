"""Train a classifier on real handwritten digits from a pipeline value, stop it, and resume it exactly.

    python examples/digits.py

trains for a few epochs and stops in the middle of one, with the weights and a snapshot saved. It then starts itself
again in a second process, which continues with exactly the next batch.
"""

import csv
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

import fdm


def read_digits(file: str) -> fdm.Table:
    """One image a line: 8 x 8 pixels from 0 to 16, row by row, then the label."""
    with gzip.open(Path(__file__).parent / "data" / file, "rt") as lines:
        rows = torch.tensor([[int(value) for value in row] for row in csv.reader(lines)])
    return fdm.Table({"image": rows[:, :64].reshape(-1, 8, 8).to(torch.uint8), "label": rows[:, 64]})


def pixel_statistics(train: fdm.Table) -> dict[str, float]:
    pixels = train["image"].float()
    return {"mean": pixels.mean().item(), "std": pixels.std().item(), "classes": len(train["label"].unique())}


def normalize(batch: dict[str, Tensor], *, mean: float, std: float) -> dict[str, Tensor]:
    return {**batch, "image": (batch["image"].float() - mean) / std}


def random_grain(example: dict[str, Tensor], key: fdm.Key, *, most: int) -> dict[str, Tensor]:
    grain = key.randint(-most, most + 1, 8, 8)
    return {**example, "image": (example["image"] + grain).clamp(0, 16).to(torch.uint8)}


def random_erase(batch: dict[str, Tensor], key: fdm.Key, *, size: int) -> dict[str, Tensor]:
    """A square of every other image or so is set to the mean, at a place of its own."""
    images = batch["image"]
    top, left = key.fold("place").randint(0, 8 - size + 1, 2).unbind(1)
    at = torch.arange(8, device=images.device)
    down, right = ((start[:, None] <= at) & (at < start[:, None] + size) for start in (top, left))
    square = down[:, :, None] & right[:, None, :] & key.bernoulli(0.5)[:, None, None]
    return {**batch, "image": images.masked_fill(square, 0.0)}


digits = fdm.pipeline(
    fdm.clean(read_digits, file="digits.csv.gz"),  # once per machine, saved, memory-mapped
    fdm.split({"train": 0.7, "val": 0.1, "test": None}, stratify="label", seed=42),
    fdm.measure(pixel_statistics).on("train"),  # facts learned from the training split alone
    fdm.shuffle().on("train"),
    fdm.augment(random_grain, most=2).on("train"),  # before batch: one example at a time
    fdm.batch(32),
    fdm.transform(normalize, mean=fdm.fact("mean"), std=fdm.fact("std")),  # the whole batch, vectorised
    fdm.transfer(),  # the device boundary
    fdm.augment(random_erase, size=2).on("train"),  # after transfer: the whole batch, on the device
    seed=0,
)

EPOCHS, STOP_AT = 6, (3, 20)  # stop in epoch 3 after 20 of its 40 steps


def network(classes: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, classes))


def accuracy(model: nn.Module, loader: fdm.Loader) -> float:
    model.eval()
    with torch.no_grad():
        right = sum(int((model(batch["image"]).argmax(1) == batch["label"]).sum()) for batch in loader)
    model.train()
    return right / sum(len(loader.indices(step)) for step in range(len(loader)))


def train(folder: Path, *, resume: bool) -> None:
    with fdm.open(digits) as data:
        model = network(data.facts["classes"]).to(data.context.device)  # known before any model exists
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        start = None
        if resume:
            saved = torch.load(folder / "weights.pt")
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            start = fdm.Snapshot.from_dict(json.loads((folder / "snapshot.json").read_text()))
            report_next_batch(data, start, folder)
        for loader in data.epochs("train", EPOCHS, start=start):
            for step, batch in enumerate(loader, start=1):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(batch["image"]), batch["label"]).backward()
                optimizer.step()
                if not resume and (loader.epoch, step) == STOP_AT:
                    torch.save(
                        {"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / "weights.pt"
                    )
                    (folder / "snapshot.json").write_text(json.dumps(loader.snapshot(step).to_dict()))
                    (folder / "next.json").write_text(json.dumps(loader.indices(step).tolist()))
                    print(f"stopped in epoch {loader.epoch} after step {step} of {len(loader)}; the snapshot is")
                    print(f"  {(folder / 'snapshot.json').read_text()}")
                    return
            print(f"epoch {loader.epoch}: accuracy {accuracy(model, data.loader('val')):.1%} on val")
        print(f"accuracy {accuracy(model, data.loader('test')):.1%} on test")


def report_next_batch(data: fdm.Data, start: fdm.Snapshot, folder: Path) -> None:
    """Print the examples of the batch that comes next, and fail unless they are those that the first process expected."""
    expected = json.loads((folder / "next.json").read_text())
    found = data.loader("train", start=start).indices(0).tolist()
    print(f"resumed in a second process; the next batch begins with examples {found[:6]}")
    if found != expected:
        sys.exit(f"the first process expected {expected[:6]}")
    print("  these are exactly the examples that the first process would have seen next")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--resume":
        train(Path(sys.argv[2]), resume=True)
    else:
        print(digits, end="\n\n")
        with tempfile.TemporaryDirectory() as folder:
            train(Path(folder), resume=False)
            subprocess.run([sys.executable, __file__, "--resume", folder], check=True)
