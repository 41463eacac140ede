"""Branches: the pipeline as each of its splits and mixtures goes through it."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._errors import noted, stage_note
from .._pipeline import Pipeline
from .._ranks.context import RankContext
from .._stages.stage import Mix
from .branch import Branch, Parts, branch_of, check_alike
from .epochs import Epochs, MixedEpochs, mixtures, source_of


def branches_for(  # noqa: PLR0917 - all that decides how splits are gone through
    p: Pipeline,
    sources: Mapping[str, Any],
    splits: Iterable[str],
    facts: Mapping[str, Any],
    epochs: Mapping[str, Epochs | MixedEpochs],
    context: RankContext,
) -> dict[str, Branch]:
    """The branch of every split and mixture, by name."""

    def branch(of: Epochs, mixed: tuple[int, tuple[str, ...]] | None = None) -> Branch:
        source = source_of(of, sources[of.examples.source])
        return branch_of(p, of.examples.names, source, facts, context, mixed)

    def mixture(names: tuple[str, ...], of: MixedEpochs) -> Branch:
        number = next(number for number, stage in p.of_kind(Mix) if stage.into == of.mix.into)
        parts = tuple(branch(part, (number, names)) for part in of.parts)
        with noted(stage_note(number, "mix")):
            check_alike(parts)
        source = Parts(parts, of.firsts, of.offsets, np.array([part.size for part in of.parts], dtype=np.int64))
        return branch_of(p, names, source, facts, context)

    mixed = mixtures(p, splits)
    return {
        name: branch(each) if isinstance(each, Epochs) else mixture(mixed[name], each) for name, each in epochs.items()
    }
