"""Downloads: files come whole and right from servers that drop, stall, refuse and lie, and archives stay in the folder."""

import gzip
import hashlib
import io
import itertools
import random
import re
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import fdm
from fdm._downloads import download as _download
from fdm._downloads import http as _http
from fdm._downloads import unpack as _unpack


BODY = random.Random(0).randbytes(600_000)
OTHER = random.Random(1).randbytes(600_000)


def sha256(body):
    return hashlib.sha256(body).hexdigest()


class Site(ThreadingHTTPServer):
    """Files on 127.0.0.1; the requests for each are answered in the given ways, then whole and right. Records them."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Visit)
        self.bodies, self.ways, self.seen = {}, {}, []
        self.closing = threading.Event()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def put(self, path, body, *ways):
        self.bodies[path], self.ways[path] = body, itertools.chain(ways)
        return self.url(path)

    def always(self, path, way, body=BODY):
        url = self.put(path, body)
        self.ways[path] = itertools.repeat(way)
        return url

    def ranges(self, path):
        """The Range header of every request for a path; None where it had none."""
        return [headers["Range"] for seen, headers in self.seen if seen == path]

    def handle_error(self, request, client_address):
        """Clients that go away are what these tests are about."""


class Visit(BaseHTTPRequestHandler):
    """One request."""

    limit = None
    stalls = False

    def do_GET(self):
        self.server.seen.append((self.path, self.headers))
        if self.path in self.server.bodies:
            next(self.server.ways[self.path], whole)(self, self.server.bodies[self.path])
        else:
            status(404)(self, b"")

    def answer(self, code, body, headers=()):
        self.send_response(code)
        for name, value in {"Content-Length": len(body), **dict(headers)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body[: self.limit])
        if self.stalls:
            self.server.closing.wait(60)

    def log_message(self, format, *args):  # noqa: A002 - the name that http.server calls it by
        pass


def whole(visit, body):
    """The right answer: a range where one is asked for, of the file that the client knows."""
    tag = f'"{sha256(body)[:8]}"'
    asked = visit.headers["Range"]
    if asked is None or visit.headers.get("If-Range", tag) != tag:
        visit.answer(200, body, {"ETag": tag})
        return
    start = int(re.fullmatch(r"bytes=(\d+)-", asked).group(1))
    if start >= len(body):
        visit.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
    else:
        visit.answer(206, body[start:], {"ETag": tag, "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"})


def without_ranges(visit, body):
    visit.answer(200, body)


def cut(after, way=whole):
    """Close the connection after some bytes, with more announced."""

    def answer(visit, body):
        visit.limit = after
        way(visit, body)

    return answer


def stall(after):
    """Send some bytes, then nothing more."""

    def answer(visit, body):
        visit.limit, visit.stalls = after, True
        whole(visit, body)

    return answer


def reset(visit, body):
    """Break the connection half way, so that the client's system reports an error."""
    cut(len(body) // 2)(visit, body)
    visit.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    visit.connection.close()


def status(code, **headers):
    return lambda visit, _: visit.answer(
        code, b"something else", {name.replace("_", "-"): value for name, value in headers.items()}
    )


def instead(body):
    return lambda visit, _: whole(visit, body)


@contextmanager
def serving():
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield site
        finally:
            site.closing.set()
            site.shutdown()
            thread.join()


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as site:
        yield site


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """The pauses before attempts, which these tests do not make."""
    made = []
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=made.append))
    return made


