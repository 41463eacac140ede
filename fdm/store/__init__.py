"""What is in a store: list the artifacts, verify their digests, remove what is no longer needed."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from .._errors import StoreError
from .._pipeline import Pipeline
from .._processes.owner import user_in
from .._stages.digest import address, plan_digest, stage_digest
from .._stages.stage import Batch, Measure, Pack, Preparation
from ._access import access_told, check_readable
from ._manifest import (
    MANIFEST,
    VERSION,
    digest_of,
    edition,
    is_artifact_name,
    is_published,
    manifest,
    manifest_if_there,
)
from ._publish import files_below, remove, store_folder
from ._sweep import KEPT, STAGING, sweep, sweep_old


@attrs.frozen
class Artifact:
    """Something a store keeps: the result of one stage, as its manifest describes it.

    `size` counts bytes; `created` and `used` (when it was opened last) are in UTC; `function` is the one that made it.
    `parameters` are those that it was given, `script` the file that it was defined in: empty for what an earlier fdm made.
    `damage` is what is wrong with its manifest. Of such an artifact only its folder tells: `stage`, `function` and the
    beginning of `address` are from its name, `created` is when it was changed last.
    """

    folder: Path
    stage: str
    function: str
    address: str
    size: int
    created: datetime
    used: datetime
    damage: str | None = None
    parameters: str = ""
    script: str = ""


@attrs.frozen
class Damage:
    """A file of an artifact that is not what its manifest says: what was expected, and what was found."""

    file: Path
    expected: str
    found: str


def artifacts(store: str | Path | None = None) -> list[Artifact]:
    """The artifacts in a store (default: the one that executors use), most recently used first, damaged ones too.

    Raises `StoreError` for a store, or a manifest in it, that this user may not read.
    """
    every = [_artifact(path) for path in _named_folders(_folder(store)) if is_published(path)]
    there = [artifact for artifact in every if artifact is not None]
    return sorted(there, key=lambda artifact: (artifact.used, artifact.folder), reverse=True)


def verify(store: str | Path | None = None) -> list[Damage]:
    """Compare every file of every artifact with its manifest, by size and sha256; the empty list means all is well.

    A manifest that cannot be read, is none, or is not there is told as a damaged file, and the others are compared.

    Raises `StoreError` for a file that this user may not read, which tells nothing of what is in it.
    """
    with access_told():
        lost = [folder for folder in _named_folders(_folder(store)) if _has_lost_its_manifest(folder)]
        return [
            damage for folder in [*(each.folder for each in artifacts(store)), *lost] for damage in _damages(folder)
        ]


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
    any case, and so do damaged artifacts then, as nobody can tell whether they are needed. Also removes what dead
    processes left half-made. Who has an artifact open can go on reading it.

    Raises `StoreError` where this user may not read the store, or not remove an artifact; the others are removed then.
    """
    if unused_for is None and larger_than is None:
        msg = "prune: say what to remove: unused_for=timedelta(days=30), or larger_than=bytes"
        raise StoreError(msg)
    needed = {need for p in keep for need in _needs(p)}
    there = artifacts(store)
    removable = [
        artifact for artifact in reversed(there) if not (needed and (artifact.damage or _names(artifact) & needed))
    ]
    chosen = [artifact for artifact in removable if unused_for is not None and _age(artifact) > unused_for]
    total = sum(artifact.size for artifact in there) - sum(artifact.size for artifact in chosen)
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
    about = manifest_if_there(artifact.folder) or {}
    return {artifact.address, str(about.get("digest"))}


def _age(artifact: Artifact) -> timedelta:
    return datetime.now(UTC) - artifact.used


def _named_folders(store: Path) -> list[Path]:
    """The folders with names of artifacts: a store may have others, where it is no store alone, and links."""
    check_readable(store)
    named = [path for path in store.iterdir() if is_artifact_name(path.name)] if store.is_dir() else []
    return [path for path in named if not path.is_symlink()]


def _has_lost_its_manifest(folder: Path) -> bool:
    """Whether a folder has the name of an artifact, by its stage too, and no manifest: it is published with one."""
    before = edition(folder)
    is_lost = folder.name.startswith(_STAGES) and folder.is_dir() and not is_published(folder)
    return is_lost and edition(folder) == before  # else another process removed it, or made it anew meanwhile


def _artifact(folder: Path) -> Artifact | None:
    """The artifact in a folder; None if another process removed it meanwhile."""
    try:
        about = manifest_if_there(folder)
        used = _time(folder / MANIFEST)
    except FileNotFoundError:
        return None
    except StoreError as error:
        if error.errno != errno.EIO:  # who may not read it cannot tell whether it is damaged
            raise
        return _damaged_artifact(folder, str(error.strerror))
    if about is None:
        return None
    size = sum(file["size"] for file in about["files"])
    created = datetime.fromisoformat(about["created"])
    told = about.get("parameters", ""), about.get("script", "")
    return Artifact(folder, about["stage"], about["function"], about["address"], size, created, used, None, *told)


def _damaged_artifact(folder: Path, damage: str) -> Artifact | None:
    stage, _, rest = folder.name.partition("-")
    function, _, address = rest.rpartition("-")
    try:
        size = sum(path.lstat().st_size for path in files_below(folder))
        return Artifact(folder, stage, function, address, size, _time(folder), _time(folder / MANIFEST), damage)
    except FileNotFoundError:
        return None


def _time(path: Path) -> datetime:
    return datetime.fromtimestamp(path.lstat().st_mtime, UTC)


def _damages(folder: Path) -> list[Damage]:
    """What is damaged of an artifact; nothing if another process removed it meanwhile, or made it anew."""
    before = edition(folder)
    try:
        damages = list(_damages_in(folder))
    except OSError:
        if edition(folder) == before is not None:
            raise
        return []
    return damages if edition(folder) == before is not None else []


def _damages_in(folder: Path) -> Iterator[Damage]:
    try:
        files: list[dict[str, Any]] = manifest(folder)["files"]
    except StoreError as error:
        if error.errno != errno.EIO:
            raise
        yield Damage(folder / MANIFEST, f"a manifest of version {VERSION}", str(error.strerror))
        return
    for file in files:
        path = folder / file["path"]
        if not path.is_file():
            yield Damage(path, f"{file['size']} bytes", "no file")
        elif path.stat().st_size != file["size"]:
            yield Damage(path, f"{file['size']} bytes", f"{path.stat().st_size} bytes")
        elif (sha256 := digest_of(path)) != file["sha256"]:
            yield Damage(path, f"sha256 {file['sha256']}", f"sha256 {sha256}")
    known = {folder / file["path"] for file in files} | {folder / MANIFEST}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            check_readable(path)  # what is in it would not be listed
        elif path.is_file() and path not in known:
            yield Damage(path, "no file", f"{path.stat().st_size} bytes")


def _tidy(store: Path, unused_for: timedelta | None) -> None:
    """Remove what dead processes left, and what failed attempts kept for a next one that did not come."""
    if not any((store / name).is_dir() for name in (STAGING, KEPT)) or not os.access(store, os.W_OK | os.X_OK):
        return
    user = user_in(store)
    sweep(store, user)
    if unused_for is not None:
        sweep_old(store, user, unused_for.total_seconds())


def _folder(store: str | Path | None) -> Path:
    return store_folder(store, os.environ)


_STAGES = ("fetch-", "clean-", "measure-")  # how the names of artifacts begin
