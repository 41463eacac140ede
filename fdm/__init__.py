"""fdm: functional, immutable data pipelines for PyTorch."""

from . import store
from ._ambient import ambient
from ._combine import Combined, CombinedSnapshot, combine
from ._construct import (
    alias,
    augment,
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
from ._download import File, download
from ._errors import (
    ContextError,
    DataError,
    DownloadError,
    FdmError,
    LawError,
    ParameterError,
    PipelineError,
    PoisonError,
    PreparationError,
    SnapshotError,
    StopError,
    StoreError,
    UnknownNameError,
    WorkerError,
)
from ._executor import Executor, open
from ._function import fact, tracked
from ._gather import gather
from ._gather_to import gather_to
from ._key import Key
from ._loader import Loader
from ._picture import draw, draw_svg
from ._pipeline import Pipeline, describe, fingerprint, pipeline, replace, without
from ._profile import Profile
from ._ragged import Ragged
from ._reduce import mean, total
from ._snapshot import Snapshot
from ._source import Source
from ._table import Table


__all__ = [
    "Combined",
    "CombinedSnapshot",
    "ContextError",
    "Data",
    "DataError",
    "DownloadError",
    "Executor",
    "FdmError",
    "File",
    "Key",
    "LawError",
    "Loader",
    "ParameterError",
    "Pipeline",
    "PipelineError",
    "PoisonError",
    "PreparationError",
    "Profile",
    "Ragged",
    "RankContext",
    "Snapshot",
    "SnapshotError",
    "Source",
    "StopError",
    "StoreError",
    "Table",
    "UnknownNameError",
    "WorkerError",
    "alias",
    "ambient",
    "augment",
    "batch",
    "clean",
    "combine",
    "describe",
    "download",
    "draw",
    "draw_svg",
    "fact",
    "fetch",
    "fingerprint",
    "fold",
    "gather",
    "gather_to",
    "load",
    "mean",
    "measure",
    "open",
    "pipeline",
    "replace",
    "sample",
    "shuffle",
    "split",
    "store",
    "take",
    "total",
    "tracked",
    "transfer",
    "transform",
    "without",
]
