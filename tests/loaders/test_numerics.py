"""Torch's numeric settings: batches are made under those of the loop, wherever they are made."""

import multiprocessing
from contextlib import ExitStack

import pytest
import torch

import fdm
from fdm.testing import example_table


def precise(name):
    return lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", name)


def deterministic(*, enabled, warn_only=False, fill=True):
    torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
    torch.utils.deterministic.fill_uninitialized_memory = fill


def loosely():
    deterministic(enabled=False)


def flag(backend, name, value):
    return lambda: setattr(getattr(torch.backends, backend), name, value)


def seen(row):
    """What a function can see of torch's settings, and what it computes under them."""
    tiny = torch.full((1,), 2.2250738585072014e-308, dtype=torch.float64)
    product = torch.full((64, 64), 1 / 3, dtype=torch.float32) @ torch.full((64, 64), 1.1, dtype=torch.float32)
    mkldnn, cudnn = torch.backends.mkldnn, torch.backends.cudnn
    found = [
        (tiny * 0.5).item() == 0.0,
        torch.get_deterministic_debug_mode(),
        torch.utils.deterministic.fill_uninitialized_memory,
        *(mkldnn.enabled, mkldnn.deterministic, cudnn.enabled, cudnn.deterministic),
        ("none", "ieee", "tf32", "bf16").index(mkldnn.matmul.fp32_precision),
        product[0, 0].item(),
        torch.zeros(1).itemsize,
    ]
    return {**row, "seen": torch.tensor(found, dtype=torch.float64)}


CHANGES = {
    "default dtype": (lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_default_dtype(torch.float32)),
    "denormal numbers": (lambda: torch.set_flush_denormal(True), lambda: torch.set_flush_denormal(False)),
    "deterministic": (lambda: deterministic(enabled=True), loosely),
    "deterministic, or a warning": (lambda: deterministic(enabled=True, warn_only=True), loosely),
    "memory that is not filled": (lambda: deterministic(enabled=True, fill=False), loosely),
    "precision of products": (
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: torch.set_float32_matmul_precision("highest"),
    ),
    "precision of one backend": (precise("bf16"), precise("ieee")),
    "no mkldnn": (flag("mkldnn", "enabled", False), flag("mkldnn", "enabled", True)),
    "mkldnn deterministic": (flag("mkldnn", "deterministic", True), flag("mkldnn", "deterministic", False)),
    "no cudnn": (flag("cudnn", "enabled", False), flag("cudnn", "enabled", True)),
    "cudnn deterministic": (flag("cudnn", "deterministic", True), flag("cudnn", "deterministic", False)),
}


def test_batches_are_made_under_the_loops_settings_wherever_they_are_made():
    methods = multiprocessing.get_all_start_methods()
    ways = [{}, {"threads": 2}, *({"workers": 1, "start_method": method} for method in methods)]
    ways.append({"workers": 1, "threads": 2})
    p = fdm.pipeline(fdm.load(example_table, n=4), fdm.transform(seen), fdm.batch(4))
    with ExitStack() as stack:
        data = [stack.enter_context(fdm.open(p, **way)) for way in ways]

        def batches():
            return [next(iter(each.loader("all", epoch=0)))["seen"].tolist() for each in data]

        precise("ieee")()
        plain = batches()  # threads and processes begin here, before the settings change
        assert [plain[0]] * len(ways) == plain
        for what, (change, undo) in CHANGES.items():
            change()
            try:
                found = batches()
            finally:
                undo()
            assert [found[0]] * len(ways) == found, what
            assert plain != found, what
            assert plain == batches(), what


@pytest.mark.parametrize("options", [{"threads": 2}, {"workers": 1}, {"workers": 1, "start_method": "spawn"}])
def test_processes_that_begin_later_take_the_settings_over(options):
    p = fdm.pipeline(fdm.load(example_table, n=4), fdm.transform(seen), fdm.batch(4))
    torch.set_flush_denormal(True)
    try:
        with fdm.open(p) as alone, fdm.open(p, **options) as ahead:
            one, other = (next(iter(data.loader("all", epoch=0)))["seen"] for data in (alone, ahead))
        assert one.equal(other)
        assert 1.0 == one[0, 0]
    finally:
        torch.set_flush_denormal(False)
