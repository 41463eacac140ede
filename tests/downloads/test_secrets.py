"""Secrets: what is in URLs, headers and netrc files is sent where it belongs, and stands nowhere else."""

import contextlib
import copy
import io
import json
import pickle
import re
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.loggers import CSVLogger
from lit import Notes, table, trainer

import fdm
import fdm.lightning
import fdm.testing
from fdm._cli.main import main
from fdm._cli.show import _short as fact_shown
from fdm._downloads import http as _http
from fdm._downloads.credentials import counted_url
from fdm._fingerprint.canonical import canonical
from fdm._splits.values import single_values
from fdm._text import bare_url, printable, short, shortened, without_secrets
from fdm.store._facts import Facts, plain_fact
from fdm.store._lock import turn


USER, PASSWORD = "Us3rSecret", "P4ss-Secret"
TOKEN, SIGNATURE, BARE = "T0ken.Secret", "S1g+Secret%2F", "Qu3rySecret"
HEADER = "Bearer H3aderSecret"
SECRETS = (USER, PASSWORD, TOKEN, "S1g", "H3aderSecret", BARE)


class Site(ThreadingHTTPServer):
    """Files on 127.0.0.1 by path; what was asked for is recorded. Where there is none, a rude answer says all it got."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Visit)
        self.bodies, self.redirects, self.seen = {}, {}, []

    def url(self, path, login="", host="127.0.0.1"):
        return f"http://{login}{host}:{self.server_port}{path}"


class Visit(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        path = self.path.partition("?")[0]
        if path in self.server.redirects:
            self.send_response(302)
            self.send_header("Location", self.server.redirects[path])
        elif path in self.server.bodies:
            self.send_response(200)
        else:
            said = " ".join([self.path, *(f"{name}={value}" for name, value in self.headers.items())])
            self.send_response(403, f"no \x1b[2J\x9b1m {said}")
        body = self.server.bodies.get(path, b"")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):  # noqa: A002 - the name that http.server calls it by
        pass


@contextlib.contextmanager
def serving():
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield site
        finally:
            site.shutdown()
            thread.join()


@pytest.fixture
def site(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("NETRC", str(tmp_path / "no netrc"))
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda _: None))
    with serving() as site:
        yield site


@pytest.fixture
def other(site):
    with serving() as other:
        yield other


def asking(site, path="/data/train.csv"):
    """A URL with secrets of all kinds."""
    return site.url(
        f"{path}?token={TOKEN}&X-Amz-Signature={SIGNATURE}&{BARE}#access_token={TOKEN}", f"{USER}:{PASSWORD}@"
    )


def own_fetch(into, *, url):
    """A fetch function of a user's that fails as requests does."""
    import requests

    requests.get(url, timeout=5).raise_for_status()


@attrs.frozen
class Fetcher:
    url: str

    def __call__(self, into):
        own_fetch(into, url=self.url)


def read(files):
    return fdm.Table({"x": torch.arange(4)})


def numbers_of(url):
    file = fdm.File(url, headers={"X-Key": "THE_KEY"})
    return fdm.pipeline(
        fdm.fetch(fdm.download, files=[file]), fdm.clean(numbered), fdm.alias(train="all"), fdm.shuffle(), fdm.batch(2)
    )


def numbered(files):
    return table(8)


def listing():
    return [0]


def pipelines(site):
    url = asking(site)
    file = fdm.File(
        url, mirrors=(asking(site, "/mirror"), "http://127.0.0.1:1/gone?" + BARE), headers={"X-Key": "THE_KEY"}
    )
    return {
        "download": fdm.pipeline(fdm.fetch(fdm.download, files=[file]), fdm.clean(read), fdm.shuffle(), fdm.batch(2)),
        "own": fdm.pipeline(fdm.fetch(own_fetch, url=url), fdm.clean(read), fdm.shuffle(), fdm.batch(2)),
        "record": fdm.pipeline(fdm.fetch(Fetcher(url)), fdm.clean(read), fdm.shuffle(), fdm.batch(2)),
    }


def failure_of(p, store):
    with pytest.raises((fdm.DownloadError, OSError)) as caught:
        fdm.Executor(store=store, progress=False).prepare(p)
    return caught.value


def told(error):
    """All that is said of an error and of those chained into it."""
    lines = []
    while error is not None:
        lines += [str(error), repr(error), *getattr(error, "__notes__", []), repr(error.args)]
        error = error.__cause__ or error.__context__
    return "\n".join(lines)


