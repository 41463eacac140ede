"""Plans of large splits: kept once, mapped by all processes, and made anew where what they are of has changed."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

import fdm


N = 1_200_000
SCRIPT = """
import sys
from test_composed_plans import joined, packed, of_budget
import fdm
for make in (packed, joined, of_budget):
    with fdm.open(make(), store=sys.argv[1]) as data:
        loader = data.loader("all", epoch=2)
        print(make.__name__, len(loader), loader.indices(-1).values.sum().item() if make is not of_budget else loader.indices(-1).sum().item())
"""


def short_rows(*, seed):
    lengths = np.random.default_rng(seed).integers(0, 6, N)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return fdm.Table({"tokens": fdm.Ragged(torch.arange(offsets[-1], dtype=torch.int32), torch.from_numpy(offsets))})


def short_rows_of(*, path):
    return short_rows(seed=int(Path(path).read_text()))


def packed():
    return fdm.pipeline(fdm.clean(short_rows, seed=0), fdm.shuffle(), fdm.pack(64, "tokens"), fdm.batch(32))


def joined():
    return fdm.pipeline(
        fdm.clean(short_rows, seed=0), fdm.shuffle(), fdm.pack(64, "tokens", whole=False), fdm.batch(32)
    )


def of_budget():
    return fdm.pipeline(fdm.clean(short_rows, seed=0), fdm.shuffle(), fdm.batch(4096, of="tokens", buckets=4))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def test_two_processes_at_once_make_one_plan_and_read_the_same(store):
    run = [sys.executable, "-c", SCRIPT, str(store)]
    two = [subprocess.Popen(run, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=300)[0] for process in two]
    assert [process.returncode for process in two] == [0, 0]
    assert told[0] == told[1]
    assert len(told[0].splitlines()) == 3
    assert sorted(kept.stage for kept in fdm.store.artifacts(store)) == ["batch", "clean", "pack", "pack"]
    assert fdm.store.verify(store) == []


def test_kept_plans_are_those_that_are_made_from_lengths(store):
    lengths = short_rows(seed=0)["tokens"].lengths
    for make, kind in ((packed, "pack"), (joined, "pack"), (of_budget, "batch")):
        with fdm.open(make(), store=store) as data:
            loader = data.loader("all", epoch=1)
            step = loader[5]["tokens"]
            ids = loader.indices(5)
            if kind == "batch":
                assert step.lengths.equal(lengths[ids])
                assert len(ids) * step.edge <= 4096
            elif make is packed:
                assert step.documents.diff().equal(lengths[ids.values])
                assert int(step.lengths.max()) <= 64
            else:
                assert set(step.lengths.tolist()) == {64}


@pytest.mark.parametrize("make", [packed, joined, of_budget])
def test_a_damaged_plan_is_an_error_of_the_store(store, make):
    kind = "batch" if make is of_budget else "pack"
    with fdm.open(make(), store=store):
        pass
    damaged = []
    for folder in sorted(store.glob(f"{kind}-*")):
        file = max(folder.glob("*.safetensors"), key=lambda file: file.stat().st_size)
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        damaged.append((file, whole))
    assert {damage.file for damage in fdm.store.verify(store)} == {file for file, _ in damaged}
    with pytest.raises(fdm.StoreError), fdm.open(make(), store=store):
        pass
    for file, whole in damaged:
        file.write_bytes(whole)


def test_a_plan_of_a_file_that_has_changed_is_made_anew(tmp_path):
    """Of a `load` the store knows the code, not what it reads: the lengths themselves tell."""
    path = tmp_path / "seed.txt"
    p = fdm.pipeline(fdm.load(short_rows_of, path=str(path)), fdm.pack(64, "tokens"), fdm.batch(32))
    for seed in (1, 2):
        path.write_text(str(seed))
        lengths = short_rows(seed=seed)["tokens"].lengths
        with fdm.open(p, store=tmp_path / "store") as data:
            loader = data.loader("all")
            assert loader[7]["tokens"].documents.diff().equal(lengths[loader.indices(7).values])


def test_prune_removes_plans_that_were_not_used_and_keeps_those_of_a_pipeline(store):
    there = {(kept.stage, kept.address) for kept in fdm.store.artifacts(store)}
    pruned = fdm.store.prune(store, unused_for=timedelta(0), keep=[packed()], dry_run=True)
    assert sorted(kept.stage for kept in pruned) == ["batch", "pack"]
    assert {"pack", "clean"} == {stage for stage, _ in there - {(kept.stage, kept.address) for kept in pruned}}
    pruned = fdm.store.prune(store, unused_for=timedelta(0), keep=[joined(), of_budget(), packed()])
    assert pruned == []
    assert len(fdm.store.prune(store, unused_for=timedelta(0))) == 4
    with fdm.open(packed(), store=store) as data:
        assert len(data.loader("all"))
