"""Hooks: which of Lightning's a datamodule of a pipeline has; those that it has no use for are hidden on the instance."""

from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any

from .._errors import note
from .._pipeline import Pipeline
from .._stages.stage import Change, Transfer
from ._roles import Roles


def hide(datamodule: Any, owner: type, p: Pipeline, roles: Roles) -> None:
    """Hide the hooks of `owner`, a class of the datamodule, that a pipeline has no use for, and show the others.

    Lightning takes a hook that is its own base class's for one that is not there: it does without, or the module's wins.
    What a subclass overrides, and what a user has put on the instance, stays.
    """
    for hook in HOOKS:
        if is_hidden(datamodule, owner, hook):
            delattr(datamodule, hook)
        is_ours = hook not in vars(datamodule) and getattr(type(datamodule), hook) is getattr(owner, hook)
        if is_ours and not has(hook, p, roles):
            setattr(datamodule, hook, getattr(super(owner, datamodule), hook))


def is_hidden(datamodule: Any, owner: type, name: str) -> bool:
    """Whether an attribute of the instance is what hides a hook."""
    own = getattr(super(owner, datamodule), name).__func__ if name in HOOKS else None
    return own is not None and getattr(vars(datamodule).get(name), "__func__", None) is own


def has(hook: str, p: Pipeline, roles: Roles) -> bool:
    """Whether a pipeline has a use for a hook."""
    if hook.endswith("_dataloader"):
        return bool(getattr(roles, hook.removesuffix("_dataloader")))
    transfer = next((number for number, _ in p.of_kind(Transfer)), len(p.stages))
    if hook == "transfer_batch_to_device":
        return transfer < len(p.stages)
    return any(number > transfer for number, _ in p.of_kind(Change))


def guard(cls: type) -> None:
    """Let no `StopIteration` leave the hooks that a class overrides: the Trainer would take it for the end of an epoch."""
    for name in (*HOOKS, *_OTHERS):
        hook = vars(cls).get(name)
        if isinstance(hook, FunctionType):
            setattr(cls, name, _guarded(hook))


def _guarded(hook: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(hook)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return hook(*args, **kwargs)
        except StopIteration as error:
            note(error, f"in the hook {hook.__qualname__}")

    return run


HOOKS = (
    "train_dataloader",
    "val_dataloader",
    "test_dataloader",
    "predict_dataloader",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)
_OTHERS = ("prepare_data", "setup", "on_before_batch_transfer", "state_dict", "load_state_dict", "teardown")
