"""Profiles: how long each stage takes for a batch, which one limits, and what to change."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from statistics import median
from typing import Any

import attrs

from .._batches.draws import Draws
from .._batches.operations import EACH, Operation, after_transfer, batch_maker, is_drawing, on_host
from .._batches.transfer import move, wait_for
from .._errors import noted, stage_note
from .._plans.branch import Branch
from .._plans.rows import Rows
from .._prepare.pool import cores
from .._public import public
from .._text import aligned, page, table, visible
from .device import Crossing


@attrs.frozen
class StageTime:
    """What a stage costs: median seconds a batch, its share of all, and how many batches a second it alone would allow."""

    name: str
    seconds: float
    share: float
    per_second: float
    is_on_device: bool


@public
@attrs.frozen(repr=False)
class Profile:
    """Where the time of a split's batches goes, stage by stage, measured one after the other.

    `per_second` is how many batches a second the loader gave as it was opened; `gain_of_threads` how many times as many
    batches two threads make as one (None where threads make none). `str(profile)` is a table, with advice below.
    """

    split: str
    steps: int
    stages: tuple[StageTime, ...]
    per_second: float
    gain_of_threads: float | None
    advice: str

    @property
    def seconds(self) -> float:
        """The seconds that all stages take together for a batch."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def limit(self) -> StageTime:
        """The stage that costs most."""
        return max(self.stages, key=lambda stage: stage.seconds)

    def __str__(self) -> str:
        lines = [
            f"{visible(self.split)}: medians of {self.steps} steps",
            *aligned([_HEAD, *self._rows()], indent="", right=(1, 2, 3)),
            self._as_opened(),
            visible(self._told()),
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        title = f"fdm.Profile of {self.split!r}: medians of {self.steps} steps"
        below = "".join(f"<div>{escape(visible(text))}</div>" for text in (self._as_opened(), self._told()))
        return page(title, table(_HEAD, self._rows()), below)

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows = [
            (stage.name, f"{stage.seconds * 1e3:,.3f}", f"{stage.share:.0%}", f"{stage.per_second:,.0f}")
            for stage in self.stages
        ]
        return [
            *rows,
            ("all, one after the other", f"{self.seconds * 1e3:,.3f}", "100%", f"{1 / self.seconds:,.0f}"),
        ]

    def _as_opened(self) -> str:
        return f"as opened, the loader gives {self.per_second:,.0f} batches/s"

    def _told(self) -> str:
        return f"limit: {self.limit.name}. {self.advice}"

    def __repr__(self) -> str:
        return f"<fdm profile of {self.split!r}: {self.seconds * 1e3:.3f} ms a batch, limit {visible(self.limit.name)}>"


def profiled(branch: Branch, crossing: Crossing, rows: Sequence[Rows], batches: Iterable[Any]) -> Profile:
    """Time the batches of these rows operation by operation, and `batches`, which are the same, as a loader makes them."""
    seconds = _seconds_of([*on_host(branch), *on_device(branch, crossing)], rows)
    whole = sum(seconds.values())
    stages = tuple(
        StageTime(operation.name, each, each / whole, 1 / each, operation.is_on_device)
        for operation, each in seconds.items()
    )
    gain = None if is_drawing(branch) else _gain_of_threads(branch, rows)
    advice = _advice(stages, gain, crossing.options.workers, crossing.options.threads)
    return Profile(branch.where.split, len(rows), stages, _per_second(batches), gain, advice)


def on_device(branch: Branch, crossing: Crossing) -> list[Operation]:
    """What is done for a batch from the transfer on, each when the device has done what it was asked for."""
    if crossing.transfer is None:
        return []
    number, transfer = crossing.transfer
    device, skip = crossing.device, transfer.skip

    def moved(batch: Any, rows: Rows) -> tuple[Any, Rows]:
        with noted(stage_note(number, f"transfer to {device}")):
            return move(batch, device, skip), rows

    moving = Operation(f"{number} transfer to {device}", moved, number, is_on_device=True)
    operations = (moving, *after_transfer(branch, device))
    return [attrs.evolve(operation, call=_waited(operation.call, device)) for operation in operations]


def _waited(call: Callable[[Any, Rows], tuple[Any, Rows]], device: str) -> Callable[[Any, Rows], tuple[Any, Rows]]:
    """A call that ends when the device has done what it was asked for."""

    def run(batch: Any, rows: Rows) -> tuple[Any, Rows]:
        result = call(batch, rows)
        wait_for(device)
        return result

    return run


def _seconds_of(operations: Sequence[Operation], rows: Sequence[Rows]) -> dict[Operation, float]:
    """The median seconds of each operation; the first batch is made once more before, and does not count."""
    times: dict[Operation, list[float]] = {operation: [] for operation in operations}
    for step, these in enumerate([rows[0], *rows]):
        batch: Any = None
        for operation in operations:
            began = time.perf_counter()
            batch, these = operation.call(batch, these)  # noqa: PLW2901 - as in the loop
            times[operation] += [time.perf_counter() - began] if step else []
    return {operation: max(median(found), 1e-9) for operation, found in times.items()}


def _gain_of_threads(branch: Branch, rows: Sequence[Rows]) -> float:
    """How many times as many batches two threads make as one, in the better of two tries each."""
    make, work = batch_maker(branch, Draws()), [*rows, *rows][: max(2, len(rows))]
    with ThreadPoolExecutor(2) as pool:
        alone = min(_seconds(lambda: list(map(make, work))) for _ in range(2))
        return alone / min(_seconds(lambda: list(pool.map(make, work))) for _ in range(2))


def _per_second(batches: Iterable[Any]) -> float:
    """Batches a second, in the better of two rounds, since what the first one starts stays for the next."""
    count = 0

    def through_all() -> None:
        nonlocal count
        count = sum(1 for _ in batches)

    seconds = min(_seconds(through_all) for _ in range(2))
    return count / seconds


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return max(time.perf_counter() - began, 1e-9)


def _advice(stages: Sequence[StageTime], gain: float | None, workers: int, threads: int) -> str:
    limit = max(stages, key=lambda stage: stage.seconds)
    whole, n = sum(stage.seconds for stage in stages), max(2, cores())
    if whole < _CHEAP:
        return "A batch costs so little that making it ahead gains nothing: leave workers and threads at 0"
    if 2 * sum(stage.seconds for stage in stages if stage.is_on_device) > whole:
        return (
            "What runs in the main process costs most: move stages before transfer, where threads and workers run them, "
            "or transfer less (bytes, made floats on the device)"
        )
    cheaper = "; for whole batches, after batch, it would cost less" if limit.name.endswith(EACH) else ""
    if max(workers, threads) >= n:
        return f"All {n} cores work on batches already (workers={workers}, threads={threads}){cheaper}"
    if gain is None:
        return f"It draws from the global random state, so processes help: open with workers={n}{cheaper}"
    if gain > _WORTH:
        return f"Two threads make {gain:.1f} times as many batches as one: open with threads={n}{cheaper}"
    return f"Two threads gain little ({gain:.1f} times), as where Python holds the GIL: open with workers={n}{cheaper}"


_CHEAP = 0.5e-3  # seconds for a batch, of which handing it from thread to thread would be a good part
_WORTH = 1.3
_HEAD = ("stage", "ms a batch", "share", "batches/s alone")
