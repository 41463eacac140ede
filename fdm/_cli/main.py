"""The command line: what `fdm` and `python -m fdm` take, print and return."""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn, cast

import attrs

from .._errors import did_you_mean, notes_of, stop_of
from .._pipeline import Pipeline
from .._text import legible, printable, visible
from ..testing._check import examine
from .batch import Where, batch_at, look_lines, looked_at
from .bench import bench_lines, measured
from .errors import failure_lines
from .overrides import with_settings
from .png import save_png
from .show import kept_lines, prepared, show_lines, shown
from .store import age, asked, bytes_of, kept_in, list_lines, prune_lines, pruned, verified, verify_lines
from .target import UsageError, pipeline_at


@attrs.frozen(eq=False)
class Command:
    """What a command computes from its arguments, how a terminal shows that, and which exit code it means."""

    compute: Callable[[argparse.Namespace], dict[str, Any]]
    lines: Callable[[Mapping[str, Any]], Iterable[str]]
    code: Callable[[Mapping[str, Any]], int] = lambda _: 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code.

    0: all is well. 1: something failed, such as the user's function, a law or the store. 2: the command line names what
    is not there. 130: interrupted.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        args = _parser().parse_args(argv)
        with _prints_on_stderr():
            found = {**({"target": args.target} if "target" in args else {}), **_computed(args)}
        _print(json.dumps(found, allow_nan=False) if args.json else "\n".join(args.command.lines(found)))
        code: int = args.command.code(found)
    except KeyboardInterrupt as error:
        _complain(["fdm: interrupted", *(f"  {each}" for each in notes_of(error))])
        return 130
    except Exception as error:  # noqa: BLE001 - told without a traceback
        if "--debug" in argv:
            _complain(["".join(traceback.format_exception(error)).rstrip()])
        _complain(failure_lines(error))
        return 2 if isinstance(error, UsageError) else 1
    return code


def _computed(args: argparse.Namespace) -> dict[str, Any]:
    """What a command finds; a user's function that ends the process has failed."""
    try:
        return cast("dict[str, Any]", args.command.compute(args))
    except (SystemExit, GeneratorExit) as error:
        if (stopped := stop_of(error)) is None:
            raise
        raise stopped from error


def _pipeline(args: argparse.Namespace) -> Pipeline:
    return with_settings(pipeline_at(args.target), args.set)


def _show(args: argparse.Namespace) -> dict[str, Any]:
    return shown(_pipeline(args), store=args.store, world_size=args.world_size, split=args.split)


def _prepare(args: argparse.Namespace) -> dict[str, Any]:
    return prepared(_pipeline(args), store=args.store)


def _prepare_lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"store {found['store']}"
    yield from kept_lines(found["kept"])


def _check(args: argparse.Namespace) -> dict[str, Any]:
    report = examine(_pipeline(args), store=args.store)
    return {**report.to_dict(), "text": str(report)}


def _bench(args: argparse.Namespace) -> dict[str, Any]:
    shown = sys.stderr.isatty()
    return measured(_pipeline(args), store=args.store, split=args.split, steps=args.steps, shown=shown)


def _batch(args: argparse.Namespace) -> dict[str, Any]:
    where = Where(args.split or "train", args.epoch, args.step, args.rank, args.world_size)
    seen = batch_at(_pipeline(args), where, store=args.store)
    png = save_png(seen.batch, seen.ids, args.png) if args.png else None
    return {**looked_at(seen, where), "png": png}


def _batch_lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield from look_lines(found)
    if found["png"]:
        yield f"{found['png']['entry']} is drawn in {found['png']['file']}"


def _prune(args: argparse.Namespace) -> dict[str, Any]:
    keep = [pipeline_at(target) for target in args.keep]
    ask = (lambda _: True) if args.yes else (lambda _: False) if args.json else asked
    return pruned(args.store, unused_for=args.unused_for, larger_than=args.larger_than, keep=keep, ask=ask)


COMMANDS = {
    "show": Command(_show, show_lines),
    "prepare": Command(_prepare, _prepare_lines),
    "check": Command(_check, lambda found: [found["text"]], lambda found: 0 if found["passed"] else 1),
    "bench": Command(_bench, bench_lines),
    "batch": Command(_batch, _batch_lines),
    "list": Command(lambda args: kept_in(args.store), list_lines),
    "verify": Command(lambda args: verified(args.store), verify_lines, lambda found: 1 if found["damages"] else 0),
    "prune": Command(_prune, prune_lines),
}


class _Parser(argparse.ArgumentParser):
    """A parser that raises its errors, with a did-you-mean, in place of printing its usage."""

    def error(self, message: str) -> NoReturn:
        hint = _hint(self, message)
        msg = f"{message}{hint}; `{self.prog} --help` tells more"
        raise UsageError(msg)


def _hint(parser: argparse.ArgumentParser, message: str) -> str:
    wrong, choices = message.partition("invalid choice: '")[2].partition("'")[::2]
    if wrong:
        return did_you_mean(wrong, choices.partition("choose from")[2].strip(" )").replace("'", "").split(", "))
    option = next((word for word in message.split() if word.startswith("--")), None)
    if option and message.startswith("unrecognized"):
        return did_you_mean(option.partition("=")[0], _options(parser))
    return ""


