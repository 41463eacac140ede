"""Crossings: batches from where they are made, over the device boundary, to where they are used."""

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from .._batches.draws import Draws
from .._batches.transfer import arrived, has_streams, left_behind, move, moved_ahead, numbered
from .._errors import note, noted, stage_note
from .._plans.rows import Rows
from .._stages.stage import Transfer
from .options import LoaderOptions
from .threads import pulled_ahead


@attrs.frozen(eq=False)
class Crossing:
    """How batches come to the device: by which stage, with its number, to which device, and with which options."""

    transfer: tuple[int, Transfer] | None
    device: str
    options: LoaderOptions


def on_device(on_host: Iterator[tuple[Rows, Any]], crossing: Crossing) -> Iterator[tuple[Rows, Any]]:
    """The batches where the transfer brings them, with their rows; where there is no transfer, as they are."""
    if crossing.transfer is None:
        return on_host
    number, transfer = crossing.transfer
    where = stage_note(number, f"transfer to {crossing.device}")
    if has_streams(crossing.device):
        return _streamed(on_host, crossing, transfer.skip, where)
    return _moved(on_host, crossing.device, transfer.skip, where)


def told_if_left(on_host: Iterator[tuple[Rows, Any]], crossing: Crossing, draws: Draws) -> Iterator[tuple[Rows, Any]]:
    """The batches before the transfer; that one is of a class which the transfer does not move is told, once."""
    if crossing.transfer is None or crossing.transfer[0] in draws.watched:
        return on_host
    return _looked_at(on_host, crossing.transfer, draws)


def _looked_at(
    on_host: Iterator[tuple[Rows, Any]], transfer: tuple[int, Transfer], draws: Draws
) -> Iterator[tuple[Rows, Any]]:
    number, stage = transfer
    for rows, batch in on_host:
        if number not in draws.watched:
            draws.watched.add(number)
            left = left_behind(batch, stage.skip)
            if left is not None:
                draws.found[number] = (
                    f"{left[0]} is a {type(left[1]).__name__}, which fdm.transfer leaves on the host with the tensors that it "
                    f"holds: it moves mappings, lists, tuples, named tuples, dataclasses and attrs classes, and what has a "
                    f"method .to(device); make it one of them, or give it that method"
                )
                draws.tell()
        yield rows, batch


def _moved(
    on_host: Iterator[tuple[Rows, Any]], device: str, skip: Sequence[str], where: str
) -> Iterator[tuple[Rows, Any]]:
    for rows, batch in on_host:
        try:
            moved = move(batch, device, skip)
        except BaseException as error:
            note(error, where)
            raise
        yield rows, moved


def _streamed(
    on_host: Iterator[tuple[Rows, Any]], crossing: Crossing, skip: Sequence[str], where: str
) -> Iterator[tuple[Rows, Any]]:
    """The same, copied on a stream of its own; where batches are made ahead, the next one while this one is used."""
    device = numbered(crossing.device)
    sent = moved_ahead(on_host, device, skip, pin=crossing.options.pins(device))
    for rows, batch, there in pulled_ahead(sent) if crossing.options.is_ahead else sent:
        with noted(where):
            moved = arrived(batch, there, device, skip)
        yield rows, moved
