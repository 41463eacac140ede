"""Roles: which splits a trainer fits, validates, tests and predicts on, as far as a pipeline alone can tell."""

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import attrs

from .._errors import PipelineError, UnknownNameError, unknown
from .._pipeline import Pipeline
from .._stages.limits import named_splits
from .._stages.stage import Batch


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
    there, is_all = named_splits(p.stages)
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
            msg = f"{role}={given!r}: {unknown('split', missing[0], there)}"
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
