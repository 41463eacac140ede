"""Block shuffle of sorted data: variance of batch means beside its formula and a shuffle buffer, time, and blocks read.

    python benchmarks/blocks.py [--rounds 15] [--quick]

The data is sorted by label, and the variance of the labels' means over batches of 256 is compared with that of a true
shuffle, which is known exactly. The buffer draws from as many examples as it holds, behind permuted shards of 4096. Time is
that of looking up the ids of 1024 and of 65,536 neighbouring positions; ranks take every eighth position of a step.
"""

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median

import attrs
import numpy as np
from _timing import median_ratio, print_machine, print_table, print_target, seconds_per_unit

from fdm._orders.blocks import BlockShuffle, strided, variance_ratio
from fdm._random.permutation import permute


BATCH, SHARD, WORLD, STEP = 256, 4096, 8, 4096
LAYOUTS = ((4096, 16, 1), (1024, 64, 1), (1024, 256, 1), (256, 256, 1), (64, 1024, 1), (1024, 256, 64), (256, 1024, 64))
TRUE = "true shuffle"


@attrs.frozen
class Ordering:
    """An order by key, with what is expected of it."""

    ids: Callable[[int, np.ndarray], np.ndarray]
    formula: float | None


def true_shuffle(n: int, key: int, positions: np.ndarray) -> np.ndarray:
    return permute(positions, n, key)


def block_shuffle(n: int, layout: tuple[int, int, int], key: int, positions: np.ndarray) -> np.ndarray:
    return BlockShuffle(n, *layout, key=key).at(positions)


def buffered(n: int, held: int, key: int, positions: np.ndarray) -> np.ndarray:
    """A shuffle buffer: what comes takes the place of one that is drawn; at last what it holds is shuffled."""
    generator = np.random.default_rng(key)
    shards = np.arange(n).reshape(-1, SHARD)
    incoming = generator.permutation(shards).ravel().tolist()
    buffer, out = incoming[:held], []
    for example, place in zip(incoming[held:], generator.integers(0, held, n - held).tolist(), strict=True):
        out.append(buffer[place])
        buffer[place] = example
    generator.shuffle(buffer)
    return np.array(out + buffer)[positions]


def orderings(n: int) -> dict[str, Ordering]:
    blocks = {
        f"blocks of {layout[0]}, window {layout[1]}, {layout[2]} lanes": Ordering(
            partial(block_shuffle, n, layout), variance_ratio(BATCH, n, *layout[:2])
        )
        for layout in LAYOUTS
    }
    buffer = {f"buffer of {n // 16:,}": Ordering(partial(buffered, n, n // 16), None)}
    return {TRUE: Ordering(partial(true_shuffle, n), 1.0), **blocks, **buffer}


def variance(ordering: Ordering, labels: np.ndarray, epochs: int) -> float:
    """The variance of batch means over that of a true shuffle."""
    n = len(labels)
    means = [labels[ordering.ids(key, np.arange(n))].reshape(-1, BATCH).mean(axis=1) for key in range(epochs)]
    return float(np.var(np.concatenate(means)) / (labels.var() / BATCH * (n - BATCH) / (n - 1)))


def look_ups(n: int, at_once: int) -> dict[str, Callable[[], int]]:
    """The orders whose ids can be looked up, at places that are new each time."""
    orders = {
        f"blocks of {block}, window {window}, {lanes} lanes": BlockShuffle(n, block, window, lanes, key=1).at
        for block, window, lanes in LAYOUTS
    }
    return {
        name: partial(look_up, at, n, at_once) for name, at in {TRUE: partial(permute, n=n, key=1), **orders}.items()
    }


def look_up(at: Callable[[np.ndarray], np.ndarray], n: int, at_once: int) -> int:
    for first in range(0, min(n, 4 * at_once), at_once):
        at(np.arange(first, first + at_once))
    return min(n, 4 * at_once)


def share_read(n: int, layout: tuple[int, int, int]) -> float:
    """The share of the blocks of which rank 0 of 8 reads something in an epoch."""
    positions = np.concatenate([strided(first, min(n, first + STEP), 0, WORLD) for first in range(0, n, STEP)])
    return len(np.unique(BlockShuffle(n, *layout, key=1).at(positions) // layout[0])) * layout[0] / n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="5 rounds, and fewer epochs")
    options = parser.parse_args()
    n, epochs, rounds = 2**20, 4 if options.quick else 8, 5 if options.quick else options.rounds
    labels = np.arange(n) * 1000 // n / 1.0
    print(f"{n:,} examples sorted by label, batches of {BATCH}, means of {epochs} epochs")
    print_machine(rounds)

    batches, bulk = (seconds_per_unit(look_ups(n, at_once), rounds) for at_once in (1024, 65_536))
    rows, off = [], 0.0
    for name, ordering in orderings(n).items():
        measured = variance(ordering, labels, epochs)
        row = [name, f"{measured:.2f}", "" if ordering.formula is None else f"{ordering.formula:.2f}"]
        if ordering.formula is not None:
            off = max(off, measured / ordering.formula, ordering.formula / measured)
            row += [f"{median(found[name]) * 1e9:,.0f}" for found in (batches, bulk)]
            row += [f"{median_ratio(batches[name], batches[TRUE]):.2f}"]
        rows.append(row + [""] * (6 - len(row)))
    print_table(("order", "variance", "formula", "ns, batches", "ns, bulk", "ratio of batches"), rows)

    read = {layout: share_read(n, layout) for layout in LAYOUTS}
    print(f"\nShare of the blocks that a rank of {WORLD} reads in an epoch:\n")
    print_table(
        ("lanes", "share"),
        [[f"{block} x {window}, {lanes}", f"{read[block, window, lanes]:.3f}"] for block, window, lanes in LAYOUTS],
    )
    print()
    print_target("variance of batch means, at most off the formula by", off, most=1.2)
    of_lanes = max(share for (_, _, lanes), share in read.items() if lanes > 1)
    print_target(f"share of the blocks read with 64 lanes, times {WORLD}", of_lanes * WORLD, most=1.1)


if __name__ == "__main__":
    main()
