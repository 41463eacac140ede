"""Digests of stages: what decides a result, equal in every process and on every machine."""

from collections.abc import Sequence
from typing import Any

import attrs
from toolz import valmap

from .._fingerprint.canonical import canonical, digest
from .._fingerprint.code import code_of
from .._fingerprint.imports import is_own_code
from .function import Function
from .stage import Batch, Clean, Fetch, Fold, Load, Measure, Pack, Split, Stage, functions
from .tracked import content_of, with_content


# What load opens is not kept, and may reach anything: its name and parameters stand for it.
KEPT = (Fetch, Clean, Measure, Split, Fold)


def stage_digest(stage: Stage) -> str:
    """The digest of one stage: its fields by value, and its code where results of it are kept."""
    return digest(
        [canonical(_with_content(decisive(stage))), code_of_stage(stage) if isinstance(stage, KEPT) else None]
    )


def decisive(stage: Stage) -> Stage:
    """The stage without what decides speed alone."""
    return attrs.evolve(stage, is_shared=False) if isinstance(stage, Load) else stage


def address(stages: Sequence[Stage]) -> str:
    """The address of what these stages make of each other, in order."""
    return digest(
        [[stage_digest(stage), code_of_stage(stage) if isinstance(stage, Load) else None] for stage in stages]
    )


def measure_address(upstream: str, size: int, stage: Measure, earlier: Sequence[str]) -> str:
    """The address of the facts that `stage` finds in the `size` examples of a split at the address `upstream`.

    `earlier` are the addresses of the measures before it, which count if it takes facts as parameters.
    """
    return digest([upstream, size, stage_digest(stage), *(earlier if stage.function.facts else ())])


def tracked_content(stages: Sequence[Stage]) -> list[Any]:
    """The content of the tracked paths among the parameters of stages, now."""
    return [
        canonical(content_of(each)) for stage in stages for function in functions(stage) for each in function.tracked
    ]


def _with_content(stage: Any) -> Any:
    """A stage with the content of tracked paths in their place."""
    fields = {field.name: getattr(stage, field.name) for field in attrs.fields(type(stage))}
    tracked = {name: value for name, value in fields.items() if isinstance(value, Function) and value.tracked}
    return attrs.evolve(stage, **valmap(with_content, tracked))


def code_of_stage(stage: Stage) -> dict[str, Any] | None:
    """The code of a stage's functions; None where `.version` pins it.

    Raises `PipelineError` for code that a fingerprint cannot cover.
    """
    if getattr(stage, "pinned", None) is not None:
        return None
    found: dict[str, Any] = {}
    for function in functions(stage):
        found.update(_code_of_function(function))
    return found


def _code_of_function(function: Function) -> dict[str, Any]:
    """The code of a stage's function, of the classes of its values, and of the functions among its parameters."""
    found: dict[str, Any] = {}

    def follow(named: Any) -> dict[str, str]:
        if is_own_code(named):
            found.update(code_of(named))
        return {}

    canonical([function.call, function.params], follow)
    return found


def plan_digest(stage: Pack | Batch) -> str:
    """The digest of what a stage decides of the plan that it makes of lengths: for a pack, and a batch by length."""
    if isinstance(stage, Pack):
        return digest([stage.kind, stage.column, stage.length, stage.whole, stage.most])
    size = stage.size if stage.of is not None else None
    return digest(canonical([stage.kind, stage.column, stage.buckets, stage.edges, size]))
