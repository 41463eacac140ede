"""The command line, as users type it: real processes, and the same function in this one where that is enough."""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import attrs
import pytest
import torch

import fdm
import fdm.testing
from fdm._cli.main import main
from fdm._cli.overrides import with_settings
from fdm._cli.show import show_lines
from fdm._cli.target import UsageError, pipeline_at


ROOT = Path(__file__).parents[2]
DIGITS = f"{ROOT / 'examples' / 'digits.py'}:digits"

SCRIPT = '''
"""A script that can be run, and looked at."""
import sys
import torch
import fdm

print("hello from the script")

def rows(n):
    with open({journal!r}, "a") as journal:
        print("ran", file=journal)
    label = torch.arange(n) % 3
    return fdm.Table({{"x": torch.arange(n).float(), "label": label, "image": torch.rand(n, 1, 6, 6)}})

def mean_of(train):
    return {{"mean": train["x"].mean()}}

def centred(batch, *, mean, scale=1.0):
    return {{**batch, "x": (batch["x"] - mean) * scale}}

def odd(batch, *, at):
    return {{**batch, "x": torch.where(batch["x"] == at, torch.nan, batch["x"])}}

def broken(batch):
    raise ZeroDivisionError("no such luck")

p = fdm.pipeline(
    fdm.clean(rows, n=60),
    fdm.split({{"train": 40, "val": None}}, seed=1),
    fdm.measure(mean_of).on("train"),
    fdm.shuffle().on("train"),
    fdm.batch(8),
    fdm.transform(centred, mean=fdm.fact("mean")),
)
unmeasured = fdm.without(p, "measure", "centred")
nan = fdm.pipeline(unmeasured, fdm.transform(odd, at=5))
fails = fdm.pipeline(unmeasured, fdm.transform(broken))

def make() -> fdm.Pipeline:
    return p

def wrong():
    return 7

def needs(size):
    return fdm.replace(p, fdm.batch(size))

class Holder:
    inner = p

if __name__ == "__main__":
    with fdm.open(p, store=sys.argv[1]) as data:
        print(fdm.fingerprint(p), len(data.loader("train")))
'''


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The path of a script with pipelines, in a folder of its own, and importable under a name of its own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("FDM_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"script_{tmp_path.name.replace('-', '_')}.py"
    file.write_text(SCRIPT.format(journal=str(tmp_path / "journal")), encoding="utf-8")
    before = set(sys.modules)
    yield file
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def ran(*argv, **options):
    """What a real process printed, and its exit code."""
    options = {"capture_output": True, "text": True, "encoding": "utf-8", "timeout": 400, **options}
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **options.pop("env", {})}
    return subprocess.run([sys.executable, "-m", "fdm", *map(str, argv)], env=environ, **options)


def told(capsys, *argv):
    """The exit code of a command, and what it printed on stdout and stderr."""
    code = main([str(each) for each in argv])
    out, err = capsys.readouterr()
    return code, out, err


def runs(script):
    journal = script.parent / "journal"
    return len(journal.read_text().splitlines()) if journal.exists() else 0


def test_a_script_and_the_command_line_share_what_the_store_keeps(script, tmp_path):
    store = tmp_path / "shared"
    prepared = ran("prepare", f"{script}:p", "--store", store, "--json")
    assert (0, 1) == (prepared.returncode, runs(script)), prepared.stderr
    as_main = subprocess.run(
        [sys.executable, script, store], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert 1 == runs(script), "the script found what the command line had made"
    shown = json.loads(ran("show", f"{script.stem}:p", "--store", store, "--json", cwd=tmp_path).stdout)
    assert [shown["fingerprint"], "5"] == as_main.stdout.split()[-2:]
    assert [True, True] == [each["prepared"] for each in shown["kept"]]
    assert 1 == runs(script)


def test_workers_find_the_functions_of_a_file_by_name(script, tmp_path):
    code = f"import fdm._cli.target as t, fdm; p = t.pipeline_at({str(script) + ':p'!r})\n"
    code += f"if __name__ == '__main__':\n  with fdm.open(p, store={str(tmp_path / 's')!r}, workers=1, start_method='spawn') as d:\n"
    code += "    print(sum(1 for _ in d.loader('train')))\n"
    (tmp_path / "starts.py").write_text(code, encoding="utf-8")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "starts.py"], capture_output=True, text=True, cwd=tmp_path, env=environ)
    assert "5" == found.stdout.split()[-1], found.stderr


