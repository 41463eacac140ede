"""What is fdm's own, and by which names users know it: those that they import, not those of the modules below."""

from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar


ThingT = TypeVar("ThingT")


def public(thing: ThingT) -> ThingT:
    """A function or class of fdm, as what it is in `fdm`: in tracebacks, help pages, pickles and fingerprints.

    >>> import fdm
    >>> fdm.Table, fdm.download.__module__
    (<class 'fdm.Table'>, 'fdm')
    """
    named: Any = thing
    named.__module__ = public_module(named.__module__)
    return thing


def public_module(module: str) -> str:
    """The part of a module's path that users know, above what is private; modules of others are known by their whole path.

    >>> public_module("fdm.testing._laws"), public_module("fdm._arrays.table"), public_module("torch._ops")
    ('fdm.testing', 'fdm', 'torch._ops')
    """
    if not is_module_of_fdm(module):
        return module
    return ".".join(takewhile(lambda part: not part.startswith("_"), module.split(".")))


def is_module_of_fdm(module: str) -> bool:
    """Whether the module of this name is one of fdm."""
    return module.partition(".")[0] == _PACKAGE


def is_file_of_fdm(file: str) -> bool:
    """Whether a source file is one of fdm."""
    return Path(file).is_relative_to(_FOLDER)


_PACKAGE = __name__.partition(".")[0]
_FOLDER = Path(__file__).parent
