"""Timing of contenders that take turns, so that noise hits all alike; medians, and a table with ratios."""

import os
import platform
import random
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch


def seconds_per_unit(contenders: Mapping[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """The seconds per unit of work of each contender in each round.

    A contender does its work once and returns how many units that was. The first turn of each is not counted. Every
    round has an order of its own, so that no contender always follows the same other one, in what that has left behind
    in caches and in the allocator.
    """
    for run in contenders.values():
        run()
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        for name in random.Random(turn).sample(list(contenders), len(contenders)):
            began = time.perf_counter()
            units = contenders[name]()
            found[name].append((time.perf_counter() - began) / units)
    return found


def median_ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median over the rounds of `of / to`: what slows a whole round down cancels."""
    return median(one / other for one, other in zip(of, to, strict=True))


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    >>> duration(0.00025), duration(1.5)
    ('250 µs', '1.50 s')
    """
    if seconds < 0.01:
        return f"{seconds * 1e6:,.0f} µs"
    return f"{seconds * 1e3:,.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a markdown table: the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]

    def show(cells: Sequence[str]) -> None:
        first, *others = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        print(f"| {' | '.join([first, *others])} |")

    show(header)
    print(
        f"|{'|'.join(('-' * (width + 1) + ':') if place else '-' * (width + 2) for place, width in enumerate(widths))}|"
    )
    for row in rows:
        show(row)


def print_machine(rounds: int) -> None:
    """Print what the numbers depend on besides the code."""
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {torch.get_num_threads()} torch threads, "
        f"{os.cpu_count()} cores; medians of {rounds} rounds in which the contenders take turns\n"
    )


def print_target(what: str, ratio: float, *, least: float | None = None, most: float | None = None) -> None:
    """Print whether a ratio is at least or at most what it should be."""
    target = least if least is not None else most
    met = (least is None or ratio >= least) and (most is None or ratio <= most)
    print(f"{what}: {ratio:.2f}, target {target:.2f}: {'met' if met else 'missed'}")
