"""What is kept: the address and the folder of everything that a pipeline leaves in a store."""

from collections.abc import Mapping
from pathlib import Path

import attrs

from .._fingerprint.canonical import digest
from .._pipeline import Pipeline
from .._splits.splits import Examples
from .._stages.digest import address, measure_address
from .._stages.stage import Batch, Clean, Fetch, Measure, Pack, Preparation, Source
from ._manifest import artifact_folder, is_published


@attrs.frozen(eq=False)
class Kept:
    """A stage whose result is kept: its number, its address, and the folder in which the result is, or will be."""

    number: int
    stage: Preparation
    address: str
    folder: Path

    @property
    def is_prepared(self) -> bool:
        """Whether it is in the store."""
        return is_published(self.folder)


def kept_sources(p: Pipeline, store: Path) -> list[Kept]:
    """What fetch and clean keep; known before anything is prepared."""
    found = [(number, stage, address(p.stages[: number + 1])) for number, stage in p.of_kind(Fetch, Clean)]
    return [Kept(number, stage, at, place_of(stage, at, store)) for number, stage, at in found]


def kept_facts(p: Pipeline, splits: Mapping[str, Examples], store: Path) -> list[Kept]:
    """What the measures keep; known once the splits are."""
    return [Kept(number, stage, at, place_of(stage, at, store)) for number, stage, at in measures_at(p, splits)]


def measures_at(p: Pipeline, splits: Mapping[str, Examples]) -> list[tuple[int, Measure, str]]:
    """The measure stages with their numbers and addresses."""
    found: list[tuple[int, Measure, str]] = []
    source_stages = [stage for _, stage in p.of_kind(Source)]
    for number, stage in p.of_kind(Measure):
        examples = splits[stage.splits[0]]
        upstream = address([*source_stages, *(p.stages[made_by] for made_by in examples.lineage)])
        named = digest([upstream, examples.source, *examples.names])
        earlier = [at for _, _, at in found]
        found.append((number, stage, measure_address(named, examples.order.size, stage, earlier)))
    return found


def place_of(stage: Preparation, at: str, store: Path) -> Path:
    """The folder of what a stage keeps at this address."""
    return artifact_folder(store, f"{stage.kind}-{stage.function.name}", at)


def plan_place(stage: Pack | Batch, at: str, store: Path) -> Path:
    """The folder of the plan that a stage makes of lengths, at this address."""
    return artifact_folder(store, f"{stage.kind}-{stage.column}", at)
