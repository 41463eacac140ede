"""SVG: a pipeline as a picture, stages from top to bottom, a column for each split."""

from collections.abc import Iterator, Sequence
from html import escape

from .._stages.stage import Stage
from .lanes import DEVICE, EXAMPLE, HOST, PROCESS, STORE, Box
from .layout import INSET, MONO, SANS, Frame, Layout, Row, layout, wide


def picture(stages: Sequence[Stage], seed: int) -> str:
    """The stages as SVG text, grouped by where they run; a stage that is limited to splits stands in their columns."""
    placed = layout(stages)
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


def _row(row: Row, placed: Layout) -> Iterator[str]:
    for run in row.runs:
        left, width = placed.span(run)
        if row.box is None:
            yield _rect((left, row.top, width, row.height), "#e2e8f0", "#cbd5e1", 12)
            name = _fit(placed.labels[run[0]], width - 2 * INSET, SANS)
            yield _text(left + width / 2, row.top + 16, name, 'text-anchor="middle" font-weight="600"')
        else:
            place = next(frame.place for frame in placed.frames if frame.bottom > row.top)
            yield _rect((left, row.top, width, row.height), "#ffffff", _COLOURS[place][1])
            yield from _stage(row.box, left + INSET, row.top, width - 2 * INSET)


def _stage(box: Box, left: float, top: float, room: float) -> Iterator[str]:
    """What a box says: number and kind, and below the function with its parameters, which tells all when pointed at."""
    kind = _fit(box.kind, room - 30, SANS)
    yield _text(left, top + 19, f'<tspan fill="#6b7280">{box.number}</tspan> {kind}', 'font-weight="600"')
    if box.text:
        line = _text(left, top + 36, _fit(box.text, room, MONO), _MONO_FONT)
        yield f"<g>{line}<title>{_clean(box.more)}</title></g>"


def _frame(frame: Frame, placed: Layout) -> str:
    fill, stroke = _COLOURS[frame.place]
    return _rect((6, frame.top, placed.width - 12, frame.bottom - frame.top), fill, stroke, 8)


def _title(frame: Frame) -> str:
    width, fill = wide(frame.place) * 6.4 + 8, _COLOURS[frame.place][0]
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
    if wide(text) * each <= room:
        return _clean(text)
    kept = ""
    for char in text:
        if wide(f"{kept}{char}…") * each > room:
            break
        kept += char
    return f"{_clean(kept)}…"


def _clean(text: str) -> str:
    """Text that may stand in XML: escaped, without the control characters that XML cannot have."""
    return escape("".join(char if _is_legal(char) else "\N{REPLACEMENT CHARACTER}" for char in text))


def _is_legal(char: str) -> bool:
    return char in "\t\n" or (char >= " " and not "\ud800" <= char <= "\udfff" and char not in "\ufffe\uffff")


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
