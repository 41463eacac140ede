"""Archives that lie or are cut: taken apart whole and in bounded memory, or not at all."""

import bz2
import errno
import gzip
import io
import lzma
import resource
import struct
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress

import pytest
import test_download
from test_download import BODY, archive_in, download, flipped, found, sha256, tar, zipped

import fdm
from fdm._downloads import unpack as _unpack


site = test_download.site
PAX, GNU = tarfile.PAX_FORMAT, tarfile.GNU_FORMAT


def refused(tmp_path, contents, name="a.tar", match=None):
    """The message with which an archive is refused; nothing of it is in the folder then."""
    into = tmp_path / "into"
    tmp_path.mkdir(exist_ok=True)
    with pytest.raises(fdm.DownloadError, match=match) as caught:
        download(into, archive_in(tmp_path / "served", name, contents))
    assert repr(name) in str(caught.value)
    assert [] == [path for path in found(into) if not path.startswith(".partial")]
    assert {".partial"} >= {path.name for path in into.iterdir()}
    return str(caught.value)


def header(name, size, kind=b"0"):
    """A header as it is written, with any size."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(GNU)


def padded(contents):
    return contents + bytes(-len(contents) % 512)


def member(name, contents, kind=b"0"):
    return header(name, len(contents), kind) + padded(contents)


def pax(**fields):
    """An extended header before a member, as its raw bytes."""
    records = b""
    for key, value in fields.items():
        text = b" %s=%s\n" % (key.encode(), value)
        length = len(text) + 1
        while len(b"%d" % length) + len(text) != length:
            length += 1
        records += b"%d%s" % (length, text)
    return member("pax", records, b"x")


END = bytes(1024)
GOOD = member("good", b"good") + member("sub/more", BODY)
LONG = 200 << 20


def compressed(write, size=LONG):
    """What a member with a name of so many bytes comes to, compressed."""
    packed = io.BytesIO()
    with write(packed) as file:
        file.write(GOOD + header("long", size, b"L"))
        for _ in range(size >> 20):
            file.write(b"x" * (1 << 20))
        file.write(member("bad", b"bad") + END)
    return packed.getvalue()


LIMITED = """
import pathlib, re, sys, fdm

def most():  # kB; what the system's resource usage tells is that of the parent, too
    return int(re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])

