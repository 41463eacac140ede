"""Splits: which examples each name stands for, from the sources and the split, fold and alias stages."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._arrays.indexing import refuse_masked
from .._errors import DataError, UnknownNameError, listed, noted, stage_note, unknown
from .._orders.blocks import InBlocks
from .._orders.order import Chosen, Concatenated, Ids, Natural, Order, Shuffled, Window, Without
from .._random.permutation import derive, permute
from .._stages.function import Function
from .._stages.stage import Alias, Cut, Fold, Split
from .._text import short
from .grouping import grouped
from .sizes import block_sizes, even_shard, exact_sizes, hashed, stratified
from .source import View, column_of, lent
from .values import codes, hashed_keys, weights


@attrs.frozen(eq=False)
class Examples:
    """The examples of a split: an order over the ids of one source.

    `names` has the split's own name and, for an alias, the names that it stands for, nearest first; `lineage` has the
    numbers of the stages that made it; `union` the names of the splits that it is made of, where it is a union.
    """

    source: str
    order: Order
    names: tuple[str, ...]
    lineage: tuple[int, ...] = ()
    union: tuple[str, ...] = ()


def resolve_splits(
    stages: Sequence[tuple[int, Cut]], sources: Mapping[str, Any], later: Collection[str] = ()
) -> dict[str, Examples]:
    """The examples of every split that the numbered `stages` make of `sources`; what none names passes through.

    Aliases of what is made `later`, such as a mixture, are left out.

    Raises `DataError` for sizes that do not sum, indices that overlap or lie outside, and names that clash;
    `UnknownNameError` for a source, split or column that is not there.
    """
    with noted("where the sources tell how many examples they have"):
        splits = {name: Examples(name, Natural(len(source)), (name,)) for name, source in sources.items()}
    later = set(later)
    for number, stage in stages:
        of = None if isinstance(stage, Alias) else stage.of
        with noted(f"of split {', '.join(map(repr, [of] if of else splits))}"), noted(stage_note(number, stage.kind)):
            if isinstance(stage, Alias):
                splits |= _aliases(stage, number, splits, later)
                later |= {new for new, _ in stage.names} - splits.keys()
            else:
                splits = _with_parts(stage, number, splits, sources)
    return splits


def _aliases(stage: Alias, number: int, splits: Mapping[str, Examples], later: Collection[str]) -> dict[str, Examples]:
    made: dict[str, Examples] = {}
    later = set(later)
    for new, old in stage.names:
        if old in later:
            later.add(new)
            continue
        of = splits[_known(old, splits)] if isinstance(old, str) else _union(new, old, number, splits, later)
        if new in splits or new in made:
            msg = f"alias: there is already a split {new!r}; an alias is a new name"
            raise DataError(msg)
        made[new] = attrs.evolve(of, names=(new, *of.names)) if isinstance(old, str) else of
    return made


def _union(
    name: str, parts: Sequence[str], number: int, splits: Mapping[str, Examples], later: Collection[str]
) -> Examples:
    """The examples of several splits of one source, those of each part after those of the one before."""
    for part in parts:
        if part in later:
            msg = f"alias: {part!r} is a mixture, which is made later; mix its parts and the others: fdm.mix(shares, into={name!r})"
            raise DataError(msg)
    of = [splits[_known(part, splits)] for part in parts]
    sources = sorted({each.source for each in of})
    if len(sources) > 1:
        msg = (
            f"alias: {name!r} is made of splits of several sources, {listed(sources)}, whose examples are told apart by one "
            f"number each; return one table with all of them from clean, or mix them: fdm.mix(shares, into={name!r})"
        )
        raise DataError(msg)
    orders = [
        order for each in of for order in (each.order.parts if isinstance(each.order, Concatenated) else [each.order])
    ]
    others = [each.names[-1] for each in of if len(each.names) > 1 and each.names[-1] not in splits]
    if len({id(order) for order in orders}) < len(orders) or others:
        msg = (
            f"alias: the splits of {name!r}, {', '.join(map(repr, parts))}, have examples in common, since one is another "
            f"name of another, or of what it was cut from; name each split once"
        )
        raise DataError(msg)
    lineage = tuple(sorted({number, *(by for each in of for by in each.lineage)}))
    return Examples(sources[0], Concatenated(tuple(orders)), (name,), lineage, tuple(parts))


def _with_parts(
    stage: Split | Fold, number: int, splits: Mapping[str, Examples], sources: Mapping[str, Any]
) -> dict[str, Examples]:
    of = _target(stage, splits)
    whole = splits[of]
    view = View(sources[whole.source], whole.order)
    parts = _fold_parts(stage, of, view) if isinstance(stage, Fold) else _split_parts(stage, of, view)
    clash = sorted((parts.keys() & splits.keys()) - {of})
    if clash:
        msg = f"{stage.kind} of {of!r} makes {listed(clash)}, but there is already a split of that name"
        raise DataError(msg)
    made = {name: Examples(whole.source, order, (name,), (*whole.lineage, number)) for name, order in parts.items()}
    before = list(splits).index(of)
    items = list(splits.items())
    return dict([*items[:before], *made.items(), *items[before + 1 :]])


def _target(stage: Split | Fold, splits: Mapping[str, Examples]) -> str:
    if stage.of is not None:
        return _known(stage.of, splits)
    if len(splits) == 1:
        return next(iter(splits))
    msg = f'{stage.kind}: there are several sources ({listed(splits)}); say which one: of="..."'
    raise DataError(msg)


def _known(name: str, splits: Mapping[str, Examples]) -> str:
    if name not in splits:
        raise UnknownNameError(unknown("split", name, splits))
    return name


def _split_parts(stage: Split, of: str, view: View) -> dict[str, Order]:
    if isinstance(stage.into, Function):
        return _user_parts(stage.into, view)
    key, names, n = derive(stage.seed, "split", of), [name for name, _ in stage.into], len(view)
    if stage.key is not None:
        split_of = hashed(hashed_keys(_column(stage.key, view), n, key), stage.into)
        return {name: Chosen(view.order, np.flatnonzero(split_of == part)) for part, name in enumerate(names)}
    if stage.block is not None:
        order = InBlocks(view.order, stage.block, key) if stage.shuffle else view.order
        return _windows(order, names, block_sizes(stage.into, n, stage.block))
    sizes = exact_sizes(stage.into, n)
    if stage.groups is not None or stage.stratify is not None:
        shuffled = permute(np.arange(n), n, key)
        split_of = _assigned(stage, view, sizes, shuffled, key)[shuffled]
        return {name: Chosen(view.order, shuffled[split_of == part]) for part, name in enumerate(names)}
    return _windows(Shuffled(view.order, key) if stage.shuffle else view.order, names, sizes)


def _windows(order: Order, names: Sequence[str], sizes: Sequence[int]) -> dict[str, Order]:
    """An order cut into splits of these sizes, one after the other."""
    starts = np.cumsum([0, *sizes]).tolist()
    return {name: Window(order, start, size) for name, start, size in zip(names, starts, sizes, strict=False)}


def _fold_parts(stage: Fold, of: str, view: View) -> dict[str, Order]:
    key, n = derive(stage.seed, "fold", of), len(view)
    if n < stage.k:
        msg = f"fold: {n} examples of {of!r} do not make {stage.k} folds"
        raise DataError(msg)
    bounds = [even_shard(n, index, stage.k) for index in range(stage.k)]
    start, stop = bounds[stage.index]
    if stage.groups is None and stage.stratify is None:
        order = Shuffled(view.order, key)
        return {"train": Without(order, start, stop), "val": Window(order, start, stop - start)}
    shuffled = permute(np.arange(n), n, key)
    folds = _assigned(stage, view, [high - low for low, high in bounds], shuffled, key)[shuffled]
    return {
        "train": Chosen(view.order, shuffled[folds != stage.index]),
        "val": Chosen(view.order, shuffled[folds == stage.index]),
    }


def _assigned(stage: Split | Fold, view: View, sizes: Sequence[int], shuffled: Ids, key: int) -> Ids:
    n = len(view)
    classes = np.zeros(n, dtype=np.int64)
    if stage.stratify is not None:
        classes = codes(_column(stage.stratify, view), n, "stratify")
    if stage.groups is None:
        return stratified(classes, sizes, shuffled)
    groups = codes(_column(stage.groups, view), n, "groups")
    if isinstance(stage, Fold) and len(set(groups.tolist())) < stage.k:
        msg = f"fold: {len(set(groups.tolist()))} groups do not make {stage.k} folds"
        raise DataError(msg)
    return grouped(groups, classes, sizes, derive(key, "groups"))


def _column(by: str | Function, view: View) -> Any:
    if isinstance(by, str):
        return column_of(view, by)
    column = _called(by, view)
    if column is None:
        msg = f"{by.name} returned None; it returns one number or string for each example: end it with a return"
        raise DataError(msg)
    return column


def _called(function: Function, view: View) -> Any:
    with noted(f"in {function!r}, defined at {function.location}"), lent(view, function.name) as source:
        return function.bound()(source)


def weights_of(by: str | Function, source: Any) -> NDArray[np.float64]:
    """The weights that `sample` draws by, one for each example of the source.

    Raises `DataError` for a weight that is negative or no number, and if all are zero.
    """
    column = _column(by, View(source, Natural(len(source))))
    found = weights(column, len(source), "sample: weights")
    if len(found) and not (np.isfinite(found).all() and (found >= 0).all() and found.max() > 0):
        msg = "sample: weights are finite and not negative, and one at least is above 0"
        raise DataError(msg)
    return found


def _user_parts(function: Function, view: View) -> dict[str, Order]:
    made = _called(function, view)
    if not isinstance(made, Mapping) or not made or not all(isinstance(name, str) and name for name in made):
        msg = f"{function.name} returns a mapping from split names to indices, not {short(made, 60)}"
        raise DataError(msg)
    parts = {name: _indices(name, indices, len(view)) for name, indices in made.items()}
    _check_partition(function.name, parts, len(view))
    return {name: Chosen(view.order, positions) for name, positions in parts.items()}


def _indices(name: str, indices: Any, n: int) -> Ids:
    refuse_masked(indices, f"what split {name!r} is made of")
    try:
        array = indices.detach().cpu().numpy() if isinstance(indices, Tensor) else np.asarray(indices)
    except ValueError:  # lists of different lengths
        array = np.empty((0, 0, 1), dtype=object)
    if array.dtype == bool and array.shape == (n,):
        return np.flatnonzero(array)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        msg = f"the indices of split {name!r} are integers in one dimension, not {array.dtype} of shape {array.shape}"
        raise DataError(msg)
    outside = array[(array < 0) | (array >= n)] if array.size else array
    if outside.size:
        msg = f"split {name!r} has the index {outside[0]}, but the {n} examples count from 0 to {n - 1}"
        raise DataError(msg)
    return array.astype(np.int64).reshape(-1)


def _check_partition(function: str, parts: Mapping[str, Ids], n: int) -> None:
    times = np.bincount(np.concatenate(list(parts.values())), minlength=n) if parts else np.zeros(n)
    (twice,) = np.nonzero(times > 1)
    if len(twice):
        where = [name for name, positions in parts.items() for _ in range(int((positions == twice[0]).sum()))]
        msg = f"{function}: splits overlap: example {twice[0]} is in {' and in '.join(map(repr, where))} ({len(twice)} such examples)"
        raise DataError(msg)
    (left,) = np.nonzero(times == 0)
    if len(left):
        msg = f"{function}: {len(left)} examples are in no split, example {left[0]} first; name a split that takes them"
        raise DataError(msg)
