"""Nested structures: the same change to every leaf of a batch, whatever it is made of."""

import copy
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

import attrs


T = TypeVar("T")


def map_leaves(change: Callable[[Any], Any], tree: T, is_leaf: Callable[[Any], bool] = lambda _: False) -> T:
    """`tree` with `change` applied to each leaf; containers are new, of the same type, and never mutated.

    Containers are mappings, lists, tuples, named tuples, sets, dataclasses and attrs classes, frozen or not, unless
    `is_leaf` claims them. Their constructors do not run again: a value that was legal once is not checked twice. All
    else is a leaf.

    >>> map_leaves(str, {"a": [1, (2, 3)]})
    {'a': ['1', ('2', '3')]}
    """
    children = _children(tree, is_leaf)
    mapped: T
    if children is None:
        mapped = change(tree)
    else:
        mapped = _with_children(tree, {key: map_leaves(change, child, is_leaf) for key, child in children})
    return mapped


def leaves(tree: Any, is_leaf: Callable[[Any], bool] = lambda _: False) -> Iterator[Any]:
    """The leaves that `map_leaves` would change, in order, for those who only look: nothing is copied.

    >>> list(leaves({"a": [1, (2, 3)]}))
    [1, 2, 3]
    """
    children = _children(tree, is_leaf)
    if children is None:
        yield tree
        return
    for _, child in children:
        yield from leaves(child, is_leaf)


def places(tree: Any, is_leaf: Callable[[Any], bool] = lambda _: False, at: str = "") -> Iterator[tuple[str, Any]]:
    """The same leaves with their places: what Python evaluates to get there from `at`, or from an entry of the tree.

    >>> [place for place, _ in places({"image": 1, "boxes": [{"x": 2}, 3]}, at="batch")]
    ["batch['image']", "batch['boxes'][0]['x']", "batch['boxes'][1]"]
    >>> [place for place, _ in places({"image": 1, "boxes": [{"x": 2}, 3]})]
    ['image', "boxes[0]['x']", 'boxes[1]']
    """
    children = _children(tree, is_leaf)
    if children is None:
        yield at, tree
        return
    for key, child in children:
        yield from places(child, is_leaf, _place(tree, key, at))


def _children(tree: Any, is_leaf: Callable[[Any], bool]) -> Iterable[tuple[Any, Any]] | None:
    """The children of a container with the key, number or field of each; None for a leaf."""
    if isinstance(tree, type) or is_leaf(tree):
        return None
    if isinstance(tree, Mapping):
        return tree.items()
    if isinstance(tree, list | tuple | set | frozenset) and not _is_named(tree):
        return enumerate(tree)
    names = getattr(tree, "_fields", ()) if _is_named(tree) else field_names(tree)
    return None if names is None else [(name, getattr(tree, name)) for name in names]


def _is_named(tree: Any) -> bool:
    return isinstance(tree, tuple) and hasattr(tree, "_fields")


def _place(tree: Any, key: Any, at: str) -> str:
    if not at and isinstance(key, str) and key:
        return key
    return f"{at}[{key!r}]" if isinstance(tree, Mapping) or isinstance(key, int) else f"{at}.{key}"


def field_names(tree: Any) -> list[str] | None:
    """The names of the set fields of a dataclass or attrs instance, or None for anything else."""
    if is_dataclass(tree):
        names = [field.name for field in fields(tree)]
    elif attrs.has(type(tree)):
        names = [field.name for field in attrs.fields(type(tree))]
    else:
        return None
    return [name for name in names if hasattr(tree, name)]


@cache
def _later_defaults(cls: Hashable) -> dict[str, Any]:
    """The defaults of the fields that a record of fdm has got since: with these it is the same value as before."""
    fields = attrs.fields(cls) if isinstance(cls, type) and attrs.has(cls) else ()
    return {field.name: field.default for field in fields if field.metadata.get("is_later")}


def counted(record: Any, names: Sequence[str]) -> Mapping[str, Any]:
    """The fields of a record of fdm that count, by name: all, or those that it tells itself, without secrets."""
    own: Mapping[str, Any] = record.counted() if hasattr(record, "counted") else {}
    if own:
        return own
    cls: Any = type(record)
    usual = _later_defaults(cls)
    return {name: getattr(record, name) for name in names if name not in usual or getattr(record, name) != usual[name]}


def entries(tree: Any) -> Mapping[str, Any]:
    """The top-level entries of a mapping, named tuple, dataclass or attrs instance by name; nothing for others."""
    if isinstance(tree, Mapping):
        return tree
    names = getattr(tree, "_fields", None) or field_names(tree) or ()
    return {name: getattr(tree, name) for name in names}


def with_entries(tree: T, changed: Mapping[str, Any]) -> T:
    """A copy of `tree` with some of its top-level entries changed.

    >>> with_entries({"a": 1, "b": 2}, {"b": 3})
    {'a': 1, 'b': 3}
    """
    copy_of: T = _with_children(tree, {**tree, **changed} if isinstance(tree, Mapping) else dict(changed))
    return copy_of


def _with_children(tree: Any, changed: dict[Any, Any]) -> Any:
    if isinstance(tree, Mapping):
        return _mapping(tree, changed)
    if _is_named(tree):
        return tree._replace(**changed)
    if isinstance(tree, list | tuple | set | frozenset):
        return _sequence(tree, list(changed.values()))
    return _with_fields(tree, changed)


def _mapping(tree: Mapping[Any, Any], changed: dict[Any, Any]) -> Any:
    if isinstance(tree, MappingProxyType):
        return MappingProxyType(changed)
    if type(tree) is dict or not isinstance(tree, MutableMapping):
        return changed
    new = copy.copy(tree)  # keeps a defaultdict's factory, an OrderedDict's order, a subclass's attributes
    for key, value in changed.items():
        new[key] = value
    return new


def _sequence(tree: Any, changed: Any) -> Any:
    if type(tree) in (list, tuple, set, frozenset):
        return type(tree)(changed)
    if isinstance(tree, tuple | frozenset):
        base: Any = tuple if isinstance(tree, tuple) else frozenset
        items = base(changed)
        try:
            new = base.__new__(type(tree), items)
        except TypeError:  # a class written in C
            return _made_anew(tree, items)
        vars(new).update(getattr(tree, "__dict__", {})) if hasattr(new, "__dict__") else None
        return new
    new = copy.copy(tree)
    new.clear()
    new.extend(changed) if isinstance(new, list) else new.update(changed)
    return new


def _made_anew(tree: Any, items: Any) -> Any:
    try:
        return type(tree)(items)
    except TypeError:  # torch.Size takes integers only
        return items


def _with_fields(tree: Any, changed: dict[str, Any]) -> Any:
    new = copy.copy(tree)
    for name, value in changed.items():
        object.__setattr__(new, name, value)  # the copy is ours alone until it is returned, frozen or not
    return new
