"""The shell: a LightningDataModule whose every answer comes from a frozen pipeline."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import attrs

from .._arrays.tree import entries, leaves, map_leaves
from .._batches.transfer import move
from .._data import Data
from .._errors import DataError, did_you_mean, noted, stage_note
from .._executor import Executor, agree, open_alone
from .._pipeline import Pipeline, fingerprint, replace
from .._ranks.context import RankContext
from .._stages.stage import Batch, Measure, Transfer
from .._text import visible, without_secrets
from ._cursor import Loading, from_plain, has_cursor, place, to_plain
from ._feed import TRAIN_MODE, Feed, Train
from ._hooks import GUARDED, guarded, has, hide, is_hidden
from ._passes import Passes
from ._roles import PREDICT, TEST, TRAIN, VAL, Role, batch_of_role, roles_in, roles_of
from ._trainer import (
    asks_for,
    context_of,
    flat_description,
    has_asked_for,
    indices_for_writers,
    is_fitting,
    is_running,
    place_beside,
    saved_states,
)
from ._underway import Handed, Path, Underway, at, changed_at


class Shell:
    """The hooks of a LightningDataModule for a pipeline: mixed into one by `shell_class`.

    `pipeline` is the frozen pipeline, `data` is it opened, `facts` are its facts: all there before any Trainer. What a
    Trainer restores is the cursor: the place in the order of the train split, and the pipeline's fingerprint.
    """

    trainer: Any = None
    hparams: Any
    save_hyperparameters: Any
    _origin: tuple[Callable[..., Any], tuple[Any, ...]]

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        train: Role = TRAIN,
        val: Role = VAL,
        test: Role = TEST,
        predict: Role = PREDICT,
        options: Mapping[str, Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        save_hyperparameters: bool = True,
    ) -> None:
        super().__init__()
        # With fewer examples than ranks some ranks have none, which is right; Lightning would take it for a mistake.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._executor = Executor(context=RankContext(), **(options or {}))
        self._arguments = None if arguments is None else dict(arguments)
        self._saves_hyperparameters = save_hyperparameters
        self._asked: dict[str, Role] = {"train": train, "val": val, "test": test, "predict": predict}
        self._data: Data | None = None
        self._passes, self._underway = Passes(), Underway()
        self._become(pipeline)

    def _become(self, pipeline: Pipeline) -> None:
        """Take a pipeline: the hooks that it has no use for are gone, so that Lightning does without, or the module's win."""
        self._release()
        self._pipeline, self._fingerprint = pipeline, ""
        self.roles = roles_of(pipeline, **self._asked)
        hide(self, Shell, self._pipeline, self.roles)
        if self._saves_hyperparameters:
            _save_hyperparameters(self, flat_description(pipeline) if self._arguments is None else self._arguments)

    def _lightnings(self, hook: str) -> Any:
        """The hook as Lightning has it."""
        return getattr(super(), hook)

    @property
    def pipeline(self) -> Pipeline:
        """The frozen pipeline."""
        return self._pipeline

    @property
    def data(self) -> Data:
        """The pipeline opened for this rank: the Trainer's, or before there is one this process's own.

        Where it is not open yet it is opened here, for this rank alone: no other rank has to ask for it.
        """
        executor = self._executor_here()
        if self._data is not None and self._data.context != executor.context:
            self._release()
        return self._opened(open_alone(executor, self._pipeline)) if self._data is None else self._data

    def _executor_here(self) -> Executor:
        return attrs.evolve(self._executor, context=context_of(self.trainer))

    def _opened(self, data: Data) -> Data:
        """Take opened data: now the splits are known, and with them the roles that are not there."""
        try:
            self.roles = roles_in(data.splits, **self._asked)
        except BaseException:
            data.close()
            raise
        self._data = data
        hide(self, Shell, self._pipeline, self.roles)
        return data

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the measure stages found, before any model or Trainer exists."""
        return self.data.facts

    @property
    def batch_size(self) -> int:
        """The batch size of the train split; setting it replaces the pipeline by one with another batch size."""
        return int(self._batch.size)

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        changed = attrs.evolve(self._batch, size=size)
        if self._arguments is not None and "batch_size" in self._arguments:
            self._arguments["batch_size"] = changed.size
        self._become(replace(self._pipeline, changed))

    @property
    def _batch(self) -> Batch:
        return batch_of_role(self._pipeline, self.roles.train)

    # What Lightning calls, in the order in which it does.

    def prepare_data(self) -> None:
        """Fetch, clean and measure what is not in the store yet: once per store, whichever process comes first.

        The Trainer has one rank do it, while the others wait for that, so it waits for none of them.
        """
        if next(self._pipeline.of_kind(Measure), None) is None:
            self._executor_here().prepare(self._pipeline)
        else:
            self.data  # noqa: B018 - measuring needs it open, and setup comes next

    def setup(self, stage: Any = None) -> None:
        """Open the pipeline for the Trainer's rank and device; a run of `fit` begins where the Trainer does.

        In a run of the Trainer, where all ranks come here, they compare what they have.
        """
        if getattr(stage, "value", stage) in ("fit", None):
            self._passes.begin_anew()
        executor = self._executor_here()
        if not is_running(self.trainer):
            self.data  # noqa: B018 - opens it
        elif self._data is None or self._data.context != executor.context:
            self._release()
            self._opened(executor.open(self._pipeline))
        else:
            agree(executor, self._data)

    def train_dataloader(self) -> Any:
        """The train batches: each pass is the next epoch, and the first goes on where a checkpoint was written."""
        if not self.roles.train:
            return self._lightnings("train_dataloader")()
        train = self._train()
        train.check_even()
        self._restore_what_another_name_saved()
        steps = self._passes.steps_of_epoch(train, self.trainer)
        begin, went_on = self._passes.begin, self._passes.went_on
        # The Trainer may be another one when an iteration begins.
        return Feed(
            train.splits,
            steps,
            lambda: begin(self._train, self.trainer),
            lambda loader: went_on(self.trainer, loader),
            self._tracked(),
            lambda: asks_for(self.trainer),
            lambda: has_asked_for(self.trainer),
        )

    def val_dataloader(self) -> Any:
        """The val batches; of several splits a list of loaders, in their order."""
        return self._feeds("val")

    def test_dataloader(self) -> Any:
        """The test batches; of several splits a list of loaders, in their order."""
        return self._feeds("test")

    def predict_dataloader(self) -> Any:
        """The predict batches, in the order of the data; of several splits a list of loaders, in their order."""
        return self._feeds("predict")

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Move a batch as the pipeline's transfer stage says; without one the module's own hook does."""
        number, transfer = next(self._pipeline.of_kind(Transfer), (0, None))
        if transfer is None:
            return self._lightnings("transfer_batch_to_device")(batch, device, dataloader_idx)
        found = self._known(batch)
        with noted(stage_note(number, f"transfer to {device}")):
            moves = dict.fromkeys(found, lambda part: move(part, device, transfer.skip))
            moved = changed_at(batch, moves, lambda part: _moved_from_elsewhere(part, device, transfer.skip))
        for path, handed in found.items():
            handed.becomes(at(moved, path))
            if not has("on_after_batch_transfer", self._pipeline, self.roles):
                self._underway.done(handed)
        return moved

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Run the stages after the transfer; without any the module's own hook runs.

        They are of examples of a split. A batch that the Trainer sends here from elsewhere, such as a model's
        `example_input_array` or one of a DataLoader of the user's, is returned as it is.
        """
        if not has("on_after_batch_transfer", self._pipeline, self.roles):
            return self._lightnings("on_after_batch_transfer")(batch, dataloader_idx)
        found = self._known(batch)
        for handed in found.values():
            self._underway.done(handed)
        if found:
            return changed_at(batch, {path: handed.finish for path, handed in found.items()}, lambda part: part)
        if self.trainer is None:
            msg = "a batch came to on_after_batch_transfer that is from none of this datamodule's loaders"
            raise DataError(msg)
        return batch

    def teardown(self, stage: Any = None) -> None:  # noqa: ARG002 - all stages alike
        """Release the data; whoever asks for it again opens it again."""
        self._passes.end(self.trainer)
        self._release()

    def on_exception(self, exception: BaseException) -> None:  # noqa: ARG002 - all alike
        """Release the data, since after an exception Lightning calls no teardown."""
        self._passes.end(self.trainer)
        self._release()

    def state_dict(self) -> dict[str, Any]:
        """The cursor and the pipeline's fingerprint, as plain JSON values; nothing before there was a train batch."""
        here = place(self._passes.cursor)
        if here is None:
            return {}
        self._fingerprint = self._fingerprint or fingerprint(self._pipeline)
        return {"fingerprint": self._fingerprint, **to_plain(here)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the cursor from a checkpoint, to fit on from there. Only `fit` asks for it, so others do not check it.

        Raises `SnapshotError` for one of another pipeline, which names the stage that differs, and for what is no state.
        """
        is_asked = self.trainer is None or is_fitting(self.trainer)
        if not is_asked or not has_cursor(state_dict):
            return
        restored = from_plain(state_dict, TRAIN_MODE)
        self._train().at(start=restored)
        self._passes.restore(restored)

    def _restore_what_another_name_saved(self) -> None:
        """Take the state of a checkpoint where Lightning did not find it: it looks under the name of the class."""
        if self._passes.is_restored or not is_fitting(self.trainer):
            return
        self._passes.is_restored = True
        states = saved_states(self.trainer)
        if len(states) == 1:
            self.load_state_dict(states[0])

    def _train(self) -> Train:
        return Train(self.data, self.roles.train)

    def _feeds(self, role: str) -> Any:
        self.data  # noqa: B018 - with it the splits are known
        if not getattr(self.roles, role):
            return self._lightnings(f"{role}_dataloader")()
        feeds = [self._feed(role, split) for split in getattr(self.roles, role)]
        return feeds if len(feeds) > 1 else feeds[0]

    def _feed(self, role: str, split: str) -> Feed:
        seen: list[list[int]] | None = [] if role == "predict" else None
        sampler = None if seen is None else indices_for_writers(type(self), seen)
        steps = len(self.data.loader(split))
        begin = partial(self._begin_evaluation, split)
        return Feed(
            (split,),
            steps,
            begin,
            underway=self._tracked(),
            asks=lambda: asks_for(self.trainer),
            has_asked=lambda: has_asked_for(self.trainer),
            seen=seen,
            batch_sampler=sampler,
        )

    def _begin_evaluation(self, split: str) -> Callable[[], Loading]:
        return partial(self.data.loader, split, epoch=0)

    def _known(self, batch: Any) -> dict[Path, Handed]:
        """The batches of this datamodule's loaders that are in one that came to a hook, and where."""
        if not is_running(self.trainer):
            return self._underway.by_hand(batch)
        return self._underway.under(batch, has_asked_for(self.trainer), partial(place_beside, self.trainer))

    def _tracked(self) -> Underway | None:
        return None if next(self._pipeline.of_kind(Transfer), None) is None else self._underway

    def _release(self) -> None:
        data, self._data, self._underway.batches = self._data, None, []
        if data is not None:
            data.close()

    def __getattribute__(self, name: str) -> Any:
        try:
            found = super().__getattribute__(name)
            return guarded(self, Shell, name, found) if name in GUARDED else found
        except AttributeError as error:
            # Errors of properties have passed through the user's functions, and mean something else.
            if name.startswith("_") or error.name != name or error.obj is not self:
                raise
            msg = (
                f"{type(self).__name__!r} object has no attribute {name!r}; {_of_facts(name, vars(self).get('_data'))}"
            )
            raise AttributeError(msg, name=name, obj=self) from None

    def __reduce__(self) -> Any:
        return _remade, vars(type(self)).get("_origin", (_itself, (type(self),))), self.__getstate__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made = memo[id(self)] = type(self).__new__(type(self))
        made.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return made

    def __getstate__(self) -> dict[str, Any]:
        released: dict[str, Any] = {
            "_data": None,
            "_passes": self._passes.kept(),
            "_underway": Underway(),
        }
        return {name: value for name, value in vars(self).items() if not is_hidden(self, Shell, name)} | released

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        hide(self, Shell, self._pipeline, self.roles)

    def __str__(self) -> str:
        sizes = {} if self._data is None else self._data.splits
        lines = [f"{role:<8} {_shown(names, sizes)}" for role, names in attrs.asdict(self.roles).items()]
        return "\n".join([*lines, str(self._pipeline)])

    def __repr__(self) -> str:
        name = "fdm datamodule" if type(self).__name__ == "FdmDataModule" else type(self).__qualname__
        return f"<{name}{'' if self._data is None else ', open'}\n{self}>"


@cache
def shell_class(base: type) -> type:
    """The datamodule class of pipelines below a LightningDataModule class of either tree."""
    made: Any = type("FdmDataModule", (Shell, base), {"__module__": __name__, "__doc__": Shell.__doc__})
    made._origin = (shell_class, (base,))  # noqa: SLF001 - its own, set here because no file holds the class
    return made  # type: ignore[no-any-return]  # built here, so no checker knows it


def _save_hyperparameters(datamodule: Any, values: Mapping[str, Any]) -> None:
    # A frame of its own: Lightning looks for the caller's arguments there, and these are to be saved as they are.
    datamodule.save_hyperparameters({name: _without_secrets(value) for name, value in values.items()})


def _without_secrets(value: Any) -> Any:
    """A hyperparameter as loggers and checkpoints may keep it: without the secrets of the URLs in it."""
    texts = [leaf for leaf in leaves(value) if isinstance(leaf, str)]
    if all(without_secrets(text) == text for text in texts):
        return value
    return map_leaves(lambda leaf: without_secrets(leaf) if isinstance(leaf, str) else leaf, value)


def _moved_from_elsewhere(batch: Any, device: Any, skip: Sequence[str]) -> Any:
    return move(batch, device, [name for name in skip if name in entries(batch)])


def _shown(names: tuple[str, ...], sizes: Mapping[str, int]) -> str:
    shown = (f"{visible(name)} {sizes[name]}" if name in sizes else visible(name) for name in names)
    return ", ".join(shown) or "absent"


def _of_facts(name: str, data: Data | None) -> str:
    if data is not None and name in data.facts:
        return f'it is a fact: dm.facts["{name}"]'
    return (
        f'what fdm.measure finds in the data is in dm.facts["{name}"]{did_you_mean(name, data.facts if data else ())}'
    )


def _itself(cls: type) -> type:
    return cls


def _remade(make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    cls = make(*arguments)
    return cls.__new__(cls)
