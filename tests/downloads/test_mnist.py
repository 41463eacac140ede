"""The MNIST example, on files of the same form from a server that fails: right, fetched once, and learned from."""

import gzip
import hashlib
import importlib.util
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_download import cut, serving, status

import fdm
from fdm._downloads import http as _http


EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist.py"
SIZES = {"train": 600, "t10k": 100}


@pytest.fixture(scope="module")
def images():
    """Images of ten kinds, a bar at a place for each label, with some noise: by file, as in the real ones."""
    random = torch.Generator().manual_seed(0)
    made = {}
    for file, n in SIZES.items():
        labels = torch.randint(0, 10, (n,), generator=random, dtype=torch.uint8)
        pictures = torch.randint(0, 64, (n, 28, 28), generator=random, dtype=torch.uint8)
        for picture, label in zip(pictures, labels.tolist(), strict=True):
            picture[4:24, 2 * label + 3 : 2 * label + 6] += 190
        made[f"{file}-images-idx3-ubyte.gz"], made[f"{file}-labels-idx1-ubyte.gz"] = pictures, labels
    return made


@pytest.fixture(scope="module")
def archives(images):
    return {name: gzip.compress(idx(values), mtime=0) for name, values in images.items()}


def idx(values):
    header = struct.pack(f">HBB{values.dim()}I", 0, 8, values.dim(), *values.shape)
    return header + values.numpy().tobytes()


@pytest.fixture
def mnist(monkeypatch):
    """The example, imported from its file."""
    spec = importlib.util.spec_from_file_location("mnist", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mnist", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def site(archives, monkeypatch):
    """A site whose first file breaks off half way and whose second is not to be had at first."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_http, "_pause", lambda error, attempt: 0)
    with serving() as site:
        for number, (name, archive) in enumerate(archives.items()):
            site.put(f"/{name}", archive, *{0: [cut(len(archive) // 2)], 1: [status(503)]}.get(number, []))
        yield site


@pytest.fixture
def p(mnist, site, archives):
    digests = {name: hashlib.sha256(archive).hexdigest() for name, archive in archives.items()}
    return mnist.mnist(site.url("/missing/"), site.url("/"), files=digests, val=50)


def is_right(data, split, images, labels):
    """Whether the batches of a split are the rows that its ids name, normalised, and each is there once."""
    at = data.indices(split)
    batches = list(data.loader(split))
    order = torch.cat([torch.as_tensor(data.loader(split).indices(step)) for step in range(len(batches))])
    assert sorted(at.tolist()) == sorted(order.tolist())
    assert torch.equal(labels[order], torch.cat([batch["label"] for batch in batches]))
    found = torch.cat([batch["image"] for batch in batches]) * data.facts["std"] + data.facts["mean"]
    assert (len(order), 1, 28, 28) == found.shape
    return torch.allclose(images[order].float(), found[:, 0], atol=1e-2)


def test_mnist_is_fetched_once_from_a_site_that_fails_and_read_right(tmp_path, site, p, images):
    pictures, labels, test_pictures, test_labels = images.values()
    for _ in range(2):
        with fdm.open(p, store=tmp_path) as data:
            assert {"test": 100, "train": 550, "val": 50} == dict(sorted(data.splits.items()))
            assert 10 == data.facts["classes"]
            assert pictures[data.indices("train")].float().mean().item() == pytest.approx(data.facts["mean"])
            assert all(is_right(data, split, pictures, labels) for split in ("train", "val"))
            assert is_right(data, "test", test_pictures, test_labels)
    first, second, *others = (site.ranges(f"/{name}") for name in images)
    assert [None, 1] == [first[0], len(first[1:])]
    assert first[1].startswith("bytes=")
    assert [None, None] == second
    assert [[None], [None]] == others
    assert [[None]] * 4 == [site.ranges(f"/missing/{name}") for name in images]


def test_mnist_is_learned(tmp_path, monkeypatch, mnist, p, capsys):
    monkeypatch.setenv("FDM_STORE", str(tmp_path))
    mnist.fit(p, epochs=6)
    out = capsys.readouterr().out
    assert 6 == len(re.findall(r"^epoch \d: accuracy [\d.]+% on val$", out, re.MULTILINE))
    assert 90 < float(re.search(r"^accuracy ([\d.]+)% on test$", out, re.MULTILINE).group(1))


def test_the_script_refuses_what_is_not_mnist_by_name(tmp_path, site, mnist):
    environment = {**os.environ, "FDM_STORE": str(tmp_path), "PYTHONWARNINGS": "error"}
    ran = subprocess.run([sys.executable, EXAMPLE, site.url("/")], capture_output=True, text=True, env=environment)
    assert 1 == ran.returncode
    name, digest = re.search(r"cannot download '(.*)':\n.* sha256 .* expected (\w+)", ran.stderr).groups()
    assert mnist.FILES[name] == digest


def test_the_real_pipeline_has_the_four_files_from_both_sites(mnist):
    (site, mirror), fetch = mnist.SITES, mnist.mnist(*mnist.SITES).stages[0]
    files = [(file.url, file.mirrors, file.sha256) for file in dict(fetch.function.params)["files"]]
    assert [(site + name, (mirror + name,), sha256) for name, sha256 in mnist.FILES.items()] == files
    assert 4 == len(files)
