"""Lanes: where the stages of a pipeline run, as runs of stages in order."""

from collections.abc import Sequence
from typing import Any

import attrs
from toolz import first, partitionby, pluck

from .._stages.describe import summary
from .._stages.function import Function, shown
from .._stages.limits import applying, branches, parts
from .._stages.orders import mix_of, order_stages_of
from .._stages.stage import (
    Alias,
    Batch,
    Change,
    Clean,
    Cut,
    Fetch,
    Fold,
    Load,
    Measure,
    Mix,
    Pack,
    Sample,
    Shuffle,
    Source,
    Split,
    Stage,
    Take,
    Transfer,
)


STORE, PROCESS, EXAMPLE, HOST, DEVICE = (
    "once per store",
    "in every process",
    "per example",
    "per batch, on the host",
    "per batch, on the device",
)


@attrs.frozen(eq=False)
class Box:
    """A stage in a picture: its number, kind, a text, all of that text, and the splits that it holds for."""

    number: int
    kind: str
    text: str
    more: str
    branches: tuple[str, ...]


@attrs.frozen(eq=False)
class Lane:
    """Stages one after the other that run at the same place."""

    place: str
    boxes: tuple[Box, ...]


def lanes(stages: Sequence[Stage]) -> list[Lane]:
    """The stages in order, together where they run at the same place.

    >>> import fdm
    >>> [(lane.place, len(lane.boxes)) for lane in lanes([fdm.shuffle(), fdm.batch(2), fdm.transfer()])]
    [('in every process', 1), ('per batch, on the host', 1), ('per batch, on the device', 1)]
    """
    placed = list(zip(_places(stages), _boxes(stages), strict=True))
    return [Lane(run[0][0], tuple(pluck(1, run))) for run in partitionby(first, placed)]


def sizes_of(stages: Sequence[Stage]) -> dict[str, str]:
    """The sizes of the splits as the stages say them, and what aliases stand for."""
    found: dict[str, str] = {}
    for stage in stages:
        if isinstance(stage, Split | Fold):
            found |= parts(stage)
        elif isinstance(stage, Alias):
            found |= {new: f"= {old if isinstance(old, str) else ' + '.join(old)}" for new, old in stage.names}
    return found


def last_cut(stages: Sequence[Stage]) -> int:
    """The number of the stage after which a pipeline runs in branches; -1 where that is from its start."""
    return max((number for number, stage in enumerate(stages) if isinstance(stage, Source | Cut)), default=-1)


def _places(stages: Sequence[Stage]) -> list[str]:
    found = []
    batched = transferred = False
    for stage in stages:
        batched = batched or isinstance(stage, Batch)
        transferred = transferred or isinstance(stage, Transfer)
        match stage:
            case Fetch() | Clean() | Measure():
                place = STORE
            case Load() | Split() | Fold() | Alias() | Shuffle() | Sample() | Take() | Pack() | Mix():
                place = PROCESS
            case _:
                place = DEVICE if transferred else HOST if batched else EXAMPLE
        found.append(place)
    return found


def _boxes(stages: Sequence[Stage]) -> list[Box]:
    names, cut = branches(stages), last_cut(stages)
    held = {split: _holding(stages, those) for split, those in names.items()}
    return [
        Box(
            number,
            stage.kind,
            _text(stage),
            " ".join([summary(stage)[0], *summary(stage)[1:]]).strip(),
            () if number <= cut else tuple(split for split in names if number in held[split]),
        )
        for number, stage in enumerate(stages)
    ]


def _holding(stages: Sequence[Stage], names: Sequence[str]) -> set[int]:
    """The numbers of the stages that hold for a split."""
    found = {number for number, stage in enumerate(stages) if not hasattr(stage, "splits")}
    mixed = mix_of(stages, names)
    found -= {number for number, stage in enumerate(stages) if isinstance(stage, Mix)}
    found |= {number for number, _ in order_stages_of(stages, names)} | ({mixed[0]} if mixed else set())
    for kinds in (Measure, Change, Transfer):
        limited: list[tuple[int, Any]] = [
            (number, stage) for number, stage in enumerate(stages) if isinstance(stage, kinds)
        ]
        found |= {number for number, _ in applying(limited, names)}
    batches = [(number, stage) for number, stage in enumerate(stages) if isinstance(stage, Batch)]
    named = max(applying(batches, names), key=lambda pair: bool(pair[1].splits), default=None)
    return found | ({named[0]} if named else set())


def _text(stage: Stage) -> str:
    """What a box says beside the kind of its stage: function and parameters without the modules' names."""
    function = getattr(stage, "function", None)
    if not isinstance(function, Function):
        return summary(stage)[0]
    params = ", ".join(f"{name}={shown(value)}" for name, value in function.params)
    return f"{function.name}({params})"
