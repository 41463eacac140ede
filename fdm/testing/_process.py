"""Elsewhere: what another process finds of a pipeline, started afresh, with another random state and hash seed."""

import importlib.util
import multiprocessing
import os
import pickle
import pickletools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np
import torch

from .._arrays.differences import copied
from .._data import Data
from .._errors import PipelineError, WorkerError, stage_of
from .._executor import Executor
from .._fingerprint.canonical import canonical, digest
from .._orders.order import Order
from .._pipeline import Pipeline
from .._plans.plan import Rows
from .._processes.start import check_may_start, end_with_parent
from .._processes.torch_state import single
from .._sources.loaded import read
from .._stages.digest import stage_digest
from .._stages.stage import Stage
from .._text import shortened
from ._subject import Broken, Look, Trial, told, under


@attrs.frozen
class Question:
    """What another process is asked: the stages, pickled one by one, how to open them, and the batches to make."""

    stages: tuple[bytes, ...]
    seed: int
    modules: tuple[tuple[str, str], ...]
    options: Mapping[str, Any]
    rows: Mapping[str, tuple[list[int], list[int]]]


Answer: TypeAlias = dict[str, Any]


def asked(trial: Trial, looks: Mapping[str, Look]) -> Answer | Broken:
    """What another process finds of a trial: digests, sources, splits, orders, and the pieces of one batch a split.

    `Broken` where it cannot have the pipeline, with the stage to blame.
    """
    pickled: list[bytes] = []
    for number, stage in enumerate(trial.pipeline.stages):
        try:
            pickled.append(pickle.dumps(stage))
        except Exception as error:  # noqa: BLE001 - whatever a user's __reduce__ raises
            return Broken(number, f"pickle cannot save it: {told(error)}")
    context = attrs.evolve(trial.data.context, device="cpu")
    question = Question(
        tuple(pickled),
        trial.pipeline.seed,
        _modules(pickled),
        {"context": context, "store": trial.executor.store, "progress": False},
        {split: (look.rows.ids.tolist(), look.rows.positions.tolist()) for split, look in looks.items()},
    )
    return _exchanged(question)


def digest_of(stage: Stage) -> str:
    """The digest of a stage; of code that a fingerprint cannot cover, without it."""
    try:
        return stage_digest(stage)
    except PipelineError:
        return digest(canonical(stage))


def rows_of(trial: Trial, name: str) -> dict[int, Any]:
    """Some examples of a source by id: the first ones, the last, and some between."""
    source = trial.prepared.sources[name]
    n = len(source)
    ids = sorted({*range(min(n, 8)), *np.linspace(0, n - 1, 8, dtype=np.int64).tolist()}) if n else []
    return dict(zip(ids, copied(read(source, torch.tensor(ids, dtype=torch.int64))), strict=True))


def ids_of(order: Order) -> list[int]:
    """The ids of an order; of a long one, those at positions that are evenly spread."""
    most = min(order.size, _POSITIONS)
    return order.at(np.linspace(0, order.size - 1, most).astype(np.int64)).tolist() if most else []


def results_of(look: Look, rows: Rows) -> list[Any]:
    """What the operations of a batch make of these rows, one after the other."""
    made: Any = None
    found = []
    for operation in look.operations:
        made, rows = operation.call(copied(made), rows)
        found.append(made)
    return found


def _answer(connection: Connection, question: Question) -> None:
    """What the other process does: its global random state is one that the process which asks has not."""
    end_with_parent()
    found = single(under)(_SEED, lambda: _answer_to(question))
    connection.send_bytes(pickle.dumps(found))
    connection.close()


