"""Habits: what people write who come from torch, Lightning, Hugging Face or pandas, and what to write here."""

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from ._errors import AccessError, ParameterError, did_you_mean, listed
from ._text import short


P = ParamSpec("P")
ReturnT = TypeVar("ReturnT")
ClassT = TypeVar("ClassT", bound=type)


def guided(call: Callable[P, ReturnT]) -> Callable[P, ReturnT]:
    """The function, whose calls that do not fit its signature raise a `ParameterError` which says what to write.

    What it costs, it costs only where a `TypeError` was raised.
    """
    explain = _explaining(call)

    def guide(*args: Any, **params: Any) -> Any:
        try:
            return call(*args, **params)
        except TypeError:
            explain(args, params)
            raise

    # Of the module of the function: that is how doctest knows which functions are of a module.
    anything: Any = call
    guiding: Any = FunctionType(guide.__code__, anything.__globals__, anything.__name__, None, guide.__closure__)
    guiding.__dict__.update(anything.__dict__)
    guiding.__module__, guiding.__qualname__ = anything.__module__, anything.__qualname__
    guiding.__doc__, guiding.__annotations__, guiding.__wrapped__ = anything.__doc__, anything.__annotations__, call
    return guiding  # type: ignore[no-any-return]  # what it was


def guided_class(made: ClassT) -> ClassT:
    """The class, whose constructor is `guided`."""
    anything: Any = made
    anything.__init__ = guided(anything.__init__)
    return made


def _explaining(call: Callable[..., Any]) -> Callable[[tuple[Any, ...], Mapping[str, Any]], None]:
    def explain(args: tuple[Any, ...], params: Mapping[str, Any]) -> None:
        signature = inspect.signature(call)
        try:
            signature.bind(*args, **params)
        except TypeError as error:
            raise ParameterError(_explained(call.__qualname__, signature, args, params) or str(error)) from None

    return explain


