"""fdm: functional, immutable data pipelines for PyTorch."""

from . import store
from ._arrays.packed import Packed
from ._arrays.ragged import Ragged
from ._arrays.table import Table
from ._collectives.gather import gather
from ._collectives.gather_to import gather_to
from ._collectives.reduce import mean, total
from ._data import Data
from ._downloads.download import download
from ._downloads.file import File
from ._errors import (
    AccessError,
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
from ._loaders.combine import Combined, CombinedSnapshot, combine
from ._loaders.loader import Loader
from ._loaders.profile import Profile
from ._loaders.stream import Stream
from ._pipeline import Pipeline, describe, draw, draw_svg, fingerprint, insert, pipeline, replace, without
from ._plans.snapshot import Snapshot
from ._random.ambient import ambient
from ._random.key import Key
from ._ranks.context import RankContext
from ._sources.files import class_names, files
from ._splits.source import Source
from ._stages.constructors import (
    alias,
    augment,
    batch,
    clean,
    fetch,
    fold,
    load,
    measure,
    mix,
    pack,
    sample,
    shuffle,
    split,
    take,
    transfer,
    transform,
)
from ._stages.function import fact, tracked


__all__ = [
    "AccessError",
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
    "Packed",
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
    "Stream",
    "Table",
    "UnknownNameError",
    "WorkerError",
    "alias",
    "ambient",
    "augment",
    "batch",
    "class_names",
    "clean",
    "combine",
    "describe",
    "download",
    "draw",
    "draw_svg",
    "fact",
    "fetch",
    "files",
    "fingerprint",
    "fold",
    "gather",
    "gather_to",
    "insert",
    "load",
    "mean",
    "measure",
    "mix",
    "open",
    "pack",
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
