"""Unpacking: archives taken apart below one folder, and nowhere else."""

import bz2
import errno
import gzip
import lzma
import math
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, Protocol, Self, TypeAlias

from .._errors import DownloadError


class _Contents(Protocol):
    """What a member of an archive is read from."""

    def read(self, size: int, /) -> bytes: ...


Member: TypeAlias = tuple[str, int | None, _Contents | None]  # name, size as declared, contents


def unpack(archive: Path, into: Path) -> None:
    """Take a tar (also compressed), zip or gz apart below the folder `into`: whole, or where that fails not at all.

    Raises `DownloadError` for a member that would leave the folder (an absolute path, `..`), that is a link or a
    device, or whose place is taken; for an archive that grows beyond all measure, or has other sizes than it declares;
    and for a file that is no archive, is damaged or cut.
    """
    new: list[Path] = []
    try:
        _take_apart(archive, into, new)
    except _DAMAGE as error:
        _remove(new)
        msg = f"{archive.name!r} cannot be unpacked: {error}; it is damaged, or was downloaded incompletely"
        raise DownloadError(msg) from error
    except BaseException:
        _remove(new)
        raise


def leads_out(path: str) -> bool:
    r"""Whether a path from elsewhere may lead out of the folder that it is put into, on whatever system, by its words alone.

    >>> [leads_out(path) for path in ("a/b", "/a", "a/../../b", "a\\..\\b", "C:a")]
    [False, True, True, True, True]
    """
    words = PureWindowsPath(path)  # which takes both kinds of slashes
    return bool(words.drive or words.root) or ".." in words.parts


def _take_apart(archive: Path, into: Path, new: list[Path]) -> None:
    """Write the members of an archive; `new` gets every file and folder that was not there, in order."""
    limit = max(_LEAST, _RATIO * archive.stat().st_size)
    with closing(_members(archive)) as members:
        for name, size, file in members:
            if size is not None and size > limit:
                raise _refused(archive, name, f"declares {size:,} bytes, and so {_GROWS}")
            target = _target(archive, name, into)
            try:
                _make_folder(target if file is None else target.parent, new)
                if file is not None:
                    written = _write(archive, name, file, _new_file(target, new), limit)
                    limit -= written
                    if size not in (None, written):
                        raise _refused(archive, name, f"declares {size:,} bytes, and has {written:,}")
                    shutil.copymode(archive, target)
            except (FileExistsError, NotADirectoryError) as error:
                raise _refused(archive, name, "has the name of a file or folder that is there already") from error
            except OSError as error:
                if error.errno not in _NAMES:
                    raise
                raise _refused(archive, name, f"has a name that no file can have here ({error.strerror})") from error


def _make_folder(folder: Path, new: list[Path]) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)  # another archive may be as far
        new.append(each)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def _remove(new: list[Path]) -> None:
    for path in reversed(new):
        with suppress(OSError):  # a folder that something else has come into stays
            path.rmdir() if path.is_dir() else path.unlink()


def _members(archive: Path) -> Generator[Member]:
    # A tar first: one that ends with a zip would pass for that zip.
    if _is_tar(archive):
        return _tar_members(archive)
    if zipfile.is_zipfile(archive):
        return _zip_members(archive)
    if _is_gz(archive) and not archive.name.lower().endswith((".tar.gz", ".tgz")):  # which would be a tar, cut
        return _gz_member(archive)
    msg = f"{archive.name!r} is no tar, zip or gz, or is damaged from its beginning, and cannot be unpacked"
    raise DownloadError(msg)


def _is_tar(archive: Path) -> bool:
    """Whether there is a member at its beginning; zeros alone, also compressed ones, pass for an empty tar."""
    with suppress(tarfile.TarError), _open_tar(archive) as opened:
        return opened.next() is not None
    return False


@contextmanager
def _open_tar(archive: Path) -> Iterator["_Tar"]:
    # The compressed bytes themselves pass for the header of a tar once in some thousand times.
    with ExitStack() as stack:
        for read in (gzip.open,) if _is_gz(archive) else (open, bz2.open, lzma.open):
            stream = stack.enter_context(read(archive, "rb"))
            try:
                opened = _Tar(stream)
            except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError):
                continue
            break
        else:
            msg = "it does not begin with a member"
            raise tarfile.ReadError(msg)
        yield opened


