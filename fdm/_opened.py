"""What a pipeline consists of once it is opened, and how it makes the batches of each split from that."""

from collections.abc import Mapping
from typing import Any

import attrs

from ._batches.operations import Applied, Assembly, Place
from ._errors import noted, stage_note
from ._loaders.device import OnDevice
from ._loaders.options import Speed
from ._pipeline import Pipeline
from ._plans.plan import batch_of, streams
from ._plans.splits import Examples
from ._ranks.context import RankContext
from ._stages.limits import applying
from ._stages.stage import Batch, Change, Sample, Source, Transfer


@attrs.frozen(eq=False)
class Parts:
    """The parts of an opened pipeline; `stages` are its transform and augment stages, with facts filled in."""

    pipeline: Pipeline
    context: RankContext
    sources: Mapping[str, Any]
    splits: Mapping[str, Examples]
    stages: Mapping[int, Change]

    def assemblies(self) -> dict[str, Assembly]:
        """How the batches of every split are made on the host."""
        return {split: self.assembly(split) for split in self.splits}

    def assembly(self, split: str) -> Assembly:
        """How the batches of a split are made on the host, in epoch 0."""
        examples = self.splits[split]
        first_batch, transfer = _boundaries(self.pipeline)
        stages = self._applied(examples)
        return Assembly(
            self.sources[examples.source],
            tuple(applied for applied in stages if applied.number < first_batch),
            batch_of(self.pipeline, examples.names),
            tuple(applied for applied in stages if first_batch <= applied.number < transfer),
            Place(split, 0, self.context.rank, self.context.world_size, self._made_by),
            bool(applying(list(self.pipeline.of_kind(Sample)), examples.names)),
        )

    def on_device(self, examples: Examples, speed: Speed) -> OnDevice:
        """What happens to the batches of a split from the transfer on."""
        _, boundary = _boundaries(self.pipeline)
        transfer = next(iter(self.pipeline.of_kind(Transfer)), None)
        stages = tuple(applied for applied in self._applied(examples) if applied.number > boundary)
        return OnDevice(transfer, stages, self.context.device, speed)

    @property
    def _made_by(self) -> tuple[int, str]:
        """The stage that made the sources: its number, and what it is."""
        number, stage = list(self.pipeline.of_kind(Source))[-1]
        return number, f"{stage.kind} {stage.function!r}, defined at {stage.function.location}"

    def _applied(self, examples: Examples) -> list[Applied]:
        return [Applied(number, self.stages[number], key) for number, key in streams(self.pipeline, examples.names)]


def with_facts(p: Pipeline, facts: Mapping[str, Any]) -> dict[int, Change]:
    """The transform and augment stages of a pipeline by number, with facts in place of what stands for them."""
    stages = {}
    for number, stage in p.of_kind(Change):
        with noted(stage_note(number, stage.kind)):
            stages[number] = attrs.evolve(stage, function=stage.function.with_facts(facts))
    return stages


def _boundaries(p: Pipeline) -> tuple[int, int]:
    """The numbers of the first batch stage and of the transfer, or of the end where there is none."""
    end = len(p.stages)
    transfer = next((number for number, _ in p.of_kind(Transfer)), end)
    return next((number for number, _ in p.of_kind(Batch)), transfer), transfer
