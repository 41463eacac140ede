"""Batches on a CUDA device: how much of their copying is hidden behind the computation on the batch before.

    python benchmarks/device.py [--rounds 11] [--quick]

Each step uses a batch of images in a network that takes about as long as the batch takes to be copied. If the two run
one after the other a step takes their sum, and if they overlap the longer of both: 1.0 is perfect overlap, 0.0 is none.
Without a CUDA device there is nothing to measure, and the script says so.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from statistics import median

import torch
from _timing import duration, print_machine, print_table, print_target, seconds_per_unit
from torch import Tensor

import fdm


EXAMPLES, BATCH, SIDE = 4096, 256, 224
TARGET = 0.8


def make_images(n: int) -> fdm.Table:
    return fdm.Table({"image": torch.randint(0, 256, (n, 3, SIDE, SIDE), dtype=torch.uint8)})


images = fdm.pipeline(fdm.load(make_images, n=EXAMPLES), fdm.shuffle(), fdm.batch(BATCH), fdm.transfer())


def network(device: torch.device, products: int) -> Callable[[Tensor], Tensor]:
    """A computation on the device that depends on the batch, and takes a number of matrix products."""
    weights = torch.randn(2048, 2048, device=device)

    def work(batch: Tensor) -> Tensor:
        made = weights * batch[0, 0, 0, 0].float()
        for _ in range(products):
            made = made @ weights
        return made

    return work


def steps(batches: Iterator[dict[str, Tensor]], work: Callable[[Tensor], object]) -> int:
    count = 0
    for batch in batches:
        work(batch["image"])
        count += 1
    torch.cuda.synchronize()
    return count


def copied_one_after_the_other(data: fdm.Data, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """What most loops do: pageable memory, and a copy that waits."""
    for batch in data.loader("all"):
        yield {"image": batch["image"].to(device)}


def products_for(seconds: float, device: torch.device) -> int:
    """How many matrix products take about so long."""
    work = network(device, 50)
    batch = torch.zeros(1, 3, 1, 1, dtype=torch.uint8, device=device)

    def run() -> int:
        work(batch)
        torch.cuda.synchronize()
        return 1

    each = median(seconds_per_unit({"work": run}, 5)["work"]) / 50
    return max(1, round(seconds / each))


def measure(rounds: int) -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    on_host = fdm.without(images, "transfer")
    cuda = fdm.RankContext(device=str(device))
    with (
        fdm.open(on_host) as host,
        fdm.open(images, context=cuda) as inline,
        fdm.open(images, context=cuda, threads=2) as ahead,
        fdm.open(images, context=cuda, threads=2, pin_memory=False) as unpinned,
    ):
        batch = host.loader("all")[0]["image"]
        expected = inline.loader("all")[3]["image"].cpu()
        assert expected.equal(host.loader("all")[3]["image"])
        for one, other in zip(ahead.loader("all"), host.loader("all"), strict=True):
            assert one["image"].cpu().equal(other["image"])

        def copy() -> int:
            batch.to(device)
            torch.cuda.synchronize()
            return 1

        seconds = median(seconds_per_unit({"copy": copy}, 9)["copy"])
        work = network(device, products_for(seconds, device))
        here = batch.to(device)

        def compute() -> int:
            work(here)
            torch.cuda.synchronize()
            return 1

        contenders = {
            "the computation alone": compute,
            "making batches on the host alone": lambda: sum(1 for _ in host.loader("all")),
            "pageable copies that wait": lambda: steps(copied_one_after_the_other(host, device), work),
            "fdm": lambda: steps(iter(inline.loader("all")), work),
            "fdm, threads=2": lambda: steps(iter(ahead.loader("all")), work),
            "fdm, threads=2, pin_memory=False": lambda: steps(iter(unpinned.loader("all")), work),
        }
        found = {name: median(times) for name, times in seconds_per_unit(contenders, rounds).items()}
    report(found)


def report(found: dict[str, float]) -> None:
    slowest = found["pageable copies that wait"]
    limit = max(found["the computation alone"], found["making batches on the host alone"] / 2)
    hidden = {name: (slowest - seconds) / max(slowest - limit, 1e-9) for name, seconds in found.items()}
    rows = [(name, duration(seconds), f"{hidden[name]:.2f}") for name, seconds in found.items()]
    print_table(("case", "a step", "overlap"), rows)
    print()
    print_target("overlap of fdm with two threads", hidden["fdm, threads=2"], least=TARGET)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    if not torch.cuda.is_available():
        print("There is no CUDA device here, so there is nothing to measure.")
        sys.exit()
    print(torch.cuda.get_device_name())
    print_machine(rounds)
    measure(rounds)


if __name__ == "__main__":
    main()