def found(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def download(folder, *files, **options):
    fdm.download(folder, files=files, **options)
    return found(folder)


def refused(folder, *files):
    """The message with which files are refused; nothing but what the next attempt can use is in the folder then."""
    with pytest.raises(fdm.DownloadError) as caught:
        fdm.download(folder, files=files)
    assert [] == [name for name in found(folder) if not name.startswith(".partial/")]
    return str(caught.value)


# Files


def test_a_file_comes_as_it_is_under_the_last_part_of_its_url(tmp_path, site):
    url = site.put("/data/train.csv", BODY)
    assert {"train.csv": BODY} == download(tmp_path / "a" / "b", fdm.File(url))
    assert {"train.csv": BODY} == download(tmp_path / "again", fdm.File(url, sha256=sha256(BODY).upper()))
    assert [None, None] == site.ranges("/data/train.csv")
    assert {"identity"} == {headers["Accept-Encoding"] for _, headers in site.seen}


def test_percent_signs_in_a_url_are_decoded_in_the_name_and_a_query_is_no_part_of_it(tmp_path, site):
    url = site.put("/a%20b%C3%BC.csv?key=1/2", BODY)
    assert {"a bü.csv": BODY} == download(tmp_path, fdm.File(url))


def test_a_name_may_have_folders(tmp_path, site):
    assert {"raw/1/x.bin": BODY} == download(tmp_path, fdm.File(site.put("/get?id=1", BODY), name="raw/1/x.bin"))


@pytest.mark.parametrize("body", [b"", b"x"])
def test_small_files_come_too(tmp_path, site, body):
    assert {"x": body} == download(tmp_path, fdm.File(site.put("/x", body), sha256=sha256(body)))


def test_several_files_come_at_the_same_time(tmp_path, site):
    both = threading.Barrier(2)

    def together(visit, body):
        both.wait(5)
        whole(visit, body)

    urls = [site.put(f"/{name}", name.encode() * 1000, together) for name in "ab"]
    assert {"a": b"a" * 1000, "b": b"b" * 1000} == download(tmp_path, *map(fdm.File, urls))


def test_one_url_may_become_several_files(tmp_path, site):
    url = site.put("/x", BODY, cut(1000))
    files = [fdm.File(url, sha256=sha256(BODY), name=name) for name in "abc"]
    assert dict.fromkeys("abc", BODY) == download(tmp_path, *files)


def test_more_files_than_connections_come_all(tmp_path, site):
    files = [fdm.File(site.put(f"/{n}", b"%d" % n)) for n in range(20)]
    assert {str(n): b"%d" % n for n in range(20)} == download(tmp_path, *files)


def test_redirects_are_followed_and_the_name_is_that_of_the_first_url(tmp_path, site):
    url = site.put("/old.csv", b"", *[status(302, Location=site.put("/new", BODY, cut(1000)))] * 2)
    assert {"old.csv": BODY} == download(tmp_path, fdm.File(url))
    assert [None, "bytes=1000-"] == site.ranges("/new")


def test_a_redirect_to_a_file_of_this_machine_is_not_followed(tmp_path, site):
    (tmp_path / "secret").write_text("secret")
    url = site.put("/x", b"", status(302, Location=(tmp_path / "secret").as_uri()))
    assert "file://" in refused(tmp_path / "into", fdm.File(url))


def test_a_redirect_in_a_circle_is_an_error(tmp_path, site):
    url = site.url("/x")
    site.always("/x", status(302, Location=url))
    assert url in refused(tmp_path, fdm.File(url))


def test_a_file_url_is_read_like_any_other(tmp_path):
    (tmp_path / "a b%.csv").write_bytes(BODY)
    url = (tmp_path / "a b%.csv").as_uri()
    assert "a%20b%25.csv" in url
    assert {"a b%.csv": BODY} == download(tmp_path / "quoted", fdm.File(url, sha256=sha256(BODY)))
    (tmp_path / "c d.csv").write_bytes(OTHER)
    assert {"c d.csv": OTHER} == download(tmp_path / "bare", fdm.File(f"file://{tmp_path.as_posix()}/c d.csv"))
    assert BODY == (tmp_path / "a b%.csv").read_bytes()


def test_a_missing_file_is_an_error_with_its_url_unless_a_mirror_has_it(tmp_path, site):
    missing = (tmp_path / "missing.csv").as_uri()
    assert missing in refused(tmp_path / "into", fdm.File(missing))
    assert tmp_path.as_uri() in refused(tmp_path / "into", fdm.File(tmp_path.as_uri()))
    mirrored = fdm.File(missing, mirrors=site.put("/m", BODY))
    assert {"missing.csv": BODY} == download(tmp_path / "other", mirrored)


def test_two_files_of_one_name_are_refused_before_anything_is_asked_for(tmp_path, site):
    files = [fdm.File(site.put("/a/x.csv", BODY)), fdm.File(site.put("/b/x.csv", BODY))]
    with pytest.raises(fdm.PipelineError, match=r"'x.csv'"):
        download(tmp_path, *files)
    assert [] == site.seen
    files[1] = fdm.File(files[1].url, name="b/x.csv")
    assert ["b/x.csv", "x.csv"] == sorted(download(tmp_path, *files))


@pytest.mark.parametrize("files", [(), None, "http://localhost/x", ["http://localhost/x"]])
def test_files_that_are_none_are_refused(tmp_path, files):
    with pytest.raises(fdm.PipelineError, match="File"):
        fdm.download(tmp_path, files=files)


@pytest.mark.parametrize(
    "url", ["", "x.csv", "/x.csv", "ftp://host/x", "s3://b/x", "http://[bad/x", None, 3, Path("x")]
)
def test_a_url_of_another_kind_is_refused_when_the_file_is_made(url):
    with pytest.raises(fdm.PipelineError, match="url"):
        fdm.File(url)
    with pytest.raises(fdm.PipelineError, match="mirrors"):
        fdm.File("http://localhost/x", mirrors=("http://localhost/y", url))


@pytest.mark.parametrize("digest", ["", "abc", "0" * 63, "0" * 65, "g" * 64, "0" * 64 + "\n", b"0" * 64, 3])
def test_a_digest_that_is_none_is_refused_when_the_file_is_made(digest):
    with pytest.raises(fdm.PipelineError, match="sha256"):
        fdm.File("http://localhost/x", sha256=digest)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/x", "a/../../x", "a/..", "a\\b", "..\\x", "\\x", "C:/x", "C:x", "a\0b"]
)
def test_a_name_that_is_none_or_leaves_the_folder_is_refused_when_the_file_is_made(name):
    with pytest.raises(fdm.PipelineError, match="name"):
        fdm.File("http://localhost/x", name=name)


