"""SVG: a pipeline as a picture, stages from top to bottom, a column for each split."""

import unicodedata
from collections.abc import Sequence
from html import escape
from math import ceil

import attrs

from ._holds import branches
from ._lanes import DEVICE, EXAMPLE, HOST, PROCESS, STORE, Box, lanes, last_cut, sizes_of
from ._stage import Stage


def picture(stages: Sequence[Stage], seed: int) -> str:
    """The stages as SVG text, grouped by where they run; a stage that is limited to splits stands in their columns."""
    sheet = _Sheet(list(branches(stages)), sizes_of(stages))
    sheet.measure([box for lane in lanes(stages) for box in lane.boxes])
    cut = last_cut(stages)
    if cut < 0:
        sheet.chips()
    for lane in lanes(stages):
        top = sheet.y
        sheet.y += _TITLE
        for box in lane.boxes:
            sheet.box(box, lane.place)
            if box.number == cut:
                sheet.chips()
        sheet.y -= 4
        sheet.lane(lane.place, top)
        sheet.y += _GAP
    return sheet.text(seed)


@attrs.define(eq=False)
class _Sheet:
    """What is drawn so far, and how far down; columns remember where the last thing in them ended."""

    splits: list[str]
    sizes: dict[str, str]
    column: float = 0
    y: float = 8
    branched: bool = False
    ends: dict[int, float] = attrs.field(factory=dict)
    back: list[str] = attrs.field(factory=list)
    front: list[str] = attrs.field(factory=list)

    @property
    def columns(self) -> int:
        return max(1, len(self.splits))

    @property
    def width(self) -> float:
        return self.columns * self.column + 2 * _MARGIN

    def measure(self, boxes: Sequence[Box]) -> None:
        """Make columns wide enough for most of what stands in them."""
        widths = [_MIN_WIDTH / self.columns, _COLUMN]
        names = [f"{split} {self.sizes.get(split, '')}" for split in self.splits]
        widths += [min(_wide(name) * _SANS + 4 * _INSET, _MOST / 2) for name in names]
        for box in boxes:
            spans = max((len(run) for run in self.runs(box)), default=1)
            needed = max(_wide(box.text) * _MONO, _wide(f"{box.number} {box.kind}") * _SANS) + 4 * _INSET
            widths.append(min(needed, _MOST) / spans)
        self.column = ceil(max(widths))

    def runs(self, box: Box) -> list[list[int]]:
        """The columns of a box, as runs of neighbours."""
        if not box.branches:
            return [list(range(self.columns))]
        runs: list[list[int]] = []
        for column in (number for number, split in enumerate(self.splits) if split in box.branches):
            if runs and runs[-1][-1] == column - 1:
                runs[-1].append(column)
            else:
                runs.append([column])
        return runs

    def box(self, box: Box, place: str) -> None:
        height = 44 if box.text else 30
        for run in self.runs(box):
            left = _MARGIN + run[0] * self.column + _INSET
            width = len(run) * self.column - 2 * _INSET
            self.arrows(run)
            self.front.append(_rect((left, self.y, width, height), "#ffffff", _COLOURS[place][1]))
            room = width - 2 * _INSET
            head = f'<tspan fill="#6b7280">{box.number}</tspan> {_fit(box.kind, room - 30, _SANS)}'
            self.front.append(_text(left + _INSET, self.y + 19, head, 'font-weight="600"'))
            if box.text:
                line = _text(left + _INSET, self.y + 36, _fit(box.text, room, _MONO), _MONO_FONT)
                self.front.append(f"<g>{line}<title>{_clean(box.more)}</title></g>")
        for column in (column for run in self.runs(box) for column in run):
            self.ends[column] = self.y + height
        self.y += height + _GAP

    def chips(self) -> None:
        """A row with the names and sizes of the splits, from which on each has a column."""
        if not self.splits:
            return
        for column, split in enumerate(self.splits):
            self.arrows([column])
            left, width = _MARGIN + column * self.column + _INSET, self.column - 2 * _INSET
            self.front.append(_rect((left, self.y, width, 24), "#e2e8f0", "#cbd5e1", 12))
            name = _fit(f"{split} {self.sizes.get(split, '')}".strip(), width - 2 * _INSET, _SANS)
            middle = left + width / 2
            self.front.append(_text(middle, self.y + 16, name, 'text-anchor="middle" font-weight="600"'))
            self.ends[column] = self.y + 24
        self.branched = True
        self.y += 24 + _GAP

    def arrows(self, run: Sequence[int]) -> None:
        """Arrows from what came before in these columns; before the splits have columns, there is one way."""
        is_one = not self.branched and len(run) == self.columns
        for column in [run[0]] if is_one else run:
            if column in self.ends:
                x = self.width / 2 if is_one else _MARGIN + (column + 0.5) * self.column
                self.front.append(
                    f'<path d="M{x:g} {self.ends[column]:g}V{self.y - 5:g}" stroke="#7c8594" stroke-width="1.5"/>'
                    f'<path d="M{x - 4:g} {self.y - 6:g}h8l-4 6z" fill="#7c8594"/>'
                )

    def lane(self, place: str, top: float) -> None:
        fill, stroke = _COLOURS[place]
        self.back.append(_rect((6, top, self.width - 12, self.y - top), fill, stroke, 8))
        # The title lies on top of the arrows, which may come through it.
        self.front.append(
            f'<rect x="12" y="{top + 5:g}" width="{_wide(place) * 6.4 + 8:g}" height="15" fill="{fill}"/>'
        )
        self.front.append(_text(16, top + 17, _clean(place), f'fill="{_INK[place]}" font-size="11" font-weight="600"'))

    def text(self, seed: int) -> str:
        size = f'width="{self.width:g}" height="{self.y + 18:g}" viewBox="0 0 {self.width:g} {self.y + 18:g}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" style="max-width:100%;height:auto" {_FONT}>'
        foot = _text(16, self.y + 8, f"seed {seed}", 'fill="#7c8594" font-size="11"')
        return "\n".join([head, "<title>fdm pipeline</title>", *self.back, *self.front, foot, "</svg>"])


