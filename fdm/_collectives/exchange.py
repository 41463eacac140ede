"""Exchange: values between the ranks of a process group, and what went wrong on one told to all."""

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias, TypeVar

import attrs
from torch import distributed

from .._arrays.differences import unlike
from .._errors import (
    ContextError,
    DataError,
    FdmError,
    PreparationError,
    StoreError,
    add_note,
    noted,
    notes_of,
    text_of,
)


Group: TypeAlias = Any  # a torch.distributed.ProcessGroup, a name that builds without torch.distributed do not have
T = TypeVar("T")


@attrs.frozen
class Ranks:
    """The ranks that exchange values in `function`: the global numbers of all, in order, and which of them this is.

    `times` counts the exchanges, so that each is told apart from those that other ranks may be at.
    """

    function: str
    group: Group
    numbers: tuple[int, ...] = (0,)
    at: int = 0
    times: Iterator[int] = attrs.field(factory=lambda: count(1), eq=False)

    def every(self, value: T) -> list[T]:
        """The values of all ranks, in order. Collective: all ranks call it, or all wait until the group gives up.

        Raises `PreparationError` where the group does, and `DataError` on every rank where one is at another call.
        """
        if self.group is None:
            return [value]
        sent = self.function, next(self.times), value
        found: list[Any] = [None] * len(self.numbers)
        note = (
            f"in {self.function} on {self.name(self.at)}, which waits for every rank of its group; one may have ended"
        )
        with noted(note):
            try:
                distributed.all_gather_object(found, sent, group=self.group)
            except RuntimeError as error:
                msg = f"the ranks could not exchange values: {type(error).__name__}: {text_of(error)}"
                raise PreparationError(msg) from error
        self._check_same_call(found)
        return [value for _, _, value in found]

    def _check_same_call(self, found: Sequence[Any]) -> None:
        """Raise on every rank alike unless all are at the same exchange of the same call."""
        calls: dict[str, list[str]] = {}
        for number, each in zip(self.numbers, found, strict=True):
            calls.setdefault(_call(each), []).append(str(number))
        if len(calls) > 1:
            words = "; ".join(f"{call} on {_ranks(numbers)}" for call, numbers in calls.items())
            msg = (
                f"the ranks are not at the same call: {words}. Every rank of the group makes the same collective calls in "
                f"the same order, also one that has no batches"
            )
            raise DataError(msg)

    def name(self, at: int) -> str:
        """What messages call a rank."""
        return f"rank {self.numbers[at]}"


def ranks_of(function: str, group: Group) -> Ranks:
    """The ranks of a group, by default of all processes; without an initialised `torch.distributed`, this one alone.

    Raises `ContextError` on a process that is not in the group.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return Ranks(function, None)
    group = distributed.group.WORLD if group is None else group
    at = distributed.get_rank(group)
    if at < 0:
        msg = f"{function}: this process is not in the group; call it on the ranks of the group only"
        raise ContextError(msg)
    return Ranks(function, group, tuple(distributed.get_process_group_ranks(group)), at)


def _call(sent: Any) -> str:
    """What messages call an exchange that a rank is at."""
    if not (isinstance(sent, tuple) and len(sent) == 3 and isinstance(sent[0], str)):
        return "a collective call of torch's"
    return f"{sent[0]}, exchange {sent[1]}" if sent[1] != 1 else sent[0]


def _ranks(numbers: Sequence[str]) -> str:
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(numbers[:_SHOWN])}{more}"


def attempted(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """What `work` returns, or the error that it raises, which `agree` then tells to all ranks."""
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001 - told to every rank, and raised there
        return None, error


Verdict: TypeAlias = tuple[str, str] | None  # the name of an error's type, and its words; None where all is well


def told(error: Exception | None) -> Verdict:
    """An error in words that can travel; None for none."""
    if error is None:
        return None
    kind = next((name for name, kind in _KINDS.items() if isinstance(error, kind)), "")
    said = (error.strerror or "") if isinstance(error, StoreError) else text_of(error)
    words = said if isinstance(error, FdmError) else f"{type(error).__name__}: {text_of(error)}"
    return kind, "; ".join([words, *notes_of(error)])


def agree(ranks: Ranks, verdicts: Iterable[Verdict], error: Exception | None) -> None:
    """Raise on every rank if `told` says that one failed: there its own error, elsewhere one that has its words.

    That is a `DataError` or `StoreError` where all failures are such, else a `PreparationError`; and where data does not
    fit, the same everywhere.
    """
    failed = {ranks.name(at): verdict for at, verdict in enumerate(verdicts) if verdict is not None}
    if not failed:
        return
    if error is not None and (len(ranks.numbers) == 1 or not isinstance(error, DataError)):
        add_note(error, f"in {ranks.function}, on {ranks.name(ranks.at)} of {len(ranks.numbers)}")
        raise error
    words = [f"{name}: {words}" for name, (_, words) in failed.items()]
    more = f"; and {len(words) - _SHOWN} ranks more" if len(words) > _SHOWN else ""
    msg = f"{ranks.function} failed on {'; on '.join(words[:_SHOWN])}{more}"
    kinds = {kind for kind, _ in failed.values()}
    if kinds == {"StoreError"}:
        raise StoreError(errno.EIO, msg) from error
    raise _KINDS.get("".join(kinds), PreparationError)(msg) from error


def same(ranks: Ranks, described: Mapping[int, Mapping[str, str]], remedy: str) -> None:
    """Raise `DataError` unless these ranks describe their values alike, entry by entry; all find the same difference."""
    if not described:
        return
    (first, wanted), *others = described.items()
    for at, description in others:
        if (differing := unlike(wanted, description)) is not None:
            entry, there, here = differing
            msg = (
                f"{ranks.function}: {entry} is {there} on {ranks.name(first)} and {here} on {ranks.name(at)}; {remedy}"
            )
            raise DataError(msg)


_KINDS: dict[str, type[Exception]] = {"DataError": DataError, "StoreError": StoreError}
_SHOWN = 3  # failures that are told in full, and ranks that are listed
