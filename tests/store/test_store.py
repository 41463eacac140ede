"""The store under many processes, failures, full disks and damage; and what fdm.store tells and removes."""

import errno
import logging
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch

import fdm


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks processes")
FORK = multiprocessing.get_context("fork") if sys.platform != "win32" else None


def slow(*, journal, seconds=0.3, rows=100):
    with Path(journal).open("a", encoding="utf-8") as file:
        file.write("ran\n")
    time.sleep(seconds)
    return fdm.Table({"x": torch.arange(rows)})


def failing(*, journal, waiters=0):
    slow(journal=journal)
    while len(list(Path(journal).parent.glob("*.waits"))) < waiters:
        time.sleep(0.01)
    message = "the disk of sorrows"
    raise ZeroDivisionError(message)


def parts():
    return [str(number) for number in range(6)]


def slow_part(part, *, journal):
    return slow(journal=journal, seconds=0.1, rows=int(part) + 1)


def large():
    return fdm.Table({"x": torch.zeros(1 << 20)})


def tally(source):
    return {"n": len(source)}


def sleeper(tmp_path, **params):
    return fdm.pipeline(fdm.clean(slow, journal=str(tmp_path / "journal"), **params), fdm.batch(10))


def runs(tmp_path):
    return len((tmp_path / "journal").read_text(encoding="utf-8").splitlines())


def open_and_tell(p, store, results, prepare=lambda: None, **options):
    torch.set_num_threads(1)
    prepare()
    try:
        with fdm.open(p, store=store, **options) as data:
            results.put(data._prepared.sources["all"]["x"].tolist())
    except Exception as error:  # noqa: BLE001 - told to the test
        results.put((type(error).__name__, str(error)))