def _answer_to(question: Question) -> Answer:
    _import(question.modules)
    stages = []
    for number, pickled in enumerate(question.stages):
        try:
            stages.append(pickle.loads(pickled))  # noqa: S301 - it comes from the process that asks
        except Exception as error:  # noqa: BLE001 - a module may do anything when it is imported
            return {"unknown": Broken(number, f"another process cannot load it: {told(error)}")}
    found: Answer = {"digests": [digest_of(stage) for stage in stages]}
    try:
        executor = Executor(**question.options)
        data = executor.open(Pipeline(tuple(stages), question.seed))
    except Exception as error:  # noqa: BLE001 - as above
        return {**found, "closed": Broken(stage_of(error), f"another process cannot open it: {told(error)}")}
    with data:
        trial = Trial(data, executor, tuple(question.rows), 1)
        found["sources"] = {
            name: (len(source), _sent(rows_of, trial, name)) for name, source in trial.prepared.sources.items()
        }
        found["splits"] = {split: ids_of(examples.order) for split, examples in trial.prepared.splits.items()}
        found["orders"] = {split: _sent(_order_of, trial, split) for split in data.splits}
        found["pieces"] = {split: _sent(_pieces, trial, split, *rows) for split, rows in question.rows.items()}
    return found


def _pieces(trial: Trial, split: str, ids: list[int], positions: list[int]) -> list[Any]:
    return results_of(trial.looks(split)[0], Rows(torch.tensor(ids), torch.tensor(positions)))


def _order_of(trial: Trial, split: str) -> list[int]:
    return order_of(trial.data, split)


def order_of(data: Data, split: str) -> list[int]:
    """The ids of epoch 0 of a split in order, as `ids_of` has them."""
    return ids_of(data.dataset(split).order)


def _sent(make: Callable[..., Any], *args: Any) -> bytes | Broken:
    """What is made, on its way to the process that asks; what cannot be made or sent as the error."""
    try:
        return pickle.dumps(make(*args))
    except Exception as error:  # noqa: BLE001 - of the user's functions
        return Broken(stage_of(error), f"in another process: {told(error)}")


def _exchanged(question: Question) -> Answer | Broken:
    try:
        check_may_start("the process that fdm.testing.check compares with", "check in an ordinary process")
    except WorkerError as error:
        return Broken(None, str(error))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, question))
    try:
        with _another_hash_seed():
            process.start()
        theirs.close()
        answer: Answer = pickle.loads(ours.recv_bytes())  # noqa: S301 - from the process that was started
    except EOFError:
        process.join()
        number = next((number for number, stage in enumerate(question.stages) if b"__main__" in stage), None)
        text = f"another process ended with exit code {process.exitcode}: {_HINT}"
        return Broken(number, text)
    except (AssertionError, RuntimeError) as error:  # as where a script has no main part
        return Broken(None, f"no other process can be started ({shortened(str(error), 60)}): {_HINT}")
    process.join()
    unknown: Broken | None = answer.get("unknown")
    return answer if unknown is None else unknown


@contextmanager
def _another_hash_seed() -> Iterator[None]:
    """Where the hashes of strings are fixed for this process, let one that starts now have others."""
    fixed = os.environ.get("PYTHONHASHSEED", "random")
    if fixed == "random":
        yield
        return
    os.environ["PYTHONHASHSEED"] = "2" if fixed == "1" else "1"
    try:
        yield
    finally:
        os.environ["PYTHONHASHSEED"] = fixed


def _modules(pickled: Sequence[bytes]) -> tuple[tuple[str, str], ...]:
    """The modules that pickled stages name, with their files: another process may not find them by name."""
    named = {
        argument
        for each in pickled
        for _, argument, _ in pickletools.genops(each)
        if isinstance(argument, str) and argument in sys.modules
    }
    files = [(name, getattr(sys.modules[name], "__file__", None)) for name in sorted(named - {"__main__"})]
    return tuple((name, str(file)) for name, file in files if file)


def _import(modules: Sequence[tuple[str, str]]) -> None:
    """Import from their files the modules that are found by name elsewhere, or not at all."""
    for name, file in modules:
        found = None
        with suppress(ImportError, ValueError):
            found = importlib.util.find_spec(name)
        if found is not None and found.origin and Path(found.origin).resolve() == Path(file).resolve():
            continue
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is not None and spec.loader is not None:
            sys.modules[name] = module = importlib.util.module_from_spec(spec)
            with suppress(Exception):  # what fails will fail again where the stage is loaded, and be told there
                spec.loader.exec_module(module)


_SEED = 1_000_003
_POSITIONS = 100_000
_HINT = "it imports the script, whose work belongs below `if __name__ == '__main__':`, and no functions of notebooks"
