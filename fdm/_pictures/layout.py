"""Layout: where everything in the picture of a pipeline stands, in pixels."""

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil

import attrs

from .._stages.limits import branches
from .._stages.stage import Stage
from .lanes import Box, lanes, last_cut, sizes_of


@attrs.frozen(eq=False)
class Row:
    """What stands side by side: a stage in runs of columns, or, without a stage, the names of the splits."""

    top: float
    height: float
    runs: tuple[tuple[int, ...], ...]
    box: Box | None = None

    @property
    def bottom(self) -> float:
        """Where it ends."""
        return self.top + self.height


@attrs.frozen(eq=False)
class Frame:
    """A lane around its stages."""

    place: str
    top: float
    bottom: float


@attrs.frozen(eq=False)
class Layout:
    """A picture: rows and frames from top to bottom, and a column of this width for each split, by its label."""

    labels: tuple[str, ...]
    column: float
    rows: tuple[Row, ...]
    frames: tuple[Frame, ...]

    @property
    def width(self) -> float:
        """The width of the picture."""
        return max(1, len(self.labels)) * self.column + 2 * MARGIN

    @property
    def bottom(self) -> float:
        """Where the last lane ends."""
        return self.frames[-1].bottom if self.frames else MARGIN

    def span(self, run: Sequence[int]) -> tuple[float, float]:
        """The left edge and the width of what stands in these columns."""
        return MARGIN + run[0] * self.column + INSET, len(run) * self.column - 2 * INSET

    def arrows(self) -> Iterator[tuple[float, float, float]]:
        """The arrows: x, and where each begins and ends; one in the middle until the splits have their columns."""
        is_cut = False
        above: dict[int, Row] = {}
        for row in self.rows:
            is_cut = is_cut or row.box is None
            columns = [column for run in row.runs for column in run]
            for column in columns if is_cut else columns[:1]:
                if column in above:
                    x = MARGIN + (column + 0.5) * self.column if is_cut else self.width / 2
                    yield x, above[column].bottom, row.top
            above |= dict.fromkeys(columns, row)


def layout(stages: Sequence[Stage]) -> Layout:
    """The stages from top to bottom, framed by where they run, each in the columns of the splits that it holds for."""
    sizes, splits = sizes_of(stages), list(branches(stages))
    labels = tuple(f"{split} {sizes.get(split, '')}".strip() for split in splits)
    rows, frames, y = [], [], 8.0
    names = _names(len(labels))
    cut = last_cut(stages)
    if labels and cut < 0:
        rows.append(attrs.evolve(names, top=y))
        y += names.height + GAP
    for lane in lanes(stages):
        top, y = y, y + _TITLE
        for box in lane.boxes:
            rows.append(Row(y, 44 if box.text else 30, _runs(box, splits), box))
            y = rows[-1].bottom + GAP
            if labels and box.number == cut:
                rows.append(attrs.evolve(names, top=y))
                y = rows[-1].bottom + GAP
        frames.append(Frame(lane.place, top, y - 4))
        y += GAP - 4
    return Layout(labels, _column(labels, rows), tuple(rows), tuple(frames))


def wide(text: str) -> int:
    """The width of a text in narrow characters; those of East Asia are twice as wide.

    >>> wide("abc"), wide("日本")
    (3, 4)
    """
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _names(columns: int) -> Row:
    """The row with the names of the splits."""
    return Row(0, 24, tuple((column,) for column in range(columns)))


def _runs(box: Box, splits: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """The columns of a stage, as runs of neighbours; all of them for one before the splits."""
    held = [column for column, split in enumerate(splits) if not box.branches or split in box.branches] or [0]
    breaks = [at for at, (left, right) in enumerate(pairwise(held), start=1) if right - left > 1]
    return tuple(tuple(held[low:high]) for low, high in pairwise([0, *breaks, len(held)]))


def _column(labels: Sequence[str], rows: Sequence[Row]) -> float:
    """A column that is wide enough for most of what stands in it."""
    names = [min(wide(label) * SANS + 4 * INSET, _MOST / 2) for label in labels]
    texts = [(row.box, max(map(len, row.runs))) for row in rows if row.box is not None]
    needed = [
        min(max(wide(box.text) * MONO, wide(f"{box.number} {box.kind}") * SANS) + 4 * INSET, _MOST) / columns
        for box, columns in texts
    ]
    return ceil(max([_NARROWEST / max(1, len(labels)), 120, *names, *needed]))


MARGIN, INSET, GAP, _TITLE = 14, 8, 14, 28
SANS, MONO = 7.8, 7.0  # pixels that a narrow character takes at most, in the two fonts
_NARROWEST, _MOST = 420, 560  # pixels of the narrowest picture, and that one text may ask for
