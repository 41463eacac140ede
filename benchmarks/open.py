"""Opening a prepared pipeline and making its first batch, against the first batch of a bare DataLoader.

    python benchmarks/open.py [--rounds 11] [--quick]

The bare DataLoader has nothing to open: its dataset is made of tensors in memory, neither split nor normalised. fdm reads
its store, checks what is there against the code of the pipeline, splits by class and normalises. Both begin after all
imports: for the first time in a process of its own, which decides, and again and again in one process.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from statistics import median

import torch
from _timing import print_machine, print_table, print_target, seconds_per_unit
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import fdm


EXAMPLES, BATCH = 1_797, 32
REPEATS = 10  # in one turn in one process
MORE = 10.0  # milliseconds that opening may take

BARE, FDM = "DataLoader, first batch", "fdm, open and first batch"
FIRST, AGAIN = "first in its process", "again in one process"


def make_digits(n: int) -> fdm.Table:
    images = torch.randint(0, 256, (n, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return fdm.Table({"image": images, "label": torch.arange(n) % 10})


def pixel_statistics(train: fdm.Table) -> dict[str, float]:
    pixels = train["image"].float()
    return {"mean": pixels.mean().item(), "std": pixels.std().item(), "classes": 10}


def normalize(batch: dict[str, Tensor], *, mean: float, std: float) -> dict[str, Tensor]:
    return {**batch, "image": (batch["image"].float() - mean) / std}


DIGITS = fdm.pipeline(
    fdm.clean(make_digits, n=EXAMPLES),
    fdm.split({"train": 0.8, "val": 0.1, "test": None}, stratify="label", seed=42),
    fdm.measure(pixel_statistics).on("train"),
    fdm.shuffle().on("train"),
    fdm.batch(BATCH),
    fdm.transform(normalize, mean=fdm.fact("mean"), std=fdm.fact("std")),
    fdm.transfer(),
    seed=0,
)


def first_of_fdm(store: Path) -> float:
    """The seconds until the first batch is there; what follows, closing, is not in them."""
    began = time.perf_counter()
    with fdm.open(DIGITS, store=store) as data:
        next(iter(data.loader("train")))
        return time.perf_counter() - began


@cache
def columns_in_memory() -> tuple[Tensor, ...]:
    return tuple(make_digits(EXAMPLES).values())


def first_of_bare() -> float:
    columns = columns_in_memory()
    began = time.perf_counter()
    next(iter(DataLoader(TensorDataset(*columns), batch_size=BATCH, shuffle=True)))
    return time.perf_counter() - began


def in_new_process(first: Callable[[], float]) -> float:
    """The same in a process that has made all imports of this script, and done nothing else."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(abs, 0).result()
        return pool.submit(first).result()


def repeated(first: Callable[[], float]) -> int:
    for _ in range(REPEATS):
        first()
    return REPEATS


def check_first_batch(store: Path) -> None:
    """Fail unless the first batch is what the pipeline says, of examples from the store."""
    columns = make_digits(EXAMPLES)
    with fdm.open(DIGITS, store=store) as data:
        loader = data.loader("train")
        rows = columns[loader.indices(0)]
        expected = normalize(rows, mean=data.facts["mean"], std=data.facts["std"])
        batch = next(iter(loader))
        assert len(batch["label"]) == BATCH
        assert all(torch.equal(batch[name], expected[name]) for name in expected)


def measured(store: Path, rounds: int) -> dict[str, dict[str, list[float]]]:
    contenders = {BARE: first_of_bare, FDM: partial(first_of_fdm, store)}
    first: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            first[name].append(in_new_process(run))
    again = seconds_per_unit({name: partial(repeated, run) for name, run in contenders.items()}, rounds)
    return {FIRST: first, AGAIN: again}


def report(found: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    more = {case: median(map(float.__sub__, of[FDM], of[BARE])) * 1e3 for case, of in found.items()}
    rows = [
        (f"{name}, {case}", f"{median(seconds) * 1e3:.2f}", f"{more[case]:.2f}" if name == FDM else "")
        for case, of in found.items()
        for name, seconds in of.items()
    ]
    print_table(("case", "ms", "more, ms"), rows)
    print()
    for case, ms in more.items():
        print_target(f"{FDM}, {case}, ms more than the bare DataLoader", ms, most=MORE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    print(f"{EXAMPLES} images of 8 x 8 uint8 in a store that is warm, batches of {BATCH}")
    with tempfile.TemporaryDirectory() as store:
        fdm.Executor(store=store).prepare(DIGITS)
        check_first_batch(Path(store))
        print_machine(rounds)
        report(measured(Path(store), rounds))


if __name__ == "__main__":
    main()
