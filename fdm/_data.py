"""Opened pipelines: splits, facts, and the loaders and datasets of each split."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, overload

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._arrays.ragged import Ragged
from ._batches.draws import Draws
from ._checks import integer
from ._errors import DataError, ParameterError, SnapshotError, UnknownNameError, listed, noted, stage_note, unknown
from ._habits.attributes import OtherNames
from ._habits.calls import guided
from ._loaders.dataset import ExampleDataset, Orders, shared_epoch
from ._loaders.device import Crossing
from ._loaders.loader import Loader
from ._loaders.options import LoaderOptions, Maker
from ._loaders.profile import Profile
from ._loaders.repeats import Reading, Repeats
from ._loaders.stream import Stream, place_of
from ._loaders.threads import Inline
from ._orders.lengths import Layout
from ._orders.order import written_out
from ._pipeline import Pipeline
from ._plans.branch import Branch, Where, check_facts, sources_of
from ._plans.branches import branches_for
from ._plans.epochs import Epochs, MixedEpochs, epochs_of, steps_entry
from ._plans.plan import Plan, planned
from ._plans.snapshot import Snapshot, check_same_order, check_start, order_fingerprint, order_stages
from ._plans.steps import Steps, StepsByLength
from ._prepare.prepare import Prepared
from ._public import public
from ._ranks.context import RankContext
from ._sources.gate import Gate
from ._sources.loaded import close_all, is_drawn, opened_here
from ._splits.splits import weights_of
from ._stages.orders import order_stages_of
from ._stages.stage import Sample
from ._text import bars, hidden, page, short, visible
from .store._facts import Facts


@public
class Data(OtherNames):
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
        sizes = {name: len(source) for name, source in prepared.sources.items()}
        packings = prepared.indices.packings
        self._epochs = epochs_of(pipeline, prepared.splits, sizes, packings, self._weights_of)
        self._branches = branches_for(
            pipeline, prepared.sources, prepared.splits, prepared.facts, self._epochs, context
        )
        self._batching = {split: branch.batch for split, branch in self._branches.items()}  # stays when data is closed
        for split, branch in self._branches.items():
            layout = self._layout(split)
            if layout is not None:
                with noted(stage_note(branch.batching[0], "batch", f"split {split!r}")):
                    layout.check_world(context.world_size)
        self._maker: Maker = options.maker(
            partial(_before_transfer, self._branches), context.device, Draws(context.local_rank == 0)
        )
        self._weights: dict[tuple[int, str], NDArray[Any]] = {}
        self._order_names: dict[tuple[str, Any], tuple[str, tuple[str, ...]]] = {}
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
        """The number of examples of every split, by name; of a mixture those of an epoch."""
        sizes = {name: examples.order.size for name, examples in self._prepared.splits.items()}
        mixed = {name: epochs.size for name, epochs in self._epochs.items() if isinstance(epochs, MixedEpochs)}
        return MappingProxyType({**sizes, **mixed})

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that the measure stages found, by name: JSON values and tensors."""
        return Facts(copy.deepcopy(dict(self._prepared.facts)))

    def indices(self, split: str) -> Tensor:
        """The example ids of a split: positions in its source, int64, 8 bytes an example; loaders never need them.

        Of a mixture they are the ids of its parts, joined.
        """
        epochs = self._epochs_of(split)
        if isinstance(epochs, Epochs):
            return torch.from_numpy(written_out(epochs.examples.order).copy())
        parts = zip(epochs.parts, epochs.offsets.tolist(), strict=True)
        return torch.from_numpy(np.concatenate([written_out(part.examples.order) + first for part, first in parts]))

    def origins(self, split: str) -> tuple[str, ...]:
        """The names of the parts of a mixture, by the numbers that `batch(origin=...)` gives; of another split its own.

        Parts come in the order of their names, those that a later phase of the mixture brings after the others.
        """
        epochs = self._epochs_of(split)
        return (split,) if isinstance(epochs, Epochs) else epochs.run.names

    @overload
    def origin(self, ids: int, split: str | None = None) -> tuple[str, int]: ...
    @overload
    def origin(self, ids: Sequence[int] | Tensor, split: str | None = None) -> list[tuple[str, int]]: ...
    @overload
    def origin(self, ids: Ragged, split: str | None = None) -> list[list[tuple[str, int]]]: ...
    def origin(self, ids: Any, split: str | None = None) -> Any:
        """The split and the example id there of an example of a mixture; of several ids, a list of them, of ragged ones lists.

        `split` names the mixture where there are several. Raises `UnknownNameError` where there is none, or none of that
        name, `DataError` for ids that it does not have.

        >>> import fdm
        >>> def corpora():
        ...     return {"code": range(100), "web": range(500)}
        >>> p = fdm.pipeline(fdm.load(corpora), fdm.mix({"web": 3, "code": 1}, into="train"), fdm.batch(4))
        >>> with fdm.open(p) as data:
        ...     data.origin(data.loader("train").indices(0)), data.origin(102)
        ([('web', 0), ('web', 1), ('web', 2), ('code', 0)], ('web', 2))
        """
        epochs = self._mixture(split)
        if isinstance(ids, Ragged):
            return [self.origin(row, split) for row in ids]
        numbers = torch.as_tensor(ids, dtype=torch.int64, device="cpu")
        size = int(epochs.offsets[-1]) + len(self._prepared.sources[epochs.parts[-1].examples.source])
        outside = numbers[(numbers < 0) | (numbers >= size)]
        if len(outside.flatten()):
            msg = (
                f"the mixture {epochs.mix.into!r} has the example ids 0 to {size - 1}, not {int(outside.flatten()[0])}"
            )
            raise DataError(msg)
        parts = np.searchsorted(epochs.offsets, numbers.numpy().reshape(-1), side="right") - 1
        own = numbers.numpy().reshape(-1) - epochs.offsets[parts]
        pairs = [(epochs.run.names[part], number) for part, number in zip(parts.tolist(), own.tolist(), strict=True)]
        return pairs if numbers.ndim else pairs[0]

    @guided
    def dataset(self, split: str, epoch: int | None = None) -> ExampleDataset:
        """A map-style torch Dataset of the transformed examples of `split`, in the order of `epoch` (default 0).

        For those who bring their own DataLoader: the stages before `batch` apply, those from `batch` on do not. Its
        `set_epoch(n)` changes the epoch, also in worker processes that are there already.
        """
        self._gate.check()
        epochs, repeats = self._epochs_of(split), self._passes_of(split) if epoch is None else None
        epoch = integer("epoch", 0 if epoch is None else epoch, DataError, least=0)
        reading = None if repeats is None else Reading(repeats, epochs.order(epoch).size)
        return ExampleDataset(self._branches[split], Orders(epochs), shared_epoch(epoch), self._gate, reading)

    @guided
    def loader(self, split: str, epoch: int | None = None, start: Snapshot | None = None) -> Loader:
        """The batches of `epoch` (default 0) of a split, from the place that the snapshot `start` names.

        A snapshot brings its own epoch. Raises `UnknownNameError` for a split that is not there, `SnapshotError` for
        a snapshot of another pipeline, split or epoch, and `DataError` if no batch stage holds for the split.
        """
        self._gate.check()
        epochs, branch = self._epochs_of(split), self._branches[split]
        is_named = epoch is not None or start is not None
        if isinstance(epoch, Snapshot | Mapping):
            msg = "loader: what comes second is the epoch, an integer; a snapshot is given by name: start=snapshot"
            raise SnapshotError(msg)
        if start is not None:
            check_start(start, split, epoch)
            check_same_order(start, *self._order_named(split, start.epoch, start.examples))
            epoch = start.epoch
        epoch = integer("epoch", 0 if epoch is None else epoch, DataError, least=0)
        named = partial(self._order_named, split)
        begin = start or Snapshot(*named(epoch, 0)[:1], split, epoch, 0, named(epoch, 0)[1])
        if begin.examples > epochs.size:
            msg = f"the snapshot has seen {begin.examples} examples of {split!r}, but an epoch has {epochs.size}"
            raise SnapshotError(msg)
        context, (_, batch) = self.context, branch.batching
        order, steps = planned(epochs, batch, self._layout(split), epoch, begin.examples, context.world_size)
        return Loader(
            branch.at(epoch),
            Plan.of(order, steps, context.rank),
            Crossing(branch.transfer, context.device, self._options),
            begin,
            named,
            self._gate,
            self._maker,
            partial(self.loader, split),
            None if is_named else self._passes_of(split),
        )

    @guided
    def epochs(self, split: str, stop: int | None = None, start: Snapshot | None = None) -> Iterator[Loader]:
        """A loader for each epoch before `stop`, without `stop` for ever; the first begins where `start` says."""
        if stop is not None:
            integer("stop", stop, DataError, least=0)
        first = self.loader(split, epoch=0) if start is None else self.loader(split, start=start)
        return _epochs(self, split, stop, first)

    @guided
    def stream(self, split: str, stop: int | None = None, start: Snapshot | Mapping[str, Any] | None = None) -> Stream:
        """The batches of a split for a loop that others own: each pass over them is the next epoch.

        Epoch 0 is the first, or `start` says: a Snapshot, or what a stream's `state_dict` gave. After the epochs before
        `stop` a pass has no batches; without `stop` they go on for ever. Raises as `data.loader` does.

        >>> import fdm
        >>> def numbers():
        ...     return range(8)
        >>> with fdm.open(fdm.pipeline(fdm.load(numbers), fdm.shuffle(), fdm.batch(4))) as data:
        ...     stream = data.stream("all", stop=2)
        ...     for epoch in range(2):
        ...         for batch in stream:
        ...             print(batch.tolist(), stream.state_dict()["epoch"], stream.state_dict()["examples"])
        [4, 0, 5, 6] 0 4
        [2, 3, 7, 1] 1 0
        [6, 0, 3, 5] 1 4
        [7, 2, 4, 1] 2 0
        """
        first = self.loader(split, epoch=0) if start is None else self.loader(split, start=place_of(start))
        return Stream(first, partial(self.dataset, split), stop)

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

    if not TYPE_CHECKING:  # else checkers would take it for a mapping

        def __getitem__(self, split: object) -> NoReturn:
            name = split if isinstance(split, str) else "train"
            msg = (
                f'the batches of a split are data.loader("{name}"), those of several epochs data.epochs("{name}", 3), its '
                f'examples data.dataset("{name}"); the splits are {listed(self._epochs)}'
            )
            raise ParameterError(msg)

        def __iter__(self) -> NoReturn:
            self[0]

    def __enter__(self) -> Self:
        self._gate.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _epochs_of(self, split: str) -> Epochs | MixedEpochs:
        self._gate.check()
        if not isinstance(split, str):
            msg = f'a split is named by a string, as in data.loader("train") or data.epochs("train", 3), not {short(split, 60)}'
            raise UnknownNameError(msg)
        if split not in self._epochs:
            raise UnknownNameError(unknown("split", split, self._epochs))
        return self._epochs[split]

    def _mixture(self, split: str | None) -> MixedEpochs:
        """The mixture of this name, or the one that there is."""
        mixtures = {name: epochs for name, epochs in self._epochs.items() if isinstance(epochs, MixedEpochs)}
        if split is None and len({epochs.mix.into for epochs in mixtures.values()}) == 1:
            return next(iter(mixtures.values()))
        if split is not None and split in mixtures:
            return mixtures[split]
        there = f"there are {listed(mixtures)}" if mixtures else "the pipeline makes none"
        asked = "which one is meant" if split is None else f"{split!r} is none"
        msg = f"origin: ids are those of a mixture, and {asked}; {there}"
        raise UnknownNameError(msg)

    def _passes_of(self, split: str) -> Repeats | None:
        return self._passes.setdefault(split, Repeats(split)) if self._changes(split) else None

    def _changes(self, split: str) -> bool:
        """Whether another epoch of a split has another order, or other augmentation."""
        branch = self._branches[split]
        return branch.changes or any(map(is_drawn, sources_of(branch.source)))

    def _layout(self, split: str) -> Layout | None:
        """How the buckets of a split fall into steps; None where its batches are not made by length."""
        batch = self._batching[split]
        return None if batch is None else self._prepared.indices.layouts.get((split, batch[0]))

    def _order_named(self, split: str, epoch: int, seen: int) -> tuple[str, tuple[str, ...]]:
        """The fingerprint and the stages of what decides the first `seen` examples of an epoch of a split.

        Only of a mixture do they depend on the place, and by length on whether it is the start of an epoch.
        """
        epochs, layout, batching = self._epochs[split], self._layout(split), self._batching[split]
        if isinstance(epochs, MixedEpochs):
            place: Any = len(epochs.run.begun(epoch * epochs.run.size + seen).phases)
        else:
            place = layout is not None and seen > 0
        if (split, place) not in self._order_names:
            entries = epochs.entries(epoch, seen)
            if layout is not None and batching is not None and seen:
                entries.append(steps_entry(batching[1], layout))
            self._order_names[split, place] = order_fingerprint(entries), order_stages(entries, split)
        return self._order_names[split, place]

    def _weights_of(self, source: str, number: int) -> NDArray[Any]:
        """The weights of a sample stage for the examples of a source, computed once."""
        if (number, source) not in self._weights:
            stage = self.pipeline.stages[number]
            assert isinstance(stage, Sample), "nothing else has weights"
            where = Where(self._drawn_by(source, number), 0, self.context.rank, self.context.world_size)
            with noted(stage_note(number, "sample", str(where))), opened_here(self._prepared.sources) as sources:
                self._weights[number, source] = weights_of(stage.weights, sources[source])
        return self._weights[number, source]

    def _drawn_by(self, source: str, number: int) -> str:
        """The first split of a source for which the sample stage of this number holds."""
        of_source = {name: examples for name, examples in self._prepared.splits.items() if examples.source == source}
        stages = self.pipeline.stages
        return next(name for name, each in of_source.items() if number in dict(order_stages_of(stages, each.names)))

    def __repr__(self) -> str:
        splits = ", ".join(f"{visible(name)} {size}" for name, size in self.splits.items())
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
    for epochs in data._epochs.values():  # noqa: SLF001 - of this very module
        for part in [epochs] if isinstance(epochs, Epochs) else epochs.parts:
            for number, stage in part.stages:
                if isinstance(stage, Sample):
                    part.weights(number)
    return data._weights  # noqa: SLF001 - of this very module


def branches_of(data: Data) -> Mapping[str, Branch]:
    """The branches of opened data by split, for those who look into it."""
    return data._branches  # noqa: SLF001 - of this very module


def steps_for(data: Data, split: str, world_size: int) -> Steps | StepsByLength:
    """The steps of epoch 0 of a split for another number of ranks, for those who look into it."""
    batch = branches_of(data)[split].batching[1]
    return planned(data._epochs[split], batch, data._layout(split), 0, 0, world_size)[1]  # noqa: SLF001 - of this module


def _before_transfer(branches: Mapping[str, Branch]) -> dict[str, Branch]:
    return {split: branch.before_transfer() for split, branch in branches.items()}


def _epochs(data: Data, split: str, stop: int | None, loader: Loader) -> Iterator[Loader]:
    while stop is None or loader.epoch < stop:
        yield loader
        loader = data.loader(split, epoch=loader.epoch + 1)
