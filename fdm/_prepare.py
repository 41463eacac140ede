"""Preparation: fetch, clean and measure run once per store; what they made is opened from it."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from filelock import FileLock, Timeout
from torch import Tensor

from ._canonical import qualified_name
from ._context import RankContext
from ._digest import address, stage_digest
from ._disk import open_tables, save_tables
from ._download import download, download_into
from ._errors import DataError, PipelineError, StageNote, listed, noted, stage_note
from ._facts import open_facts, plain_fact, save_facts
from ._function import Function
from ._kept import measures_at, place_of
from ._parts import joined, parts_of, run_parts
from ._pipeline import Pipeline
from ._pool import PoolOption, opened
from ._progress import bar
from ._source import View, given
from ._splits import Examples
from ._stage import Clean, Fetch, Load, Measure
from ._state import settled
from ._store import Patience, Staging, publish
from ._table import tables_of


@attrs.frozen
class Means:
    """What preparation works with: the store's folder (asked for only where something is kept), pool, bars, ranks."""

    folder: Callable[[], Path]
    pool: PoolOption
    patience: Patience
    shown: bool
    context: RankContext


def prepare_sources(p: Pipeline, means: Means) -> Mapping[str, Any]:
    """The sources of a pipeline by name: made if need be, and opened.

    Raises `PipelineError` for a pipeline without a source, and `DataError` for functions that return what is no table
    or source.
    """
    stages = list(p.of_kind(Fetch, Clean, Load))
    if not any(isinstance(stage, Clean | Load) for _, stage in stages):
        msg = "the pipeline has no source: begin with fdm.clean or fdm.load, or splice it behind one that does"
        raise PipelineError(msg)
    made = _result(p, len(stages) - 1, means)
    return made if isinstance(made, Mapping) else {"all": made}


def prepare_kept(p: Pipeline, means: Means) -> None:
    """Make what fetch and clean keep, where it is not there yet, and nothing else."""
    last = max((number for number, _ in p.of_kind(Fetch, Clean)), default=None)
    if last is not None:
        _result(p, last, means)


def prepare_facts(
    p: Pipeline, sources: Mapping[str, Any], splits: Mapping[str, Examples], means: Means
) -> dict[str, Any]:
    """The facts that the measure stages find: computed once per store, and read from it."""
    facts: dict[str, Any] = {}
    for number, stage, at in measures_at(p, splits):
        examples = splits[stage.splits[0]]
        where = _where(stage.function, number, stage.kind, means.context, stage.splits[0])
        with noted(where):
            function = stage.function.with_facts(facts)
        view = given(View(sources[examples.source], examples.order))
        found = open_facts(_published(stage, at, _measurer(function, view, where), means))
        twice = facts.keys() & found.keys()
        if twice:
            msg = f"stage {number}, measure {function.name}: {listed(twice)} was measured before; a fact has one name"
            raise DataError(msg)
        facts.update(found)
    return facts


def _result(p: Pipeline, number: int, means: Means) -> Any:
    """What the stage of this number hands on: a folder, a table or source, or a mapping of them."""
    stage = p.stages[number]
    assert isinstance(stage, Fetch | Clean | Load), "sources come first, so these are the first stages"

    def upstream() -> tuple[Any, ...]:
        return (_result(p, number - 1, means),) if number else ()

    if isinstance(stage, Load):
        before, where = upstream(), _where(stage.function, number, stage.kind, means.context)
        with _first_on_machine(stage, means.context):
            return _checked_sources(stage.function, _called(stage.function, before, where))
    at = address(p.stages[: number + 1])
    if isinstance(stage, Fetch):
        return _published(stage, at, lambda staging: _fetch(stage.function, number, staging, means), means) / _FILES

    def make(staging: Staging) -> None:
        maker = _clean if stage.parts is None else _clean_parts
        maker(stage, number, upstream(), staging, means)

    tables = open_tables(_published(stage, at, make, means))
    return tables.get("", tables)


def _published(stage: Fetch | Clean | Measure, at: str, make: Callable[[Staging], None], means: Means) -> Path:
    folder = place_of(stage, at, means.folder())
    about = {
        "stage": stage.kind,
        "function": stage.function.qualified_name,
        "address": at,
        "digest": stage_digest(stage),
    }
    return publish(folder, make, about, means.patience)


