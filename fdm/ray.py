"""Ray as a pool for the parts of `clean(...).each(...)`: the tasks of a Ray cluster as a standard executor."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

import ray


P = ParamSpec("P")
R = TypeVar("R")


class RayExecutor(Executor):
    """A `concurrent.futures.Executor` whose calls are Ray tasks, with `options` as `ray.remote` takes them.

    `ray.init` comes first, and its workers need the same store. Ray's own retries are off: fdm runs a part that was
    lost with its worker again, and names one that ends its workers every time.
    """

    def __init__(self, **options: Any) -> None:
        self._options = {"max_retries": 0, **options}
        self._tasks: dict[Any, Any] = {}  # a remote function is sent to the cluster once

    @property
    def _max_workers(self) -> int:
        """How many calls run at a time, as other executors tell it."""
        cluster: Any = ray
        return max(1, int(cluster.cluster_resources().get("CPU", 1) // (self._options.get("num_cpus", 1) or 1)))

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Begin `fn(*args, **kwargs)` as a Ray task, and return its future."""
        if fn not in self._tasks:
            self._tasks[fn] = ray.remote(**self._options)(fn)
        future: Future[R] = self._tasks[fn].remote(*args, **kwargs).future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the cluster is not this executor's."""