def test_show_runs_nothing_that_prepares(script, capsys):
    code, out, _ = told(capsys, "show", f"{script}:p")
    assert (0, 0) == (code, runs(script))
    assert "not prepared" in out
    assert "fdm prepare" in out
    assert "0 clean" in out


def test_show_tells_plan_facts_and_first_batch_once_prepared(script, capsys):
    assert 0 == told(capsys, "prepare", f"{script}:p")[0]
    code, out, _ = told(capsys, "show", f"{script}:p", "--world-size", 3, "--json")
    found = json.loads(out)
    assert (0, 1) == (code, runs(script))
    assert {"train": 40, "val": 20} == found["splits"]
    assert 2 == found["plans"]["train"]["steps"]
    assert 3 == found["world_size"]
    assert ["x", "label", "image"] == [each["name"] for each in found["first_batch"]["entries"]]
    assert [8, 1, 6, 6] == found["first_batch"]["entries"][2]["shape"]
    assert 40 == sum(found["classes"]["train"].values())
    assert "mean" in found["facts"]
    text = told(capsys, "show", f"{script}:p", "--split", "val")[1]
    assert "█" in text
    assert "first batch of val" in text


def test_show_says_when_only_a_measure_is_left(script, capsys):
    assert 0 == told(capsys, "prepare", f"{script}:unmeasured")[0]
    found = json.loads(told(capsys, "show", f"{script}:p", "--json")[1])
    assert {"train": 40, "val": 20} == found["splits"]
    assert "2 measure mean_of" in found["missing"]
    assert [True, False] == [each["prepared"] for each in found["kept"]]


def test_prepare_tells_what_it_made(script, capsys):
    first = json.loads(told(capsys, "prepare", f"{script}:p", "--json")[1])
    again = json.loads(told(capsys, "prepare", f"{script}:make", "--json")[1])
    assert [[True, True], [False, False]] == [[each["made"] for each in found["kept"]] for found in (first, again)]


def test_what_the_user_prints_is_not_in_the_result(script):
    found = ran("show", f"{script}:p", "--json")
    assert "hello from the script" in found.stderr
    assert script.name in json.loads(found.stdout)["target"]


def test_batch_shows_the_batch_that_the_loader_has(script, capsys):
    code, out, _ = told(capsys, "batch", f"{script}:p", "--epoch", 3, "--step", 2, "--json")
    found = json.loads(out)
    with fdm.open(pipeline_at(f"{script}:p")) as data:
        loader = data.loader("train", epoch=3)
        batch, ids = loader[2], loader.indices(2).tolist()
    assert (0, ids) == (code, found["ids"])
    x = next(each for each in found["entries"] if each["name"] == "x")
    assert batch["x"].double().mean().item() == pytest.approx(x["mean"])
    assert (0, 0) == (x["nan"], x["inf"])


def test_batch_names_the_examples_that_are_not_finite(script, capsys):
    with fdm.open(pipeline_at(f"{script}:nan")) as data:
        split = next(name for name in data.splits if 5 in data.indices(name).tolist())
        loader = data.loader(split)
        step = next(step for step in range(len(loader)) if 5 in loader.indices(step).tolist())
    code, out, _ = told(capsys, "batch", f"{script}:nan", "--split", split, "--step", step)
    assert 0 == code
    assert "x: 1 NaN and 0 infinite values in examples 5\n" in out


def test_ranks_see_their_own_examples(script, capsys):
    found = [
        json.loads(told(capsys, "batch", f"{script}:p", "--rank", rank, "--world-size", 2, "--json")[1])["ids"]
        for rank in (0, 1)
    ]
    assert 16 == len(set(found[0]) | set(found[1]))


@pytest.mark.parametrize("name", ["p", "nan"])
def test_batch_draws_images(script, capsys, name):
    image = pytest.importorskip("PIL.Image")
    code, out, _ = told(capsys, "batch", f"{script}:{name}", "--png", "grid.png", "--json")
    assert (0, "image") == (code, json.loads(out)["png"]["entry"])
    with image.open("grid.png") as picture:
        assert len(picture.getcolors(1 << 20)) > 10


def test_bench_marks_the_best_setting(script, capsys):
    found = json.loads(told(capsys, "bench", f"{script}:p", "--steps", 2, "--json")[1])
    speeds = {(row["workers"], row["threads"]): row["per_second"] for row in found["settings"]}
    best = speeds[found["best"]["workers"], found["best"]["threads"]]
    assert best >= 0.9 * max(speeds.values())
    assert "train" == found["profile"]["split"]
    assert (0, 0) in speeds
    assert {1} <= {threads for _, threads in speeds}
    assert {1} <= {workers for workers, _ in speeds}


