"""Progress: bars for long work, shown where someone is looking."""

import logging
import sys
from typing import Any

from tqdm import tqdm

from .._ranks.context import RankContext
from .._text import printable, visible, without_secrets


_LOG = logging.getLogger("fdm")


def is_shown(progress: bool | None, context: RankContext) -> bool:
    """Whether bars are shown: as asked, or by default on a terminal, by the machine's first rank."""
    if progress is not None:
        return progress
    return context.local_rank == 0 and sys.stderr.isatty()


def bar(total: int | None, what: str, unit: str, *, shown: bool) -> "tqdm[Any]":
    """A progress bar with rate and time left; without `total` it counts. Bytes are scaled."""
    scaled = unit == "B"
    said = visible(without_secrets(what))
    return tqdm(total=total, desc=said, unit=unit, unit_scale=scaled, unit_divisor=1024, disable=not shown)


def tell(message: str, *, shown: bool, unseen: int = logging.INFO) -> None:
    """Tell something in the log, and on the terminal where bars are shown; where not, in the log as of the level `unseen`."""
    text = printable(message)  # it may have what other processes wrote
    _LOG.log(logging.INFO if shown else unseen, text)
    if shown:
        tqdm.write(f"fdm: {text}", file=sys.stderr)
