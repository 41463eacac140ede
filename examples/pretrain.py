"""Pretrain on a mixture of packed sequences, stop, and go on with two ranks in place of one, exactly.

    python examples/pretrain.py [--steps 200]

Two corpora that every machine has: the sources of Python's standard library, and the licences, readmes and other notes of
the packages that are installed. Their tokens are bytes. Documents are packed into sequences, and sequences are mixed: 0.7
of code and 0.3 of text, and the other way round in the last quarter, as annealing does it. A small transformer learns them
for about a minute: half of the steps in one process, which stops; the others in two, which go on from its snapshot. At the
end what they saw is counted, and compared with what one undisturbed run would have seen.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from torch.nn.parallel import DistributedDataParallel

import fdm


LENGTH, BATCH, VOCABULARY = 256, 16, 256
SHARES, ANNEALING = {"code": 0.7, "text": 0.3}, {"code": 0.3, "text": 0.7}
SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"}
NOTES = re.compile(r"(METADATA|README|LICEN[CS]E|COPYING|NOTICE|AUTHORS)", re.IGNORECASE)


def folders() -> dict[str, Path]:
    """The folder of each corpus."""
    return {"code": Path(sysconfig.get_paths()["stdlib"]), "text": Path(sysconfig.get_paths()["purelib"])}


def parts() -> list[str]:
    """The folders of the standard library, without its tests, and those of what is known about each installed package."""
    names = []
    for path, below, _ in os.walk(folders()["code"]):
        below[:] = set(below) - SKIPPED
        names.append(f"code/{Path(path).relative_to(folders()['code']).as_posix()}")
    return sorted([*names, *(f"text/{path.name}" for path in folders()["text"].glob("*.dist-info"))])


def read_documents(part: str) -> dict[str, fdm.Table]:
    """The paragraphs of all files of a part, a document each."""
    corpus, _, name = part.partition("/")
    folder = folders()[corpus] / name
    files = folder.glob("*.py") if corpus == "code" else (path for path in folder.rglob("*") if NOTES.match(path.name))
    texts = [path.read_bytes() for path in sorted(files) if path.is_file()]
    documents = [document for text in texts for document in re.split(rb"\n\s*\n", text) if document.strip()]
    return {f"all_{corpus}": fdm.Table({"document": fdm.Ragged.of(documents or [b"\n"])})}


def tokenize(corpora: Mapping[str, fdm.Table]) -> dict[str, fdm.Table]:
    """Each document once, since many packages have the same licence; its bytes are its tokens."""
    once = {name: fdm.Ragged.of(list(dict.fromkeys(table["document"]))) for name, table in corpora.items()}
    return {name: fdm.Table({"tokens": fdm.Ragged(texts.values, texts.offsets)}) for name, texts in once.items()}


def as_inputs(batch: dict[str, object], *, length: int) -> dict[str, object]:
    """Tokens, the next token of the same document as targets (-100: none), positions in documents, and segments."""
    packed = batch["tokens"]
    tokens, segments = packed.padded(0, to=length).long(), packed.segments(to=length)
    goes_on = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
    targets = torch.full_like(tokens, -100)
    targets[:, :-1] = tokens[:, 1:].where(goes_on, -100)
    inputs = {"tokens": tokens, "targets": targets, "positions": packed.positions(to=length), "segments": segments}
    return {**batch, **inputs, "packed": packed}


def pretraining(steps: int) -> fdm.Pipeline:
    return fdm.pipeline(
        fdm.clean(read_documents).each(parts),
        fdm.clean(tokenize),
        fdm.split({"code": 0.98, "val_code": None}, of="all_code", seed=1),
        fdm.split({"text": 0.98, "val_text": None}, of="all_text", seed=1),
        fdm.shuffle().on("code", "text"),
        fdm.pack(LENGTH, "tokens").on("code", "text", "val_code", "val_text"),
        fdm.take(64).on("val_code", "val_text"),
        fdm.mix(SHARES, into="train", until=steps * BATCH).after(annealing_begins(steps), ANNEALING),
        fdm.batch(BATCH, across="world", ids="documents", origin="part").on("train"),
        fdm.batch(BATCH, across="world").on("val_code", "val_text"),
        fdm.transform(as_inputs, length=LENGTH),
    )


def annealing_begins(steps: int) -> int:
    """The sequence from which on the shares are others: three quarters of all, and a multiple of 64."""
    return steps * BATCH * 3 // 4 // 64 * 64


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_layers = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = self.qkv(self.before_attention(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2))
        return x + self.layers(self.before_layers(x))


class Transformer(nn.Module):
    """A decoder in which a token sees the ones before it in its own document, and no other document."""

    def __init__(self, width: int = 96, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, width), nn.Embedding(LENGTH, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.predict = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, VOCABULARY))

    def forward(self, tokens: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
        mask = (segments[:, :, None] == segments[:, None, :]).tril()[:, None]  # what is padding sees padding alone
        x = self.tokens(tokens) + self.positions(positions)
        for block in self.blocks:
            x = block(x, mask)
        return self.predict(x)


def losses_of(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The loss of each token, shape (sequences, length); 0 where there is no target."""
    logits = model(batch["tokens"], batch["positions"], batch["segments"])
    return cross_entropy(logits.transpose(1, 2), batch["targets"], ignore_index=-100, reduction="none")


