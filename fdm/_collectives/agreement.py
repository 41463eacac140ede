"""Agreement: whether all ranks of a process group open the same, told through the group's key-value store.

Nothing here is a collective call: a rank that fails tells the others, and one that dies is missed, instead of leaving
them to wait in a barrier.
"""

import errno
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import zip_longest
from typing import Any, NoReturn

import attrs
import torch

from .._errors import PipelineError, PreparationError, StoreError, text_of
from .._processes.owner import is_dead, owner
from .._ranks.context import RankContext
from .answers import Answers
from .content import Part


@contextmanager
def agreement(context: RankContext, patience: float | None) -> Iterator[Callable[[Callable[[], Sequence[Part]]], None]]:
    """What a pipeline is opened in: yields the function that compares what this rank has with the other ranks.

    Where `torch.distributed` is initialised with the world of `context`, every rank raises `PipelineError` if one has
    other contents than rank 0, and `PreparationError` if one fails, or dies on this machine, before it could compare.
    After `patience` seconds (None: as long as the group itself waits) a `StoreError` names the ranks that did not come,
    or says that the group's store does not answer.
    """
    store = _store_of(context, patience)
    if store is None:
        yield lambda _: None
        return
    try:
        meeting = _Meeting(store, context, store.limit)
        meeting.arrive()
        try:
            yield lambda parts: meeting.compare(parts())
        except BaseException as error:
            if not meeting.is_told:
                meeting.fail(error)
            raise
    finally:
        store.end()


def _store_of(context: RankContext, patience: float | None) -> Answers | None:
    """The key-value store of the process group; None without such a group."""
    group = torch.distributed
    if context.world_size == 1 or not (group.is_available() and group.is_initialized()):
        return None
    if (group.get_rank(), group.get_world_size()) != (context.rank, context.world_size):
        return None  # a simulated rank
    store: Any = torch.distributed.distributed_c10d._get_default_store()  # noqa: SLF001 - torch has no public name for it
    timeout: timedelta = store.timeout
    return Answers(store, timeout.total_seconds() if patience is None else patience)


