"""Opened pipelines: splits, facts, and the loaders and datasets of each split."""

import copy
from collections.abc import Iterator, Mapping
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Any, Self

import attrs
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._batches.draws import Draws
from ._checks import integer
from ._errors import DataError, SnapshotError, UnknownNameError, noted, stage_note, unknown
from ._loaders.dataset import ExampleDataset
from ._loaders.device import Crossing
from ._loaders.gate import Gate
from ._loaders.loader import Loader
from ._loaders.options import LoaderOptions, Maker
from ._loaders.profile import Profile
from ._loaders.repeats import Reading, Repeats
from ._loaders.threads import Inline
from ._pipeline import Pipeline
from ._plans.branch import Branch, branch_of, check_facts
from ._plans.order import Order, written_out
from ._plans.plan import Plan, order_entries, order_of_epoch, steps_of
from ._plans.snapshot import Snapshot, check_same_order, order_fingerprint, order_stages
from ._plans.splits import Examples, weights_of
from ._prepare.prepare import Prepared
from ._public import public
from ._ranks.context import RankContext
from ._sources.loaded import close_all, is_drawn, opened_here
from ._stages.limits import applying
from ._stages.stage import Sample
from ._text import bars, hidden, page
from .store._facts import Facts


@public
class Data:
    """A pipeline opened for one rank: made by `fdm.open` and `Executor.open`, released by `close`.

    A context manager: `with fdm.open(p) as data`. `pipeline` and `context` are what was opened, and for whom.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        context: RankContext,
        prepared: Prepared,
        options: LoaderOptions,
    ) -> None:
        check_facts(pipeline, prepared.facts)
        self._pipeline, self._context, self._prepared, self._options = pipeline, context, prepared, options
        self._branches = {
            name: branch_of(pipeline, examples.names, prepared.sources[examples.source], prepared.facts, context)
            for name, examples in prepared.splits.items()
        }
        self._maker: Maker = options.maker(
            partial(_before_transfer, self._branches), context.device, Draws(context.local_rank == 0)
        )
        self._weights: dict[tuple[int, str], NDArray[Any]] = {}
        self._order_names: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._gate = Gate()
        self._passes: dict[str, Repeats] = {}

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that was opened."""
        return self._pipeline

    @property
    def context(self) -> RankContext:
        """The rank and device that it was opened for."""
        return self._context

    @property
    def splits(self) -> Mapping[str, int]:
        """The number of examples of every split, by name."""
        return MappingProxyType({name: examples.order.size for name, examples in self._prepared.splits.items()})

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that the measure stages found, by name: JSON values and tensors."""
        return Facts(copy.deepcopy(dict(self._prepared.facts)))

    def indices(self, split: str) -> Tensor:
        """The example ids of a split: positions in its source, int64, 8 bytes an example; loaders never need them."""
        return torch.from_numpy(written_out(self._examples(split).order).copy())

    def dataset(self, split: str, epoch: int | None = None) -> ExampleDataset:
        """A map-style torch Dataset of the transformed examples of `split`, in the order of `epoch` (default 0).

        For those who bring their own DataLoader: the stages before `batch` apply, those from `batch` on do not.
        """
        self._gate.check()
        examples, repeats = self._examples(split), self._passes_of(split) if epoch is None else None
        epoch = integer("epoch", 0 if epoch is None else epoch, DataError, least=0)
        order = self._order(examples, epoch)
        reading = None if repeats is None else Reading(repeats, order.size)
        return ExampleDataset(self._branches[split].at(epoch), order, self._gate, reading)

    def loader(self, split: str, epoch: int | None = None, start: Snapshot | None = None) -> Loader:
        """The batches of `epoch` (default 0) of a split, from the place that the snapshot `start` names.

        A snapshot brings its own epoch. Raises `UnknownNameError` for a split that is not there, `SnapshotError` for
        a snapshot of another pipeline, split or epoch, and `DataError` if no batch stage holds for the split.
        """
        self._gate.check()
        examples = self._examples(split)
        fingerprint, stages = self._order_named(split, examples)
        is_named = epoch is not None or start is not None
        if start is not None:
            _check_start(start, split, epoch)
            check_same_order(start, fingerprint, stages)
            epoch = start.epoch
        epoch = integer("epoch", 0 if epoch is None else epoch, DataError, least=0)
        order = self._order(examples, epoch)
        begin = start or Snapshot(fingerprint, split, epoch, 0, stages)
        if begin.examples > order.size:
            msg = f"the snapshot has seen {begin.examples} examples of {split!r}, but an epoch has {order.size}"
            raise SnapshotError(msg)
        branch = self._branches[split].at(epoch)
        context = self.context
        steps = steps_of(branch.batching[1], begin.examples, order.size, context.world_size)
        return Loader(
            branch,
            Plan.of(order, steps, context.rank),
            Crossing(branch.transfer, context.device, self._options),
            begin,
            self._gate,
            self._maker,
            partial(self.loader, split),
            None if is_named else self._passes_of(split),
        )

    def epochs(self, split: str, stop: int | None = None, start: Snapshot | None = None) -> Iterator[Loader]:
        """A loader for each epoch before `stop`, without `stop` for ever; the first begins where `start` says."""
        if stop is not None:
            integer("stop", stop, DataError, least=0)
        first = self.loader(split, epoch=0) if start is None else self.loader(split, start=start)
        return _epochs(self, split, stop, first)

    def profile(self, split: str, steps: int = 20) -> Profile:
        """How long each stage of a split takes for a batch, which one limits, and what setting to change.

        Times the first `steps` steps of epoch 0, stage by stage, and then as the loader makes them. `print` it, or read
        its fields. Raises `DataError` if there are no steps.
        """
        return self.loader(split, epoch=0).profile(steps)

    def close(self) -> None:
        """Release the sources, and end worker processes and threads. Closing twice does no harm.

        The data and its loaders cannot be used afterwards.
        """
        self._gate.is_open = False
        self._maker.close()
        self._maker, self._branches = Inline(), {}
        sources, self._prepared = self._prepared.sources, attrs.evolve(self._prepared, sources={})
        close_all(sources.values())

    def __enter__(self) -> Self:
        self._gate.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _examples(self, split: str) -> Examples:
        self._gate.check()
        splits = self._prepared.splits
        if split not in splits:
            raise UnknownNameError(unknown("split", split, splits))
        return splits[split]

    def _passes_of(self, split: str) -> Repeats | None:
        return self._passes.setdefault(split, Repeats(split)) if self._changes(split) else None

    def _changes(self, split: str) -> bool:
        """Whether another epoch of a split has another order, or other augmentation."""
        return self._branches[split].changes or is_drawn(self._branches[split].source)

    def _order(self, examples: Examples, epoch: int) -> Order:
        return order_of_epoch(self.pipeline, examples, epoch, self._weights_for(examples))

    def _order_named(self, split: str, examples: Examples) -> tuple[str, tuple[str, ...]]:
        """The fingerprint and the stages of the split's order: the same in every epoch, so computed once."""
        if split not in self._order_names:
            size = len(self._prepared.sources[examples.source])
            entries = order_entries(self.pipeline, examples, size, self._weights_for(examples))
            self._order_names[split] = order_fingerprint(entries), order_stages(entries, split)
        return self._order_names[split]

    def _weights_for(self, examples: Examples) -> dict[int, NDArray[Any]]:
        found = {}
        for number, stage in applying(list(self.pipeline.of_kind(Sample)), examples.names):
            at = number, examples.source
            if at not in self._weights:
                where = stage_note(number, "sample", str(self._branches[examples.names[0]].where))
                with noted(where), opened_here(self._prepared.sources) as sources:
                    self._weights[at] = weights_of(stage.weights, sources[examples.source])
            found[number] = self._weights[at]
        return found

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {size}" for name, size in self.splits.items())
        return f"<fdm.Data of {splits}{'' if self._gate.is_open else ', closed'}>"

    def _repr_html_(self) -> str:
        context = self.context
        title = f"fdm.Data{'' if self._gate.is_open else ', closed'}, rank {context.rank} of {context.world_size}"
        facts = [hidden("facts", Facts(self._prepared.facts)._repr_html_())] if self._prepared.facts else []
        return page(title, bars(self.splits, "examples of the splits"), *facts)


