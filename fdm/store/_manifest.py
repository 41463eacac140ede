"""Manifests: what an artifact says of itself, and whether its folder is as it says."""

import errno
import hashlib
import json
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from .._errors import StoreError
from .._text import short
from ._access import check_readable


T = TypeVar("T")
U = TypeVar("U")


MANIFEST = "manifest.json"


def artifact_folder(store: Path, label: str, address: str) -> Path:
    """Where the artifact of this address stands; `label` is for people who look into the store."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", label)[:60]
    return store / f"{readable}-{address[:32]}"


def is_artifact_name(name: str) -> bool:
    """Whether a folder may be that of an artifact, by its name."""
    return _NAME.fullmatch(name) is not None


def is_published(folder: Path) -> bool:
    """Whether an artifact is there. It is there whole or not at all; `StoreError` if this user may not look."""
    try:
        return stat.S_ISREG((folder / MANIFEST).lstat().st_mode)
    except PermissionError:
        check_readable(folder)
        raise
    except (OSError, ValueError):
        return False


def manifest(folder: Path) -> dict[str, Any]:
    """What an artifact says of itself; `StoreError` if that cannot be read, or is not what this version of fdm writes."""
    about: Any
    try:
        about = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        check_readable(folder / MANIFEST)
        msg = f"the manifest of {folder} cannot be read ({error}); {REMEDY}"
        raise StoreError(errno.EIO, msg) from error
    wrong = _wrong(about, folder)
    if wrong:
        msg = f"the manifest of {folder} {wrong}"
        raise StoreError(errno.EIO, msg)
    return cast("dict[str, Any]", about)


def manifest_if_there(folder: Path) -> dict[str, Any] | None:
    """The manifest of an artifact; None if another process has removed the artifact, or made it anew meanwhile."""
    before = edition(folder)
    try:
        return manifest(folder)
    except StoreError:
        if edition(folder) == before is not None:
            raise
        return None


def checked_manifest(folder: Path, address: str) -> dict[str, Any]:
    """The manifest of the artifact of this address; `StoreError` unless its folder has it, and files of the sizes listed.

    Asks once for each file: what is in the files is not read, which `check_digests` does.
    """
    check_readable(folder)
    for path in folder.iterdir():
        check_readable(path)
    about = manifest(folder)
    if about["address"] != address:
        msg = f"{folder} has what is at the address {about['address']}, not at {address}; {REMEDY}"
        raise StoreError(errno.EIO, msg)
    for file in about["files"]:
        size = _size(folder / file["path"], may_be_link=about["stage"] == "fetch")
        if size != file["size"]:
            has = "is no file" if size is None else f"has {size} bytes"
            msg = f"{folder / file['path']} {has}, where the manifest says {file['size']} bytes; {REMEDY}"
            raise StoreError(errno.EIO, msg)
    return about


def check_digests(folder: Path) -> None:
    """Raise `StoreError` unless all files of an artifact have the sha256 that its manifest lists; reads all of them."""
    for file in manifest(folder)["files"]:
        path = folder / file["path"]
        sha256 = digest_of(path)
        if sha256 != file["sha256"]:
            msg = f"{path} has the sha256 {sha256}, where the manifest says {file['sha256']}; {REMEDY}"
            raise StoreError(errno.EIO, msg)


def digest_of(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def edition(folder: Path) -> tuple[int, int] | None:
    """What tells an artifact from one that is made anew at the same place; None where there is none."""
    try:
        about = folder.lstat()
    except (OSError, ValueError):
        return None
    return about.st_ino, about.st_mtime_ns


def lasting(folder: Path, get: Callable[[], T], use: Callable[[T], U]) -> U:
    """What `use` makes of what `get` finds in an artifact; both again if the artifact was removed meanwhile."""
    lost: Exception | None = None
    for _ in range(_ATTEMPTS):
        got = get()
        before = edition(folder)
        try:
            return use(got)
        except Exception as error:
            # Removed is what is not there any more, or what another process has already made anew.
            if edition(folder) == before is not None:
                raise
            lost = error
    msg = f"{folder} was removed {_ATTEMPTS} times while it was opened; what removes it (store.prune) should go slower"
    raise StoreError(errno.ENOENT, msg) from lost


def _size(path: Path, *, may_be_link: bool) -> int | None:
    """The bytes of a file, None for what is none; functions that fetch may make links, tables and facts have none."""
    try:
        about = path.stat() if may_be_link else path.lstat()
    except PermissionError:
        check_readable(path)
        raise
    except OSError:
        return None
    return about.st_size if stat.S_ISREG(about.st_mode) else None


def _wrong(about: object, folder: Path) -> str | None:
    """What of a manifest is not as this version writes it, with the remedy."""
    if not isinstance(about, dict) or type(about.get("version")) is not int:
        return f"is none of fdm's; {REMEDY}"
    if about["version"] != VERSION:
        return (
            f"is of version {about['version']}, and this fdm reads version {VERSION}; update fdm, or give another folder: "
            f"store=... or $FDM_STORE"
        )
    wrong = next(_lacking(about), None)
    if wrong is not None:
        return f"lacks {wrong}, or has another thing there; {REMEDY}"
    if folder.name.rpartition("-")[2] != about["address"][:32]:
        return f"is of another address, {short(about['address'], 60)}; {REMEDY}"
    outside = next((file["path"] for file in about["files"] if not _is_inside(file["path"])), None)
    return None if outside is None else f"lists {short(outside, 200)}, which is no path in its folder; {REMEDY}"


def _lacking(about: Mapping[str, Any]) -> Iterator[str]:
    """The entries that a manifest has to have, and has not in the form in which it is written."""
    yield from (repr(name) for name in ("stage", "function", "address") if not isinstance(about.get(name), str))
    optional = ("digest", "parameters", "script")
    yield from (repr(name) for name in optional if not isinstance(about.get(name, ""), str))
    if not _is_time(about.get("created")):
        yield "'created'"
    files = about.get("files")
    if not isinstance(files, list) or not all(map(_is_file, files)):
        yield "'files' with 'path', 'size' and 'sha256'"
    inputs = about.get("inputs", [])
    if not isinstance(inputs, list) or not all(map(_is_input, inputs)):
        yield "'inputs' as they are remembered"


def _is_time(created: object) -> bool:
    try:
        return isinstance(created, str) and datetime.fromisoformat(created).tzinfo is not None
    except ValueError:
        return False


def _is_file(file: object) -> bool:
    return (
        isinstance(file, dict)
        and isinstance(file.get("path"), str)
        and _is_count(file.get("size"))
        and isinstance(file.get("sha256"), str)
        and _SHA256.fullmatch(file["sha256"]) is not None
    )


def _is_input(one: object) -> bool:
    return (
        isinstance(one, dict)
        and all(isinstance(one.get(name), str) for name in ("stage", "parameter", "given", "kind", "path", "names"))
        and _is_count(one.get("size"))
        and type(one.get("time")) is int
        and isinstance(one.get("is_word"), bool)
    )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_inside(path: str) -> bool:
    """Whether a path leads to a file below the folder that it is taken from, by its words alone."""
    here = Path(path)
    is_below = bool(here.parts) and not here.anchor and ".." not in here.parts
    return is_below and "\x00" not in path and here.as_posix() == path != MANIFEST


VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}-[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
REMEDY = "remove the folder, and it is made again"
_ATTEMPTS = 100  # at what is removed again and again while it is opened