def on_disk(folder):
    return "\n".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())


def command_line(monkeypatch, p, *argv):
    """What a command says of a pipeline: on both streams."""
    import fdm._cli.main as module

    monkeypatch.setattr(module, "pipeline_at", lambda _: p)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        main(list(argv))
    return out.getvalue() + err.getvalue()


def checkpoint(p, tmp_path, datamodule=None):
    import lightning.pytorch as pl

    dm = datamodule or fdm.lightning.datamodule(p)
    logger = CSVLogger(tmp_path / "logs")
    logger.log_hyperparams(dict(dm.hparams))
    logger.save()
    torch.save({"hyper_parameters": dict(dm.hparams), "state": dm.state_dict()}, tmp_path / "raw.ckpt")
    assert issubclass(type(dm), pl.LightningDataModule)
    return str(dict(dm.hparams)) + on_disk(tmp_path / "logs") + (tmp_path / "raw.ckpt").read_bytes().decode("latin-1")


def refusal(make, *args):
    with pytest.raises(fdm.PipelineError) as caught:
        make(*args)
    return told(caught.value)


PLACES = {
    "str": lambda p, **_: str(p),
    "repr": lambda p, **_: repr(p) + "".join(map(repr, p.stages)),
    "html": lambda p, **_: p._repr_html_(),
    "svg": lambda p, **_: fdm.draw_svg(p),
    "mermaid": lambda p, **_: fdm.draw(p),
    "describe": lambda p, **_: str(fdm.describe(p)),
    "the error's chain": lambda p, tmp_path, **_: told(failure_of(p, tmp_path)) if "File" in repr(p) else "",
    "the error's notes": lambda p, tmp_path, **_: "".join(failure_of(p, tmp_path).__notes__),
    "the store": lambda p, tmp_path, **_: (failure_of(p, tmp_path), on_disk(tmp_path))[1],
    "fdm show": lambda p, tmp_path, monkeypatch: command_line(monkeypatch, p, "show", "x:p", "--store", str(tmp_path)),
    "fdm show --json": lambda p, tmp_path, monkeypatch: command_line(
        monkeypatch, p, "show", "x:p", "--json", "--store", str(tmp_path)
    ),
    "fdm prepare": lambda p, tmp_path, monkeypatch: command_line(
        monkeypatch, p, "prepare", "x:p", "--store", str(tmp_path)
    ),
    "fdm prepare --debug": lambda p, tmp_path, monkeypatch: command_line(
        monkeypatch, p, "prepare", "x:p", "--debug", "--store", str(tmp_path)
    ),
    "fdm check": lambda p, tmp_path, monkeypatch: command_line(
        monkeypatch, p, "check", "x:p", "--store", str(tmp_path)
    ),
    "fdm --set": lambda p, tmp_path, monkeypatch: command_line(monkeypatch, p, "show", "x:p", "--set", "fetch.x=1"),
    "replace": lambda p, **_: refusal(fdm.replace, p, fdm.fold(3, 1)),
    "the grammar": lambda p, **_: refusal(fdm.pipeline, p, p),
    "hyperparameters": lambda p, tmp_path, **_: checkpoint(p, tmp_path),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["download", "own", "record"])
@pytest.mark.parametrize("place", PLACES)
def test_no_secret_of_a_url_is_shown_or_kept(place, kind, site, tmp_path, monkeypatch):
    monkeypatch.setenv("THE_KEY", HEADER)
    text = PLACES[place](pipelines(site)[kind], tmp_path=tmp_path, monkeypatch=monkeypatch)
    assert [] == [secret for secret in SECRETS if secret in text]
    assert [] == re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "" if place == "hyperparameters" else text)


def test_who_waits_for_a_download_that_fails_reads_no_secrets(site, tmp_path, monkeypatch):
    monkeypatch.setenv("THE_KEY", HEADER)
    error = failure_of(pipelines(site)["own"], tmp_path / "store")
    assert PASSWORD in str(error), "requests says it all"
    failing = turn(tmp_path, "x", lambda: False, patience=1, tell=print, came=0.0)
    with pytest.raises(type(error)), failing:
        raise error
    kept = (tmp_path / "x.failed.json").read_text()
    assert "HTTPError" in kept
    assert "***" in kept
    assert [] == [secret for secret in SECRETS if secret in kept + on_disk(tmp_path)]


