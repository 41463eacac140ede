"""JPEG images, decoded, cropped and flipped at random, normalised: samples per second of fdm, of peers and by hand.

    python benchmarks/jpeg.py [--rounds 21] [--quick]

All contenders call the same functions on the same encoded images, with two threads or two worker processes; decoding is
Pillow's and releases the GIL. The hand-written pool is the limit for threads: whole batches on two threads, in order, a
few ahead. The DataLoaders have the settings that make them fast: persistent workers, which also normalise, as fdm's do.
Grain's threads read single examples, so that its main thread collates and normalises.
"""

import argparse
import itertools
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from io import BytesIO
from statistics import median
from typing import Any

import numpy as np
import torch
from _peers import Epoch, counted, where_installed
from _timing import median_ratio, print_machine, print_table, print_target, seconds_per_unit
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

import fdm


EXAMPLES, BATCH, PARALLEL, AHEAD = 960, 32, 2, 4
WIDTH, HEIGHT, SIDE = 320, 256, 224
MEAN, STD = 118.0, 60.0

HAND = f"hand-written pool, {PARALLEL} threads"
FDM_THREADS = f"fdm, threads={PARALLEL}"
FDM_WORKERS = f"fdm, workers={PARALLEL}"
TORCH = f"DataLoader, {PARALLEL} workers"
STATEFUL = f"StatefulDataLoader, {PARALLEL} workers"
GRAIN = f"Grain, {PARALLEL} threads"
HF = f"HF dataset in a DataLoader, {PARALLEL} workers"
TARGETS = ((FDM_THREADS, HAND, 0.95), (FDM_THREADS, TORCH, 1.0), (FDM_WORKERS, TORCH, 1.0))

Example = dict[str, Any]


def encoded_image(number: int) -> bytes:
    """A gradient with noise: about as many bytes for its size as a photograph."""
    dice = np.random.default_rng(number)
    across, down = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    smooth = across[..., None] * dice.uniform(0, 160, 3) + down[..., None] * dice.uniform(0, 80, 3)
    pixels = smooth + dice.normal(0, 12, (HEIGHT, WIDTH, 3))
    file = BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def make_images(n: int) -> fdm.Table:
    """The label of an example is its number, so that a batch tells what it was made of."""
    return fdm.Table({"jpeg": fdm.Ragged.of(list(map(encoded_image, range(n)))), "label": torch.arange(n)})


def decode(example: Example) -> Example:
    pixels = np.array(Image.open(BytesIO(example["jpeg"])).convert("RGB"))
    return {"image": torch.from_numpy(pixels), "label": example["label"]}


def cropped(example: Example, draws: Tensor) -> Example:
    """The part of the image that three uniform numbers choose: from the top, from the left, mirrored or not.

    They stay in the example, so that `check_same_work` can do the same by hand.
    """
    down, across, side = draws.tolist()
    top, left = int(down * (HEIGHT - SIDE + 1)), int(across * (WIDTH - SIDE + 1))
    image = example["image"][top : top + SIDE, left : left + SIDE]
    return {**example, "image": image.flip(1) if side < 0.5 else image, "draws": draws}


def crop_flip(example: Example, key: fdm.Key) -> Example:
    return cropped(example, key.uniform(3))


def normalize(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**batch, "image": batch["image"].permute(0, 3, 1, 2).float().sub_(MEAN).div_(STD)}


IMAGES = fdm.pipeline(
    fdm.clean(make_images, n=EXAMPLES),
    fdm.shuffle(),
    fdm.transform(decode),
    fdm.augment(crop_flip),
    fdm.batch(BATCH),
    fdm.transform(normalize),
    seed=0,
)


class Encoded(Dataset):
    """Encoded images and their labels; an example is decoded, cropped and flipped when it is read.

    Loaders without keys draw from torch's global state.
    """

    def __init__(self, table: fdm.Table) -> None:
        self.columns = {"jpeg": table["jpeg"].tolist(), "label": table["label"]}

    def __len__(self) -> int:
        return len(self.columns["label"])

    def __getitem__(self, index: int) -> Example:
        return cropped(decode(encoded(self, index)), torch.rand(3))


def encoded(images: Encoded, index: int) -> Example:
    return {name: column[index] for name, column in images.columns.items()}


