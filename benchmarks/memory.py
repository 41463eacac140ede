"""Shuffled batches of images in memory: samples per second of fdm, of torch's DataLoader and of a hand-written loop.

    python benchmarks/memory.py [--rounds 61] [--quick]

The hand-written loop is the limit: one `torch.randperm` an epoch, one gather per column and the same normalisation.
Other work on the machine slows torch's own threads most; where it cannot be stopped, OMP_NUM_THREADS=1 is steadier.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from _peers import where_installed
from _timing import median_ratio, print_machine, print_table, print_target, seconds_per_unit
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import fdm


EXAMPLES, BATCH = 60_000, 128
MEAN, STD = 0.1307, 0.3081
TARGET = 0.90

HAND = "hand-written loop"
FDM_MEMORY = "fdm, table in memory"
FDM_STORE = "fdm, table in the store (memory-mapped)"
TORCH_EXAMPLES = "DataLoader, per example"
TORCH_BATCHES = "DataLoader, __getitems__ of whole batches"
STATEFUL_BATCHES = "StatefulDataLoader, __getitems__ of whole batches"
GRAIN_BATCHES = "Grain, batches of indices, then a gather"
HF_BATCHES = "HF dataset in torch's format, whole batches"


def make_images(n: int) -> fdm.Table:
    """Noise with the shape of MNIST: what the pixels show does not matter for their speed."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 28, 28), dtype=torch.uint8, generator=generator)
    return fdm.Table({"image": images, "label": torch.randint(0, 10, (n,), generator=generator)})


def normalize(item: dict[str, Tensor], *, mean: float, std: float) -> dict[str, Tensor]:
    """For a batch as for an example, so that all contenders do the same arithmetic."""
    return {**item, "image": (item["image"].float() / 255 - mean) / std}


