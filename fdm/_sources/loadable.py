"""What a load function may return: sources, by name, with a length and examples by number."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Self

import attrs
import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from .._errors import DataError
from .._fingerprint.canonical import qualified_name
from .._stages.function import Function


@attrs.frozen(eq=False, slots=False)
class Given:
    """Datasets by name, as the function of a load stage.

    Their contents cannot be compared by value: names, classes and lengths stand for them. They are the user's, who opened
    them: nobody opens them again, or closes them, and whoever reads shares them, as with a DataLoader of torch's.
    """

    described: tuple[tuple[str, str, int], ...]

    @classmethod
    def of(cls, datasets: Mapping[str, Any]) -> Self:
        """What a load stage calls to get these datasets. Raises `DataError` for one without length or order."""
        for name, dataset in datasets.items():
            if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
                msg = (
                    f"{name!r} is a {type(dataset).__name__}, which has no examples by number; give a map-style dataset"
                )
                raise DataError(msg)
        kinds = [(name, qualified_name(type(dataset)), len(dataset)) for name, dataset in datasets.items()]
        made = cls(tuple(kinds))
        vars(made)["datasets"] = dict(datasets)  # beside the fields, by which it is compared
        return made

    def __call__(self) -> dict[str, Any]:
        return dict(vars(self)["datasets"])

    def __deepcopy__(self, _: object) -> Self:
        return self


def checked_sources(function: Function, made: Any) -> Mapping[str, Any]:
    """The sources that a load function returned, by name; one without a name is `"all"`.

    Raises `DataError` for what has no examples by number, and says how to make it a source.
    """
    name = function.name
    if made is None:
        msg = f"{name} returned None in place of a source or a mapping of sources; end it with a return"
        raise DataError(msg)
    if not isinstance(made, Mapping):
        _check_source(f"{name} returned", made, name)
        return {"all": made}
    if not made:
        msg = f"{name} returned an empty mapping; it returns a source, or a mapping from names to sources"
        raise DataError(msg)
    if all(isinstance(value, Tensor | np.ndarray) for value in made.values()):
        msg = f"{name} returned a mapping of columns, not of sources; make it a table: fdm.Table({{...}})"
        raise DataError(msg)
    for each, source in made.items():
        if not isinstance(each, str) or not each:
            msg = f"{name}: the name of a source is a string, not {each!r}"
            raise DataError(msg)
        _check_source(f"{name} returned as source {each!r}", source, name)
    return made


def _check_source(says: str, source: Any, function: str) -> None:
    """Raise `DataError` for what is no source: some things have a length and an index, and mean another thing by it."""
    kind = qualified_name(type(source)).removeprefix("builtins.")
    remedy = _remedy(source)
    if remedy is not None:
        msg = f"{says} a {kind}, {remedy.format(clean=f'fdm.clean({function})')}"
        raise DataError(msg)
    lacking = [name for name in ("__len__", "__getitem__") if not hasattr(source, name)]
    if lacking:
        msg = (
            f"{says} a {kind}, which has no {lacking[0]}; a source has a length and examples by index: a Table, a list, "
            f"a map-style torch dataset"
        )
        raise DataError(msg)
    try:
        len(source)
    except (TypeError, NotImplementedError) as error:
        msg = f"{says} a {kind}, whose length is not known ({error or type(error).__name__}); a source has a length and examples by index"
        raise DataError(msg) from error


def _remedy(source: Any) -> str | None:
    """What is wrong with something that is often taken for a source, and what to write instead."""
    # Told by their names, since none of these packages need be installed.
    name, package = type(source).__name__, type(source).__module__.partition(".")[0]
    if isinstance(source, IterableDataset) or name.startswith("IterableDataset"):
        return (
            "a stream, whose examples have no numbers; write {clean} in place of fdm.load, which saves them as a Table, "
            "or return a map-style dataset"
        )
    if isinstance(source, DataLoader):
        return "which makes batches itself; return its dataset, and say fdm.batch(...) in the pipeline"
    if package in _FRAMES and name in ("DataFrame", "LazyFrame", "Table", "RecordBatch", "Dataset", "DataArray"):
        return "whose index finds columns, not examples; make it a table: fdm.Table.of(frame)"
    if package in _FRAMES:
        return "whose index need not count examples; return its values: series.to_numpy(), or a list"
    if isinstance(source, Mapping):
        return "a mapping, whose index finds entries by name, not examples; return one mapping from names to sources"
    if isinstance(source, str | bytes | bytearray):
        return (
            "whose examples would be single characters; return what is to be read, opened: a dataset, a list, a Table"
        )
    if isinstance(source, AbstractSet) or hasattr(source, "__next__"):
        return (
            "which has no order by number; write {clean} in place of fdm.load, which takes examples one after the other "
            "and saves them as a Table, or return a list of it"
        )
    return None


_FRAMES = ("pandas", "polars", "pyarrow", "cudf", "modin", "dask", "xarray")
