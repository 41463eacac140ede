"""Train a next-token model on a real text corpus, prepared in parallel: the sources of Python's standard library.

    python examples/corpus.py

Each file is a part: tokenised in a pool of processes, saved as it is finished. The example interrupts the preparation
in the middle, as Ctrl-C would, and starts it again: only the files that are missing are tokenised. Then it trains a
small model for a minute on packed windows.
"""

import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import zlib
from pathlib import Path

import torch
from torch import Tensor, nn

import fdm


WORDS = re.compile(rb"[A-Za-z_]+|[0-9]+|\n[ ]*|[ ]+|.", re.DOTALL)
SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"}
VOCABULARY = 2048


def library() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def source_files() -> list[str]:
    """The modules of the standard library, without its tests."""
    found = (path.relative_to(library()) for path in library().rglob("*.py"))
    return sorted(path.as_posix() for path in found if not SKIPPED & set(path.parts))


def tokenize(part: str, *, vocabulary: int) -> fdm.Table:
    """Words, numbers, indents and single characters of a file, hashed into a vocabulary of fixed size."""
    words = WORDS.findall((library() / part).read_bytes())
    tokens = torch.tensor([zlib.crc32(word) % vocabulary for word in words], dtype=torch.int32)
    return fdm.Table({"tokens": fdm.Ragged.of([tokens]), "file": fdm.Ragged.of([part])})


def pack(files: fdm.Table, *, length: int) -> fdm.Table:
    """All files one after the other, cut into windows of `length` inputs and the target after each."""
    tokens = files["tokens"].values
    count = (len(tokens) - 1) // length
    starts = torch.arange(count) * length
    return fdm.Table({"window": tokens[starts[:, None] + torch.arange(length + 1)]})


def shift(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    window = batch["window"].long()
    return {"tokens": window[:, :-1], "targets": window[:, 1:]}


corpus = fdm.pipeline(
    fdm.clean(tokenize, vocabulary=VOCABULARY).each(source_files),
    fdm.clean(pack, length=64),
    fdm.split({"train": 0.95, "val": None}, seed=1),
    fdm.shuffle().on("train"),
    fdm.batch(16),
    fdm.transform(shift),
    fdm.transfer(),
)


class Model(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.recur = nn.GRU(width, width, batch_first=True)
        self.predict = nn.Linear(width, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.predict(self.recur(self.embed(tokens))[0])


def loss_of(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(model(batch["tokens"]).flatten(0, 1), batch["targets"].flatten())


def train(data: fdm.Data, seconds: float) -> None:
    torch.manual_seed(0)
    model = Model().to(data.context.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    val = data.loader("val")[:20]
    began = told = time.monotonic()
    for loader in data.epochs("train"):
        for step, batch in enumerate(loader, start=1):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()
            ended = time.monotonic() - began > seconds
            if ended or time.monotonic() - told > seconds / 4:
                told = time.monotonic()
                with torch.no_grad():
                    loss = sum(loss_of(model, batch).item() for batch in val) / len(val)
                print(f"epoch {loader.epoch}, step {step} of {len(loader)}: loss {loss:.2f} on val")
            if ended:
                return


def finished_parts(store: Path) -> int:
    return len([path for path in store.glob(".kept/clean-tokenize-*/*") if "." not in path.name])


def interrupt_preparation(store: Path, files: int) -> None:
    """Prepare in another process, and interrupt it when it has saved a quarter of the parts."""
    process = subprocess.Popen([sys.executable, __file__, "--prepare", str(store)], stderr=subprocess.PIPE, text=True)
    while finished_parts(store) < files // 4 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT if sys.platform != "win32" else signal.SIGTERM)
    said = process.communicate()[1].splitlines()  # the error, and a note on where it came
    error = next((line for line in reversed(said) if line.startswith("KeyboardInterrupt")), "ended")
    print(f"interrupted ({error}); {finished_parts(store)} of {files} files are saved")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--prepare"]:
        fdm.Executor(store=sys.argv[2]).prepare(corpus)
    else:
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder)
            files = len(source_files())
            interrupt_preparation(store, files)
            before, began = finished_parts(store), time.monotonic()
            with fdm.open(corpus, store=store) as data:
                seconds = time.monotonic() - began
                print(f"prepared the other {files - before} files in {seconds:.1f} s; windows: {dict(data.splits)}")
                train(data, seconds=float(sys.argv[1]) if len(sys.argv) > 1 else 60)
