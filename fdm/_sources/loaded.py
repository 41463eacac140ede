"""Loaded sources: what a load stage opens, which each process and each thread that reads from it opens for itself."""

import multiprocessing.util
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any
from weakref import WeakSet, finalize

import attrs
import numpy as np
from toolz import valmap
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from .._arrays.table import Table
from .._errors import DataError
from .._random.ambient import seeded, seeded_alone
from .._random.key import Key
from .._splits.source import examples, gives_batches
from .files import Files


@attrs.define(eq=False)
class Opened:
    """What the load function returned in one thread of one process, until it is closed there."""

    process: int
    thread: threading.Thread
    sources: Mapping[str, Any]
    is_closed: bool = attrs.field(default=False, init=False)

    @property
    def is_here(self) -> bool:
        """Whether it is open, in this process."""
        return not self.is_closed and self.process == os.getpid()

    def close(self) -> None:
        """Close each source once, all of them also where one fails."""
        errors = []
        for source in {id(source): source for whole in self.sources.values() for source in _within(whole)}.values():
            close = getattr(source, "close", None)
            if callable(close) and not isinstance(source, Table):
                try:
                    close()
                except Exception as error:  # noqa: BLE001 - a user's own, raised below
                    error.add_note(f"closing the source, a {type(source).__name__}")
                    errors.append(error)
        if errors and self.thread is not threading.current_thread() and self.thread.is_alive():
            return  # some refuse all threads but their own, which closes it when it ends
        self.is_closed, self.sources = True, {}
        if errors:
            raise errors[0]


class _End:
    """Lives as long as the thread whose local state holds it."""


@attrs.define(eq=False)
class Loading:
    """A load stage that was opened: its sources in each process and thread that asks for them.

    A source may hold an open file, a cursor or a connection, which a fork would share and threads would move under each
    other. So `open` is called again wherever somebody reads, under the global random state that `key` names, and must
    find sources of the same names and sizes. What is `is_shared` is opened once, and handed on to threads and forks.
    """

    open: Callable[[], Mapping[str, Any]]
    key: Key
    is_shared: bool
    sizes: Mapping[str, int] | None = None
    _opened: list[Opened] = attrs.field(factory=list, init=False)
    _of_thread: threading.local = attrs.field(factory=threading.local, init=False)
    _turn: Any = attrs.field(factory=threading.RLock, init=False)

    def __attrs_post_init__(self) -> None:
        _LOADINGS.add(self)

    def here(self) -> Mapping[str, Any]:
        """The sources of this process and thread, opened where they are not there yet."""
        if self.is_shared and self._opened:
            return self._opened[0].sources
        opened: Opened | None = getattr(self._of_thread, "opened", None)
        if opened is None or not opened.is_here:
            opened = self._open()
        return opened.sources

    def close(self) -> None:
        """Close what was opened in this process, and forget it."""
        opened, self._opened[:] = [each for each in self._opened if each.is_here], []
        with ExitStack() as stack:  # goes on where one cannot be closed
            for each in opened:
                stack.callback(each.close)

    def _open(self) -> Opened:
        with self._turn:  # one after the other, since they draw from one random state
            if self.is_shared and self._opened:
                return self._opened[0]
            with seeded_alone(self.key):
                sources = self.open()
            self._check_own(sources)
            opened = Opened(os.getpid(), threading.current_thread(), sources)
            self._check(opened)
            self._opened[:] = [each for each in self._opened if each.is_here]  # a fork has its parent's in it
            if not self._opened and multiprocessing.parent_process() is not None:
                # A worker process ends without what Python does at exit, but for this.
                multiprocessing.util.Finalize(self, _close_here, (self._opened,), exitpriority=1)
            self._opened.append(opened)
        self._of_thread.opened, self._of_thread.end = opened, _End()
        if not self.is_shared:
            finalize(self._of_thread.end, _close_here, [opened]).atexit = False
        return opened

    def _check(self, opened: Opened) -> None:
        sizes = valmap(len, opened.sources)
        if self.sizes is None:
            self.sizes = sizes
        elif sizes != self.sizes:
            opened.close()
            msg = (
                f"the load function opens sources of {sizes} examples in {_whereabouts()}, but of {dict(self.sizes)} "
                f"where the pipeline was opened; let it open the same wherever it is called"
            )
            raise DataError(msg)

    def _check_own(self, sources: Mapping[str, Any]) -> None:
        """Raise `DataError` for a source that another thread has, or the process that this one was forked from."""
        held = {id(source) for opened in self._opened for source in opened.sources.values()}
        for name, source in sources.items():
            if id(source) in held and not is_undisturbed(source):
                msg = (
                    f"the load function returned the very source {name!r}, a {type(source).__name__}, that another thread "
                    f"or process reads, as a function does that remembers its result; let it open a new one each time it is "
                    f"called, or write fdm.load(...).shared() if its readers cannot disturb each other"
                )
                raise DataError(msg)

    def __getstate__(self) -> dict[str, Any]:
        return {"open": self.open, "key": self.key, "is_shared": self.is_shared, "sizes": self.sizes}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # as attrs wrote it: the rest is of this process