ODD = {
    "kept apart": ".partial/x",
    "kept apart, in capitals": ".PARTIAL/x",
    "the folder kept apart": ".partial",
    "a slash at the end": "a/",
    "two slashes": "a//b",
    "a dot": "./a",
    "a dot between": "a/./b",
    "a line": "a\nb",
    "an escape": "a\x1b[31m",
    "a delete": "a\x7f",
    "a later control character": "a\x85",
    "a half of a character": "a\ud800",
    "256 bytes": "x" * 256,
    "256 bytes of a folder": "ä" * 128 + "/x",
}


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_a_name_that_not_every_file_system_has_is_refused_when_the_file_is_made(name):
    with pytest.raises(fdm.PipelineError, match=r"File: .* is (no name of a file|in .partial)") as told:
        fdm.File("http://localhost/x", name=name)
    assert str(told.value).isprintable()
    str(told.value).encode()


@pytest.mark.parametrize("name", ["x" * 255, "a/.partial", ".partially", "ä" * 127, "a b", "…", ".x", "a/b/c.d"])
def test_any_other_name_is_one(name):
    assert name == fdm.File("http://localhost/x", name=name).path


@pytest.mark.parametrize(
    "names",
    [("a", "a/b"), ("a/b/c", "a"), ("a/b", "a/b/c/d"), ("A", "a/b"), ("x", "X"), ("\u00e9", "e\u0301")],
    ids=ascii,
)
def test_files_of_which_one_is_in_the_way_of_another_are_refused_before_anything_comes(names, tmp_path):
    files = [fdm.File("http://127.0.0.1:9/x", name=name) for name in (*names, "other")]
    with pytest.raises(fdm.PipelineError, match="tell them apart"):
        fdm.download(tmp_path, files=files)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("last", ["", "a/..", "..%2Fx", "%2Fx", "a%2F..%2F..%2Fx", "..%5Cx", "?name=x", "C%3A%2Fx"])
def test_a_url_without_a_name_for_the_file_is_refused_when_the_file_is_made(last):
    with pytest.raises(fdm.PipelineError, match="name"):
        fdm.File(f"http://localhost/{last}")
    assert "x" == fdm.File(f"http://localhost/{last}", name="x").path


# Connections


@pytest.mark.parametrize("digest", [sha256(BODY), None])
def test_a_connection_that_breaks_is_resumed_where_it_broke(tmp_path, site, digest):
    url = site.put("/x", BODY, cut(1000), cut(300_000), cut(7))
    assert {"x": BODY} == download(tmp_path, fdm.File(url, sha256=digest))
    assert [None, "bytes=1000-", "bytes=301000-", "bytes=301007-"] == site.ranges("/x")


def test_many_breaks_are_no_failure_while_something_comes_each_time(tmp_path, site):
    url = site.put("/x", BODY[:100], *[cut(5)] * 19)
    assert {"x": BODY[:100]} == download(tmp_path, fdm.File(url))
    assert 20 == len(site.seen)


@pytest.mark.parametrize("breaks", [reset, cut(0), stall(300_000)], ids=["reset", "nothing", "stalled"])
def test_a_connection_that_is_reset_or_stalls_is_made_again(tmp_path, site, breaks):
    url = site.put("/x", BODY, breaks, breaks)
    assert {"x": BODY} == download(tmp_path, fdm.File(url, sha256=sha256(BODY)), silence=0.3)
    assert 3 == len(site.seen)


def test_a_server_that_ignores_ranges_is_read_from_the_start_again(tmp_path, site):
    url = site.put("/x", BODY, cut(300_000), without_ranges)
    assert {"x": BODY} == download(tmp_path, fdm.File(url))
    assert [None, "bytes=300000-"] == site.ranges("/x")


def test_a_server_that_ignores_ranges_and_breaks_every_time_is_given_up(tmp_path, site):
    ways = itertools.cycle([cut(2000, without_ranges), cut(1000, without_ranges)])
    url = site.put("/x", BODY, *itertools.islice(ways, 60), status(404))
    assert url in refused(tmp_path, fdm.File(url))
    assert 60 > len(site.seen)


def test_a_server_that_announces_no_length_is_believed(tmp_path, site):
    url = site.put(
        "/x", BODY, lambda visit, body: [visit.send_response(200), visit.end_headers(), visit.wfile.write(body)]
    )
    assert {"x": BODY} == download(tmp_path, fdm.File(url, sha256=sha256(BODY)))


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again_after_growing_pauses(tmp_path, site, pauses, code):
    url = site.put("/x", BODY, *[status(code)] * 3)
    assert {"x": BODY} == download(tmp_path, fdm.File(url))
    assert 4 == len(site.seen)
    assert 3 == len(pauses)
    assert 0 < pauses[0] < pauses[1] < pauses[2] < 10