def test_a_factorys_arguments_are_hyperparameters_without_secrets(site, tmp_path):
    def made(url, files=(), size=2):
        return fdm.pipeline(fdm.load(listing), fdm.batch(size))

    url = asking(site)
    for arguments in ({"url": url}, {"url": "x", "files": [fdm.File(url)]}, {"url": "x", "files": {"a": (url,)}}):
        dm = fdm.lightning.datamodule_class(made)(**arguments)
        text = checkpoint(None, tmp_path, dm)
        assert [] == [secret for secret in SECRETS if secret in text]
        assert "/data/train.csv" in text
        copied = copy.deepcopy(dm)
        assert str(copied.hparams) == str(dm.hparams)


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_succeeds_keeps_no_secrets_and_a_checkpoint_asks_for_the_url_again(
    site, tmp_path, monkeypatch, capfd
):
    site.bodies["/data/train.csv"] = b"x"
    url = asking(site)
    monkeypatch.setenv("THE_KEY", HEADER)
    digits = fdm.lightning.datamodule_class(numbers_of)
    dm = digits(url=url, store=tmp_path / "store", progress=True)
    fitting = trainer(max_epochs=1, logger=CSVLogger(tmp_path / "logs"), default_root_dir=tmp_path)
    fitting.fit(Notes(), dm)
    fitting.save_checkpoint(tmp_path / "last.ckpt")
    snapshot = dm.data.loader("all").snapshot(1)
    loop = f"{snapshot.to_dict()} {snapshot} {dm} {dm!r} {dm.data!r} {dm.data._repr_html_()} {dm.state_dict()}"
    said = "".join(capfd.readouterr())
    dm.teardown()
    kept = on_disk(tmp_path)
    assert "train.csv" in kept
    assert "datamodule_hyper_parameters" in kept
    assert "download" in said
    assert [] == [secret for secret in SECRETS if secret in loop + kept + said]
    path = tmp_path / "last.ckpt"
    with pytest.raises(fdm.PipelineError, match=r"load_from_checkpoint\(path, url="):
        digits.load_from_checkpoint(path)
    assert dm.pipeline == digits.load_from_checkpoint(path, url=url).pipeline


def test_a_url_as_it_is_shown_is_refused_as_a_url(tmp_path):
    for url in ("http://127.0.0.1/x?file=***", "http://127.0.0.1/x?***", "http://127.0.0.1/x?a=b&c=***"):
        with pytest.raises(fdm.PipelineError, match="stars"):
            fdm.File(url)
        with pytest.raises(fdm.PipelineError, match="stars"):
            fdm.File("http://127.0.0.1/x", mirrors=url)


# What is shown