def train(folder: Path, steps: int, stop: int) -> None:
    """Train from the checkpoint in the folder, if there is one, to step `stop` of `steps`."""
    torch.manual_seed(0)
    with fdm.open(pretraining(steps), store=folder / "store") as data:
        model = Transformer()
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        start = restored(folder / "checkpoint.pt", model, optimizer)
        ranked = DistributedDataParallel(model) if dist.is_initialized() else model
        rank, world_size = data.context.rank, data.context.world_size
        loader = data.loader("train", epoch=None if start else 0, start=start)
        first = loader.snapshot(0).examples // BATCH
        loader = loader[: stop - first]
        with (folder / f"rank{rank}-of-{world_size}.jsonl").open("w") as log:
            for step, batch in enumerate(loader, start=first):
                losses, targets = losses_of(ranked, batch), batch["targets"] != -100
                total = fdm.total({"tokens": int(targets.sum())})
                optimizer.zero_grad()
                # DDP takes the mean of the ranks' gradients; the mean over tokens is the sum over their number.
                (losses.sum() * world_size / total["tokens"]).backward()
                optimizer.step()
                log.writelines(json.dumps(seen) + "\n" for seen in seen_in(step, batch, data.origins("train")))
        losses = {name: mean_loss(model, data.loader(name)) for name in ("val_code", "val_text")}
        if rank == 0:
            save(folder / "checkpoint.pt", model, optimizer, loader.snapshot(len(loader)))
            told = ", ".join(f"{loss:.2f} on {name}" for name, loss in losses.items())
            print(f"{world_size} {'rank' if world_size == 1 else 'ranks'} to step {stop} of {steps}: loss {told}")


def mean_loss(model: nn.Module, loader: fdm.Loader) -> float:
    """The mean loss of the tokens of all ranks."""
    with torch.no_grad():
        sums = [(losses_of(model, batch).sum().item(), int((batch["targets"] != -100).sum())) for batch in loader]
    total = fdm.total({"loss": sum(loss for loss, _ in sums), "tokens": sum(tokens for _, tokens in sums)})
    return total["loss"] / total["tokens"]


class Seen(NamedTuple):
    """What there was in a sequence of a step: its part, documents, tokens, and how often positions begin anew."""

    step: int
    part: str
    documents: list[int]
    tokens: int
    checksum: int
    begun: int


