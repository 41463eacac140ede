"""What is opened is checked: a manifest that is not fdm's, of another address or version, that leads outside, or lies."""

import json
import os
import sys
import threading
import time
import traceback
import warnings
from datetime import timedelta

import pytest
import torch

import fdm
from fdm._cli.main import main


def numbers(*, n=6):
    return fdm.Table({"x": torch.arange(n), "word": fdm.Ragged.of(["word"] * n)})


def written(into, *, n=3):
    (into / "below").mkdir()
    for number in range(n):
        (into / "below" / f"{number}.txt").write_text(str(number))
    (into / "c:odd name").write_text("odd")


def read(folder):
    return fdm.Table({"x": torch.tensor([int(path.read_text()) for path in sorted(folder.glob("below/*"))])})


def size_of(source):
    return {"n": len(source)}


PIPELINE = fdm.pipeline(fdm.clean(numbers), fdm.measure(size_of).on("all"), fdm.batch(2))
FETCHED = fdm.pipeline(fdm.fetch(written), fdm.load(read), fdm.batch(2))


def rows(p, store, **options):
    with fdm.open(p, store=store, **options) as data:
        return data._prepared.sources["all"]["x"].tolist()


def file_of(about):
    return about["files"][0]


LIES = {
    "another version": lambda about: about.update(version=2),
    "a version that is no number": lambda about: about.update(version=True),
    "no version": lambda about: about.pop("version"),
    "another address": lambda about: about.update(address="f" * 64),
    "an address that begins alike": lambda about: about.update(address=about["address"][:40] + "0" * 24),
    "no address": lambda about: about.pop("address"),
    "files that are none": lambda about: about.update(files=3),
    "files that are names": lambda about: about.update(files=["x"]),
    "no files": lambda about: about.pop("files"),
    "a path above": lambda about: file_of(about).update(path="../../secret"),
    "a path that is whole": lambda about: file_of(about).update(path="/etc/passwd"),
    "a path with a zero": lambda about: file_of(about).update(path="a\x00b"),
    "a path in a roundabout way": lambda about: file_of(about).update(path="x/../tables.json"),
    "no path": lambda about: file_of(about).update(path=""),
    "a path that is a number": lambda about: file_of(about).update(path=3),
    "another size": lambda about: file_of(about).update(size=file_of(about)["size"] + 1),
    "a size below nothing": lambda about: file_of(about).update(size=-1),
    "a size that is no number": lambda about: file_of(about).update(size="3"),
    "a digest that is none": lambda about: file_of(about).update(sha256="x"),
    "a file that is not there": lambda about: about["files"].append({"path": "no", "size": 0, "sha256": "0" * 64}),
    "a time that is none": lambda about: about.update(created="yesterday"),
    "a stage that is none": lambda about: about.update(stage=None),
    "inputs that are none": lambda about: about.update(inputs=[3]),
    "inputs without entries": lambda about: about.update(inputs=[{"given": "x"}]),
}


@pytest.mark.parametrize("kind", ["clean", "measure", "fetch"])
@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_a_store_error_with_the_remedy(tmp_path, lie, kind):
    p = FETCHED if kind == "fetch" else PIPELINE
    fdm.open(p, store=tmp_path).close()
    (path,) = tmp_path.glob(f"{kind}-*/manifest.json")
    about = json.loads(path.read_text())
    LIES[lie](about)
    path.write_text(json.dumps(about))
    with pytest.raises(fdm.StoreError, match=r"remove the folder, and it is made again|update fdm"):
        fdm.open(p, store=tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '"x"', "{", "[" * 100_000, "\xff", '{"version": 1}'])
def test_what_is_no_manifest_is_a_store_error_wherever_it_is_read(tmp_path, text):
    fdm.open(PIPELINE, store=tmp_path).close()
    (path,) = tmp_path.glob("clean-*/manifest.json")
    path.write_text(text, encoding="latin-1")
    for ask in (
        lambda: fdm.open(PIPELINE, store=tmp_path),
        lambda: fdm.open(PIPELINE, store=tmp_path, verify=True),
        lambda: fdm.Executor(store=tmp_path).prepare(PIPELINE),
    ):
        with pytest.raises(fdm.StoreError, match="remove the folder"):
            ask()
    (damage,) = fdm.store.verify(tmp_path)
    assert path == damage.file
    assert "remove the folder" in damage.found


@pytest.mark.parametrize("lie", sorted(LIES.keys() - {"an address that begins alike"}))  # which only who opens it knows
def test_whatever_is_damaged_all_artifacts_are_listed_and_all_that_is_wrong_is_told(tmp_path, lie, capsys):
    fdm.open(PIPELINE, store=tmp_path).close()
    fdm.open(FETCHED, store=tmp_path).close()
    lost, damaged, flipped = (next(tmp_path.glob(f"{kind}-*")) for kind in ("measure", "clean", "fetch"))
    about = json.loads((damaged / "manifest.json").read_text())
    LIES[lie](about)
    (damaged / "manifest.json").write_text(json.dumps(about))
    (lost / "manifest.json").unlink()
    (flipped / "files" / "below" / "1.txt").write_text("9")
    files = {damage.file for damage in fdm.store.verify(tmp_path)}
    assert {lost / "manifest.json", flipped / "files" / "below" / "1.txt"} < files
    assert [damaged] == sorted({path for path in tmp_path.glob("clean-*") for file in files if path in file.parents})
    kept = {artifact.folder: artifact for artifact in fdm.store.artifacts(tmp_path)}
    assert {damaged, flipped} == set(kept)
    assert ("clean", "fetch") == (kept[damaged].stage, kept[flipped].stage)
    assert kept[flipped].damage is None
    # What only the files themselves tell is no damage of a manifest.
    of_files = lie in ("another size", "a file that is not there")
    assert of_files == (kept[damaged].damage is None)
    assert 0 == main(["store", "list", "--store", str(tmp_path)])
    out = capsys.readouterr().out
    assert "written" in out
    assert of_files == ("damaged" not in out)
    assert 1 == main(["store", "verify", "--store", str(tmp_path)])
    assert str(damaged) in capsys.readouterr().out
    assert not fdm.store.prune(tmp_path, larger_than=0, keep=[PIPELINE, FETCHED])
    assert {damaged, flipped} == {artifact.folder for artifact in fdm.store.prune(tmp_path, larger_than=0)}
    assert lost.is_dir()


