"""Random batches of a table whose pages are not in memory: fdm, against a loop that asks for each row beforehand.

    python benchmarks/cold.py [--rounds 31] [--quick] [--folder DIR]

The limit is written by hand: `os.posix_fadvise(..., POSIX_FADV_WILLNEED)` for each row of the batch, and then a copy of
each. A bare gather from the mapped file waits for one row after the other. Before each batch the file is dropped from
the page cache, and it is opened anew, since mapped pages are not dropped. Linux only, and no folder in memory.
"""

import argparse
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from statistics import median

import attrs
import numpy as np
import torch
from _timing import duration, median_ratio, print_machine, print_table, print_target
from torch import Tensor

import fdm


BATCH = 128
BYTES = 400_000_000  # of a table
SHAPES = ((28, 28), (64, 64, 3))
TARGET = 1.5

HAND = "fadvise, then read row by row"
HAND_MAPPED = "fadvise, then gather from the mapped file"
FDM = "fdm, the next batch of a loader"
PLAIN = "gather from the mapped file"


def make_images(shape: Sequence[int]) -> fdm.Table:
    generator = torch.Generator().manual_seed(0)
    rows = BYTES // prod(shape)
    return fdm.Table({"image": torch.randint(0, 256, (rows, *shape), dtype=torch.uint8, generator=generator)})


def images(shape: Sequence[int]) -> fdm.Pipeline:
    return fdm.pipeline(fdm.clean(make_images, shape=shape), fdm.shuffle(), fdm.batch(BATCH), seed=0)


@attrs.frozen
class OnDisk:
    """The one column of a table's file, as a hand-written loop knows it."""

    path: Path
    descriptor: int
    shape: tuple[int, ...]

    @property
    def row(self) -> int:
        """The bytes of a row."""
        return prod(self.shape)

    @property
    def start(self) -> int:
        """Where the rows begin: they are the end of the file."""
        return os.fstat(self.descriptor).st_size - BYTES // self.row * self.row

    def evict(self) -> None:
        """Drop the file from the page cache."""
        os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def ask_for(self, ids: Sequence[int]) -> None:
        """Have these rows read, without waiting for them."""
        for index in ids:
            os.posix_fadvise(self.descriptor, self.start + index * self.row, self.row, os.POSIX_FADV_WILLNEED)

    def mapped(self) -> Tensor:
        """The rows, memory-mapped anew."""
        rows = np.memmap(self.path, dtype=np.uint8, mode="c", offset=self.start, shape=(BYTES // self.row, *self.shape))
        return torch.from_numpy(np.asarray(rows))

    def read(self, ids: Sequence[int]) -> Tensor:
        """These rows, each by a call to the system that copies it to its place."""
        out = np.empty((len(ids), *self.shape), dtype=np.uint8)
        start, row, descriptor = self.start, self.row, self.descriptor
        for at, index in enumerate(ids):
            os.preadv(descriptor, [out[at]], start + index * row)
        return torch.from_numpy(out)


@attrs.frozen
class Timed:
    """A batch, how long it took, and how many bytes were read from disk for it."""

    batch: Tensor
    seconds: float
    read: int


def timed(file: OnDisk, make: Callable[[], Tensor]) -> Timed:
    file.evict()
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_inblock, time.perf_counter()
    batch = make()
    seconds = time.perf_counter() - began
    return Timed(batch, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_inblock - before) * 512)


def by_hand(file: OnDisk, ids: Tensor) -> Timed:
    def make() -> Tensor:
        rows = ids.tolist()
        file.ask_for(rows)
        return file.read(rows)

    return timed(file, make)


def by_hand_mapped(file: OnDisk, ids: Tensor) -> Timed:
    column = file.mapped()

    def make() -> Tensor:
        file.ask_for(ids.tolist())
        return torch.index_select(column, 0, ids)

    return timed(file, make)


def plain(file: OnDisk, ids: Tensor) -> Timed:
    column = file.mapped()
    return timed(file, lambda: torch.index_select(column, 0, ids))


def by_fdm(file: OnDisk, store: str, step: int) -> Timed:
    """The third batch of a loader, since the look-up of many positions comes with the second."""
    with fdm.open(images(file.shape), store=store) as data:
        batches = iter(data.loader("all")[step - 2 : step + 1])
        file.evict()
        for _ in range(2):
            next(batches)
        return timed(file, lambda: next(batches)["image"])


def run(file: OnDisk, store: str, rounds: int) -> dict[str, list[Timed]]:
    """The rounds, in which the contenders take turns with the batch of the same step."""
    with fdm.open(images(file.shape), store=store) as data:
        loader = data.loader("all")
        steps = random.Random(0).sample(range(2, len(loader) - 1), rounds + 1)
        ids = [loader.indices(step) for step in steps]
    contenders: dict[str, Callable[[int], Timed]] = {
        HAND: lambda turn: by_hand(file, ids[turn]),
        HAND_MAPPED: lambda turn: by_hand_mapped(file, ids[turn]),
        FDM: lambda turn: by_fdm(file, store, steps[turn]),
        PLAIN: lambda turn: plain(file, ids[turn]),
    }
    found: dict[str, list[Timed]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name in random.Random(turn).sample(list(contenders), len(contenders)):
            found[name].append(contenders[name](turn))
        check_same_work([made[turn] for made in found.values()])
    return {name: made[1:] for name, made in found.items()}  # the first turn loads what is needed at all


def check_same_work(made: Sequence[Timed]) -> None:
    """Fail unless all read the same rows, from disk: speed means nothing otherwise."""
    assert all(torch.equal(made[0].batch, one.batch) for one in made)
    assert all(one.read >= 4096 * BATCH // 2 for one in made), "was not read from disk; give --folder on a disk"


def report(shape: Sequence[int], found: Mapping[str, Sequence[Timed]]) -> None:
    seconds = {name: [one.seconds for one in made] for name, made in found.items()}
    ratios = {name: median_ratio(taken, seconds[HAND]) for name, taken in seconds.items()}
    rows = [
        (
            name,
            duration(median(seconds[name])),
            f"{median(one.read for one in made) / 1e6:,.1f}",
            f"{ratios[name]:.2f}",
        )
        for name, made in found.items()
    ]
    print_table((f"{' x '.join(map(str, shape))} uint8", "time of a batch", "MB read", "ratio"), rows)
    print_target(f"{FDM}, time relative to {HAND}", ratios[FDM], most=TARGET)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--quick", action="store_true", help="9 rounds")
    parser.add_argument("--folder", default=None, help="where the tables are put for the time of the run")
    options = parser.parse_args()
    rounds = 9 if options.quick else options.rounds
    print(f"random batches of {BATCH} rows of a table of {BYTES / 1e6:.0f} MB, none of it in memory")
    print_machine(rounds)
    for shape in SHAPES:
        with tempfile.TemporaryDirectory(dir=options.folder) as store:
            fdm.Executor(store=store).prepare(images(shape))
            (path,) = Path(store).rglob("*.safetensors")
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)  # pages that are still to be written are not dropped
            report(shape, run(OnDisk(path, descriptor, tuple(shape)), store, rounds))
            os.close(descriptor)


if __name__ == "__main__":
    main()
