"""Lightning: a LightningDataModule around a pipeline, for the Trainer, the Tuner, Fabric and LightningCLI."""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints

from ._context import RankContext
from ._data import Data
from ._errors import PipelineError
from ._executor import Executor, check_options
from ._pipeline import Pipeline
from ._roles import PREDICT, TEST, TRAIN, VAL, Role
from ._shell import shell_class


try:
    from lightning.pytorch import LightningDataModule
except ImportError:  # only the other tree is installed
    from pytorch_lightning import LightningDataModule  # type: ignore[assignment]


def datamodule(
    pipeline: Pipeline,
    /,
    *,
    train: Role = TRAIN,
    val: Role = VAL,
    test: Role = TEST,
    predict: Role = PREDICT,
    base: type | None = None,
    **executor_options: Any,
) -> Any:
    """A LightningDataModule around a pipeline, for the Trainer of `base` (default: `lightning.pytorch`'s).

    `train`, `val`, `test` and `predict` name the split that each is about, a tuple of splits for several loaders, or
    None for none. What Lightning asks of a datamodule before anything is prepared, the pipeline answers: a role whose
    split its stages cannot make is absent. Where only clean or load knows the sources, a role is taken to exist; say
    `val=None` where it does not. The options are an executor's; rank and device come from the Trainer.

    Raises `UnknownNameError` for a split that was named and cannot be there, `ParameterError` for an unknown option.
    """
    _check("datamodule takes", pipeline)
    check_options("datamodule", executor_options, without=("context",))
    made: Any = shell_class(_base(base))
    return made(pipeline, train=train, val=val, test=test, predict=predict, options=executor_options)


def datamodule_class(
    factory: Callable[..., Pipeline],
    /,
    *,
    train: Role = TRAIN,
    val: Role = VAL,
    test: Role = TEST,
    predict: Role = PREDICT,
    base: type | None = None,
    **executor_options: Any,
) -> Any:
    """A LightningDataModule class whose arguments are those of `factory`, which returns a pipeline.

    For LightningCLI, for subclasses that override a hook, and for `load_from_checkpoint`: the arguments are its
    hyperparameters, under their own names.
    """
    check_options("datamodule_class", executor_options, without=("context",))
    parent: Any = shell_class(_base(base))
    roles = {"train": train, "val": val, "test": test, "predict": predict}
    takes = signature(factory)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it becomes the method of that name
        arguments = takes.bind(*args, **kwargs)
        arguments.apply_defaults()
        pipeline = factory(*args, **kwargs)
        _check(f"{factory.__name__} returns", pipeline)
        parent.__init__(self, pipeline, **roles, options=executor_options, arguments=arguments.arguments)

    vars(__init__).update(__signature__=_with_self(factory, takes), __doc__=factory.__doc__)
    made: Any = type(factory.__name__, (parent,), {"__init__": __init__, "__doc__": factory.__doc__})
    made.__module__ = factory.__module__
    made._origin = (_again, (factory, {**roles, "base": base, **executor_options}))  # noqa: SLF001 - its own, and no file holds it
    return made


def setup(fabric: Any, data: Pipeline | Data, /, **executor_options: Any) -> Data:
    """The pipeline's data for this rank and device of a Fabric: its loaders are sharded, and move batches, already.

    Do not pass them to `fabric.setup_dataloaders`; save `loader.snapshot(step).to_dict()` in `fabric.save`.
    """
    pipeline = data.pipeline if isinstance(data, Data) else data
    _check("setup takes", pipeline)
    check_options("setup", executor_options, without=("context",))
    return Executor(context=_fabric_context(fabric), **executor_options).open(pipeline)


def _base(base: type | None) -> type:
    if base is not None and (not isinstance(base, type) or not hasattr(base, "from_datasets")):
        msg = f"base is a LightningDataModule class, such as pytorch_lightning.LightningDataModule, not {base!r}"
        raise PipelineError(msg)
    return LightningDataModule if base is None else base


def _check(says: str, pipeline: object) -> None:
    if not isinstance(pipeline, Pipeline):
        msg = f"{says} a Pipeline, made by fdm.pipeline(...), not a {type(pipeline).__name__}"
        raise PipelineError(msg)


def _with_self(factory: Callable[..., Any], takes: Signature) -> Signature:
    """The signature of an `__init__` that takes what a factory does, with its types resolved, for LightningCLI."""
    hints = get_type_hints(factory)
    own = [each.replace(annotation=hints.get(name, each.annotation)) for name, each in takes.parameters.items()]
    return Signature([Parameter("self", Parameter.POSITIONAL_OR_KEYWORD), *own])


def _again(factory: Callable[..., Pipeline], given: Mapping[str, Any]) -> Any:
    """The class that `datamodule_class` made, made again: for datamodules that were sent to another process."""
    return datamodule_class(factory, **given)


def _fabric_context(fabric: Any) -> RankContext:
    here = getattr(fabric.strategy, "num_processes", 1)
    return RankContext(
        fabric.global_rank,
        fabric.world_size,
        fabric.local_rank,
        max(here, fabric.local_rank + 1),
        str(fabric.device),
    )