def test_check_passes_on_what_the_laws_say(script, capsys):
    assert 0 == told(capsys, "check", f"{script}:p")[0]
    assert json.loads(told(capsys, "check", f"{script}:p", "--json")[1])["passed"]


def test_store_lists_verifies_and_prunes(script, capsys):
    told(capsys, "prepare", f"{script}:p")
    kept = json.loads(told(capsys, "store", "list", "--json")[1])["artifacts"]
    assert {"clean", "measure"} == {each["stage"] for each in kept}
    assert 0 == told(capsys, "store", "verify")[0]
    folder = Path(next(each["folder"] for each in kept if each["stage"] == "measure"))
    (folder / "facts.json").write_text("{}")
    code, out, _ = told(capsys, "store", "verify")
    assert 1 == code
    assert "facts.json" in out
    dry = told(capsys, "store", "prune", "--unused-for", "0s")
    assert 0 == dry[0]
    assert "--yes" in dry[1]
    assert folder.exists()
    kept = told(capsys, "store", "prune", "--unused-for", "0s", "--yes", "--keep", f"{script}:p", "--json")[1]
    assert [] == json.loads(kept)["artifacts"]
    assert folder.exists()
    gone = json.loads(told(capsys, "store", "prune", "--larger-than", "0", "--yes", "--json")[1])
    assert (True, 2) == (gone["removed"], len(gone["artifacts"]))
    assert not folder.exists()


@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
@pytest.mark.parametrize("answer, is_gone", [("y", True), ("n", False), ("", False)])
def test_prune_asks_on_a_terminal(script, capsys, answer, is_gone):
    told(capsys, "prepare", f"{script}:unmeasured")
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fdm", "store", "prune", "--unused-for", "0s"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 4096)
    os.write(ours, f"{answer}\n".encode())
    out, _ = process.communicate(timeout=300)
    os.close(ours)
    assert (0, is_gone) == (process.returncode, b"removed" in out.splitlines())
    assert is_gone == (json.loads(told(capsys, "store", "list", "--json")[1])["artifacts"] == [])


def test_a_class_that_the_first_split_lacks_has_no_bar(script, capsys):
    assert 0 == told(capsys, "prepare", f"{script}:p")[0]
    found = json.loads(told(capsys, "show", f"{script}:p", "--json")[1])
    lines = list(show_lines({**found, "classes": {"train": {"0": 30}, "val": {"0": 1, "7": 2}}}))
    rows = lines[lines.index("classes") + 1 :][:3]
    assert [["class", "train", "val", "share", "in", "train"], ["0", "30", "1", "█" * 20], ["7", "0", "2"]] == [
        row.split() for row in rows
    ]


def test_settings_make_a_new_pipeline(script):
    p = pipeline_at(f"{script}:p")
    settings = ["batch.size=4", "split.train=10", "split.seed=9", "centred.mean=0.5", "transform.scale=2", "seed=7"]
    made = with_settings(p, settings)
    module = sys.modules[script.stem]
    expected = fdm.replace(
        p,
        fdm.batch(4),
        fdm.split({"train": 10, "val": None}, seed=9),
        fdm.transform(module.centred, mean=0.5, scale=2),
        seed=7,
    )
    assert expected == made
    assert fdm.fingerprint(expected) == fdm.fingerprint(made)


def test_a_value_that_is_no_literal_is_a_string(script):
    p = pipeline_at(f"{script}:p")
    assert [(("n", "[=a"),), (("n", (1, "b")),)] == [
        with_settings(p, [setting]).stages[0].function.params for setting in ("rows.n=[=a", "clean.n=(1, 'b')")
    ]


def test_settings_keep_what_else_a_stage_says():
    p = fdm.pipeline(
        fdm.split({"train": 0.9, "val": None}, stratify="label"),
        fdm.take(5).on("train"),
        fdm.batch(2, ids="id").on("train"),
        fdm.batch(3, drop_last=True),
    )
    made = with_settings(p, ["take.n_or_fraction=0.5", "2.size=9", "split.stratify=kind"])
    assert (0.5, ("train",)) == (made.stages[1].amount, made.stages[1].splits)
    assert (9, "id", ("train",)) == (made.stages[2].size, made.stages[2].ids, made.stages[2].splits)
    assert ("kind", p.stages[3]) == (made.stages[0].stratify, made.stages[3])
    with pytest.raises(UsageError, match=r"several stages could be meant: 2 batch.*; 3 batch.*2\.size="):
        with_settings(p, ["batch.size=9"])