class Says(logging.Handler):
    """Leaves a file of this process when it says that it waits."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def emit(self, record):
        if record.getMessage().startswith("waiting for"):
            (self.folder / f"{os.getpid()}.waits").touch()


def say_who_waits(folder):
    logging.getLogger("fdm").addHandler(Says(folder))
    logging.getLogger("fdm").setLevel(logging.INFO)


def started(count, *args, **options):
    results = FORK.Queue()
    processes = [FORK.Process(target=open_and_tell, args=(*args, results), kwargs=options) for _ in range(count)]
    for process in processes:
        process.start()
    return processes, results


def told(processes, results):
    found = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join(60)
    return found


def no_locks():
    """As on a file system that has none: every attempt to lock is refused."""
    import fcntl

    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    fcntl.flock = flock


def test_eight_processes_that_open_at_once_prepare_once_and_read_the_same(tmp_path):
    found = told(*started(8, sleeper(tmp_path), tmp_path / "store"))
    assert [list(range(100))] * 8 == found
    assert 1 == runs(tmp_path)


def test_without_locks_work_may_be_doubled_but_the_data_is_right(tmp_path):
    found = told(*started(8, sleeper(tmp_path), tmp_path / "store", prepare=no_locks))
    assert [list(range(100))] * 8 == found
    assert [] == fdm.store.verify(tmp_path / "store")
    assert 1 == len(fdm.store.artifacts(tmp_path / "store"))
    assert [] == list((tmp_path / "store" / ".staging").iterdir())


def test_without_locks_parts_may_be_doubled_but_the_data_is_right(tmp_path):
    p = fdm.pipeline(fdm.clean(slow_part, journal=str(tmp_path / "journal")).each(parts), fdm.batch(2))
    found = told(*started(3, p, tmp_path / "store", prepare=no_locks))
    assert [[row for n in range(6) for row in range(n + 1)]] * 3 == found
    assert [] == fdm.store.verify(tmp_path / "store")


def test_who_waits_learns_the_true_cause_of_a_failure_and_does_not_repeat_it(tmp_path):
    p = fdm.pipeline(fdm.clean(failing, journal=str(tmp_path / "journal"), waiters=5), fdm.batch(10))
    found = told(*started(6, p, tmp_path / "store", prepare=lambda: say_who_waits(tmp_path)))
    kinds = sorted(kind for kind, _ in found)
    assert ["PreparationError"] * 5 + ["ZeroDivisionError"] == kinds
    messages = [message for kind, message in found if kind == "PreparationError"]
    assert all("failed: ZeroDivisionError: the disk of sorrows" in message for message in messages)
    assert all("in failing" in message and "test_store.py" in message for message in messages)
    assert 1 == runs(tmp_path)
    with pytest.raises(ZeroDivisionError):  # who comes later tries again
        fdm.open(p, store=tmp_path / "store")


def test_who_waits_for_a_process_that_dies_takes_over(tmp_path):
    p = sleeper(tmp_path, seconds=1.0)
    (holder,), _ = started(1, p, tmp_path / "store")
    while not (tmp_path / "journal").exists():
        time.sleep(0.01)
    others = started(2, p, tmp_path / "store")
    time.sleep(0.2)
    os.kill(holder.pid, signal.SIGKILL)
    assert [list(range(100))] * 2 == told(*others)
    assert 2 == runs(tmp_path)
    assert [] == list((tmp_path / "store" / ".staging").iterdir())


def test_who_waits_says_for_whom_since_when_and_how_far_it_is(tmp_path, caplog):
    p = fdm.pipeline(fdm.clean(slow_part, journal=str(tmp_path / "journal")).each(parts), fdm.batch(2))
    (holder,), results = started(1, p, tmp_path / "store")
    while not (tmp_path / "journal").exists():
        time.sleep(0.01)
    with caplog.at_level(logging.INFO, logger="fdm"):
        fdm.open(p, store=tmp_path / "store")
    assert 1 == len(told([holder], results))
    assert f"waiting for process {holder.pid} of " in caplog.text
    assert "which makes clean-slow_part-" in caplog.text
    assert " since 2" in caplog.text
    assert "of 6 parts" in caplog.text


def test_waiting_ends_when_asked(tmp_path):
    p = sleeper(tmp_path, seconds=2)
    processes, results = started(1, p, tmp_path / "store")
    while not (tmp_path / "journal").exists():
        time.sleep(0.01)
    with pytest.raises(fdm.StoreError, match=r"waited 0.3 seconds for process \d+ of .*wait longer"):
        fdm.open(p, store=tmp_path / "store", wait=0.3)
    assert [list(range(100))] == told(processes, results)


def limit_file_size():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path):
    small, big = sleeper(tmp_path, seconds=0), fdm.pipeline(fdm.clean(large), fdm.batch(10))
    fdm.open(small, store=tmp_path / "store")
    (kind, message), after = [
        told(*started(1, p, tmp_path / "store", prepare=limit_file_size))[0] for p in (big, small)
    ]
    assert "StoreError" == kind
    assert "File too large" in message
    assert "what is published is untouched" in message
    assert list(range(100)) == after
    assert [] == fdm.store.verify(tmp_path / "store")
    assert [] == list((tmp_path / "store" / ".staging").iterdir())
    assert 1 << 20 == fdm.open(big, store=tmp_path / "store").splits["all"]


def test_a_store_that_cannot_be_written_can_be_read(tmp_path):
    p = sleeper(tmp_path, seconds=0)
    (tmp_path / "file").touch()
    with pytest.raises(fdm.StoreError, match=r"the store .*/file cannot be written .*store=\.\.\. or \$FDM_STORE"):
        fdm.open(p, store=tmp_path / "file")
    fdm.open(p, store=tmp_path / "store")
    found = told(*started(1, p, tmp_path / "store", prepare=lambda: as_nobody(tmp_path / "store")))
    assert [list(range(100))] == found
    other = fdm.replace(p, fdm.clean(slow, journal=str(tmp_path / "journal"), rows=5))
    ((kind, message),) = told(*started(1, other, tmp_path / "store", prepare=lambda: as_nobody(tmp_path / "store")))
    assert ("StoreError", True) == (kind, "cannot be written" in message)


def as_nobody(store):
    """Give up the right to write anywhere: the folders are read-only, and root no longer root."""
    for folder in [store, *(path for path in store.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    for parent in store.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path(parent.root):
            parent.chmod(parent.stat().st_mode | 0o055)
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


def test_a_flipped_byte_is_found_and_named(tmp_path):
    fdm.open(sleeper(tmp_path, seconds=0), store=tmp_path / "store")
    assert [] == fdm.store.verify(tmp_path / "store")
    (file,) = (tmp_path / "store").glob("clean-*/*.safetensors")
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 1
    file.write_bytes(raw)
    (damage,) = fdm.store.verify(tmp_path / "store")
    assert file == damage.file
    assert damage.expected != damage.found
    assert damage.expected.startswith("sha256 ")
    file.write_bytes(raw[:-1])
    (damage,) = fdm.store.verify(tmp_path / "store")
    assert (f"{len(raw)} bytes", f"{len(raw) - 1} bytes") == (damage.expected, damage.found)
    file.unlink()
    assert "no file" == fdm.store.verify(tmp_path / "store")[0].found
    (file.parent / "stray").touch()
    assert {"no file"} == {fdm.store.verify(tmp_path / "store")[1].expected}


def test_artifacts_are_listed_with_what_made_them(tmp_path):
    assert [] == fdm.store.artifacts(tmp_path / "nowhere")
    p = fdm.pipeline(fdm.clean(slow, journal=str(tmp_path / "journal"), seconds=0), fdm.measure(tally).on("all"))
    fdm.open(p, store=tmp_path / "store")
    found = {artifact.stage: artifact for artifact in fdm.store.artifacts(tmp_path / "store")}
    assert {"clean": "test_store.slow", "measure": "test_store.tally"} == {
        stage: artifact.function for stage, artifact in found.items()
    }
    assert found["clean"].size > 800
    assert found["clean"].created.tzinfo is not None


def test_pruning_removes_what_is_old_or_too_much_and_keeps_what_is_needed(tmp_path):
    store = tmp_path / "store"
    pipelines = [sleeper(tmp_path, seconds=0, rows=rows) for rows in (1000, 2000, 3000)]
    for p in pipelines:
        fdm.open(p, store=store)
    sizes = {artifact.address: artifact.size for artifact in fdm.store.artifacts(store)}
    for age, artifact in enumerate(sorted(fdm.store.artifacts(store), key=lambda artifact: artifact.size)):
        manifest = artifact.folder / "manifest.json"
        os.utime(manifest, (time.time() - 86400 * (3 - age), time.time() - 86400 * (3 - age)))
    small, middle, big = sorted(fdm.store.artifacts(store), key=lambda artifact: artifact.size)
    assert [big, middle, small] == fdm.store.artifacts(store)
    assert [small] == fdm.store.prune(store, unused_for=timedelta(days=2.5), dry_run=True)
    assert [small, middle] == fdm.store.prune(store, larger_than=big.size, dry_run=True)
    assert [middle] == fdm.store.prune(store, larger_than=small.size + big.size, keep=[pipelines[0]], dry_run=True)
    assert 3 == len(fdm.store.artifacts(store))
    data = fdm.open(pipelines[0], store=store)
    os.utime(small.folder / "manifest.json", (0, 0))
    assert [small.folder] == [artifact.folder for artifact in fdm.store.prune(store, unused_for=timedelta(days=2.5))]
    assert list(range(1000)) == data._prepared.sources["all"]["x"].tolist()  # who has it open goes on reading
    assert {middle.address, big.address} == {artifact.address for artifact in fdm.store.artifacts(store)}
    assert set(sizes) > {middle.address, big.address}
    assert [] == list((store / ".staging").iterdir())
    with pytest.raises(fdm.StoreError, match="say what to remove"):
        fdm.store.prune(store)


def test_opening_counts_as_use(tmp_path):
    p = sleeper(tmp_path, seconds=0)
    fdm.open(p, store=tmp_path / "store")
    (artifact,) = fdm.store.artifacts(tmp_path / "store")
    os.utime(artifact.folder / "manifest.json", (0, 0))
    fdm.open(p, store=tmp_path / "store")
    assert [] == fdm.store.prune(tmp_path / "store", unused_for=timedelta(days=1))


def test_an_edited_helper_recomputes_exactly_the_stages_below_it(tmp_path):
    import subprocess

    module = """
