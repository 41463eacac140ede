"""Launchers: what the environment variables of torchrun, SLURM and Open MPI tell of a process."""

import re
from collections.abc import Mapping
from typing import TypeAlias

import attrs
from toolz import merge

from .._errors import ContextError


@attrs.frozen
class _Told:
    """A number, and the variable that tells it."""

    number: int
    text: str = attrs.field(eq=False)


# What a launcher tells: rank and world_size, and local_rank and local_world_size where it knows them.
_Reading: TypeAlias = dict[str, _Told]

_FIELDS = ("rank", "world_size", "local_rank", "local_world_size")
_MPI = "OMPI_COMM_WORLD"
_LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    "SLURM": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
    "Open MPI": (f"{_MPI}_RANK", f"{_MPI}_SIZE", f"{_MPI}_LOCAL_RANK", f"{_MPI}_LOCAL_SIZE"),
}
# Who starts whom: SLURM's tasks start mpirun and torchrun, Open MPI's start torchrun, and never the other way round.
_INNERMOST_FIRST = ("torchrun", "Open MPI", "SLURM")


def launched(environ: Mapping[str, str]) -> dict[str, int]:
    """The fields of a rank context that the launchers in `environ` tell; empty where there is no launcher.

    A launcher counts where it tells both its rank and its world size: others set some of these variables.

    >>> launched({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"})
    {'rank': 1, 'world_size': 2, 'local_rank': 1, 'local_world_size': 2}
    >>> launched({"LOCAL_RANK": "1", "WORLD_SIZE": "2"})
    {}
    """
    complete = [launcher for launcher, (rank, size, *_) in _LAUNCHERS.items() if rank in environ and size in environ]
    if "torchrun" in complete and "TORCHELASTIC_RUN_ID" in environ:
        complete = ["torchrun"]  # it marks what it starts, so it is the innermost, and right
    if not complete:
        return {}
    readings = _agreeing({launcher: _read(environ, launcher) for launcher in complete}, environ)
    # LOCAL_RANK is often not exported where RANK is: the others know it.
    told: _Reading = merge(*reversed(list(readings)))
    _check(told)
    found = {field: told[field].number for field in _FIELDS if field in told}
    # A launcher that does not tell how many ranks share a machine leaves it to be at least this one.
    found.setdefault("local_world_size", found.get("local_rank", 0) + 1)
    return found


def local_to(environ: Mapping[str, str], rank: int, world_size: int) -> dict[str, int]:
    """The local fields that a launcher in `environ` tells of this rank of this world; empty where none fits.

    Who knows the rank does not need the variables, so what is broken or of other processes is passed over.

    >>> local_to({"LOCAL_RANK": "1", "WORLD_SIZE": "8"}, 5, 8)
    {'local_rank': 1}
    >>> local_to({"LOCAL_RANK": "1", "WORLD_SIZE": "8"}, 5, 6)
    {}
    """
    known = {"rank": _Told(rank, ""), "world_size": _Told(world_size, "")}
    for launcher in _LAUNCHERS:
        try:
            told = _read(environ, launcher)
            _check(known | told)
        except ContextError:
            continue
        if "local_rank" in told and known | told == told | known:
            return {field: told[field].number for field in _FIELDS[2:] if field in told}
    return {}


def _agreeing(readings: dict[str, _Reading], environ: Mapping[str, str]) -> list[_Reading]:
    """What the launcher that started this process tells, and those that tell the same rank of the same world."""
    inner = next(launcher for launcher in _INNERMOST_FIRST if launcher in readings)
    agreeing = []
    for outer, reading in readings.items():
        if all(reading[field] == readings[inner][field] for field in _FIELDS[:2]):
            agreeing.append(reading)
        elif not (outer == "SLURM" and _is_batch_script(environ)) and not _nested(inner, readings[inner], reading):
            variables = [f"{told['rank'].text} and {told['world_size'].text}" for told in (readings[inner], reading)]
            msg = (
                f"{inner} and {outer} disagree: {variables[0]}, but {variables[1]}; both tell of this process, so they "
                f"would be equal. Unset the variables of the one that did not start it, such as those that a script "
                f"exports once for all of its tasks"
            )
            raise ContextError(msg)
    return agreeing