def as_is(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return batch


def gathered(columns: Mapping[str, Tensor], ids: Tensor) -> dict[str, Tensor]:
    return {name: torch.index_select(column, 0, ids) for name, column in columns.items()}


class Examples(Dataset):
    """A map-style dataset as most are written: one normalised example at a time."""

    def __init__(self, columns: Mapping[str, Tensor]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return EXAMPLES

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return normalize({name: column[index] for name, column in self.columns.items()}, mean=MEAN, std=STD)


class Batches(Examples):
    """A map-style dataset that returns whole batches, as torch's protocol for batched reads allows."""

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return gathered(self.columns, torch.tensor(indices))


def hand_epoch(columns: Mapping[str, Tensor]) -> int:
    seen = 0
    for ids in torch.randperm(EXAMPLES).split(BATCH):
        batch = normalize(gathered(columns, ids), mean=MEAN, std=STD)
        seen += len(batch["label"])
    return seen


def fdm_epoch(data: fdm.Data, epochs: Iterator[int]) -> int:
    seen = 0
    for batch in data.loader("all", epoch=next(epochs)):
        seen += len(batch["label"])
    return seen


def torch_examples_epoch(dataset: Examples, examples: int) -> int:
    # A part of an epoch has its own order: with shuffle=True it would pay for the indices of the whole.
    order = torch.randperm(EXAMPLES)[:examples].tolist()
    seen = 0
    for batch in DataLoader(dataset, batch_size=BATCH, sampler=order):
        seen += len(batch["label"])
    return seen


def normalized(fetched: Iterable[dict[str, Tensor]]) -> int:
    seen = 0
    for made in fetched:
        batch = normalize(made, mean=MEAN, std=STD)
        seen += len(batch["label"])
    return seen


def batches_epoch(kind: Any, dataset: Batches) -> int:
    return normalized(kind(dataset, batch_size=BATCH, shuffle=True, collate_fn=as_is))


def stateful_contender(dataset: Batches) -> dict[str, Callable[[], int]]:
    from torchdata.stateful_dataloader import StatefulDataLoader  # noqa: PLC0415 - it is optional

    return {STATEFUL_BATCHES: lambda: batches_epoch(StatefulDataLoader, dataset)}


def grain_contender(dataset: Batches) -> dict[str, Callable[[], int]]:
    """Batches of indices are the fastest form that was found, and no threads what Grain advises for data in memory."""
    import grain  # noqa: PLC0415 - it is optional

    options, epochs = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0), itertools.count()

    def epoch() -> int:
        indices = grain.MapDataset.range(EXAMPLES).shuffle(seed=next(epochs)).batch(BATCH)
        return normalized(indices.map(dataset.__getitems__).to_iter_dataset(options))

    return {GRAIN_BATCHES: epoch}


def hf_contender(columns: Mapping[str, Tensor], examples: int) -> dict[str, Callable[[], int]]:
    import datasets  # noqa: PLC0415 - it is optional

    features = datasets.Features({"image": datasets.Array2D((28, 28), "uint8"), "label": datasets.Value("int64")})
    arrays = {name: column.numpy() for name, column in columns.items()}
    whole = datasets.Dataset.from_dict(arrays, features=features).with_format("torch")
    assert torch.equal(next(whole.iter(BATCH))["image"], columns["image"][:BATCH])

    def epoch() -> int:
        return normalized(whole.select(torch.randperm(EXAMPLES)[:examples].numpy()).iter(BATCH))

    return {HF_BATCHES: epoch}


def images_from(source: Callable[..., fdm.Pipeline]) -> fdm.Pipeline:
    return fdm.pipeline(
        source(make_images, n=EXAMPLES),
        fdm.shuffle(),
        fdm.batch(BATCH),
        fdm.transform(normalize, mean=MEAN, std=STD),
        seed=0,
    )


def check_same_work(columns: Mapping[str, Tensor], *opened: fdm.Data) -> None:
    """Fail unless the contenders make equal batches of the same examples: speed means nothing otherwise."""
    for data in opened:
        loader = data.loader("all")
        ids = loader.indices(0)
        expected = normalize(gathered(columns, ids), mean=MEAN, std=STD)
        one_by_one = next(iter(DataLoader(Examples(columns), batch_size=BATCH, sampler=ids.tolist())))
        for batch in (loader[0], one_by_one):
            assert all(torch.equal(batch[name], expected[name]) for name in expected)
        assert len(torch.cat([loader.indices(step) for step in range(len(loader))]).unique()) == EXAMPLES


def contenders(in_memory: fdm.Data, in_store: fdm.Data, *, quick: bool) -> dict[str, Callable[[], int]]:
    columns = dict(make_images(EXAMPLES).items())
    check_same_work(columns, in_memory, in_store)
    memory_epochs, store_epochs = itertools.count(), itertools.count()
    one_by_one, batched = Examples(columns), Batches(columns)
    part = BATCH * (10 if quick else 20)
    return {
        HAND: lambda: hand_epoch(columns),
        FDM_MEMORY: lambda: fdm_epoch(in_memory, memory_epochs),
        FDM_STORE: lambda: fdm_epoch(in_store, store_epochs),
        TORCH_EXAMPLES: lambda: torch_examples_epoch(one_by_one, part),
        TORCH_BATCHES: lambda: batches_epoch(DataLoader, batched),
        **where_installed("torchdata", partial(stateful_contender, batched)),
        **where_installed("grain", partial(grain_contender, batched)),
        **where_installed("datasets", partial(hf_contender, columns, part)),
    }


def report(found: Mapping[str, Sequence[float]]) -> None:
    speed = {name: median_ratio(found[HAND], seconds) for name, seconds in found.items()}
    rows = [
        (name, f"{1 / median(seconds):,.0f}", f"{median(seconds) * BATCH * 1e6:,.1f}", f"{speed[name]:.2f}")
        for name, seconds in found.items()
    ]
    print_table(("case", "samples/s", "µs per batch", "ratio"), rows)
    print()
    for name in (FDM_MEMORY, FDM_STORE):
        print_target(f"{name}, speed relative to the {HAND}", speed[name], least=TARGET)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--quick", action="store_true", help="15 rounds, and fewer batches of the slowest contender")
    options = parser.parse_args()
    rounds = 15 if options.quick else options.rounds
    print(f"{EXAMPLES} images of 28 x 28 uint8 with int64 labels, shuffled, batches of {BATCH}, normalised to float32")
    print_machine(rounds)
    with (
        tempfile.TemporaryDirectory() as store,
        fdm.open(images_from(fdm.load)) as in_memory,
        fdm.open(images_from(fdm.clean), store=store) as in_store,
    ):
        report(seconds_per_unit(contenders(in_memory, in_store, quick=options.quick), rounds))


if __name__ == "__main__":
    main()
