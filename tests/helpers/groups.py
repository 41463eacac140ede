"""What each rank of the tests of process groups runs: `groups.py CASE,CASE FOLDER`, started by torchrun or by hand."""

import os
import re
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import fdm


FOLDER = Path(sys.argv[-1])
RANK = int(os.environ.get("RANK", "0"))


def numbers(*, n):
    return range(n)


def table(*, n, more=0):
    return fdm.Table({"x": torch.arange(n) + more})


def doubled(upstream, *, by):
    return fdm.Table({"x": upstream["x"] * by})


def failing(into):
    time.sleep(0.3)
    msg = "the site is closed"
    raise ConnectionError(msg)


def dying(*, rank):
    """Ends the process of a rank, whichever of them it is that prepares."""
    if rank == RANK:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    return table(n=5)


def unequal(source):
    """Splits that differ from rank to rank, as of a function that looks at what it must not."""
    cut = len(source) - int(os.environ["RANK"])
    return {"train": range(cut), "val": range(cut, len(source))}


def of_all(value):
    found = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def exact():
    """Every example once, in equal non-empty steps, for every small size and some larger ones."""
    world, size, context = dist.get_world_size(), 2, fdm.RankContext.detect()
    for across in ("rank", "world"):
        batch = size if across == "rank" else size * world
        for n in [*range(3 * world * size + 2), 97, 1000]:
            stages = fdm.load(numbers, n=n), fdm.shuffle(), fdm.batch(batch, across=across)
            with fdm.open(fdm.pipeline(*stages), context=context) as data:
                loader = data.loader("all")
                steps = [batch.tolist() for batch in loader]
                assert [loader.indices(step).tolist() for step in range(len(loader))] == steps
                ranks = of_all(steps)
            assert Counter(range(n)) == Counter(number for steps in ranks for step in steps for number in step)
            if n >= world:
                assert 1 == len({len(steps) for steps in ranks}), (n, ranks)
                assert all(steps and all(steps) for steps in ranks)
            else:
                assert n == sum(map(len, ranks))


def caught(p, says, kind=fdm.PipelineError, **options):
    with pytest.raises(kind, match=re.escape(says)):
        fdm.open(p, **{"store": FOLDER / "store", **options})


def mismatches():
    """What is not the same on all ranks is an error on each, which says who differs, and in which stage."""
    odd = RANK == 1
    made = fdm.clean(table, n=20)
    cut = fdm.split({"train": 0.5, "val": None}, seed=int(odd))
    caught(fdm.pipeline(made, cut), "rank 1 has [stage 1, split train=0.5, val=rest, seed=1]")
    caught(fdm.pipeline(fdm.clean(table, n=20 + odd)), "rank 1 has [stage 0, clean ")
    caught(fdm.pipeline(fdm.load(numbers, n=20 + odd)), "rank 1 has [stage 0, load ")
    caught(fdm.pipeline(made, *[fdm.shuffle()] * (not odd), fdm.batch(2)), "rank 1 has [stage 1, batch")
    caught(fdm.pipeline(made, fdm.batch(2), seed=int(odd)), "rank 1 has other contents than rank 0 in [seed]")
    os.environ["MORE"] = str(int(odd))
    caught(fdm.pipeline(fdm.load(by_environment)), "in [source 'all' of 5 examples]")
    # A store for each machine, and another version of the data in one of them.
    says = "rank 1 has other contents than rank 0 in [the files of stage 0, clean"
    caught(fdm.pipeline(fdm.clean(by_environment)), says, store=FOLDER / f"store of {int(odd)}")
    # Functions decide alone, and may look at what they must not.
    p = fdm.pipeline(fdm.load(numbers, n=20), fdm.split(unequal))
    caught(p, "rank 1 has [split 'train' of 19 examples (stages 1)] where rank 0 has [split 'train' of 20 examples")
    # And what is the same opens, also after all that.
    with fdm.open(fdm.pipeline(made, fdm.batch(2)), store=FOLDER / "store") as data:
        assert {"all": 20} == dict(data.splits)


def by_environment():
    return table(n=5, more=int(os.environ["MORE"]))