@pytest.mark.parametrize("asked, pause", [("0", 0), ("7", 7)])
def test_a_server_may_say_when_to_ask_again(tmp_path, site, pauses, asked, pause):
    url = site.put("/x", BODY, status(503, Retry_After=asked), status(429, Retry_After=asked))
    assert {"x": BODY} == download(tmp_path, fdm.File(url))
    assert [pause, pause] == pauses


def test_a_server_may_not_say_to_wait_for_ever(tmp_path, site, pauses):
    ways = [status(503, Retry_After="Fri, 31 Dec 2199 23:59:59 GMT"), status(503, Retry_After="9" * 400)]
    assert {"x": BODY} == download(tmp_path, fdm.File(site.put("/x", BODY, *ways)))
    assert 2 == len([pause for pause in pauses if 0 < pause <= 60])


def test_a_server_that_stays_busy_is_given_up_with_its_url_and_status(tmp_path, site):
    url = site.always("/x", status(503))
    message = refused(tmp_path, fdm.File(url))
    assert url in message
    assert "503" in message
    assert 1 < len(site.seen) < 20


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_what_the_server_does_not_have_is_asked_for_once(tmp_path, site, pauses, code):
    url = site.always("/x", status(code))
    message = refused(tmp_path, fdm.File(url))
    assert url in message
    assert str(code) in message
    assert [None] == site.ranges("/x")
    assert [] == pauses


def test_one_file_that_cannot_be_had_is_an_error_however_many_can(tmp_path, site):
    files = [fdm.File(site.put(f"/{name}", BODY)) for name in "abc"]
    with pytest.raises(fdm.DownloadError, match="'missing'"):
        download(tmp_path, *files, fdm.File(site.url("/missing")))


# Mirrors and digests


def test_mirrors_are_tried_in_turn_until_one_has_it(tmp_path, site):
    urls = [site.always("/1", status(404)), site.always("/2", status(503)), site.put("/3", BODY), site.put("/4", BODY)]
    file = fdm.File(urls[0], sha256=sha256(BODY), mirrors=urls[1:])
    assert {"1": BODY} == download(tmp_path, file)
    assert ["/1", "/2", "/3"] == [path for path, _ in itertools.groupby(path for path, _ in site.seen)]


def test_the_error_lists_the_cause_of_every_url(tmp_path, site):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
        urls = {
            site.always("/x.csv", status(404)): "404",
            site.always("/b", status(503)): "503",
            site.put("/c", OTHER): "sha256",
            nobody: "refused",
            (tmp_path / "none").as_uri(): "No such file",
        }
        message = refused(tmp_path / "into", fdm.File(next(iter(urls)), sha256=sha256(BODY), mirrors=[*urls][1:]))
    assert "'x.csv'" in message
    for url, cause in urls.items():
        assert [True] == [cause in line for line in message.splitlines() if line.startswith(f"  {url}:")]


def test_another_sha256_is_refused_with_file_expected_and_got(tmp_path, site):
    message = refused(tmp_path, fdm.File(site.put("/x.csv", OTHER), sha256=sha256(BODY)))
    assert all(word in message for word in ("'x.csv'", sha256(BODY), sha256(OTHER), site.url("/x.csv")))


def test_where_the_sha256_is_another_the_mirror_is_tried_from_the_start(tmp_path, site):
    file = fdm.File(site.put("/x", OTHER), sha256=sha256(BODY), mirrors=(site.put("/m", BODY),))
    assert {"x": BODY} == download(tmp_path, file)
    assert ([None], [None]) == (site.ranges("/x"), site.ranges("/m"))


def test_a_mirror_goes_on_where_the_first_server_broke(tmp_path, site):
    url, mirror = site.put("/x", BODY, cut(300_000), *[status(503)] * 9), site.put("/m", BODY)
    assert {"x": BODY} == download(tmp_path, fdm.File(url, sha256=sha256(BODY), mirrors=mirror))
    assert ["bytes=300000-"] == site.ranges("/m")


def test_a_mirror_makes_up_for_a_server_that_sends_half_of_something_else(tmp_path, site):
    url, mirror = site.put("/x", OTHER, cut(300_000), *[status(503)] * 9), site.put("/m", BODY)
    assert {"x": BODY} == download(tmp_path, fdm.File(url, sha256=sha256(BODY), mirrors=mirror))


def test_two_servers_never_give_half_a_file_each_where_no_digest_tells_that_it_is_one(tmp_path, site):
    url, mirror = site.put("/x", OTHER, cut(300_000), *[status(503)] * 9), site.put("/m", BODY)
    assert {"x": BODY} == download(tmp_path, fdm.File(url, mirrors=mirror))


def test_a_file_that_changes_between_two_attempts_is_never_half_old_and_half_new(tmp_path, site):
    def replaced(visit, body):
        cut(300_000)(visit, body)
        site.bodies["/x"] = OTHER

    assert {"x": OTHER} == download(tmp_path, fdm.File(site.put("/x", BODY, replaced)))


# What an attempt leaves for the next


def failed(*ways):
    """Ways in which a download fails for good after them."""
    return [*ways, status(404)]


