"""Text: columns, charts, cut-off text, plain JSON values and pieces of HTML, for people and logs."""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any


def visible(text: str) -> str:
    r"""A text on one line in which nothing moves the cursor, hides or turns round: such characters as Python escapes them.

    These are control characters, line breaks, marks of writing direction, lone surrogates, and whatever else has no form
    of its own; `repr` escapes the same.

    >>> print(visible("a\x1b[2J\u202eb"), visible("日本 é"))
    a\x1b[2J\u202eb 日本 é
    """
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def printable(text: str) -> str:
    r"""A text of several lines as it may be printed, logged or kept: each of them `visible`, and without secrets in URLs.

    >>> print(printable("one\ntwo\a https://me:pw@example.org"))
    one
    two\x07 https://example.org
    """
    return "\n".join(map(visible, without_secrets(text).split("\n")))


def without_secrets(text: str) -> str:
    """A text whose URLs are without user and password, and with stars for what their queries say.

    >>> without_secrets("see https://me:pw@example.org/a.csv?token=abc&v=1, or a/b?c")
    'see https://example.org/a.csv?token=***&v=***, or a/b?c'
    """
    return _RUN.sub(lambda run: _bare(run[0]), text) if "/" in text else text


def bare_url(url: str) -> str:
    """A text that is one URL, or was to be one, without its secrets, whatever characters are in them.

    >>> bare_url("https://me:my 'pw@example.org/a"), bare_url("me:pw@example.org")
    ('https://example.org/a', 'example.org')
    """
    return _bare(url) if "://" in url else _bare(f"://{url}").removeprefix("://")


def aligned(rows: Iterable[Sequence[object]], indent: str = "  ", right: Collection[int] = ()) -> list[str]:
    """Rows as lines with their columns one below the other; numbers stand at the right, and so do the columns `right`.

    >>> aligned([["a", 1], ["bcd", 22]])
    ['  a     1', '  bcd  22']
    """
    texts = [
        [(_shown(cell), isinstance(cell, int | float) or column in right) for column, cell in enumerate(row)]
        for row in rows
    ]
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
        (name, count, f"{_share(count, total):5.1%}", bar(_share(count, most), width)) for name, count in counts.items()
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


def number(value: object) -> str:
    """A number to five digits, and anything else as it says itself."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def cut(text: str, most: float, width: Callable[[str], float] = len, dots: str = "...") -> str:
    """A text that is no wider than `most`: where it is longer, its beginning and dots.

    >>> cut("abcdefgh", 6)
    'abc...'
    """
    if width(text) <= most:
        return text
    fitting = bisect_right(range(len(text)), most, key=lambda length: width(text[:length] + dots))
    return text[: max(0, fitting - 1)] + dots


def short(value: object, most: int) -> str:
    """What a value's repr says, on one line of at most `most` characters, without secrets in URLs.

    These go before the text is cut: of half a URL nobody can tell where its password ends.

    >>> short(["https://me:pw@example.org"], 40)
    "['https://example.org']"
    """
    return cut(visible(" ".join(without_secrets(_repr(value)).split())), most)


def _repr(value: object) -> str:
    """What a value's repr says, or where there is none, such as of an integer that is too long, what it is."""
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a user's own, or Python's limit on digits
        bits = f" of {value.bit_length():,} bits" if isinstance(value, int) else ""
        return f"<{type(value).__name__}{bits}, whose repr raises {type(error).__name__}>"


def shortened(text: str, most: int) -> str:
    """A text on one line of at most `most` characters, the middle left out where it is longer; no secrets in URLs.

    >>> shortened("a long story, which has an end", 20)
    'a long stor...n end'
    """
    line = " ".join(without_secrets(text).splitlines())
    if len(line) <= most:
        return line
    end = (most - 3) // 3
    return f"{line[: most - 3 - end]}...{line[len(line) - end :]}"