def test_settings_keep_how_a_stage_was_declared():
    load = fdm.load(fdm.testing.example_table, n=9)
    for stage in (load.shared(), load.ambient(), load.version("2"), load.shared().ambient()):
        expected = attrs.evolve(stage, function=fdm.load(fdm.testing.example_table, n=5).function)
        assert fdm.pipeline(expected) == with_settings(fdm.pipeline(stage), ["load.n=5"])


@pytest.mark.parametrize(
    "setting, message",
    [
        ("batch.sise=3", "did you mean 'size'"),
        ("bach.size=3", "did you mean 'batch'"),
        ("batch.size=0", "integer of at least 1, not 0"),
        ("batch.size=many", "not 'many'"),
        ("centred.meen=0", "did you mean 'mean'"),
        ("transform.meen=0", "did you mean 'mean'"),
        ("size=3", "say batch.size=VALUE"),
        ("seed=x", "seed is an integer, not 'x'"),
        ("seed=None", "seed is an integer, not None"),
        ("batch.size", "WHERE.PARAMETER=VALUE"),
        ("=3", "WHERE.PARAMETER=VALUE"),
        (".size=3", "WHERE.PARAMETER=VALUE"),
        ("17.size=3", "0 to 5"),
        ("split.tran=3", "did you mean 'train'"),
        ("split.train=1.5", "fractions lie in 0 to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(script, setting, message):
    p = pipeline_at(f"{script}:p")
    with pytest.raises(UsageError, match=message):
        with_settings(p, [setting])


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "COMMAND"),
        (["shwo"], "did you mean 'show'"),
        (["show"], "TARGET"),
        (["store"], "ACTION"),
        (["store", "prun"], "did you mean 'prune'"),
        (["store", "prune"], "--unused-for"),
        (["store", "prune", "--unused-for", "30x"], "an age such as 30d"),
        (["store", "prune", "--larger-than", "-1"], "expected one argument|a size such as"),
        (["store", "list", "--store", "stor"], "no such folder"),
        (["show", "{}:p", "--wrld-size", "2"], "did you mean '--world-size'"),
        (["show", "{}:p", "--world-size", "0"], "at least 1"),
        (["show", "{}:p", "--world-size", "two"], "'two'"),
        (["show", "{}:q"], "pipelines there: fails, make, nan, p, unmeasured"),
        (["show", "{}:unmeasurd"], "did you mean 'unmeasured'"),
        (["show", "{}"], "names no pipeline"),
        (["show", "{}:Holder"], "of type type"),
        (["show", "{}:Holder.outer"], "outer"),
        (["show", "{}:torch"], "of type module"),
        (["show", "{}:wrong"], "returned a int"),
        (["show", "{}:needs"], "needs size"),
        (["show", "{}x:p"], "no such file|no name of a module"),
        (["show", "nowhere/file.py:p"], "no such file"),
        (["show", "no_such_module:p"], "no module 'no_such_module'"),
        (["show", "json.no_such_module:p"], "no module"),
        (["show", "a b:p"], "no name of a module"),
        (["show", ":p"], "TARGET|no name of a module"),
        (["batch", "{}:p", "--split", "trian"], "did you mean 'train'"),
        (["batch", "{}:p", "--step", "5"], "0 to 4"),
        (["batch", "{}:p", "--step", "-6"], "0 to 4"),
        (["batch", "{}:p", "--epoch", "-1"], "at least 0|expected one argument"),
        (["batch", "{}:p", "--rank", "2", "--world-size", "2"], "ranks 0 to 1"),
        (["bench", "{}:p", "--split", "vall", "--steps", "1"], "did you mean 'val'"),
        (["show", "{}:p", "--set", "batch.sise=2"], "did you mean 'size'"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_what_is_right(script, capsys, argv, message):
    code, out, err = told(capsys, *(each.replace("{}", str(script)) for each in argv))
    assert (2, "") == (code, out), err
    assert "fdm: error: " in err
    assert "Traceback" not in err
    assert re.search(message, err), err


def test_dotted_names_and_functions_are_targets(script):
    p = pipeline_at(f"{script}:p")
    assert p == pipeline_at(f"{script}:Holder.inner") == pipeline_at(f"{script}:make")


def test_an_error_of_the_users_function_tells_type_stage_and_line(script, capsys):
    code, out, err = told(capsys, "batch", f"{script}:fails")
    assert (1, "") == (code, out)
    assert "fdm: error: ZeroDivisionError: no such luck" in err
    assert f"{script}:" in err
    assert "in broken" in err
    assert "stage 4" in err
    assert "Traceback" not in err
    assert "Traceback" in told(capsys, "batch", f"{script}:fails", "--debug")[2]


@pytest.mark.parametrize(
    "text, message",
    [
        ("p = (\n", "SyntaxError"),
        ("raise RuntimeError('not today')\n", "RuntimeError: not today"),
        ("import no_such_module\n", "ModuleNotFoundError"),
        ("import sys\nsys.exit(0)\n", "__name__"),
        ("import fdm\np = fdm.pipeline(fdm.batch(0))\n", "at least 1"),
        ("import fdm\np = fdm.pipeline(fdm.transform(lambda x: x))\n", "a lambda"),
    ],
)
def test_an_error_while_a_file_is_imported_is_told_with_its_line(tmp_path, monkeypatch, capsys, text, message):
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / f"bad_{abs(hash(text))}.py"
    file.write_text(text)
    code, out, err = told(capsys, "show", f"{file}:p")
    assert (1, "") == (code, out)
    assert message in err
    assert file.name in err
    assert "Traceback" not in err


def test_a_file_with_the_name_of_another_module_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "json.py").write_text("import fdm\np = fdm.pipeline(fdm.batch(2))\n")
    code, _, err = told(capsys, "show", f"{tmp_path / 'json.py'}:p")
    assert 2 == code
    assert "another name" in err


def test_files_in_packages_and_with_dashes_are_targets(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", list(sys.path))
    text = "import torch, fdm\ndef rows():\n    return range(9)\np = fdm.pipeline(fdm.load(rows), fdm.batch(2))\n"
    package = tmp_path / "pack_of_cli" / "inner"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package / "train.py").write_text(text)
    (tmp_path / "my-train.py").write_text(text)
    inside = json.loads(told(capsys, "show", f"{package / 'train.py'}:p", "--json")[1])
    assert "pack_of_cli.inner.train.rows" == inside["pipeline"]["stages"][0]["function"]
    assert {"all": 9} == inside["splits"]
    beside = json.loads(told(capsys, "show", f"{tmp_path / 'my-train.py'}:p", "--json")[1])
    assert "my-train.rows" == beside["pipeline"]["stages"][0]["function"]
    (tmp_path / "train.v2.py").write_text(text)
    (package / "sibling_of_cli.py").write_text("n = 7")
    (package / "trains.py").write_text(f"from sibling_of_cli import n\n{text}")
    for file in (tmp_path / "train.v2.py", package / "trains.py"):
        assert 0 == told(capsys, "show", f"{file}:p")[0]


def test_a_pipeline_without_source_or_batch_can_be_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "bare_cli.py").write_text(
        "import fdm\ndef rows():\n    return range(9)\n"
        "p = fdm.pipeline(fdm.batch(2))\nq = fdm.pipeline(fdm.load(rows))\ne = fdm.pipeline()\n"
    )
    for name, said in (("p", "no source"), ("q", "no batch stage"), ("e", "no source")):
        code, out, _ = told(capsys, "show", f"{tmp_path / 'bare_cli.py'}:{name}")
        assert 0 == code
        assert said in out


def test_a_store_that_cannot_be_written_is_an_error_with_a_remedy(script, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    code, _, err = told(capsys, "prepare", f"{script}:p", "--store", tmp_path / "file")
    assert 1 == code
    assert "cannot be written" in err
    assert "Errno" not in err


def test_a_terminal_without_unicode_gets_bars_of_ascii(script):
    assert 0 == ran("prepare", f"{script}:p").returncode
    found = ran("show", f"{script}:p", env={"PYTHONIOENCODING": "ascii"})
    assert 0 == found.returncode, found.stderr
    assert "#####" in found.stdout
    assert "?" not in found.stdout


def test_a_reader_that_stops_early_is_no_error(script):
    command = f"{sys.executable} -m fdm show {script}:p | head -1"
    if shutil.which("bash") is None:
        pytest.skip("needs a shell")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=environ, timeout=400
    )
    assert (0, 1) == (found.returncode, len(found.stdout.splitlines())), found.stderr
    assert "Error" not in found.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_ends_with_130_and_leaves_nothing_half_made(tmp_path):
    (tmp_path / "slow_cli.py").write_text(
        "import time, fdm\ndef rows():\n    open('began', 'w').close()\n    time.sleep(60)\np = fdm.pipeline(fdm.clean(rows))\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "fdm", "prepare", "slow_cli.py:p", "--store", "store"],
        cwd=tmp_path,
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 300
    while not (tmp_path / "began").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert 130 == process.returncode, err
    assert "fdm: interrupted" in err
    assert "Traceback" not in err
    assert [] == list((tmp_path / "store" / ".staging").iterdir())


def test_help_and_version_end_with_0():
    for argv in (["--help"], ["batch", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert 0 == ended.value.code


def test_the_examples_in_the_help_are_commands_that_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  fdm ")]
    assert len(lines) > 5
    assert {line[1] for line in lines} == {"show", "prepare", "check", "bench", "batch", "store"}


def test_the_command_line_needs_nothing_optional():
    script = (
        "import sys, fdm._cli.main; print([name for name in ('hypothesis', 'PIL', 'lightning') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "[]" == found.stdout.strip()


def test_the_script_that_is_installed_is_this_command_line():
    name = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]["fdm"]
    module, _, function = name.partition(":")
    assert main is getattr(importlib.import_module(module), function)


def test_an_error_of_a_part_in_another_process_is_told_without_a_traceback(tmp_path):
    (tmp_path / "parts_cli.py").write_text(
        "import fdm\ndef names():\n    return ['a', 'b']\ndef one(name):\n    raise OSError('disk on fire')\n"
        "p = fdm.pipeline(fdm.clean(one).each(names))\n"
    )
    found = ran("prepare", "parts_cli.py:p", "--store", "store", cwd=tmp_path)
    assert 1 == found.returncode
    assert "fdm: error: OSError: disk on fire" in found.stderr
    assert "parts_cli.py:5, in one" in found.stderr
    assert "Traceback" not in found.stderr


def test_the_digits_are_shown_by_a_real_process(tmp_path):
    found = ran("show", DIGITS, "--store", tmp_path)
    assert 0 == found.returncode, found.stderr
    assert "digits.read_digits" in found.stdout
    assert torch.__version__ not in found.stderr


SAME_NAME = """
import fdm, torch
def rows(*, n=3):
    return fdm.Table({"x": torch.arange(n)})
"""


def test_the_store_tells_apart_functions_of_one_name(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FDM_STORE", str(tmp_path / "store"))
    for script, parameters in (("rows_a.py", "n=3"), ("rows_b.py", "n=30")):
        (tmp_path / script).write_text(f"{SAME_NAME}p = fdm.pipeline(fdm.clean(rows, {parameters}), fdm.batch(2))")
        assert 0 == told(capsys, "prepare", f"{tmp_path / script}:p")[0]
    text = told(capsys, "store", "list")[1]
    assert ["stage", "function", "parameters", "script", "address", "size", "made", "used"] == text.splitlines()[
        0
    ].split()
    lines = {tuple(line.split()[2:4]) for line in text.splitlines()[1:-1]}
    assert {("n=3", "rows_a.py"), ("n=30", "rows_b.py")} == {(n, Path(path).name) for n, path in lines}
    kept = json.loads(told(capsys, "store", "list", "--json")[1])["artifacts"]
    assert {(each["parameters"], each["script"]) for each in kept} == {
        ("n=3", str(tmp_path / "rows_a.py")),
        ("n=30", str(tmp_path / "rows_b.py")),
    }


def test_the_manifest_of_an_earlier_version_is_listed(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FDM_STORE", str(tmp_path / "store"))
    (tmp_path / "rows_d.py").write_text(f"{SAME_NAME}p = fdm.pipeline(fdm.clean(rows), fdm.batch(2))")
    assert 0 == told(capsys, "prepare", f"{tmp_path / 'rows_d.py'}:p")[0]
    (manifest,) = tmp_path.glob("store/*/manifest.json")
    about = json.loads(manifest.read_text())
    manifest.parent.chmod(0o755)
    manifest.chmod(0o644)
    manifest.write_text(
        json.dumps({name: each for name, each in about.items() if name not in ("parameters", "script")})
    )
    assert "1 artifacts" in told(capsys, "store", "list")[1]
