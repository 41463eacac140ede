"""What another process finds: the same splits, orders and fingerprints, however it was started."""

import os
import subprocess
import sys
from pathlib import Path


MODULE = """
import json
import torch
import fdm

CLASSES = 3

def helper(n):
    return torch.arange(n) % CLASSES

def read(n):
    return fdm.Table({"x": torch.arange(n), "label": helper(n), "name": fdm.Ragged.of([f"n{i}" for i in range(n)])})

def odd(source):
    return {"odd": range(1, len(source), 2), "even": range(0, len(source), 2)}

def mean(source):
    return {"mean": source["x"].float().mean()}

cuts = {
    "size": fdm.split({"train": 0.8, "val": None}, seed=3),
    "classes": fdm.split({"train": 40, "val": 20}, stratify="label"),
    "groups": fdm.split({"train": 0.5, "val": None}, groups="label"),
    "key": fdm.split({"train": 0.5, "val": None}, key="name"),
    "function": fdm.split(odd),
    "fold": fdm.fold(4, 2, stratify="label"),
}
pipelines = {
    name: fdm.pipeline(fdm.clean(read, n=60), cut, fdm.shuffle(), fdm.batch(7), seed=5) for name, cut in cuts.items()
}

def story():
    told = {}
    for name, p in pipelines.items():
        with fdm.open(p) as data:
            splits = {split: data.indices(split).tolist() for split in data.splits}
            orders = {split: data.loader(split, epoch=2).indices(1).tolist() for split in data.splits}
            snapshots = {split: data.loader(split).snapshot(1).to_dict() for split in data.splits}
        told[name] = [fdm.fingerprint(p), splits, orders, snapshots]
    return json.dumps(told)

if __name__ == "__main__":
    print(story())
"""
SPAWNED = """
import multiprocessing, story

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(story.story))
"""
DISTURBED = "import torch, random; torch.manual_seed(9); random.seed(9); import story; print(story.story())"


def told(folder, *command, hash_seed="0"):
    environment = {**os.environ, "FDM_STORE": str(folder / "store"), "PYTHONHASHSEED": hash_seed}
    environment["PYTHONPATH"] = str(folder)
    command = [sys.executable, *command]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, env=environment).stdout


def test_splits_orders_and_fingerprints_are_the_same_in_every_process(tmp_path: Path):
    (tmp_path / "story.py").write_text(MODULE)
    (tmp_path / "spawned.py").write_text(SPAWNED)
    as_script = told(tmp_path, "story.py")
    assert as_script.startswith('{"size": ["')
    assert as_script == told(tmp_path, "story.py", hash_seed="1")
    assert as_script == told(tmp_path, "-m", "story", hash_seed="2")
    assert as_script == told(tmp_path, "-c", DISTURBED, hash_seed="random")
    assert as_script == told(tmp_path, "spawned.py")
