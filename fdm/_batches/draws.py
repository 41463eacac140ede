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
                with noted(stage_note(number, "drawing from the global random state")):
                    warn(self.found[number])


def to_watch(branch: Branch) -> dict[int, str]:
    """What to tell of each stage before the transfer that draws, by number, with a place for whose state it draws from."""
    texts = {
        each.number: _text(branch, each) for each in (*branch.on_examples, *branch.on_host) if not is_ambient(each)
    }
    if branch.batch is not None and branch.batch[1].collate is not None:
        number, function = branch.batch[0], branch.batch[1].collate
        where = f"stage {number}, batch: the collate function {function!r}, defined at {function.location}"
        texts[number] = _text_of(where, "move what is random into fdm.augment")
    return texts


def to_watch_on_device(branch: Branch) -> dict[int, str]:
    """The same of the stages after the transfer."""
    return {each.number: _text(branch, each) for each in branch.on_device}


def is_ambient(applied: Applied) -> bool:
    """Whether a stage draws from the global random state, under a stream of its own."""
    return isinstance(applied.stage, Augment) and applied.stage.ambient


def watched(call: Callable[..., T], number: int, text: str, draws: Draws) -> Callable[..., T]:
    """A function after whose calls the global random state is compared with that before; changes nothing."""

    def run(*args: Any) -> T:
        began, before = time.perf_counter(), _states()
        result = call(*args)
        after = _states()
        if before != after and not _is_elsewhere(time.perf_counter() - began):
            whose = [name for name, one, other in zip(_NAMES, before, after, strict=True) if one != other]
            draws.found[number] = text.format(" and ".join(whose))
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


def _text(branch: Branch, applied: Applied) -> str:
    number, stage = applied.number, applied.stage
    if isinstance(stage, Augment):
        remedy = "draw from the key that it is given: key.uniform(), or for torch's functions key.generator()"
    elif applied in branch.on_examples:
        remedy = f"write fdm.augment(fdm.ambient({stage.function.name})), or fdm.augment, and draw from its key"
    else:
        remedy = "write fdm.augment, and draw from its key, or move it before batch as fdm.augment(fdm.ambient(fn))"
    return _text_of(f"stage {number}, {stage.kind} {stage.function!r}, defined at {stage.function.location}", remedy)


def _text_of(where: str, remedy: str) -> str:
    where = where.replace("{", "{{").replace("}", "}}")
    return (
        f"{where}: draws from the global random state (of {{}}), which depends on all else that draws from it, so its "
        f"batches cannot be made again, and workers or a resume change them; {remedy}"
    )


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
