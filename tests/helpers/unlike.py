"""What each rank of the tests of agreement runs: `unlike.py CASE,CASE FOLDER`; on rank 1 something is not as elsewhere."""

import importlib
import os
import re
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist

import fdm


FOLDER = Path(sys.argv[-1])
RANK = int(os.environ.get("RANK", "0"))  # none where doctests are collected

CODE = '''
import enum

import fdm
import torch
from attrs import frozen

FACTOR = {value}

def helper(x):
    return x * {value}

@frozen
class Scaled:
    by: int = 1
    def __call__(self, item):
        return item * {value}

class Kind(enum.Enum):
    FACTOR = {value}

class Dataset:
    def __len__(self):
        return 20
    def __getitem__(self, index):
        return index * {value}

def loads():
    return list(range({value}, 20 + {value}))

def loads_by_helper():
    return [helper(x) for x in range(20)]

def loads_by_class():
    return Dataset()

def item_inline(item):
    return item * {value}

def item_by_constant(item):
    return item * FACTOR

def item_by_helper(item):
    return helper(item)

def item_by_enum(item):
    return item * Kind.FACTOR.value

def item_by_default(item, factor={value}):
    return item * factor

def item_that_no_fingerprint_covers(item):
    return item * {value} * len(globals()["__name__"])

def keyed(item, key):
    return item * {value}

def collates(examples):
    return [example * {value} for example in examples]

def weighs(source):
    return [1.0 + {value}] * len(source)

def finds(source):
    return {{"found": {value}}}

def halves(source):
    return {{"train": range(10), "val": range(10, 10 + {value}), "rest": range(10 + {value}, 20)}}

def classes(source):
    return [index % {value} for index in range(20)]

def table():
    return fdm.Table({{"x": torch.tensor([0, 1, {value}])}})

def as_elsewhere(item):  # {comment}
    """Says {comment}."""
    return   item  # {comment}
'''


def caught(p, says, kind=fdm.PipelineError, **options):
    with pytest.raises(kind, match=re.escape(says)):
        fdm.open(p, **{"store": FOLDER / f"store of {RANK}", **options})


def own_code():
    """A module of a user's, as this rank has it."""
    folder = FOLDER / f"code of {RANK}"
    folder.mkdir(exist_ok=True)
    (folder / "users_code.py").write_text(CODE.format(value=3 if RANK == 1 else 2, comment=f"rank {RANK}"))
    sys.path.insert(0, str(folder))
    return importlib.import_module("users_code")


def numbers(*, n):
    return range(n)


def codes():
    """Code that does something else on one rank is an error on each, which names the stage; comments are none."""
    own, read = own_code(), fdm.load(numbers, n=20)
    says = "rank 1 has other contents than rank 0 in [the code of stage {}: other code"
    for load in (own.loads, own.loads_by_helper, own.loads_by_class):
        caught(fdm.pipeline(fdm.load(load)), says.format(f"0, load users_code.{load.__name__}()]"))
        with fdm.open(fdm.pipeline(fdm.load(load).version("1"))):
            pass
    for each in [*(getattr(own, name) for name in dir(own) if name.startswith("item_")), own.Scaled()]:
        shown = f"transform {fdm.transform(each).function!r}]"
        caught(fdm.pipeline(read, fdm.transform(each), fdm.batch(2)), says.format(f"1, {shown}"))
        caught(fdm.pipeline(read, fdm.batch(2), fdm.transfer(), fdm.transform(each)), says.format(f"3, {shown}"))
    caught(fdm.pipeline(read, fdm.transform(own.item_by_helper)), "other code of users_code.helper()")
    caught(fdm.pipeline(read, fdm.augment(own.keyed), fdm.batch(2)), "in [the code of stage 1, augment")
    caught(fdm.pipeline(read, fdm.batch(2, collate=own.collates)), "in [the code of stage 1, batch")
    caught(fdm.pipeline(read, fdm.sample(own.weighs), fdm.batch(2)), "in [the code of stage 1, sample")
    caught(fdm.pipeline(read, fdm.measure(own.finds).on("all")), "in [the code of stage 1, measure")
    caught(fdm.pipeline(read, fdm.split(own.halves)), "in [the code of stage 1, split")
    caught(fdm.pipeline(read, fdm.split({"a": 0.5, "b": None}, stratify=own.classes)), "in [the code of stage 1, split")
    caught(fdm.pipeline(read, fdm.fold(2, 0, groups=own.classes)), "in [the code of stage 1, fold")
    caught(fdm.pipeline(fdm.clean(own.table)), "in [the code of stage 0, clean")
    with fdm.open(fdm.pipeline(read, fdm.transform(own.as_elsewhere), fdm.batch(2))) as data:
        assert 2 == len(data.loader("all")[0])


