"""Content: what an opened pipeline consists of, each thing with a digest, so that ranks can compare theirs."""

from collections.abc import Mapping
from typing import Any

from .._arrays.ragged import Ragged
from .._arrays.table import Table
from .._fingerprint.canonical import canonical, digest
from .._pipeline import Pipeline
from .._splits.splits import Examples
from .._stages.describe import summary
from .._stages.digest import decisive, stage_digest
from .._stages.stage import Cut


def content(
    p: Pipeline, sources: Mapping[str, Any], splits: Mapping[str, Examples], files: Mapping[int, str]
) -> list[tuple[str, str]]:
    """The parts of an opened pipeline in the order in which they decide each other, as descriptions with digests.

    Stages, with the digests of the `files` that they keep, by their numbers; sources, with their sizes, and of tables
    the columns and the ends; splits.
    """
    found = [("seed", digest(p.seed))]
    for number, stage in enumerate(map(decisive, p.stages)):
        text = f"stage {number}, {stage.kind} {summary(stage)[0]}".rstrip()
        found.append((text, stage_digest(stage)))
        if number in files:
            found.append((f"the files of stage {number}, {stage.kind} {summary(stage)[0]}", files[number]))
    cut = [number for number, _ in p.of_kind(Cut)]
    made_by = f" (stages {', '.join(map(str, cut))})" if cut else ""
    found += [(f"source {name!r} of {len(source):,} examples", _ends(source)) for name, source in sources.items()]
    found += [
        (f"split {name!r} of {one.order.size:,} examples{made_by}", digest([name, one.order.size, one.source]))
        for name, one in splits.items()
    ]
    return found


def _ends(source: Any) -> str:
    """The digest of a source's size, and of a table's columns and its first and last example."""
    if not isinstance(source, Table):
        return digest(len(source))
    columns = [
        [name, "ragged"] if isinstance(column, Ragged) else [name, str(column.dtype), list(column.shape[1:])]
        for name, column in source.items()
    ]
    ends = [canonical(source[row]) for row in (0, -1)] if len(source) else []
    return digest([len(source), columns, ends])
