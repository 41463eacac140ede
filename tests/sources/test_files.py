"""Files in folders, as a clean and as a load function: what is found, labelled, named, and refused."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fdm


@pytest.fixture
def root(tmp_path):
    """A tree of files, hidden ones and such of another kind among them."""
    names = [
        "dog/b.png",
        "cat/2.png",
        "cat/10.png",
        "cat/deep/dog/1.png",
        "cat/note.txt",
        ".git/dog/x.png",
        "dog/.hidden.png",
        "dog/A.PNG",
    ]
    random.Random(0).shuffle(names)
    for name in names:
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_bytes(name.encode())
    return tmp_path / "root"


NAMES = ["cat/10.png", "cat/2.png", "cat/deep/dog/1.png", "dog/b.png"]


def fetched(into, *, root):
    for name in NAMES:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (into / name).write_bytes((Path(root) / name).read_bytes())


STAGES = {
    "clean": lambda root: [fdm.clean(fdm.files, root=fdm.tracked(root), pattern="**/*.png", label="folder")],
    "load": lambda root: [fdm.load(fdm.files, root=str(root), pattern="**/*.png", label="folder")],
    "fetch and clean": lambda root: [
        fdm.fetch(fetched, root=str(root)),
        fdm.clean(fdm.files, pattern="**/*.png", label="folder"),
    ],
    "fetch and load": lambda root: [
        fdm.fetch(fetched, root=str(root)),
        fdm.load(fdm.files, pattern="**/*.png", label="folder"),
    ],
}


@pytest.mark.parametrize("how", STAGES)
def test_files_are_examples_sorted_by_name_and_labelled_by_folder(how, root, tmp_path):
    p = fdm.pipeline(
        *STAGES[how](root),
        fdm.split({"train": 3, "val": None}, shuffle=False),
        fdm.measure(fdm.class_names).on("train"),
        fdm.batch(4, ids="id"),
    )
    with fdm.open(p, store=tmp_path / "store") as data:
        assert data.facts["class_names"] == ["cat", "dog"]
        examples = [*data.dataset("train"), *data.dataset("val")]
        assert [example["name"] for example in examples] == NAMES
        assert [example["file"].decode() for example in examples] == NAMES
        assert [int(example["label"]) for example in examples] == [0, 0, 1, 1]
        batch = data.loader("train")[0]
        assert batch["file"].tolist() == [name.encode() for name in NAMES[:3]]
        assert batch["name"].tolist() == NAMES[:3]
        assert batch["label"].tolist() == [0, 0, 1]
        assert batch["label"].dtype == torch.int64


def size(example):
    return {"size": len(example["file"]), "label": example["label"]}


@pytest.mark.parametrize("how", ["clean", "load"])
def test_examples_are_stratified_and_decoded_in_threads_and_workers(how, root, tmp_path):
    p = fdm.pipeline(
        *STAGES[how](root), fdm.split({"a": 2, "b": 2}, stratify="label"), fdm.transform(size), fdm.batch(2)
    )
    for options in ({}, {"threads": 2}, {"workers": 1}):
        with fdm.open(p, store=tmp_path / "store", **options) as data:
            assert [0, 1] == sorted(data.loader("a")[0]["label"].tolist())


@pytest.mark.parametrize(
    "pattern, names",
    [
        ("*/*.png", ["cat/10.png", "cat/2.png", "dog/b.png"]),
        ("**/dog/*.png", ["cat/deep/dog/1.png", "dog/b.png"]),
        ("cat/**", ["cat/10.png", "cat/2.png", "cat/deep/dog/1.png", "cat/note.txt"]),
        ("**/?.png", ["cat/2.png", "cat/deep/dog/1.png", "dog/b.png"]),
        ("**/*.[Pp][Nn][Gg]", ["cat/10.png", "cat/2.png", "cat/deep/dog/1.png", "dog/A.PNG", "dog/b.png"]),
        ("**/**/dog/**/*.png", ["cat/deep/dog/1.png", "dog/b.png"]),
    ],
)
def test_patterns(pattern, names, root):
    assert list(fdm.files(root, pattern).names) == names


def test_a_file_without_label_has_its_bytes_and_name(root):
    assert fdm.files(root, "dog/b.png")[0] == {"file": b"dog/b.png", "name": "dog/b.png"}


REFUSED = {
    "nothing": (lambda r: fdm.files(r, "*.png"), r"nothing below .* matches '\*.png'; there are .* of .png.*'\*\*/\*.png' looks in all"),
    "empty": (lambda r: fdm.files(empty(r), "**/*"), "no files at all"),
    "no folder": (lambda r: fdm.files(r / "gone", "*"), "gone is not there"),
    "a file": (lambda r: fdm.files(r / "dog/b.png", "*"), "b.png is a file"),
    "a table": (lambda r: fdm.files(fdm.Table({"a": [1]}), "*"), "root is the path of a folder.*not a Table"),
    "in the root": (lambda r: fdm.files(with_bare(r), "**/*.png", "folder"), r"'bare.png' lies in .* itself.*'\*/'"),
    "label": (lambda r: fdm.files(r, "**/*.png", "folders"), "label is one of 'folder', not 'folders'.*did you mean"),
    "above": (lambda r: fdm.files(r, "../*"), "relative to root"),
    "absolute": (lambda r: fdm.files(r, "/etc/*"), "relative to root"),
    "no pattern": (lambda r: fdm.files(r, ""), "pattern is a text"),
    "class names": (lambda r: fdm.class_names(fdm.files(r, "**/*.png")), "no 'label'"),
}  # fmt: skip


def empty(root):
    (root.parent / "empty").mkdir()
    return root.parent / "empty"


def with_bare(root):
    (root / "bare.png").write_bytes(b"")
    return root


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_is_told(kind, root):
    make, message = REFUSED[kind]
    with pytest.raises(fdm.DataError, match=message):
        make(root)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_stay_within_the_root(root, tmp_path):
    (root / "dog" / "same.png").symlink_to("b.png")
    (root / "again").symlink_to("cat")
    assert list(fdm.files(root, "**/*.png").names) == [*NAMES, "dog/same.png"]
    (tmp_path / "link").symlink_to(root)
    assert len(fdm.files(tmp_path / "link", "**/*.png")) == 5
    (tmp_path / "outside.png").write_bytes(b"")
    for target, says in (
        ("../../outside.png", "leads out of"),
        ("gone.png", "leads nowhere"),
        ("loop.png", "leads nowhere"),
    ):
        (root / "dog" / "loop.png").symlink_to(target)
        assert fdm.files(root, "cat/*.png").names == ("cat/10.png", "cat/2.png")
        with pytest.raises(fdm.DataError, match=f"loop.png {says}"):
            fdm.files(root, "**/*.png")
        (root / "dog" / "loop.png").unlink()
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(fdm.DataError, match="out leads out of"):
        fdm.files(root, "**/*.png")
    os.mkfifo(root / "cat" / "pipe.png")
    with pytest.raises(fdm.DataError, match=r"pipe\.png is no file"):
        fdm.files(root, "cat/*.png")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_told(root):
    (root / "cat" / "2.png").chmod(0)
    with pytest.raises(fdm.DataError, match=r"2\.png cannot be read"):
        fdm.files(root, "**/*.png")
    (root / "cat").chmod(0)
    with pytest.raises(fdm.DataError, match="cat cannot be read"):
        fdm.files(root, "**/*.png")
    (root / "cat").chmod(0o700)


def test_a_file_that_went_away_is_told(root):
    source = fdm.files(root, "dog/*.png")
    (root / "dog" / "b.png").unlink()
    with pytest.raises(fdm.DataError, match=r"b\.png cannot be read: No such file"):
        source[0]


def test_a_class_that_a_split_lacks_keeps_its_number(root, tmp_path):
    p = fdm.pipeline(
        *STAGES["clean"](root),
        fdm.split({"train": 2, "val": None}, shuffle=False),
        fdm.measure(fdm.class_names).on("train"),
    )
    with fdm.open(p, store=tmp_path / "store") as data:
        assert data.facts["class_names"] == ["cat", "dog"]


def test_the_fingerprint_is_that_of_the_content_the_pattern_and_the_label(root):
    def digest(**changes):
        return fdm.fingerprint(
            fdm.pipeline(fdm.clean(fdm.files, **{"root": fdm.tracked(root), "pattern": "**/*.png", **changes}))
        )

    before = digest()
    assert digest() == before
    assert len({before, digest(pattern="*/*.png"), digest(label="folder")}) == 3
    (root / "dog" / "b.png").write_bytes(b"changed")
    assert digest() != before


MEMORY = """
import sys, fdm
from pathlib import Path
root = Path(sys.argv[1])
(root / "a").mkdir()
for number in range(60):
    (root / "a" / f"{number}.bin").write_bytes(bytes(4 << 20))
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1]) // 1024
import threading
most, going = [0], [True]
def watch():
    while going[0]:
        most[0] = max(most[0], peak())
        threading.Event().wait(0.005)
before = peak()
thread = threading.Thread(target=watch); thread.start()
with fdm.open(fdm.pipeline(fdm.clean(fdm.files, root=fdm.tracked(root), pattern="a/*")), store=sys.argv[2]) as data:
    print(len(data.dataset("all")))
going[0] = False; thread.join()
print(most[0] - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_files_go_into_the_store_in_bounded_memory(tmp_path):
    (tmp_path / "root").mkdir()
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "root"), str(tmp_path / "store")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    count, grown = map(int, ran.stdout.split())
    assert count == 60
    assert grown < 160  # of 240 MB
