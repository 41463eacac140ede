"""Owners: which process made a temporary file, and whether it still lives."""

import hashlib
import os
import platform
import time
import uuid
from functools import cache
from pathlib import Path


def owned(name: str) -> str:
    """A name for a temporary file or folder of this process: `name`, the owner, and something unique."""
    return f"{name}.{owner()}.{uuid.uuid4().hex[:8]}"


def owner(number: int | None = None) -> str:
    """A process, by default this one: its machine, its number there, and when it started."""
    number = os.getpid() if number is None else number
    return f"{machine()}-{number}-{_started(number)}"


def is_dead(owner: str) -> bool:
    """Whether a process of this machine, named by `owner`, is dead; of others, and elsewhere than on POSIX, never."""
    where, _, process = owner.partition("-")
    number, _, started = process.partition("-")
    # Elsewhere a signal would end the process, and nothing else tells whether it lives.
    return _can_ask(where, number) and not _is_alive(int(number), started)


def _can_ask(where: str, number: str) -> bool:
    return where == machine() and number.isdecimal() and os.name == "posix"


def is_abandoned(path: Path) -> bool:
    """Whether the owner of a temporary file or folder, named by `owned`, is dead.

    A process of this machine is asked for by its number and start. Where nothing can be asked, as of another machine,
    what has not been touched for a week counts as abandoned.
    """
    parts = path.name.rsplit(".", 2)
    where, _, process = parts[1].partition("-") if len(parts) == 3 else ("", "", "")
    if _can_ask(where, process.partition("-")[0]):
        return is_dead(parts[1])
    return time.time() - path.stat().st_mtime > _WEEK


def _is_alive(number: int, started: str) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _started(number) == started


def _started(number: int) -> str:
    """When a process started, in the kernel's ticks, so that a reused number is told apart; of dead ones, "dead"."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *numbers = stat.rpartition(")")[2].split()
    return "dead" if state in "ZX" else numbers[18]  # a dead process keeps its number until its parent asks


@cache
def machine() -> str:
    """This machine since its boot, and the container: the space in which process numbers are unique."""
    names = [platform.node()]
    for file in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            names.append(str(file.readlink()) if file.is_symlink() else file.read_text(encoding="ascii"))
        except OSError:
            names.append("")
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]


_WEEK = 7 * 24 * 3600
