"""Train a small network on MNIST, from files that are downloaded, verified and unpacked once.

python examples/mnist.py [URL of a folder with the files, and of its mirrors]
"""

import struct
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import fdm


SITES = "https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"
FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


def read_idx(folder: Path) -> dict[str, fdm.Table]:
    """A file is two zero bytes, a type, the number of dimensions, their sizes in 4 bytes each, and the values."""

    def values(name: str) -> Tensor:
        raw = bytearray((folder / name).read_bytes())
        shape = struct.unpack_from(f">{raw[3]}I", raw, 4)
        return torch.frombuffer(raw, dtype=torch.uint8, offset=4 + 4 * len(shape)).reshape(shape)

    return {
        source: fdm.Table({"image": values(f"{file}-images-idx3-ubyte"), "label": values(f"{file}-labels-idx1-ubyte")})
        for source, file in {"train": "train", "test": "t10k"}.items()
    }


def pixel_statistics(train: fdm.Table) -> dict[str, float]:
    pixels = train["image"].float()
    return {"mean": pixels.mean().item(), "std": pixels.std().item(), "classes": len(train["label"].unique())}


def normalize(batch: dict[str, Tensor], *, mean: float, std: float) -> dict[str, Tensor]:
    return {"image": (batch["image"].float().unsqueeze(1) - mean) / std, "label": batch["label"].long()}


def mnist(site: str, *mirrors: str, files: dict[str, str] = FILES, val: int = 5_000) -> fdm.Pipeline:
    """The pipeline for files (name -> sha256) from a site or its mirrors; `val` images of train are held out."""
    downloads = [
        fdm.File(site + name, sha256=sha256, unpack=True, mirrors=[mirror + name for mirror in mirrors])
        for name, sha256 in files.items()
    ]
    return fdm.pipeline(
        fdm.fetch(fdm.download, files=downloads),  # resumed where it broke, retried, verified
        fdm.clean(read_idx),  # once per machine, saved, memory-mapped
        fdm.split({"train": None, "val": val}, of="train", seed=42),  # 55,000 and 5,000; "test" is a source of its own
        fdm.measure(pixel_statistics).on("train"),
        fdm.shuffle().on("train"),
        fdm.batch(128),
        fdm.transform(normalize, mean=fdm.fact("mean"), std=fdm.fact("std")),
        fdm.transfer(),
        seed=0,
    )


def accuracy(model: nn.Module, loader: fdm.Loader) -> float:
    with torch.no_grad():
        right = [model(batch["image"]).argmax(1) == batch["label"] for batch in loader]
    return torch.cat(right).float().mean().item()


def fit(p: fdm.Pipeline, epochs: int = 2) -> None:
    torch.manual_seed(0)
    with fdm.open(p) as data:
        layers = nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 5, stride=2), nn.ReLU(), nn.Flatten()
        model = nn.Sequential(*layers, nn.Linear(32 * 4 * 4, data.facts["classes"])).to(data.context.device)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        for loader in data.epochs("train", epochs):
            for batch in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(batch["image"]), batch["label"]).backward()
                optimizer.step()
            print(f"epoch {loader.epoch}: accuracy {accuracy(model, data.loader('val')):.1%} on val")
        print(f"accuracy {accuracy(model, data.loader('test')):.1%} on test")


if __name__ == "__main__":
    fit(mnist(*sys.argv[1:] or SITES))