def half_by_rank(source):
    """Halves, as of a function that draws from what is seeded by the rank."""
    order = np.random.default_rng(int(os.environ["RANK"])).permutation(len(source))
    return {"train": order[: len(source) // 2], "val": order[len(source) // 2 :]}


def swapped(source):
    """The same examples in another order, by one swap far from the beginning."""
    order = np.arange(len(source))
    if int(os.environ["RANK"]) == 1:
        order[[70_000, 70_001]] = order[[70_001, 70_000]]
    return {"train": order[:90_000], "val": order[90_000:]}


def classes_by_rank(source):
    return [index % (2 + (int(os.environ["RANK"]) == 1)) for index in range(len(source))]


def weights_by_rank(source):
    return [1 + (index == int(os.environ["RANK"])) for index in range(len(source))]


def weighted():
    return [{"weight": 1.0 + (index == 50) * (int(os.environ["RANK"]) == 1)} for index in range(100)]


def even_weights(source):
    return [1.0] * len(source)


def impurities():
    """Functions of equal code that look at the rank: what they make is compared."""
    read = fdm.load(numbers, n=100)
    says = "rank 1 has other contents than rank 0 in [split 'train' of 50 examples (stages 1)]: other examples"
    caught(fdm.pipeline(read, fdm.split(half_by_rank)), says)
    caught(fdm.pipeline(read, fdm.split({"train": 0.5, "val": None}, stratify=classes_by_rank)), says)
    nested = fdm.split(half_by_rank), fdm.split({"train": 40, "rest": None}, of="train")
    caught(fdm.pipeline(read, *nested), "in [split 'train' of 40 examples (stages 1, 2)]")
    many = fdm.pipeline(fdm.load(numbers, n=100_000), fdm.split(swapped))
    caught(many, "in [split 'train' of 90,000 examples")
    says = "in [the weights of stage 1, sample, for source 'all']: other weights"
    caught(fdm.pipeline(read, fdm.sample(weights_by_rank), fdm.batch(2)), says)
    caught(fdm.pipeline(fdm.load(weighted), fdm.sample("weight"), fdm.batch(2)), says)
    with fdm.open(fdm.pipeline(read, fdm.shuffle(), fdm.sample(even_weights), fdm.batch(2))) as data:
        assert 2 == len(data.loader("all")[0])


def is_stopped(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def frozen():
    """The rank that holds the group's store is stopped, before the others open or while they do."""
    p = fdm.pipeline(fdm.load(numbers, n=3))
    (FOLDER / f"pid {RANK}").write_text(str(os.getpid()))
    dist.barrier()
    if RANK == 0:
        (FOLDER / "ready").touch()
        time.sleep(600)
    if RANK == 1:
        while not is_stopped(int((FOLDER / "pid 0").read_text())):
            time.sleep(0.02)
    # Rank 2 is in the midst of it, and waits for rank 0, when that is stopped.
    for wait in (20, 1) if RANK == 2 else (2, 1):
        began = time.monotonic()
        with pytest.raises(fdm.StoreError, match="store did not answer for") as told:
            fdm.open(p, wait=wait)
        assert "rank 0, is stopped" in str(told.value)
        assert time.monotonic() - began < 60
    for call in (lambda: fdm.total(1), lambda: fdm.gather([RANK], [RANK])):
        with pytest.raises(fdm.PreparationError, match="could not exchange values") as failed:
            call()
        assert "which waits for every rank of its group" in "".join(failed.value.__notes__)
    print("told of frozen", flush=True)
    os._exit(0)  # as a launcher would end it: such a group cannot be left in an orderly way


if __name__ == "__main__":
    dist.init_process_group("gloo", timeout=timedelta(seconds=8 if "frozen" in sys.argv[1] else 300))
    for case in sys.argv[1].split(","):
        globals()[case]()
        print(f"told of {case}", flush=True)
    dist.barrier()
    dist.destroy_process_group()
