"""Apart: what another process finds of a pipeline, compared with what this one does."""

import pickle
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import attrs

from .._arrays.differences import difference
from .._stages.stage import Sample
from ._laws import compared_splits, unlike_ids
from ._process import Answer, asked, digest_of, ids_of, order_of, results_of
from ._purity import INPUTS, Walk
from ._subject import Broken, Look, Skipped, Trial, under


@attrs.frozen(eq=False, slots=False)
class Apart:
    """A trial, some examples of its sources as they were first, and another process, asked when it is first needed."""

    trial: Trial
    walk: Walk
    rows: Mapping[str, Mapping[int, Any]]

    @cached_property
    def looks(self) -> Mapping[str, Look]:
        """The first batch of each split that can be made."""
        firsts = {split: self.trial.looks(split)[:1] for split in self.trial.splits if split not in self.walk.failed}
        return {split: looks[0] for split, looks in firsts.items() if looks}

    @cached_property
    def answer(self) -> Answer | Broken:
        """What the other process said."""
        return asked(self.trial, self.looks)

    @cached_property
    def sources(self) -> Broken | None:
        """How the sources differ there."""
        there = self.there["sources"]
        found = (_unlike_source(self, name, there.get(name)) for name in self.rows)
        return next(filter(None, found), None)

    @property
    def there(self) -> Answer:
        """The answer of a process that has the pipeline."""
        assert not isinstance(self.answer, Broken), "asked only of a process that has the pipeline"
        return self.answer


def importable(apart: Apart) -> Broken | None:
    """Another process can import the functions and load the pipeline, and has the same one then."""
    if isinstance(apart.answer, Broken):
        return apart.answer
    for number, stage in enumerate(apart.trial.pipeline.stages):
        if digest_of(stage) != apart.answer["digests"][number]:
            return Broken(number, "the stage has another fingerprint in another process")
    return None


def opened_there(apart: Apart) -> Broken | Skipped | None:
    """The sources have the same examples in the same order in another process, which can open the pipeline."""
    if isinstance(apart.answer, Broken):
        return _NO_PROCESS
    closed: Broken | None = apart.answer.get("closed")
    return closed or apart.sources


def same_splits(apart: Apart) -> Broken | Skipped | None:
    """The splits have the same examples in another process."""
    found = {name: ids_of(examples.order) for name, examples in apart.trial.prepared.splits.items()}
    return _unless(apart) or compared_splits(apart.trial, found, apart.there["splits"])


def same_orders(apart: Apart) -> Broken | Skipped | None:
    """The first epoch of each split has the same order in another process."""
    why = _unless(apart) or (same_splits(apart) and Skipped("its splits differ in another process"))
    if why is not None:
        return why
    for split in apart.trial.splits:
        sent: bytes | Broken | None = apart.there["orders"].get(split)
        if isinstance(sent, Broken):
            return sent
        how = sent and unlike_ids(order_of(apart.trial.data, split), pickle.loads(sent))  # noqa: S301 - from our process
        if how:
            number = next((number for number, _ in apart.trial.pipeline.of_kind(Sample)), None)
            return Broken(number, f"split {split!r}, epoch 0: {how} in another process")
    return None


def same_batches(apart: Apart) -> Broken | Skipped | None:
    """The first batch of each split is the same in another process."""
    why = _unless(apart) or (None if apart.looks else Skipped("there are no batches"))
    if why is not None:
        return why
    return next(filter(None, (_unlike_pieces(apart, split, look) for split, look in apart.looks.items())), None)


def _unlike_pieces(apart: Apart, split: str, look: Look) -> Broken | None:
    sent = apart.there["pieces"][split]
    if isinstance(sent, Broken):
        return sent
    ours = under(_SEED, lambda: results_of(look, look.rows))
    on_host = [each for each in look.operations if not each.is_on_device or apart.trial.data.context.device == "cpu"]
    for operation, one, other in zip(on_host, ours, pickle.loads(sent), strict=False):  # noqa: S301 - from our process
        how = difference(one, other)
        if how is not None:
            changing = apart.walk.of(INPUTS)  # which may have changed the sources of this process meanwhile
            number = apart.walk.blamed(operation) if changing is None else changing.number
            return Broken(number, f"{look.of(look.rows)}: {how} in another process")
    return None


def _unlike_source(apart: Apart, name: str, there: tuple[int, bytes | Broken] | None) -> Broken | None:
    trial = apart.trial
    size = len(trial.prepared.sources[name])
    if there is None or there[0] != size:
        other = "is not there" if there is None else f"has {there[0]}"
        return Broken(trial.source_stage, f"source {name!r} has {size} examples, and {other} in another process")
    if isinstance(there[1], Broken):
        return attrs.evolve(there[1], number=trial.source_stage)
    others = pickle.loads(there[1])  # noqa: S301 - from our process
    for index, example in apart.rows[name].items():
        how = difference(example, others.get(index))
        if how is not None:
            return Broken(trial.source_stage, f"source {name!r}, example {index}: {how} in another process")
    return None


def _unless(apart: Apart) -> Skipped | None:
    """Why nothing can be compared with what another process finds."""
    if isinstance(apart.answer, Broken):
        return _NO_PROCESS
    if "closed" in apart.answer or apart.sources is not None:
        return Skipped("its sources differ in another process")
    return None


_NO_PROCESS = Skipped("no other process can have the pipeline")
_SEED = 3
