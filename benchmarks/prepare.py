"""Preparing by parts against a bare pool of processes, and opening a prepared table of 10 GB against one of 1 MB.

    python benchmarks/prepare.py [--rounds 15] [--quick]

The bare pool does the same work on the same parts and writes one .npy file for each: no digests, no flushing to disk,
no concatenation, nothing to resume from. All of these are in the time of fdm. The table of 10 GB is a sparse file.
"""

import argparse
import hashlib
import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _timing import duration, median_ratio, print_machine, print_table, print_target, seconds_per_unit

import fdm


PARTS, WORKERS = 64, 2
VALUES, SORTS = 131_072, 48  # 1 MB of float64 a part, about 100 ms of work: the least that is worth a part of its own
OVERHEAD = 1.2

WIDTH = 1024  # of float32: rows of 4 kB
SMALL, LARGE = 10**6, 10**10  # bytes
OPENS = 10  # in one turn
SECONDS, BYTES = 0.05, 10**6  # that opening may take, and by which a process may grow

BARE = "bare pool, one .npy for each part"
FDM = "fdm, clean(...).each(...)"


def part_names() -> list[str]:
    return [f"{number:03}" for number in range(PARTS)]


def work(part: str) -> np.ndarray:
    """Work for one core: numbers drawn from the hash of the name, sorted and shuffled again and again."""
    dice = np.random.default_rng(int(hashlib.sha256(part.encode()).hexdigest(), 16))
    values = dice.random(VALUES)
    for _ in range(SORTS):
        values = dice.permutation(np.sort(values))
    return values


def clean_part(part: str) -> fdm.Table:
    return fdm.Table({"value": work(part)})


def save_part(part: str, folder: Path) -> None:
    np.save(folder / f"{part}.npy", work(part))


def make_rows(size: int) -> fdm.Table:
    return fdm.Table({"row": torch.zeros(size // (4 * WIDTH), WIDTH)})


BY_PARTS = fdm.pipeline(fdm.clean(clean_part).each(part_names), fdm.batch(PARTS * VALUES))
ROWS = fdm.pipeline(fdm.clean(make_rows, size=SMALL), fdm.shuffle(), fdm.batch(128))


def processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(WORKERS, initializer=torch.set_num_threads, initargs=(1,))


def prepare_bare(folder: Path) -> None:
    with processes() as pool:
        for _ in pool.map(partial(save_part, folder=folder), part_names()):
            pass


def prepare_fdm(folder: Path) -> None:
    fdm.Executor(store=folder, pool=processes).prepare(BY_PARTS)


def in_new_folder(prepare: Callable[[Path], None]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
    return PARTS


def check_same_work() -> None:
    """Fail unless both save the same numbers: speed means nothing otherwise."""
    with tempfile.TemporaryDirectory() as bare, tempfile.TemporaryDirectory() as store:
        prepare_bare(Path(bare))
        expected = np.concatenate([np.load(Path(bare) / f"{part}.npy") for part in part_names()])
        with fdm.open(BY_PARTS, store=store, pool=processes) as data:
            assert np.array_equal(data.loader("all")[0]["value"].numpy(), expected)


def report_overhead(found: Mapping[str, Sequence[float]]) -> None:
    ratios = {name: median_ratio(seconds, found[BARE]) for name, seconds in found.items()}
    rows = [
        (name, duration(median(seconds) * PARTS), duration(median(seconds) * WORKERS), f"{ratios[name]:.2f}")
        for name, seconds in found.items()
    ]
    print_table(("case", "all parts", "one part, one core", "ratio"), rows)
    print()
    print_target(f"{FDM}, time relative to the bare pool", ratios[FDM], most=OVERHEAD)


def make_large(small: Path, large: Path) -> None:
    """Copy a store with one table, whose file becomes a sparse one of many more rows; its layout stays fdm's own."""
    shutil.copytree(small, large)
    (path,) = large.glob("clean-*/*.safetensors")
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    rows = LARGE // (4 * WIDTH)
    header["0"] |= {"shape": [rows, WIDTH], "data_offsets": [0, rows * 4 * WIDTH]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + rows * 4 * WIDTH)


def open_only(store: Path) -> int:
    for _ in range(OPENS):
        fdm.open(ROWS, store=store).close()
    return OPENS


def open_and_read(store: Path) -> int:
    for _ in range(OPENS):
        with fdm.open(ROWS, store=store) as data:
            next(iter(data.loader("all")))
    return OPENS


def resident() -> int:
    """The bytes of this process in memory, without those of mapped files."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def growth(warm: Path, store: Path) -> int:
    """By how many bytes a process grows that opens one table more, and keeps it open."""
    first = fdm.open(ROWS, store=warm)
    before = resident()
    second = fdm.open(ROWS, store=store)
    after = resident()
    first.close()
    second.close()
    return after - before


def growth_in_new_process(warm: Path, store: Path) -> int:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(growth, warm, store).result()


def report_opening(folder: Path, rounds: int) -> None:
    stores = {"1 MB": folder / "small", "10 GB": folder / "large"}
    fdm.Executor(store=stores["1 MB"]).prepare(ROWS)
    make_large(*stores.values())
    with fdm.open(ROWS, store=stores["10 GB"]) as data:
        assert data.splits["all"] == LARGE // (4 * WIDTH)
    cases = {f"open {size}": partial(open_only, store) for size, store in stores.items()}
    cases |= {
        f"open {size}, and a first shuffled batch": partial(open_and_read, store) for size, store in stores.items()
    }
    found = seconds_per_unit(cases, rounds)
    grown = {size: growth_in_new_process(stores["1 MB"], store) for size, store in stores.items()}
    rows = [
        (case, f"{median(seconds) * 1e3:.2f}", f"{grown[size] / 1e3:,.0f}" if case == f"open {size}" else "")
        for (case, seconds), size in zip(found.items(), [*stores, *stores], strict=True)
    ]
    print_table(("case", "ms", "memory, kB"), rows)
    print()
    print_target("open 10 GB, ms", median(found["open 10 GB"]) * 1e3, most=SECONDS * 1e3)
    print_target("open 10 GB, growth in MB", grown["10 GB"] / 1e6, most=BYTES / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    print(f"{PARTS} parts of {VALUES * 8 / 1e6:.1f} MB, {WORKERS} workers; then tables of rows of {4 * WIDTH} bytes")
    print_machine(rounds)
    check_same_work()
    contenders = {BARE: partial(in_new_folder, prepare_bare), FDM: partial(in_new_folder, prepare_fdm)}
    report_overhead(seconds_per_unit(contenders, rounds))
    print()
    with tempfile.TemporaryDirectory() as folder:
        report_opening(Path(folder), rounds)


if __name__ == "__main__":
    main()
