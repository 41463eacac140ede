"""`fdm show` tells how well block shuffles mix, and what batches by length pad."""

import json
import re
import sys

import pytest

from fdm._cli.main import main
from fdm._orders.blocks import variance_ratio


SCRIPT = """
import torch
import fdm

def rows(n):
    return fdm.Table({"x": torch.arange(n).float(), "tokens": fdm.Ragged.of([torch.arange(i % 50) for i in range(n)])})

def corpora(n):
    return {"web": rows(n), "code": rows(n)}

blocks = fdm.pipeline(
    fdm.clean(rows, n=4096),
    fdm.split({"train": 0.75, "val": None}, block=16),
    fdm.shuffle(block=16, window=48, lanes=4).on("train"),
    fdm.take(3000).on("train"),
    fdm.batch(8),
)
mixed = fdm.pipeline(
    fdm.clean(corpora, n=4096),
    fdm.shuffle(block=16, window=64).on("web"),
    fdm.shuffle().on("code"),
    fdm.mix({"web": 3, "code": 1}, into="train"),
    fdm.batch(64, across="world"),
)
lengths = fdm.pipeline(
    fdm.clean(rows, n=500),
    fdm.split({"train": 400, "val": None}, seed=1),
    fdm.shuffle().on("train"),
    fdm.batch(256, of="tokens", buckets=4).on("train"),
    fdm.batch(8, alike="tokens", edges=(16, 64)).on("val"),
)
plain = fdm.without(blocks, "shuffle")
again = fdm.insert(blocks, fdm.shuffle().on("train"), before="take")
"""


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """What `fdm show` prints for a pipeline of the script, once it is prepared."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("FDM_STORE", str(tmp_path / "store"))
    file = tmp_path / f"script_{tmp_path.name.replace('-', '_')}.py"
    file.write_text(SCRIPT, encoding="utf-8")
    before = set(sys.modules)

    def show(name, *options):
        assert 0 == main(["prepare", f"{file}:{name}"])
        capsys.readouterr()
        assert 0 == main(["show", f"{file}:{name}", *map(str, options)])
        return capsys.readouterr().out

    yield show
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


def test_show_prints_the_quality_formula_for_a_step_of_all_ranks(shown):
    (row,) = json.loads(shown("blocks", "--world-size", 4, "--json"))["blocks"]
    expected = variance_ratio(32, n=3072, block=16, window=48)
    assert row == {
        "split": "train",
        "block": 16,
        "window": 48,
        "lanes": 4,
        "batch": 32,
        "in_play": 0.25,
        "variance_ratio": pytest.approx(expected),
    }
    assert expected == pytest.approx(1 + 32 / 48 * (1 - 48 * 16 / 3072))
    text = shown("blocks", "--world-size", 4)
    assert "1 + batch / window * (1 - in play)" in text
    assert re.search(r"^  train  1\.50  1 \+ 32 / 48 \* \(1 - 0\.25\)  blocks of 16, 4 lanes$", text, re.MULTILINE), (
        text
    )


def test_of_a_mixture_each_part_that_is_read_in_blocks_has_its_share_of_a_step(shown):
    found = json.loads(shown("mixed", "--json"))["blocks"]
    ratios = {row["split"]: (row["batch"], row["variance_ratio"]) for row in found}
    assert {"web", "web in train"} == set(ratios)
    assert (48, pytest.approx(variance_ratio(48, 4096, 16, 64))) == ratios["web in train"]


def test_show_tells_what_mixtures_are_made_of(shown):
    found = json.loads(shown("mixed", "--json"))
    assert {"train": {"examples": found["plans"]["train"]["examples"], "parts": ["code", "web"]}} == found["mixtures"]
    assert re.search(r"^  train  [\d,]+  of code, web$", shown("mixed"), re.MULTILINE)


def test_show_tells_buckets_and_padding(shown):
    plans = json.loads(shown("lengths", "--json"))["plans"]
    text = shown("lengths")
    assert f"padding is {plans['train']['padding']:.1%} of train, {plans['val']['padding']:.1%} of val" in text
    rows = re.findall(r"^  (train|val) +(\d+) +(\d+) +(\d+) +(\d+)$", text, re.MULTILINE)
    expected = [(name, *map(str, row.values())) for name in ("train", "val") for row in plans[name]["buckets"]]
    assert expected == rows
    assert [16, 64] == [row["edge"] for row in plans["val"]["buckets"]]


@pytest.mark.parametrize("name", ["plain", "again"])
def test_what_is_neither_read_in_blocks_nor_batched_by_length_tells_of_neither(shown, name):
    assert [] == json.loads(shown(name, "--json"))["blocks"]
    text = shown(name)
    assert "variance" not in text
    assert "buckets" not in text