def _explained(name: str, signature: inspect.Signature, args: tuple[Any, ...], params: Mapping[str, Any]) -> str | None:
    """What is wrong with a call, and what to write instead; None where it is something odd."""
    label = _label(name)
    taken = list(signature.parameters.values())
    if taken and taken[0].name == "self":
        taken, args = taken[1:], args[1:]
    by_keyword = [each.name for each in taken if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    by_place = [each for each in taken if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    example = f"; write {EXAMPLES[label]}" if label in EXAMPLES else ""
    takes_any = any(each.kind is each.VAR_KEYWORD for each in taken)
    for each in params:
        if each not in by_keyword and not takes_any:
            return unknown_parameter(label, each, by_keyword) + ("" if habit(label, each) else example)
    if label == "split" and not args and "into" not in params and params:
        instead = next((said for each in params if (said := habit(label, each))), None)
        sizes = ", ".join(f'"{each}": {short(size, 20)}' for each, size in params.items() if each not in by_keyword)
        return f"split takes a mapping from names to sizes: {instead or f'fdm.split({{{sizes}}})'}"
    if len(args) > len(by_place) and not any(each.kind is each.VAR_POSITIONAL for each in taken):
        return f"{label} takes no {short(args[len(by_place)], 60)} in this place{example}"
    given = {each.name for each in by_place[: len(args)]} | set(params)
    missing = [each.name for each in taken if each.default is each.empty and each.name not in given and _is_one(each)]
    return f"{label} lacks {' and '.join(missing)}{example}" if missing else None


def _is_one(parameter: inspect.Parameter) -> bool:
    return parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)


def _label(qualname: str) -> str:
    """How a function is called: `data.loader` of a method, the name of the class of a constructor.

    >>> _label("Data.loader"), _label("Table.__init__"), _label("batch")
    ('data.loader', 'Table', 'batch')
    """
    owner, _, name = qualname.rpartition(".")
    return owner if name == "__init__" else f"{owner.lower()}.{name}" if owner else name


def unknown_parameter(label: str, name: str, known: list[str]) -> str:
    """What to say of a parameter that a function does not take: what to write for it, or the nearest of those known."""
    instead = habit(label, name)
    if instead:
        return f"{label} has no parameter {name!r}: {instead}"
    return f"{label} has no parameter {name!r}{did_you_mean(name, known)}; its parameters are {listed(known)}"


def habit(label: str, name: str) -> str | None:
    """What to write here in place of a parameter that others have; None where that is not known."""
    return PARAMETERS.get(label, {}).get(name) or EVERYWHERE.get(name)


def missing(of: object, name: str) -> AttributeError:
    """The error for an attribute that a class or an instance does not have, which says what to write if others have it."""
    kind = of if isinstance(of, type) else type(of)
    for each in kind.__mro__:
        known = NAMES.get(each.__name__, {})
        instead = known.get(name) or known.get(f"{name.partition('_')[0]}_*")
        if instead:
            return AccessError(f"{kind.__name__} has no {name!r}: {instead}")
    text = f"type object {kind.__name__!r}" if of is kind else f"{kind.__name__!r} object"
    return AttributeError(f"{text} has no attribute {name!r}", name=name, obj=of)


class OtherNames:
    """Internal base of what others have attributes of that it has not: the error for one says what to write."""

    __slots__ = ()

    if not TYPE_CHECKING:  # else checkers would take any attribute for one that is there

        def __getattr__(self, name: str) -> NoReturn:
            raise missing(self, name)


class OtherConstructors(type):
    """Internal class of classes that others make by `from_...`: the error for such a name says what to write."""

    if not TYPE_CHECKING:

        def __getattr__(cls, name: str) -> NoReturn:
            raise missing(cls, name)


class OtherOperators:
    """Internal base of what others add or pipe: the error says how stages go together here."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __add__(self, _: object) -> NoReturn:
            msg = (
                "stages and pipelines are not added by an operator: write fdm.pipeline(a, b, ...), into which pipelines are "
                "spliced, or fdm.insert(p, stage), which puts a stage where it belongs"
            )
            raise ParameterError(msg)

        __radd__ = __or__ = __ror__ = __rshift__ = __rrshift__ = __add__


_OF_DATA = "the data of a split comes by"
_INSERT = "a pipeline is a value, which functions edit: q ="

EVERYWHERE: Mapping[str, str] = MappingProxyType(
    {
        "batch_size": "the size of batches is a stage's: fdm.batch(32), in a finished pipeline fdm.replace(p, fdm.batch(32))",
        "shuffle": 'the order is a stage\'s, before batch: fdm.shuffle().on("train"), in a finished pipeline '
        'fdm.insert(p, fdm.shuffle().on("train"))',
        "sampler": "the order is a stage's, before batch: fdm.shuffle(), or fdm.sample(weights); ranks have their shares by "
        "themselves",
        "batch_sampler": "what stands together in a batch is decided by stages: fdm.batch(32, alike=column) puts like "
        "lengths together, fdm.sample(weights) draws by weights",
        "num_workers": "speed is the executor's: fdm.open(p, workers=4)",
        "pin_memory": "speed is the executor's: fdm.open(p, pin_memory=True)",
        "prefetch_factor": "speed is the executor's: fdm.open(p, workers=4, prefetch=2)",
        "persistent_workers": "workers stay for all epochs: fdm.open(p, workers=4)",
        "multiprocessing_context": 'speed is the executor\'s: fdm.open(p, start_method="spawn")',
        "timeout": "a worker that dies is told as an error; leave it out",
        "worker_init_fn": "each worker calls the function of fdm.load anew, and draws come from keys; leave it out",
        "generator": "draws come from seeds: fdm.pipeline(..., seed=0)",
        "collate_fn": "it is a stage's: fdm.batch(32, collate=fn)",
        "drop_remainder": "that is drop_last: fdm.batch(32, drop_last=True)",
        "random_state": "that is seed: seed=0",
        "device": 'the device is the executor\'s: fdm.open(p, context=fdm.RankContext(device="cuda")), and fdm.transfer() is '
        "where batches move there",
        "dataset": "data comes from a stage: fdm.load(fn), where fn() returns the dataset",
        "transform": "that is a stage: fdm.transform(fn), before batch for one example at a time",
    }
)
"""What to write in place of parameters that others have, wherever they are written."""

PARAMETERS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "batch": {
            "batch_size": "the size comes first: fdm.batch(32)",
            "size_per_rank": "the size is that of a rank: fdm.batch(32)",
            "collate_fn": "that is collate: fdm.batch(32, collate=fn)",
            "padding": 'rows of different length are fdm.Ragged in a batch: batch["x"].padded(0)',
            "pad": 'rows of different length are fdm.Ragged in a batch: batch["x"].padded(0)',
        },
        "split": {
            "train_size": 'sizes are a mapping: fdm.split({"train": 0.8, "val": None})',
            "test_size": 'sizes are a mapping: fdm.split({"train": None, "test": 0.2})',
            "lengths": 'sizes are a mapping: fdm.split({"train": 0.8, "val": None})',
            "fractions": 'sizes are a mapping: fdm.split({"train": 0.8, "val": None})',
            "stratify_by_column": "that is stratify: stratify=column",
            "group": "that is groups: groups=column",
        },
        "fold": {
            "n_splits": "folds are counted by k: fdm.fold(5, 0) is fold 0 of 5",
            "n_folds": "folds are counted by k: fdm.fold(5, 0) is fold 0 of 5",
            "shuffle": "folds are of a permutation; seed=1 takes another one",
            "fold": "its number is index: fdm.fold(5, 0) is fold 0 of 5",
        },
        "shuffle": {
            "buffer_size": "a permutation of all costs no memory: fdm.shuffle(); blocks are for data that is read in blocks: "
            "fdm.shuffle(block=256, window=1024)",
            "split": 'splits are named by .on: fdm.shuffle().on("train")',
            "reshuffle_each_iteration": "each epoch has its own permutation; fixed is what stands in the pipeline without a "
            "shuffle",
        },
        "sample": {
            "replacement": 'it draws with replacement: fdm.sample("weight"); without, write fdm.shuffle(), and fdm.take(n)',
            "num_samples": "that is size: fdm.sample(weights, size=1000)",
            "n": "that is size, of draws with replacement; the first n of the order are fdm.take(n)",
            "frac": "the first part of the order is fdm.take(0.1)",
        },
        "take": {"n": "it comes first: fdm.take(100)", "fraction": "it comes first, a float: fdm.take(0.1)"},
        "transfer": {
            "non_blocking": "copies are made ahead as the device allows; leave it out (skip names entries that stay)",
        },
        "pipeline": {
            "stages": "stages stand one after the other: fdm.pipeline(stage, stage), of a list fdm.pipeline(*stages)",
        },
        "open": {
            "num_workers": "that is workers: fdm.open(p, workers=4)",
            "num_threads": "that is threads: fdm.open(p, threads=4)",
            "prefetch_factor": "that is prefetch: fdm.open(p, workers=4, prefetch=2)",
            "multiprocessing_context": 'that is start_method: fdm.open(p, workers=4, start_method="spawn")',
            "cache_dir": "that is store: fdm.open(p, store=folder)",
            "data_dir": "what is kept is in store: fdm.open(p, store=folder)",
            "root": "what is kept is in store: fdm.open(p, store=folder)",
            "seed": "what changes batches is the pipeline's: fdm.open(fdm.replace(p, seed=7))",
            "split": 'all splits are opened: fdm.open(p).loader("train")',
            "epoch": "an epoch is a loader's: data.loader(split, epoch=3)",
            "rank": "ranks are found, or given: fdm.open(p, context=fdm.RankContext(rank=0, world_size=2))",
            "world_size": "ranks are found, or given: fdm.open(p, context=fdm.RankContext(rank=0, world_size=2))",
        },
        "data.loader": {
            "steps": "a part of an epoch is a slice: data.loader(split)[:100]",
            "limit": "a part of an epoch is a slice: data.loader(split)[:100]",
            "max_steps": "a part of an epoch is a slice: data.loader(split)[:100]",
            "num_batches": "a part of an epoch is a slice: data.loader(split)[:100]",
            "seed": "each epoch has its own order: data.loader(split, epoch=1); the seed is the pipeline's: "
            "fdm.replace(p, seed=7)",
            "snapshot": "that is start: data.loader(split, start=snapshot)",
            "resume": "that is start: data.loader(split, start=snapshot)",
            "rank": "ranks are found when data is opened: fdm.open(p, context=fdm.RankContext(rank=0, world_size=2))",
        },
        "data.epochs": {
            "epochs": "the epoch to end before is stop: data.epochs(split, stop=3)",
            "n": "the epoch to end before is stop: data.epochs(split, stop=3)",
            "max_epochs": "the epoch to end before is stop: data.epochs(split, stop=3)",
            "num_epochs": "the epoch to end before is stop: data.epochs(split, stop=3)",
            "snapshot": "that is start: data.epochs(split, 10, start=snapshot)",
        },
    }
)
"""What to write in place of parameters that others have, by the function at which they are written."""

EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        **{kind: f"fdm.{kind}(fn, name=value)" for kind in ("clean", "load", "transform", "augment", "fetch")},
        "measure": 'fdm.measure(fn).on("train")',
        "batch": "fdm.batch(32), or fdm.batch(32, drop_last=True)",
        "split": 'fdm.split({"train": 0.9, "val": None})',
        "fold": "fdm.fold(5, 0), which is fold 0 of 5",
        "alias": 'fdm.alias(predict="test")',
        "shuffle": 'fdm.shuffle().on("train"), which is a permutation of all in each epoch',
        "sample": 'fdm.sample("weight"), a column or a function of the source',
        "take": "fdm.take(100), or fdm.take(0.1)",
        "pack": 'fdm.pack(4096, "tokens")',
        "mix": 'fdm.mix({"web": 0.7, "code": 0.3}, into="train")',
        "transfer": "fdm.transfer(), to the device that the executor has: "
        'fdm.open(p, context=fdm.RankContext(device="cuda"))',
        "open": "fdm.open(p), or fdm.open(p, workers=4)",
        "Executor": "fdm.Executor(workers=4).open(p)",
        "data.loader": 'data.loader("train"), or data.loader("train", epoch=3)',
        "data.epochs": 'data.epochs("train", 3)',
        "data.dataset": 'data.dataset("train")',
        "loader.snapshot": "loader.snapshot(step), where step counts the steps of this loader that are done",
        "Table": 'fdm.Table({"image": images, "label": labels})',
        "Ragged": "fdm.Ragged.of(rows), of a list of tensors, bytes or strings",
    }
)
"""A right call of each function."""

NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "Split": {"on": 'it cuts a source, or a split that is there: fdm.split(sizes, of="train")'},
        "Fold": {"on": 'it cuts a source, or a split that is there: fdm.fold(5, 0, of="train")'},
        "Alias": {"on": 'it names splits: fdm.alias(predict="test")'},
        "Mix": {"on": 'it names its parts, and the split that is made: fdm.mix(shares, into="train")'},
        "Fetch": {"on": "it runs once, for all splits; return what a split needs from fdm.clean or fdm.load by name"},
        "Clean": {
            "on": 'it makes the sources that splits are made of: return {"train": table, "val": table}, or limit what comes '
            'later: fdm.transform(fn).on("train")'
        },
        "Load": {
            "on": 'it opens the sources that splits are made of: return {"train": source, "val": source}, or limit what '
            'comes later: fdm.transform(fn).on("train")'
        },
        "Pipeline": {
            "replace": f"{_INSERT} fdm.replace(p, fdm.batch(256)), or fdm.replace(p, seed=7)",
            "with_seed": f"{_INSERT} fdm.replace(p, seed=7)",
            "with_*": f"{_INSERT} fdm.replace(p, fdm.batch(256)), or fdm.insert(p, stage)",
            "without": f'{_INSERT} fdm.without(p, "shuffle")',
            "remove": f'{_INSERT} fdm.without(p, "shuffle")',
            **dict.fromkeys(("insert", "append", "add", "extend"), f"{_INSERT} fdm.insert(p, stage)"),
            **dict.fromkeys(
                ("map", "with_transform", "set_transform", "apply"), f"{_INSERT} fdm.insert(p, fdm.transform(fn))"
            ),
            "filter": "what is left out is decided by a split: fdm.split(fn), or a clean function",
            "shuffle": f"{_INSERT} fdm.insert(p, fdm.shuffle())",
            "batch": f"{_INSERT} fdm.insert(p, fdm.batch(32)), or fdm.replace(p, fdm.batch(32)) where there is one",
            "take": f"{_INSERT} fdm.insert(p, fdm.take(100))",
            "describe": "that is a function: fdm.describe(p)",
            "fingerprint": "that is a function: fdm.fingerprint(p)",
            "draw": "that is a function: fdm.draw(p)",
            "prepare": "that is an executor's: fdm.Executor().prepare(p)",
            **dict.fromkeys(
                ("open", "loader", "epochs", "dataset", "splits", "facts", "setup", "train_dataloader", "run"),
                'a pipeline is a value until it is opened: data = fdm.open(p), then data.loader("train")',
            ),
        },
        "Data": {
            **{
                f"{split}_dataloader": f'{_OF_DATA} data.loader("{split}"), the batches of one epoch'
                for split in ("train", "val", "test", "predict")
            },
            **{
                split: f'{_OF_DATA} data.loader("{split}") in batches, and by data.dataset("{split}") example by example'
                for split in ("train", "val", "test", "predict")
            },
            "setup": "fdm.open(p) has done it: all splits are there",
            "teardown": "it is closed by data.close(), or at the end of with fdm.open(p) as data",
            "prepare_data": "fdm.open(p) has done it; alone it is fdm.Executor().prepare(p)",
            "batch_size": 'it is that of a split: data.loader("train").plan()["batch_size"]',
            "dataloader": f'{_OF_DATA} data.loader("train")',
            "map": "what is done for examples and batches is a stage of the pipeline: fdm.transform(fn)",
            "with_transform": "what is done for examples and batches is a stage of the pipeline: fdm.transform(fn)",
            "set_transform": "what is done for examples and batches is a stage of the pipeline: fdm.transform(fn)",
            "filter": "what is left out is decided by a stage of the pipeline: fdm.split(fn), or a clean function",
            "shuffle": "the order is a stage of the pipeline: fdm.shuffle()",
            "batch": "batches are a stage of the pipeline: fdm.batch(32)",
            "take": "the first examples are a stage of the pipeline: fdm.take(100)",
            "select": "the first examples are a stage of the pipeline: fdm.take(100)",
            "train_test_split": 'splits are a stage of the pipeline: fdm.split({"train": None, "test": 0.2})',
            "keys": "the splits are in data.splits",
            "set_epoch": "an epoch is a loader's: data.loader(split, epoch=3)",
        },
        "Loader": {
            "dataset": 'a loader has batches; the examples of a split are data.dataset("train"), their ids '
            "loader.indices(step)",
            "batch_size": 'it is in the plan: loader.plan()["batch_size"]',
            "drop_last": 'what is left out is in the plan: loader.plan()["dropped"]',
            "sampler": "the epoch is chosen where a loader is made: data.loader(split, epoch=3); ranks have their shares by "
            "themselves",
            "batch_sampler": "the ids of a batch are loader.indices(step)",
            "set_epoch": "the epoch is chosen where a loader is made: data.loader(split, epoch=3), or data.epochs(split, 10)",
            "collate_fn": "it is a stage's: fdm.batch(32, collate=fn)",
            "num_workers": "speed is the executor's: fdm.open(p, workers=4)",
            "pin_memory": "speed is the executor's: fdm.open(p, pin_memory=True)",
            "next": "batches come by a loop, or by next(iter(loader)); loader[i] is that of a step",
            "state_dict": "a place is loader.snapshot(step).to_dict()",
            "load_state_dict": "a place is where a loader starts: data.loader(split, start=fdm.Snapshot.from_dict(place))",
        },
        "Table": {
            "from_*": "make it of columns, fdm.Table({name: tensor}), or of rows or a frame, fdm.Table.of(rows)",
            "columns": "they are a mapping: table.keys(), table[name]",
            "column_names": "they are a mapping: table.keys(), table[name]",
            "features": "they are a mapping: table.keys(), table[name]",
            "dtypes": "they are the columns': table[name].dtype; print(table) shows all",
            "shape": "rows are counted by len(table), columns are table.keys()",
            "num_rows": "rows are counted by len(table)",
            "iloc": "rows are table[3], or table[[3, 4]]",
            "loc": "rows are table[3], or table[[3, 4]]; a column is table[name]",
            "head": "the first rows are table[:5]",
            "select": "rows are table[[3, 4]], as a batch; in a pipeline it is fdm.split or fdm.take that choose",
            "map": "a new table is made of columns: fdm.Table({**table, name: tensor}); in a pipeline it is fdm.transform(fn)",
            "filter": "a new table is made of rows: fdm.Table(table[rows])",
            "to_*": "its columns are tensors: dict(table.items())",
            "numpy": "a column is a tensor: table[name].numpy()",
            "append": "a table is immutable; a new one is made of columns: fdm.Table({**table, name: tensor})",
            "assign": "a table is immutable; a new one is made of columns: fdm.Table({**table, name: tensor})",
        },
        "Ragged": {
            "from_*": "it is made of rows: fdm.Ragged.of(rows)",
            "to_padded_tensor": "that is ragged.padded(0)",
            "to_padded": "that is ragged.padded(0)",
            "to_tensor": "that is ragged.padded(0)",
            "shape": "rows are counted by len(ragged)",
        },
    }
)
"""What to write in place of attributes that others have, by class; `with_*` stands for all that begin so."""