def _rect(box: tuple[float, float, float, float], fill: str, stroke: str, radius: float = 5) -> str:
    x, y, width, height = box
    size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"'
    return f'<rect {size} fill="{fill}" stroke="{stroke}"/>'


def _text(x: float, y: float, inside: str, more: str) -> str:
    fill = "" if "fill=" in more else ' fill="#111827"'
    return f'<text x="{x:g}" y="{y:g}"{fill} {more}>{inside}</text>'


def _fit(text: str, room: float, each: float) -> str:
    """As much of a text as has room, escaped, with an ellipsis for the rest."""
    if _wide(text) * each <= room:
        return _clean(text)
    kept = ""
    for char in text:
        if _wide(f"{kept}{char}…") * each > room:
            break
        kept += char
    return f"{_clean(kept)}…"


def _wide(text: str) -> int:
    """The width of a text in narrow characters; those of East Asia are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _clean(text: str) -> str:
    """Text that may stand in XML: escaped, without the control characters that XML cannot have."""
    return escape("".join(char if _is_legal(char) else "\N{REPLACEMENT CHARACTER}" for char in text))


def _is_legal(char: str) -> bool:
    return char in "\t\n" or (char >= " " and not "\ud800" <= char <= "\udfff" and char not in "\ufffe\uffff")


_MARGIN, _INSET, _GAP, _TITLE = 14, 8, 14, 28
_COLUMN, _MIN_WIDTH, _MOST = 120, 420, 560  # pixels: the narrowest column and picture, and what one text may ask for
_SANS, _MONO = 7.8, 7.0  # pixels that a narrow character takes at most, in the two fonts
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
