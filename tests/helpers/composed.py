"""Tables, functions and slow simulators for tests of mixtures, packed sequences, batches by length and block shuffles."""

from itertools import chain, count, zip_longest

import torch

import fdm
from fdm.testing import every_rank


def rows_of(n, first=0, longest=9):
    """A table of `n` rows of every kind of column; `row` tells which it is, and tokens repeat it."""
    row = torch.arange(first, first + n)
    tokens = [torch.full(((7 * number + 3) % longest,), number) for number in row.tolist()]
    return fdm.Table(
        {
            "row": row,
            "x": row.float()[:, None] * torch.tensor([1.0, 0.5]),
            "weight": (row % 4).float() + 0.5,
            "tokens": fdm.Ragged.of(tokens) if n else fdm.Ragged(torch.empty(0).long(), torch.zeros(1).long()),
            "text": fdm.Ragged.of([f"row {number}" for number in row.tolist()]) if n else row,
            "raw": fdm.Ragged.of([b"\x00" * (number % 3) for number in row.tolist()]) if n else row,
        }
    )


def documents_of(n, first=0, longest=9):
    """A table of `n` documents that can be packed: two ragged columns of one length, and one number each."""
    table = rows_of(n, first, longest)
    tokens = table["tokens"]
    return fdm.Table(
        {"row": table["row"], "tokens": tokens, "loss": fdm.Ragged(tokens.values % 2 == 0, tokens.offsets)}
    )


def several(*, sizes, kind="rows"):
    """Sources of these sizes, `a`, `b` and so on, whose rows are numbered from 1000, 2000 and so on."""
    make = {"rows": rows_of, "documents": documents_of}[kind]
    return {name: make(size, 1000 * (at + 1)) for at, (name, size) in enumerate(sizes.items())}


def jitter_into(item, key, *, name):
    """An entry of this name, drawn from the key."""
    return {**item, name: key.randint(0, 2**40)}


def jitter_a(item, key):
    """An entry `first` drawn from the key."""
    return {**item, "first": key.randint(0, 2**40)}


def jitter_b(item, key):
    """An entry `second` drawn from the key."""
    return {**item, "second": key.randint(0, 2**40)}


def steps_of(p, split, epoch, world=1, start=None, **options):
    """The batches of an epoch, step by step, each a list with that of every rank."""
    loaders = []
    for context in every_rank(world):
        with fdm.open(p, context=context, **options) as data:
            loaders.append(list(data.loader(split, start=start) if start else data.loader(split, epoch=epoch)))
    if len(loaders[0]) > 1 or loaders[-1]:
        assert len({len(batches) for batches in loaders}) == 1, "ranks have different steps"
    return [tuple(batch for batch in step if batch is not None) for step in zip_longest(*loaders)]


def column(steps, *names):
    """Rows of some entries of these steps, rank after rank, as plain values."""
    return [
        row for batch in chain.from_iterable(steps) for row in zip(*(plain(batch[name]) for name in names), strict=True)
    ]


def plain(entry):
    """An entry of a batch as a list of values that compare by what they are."""
    if isinstance(entry, fdm.Packed):
        return [tuple(tuple(document.tolist()) for document in sequence) for sequence in entry.tolist()]
    if isinstance(entry, fdm.Ragged):
        return [tuple(row.tolist()) if isinstance(row, torch.Tensor) else row for row in entry]
    return [tuple(row) if isinstance(row, list) else row for row in entry.tolist()]


def for_ever(data, split, *names):
    """The rows of a split, epoch after epoch."""
    for epoch in count():
        for batch in data.loader(split, epoch=epoch):
            yield from zip(*(plain(batch[name]) for name in names), strict=True)
