"""HTML: the small pieces that values show themselves with in a notebook; everything in them is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def table(head: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> str:
    """A table with a row of headings, and a title above.

    >>> "&lt;b&gt;" in table(["name"], [["<b>"]])
    True
    """
    caption = f'<caption style="text-align:left;font-weight:600">{escape(title)}</caption>' if title else ""
    headings = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(str(cell))}</td>' for cell in row) + "</tr>" for row in rows
    )
    return f'<table style="{_TABLE}">{caption}<thead><tr>{headings}</tr></thead><tbody>{body}</tbody></table>'


def bars(counts: Mapping[str, int], title: str = "") -> str:
    """Counts as a chart: a bar for each name, with the number and its share of all beside it.

    >>> "75.0%" in bars({"train": 3, "val": 1})
    True
    """
    most, total = max(counts.values(), default=0), sum(counts.values())
    rows = "".join(
        f'<tr><td style="{_CELL}">{escape(name)}</td>'
        f'<td style="{_CELL};width:220px"><div style="height:10px;border-radius:2px;background:#6366f1;'
        f'width:{share(count, most):.1%}"></div></td>'
        f'<td style="{_CELL};text-align:right">{count:,}</td>'
        f'<td style="{_CELL};text-align:right;opacity:.7">{share(count, total):.1%}</td></tr>'
        for name, count in counts.items()
    )
    caption = f'<caption style="text-align:left;font-weight:600">{escape(title)}</caption>' if title else ""
    return f'<table style="{_TABLE}">{caption}<tbody>{rows}</tbody></table>'


def page(title: str, *pieces: str) -> str:
    """A title in bold, and pieces of HTML below each other."""
    return f"<div><b>{escape(title)}</b>{''.join(pieces)}</div>"


def hidden(title: str, piece: str) -> str:
    """A piece of HTML that opens on a click on its title."""
    return f"<details><summary>{escape(title)}</summary>{piece}</details>"


def share(part: int, whole: int) -> float:
    """What part of the whole it is, 0 where there is nothing."""
    return part / whole if whole else 0.0


# Colours are the page's own but for the bars, so light and dark pages can both be read.
_CELL = "text-align:left;padding:2px 10px 2px 0"
_TABLE = "border-collapse:collapse;margin:4px 0 8px 0;background:none;color:inherit;font-size:inherit"
