"""Constructors: the functions that make stages; what the records of stages refuse, they refuse."""

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar, overload

from .._habits.calls import guided
from .._public import public
from .._random.ambient import Ambient
from .._random.key import Key
from .fields import Amount
from .held import divider, held
from .stage import (
    Alias,
    Augment,
    Batch,
    Clean,
    Fetch,
    Fold,
    Load,
    Measure,
    Mix,
    Pack,
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
@guided
def fetch(fn: Callable[Concatenate[Any, P], object], /, *args: P.args, **params: P.kwargs) -> Fetch:
    """Get raw files: `fn(into, **params)` writes them below the folder `into`.

    Runs once per store; the folder is published atomically when `fn` returns.
    """
    return Fetch(held("fetch", fn, args, params))


# What a stage passes itself (upstream, part) depends on where it stands, so checkers may choose among the forms.
@overload
def clean(fn: Callable[P, object], /, *args: P.args, **params: P.kwargs) -> Clean: ...
@overload
def clean(fn: Callable[Concatenate[Any, P], object], /, *args: P.args, **params: P.kwargs) -> Clean: ...
@overload
def clean(fn: Callable[Concatenate[Any, Any, P], object], /, *args: P.args, **params: P.kwargs) -> Clean: ...
@public
@guided
def clean(fn: Callable[..., object], /, *args: object, **params: object) -> Clean:
    """Make tables: `fn(upstream, **params)` returns a `Table`, an iterable of examples, or a mapping from names to them.

    `upstream` is the fetched folder (a `Path`), or the table or mapping of tables that the clean before made; a clean
    that is the first stage is called without it. Runs once per store; the tables are saved, and memory-mapped by
    every process that reads them.

    An iterable, such as a generator, torch's `IterableDataset` or a streaming dataset of Hugging Face, has examples
    (dicts, as `Table.of` takes them) or Tables. It is drained with few of them in memory. Dtypes and shapes are those of
    its first rows, and a later row that differs is a `DataError` with its number.
    """
    return Clean(held("clean", fn, args, params))


@overload
def load(fn: Callable[P, object], /, *args: P.args, **params: P.kwargs) -> Load: ...
@overload
def load(fn: Callable[Concatenate[Any, P], object], /, *args: P.args, **params: P.kwargs) -> Load: ...
@public
@guided
def load(fn: Callable[..., object], /, *args: object, **params: object) -> Load:
    """Open data that is no table: `fn(upstream, **params)` returns a source or a mapping of sources.

    A source has `__len__` and `__getitem__`: a list, any map-style torch dataset, a Hugging Face dataset. As the first
    stage it is called without `upstream`.

    Runs on every process, on one process of a machine first. Each process and each thread that reads examples calls it
    again, and has sources of its own: they may hold open files. Tables, lists, arrays and tensors are not opened again,
    and `.shared()` says so of others. The global random state is seeded while it runs, so that all find the same.
    `.ambient()` is for sources whose `__getitem__` draws from that state. Sources with `close()` are closed with the data.
    """
    return Load(held("load", fn, args, params))


@overload
def split(
    into: Mapping[str, Amount | None],
    *,
    of: str | None = None,
    seed: int = 0,
    shuffle: bool = True,
    stratify: By = None,
    groups: By = None,
    key: By = None,
    block: int | None = None,
) -> Split: ...
@overload
def split(
    into: Callable[Concatenate[Any, P], Mapping[str, Any]], *, of: str | None = None, seed: int = 0, **params: Any
) -> Split: ...
@public
@guided
def split(
    into: Mapping[str, Amount | None] | Callable[..., Mapping[str, Any]],
    *,
    of: str | None = None,
    seed: int = 0,
    shuffle: bool = True,
    stratify: By = None,
    groups: By = None,
    key: By = None,
    block: int | None = None,
    **params: Any,
) -> Split:
    """Cut the source `of` into named splits; without `of` there must be one source only.

    `into` maps a name to a count (an integer), a fraction (a float), or, once, to None for the rest; what it names must
    account for every example. Or it is a pure function `fn(source, **params)` that returns the indices of each split.

    `stratify` keeps the proportions of the classes, each within one example; `groups` keeps a group whole, and no split
    empty where there are groups enough; `key` puts an example by a hash of its key, so that growing data never moves one
    (fractions only, sizes approximate). Each is a column name or a pure function of the source. `shuffle=False` cuts in
    order. `seed` is the split's own.

    `block` permutes whole blocks of so many neighbours in place of single examples, so that a block serves one split,
    as data wants it that is read in blocks. Fractions are of blocks then, and counts multiples of `block` (but for the
    last split, which has the short last block).

    Raises `PipelineError` for sizes that cannot be: negative, fractions over 1, two that take the rest.
    """
    return _of(Split, divider(into, seed, params), of, seed, shuffle, stratify, groups, key, block)


@public
@guided
def fold(k: int, index: int, *, of: str | None = None, seed: int = 0, stratify: By = None, groups: By = None) -> Fold:
    """Cross-validation: fold `index` of `k` is `"val"`, the other folds are `"train"`.

    The folds of one seed are disjoint and cover the source, so `[replace(p, fold(5, i)) for i in range(5)]` is all of
    5-fold cross-validation. `stratify` and `groups` are as for `split`.
    """
    return _of(Fold, k, index, of, seed, stratify, groups)


@public
@guided
def alias(**names: str | list[str] | tuple[str, ...]) -> Alias:
    """More names for splits: `alias(predict="test")` makes `"predict"` the same examples as `"test"`.

    Stages `.on("test")` hold for `"predict"` too, unless one of their kind names it.

    Of several splits it makes their union, which has the examples of the first, then those of the second:
    `alias(test=["normal_rest", "abnormal"])`. They are of one source, and have no example in common. What is `.on` a part
    does not hold for the union: name it too, `.on("abnormal", "test")`.

    >>> import fdm
    >>> def numbers():
    ...     return range(6)
    >>> p = fdm.pipeline(fdm.load(numbers), fdm.split({"a": 1, "b": 2, "c": 3}), fdm.alias(test=["c", "a"]))
    >>> with fdm.open(p) as data:
    ...     dict(data.splits)
    {'a': 1, 'b': 2, 'c': 3, 'test': 4}
    """
    return _of(Alias, names)


@public
@guided
def measure(fn: Callable[Concatenate[Any, P], Mapping[str, Any]], /, *args: P.args, **params: P.kwargs) -> Measure:
    """Learn facts from one split: `fn(source, **params)` returns a mapping of JSON values and tensors.

    `.on(split)` names the split. Runs once per store; the results are `data.facts`, and `fact(name)` as a parameter of
    a later stage stands for one.
    """
    return Measure(held("measure", fn, args, params))


@public
@guided
def shuffle(*, block: int | None = None, window: int | None = None, lanes: int = 1, seed: int | None = None) -> Shuffle:
    """Order the split anew in every epoch, by a permutation that costs no memory.

    With `block` and `window` it is a block shuffle, for data that is read in blocks: `block` neighbours stay together,
    blocks are permuted, and `window` of them (over all `lanes`) are mixed at a time. Position p is in lane p modulo
    `lanes`, and a rank takes every W-th position of a step of W ranks, so that where W divides `lanes` its blocks are its
    own. The order is the same for any number of ranks. For data sorted by what is learned, the variance of the means of
    batches is that of a true shuffle times 1 + batch / window * (1 - share of the data in play), so that many small blocks
    mix better than few large ones.

    `seed` is the pipeline's unless given. Raises `PipelineError` for a window that does not fall evenly to the lanes.

    >>> import fdm
    >>> print(fdm.pipeline(fdm.shuffle(block=256, window=1024, lanes=64)))
    0 shuffle  block=256, window=1024, lanes=64
    seed 0
    """
    return _of(Shuffle, seed, block, window, lanes)


@public
@guided
def sample(weights: str | Callable[[Any], Any], size: int | None = None, seed: int | None = None) -> Sample:
    """Draw `size` examples (default: as many as there are) with replacement, in proportion to `weights`.

    `weights` is a column name or a pure function of the source: one number per example, none negative, not all zero.
    `seed` is the pipeline's unless given.
    """
    return _of(Sample, weights, size, seed)


@public
@guided
def take(n_or_fraction: Amount) -> Take:
    """The first examples of the order so far: a count (an integer), or a fraction (a float), rounded down.

    A count beyond the size takes all.
    """
    return Take(n_or_fraction)


@public
@guided
def pack(length: int, column: str, *, whole: bool = True, most: int | None = None) -> Pack:
    """Sequences of at most `length` values of the ragged column `column`, each made of whole examples.

    From here on an example is a sequence: `take(100)` takes sequences, `batch(16)` has 16 of them, and what was ragged
    with the lengths of `column` is `Packed`; other columns, one row an example, become ragged by sequence. Examples are
    put together by best-fit decreasing over the lengths of the whole split, once, so that every epoch has the same number
    of sequences, every value is in one of them once, and nothing is cut but examples longer than `length`, which become
    full pieces and a rest. Which example takes which place is drawn anew in each epoch by the `shuffle` before; without
    one the order is natural, for evaluation. `most` bounds the examples of a sequence.

    With `whole=False` examples are joined in their order and cut every `length` values; boundaries are kept.

    Raises `PipelineError` after `sample`, or `take` of a shuffle: their examples change by epoch, so pack first.

    >>> import fdm
    >>> print(fdm.pipeline(fdm.shuffle(), fdm.pack(4096, "tokens"), fdm.batch(16)))
    0 shuffle
    1 pack     4096, column=tokens
    2 batch    16
    seed 0
    """
    return _of(Pack, length, column, whole, most)


@public
@guided
def mix(
    shares: Mapping[str, float] | list[str] | tuple[str, ...],
    *,
    into: str,
    until: Literal["all", "first"] | int = "all",
    power: float | None = None,
) -> Mix:
    """Make the split `into` out of the splits that `shares` names, each with its share of the examples, exactly.

    Shares are in proportion to each other: {"web": 0.7, "code": 0.3} is {"web": 7, "code": 3}. With `power` they are in
    proportion to size ** power, and `shares` is a list of names (without it, names have equal shares). After each 64 examples of the run, which goes on over
    epochs, each part has had its share to within 2 examples. A part is gone through whole, in the order that the stages
    before `mix` give it (`shuffle`, `pack`), before any of it comes again, in its own next epoch. What stands after `mix`
    acts on the mixture.

    `until` says where an epoch ends: "all" when each part was seen once, "first" when one was, or after so many
    examples; that is decided by the shares that the run begins with, and nothing is lost by it, since the run goes on in
    the next epoch. `.after(examples, shares)` changes the
    shares from there on. The example ids of a mixture are those of its parts' sources, joined in the order of the parts'
    names; `batch(origin="domain")` adds the number of the part, and `data.origin(ids)` tells part and id.

    Raises `PipelineError` for shares that are not above 0, for a shuffle, sample or measure of the mixture, and for parts
    that are mixtures.

    >>> import fdm
    >>> print(fdm.pipeline(fdm.shuffle(), fdm.mix({"web": 0.7, "code": 0.3}, into="train"), fdm.batch(32)))
    0 shuffle
    1 mix      code=0.3, web=0.7, into=train
    2 batch    32
    seed 0
    """
    return _of(Mix, shares, into, until, power)


@public
@guided
def transform(fn: Callable[Concatenate[Any, P], object], /, *args: P.args, **params: P.kwargs) -> Transform:
    """Change items: `fn(item, **params)` returns the new one.

    Before `batch` an item is an example; after it, a batch on the host; after `transfer`, a batch on the device.
    """
    return Transform(held("transform", fn, args, params))


@overload
def augment(fn: Ambient[P], /, *args: P.args, **params: P.kwargs) -> Augment: ...
@overload
def augment(fn: Callable[Concatenate[Any, Key, P], object], /, *args: P.args, **params: P.kwargs) -> Augment: ...
@public
@guided
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
    return Augment(held("augment", fn.call if isinstance(fn, Ambient) else fn, args, params), is_ambient)


@public
@guided
def batch(
    size: int,
    *,
    drop_last: bool = False,
    collate: Callable[[list[Any]], Any] | None = None,
    ids: str | None = None,
    origin: str | None = None,
    across: Literal["rank", "world"] | None = None,
    alike: str | None = None,
    of: str | None = None,
    buckets: int = 32,
    edges: tuple[int, ...] | list[int] | None = None,
) -> Batch:
    """Put `size` examples per rank together, or with `across="world"` `size` examples over all ranks together.

    `collate(list of examples)` makes the batch, by default as torch does; `ids` names an entry that is added with the
    example ids; a collate function finds the id of each example that is a dict in it, and returns them where it leaves
    examples out or moves them, as later stages do. `origin` names one with the number of the split that each example of a
    mixture came from, as `data.origins(split)` has them. Without `drop_last` every example is seen exactly once per epoch
    and every rank has equal steps.

    With `across="world"` the examples of a global batch are the same for any number of ranks, which have equal pieces of
    it, or pieces that differ by one example. `size` is then at least the number of ranks. Only where the last global
    batch has fewer examples than ranks is it evened out with the one before it, so those two depend on the world.

    With `alike`, a ragged column, a step is of `size` examples whose lengths are of one bucket, on all ranks together.
    With `of` in its place, `size` is the number of padded values of that column that a step has at most. What remains of
    a bucket goes into the next longer one: nothing is dropped, and steps are the same for any number of ranks, and known
    beforehand. `buckets` is how many there are, with the edges that waste least, or `edges` gives their longest lengths.
    Then examples come without `sample`, `mix` or `pack` before, in an order that `shuffle` draws within the buckets and of
    the steps.

    >>> import fdm
    >>> print(fdm.pipeline(fdm.batch(256, across="world")), fdm.batch(131_072, of="audio").across)
    0 batch  256, across=world
    seed 0 world
    """
    if across is None:
        across = "rank" if alike is None and of is None else "world"
    return _of(Batch, size, drop_last, collate, ids, across, origin, alike, of, buckets, edges)


@public
@guided
def transfer(*, skip: tuple[str, ...] | list[str] = ()) -> Transfer:
    """The device boundary: batches move to the context's device here; stages after it run there.

    `skip` names top-level entries (keys or fields) that stay on the host. Batches of other splits than those of `.on`
    stay on the host, and so do the stages after it for them.
    """
    return _of(Transfer, skip)


def _of(stage: Callable[..., StageT], *fields: object) -> StageT:
    """The record of a stage, which checks and converts what users give."""
    return stage(*fields)