@attrs.define(eq=False)
class _Meeting:
    """The ranks that open a pipeline at the same time; `is_told` once the others know how it ended here."""

    store: Answers
    context: RankContext
    limit: float
    is_told: bool = False

    def arrive(self) -> None:
        """Begin the meeting that is numbered by how often this rank opened something."""
        self.store.limit = max(self.limit, _LEAST)
        number = self.store.add(f"fdm/opened by {self.context.rank}", 1)
        self.store.within(f"fdm/open {number}")
        self.store.set(f"owner {self.context.rank}", owner())

    def fail(self, error: BaseException) -> None:
        """Tell the others why this rank does not come."""
        self.is_told = True
        self.store.limit = min(self.store.limit, _FAREWELL)
        with suppress(Exception):  # the store may be gone, and this rank's error matters more
            self._put("failed", f"{type(error).__name__}: {text_of(error)}")
            self._leave()

    def compare(self, mine: Sequence[Part]) -> None:
        """Raise on every rank if one of them has something else than rank 0."""
        with self._lost_store():
            if self.context.rank == 0:
                self.store.set("within", json.dumps({part.text: dict(part.within) for part in mine}))
                self.store.set("content", json.dumps([[part.text, part.digest] for part in mine]))
            self._wait(lambda: self.store.check("content"), "rank 0")
            theirs = [Part(text, code) for text, code in json.loads(self.store.get("content"))]
            if (pair := _first_difference(theirs, mine)) is not None:
                within = json.loads(self.store.get("within"))  # large, and most ranks need not know
                self._put("odd", _difference(*pair, within.get(pair[0].text, {}), self.context.rank))
            self.store.set(f"done {self.context.rank}", "")
            self.store.add("done", 1)
            self._wait(lambda: self.store.add("done", 0) >= self.context.world_size, "every rank")
            odd = sorted(self._told("odd"))
            self.is_told = True
            self._leave()
        if odd:
            told = [text for _, text in odd[:_SHOWN]]
            told += [f"and so on for {len(odd) - _SHOWN} more ranks"] if len(odd) > _SHOWN else []
            msg = f"the ranks have not opened the same: {'; '.join(told)}. Start all with the same code, parameters and data"
            raise PipelineError(msg)

    def _put(self, what: str, text: str) -> None:
        number = self.store.add(f"{what} next", 1) - 1
        self.store.set(f"{what} {number}", json.dumps([self.context.rank, text]))
        self.store.add(what, 1)

    def _told(self, what: str) -> list[tuple[int, str]]:
        """What ranks have put, the first one first: where a failure makes others fail, it is the cause."""
        count = min(self.store.add(what, 0), _MOST)
        return [tuple(json.loads(self.store.get(f"{what} {at}"))) for at in range(count)]

    def _leave(self) -> None:
        """Let the others know that this rank has heard; the rank that may hold the store stays until all have."""
        self.store.limit = min(self.store.limit, _FAREWELL)
        self.store.add("left", 1)
        until = time.monotonic() + _FAREWELL
        while (
            self.context.rank == 0 and self.store.add("left", 0) < self.context.world_size and time.monotonic() < until
        ):
            time.sleep(_PAUSE)

    def _wait(self, is_there: Callable[[], bool], whom: str) -> None:
        began, pause, looked = time.monotonic(), _PAUSE, time.monotonic()
        while not is_there():
            self.store.limit = max(_LEAST, began + self.limit - time.monotonic())
            if failed := self._told("failed"):
                rank, text = failed[0]
                msg = f"rank {rank} failed while the ranks opened the pipeline: {text}"
                raise PreparationError(msg)
            if time.monotonic() - looked > _LOOK:
                self._miss_the_dead()
                looked = time.monotonic()
            if time.monotonic() - began > self.limit:
                self._give_up(whom)
            time.sleep(pause)
            pause = min(2 * pause, _LOOK / 10 + self.context.world_size * _EACH)

    def _neighbours(self) -> range:
        first = self.context.rank - self.context.local_rank
        return range(max(0, first), min(first + self.context.local_world_size, self.context.world_size))

    def _miss_the_dead(self) -> None:
        for rank in self._neighbours():
            if not self.store.check(f"owner {rank}") or self.store.check(f"done {rank}"):
                continue  # of one that has not begun to open, nothing is known
            if is_dead(self.store.get(f"owner {rank}").decode()) and not self._told("failed"):
                msg = f"rank {rank} died while the ranks opened the pipeline; what is finished is kept: start again"
                raise PreparationError(msg)

    def _give_up(self, whom: str) -> NoReturn:
        late = [rank for rank in range(min(self.context.world_size, _MOST)) if not self.store.check(f"done {rank}")]
        msg = (
            f"waited {self.limit:g} seconds for {whom} to open the pipeline; not there: ranks {late or whom}. Open it on "
            f"every rank, in the same order; for one rank alone give context=fdm.RankContext(). If ranks need longer to "
            f"prepare, raise `wait`"
        )
        raise StoreError(errno.ETIMEDOUT, msg)

    @contextmanager
    def _lost_store(self) -> Iterator[None]:
        try:
            yield
        except torch.distributed.DistError as error:
            self.is_told = True
            msg = (
                "the process group's store is gone while the ranks opened the pipeline: the process that held it ended"
            )
            raise PreparationError(msg) from error


def _first_difference(theirs: Sequence[Part], mine: Sequence[Part]) -> tuple[Part, Part] | None:
    """What rank 0 has, and what this rank has, where they differ first."""
    pairs = zip_longest(theirs, mine, fillvalue=Part("nothing", ""))
    return next(
        ((there, here) for there, here in pairs if (there.text, there.digest) != (here.text, here.digest)), None
    )


def _difference(there: Part, here: Part, within: Mapping[str, str], rank: int) -> str:
    """What this rank has otherwise than rank 0, in words. `within` is what is in it on rank 0."""
    if there.text != here.text:
        return f"rank {rank} has [{here.text}] where rank 0 has [{there.text}]"
    odd = sorted(name for name in within.keys() | here.within.keys() if within.get(name) != here.within.get(name))
    more = f" of {', '.join(odd[:_SHOWN])}{' and more' if len(odd) > _SHOWN else ''}" if odd else ""
    return f"rank {rank} has other contents than rank 0 in [{here.text}]: {here.differs}{more}"


_PAUSE = 0.0005  # seconds between looks at first, doubled up to a tenth of _LOOK
_EACH = 5e-5  # seconds more for each rank, so that thousands of them leave the store time to answer
_LOOK = 0.5  # seconds between looks for ranks that died
_FAREWELL = 5.0  # seconds that the rank which may hold the store stays for the others
_LEAST = 1.0  # seconds that the store has for an answer, however little is left
_SHOWN = 3  # ranks, or names of code, that a message has
_MOST = 4096  # ranks that are asked for one by one
