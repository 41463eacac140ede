"""Content: what an opened pipeline consists of, each thing with a digest, so that ranks can compare theirs."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from .._arrays.ragged import Ragged
from .._arrays.table import Table
from .._fingerprint.canonical import canonical, digest
from .._orders.order import Chosen, Order
from .._pipeline import Pipeline
from .._random.permutation import derive, permute
from .._splits.splits import Examples
from .._stages.describe import summary
from .._stages.digest import code_digests, decisive, fields_digest
from .._stages.stage import Cut


@attrs.frozen
class Part:
    """A part of what was opened: its description, its digest, what it means if that is another one, and what is in it."""

    text: str
    digest: str
    differs: str = "other code, parameters or data"
    within: Mapping[str, str] = attrs.field(factory=dict)


def content(
    p: Pipeline,
    sources: Mapping[str, Any],
    splits: Mapping[str, Examples],
    files: Mapping[int, str],
    weights: Mapping[tuple[int, str], NDArray[Any]],
) -> list[Part]:
    """The parts of an opened pipeline in the order in which they decide each other.

    Stages, with their code and the digests of the `files` that they keep, by their numbers; sources, with their sizes, and
    of tables the columns and the ends; splits, with some of their examples; `weights` of samples, by the number of the
    stage and the source.
    """
    parts = [Part("seed", digest(p.seed))]
    for number, stage in enumerate(map(decisive, p.stages)):
        text = f"stage {number}, {stage.kind} {summary(stage)[0]}".rstrip()
        code = code_digests(stage)
        parts.append(Part(text, fields_digest(stage)))
        parts.append(Part(f"the code of {text}", digest(code), _OTHER_CODE, code))
        if number in files:
            parts.append(Part(f"the files of {text}", files[number]))
    cut = [number for number, _ in p.of_kind(Cut)]
    made_by = f" (stages {', '.join(map(str, cut))})" if cut else ""
    parts += [Part(f"source {name!r} of {len(source):,} examples", _ends(source)) for name, source in sources.items()]
    for name, one in splits.items():
        told = digest([name, one.order.size, one.source, _some_ids(one.order)])
        parts.append(Part(f"split {name!r} of {one.order.size:,} examples{made_by}", told, _OTHER_EXAMPLES))
    for (number, source), column in weights.items():
        text = f"the weights of stage {number}, sample, for source {source!r}"
        parts.append(Part(text, hashlib.sha256(column.tobytes()).hexdigest(), _OTHER_WEIGHTS))
    return parts


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


def _some_ids(order: Order) -> str:
    """The digest of an order: of the positions that a function wrote out, and of the ids at its beginning and elsewhere."""
    told = hashlib.sha256()
    for positions in _written(order):
        told.update(np.ascontiguousarray(positions).tobytes())
    told.update(order.at(_some_positions(order.size)).tobytes())
    return told.hexdigest()


def _written(order: Any) -> Iterator[NDArray[np.int64]]:
    """The positions that are written out in an order, or in one that it is of."""
    while order is not None:
        if isinstance(order, Chosen):
            yield order.positions
        order = getattr(order, "of", None)


def _some_positions(size: int) -> NDArray[np.int64]:
    """All positions of a small order; of a large one the first, the last, and some at random, the same on every rank."""
    if size <= 2 * _SOME:
        return np.arange(size, dtype=np.int64)
    elsewhere = permute(np.arange(_SOME, dtype=np.int64), size, derive(0, "compared", size))
    return np.concatenate([np.arange(_SOME, dtype=np.int64), elsewhere, np.array([size - 1])])


_SOME = 4096  # positions, which take about a millisecond
_OTHER_CODE = "other code"
_OTHER_EXAMPLES = (
    "other examples, or in another order; what makes a split looks at nothing but the source and its parameters"
)
_OTHER_WEIGHTS = "other weights; what computes them looks at nothing but the source and its parameters"
