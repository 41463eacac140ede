"""Targets: what the command line names: the pipeline of `package.module:name` or `path/to/file.py:name`, a split, a rank."""

import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from .._data import Data
from .._errors import FdmError, add_note, did_you_mean, unknown
from .._fingerprint.canonical import importable_name
from .._pipeline import Pipeline
from .._ranks.context import RankContext


class UsageError(FdmError):
    """A command line that names what is not there; the command ends with exit code 2."""


def pipeline_at(target: str) -> Pipeline:
    """The pipeline that a target names, or that the function of no arguments which it names makes.

    `target` is `package.module:name` or `path/to/file.py:name`; the name may have dots. A file is imported under the
    name that its functions have when it runs as a script, so both share what the store keeps.

    Raises `UsageError` for a target that names no pipeline, with those that are there. Errors that the user's own code
    raises pass through, with a note.
    """
    place, _, name = target.rpartition(":")
    if not place or place.endswith(os.sep) or (os.name == "nt" and len(place) == 1):  # C:\train.py has no name
        place, name = target, ""
    module = _module_of_file(Path(place)) if _is_file(place) else _module(place)
    if not name:
        msg = f"{target!r} names no pipeline: say {place}:NAME; {_there(module)}"
        raise UsageError(msg)
    return _made(_found(module, place, name), place, name)


def context_of(rank: int, world_size: int) -> RankContext:
    """The context of a rank in a world of this size, on the device of this process."""
    if not 0 <= rank < world_size:
        msg = f"--rank {rank}: a world of {world_size} has the ranks 0 to {world_size - 1}"
        raise UsageError(msg)
    return RankContext(rank=rank, world_size=world_size, device=RankContext.detect().device)


def checked_split(data: Data, split: str | None) -> None:
    """Raise `UsageError` for a split that is not there."""
    if split is not None and split not in data.splits:
        msg = f"--split {split}: {unknown('split', split, data.splits)}"
        raise UsageError(msg)


def pipelines_in(module: ModuleType) -> list[str]:
    """The names in a module that are pipelines, and functions of no arguments that say they return one."""
    return sorted(name for name, value in vars(module).items() if not name.startswith("_") and _is_offered(value))


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or os.sep in place


def _module_of_file(file: Path) -> ModuleType:
    if not file.is_file():
        near = [str(other) for other in file.parent.glob("*.py")] if file.parent.is_dir() else []
        what = "is a folder" if file.is_dir() else "there is no such file"
        msg = f"{file}: {what}{did_you_mean(file, near)}; a target is file.py:NAME or package.module:NAME"
        raise UsageError(msg)
    file = file.resolve()
    name = importable_name(file)
    # Where a worker process looks for the module by its name; and, for scripts in packages, for what they import.
    sys.path.insert(0, str(file.parents[name.count(".") - file.stem.count(".")]))
    sys.path.append(str(file.parent))
    with _imported(file.name):
        module = importlib.import_module(name) if file.stem.isidentifier() else _loaded(name, file)
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != file:
        msg = f"{file.name} cannot be imported as {name!r}, since that is {found or 'built in'}; give the file another name"
        raise UsageError(msg)
    return module


def _loaded(name: str, file: Path) -> ModuleType:
    """The module of a file whose name no import statement could have."""
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        msg = f"{file} is no Python file"
        raise UsageError(msg)
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        msg = f"{name!r} is no name of a module; a target is package.module:NAME or file.py:NAME"
        raise UsageError(msg)
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it
    try:
        with _imported(name):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        near = [path.stem for path in Path.cwd().glob("*.py")]
        file = f"; {name}.py is a file here: say {name}.py:NAME" if name in near else ""
        msg = f"there is no module {error.name!r}{did_you_mean(error.name, near)}{file}"
        raise UsageError(msg) from None


@contextmanager
def _imported(what: str) -> Iterator[None]:
    """Say of an error which import it ended; a script that ends itself when it is imported is told how not to."""
    try:
        yield
    except SystemExit as error:
        msg = f'{what} ends itself when it is imported; put what runs it below if __name__ == "__main__":'
        raise ImportError(msg) from error
    except Exception as error:
        add_note(error, f"while {what} was imported")
        raise


def _found(module: ModuleType, place: str, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        names = [known for known in dir(value) if not known.startswith("_")]
        if not hasattr(value, part):
            there = _there(module) if value is module else f"{type(value).__name__} has no such attribute"
            msg = f"{place} has no {name!r}{did_you_mean(part, pipelines_in(module) + names)}; {there}"
            raise UsageError(msg)
        value = getattr(value, part)
    return value


def _made(value: Any, place: str, name: str) -> Pipeline:
    if isinstance(value, Pipeline):
        return value
    if not callable(value) or isinstance(value, type):
        msg = f"{place}:{name} is no pipeline and no function that makes one; it is of type {type(value).__name__}"
        raise UsageError(msg)
    needed = _needed(value)
    if needed:
        msg = f"{place}:{name} is a function that needs {', '.join(needed)}; name one without arguments, or a pipeline"
        raise UsageError(msg)
    try:
        made = value()
    except Exception as error:
        add_note(error, f"in {name}(), which makes the pipeline")
        raise
    if not isinstance(made, Pipeline):
        msg = f"{place}:{name}() returned a {type(made).__name__}, and no pipeline: fdm.pipeline(...) makes one"
        raise UsageError(msg)
    return made


def _needed(function: Any) -> list[str]:
    """The parameters that a function cannot be called without."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions written in C do not tell
        return []
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _is_offered(value: Any) -> bool:
    if isinstance(value, Pipeline):
        return True
    returned = getattr(value, "__annotations__", {}).get("return") if inspect.isfunction(value) else None
    return (returned is Pipeline or returned in ("Pipeline", "fdm.Pipeline")) and not _needed(value)


def _there(module: ModuleType) -> str:
    names = pipelines_in(module)
    return f"pipelines there: {', '.join(names)}" if names else "there are no pipelines in it"
