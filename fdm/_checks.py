"""Checks of what users give: integers, texts, switches, one of some; each by itself, and as a field of a record."""

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs

from ._errors import FdmError, did_you_mean, listed
from ._text import short


def integer(what: str, value: Any, error: type[FdmError], least: int | None = None, most: int | None = None) -> int:
    """`value` as Python's integer, from anything that counts as one, such as numpy's; a bool does not.

    Raises `error` for anything else, for less than `least` or more than `most`, and for what is too long to be written.

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
        msg = f"{what} is {wanted}, not {short(value, 60)}"
        raise error(msg)
    if checked.bit_length() > LONGEST or (most is not None and checked > most):
        msg = f"{what} is an integer of at most {f'{LONGEST} bits' if most is None else most}, not {short(checked, 60)}"
        raise error(msg)
    return checked


def index(value: Any) -> int:
    """`value` as Python's integer, as an index is: `TypeError` for what is none, `IndexError` for what nothing has."""
    number = operator.index(value)
    if number.bit_length() > LONGEST:
        msg = f"nothing has the index {short(number, 60)}"
        raise IndexError(msg)
    return number


LONGEST = 512  # bits of an integer: floats and messages can hold it, and its decimal digits


def one_of(what: str, value: Any, error: type[FdmError], known: Sequence[str]) -> str:
    """`value` if it is one of the `known` ones; else raises `error`, with the nearest of them."""
    for each in known:
        if isinstance(value, str) and value == each:
            return each
    hint = did_you_mean(value, known) if isinstance(value, str) else ""
    msg = f"{what} is one of {listed(known)}, not {short(value, 100)}{hint}"
    raise error(msg)


def text(what: str, value: Any, error: type[FdmError]) -> str:
    """`value` if it is a string that is not empty; `what` is the beginning of the sentence that says so.

    >>> from fdm import PipelineError
    >>> text("split: of is the name of a split", 3, PipelineError)
    Traceback (most recent call last):
    ...
    fdm.PipelineError: split: of is the name of a split, not 3
    """
    if not isinstance(value, str) or not value:
        msg = f"{what}, not {short(value, 100)}"
        raise error(msg)
    return value


def switch(what: str, value: Any, error: type[FdmError]) -> bool:
    """`value` if it is True or False; else raises `error`."""
    if not isinstance(value, bool):
        msg = f"{what} is True or False, not {short(value, 100)}"
        raise error(msg)
    return value


def switch_or_none(what: str, value: Any, error: type[FdmError]) -> bool | None:
    """`value` if it is True, False, or None for what is usual; else raises `error`."""
    if value is not None and not isinstance(value, bool):
        msg = f"{what} is None, True or False, not {short(value, 100)}"
        raise error(msg)
    return value


Field: TypeAlias = dict[str, Any]
"""Keywords for `attrs.field`: mypy knows no `attrs.Converter` where it stands as one."""


def checked(check: Callable[..., Any], error: type[FdmError], what: str = "{kind}: {field}", **options: Any) -> Field:
    """A field that is `check(what, value, error, **options)` however its record is made: by its class, or evolved.

    In `what`, `{kind}` is the record's kind, and `{field}` the name of the field.

    >>> import attrs
    >>> from fdm import DataError
    >>> @attrs.frozen
    ... class Windows:
    ...     size: int = attrs.field(**checked(integer, DataError, "Windows: {field}", least=1))
    >>> attrs.evolve(Windows(3), size=0)
    Traceback (most recent call last):
    ...
    fdm.DataError: Windows: size is an integer of at least 1, not 0
    """

    def convert(value: Any, record: Any, field: "attrs.Attribute[Any]") -> Any:
        return check(what.format(kind=getattr(record, "kind", ""), field=field.name), value, error, **options)

    convert.__annotations__["value"] = check.__annotations__["return"]  # for help pages
    return converted(convert)


def converted(convert: Callable[[Any, Any, "attrs.Attribute[Any]"], Any]) -> Field:
    """A field that is `convert(value, record, field)` however its record is made; the record is not whole then."""
    return {"converter": attrs.Converter(convert, takes_self=True, takes_field=True)}


def or_none(field: Field) -> Field:
    """The field, or None."""
    return {"converter": attrs.converters.optional(field["converter"])}
