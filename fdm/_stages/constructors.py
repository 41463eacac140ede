"""Constructors: the functions that make stages; what the records of stages refuse, they refuse."""

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar, overload

from .._errors import PipelineError
from .._public import public
from .._random.ambient import Ambient
from .._random.key import Key
from .._text import short
from .fields import Amount
from .function import Function, function
from .stage import (
    Alias,
    Augment,
    Batch,
    Clean,
    Fetch,
    Fold,
    Load,
    Measure,
    Sample,
    Shuffle,
    Split,
    Take,
    Transfer,
    Transform,
)


P = ParamSpec("P")
StageT = TypeVar("StageT")

By: TypeAlias = str | Callable[..., Any] | None
"""What to stratify, group or key by: a column name, or a pure function of the source."""


@public
def fetch(fn: Callable[Concatenate[Any, P], object], /, *args: P.args, **params: P.kwargs) -> Fetch:
    """Get raw files: `fn(into, **params)` writes them below the folder `into`.

    Runs once per store; the folder is published atomically when `fn` returns.
    """
    return Fetch(_held("fetch", fn, args, params))


# What a stage passes itself (upstream, part) depends on where it stands, so checkers may choose among the forms.
@overload
def clean(fn: Callable[P, object], /, *args: P.args, **params: P.kwargs) -> Clean: ...
@overload
def clean(fn: Callable[Concatenate[Any, P], object], /, *args: P.args, **params: P.kwargs) -> Clean: ...
@overload
def clean(fn: Callable[Concatenate[Any, Any, P], object], /, *args: P.args, **params: P.kwargs) -> Clean: ...
@public
def clean(fn: Callable[..., object], /, *args: object, **params: object) -> Clean:
    """Make tables: `fn(upstream, **params)` returns a `Table` or a mapping of them.

    `upstream` is the fetched folder (a `Path`), or the table or mapping of tables that the clean before made; a clean
    that is the first stage is called without it. Runs once per store; the tables are saved, and memory-mapped by
    every process that reads them.
    """
    return Clean(_held("clean", fn, args, params))


@overload
def load(fn: Callable[P, object], /, *args: P.args, **params: P.kwargs) -> Load: ...
@overload
def load(fn: Callable[Concatenate[Any, P], object], /, *args: P.args, **params: P.kwargs) -> Load: ...
@public
def load(fn: Callable[..., object], /, *args: object, **params: object) -> Load:
    """Open data that is no table: `fn(upstream, **params)` returns a source or a mapping of sources.

    A source has `__len__` and `__getitem__`: a list, any map-style torch dataset, a Hugging Face dataset. As the first
    stage it is called without `upstream`.

    Runs on every process, on one process of a machine first. Each process and each thread that reads examples calls it
    again, and has sources of its own: they may hold open files. Tables, lists, arrays and tensors are not opened again,
    and `.shared()` says so of others. The global random state is seeded while it runs, so that all find the same.
    `.ambient()` is for sources whose `__getitem__` draws from that state. Sources with `close()` are closed with the data.
    """
    return Load(_held("load", fn, args, params))


@public
def split(
    into: Mapping[str, Amount | None] | Callable[[Any], Mapping[str, Any]],
    *,
    of: str | None = None,
    seed: int = 0,
    shuffle: bool = True,
    stratify: By = None,
    groups: By = None,
    key: By = None,
) -> Split:
    """Cut the source `of` into named splits; without `of` there must be one source only.

    `into` maps a name to a count (an integer), a fraction (a float), or, once, to None for the rest; what it names must
    account for every example. Or it is a pure function `fn(source)` that returns the indices of each split.

    `stratify` keeps the proportions of the classes, each within one example; `groups` keeps a group whole, and no split
    empty where there are groups enough; `key` puts an example by a hash of its key, so that growing data never moves one
    (fractions only, sizes approximate). Each is a column name or a pure function of the source. `shuffle=False` cuts in
    order. `seed` is the split's own.

    Raises `PipelineError` for sizes that cannot be: negative, fractions over 1, two that take the rest.
    """
    return _of(Split, into, of, seed, shuffle, stratify, groups, key)


@public
def fold(k: int, index: int, *, of: str | None = None, seed: int = 0, stratify: By = None, groups: By = None) -> Fold:
    """Cross-validation: fold `index` of `k` is `"val"`, the other folds are `"train"`.

    The folds of one seed are disjoint and cover the source, so `[replace(p, fold(5, i)) for i in range(5)]` is all of
    5-fold cross-validation. `stratify` and `groups` are as for `split`.
    """
    return _of(Fold, k, index, of, seed, stratify, groups)


@public
def alias(**names: str) -> Alias:
    """More names for splits: `alias(predict="test")` makes `"predict"` the same examples as `"test"`.

    Stages `.on("test")` hold for `"predict"` too, unless one of their kind names it.
    """
    return _of(Alias, names)


