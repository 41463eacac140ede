"""Draws: which stages draw from the global random state, seen at the first batch that is made of opened data."""

import pickle
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import attrs
import numpy as np
import torch

from .._errors import noted, stage_note, warn
from .._plans.branch import Applied, Branch
from .._processes.start import other_threads
from .._stages.stage import Augment


T = TypeVar("T")


@attrs.define(eq=False)
class Draws:
    """What is known of the stages of opened data, by their numbers: `watched` ones, and what `found` ones draw from.

    Who `is_told` is warned of each once.
    """

    is_told: bool = True
    watched: set[int] = attrs.field(factory=set, init=False)
    found: dict[int, str] = attrs.field(factory=dict, init=False)
    told: set[int] = attrs.field(factory=set, init=False)

    def are_open(self, numbers: Iterable[int]) -> bool:
        """Whether one of these stages was not watched yet in this process."""
        return not self.watched.issuperset(numbers)

    def hear(self, watched: Iterable[int], found: dict[int, str]) -> None:
        """Take over what another process has seen, and tell it."""
        self.watched.update(watched)
        self.found.update(found)
        self.tell()

    def tell(self) -> None:
        """Warn of the stages that draw, each once."""
        for number in sorted(self.found.keys() - self.told):
            self.told.add(number)
            if self.is_told:
                with noted(stage_note(number, "what was seen at its first batch")):
                    warn(self.found[number])


def to_watch(branch: Branch) -> list[int]:
    """The numbers of the stages before the transfer that have no business with the global random state."""
    collates = branch.batch is not None and branch.batch[1].collate is not None
    changes = [each.number for each in (*branch.on_examples, *branch.on_host) if not is_ambient(each)]
    return [*changes, branch.batch[0]] if collates and branch.batch is not None else changes


def to_watch_on_device(branch: Branch) -> list[int]:
    """The same of the stages after the transfer."""
    return [each.number for each in branch.on_device]


def is_ambient(applied: Applied) -> bool:
    """Whether a stage draws from the global random state, under a stream of its own."""
    return isinstance(applied.stage, Augment) and applied.stage.ambient


def watched(call: Callable[..., T], number: int, told: Callable[[str], str], draws: Draws) -> Callable[..., T]:
    """A function after whose calls the global random state is compared with that before; changes nothing.

    `told` says what to tell of it, from whose state it draws.
    """

    def run(*args: Any) -> T:
        began, before = time.perf_counter(), _states()
        result = call(*args)
        after = _states()
        if before != after and not _is_elsewhere(time.perf_counter() - began):
            whose = [name for name, one, other in zip(_NAMES, before, after, strict=True) if one != other]
            draws.found[number] = told(" and ".join(whose))
        return result

    return run


def watched_first(
    draws: Draws, numbers: Iterable[int], watching: Callable[..., T], then: Callable[..., T]
) -> Callable[..., T]:
    """The function `watching` in its first call, in which the stages of these numbers are watched, and `then` afterwards.

    Watched is one call at a time in a process, since others would draw meanwhile.
    """
    first = [watching]

    def make(*args: Any) -> T:
        if not first:
            return then(*args)
        first.clear()
        if not _TURN.acquire(blocking=False):
            return then(*args)
        try:
            result = watching(*args)
        finally:
            _TURN.release()
        draws.watched.update(numbers)
        return result

    return make


def told_after_first(batches: Iterator[T], draws: Draws) -> Iterator[T]:
    """The batches; of what was found while the first was made, the loop is told before it gets it."""
    for batch in batches:
        draws.tell()
        yield batch
        break
    yield from batches


def text_of_draw(branch: Branch, number: int, whose: str) -> str:
    """What to tell of a stage that draws from the global random state of these libraries."""
    changes = {each.number: each for each in (*branch.on_examples, *branch.on_host, *branch.on_device)}
    if number not in changes:
        stage, (_, batch) = "batch: the collate function", branch.batching
        function, remedy = batch.collate, "move what is random into fdm.augment"
    else:
        function, stage = changes[number].stage.function, changes[number].stage.kind
        remedy = _remedy(branch, changes[number])
    at = f", defined at {function.location}" if function is not None else ""
    return (
        f"stage {number}, {stage} {function!r}{at}: draws from the global random state (of {whose}), which depends on all "
        f"else that draws from it, so its batches cannot be made again, and workers or a resume change them; {remedy}"
    )


def _remedy(branch: Branch, applied: Applied) -> str:
    if isinstance(applied.stage, Augment):
        return "draw from the key that it is given: key.uniform(), or for torch's functions key.generator()"
    if applied in branch.on_examples:
        name = applied.stage.function.name
        return f"write fdm.augment(fdm.ambient({name})), or fdm.augment, and draw from its key"
    return "write fdm.augment, and draw from its key, or move it before batch as fdm.augment(fdm.ambient(fn))"


def _states() -> tuple[Any, ...]:
    """The global random states of this process."""
    torchs = torch.default_generator.get_state().numpy().tobytes()
    return torchs, pickle.dumps(np.random.get_state(legacy=False)), random.getstate()  # noqa: NPY002 - the global one is meant


def _is_elsewhere(seconds: float) -> bool:
    """Whether another thread draws too: the state changes also while none of the user's stages runs, for as long again."""
    if not other_threads():
        return False
    before = _states()
    time.sleep(min(max(seconds, 2e-3), 5e-2))
    return before != _states()


_NAMES = ("torch", "numpy", "random")
_TURN = threading.Lock()