def test_the_next_call_goes_on_where_a_failed_one_stopped(tmp_path, site):
    file = fdm.File(site.put("/x", BODY, *failed(cut(1000))), sha256=sha256(BODY))
    refused(tmp_path, file)
    assert {"x": BODY} == download(tmp_path, file)
    assert [None, "bytes=1000-", "bytes=1000-"] == site.ranges("/x")


def test_the_next_call_starts_from_zero_where_no_sha256_is_known(tmp_path, site):
    file = fdm.File(site.put("/x", BODY, *failed(cut(1000))))
    refused(tmp_path, file)
    assert {"x": BODY} == download(tmp_path, file)
    assert [None, "bytes=1000-", None] == site.ranges("/x")


def test_what_was_left_of_another_file_is_made_good(tmp_path, site):
    file = fdm.File(site.put("/x", OTHER, *failed(cut(1000))), sha256=sha256(BODY))
    refused(tmp_path, file)
    site.put("/x", BODY)
    assert {"x": BODY} == download(tmp_path, file)


def test_what_was_left_of_a_longer_file_is_made_good(tmp_path, site):
    file = fdm.File(site.put("/x", OTHER, *failed(cut(1000))), sha256=sha256(BODY[:500]))
    refused(tmp_path, file)
    site.put("/x", BODY[:500])
    assert {"x": BODY[:500]} == download(tmp_path, file)


def test_what_was_left_whole_is_not_asked_for_again(tmp_path, site):
    file = fdm.File(site.put("/x", BODY, *failed(cut(1000))), sha256=sha256(BODY))
    refused(tmp_path, file)
    (left,) = (tmp_path / ".partial").iterdir()
    left.write_bytes(BODY)  # as a process leaves it that ends while it computes the digest
    before = len(site.seen)
    assert {"x": BODY} == download(tmp_path, file)
    assert "/x" not in [path for path, headers in site.seen[before:] if headers["Range"] is None]


def test_files_that_came_whole_are_not_asked_for_again_after_another_failed(tmp_path, site, monkeypatch):
    monkeypatch.setattr(_download, "_PARALLEL", 1)
    a, b = site.put("/a", BODY), site.put("/b", OTHER, status(404))
    p = fdm.pipeline(
        fdm.fetch(fdm.download, files=(fdm.File(a, sha256=sha256(BODY)), fdm.File(b, sha256=sha256(OTHER)))),
        fdm.clean(sizes),
    )
    with pytest.raises(fdm.DownloadError):
        fdm.open(p, store=tmp_path)
    fdm.open(p, store=tmp_path).close()
    assert ([None], [None, None]) == (site.ranges("/a"), site.ranges("/b"))


def test_a_call_can_be_made_again_after_one_of_its_files_failed(tmp_path, site):
    files = [fdm.File(site.put("/a", BODY), sha256(BODY)), fdm.File(site.put("/b", OTHER, status(404)), sha256(OTHER))]
    with pytest.raises(fdm.DownloadError, match="'b'"):
        fdm.download(tmp_path, files=files)
    assert {"a": BODY, "b": OTHER} == download(tmp_path, *files)


def sizes(folder):
    names = sorted(path.name for path in folder.iterdir())
    return fdm.Table({"name": fdm.Ragged.of(names), "size": torch.tensor([(folder / n).stat().st_size for n in names])})


def sizes_of(*files):
    """The pipeline that a process runs until it is killed, and this one afterwards."""
    return fdm.pipeline(
        fdm.fetch(fdm.download, files=[fdm.File(url, digest or None) for url, digest in files]), fdm.clean(sizes)
    )


SCRIPT = """
import sys, fdm, test_download
store, *files = sys.argv[1:]
fdm.open(test_download.sizes_of(*zip(files[::2], files[1::2])), store=store)
"""


