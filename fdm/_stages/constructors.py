"""Constructors: the functions that make stages, and check what they are given."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Concatenate, Literal, ParamSpec, TypeAlias, overload

from .._checks import integer
from .._errors import PipelineError, did_you_mean, listed
from .._public import public
from .._random.ambient import Ambient
from .._random.key import Key
from .function import Function, function
from .rounding import SLACK, as_written
from .stage import (
    Alias,
    Amount,
    Augment,
    Batch,
    Clean,
    Fetch,
    Fold,
    Load,
    Measure,
    Sample,
    Shuffle,
    Sizes,
    Split,
    Take,
    Transfer,
    Transform,
)


P = ParamSpec("P")

By: TypeAlias = str | Callable[..., Any] | None
"""What to stratify, group or key by: a column name, or a pure function of the source."""


@public
def fetch(fn: Callable[Concatenate[Any, P], object], /, *args: P.args, **params: P.kwargs) -> Fetch:
    """Get raw files: `fn(into, **params)` writes them below the folder `into`.

    Runs once per store; the folder is published atomically when `fn` returns.
    """
    _no_positional("fetch", args)
    return Fetch(function(fn, params, "fetch"))


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
    _no_positional("clean", args)
    return Clean(function(fn, params, "clean"))


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
    _no_positional("load", args)
    return Load(function(fn, params, "load"))


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
    if callable(into) and not (shuffle and stratify is None and groups is None and key is None):
        msg = "split: a function decides alone; leave out shuffle, stratify, groups and key"
        raise PipelineError(msg)
    if key is not None and not (shuffle and stratify is None and groups is None):
        msg = "split: key decides alone; leave out shuffle, stratify and groups"
        raise PipelineError(msg)
    if not shuffle and not (stratify is None and groups is None):
        msg = "split: stratify and groups need shuffle=True; shuffle=False cuts in order"
        raise PipelineError(msg)
    sizes = function(into, {}, "split") if callable(into) else _checked_sizes(into)
    if key is not None and any(isinstance(size, int) for _, size in _sizes_of(sizes)):
        msg = "split: with key, sizes are fractions (or None for the rest), since data that grows has no fixed counts"
        raise PipelineError(msg)
    return Split(
        sizes,
        _checked_of("split", of),
        integer("split: seed", seed, PipelineError),
        _checked_bool("split", "shuffle", shuffle),
        _checked_by("split", "stratify", stratify),
        _checked_by("split", "groups", groups),
        _checked_by("split", "key", key),
    )


@public
def fold(k: int, index: int, *, of: str | None = None, seed: int = 0, stratify: By = None, groups: By = None) -> Fold:
    """Cross-validation: fold `index` of `k` is `"val"`, the other folds are `"train"`.

    The folds of one seed are disjoint and cover the source, so `[replace(p, fold(5, i)) for i in range(5)]` is all of
    5-fold cross-validation. `stratify` and `groups` are as for `split`.
    """
    k, index = integer("fold: k", k, PipelineError, least=2), integer("fold: index", index, PipelineError, least=0)
    if index >= k:
        msg = f"fold: index counts from 0 to k - 1; {index} is no fold of {k}"
        raise PipelineError(msg)
    return Fold(
        k,
        index,
        _checked_of("fold", of),
        integer("fold: seed", seed, PipelineError),
        _checked_by("fold", "stratify", stratify),
        _checked_by("fold", "groups", groups),
    )


@public
def alias(**names: str) -> Alias:
    """More names for splits: `alias(predict="test")` makes `"predict"` the same examples as `"test"`.

    Stages `.on("test")` hold for `"predict"` too, unless one of their kind names it.
    """
    if not names:
        msg = 'alias takes new names for splits: alias(predict="test")'
        raise PipelineError(msg)
    for new, old in names.items():
        if not isinstance(old, str) or not old:
            msg = f"alias: {new}={old!r} is not the name of a split"
            raise PipelineError(msg)
    return Alias(tuple(names.items()))


@public
def measure(fn: Callable[Concatenate[Any, P], Mapping[str, Any]], /, *args: P.args, **params: P.kwargs) -> Measure:
    """Learn facts from one split: `fn(source, **params)` returns a mapping of JSON values and tensors.

    `.on(split)` names the split. Runs once per store; the results are `data.facts`, and `fact(name)` as a parameter of
    a later stage stands for one.
    """
    _no_positional("measure", args)
    return Measure(function(fn, params, "measure"))


@public
def shuffle(*, seed: int | None = None) -> Shuffle:
    """Order the split anew in every epoch, by a permutation that costs no memory.

    `seed` is the pipeline's unless given.
    """
    return Shuffle(None if seed is None else integer("shuffle: seed", seed, PipelineError))


@public
def sample(weights: str | Callable[[Any], Any], size: int | None = None, seed: int | None = None) -> Sample:
    """Draw `size` examples (default: as many as there are) with replacement, in proportion to `weights`.

    `weights` is a column name or a pure function of the source: one number per example, none negative, not all zero.
    `seed` is the pipeline's unless given.
    """
    by = _checked_by("sample", "weights", weights)
    if by is None:
        msg = "sample: weights is a column name or a function of the source, not None"
        raise PipelineError(msg)
    checked_size = None if size is None else integer("sample: size", size, PipelineError, least=0)
    return Sample(by, checked_size, None if seed is None else integer("sample: seed", seed, PipelineError))


@public
def take(n_or_fraction: Amount) -> Take:
    """The first examples of the order so far: a count (an integer), or a fraction (a float), rounded down.

    A count beyond the size takes all.
    """
    return Take(_checked_amount("take", "n_or_fraction", n_or_fraction))


@public
def transform(fn: Callable[Concatenate[Any, P], object], /, *args: P.args, **params: P.kwargs) -> Transform:
    """Change items: `fn(item, **params)` returns the new one.

    Before `batch` an item is an example; after it, a batch on the host; after `transfer`, a batch on the device.
    """
    _no_positional("transform", args)
    if isinstance(fn, Ambient):
        msg = f"transform: what ambient makes is random, and so for augment: fdm.augment(fdm.ambient({fn.call!r:.60}))"
        raise PipelineError(msg)
    return Transform(function(fn, params, "transform"))


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
    _no_positional("augment", args)
    if isinstance(fn, Ambient):
        return Augment(function(fn.call, params, "augment"), ambient=True)
    return Augment(function(fn, params, "augment"), ambient=False)


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
    if across not in _ACROSS:
        msg = f"batch: across is one of {listed(_ACROSS)}, not {across!r}{did_you_mean(across, _ACROSS)}"
        raise PipelineError(msg)
    if ids is not None and (not isinstance(ids, str) or not ids):
        msg = f"batch: ids is the name of the entry that holds the example ids, a string, not {ids!r}"
        raise PipelineError(msg)
    return Batch(
        integer("batch: size", size, PipelineError, least=1),
        _checked_bool("batch", "drop_last", drop_last),
        None if collate is None else function(collate, {}, "batch"),
        ids,
        across,
    )


@public
def transfer(*, skip: tuple[str, ...] | list[str] = ()) -> Transfer:
    """The device boundary: batches move to the context's device here; stages after it run there.

    `skip` names top-level entries (keys or fields) that stay on the host.
    """
    if isinstance(skip, str) or not isinstance(skip, Sequence) or not all(isinstance(name, str) for name in skip):
        msg = f"transfer: skip is a tuple of names of entries, not {skip!r}"
        raise PipelineError(msg)
    return Transfer(tuple(skip))


def _no_positional(stage: str, args: tuple[object, ...]) -> None:
    if args:
        msg = f"{stage} takes one function and its parameters by keyword; {args[0]!r:.60} has no name"
        raise PipelineError(msg)


def _sizes_of(into: Sizes | Function) -> Sizes:
    return () if isinstance(into, Function) else into


def _checked_sizes(into: object) -> Sizes:
    if not isinstance(into, Mapping) or not into:
        msg = f'split takes sizes, such as {{"train": 0.9, "val": None}}, or a function, not {into!r:.60}'
        raise PipelineError(msg)
    for name in into:
        if not isinstance(name, str) or not name:
            msg = f"split: the name of a split is a string, not {name!r}"
            raise PipelineError(msg)
    sizes = tuple((name, None if size is None else _checked_amount("split", name, size)) for name, size in into.items())
    if sum(size is None for _, size in sizes) > 1:
        msg = f"split: only one split can take the rest (None), not {[name for name, size in sizes if size is None]}"
        raise PipelineError(msg)
    fractions = sum((as_written(size) for _, size in sizes if isinstance(size, float)), Fraction(0))
    if fractions > 1 + SLACK:
        msg = f"split: the fractions {_shown(sizes)} sum to {float(fractions):g}, more than 1"
        raise PipelineError(msg)
    if all(isinstance(size, float) for _, size in sizes) and fractions < 1 - SLACK:
        msg = (
            f"split: the fractions {_shown(sizes)} sum to {float(fractions):g}, so some examples would be in no split; "
            f'name one that takes the rest: "unused": None'
        )
        raise PipelineError(msg)
    return sizes


def _shown(sizes: Sizes) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes)


def _checked_amount(stage: str, name: str, amount: object) -> Amount:
    if isinstance(amount, float):
        if not 0 <= amount <= 1:
            msg = f"{stage}: {name}={amount} is a float, so a fraction, and fractions lie in 0 to 1; a count is an int"
            raise PipelineError(msg)
        return float(amount)
    if isinstance(amount, str):
        msg = (
            f"{stage}: {name}={amount!r} is a string; a size is a count (int), a fraction (float) or None, for the rest"
        )
        raise PipelineError(msg)
    return integer(f"{stage}: {name}", amount, PipelineError, least=0)


def _checked_bool(stage: str, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        msg = f"{stage}: {name} is True or False, not {value!r}"
        raise PipelineError(msg)
    return value


def _checked_of(stage: str, of: object) -> str | None:
    if of is not None and (not isinstance(of, str) or not of):
        msg = f"{stage}: of is the name of a source or split, not {of!r}"
        raise PipelineError(msg)
    return of


def _checked_by(stage: str, name: str, by: object) -> str | Function | None:
    if by is None or (isinstance(by, str) and by):
        return by
    if not callable(by):
        msg = f"{stage}: {name} is a column name or a function of the source, not {by!r}"
        raise PipelineError(msg)
    return function(by, {}, stage)


_ACROSS = ("rank", "world")
