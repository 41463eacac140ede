"""Hooks: which of Lightning's a datamodule of a pipeline has; those that it has no use for are hidden on the instance."""

from collections.abc import Callable
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


def guarded(datamodule: Any, owner: type, name: str, hook: Any) -> Any:
    """A hook, as the Trainer looks it up, that lets no `StopIteration` out: it would be taken for the end of an epoch.

    That holds wherever a user's hook is from: a subclass, a mixin beside it, the instance. Those of `owner`, a class of
    the datamodule, and of Lightning raise none.
    """
    function, theirs = getattr(hook, "__func__", hook), getattr(super(owner, datamodule), name, None)
    is_users = function is not vars(owner).get(name) and function is not getattr(theirs, "__func__", None)
    return Guarded(hook) if is_users and callable(hook) else hook


class Guarded:
    """A hook that raises `StopError` for a `StopIteration`, and is what it guards to whoever looks at it."""

    __slots__ = ("_hook",)

    def __init__(self, hook: Callable[..., Any]) -> None:
        self._hook = hook

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._hook(*args, **kwargs)
        except StopIteration as error:
            note(error, f"in the hook {getattr(self._hook, '__qualname__', repr(self._hook))}")

    def __reduce__(self) -> Any:
        return Guarded, (self._hook,)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hook, name)

    @property  # type: ignore[misc]  # which isinstance asks
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # read only, unlike an object's
        return type(self._hook)


HOOKS = (
    "train_dataloader",
    "val_dataloader",
    "test_dataloader",
    "predict_dataloader",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)
GUARDED = {
    *HOOKS,
    *("prepare_data", "setup", "on_before_batch_transfer", "state_dict", "load_state_dict", "teardown", "on_exception"),
}
