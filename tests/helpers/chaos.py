"""Rounds of chaos: `chaos.py FIRST LAST FOLDER`. Ranks are killed, and others go on from the last snapshot.

A process of its own, which forks the ranks while it has no threads yet.
"""

import faulthandler
import json
import multiprocessing
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import torch
import torch.distributed as dist

import fdm


FORK = multiprocessing.get_context("fork")
EPOCHS = 3


def numbers(*, n):
    return range(n)


def pipeline(n, size, across):
    split = fdm.split({"train": 0.8, "val": None}, seed=n)
    return fdm.pipeline(fdm.load(numbers, n=n), split, fdm.shuffle(), fdm.batch(size, across=across), seed=n)


def train(folder, start, rank, world_size, *, p, save_every, kill):
    """One rank of one start; `kill` is the rank that dies, and after how many steps of the run."""
    torch.set_num_threads(1)
    group = dist.FileStore(str(folder / f"group{start}"), world_size)
    dist.init_process_group("gloo", store=group, rank=rank, world_size=world_size)
    latest = folder / "snapshot.json"
    begin = fdm.Snapshot.from_dict(json.loads(latest.read_text())) if latest.exists() else None
    steps = 0
    context = fdm.RankContext(rank, world_size, rank, world_size)
    with fdm.open(p, context=context) as data, (folder / f"log{start}.{rank}").open("w") as log:
        for loader in data.epochs("train", EPOCHS, start=begin):
            for step, batch in enumerate(loader, start=1):
                at = loader.snapshot(step - 1)
                print(json.dumps([at.epoch, at.examples, batch.tolist()]), file=log, flush=True)
                steps += 1
                if kill == (rank, steps):
                    os.kill(os.getpid(), signal.SIGKILL)
                dist.barrier()
                if rank == 0 and steps % save_every == 0:
                    latest.with_suffix(".new").write_text(json.dumps(loader.snapshot(step).to_dict()))
                    latest.with_suffix(".new").replace(latest)
    dist.barrier()
    dist.destroy_process_group()


def begun(*args, **settings):
    try:
        train(*args, **settings)
    except (RuntimeError, fdm.FdmError):
        os._exit(1)  # another rank died


def place(folder):
    found = folder / "snapshot.json"
    plain = json.loads(found.read_text()) if found.exists() else {"epoch": 0, "examples": 0}
    return plain["epoch"], plain["examples"]


def one_round(number, folder):
    dice = random.Random(number)
    folder.mkdir()
    n = dice.randint(12, 60)
    places, kept, again = [], Counter(), Counter()
    for start in range(20):
        world_size, across = dice.randint(1, 4), dice.choice(["rank", "world"])
        p = pipeline(n, dice.randint(4, 9) if across == "world" else dice.randint(1, 5), across)
        kill = (dice.randrange(world_size), dice.randint(1, 12)) if start < dice.randint(2, 4) else None
        places.append(place(folder))
        settings = {"p": p, "save_every": dice.randint(1, 4), "kill": kill}
        args = [(folder, start, rank, world_size) for rank in range(world_size)]
        ranks = [FORK.Process(target=begun, args=these, kwargs=settings) for these in args]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(300)
        codes = [rank.exitcode for rank in ranks]
        assert None not in codes, (number, "a rank hangs")
        finished = set(codes) == {0}
        assert finished or kill is not None, (number, codes)
        after = (EPOCHS, 0) if finished else place(folder)
        for rank in range(world_size):
            log = folder / f"log{start}.{rank}"
            for line in log.read_text().splitlines() if log.exists() else []:
                epoch, at, ids = json.loads(line)
                (kept if (epoch, at) < after else again).update((epoch, index) for index in ids)
        if finished:
            break
    with fdm.open(pipeline(n, 1, "rank")) as data:
        train_ids = data.indices("train").tolist()
    exact = Counter((epoch, index) for epoch in range(EPOCHS) for index in train_ids)
    assert exact == kept, (number, places, exact - kept, kept - exact)
    assert again <= Counter(dict.fromkeys(exact, 20)), number
    return len(places), again.total()


if __name__ == "__main__":
    faulthandler.dump_traceback_later(800, exit=True)
    told = [one_round(number, Path(sys.argv[3]) / str(number)) for number in range(int(sys.argv[1]), int(sys.argv[2]))]
    starts, again = map(sum, zip(*told, strict=True))
    print(f"{len(told)} rounds, {starts} starts, {again} examples after a last snapshot")
