"""SVG: a pipeline as a picture, stages from top to bottom, a column for each split."""

import unicodedata
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from math import ceil

import attrs

from .._stages.limits import branches
from .._stages.stage import Stage
from .._text import cut, visible
from .lanes import DEVICE, EXAMPLE, HOST, PROCESS, STORE, Box, lanes, last_cut, sizes_of


def picture(stages: Sequence[Stage], seed: int) -> str:
    """The stages as SVG text, grouped by where they run; a stage that is limited to splits stands in their columns."""
    placed = _layout(stages)
    width, height = f"{placed.width:g}", f"{placed.bottom + 32:g}"
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" style="max-width:100%;height:auto"'
    foot = _text(16, placed.bottom + 20, f"seed {seed}", 'fill="#7c8594" font-size="11"')
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {_FONT}>',
        "<title>fdm pipeline</title>",
        *(_frame(frame, placed) for frame in placed.frames),
        *(_arrow(*arrow) for arrow in placed.arrows()),
        *(_title(frame) for frame in placed.frames),  # on top of the arrows that come through
        *(piece for row in placed.rows for piece in _row(row, placed)),
        foot,
        "</svg>",
    ]
    return "\n".join(lines)


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
        return max(1, len(self.labels)) * self.column + 2 * _MARGIN

    @property
    def bottom(self) -> float:
        """Where the last lane ends."""
        return self.frames[-1].bottom if self.frames else _MARGIN

    def span(self, run: Sequence[int]) -> tuple[float, float]:
        """The left edge and the width of what stands in these columns."""
        return _MARGIN + run[0] * self.column + _INSET, len(run) * self.column - 2 * _INSET

    def arrows(self) -> Iterator[tuple[float, float, float]]:
        """The arrows: x, and where each begins and ends; one in the middle until the splits have their columns."""
        is_cut = False
        above: dict[int, Row] = {}
        for row in self.rows:
            is_cut = is_cut or row.box is None
            columns = [column for run in row.runs for column in run]
            for column in columns if is_cut else columns[:1]:
                if column in above:
                    x = _MARGIN + (column + 0.5) * self.column if is_cut else self.width / 2
                    yield x, above[column].bottom, row.top
            above |= dict.fromkeys(columns, row)


def _layout(stages: Sequence[Stage]) -> Layout:
    """The stages from top to bottom, framed by where they run, each in the columns of the splits that it holds for."""
    sizes, splits = sizes_of(stages), list(branches(stages))
    labels = tuple(f"{split} {sizes.get(split, '')}".strip() for split in splits)
    rows, frames, y = [], [], 8.0
    names = _names(len(labels))
    last = last_cut(stages)
    if labels and last < 0:
        rows.append(attrs.evolve(names, top=y))
        y += names.height + _GAP
    for lane in lanes(stages):
        top, y = y, y + _TITLE
        for box in lane.boxes:
            rows.append(Row(y, 44 if box.text else 30, _runs(box, splits), box))
            y = rows[-1].bottom + _GAP
            if labels and box.number == last:
                rows.append(attrs.evolve(names, top=y))
                y = rows[-1].bottom + _GAP
        frames.append(Frame(lane.place, top, y - 4))
        y += _GAP - 4
    return Layout(labels, _column(labels, rows), tuple(rows), tuple(frames))