@contextmanager
def process_in_the_middle(store, *files):
    """A process that downloads files from servers that stall, when something of each has come."""
    words = [word for file in files for word in file]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, store, *words], cwd=Path(__file__).parent, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 300
        while len([path for path in (store / ".kept").rglob("*") if path.is_file() and path.stat().st_size]) < len(
            files
        ):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_killed_process_leaves_nothing_readable_and_the_next_one_goes_on_where_a_sha256_is_known(tmp_path, site):
    known = site.put("/known", BODY, stall(400_000)), sha256(BODY)
    unknown = site.put("/unknown", OTHER, stall(400_000)), ""
    with process_in_the_middle(tmp_path, known, unknown) as process:
        process.kill()
        assert -signal.SIGKILL == process.wait()
    assert [] == [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")]
    with fdm.open(sizes_of(known, unknown), store=tmp_path) as data:
        assert [("known", 600_000), ("unknown", 600_000)] == [
            (example["name"], example["size"].item()) for example in map(data.dataset("all").__getitem__, range(2))
        ]
    assert [None, None] == site.ranges("/unknown")
    first, second = site.ranges("/known")
    assert first is None
    assert 0 < int(re.fullmatch(r"bytes=(\d+)-", second).group(1)) <= 400_000
    assert [] == [path for name in (".kept", ".staging") for path in (tmp_path / name).iterdir()]


def test_an_interrupted_download_ends_at_once(tmp_path, site):
    with process_in_the_middle(tmp_path, (site.always("/x", stall(400_000)), "")) as process:
        process.send_signal(signal.SIGINT)
        assert 0 != process.wait(10)


# Archives


def tar(*members, compression=""):
    """A tar of members: a name with contents (None for a folder), or with a type and a link's target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}", format=tarfile.PAX_FORMAT) as archive:
        for name, *what in members:
            member = tarfile.TarInfo(name)
            if len(what) == 2:
                member.type, member.linkname = what
                archive.addfile(member)
            elif what[0] is None:
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                member.size = len(what[0])
                archive.addfile(member, io.BytesIO(what[0]))
    return buffer.getvalue()


def zipped(*members):
    """A zip of members: a name with contents (None for a folder), and perhaps a kind of file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents, *kind in members:
            member = zipfile.ZipInfo(name if contents is not None else f"{name}/")
            member.external_attr = (
                ((kind or [stat.S_IFREG])[0] | 0o644) << 16 if contents is not None else 0o40755 << 16
            )
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, contents or b"")
    return buffer.getvalue()


def archive_in(folder, file, contents, **options):
    """A file to unpack, served from a folder."""
    folder.mkdir(exist_ok=True)
    (folder / file).write_bytes(contents)
    return fdm.File((folder / file).as_uri(), unpack=True, **options)


