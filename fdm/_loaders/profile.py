"""Profiles: how long each stage takes for a batch, which one limits, and what to change."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import attrs
import torch

from .._batches.operations import Applied, Assembly, applier, batch_maker, collator, source_reader, through, with_ids
from .._batches.readahead import ahead
from .._batches.transfer import has_streams, move
from .._errors import noted, stage_note
from .._plans.plan import Rows
from .._prepare.pool import cores
from .._public import public
from .._sources.loaded import kind_of
from .._text import aligned
from .device import OnDevice


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
        rows = [
            (stage.name, f"{stage.seconds * 1e3:,.3f}", f"{stage.share:.0%}", f"{stage.per_second:,.0f}")
            for stage in self.stages
        ]
        head = ("stage", "ms a batch", "share", "batches/s alone")
        whole = ("all, one after the other", f"{self.seconds * 1e3:,.3f}", "100%", f"{1 / self.seconds:,.0f}")
        lines = [
            f"{self.split}: medians of {self.steps} steps",
            *aligned([head, *rows, whole], indent="", right=(1, 2, 3)),
            f"as opened, the loader gives {self.per_second:,.0f} batches/s",
            f"limit: {self.limit.name}. {self.advice}",
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<fdm profile of {self.split!r}: {self.seconds * 1e3:.3f} ms a batch, limit {self.limit.name}>"


@attrs.frozen(eq=False)
class Piece:
    """One thing that is done for a batch: `(what came out before, rows) -> what comes out`; `number` is its stage's."""

    name: str
    call: Callable[[Any, Rows], Any]
    is_on_device: bool = False
    number: int | None = None


def profiled(assembly: Assembly, crossing: OnDevice, rows: Sequence[Rows], batches: Iterable[Any]) -> Profile:
    """Time the batches of these rows piece by piece, and `batches`, which are the same, as a loader makes them."""
    seconds = _seconds_of([*on_host(assembly), *across(assembly, crossing)], rows)
    whole = sum(seconds.values())
    stages = tuple(
        StageTime(piece.name, each, each / whole, 1 / each, piece.is_on_device) for piece, each in seconds.items()
    )
    gain = None if assembly.is_ambient else _gain_of_threads(assembly, rows)
    advice = _advice(stages, gain, crossing.speed.workers, crossing.speed.threads)
    return Profile(assembly.place.split, len(rows), stages, _per_second(batches), gain, advice)


def on_host(assembly: Assembly) -> list[Piece]:
    """The pieces of a batch on the host, one after the other."""
    assert assembly.batch is not None, "a loader is only made where a batch stage holds"
    number, batch = assembly.batch
    source, ids = assembly.source, batch.ids
    if assembly.is_whole:
        gather = ahead(source, source.gather)
        found = [Piece("gather", lambda _, rows: gather(rows.ids))]
    else:
        read = source_reader(assembly)
        found = [Piece(f"read from {kind_of(source)}", lambda _, rows: read(rows))]
        found += [_of_examples(applied, assembly) for applied in assembly.on_examples]
        found.append(Piece(f"{number} batch: collate", collator(assembly), number=number))
    if ids is not None:
        found.append(
            Piece(
                f"{number} batch: ids",
                lambda made, rows: with_ids(made, ids, rows.ids, number, batch.collate),
                number=number,
            )
        )
    stages = [(applied, applier(applied, assembly)) for applied in assembly.on_batches]
    return [*found, *(Piece(_label(applied), stage.on_batch, number=applied.number) for applied, stage in stages)]


def across(assembly: Assembly, crossing: OnDevice) -> list[Piece]:
    """The pieces of a batch from the transfer on."""
    if crossing.transfer is None:
        return []
    number, transfer = crossing.transfer
    device, skip = crossing.device, transfer.skip

    def moved(made: Any, _: Rows) -> Any:
        with noted(stage_note(number, f"transfer to {device}")):
            return move(made, device, skip)

    return [
        Piece(f"{number} transfer to {device}", _settled(moved, device), is_on_device=True, number=number),
        *(
            Piece(
                _label(applied),
                _settled(applier(applied, assembly, device).on_batch, device),
                is_on_device=True,
                number=applied.number,
            )
            for applied in crossing.stages
        ),
    ]


def _of_examples(applied: Applied, assembly: Assembly) -> Piece:
    stage = applier(applied, assembly)

    def each(found: Any, rows: Rows) -> list[Any]:
        ids, keys = rows.ids.tolist(), [stage.keys_of_examples(rows)]
        return [through(example, [stage], keys, ids, at) for at, example in enumerate(found)]

    return Piece(f"{_label(applied)}, {_EACH}", each, number=applied.number)


def _label(applied: Applied) -> str:
    return f"{applied.number} {applied.stage.kind} {applied.stage.function.name}"


def _settled(call: Callable[[Any, Rows], Any], device: str) -> Callable[[Any, Rows], Any]:
    """A call that ends when the device has done what it was asked for."""
    if not has_streams(device):
        return call

    def settled(made: Any, rows: Rows) -> Any:
        made = call(made, rows)
        torch.cuda.synchronize(device)
        return made

    return settled


def _seconds_of(pieces: Sequence[Piece], rows: Sequence[Rows]) -> dict[Piece, float]:
    """The median seconds of each piece; the first batch is made once more before, and does not count."""
    times: dict[Piece, list[float]] = {piece: [] for piece in pieces}
    for step, these in enumerate([rows[0], *rows]):
        made: Any = None
        for piece in pieces:
            began = time.perf_counter()
            made = piece.call(made, these)
            times[piece] += [time.perf_counter() - began] if step else []
    return {piece: max(median(found), 1e-9) for piece, found in times.items()}


def _gain_of_threads(assembly: Assembly, rows: Sequence[Rows]) -> float:
    """How many times as many batches two threads make as one, in the better of two tries each."""
    make, work = batch_maker(assembly), [*rows, *rows][: max(2, len(rows))]
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
    cheaper = "; for whole batches, after batch, it would cost less" if limit.name.endswith(_EACH) else ""
    if max(workers, threads) >= n:
        return f"All {n} cores work on batches already (workers={workers}, threads={threads}){cheaper}"
    if gain is None:
        return f"It draws from the global random state, so processes help: open with workers={n}{cheaper}"
    if gain > _WORTH:
        return f"Two threads make {gain:.1f} times as many batches as one: open with threads={n}{cheaper}"
    return f"Two threads gain little ({gain:.1f} times), as where Python holds the GIL: open with workers={n}{cheaper}"


_EACH = "each example"
_CHEAP = 0.5e-3  # seconds for a batch, of which handing it from thread to thread would be a good part
_WORTH = 1.3
