"""fdm: functional, immutable data pipelines for PyTorch."""

from ._construct import (
    alias,
    batch,
    clean,
    fetch,
    fold,
    load,
    measure,
    sample,
    shuffle,
    split,
    take,
    transfer,
    transform,
)
from ._context import RankContext
from ._data import Data
from ._errors import (
    ContextError,
    DataError,
    FdmError,
    ParameterError,
    PipelineError,
    SnapshotError,
    StoreError,
    UnknownNameError,
)
from ._executor import Executor, open
from ._function import fact
from ._loader import Loader
from ._pipeline import Pipeline, describe, fingerprint, pipeline, replace, without
from ._ragged import Ragged
from ._snapshot import Snapshot
from ._source import Source
from ._table import Table


__all__ = [
    "ContextError",
    "Data",
    "DataError",
    "Executor",
    "FdmError",
    "Loader",
    "ParameterError",
    "Pipeline",
    "PipelineError",
    "Ragged",
    "RankContext",
    "Snapshot",
    "SnapshotError",
    "Source",
    "StoreError",
    "Table",
    "UnknownNameError",
    "alias",
    "batch",
    "clean",
    "describe",
    "fact",
    "fetch",
    "fingerprint",
    "fold",
    "load",
    "measure",
    "open",
    "pipeline",
    "replace",
    "sample",
    "shuffle",
    "split",
    "take",
    "transfer",
    "transform",
    "without",
]
