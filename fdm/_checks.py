"""Checks of what users give: integers, and names that are one of some."""

import operator
from typing import Any

from ._errors import FdmError


def integer(what: str, value: Any, error: type[FdmError], least: int | None = None) -> int:
    """`value` as Python's integer, from anything that counts as one, such as numpy's; a bool does not.

    Raises `error` for anything else, and for less than `least`.

    >>> import numpy as np
    >>> from fdm import DataError
    >>> integer("windows: size", np.int8(3), DataError, least=1)
    3
    >>> integer("windows: size", 0, DataError, least=1)
    Traceback (most recent call last):
    ...
    fdm.DataError: windows: size is an integer of at least 1, not 0
    """
    try:
        checked = operator.index(value)
    except TypeError:
        checked = None
    if checked is None or isinstance(value, bool) or (least is not None and checked < least):
        wanted = "an integer" if least is None else f"an integer of at least {least}"
        msg = f"{what} is {wanted}, not {value!r:.60}"
        raise error(msg)
    return checked
