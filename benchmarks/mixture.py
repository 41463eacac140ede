"""What position of a mixture has which example: time a position for 2 to 1000 parts, and how far counts stray.

    python benchmarks/mixture.py [--rounds 15] [--quick]

`fdm` is the function that a mixture asks for the parts and draws of positions, any of them, 10^12 examples into the run.
Drawing at random by the shares is what most loaders do: it knows no draw numbers, so nothing can be looked up or resumed.
Grain's mixture is asked through its public interface, element by element, as it has no other.
"""

import argparse
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from _peers import where_installed
from _timing import median_ratio, print_machine, print_table, print_target, seconds_per_unit

from fdm._orders.mixture import Mixture, mixture


PARTS = (2, 10, 100, 1000)
FAR = 10**12
FDM, FDM_BATCH, DRAWN, GRAIN = (
    "fdm, 65,536 at once",
    "fdm, 1024 at once",
    "drawn at random, 65,536",
    "Grain, one by one",
)
WEIGHTINGS = {True: 5, False: 20}


def weights_of(parts: int, seed: int = 0) -> dict[str, int]:
    drawn = np.random.default_rng(seed).integers(1, 1000, parts)
    return {f"part{number:04}": weight for number, weight in enumerate(drawn.tolist())}


def mixture_of(parts: int, seed: int = 0) -> Mixture:
    shares = weights_of(parts, seed)
    return mixture([(0, shares)], dict.fromkeys(shares, 10**6), until=10**9 + 1, key=seed)


def look_up(mixed: Mixture, at_once: int) -> int:
    mixed.passes(*mixed.at(np.arange(FAR, FAR + at_once)))
    return at_once


def draw(shares: np.ndarray, generator: np.random.Generator, at_once: int) -> int:
    np.searchsorted(np.cumsum(shares), generator.random(at_once) * shares.sum(), side="right")
    return at_once


def grain_contender(parts: int) -> Mapping[str, Callable[[], int]]:
    import grain  # noqa: PLC0415 - it is optional

    weights = weights_of(parts)
    whole = sum(weights.values())
    ranges = [grain.MapDataset.range(10**6).repeat() for _ in weights]
    mixed: Any = grain.MapDataset.mix(ranges, weights=[weight / whole for weight in weights.values()])

    def elements() -> int:
        for position in range(10**6, 10**6 + 64):
            mixed[position]
        return 64

    return {GRAIN: elements}


def contenders(parts: int) -> dict[str, Callable[[], int]]:
    mixed, shares = mixture_of(parts), np.array(list(weights_of(parts).values()))
    return {
        FDM: partial(look_up, mixed, 65_536),
        FDM_BATCH: partial(look_up, mixed, 1024),
        DRAWN: partial(draw, shares, np.random.default_rng(0), 65_536),
        **where_installed("grain", partial(grain_contender, parts)),
    }


def strayed(mixed: Mixture, position: int) -> float:
    """How far the count of the part that strays most is from its exact share of the positions before."""
    weights = [weight for _, weight in mixed.phases[0].shares]
    shares = (Fraction(position * weight, sum(weights)) for weight in weights)
    return float(max(abs(count - share) for count, share in zip(mixed.counts(position).tolist(), shares, strict=True)))


def strayed_at_random(parts: int, seed: int, position: int) -> float:
    weights = np.array(list(weights_of(parts, seed).values())) / sum(weights_of(parts, seed).values())
    counts = np.random.default_rng(seed).multinomial(position, weights)
    return float(abs(counts - position * weights).max())


def deviations(parts: int, seeds: int) -> list[str]:
    """The worst of multiples of 64 near the beginning and up to 10^12; the median of as many draws at random."""
    positions = [64 * number for number in range(1, 40)] + [FAR // 64 // step * 64 for step in range(1, 12)]
    ours = max(strayed(mixture_of(parts, seed), position) for seed in range(seeds) for position in positions)
    random = [median(strayed_at_random(parts, seed, position) for seed in range(seeds)) for position in (20_000, FAR)]
    return [f"{parts}", f"{ours:.2f}", *(f"{each:,.0f}" for each in random)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="5 rounds, and fewer weightings")
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    print_machine(rounds)
    rows, slowest = [], 0.0
    for parts in PARTS:
        found = seconds_per_unit(contenders(parts), rounds)
        slowest = max(slowest, median(found[FDM]) * 1e6)
        rows += [
            [f"{parts} parts: {name}", f"{median(seconds) * 1e9:,.0f}", f"{median_ratio(seconds, found[FDM]):.2f}"]
            for name, seconds in found.items()
        ]
    print_table(("case", "ns a position", "ratio"), rows)
    print("\nHow far the part that strays most is from its share, in examples:\n")
    far = [deviations(parts, WEIGHTINGS[options.quick]) for parts in PARTS]
    print_table(("parts", "fdm, to 10^12", "drawn, at 20,000", "drawn, at 10^12"), far)
    print()
    print_target("µs a position, the slowest of 2 to 1000 parts", slowest, most=0.6)
    print_target("examples off the exact share, at most", max(float(row[1]) for row in far), most=2.0)


if __name__ == "__main__":
    main()