def seen_in(step: int, batch: dict[str, object], names: Sequence[str]) -> list[Seen]:
    starts = ((batch["positions"] == 0) & (batch["segments"] > 0)).sum(1).tolist()
    return [
        Seen(step, names[part], documents.tolist(), len(packed.values), zlib.crc32(packed.values.numpy()), begun)
        for part, documents, packed, begun in zip(
            batch["part"].tolist(), batch["documents"], batch["packed"], starts, strict=True
        )
    ]


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, at: fdm.Snapshot) -> None:
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "snapshot": at.to_dict()}
    torch.save(state, path)


def restored(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> fdm.Snapshot | None:
    if not path.exists():
        return None
    state = torch.load(path)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return fdm.Snapshot.from_dict(state["snapshot"])


def count(folder: Path, steps: int, stop: int) -> None:
    """Count what both starts saw, and compare it with the run that nobody stopped."""
    first, then = logged(folder, 1), logged(folder, 2)
    with fdm.open(pretraining(steps), store=folder / "store") as data:
        loader, names = data.loader("train", epoch=0), data.origins("train")
        undisturbed = [seen for step, batch in enumerate(loader) for seen in seen_in(step, batch, names)]
    left = [seen for seen in undisturbed if seen.step >= stop]
    print(f"one rank saw {len(first):,} sequences; two ranks saw {len(then):,}")
    print(f"these are exactly the {len(left):,} that were left, each in its step: {sorted(then) == sorted(left)}")
    print(f"together they are the run that nobody stopped: {sorted(first + then) == sorted(undisturbed)}")
    begin = annealing_begins(steps) // BATCH
    print(f"before annealing: {told_shares([seen for seen in first + then if seen.step < begin], SHARES)}")
    print(f"while annealing: {told_shares([seen for seen in first + then if seen.step >= begin], ANNEALING)}")
    documents, begun = (sum(len(seen.documents) for seen in first + then), sum(seen.begun for seen in first + then))
    print(f"{documents:,} documents, and {begun:,} places where positions begin at 0")
    full = sum(seen.tokens for seen in first + then) / (len(first + then) * LENGTH)
    print(f"sequences are full to {full:.2%}")


def told_shares(sequences: list[Seen], shares: Mapping[str, float]) -> str:
    """How many sequences, and which share of the tokens, came from each part, beside what was asked for."""
    counts = Counter(seen.part for seen in sequences)
    tokens = {name: sum(seen.tokens for seen in sequences if seen.part == name) for name in shares}
    return ", ".join(
        f"{counts[name]:,} of {name} ({share:.0%}: {len(sequences) * share:,.1f}; "
        f"{tokens[name] / sum(tokens.values()):.1%} of tokens)"
        for name, share in shares.items()
    )


def logged(folder: Path, world_size: int) -> list[Seen]:
    """The sequences that the ranks of a start saw."""
    texts = [(folder / f"rank{rank}-of-{world_size}.jsonl").read_text() for rank in range(world_size)]
    return [Seen(*json.loads(line)) for text in texts for line in text.splitlines()]


def torchrun(world_size: int, folder: Path, steps: int, stop: int) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={world_size}"]
    command += ["--master-addr=127.0.0.1", f"--master-port={free_port()}", __file__]
    command += [f"--steps={steps}", f"--stop={stop}", f"--folder={folder}"]
    ran = subprocess.run(
        command, check=False, env={"OMP_NUM_THREADS": "1", **os.environ}, stderr=subprocess.PIPE, text=True
    )
    if ran.returncode:
        sys.exit(ran.stderr)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="of the whole run")
    parser.add_argument("--folder", type=Path, help="of one start, with its checkpoint: what torchrun passes")
    parser.add_argument("--stop", type=int, help="the step before which that start stops")
    options = parser.parse_args()
    if options.folder is None:
        with tempfile.TemporaryDirectory() as folder:
            train(Path(folder), options.steps, options.steps // 2)
            torchrun(2, Path(folder), options.steps, options.steps)
            count(Path(folder), options.steps, options.steps // 2)
        return
    dist.init_process_group("gloo")
    train(options.folder, options.steps, options.stop)
    time.sleep(0.5)  # gloo's threads let go of the last gradients; torch aborts a process where they do so at exit
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