MEMBERS = ("train.csv", b"1,2"), ("sub", None), ("sub/deep/val.csv", BODY), ("./empty.csv", b""), ("sub/ü x", b"3")
UNPACKED = {"train.csv": b"1,2", "sub/deep/val.csv": BODY, "empty.csv": b"", "sub/ü x": b"3"}
ARCHIVES = {
    "a.tar": tar(*MEMBERS),
    "a.tar.gz": tar(*MEMBERS, compression="gz"),
    "a.tgz": tar(*MEMBERS, compression="gz"),
    "a.tar.bz2": tar(*MEMBERS, compression="bz2"),
    "a.tar.xz": tar(*MEMBERS, compression="xz"),
    "a.zip": zipped(*MEMBERS),
    "download": zipped(*MEMBERS),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_are_taken_apart_into_the_folder_and_not_kept(tmp_path, site, name):
    url = site.put(f"/{name}", ARCHIVES[name], cut(1000))
    assert UNPACKED == download(tmp_path, fdm.File(url, sha256=sha256(ARCHIVES[name]), unpack=True))
    assert ["empty.csv", "sub", "train.csv"] == sorted(path.name for path in tmp_path.iterdir())


def test_a_gz_becomes_the_file_without_the_suffix(tmp_path):
    file = archive_in(tmp_path / "served", "train.csv.gz", gzip.compress(BODY))
    assert {"train.csv": BODY} == download(tmp_path / "into", file)


def test_an_archive_is_taken_apart_where_its_name_puts_it(tmp_path):
    file = archive_in(tmp_path / "served", "a.zip", ARCHIVES["a.zip"], name="x/y/a.zip")
    assert {f"x/y/{name}": body for name, body in UNPACKED.items()} == download(tmp_path / "into", file)


def test_archives_may_share_folders(tmp_path):
    files = [archive_in(tmp_path / "served", f"{n}.tar", tar(("a", None), (f"a/{n}", b"x"))) for n in range(8)]
    assert {f"a/{n}": b"x" for n in range(8)} == download(tmp_path / "into", *files)


@pytest.mark.parametrize("contents", [bytes(5000), bytes(512) + b"x" * 5000, b"", b"x"])
def test_a_gz_may_hold_any_bytes(tmp_path, contents):
    file = archive_in(tmp_path / "served", "raw.bin.gz", gzip.compress(contents))
    assert {"raw.bin": contents} == download(tmp_path / "into", file)


def test_a_tar_may_end_with_a_zip(tmp_path):
    inner = zipped(("inside.txt", b"not this"))
    file = archive_in(tmp_path / "served", "a.tar", tar(("a.txt", b"a"), ("b.zip", inner)))
    assert {"a.txt": b"a", "b.zip": inner} == download(tmp_path / "into", file)


OUTSIDE = [
    "/{outer}/evil",
    "../evil",
    "a/../../evil",
    "..",
    "..\\evil",
    "a\\..\\..\\evil",
    "\\evil",
    "\\\\host\\share\\evil",
]
OUTSIDE += ["C:\\evil", "C:/evil", "C:evil", "c:", "//evil"]


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("contents", [b"evil", None], ids=["file", "folder"])
def test_a_member_that_would_leave_the_folder_is_refused_by_name(tmp_path, make, name, contents):
    outer = tmp_path / "outer"
    name = name.replace("/{outer}", outer.as_posix())
    file = archive_in(tmp_path / "served", "a", make(("good", b"good"), (name, contents), ("more", b"more")))
    with pytest.raises(fdm.DownloadError) as caught:
        download(outer / "into", file)
    assert repr(name)[1:-1] in str(caught.value)
    assert "leave" in str(caught.value)
    assert ["into"] == [path.name for path in outer.iterdir()]
    assert {"more", "evil"}.isdisjoint(path.name for path in (outer / "into").rglob("*"))


LINKS = {
    "symlink out": tar(("bad", tarfile.SYMTYPE, "/etc/passwd"), ("more", b"")),
    "symlink in": tar(("good", b""), ("bad", tarfile.SYMTYPE, "good"), ("more", b"")),
    "symlink up, then through it": tar(("bad", tarfile.SYMTYPE, ".."), ("bad/evil", b"evil"), ("more", b"")),
    "hardlink out": tar(("bad", tarfile.LNKTYPE, "../../served/a"), ("more", b"")),
    "hardlink in": tar(("good", b""), ("bad", tarfile.LNKTYPE, "good"), ("more", b"")),
    "fifo": tar(("bad", tarfile.FIFOTYPE, ""), ("more", b"")),
    "character device": tar(("bad", tarfile.CHRTYPE, ""), ("more", b"")),
    "block device": tar(("bad", tarfile.BLKTYPE, ""), ("more", b"")),
    "unknown type": tar(("bad", b"Z", ""), ("more", b"")),
    "compressed": tar(("bad", tarfile.SYMTYPE, ".."), ("bad/evil", b"evil"), ("more", b""), compression="gz"),
    "zip symlink": zipped(("bad", b"..", stat.S_IFLNK), ("bad/evil", b"evil"), ("more", b"")),
    "zip fifo": zipped(("bad", b"", stat.S_IFIFO), ("more", b"")),
    "zip device": zipped(("bad", b"", stat.S_IFCHR), ("more", b"")),
}


@pytest.mark.parametrize("contents", LINKS.values(), ids=LINKS)
def test_links_and_devices_are_refused_by_name(tmp_path, contents):
    outer = tmp_path / "outer"
    with pytest.raises(fdm.DownloadError, match=r"'bad' is a link or a device"):
        download(outer / "into", archive_in(tmp_path / "served", "a", contents))
    assert ["into"] == [path.name for path in outer.iterdir()]
    assert {"bad", "evil", "more"}.isdisjoint(path.name for path in (outer / "into").rglob("*"))


TAKEN = {
    "twice": [("good", b"1"), ("bad", b"first"), ("bad", b"second")],
    "written otherwise": [("bad", b"first"), ("./bad", b"second")],
    "a file for a folder": [("bad/x", b"first"), ("bad", b"second")],
    "a folder for a file": [("bad", b"first"), ("bad/x", b"second")],
    "a folder's entry for a file": [("bad", b"first"), ("bad", None)],
    "the archive": [("a.bin", b"second")],
}


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize("members", TAKEN.values(), ids=TAKEN)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_whose_place_is_taken_is_refused_by_name(tmp_path, make, members):
    with pytest.raises(fdm.DownloadError, match=re.escape(members[-1][0])):
        download(tmp_path / "into", archive_in(tmp_path / "served", "a.bin", make(*members)))
    assert b"second" not in found(tmp_path / "into").values()


@pytest.mark.parametrize("kind", ["archive", "file"])
def test_archives_and_files_do_not_overwrite_each_other_whichever_comes_first(tmp_path, kind):
    (tmp_path / "bad").write_bytes(b"file")
    archives = [archive_in(tmp_path / "served", f"{n}.tar", tar(("bad", b"%d" % n))) for n in range(2)]
    files = archives if kind == "archive" else [archives[0], fdm.File((tmp_path / "bad").as_uri())]
    for attempt in range(40):
        with pytest.raises(fdm.DownloadError, match="'bad'"):
            download(tmp_path / f"into{attempt}", *files)


BOMBS = {
    "x.gz": gzip.compress(b"x" * 3_000_000),
    "x.tar.gz": tar(*((f"{n}", b"x" * 300_000) for n in range(10)), compression="gz"),
    "x.tar.xz": tar(("x", b"x" * 3_000_000), compression="xz"),
    "x.zip": zipped(*((f"{n}", b"x" * 300_000) for n in range(10))),
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_archive_that_grows_beyond_all_measure_is_stopped(tmp_path, monkeypatch, name):
    file = archive_in(tmp_path / "served", name, BOMBS[name])
    assert 3_000_000 == sum(map(len, download(tmp_path / "small enough", file).values()))
    monkeypatch.setattr(_unpack, "_LEAST", 2_000_000)
    monkeypatch.setattr(_unpack, "_BLOCK", 10_000)
    with pytest.raises(fdm.DownloadError, match=r"grows") as caught:
        download(tmp_path / "into", file)
    assert repr(name) in str(caught.value)
    written = found(tmp_path / "into")
    assert 2_000_000 >= sum(map(len, written.values())) - len(written.get(name, b""))


def test_an_archive_that_is_large_itself_may_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(_unpack, "_LEAST", 1)
    assert {"x": BODY} == download(tmp_path / "into", archive_in(tmp_path / "served", "x.gz", gzip.compress(BODY)))


@pytest.mark.parametrize("contents", [b"", b"a,b\n1,2\n", BODY, b"PK\3\4", b"<html>not found</html>"])
def test_a_file_that_is_no_archive_is_refused_by_name(tmp_path, contents):
    with pytest.raises(fdm.DownloadError, match=r"'a.zip' is no tar, zip or gz"):
        download(tmp_path / "into", archive_in(tmp_path / "served", "a.zip", contents))


def flipped(contents, place):
    return contents[:place] + bytes([contents[place] ^ 0xFF]) + contents[place + 1 :]


def encrypted(contents):
    """A zip that says that it is encrypted, in the header of the member and in the list of members."""
    for header, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = contents.index(header) + place
        contents = contents[:at] + bytes([contents[at] | 1]) + contents[at + 1 :]
    return contents


DAMAGED = {
    "cut.gz": gzip.compress(BODY)[:-1000],
    "cut.tar": tar(("x", BODY))[:300_000],
    "cut.tar.gz": tar(("x", BODY), compression="gz")[:300_000],
    "cut.tar.xz": tar(("x", BODY), compression="xz")[:300_000],
    "flipped.gz": flipped(gzip.compress(BODY), 300_000),
    "flipped.tar.gz": flipped(tar(("x", BODY), compression="gz"), 300_000),
    "flipped.tar.xz": flipped(tar(("x", BODY), compression="xz"), 300_000),
    "flipped.zip": flipped(zipped(("x", BODY)), 300_000),
    "encrypted.zip": encrypted(zipped(("x", BODY))),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_archive_is_refused_by_name(tmp_path, name):
    with pytest.raises(fdm.DownloadError, match=repr(name)):
        download(tmp_path / "into", archive_in(tmp_path / "served", name, DAMAGED[name]))


# Pipelines


def read(folder, *, scale=1):
    return fdm.Table({"x": torch.tensor([int(n) for n in (folder / "train.csv").read_text().split(",")]) * scale})


def test_a_pipeline_downloads_once_and_opens_without_a_request_afterwards(tmp_path, site):
    archive = tar(("train.csv", b"1,2,3"), compression="gz")
    missing, url = site.always("/missing/a.tar.gz", status(404)), site.put("/a.tar.gz", archive, status(503), cut(50))
    file = fdm.File(missing, sha256=sha256(archive), unpack=True, mirrors=(url,))

    def p(scale=1):
        return fdm.pipeline(fdm.fetch(fdm.download, files=(file,)), fdm.clean(read, scale=scale), fdm.batch(2))

    for scale, requests in ((1, 4), (1, 4), (10, 4)):
        with fdm.open(p(scale), store=tmp_path) as data:
            assert [[1 * scale, 2 * scale], [3 * scale]] == [batch["x"].tolist() for batch in data.loader("all")]
        assert requests == len(site.seen)
    fdm.Executor(store=tmp_path / "other").prepare(p())
    assert 6 == len(site.seen)


def test_a_pipeline_whose_download_fails_says_where_and_goes_on_the_next_time(tmp_path, site):
    file = fdm.File(site.put("/train.csv", b"1,2,3", *failed(cut(2))), sha256=sha256(b"1,2,3"))
    p = fdm.pipeline(fdm.fetch(fdm.download, files=(file,)), fdm.clean(read))
    with pytest.raises(fdm.DownloadError, match="404") as caught:
        fdm.open(p, store=tmp_path)
    assert any("stage 0, fetch" in note for note in caught.value.__notes__)
    assert [] == [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")]
    with fdm.open(p, store=tmp_path) as data:
        assert {"all": 3} == dict(data.splits)
    assert [None, "bytes=2-", "bytes=2-"] == site.ranges("/train.csv")


def test_progress_is_shown_on_standard_error_where_asked_for(tmp_path, site, capsys):
    file = fdm.File(site.put("/train.csv", b"1,2,3"))
    p = fdm.pipeline(fdm.fetch(fdm.download, files=(file,)), fdm.clean(read))
    for place, shown in (("a", True), ("b", False), ("c", None)):
        fdm.open(p, store=tmp_path / place, progress=shown).close()
        assert (bool(shown), "") == ("download" in (told := capsys.readouterr()).err, told.out)
    download(tmp_path / "d", file)
    assert "" == capsys.readouterr().err  # no terminal


def test_a_gz_whose_own_bytes_pass_for_a_tar_is_still_a_gz(tmp_path):
    contents = b"x" * 3_000_000
    for written_at in range(20_000):  # the time stands in the header, and so decides what the bytes sum up to
        packed = gzip.compress(contents, mtime=written_at)
        try:
            with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as passed:
                assert passed.next() is not None
            break
        except (tarfile.TarError, AssertionError):
            continue
    file = archive_in(tmp_path / "served", "x.gz", packed)
    assert {"x": contents} == download(tmp_path / "into", file)
