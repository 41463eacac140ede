"""Stores of other users: what may not be read or written is told with its owner and the remedy; the rest is used."""

import multiprocessing
import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch

import fdm
from fdm._cli.main import main


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and users are those of POSIX")
FORK = multiprocessing.get_context("fork") if sys.platform != "win32" else None


def numbers(*, n=6):
    return fdm.Table({"x": torch.arange(n)})


def size_of(source):
    return {"n": len(source)}


PIPELINE = fdm.pipeline(fdm.clean(numbers), fdm.measure(size_of).on("all"), fdm.batch(2))
OTHER = fdm.pipeline(fdm.clean(numbers, n=7), fdm.batch(2))


def as_another_user(folder):
    """Be nobody where one is root; else the modes say what another user could do, for this one too."""
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path(parent.root):
            parent.chmod(parent.stat().st_mode | 0o055)
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


def opening(p, store, results):
    torch.set_num_threads(1)
    as_another_user(store)
    try:
        with fdm.open(p, store=store) as data:
            results.put(("data", [batch["x"].tolist() for batch in data.loader("all", epoch=0)]))
    except Exception as error:  # noqa: BLE001 - told to the test
        results.put((type(error).__name__, str(error)))


def asked(folder):
    as_another_user(folder)
    from fdm import store

    found = []
    for question in (store.artifacts, store.verify):
        try:
            found.append((type(question(folder)).__name__, ""))
        except Exception as error:  # noqa: BLE001 - told to the test
            found.append((type(error).__name__, str(error)))
    return found


def answer(target, *args):
    results = FORK.Queue()
    process = FORK.Process(target=target, args=(*args, results))
    process.start()
    found = results.get(timeout=120)
    process.join()
    return found


def put_asked(folder, results):
    results.put(asked(folder))


def mode_of(path, mode):
    """What others may do; where the tests are not root's, so may they themselves."""
    path.chmod(mode if os.getuid() == 0 else mode & 0o070 << 3 | mode & 0o007 << 6)


def prepared(store):
    fdm.open(PIPELINE, store=store).close()
    store.chmod(0o755)
    return store


