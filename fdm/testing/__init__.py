"""Testing: the laws tested on a pipeline of one's own, and Hypothesis strategies to state laws about one's own.

In a test, `check(p)` is one line; `examine(p)` gives the report in place of an error; `simulate(p, split)` lays out the
run of thousands of ranks:

    def test_my_pipeline_keeps_the_laws():
        fdm.testing.check(my_pipeline)

`contexts`, `sizes`, `tables`, `pipelines` and `snapshots` are strategies, and need hypothesis; nothing else here does.
"""

from typing import TYPE_CHECKING, Any

from .._errors import LawError
from ._check import check, examine
from ._examples import doubled, every_rank, example_table, jittered, shifted
from ._report import Report, Verdict
from ._simulate import Simulation, World, simulate


if TYPE_CHECKING:
    from ._strategies import contexts, pipelines, sizes, snapshots, tables

__all__ = [
    "LawError",
    "Report",
    "Simulation",
    "Verdict",
    "World",
    "check",
    "contexts",
    "doubled",
    "every_rank",
    "examine",
    "example_table",
    "jittered",
    "pipelines",
    "shifted",
    "simulate",
    "sizes",
    "snapshots",
    "tables",
]

_STRATEGIES = "contexts", "pipelines", "sizes", "snapshots", "tables"


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """The strategies, imported when they are first asked for, since they need hypothesis and nothing else does."""
        if name not in _STRATEGIES:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        try:
            from . import _strategies  # noqa: PLC0415 - it needs hypothesis
        except ModuleNotFoundError as error:
            msg = f"fdm.testing.{name} is a Hypothesis strategy; install hypothesis to draw from it: pip install hypothesis"
            raise ImportError(msg, name=error.name) from error
        return getattr(_strategies, name)
