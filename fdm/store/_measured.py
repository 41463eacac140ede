"""Measured facts: what the measure stages found, as a mapping that cannot be changed and shows itself."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from .._errors import UnknownNameError, did_you_mean, listed
from .._stages.function import shown
from .._text import table


@attrs.frozen(eq=False, repr=False)
class Facts(Mapping[str, Any]):
    """Facts by name: JSON values and tensors. Equal to any mapping with the same items.

    >>> Facts({"classes": 10})["classes"]
    10

    Raises `UnknownNameError`, which is a `KeyError`, for a fact that nothing measured.
    """

    _facts: dict[str, Any] = attrs.field(converter=dict)

    def __getitem__(self, name: str) -> Any:
        if name not in self._facts:
            msg = f"there is no fact {name!r}{did_you_mean(name, self._facts)}; measured: {listed(self._facts)}"
            raise UnknownNameError(msg)
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def copy(self) -> dict[str, Any]:
        """The facts as a dict of one's own."""
        return dict(self._facts)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._facts, **other} if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self._facts} if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        return f"Facts({self._facts!r})"

    def _repr_html_(self) -> str:
        return table(["fact", "value"], [(name, shown(value)) for name, value in self._facts.items()])