class _Bounded:
    """A stream of a tar that gives no more than `left` bytes while a header is read, whatever size that one declares."""

    def __init__(self, stream: Any) -> None:
        self._stream, self.left = stream, math.inf
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int) -> bytes:
        """The next bytes; a negative size would be all."""
        if not 0 <= size <= self.left:
            msg = f"a header is longer than {_HEADER:,} bytes"
            raise tarfile.ReadError(msg)
        self.left -= size
        return bytes(self._stream.read(size))


class _Header(tarfile.TarInfo):
    """A header that is whole and right, or the mark of the end: tarfile takes all else for the end, too."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """A header from its bytes."""
        if bytes(buf) == bytes(tarfile.BLOCKSIZE):
            return super().frombuf(buf, encoding, errors)  # raises what tells tarfile that this is the end
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            msg = f"{error}, where a member or the end of the archive should be"
            raise tarfile.ReadError(msg) from error
        if header.size < 0:
            msg = f"a member declares a size of {header.size}"
            raise tarfile.ReadError(msg)
        return header


class _Tar(tarfile.TarFile):
    """A tar that is read in bounded memory: headers of bounded length, of which none is remembered."""

    tarinfo = _Header
    members: list[tarfile.TarInfo]

    def __init__(self, stream: Any) -> None:
        self.bounded = bounded = _Bounded(stream)
        contents: Any = bounded  # it has all that reading needs
        super().__init__(fileobj=contents)

    def next(self) -> tarfile.TarInfo | None:
        """The next member; None at the end."""
        self.bounded.left = _HEADER
        try:
            return super().next()
        finally:
            self.bounded.left = math.inf
            self.members.clear()


def _is_gz(archive: Path) -> bool:
    with archive.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _zip_members(archive: Path) -> Generator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, member.filename, "is a link or a device")
            if member.is_dir():
                yield member.filename, 0, None
            else:
                with opened.open(member) as file:
                    is_bounded = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                    yield member.filename, member.file_size, file if is_bounded else _Sipped(file)


class _Sipped:
    """A member of a zip whose contents Python unpacks at once, as much as it has read of them: not so for deflate."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._file.MIN_READ_SIZE = self._file.MAX_N = _SIP

    def read(self, _: int) -> bytes:
        """What the next few bytes of the archive unpack to: with bzip2 one may stand for a million."""
        return bytes(self._file.read1(-1))


def _tar_members(archive: Path) -> Generator[Member]:
    with _open_tar(archive) as opened:
        while (member := opened.next()) is not None:
            if member.isdir():
                yield member.name, 0, None
            elif member.isreg():
                file = opened.extractfile(member)
                assert file is not None, "a regular member has contents"
                yield member.name, member.size, file
            else:
                raise _refused(archive, member.name, "is a link or a device")
        while opened.bounded.read(_BLOCK):  # to the end, where a gz has its checksum
            pass


def _gz_member(archive: Path) -> Generator[Member]:
    name = archive.name.removesuffix(".gz") if archive.name.endswith(".gz") else f"{archive.name}.unpacked"
    with gzip.open(archive) as file:
        yield name, None, file


def _target(archive: Path, name: str, into: Path) -> Path:
    if leads_out(name):
        raise _refused(archive, name, "would leave the folder")
    return into.joinpath(*PurePosixPath(name.replace("\\", "/")).parts)


def _new_file(target: Path, new: list[Path]) -> IO[bytes]:
    file = target.open("xb")
    new.append(target)  # not before it is there, and no other archive's
    return file


def _write(archive: Path, name: str, file: _Contents, target: IO[bytes], limit: int) -> int:
    written = 0
    with target:
        while block := file.read(_BLOCK):
            written += len(block)
            if written > limit:
                raise _refused(archive, name, _GROWS)
            target.write(block)
    return written


def _refused(archive: Path, name: str, why: str) -> DownloadError:
    msg = (
        f"{archive.name!r}: the member {name!r} {why}; nothing more is unpacked. Unpack it in a fetch function of yours"
    )
    return DownloadError(msg)


_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError),
    *(RuntimeError, NotImplementedError, ValueError),  # zips that are encrypted or of other kinds, names with zeros
    *(OverflowError, IndexError, KeyError, struct.error),  # numbers and fields in headers that no writer makes
)
_NAMES = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
_GROWS = "grows the contents beyond a hundred times the archive"
_HEADER = 1 << 20  # bytes: a name, the extended attributes and the map of a sparse file have room
_RATIO = 100
_LEAST = 1 << 30  # bytes that may come out of an archive, however small it is
_BLOCK = 1 << 20
_SIP = 16  # bytes of the archive: less than a block of zeros, which becomes 46 MB
