"""Drawing: whether the examples of a source change with the global random state, found out by reading some twice."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from .._arrays.differences import copied, difference
from .._errors import warn
from .._random.ambient import seeded_alone
from .._random.key import Key
from .loaded import is_drawn, is_undisturbed, kind_of, own


def warn_of_drawing(sources: Mapping[str, Any], load: str) -> None:
    """Warn of sources of the stage `load` whose examples are not the same when they are read again.

    Looks at the first and the last example, under several random states, or where they are read under those of a stream
    under that of one, as long as that costs next to nothing. An error is not told here: it comes again where the example
    is wanted.
    """
    for name, source in sources.items():
        if len(source) and (is_drawn(source) or not is_undisturbed(source)):
            told = None
            with suppress(Exception, SystemExit, GeneratorExit):
                told = _change(own(source), len(source), [0] * _STATES if is_drawn(source) else range(_STATES))
            if told is not None:
                warn(f"{load}: in the source {name!r}, a {kind_of(source)}, {told}")


def _change(source: Any, size: int, seeds: Sequence[int]) -> str | None:
    """Which example changes between the random states of these seeds, how, and what to do; None where none does."""
    until = time.perf_counter() + _BUDGET
    for index in sorted({0, size - 1}):
        first = _read(source, index, seeds[0])
        for seed in seeds[1:]:
            if time.perf_counter() > until:
                return None
            how = difference(first, _read(source, index, seed))
            if how is not None:
                is_ambient = difference(first, _read(source, index, 0)) is None
                return _told(index, how, _AMBIENT if is_ambient else _ELSE)
    return None


def _read(source: Any, index: int, seed: int) -> Any:
    with seeded_alone(Key(seed, "drawing")):
        return copied(source[index])


def _told(index: int, how: str, remedy: str) -> str:
    return f"example {index} is another one each time it is read ({how}), so batches are not reproducible. {remedy}"


_AMBIENT = (
    "It draws from the global random state: write fdm.load(...).ambient(), which reads each example under a stream of its "
    "own, or move what is random into fdm.augment, whose key does the same"
)
_ELSE = (
    "What it depends on (a generator of its own, a counter, the time) cannot be seeded from outside: move what is random "
    "into fdm.augment, whose key names a stream for each example"
)
_BUDGET = 0.05  # seconds
_STATES = 8  # of which one alone keeps what a coin decides as it was once in 128 times
