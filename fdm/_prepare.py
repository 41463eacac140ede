"""Preparation: fetch, clean and measure run once per store; what they made is opened from it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ._canonical import digest, qualified_name
from ._digest import address, measure_address
from ._disk import open_facts, open_tables, plain_fact, save_facts, save_tables
from ._errors import DataError, PipelineError, listed, noted
from ._function import Function
from ._pipeline import Pipeline
from ._plan import check_names
from ._source import View, given
from ._splits import Examples
from ._stage import Clean, Fetch, Load, Measure
from ._store import artifact_folder, publish
from ._table import Table


def prepare_sources(p: Pipeline, store: Callable[[], Path]) -> Mapping[str, Any]:
    """The sources of a pipeline by name: made if need be, and opened.

    `store` is asked for its folder only where something is kept. Raises `PipelineError` for a pipeline without a
    source, and `DataError` for functions that return what is no table or source.
    """
    stages = list(p.of_kind(Fetch, Clean, Load))
    if not any(isinstance(stage, Clean | Load) for _, stage in stages):
        msg = "the pipeline has no source: begin with fdm.clean or fdm.load, or splice it behind one that does"
        raise PipelineError(msg)
    return _named(_result(p, len(stages) - 1, store))


def _result(p: Pipeline, number: int, store: Callable[[], Path]) -> Any:
    """What the stage of this number hands on: a folder, a table or source, or a mapping of them."""
    stage: Fetch | Clean | Load = p.stages[number]  # type: ignore[assignment]

    def upstream() -> tuple[Any, ...]:
        return (_result(p, number - 1, store),) if number else ()

    if isinstance(stage, Load):
        return _sources(stage.function, _called(stage.function, number, stage.kind, upstream()))
    at = address(p.stages[: number + 1])
    folder = artifact_folder(store(), f"{stage.kind}-{stage.function.name}", at)
    about = {"stage": stage.kind, "function": stage.function.qualified_name, "address": at}
    if isinstance(stage, Fetch):
        return publish(folder, lambda into: _fetch(stage.function, number, into / "files"), about) / "files"

    def make(into: Path) -> None:
        made = _called(stage.function, number, stage.kind, upstream())
        with noted(_where(stage.function, number, stage.kind)):
            _save(stage.function, made, into)

    tables = open_tables(publish(folder, make, about))
    return tables.get("", tables)


def _fetch(function: Function, number: int, into: Path) -> None:
    into.mkdir()
    _called(function, number, "fetch", (into,))
    if not any(into.iterdir()):
        msg = f"{function.name} wrote nothing below the folder it was given; stage {number}, fetch, needs files there"
        raise DataError(msg)


def _save(function: Function, made: Any, into: Path) -> None:
    # One table without a name is kept as such, so that the next clean gets what this one returned.
    tables = {"": made} if isinstance(made, Table) else made
    if not isinstance(tables, Mapping) or not tables or not all(isinstance(table, Table) for table in tables.values()):
        found = f"{type(made).__name__} {made!r:.60}" if made is None or not made else _kinds(made)
        msg = f"{function.name} returns a Table or a mapping of Tables, not {found}; wrap columns: fdm.Table({{...}})"
        raise DataError(msg)
    for name, table in tables.items():
        _check_source_name(function, name) if tables is made else None
        if len(table) == 0:
            msg = (
                f"{function.name} returned an empty table{f' for {name!r}' if name else ''}: it has columns but no rows"
            )
            raise DataError(msg)
    save_tables(tables, into)


def _sources(function: Function, made: Any) -> Any:
    for name, source in made.items() if isinstance(made, Mapping) else [("all", made)]:
        _check_source_name(function, name)
        if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
            lacking = "__len__" if hasattr(source, "__getitem__") else "__getitem__"
            msg = (
                f"{function.name} returned a {qualified_name(type(source))} as source {name!r}, which has no {lacking}; "
                f"a source has a length and examples by index: a Table, a list, a map-style torch dataset"
            )
            raise DataError(msg)
    if isinstance(made, Mapping) and not made:
        msg = f"{function.name} returned an empty mapping; it returns a source, or a mapping from names to sources"
        raise DataError(msg)
    return made


def _check_source_name(function: Function, name: object) -> None:
    if not isinstance(name, str) or not name:
        msg = f"{function.name}: the name of a source is a string, not {name!r}"
        raise DataError(msg)


def _named(made: Any) -> Mapping[str, Any]:
    return made if isinstance(made, Mapping) else {"all": made}


def _kinds(made: Any) -> str:
    if not isinstance(made, Mapping):
        return f"a {qualified_name(type(made))}"
    return "a mapping of " + ", ".join(sorted({type(value).__name__ for value in made.values()}))


def prepare_facts(
    p: Pipeline, sources: Mapping[str, Any], splits: Mapping[str, Examples], store: Callable[[], Path]
) -> dict[str, Any]:
    """The facts that the measure stages find: computed once per store, and read from it."""
    facts: dict[str, Any] = {}
    addresses: list[str] = []
    check_names(p, splits)
    sources_at = [stage for _, stage in p.of_kind(Fetch, Clean, Load)]
    for number, stage in p.of_kind(Measure):
        examples = splits[stage.splits[0]]
        upstream = address([*sources_at, *(p.stages[made_by] for made_by in examples.lineage)])
        names = digest([upstream, examples.source, *examples.names])
        at = measure_address(names, examples.order.size, stage, addresses)
        function = stage.function.with_facts(facts)
        view = given(View(sources[examples.source], examples.order))
        folder = artifact_folder(store(), f"measure-{function.name}", at)
        about = {"stage": "measure", "function": function.qualified_name, "address": at}
        found = open_facts(publish(folder, _measurer(function, number, view), about))
        twice = facts.keys() & found.keys()
        if twice:
            msg = f"stage {number}, measure {function.name}: {listed(twice)} was measured before; facts have one name each"
            raise DataError(msg)
        facts.update(found)
        addresses.append(at)
    return facts


def _measurer(function: Function, number: int, view: Any) -> Callable[[Path], None]:
    def make(into: Path) -> None:
        made = _called(function, number, "measure", (view,))
        with noted(_where(function, number, "measure")):
            if not isinstance(made, Mapping) or not all(isinstance(name, str) for name in made):
                msg = f"{function.name} returns a mapping from names to JSON values and tensors, not {made!r:.60}"
                raise DataError(msg)
            save_facts({name: plain_fact(name, value) for name, value in made.items()}, into)

    return make


def _called(function: Function, number: int, kind: str, given: tuple[Any, ...]) -> Any:
    """What the user's function returns; a first clean or load that wants an upstream is told that there is none."""
    with noted(_where(function, number, kind)):
        function.check_call(*(["upstream"] * len(given)))
        return function.bound()(*given)


def _where(function: Function, number: int, kind: str) -> str:
    return f"in stage {number}, {kind} {function!r}, defined at {function.location}"
