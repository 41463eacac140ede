"""CUDA devices: the same batches as on the host, whatever copies them, and no memory given away too early."""

import attrs
import pytest
import torch

import fdm
from fdm.testing import example_table, jittered


pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")

SPEEDS = [{}, {"threads": 2}, {"workers": 2, "start_method": "spawn"}, {"threads": 2, "pin_memory": False}]


@attrs.frozen
class Own:
    """A leaf that moves itself."""

    tensor: torch.Tensor

    def to(self, device):
        return Own(self.tensor.to(device))


def with_own(batch):
    return {**batch, "own": Own(batch["row"].clone())}


def big(n):
    return fdm.Table({"x": torch.arange(n)[:, None].expand(n, 100_000).contiguous().float()})


def on_cuda(*stages, **options):
    return fdm.open(fdm.pipeline(*stages, seed=1), context=fdm.RankContext(device="cuda:0"), **options)


@pytest.mark.parametrize("speed", SPEEDS)
def test_batches_are_those_of_the_host(speed):
    stages = fdm.load(example_table, n=50), fdm.shuffle(), fdm.batch(7), fdm.augment(jittered), fdm.transform(with_own)
    with (
        fdm.open(fdm.pipeline(*stages, seed=1)) as host,
        on_cuda(*stages, fdm.transfer(skip=("label",)), **speed) as data,
    ):
        for one, other in zip(host.loader("all"), data.loader("all"), strict=True):
            assert ["cuda", "cpu", "cuda"] == [other[name].device.type for name in ("row", "label", "noise")]
            assert one["row"].equal(other["row"].cpu())
            assert one["text"].tolist() == other["text"].to("cpu").tolist()
            assert "cuda" == other["text"].offsets.device.type == other["own"].tensor.device.type


@pytest.mark.parametrize("speed", SPEEDS)
def test_augments_after_transfer_draw_the_same_bits(speed):
    stages = fdm.load(example_table, n=50), fdm.batch(7)
    with (
        fdm.open(fdm.pipeline(*stages, fdm.augment(jittered), seed=1)) as host,
        on_cuda(*stages, fdm.transfer(), fdm.augment(jittered), **speed) as data,
    ):
        for one, other in zip(host.loader("all"), data.loader("all"), strict=True):
            assert one["jitter"].equal(other["jitter"].cpu())
            assert torch.allclose(one["noise"], other["noise"].cpu())


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_batch_that_is_still_in_use_is_never_overwritten(speed):
    """The device is kept busy, so that many copies are under way when the first batch is read."""
    weights = torch.randn(4096, 4096, device="cuda")
    with on_cuda(fdm.load(big, n=256), fdm.batch(8), fdm.transfer(), **speed) as data:
        sums = []
        for batch in data.loader("all"):
            for _ in range(10):
                weights = weights @ weights
                weights = weights / weights.norm()
            sums.append(batch["x"][:, -1].clone())
            del batch
        assert list(range(256)) == torch.cat(sums).cpu().long().tolist()
