"""Owners: which process made a temporary file, whether it still lives, and which user it belongs to."""

import hashlib
import os
import platform
import re
import stat
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
    """Whether a temporary file or folder has a name of `owned`, and its owner, on this machine, is known to be dead.

    Of other names, of other machines, and of this one before it was started anew, nothing is known: they stay.
    """
    named = _OWNED.fullmatch(path.name)
    return named is not None and is_dead(named[1])


def is_owned(path: Path) -> bool:
    """Whether a temporary file or folder has a name of `owned`, of whatever process."""
    return _OWNED.fullmatch(path.name) is not None


def is_folder_of(path: Path, user: int) -> bool:
    """Whether a path is a real folder, no link to one, and belongs to a user, by its number."""
    try:
        about = path.lstat()
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == user


def user_in(folder: Path) -> int:
    """The user, by its number, to whom belongs what this process makes in a folder.

    That is not always the user of the process: mounted file systems may give all to one user, or what is root's to nobody.
    """
    probe = folder / owned(".probe")
    probe.mkdir(mode=0o700)
    try:
        return probe.lstat().st_uid
    finally:
        probe.rmdir()


def _is_alive(number: int, started: str) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # of no process's number nothing is known
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


_OWNED = re.compile(r".+\.([0-9a-f]{12}-[0-9]+-(?:[0-9]*|dead))\.[0-9a-f]{8}", re.DOTALL)
