"""How many modules the opening of the digits, and one batch of them, go through, and how often they come back to one.

    python benchmarks/visits.py

A stay is a run of calls inside one module of fdm; a return is a stay in a module that was left before. Fewer of both mean
that a reader who follows the data turns fewer pages. Calls into `_checks`, which only look at a value, do not count.
"""

import sys
import tempfile
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import fdm


sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from digits import digits


FOLDER = Path(fdm.__file__).parent


def visits(work: Callable[[], Any]) -> tuple[int, int, int]:
    """The number of modules, of stays and of returns while `work` runs."""
    entered: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(FOLDER)) and not file.endswith("_checks.py"):
            entered.append(file)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    stays = [file for file, _ in groupby(entered)]
    return len(set(stays)), len(stays), len(stays) - len(set(stays))


def main() -> None:
    with tempfile.TemporaryDirectory() as store:
        fdm.Executor(store=store).prepare(digits)
        with fdm.open(digits, store=store) as data:
            batches = iter(data.loader("train", epoch=0))
            next(batches)  # the first one is watched
            print(f"{'':20} modules  stays  returns")
            for name, work in [
                ("a warm open", lambda: fdm.open(digits, store=store).close()),
                ("a loader", lambda: data.loader("train", epoch=0)),
                ("a batch", lambda: next(batches)),
            ]:
                modules, stays, returns = visits(work)
                print(f"{name:20} {modules:7}  {stays:5}  {returns:7}")


if __name__ == "__main__":
    main()
