"""Ambient randomness: callables that draw from the global random state, run on a stream of their own."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, Generic, ParamSpec

import attrs
import numpy as np
import torch

from .._public import public
from .key import Key


P = ParamSpec("P")


@attrs.frozen
class Ambient(Generic[P]):
    """A callable `fn(item)` that draws from the global random state, as one that draws from a key; made by `ambient`."""

    call: Callable[Concatenate[Any, P], Any]

    def __call__(self, item: Any, key: Key, /, *args: P.args, **params: P.kwargs) -> Any:
        """`call(item, **params)`, with the global random state seeded by `key`, and restored afterwards."""
        with seeded(key):
            return self.call(item, *args, **params)


@public
def ambient(fn: Callable[Concatenate[Any, P], object], /) -> Ambient[P]:
    """Let `augment` take a callable `fn(item)` that draws from the global state of torch, numpy or random.

    That state (of the CPU: those of devices stay as they are) is seeded by the example's key before each call, and
    restored after it, so that the result is as reproducible as any `augment`. Before `batch` only. All threads of a
    process share that state, so threads make no batches of a split with such a stage, and the loop does so itself;
    worker processes do. A thread of yours that draws from that state meanwhile draws from the wrong one.

    >>> import random
    >>> def noisy(x, *, most):
    ...     return x + random.randint(0, most)
    >>> ambient(noisy)(1, Key(0), most=9) == ambient(noisy)(1, Key(0), most=9)
    True
    """
    return Ambient(fn)


@contextmanager
def seeded(key: Key) -> Iterator[None]:
    """The global random state of torch, numpy and random seeded by a key, and restored afterwards."""
    with _TURN:  # of loops in several threads
        yield from _seeding(key)


@contextmanager
def seeded_alone(key: Key) -> Iterator[None]:
    """`seeded`, without its turn: for what may run long and wait for other threads, and keeps them apart itself."""
    yield from _seeding(key)


def _seeding(key: Key) -> Iterator[None]:
    # The generator of the CPU alone: torch.manual_seed would reseed every device, which cannot be restored cheaply.
    before = torch.default_generator.get_state(), np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002 - the global state is what is meant
    seeds = key.randint(0, 2**32, 3).tolist()
    torch.default_generator.manual_seed(seeds[0])
    np.random.seed(seeds[1])  # noqa: NPY002 - the global state is what is meant
    random.seed(seeds[2])
    try:
        yield
    finally:
        torch.default_generator.set_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002 - likewise
        random.setstate(before[2])


_TURN = threading.RLock()
if hasattr(os, "register_at_fork"):  # a child whose parent held it in another thread would wait for ever
    os.register_at_fork(after_in_child=_TURN._at_fork_reinit)  # type: ignore[attr-defined]  # noqa: SLF001 - as Python's own
