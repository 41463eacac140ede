"""Servers that lie, without a sha256 that would tell: what comes is the file that the server has, or nothing."""

import hashlib
import itertools
import logging
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import test_download
from test_download import BODY, OTHER, cut, download, found, serving, sha256, status, whole

import fdm
from fdm._downloads import http as _http


pauses, site = test_download.pauses, test_download.site
SIZE = len(BODY)
TAG = '"1"'


def answer(code=200, start=0, end=SIZE, *, body=BODY, total=SIZE, limit=None, **headers):
    """An answer with a part of the body, if a part was asked for; headers of None are left out."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"Content-Length": end - start, "ETag": TAG}
    if code == 206:
        sent["Content-Range"] = f"bytes {start}-{end - 1}/{total}"

    def way(visit, now):
        if code == 206 and visit.headers["Range"] is None and start:
            whole(visit, now)
            return
        visit.send_response(code)
        for name, value in {**sent, **given}.items():
            if value is not None:
                visit.send_header(name, str(value))
        visit.end_headers()
        visit.wfile.write(body[start:end][:limit])

    return way


def chunked(body, *, is_ended, size=100_000):
    """All of a body in chunks, or the first of them."""

    def way(visit, _):
        visit.protocol_version = "HTTP/1.1"
        visit.send_response(200)
        visit.send_header("Transfer-Encoding", "chunked")
        visit.send_header("ETag", TAG)
        visit.end_headers()
        for start in range(0, len(body) if is_ended else size, size):
            block = body[start : start + size]
            visit.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        visit.wfile.write(b"0\r\n\r\n" if is_ended else b"")
        visit.close_connection = True

    return way


def begun(**headers):
    """The first answer: 1000 bytes of OTHER, which is an older version of the file, then a break."""
    return answer(body=OTHER, limit=1000, **headers)


NOW = "Wed, 01 Jan 2020 00:00:00 GMT"
# The server has had OTHER, and has BODY by now; which of both is asked for the rest does not matter.
REST = {"start": 1000, "body": BODY}
CHANGED = {
    "no tag, If-Range ignored": [begun(ETag=None), answer(206, **REST, ETag=None)],
    "a date alone": [begun(ETag=None, Last_Modified=NOW), answer(206, **REST, ETag=None, Last_Modified=NOW)],
    "a weak tag": [begun(ETag='W/"1"'), answer(206, **REST, ETag='W/"1"')],
    "a bare tag": [begun(ETag="1"), answer(206, **REST, ETag="1")],
    "another tag": [begun(ETag='"0"'), answer(206, **REST)],
    "a weak tag of the same name": [begun(), answer(206, **REST, ETag=f"W/{TAG}")],
    "no tag with the rest": [begun(), answer(206, **REST, ETag=None)],
    "another total": [begun(), answer(206, **REST, total=SIZE + 1)],
    "a smaller total": [begun(), answer(206, start=1000, end=SIZE - 1, total=SIZE - 1)],
    "a total beyond the end": [begun(), answer(206, **REST, total=1000)],
    "another beginning": [begun(), answer(206, start=500)],
    "the beginning": [begun(), answer(206)],
    "a range of its own": [begun(), answer(206, start=100, end=200)],
    "an empty range": [begun(), answer(206, **REST, Content_Range=f"bytes 1000-999/{SIZE}")],
    "an unsatisfied range": [begun(), answer(206, **REST, Content_Range=f"bytes */{SIZE}")],
    "no range": [begun(), answer(206, **REST, Content_Range=None)],
    "two ranges": [begun(), answer(206, **REST, Content_Range=f"bytes 1000-{SIZE - 1}/{SIZE}, bytes 0-9/{SIZE}")],
    "items": [begun(), answer(206, **REST, Content_Range=f"items 1000-{SIZE - 1}/{SIZE}")],
    "negative": [begun(), answer(206, **REST, Content_Range=f"bytes -1000-{SIZE - 1}/{SIZE}")],
    "in several parts": [begun(), answer(206, **REST, Content_Type="multipart/byteranges; boundary=x")],
    "in parts without a range": [
        begun(),
        answer(206, **REST, Content_Range=None, Content_Type="multipart/byteranges; boundary=x"),
    ],
    "no total, and none known": [
        chunked(OTHER, is_ended=False, size=1000),
        answer(206, **REST, Content_Range=f"bytes 1000-{SIZE - 1}/*"),
    ],
    "nothing more": [begun(), answer(416, Content_Length=0, end=0, Content_Range="bytes */1000")],
    "less": [begun(), answer(416, Content_Length=0, end=0, Content_Range="bytes */500")],
    "not satisfiable": [begun(), answer(416, Content_Length=0, end=0)],
    "the whole": [begun(), answer(ETag='"2"')],
    "the whole without a tag": [begun(), answer(ETag=None), answer()],
}


@pytest.mark.parametrize("ways", CHANGED.values(), ids=CHANGED)
def test_a_file_is_never_half_of_another_version(tmp_path, site, ways):
    """What follows is what the server has by now: whole, since no continuation was provably one."""
    assert {"x": BODY} == download(tmp_path, fdm.File(site.put("/x", BODY, *ways)))
    assert all(asked in (None, "bytes=1000-") for asked in site.ranges("/x"))


@pytest.mark.parametrize("way", ["a range of its own", "nothing more", "two ranges", "another total"])
def test_a_server_whose_ranges_are_always_wrong_is_given_up(tmp_path, site, way):
    def wrong(visit, body):
        CHANGED[way][visit.headers["Range"] is not None](visit, body)

    with pytest.raises(fdm.DownloadError, match="/x"):
        download(tmp_path, fdm.File(site.always("/x", wrong)))
    assert 12 > len(site.seen)
    assert 1 == len([asked for asked in site.ranges("/x") if asked])


SAME = {
    "the same tag": [answer(limit=1000), answer(206, start=1000)],
    "no total, but a known one": [answer(limit=1000), answer(206, 1000, Content_Range=f"bytes 1000-{SIZE - 1}/*")],
    "less than asked for": [
        answer(limit=1000),
        answer(206, 1000, 5000),
        answer(206, 5000, 9000, Content_Range=f"bytes 5000-8999/{SIZE}"),
        answer(206, 9000),
    ],
    "a break in the rest": [answer(limit=1000), answer(206, 1000, limit=1000), answer(206, 2000)],
    "a rest without a length": [answer(limit=1000), answer(206, 1000, Content_Length=None)],
    "a rest without a length, cut": [
        answer(limit=1000),
        answer(206, 1000, Content_Length=None, limit=50),
        answer(206, 1050),
    ],
    "no length before": [chunked(BODY, is_ended=False, size=1000), answer(206, 1000)],
}


@pytest.mark.parametrize("ways", SAME.values(), ids=SAME)
def test_what_provably_is_the_same_file_is_gone_on_with(tmp_path, site, ways):
    assert {"x": BODY} == download(tmp_path, fdm.File(site.put("/x", OTHER, *ways)))
    assert len(ways) == len(site.seen)


CODES = [201, 202, 203, 204, 205, 206, 207, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308, 400, 404, 416, 451, 999]


@pytest.mark.parametrize("code", CODES)
def test_success_is_200_alone_where_the_whole_is_asked_for(tmp_path, site, pauses, code):
    """Redirects come without a Location here."""
    body = b"" if code in (204, 304) else b"something else"
    way = answer(code, body=body, end=len(body), total=len(body))
    with pytest.raises(fdm.DownloadError, match=str(code)):
        download(tmp_path, fdm.File(site.always("/x", way)))
    assert {} == found(tmp_path)
    assert 1 == len(site.seen)
    assert [] == pauses


@pytest.mark.parametrize("code", [200, 201, 204, 302, 304, 999, 404])
def test_no_answer_to_a_range_but_its_rest_or_the_whole_counts(tmp_path, site, code):
    way = answer(code, body=b"", end=0)
    url = site.put("/x", BODY, answer(limit=1000), *[way] * 9)
    if code == 200:  # the file is empty by now
        assert {"x": b""} == download(tmp_path, fdm.File(url))
        return
    with pytest.raises(fdm.DownloadError, match=str(code)):
        download(tmp_path, fdm.File(url))
    assert [] == [name for name in found(tmp_path) if not name.startswith(".partial/")]


def raw(text):
    """Bytes in place of an answer."""

    def way(visit, _):
        visit.wfile.write(text)
        visit.close_connection = True

    return way


HEAD = b"HTTP/1.1 200 OK\r\n"
MALFORMED = {
    "no http": b"220 smtp.example.org\r\n\r\n",
    "nothing": b"",
    "a cut status": b"HTTP/1.1 2",
    "a status of letters": b"HTTP/1.1 abc OK\r\n\r\nx",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a length of letters": HEAD + b"Content-Length: five\r\n\r\nhello",
    "a negative length": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "a length with a sign": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "a length with a line": HEAD + b"Content-Length: 1_0\r\n\r\nhellohello",
    "a fraction": HEAD + b"Content-Length: 5.0\r\n\r\nhello",
    "an endless length": HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nhello",
    "a chunk of letters": HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n",
    "a negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "a cut chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "chunks without an end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "a long header": HEAD + b"X: " + b"x" * 100_000 + b"\r\n\r\nhello",
    "many headers": HEAD + b"X: x\r\n" * 1000 + b"\r\nhello",
    "compressed": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    "compressed otherwise": HEAD + b"Content-Encoding: br, zstd\r\nContent-Length: 5\r\n\r\nhello",
    "compressed on its way": HEAD + b"Transfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nhello",
    "nowhere": b"HTTP/1.1 302 Found\r\nLocation: \r\nContent-Length: 0\r\n\r\n",
    "no host": b"HTTP/1.1 302 Found\r\nLocation: http://\r\nContent-Length: 0\r\n\r\n",
    "a strange host": b"HTTP/1.1 302 Found\r\nLocation: http://.a..b/\r\nContent-Length: 0\r\n\r\n",
    "a strange port": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999/\r\nContent-Length: 0\r\n\r\n",
    "a broken address": b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\nContent-Length: 0\r\n\r\n",
    "no text": b"HTTP/1.1 302 Found\r\nLocation: /\xff\xfe\r\nContent-Length: 0\r\n\r\n",
    "data": b"HTTP/1.1 302 Found\r\nLocation: data:text/plain,hello\r\nContent-Length: 0\r\n\r\n",
    "ftp": b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/x\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_is_a_download_error_with_the_url(tmp_path, site, text):
    url = site.always("/x", raw(text))
    with pytest.raises(fdm.DownloadError) as caught:
        download(tmp_path, fdm.File(url))
    assert f"  {url}: " in str(caught.value)
    assert [] == [name for name in found(tmp_path) if not name.startswith(".partial/")]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_gz_that_is_sent_as_a_compressed_file_comes_as_its_own_bytes(tmp_path, site, encoding):
    assert {"a.gz": BODY} == download(tmp_path, fdm.File(site.put("/a.gz", BODY, answer(Content_Encoding=encoding))))
    known = fdm.File(site.put("/a.bin", BODY, answer(Content_Encoding=encoding)), sha256=sha256(BODY))
    assert {"a.bin": BODY} == download(tmp_path / "known", known)


@pytest.mark.parametrize("url", ["file:///a%00b", "http://.a..b/x", "http://127.0.0.1:99999/x"])
def test_a_url_that_cannot_be_asked_is_a_download_error(tmp_path, url):
    with pytest.raises(fdm.DownloadError) as caught:
        download(tmp_path, fdm.File(url, name="x"))
    assert url in str(caught.value)


def test_chunks_that_end_are_a_whole_file_and_others_begin_anew(tmp_path, site):
    url = site.put("/x", BODY, chunked(OTHER, is_ended=False), chunked(BODY, is_ended=True))
    assert {"x": BODY} == download(tmp_path, fdm.File(url))


def test_with_a_sha256_a_rest_of_another_version_is_made_good_by_the_same_server(tmp_path, site):
    ways = begun(ETag=None), answer(206, **REST, ETag=None)
    assert {"x": BODY} == download(tmp_path, fdm.File(site.put("/x", BODY, *ways), sha256=sha256(BODY)))
    assert [None, "bytes=1000-", None] == site.ranges("/x")


def test_with_a_sha256_no_tag_is_needed_to_go_on(tmp_path, site):
    ways = answer(limit=1000, ETag=None), answer(206, 1000, ETag=None)
    assert {"x": BODY} == download(tmp_path, fdm.File(site.put("/x", OTHER, *ways), sha256=sha256(BODY)))


# Redirects


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@contextmanager
def serving_https(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with serving() as site:
        site.socket = context.wrap_socket(site.socket, server_side=True)
        site.url = lambda path: f"https://127.0.0.1:{site.server_port}{path}"
        yield site


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_nothing_is_redirected_from_https_to_http(tmp_path, site, monkeypatch, certificate, code):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    plain = site.put("/plain", BODY)
    with serving_https(certificate) as safe:
        urls = [
            safe.put("/a", b"", status(code, Location=plain)),
            safe.put("/b", b"", status(code, Location=safe.put("/c", b"", status(code, Location=plain)))),
            site.put("/d", b"", status(code, Location=safe.put("/e", b"", status(code, Location=plain)))),
        ]
        for number, url in enumerate(urls):
            with pytest.raises(fdm.DownloadError, match="from https to http://127"):
                download(tmp_path / str(number), fdm.File(url))
        assert [] == site.ranges("/plain")
        up = site.put("/up", b"", status(code, Location=safe.put("/safe", b"", status(code, Location="/there"))))
        safe.put("/there", BODY)
        assert {"up": BODY} == download(tmp_path / "up", fdm.File(up))
        host = safe.url("/there").removeprefix("https:")
        same = fdm.File(safe.put("/same", b"", status(code, Location=host)), mirrors=plain)
        assert {"same": BODY} == download(tmp_path / "same", same)
        mirrored = fdm.File(safe.put("/f", b"", status(code, Location=plain)), mirrors=plain)
        assert {"f": BODY} == download(tmp_path / "mirrored", mirrored)  # as its author says


def test_what_a_redirect_sends_is_not_read(tmp_path, site):
    def endless(visit, _):
        visit.send_response(302)
        visit.send_header("Location", "/there")
        visit.end_headers()
        for _ in itertools.repeat(None):
            visit.wfile.write(bytes(1 << 20))

    site.put("/there", BODY)
    assert {"x": BODY} == download(tmp_path, fdm.File(site.put("/x", b"", endless)))


# Limits


def drip(visit, body):
    """A byte now and then, never silent for long."""
    visit.send_response(200)
    visit.send_header("Content-Length", str(len(body)))
    visit.end_headers()
    for at in range(len(body)):
        visit.wfile.write(body[at : at + 1])
        if visit.server.closing.wait(0.05):
            return


def drip_headers(visit, _):
    for at in itertools.count():
        visit.wfile.write(b"HTTP/1.1 200 OK\r\nX: "[at : at + 1] or b"x")
        if visit.server.closing.wait(0.05):
            return


@pytest.mark.parametrize("way", [drip, drip_headers, status(503, Retry_After="1")], ids=["body", "headers", "busy"])
def test_a_download_ends_when_its_time_is_over(tmp_path, site, way, monkeypatch):
    monkeypatch.setattr(_http, "time", time)
    files = [fdm.File(site.put("/there", OTHER)), fdm.File(site.always("/x", way))]
    with pytest.raises(fdm.DownloadError, match=r"1 of 2 files .* 0\.5 seconds.*total="):
        download(tmp_path, *files, total=0.5)
    assert not (tmp_path / "x").exists()


def test_what_is_silent_is_given_up_and_a_mirror_tried(tmp_path, site):
    silent = site.always("/x", test_download.stall(1000))
    file = fdm.File(silent, mirrors=site.put("/m", OTHER))
    assert {"x": OTHER} == download(tmp_path, file, silence=0.1, total=60)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "5", 10**10])
@pytest.mark.parametrize("limit", ["silence", "total"])
def test_limits_that_are_no_seconds_are_refused(tmp_path, site, limit, seconds):
    with pytest.raises(fdm.PipelineError, match=limit):
        download(tmp_path, fdm.File(site.put("/x", BODY)), **{limit: seconds})
    assert [] == site.seen


def test_limits_are_no_part_of_the_fingerprint(tmp_path, site):
    file = fdm.File(site.put("/x", BODY))

    def p(**limits):
        return fdm.pipeline(fdm.fetch(fdm.download, files=[file], **limits), fdm.clean(test_download.sizes))

    assert fdm.fingerprint(p()) == fdm.fingerprint(p(silence=5, total=100.0))
    for limits in ({}, {"silence": 5}, {"total": 100.0}):
        fdm.Executor(store=tmp_path).prepare(p(**limits))
    assert 1 == len(site.seen)


# Digests to pin


def test_the_sha256_of_a_file_that_has_none_is_told_once_ready_to_paste(tmp_path, site, caplog):
    caplog.set_level(logging.INFO, "fdm")
    known = fdm.File(site.put("/known", OTHER), sha256=sha256(OTHER))
    files = [known, fdm.File(site.put("/x", BODY, cut(1000))), fdm.File((tmp_path / "y").as_uri())]
    (tmp_path / "y").write_bytes(OTHER)
    p = fdm.pipeline(fdm.fetch(fdm.download, files=files), fdm.clean(test_download.sizes))
    for _ in range(2):
        fdm.Executor(store=tmp_path / "store").prepare(p)
    said = [record.getMessage() for record in caplog.records if "sha256" in record.getMessage()]
    assert [True, True] == [
        f"{name!r}" in line and f'sha256="{digest}"' in line
        for line, name, digest in zip(said, "xy", (sha256(BODY), sha256(OTHER)), strict=True)
    ]


def test_the_sha256_is_told_where_nobody_set_up_a_log(tmp_path):
    (tmp_path / "x").write_bytes(BODY)
    script = "import sys, fdm; fdm.download(fdm_into, files=[fdm.File(sys.argv[1])])".replace(
        "fdm_into", "__import__('pathlib').Path(sys.argv[2])"
    )
    command = [sys.executable, "-c", script, (tmp_path / "x").as_uri(), str(tmp_path / "into")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert f'sha256="{hashlib.sha256(BODY).hexdigest()}"' in told


def test_the_sha256_is_shown_beside_a_bar(tmp_path, site, capsys):
    p = fdm.pipeline(fdm.fetch(fdm.download, files=[fdm.File(site.put("/x", BODY))]), fdm.clean(test_download.sizes))
    fdm.Executor(store=tmp_path, progress=True).prepare(p)
    assert 1 == capsys.readouterr().err.count(f'sha256="{sha256(BODY)}"')
