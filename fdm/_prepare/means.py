"""Means: what preparation works with."""

from collections.abc import Callable
from pathlib import Path

import attrs

from .._ranks.context import RankContext
from ..store._publish import Patience
from .pool import PoolOption


@attrs.frozen
class Means:
    """What preparation works with: the store's folder (asked for only where something is kept), pool, bars, ranks.

    `check` is what an artifact has to pass before it is read, besides having files of the right sizes.
    """

    folder: Callable[[], Path]
    pool: PoolOption
    patience: Patience
    shown: bool
    context: RankContext
    check: Callable[[Path], None] = lambda _: None
    told: set[str] = attrs.field(factory=set)  # of which inputs it was warned, since several stages may share one
    files: dict[int, str] = attrs.field(factory=dict)  # by stages, the digest of the list of files that was opened
