"""The shell: a LightningDataModule whose every answer comes from a frozen pipeline."""

import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from typing import Any

import attrs

from ._construct import batch
from ._cursor import Cursor, Loading, batches_done, begun, from_plain, place, to_plain
from ._data import Data
from ._errors import DataError, SnapshotError, noted, stage_note
from ._executor import Executor
from ._feed import TRAIN_MODE, Feed, Finish, Train
from ._pipeline import Pipeline, fingerprint, replace
from ._roles import PREDICT, TEST, TRAIN, VAL, Role, Roles, roles_of
from ._stage import Augment, Batch, Measure, Transfer, Transform
from ._trainer import context_of, flat_description, indices_for_writers, is_fitting, role_of
from ._transfer import move


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
    ) -> None:
        super().__init__()
        # With fewer examples than ranks some ranks have none, which is right; Lightning would take it for a mistake.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._options, self._arguments = dict(options or {}), dict(arguments or {})
        self._asked: dict[str, Role] = {"train": train, "val": val, "test": test, "predict": predict}
        self._data: Data | None = None
        self._cursor = Cursor()
        self._waiting: dict[tuple[str, int], deque[Finish]] = defaultdict(deque)
        self._fed = "train"
        self._reloads: int | None = None
        self._told_early = False
        self._become(pipeline)

    def _become(self, pipeline: Pipeline) -> None:
        """Take a pipeline: the hooks that it has no use for are gone, so that Lightning does without, or the module's win."""
        self._release()
        self._pipeline, self._fingerprint = pipeline, ""
        self.roles = roles_of(pipeline, **self._asked)
        self._hide_hooks()
        _save_hyperparameters(self, self._arguments or flat_description(pipeline))

    def _hide_hooks(self) -> None:
        # Lightning takes a hook that is the base class's own for one that is not there.
        for hook in _HOOKS:
            vars(self).pop(hook, None)
            if getattr(type(self), hook) is getattr(Shell, hook) and not _has(hook, self._pipeline, self.roles):
                setattr(self, hook, getattr(super(), hook))

    @property
    def pipeline(self) -> Pipeline:
        """The frozen pipeline."""
        return self._pipeline

    @property
    def data(self) -> Data:
        """The pipeline opened for this rank: the Trainer's, or before there is one this process's own."""
        context = context_of(self.trainer)
        if self._data is not None and self._data.context != context:
            self._release()
        if self._data is None:
            self._data = Executor(context=context, **self._options).open(self._pipeline)
        return self._data

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
        changed = attrs.evolve(self._batch, size=batch(size).size)
        if "batch_size" in self._arguments:
            self._arguments["batch_size"] = changed.size
        self._become(replace(self._pipeline, changed))

    @property
    def _batch(self) -> Batch:
        stages: list[Batch] = [stage for _, stage in self._pipeline.of_kind(Batch)]
        named = [stage for stage in stages if set(stage.splits) & set(self.roles.train)]
        general = [stage for stage in stages if not stage.splits]
        if not stages:
            msg = "the pipeline has no batch stage, so no batch size"
            raise AttributeError(msg)
        return (named or general or stages)[0]

    # What Lightning calls, in the order in which it does.

    def prepare_data(self) -> None:
        """Fetch, clean and measure what is not in the store yet: once per store, whichever process comes first."""
        if next(self._pipeline.of_kind(Measure), None) is None:
            Executor(context=context_of(self.trainer), **self._options).prepare(self._pipeline)
        else:
            self.data  # noqa: B018 - measuring needs it open, and setup comes next

    def setup(self, stage: Any = None) -> None:
        """Open the pipeline for the Trainer's rank and device; a run of `fit` begins where the Trainer does."""
        if getattr(stage, "value", stage) in ("fit", None):
            self._cursor = Cursor()
        self.data  # noqa: B018 - opens it

    def train_dataloader(self) -> Feed:
        """The train batches: each pass is the next epoch, and the first goes on where a checkpoint was written."""
        train = self._train
        train.check_even()
        is_fit = self.trainer is not None and is_fitting(self.trainer)
        return Feed(self._begin, self._steps_of_epoch(train) if is_fit else len(train.at()), self._queue("train", 0))

    def val_dataloader(self) -> Any:
        """The val batches; of several splits a list of loaders, in their order."""
        return self._feeds("val")

    def test_dataloader(self) -> Any:
        """The test batches; of several splits a list of loaders, in their order."""
        return self._feeds("test")

    def predict_dataloader(self) -> Any:
        """The predict batches, in the order of the data; of several splits a list of loaders, in their order."""
        return self._feeds("predict")

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:  # noqa: ARG002 - of any loader
        """Move a batch as the pipeline's transfer stage says; without one the module's own hook does."""
        number, transfer = next(self._pipeline.of_kind(Transfer))
        with noted(stage_note(number, f"transfer to {device}")):
            if self._role() == "train" and len(self.roles.train) > 1:
                return {name: move(part, device, transfer.skip) for name, part in batch.items()}
            return move(batch, device, transfer.skip)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Run the stages after the transfer; without any the module's own hook runs."""
        waiting = self._waiting[self._role(), dataloader_idx]
        if not waiting:
            msg = "a batch came to on_after_batch_transfer that is from none of this datamodule's loaders"
            raise DataError(msg)
        return waiting.popleft()(batch)

    def teardown(self, stage: Any = None) -> None:  # noqa: ARG002 - all stages alike
        """Release the data; whoever asks for it again opens it again."""
        self._reload_as_before()
        self._release()

    def on_exception(self, exception: BaseException) -> None:  # noqa: ARG002 - all alike
        """Release the data, since after an exception Lightning calls no teardown."""
        self._reload_as_before()
        self._release()

    def state_dict(self) -> dict[str, Any]:
        """The cursor and the pipeline's fingerprint, as plain JSON values; nothing before there was a train batch."""
        at = place(self._cursor)
        if at is None:
            return {}
        self._fingerprint = self._fingerprint or fingerprint(self._pipeline)
        return {"version": _VERSION, "fingerprint": self._fingerprint, **to_plain(at)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the cursor from a checkpoint, to fit on from there. Only `fit` asks for it, so others do not check it.

        Raises `SnapshotError` for one of another pipeline, which names the stage that differs.
        """
        is_asked = self.trainer is None or is_fitting(self.trainer)
        if not is_asked or not {"version", "cursor"} & state_dict.keys():  # before the first batch there is none
            return
        if state_dict.get("version") != _VERSION:
            msg = f"the datamodule's state is of version {state_dict.get('version')!r}; this fdm reads {_VERSION}"
            raise SnapshotError(msg)
        restored = from_plain(state_dict, TRAIN_MODE)
        self._train.at(start=restored)
        self._cursor = Cursor(restored)
        # Lightning says so of any loader that does not keep its own state; here the datamodule keeps it.
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")

    @property
    def _train(self) -> Train:
        return Train(self.data, self.roles.train)

    def _begin(self) -> Loading:
        """The loader of the pass that begins now."""
        train, self._fed = self._train, "train"
        if self.trainer is None or not is_fitting(self.trainer):
            return train.at(start=self._cursor.restored)
        if self.trainer.overfit_batches:  # the same batches in every epoch
            return train.at()
        loop = self.trainer.fit_loop
        epoch, progress = loop.epoch_progress.current.processed, loop.epoch_loop.batch_progress
        self._cursor = begun(
            self._cursor, progress, lambda start: train.at(start=start), lambda step: train.at(epoch)[step:]
        )
        current = self._cursor.passes[-1]
        if self._told_early and current.ready + len(current.loader) != len(train.at()):
            warnings.warn(_OTHER_STEPS, stacklevel=2)
        self._told_early = False
        return current.loader

    def _steps_of_epoch(self, train: Train) -> int:
        """The steps of the epoch that comes, in the Trainer's count.

        One that another batch size or number of ranks began has its own number, so the loader is asked for anew after it.
        """
        whole, trainer = len(train.at()), self.trainer
        self._reload_as_before()
        if self._cursor.restored is None or self._cursor.passes:
            return whole
        progress = trainer.fit_loop.epoch_loop.batch_progress
        done, self._told_early = batches_done(progress), not progress.total.ready
        steps = done + len(train.at(start=self._cursor.restored))
        if steps == whole or not done:
            return whole
        self._reloads, trainer.reload_dataloaders_every_n_epochs = trainer.reload_dataloaders_every_n_epochs, 1
        return steps

    def _reload_as_before(self) -> None:
        if self._reloads is not None:
            self.trainer.reload_dataloaders_every_n_epochs, self._reloads = self._reloads, None

    def _feeds(self, role: str) -> Any:
        feeds = [self._feed(role, at, split) for at, split in enumerate(getattr(self.roles, role))]
        return feeds if len(feeds) > 1 else feeds[0]

    def _feed(self, role: str, at: int, split: str) -> Feed:
        seen: list[list[int]] | None = [] if role == "predict" else None
        sampler = None if seen is None else indices_for_writers(type(self), seen)
        begin = partial(self._begin_evaluation, role, split)
        return Feed(begin, len(self.data.loader(split)), self._queue(role, at), seen, sampler)

    def _begin_evaluation(self, role: str, split: str) -> Loading:
        self._fed = role
        return self.data.loader(split)

    def _queue(self, role: str, at: int) -> "deque[Finish] | None":
        return None if "on_after_batch_transfer" in vars(self) else self._waiting[role, at]

    def _role(self) -> str:
        return role_of(self.trainer) or self._fed

    def _release(self) -> None:
        data, self._data = self._data, None
        for waiting in self._waiting.values():
            waiting.clear()
        if data is not None:
            data.close()

    def __init_subclass__(cls, **options: Any) -> None:
        """Lightning files a datamodule's state under the name of its class: one name, so that a class can be renamed."""
        super().__init_subclass__(**options)
        cls._origin = (_found, (cls.__module__, cls.__qualname__))
        cls.__qualname__ = "FdmDataModule"

    def __reduce__(self) -> Any:
        return _remade, self._origin, self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        released: dict[str, Any] = {
            "_data": None,
            "_cursor": Cursor(place(self._cursor)),
            "_waiting": defaultdict(deque),
        }
        return {name: value for name, value in vars(self).items() if name not in _HOOKS} | released

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._hide_hooks()

    def __str__(self) -> str:
        sizes = {} if self._data is None else self._data.splits
        lines = [f"{role:<8} {_shown(names, sizes)}" for role, names in attrs.asdict(self.roles).items()]
        return "\n".join([*lines, str(self._pipeline)])

    def __repr__(self) -> str:
        return f"<fdm datamodule{'' if self._data is None else ', open'}\n{self}>"


@cache
def shell_class(base: type) -> type:
    """The datamodule class of pipelines below a LightningDataModule class of either tree."""
    made: Any = type("FdmDataModule", (Shell, base), {"__module__": __name__, "__doc__": Shell.__doc__})
    made._origin = (shell_class, (base,))  # noqa: SLF001 - its own, set here because no file holds the class
    return made  # type: ignore[no-any-return]  # built here, so no checker knows it


def _save_hyperparameters(datamodule: Any, values: Mapping[str, Any]) -> None:
    # A frame of its own: Lightning looks for the caller's arguments there, and these are to be saved as they are.
    datamodule.save_hyperparameters(dict(values))


def _has(hook: str, p: Pipeline, roles: Roles) -> bool:
    """Whether a pipeline has a use for a hook."""
    if hook.endswith("_dataloader"):
        return bool(getattr(roles, hook.removesuffix("_dataloader")))
    transfer = next((number for number, _ in p.of_kind(Transfer)), len(p.stages))
    if hook == "transfer_batch_to_device":
        return transfer < len(p.stages)
    return any(number > transfer for number, _ in p.of_kind(Transform, Augment))


def _shown(names: tuple[str, ...], sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {sizes[name]}" if name in sizes else name for name in names) or "absent"


def _found(module: str, name: str) -> Any:
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _remade(make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    cls = make(*arguments)
    return cls.__new__(cls)


_HOOKS = (
    "train_dataloader",
    "val_dataloader",
    "test_dataloader",
    "predict_dataloader",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)
_OTHER_STEPS = (
    "the checkpoint was written inside an epoch with another batch size or number of ranks, and the Trainer asked for the "
    "number of batches (estimated_stepping_batches does) before it knew that: it may end that epoch early or late; resume "
    "from the end of an epoch"
)
_VERSION = 1