def drawn_columns(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The same for an HF dataset, which has a list for each column."""
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    examples = [cropped(decode(row), torch.rand(3)) for row in rows]
    return {name: [example[name] for example in examples] for name in examples[0]}


def collated(examples: Sequence[Example]) -> dict[str, Tensor]:
    return normalize(default_collate(list(examples)))


def hand_epoch(images: Encoded, pool: ThreadPoolExecutor) -> Iterator[dict[str, Tensor]]:
    def make(ids: Tensor) -> dict[str, Tensor]:
        return collated([images[index] for index in ids.tolist()])

    pending: deque[Future[dict[str, Tensor]]] = deque()
    for ids in torch.randperm(EXAMPLES).split(BATCH):
        pending.append(pool.submit(make, ids))
        if len(pending) > AHEAD:
            yield pending.popleft().result()
    for future in pending:
        yield future.result()


def fdm_epoch(data: fdm.Data, epochs: Iterator[int]) -> fdm.Loader:
    return data.loader("all", epoch=next(epochs))


def loader_of(kind: Any, dataset: Any) -> Epoch:
    """A DataLoader, or one like it, whose workers stay for all epochs."""
    loader = kind(dataset, BATCH, shuffle=True, num_workers=PARALLEL, collate_fn=collated, persistent_workers=True)
    return lambda: loader


def stateful_contender(images: Encoded) -> Mapping[str, Epoch]:
    from torchdata.stateful_dataloader import StatefulDataLoader  # noqa: PLC0415 - it is optional

    return {STATEFUL: loader_of(StatefulDataLoader, images)}


def grain_contender(images: Encoded) -> Mapping[str, Epoch]:
    import grain  # noqa: PLC0415 - it is optional

    options = grain.ReadOptions(num_threads=PARALLEL, prefetch_buffer_size=AHEAD * BATCH)
    epochs = itertools.count()

    def epoch() -> Any:
        examples = grain.MapDataset.source(images).shuffle(seed=next(epochs))
        return examples.to_iter_dataset(options).batch(BATCH, batch_fn=collated)

    return {GRAIN: epoch}


def hf_contender(images: Encoded) -> Mapping[str, Epoch]:
    import datasets  # noqa: PLC0415 - it is optional

    columns = {**images.columns, "label": images.columns["label"].tolist()}
    return {HF: loader_of(DataLoader, datasets.Dataset.from_dict(columns).with_transform(drawn_columns))}


def pool_of_threads() -> ThreadPoolExecutor:
    """A pool whose threads have one thread of torch's own each: all cores have work already."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(PARALLEL, initializer=torch.set_num_threads, initargs=(1,))
    list(pool.map(time.sleep, [0.1] * PARALLEL))  # so that all of them have begun
    torch.set_num_threads(before)  # for threads that begin later
    return pool


def contenders(images: Encoded, pool: ThreadPoolExecutor, threads: fdm.Data, workers: fdm.Data) -> dict[str, Epoch]:
    return {
        HAND: partial(hand_epoch, images, pool),
        FDM_THREADS: partial(fdm_epoch, threads, itertools.count()),
        FDM_WORKERS: partial(fdm_epoch, workers, itertools.count()),
        TORCH: loader_of(DataLoader, images),
        **where_installed("torchdata", partial(stateful_contender, images)),
        **where_installed("grain", partial(grain_contender, images)),
        **where_installed("datasets", partial(hf_contender, images)),
    }


def check_same_work(images: Encoded, epochs: Mapping[str, Epoch]) -> None:
    """Fail unless batches are what their labels and draws say, of all examples: speed means nothing otherwise."""
    for name, epoch in epochs.items():
        first, *others = epoch()
        examples = [decode(encoded(images, index)) for index in first["label"].tolist()]
        expected = collated(list(map(cropped, examples, first["draws"])))
        assert all(torch.equal(first[entry], expected[entry]) for entry in expected), name
        for entry in ("label", "draws"):
            assert len(torch.cat([batch[entry] for batch in (first, *others)]).unique(dim=0)) == EXAMPLES, name


def report(found: Mapping[str, Sequence[float]]) -> None:
    rows = [
        (
            name,
            f"{1 / median(seconds):,.0f}",
            f"{median(seconds) * BATCH * 1e3:,.1f}",
            f"{median_ratio(found[HAND], seconds):.2f}",
        )
        for name, seconds in found.items()
    ]
    print_table(("case", "samples/s", "ms per batch", "ratio"), rows)
    print()
    for name, other, least in TARGETS:
        print_target(f"{name}, speed relative to {other}", median_ratio(found[other], found[name]), least=least)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    print(f"{EXAMPLES} JPEG images of {WIDTH} x {HEIGHT}, shuffled, cropped to {SIDE} x {SIDE}, batches of {BATCH}")
    with (
        tempfile.TemporaryDirectory() as store,
        fdm.open(IMAGES, store=store, threads=PARALLEL) as threads,
        fdm.open(IMAGES, store=store, workers=PARALLEL) as workers,
        pool_of_threads() as pool,
    ):
        images = Encoded(make_images(EXAMPLES))
        epochs = contenders(images, pool, threads, workers)
        check_same_work(images, epochs)
        print_machine(rounds)
        report(seconds_per_unit({name: counted(epoch) for name, epoch in epochs.items()}, rounds))


if __name__ == "__main__":
    main()
