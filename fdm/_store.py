"""The store: folders of files under the fingerprint of what made them, published whole by one rename."""

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from ._errors import StoreError


def default_store(environ: Mapping[str, str]) -> Path:
    """The folder that `$FDM_STORE` names, else the user's cache folder."""
    return Path(environ["FDM_STORE"]) if environ.get("FDM_STORE") else platformdirs.user_cache_path("fdm")


def artifact_folder(store: Path, label: str, address: str) -> Path:
    """Where the artifact of this address stands; `label` is for people who look into the store."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", label)[:60]
    return store / f"{readable}-{address[:32]}"


def is_published(folder: Path) -> bool:
    """Whether an artifact is there. It is there whole or not at all."""
    return (folder / _MANIFEST).is_file()


def publish(folder: Path, make: Callable[[Path], None], about: Mapping[str, Any]) -> Path:
    """The artifact at `folder`, which `make(staging folder)` writes if it is not there yet.

    Its files are written in a staging folder beside it, digested, flushed to disk, and appear under `folder` by one
    rename together with a manifest (files, sizes, digests). A file lock keeps others from doing the same work; it is
    the rename, not the lock, that keeps the store right. If `make` fails nothing is left.

    Raises `StoreError` if the store cannot be written; errors of `make` pass through.
    """
    if is_published(folder):
        return folder
    staging = folder.parent / ".staging" / f"{folder.name}.{uuid.uuid4().hex[:8]}"
    try:
        _make_folders(folder.parent / ".locks", staging.parent)
        with FileLock(folder.parent / ".locks" / f"{folder.name}.lock"):
            if not is_published(folder):
                staging.mkdir()
                make(staging)
                _seal(staging, about)
                _rename(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _make_folders(*folders: Path) -> None:
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"cannot write to the store {folder.parent}: {error.strerror}; give another: store=... or $FDM_STORE"
            raise StoreError(error.errno, msg) from error


def _seal(staging: Path, about: Mapping[str, Any]) -> None:
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    entries = [
        {"path": path.relative_to(staging).as_posix(), "size": path.stat().st_size, "sha256": _flushed_digest(path)}
        for path in files
    ]
    manifest = {"version": 1, **about, "created": datetime.now(UTC).isoformat(timespec="seconds"), "files": entries}
    (staging / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    _flushed_digest(staging / _MANIFEST)


def _flushed_digest(path: Path) -> str:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rename(staging: Path, folder: Path) -> None:
    try:
        staging.rename(folder)
    except OSError as error:
        # Someone whose lock did not exclude ours was first, with the same result.
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES) or not is_published(folder):
            msg = f"cannot publish {folder}: {error.strerror}"
            raise StoreError(error.errno, msg) from error


_MANIFEST = "manifest.json"
