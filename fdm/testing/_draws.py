"""Draws from keys: which are made while functions run, and which of them are equal because they come from one key."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import attrs

from .._random.key import Key


@attrs.frozen(eq=False)
class Draw:
    """A draw: from which key, by which method, by which call of a function and on which line of it."""

    key: str
    method: str
    frame: FrameType
    line: int


@contextmanager
def recorded_draws() -> Iterator[list[Draw]]:
    """The draws that this process makes from keys meanwhile, those from keys of keys too."""
    draws: list[Draw] = []
    draw: Any = Key._draw  # noqa: SLF001 - what all methods that draw go through

    def recording(key: Key, domain: int, shape: tuple[int, ...], width: int) -> Any:
        frame, method = _who_draws(sys._getframe(1))  # noqa: SLF001 - as above
        if frame is not None:
            draws.append(Draw(str(key._words()), method, frame, frame.f_lineno))  # noqa: SLF001 - as above
        return draw(key, domain, shape, width)

    with patch.object(Key, "_draw", recording):
        yield draws


def _who_draws(frame: FrameType | None) -> tuple[FrameType | None, str]:
    """The call of a function that draws, which may be one of fdm's own, and the method of the key that it calls."""
    method = ""
    while frame is not None and frame.f_code.co_filename == Key.uniform.__code__.co_filename:
        method = frame.f_code.co_name
        frame = frame.f_back
    return frame, method


def again_in(draws: Sequence[Draw]) -> str | None:
    """Where one call of a function draws by one method from one key again; None where none does.

    Two functions, or two calls of one, may mean to draw the same: a crop for an image, and for its mask.
    """
    before: dict[tuple[str, str, int], Draw] = {}
    for draw in draws:
        first = before.setdefault((draw.key, draw.method, id(draw.frame)), draw)
        if first is not draw:
            lines = f"on line {draw.line}" if draw.line == first.line else f"on lines {first.line} and {draw.line}"
            code = draw.frame.f_code
            return (
                f"{code.co_name} draws {draw.method} from one key twice, {lines} of {Path(code.co_filename).name}, and gets the "
                f"same numbers"
            )
    return None
