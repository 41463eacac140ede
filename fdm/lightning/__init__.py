"""Lightning: a LightningDataModule around a pipeline, for the Trainer, the Tuner, Fabric and LightningCLI."""

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from .._data import Data
from .._errors import DataError, PipelineError
from .._executor import Executor, check_options
from .._pipeline import Pipeline
from .._text import printable
from ._classes import assigned_name, factory_class
from ._datamodule import shell_class
from ._migrate import datasets_pipeline, given_pipeline, named, read_loader
from ._roles import PREDICT, TEST, TRAIN, VAL, Role
from ._trainer import fabric_context


try:
    from lightning.pytorch import LightningDataModule
except ImportError:  # only the other tree is installed
    from pytorch_lightning import LightningDataModule  # type: ignore[assignment]  # the other class tree has the same name


def datamodule(
    pipeline: Pipeline,
    /,
    *,
    train: Role = TRAIN,
    val: Role = VAL,
    test: Role = TEST,
    predict: Role = PREDICT,
    base: type | None = None,
    save_hyperparameters: bool = True,
    **executor_options: Any,
) -> Any:
    """A LightningDataModule around a pipeline, for the Trainer of `base` (default: `lightning.pytorch`'s).

    `train`, `val`, `test` and `predict` name the split that each is about, a tuple of splits for several loaders, or
    None for none. What Lightning asks of a datamodule before anything is prepared, the pipeline answers: a role whose
    split its stages cannot make is absent. Where only clean or load knows the sources, a role is taken to exist until
    they are open; then one that nobody named is absent too. The options are an executor's; rank and device come from
    the Trainer. With `save_hyperparameters=False` the pipeline is in no checkpoint's or logger's hyperparameters.

    Raises `UnknownNameError` for a split that was named and cannot be there, `ParameterError` for an unknown option.
    """
    _check("datamodule takes", pipeline)
    check_options("datamodule", executor_options, without=("context",))
    made: Any = shell_class(_base(base))
    roles = {"train": train, "val": val, "test": test, "predict": predict}
    return made(pipeline, **roles, options=executor_options, save_hyperparameters=save_hyperparameters)


def datamodule_class(
    factory: Callable[..., Pipeline],
    /,
    *,
    train: Role = TRAIN,
    val: Role = VAL,
    test: Role = TEST,
    predict: Role = PREDICT,
    base: type | None = None,
    save_hyperparameters: bool = True,
    **executor_options: Any,
) -> Any:
    """A LightningDataModule class whose arguments are those of `factory`, which returns a pipeline.

    For LightningCLI, for subclasses that override a hook, and for `load_from_checkpoint`: the arguments are its
    hyperparameters, under their own names, unless `save_hyperparameters=False`. An instance takes the options of an
    executor besides, `Digits(batch_size=32, workers=4)`, where the factory has no parameter of that name; those given
    here hold for all. The class is called as it is named: `class Digits(datamodule_class(digits))`, or
    `Digits = datamodule_class(digits)`.
    """
    check_options("datamodule_class", executor_options, without=("context",))
    given = {"train": train, "val": val, "test": test, "predict": predict, "save_hyperparameters": save_hyperparameters}
    called = getattr(factory, "__name__", type(factory).__name__)

    def make(*args: Any, **kwargs: Any) -> Pipeline:
        pipeline = factory(*args, **kwargs)
        _check(f"{called} returns", pipeline)
        return pipeline

    made = factory_class(factory, shell_class(_base(base)), make, executor_options, given)
    caller = sys._getframe(1)  # noqa: SLF001 - as namedtuple and enum do
    _name(made, caller.f_globals.get("__name__", __name__), assigned_name(caller))
    again = factory, {**given, "base": base, **executor_options}
    made._origin = (_again, (made.__module__, made.__qualname__, *again))  # noqa: SLF001 - its own, and perhaps no file holds it
    return made


def _name(cls: Any, module: str, name: str | None) -> None:
    if name is not None:
        cls.__module__, cls.__qualname__, cls.__name__ = module, name, name.rpartition(".")[2]


def _again(module: str, name: str, factory: Callable[..., Pipeline], given: Mapping[str, Any]) -> Any:
    """The class that `datamodule_class` made: by its name, or where it has none, made again, in another process."""
    found: Any = sys.modules.get(module) or import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type) and vars(found).get("_origin", (None,))[0] is _again:
        return found
    made = datamodule_class(factory, **given)
    _name(made, module, name)
    return made


