"""Users know things by public names, in what they see and in what is kept; both outlive every move of a module."""

import importlib.util
import json
import pickle
import re
import traceback
from pathlib import Path

import attrs
import pytest
import torch

import fdm
import fdm.testing
from fdm._fingerprint.canonical import canonical


PRIVATE = re.compile(r"\bfdm(\.\w+)*\._[a-z]")
EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.py"


@pytest.fixture(scope="module")
def digits():
    """The digits example as a module, as `import digits` beside it has it."""
    spec = importlib.util.spec_from_file_location("digits", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(importlib.import_module("sys").modules, "digits", module)
        spec.loader.exec_module(module)
        yield module


def tabulate(**params):
    """Takes anything, and is never called."""


ANYTHING = {
    "file": fdm.File("http://127.0.0.1/a.csv"),
    "key": fdm.Key(3, "x"),
    "path": fdm.tracked("a"),
    "table": fdm.Table({"a": torch.arange(3)}),
    "kind": fdm.Table,
}
STAGES = [
    fdm.fetch(fdm.download, files=[fdm.File("http://127.0.0.1/a.csv", sha256="0" * 64)]),
    fdm.clean(tabulate, mean=fdm.fact("mean"), **ANYTHING),
    fdm.load(fdm.testing.example_table, n=3).shared(),
    fdm.split({"train": 0.5, "val": None}),
    fdm.fold(3, 1),
    fdm.alias(test="val"),
    fdm.measure(tabulate).on("train"),
    fdm.shuffle(),
    fdm.sample("label"),
    fdm.take(3),
    fdm.transform(fdm.testing.doubled),
    fdm.augment(fdm.testing.jittered),
    fdm.batch(3),
    fdm.transfer(),
]


def test_everything_public_says_where_it_is_imported_from():
    named = [getattr(fdm, name) for name in fdm.__all__ if name != "store"]
    assert [] == [thing for thing in named if thing.__module__ != "fdm"]
    assert "<class 'fdm.Table'>" == repr(fdm.Table)


def test_public_things_are_pickled_by_public_names():
    for name in fdm.__all__:
        if name != "store":
            pickled = pickle.dumps(getattr(fdm, name), protocol=0)
            assert getattr(fdm, name) is pickle.loads(pickled), name
            assert b"cfdm\n" in pickled, name


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.kind)
def test_what_is_said_and_fingerprinted_of_a_stage_names_no_private_module(stage):
    p = attrs.evolve(fdm.pipeline(), stages=(stage,))
    said = [repr(stage), json.dumps(canonical(stage)), repr(p), str(p), json.dumps(fdm.describe(p)), fdm.draw(p)]
    assert [] == [text for text in said if PRIVATE.search(text)]
    assert {"name": f"fdm.{stage.kind}"} == canonical(stage)["record"][0]


def test_tracebacks_show_errors_by_the_names_to_catch_them_by():
    for name in fdm.__all__:
        error = getattr(fdm, name)
        if isinstance(error, type) and issubclass(error, BaseException):
            made = error.__new__(error)
            assert traceback.format_exception_only(made)[-1].startswith(f"fdm.{name}")


def test_what_a_store_and_a_snapshot_keep_names_no_private_module(digits, tmp_path):
    with fdm.open(digits.digits, store=tmp_path) as data:
        snapshot = data.loader("train", epoch=0).snapshot(3).to_dict()
    manifests = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert manifests
    assert [] == [text for text in [*manifests, json.dumps(snapshot)] if PRIVATE.search(text)]


def test_addresses_and_snapshots_of_the_digits_are_those_of_every_day(digits, tmp_path):
    """What is prepared stays prepared, and snapshots stay valid, when fdm is updated: these change with a new version alone."""
    with fdm.open(digits.digits, store=tmp_path) as data:
        snapshot = data.loader("train", epoch=1).snapshot(3)
        first = data.loader("train", epoch=0).indices(0)[:4]
    assert PINNED == {
        "fingerprint": fdm.fingerprint(digits.digits)[:16],
        "store": {each.stage: each.address[:16] for each in fdm.store.artifacts(tmp_path)},
        "snapshot": snapshot.fingerprint[:16],
        "stages": [text.rpartition(" ")[2] for text in snapshot.stages],
        "first": first.tolist(),
    }


PINNED = {
    "fingerprint": "2e7d1f03c102b90b",
    "store": {"clean": "e49e0567a48f0ec1", "measure": "5b135d3bd35dbeb2"},
    "snapshot": "340e999e0a4f80c3",
    "stages": ["#540a5f2e", "#240a034c", "#11ba9146", "#e4684cac"],
    "first": [1499, 463, 1538, 1309],
}
