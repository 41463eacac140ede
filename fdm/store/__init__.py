"""What is in a store: list the artifacts, verify their digests, remove what is no longer needed."""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from .._errors import StoreError
from .._pipeline import Pipeline
from .._stages.digest import address, plan_digest, stage_digest
from .._stages.stage import Batch, Measure, Pack, Preparation
from ._access import access_told, check_readable
from ._publish import MANIFEST, digest_of, is_published, manifest, remove, store_folder, sweep


@attrs.frozen
class Artifact:
    """Something a store keeps: the result of one stage, as its manifest describes it.

    `size` counts bytes; `created` and `used` (when it was opened last) are in UTC; `function` is the one that made it.
    """

    folder: Path
    stage: str
    function: str
    address: str
    size: int
    created: datetime
    used: datetime


@attrs.frozen
class Damage:
    """A file of an artifact that is not what its manifest says: what was expected, and what was found."""

    file: Path
    expected: str
    found: str


def artifacts(store: str | Path | None = None) -> list[Artifact]:
    """The artifacts in a store (default: the one that executors use), most recently used first.

    Raises `StoreError` for one whose manifest cannot be read, and for a store that this user may not read.
    """
    folder = _folder(store)
    check_readable(folder)
    folders = [path for path in folder.iterdir() if is_published(path)] if folder.is_dir() else []
    return sorted(map(_artifact, folders), key=lambda artifact: (artifact.used, artifact.folder), reverse=True)


def verify(store: str | Path | None = None) -> list[Damage]:
    """Compare every file of every artifact with its manifest, by size and sha256; the empty list means all is well.

    Raises `StoreError` for a file that this user may not read, which tells nothing of what is in it.
    """
    with access_told():
        return [damage for artifact in artifacts(store) for damage in _damages(artifact.folder)]


def prune(
    store: str | Path | None = None,
    *,
    unused_for: timedelta | None = None,
    larger_than: int | None = None,
    keep: Iterable[Pipeline] = (),
    dry_run: bool = False,
) -> list[Artifact]:
    """Remove artifacts, and return those; with `dry_run` only return them.

    `unused_for` removes what has not been opened for that long; `larger_than` removes what was used longest ago until
    the store has no more than that many bytes; one of the two is needed. What the pipelines in `keep` need stays in
    any case. Also removes what dead processes left half-made. Who has an artifact open can go on reading it.

    Raises `StoreError` where this user may not read the store, or not remove an artifact; the others are removed then.
    """
    if unused_for is None and larger_than is None:
        msg = "prune: say what to remove: unused_for=timedelta(days=30), or larger_than=bytes"
        raise StoreError(msg)
    needed = {need for p in keep for need in _needs(p)}
    found = artifacts(store)
    removable = [artifact for artifact in reversed(found) if not _names(artifact) & needed]
    chosen = [artifact for artifact in removable if unused_for is not None and _age(artifact) > unused_for]
    total = sum(artifact.size for artifact in found) - sum(artifact.size for artifact in chosen)
    for artifact in removable:
        if larger_than is not None and total > larger_than and artifact not in chosen:
            chosen.append(artifact)
            total -= artifact.size
    if not dry_run:
        _remove(chosen)
        with access_told():
            _tidy(_folder(store), unused_for)
    return chosen


def _remove(chosen: Iterable[Artifact]) -> None:
    """Remove artifacts; those that are not this user's to remove are told when the others are gone."""
    refused: list[StoreError] = []
    for artifact in chosen:
        try:
            with suppress(FileNotFoundError):  # another process was faster
                remove(artifact.folder)
        except StoreError as error:
            refused.append(error)
    if refused:
        more = f" (and {len(refused) - 1} more)" if refused[1:] else ""
        msg = f"{refused[0].strerror}{more}; what else was to go is removed"
        raise StoreError(refused[0].errno, msg) from refused[0]


def _needs(p: Pipeline) -> Iterator[str]:
    """The addresses of what a pipeline keeps; for measures and plans, whose data decides, the digests of the stages."""
    for number, stage in p.of_kind(Preparation):
        yield stage_digest(stage) if isinstance(stage, Measure) else address(p.stages[: number + 1])
    for _, stage in p.of_kind(Pack | Batch):
        yield plan_digest(stage)


def _names(artifact: Artifact) -> set[str]:
    return {artifact.address, str(manifest(artifact.folder).get("digest"))}


def _age(artifact: Artifact) -> timedelta:
    return datetime.now(UTC) - artifact.used


def _artifact(folder: Path) -> Artifact:
    about = manifest(folder)
    try:
        return Artifact(
            folder,
            about["stage"],
            about["function"],
            about["address"],
            sum(file["size"] for file in about["files"]),
            datetime.fromisoformat(about["created"]),
            datetime.fromtimestamp((folder / MANIFEST).stat().st_mtime, UTC),
        )
    except (KeyError, TypeError, ValueError) as error:
        msg = f"the manifest of {folder} lacks {error}; remove the folder, and it is made again"
        raise StoreError(msg) from error


def _damages(folder: Path) -> Iterator[Damage]:
    files: list[dict[str, Any]] = manifest(folder)["files"]
    for file in files:
        path = folder / file["path"]
        if not path.is_file():
            yield Damage(path, f"{file['size']} bytes", "no file")
        elif path.stat().st_size != file["size"]:
            yield Damage(path, f"{file['size']} bytes", f"{path.stat().st_size} bytes")
        elif (found := digest_of(path)) != file["sha256"]:
            yield Damage(path, f"sha256 {file['sha256']}", f"sha256 {found}")
    known = {folder / file["path"] for file in files} | {folder / MANIFEST}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            check_readable(path)  # what is in it would not be listed
        elif path.is_file() and path not in known:
            yield Damage(path, "no file", f"{path.stat().st_size} bytes")


def _tidy(store: Path, unused_for: timedelta | None) -> None:
    """Remove what dead processes left, and what failed attempts kept for a next one that did not come."""
    if (store / ".staging").is_dir() and (store / ".kept").is_dir():
        sweep(store)
    if unused_for is None or not (store / ".kept").is_dir():
        return
    for kept in (store / ".kept").iterdir():
        if time.time() - kept.stat().st_mtime > unused_for.total_seconds():
            shutil.rmtree(kept, ignore_errors=True)


def _folder(store: str | Path | None) -> Path:
    return store_folder(store, os.environ)
