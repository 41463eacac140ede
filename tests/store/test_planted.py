"""Locks and notes where others can write: what is planted in their places is not followed, hangs nothing, breaks nothing."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch

import fdm


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, fifos and modes are those of POSIX")


def numbers(*, n=6):
    return fdm.Table({"x": torch.arange(n)})


NOTES = {
    "text": lambda path, home: path.write_text("{"),
    "list": lambda path, home: path.write_text("[3]"),
    "deep": lambda path, home: path.write_text("[" * 100_000),
    "wrong entries": lambda path, home: path.write_text(json.dumps({"failures": [3, {"attempt": 1}], "progress": 3})),
    "failures that are none": lambda path, home: path.write_text(json.dumps({"failures": 3})),
    "fifo": lambda path, home: os.mkfifo(path),
    "folder": lambda path, home: path.mkdir(),
    "link": lambda path, home: path.symlink_to(home),
    "link to nothing": lambda path, home: path.symlink_to(home.with_name("nothing")),
}


@pytest.mark.parametrize("plant", NOTES.values(), ids=NOTES)
@pytest.mark.parametrize("ending", ["json", "failed.json", "lock"])
def test_what_is_planted_among_the_locks_is_no_hindrance(tmp_path, ending, plant):
    store, home = tmp_path / "store", tmp_path / "home"
    home.write_text("precious")
    p = fdm.pipeline(fdm.clean(numbers), fdm.batch(2))
    fdm.open(p, store=store).close()
    (artifact,) = fdm.store.prune(store, larger_than=0)
    path = store / ".locks" / f"{artifact.folder.name}.{ending}"
    path.unlink(missing_ok=True)
    plant(path, home)
    fdm.open(p, store=store).close()
    assert "precious" == home.read_text()
    assert not home.with_name("nothing").exists()


LOAD = """
import os, sys, time
import fdm

def slow(*, journal):
    with open(journal, "a") as file: file.write("begin ")
    time.sleep(float(sys.argv[2]))
    with open(journal, "a") as file: file.write("end ")
    return list(range(4))

rank, wait = int(sys.argv[1]), float(sys.argv[3])
context = fdm.RankContext(rank=rank, world_size=2, local_rank=rank, local_world_size=2)
p = fdm.pipeline(fdm.load(slow, journal="journal"), fdm.batch(2))
from fdm._executor import open_alone
print(len(open_alone(fdm.Executor(context=context, wait=wait), p).splits))
"""


def loading(folder, seconds, wait, **environ):
    (folder / "script.py").write_text(LOAD)
    command = [sys.executable, "script.py"]
    return [
        subprocess.Popen([*command, str(rank), seconds, wait], cwd=folder, env={**os.environ, **environ})
        for rank in range(2)
    ]


def places(tmp_path):
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    return {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}


def finished(processes):
    return [process.wait(timeout=120) for process in processes]


def test_the_lock_of_load_is_where_nobody_else_can_write(tmp_path):
    environ = places(tmp_path)
    assert [0, 0] == finished(loading(tmp_path, "1", "60", **environ))
    assert ["begin", "end", "begin", "end"] == (tmp_path / "journal").read_text().split()
    assert [] == list((tmp_path / "tmp").iterdir())
    (folder,) = (tmp_path / "home").rglob(".turns")
    assert (0o700, 0o700) == (folder.stat().st_mode & 0o777, folder.parent.stat().st_mode & 0o777)


@pytest.mark.parametrize("planted", ["link", "open", "other"])
def test_the_lock_of_load_is_in_no_folder_of_others(tmp_path, planted):
    environ = places(tmp_path)
    (tmp_path / "home" / "fdm").write_text("no folder")  # so that the temporary folder has to do
    folder, victim = tmp_path / "tmp" / f"fdm-{os.getuid()}", tmp_path / "victim"
    victim.mkdir()
    if planted == "link":
        folder.symlink_to(victim)
    else:
        folder.mkdir()
        folder.chmod(0o777)
    if planted == "other" and os.getuid() == 0:
        os.chown(folder, 65534, 65534)
    assert [0, 0] == finished(loading(tmp_path, "0.1", "60", **environ))
    assert [] == [*victim.iterdir(), *folder.iterdir()]


def test_who_waits_for_a_load_waits_as_long_as_asked(tmp_path):
    began = time.monotonic()
    assert [0, 0] == finished(loading(tmp_path, "6", "1", **places(tmp_path)))
    journal = (tmp_path / "journal").read_text().split()
    assert ["begin", "begin", "end", "end"] == journal, time.monotonic() - began
