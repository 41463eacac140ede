"""Packing documents into sequences: how full they are, the time of the plan and of a sequence; beside greedy packers.

    python benchmarks/packing.py [--rounds 21] [--quick] [--length 4096] [--mean 500]

A million documents with lognormal lengths. Greedy packers go through a part of them in random order, as they do in a
stream: documents go into the first of some open sequences that has room, and where none has, all are closed (Grain) or
the fullest one is. Sequences are made of a memory-mapped file; the hand-written loop is given where their pieces are.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _peers import where_installed
from _timing import duration, median_ratio, print_machine, print_table, print_target, seconds_per_unit
from safetensors.torch import load_file, save_file

import fdm
from fdm._arrays.packed import gather_pieces
from fdm._orders.packing import Joined, Packing, Pieces, packing_of


DOCUMENTS, BATCH = 10**6, 16
DENSITY, PLAN_SECONDS, SEQUENCE_MICROSECONDS, SPEED = 0.999, 0.5, 10.0, 0.9
OPEN = 64  # sequences of a greedy packer

HAND = "hand-written loop over the pieces"
GATHER = "fdm, gather of the pieces"
WHOLE = "fdm, which pieces, gather, positions and segments"
GREEDY = f"greedy, {OPEN} open, which pieces alone"
GRAIN = f"Grain, first fit, {OPEN} open"


def lengths_of(count: int, mean: int) -> np.ndarray:
    """Lengths as documents of text have them: many short ones, a few very long ones."""
    return np.maximum(1, np.random.default_rng(0).lognormal(np.log(mean) - 0.5, 1, count)).astype(np.int64)


def save_documents(lengths: np.ndarray, path: Path) -> fdm.Ragged:
    """Random tokens for all documents, in a file, and mapped from it."""
    offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]))
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 50_000, (int(offsets[-1]),), dtype=torch.int32, generator=generator)
    save_file({"values": tokens, "offsets": offsets}, path)
    file = load_file(path)
    return fdm.Ragged(file["values"], file["offsets"])


def greedy(lengths: Sequence[int], length: int, open_sequences: int) -> Iterator[list[int]]:
    """The documents of each sequence, cut to its length: first fit into a few open ones, of which the fullest is closed."""
    sequences: list[list[int]] = []
    spaces: list[int] = []
    for document, count in enumerate(lengths):
        room = min(count, length)
        at = next((at for at, space in enumerate(spaces) if space >= room), None)
        if at is None and len(spaces) == open_sequences:
            fullest = spaces.index(min(spaces))
            del spaces[fullest]
            yield sequences.pop(fullest)
        if at is None:
            at = len(spaces)
            spaces.append(length)
            sequences.append([])
        spaces[at] -= room
        sequences[at].append(document)
    yield from sequences


def by_grain(lengths: Sequence[int], length: int) -> Iterator[Any]:
    """The sequences as Grain makes them, of documents that are cut to their length."""
    import grain.python as grain  # noqa: PLC0415 - may not be there
    from grain.experimental import FirstFitPackIterDataset  # noqa: PLC0415

    documents = [{"tokens": np.zeros(min(count, length), dtype=np.int32)} for count in lengths]
    source = grain.MapDataset.source(documents).to_iter_dataset()
    return iter(FirstFitPackIterDataset(source, length_struct={"tokens": length}, num_packing_bins=OPEN))


def density_of(lengths: np.ndarray, length: int, sequences: int) -> float:
    return float(np.minimum(lengths, length).sum() / (sequences * length))


def report_density(lengths: np.ndarray, part: np.ndarray, length: int) -> Packing:
    """Print how full sequences are, and how long it takes to say which they are; the packing of all documents."""
    began = time.perf_counter()
    packing = packing_of(lengths, length)
    seconds = time.perf_counter() - began
    bounded = packing_of(lengths, length, most=64)
    joined = Joined(length, np.concatenate([[0], np.cumsum(lengths)]))
    rows = [
        ("fdm, whole documents", len(lengths), packing.density, "all, once"),
        ("fdm, 64 documents a sequence at most", len(lengths), bounded.density, "all, once"),
        ("fdm, joined and cut", len(lengths), joined.density, "all, once"),
    ]
    for count in (1, 8, OPEN):
        made = sum(1 for _ in greedy(part.tolist(), length, count))
        rows.append((f"greedy, {count} open", len(part), density_of(part, length, made), "truncated"))
    made_by_grain = where_installed("grain", lambda: {GRAIN: sum(1 for _ in by_grain(part.tolist(), length))})
    for name, made in made_by_grain.items():
        rows.append((name, len(part), density_of(part, length, made), "truncated"))
    print_table(
        ("packer", "documents", "density", "values"),
        [(name, f"{count:,}", f"{density:.5f}", values) for name, count, density, values in rows],
    )
    arrays = sum(array.nbytes for array in packing.arrays().values())
    print(
        f"\nplan and index of {len(lengths):,} documents: {duration(seconds)}, {arrays / 1e6:.1f} MB, "
        f"{packing.size:,} sequences\n"
    )
    print_target("density", packing.density, least=DENSITY)
    print_target("seconds of plan and index", seconds, most=PLAN_SECONDS)
    return packing


def report_pieces(packing: Packing, rounds: int) -> None:
    """Print the time to say which pieces a sequence has, at so many sequences at once."""
    rng = np.random.default_rng(0)

    def contender(count: int) -> Callable[[], int]:
        repeats = max(1, 1024 // count)

        def run() -> int:
            for key in range(repeats):
                packing.pieces(rng.integers(0, packing.size, count), key)
            return repeats * count

        return run

    seconds = seconds_per_unit({str(count): contender(count) for count in (8, 64, 1024)}, rounds)
    rows = [(count, f"{median(each) * 1e6:.1f}") for count, each in seconds.items()]
    print()
    print_table(("sequences at once", "µs a sequence, which pieces"), rows)
    print()
    print_target("µs a sequence at 64 at once", median(seconds["64"]) * 1e6, most=SEQUENCE_MICROSECONDS)


def by_hand(values: np.ndarray, offsets: np.ndarray, pieces: Pieces) -> torch.Tensor:
    begins = offsets[pieces.documents]
    out = np.empty(int((pieces.stops - pieces.starts).sum()), dtype=values.dtype)
    at = 0
    for start, stop in zip((begins + pieces.starts).tolist(), (begins + pieces.stops).tolist(), strict=True):
        out[at : at + stop - start] = values[start:stop]
        at += stop - start
    return torch.from_numpy(out)


def report_sequences(packing: Packing, ragged: fdm.Ragged, part: np.ndarray, rounds: int) -> None:
    """Print the time to make sequences, against a loop that is given their pieces, and packers that make them."""
    rng = np.random.default_rng(0)
    values, offsets = ragged.values.numpy(), ragged.offsets.numpy()
    positions = [rng.integers(0, packing.size, BATCH) for _ in range(100)]
    batches = [packing.pieces(each, key=0) for each in positions]
    for pieces in batches:
        assert torch.equal(by_hand(values, offsets, pieces), gather_pieces(ragged, *pieces).values)

    def hand() -> int:
        for pieces in batches:
            by_hand(values, offsets, pieces)
        return len(batches) * BATCH

    def gather() -> int:
        for pieces in batches:
            gather_pieces(ragged, *pieces)
        return len(batches) * BATCH

    def whole() -> int:
        for each in positions:
            packed = gather_pieces(ragged, *packing.pieces(each, key=0))
            packed.padded(0, to=packing.length), packed.positions(), packed.segments(), packed.boundaries
        return len(batches) * BATCH

    stream = part[:5000].tolist()
    contenders: Mapping[str, Callable[[], int]] = {
        HAND: hand,
        GATHER: gather,
        WHOLE: whole,
        GREEDY: lambda: sum(1 for _ in greedy(stream, packing.length, OPEN)),
        **where_installed("grain", lambda: {GRAIN: lambda: sum(1 for _ in by_grain(stream, packing.length))}),
    }
    seconds = seconds_per_unit(contenders, rounds)
    rows = [
        (name, f"{median(each) * 1e6:,.1f}", f"{median_ratio(seconds[HAND], each):.2f}")
        for name, each in seconds.items()
    ]
    print()
    print_table((f"sequences of {packing.length}, {BATCH} at once", "µs a sequence", "ratio"), rows)
    print()
    print_target(f"{GATHER}, speed relative to {HAND}", median_ratio(seconds[HAND], seconds[GATHER]), least=SPEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--quick", action="store_true", help="5 rounds, 100,000 documents")
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--mean", type=int, default=500)
    options = parser.parse_args()
    rounds, count = (5, DOCUMENTS // 10) if options.quick else (options.rounds, DOCUMENTS)
    lengths = lengths_of(count, options.mean)
    part = lengths[: count // 10]
    print(f"{count:,} documents of {options.mean} values on average, sequences of {options.length}")
    print_machine(rounds)
    packing = report_density(lengths, part, options.length)
    report_pieces(packing, rounds)
    with tempfile.TemporaryDirectory() as folder:
        report_sequences(packing, save_documents(lengths, Path(folder) / "tokens.safetensors"), part, rounds)


if __name__ == "__main__":
    main()
