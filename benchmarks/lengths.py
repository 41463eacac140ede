"""Batches by length: how much of what 8 ranks compute is no padding, and what the order costs.

    python benchmarks/lengths.py [--rounds 21] [--quick]

A million lengths of mean 435, none above 2048, and 8 ranks that go in step, so that all wait for the one with the most
padded tokens. Batches by length are beside what is common elsewhere: shuffled batches of a fixed size, batches sorted in
windows, and budgets that each rank fills by itself. Shares and steps are exact; only the times depend on the machine.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import numpy as np
from _timing import duration, median_ratio, print_machine, print_table, print_target, seconds_per_unit
from numpy.typing import NDArray

from fdm._orders.by_length import ByLength
from fdm._orders.lengths import Buckets, Layout, best_edges
from fdm._orders.order import Natural, Shuffled
from fdm._plans.steps import StepsByLength


EXAMPLES, QUICK, LONGEST = 1_000_000, 200_000, 2048
RANKS, BUDGET = 8, 131_072
WINDOW = 50  # batches that are sorted together
STEPS = 100  # looked up in one turn
TARGET = 0.90

Lengths = NDArray[np.int64]

FIXED, LIKE = "fdm, shuffled, a step of as many", "fdm, by length, a step"
BLOCK = "fdm, by length, a step of many at once"
SORT, INDEX = "np.argsort of the lengths", "fdm, edges, buckets and steps"


def some_lengths(n: int) -> Lengths:
    drawn = np.exp(5.7703 + 0.8 * np.random.default_rng(0).standard_normal(n))
    return np.clip(np.ceil(drawn), 1, LONGEST).astype(np.int64)


def shuffled_batches(lengths: Lengths, size: int, random: np.random.Generator) -> list[Lengths]:
    order = random.permutation(lengths)
    return np.split(order, range(size, len(order), size))


def sorted_windows(lengths: Lengths, size: int, window: int, random: np.random.Generator) -> list[Lengths]:
    """Batches of neighbours in sorted windows of a shuffled epoch, shuffled within the window."""
    batches: list[Lengths] = []
    for piece in shuffled_batches(lengths, window, random):
        piece.sort()
        cut = np.split(piece, range(size, len(piece), size))
        batches += [cut[at] for at in random.permutation(len(cut))]
    return batches


def greedy_budgets(lengths: Lengths, budget: int, window: int, random: np.random.Generator) -> list[Lengths]:
    """Batches that are filled, from sorted windows of a shuffled epoch, until the padded values would exceed the budget."""
    batches: list[Lengths] = []
    for piece in shuffled_batches(lengths, window, random):
        piece.sort()
        cut, start = [], 0
        while start < len(piece):
            fits = np.arange(1, len(piece) - start + 1) * piece[start:] <= budget
            stop = start + max(1, int(fits.sum()))
            cut.append(piece[start:stop])
            start = stop
        batches += [cut[at] for at in random.permutation(len(cut))]
    return batches


def row_of(name: str, costs: NDArray[np.int64], useful: int, steps: str, examples: str) -> tuple[str, ...]:
    """A line of the table, where `costs` has the padded tokens of each rank in each step, shape (steps, ranks)."""
    return name, f"{useful / (RANKS * costs.max(axis=1).sum()):.3f}", steps, examples, f"{costs.sum(axis=1).max():,}"


def in_step(name: str, by_rank: Sequence[Sequence[Lengths]]) -> tuple[str, ...]:
    """The line of ranks that each have batches of their own, as far as all have some."""
    counts = sorted(map(len, by_rank))
    steps = [list(step) for step in zip(*by_rank, strict=False)]
    costs = np.array([[len(batch) * batch.max() for batch in step] for step in steps])
    sizes = [sum(map(len, step)) for step in steps]
    said = f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}: hangs"
    return row_of(name, costs, sum(int(batch.sum()) for step in steps for batch in step), said, examples_said(sizes))


def examples_said(sizes: Sequence[int]) -> str:
    least, most = min(sizes), max(sizes)
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def common(lengths: Lengths) -> list[tuple[str, ...]]:
    own = [(lengths[rank::RANKS], np.random.default_rng(rank)) for rank in range(RANKS)]
    fixed, like, budget = BUDGET // LONGEST // RANKS, 64, BUDGET // RANKS
    together = sorted_windows(lengths, like * RANKS, like * RANKS * WINDOW, np.random.default_rng(0))
    return [
        in_step(f"{fixed} a rank, shuffled", [shuffled_batches(each, fixed, random) for each, random in own]),
        in_step(
            f"{like} a rank, own sorted windows",
            [sorted_windows(each, like, like * WINDOW, random) for each, random in own],
        ),
        in_step(
            "own budgets, greedy in sorted windows",
            [greedy_budgets(each, budget, like * WINDOW, random) for each, random in own],
        ),
        in_step(
            f"{like} a rank, sorted windows of all",
            [[step[rank::RANKS] for step in together if len(step) >= RANKS] for rank in range(RANKS)],
        ),
    ]


def laid_out(lengths: Lengths, buckets: int) -> Layout:
    return Layout.of_budget(Buckets.of(lengths, best_edges(lengths, buckets)), BUDGET)


def by_length(lengths: Lengths, buckets: int) -> tuple[str, ...]:
    layout = laid_out(lengths, buckets)
    steps = StepsByLength.of(ByLength(Natural(len(lengths)), layout, 0), world_size=RANKS)
    shares = np.stack([steps.shards(0, steps.count, rank)[1] for rank in range(RANKS)], axis=1)
    costs, sizes = shares * steps.edges[:, None], shares.sum(axis=1).tolist()
    name = f"fdm, {buckets} buckets, padded to the edge"
    return row_of(name, costs, int(lengths.sum()), f"{steps.count:,}", examples_said(sizes))


def report_speed(lengths: Lengths, rounds: int) -> None:
    natural = Natural(len(lengths))
    order, shuffled = ByLength(natural, laid_out(lengths, 16), 0), Shuffled(natural, 0)
    cuts = StepsByLength.of(order).cuts[: STEPS + 1]
    ranges = [np.arange(first, last) for first, last in pairwise(cuts)]
    together = np.arange(cuts[0], cuts[-1])

    def steps_of(orders: ByLength | Shuffled) -> int:
        for positions in ranges:
            orders.at(positions)
        return len(ranges)

    def sort() -> int:
        np.argsort(lengths, kind="stable")
        return 1

    def index() -> int:
        return min(1, len(ByLength(natural, laid_out(lengths, 16), 0).cuts.at))

    found = seconds_per_unit(
        {
            FIXED: lambda: steps_of(shuffled),
            LIKE: lambda: steps_of(order),
            BLOCK: lambda: len(order.at(together)) and STEPS,
            SORT: sort,
            INDEX: index,
        },
        rounds,
    )
    beside = {FIXED: FIXED, LIKE: FIXED, BLOCK: FIXED, SORT: SORT, INDEX: SORT}
    rows = [
        (name, duration(median(seconds)), f"{median_ratio(seconds, found[beside[name]]):.2f}")
        for name, seconds in found.items()
    ]
    print_table((f"16 buckets, a step of {len(together) // STEPS} examples", "time", "ratio"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--quick", action="store_true", help=f"5 rounds, {QUICK:,} lengths")
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    lengths = some_lengths(QUICK if options.quick else EXAMPLES)
    print(
        f"{len(lengths):,} lengths, mean {lengths.mean():.0f}, longest {lengths.max():,}; {RANKS} ranks in step, "
        f"{BUDGET:,} tokens a step"
    )
    print_machine(rounds)
    rows = [*common(lengths), *(by_length(lengths, buckets) for buckets in (8, 16, 32, 64))]
    shares = [float(row[1]) for row in rows]
    head = ("batches", "useful share", "ratio", "steps", "examples in a step", "most tokens in a step")
    print_table(
        head, [(*row[:2], f"{share / shares[2]:.2f}", *row[2:]) for row, share in zip(rows, shares, strict=True)]
    )
    print()
    report_speed(lengths, rounds)
    print()
    print_target("16 buckets, share of padded tokens that is useful", laid_out(lengths, 16).useful, least=TARGET)


if __name__ == "__main__":
    main()
