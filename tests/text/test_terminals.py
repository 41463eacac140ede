"""Terminals: what people, files, servers and other processes call things moves no cursor wherever it is printed."""

import contextlib
import io
import json
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm
import fdm.testing
from fdm._cli.main import main
from fdm._errors import stage_note
from fdm._loaders.profile import Profile, StageTime
from fdm._processes.progress import bar, tell
from fdm._text import aligned, printable, visible
from fdm.store._lock import turn
from fdm.testing._report import Report, Verdict


EVIL = "a\x1b[31m\x07\r\x9b2J\u202eb\u2066\u200f\x00\x7f\ud800\x85\u2028z"
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
IN_NAMES = EVIL.replace("\x00", "").replace("\ud800", "")  # as file systems have them
HALF = EVIL.replace("\ud800", "")  # as UTF-8 has it


def table(n=8):
    return fdm.Table({"x": torch.arange(n), HALF: torch.arange(n)})


def tables(n=8):
    return {HALF: table(n)}


def by_name(source):
    return {EVIL: range(4), "val": range(4, 8)}


def failing(item):
    raise ValueError(EVIL)


def failing_clean():
    raise ValueError(EVIL)


def measured(train):
    return {HALF: HALF}


def listing():
    return [HALF, "b"]


def cleaned(part):
    if part == HALF:
        raise ValueError(EVIL)
    return table()


def writing(into, *, name):
    (into / name).write_bytes(b"")


