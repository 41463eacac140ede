"""Preparation: fetch, clean and measure run once per store; what they made is opened from it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs

from .._downloads.download import download, download_into
from .._errors import DataError, PipelineError, StageNote, listed, noted, stage_note
from .._fingerprint.canonical import digest
from .._pipeline import Pipeline
from .._plans.epochs import mixtures
from .._plans.plan import check_names
from .._processes.progress import bar
from .._processes.torch_state import settled
from .._random.key import Key
from .._ranks.context import RankContext
from .._sources.loadable import Given, checked_sources
from .._sources.loaded import closed_on_failure, loaded, opened_here
from .._sources.turns import first_on_machine
from .._splits.source import View, lent
from .._splits.splits import Examples, resolve_splits
from .._stages.digest import address, stage_digest, tracked_content
from .._stages.function import Function, Tracked, shown
from .._stages.stage import Clean, Cut, Fetch, Load, Mix, Preparation, Source, Stage
from .._text import cut, short, without_secrets
from ..store._access import tell_of_writers
from ..store._artifacts import measures_at, place_of
from ..store._facts import open_facts, plain_fact, save_facts
from ..store._manifest import checked_manifest, lasting, manifest_if_there
from ..store._publish import Staging, explained, publish
from ..store._tables import open_tables
from .indices import Indices, prepare_indices
from .inputs import named_by, seen, warn_of_others
from .means import Means
from .parts import joined, parts_of, run_parts
from .pool import opened
from .streams import is_stream, length_of, save_returned


T = TypeVar("T")


@attrs.frozen(eq=False)
class Prepared:
    """What preparation makes of a pipeline, and data is opened from: sources, splits and facts, by name.

    `indices` are the plans that stages make of lengths. Where there are several ranks, `files` tells theirs apart: for
    each stage whose result was needed from the store, by its number, the digest of the files listed there. The store may
    have lost them since.
    """

    sources: Mapping[str, Any]
    splits: Mapping[str, Examples]
    facts: Mapping[str, Any]
    indices: Indices
    files: Mapping[int, str]


def prepared(p: Pipeline, means: Means) -> Prepared:
    """The sources, splits and facts of a pipeline, made where they are not in the store yet.

    This is local: it waits for other processes only where they are at work on the same.
    """
    sources = prepare_sources(p, means)
    with closed_on_failure(sources.values()), opened_here(sources) as here:
        splits = resolve_splits(list(p.of_kind(Cut)), here, [mix.into for _, mix in p.of_kind(Mix)])
        check_names(p, [*splits, *mixtures(p, splits)])
        facts = prepare_facts(p, here, splits, means)
        indices = prepare_indices(p, here, splits, means)
        # What comes before is opened by the one that makes it alone, and a fetch may have a million files.
        last = max((number for number, _ in p.of_kind(Fetch, Clean)), default=0)
        files = {at: code for at, code in means.files.items() if at >= last}
        return Prepared(sources, splits, facts, indices, files)


def prepare_sources(p: Pipeline, means: Means) -> Mapping[str, Any]:
    """The sources of a pipeline by name: made if need be, and opened.

    Raises `PipelineError` for a pipeline without a source, and `DataError` for functions that return what is no table
    or source.
    """
    stages = list(p.of_kind(Source))
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
        view = View(sources[examples.source], examples.order)
        stages = [
            *(each for _, each in p.of_kind(Source)),
            *(p.stages[by] for by in examples.lineage),
            stage,
        ]
        found = _kept(open_facts, stages, at, _measurer(function, view, where), means, number=number)
        twice = facts.keys() & found.keys()
        if twice:
            msg = f"stage {number}, measure {function.name}: {listed(twice)} was measured before; a fact has one name"
            raise DataError(msg)
        facts.update(found)
    return facts


def _result(p: Pipeline, number: int, means: Means) -> Any:
    """What the stage of this number hands on: a folder, a table or source, or a mapping of them."""
    stage = p.stages[number]
    assert isinstance(stage, Source), "sources come first, so these are the first stages"

    if isinstance(stage, Load):
        return _after(p, number, means, lambda upstream: _load(p, stage, number, upstream, means))
    stages = p.stages[: number + 1]
    at = address(stages)
    if isinstance(stage, Fetch):
        fetch = partial(_fetch, stage.function, number, means=means)
        return _kept(lambda folder: folder / _FILES, stages, at, fetch, means, number=number)
    clean = partial(_clean if stage.parts is None else _clean_parts, stage, number, means=means)
    make = partial(_after, p, number, means)
    tables = _kept(open_tables, stages, at, lambda into: make(partial(clean, into)), means, number=number)
    return tables.get("", tables)


def _after(p: Pipeline, number: int, means: Means, use: Callable[[tuple[Any, ...]], T]) -> T:
    """What `use` makes of what the stage before the one of this number hands on; of nothing for the first."""
    if not number:
        return use(())
    before = p.stages[:number]
    assert isinstance(before[-1], Preparation), "load comes last"
    folder = place_of(before[-1], address(before), means.folder())
    return lasting(folder, lambda: (_result(p, number - 1, means),), use)


def _kept(
    read: Callable[[Path], T],
    stages: Sequence[Stage],
    at: str,
    make: Callable[[Staging], None],
    means: Means,
    *,
    number: int,
) -> T:
    """What `read` finds in the folder of what the stage of this number, the last of `stages`, keeps; made if need be."""
    stage = stages[-1]
    assert isinstance(stage, Preparation), "nothing else is kept"

    def checked(folder: Path) -> T:
        about = checked_manifest(folder, at)
        means.check(folder)
        if means.context.world_size > 1:
            means.files[number] = digest([[file["path"], file["sha256"]] for file in about["files"]])
        return read(folder)

    folder = place_of(stage, at, means.folder())
    return lasting(folder, lambda: _published(stages, at, make, means), checked)


def _published(stages: Sequence[Stage], at: str, make: Callable[[Staging], None], means: Means) -> Path:
    """The folder of what the last of `stages` keeps; the ones before it have decided what it was made from."""
    stage, store = stages[-1], means.folder()
    assert isinstance(stage, Preparation), "nothing else is kept"
    folder = place_of(stage, at, store)
    about: dict[str, Any] = {
        "stage": stage.kind,
        "function": stage.function.qualified_name,
        "address": at,
        "digest": stage_digest(stage),
        "parameters": cut(
            without_secrets(", ".join(f"{name}={shown(value)}" for name, value in stage.function.params)), 400
        ),
        "script": stage.function.script,
    }
    named = named_by([each for each in stages if each is stage or not isinstance(each, Fetch | Clean)])
    # What an earlier stage keeps was made from what its own manifest says, which may be no more what is there now.
    before_it = [
        place_of(each, address(stages[: number + 1]), store)
        for number, each in enumerate(stages[:-1])
        if isinstance(each, Fetch | Clean) and named_by([each])
    ]

    def make_and_remember(staging: Staging) -> None:
        before, content = seen(named, store), tracked_content(stages)
        make(staging)
        if tracked_content(stages) != content:
            msg = f"{stage.function.name}: a tracked file changed while it ran; prepare again when nothing writes to it"
            raise DataError(msg)
        # What has changed meanwhile the function has written to, such as a log: it is no input.
        about["inputs"] = [
            *(one for each in before_it[-1:] for one in _remembered(each)),
            *(one for one in seen(before, store) if one in before),
        ]

    publish(folder, make_and_remember, about, means.patience)
    if means.context.local_rank == 0:
        tell_of_writers(store)
        if (named or before_it) and "inputs" not in about:
            warn_of_others(_remembered(folder), store, means.told)
    return folder


def _remembered(folder: Path) -> list[dict[str, Any]]:
    """What an artifact was made from, as far as parameters named it; nothing if it was removed meanwhile."""
    about = manifest_if_there(folder) or {}
    inputs: list[dict[str, Any]] = about.get("inputs", [])
    return inputs


def _load(p: Pipeline, stage: Load, number: int, upstream: tuple[Any, ...], means: Means) -> Any:
    where = _where(stage.function, number, stage.kind, means.context)
    call = partial(_loaded_sources, stage.function, upstream, where)
    if isinstance(stage.function.call, Given):
        return call()
    key = Key(p.seed, "load", stage.function.qualified_name)
    with first_on_machine(stage_digest(stage), means.context, means.patience.seconds):
        return loaded(call, key, is_shared=stage.is_shared, is_ambient=stage.is_ambient)


def _fetch(function: Function, number: int, staging: Staging, means: Means) -> None:
    into = staging.into / _FILES
    with explained(means.folder()):
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


def _clean(stage: Clean, number: int, staging: Staging, upstream: tuple[Any, ...], means: Means) -> None:
    where = _where(stage.function, number, stage.kind, means.context)
    made = _called(stage.function, upstream, where)
    is_shown = means.shown and is_stream(made)
    with (
        noted(where),
        bar(length_of(made) if is_shown else None, stage.function.name, "example", shown=is_shown) as progress,
    ):

        def tell(done: int) -> None:
            progress.update(done - progress.n)

        rows = settled(save_returned)(made, stage.function.name, staging.into, tell)
        if not any(rows.values()):
            msg = f"{stage.function.name} returned an empty table: it has no rows"
            raise DataError(msg)
        lacking = [name for name, count in rows.items() if count is None]
        if lacking:
            msg = (
                f"{stage.function.name}: nothing came for {listed(lacking)}, so the columns are not known; leave it out"
            )
            raise DataError(msg)


def _clean_parts(stage: Clean, number: int, staging: Staging, upstream: tuple[Any, ...], means: Means) -> None:
    assert stage.parts is not None
    names = _called(stage.parts, upstream, _where(stage.parts, number, "each", means.context))
    with noted(_where(stage.function, number, stage.kind, means.context)):
        parts = parts_of(names, stage.function.with_tracked(Tracked.absolute), upstream, staging.kept)
        with bar(len(parts), stage.function.name, "part", shown=means.shown) as progress, opened(means.pool) as pool:

            def tell(done: int) -> None:
                progress.update(done - progress.n)
                staging.note(f"{done} of {len(parts)} parts")

            run_parts(parts, pool, tell, staging.is_superseded)
        joined(parts, staging.into)


def _measurer(function: Function, view: View, where: StageNote) -> Callable[[Staging], None]:
    def make(staging: Staging) -> None:
        with noted(where), lent(view, function.name) as source:
            function.check_call("source")
            made = settled(function.bound())(source)
        with noted(where):
            if not isinstance(made, Mapping) or not all(isinstance(name, str) for name in made):
                msg = f"{function.name} returns a mapping from names to JSON values and tensors, not {short(made, 60)}"
                raise DataError(msg)
            save_facts({name: plain_fact(name, value) for name, value in made.items()}, staging.into)

    return make


def _loaded_sources(function: Function, before: tuple[Any, ...], where: StageNote) -> Mapping[str, Any]:
    made = _called(function, before, where)
    with noted(where):
        return checked_sources(function, made)


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
