"""All benchmarks, one after the other, and one page of their tables: benchmarks/RESULTS.md.

    python benchmarks/run.py [--quick] [names ...]

Each script runs in a process of its own. Loaders that are not installed are left out (`pip install -e '.[bench]'`, with
`-c constraints.txt`, has them); so is `device`, which says by itself whether there is a device. With names, such as
`jpeg tokens`, only these run, and RESULTS.md is left as it is. Nothing else should run on the machine meanwhile.
"""

import argparse
import ast
import datetime as dt
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import attrs


HERE = Path(__file__).parent
PAGE = HERE / "RESULTS.md"
PACKAGES = ("torch", "numpy", "safetensors", "pillow", "torchdata", "grain", "datasets")
TARGET = re.compile(r"(?P<what>.+): (?P<found>\S+), target (?P<target>\S+): (?P<verdict>met|missed)")


@attrs.frozen
class Result:
    """What a script printed; `failure` says how it ended where it did not end well."""

    name: str
    printed: str
    failure: str | None

    @property
    def targets(self) -> list[re.Match[str]]:
        """The lines that say whether a target is met."""
        return [found for line in self.printed.splitlines() if (found := TARGET.fullmatch(line))]


def scripts() -> dict[str, Path]:
    """The benchmarks by name: all scripts in this folder but this one and the helpers."""
    found = sorted(path for path in HERE.glob("[!_]*.py") if path.name != Path(__file__).name)
    return {path.stem: path for path in found}


def run(path: Path, options: Sequence[str]) -> Result:
    print(f"{path.stem} ...", flush=True)
    with subprocess.Popen([sys.executable, path, *options], stdout=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    print()
    return Result(
        path.stem, "".join(lines), f"ended with exit code {process.returncode}" if process.returncode else None
    )


def summary(path: Path) -> str:
    """The first line of a script's docstring, which says what is compared."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem).splitlines()[0]


def machine() -> str:
    """What the numbers depend on besides the code."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GB of memory, {platform.system()} {platform.release()}"


def versions() -> str:
    found = [f"{name} {at}" for name in PACKAGES if (at := version_of(name))]
    return ", ".join([f"Python {platform.python_version()}", *found])


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def as_markdown(printed: str) -> Iterable[str]:
    """Tables as they are, and every other line as a paragraph of its own; targets have a table for all."""
    before = ""
    for line in printed.strip().splitlines():
        if line and not TARGET.fullmatch(line):
            yield line if line.startswith("|") and before.startswith("|") else f"\n{line}"
        before = line


def page(results: Sequence[Result]) -> str:
    lines = [
        "# Benchmarks",
        f"\nMade by `python benchmarks/run.py` on {dt.datetime.now(dt.UTC):%d %B %Y}: {machine()};",
        f"{versions()}.",
        "\nContenders take turns; numbers are medians over the rounds, ratios the medians of the ratios in each round.",
        "\n## Targets",
        "\n| benchmark | what | measured | target | |",
        "|---|---|--:|--:|---|",
        *(
            f"| {result.name} | {found['what']} | {found['found']} | {found['target']} | {found['verdict']} |"
            for result in results
            for found in result.targets
        ),
    ]
    for result in results:
        lines += [f"\n## {result.name}", f"\n{summary(scripts()[result.name])}", *as_markdown(result.printed)]
        lines += [f"\nIt {result.failure}."] if result.failure else []
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(scripts())}; default: all")
    options = parser.parse_args()
    unknown = set(options.names) - scripts().keys()
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(scripts())}")
    chosen = options.names or list(scripts())
    results = [run(scripts()[name], ["--quick"] if options.quick else []) for name in chosen]
    if not options.names:
        PAGE.write_text(page(results), encoding="utf-8")
        print(f"written to {PAGE}")
    sys.exit(any(result.failure for result in results))


if __name__ == "__main__":
    main()