@attrs.frozen(eq=False, repr=False)
class Loaded:
    """One source of a load stage, for whoever reads it, wherever that is.

    With `key` its examples draw from the global random state, and each is read under a stream of its own. One that
    `has_gather` gives whole batches.
    """

    loading: Loading
    name: str
    size: int
    kind: str
    key: Key | None
    has_gather: bool = False

    def __len__(self) -> int:
        return self.size

    def here(self) -> Any:
        """The source itself, as this thread has it."""
        return self.loading.here()[self.name]

    def drawn(self, ids: Sequence[int], keys: Sequence[Key]) -> list[Any]:
        """The examples of these ids, each read under the global random state that its key names."""
        source, found = self.here(), []
        for index, key in zip(ids, keys, strict=True):
            with seeded(key):
                found.append(source[index])
        return found


def loaded(
    open_sources: Callable[[], Mapping[str, Any]], key: Key, *, is_shared: bool, is_ambient: bool
) -> dict[str, Any]:
    """The sources that `open_sources` finds by name: as they are where readers cannot disturb each other."""
    loading = Loading(open_sources, key, is_shared)
    sources = loading.here()
    return {
        name: source
        if is_undisturbed(source) and not is_ambient
        else Loaded(
            loading,
            name,
            len(source),
            type(source).__name__,
            key if is_ambient else None,
            has_gather=gives_batches(source) and not is_ambient,
        )
        for name, source in sources.items()
    }


def own(source: Any) -> Any:
    """A source as this thread of this process has it."""
    return source.here() if isinstance(source, Loaded) else source


@contextmanager
def opened_here(sources: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The sources as this thread has them, for functions that read them whole; what draws does so from one stream."""
    keys = [source.key for source in sources.values() if isinstance(source, Loaded) and source.key is not None]
    with seeded_alone(keys[0].fold("whole")) if keys else nullcontext():
        yield valmap(own, sources)


def kind_of(source: Any) -> str:
    """The name of the class of a source."""
    return source.kind if isinstance(source, Loaded) else type(source).__name__


def is_drawn(source: Any) -> bool:
    """Whether a source's examples draw from the global random state."""
    return isinstance(source, Loaded) and source.key is not None


def read(source: Any, ids: Tensor) -> list[Any]:
    """The examples of a source with these ids, as they are in epoch 0."""
    if isinstance(source, Loaded) and source.key is not None:
        return source.drawn(ids.tolist(), source.key.fold(0).fold(ids).unbind())
    return examples(own(source), ids)


def close_all(sources: Iterable[Any]) -> None:
    """Close the sources that load opened."""
    for loading in {id(source.loading): source.loading for source in sources if isinstance(source, Loaded)}.values():
        loading.close()


@contextmanager
def closed_on_failure(sources: Iterable[Any]) -> Iterator[None]:
    """Where an error passes through, or an interrupt, the sources that load opened are closed."""
    try:
        yield
    except BaseException:
        with suppress(Exception):  # what failed first is what matters
            close_all(sources)
        raise


def is_undisturbed(source: Any) -> bool:
    """Whether threads and forks can read a source side by side: it holds nothing but values."""
    if type(source) is Subset:
        return is_undisturbed(source.dataset)
    return type(source) in _VALUES or isinstance(source, Table | Files | Tensor | np.ndarray)


def _close_here(opened: Sequence[Opened]) -> None:
    """Close what is open in this process, when its thread or the process ends."""
    for each in [each for each in opened if each.is_here]:
        each.close()


def _within(source: Any) -> list[Any]:
    """A source, or the sources that a dataset of torch's consists of, which it does not close."""
    if isinstance(source, Subset):
        return _within(source.dataset)
    if isinstance(source, ConcatDataset):
        return [each for part in source.datasets for each in _within(part)]
    return [source]


def _whereabouts() -> str:
    process, thread = multiprocessing.current_process().name, threading.current_thread().name
    return f"process {process}, thread {thread}"


def _renew_turns() -> None:
    """In a process that is forked, nobody is at work who could end the turn that another thread had."""
    for loading in list(_LOADINGS):
        loading._turn = threading.RLock()  # noqa: SLF001 - its own, and no method that others may call


_VALUES = (list, tuple, range, TensorDataset)
_LOADINGS: WeakSet[Loading] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_turns)