import sys, torch, fdm
def log(name):
    with open("journal", "a") as file: file.write(name + " ")
def raw(into):
    log("raw"); (into / "x").write_text("3")
def scale(n):
    # COMMENT
    return n * FACTOR
FACTOR = 2
def first(folder):
    log("first"); return fdm.Table({"x": torch.arange(int((folder / "x").read_text()))})
def second(table):
    log("second"); return fdm.Table({"x": scale(table["x"])})
def tally(source):
    log("tally"); return {"n": len(source)}
p = fdm.pipeline(
    fdm.fetch(raw).version("1"), fdm.clean(first).version("1"), fdm.clean(second), fdm.measure(tally).on("all").version("1"),
)
if __name__ == "__main__":
    with fdm.open(p, store="store") as data: print(data._prepared.sources["all"]["x"].tolist())
"""

    def run(text):
        (tmp_path / "journal").write_text("")
        (tmp_path / "module.py").write_text(text)
        ran = subprocess.run([sys.executable, "module.py"], capture_output=True, text=True, check=True, cwd=tmp_path)
        return ran.stdout.strip(), (tmp_path / "journal").read_text().split()

    assert ("[0, 2, 4]", ["raw", "first", "second", "tally"]) == run(module)
    assert ("[0, 2, 4]", []) == run(module.replace("# COMMENT", "# another"))
    assert ("[0, 3, 6]", ["second", "tally"]) == run(module.replace("FACTOR = 2", "FACTOR = 3"))
    assert ("[1, 3, 5]", ["second", "tally"]) == run(module.replace("n * FACTOR", "n * FACTOR + 1"))
    assert ("[0, 2, 4]", []) == run(module)


SHUT = """
import os, sys
from pathlib import Path

import fdm
from fdm.testing import example_table

store, shut = Path(sys.argv[1]), sys.argv[2]
p = fdm.pipeline(fdm.clean(example_table, n=4), fdm.batch(2))
fdm.open(p, store=store).close()
(artifact,) = (path for path in store.iterdir() if not path.name.startswith("."))
for path in artifact.rglob("*"):
    path.chmod(0o644)
{"folder": artifact, "manifest": artifact / "manifest.json", "data": next(artifact.glob("*.safetensors"))}[shut].chmod(0o600)
os.setgid(65534)
os.setuid(65534)
try:
    fdm.open(p, store=store)
except fdm.StoreError as error:
    print(error)
"""


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can be another user")
@pytest.mark.parametrize("shut", ["folder", "manifest", "data"])
def test_what_another_user_keeps_to_themselves_is_told_with_the_remedy(shut):
    with tempfile.TemporaryDirectory() as store:  # below which another user may look
        Path(store).chmod(0o755)
        script = Path(store) / "script.py"
        script.write_text(SHUT)
        run = subprocess.run(
            [sys.executable, script, f"{store}/store", shut], capture_output=True, text=True, timeout=300
        )
    assert "belongs to" in run.stdout, run.stderr
    assert "chmod -R a+rX" in run.stdout