def _options(parser: argparse.ArgumentParser) -> set[str]:
    """The long options of a parser and of all below it."""
    found = {name for action in parser._actions for name in action.option_strings if name.startswith("--")}  # noqa: SLF001 - argparse does not tell otherwise
    below = [each for action in parser._actions if isinstance(action.choices, dict) for each in action.choices.values()]  # noqa: SLF001 - likewise
    return found.union(*(_options(each) for each in below))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fdm", description=_ABOUT, epilog=_EPILOG, **_STYLE)
    parser.add_argument("--version", action="version", version=f"fdm {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    show = _targeted(commands, "show", "what a pipeline is, what of it is prepared, and its first batch")
    _world(show)
    show.add_argument("--split", metavar="NAME", help="whose first batch is shown (default: train, else the first)")

    _targeted(commands, "prepare", "run fetch, clean and measure, where they are still to run")
    _targeted(commands, "check", "test the laws on this pipeline")

    bench = _targeted(commands, "bench", "profile it, and find the best workers and threads here")
    bench.add_argument("--split", metavar="NAME", help="which split (default: train, else the first)")
    bench.add_argument("--steps", metavar="N", type=_at_least(1), default=20, help="steps of each run (default: 20)")

    batch = _targeted(commands, "batch", "look at one batch of any epoch: was it that one?")
    batch.add_argument("--split", metavar="NAME", help="which split (default: train)")
    batch.add_argument("--epoch", metavar="N", type=_at_least(0), default=0, help="which epoch (default: 0)")
    batch.add_argument(
        "--step", metavar="N", type=int, default=0, help="which step; negative from the end (default: 0)"
    )
    batch.add_argument("--rank", metavar="R", type=_at_least(0), default=0, help="whose batch (default: 0)")
    _world(batch)
    batch.add_argument("--png", metavar="FILE", help="draw its images, or its tokens, into this file")

    about = "list, verify or prune a store"
    store = commands.add_parser("store", help=about, description="Look after a store.", **_STYLE)
    actions = store.add_subparsers(title="actions", metavar="ACTION", required=True)
    _command(actions, "list", "what is in the store, the most recently used first")
    _command(actions, "verify", "compare every file with its manifest; exit code 1 if one is damaged")
    prune = _command(actions, "prune", "remove what was not used for long; who has it open can go on reading it")
    prune.add_argument("--unused-for", metavar="AGE", type=age, help="what was not used for 30d, 12h, ...")
    prune.add_argument(
        "--larger-than", metavar="SIZE", type=bytes_of, help="the oldest, until 100G, 500M, ... are left"
    )
    prune.add_argument("--keep", metavar="TARGET", action="append", default=[], help="a pipeline whose data stays")
    prune.add_argument("--yes", action="store_true", help="remove, without being asked; else nothing goes unasked")
    return parser


def _version() -> str:
    try:
        return version("fdm")
    except PackageNotFoundError:  # it runs from its folder, and is not installed
        return "of unknown version"


def _targeted(commands: Any, name: str, about: str) -> argparse.ArgumentParser:
    parser = _command(commands, name, about)
    target = "file.py:NAME or package.module:NAME of a pipeline, or of a function that makes one"
    parser.add_argument("target", metavar="TARGET", help=target)
    setting = "replace a parameter: batch.size=64, normalize.mean=0.5, seed=7"
    parser.add_argument("--set", metavar="WHERE.PARAM=VALUE", action="append", default=[], help=setting)
    return parser


def _command(commands: Any, name: str, about: str) -> argparse.ArgumentParser:
    description = f"{about[0].upper()}{about[1:]}."
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description=description, **_STYLE)
    common = parser.add_argument_group("for every command")
    common.add_argument("--store", metavar="FOLDER", help="the store (default: $FDM_STORE, or the user's cache folder)")
    common.add_argument("--json", action="store_true", help="print one JSON document, for machines")
    common.add_argument("--debug", action="store_true", help="errors with tracebacks")
    parser.set_defaults(command=COMMANDS[name])
    return parser


def _world(parser: argparse.ArgumentParser) -> None:
    about = "of how many ranks (default: 1)"
    parser.add_argument("--world-size", metavar="W", type=_at_least(1), default=1, help=about)


def _at_least(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            msg = f"{text!r} is no integer of at least {least}"
            raise argparse.ArgumentTypeError(msg)
        return int(text)

    return read


@contextmanager
def _prints_on_stderr() -> Iterator[None]:
    """Let what the user's code prints, in this process and those that it starts, go to where it is no result."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _print(text: str) -> None:
    """Print a result; who reads it may stop early."""
    with suppress(AttributeError):  # what stands in for a terminal may not have encodings
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # asked for just here
    try:
        lines = "\n".join(map(visible, text.split("\n")))
        print(legible(lines, sys.stdout.encoding), flush=True)  # noqa: T201 - the result of a command
    except BrokenPipeError:
        # So that the end of Python does not fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(lines: Iterable[str]) -> None:
    with suppress(OSError):
        print(printable("\n".join(lines)), file=sys.stderr, flush=True)  # noqa: T201 - for the user


_ABOUT = """Look at, prepare, check and measure fdm pipelines.

A TARGET is file.py:NAME or package.module:NAME, and names a pipeline or a function
without arguments that makes one."""

_EPILOG = """examples:
  fdm show train.py:digits                        what is it, and what is prepared?
  fdm show train.py:digits --world-size 64        how many steps has each of 64 ranks?
  fdm prepare train.py:digits                     once, on the login node
  fdm check train.py:digits                       does it keep the laws?
  fdm bench train.py:digits --set batch.size=256  how many workers or threads here?
  fdm batch train.py:digits --epoch 3 --step 117  what was in it when the loss went bad?
  fdm batch train.py:digits --png batch.png       ... as a picture
  fdm store list                                  what is kept?
  fdm store prune --unused-for 30d                what could go?

exit codes: 0 all is well, 1 something failed, 2 the command line is wrong, 130 interrupted"""

_STYLE: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
