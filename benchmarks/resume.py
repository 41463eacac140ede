"""Resuming at 90 % of a shuffled epoch: time to the next batch, against time to the first of a fresh loader.

    python benchmarks/resume.py [--rounds 15] [--quick]

Both are `data.loader(...)` and the first `next`: on a table of 10^7 rows in memory, and on a source of 10^9 examples.
A hand-written resume by `torch.randperm` and torchdata's StatefulDataLoader, where it is there, are timed on the table.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from statistics import median
from typing import Any

import attrs
import torch
from _timing import duration, median_ratio, print_machine, print_table, print_target, seconds_per_unit
from torch import Tensor

import fdm


ROWS, MANY, BATCH = 10**7, 10**9, 128
DONE = 0.9  # of an epoch
TARGET = 2.0
STATE_BYTES = 1000
REPEATS = 20  # of what takes microseconds, in one turn


def make_rows(n: int) -> fdm.Table:
    return fdm.Table({"value": torch.arange(n)})


def make_range(n: int) -> range:
    return range(n)


def shuffled(source: Callable[..., Any], n: int) -> fdm.Pipeline:
    return fdm.pipeline(fdm.load(source, n=n), fdm.shuffle(), fdm.batch(BATCH), seed=0)


def first_batches(data: fdm.Data) -> int:
    for epoch in range(REPEATS):
        next(iter(data.loader("all", epoch=epoch)))
    return REPEATS


def next_batches(data: fdm.Data, snapshots: Sequence[fdm.Snapshot]) -> int:
    for snapshot in snapshots:
        next(iter(data.loader("all", start=snapshot)))
    return len(snapshots)


def hand_resume(column: Tensor, seed: int, step: int) -> int:
    order = torch.randperm(len(column), generator=torch.Generator().manual_seed(seed))
    torch.index_select(column, 0, order[step * BATCH : (step + 1) * BATCH])
    return 1


def saved_state(data: fdm.Data) -> tuple[str, int]:
    """What is written at 90 % of the first epoch, as JSON, and the number of steps done by then."""
    loader = data.loader("all")
    done = int(DONE * len(loader))
    return json.dumps(loader.snapshot(done).to_dict()), done


def check_resumed(data: fdm.Data, state: str, done: int) -> None:
    """Fail unless the resumed loader continues with exactly the original's batches."""
    original = data.loader("all")
    resumed = data.loader("all", start=fdm.Snapshot.from_dict(json.loads(state)))
    assert len(resumed) == len(original) - done
    for batch, expected in zip(resumed[:3], original[done : done + 3], strict=True):
        one, other = (made["value"] if isinstance(made, dict) else made for made in (batch, expected))
        assert torch.equal(one, other)
    assert len(state) < STATE_BYTES


def of_epochs(state: str) -> list[fdm.Snapshot]:
    """The snapshot in other epochs too, so that no resume reads what the one before it has left in the CPU's caches."""
    snapshot = fdm.Snapshot.from_dict(json.loads(state))
    return [attrs.evolve(snapshot, epoch=epoch) for epoch in range(REPEATS)]


def fdm_contenders(name: str, data: fdm.Data) -> dict[str, Callable[[], int]]:
    state, done = saved_state(data)
    check_resumed(data, state, done)
    print(
        f"{name}: resumed after step {done:,}, the next 3 batches are the original's; state {len(state)} bytes of JSON"
    )
    snapshots = of_epochs(state)
    return {
        f"{name}, first batch": lambda: first_batches(data),
        f"{name}, resumed": lambda: next_batches(data, snapshots),
    }


def hand_contender(column: Tensor) -> dict[str, Callable[[], int]]:
    done = int(DONE * len(column)) // BATCH
    print(f"torch.randperm on {MANY:.0e} examples is left out: its indices alone are {8 * MANY / 1e9:.0f} GB")
    return {"torch.randperm of 1e7, sliced": lambda: hand_resume(column, 0, done)}


def stateful_contender(column: Tensor) -> dict[str, Callable[[], int]]:
    """Torchdata's loader, if it is there, with whole-batch reads and its own shuffle."""
    if find_spec("torchdata") is None:
        print("StatefulDataLoader is left out: torchdata is not installed")
        return {}
    from torch.utils.data import TensorDataset  # noqa: PLC0415 - only where torchdata is
    from torchdata.stateful_dataloader import StatefulDataLoader  # noqa: PLC0415 - it is optional

    dataset = TensorDataset(column)

    def loader() -> Any:
        return StatefulDataLoader(dataset, batch_size=BATCH, shuffle=True, generator=torch.Generator().manual_seed(0))

    original = loader()
    batches = iter(original)
    for _ in range(int(DONE * len(original))):
        next(batches)
    state = original.state_dict()
    expected = next(batches)

    def resume() -> int:
        resumed = loader()
        resumed.load_state_dict(state)
        assert torch.equal(next(iter(resumed))[0], expected[0])
        return 1

    return {"StatefulDataLoader of 1e7, resumed": resume}


def report(found: Mapping[str, Sequence[float]], fresh: Mapping[str, str]) -> None:
    """Print the table, with the ratio of each time to that of the fresh loader that `fresh` names for it."""
    ratios = {name: median_ratio(seconds, found[fresh[name]]) for name, seconds in found.items()}
    rows = [(name, duration(median(seconds)), f"{ratios[name]:,.2f}") for name, seconds in found.items()]
    print_table(("case", "time to the batch", "ratio"), rows)
    print()
    for name, ratio in ratios.items():
        if name.startswith("fdm") and name != fresh[name]:
            print_target(f"{name}, time relative to its first batch", ratio, most=TARGET)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="3 rounds, so that it takes seconds")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    with fdm.open(shuffled(make_rows, ROWS)) as table, fdm.open(shuffled(make_range, MANY)) as many:
        column = make_rows(ROWS)["value"]
        of_table = fdm_contenders("fdm, table of 1e7", table)
        of_many = fdm_contenders("fdm, source of 1e9", many)
        others = hand_contender(column) | stateful_contender(column)
        contenders = of_table | of_many | others
        fresh = {name: next(iter(of_many if name in of_many else of_table)) for name in contenders}
        print_machine(rounds)
        report(seconds_per_unit(contenders, rounds), fresh)


if __name__ == "__main__":
    main()
