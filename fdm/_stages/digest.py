"""Digests of stages: what decides a result, equal in every process and on every machine."""

import ast
import inspect
import textwrap
from collections.abc import Sequence
from typing import Any

import attrs
from toolz import valmap

from .._fingerprint.canonical import canonical, digest, is_named
from .._fingerprint.code import code_of
from .._fingerprint.imports import is_own_code
from .function import Function
from .stage import Batch, Clean, Fetch, Fold, Load, Measure, Pack, Split, Stage, functions
from .tracked import content_of, with_content


# What load opens is not kept, and may reach anything: its name and parameters stand for it.
KEPT = (Fetch, Clean, Measure, Split, Fold)
_LIMITS = ("silence", "total")  # of fdm.download: the files are the same


def stage_digest(stage: Stage) -> str:
    """The digest of one stage: its fields by value, and its code where results of it are kept."""
    return digest(
        [canonical(_with_content(decisive(stage))), code_of_stage(stage) if isinstance(stage, KEPT) else None]
    )


def fields_digest(stage: Stage) -> str:
    """The digest of one stage's fields by value, without any code."""
    return digest(canonical(_with_content(decisive(stage))))


def code_digests(stage: Stage) -> dict[str, str]:
    """Digests of the code that a stage's functions reach, by the names of what they are of; none where it is pinned.

    Where a fingerprint cannot cover it, that of the functions' own source, or nothing where there is none: unlike
    `code_of_stage` this refuses nothing.
    """
    try:
        code = code_of_stage(stage) or {}
    except Exception:  # noqa: BLE001 - whatever keeps code from being followed
        code = {function.qualified_name: _own_source(function) for function in functions(stage)}
    return {name: digest(plain)[:16] for name, plain in code.items()}


def _own_source(function: Function) -> str:
    """The source of a function, or of the class of a callable instance, without comments; empty where there is none."""
    named: Any = function.call if is_named(function.call) else type(function.call)
    try:
        return ast.dump(ast.parse(textwrap.dedent(inspect.getsource(named))))
    except (OSError, TypeError, SyntaxError):
        return ""


def decisive(stage: Stage) -> Stage:
    """The stage without what decides speed alone, or how long is waited."""
    if isinstance(stage, Fetch) and stage.function.qualified_name == "fdm.download":
        params = tuple(param for param in stage.function.params if param[0] not in _LIMITS)
        return attrs.evolve(stage, function=attrs.evolve(stage.function, params=params))
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