def _wide(text: str) -> int:
    """The width of a text in narrow characters; those of East Asia are twice as wide.

    >>> _wide("abc"), _wide("日本")
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
    names = [min(_wide(label) * _SANS + 4 * _INSET, _MOST / 2) for label in labels]
    texts = [(row.box, max(map(len, row.runs))) for row in rows if row.box is not None]
    needed = [
        min(max(_wide(box.text) * _MONO, _wide(f"{box.number} {box.kind}") * _SANS) + 4 * _INSET, _MOST) / columns
        for box, columns in texts
    ]
    return ceil(max([_NARROWEST / max(1, len(labels)), 120, *names, *needed]))


def _row(row: Row, placed: Layout) -> Iterator[str]:
    for run in row.runs:
        left, width = placed.span(run)
        if row.box is None:
            yield _rect((left, row.top, width, row.height), "#e2e8f0", "#cbd5e1", 12)
            name = _fit(placed.labels[run[0]], width - 2 * _INSET, _SANS)
            yield _text(left + width / 2, row.top + 16, name, 'text-anchor="middle" font-weight="600"')
        else:
            place = next(frame.place for frame in placed.frames if frame.bottom > row.top)
            yield _rect((left, row.top, width, row.height), "#ffffff", _COLOURS[place][1])
            yield from _stage(row.box, left + _INSET, row.top, width - 2 * _INSET)


def _stage(box: Box, left: float, top: float, room: float) -> Iterator[str]:
    """What a box says: number and kind, and below the function with its parameters, which tells all when pointed at."""
    kind = _fit(box.kind, room - 30, _SANS)
    yield _text(left, top + 19, f'<tspan fill="#6b7280">{box.number}</tspan> {kind}', 'font-weight="600"')
    if box.text:
        line = _text(left, top + 36, _fit(box.text, room, _MONO), _MONO_FONT)
        yield f"<g>{line}<title>{_clean(box.more)}</title></g>"


def _frame(frame: Frame, placed: Layout) -> str:
    fill, stroke = _COLOURS[frame.place]
    return _rect((6, frame.top, placed.width - 12, frame.bottom - frame.top), fill, stroke, 8)


def _title(frame: Frame) -> str:
    width, fill = _wide(frame.place) * 6.4 + 8, _COLOURS[frame.place][0]
    ink = f'fill="{_INK[frame.place]}" font-size="11" font-weight="600"'
    ground = f'<rect x="12" y="{frame.top + 5:g}" width="{width:g}" height="15" fill="{fill}"/>'
    return ground + _text(16, frame.top + 17, _clean(frame.place), ink)


def _arrow(x: float, start: float, end: float) -> str:
    line = f'<path d="M{x:g} {start:g}V{end - 5:g}" stroke="#7c8594" stroke-width="1.5"/>'
    return f'{line}<path d="M{x - 4:g} {end - 6:g}h8l-4 6z" fill="#7c8594"/>'


def _rect(box: tuple[float, float, float, float], fill: str, stroke: str, radius: float = 5) -> str:
    x, y, width, height = box
    size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"'
    return f'<rect {size} fill="{fill}" stroke="{stroke}"/>'


def _text(x: float, y: float, inside: str, more: str) -> str:
    fill = "" if "fill=" in more else ' fill="#111827"'
    return f'<text x="{x:g}" y="{y:g}"{fill} {more}>{inside}</text>'


def _fit(text: str, room: float, each: float) -> str:
    """As much of a text as has room, escaped, with an ellipsis for the rest."""
    return _clean(cut(visible(text), room, lambda kept: _wide(kept) * each, "…"))


def _clean(text: str) -> str:
    """Text that may stand in XML: escaped, and so are the control characters that XML cannot have."""
    return escape(visible(text))


_MARGIN, _INSET, _GAP, _TITLE = 14, 8, 14, 28
_SANS, _MONO = 7.8, 7.0  # pixels that a narrow character takes at most, in the two fonts
_NARROWEST, _MOST = 420, 560  # pixels of the narrowest picture, and that one text may ask for
_FONT = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13" fill="none"'
_MONO_FONT = 'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="11.5" fill="#374151"'
# Light fills that hide the page below, so that dark text can be read on a dark page, too.
_COLOURS = {
    STORE: ("#eef2ff", "#a5b4fc"),
    PROCESS: ("#f1f5f9", "#cbd5e1"),
    EXAMPLE: ("#ecfdf5", "#86d7b0"),
    HOST: ("#fff7ed", "#f3bf85"),
    DEVICE: ("#fdf2f8", "#eda6cd"),
}
_INK = {STORE: "#4338ca", PROCESS: "#475569", EXAMPLE: "#047857", HOST: "#b45309", DEVICE: "#be185d"}