@public
def measure(fn: Callable[Concatenate[Any, P], Mapping[str, Any]], /, *args: P.args, **params: P.kwargs) -> Measure:
    """Learn facts from one split: `fn(source, **params)` returns a mapping of JSON values and tensors.

    `.on(split)` names the split. Runs once per store; the results are `data.facts`, and `fact(name)` as a parameter of
    a later stage stands for one.
    """
    return Measure(_held("measure", fn, args, params))


@public
def shuffle(*, seed: int | None = None) -> Shuffle:
    """Order the split anew in every epoch, by a permutation that costs no memory.

    `seed` is the pipeline's unless given.
    """
    return Shuffle(seed)


@public
def sample(weights: str | Callable[[Any], Any], size: int | None = None, seed: int | None = None) -> Sample:
    """Draw `size` examples (default: as many as there are) with replacement, in proportion to `weights`.

    `weights` is a column name or a pure function of the source: one number per example, none negative, not all zero.
    `seed` is the pipeline's unless given.
    """
    return _of(Sample, weights, size, seed)


@public
def take(n_or_fraction: Amount) -> Take:
    """The first examples of the order so far: a count (an integer), or a fraction (a float), rounded down.

    A count beyond the size takes all.
    """
    return Take(n_or_fraction)


@public
def transform(fn: Callable[Concatenate[Any, P], object], /, *args: P.args, **params: P.kwargs) -> Transform:
    """Change items: `fn(item, **params)` returns the new one.

    Before `batch` an item is an example; after it, a batch on the host; after `transfer`, a batch on the device.
    """
    return Transform(_held("transform", fn, args, params))


@overload
def augment(fn: Ambient[P], /, *args: P.args, **params: P.kwargs) -> Augment: ...
@overload
def augment(fn: Callable[Concatenate[Any, Key, P], object], /, *args: P.args, **params: P.kwargs) -> Augment: ...
@public
def augment(fn: Callable[..., object], /, *args: object, **params: object) -> Augment:
    """Change items at random: `fn(item, key, **params)` returns the new one, with draws from the `Key` alone.

    Before `batch` an item is an example, and the key its own; after it, a batch, with a key for each of its examples;
    after `transfer`, a batch on the device, where the key draws too. What an example's key draws depends on the
    pipeline's seed, the function's name, the epoch and the example id: not on its batch, nor on rank, workers or device.

    `augment(ambient(fn))` takes a function `fn(item)` that draws from the global random state.

    >>> import fdm
    >>> def brighten(image, key, *, most):
    ...     return image + key.uniform(high=most)
    >>> print(fdm.pipeline(fdm.augment(brighten, most=0.1).on("train")))
    0 augment  fdm.brighten(most=0.1)  on train
    seed 0
    """
    is_ambient = isinstance(fn, Ambient)
    return Augment(_held("augment", fn.call if isinstance(fn, Ambient) else fn, args, params), is_ambient)


@public
def batch(
    size: int,
    *,
    drop_last: bool = False,
    collate: Callable[[list[Any]], Any] | None = None,
    ids: str | None = None,
    across: Literal["rank", "world"] = "rank",
) -> Batch:
    """Put `size` examples per rank together, or with `across="world"` `size` examples over all ranks together.

    `collate(list of examples)` makes the batch, by default as torch does; `ids` names an entry that is added with the
    example ids; a collate function finds the id of each example that is a dict in it, and returns them where it leaves
    examples out or moves them, as later stages do. Without `drop_last` every example is seen exactly once per epoch and
    every rank has equal steps.

    With `across="world"` the examples of a global batch are the same for any number of ranks, which have equal pieces of
    it, or pieces that differ by one example. `size` is then at least the number of ranks. Only where the last global
    batch has fewer examples than ranks is it evened out with the one before it, so those two depend on the world.

    >>> import fdm
    >>> print(fdm.pipeline(fdm.batch(256, across="world")))
    0 batch  256, across=world
    seed 0
    """
    return _of(Batch, size, drop_last, collate, ids, across)


@public
def transfer(*, skip: tuple[str, ...] | list[str] = ()) -> Transfer:
    """The device boundary: batches move to the context's device here; stages after it run there.

    `skip` names top-level entries (keys or fields) that stay on the host.
    """
    return _of(Transfer, skip)


def _held(stage: str, fn: Callable[..., Any], args: tuple[object, ...], params: Mapping[str, Any]) -> Function:
    """The function of a stage with its parameters, which `args` can only misspell."""
    if args:
        msg = f"{stage} takes one function and its parameters by keyword; {short(args[0], 60)} has no name"
        raise PipelineError(msg)
    return function(fn, params, stage)


def _of(stage: Callable[..., StageT], *fields: object) -> StageT:
    """The record of a stage, which checks and converts what users give."""
    return stage(*fields)