@pytest.mark.parametrize("kind", ["clean", "measure", "fetch"])
def test_an_artifact_that_lost_its_manifest_is_a_store_error_with_the_remedy(tmp_path, kind):
    p = FETCHED if kind == "fetch" else PIPELINE
    fdm.open(p, store=tmp_path).close()
    (path,) = tmp_path.glob(f"{kind}-*/manifest.json")
    path.unlink()
    with pytest.raises(fdm.StoreError, match=r"has no manifest.*remove the folder, and it is made again"):
        fdm.open(p, store=tmp_path)
    assert [path] == [damage.file for damage in fdm.store.verify(tmp_path)]


def test_every_file_has_its_size_whenever_it_is_opened_and_its_digest_on_request(tmp_path):
    for p, pattern in ((PIPELINE, "clean-*/*.safetensors"), (FETCHED, "fetch-*/files/below/1.txt")):
        before = rows(p, tmp_path, verify=True)
        (path,) = tmp_path.glob(pattern)
        raw = path.read_bytes()
        path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        assert len(before) == len(rows(p, tmp_path))
        with pytest.raises(fdm.StoreError, match=f"{path.name} has the sha256 .* remove the folder"):
            fdm.open(p, store=tmp_path, verify=True)
        for wrong in (raw[:-1], raw + b"\0"):
            path.write_bytes(wrong)
            with pytest.raises(fdm.StoreError, match=f"{path.name} has {len(wrong)} bytes"):
                fdm.open(p, store=tmp_path)
        path.unlink()
        with pytest.raises(fdm.StoreError, match=f"{path.name} is no file"):
            fdm.open(p, store=tmp_path)
    with pytest.raises(fdm.PipelineError, match="verify is True or False"):
        fdm.Executor(verify=1)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b", "..", ".", "", 3, None, "x\x00y"])
def test_a_table_outside_of_its_artifact_is_not_opened(tmp_path, name):
    from fdm.store._tables import open_tables, save_tables

    save_tables({"": [numbers()]}, tmp_path)
    save_tables({"": [numbers()]}, tmp_path.parent)
    (tmp_path / "tables.json").write_text(json.dumps({"": name}))
    with pytest.raises(fdm.StoreError):
        open_tables(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
def test_a_store_that_others_can_write_to_is_told_once_with_the_remedy(tmp_path):
    for mode, who in ((0o775, "its group"), (0o1777, "everybody")):
        store = tmp_path / f"{mode}"
        store.mkdir()
        store.chmod(mode)
        with pytest.warns(UserWarning, match=f"{who} can write to the store .*: chmod go-w {store}"):
            fdm.open(PIPELINE, store=store).close()
        fdm.open(PIPELINE, store=store).close()
    with warnings.catch_warnings(record=True) as seen:
        fdm.open(PIPELINE, store=tmp_path / "own").close()
    assert [] == seen


def test_what_is_pruned_while_it_is_opened_is_made_anew_or_read(tmp_path):
    """Openings, lists and verifications beside a prune every few milliseconds."""
    p = fdm.pipeline(fdm.fetch(written), fdm.clean(read), fdm.measure(size_of).on("all"), fdm.batch(2))
    is_over, pruned, failures = threading.Event(), [], []

    def prune():
        while not is_over.is_set():
            try:
                pruned.extend(fdm.store.prune(tmp_path, unused_for=timedelta(0)))
            except Exception as error:  # noqa: BLE001 - told below
                failures.append(error)
            time.sleep(0.003)

    def look():
        while not is_over.is_set():
            try:
                assert [] == fdm.store.verify(tmp_path)
                fdm.store.artifacts(tmp_path)
            except Exception as error:  # noqa: BLE001 - told below
                failures.append(error)

    rows(p, tmp_path)
    threads = [threading.Thread(target=work) for work in (prune, look)]
    for thread in threads:
        thread.start()
    try:
        assert [[0, 1, 2]] * 40 == [rows(p, tmp_path) for _ in range(40)]
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert [] == [(str(error), traceback.format_tb(error.__traceback__)) for error in failures]
    assert pruned


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a removed file stays open")
def test_data_whose_artifact_was_pruned_says_so_where_workers_cannot_start(tmp_path):
    with fdm.open(PIPELINE, store=tmp_path, workers=1, start_method="spawn") as data:
        fdm.store.prune(tmp_path, larger_than=0)
        assert [0, 1, 2, 3, 4, 5] == data._prepared.sources["all"]["x"].tolist()
        with pytest.raises((fdm.StoreError, fdm.WorkerError), match=r"no longer there.*open the pipeline again"):
            next(iter(data.loader("all", epoch=0)))
