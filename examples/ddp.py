"""Train on several ranks, lose one in the middle of an epoch, and go on with another number of ranks, exactly.

    python examples/ddp.py

starts torchrun with 4 ranks, of which one is killed; then with 2, of which one is killed too; then with 3, which finish.
Each start goes on from the last snapshot. At the end the example ids that all ranks logged are counted, and the losses
are compared with those of one rank that nobody disturbed.

    torchrun --nproc-per-node 4 examples/ddp.py FOLDER

is one such start: it trains from the snapshot in FOLDER, if there is one.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from digits import digits, network
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import fdm


EPOCHS, SAVE_EVERY = 3, 5
# 60 examples in a step of any number of ranks, so that another number changes no step and no loss.
PIPELINE = fdm.replace(digits, fdm.batch(60, ids="id", across="world"))
STORY = [(4, (0, 13)), (2, (1, 11)), (3, None)]  # ranks, and the epoch and step in which one of them is killed


def train(folder: Path, *, kill_at: list[int]) -> None:
    with fdm.open(PIPELINE) as data:
        model = DistributedDataParallel(network(data.facts["classes"]))
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        start = restored(folder / "checkpoint.pt", model, optimizer)
        rank, world_size = data.context.rank, data.context.world_size
        with (folder / f"rank{rank}-of-{world_size}.jsonl").open("a") as log:
            for loader in data.epochs("train", EPOCHS, start=start):
                for step, batch in enumerate(loader, start=1):
                    begun, done = loader.snapshot(step - 1), loader.snapshot(step)
                    loss = nn.functional.cross_entropy(model(batch["image"]), batch["label"], reduction="sum")
                    # DDP takes the mean of the ranks' gradients; the mean over examples is the sum over their number.
                    total = fdm.total({"loss": loss.item(), "examples": len(batch["label"])})
                    optimizer.zero_grad()
                    (loss * world_size / total["examples"]).backward()
                    optimizer.step()
                    seen = {"epoch": begun.epoch, "at": begun.examples, "ids": batch["id"].tolist()}
                    print(json.dumps({**seen, "loss": total["loss"] / total["examples"]}), file=log, flush=True)
                    if rank == world_size - 1 and [begun.epoch, begun.examples // 60] == kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    if step % SAVE_EVERY == 0 and rank == 0:
                        save(folder / "checkpoint.pt", model, optimizer, done)


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, at: fdm.Snapshot) -> None:
    """The snapshot is the same on every rank, so one writes it, beside the weights: all of it or nothing."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "snapshot": at.to_dict()}
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def restored(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> fdm.Snapshot | None:
    if not path.exists():
        return None
    state = torch.load(path)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return fdm.Snapshot.from_dict(state["snapshot"])


def tell_story(folder: Path) -> None:
    history: dict[tuple[int, int], list[int]] = {}  # by epoch and first example: the ids of a step, over all ranks
    losses: dict[tuple[int, int], float] = {}
    again = 0
    for world_size, kill_at in STORY:
        code = torchrun(world_size, folder, kill_at)
        end = f"one of them was killed in epoch {kill_at[0]}" if kill_at else "finished"
        print(f"{world_size} ranks: {end}, and torchrun returned {code}")
        # What came after the last snapshot is seen again by those that go on from it, in the same steps.
        for place, ids, loss in steps_of(folder, world_size):
            again += place in history
            history[place], losses[place] = ids, loss
    for epoch in range(EPOCHS):
        seen = Counter(number for (at, _), ids in history.items() if at == epoch for number in ids)
        print(f"epoch {epoch}: {len(seen)} examples, each {'once' if set(seen.values()) == {1} else 'NOT ONCE'}")
    print(f"{again} steps lay after a snapshot and were done again")
    torchrun(1, folder / "alone", None)
    alone = {place: loss for place, _, loss in steps_of(folder / "alone", 1)}
    far = max(abs(losses[place] - loss) / loss for place, loss in alone.items())
    print(f"losses of {len(alone)} steps differ from those of one rank alone by at most {far:.0e} of theirs")


def steps_of(folder: Path, world_size: int) -> Iterator[tuple[tuple[int, int], list[int], float]]:
    """The steps that all ranks of a start have logged: their place, ids and loss."""
    texts = [(folder / f"rank{rank}-of-{world_size}.jsonl").read_text() for rank in range(world_size)]
    ranks = [[json.loads(line) for line in text.splitlines()] for text in texts]
    for logged in zip(*ranks, strict=False):
        place = logged[0]["epoch"], logged[0]["at"]
        yield place, [number for one in logged for number in one["ids"]], logged[0]["loss"]


def torchrun(world_size: int, folder: Path, kill_at: tuple[int, int] | None) -> int:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={world_size}"]
    command += ["--master-addr=127.0.0.1", f"--master-port={free_port()}", __file__, str(folder)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    command += map(str, kill_at or ())
    ran = subprocess.run(command, check=False, env=environment, stderr=subprocess.PIPE, text=True)
    if ran.returncode and not kill_at:
        sys.exit(ran.stderr)
    return ran.returncode


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        dist.init_process_group("gloo")
        train(Path(sys.argv[1]), kill_at=[int(number) for number in sys.argv[2:]])
        time.sleep(0.5)  # gloo's threads let go of the last gradients; torch aborts a process where they do so at exit
        dist.destroy_process_group()
    else:
        with tempfile.TemporaryDirectory() as folder:
            tell_story(Path(folder))
