"""Failures: an error as the few lines that the command line says of it, without a traceback."""

import re
import sys
import traceback
from types import FrameType

from .._errors import FdmError, notes_of, text_of
from .._fingerprint.imports import is_own_code
from .._public import is_file_of_fdm


def failure_lines(error: BaseException) -> list[str]:
    """What went wrong, where in the user's code, and the notes that say in which stage.

    >>> failure_lines(ValueError("bad row"))
    ['fdm: error: ValueError: bad row']
    """
    text = _plain(error) if isinstance(error, FdmError) else _named(error)
    first, *more = text.splitlines() or [type(error).__name__]
    notes = [line for note in notes_of(error) for line in _note_lines(note)]
    return [f"fdm: error: {first}", *(f"  {line}" for line in [*more, *_places(error), *notes])]


def _note_lines(note: str) -> list[str]:
    """The lines of a note; of the traceback of another process, the last line of the user's code."""
    if "Traceback (most recent call last)" not in note:
        return note.splitlines()
    found = [match for match in _FRAME.findall(note) if not is_file_of_fdm(match[0]) and match[0][0] != "<"]
    return [f"at {file}:{line}, in {name}" for file, line, name in found[-1:]]


def _plain(error: FdmError) -> str:
    """The message alone; Python puts the number of an `OSError` in front."""
    return str(error.strerror) if isinstance(error, OSError) and error.strerror else str(error)


def _named(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else text_of(error)
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def _places(error: BaseException) -> list[str]:
    """The line of the user's code at which an error arose; for a syntax error, the one that cannot be read."""
    if isinstance(error, SyntaxError) and error.filename:
        code = [f"  {error.text.strip()}"] if error.text else []
        return [f"at {error.filename}:{error.lineno}", *code]
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__) if _is_users(frame)]
    return [f"at {code.co_filename}:{line}, in {code.co_name}" for code, line in frames[-1:]]


def _is_users(frame: FrameType) -> bool:
    name, file = frame.f_globals.get("__name__", ""), frame.f_code.co_filename
    if name == "__main__" or file.startswith("<") or is_file_of_fdm(file):
        return False
    module = sys.modules.get(name)
    return module is None or is_own_code(module)


_FRAME = re.compile(r'File "(.+)", line (\d+), in (\S+)')