def setup(fabric: Any, data: Pipeline | Data, /, **executor_options: Any) -> Data:
    """The pipeline's data for this rank and device of a Fabric: its loaders are sharded, and move batches, already.

    `fabric.setup_dataloaders` takes DataLoaders alone, such as `data.stream(split)`; loaders need none. Save the stream, or
    `loader.snapshot(step).to_dict()`, in `fabric.save`.
    """
    pipeline = data.pipeline if isinstance(data, Data) else data
    _check("setup takes", pipeline)
    check_options("setup", executor_options, without=("context",))
    return Executor(context=fabric_context(fabric), **executor_options).open(pipeline)


def from_datasets(  # noqa: PLR0917 - Lightning's signature
    train_dataset: Any = None,
    val_dataset: Any = None,
    test_dataset: Any = None,
    predict_dataset: Any = None,
    batch_size: int = 1,
    num_workers: int = 0,
    *,
    seed: int = 0,
    base: type | None = None,
    **executor_options: Any,
) -> Any:
    """A datamodule of datasets that are there already, as `LightningDataModule.from_datasets` makes one.

    Each is a map-style dataset, or a list or mapping of them; the train ones are shuffled, by `seed`. `num_workers` is
    the executor's `workers`.

    Raises `DataError` for a dataset without examples by number.
    """
    given = {"train": train_dataset, "val": val_dataset, "test": test_dataset, "predict": predict_dataset}
    by_role = {role: named(role, datasets) for role, datasets in given.items()}
    datasets = {name: each for of_role in by_role.values() for name, each in of_role.items()}
    if not datasets:
        msg = "from_datasets takes one dataset at least"
        raise DataError(msg)
    roles: dict[str, Any] = {role: tuple(of_role) or None for role, of_role in by_role.items()}
    options = {"workers": num_workers, **executor_options}
    made = datasets_pipeline(datasets, by_role["train"], batch_size, seed)
    return datamodule(made, **roles, base=base, **options)


def from_datamodule(dm: Any, /, *, seed: int = 0) -> Pipeline:
    """The pipeline of an existing LightningDataModule: its datasets as sources, its DataLoader settings as stages.

    Its `prepare_data` and `setup` run here. The splits are `"train"`, `"val"`, `"test"` and `"predict"`, or of several
    loaders `"val_0"`, `"val_1"`. What could not be carried over (hooks, samplers and collate functions of its own, what
    belongs to an executor) is said in a `UserWarning`, with what to write instead.

    Raises `DataError` if there is nothing to carry over.
    """
    reads, left = {}, []
    for name, loader in _loaders(dm).items():
        read = read_loader(name, loader)
        if isinstance(read, str):
            left.append(read)
        else:
            reads[name] = read
            left.extend(read.left)
    left += [f"{hook}: {remedy}" for hook, remedy in _REMEDIES.items() if _overrides(dm, hook)]
    if not reads:
        msg = f"from_datamodule found no DataLoader to carry over: {'; '.join(left) or 'it has no loaders'}"
        raise DataError(msg)
    if left:
        warnings.warn(printable("\n- ".join(["from_datamodule could not carry over:", *left])), stacklevel=2)
    return given_pipeline(reads, seed)


def _loaders(dm: Any) -> dict[str, Any]:
    """The loaders of a datamodule, by the names that their splits get."""
    found: dict[str, Any] = {}
    dm.prepare_data()
    for stage, roles in (("fit", ("train", "val")), ("test", ("test",)), ("predict", ("predict",))):
        there = [role for role in roles if _overrides(dm, f"{role}_dataloader")]
        if there:
            dm.setup(stage)
        for role in there:
            found |= named(role, getattr(dm, f"{role}_dataloader")())
    return found


def _overrides(dm: Any, hook: str) -> bool:
    """Whether a datamodule has a hook of its own, in place of Lightning's."""
    base = next(cls for cls in type(dm).__mro__ if cls.__name__ == "LightningDataModule")
    own = getattr(dm, hook, None)
    return own is not None and getattr(own, "__func__", own) is not getattr(base, hook)


_REMEDIES = {
    "on_before_batch_transfer": "write it as fdm.transform(fn) after fdm.batch(...)",
    "transfer_batch_to_device": "fdm.transfer(skip=...) moves batches of any structure",
    "on_after_batch_transfer": "write it as fdm.transform(fn) or fdm.augment(fn) after fdm.transfer()",
    "state_dict": "the place in the data is the pipeline's; what else it keeps is the module's to save",
}


def _base(base: type | None) -> type:
    if base is not None and (not isinstance(base, type) or not hasattr(base, "from_datasets")):
        msg = f"base is a LightningDataModule class, such as pytorch_lightning.LightningDataModule, not {base!r}"
        raise PipelineError(msg)
    return LightningDataModule if base is None else base


def _check(says: str, pipeline: object) -> None:
    if not isinstance(pipeline, Pipeline):
        msg = f"{says} a Pipeline, made by fdm.pipeline(...), not a {type(pipeline).__name__}"
        raise PipelineError(msg)