def prepared_of(data: Data) -> Prepared:
    """The sources, splits and facts of opened data, for those who look into it."""
    return data._prepared  # noqa: SLF001 - of this very module


def weights_in(data: Data) -> Mapping[tuple[int, str], NDArray[Any]]:
    """The weights of all samples of opened data, by the number of the stage and the source, computed where they are not."""
    for examples in prepared_of(data).splits.values():
        data._weights_for(examples)  # noqa: SLF001 - of this very module
    return data._weights  # noqa: SLF001 - of this very module


def branches_of(data: Data) -> Mapping[str, Branch]:
    """The branches of opened data by split, for those who look into it."""
    return data._branches  # noqa: SLF001 - of this very module


def _before_transfer(branches: Mapping[str, Branch]) -> dict[str, Branch]:
    return {split: branch.before_transfer() for split, branch in branches.items()}


def _epochs(data: Data, split: str, stop: int | None, loader: Loader) -> Iterator[Loader]:
    while stop is None or loader.epoch < stop:
        yield loader
        loader = data.loader(split, epoch=loader.epoch + 1)


def _check_start(start: object, split: str, epoch: int | None) -> None:
    if not isinstance(start, Snapshot):
        msg = f"start is a Snapshot, not a {type(start).__name__}; from plain values: Snapshot.from_dict(...)"
        raise SnapshotError(msg)
    if start.split != split:
        msg = f"the snapshot is of split {start.split!r}, but the loader of {split!r} was asked for"
        raise SnapshotError(msg)
    if epoch is not None and epoch != start.epoch:
        msg = f"the snapshot is of epoch {start.epoch}, but epoch {epoch} was asked for; leave out one of them"
        raise SnapshotError(msg)
