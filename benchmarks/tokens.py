"""Shuffled windows of tokens for a language model: fdm, against loops over a memory-mapped file.

    python benchmarks/tokens.py [--rounds 21] [--quick] [--dtype int32] [--length 1024]

200 million tokens, windows side by side, all in the page cache. One hand-written loop copies window by window, as most
are written; the other gathers a batch from a strided view of the mapped file, the fastest that was found. Both have one
`torch.randperm` an epoch. fdm reads a table, and a source of the user's that gives whole batches by `gather(ids)`, made of
the same two hand-written lines; torch's DataLoader reads the same source by `__getitems__`. Other work on the machine slows torch's own threads most; OMP_NUM_THREADS=1 is steadier.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _timing import median_ratio, print_machine, print_table, print_target, seconds_per_unit

import fdm


TOKENS, BATCH = 200_000_000, 16
TARGET = 0.75
TARGET_GATHER = 0.85

HAND = "np.memmap, window by window"
GATHER = "strided view of np.memmap, one gather"
FDM = "fdm, clean, load windows, shuffle, batch"
SOURCE = "fdm, a source with gather, window by window"
SOURCE_GATHER = "fdm, a source with gather, one gather"
TORCH = "DataLoader, __getitems__, window by window"


def make_tokens(n: int, dtype: str) -> fdm.Table:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 50_000, (n,), dtype=torch.int32, generator=generator)
    return fdm.Table({"tokens": tokens.to(getattr(torch, dtype))})


def as_windows(table: fdm.Table, *, length: int) -> fdm.Table:
    return table.windows("tokens", length)


def windows(dtype: str, length: int) -> fdm.Pipeline:
    return fdm.pipeline(
        fdm.clean(make_tokens, n=TOKENS, dtype=dtype),
        fdm.load(as_windows, length=length),
        fdm.shuffle(),
        fdm.batch(BATCH),
        seed=0,
    )


def mapped(store: str, dtype: str) -> np.ndarray:
    """The tokens, at the end of the one file in the store, as a plain array: slices of np.memmap itself are slow."""
    (path,) = Path(store).rglob("*.safetensors")
    start = path.stat().st_size - TOKENS * np.dtype(dtype).itemsize
    return np.asarray(np.memmap(path, dtype=dtype, mode="c", offset=start))


def window_by_window(tokens: np.ndarray, ids: Sequence[int], length: int) -> torch.Tensor:
    out = np.empty((len(ids), length), dtype=tokens.dtype)
    for at, index in enumerate(ids):
        out[at] = tokens[index * length : index * length + length]
    return torch.from_numpy(out)


def hand_epoch(tokens: np.ndarray, length: int) -> int:
    batches = 0
    for ids in torch.randperm(len(tokens) // length).split(BATCH):
        window_by_window(tokens, ids.tolist(), length)
        batches += 1
    return batches


def strided(tokens: np.ndarray, length: int) -> torch.Tensor:
    plain = torch.from_numpy(tokens.view(np.int16) if tokens.dtype == np.uint16 else tokens)
    return plain.unfold(0, length, length)


def gather_epoch(rows: torch.Tensor) -> int:
    batches = 0
    for ids in torch.randperm(len(rows)).split(BATCH):
        torch.index_select(rows, 0, ids)
        batches += 1
    return batches


def fdm_epoch(data: fdm.Data, epochs: Iterator[int]) -> int:
    batches = 0
    for _ in data.loader("all", epoch=next(epochs)):
        batches += 1
    return batches


class Windows:
    """A source of the user's: windows over a mapped file, in whole batches."""

    def __init__(self, tokens: np.ndarray, length: int, *, at_once: bool) -> None:
        self.tokens, self.length, self.rows = tokens, length, strided(tokens, length)
        self.at_once = at_once

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"tokens": self.rows[index].clone()}

    def __getitems__(self, ids: list[int]) -> dict[str, torch.Tensor]:
        return {"tokens": window_by_window(self.tokens, ids, self.length)}

    def gather(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """The whole batch of these windows, as either of the loops makes it."""
        if self.at_once:
            return {"tokens": torch.index_select(self.rows, 0, ids)}
        return {"tokens": window_by_window(self.tokens, ids.tolist(), self.length)}


def open_windows(*, store: str, dtype: str, length: int, at_once: bool) -> Windows:
    return Windows(mapped(store, dtype), length, at_once=at_once)


def from_source(store: str, dtype: str, length: int, *, at_once: bool) -> fdm.Pipeline:
    load = fdm.load(open_windows, store=store, dtype=dtype, length=length, at_once=at_once)
    return fdm.pipeline(load, fdm.shuffle(), fdm.batch(BATCH), seed=0)


def as_it_is(batch: object) -> object:
    return batch


def torch_epoch(windows: Windows) -> int:
    loader = torch.utils.data.DataLoader(windows, BATCH, shuffle=True, collate_fn=as_it_is)
    return sum(1 for _ in loader)


def check_same_work(data: fdm.Data, tokens: np.ndarray, rows: torch.Tensor, length: int) -> None:
    """Fail unless the contenders make equal batches of the same windows: speed means nothing otherwise."""
    loader = data.loader("all")
    ids = loader.indices(0)
    expected = window_by_window(tokens, ids.tolist(), length)
    assert torch.equal(expected, loader[0]["tokens"])
    assert torch.equal(expected, torch.index_select(rows, 0, ids).view(expected.dtype))
    assert sum(len(loader.indices(step)) for step in (0, len(loader) - 1)) == BATCH + (len(rows) - 1) % BATCH + 1


def report(found: Mapping[str, Sequence[float]], length: int) -> None:
    speed = {name: median_ratio(found[HAND], seconds) for name, seconds in found.items()}
    rows = [
        (
            name,
            f"{median(seconds) * 1e6:,.1f}",
            f"{BATCH * length / median(seconds) / 1e6:,.0f}",
            f"{speed[name]:.2f}",
        )
        for name, seconds in found.items()
    ]
    print_table(("case", "µs per batch", "million tokens/s", "ratio"), rows)
    print()
    print_target(f"{FDM}, speed relative to {HAND}", speed[FDM], least=TARGET)
    print_target(f"{FDM}, speed relative to {GATHER}", median_ratio(found[GATHER], found[FDM]), least=TARGET)
    print_target(f"{SOURCE}, relative to {HAND}", speed[SOURCE], least=TARGET_GATHER)
    print_target(
        f"{SOURCE_GATHER}, relative to {GATHER}", median_ratio(found[GATHER], found[SOURCE_GATHER]), least=TARGET_GATHER
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    parser.add_argument("--dtype", default="int32", choices=("int32", "uint16"))
    parser.add_argument("--length", type=int, default=1024)
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    print(f"{TOKENS:,} tokens of {options.dtype}, shuffled batches of {BATCH} windows of {options.length}")
    print_machine(rounds)
    with (
        tempfile.TemporaryDirectory() as store,
        fdm.open(windows(options.dtype, options.length), store=store) as data,
        fdm.open(from_source(store, options.dtype, options.length, at_once=False)) as by_window,
        fdm.open(from_source(store, options.dtype, options.length, at_once=True)) as by_gather,
    ):
        tokens = mapped(store, options.dtype)
        rows = strided(tokens, options.length)
        for each in (data, by_window, by_gather):
            check_same_work(each, tokens, rows, options.length)
        epochs = itertools.count()
        contenders: dict[str, Callable[[], int]] = {
            HAND: lambda: hand_epoch(tokens, options.length),
            GATHER: lambda: gather_epoch(rows),
            FDM: lambda: fdm_epoch(data, epochs),
            SOURCE: lambda: fdm_epoch(by_window, epochs),
            SOURCE_GATHER: lambda: fdm_epoch(by_gather, epochs),
            TORCH: lambda: torch_epoch(Windows(tokens, options.length, at_once=False)),
        }
        report(seconds_per_unit(contenders, rounds), options.length)


if __name__ == "__main__":
    main()
