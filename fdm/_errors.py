"""The errors that fdm raises, all below `FdmError`.

    Exception
    └── FdmError
        ├── PipelineError (ValueError)        a stage or a pipeline that cannot be
        │   └── ParameterError (TypeError)    parameters that a function does not take
        ├── DataError (ValueError)            data that does not fit: columns, rows, splits
        │   └── UnknownNameError (KeyError)   a split, column or fact that is not there
        ├── AccessError (AttributeError)      an attribute that is not there, or cannot be set
        ├── SnapshotError (ValueError)        a snapshot of something else
        ├── ContextError (ValueError)         ranks or launcher variables that contradict each other
        ├── StoreError (OSError)              an artifact that cannot be written or read
        ├── DownloadError (OSError)           a file that cannot be had from any of its URLs, or is not what it should be
        ├── PoisonError (RuntimeError)        a part that ended the process it ran in, every time it was tried
        ├── WorkerError (RuntimeError)        a worker process that died, or an error of one that cannot be told as itself
        ├── StopError (RuntimeError)          a user's function that raised StopIteration, SystemExit or GeneratorExit
        ├── PreparationError (RuntimeError)   the process that prepares for this one failed; has its true cause
        └── LawError (AssertionError)         a law that a pipeline breaks; has the report

Errors raised inside a user's function keep their own type and carry a note that says where they happened.
"""

import inspect
import signal
import traceback
import warnings
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from types import TracebackType
from typing import Any, Self

from ._public import is_file_of_fdm, public
from ._text import printable, short, visible, without_secrets


@public
class FdmError(Exception):
    """The root of all errors that fdm raises itself.

    What it says may be printed: without secrets in URLs, and with control characters escaped.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(printable(arg) if isinstance(arg, str) else arg for arg in args))


@public
class PipelineError(FdmError, ValueError):
    """A stage or a pipeline that cannot be: wrong order, sizes or functions."""


@public
class ParameterError(PipelineError, TypeError):
    """Parameters that the stage's function does not take, or lacks."""


@public
class DataError(FdmError, ValueError):
    """Data that does not fit the pipeline, or an access that the data does not have."""


@public
class UnknownNameError(DataError, KeyError):
    """A split, column or fact that is not there; the message lists those that are."""

    # KeyError shows the repr of its argument, which would print a sentence in quotes.
    __str__ = Exception.__str__


@public
class AccessError(FdmError, AttributeError):
    """An attribute that a value does not have, and another library's would, or that cannot be set."""


@public
class SnapshotError(FdmError, ValueError):
    """A snapshot that belongs to another pipeline, split or epoch, or is none."""


@public
class ContextError(FdmError, ValueError):
    """A rank context, or launcher variables, that contradict themselves."""


@public
class StoreError(FdmError, OSError):
    """An artifact that cannot be written, published or read."""


@public
class DownloadError(FdmError, OSError):
    """A file that cannot be had from any of its URLs, has another digest, or cannot be unpacked safely."""


@public
class PoisonError(FdmError, RuntimeError):
    """A part that ended the process it ran in every time it was tried."""


@public
class WorkerError(FdmError, RuntimeError):
    """A worker process that died, or an error in one whose own type cannot travel between processes."""


@public
class StopError(FdmError, RuntimeError):
    """A function of the user's raised what ends more than itself; has it as cause.

    That is `StopIteration`, which a loop around it would take for its own end, `SystemExit`, which would end the process
    in silence and perhaps as if all were well, or `GeneratorExit`.
    """


@public
class PreparationError(FdmError, RuntimeError):
    """The process that this one waited for, while it prepared an artifact, failed; the message has its true cause."""


@public
class LawError(FdmError, AssertionError):
    """Laws that a pipeline breaks; the message is the table of all laws, and `report` has their verdicts."""

    def __init__(self, message: str, report: object = None) -> None:
        super().__init__(message)
        self.report = report


def listed(names: Iterable[object]) -> str:
    """Names as a message shows them: sorted and quoted, or the word none.

    >>> listed(["val", "train"])
    "'train', 'val'"
    >>> listed([])
    'none'
    """
    return ", ".join(sorted(map(repr, names))) or "none"


