"""Terminal text: plain values as aligned columns and charts of characters."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ._html import share


def aligned(rows: Iterable[Sequence[object]], indent: str = "  ") -> list[str]:
    """Rows as lines with their columns one below the other; numbers stand at the right.

    >>> aligned([["a", 1], ["bcd", 22]])
    ['  a     1', '  bcd  22']
    """
    texts = [[(_shown(cell), isinstance(cell, int | float)) for cell in row] for row in rows]
    widths = [max(len(text) for text, _ in column) for column in zip(*texts, strict=True)]
    return [
        (indent + "  ".join(_padded(*cell, width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in texts
    ]


def chart(counts: Mapping[str, int], width: int = 30) -> list[str]:
    """Counts as a chart: a bar for each name, with the number and its share of all.

    >>> chart({"train": 30, "val": 10}, width=4)
    ['  train  30  75.0%  ████', '  val    10  25.0%  █▍']
    """
    most, total = max(counts.values(), default=0), sum(counts.values())
    return aligned(
        (name, count, f"{share(count, total):5.1%}", bar(share(count, most), width)) for name, count in counts.items()
    )


def bar(part: float, width: int) -> str:
    """A bar of eighths of a character; of anything at all the least one.

    >>> bar(0.5, 3), bar(0.0, 3), bar(1e-9, 3)
    ('█▌', '', '▏')
    """
    eighths = max(round(part * width * 8), 1 if part > 0 else 0)
    return "█" * (eighths // 8) + "▏▎▍▌▋▊▉"[eighths % 8 - 1 : eighths % 8]


def legible(text: str, encoding: str | None) -> str:
    """A text with bars of ASCII characters where an encoding has no others.

    >>> legible("██▍", "ascii"), legible("█", "utf-8")
    ('##.', '█')
    """
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return text.translate(str.maketrans("█▉▊▋▌▍▎▏", "#####..."))
    return text


def size(count: float) -> str:
    """A number of bytes with a unit.

    >>> size(512), size(1536), size(3 << 30)
    ('512 B', '1.5 KiB', '3.0 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def entry(about: Mapping[str, Any]) -> list[str]:
    """A leaf of a batch, as `structure` describes it, in columns: name, type, shape, and what else there is."""
    shape = "x".join(map(str, about["shape"])) if "shape" in about else ""
    kind = about.get("dtype", "") if about["type"] == "tensor" else f"{about['type']} {about.get('dtype', '')}".strip()
    rows = f"{about['rows']} rows of {about['shortest']} to {about['longest']}" if "rows" in about else ""
    return [about["name"], kind, shape, about.get("device", ""), rows]


def _padded(text: str, is_number: bool, width: int) -> str:
    return text.rjust(width) if is_number else text.ljust(width)


def _shown(cell: object) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return f"{cell:.5g}" if isinstance(cell, float) else str(cell)
