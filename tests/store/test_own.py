"""What a store removes: this user's own folders, named by fdm, of dead processes; nothing is followed, nothing else goes."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch

import fdm
from fdm._processes.owner import machine, owner


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and owners are those of POSIX")
ADDRESS = "0123456789abcdef" * 2
MONTHS = 100 * 24 * 3600
WEEK = 8 * 24 * 3600


def numbers(*, n=6):
    return fdm.Table({"x": torch.arange(n)})


def pipeline(n=6):
    return fdm.pipeline(fdm.clean(numbers, n=n), fdm.batch(2))


def dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    name = owner(process.pid)
    process.wait()
    return name


def filled(folder, age=0.0):
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").write_text("precious")
    for path in (folder / "inner" / "file", folder / "inner", folder):
        os.utime(path, (time.time() - age,) * 2)
    return folder


def prepared(store, n):
    fdm.open(pipeline(n), store=store).close()


def planted(room, elsewhere):
    """What is not to be touched, each of which was in the way or was removed at some time; of a store that may be the
    folder of a project, or that others can write to."""
    left = f"{dead()}.01234567"
    yield filled(room / "website", MONTHS)
    yield filled(room / f"website.{owner()}.01234567", MONTHS)  # of a process that lives
    yield filled(room / f"clean-x-{ADDRESS}.0123456789ab-7-7.01234567", WEEK)  # of another machine
    yield filled(room / f"clean-x.{machine()}-{'9' * 40}-7.01234567", MONTHS)  # of no process at all
    yield filled(room / "clean-x.elsewhere-1-1.12345678", MONTHS)
    yield filled(room / f"report.2.{dead()}", MONTHS)
    for name in (".DS_Store", ".nfs000001", f"clean-file-{ADDRESS}.{left}"):
        (room / name).write_text("precious")
        os.utime(room / name, (0, 0))
        yield room / name
    os.mkfifo(room / f"clean-fifo-{ADDRESS}.{left}")
    yield room / f"clean-fifo-{ADDRESS}.{left}"
    filled(elsewhere / "home", MONTHS)
    (room / f"clean-link-{ADDRESS}.{left}").symlink_to(elsewhere / "home")
    yield elsewhere / "home"
    (room / f"clean-link-{ADDRESS}").symlink_to(elsewhere / "home")
    yield room / f"clean-link-{ADDRESS}"
    if os.getuid() == 0:
        others = filled(room / f"clean-other-{ADDRESS}.{left}")
        os.chown(others, 65534, 65534)
        yield others


@pytest.mark.parametrize("room", [".staging", ".kept"])
def test_only_what_dead_processes_of_this_user_left_is_removed(tmp_path, room):
    store = tmp_path / "store"
    prepared(store, 1)
    kept = list(planted(store / room, tmp_path / "elsewhere"))
    gone = filled(store / room / f"clean-x-{ADDRESS}.{dead()}.01234567")
    prepared(store, 2)
    assert not gone.exists()
    gone = filled(store / room / f"clean-x-{ADDRESS}.{dead()}.01234567")
    fdm.store.prune(store, unused_for=timedelta(days=9))
    assert not gone.exists()
    assert [] == [path for path in kept if not os.path.lexists(path)]
    assert all((path / "inner" / "file").exists() for path in kept if path.is_dir())
    assert 2 == len(fdm.store.artifacts(store))


@pytest.mark.parametrize("kind", ["link", "file", "dangling", "other"])
@pytest.mark.parametrize("room", [".staging", ".kept", ".locks"])
def test_a_planted_place_is_not_followed_and_stops_nothing(tmp_path, room, kind):
    if kind == "other" and os.getuid() != 0:
        pytest.skip("needs another user")
    store, home = tmp_path / "store", tmp_path / "home"
    store.mkdir()
    names = [f"clean-x-{ADDRESS}.{dead()}.01234567", "thesis", f"clean-numbers-{ADDRESS}"]
    found = [filled(home / name) for name in names]
    if kind == "file":
        (store / room).touch()
    elif kind == "other":
        home.rename(store / room)
        found = [store / room / name for name in names]
        os.chown(store / room, 65534, 65534)
    else:
        (store / room).symlink_to(home if kind == "link" else tmp_path / "nowhere")
    for n in (1, 2):
        prepared(store, n)
    fdm.store.prune(store, larger_than=0)
    assert [] == fdm.store.artifacts(store)
    assert all((path / "inner" / "file").exists() for path in found)
    assert kind == "other" or 3 == len(list(home.iterdir()))
    assert not (tmp_path / "nowhere").exists()


def test_a_project_keeps_its_own_folders_where_it_is_the_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = [
        filled(tmp_path / name, MONTHS) for name in (".staging/website", ".kept/jam", "web-extension", f"x-{ADDRESS}")
    ]
    (tmp_path / "web-extension" / "manifest.json").write_text('{"manifest_version": 3}')
    (tmp_path / "link-0123456789abcdef0123456789abcdef").symlink_to(tmp_path / "web-extension")
    prepared(".", 1)
    assert 1 == len(fdm.store.artifacts("."))
    assert [] == fdm.store.verify(".")
    assert 1 == len(fdm.store.prune(".", unused_for=timedelta(0)))
    assert all((path / "inner" / "file").exists() for path in own)


def parts():
    return [str(number) for number in range(4)]


def part(name, *, gate):
    if name == "3" and not Path(gate).exists():
        message = "not yet"
        raise RuntimeError(message)
    return fdm.Table({"x": torch.tensor([int(name)])})


@pytest.mark.skipif(getattr(os, "getuid", lambda: 1)() != 0, reason="only root can be another user")
def test_kept_parts_of_another_user_are_not_published_as_ones_own(tmp_path):
    store, gate = tmp_path / "store", tmp_path / "gate"
    p = fdm.pipeline(fdm.clean(part, gate=str(gate)).each(parts).version("1"), fdm.batch(2))
    with pytest.raises(RuntimeError, match="not yet"):
        fdm.open(p, store=store)
    (kept,) = (store / ".kept").iterdir()
    planted = next(path for path in kept.iterdir())
    from fdm.store._tables import save_tables

    save_tables({"": [fdm.Table({"x": torch.tensor([99])})]}, planted)
    os.chown(planted, 65534, 65534)
    gate.touch()
    with fdm.open(p, store=store) as data:
        assert [0, 1, 2, 3] == data._prepared.sources["all"]["x"].tolist()
    assert [] == fdm.store.verify(store)


def test_a_store_is_made_for_its_user_alone_and_a_folder_that_is_there_keeps_its_mode(tmp_path):
    prepared(tmp_path / "own" / "store", 1)
    assert 0o700 == (tmp_path / "own" / "store").stat().st_mode & 0o777
    (tmp_path / "shared").mkdir(mode=0o755)
    prepared(tmp_path / "shared", 1)
    assert 0o755 == (tmp_path / "shared").stat().st_mode & 0o777


@pytest.mark.parametrize("name", ["\ud800", "a\x00b", "n" * 256, "a/" + "n" * 256], ids=ascii)
def test_a_store_that_cannot_have_its_name_is_a_store_error(tmp_path, name):
    with pytest.raises(fdm.StoreError, match=r"store=\.\.\. or \$FDM_STORE"):
        prepared(str(tmp_path / "x") + name, 1)
