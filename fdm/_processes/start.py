"""Processes: how they begin beside threads, whose locks a fork copies as they are, and how they end with their parent."""

import ast
import io
import logging
import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import thread as pools
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from .._errors import WorkerError
from .._text import printable
from .owner import is_dead, owner


def check_may_start(what: str, remedy: str) -> None:
    """Raise `WorkerError` in a daemonic process, such as one of a `multiprocessing.Pool`, which may start no others."""
    if multiprocessing.current_process().daemon:
        msg = (
            f"{what} cannot be started here: this is a daemonic process, as those of a multiprocessing.Pool are, and Python "
            f"lets it start no others; {remedy}, or run this in a concurrent.futures.ProcessPoolExecutor, whose processes may"
        )
        raise WorkerError(msg)


def start_method(asked: str | None) -> str:
    """How processes begin: as asked, or as Python does by default; but beside other threads not by fork, if they can.

    Of other threads a forked process has nothing but the locks that they held, for ever. The other way imports the
    script, so it is open where the script's work stands below its `__main__` line.
    """
    method = asked or default_method()
    is_other = asked is None and method == "fork" and other_threads() and _is_below_main()
    return "forkserver" if is_other else method


def default_method() -> str:
    """How Python starts processes here, which may be what somebody has set: one cannot tell once it was used."""
    return multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]


def warn_of_fork(why: str = "") -> None:
    """Warn of a fork beside other threads, whom it concerns, and what to do instead."""
    others = other_threads()
    if others:
        msg = (
            f"worker processes begin by fork while other threads run ({', '.join(others[:4])}{', ...' if others[4:] else ''}): "
            f"a lock that one of them holds at that moment stays closed in the worker for ever, and what wants it hangs; "
            f"{why}use start_method='forkserver' or 'spawn', with the script's work below `if __name__ == '__main__':`, "
            f"or threads=, or start these threads later"
        )
        warnings.warn(printable(msg), RuntimeWarning, stacklevel=2)


def other_threads() -> list[str]:
    """The names of the threads of Python that run beside this one, but for those that hold no lock a worker wants.

    Those are multiprocessing's own, whose locks it makes anew in every process; tqdm's monitor, whose lock `starting`
    makes anew; and those of a ThreadPoolExecutor that have no work. What runs outside Python, as torch's own threads do, holds none of Python's locks.
    """
    here = threading.current_thread()
    others = (thread for thread in threading.enumerate() if thread is not here and thread.is_alive())
    return [thread.name for thread in others if not _is_harmless(thread)]


def _is_harmless(thread: threading.Thread) -> bool:
    # A dummy stands for a thread that once called Python, and may have ended long ago.
    kinds = {kind.__name__ for kind in type(thread).__mro__}
    is_of_multiprocessing = thread.name == "QueueFeederThread" or thread.name.endswith("(_serve)")
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - no other way to another thread's
    is_idle = frame is not None and frame.f_code is getattr(pools, "_worker").__code__  # noqa: B009 - private
    return is_of_multiprocessing or is_idle or not kinds.isdisjoint({"TMonitor", "_DummyThread"})


@contextmanager
def starting() -> Iterator[None]:
    """A process that this thread forks meanwhile has standard streams and a lock of tqdm's of its own.

    Else it would wait for ever for one that a thread held which it has not. Warnings of Python and torch of what the user
    has not done do not come: of forks beside threads, where those of torch count too, and of what pickle refuses.
    """
    _STARTING.now = True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            warnings.filterwarnings("ignore", "Got pickle error", UserWarning)
            yield
    finally:
        _STARTING.now = False


def end_with_parent() -> None:
    """Let this process end when the one that it works for has, whatever it is doing then."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_outlive, args=(parent.sentinel, owner(parent.pid)), daemon=True).start()


def _outlive(sentinel: Any, parent: str) -> NoReturn:
    # The sentinel is a pipe whose other end processes that were forked later may hold open too.
    while not wait([sentinel], timeout=1.0) and not is_dead(parent):
        pass
    os._exit(1)


def _is_below_main() -> bool:
    """Whether what the main thread is doing stands below the line `if __name__ == "__main__":` of the script."""
    main = sys.modules.get("__main__")
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - no other way to another thread's
    while frame is not None and not (frame.f_globals is vars(main) and frame.f_code.co_name == "<module>"):
        frame = frame.f_back
    if getattr(main, "__name__", "") == "__mp_main__":
        return True  # this process has imported the script so itself
    if frame is None or not getattr(main, "__file__", None):
        return False
    with suppress(OSError, ValueError, SyntaxError):
        script = ast.parse(Path(str(main.__file__)).read_bytes())  # type: ignore[union-attr]
        line = frame.f_lineno
        return any(_is_main(each) and each.lineno <= line <= (each.end_lineno or 0) for each in script.body)
    return False


def _is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in (
        "__name__ == '__main__'",
        "'__main__' == __name__",
    )


def _renew() -> None:
    """In a process that `starting` forked: streams and locks that no thread of its parent can hold."""
    if not getattr(_STARTING, "now", False):
        return
    renewed: dict[int, Any] = {}  # by the stream before, since one may stand in the place of another
    for name in ("stdin", "stdout", "stderr"):
        old = getattr(sys, name)
        with suppress(OSError, ValueError):
            if type(old) is io.TextIOWrapper and old.fileno() in (0, 1, 2):
                if id(old) not in renewed:
                    renewed[id(old)] = _reopened(old)
                    _RETIRED.append(old)  # who lets go of it would flush it, and wait
                    _repoint(old, renewed[id(old)])
                setattr(sys, name, renewed[id(old)])
    tqdm.set_lock(threading.RLock())


def _reopened(old: io.TextIOWrapper) -> Any:
    number = old.fileno()
    return open(
        number,
        "r" if number == 0 else "w",
        buffering=1 if old.line_buffering else -1,
        encoding=old.encoding,
        errors=old.errors,
        closefd=False,
    )


def _repoint(old: Any, new: Any) -> None:
    handlers: list[Callable[[], Any]] = getattr(logging, "_handlerList", [])
    for handler in (reference() for reference in handlers):
        if vars(handler).get("stream") is old:  # of its own: logging's last resort asks for sys.stderr each time
            setattr(handler, "stream", new)  # noqa: B010 - not all handlers have one


_STARTING = threading.local()
_RETIRED: list[Any] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
