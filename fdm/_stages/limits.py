"""Holding: which stages hold for a split, and which splits the stages of a pipeline name."""

from collections.abc import Sequence
from typing import Any, TypeVar

from .function import Function
from .stage import Alias, Fold, Limited, Mix, Split, Stage


StageT = TypeVar("StageT", bound=Limited)


def applying(stages: Sequence[tuple[int, StageT]], names: Sequence[str]) -> list[tuple[int, StageT]]:
    """The numbered stages that hold for a split, which `names` names, aliases first.

    A stage without `.on` holds for all. One `.on` what an alias stands for holds for the alias too, unless a stage of
    the same kind (and with the same function) is `.on` the alias.
    """
    return [
        (number, stage)
        for number, stage in stages
        if not stage.splits
        or (
            _distance(stage, names) == min(_distance(other, names) for other in _alike(stage, stages))
            and _distance(stage, names) < len(names)
        )
    ]


def named_splits(stages: Sequence[Stage]) -> tuple[dict[str, tuple[str, ...]], bool]:
    """The splits that stages name, each with the names that it goes by, and whether these are all that there can be.

    A split goes by its own name, then by what it is an alias of. Of a split that is cut further only the parts count.
    Others can be there where clean or load may have made other sources, and where a function names the parts.

    >>> import fdm
    >>> named_splits([fdm.split({"train": 0.9, "val": None}), fdm.alias(predict="val")])
    ({'train': ('train',), 'val': ('val',), 'predict': ('predict', 'val')}, True)
    >>> named_splits([fdm.split({"train": 0.9, "val": None}, of="train")])
    ({'train': ('train',), 'val': ('val',)}, False)
    """
    found: dict[str, tuple[str, ...]] = {}
    is_all = False
    for stage in stages:
        if isinstance(stage, Alias):
            made = {new for new, _ in stage.names}
            for new, old in stage.names:
                several = (old,) if isinstance(old, str) else old
                found |= {each: (each,) for each in several if each not in found and each not in made}
                found[new] = (new, *found.get(old, (old,))) if isinstance(old, str) else (new,)
        elif isinstance(stage, Split | Fold):
            found = {} if stage.of is None else {name: names for name, names in found.items() if name != stage.of}
            is_all = stage.of is None or is_all
            found |= {name: (name,) for name in parts(stage)}
            is_all = is_all and bool(parts(stage))
        elif isinstance(stage, Mix):
            found |= {stage.into: (stage.into,)}
    found |= {name: (name,) for stage in stages for name in getattr(stage, "splits", ()) if name not in found}
    return found, is_all


def branches(stages: Sequence[Stage]) -> dict[str, tuple[str, ...]]:
    """`named_splits`, with `"others"` for those that stages do not name, where such may be there.

    >>> import fdm
    >>> list(branches([fdm.split({"train": 0.9, "val": None}, of="train")]))
    ['train', 'val', 'others']
    """
    names, is_all = named_splits(stages)
    return names if is_all or not names else {**names, "others": ("others",)}


def parts(stage: Split | Fold) -> dict[str, str]:
    """The splits that a stage makes, each with its size as text; nothing where a function names them.

    >>> import fdm
    >>> parts(fdm.fold(5, 0)), parts(fdm.split({"train": 0.9, "val": None}))
    ({'train': '4 of 5 folds', 'val': 'fold 0 of 5'}, {'train': '0.9', 'val': 'rest'})
    """
    if isinstance(stage, Fold):
        return {"train": f"{stage.k - 1} of {stage.k} folds", "val": f"fold {stage.index} of {stage.k}"}
    if isinstance(stage.into, Function):
        return {}
    return {name: "rest" if size is None else f"{size:,}" for name, size in stage.into}


def _alike(stage: Any, stages: Sequence[tuple[int, Any]]) -> list[Any]:
    function = getattr(stage, "function", None)
    return [
        other
        for _, other in stages
        if type(other) is type(stage)
        and other.splits
        and (function is None or other.function.qualified_name == function.qualified_name)
    ]


def _distance(stage: Any, names: Sequence[str]) -> int:
    """How many aliases lie between a split and the first of its names that the stage is on."""
    return next((far for far, name in enumerate(names) if name in stage.splits), len(names))