@pytest.mark.parametrize(
    "url, shown",
    [
        ("https://h/a/b.csv", "https://h/a/b.csv"),
        ("https://h:8443/a", "https://h:8443/a"),
        ("https://[::1]:8443/a", "https://[::1]:8443/a"),
        ("https://u:p@h:8443/a", "https://h:8443/a"),
        ("https://u@h/a", "https://h/a"),
        ("https://u:p@[::1]:1/a", "https://[::1]:1/a"),
        ("https://u:p@q@h/a", "https://h/a"),
        ("https://u:p/q@h/a", "https://h/a"),
        ("https://u:p?q@h/a", "https://u:***?***"),
        ("https://u:p#q@h/a", "https://h/a"),
        ("https://u:p'q\"r s@h/a", "https://h/a"),
        ("https://u:p%40q@h/a?b=c", "https://h/a?b=***"),
        ("https://unpkg.com/react@18/x.js", "https://unpkg.com/react@18/x.js"),
        ("https://h/a?b=c&d=e;f=g", "https://h/a?b=***&d=***;f=***"),
        ("https://h/a?b", "https://h/a?***"),
        ("https://h/a?b=", "https://h/a?b="),
        ("https://h/a?b=c=d", "https://h/a?b=***"),
        ("https://h/a?b=https://i/j?k=l", "https://h/a?b=***"),
        ("https://h/a#b", "https://h/a#b"),
        ("https://h/a#b=c", "https://h/a#b=***"),
        ("https://p/https://u:p@h/a", "https://p/https://h/a"),
        ("postgresql+psycopg://u:p@h/db", "postgresql+psycopg://h/db"),
        ("file:///a/b@c/d", "file:///a/b@c/d"),
        ("/data/me@home/x", "/data/me@home/x"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, shown):
    assert shown == bare_url(url)
    assert shown == bare_url(shown)
    if " " not in url and '"' not in url:
        assert f"see {shown}, or ({shown})" == without_secrets(f"see {url}, or ({url})")
        assert f"['{shown}', '{shown}']" == without_secrets(repr([url, url]))
        assert json.dumps([shown, shown]) == without_secrets(json.dumps([url, url]))


@pytest.mark.parametrize("text", ["a/b?c", "1 / 2 ?", "what? https://h/x: 404", "a@b.c", "x://", "C:\\a@b", "?a=b"])
def test_other_texts_stay_as_they_are(text):
    assert text == without_secrets(text)


WORDS = st.text(st.characters(categories=["L", "N"]), min_size=6)


@given(WORDS, WORDS)
def test_neither_password_nor_query_of_any_letters_is_shown(password, value):
    url = f"https://u:{password}Z@host/a/b?name={value}Z"
    for text in (bare_url(url), without_secrets(url), repr(fdm.File(url)), printable(f"no {url} there")):
        assert f"{password}Z" not in text
        assert f"{value}Z" not in text


def test_a_message_that_is_cut_off_shows_no_beginning_of_a_secret():
    for length in range(30, 62):
        url = "https://h/".ljust(length, "x") + f"/https://{USER}{USER}:{PASSWORD}@h/{'y' * 40}"
        for refuse in CUTTING:
            with pytest.raises(fdm.FdmError) as caught:
                refuse(url)
            assert "Us3r" not in str(caught.value)
            assert "P4s" not in str(caught.value)


CUTTING = [
    fdm.fetch,
    fdm.load,
    fdm.pipeline,
    fdm.batch,
    lambda url: fdm.download(Path(), files=[url]),
    lambda url: fdm.Executor(pool=url),
    fdm.combine,
    fdm.CombinedSnapshot.from_dict,
    lambda url: fdm.Ragged.of([url, {url}]),
    lambda url: fdm.Table({"x": torch.arange(3)})[{url}],
    lambda url: fdm.Key(0, "x").fold([url]),
    lambda url: fdm.Snapshot(url, "all", -1, 0),
    lambda url: fdm.Snapshot("0" * 64, "all", url, 0),
    lambda url: fdm.gather({"x": url}, torch.arange(2)),
    lambda url: fdm.gather({"x": torch.arange(2)}, url),
    lambda url: plain_fact("x", {url}),
    lambda url: single_values({url}, 2, "weights"),
]


def test_no_message_cuts_a_value_by_itself():
    root = Path(fdm.__file__).parent
    lines = [line for path in root.rglob("*.py") for line in path.read_text(encoding="utf-8").splitlines()]
    assert [] == [line for line in lines if re.search(r"\{[^{}]*:\.\d+\}", line)], "fdm._text.short does"


def test_a_value_of_a_command_or_a_law_that_is_cut_off_shows_no_beginning_of_a_secret():
    for length in range(30, 110):
        url = "https://h/".ljust(length, "x") + f"/https://{USER}{USER}:{PASSWORD}@h/{'y' * 400}"
        for text in (
            shortened(url, 90),
            fact_shown({"url": url}),
            fact_shown(url),
            short(url, 90),
            repr(Facts({"x": url})),
        ):
            assert "Us3r" not in text
            assert "P4s" not in text


@pytest.mark.parametrize(
    "url", [f"ftp://u:{PASSWORD}@h/x", f"u:{PASSWORD}@h/x", f"http://[u:{PASSWORD}@h/x", f"x?t={TOKEN}"]
)
def test_a_url_that_is_refused_is_shown_without_its_secrets(url):
    for made in (lambda: fdm.File(url), lambda: fdm.File("http://h/x", mirrors=url)):
        with pytest.raises(fdm.PipelineError, match="URL") as caught:
            made()
        assert [] == [secret for secret in SECRETS if secret in str(caught.value)]


# What counts


def fingerprint(*args, **options):
    return fdm.fingerprint(fdm.pipeline(fdm.fetch(fdm.download, files=[fdm.File(*args, **options)])))


@pytest.mark.parametrize(
    "url",
    [
        *("https://u:p@h/a?v=1", "https://u@h/a?v=1", "https://h/a?v=1&token=x", "https://h/a?token=x&v=1"),
        *(
            "https://h/a?v=1&sig=x&se=2030&sv=2",
            "https://h/a?v=1&X-Amz-Signature=x&X-Amz-Date=1",
            "https://h/a?api-key=x&v=1",
        ),
        *(
            "https://h/a?v=1&Expires=3&Signature=x&Key-Pair-Id=k",
            "https://h/a?v=1&access_token=x",
            "https://h/a?v=1&password=x",
        ),
    ],
)
def test_secrets_are_no_part_of_an_address(url):
    assert fingerprint("https://h/a?v=1") == fingerprint(url)
    assert fingerprint("https://h/b", mirrors="https://h/a?v=1", name="a") == fingerprint(
        "https://h/b", mirrors=url, name="a"
    )
    assert fingerprint("https://h/a?v=1") == fingerprint(url, headers={"Authorization": "HUB_TOKEN"})


@pytest.mark.parametrize(
    "url", ["https://h/a?v=2", "https://h/a", "https://h/b?v=1", "https://h/a?v=1&key=a", "https://h/a?v=1&se=3"]
)
def test_what_may_name_a_file_counts(url):
    assert fingerprint("https://h/a?v=1", name="a") != fingerprint(url, name="a")


def test_what_some_servers_call_a_secret_does_not_count_where_the_digest_says_what_the_file_is():
    digest = "0" * 64
    assert fingerprint("https://h/a?key=1", sha256=digest) == fingerprint("https://h/a?key=2", sha256=digest)
    assert fingerprint("https://h/a?key=1") != fingerprint("https://h/a?key=2")
    assert fingerprint("https://h/a?v=1", sha256=digest) != fingerprint("https://h/a?v=2", sha256=digest)


@pytest.mark.parametrize(
    "url",
    ["https://h/a", "https://h/a?", "https://h/a?&v=1&&w", "https://h/a?v=1#x?y", "file:///a b?c=d#e", "https://h"],
)
def test_a_url_without_secrets_counts_as_it_is(url):
    assert url == counted_url(url, is_verified=False)


# What is sent


def downloaded(tmp_path, *files):
    fdm.download(tmp_path / "into", files=files)
    return sorted(path.name for path in (tmp_path / "into").rglob("*") if path.is_file())


def test_a_header_comes_from_the_environment_when_the_download_runs(tmp_path, site, monkeypatch):
    site.bodies["/x"] = b"x"
    file = fdm.File(site.url("/x"), headers={"Authorization": "HUB_TOKEN", "X-Key": "OTHER_KEY"})
    monkeypatch.setenv("HUB_TOKEN", f"{HEADER}\n")
    monkeypatch.setenv("OTHER_KEY", "k")
    assert ["x"] == downloaded(tmp_path, pickle.loads(pickle.dumps(file)))
    ((_, headers),) = site.seen
    assert (HEADER, "k") == (headers["Authorization"], headers["X-Key"])
    assert "HUB_TOKEN" in repr(file)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_variable_that_is_not_set_is_told_before_anything_is_asked_for(value, tmp_path, site, monkeypatch):
    monkeypatch.delenv("HUB_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("HUB_TOKEN", value)
    site.bodies["/x"] = site.bodies["/y"] = b"x"
    files = [fdm.File(site.url("/y")), fdm.File(site.url("/x"), headers={"Authorization": "HUB_TOKEN"})]
    with pytest.raises(
        fdm.DownloadError, match=r"'x' .* Authorization, .* HUB_TOKEN; that is not set.* export HUB_TOKEN="
    ):
        downloaded(tmp_path, *files)
    assert [] == site.seen


@pytest.mark.parametrize("value", ["H3aderSecret\r\nHost: evil", "H3aderSecret é", "H3aderSecret\x1b"])
def test_a_value_that_no_header_may_have_is_refused_and_not_shown(value, tmp_path, site, monkeypatch):
    monkeypatch.setenv("HUB_TOKEN", value)
    with pytest.raises(fdm.DownloadError, match=r"HUB_TOKEN.* has characters") as caught:
        downloaded(tmp_path, fdm.File(site.url("/x"), headers={"Authorization": "HUB_TOKEN"}))
    assert "H3ader" not in "".join(traceback.format_exception(caught.value))
    assert [] == site.seen


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_headers_do_not_follow_a_redirect_to_another_host(host, tmp_path, site, other, monkeypatch):
    monkeypatch.setenv("HUB_TOKEN", HEADER)
    other.redirects["/b"] = site.url("/c")  # and back again, where another one has chosen the path
    site.bodies["/c"] = b"x"
    site.redirects["/a"] = site.url("/again")
    site.redirects["/again"] = other.url("/b", host=host)
    headers = {"Authorization": "HUB_TOKEN", "X-Key": "HUB_TOKEN"}
    assert ["a"] == downloaded(tmp_path, fdm.File(site.url("/a"), headers=headers))
    sent = {path: (asked.get("Authorization"), asked.get("X-Key")) for path, asked in [*site.seen, *other.seen]}
    assert {"/a": (HEADER, HEADER), "/again": (HEADER, HEADER), "/b": (None, None), "/c": (None, None)} == sent


def test_user_and_password_of_a_url_follow_redirects_on_its_host_alone(tmp_path, site, other):
    site.redirects["/a"] = "/b"
    site.redirects["/b"] = site.url("/c")
    site.redirects["/c"] = other.url("/d")
    other.redirects["/d"] = site.url("/e")
    site.bodies["/e"] = b"x"
    assert ["a"] == downloaded(tmp_path, fdm.File(site.url("/a", f"{USER}:{PASSWORD}@")))
    sent = {path: "Authorization" in headers for path, headers in [*site.seen, *other.seen]}
    assert {"/a": True, "/b": True, "/c": True, "/d": False, "/e": False} == sent


def test_headers_are_not_sent_to_mirrors_of_other_hosts(tmp_path, site, other, monkeypatch):
    monkeypatch.setenv("HUB_TOKEN", HEADER)
    other.bodies["/m"] = b"x"
    mirrors = (site.url("/n"), other.url("/m"))
    assert ["x"] == downloaded(tmp_path, fdm.File(site.url("/x"), headers={"X-Key": "HUB_TOKEN"}, mirrors=mirrors))
    assert [("/x", HEADER), ("/n", HEADER), ("/m", None)] == [
        (path, headers.get("X-Key")) for path, headers in [*site.seen, *other.seen]
    ]


def test_a_netrc_file_has_user_and_password_and_a_header_that_is_named_comes_before_it(tmp_path, site, monkeypatch):
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HUB_TOKEN", HEADER)
    site.bodies["/x"] = site.bodies["/y"] = site.bodies["/z"] = b"x"
    site.redirects["/r"] = site.url("/z")
    named = fdm.File(site.url("/r"), headers={"authorization": "HUB_TOKEN"})
    downloaded(tmp_path, fdm.File(site.url("/x")), named, fdm.File(site.url("/y"), headers={"X-Key": "HUB_TOKEN"}))
    sent = {path: {name.lower(): value for name, value in headers.items()} for path, headers in site.seen}
    assert sent["/x"]["authorization"].startswith("Basic ")
    assert (HEADER, HEADER) == (sent["/r"]["authorization"], sent["/z"]["authorization"])
    assert sent["/y"]["authorization"].startswith("Basic ")
    assert HEADER == sent["/y"]["x-key"]


def test_user_and_password_of_a_url_and_its_query_are_sent(tmp_path, site):
    site.bodies["/data/train.csv"] = b"x"
    assert ["train.csv"] == downloaded(tmp_path, fdm.File(asking(site)))
    ((path, headers),) = site.seen
    assert TOKEN in path
    assert headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    "headers",
    [
        *(
            {"Authorization": "Bearer H3aderSecret"},
            {"Authorization": "h3adersecret"},
            {"Authorization": ""},
            {"": "A"},
            {"A": 3},
        ),
        *(
            {"A b": "A"},
            {"A\r\nB": "A"},
            {3: "A"},
            {"Range": "A"},
            {"host": "A"},
            {"A": "X", "a": "Y"},
            "A",
            3,
            None,
            ["AB"],
        ),
    ],
)
def test_headers_that_name_no_variable_are_refused_and_not_shown(headers):
    with pytest.raises(fdm.PipelineError, match="header") as caught:
        fdm.File("http://h/x", headers=headers)
    assert "h3ader" not in str(caught.value).lower().replace("headers", "")


def test_headers_of_a_file_url_are_refused():
    with pytest.raises(fdm.PipelineError, match="no host"):
        fdm.File("file:///x", headers={"A": "B"})


def test_a_file_with_headers_is_a_value():
    file = fdm.File("http://h/x", headers={"B": "Y", "A": "X"})
    assert file == fdm.File("http://h/x", headers={"A": "X", "B": "Y"})
    assert hash(file) == hash(attrs.evolve(file))
    assert "headers" not in repr(fdm.File("http://h/x"))
    secret = fdm.File(f"http://me:{PASSWORD}@h/x?token={TOKEN}#token={TOKEN}", mirrors=f"http://h/?sig={TOKEN}")
    assert "h/x" in str(canonical(secret))
    assert [] == [each for each in SECRETS if each in str(canonical(secret))]
    assert "headers" not in str(fdm.describe(fdm.pipeline(fdm.fetch(fdm.download, files=[file]))))
