"""Batches on their way from a worker: all that can be in one arrives as it was, large or small."""

import pickle
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm
from fdm._loaders.sending import pickled


LARGE = 100_000  # numbers; as bytes too, more than what travels through the pipe


def sent(batch):
    return pickle.loads(pickled(batch))


def is_mapped(tensor):
    """Whether its memory belongs to a descriptor that a worker wrote."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(bound, 16) for bound in line.split()[0].split("-"))
        if first <= tensor.data_ptr() < last:
            return "memfd:fdm" in line
    return False


@pytest.mark.parametrize("size", [0, 1, 1000, LARGE])
@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.uint16, torch.int64, torch.bfloat16, torch.float32, torch.complex64]
)
def test_a_tensor_arrives_as_it_was_sent(size, dtype):
    tensor = (torch.rand(size) * 100).to(dtype)
    made = sent({"x": tensor})["x"]
    assert made.dtype == dtype
    assert made.equal(tensor)
    if sys.platform == "linux":
        assert is_mapped(made) == (size * dtype.itemsize > 1 << 14)


@given(st.integers(1, 4), st.integers(0, 3), st.sampled_from([7, 9000]), st.booleans())
def test_views_arrive_as_they_were_sent(step, start, columns, turned):
    whole = torch.arange(8 * columns).view(8, columns)
    view = (whole.t() if turned else whole)[start::step, ::step]
    made = sent(view)
    assert made.equal(view)
    assert made.stride() == view.stride()


@pytest.mark.parametrize("size", [3, LARGE])
def test_tensors_that_share_memory_share_it_where_they_arrive(size):
    whole = torch.zeros(2, size)
    batch = sent({"whole": whole, "row": whole[1], "again": whole})
    batch["whole"][1] += 5
    assert batch["row"].eq(5).all()
    assert batch["again"] is batch["whole"]


@pytest.mark.parametrize("size", [3, LARGE])
def test_what_arrives_belongs_to_who_receives_it(size):
    tensor = torch.zeros(size)
    first, second = sent(tensor), sent(tensor)
    first += 1
    assert tensor.eq(0).all()
    assert second.eq(0).all()


def test_all_kinds_of_tensors_arrive():
    batch = {
        "parameter": torch.nn.Parameter(torch.ones(LARGE)),
        "sparse": torch.eye(300).to_sparse(),
        "ragged": fdm.Ragged.of([torch.arange(LARGE), torch.arange(2)]),
        "shared": torch.ones(LARGE).share_memory_(),
        "conjugate": torch.full((LARGE,), 1 + 2j).conj(),
        "negative": torch.full((3,), 1 + 2j).conj().imag,
    }
    with torch.sparse.check_sparse_tensor_invariants():  # torch warns where nobody says whether it should check
        made = sent(batch)
    assert isinstance(made["parameter"], torch.nn.Parameter)
    assert made["parameter"].equal(batch["parameter"])
    assert made["sparse"].to_dense().equal(torch.eye(300))
    assert [row.tolist() for row in made["ragged"]] == [row.tolist() for row in batch["ragged"]]
    assert made["shared"].equal(batch["shared"])
    assert made["conjugate"].equal(batch["conjugate"])
    assert made["negative"].equal(batch["negative"])


def test_a_batch_that_was_sent_can_be_sent_on():
    tensor = torch.rand(LARGE)
    assert sent(sent(tensor)).equal(tensor)


@attrs.frozen
class Images:
    """A source whose examples are large."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return {"image": torch.full((3, 64, 64), index, dtype=torch.float32), "label": index}


def make_images():
    return Images()


def make_table():
    return fdm.Table({"image": torch.arange(12.0)[:, None].repeat(1, 20_000), "label": torch.arange(12)})


def doubled(batch):
    return {**batch, "image": batch["image"] * 2}


@pytest.mark.skipif(sys.platform != "linux", reason="memory that belongs to a descriptor is Linux's")
@pytest.mark.parametrize("source", [make_images, make_table])
@pytest.mark.parametrize("stages", [(), (fdm.transform(doubled),)])
def test_workers_send_large_batches_without_room_in_dev_shm(source, stages):
    p = fdm.pipeline(fdm.load(source), fdm.shuffle(), fdm.batch(4), *stages)
    with fdm.open(p) as alone, fdm.open(p, workers=2) as ahead:
        for expected, made in zip(alone.loader("all"), ahead.loader("all"), strict=True):
            assert made["image"].equal(expected["image"])
            assert is_mapped(made["image"])
            assert not is_mapped(made["label"])


SCRIPT = """
import multiprocessing.reduction, os
import torch

{first}
import fdm

def make_table():
    return fdm.Table({{"image": torch.arange(12.0)[:, None].repeat(1, 20_000)}})

if __name__ == "__main__":
    with fdm.open(fdm.pipeline(fdm.load(make_table), fdm.batch(4)), workers=1, start_method="fork") as data:
        batches = list(data.loader("all")) if {loops} else []
    assert [batch["image"][:, 0].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]][: 3 * {loops}]
    assert "memfd:fdm" not in open("/proc/self/maps").read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="takes away what Linux has")
@pytest.mark.parametrize(
    "first, loops",
    [
        ('torch.multiprocessing.set_sharing_strategy("file_system")', 1),  # somebody chose it
        ("del os.memfd_create", 1),  # macOS
        ("del os.memfd_create, multiprocessing.reduction.DupFd", 0),  # Windows, where torch's way is another, too
    ],
)
def test_where_memory_has_no_descriptor_torchs_way_is_the_way(first, loops, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(first=first, loops=loops))
    subprocess.run([sys.executable, script], check=True, timeout=300)