def did_you_mean(wrong: object, names: Iterable[object]) -> str:
    """A hint in brackets when one of `names` looks like `wrong`, else nothing.

    >>> did_you_mean("trian", ["train", "val"])
    " (did you mean 'train'?)"
    """
    close = get_close_matches(str(wrong), [str(name) for name in names], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def unknown(kind: str, name: object, there: Collection[object]) -> str:
    """What a message says of a name that is not there: a hint, and those that are.

    >>> unknown("split", "trian", ["train", "val"])
    "there is no split 'trian' (did you mean 'train'?); the splits are 'train', 'val'"
    """
    return f"there is no {kind} {name!r}{did_you_mean(name, there)}; the {kind}s are {listed(there)}"


def warn(message: str) -> None:
    """Warn (`UserWarning`) at the line outside of fdm that led here."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and is_file_of_fdm(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    warnings.warn(printable(message), stacklevel=level)


def text_of(error: object) -> str:
    """What an error says, also where saying it raises another one.

    >>> text_of(ValueError("bad row"))
    'bad row'
    """
    try:
        return str(error)
    except Exception as other:  # noqa: BLE001 - a `__str__` of the user's may raise anything
        return f"<its text cannot be shown: a {type(other).__name__} was raised>"


class StageNote(str):  # noqa: SLOT000 - a slot would be lost where it is pickled
    """A note on an error that knows the `number` of the stage which it names, also in another process."""

    number: int

    def __new__(cls, text: str, number: int) -> Self:
        """The text of the note, and the number that stands in it."""
        note = super().__new__(cls, text)
        note.number = number
        return note

    def __reduce__(self) -> Any:
        return StageNote, (str(self), self.number)


def stage_note(number: int, what: str, place: str = "") -> StageNote:
    """The note on an error in a stage: its number, what was done there, and where in a run that was.

    >>> stage_note(3, "transform normalize()", "split 'train', epoch 0, example 7")
    "in stage 3, transform normalize(); split 'train', epoch 0, example 7"
    """
    return StageNote(visible(without_secrets(f"in stage {number}, {what}{'; ' if place else ''}{place}")), number)


def stage_of(error: BaseException) -> int | None:
    """The number of the stage that an error's notes name: the innermost one; None if they name none.

    What the user's own notes say does not count.
    """
    return next((note.number for note in notes_of(error) if isinstance(note, StageNote)), None)


def notes_of(error: BaseException) -> list[str]:
    """The notes of an error, also where somebody has put something else than a list of strings there.

    >>> error = ValueError("bad row")
    >>> error.__notes__ = "of the first file"
    >>> notes_of(error)
    ['of the first file']
    """
    found = getattr(error, "__notes__", None)
    notes = found if isinstance(found, list | tuple) else [] if found is None else [found]
    return [each if isinstance(each, str) else text_of(each) for each in notes]


def add_note(error: BaseException, text: str) -> None:
    """As `error.add_note`, of what may be printed, also where the error's notes are no list, or nobody may set them."""
    vars(error)["__notes__"] = [*notes_of(error), text if isinstance(text, StageNote) else printable(text)]


def note(error: BaseException, where: str) -> None:
    """Add to an error where it happened.

    Raises `StopError` from a `StopIteration`: whatever it passed through next would take it for the end of its data; and
    from a `SystemExit` or `GeneratorExit` of the user's function, but not from one of a handler of signals.
    """
    if (stopped := stop_of(error)) is None:
        add_note(error, where)
        return
    stopped.add_note(where)
    raise stopped from error


def stop_of(error: BaseException) -> StopError | None:
    """The error to raise in place of one that would end more than the function that raised it; None for others."""
    if isinstance(error, StopIteration):
        return StopError(
            "StopIteration was raised where an item was to be made, and a loop would take it for the end of the data; is "
            "there a next(...) without a default? Write next(items, None), or raise another error"
        )
    if isinstance(error, SystemExit | GeneratorExit) and not _is_of_a_signal(error):
        code = f" with {short(text_of(error), 200)}" if text_of(error) else ""
        return StopError(
            f"{type(error).__name__} was raised{code} in a function of the pipeline, whose end is not that of the process; "
            f"raise another error where something is wrong, and return where nothing is"
        )
    return None


def _is_of_a_signal(error: BaseException) -> bool:
    """Whether an error was raised by a handler of signals, which may come while any function runs."""
    handlers = (signal.getsignal(each) for each in signal.valid_signals())
    codes = {getattr(handler, "__code__", None) for handler in handlers} - {None}
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


class noted:  # noqa: N801 - reads as what it does
    """A context that notes where it happened on an error that passes through, as `note` does, and lets it pass."""

    # No generator, since contextlib takes a RuntimeError from a StopIteration for one of Python's own, and drops it.
    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            note(error, self._where)
