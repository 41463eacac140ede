"""Errors of worker processes on their way to the loop, which raises them as they were."""

import io
import pickle
import traceback
from contextlib import suppress
from typing import Any

import attrs

from .._errors import WorkerError, notes_of, text_of
from .._text import printable


@attrs.frozen(eq=False)
class WorkerFailure:
    """An error of a worker, with its notes, which a `__reduce__` of its own may lose, and its traceback there."""

    pickled: bytes
    notes: list[str]
    text: str

    @classmethod
    def of(cls, error: BaseException) -> "WorkerFailure":
        """The failure as it can be sent: where the error itself cannot, a `WorkerError` that tells of it."""
        text = printable("".join(traceback.format_exception(error)))
        notes = notes_of(error)
        for pickled_by in (pickle.dumps, _pickled_error):
            # A user's exception may fail to be pickled, or to be made again, in any way it likes.
            with suppress(Exception):
                sent = pickled_by(error)
                made = pickle.loads(sent)
                if type(made) is type(error) and str(made) == str(error):
                    return cls(sent, notes, text)
        told = WorkerError(f"{type(error).__name__} in a worker process: {text_of(error)}")
        return cls(pickle.dumps(told), notes, text)

    def reraise(self) -> None:
        """Raise the error here, with what it was told there."""
        error = pickle.loads(self.pickled)
        vars(error)["__notes__"] = self.notes
        raise error from _InWorkerError(self.text)


class _Pickler(pickle.Pickler):
    """Sends exceptions so that they are made without their `__init__`, which may want other arguments than it keeps."""

    def reducer_override(self, obj: Any) -> Any:
        return (_rebuilt, (type(obj), obj.args, vars(obj))) if isinstance(obj, BaseException) else NotImplemented


def _pickled_error(error: BaseException) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer).dump(error)
    return buffer.getvalue()


def _rebuilt(cls: type[BaseException], args: tuple[Any, ...], fields: dict[str, Any]) -> BaseException:
    made = cls.__new__(cls, *args)
    vars(made).update(fields)
    return made


class _InWorkerError(Exception):
    """Where in the worker it happened, shown above the error."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"