UNREADABLE = {
    "manifest": "clean-*/manifest.json",
    "table": "clean-*/*.safetensors",
    "names": "clean-*/tables.json",
    "artifact": "clean-*",
    "facts": "measure-*/facts.json",
    "store": ".",
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_another_user_keeps_for_itself_is_told_with_path_owner_and_remedy(what, tmp_path):
    store = prepared(tmp_path / "store")
    found = sorted(store.glob(UNREADABLE[what])) if what != "store" else [store]
    if not found:
        pytest.skip("the artifact has no such file")
    path = found[0]
    before = path.stat().st_mode
    mode_of(path, 0o700 if path.is_dir() else 0o600)
    try:
        kind, text = answer(opening, PIPELINE, store)
    finally:
        path.chmod(before)
    assert "StoreError" == kind, text
    assert str(path) in text
    assert "belongs to user" in text
    assert "chmod -R a+rX" in text
    assert "store=..." in text
    assert "remove the folder" not in text


def test_a_whole_store_of_umask_077_is_told_so(tmp_path):
    store = tmp_path / "store"
    before = os.umask(0o077)
    try:
        fdm.open(PIPELINE, store=store).close()
    finally:
        os.umask(before)
    if os.getuid() != 0:
        pytest.skip("needs another user")
    kind, text = answer(opening, PIPELINE, store)
    assert ("StoreError", True) == (kind, f"{store} cannot be read (it belongs to user root" in text), text


@pytest.mark.parametrize("hidden", [".locks", ".staging", ".kept"])
def test_a_store_that_may_only_be_read_is_used_where_all_is_there(hidden, tmp_path):
    store = prepared(tmp_path / "store")
    for path in [store, *store.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    mode_of(store / hidden, 0o700)
    try:
        assert ("data", [[0, 1], [2, 3], [4, 5]]) == answer(opening, PIPELINE, store)
        kind, text = answer(opening, OTHER, store)
    finally:
        for path in [store, *store.rglob("*")]:
            path.chmod(0o755)
    assert "StoreError" == kind
    assert "cannot be written" in text
    assert "belongs to user" in text


def test_a_lock_file_of_another_user_is_told_with_its_owner(tmp_path):
    store = tmp_path / "store"
    fdm.open(OTHER, store=store).close()
    (lock,) = (store / ".locks").glob("*.lock")
    for path in [store, *store.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    mode_of(lock, 0o600)
    for path in (store / lock.stem).iterdir():
        path.unlink()
    (store / lock.stem).rmdir()
    kind, text = answer(opening, OTHER, store)
    assert "StoreError" == kind
    assert str(lock) in text
    assert "belongs to user" in text


def test_what_others_left_half_made_is_no_hindrance(tmp_path):
    if os.getuid() != 0:
        pytest.skip("needs another user")
    store = prepared(tmp_path / "store")
    (store / ".staging" / "clean-x.0123456789ab-1-1.12345678").mkdir()
    old = store / ".staging" / "clean-y.elsewhere-1-1.12345678"
    (old / "more").mkdir(parents=True)
    (old / "more" / "file").touch()
    os.utime(old, (0, 0))
    for path in (store, store / ".locks", store / ".staging", store / ".kept"):
        path.chmod(0o1777)
    assert ("data", [[0, 1], [2, 3], [4, 5], [6]]) == answer(opening, OTHER, store)


def test_listing_a_store_tells_of_what_may_not_be_read(tmp_path):
    store = prepared(tmp_path / "store")
    (manifest,) = store.glob("clean-*/manifest.json")
    mode_of(manifest, 0o600)
    for kind, text in answer(put_asked, store):
        assert "StoreError" == kind
        assert f"{manifest} cannot be read (it belongs to user" in text


def all_asked(folder, way, results):
    """What each question about a store is answered with, by another user, who may go as far as `way`."""
    as_another_user(way)
    from fdm import store

    month = {"unused_for": timedelta(days=30)}
    questions = {
        "artifacts": lambda: store.artifacts(folder),
        "verify": lambda: store.verify(folder),
        "prune": lambda: store.prune(folder, larger_than=0),
        "dry": lambda: store.prune(folder, larger_than=0, dry_run=True),
        "none": lambda: store.prune(folder, **month),
        "listed": lambda: main(["store", "list", "--store", str(folder)]),
        "verified": lambda: main(["store", "verify", "--store", str(folder)]),
    }
    found = {}
    for name, ask in questions.items():
        try:
            found[name] = type(ask()).__name__, ""
        except Exception as error:  # noqa: BLE001 - told to the test
            found[name] = type(error).__name__, str(error)
    results.put(found)


def needs_root():
    if os.getuid() != 0:
        pytest.skip("needs another user")


def test_every_question_about_a_store_of_umask_077_is_answered_with_owner_and_remedy(tmp_path):
    needs_root()
    store = prepared(tmp_path / "own" / "store")
    for folder in (store, store.parent):  # the store itself, and one on the way to it
        folder.chmod(0o700)
        found = answer(all_asked, store, store.parent)
        for name in ("artifacts", "verify", "prune", "dry", "none"):
            kind, text = found[name]
            assert "StoreError" == kind, (name, text)
            assert f"{folder} cannot be read (it belongs to user root" in text
            assert "chmod -R a+rX" in text
        assert ("int", "int") == (found["listed"][0], found["verified"][0])
        folder.chmod(0o755)


@pytest.mark.parametrize("what", ["file", "subfolder"])
def test_verify_tells_of_a_file_that_may_not_be_read(what, tmp_path):
    store = prepared(tmp_path / "store")
    (folder,) = store.glob("clean-*")
    path = next(folder.glob("*.safetensors"))
    if what == "subfolder":
        path = folder / "more"
        path.mkdir()
    mode_of(path, 0o700 if path.is_dir() else 0o600)
    try:
        kind, text = answer(all_asked, store, store)["verify"]
    finally:
        path.chmod(0o755)
    assert "StoreError" == kind, text
    assert f"{path} cannot be read (it belongs to user" in text
    assert "chmod -R a+rX" in text


def test_prune_tells_of_what_is_not_this_users_to_remove_and_removes_the_rest(tmp_path):
    needs_root()
    store = prepared(tmp_path / "store")
    found = answer(all_asked, store, store)
    assert ("list", "list", "list") == (found["artifacts"][0], found["dry"][0], found["none"][0])
    kind, text = found["prune"]
    assert "StoreError" == kind, text
    assert "cannot be removed" in text
    assert "belongs to user root" in text
    assert "let that user prune" in text
    assert 2 == len(list(store.glob("*-*/manifest.json")))
    for path in (store, store / ".staging"):
        path.chmod(0o1777)  # where each removes what is its own
    (mine,) = store.glob("measure-*")
    for path in [mine, *mine.iterdir()]:
        os.chown(path, 65534, 65534)
    kind, text = answer(all_asked, store, store)["prune"]
    assert ("StoreError", True) == (kind, "cannot be removed" in text), text
    assert not mine.exists()
    assert 1 == len(list(store.glob("*-*/manifest.json")))
