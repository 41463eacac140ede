"""What a rank pays for its plan: time and memory, from 1 to 16384 ranks, and from 10^6 to 10^10 examples.

    python benchmarks/ranks.py [--rounds 15] [--quick]

The ranks are simulated: a pipeline is opened as the last rank of a world, and asked for loaders and for the example ids
of its steps, without the examples. Flat means: at most 1.5 times the time of the smallest case, and no more memory.
"""

import argparse
import tracemalloc
from collections.abc import Mapping, Sequence
from functools import partial

from _timing import duration, median_ratio, print_machine, print_table, seconds_per_unit

import fdm


WORLDS, SIZES = (1, 8, 64, 1024, 16384), (10**6, 10**8, 10**10)
TARGET = 1.5
REPEATS, STEPS = 20, 50


def numbers(n: int) -> range:
    return range(n)


def opened(n: int, world_size: int) -> fdm.Data:
    # Batches are small enough for every world to have many steps of the smallest case.
    p = fdm.pipeline(
        fdm.load(numbers, n=n), fdm.split({"train": 0.9, "val": None}), fdm.shuffle(), fdm.batch(2), seed=0
    )
    return fdm.open(p, context=fdm.RankContext(rank=world_size - 1, world_size=world_size))


def loaders(data: fdm.Data) -> int:
    for epoch in range(REPEATS):
        loader = data.loader("train", epoch=epoch)
        loader.indices(len(loader) - 1)
    return REPEATS


def steps(data: fdm.Data) -> int:
    loader = data.loader("train")
    for step in range(0, len(loader), max(1, len(loader) // STEPS)):
        loader.indices(step)
        loader.snapshot(step)
    return len(range(0, len(loader), max(1, len(loader) // STEPS)))


def bytes_of(n: int, world_size: int) -> int:
    """The most memory that opening, a loader, and its last step take from Python and numpy."""
    tracemalloc.start()
    try:
        with opened(n, world_size) as data:
            loaders(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def rows(cases: Mapping[str, fdm.Data], memory: Mapping[str, int], rounds: int) -> list[list[str]]:
    made = seconds_per_unit({name: partial(loaders, data) for name, data in cases.items()}, rounds)
    looked_up = seconds_per_unit({name: partial(steps, data) for name, data in cases.items()}, rounds)
    first, found = next(iter(cases)), []
    for name in cases:
        loader, step = (median_ratio(of[name], of[first]) for of in (made, looked_up))
        mark = "" if max(loader, step) <= TARGET and memory[name] <= TARGET * memory[first] else "MISSED"
        told = [duration(sorted(of[name])[rounds // 2]) for of in (made, looked_up)]
        found.append(
            [name, f"{told[0]} ({loader:.2f})", f"{told[1]} ({step:.2f})", f"{memory[name] / 1024:,.0f} kB", mark]
        )
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    args = parser.parse_args(argv)
    rounds = 5 if args.quick else args.rounds
    print_machine(rounds)
    header = ["examples and ranks", "a loader and its last step", "a step and its snapshot", "memory", ""]
    pairs = [(n, world_size) for n in SIZES for world_size in WORLDS]
    names = [f"{n:.0e} on {world_size}".replace("e+", "e") for n, world_size in pairs]
    bytes_of(*pairs[0])  # what is imported and cached once
    memory = {name: bytes_of(*pair) for name, pair in zip(names, pairs, strict=True)}
    cases = {name: opened(*pair) for name, pair in zip(names, pairs, strict=True)}
    print_table(header, rows(cases, memory, rounds))


if __name__ == "__main__":
    main()
