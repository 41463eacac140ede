"""Large batches from a memory-mapped table, shuffled: batches per second of fdm, of peers and of a hand-written loop.

    python benchmarks/large.py [--rounds 31] [--quick]

The hand-written loop is the limit: one `torch.index_select` for a batch, from a memory-mapped tensor that the page cache
holds. The DataLoaders read rows of the same tensor in two worker processes, which stay for all epochs, and put them
together with torch's own collate function.
"""

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _peers import Epoch, counted, where_installed
from _timing import median_ratio, print_machine, print_table, print_target, seconds_per_unit
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import fdm


EXAMPLES, BATCH, PARALLEL = 2_000, 128, 2
SHAPE = (3, 224, 224)

HAND = "hand-written loop"
FDM = "fdm"
FDM_THREADS = f"fdm, threads={PARALLEL}"
FDM_WORKERS = f"fdm, workers={PARALLEL}"
TORCH = f"DataLoader, {PARALLEL} workers"
STATEFUL = f"StatefulDataLoader, {PARALLEL} workers"
GRAIN = f"Grain, {PARALLEL} threads"
TARGETS = ((FDM_THREADS, HAND, 0.9), (FDM_WORKERS, TORCH, 1.0), (FDM_THREADS, TORCH, 4.0))


def make_images(n: int) -> fdm.Table:
    """Noise; the label of an example is its number, so that a batch tells what it was made of."""
    images = torch.randint(0, 256, (n, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return fdm.Table({"image": images, "label": torch.arange(n)})


IMAGES = fdm.pipeline(fdm.clean(make_images, n=EXAMPLES), fdm.shuffle(), fdm.batch(BATCH), seed=0)


def memory_mapped(folder: Path) -> dict[str, Tensor]:
    """The columns of the table, with the images in a file of their own."""
    columns = dict(make_images(EXAMPLES).items())
    images = columns["image"]
    columns["image"] = torch.from_file(
        str(folder / "images"), shared=True, size=images.numel(), dtype=images.dtype
    ).view(images.shape)
    columns["image"].copy_(images)
    return columns


class Examples(Dataset):
    """A map-style dataset as most are written: one row of each column at a time."""

    def __init__(self, columns: Mapping[str, Tensor]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return EXAMPLES

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: column[index] for name, column in self.columns.items()}


def gathered(columns: Mapping[str, Tensor], ids: Tensor) -> dict[str, Tensor]:
    return {name: torch.index_select(column, 0, ids) for name, column in columns.items()}


def hand_epoch(columns: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    return (gathered(columns, ids) for ids in torch.randperm(EXAMPLES).split(BATCH))


def fdm_epoch(data: fdm.Data, epochs: Iterator[int]) -> fdm.Loader:
    return data.loader("all", epoch=next(epochs))


def loader_of(kind: Any, examples: Examples) -> Epoch:
    """A DataLoader, or one like it, whose workers stay for all epochs."""
    loader = kind(examples, BATCH, shuffle=True, num_workers=PARALLEL, persistent_workers=True)
    return lambda: loader


def stateful_contender(examples: Examples) -> Mapping[str, Epoch]:
    from torchdata.stateful_dataloader import StatefulDataLoader  # noqa: PLC0415 - it is optional

    return {STATEFUL: loader_of(StatefulDataLoader, examples)}


def grain_contender(examples: Examples) -> Mapping[str, Epoch]:
    import grain  # noqa: PLC0415 - it is optional

    options = grain.ReadOptions(num_threads=PARALLEL, prefetch_buffer_size=2 * BATCH)
    epochs = itertools.count()

    def epoch() -> Any:
        shuffled = grain.MapDataset.source(examples).shuffle(seed=next(epochs))
        return shuffled.to_iter_dataset(options).batch(BATCH, batch_fn=torch.utils.data.default_collate)

    return {GRAIN: epoch}


def contenders(columns: Mapping[str, Tensor], opened: Mapping[str, fdm.Data]) -> dict[str, Epoch]:
    examples = Examples(columns)
    return {
        HAND: partial(hand_epoch, columns),
        **{name: partial(fdm_epoch, data, itertools.count()) for name, data in opened.items()},
        TORCH: loader_of(DataLoader, examples),
        **where_installed("torchdata", partial(stateful_contender, examples)),
        **where_installed("grain", partial(grain_contender, examples)),
    }


def check_same_work(columns: Mapping[str, Tensor], epochs: Mapping[str, Epoch]) -> None:
    """Fail unless batches are the rows that their labels say, of all examples: speed means nothing otherwise."""
    for name, epoch in epochs.items():
        first, *others = epoch()
        expected = gathered(columns, first["label"])
        assert all(torch.equal(first[entry], expected[entry]) for entry in expected), name
        assert len(torch.cat([batch["label"] for batch in (first, *others)]).unique()) == EXAMPLES, name


def report(found: Mapping[str, Sequence[float]]) -> None:
    rows = [
        (
            name,
            f"{1 / median(seconds) / BATCH:,.1f}",
            f"{median(seconds) * BATCH * 1e3:,.2f}",
            f"{median_ratio(found[HAND], seconds):.2f}",
        )
        for name, seconds in found.items()
    ]
    print_table(("case", "batches/s", "ms per batch", "ratio"), rows)
    print()
    for name, other, least in TARGETS:
        print_target(f"{name}, speed relative to {other}", median_ratio(found[other], found[name]), least=least)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--quick", action="store_true", help="7 rounds")
    options = parser.parse_args()
    rounds = 7 if options.quick else options.rounds
    print(f"{EXAMPLES} images of {' x '.join(map(str, SHAPE))} uint8, memory-mapped, shuffled, batches of {BATCH}")
    with (
        tempfile.TemporaryDirectory() as folder,
        fdm.open(IMAGES, store=Path(folder, "store")) as plain,
        fdm.open(IMAGES, store=Path(folder, "store"), threads=PARALLEL) as threads,
        fdm.open(IMAGES, store=Path(folder, "store"), workers=PARALLEL) as workers,
    ):
        columns = memory_mapped(Path(folder))
        epochs = contenders(columns, {FDM: plain, FDM_THREADS: threads, FDM_WORKERS: workers})
        check_same_work(columns, epochs)
        print_machine(rounds)
        report(seconds_per_unit({name: counted(epoch) for name, epoch in epochs.items()}, rounds))


if __name__ == "__main__":
    main()
