"""Unpacking: archives taken apart below one folder, and nowhere else."""

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TypeAlias

from .._errors import DownloadError


Member: TypeAlias = tuple[str, IO[bytes] | gzip.GzipFile | None]


def unpack(archive: Path, into: Path) -> None:
    """Take a tar (also compressed), zip or gz apart below the folder `into`.

    Raises `DownloadError` for a member that would leave the folder (an absolute path, `..`), that is a link or a
    device, or whose place is taken; for an archive that grows beyond all measure; and for a file that is no archive.
    """
    limit = max(_LEAST, _RATIO * archive.stat().st_size)
    name, written = "", 0
    try:
        for name, file in _members(archive):
            target = _target(archive, name, into)
            if file is None:
                target.mkdir(parents=True, exist_ok=True)
            else:
                written += _write(archive, name, file, target, limit - written)
    except (FileExistsError, NotADirectoryError) as error:
        raise _refused(archive, name, "has the name of a file or folder that is there already") from error
    except _DAMAGE as error:
        msg = f"{archive.name!r} cannot be unpacked: {error}; it is damaged, or was downloaded incompletely"
        raise DownloadError(msg) from error


def _members(archive: Path) -> Iterator[Member]:
    # A tar first: one that ends with a zip would pass for that zip.
    if _is_tar(archive):
        return _tar_members(archive)
    if zipfile.is_zipfile(archive):
        return _zip_members(archive)
    if _is_gz(archive):
        return _gz_member(archive)
    msg = f"{archive.name!r} is no tar, zip or gz, and cannot be unpacked"
    raise DownloadError(msg)


def _is_tar(archive: Path) -> bool:
    """Whether there is a member at its beginning; zeros alone, also compressed ones, pass for an empty tar."""
    try:
        with _open_tar(archive) as opened:
            return opened.next() is not None
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError):
        return False


def _open_tar(archive: Path) -> tarfile.TarFile:
    # The compressed bytes themselves pass for the header of a tar once in some thousand times.
    return tarfile.open(archive, "r:gz") if _is_gz(archive) else tarfile.open(archive)


def _is_gz(archive: Path) -> bool:
    with archive.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, member.filename, "is a link or a device")
            if member.is_dir():
                yield member.filename, None
            else:
                with opened.open(member) as file:
                    yield member.filename, file


def _tar_members(archive: Path) -> Iterator[Member]:
    with _open_tar(archive) as opened:
        for member in opened:
            if member.isdir():
                yield member.name, None
            elif member.isreg():
                file = opened.extractfile(member)
                assert file is not None, "a regular member has contents"
                yield member.name, file
            else:
                raise _refused(archive, member.name, "is a link or a device")
        while opened.fileobj.read(_BLOCK):  # to the end, where a gz has its checksum
            pass


def _gz_member(archive: Path) -> Iterator[Member]:
    with gzip.open(archive) as file:
        yield archive.name.removesuffix(".gz") if archive.name.endswith(".gz") else f"{archive.name}.unpacked", file


def _target(archive: Path, name: str, into: Path) -> Path:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive:
        raise _refused(archive, name, "would leave the folder")
    return into.joinpath(*path.parts)


def _write(archive: Path, name: str, file: IO[bytes] | gzip.GzipFile, target: Path, limit: int) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise _refused(archive, name, "has the name of a file that is there already")
    written = 0
    with target.open("xb") as out:
        while block := file.read(_BLOCK):
            written += len(block)
            if written > limit:
                raise _refused(archive, name, "grows the contents beyond a hundred times the archive")
            out.write(block)
    shutil.copymode(archive, target)
    return written


def _refused(archive: Path, name: str, why: str) -> DownloadError:
    msg = (
        f"{archive.name!r}: the member {name!r} {why}; nothing more is unpacked. Unpack it in a fetch function of yours"
    )
    return DownloadError(msg)


_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError),
    *(RuntimeError, NotImplementedError, ValueError),  # zips that are encrypted or of other kinds, names with zeros
)
_RATIO = 100
_LEAST = 1 << 30  # bytes that may come out of an archive, however small it is
_BLOCK = 1 << 20
