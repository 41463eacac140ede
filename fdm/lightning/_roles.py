"""Roles: which splits a trainer fits, validates, tests and predicts on, as far as a pipeline alone can tell."""

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import attrs

from .._errors import PipelineError, UnknownNameError, did_you_mean, listed
from .._pipeline import Pipeline
from .._stages.function import Function
from .._stages.stage import Alias, Batch, Cut, Fold


Role: TypeAlias = str | tuple[str, ...] | list[str] | None
"""A split, several of them, or None where there is none for this role."""


class Default(str):
    """The split that a role means unless one is given: absent where the pipeline shows that it does not exist."""

    __slots__ = ()


TRAIN, VAL, TEST, PREDICT = Default("train"), Default("val"), Default("test"), Default("predict")


@attrs.frozen
class Roles:
    """The splits of each role; an empty tuple where it has none."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    predict: tuple[str, ...]


def roles_of(p: Pipeline, **roles: Role) -> Roles:
    """The splits that each role has in a pipeline.

    What a pipeline's stages name is known before anything is prepared; so is what they do not name, where one source
    is cut without `of`. Where only clean or load knows its sources, a role is taken to exist until it is asked for.

    Raises `UnknownNameError` for a split that was given, and cannot be there.
    """
    there, is_all = known_splits(p)
    return _roles(roles, there, is_all=is_all)


def roles_in(splits: Collection[str], **roles: Role) -> Roles:
    """The splits that each role has where all splits are known, since the pipeline is open.

    Where nobody named the split of a role, and there is none of that name, the role has none; `train` excepted, without
    which there is nothing to fit, so that whoever asks for it is told which splits there are.

    Raises `UnknownNameError` for a split that was given, and is not there.
    """
    found = _roles(roles, splits, is_all=True)
    return found if found.train else attrs.evolve(found, train=_names("train", roles["train"]))


def _roles(roles: Mapping[str, Role], there: Collection[str], *, is_all: bool) -> Roles:
    found = {}
    for role, given in roles.items():
        names = _names(role, given)
        missing = [name for name in names if is_all and name not in there]
        if missing and not isinstance(given, Default):
            hint = did_you_mean(missing[0], there)
            msg = f"{role}={given!r}: the pipeline has no split {missing[0]!r}{hint}; its splits are {listed(there)}"
            raise UnknownNameError(msg)
        found[role] = () if missing else names
    return Roles(**found)


def batch_of_role(p: Pipeline, splits: tuple[str, ...]) -> Batch:
    """The batch stage of the splits of a role. Raises `AttributeError`, since an attribute asks, where there is none."""
    stages: list[Batch] = [stage for _, stage in p.of_kind(Batch)]
    named = [stage for stage in stages if set(stage.splits) & set(splits)]
    general = [stage for stage in stages if not stage.splits]
    if not stages:
        msg = "the pipeline has no batch stage, so no batch size"
        raise AttributeError(msg)
    return (named or general or stages)[0]


def known_splits(p: Pipeline) -> tuple[set[str], bool]:
    """The splits that the stages of a pipeline name, and whether these are all that it can have.

    >>> import fdm
    >>> names, is_all = known_splits(fdm.pipeline(fdm.split({"train": 0.9, "val": None}), fdm.alias(predict="val")))
    >>> sorted(names), is_all
    (['predict', 'train', 'val'], True)
    >>> known_splits(fdm.pipeline(fdm.split({"train": 0.9, "val": None}, of="train")))[1]
    False
    """
    names: set[str] = set()
    is_all = False
    for _, stage in p.of_kind(Cut):
        if isinstance(stage, Alias):
            names |= {name for pair in stage.names for name in pair}
            continue
        if stage.of is None:  # there is one source only, and all of it goes into the parts
            names, is_all = set(), True
        names.discard(stage.of)
        if isinstance(stage, Fold):
            names |= {"train", "val"}
        elif isinstance(stage.into, Function):
            is_all = False
        else:
            names |= {name for name, _ in stage.into}
    return names | {name for stage in p.stages for name in getattr(stage, "splits", ())}, is_all


def _names(role: str, given: Any) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given if given is not None else ()
    if (
        not isinstance(names, list | tuple)
        or not all(isinstance(name, str) and name for name in names)
        or len(set(names)) < len(names)
    ):
        msg = f"{role} is the name of a split, a tuple of different ones, or None, not {given!r}"
        raise PipelineError(msg)
    return tuple(map(str, names))