def _is_batch_script(environ: Mapping[str, str]) -> bool:
    """Whether SLURM's variables are those of a batch script: the size of its job, and rank 0, whoever runs in it.

    So `mpirun` in a batch script of 4 tasks starts ranks 0 to 3 which all see SLURM_PROCID=0 and SLURM_NTASKS=4.
    """
    return "SLURM_JOB_ID" in environ and "SLURM_STEP_ID" not in environ


def _nested(launcher: str, inner: _Reading, outer: _Reading) -> bool:
    """Whether each process of the outer launcher may have started some of the inner one's.

    Of Open MPI nothing but a larger world is asked: on all machines but the first, SLURM starts mpirun's daemons as a
    step of fewer tasks than there are machines, which divide nothing. Others start equally many, in the outer order.
    """
    each, rest = divmod(inner["world_size"].number, max(1, outer["world_size"].number))
    in_order = rest == 0 and inner["rank"].number // max(1, each) == outer["rank"].number
    return inner["world_size"].number > outer["world_size"].number and (launcher == "Open MPI" or in_order)


def _check(told: _Reading) -> None:
    """Refuse ranks that are not below their world size, and machines with more ranks than the world."""
    local_world_size = told.get("local_world_size", told["world_size"])
    local_rank = told.get("local_rank", _Told(0, "a local rank of 0"))
    for rank, size in ((told["rank"], told["world_size"]), (local_rank, local_world_size)):
        if rank.number >= size.number:
            msg = f"{rank.text} is not below {size.text}; ranks count from 0 to one less than their number. {_MEND}"
            raise ContextError(msg)
    if local_world_size.number > told["world_size"].number:
        world_size = told["world_size"].text
        msg = f"{local_world_size.text} is above {world_size}; a machine has no more ranks than all machines. {_MEND}"
        raise ContextError(msg)


_MEND = "Mend or unset what was exported by hand: launchers set these variables themselves"


def _read(environ: Mapping[str, str], launcher: str) -> _Reading:
    names = zip(_FIELDS, _LAUNCHERS[launcher], strict=True)
    told = {field: _number(environ, name) for field, name in names if name in environ}
    return told | _step(environ) if launcher == "SLURM" else told


def _step(environ: Mapping[str, str]) -> _Reading:
    """What SLURM tells of the step that this process is in, which may be smaller than its job.

    In the shell of `salloc -n 4`, SLURM_NTASKS=4, but it is a step of one task. In `srun -n 2`, SLURM_NTASKS_PER_NODE
    may be the 4 that were asked for the job. So the layout of the step is believed first, then that of the job.
    """
    told = {}
    if "SLURM_STEP_NUM_TASKS" in environ:
        told["world_size"] = _number(environ, "SLURM_STEP_NUM_TASKS")
    layouts = [name for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE") if name in environ]
    if layouts and "SLURM_NODEID" in environ:
        told["local_world_size"] = _tasks_here(environ, layouts[0])
    return told


def _tasks_here(environ: Mapping[str, str], name: str) -> _Told:
    """How many tasks this node has in a layout of SLURM's: "2(x3),1" is 2, 2, 2 and 1."""
    node, nodes, text = _number(environ, "SLURM_NODEID"), 0, environ[name]
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]{1,9})(?:\(x([0-9]{1,9})\))?", part.strip())
        if found is None:
            msg = f"{name}={text!r} is not a number of tasks for each node, such as '2(x3),1'. {_MEND}"
            raise ContextError(msg)
        nodes += int(found[2] or 1)
        if node.number < nodes:
            return _Told(int(found[1]), f"{name}={text}")
    msg = f"{node.text} is not below {nodes}, the nodes of {name}={text}; nodes count from 0. {_MEND}"
    raise ContextError(msg)


def _number(environ: Mapping[str, str], name: str) -> _Told:
    text = environ[name].strip()
    if not re.fullmatch(r"[0-9]{1,18}", text):
        msg = f"the environment variable {name}={environ[name]!r} is not a number such as 0 or 4. {_MEND}"
        raise ContextError(msg)
    return _Told(int(text), f"{name}={int(text)}")