def _fetch(function: Function, number: int, staging: Staging, means: Means) -> None:
    into = staging.into / _FILES
    into.mkdir()
    where = _where(function, number, "fetch", means.context)
    if function.call is download:
        # fdm's own fetch function goes on with what an earlier attempt left of a file, and shows how far it is.
        with noted(where):
            download_into(into, **dict(function.params), kept=staging.kept, progress=means.shown)
    else:
        _called(function, (into,), where)
    if not any(path.is_file() for path in into.rglob("*")):
        msg = f"{function.name} wrote nothing below the folder it was given; stage {number}, fetch, needs files there"
        raise DataError(msg)


def _clean(stage: Clean, number: int, upstream: tuple[Any, ...], staging: Staging, means: Means) -> None:
    where = _where(stage.function, number, stage.kind, means.context)
    made = _called(stage.function, upstream, where)
    with noted(where):
        # One table without a name is kept as such, so that the next clean gets what this one returned.
        tables = tables_of(made, stage.function.name)
        if not any(map(len, tables.values())):
            msg = f"{stage.function.name} returned an empty table: it has columns but no rows"
            raise DataError(msg)
        save_tables({name: [table] for name, table in tables.items()}, staging.into)


def _clean_parts(stage: Clean, number: int, upstream: tuple[Any, ...], staging: Staging, means: Means) -> None:
    assert stage.parts is not None
    names = _called(stage.parts, upstream, _where(stage.parts, number, "each", means.context))
    with noted(_where(stage.function, number, stage.kind, means.context)):
        parts = parts_of(names, stage.function, upstream, staging.kept)
        with bar(len(parts), stage.function.name, "part", shown=means.shown) as progress, opened(means.pool) as pool:

            def tell(done: int) -> None:
                progress.update(done - progress.n)
                staging.note(f"{done} of {len(parts)} parts")

            run_parts(parts, pool, tell, staging.is_superseded)
        joined(parts, staging.into)


def _measurer(function: Function, view: Any, where: StageNote) -> Callable[[Staging], None]:
    def make(staging: Staging) -> None:
        made = _called(function, (view,), where)
        with noted(where):
            if not isinstance(made, Mapping) or not all(isinstance(name, str) for name in made):
                msg = f"{function.name} returns a mapping from names to JSON values and tensors, not {made!r:.60}"
                raise DataError(msg)
            save_facts({name: plain_fact(name, value) for name, value in made.items()}, staging.into)

    return make


def _checked_sources(function: Function, made: Any) -> Any:
    if isinstance(made, Mapping) and not made:
        msg = f"{function.name} returned an empty mapping; it returns a source, or a mapping from names to sources"
        raise DataError(msg)
    if isinstance(made, Mapping) and all(isinstance(value, Tensor | np.ndarray) for value in made.values()):
        msg = f"{function.name} returned a mapping of columns, not of sources; make it a table: fdm.Table({{...}})"
        raise DataError(msg)
    if made is None:
        msg = f"{function.name} returned None in place of a source or a mapping of sources; end it with a return"
        raise DataError(msg)
    for name, source in made.items() if isinstance(made, Mapping) else [("all", made)]:
        if not isinstance(name, str) or not name:
            msg = f"{function.name}: the name of a source is a string, not {name!r}"
            raise DataError(msg)
        if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
            lacking = "__len__" if hasattr(source, "__getitem__") else "__getitem__"
            msg = (
                f"{function.name} returned a {qualified_name(type(source))} as source {name!r}, which has no {lacking}; "
                f"a source has a length and examples by index: a Table, a list, a map-style torch dataset"
            )
            raise DataError(msg)
    return made


@contextmanager
def _first_on_machine(stage: Load, context: RankContext) -> Iterator[None]:
    """Let one process of a machine load first, since it may download; the others follow, all at the same time."""
    if context.local_world_size == 1:
        yield
        return
    user = getattr(os, "getuid", lambda: "")()  # others' lock files cannot be opened
    lock = FileLock(Path(tempfile.gettempdir()) / f"fdm-{user}-load-{stage_digest(stage)[:24]}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with lock:
            pass
    except (OSError, NotImplementedError):
        pass  # without locks all load at the same time
    try:
        yield
    finally:
        lock.release()


def _called(function: Function, before: tuple[Any, ...], where: StageNote) -> Any:
    """What the user's function returns; a first clean or load that wants an upstream is told that there is none."""
    with noted(where):
        function.check_call(*(["upstream"] * len(before)))
        return settled(function.bound())(*before)


def _where(function: Function, number: int, kind: str, context: RankContext, split: str = "") -> StageNote:
    rank = f"rank {context.rank} of {context.world_size}" if context.world_size > 1 else ""
    place = ", ".join(filter(None, [f"split {split!r}" if split else "", rank]))
    return stage_note(number, f"{kind} {function!r}, defined at {function.location}", place)


_FILES = "files"