def pruned():
    """What is removed from the store once it is opened, or before it is needed, is compared as it was opened."""
    p = fdm.pipeline(fdm.clean(table, n=20), fdm.clean(doubled, by=2), fdm.measure(size_of).on("all"))
    for _ in range(2):  # made, and then only opened, without what it was made from
        with fdm.open(p, store=FOLDER / "store") as data:
            assert {"all": 20} == dict(data.splits)
        dist.barrier()
        for artifact in fdm.store.artifacts(FOLDER / "store") if RANK == 0 else ():
            if artifact.function.endswith("table"):
                shutil.rmtree(artifact.folder)
        dist.barrier()
    p = fdm.pipeline(fdm.clean(table, n=20).version(str(FOLDER)), fdm.split(pruning))
    with fdm.open(p, store=FOLDER / "store") as data:
        assert {"train": 15, "val": 5} == dict(data.splits)


def size_of(source):
    return {"n": len(source)}


def pruning(source):
    """Splits, when everything is gone from the store."""
    fdm.store.prune(FOLDER / "store", larger_than=0)
    return {"train": range(15), "val": range(15, 20)}


def failure():
    """A fetch that fails is told by every rank, with its cause."""
    began = time.monotonic()
    p = fdm.pipeline(fdm.fetch(failing), fdm.clean(doubled, by=2))
    caught(p, "the site is closed", (ConnectionError, fdm.PreparationError))
    assert time.monotonic() - began < 200


def alone():
    """A failure of one rank alone, in what it does not share, ends the waiting of the others."""
    p = fdm.pipeline(fdm.load(alone_failing))
    if RANK == 1:
        caught(p, "only here", ZeroDivisionError)
        return
    # The cause itself, and not what another rank made of it.
    says = r"^rank 1 failed while the ranks opened the pipeline: ZeroDivisionError: only here"
    with pytest.raises(fdm.PreparationError, match=says):
        fdm.open(p)


def alone_failing():
    if RANK == 1:
        msg = "only here"
        raise ZeroDivisionError(msg)
    return range(3)


def death():
    """A rank that dies while it prepares is missed by the others, and what it did not finish is made by another."""
    p = fdm.pipeline(fdm.clean(dying, rank=1).version("1"))
    says = "rank 1 died while the ranks opened the pipeline"
    caught(p, says, fdm.PreparationError, store=FOLDER / f"store {RANK}")
    print("missed", flush=True)


def absence():
    """Ranks that do not come are named."""
    if RANK == 0:
        caught(fdm.pipeline(fdm.load(numbers, n=3)), "not there: ranks [1", fdm.StoreError, wait=1)
    dist.barrier()


def largest(source):
    return {"largest": int(max(source))}


def largest_of_table(source):
    return {"largest": int(source["x"].max())}


def prepares():
    """One rank alone may prepare, whatever there is to make, while the others wait for it in a collective call."""
    loaded = fdm.pipeline(fdm.load(numbers, n=20), fdm.measure(largest).on("all"))
    cleaned = fdm.pipeline(fdm.clean(table, n=20), fdm.measure(largest_of_table).on("all"))
    for name, p in {"loaded": loaded, "cleaned": cleaned, "kept": fdm.pipeline(fdm.clean(table, n=20))}.items():
        for rank in range(dist.get_world_size()):
            for store in (FOLDER / f"prepared {name} {rank}", FOLDER / f"prepared {name} of {RANK}"):
                if rank == RANK:
                    fdm.Executor(store=store).prepare(p)
                dist.barrier()
        fdm.Executor(store=FOLDER / f"prepared {name} by all").prepare(p)
        with fdm.open(p, store=FOLDER / f"prepared {name} 0") as data:
            assert name == "kept" or 19 == data.facts["largest"]


def meeting(*, n):
    """What scripts of many ranks do by themselves: the first one downloads, and all meet."""
    dist.barrier()
    return range(n)


def meetings():
    """A load function in which all ranks meet is not called by one after the other."""
    with fdm.open(fdm.pipeline(fdm.load(meeting, n=3))) as data:
        assert {"all": 3} == dict(data.splits)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    for case in sys.argv[1].split(","):
        globals()[case]()
        print(f"told of {case}", flush=True)
    if sys.argv[1] != "death":
        dist.barrier()
        dist.destroy_process_group()
    print(f"rank {RANK} is done", flush=True)