def plain(value: Any, otherwise: Callable[[Any], Any] = repr) -> Any:
    """A value as JSON has it; inside of it what JSON has no form for, NaN too, is what `otherwise` makes of it.

    >>> plain({"x": float("nan"), "y": (1, {2})})
    {'x': 'nan', 'y': [1, '{2}']}
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float() if isfinite(value):
            return value
        case Mapping() if all(isinstance(name, str) for name in value):
            return {name: plain(item, otherwise) for name, item in value.items()}
        case list() | tuple():
            return [plain(item, otherwise) for item in value]
        case _:
            return otherwise(value)


def table(head: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> str:
    """A table in HTML, with a row of headings, and a title above; everything is escaped.

    >>> "&lt;b&gt;" in table(["name"], [["<b>"]])
    True
    """
    headings = "".join(f'<th style="{_CELL}">{escape(visible(name))}</th>' for name in head)
    cells = ("".join(f'<td style="{_CELL}">{escape(visible(str(cell)))}</td>' for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"{_table(title)}<thead><tr>{headings}</tr></thead><tbody>{body}</tbody></table>"


def bars(counts: Mapping[str, int], title: str = "") -> str:
    """`chart` in HTML.

    >>> "75.0%" in bars({"train": 3, "val": 1})
    True
    """
    most, total = max(counts.values(), default=0), sum(counts.values())
    rows = (
        f'<tr><td style="{_CELL}">{escape(visible(name))}</td>'
        f'<td style="{_CELL};width:220px"><div style="{_BAR};width:{_share(count, most):.1%}"></div></td>'
        f'<td style="{_CELL};text-align:right">{count:,}</td>'
        f'<td style="{_CELL};text-align:right;opacity:.7">{_share(count, total):.1%}</td></tr>'
        for name, count in counts.items()
    )
    return f"{_table(title)}<tbody>{''.join(rows)}</tbody></table>"


def page(title: str, *pieces: str) -> str:
    """A title in bold, and pieces of HTML below each other."""
    return f"<div><b>{escape(visible(title))}</b>{''.join(pieces)}</div>"


def hidden(title: str, piece: str) -> str:
    """A piece of HTML that opens on a click on its title."""
    return f"<details><summary>{escape(visible(title))}</summary>{piece}</details>"


def _shown(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else visible(number(cell))


def _bare(run: str) -> str:
    """A run of characters without blanks, as `without_secrets` has it."""
    place, mark, query = run.partition("?")
    first, *others = place.split("://")
    place = "://".join([first, *map(_without_login, others)])
    if others and "#" in place:
        above, _, fragment = place.partition("#")
        place = f"{above}#{_starred(fragment) if '=' in fragment else fragment}"
    is_query = others or ("=" in query and "/" in place)
    return place + mark + (_starred(query) if is_query else query)


def _without_login(rest: str) -> str:
    """What comes after `://`, without user and password; a password may have a slash in it, or be cut off."""
    authority = _END.split(rest, maxsplit=1)[0]
    if "@" in authority:
        return rest[authority.rindex("@") + 1 :]
    host, colon, port = authority.partition(":")
    if not colon or host.startswith("[") or _PORT.fullmatch(port):
        return rest
    return rest.rpartition("@")[2] if "@" in rest else f"{host}:{STARS}"


def _starred(query: str) -> str:
    """The entries of a query with stars for their values; those without a name are values."""
    entries = query.rstrip(_CLOSING)
    return _ENTRY.sub(_starred_entry, entries) + query[len(entries) :]


def _starred_entry(entry: re.Match[str]) -> str:
    name, equals, value = entry[0].partition("=")
    return name + equals + (STARS if value else "") if equals else STARS


def _padded(text: str, is_right: bool, width: int) -> str:
    return text.rjust(width) if is_right else text.ljust(width)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _table(title: str) -> str:
    caption = f'<caption style="text-align:left;font-weight:600">{escape(visible(title))}</caption>' if title else ""
    return f'<table style="{_TABLE}">{caption}'


STARS = "***"
"""What stands in place of a secret."""
_RUN = re.compile(r'[^\s"<>]+')
_END = re.compile("[/?#]")  # of the part of a URL that names user and host
_PORT = re.compile(r"\d*[^\w%]*")  # with what may stand behind a URL
_ENTRY = re.compile("[^&;#]+")
_CLOSING = "'),.;:]}"
# Colours are the page's own but for the bars, so light and dark pages can both be read.
_CELL = "text-align:left;padding:2px 10px 2px 0"
_BAR = "height:10px;border-radius:2px;background:#6366f1"
_TABLE = "border-collapse:collapse;margin:4px 0 8px 0;background:none;color:inherit;font-size:inherit"
