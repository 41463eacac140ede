"""Attributes and operators that others have: the error for one says what to write here."""

from typing import TYPE_CHECKING, NoReturn

from .._errors import AccessError, ParameterError
from .names import NAMES


def missing(of: object, name: str) -> AttributeError:
    """The error for an attribute that a class or an instance does not have, which says what to write if others have it."""
    kind = of if isinstance(of, type) else type(of)
    for each in kind.__mro__:
        known = NAMES.get(each.__name__, {})
        instead = known.get(name) or known.get(f"{name.partition('_')[0]}_*")
        if instead:
            return AccessError(f"{kind.__name__} has no {name!r}: {instead}")
    text = f"type object {kind.__name__!r}" if of is kind else f"{kind.__name__!r} object"
    return AttributeError(f"{text} has no attribute {name!r}", name=name, obj=of)


class OtherNames:
    """Internal base of what others have attributes of that it has not: the error for one says what to write."""

    __slots__ = ()

    if not TYPE_CHECKING:  # else checkers would take any attribute for one that is there

        def __getattr__(self, name: str) -> NoReturn:
            raise missing(self, name)


class OtherConstructors(type):
    """Internal class of classes that others make by `from_...`: the error for such a name says what to write."""

    if not TYPE_CHECKING:

        def __getattr__(cls, name: str) -> NoReturn:
            raise missing(cls, name)


class OtherOperators:
    """Internal base of what others add or pipe: the error says how stages go together here."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __add__(self, _: object) -> NoReturn:
            msg = (
                "stages and pipelines are not added by an operator: write fdm.pipeline(a, b, ...), into which pipelines are "
                "spliced, or fdm.insert(p, stage), which puts a stage where it belongs"
            )
            raise ParameterError(msg)

        __radd__ = __or__ = __ror__ = __rshift__ = __rrshift__ = __add__