before = most()
for path in sys.argv[2:]:
    try:
        fdm.download(pathlib.Path(sys.argv[1]), files=[fdm.File(pathlib.Path(path).as_uri(), unpack=True)])
    except fdm.DownloadError:
        print(path, most() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")
def test_memory_stays_bounded_whatever_headers_declare(tmp_path):
    many = b"".join(header("long", 500_000, b"L") + padded(b"x" * 499_999) + member(f"{n}", b"") for n in range(400))
    chain = b"".join(pax(comment=b"x" * 10_000) for _ in range(5000))
    bombs = {
        "a.tar.gz": compressed(lambda into: gzip.GzipFile(fileobj=into, mode="wb", compresslevel=1)),
        "b.tar": GOOD + header("long", LONG, b"L") + bytes(1000),
        "c.tar": GOOD + negative("L"),
        "d.tar.gz": gzip.compress(GOOD + member("pax", b"9 a=b\n" * (LONG // 8), b"x"), 1),
        "e.tar.gz": gzip.compress(GOOD + member("pax", b"x" * (LONG // 2), b"g"), 1),
        "f.tar.gz": gzip.compress(many + END, 1),
        "g.tar.gz": gzip.compress(chain + member("x", b"") + END, 1),
        "h.tar.gz": gzip.compress(sparse_map() + END, 1),
        "i.zip": bzipped(300 << 20),
    }
    for name, contents in bombs.items():
        (tmp_path / name).write_bytes(contents)
    command = [sys.executable, "-c", LIMITED, tmp_path / "into", *(tmp_path / name for name in bombs)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.rpartition(" ") for line in ran.stdout.splitlines()]
    assert [str(tmp_path / name) for name in bombs] == [path for path, _, _ in lines]
    assert 250_000 > int(lines[-1][2]), ran.stdout  # kB


def negative(kind):
    """A header with a size of -600 in base 256, which Python reads as: all that follows."""
    raw = bytearray(header("bad", 0, kind.encode()))
    raw[124:136] = b"\xff" * 4 + struct.pack(">q", -600)
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw) + BODY + END


def bzipped(size):
    """A zip with a member of zeros that bzip2 makes a million times smaller, and with another checksum than theirs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive, archive.open("x", "w") as file:
        for _ in range(size >> 24):
            file.write(bytes(1 << 24))
    contents = buffer.getvalue()
    return flipped(contents, contents.rindex(b"PK\1\2") + 16)


def sparse_map():
    """A member whose contents begin with a map of ten million entries."""
    first = pax(**{"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.name": b"x", "size": b"60000000"})
    return first + header("x", 60_000_000) + padded(b"10000000\n" + b"0\n0\n" * 10_000_000)


@pytest.mark.parametrize("fmt", [PAX, GNU])
def test_names_as_long_as_people_give_them_are_fine(tmp_path, fmt):
    buffer = io.BytesIO()
    name = "/".join(["folder" * 20] * 8 + ["file.txt"])
    with tarfile.open(fileobj=buffer, mode="w", format=fmt) as archive:
        info = tarfile.TarInfo(name)
        info.size = 3
        info.pax_headers = {"SCHILY.xattr.user.note": "x" * 60_000}
        archive.addfile(info, io.BytesIO(b"abc"))
    assert {name: b"abc"} == download(tmp_path / "into", archive_in(tmp_path / "served", "a.tar", buffer.getvalue()))


WHOLE = tar(("a", b"1"), ("sub", None), ("sub/b", BODY[:3000]), ("x" * 150, b"2"), ("last", b"3"))
SHORT = WHOLE[: WHOLE.rindex(b"3" + bytes(511)) + 512]  # up to the end of the last member
PACKED = {"a.tar": bytes, "a.tar.gz": gzip.compress, "a.tar.bz2": bz2.compress, "a.tar.xz": lzma.compress}


@pytest.mark.parametrize("name", PACKED)
def test_a_tar_that_is_cut_anywhere_is_not_unpacked_in_part(tmp_path, name):
    """Whole blocks are the hard ones, as is a cut inside a later header: Python's tarfile takes both for the end."""
    for number, length in enumerate(sorted({*range(0, len(SHORT) + 1, 512), *range(100, len(SHORT), 512)})):
        refused(tmp_path / str(number), PACKED[name](WHOLE[:length]), name)
    assert (
        5
        == len(download(tmp_path / "whole", archive_in(tmp_path / "served", name, PACKED[name](SHORT + bytes(512)))))
        + 1
    )


def test_a_compressed_tar_that_is_cut_anywhere_is_not_unpacked_in_part(tmp_path):
    for name, pack in PACKED.items():
        contents = pack(WHOLE)
        for length in range(1, len(contents) - 1024, max(1, len(contents) // 12)):
            refused(tmp_path / f"{name}{length}", contents[:length], name)


def test_a_header_that_is_damaged_is_not_the_end(tmp_path):
    starts = [at for at in range(0, len(SHORT), 512) if SHORT[at + 257 : at + 262] == b"ustar"]
    for at in starts:
        refused(tmp_path / str(at), SHORT[:at] + b"\xff" + SHORT[at + 1 :] + END)
    assert 5 < len(starts)


@pytest.mark.parametrize("seed", range(3))
def test_damage_anywhere_in_a_tar_raises_nothing_foreign(tmp_path, seed):
    random = __import__("random").Random(seed)
    for number in range(60):
        damaged = bytearray(SHORT + END)
        for _ in range(random.choice([1, 3, 30])):
            at = random.randrange(len(damaged) // 512) * 512 + random.choice(
                [0, 124, 148, 156, 257, random.randrange(512)]
            )
            damaged[at] = random.randrange(256)
            start = at // 512 * 512
            block = damaged[start : start + 512]
            block[148:156] = b" " * 8
            damaged[start + 148 : start + 156] = b"%06o\0 " % sum(block)  # so that the damage is believed
        with suppress(fdm.DownloadError):
            download(tmp_path / str(number), archive_in(tmp_path / "served", f"{number}.tar", bytes(damaged)))


ODD = {
    "a huge size": GOOD + struct.pack("124s", b"big") + b"\x80" + b"\x7f" * 11 + bytes(376),
    "a size of 8 exabytes": GOOD + header("big", 2**63) + END,
    "a size beyond the archive": GOOD + header("big", 10_000) + bytes(512),
    "a size beyond the limit": GOOD + header("big", 10 << 30) + END,
    "a negative size": GOOD + negative("0"),
    "a negative name": GOOD + negative("L"),
    "a size of letters": GOOD + pax(size=b"abc") + member("x", b"1") + b"x" * 512,
    "a negative size in pax": GOOD + pax(size=b"-600") + member("x", b"1") + b"x" * 512,
    "a sparse map of letters": GOOD + pax(**{"GNU.sparse.map": b"a,b", "GNU.sparse.size": b"x"}) + member("x", b""),
    "an odd sparse map": GOOD
    + pax(**{"GNU.sparse.map": b"1", "GNU.sparse.size": b"1"})
    + member("x", b"")
    + b"x" * 512,
    "a name of zeros": GOOD + pax(path=b"a\0b") + member("x", b"1") + END,
    "a name too long": GOOD + pax(path=b"x" * 300) + member("x", b"1") + END,
    "a path too long": GOOD + pax(path=b"x/" * 3000 + b"x") + member("x", b"1") + END,
    "a header without a member": GOOD + pax(path=b"y"),
    "a header before the end": GOOD + pax(path=b"y") + END,
    "headers without end": GOOD + b"".join(pax(path=b"y") for _ in range(3000)) + END,
    "text after a member": GOOD + b"hello",
}


@pytest.mark.parametrize("contents", ODD.values(), ids=ODD)
def test_headers_that_no_writer_makes_are_refused_whole(tmp_path, contents):
    for name in ("a.tar", "a.tar.gz"):
        refused(tmp_path / name, PACKED[name](contents), name)


# Declared sizes


def lying_zip(declared, contents=b"x" * 1000, kind=zipfile.ZIP_DEFLATED):
    """A zip whose list of members declares another size."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        archive.writestr("good", b"good")
        archive.writestr("bad", contents)
    raw = bytearray(buffer.getvalue())
    at = raw.rindex(b"PK\1\2")
    raw[at + 24 : at + 28] = struct.pack("<I", declared)
    return bytes(raw)


@pytest.mark.parametrize("declared", [0, 999, 1001, 100_000, 2**31])
def test_a_zip_that_declares_another_size_is_refused_whole(tmp_path, declared):
    refused(tmp_path, lying_zip(declared), "a.zip")


def test_what_declares_to_grow_beyond_all_measure_is_refused_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(_unpack, "_LEAST", 2_000_000)
    monkeypatch.setattr(_unpack, "_new_file", lambda *_: pytest.fail("it is written"))
    for name, contents in {
        "a.zip": zipped(("x", b"x" * 3_000_000)),
        "a.tar.xz": tar(("x", b"x" * 3_000_000), compression="xz"),
    }.items():
        refused(tmp_path / name, contents, name, match="declares 3,000,000 bytes")


# What is left


def test_what_was_there_before_stays_where_an_archive_is_refused(tmp_path):
    into = tmp_path / "into"
    (into / "sub").mkdir(parents=True)
    (into / "sub" / "mine").write_bytes(b"mine")
    for name, contents in {"a.tar": GOOD + b"hello", "b.zip": zipped(("sub/x", b"1"), ("sub/mine", b"2"))}.items():
        with pytest.raises(fdm.DownloadError):
            download(into, archive_in(tmp_path / "served", name, contents))
    assert {"sub/mine": b"mine"} == {
        name: each for name, each in found(into).items() if not name.startswith(".partial/")
    }


@pytest.mark.parametrize("limit", [100_000, 1_000_000])
def test_a_full_disk_while_unpacking_is_a_store_error_and_what_came_is_kept(tmp_path, site, limit):
    archive = gzip.compress(tar(("good", b"good"), ("big", bytes(5_000_000))))
    files = [fdm.File(site.put("/a.tar.gz", archive), sha256=sha256(archive), unpack=True)]
    p = fdm.pipeline(fdm.fetch(fdm.download, files=files), fdm.clean(test_download.sizes))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))  # Python ignores the signal: EFBIG, as quotas have it
    try:
        with pytest.raises(fdm.StoreError, match="free some space") as caught:
            fdm.Executor(store=tmp_path / "store").prepare(p)
        with pytest.raises(fdm.StoreError, match="free some space"):
            fdm.download(tmp_path / "into", files=files)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert errno.EFBIG == caught.value.errno
    assert [] == [path for path in found(tmp_path / "into") if not path.startswith(".partial/")]
    asked = len(site.seen)
    fdm.Executor(store=tmp_path / "store").prepare(p)
    assert {"good", "big"} == set(download(tmp_path / "into", *files))
    assert asked == len(site.seen)