class Odd:
    """A source with a repr of its own."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return index

    def __repr__(self):
        return EVIL


@pytest.fixture(scope="module")
def p():
    """A pipeline in which everything has an odd name."""
    return fdm.pipeline(
        fdm.clean(tables),
        fdm.split({EVIL: 0.5, "val": None}, of=HALF),
        fdm.alias(**{f"{EVIL}2": EVIL}),
        fdm.measure(measured).on(EVIL),
        fdm.sample(HALF).on(EVIL),
        fdm.shuffle().on("val"),
        fdm.batch(2, ids=EVIL).on(EVIL),
        fdm.batch(2),
        fdm.transfer(skip=(EVIL,)),
    )


@pytest.fixture(scope="module")
def data(p, tmp_path_factory):
    with fdm.open(p, store=tmp_path_factory.mktemp("store")) as data:
        yield data


def refusal(make, *args, **options):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind
        make(*args, **options)
    return "\n".join([str(caught.value), repr(caught.value), *getattr(caught.value, "__notes__", [])])


def warned(make, *args):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make(*args)
    return "\n".join(str(each.message) for each in caught)


def command_line(monkeypatch, p, *argv):
    import fdm._cli.main as module

    monkeypatch.setattr(module, "pipeline_at", lambda _: p)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        main(list(argv))
    return out.getvalue() + err.getvalue()


VALUES = {
    "str": lambda p, data: str(p),
    "repr": lambda p, data: repr(p) + "".join(map(repr, p.stages)),
    "html": lambda p, data: p._repr_html_(),
    "svg": lambda p, data: fdm.draw_svg(p),
    "mermaid": lambda p, data: fdm.draw(p),
    "data": lambda p, data: repr(data),
    "data's html": lambda p, data: data._repr_html_(),
    "facts": lambda p, data: repr(data.facts),
    "facts' html": lambda p, data: data.facts._repr_html_(),
    "loader": lambda p, data: repr(data.loader(EVIL)),
    "loader's html": lambda p, data: data.loader(EVIL)._repr_html_(),
    "dataset": lambda p, data: repr(data.dataset(EVIL)),
    "profile": lambda p, data: str(data.profile(EVIL, 1)) + repr(data.profile(EVIL, 1)),
    "snapshot": lambda p, data: repr(data.loader(EVIL).snapshot(1)),
    "combined": lambda p, data: repr(fdm.combine({EVIL: data.loader(EVIL)})),
    "table": lambda p, data: repr(table()),
    "table's html": lambda p, data: table()._repr_html_(),
    "ragged": lambda p, data: fdm.Table({"a": fdm.Ragged.of([HALF, "b"])})._repr_html_(),
    "a file": lambda p, data: repr(fdm.File(f"http://h/{EVIL}", name="x")),
    "a file's name": lambda p, data: refusal(fdm.File, "http://h/x", None, EVIL),
    "a tracked path": lambda p, data: repr(fdm.tracked(IN_NAMES)),
    "an unknown split": lambda p, data: refusal(data.loader, f"{EVIL}x"),
    "an unknown column": lambda p, data: refusal(table().__getitem__, f"{EVIL}x"),
    "a foreign snapshot": lambda p, data: refusal(
        data.loader, EVIL, start=fdm.Snapshot("00", EVIL, epoch=0, examples=0, stages=(EVIL,))
    ),
    "a snapshot of another version": lambda p, data: refusal(fdm.Snapshot.from_dict, {EVIL: 1, "version": EVIL}),
    "no stage": lambda p, data: refusal(fdm.without, p, EVIL),
    "two candidates": lambda p, data: refusal(fdm.replace, p, fdm.batch(3).on("x")),
    "a wrong split": lambda p, data: refusal(fdm.open, fdm.pipeline(fdm.load(listing), fdm.batch(2).on(f"{EVIL}x"))),
    "a repr": lambda p, data: refusal(fdm.batch, Odd()) + refusal(fdm.load, Odd()) + refusal(fdm.pipeline, Odd()),
    "a report": lambda p, data: str(
        Report((Verdict(EVIL, "broken", 1, EVIL, EVIL), Verdict(EVIL, "skipped", why=EVIL)))
    ),
    "a note": lambda p, data: stage_note(1, EVIL, EVIL),
    "a table of text": lambda p, data: "\n".join(aligned([[EVIL, 1], ["\n\t", EVIL]])),
}


@pytest.mark.parametrize("place", VALUES)
def test_what_values_say_of_themselves_moves_no_cursor(place, p, data):
    said = VALUES[place](p, data)
    assert "x1b" in said or "#92;" in said
    assert [] == RAW.findall(said)


def test_lines_of_tables_stay_lines():
    odd = fdm.pipeline(fdm.split({"a\nseed 9\n": 0.5, "b": None}), fdm.batch(2).on("a\nseed 9\n"))
    assert 3 == len(str(odd).splitlines())
    assert 1 == len(aligned([["a\nb\r\x85c", "d"]])[0].splitlines())


# The command line


@pytest.mark.parametrize(
    "argv",
    [
        *(
            ["show"],
            ["show", "--json"],
            ["show", "--split", EVIL],
            ["show", "--split", f"{EVIL}x"],
            ["prepare"],
            ["check"],
        ),
        *(["batch", "--split", EVIL], ["batch", "--split", f"{EVIL}x"], ["show", "--set", f"{EVIL}=1"], ["show", EVIL]),
        *(["show", f"--{EVIL}"], ["batch", "--step", EVIL], [EVIL], ["show", "--store", IN_NAMES + "/none"]),
    ],
    ids=repr,
)
def test_commands_print_no_control_characters(argv, p, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = ["x:p"] if argv[0] in ("show", "prepare", "check", "batch") else []
    said = command_line(monkeypatch, p, argv[0], *target, *argv[1:], *(["--store", str(tmp_path)] if target else []))
    assert said
    assert [] == RAW.findall(said)


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_an_error_of_a_users_function_is_printed_without_control_characters(debug, tmp_path, monkeypatch):
    failing_pipeline = fdm.pipeline(fdm.clean(failing_clean), fdm.batch(2))
    said = command_line(monkeypatch, failing_pipeline, "prepare", "x:p", "--store", str(tmp_path), *debug)
    assert "x1b" in said
    assert [] == RAW.findall(said)


def test_a_target_with_an_odd_name_is_refused_in_plain_letters(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / IN_NAMES
    folder.mkdir()
    (folder / "p.py").write_text(f"raise ValueError({HALF!r})")
    for target in (f"{EVIL}:p", f"{folder}/p.py:p", f"{folder}/none.py:p", f"{folder}:p", f"json:{EVIL}"):
        main(["show", target])
    out, err = capsys.readouterr()
    assert 5 <= err.count("fdm: error:")
    assert [] == RAW.findall(out + err)


def test_what_a_stores_manifests_and_files_are_called_is_printed_in_plain_letters(tmp_path, monkeypatch):
    fdm.Executor(store=tmp_path).prepare(fdm.pipeline(fdm.fetch(writing, name=IN_NAMES[:20])))
    (folder,) = [path for path in tmp_path.iterdir() if (path / "manifest.json").exists()]
    about = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**about, "function": EVIL, "stage": EVIL + "\n" + EVIL}))
    (folder / f"{IN_NAMES[:20]}\nmore").write_bytes(b"x")
    said = [
        command_line(monkeypatch, None, "store", *argv, "--store", str(tmp_path))
        for argv in (["list"], ["verify"], ["prune", "--larger-than", "0"])
    ]
    said.append(repr(fdm.store.artifacts(tmp_path)) + repr(fdm.store.verify(tmp_path)))
    (folder / "manifest.json").write_text(json.dumps({"files": 3, "stage": EVIL}))
    said.append(command_line(monkeypatch, None, "store", "list", "--store", str(tmp_path)))
    (folder / "manifest.json").write_text("\x1b[31m")
    said.append(command_line(monkeypatch, None, "store", "list", "--store", str(tmp_path)))
    assert [] == [RAW.findall(each) for each in said if RAW.findall(each)]
    assert 5 < len("".join(said).split("x1b"))
    assert 3 >= len(said[1].splitlines())


# Errors, notes and progress


def test_notes_on_errors_are_in_plain_letters(tmp_path):
    for stages in (
        [fdm.clean(table), fdm.split({EVIL: 0.5, "val": None}), fdm.transform(failing), fdm.batch(2)],
        [fdm.clean(cleaned).each(listing), fdm.batch(2)],
    ):
        with (
            ThreadPoolExecutor(1) as pool,
            pytest.raises(ValueError, match="a") as caught,
            fdm.open(fdm.pipeline(*stages), store=tmp_path, pool=pool) as data,
        ):
            next(iter(data.loader(EVIL)))
        assert caught.value.__notes__
        assert [] == RAW.findall("\n".join(caught.value.__notes__))


def refused_turn(locks, name, patience, tell):
    with (
        pytest.raises(fdm.FdmError) as caught,
        turn(locks, name, lambda: False, patience=patience, tell=tell, came=0.0),
    ):
        pass
    return str(caught.value) + repr(caught.value)


def test_what_another_process_noted_is_told_in_plain_letters(tmp_path, capsys, caplog):
    caplog.set_level("INFO", logger="fdm")
    locks = tmp_path / "locks"
    locks.mkdir()
    failure = {"who": EVIL, "error": EVIL, "cause": EVIL, "attempt": EVIL, "machine": EVIL, "ended": 0.0}
    with turn(locks, "x", lambda: False, patience=1, tell=print, came=0.0):
        (locks / "x.json").write_text(json.dumps({"who": EVIL, "since": EVIL, "progress": EVIL}))
        late = refused_turn(locks, "x", 0.1, partial(tell, shown=True))
        (locks / "x.failed.json").write_text(json.dumps({"failures": []}))
    with turn(locks, "y", lambda: False, patience=1, tell=print, came=0.0):
        # The second look finds a failure that was not there at the first.
        told = []

        def fail(message):
            told.append(message)
            (locks / "y.failed.json").write_text(json.dumps({"failures": [failure]}))

        failed = refused_turn(locks, "y", 5, fail)
    out, err = capsys.readouterr()
    said = [out, err, late, failed, caplog.text]
    assert "x1b" in err
    assert [] == [RAW.findall(each) for each in said if RAW.findall(each)]


def test_an_error_is_noted_on_disk_in_plain_letters(tmp_path):
    with pytest.raises(ValueError, match="a"), turn(tmp_path, "x", lambda: False, patience=1, tell=print, came=0.0):
        raise ValueError(EVIL)
    (failure,) = json.loads((tmp_path / "x.failed.json").read_text())["failures"]
    assert [] == RAW.findall(failure["error"] + failure["cause"])


def test_progress_bars_and_warnings_are_in_plain_letters(capsys, tmp_path, monkeypatch):
    with bar(2, EVIL, "part", shown=True) as shown:
        shown.update()
    err = capsys.readouterr().err
    assert "x1b" in err
    assert [] == RAW.findall(err.replace("\r", "").replace("\x1b[A", ""))
    said = warned(fdm._errors.warn, EVIL)
    assert "x1b" in said
    assert [] == RAW.findall(said)


def test_what_errors_of_fdm_say_is_plain_whoever_makes_them():
    kinds = [kind for kind in vars(fdm).values() if isinstance(kind, type) and issubclass(kind, fdm.FdmError)]
    assert 10 < len(kinds)
    for kind in kinds:
        error = kind(f"one\n{EVIL} http://me:pw@h/?a=secret")
        assert "\n" in str(error)
        assert [] == RAW.findall(str(error))
        assert "pw" not in str(error) + repr(error)
        assert "secret" not in str(error) + repr(error)
    error = fdm._errors.StoreError(5, EVIL)
    assert 5 == error.errno
    assert [] == RAW.findall(str(error) + error.strerror)


def test_a_profile_says_names_in_plain_letters():
    profile = Profile(EVIL, 1, (StageTime(EVIL, 1.0, 1.0, 1.0, False),), 1.0, None, EVIL)
    assert [] == RAW.findall(str(profile) + repr(profile))


@given(st.text())
def test_visible_text_is_one_line_that_can_be_printed_and_stays_as_it_is(text):
    shown = visible(text)
    assert shown.isprintable()
    assert shown == visible(shown)
    assert shown == text or not text.isprintable()
    shown.encode()
    assert printable(text) == printable(printable(text))
    assert 1 == len(shown.splitlines() or [""])
