"""Checks: each fault is found and blamed on the right stage, and pipelines without any pass."""

import json
import os
import pickle
import random
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import faults
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from faults import HALVES, ROWS
from hypothesis import given, settings

import fdm
import fdm.testing
from fdm.testing import check, doubled, examine, jittered, pipelines, snapshots
from fdm.testing._check import LAWS


ROOT = Path(__file__).parents[2]
IMPURE = "transforms give the same output again"
KEYLESS = "augments depend on their key alone"
ONCE = "augments draw once from a key"
UNDRAWN = "augments draw from their key"
CHANGED = "inputs are not changed"
APART = [law for law in LAWS if law.endswith("in another process") or law.startswith("functions can be")]
ONLY_THE_LIBRARY = {"only shuffled epochs differ in order", "ranks partition the epoch", "resuming equals skipping"}
UNMADE = "batches can be made"


def of_source(load):
    return fdm.pipeline(fdm.load(load), fdm.shuffle(), fdm.batch(8))


def cut_by(*cut):
    return fdm.pipeline(ROWS, *cut, fdm.shuffle(), fdm.batch(8), fdm.transform(doubled))


def each(stage):
    return fdm.pipeline(ROWS, HALVES, fdm.shuffle(), fdm.transform(doubled), stage, fdm.augment(jittered), fdm.batch(8))


def whole(stage):
    return fdm.pipeline(
        ROWS, HALVES, fdm.augment(jittered), fdm.batch(8), fdm.transform(doubled), stage, fdm.transfer()
    )


def last(stage):
    return fdm.pipeline(ROWS, fdm.batch(8), fdm.transform(doubled), fdm.transfer(), stage.on("all"))


FAULTS = {
    "a source that augments": (of_source(faults.noisy_words), "sources give the same examples again", 0),
    "a source that is changed by reading": (of_source(faults.wearing_words), "sources give the same examples again", 0),
    "a source that readers move": (
        fdm.pipeline(fdm.load(faults.one_file).shared(), fdm.batch(4)),
        "sources can be read side by side",
        0,
    ),
    "a source in the order of a set": (of_source(faults.words_of_a_set), "sources are the same in another process", 0),
    "a source whose length differs": (
        fdm.pipeline(fdm.load(faults.more_in_another_process, n=20), fdm.batch(8)),
        "sources are the same in another process",
        0,
    ),
    "a split from the global state": (
        cut_by(fdm.split(faults.random_halves)),
        "splits do not depend on the global random state",
        1,
    ),
    "a split of a split from the global state": (
        cut_by(HALVES, fdm.alias(predict="val"), fdm.split(faults.random_thirds, of="train")),
        "splits do not depend on the global random state",
        3,
    ),
    "a split by the hash of strings": (
        cut_by(fdm.split(faults.halves_by_hash)),
        "splits are the same in another process",
        1,
    ),
    "splits that overlap": (cut_by(fdm.split(faults.overlapping_halves)), "splits are disjoint and in range", 1),
    "a random measure": (
        cut_by(HALVES, fdm.measure(faults.most).on("val"), fdm.measure(faults.estimated_mean).on("train")),
        "measures find the same facts again",
        3,
    ),
    "a fact that nothing measured": (
        whole(fdm.transform(faults.normalized, mean=fdm.fact("mean"))),
        "facts that stages use are measured",
        5,
    ),
    "random weights": (
        fdm.pipeline(ROWS, fdm.shuffle(), fdm.sample(faults.random_weights), fdm.batch(8)),
        "orders do not depend on the global random state",
        2,
    ),
    "torch's state for an example": (each(fdm.transform(faults.noisy)), IMPURE, 4),
    "numpy's state for an example": (each(fdm.transform(faults.numpy_noisy)), IMPURE, 4),
    "torch's state for a batch": (whole(fdm.transform(faults.noisy)), IMPURE, 5),
    "torch's state on the device": (last(fdm.transform(faults.noisy)), IMPURE, 4),
    "an unseeded generator": (each(fdm.transform(faults.unseeded)), IMPURE, 4),
    "the clock": (whole(fdm.transform(faults.timed)), IMPURE, 5),
    "a counter": (each(fdm.transform(faults.counted)), IMPURE, 4),
    "an example changed in place": (each(fdm.transform(faults.scaled_in_place)), CHANGED, 4),
    "a batch changed in place": (whole(fdm.transform(faults.scaled_in_place)), CHANGED, 5),
    "a batch that gets an entry": (whole(fdm.transform(faults.extended_in_place)), CHANGED, 5),
    "a batch changed on the device": (last(fdm.transform(faults.scaled_in_place)), CHANGED, 4),
    "an augment that changes its input": (each(fdm.augment(faults.changing_augment)), CHANGED, 4),
    "an augment that ignores its key": (each(fdm.augment(faults.ignoring)), UNDRAWN, 4),
    "an augment of batches that ignores its key": (last(fdm.augment(faults.ignoring)), UNDRAWN, 4),
    "an augment that draws twice from its key": (each(fdm.augment(faults.drawing_twice)), ONCE, 4),
    "an augment from the global state": (each(fdm.augment(faults.ignoring_for_the_global_state)), KEYLESS, 4),
    "an augment that draws from both": (each(fdm.augment(faults.half_ignoring)), KEYLESS, 4),
    "a random collate": (fdm.pipeline(ROWS, fdm.batch(8, collate=faults.random_collate)), IMPURE, 1),
    "a collate that takes entries": (fdm.pipeline(ROWS, fdm.batch(8, collate=faults.greedy_collate)), CHANGED, 1),
    "other batches in workers": (whole(fdm.transform(faults.in_a_worker)), "workers change nothing", 5),
    "other examples in workers": (each(fdm.transform(faults.in_a_worker)), "workers change nothing", 4),
    "other batches in threads": (whole(fdm.transform(faults.in_a_thread)), "threads change nothing", 5),
    "other batches in a process": (
        whole(fdm.transform(faults.in_a_process)),
        "batches are the same in another process",
        5,
    ),
    "a function that remembers": (
        whole(fdm.transform(faults.running_most)),
        "batches are the same in another process",
        5,
    ),
    "a logarithm of nothing": (whole(fdm.transform(faults.logarithm)), "batches are finite", 5),
    "a dtype that depends on the data": (
        whole(fdm.transform(faults.divided_when_even)),
        "batches have one structure",
        5,
    ),
    "an entry in some batches": (last(fdm.transform(faults.only_for_some)), "batches have one structure", 4),
    "an error for one example": (each(fdm.transform(faults.failing_at_seven)), UNMADE, 4),
    "a function that is here alone": (
        whole(fdm.transform(faults.here_alone)),
        "functions can be imported and pickled",
        5,
    ),
    "a value that pickle refuses": (
        whole(fdm.transform(faults.Unpicklable(1))),
        "functions can be imported and pickled",
        5,
    ),
}


@pytest.mark.filterwarnings("ignore:.*is another one each time it is read")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_its_stage_is_blamed(name, tmp_path):
    p, law, number = FAULTS[name]
    report = examine(p, store=tmp_path, without=[] if law in APART else APART)  # which takes most of the time
    assert law in [verdict.law for verdict in report.broken], str(report)
    assert {number} == {verdict.number for verdict in report.broken}, str(report)
    verdict = next(verdict for verdict in report.broken if verdict.law == law)
    assert f"{number} {p.stages[number].kind} " == verdict.stage[: len(f"{number} {p.stages[number].kind} ")]
    assert verdict.counterexample
    assert not report.passed


def test_who_changes_what_a_source_holds_is_blamed_for_all_that_follows(tmp_path):
    report = examine(fdm.pipeline(fdm.load(faults.rows_in_a_list), fdm.transform(faults.scaled_in_place), fdm.batch(4)))
    assert {1} == {verdict.number for verdict in report.broken}, str(report)
    assert {CHANGED, "batches are the same in another process"} <= {verdict.law for verdict in report.broken}


def test_a_source_that_no_worker_can_have_is_blamed_where_workers_are_sent_it():
    p = fdm.pipeline(fdm.load(faults.list_of_held, n=9), fdm.transform(faults.first_of), fdm.batch(4))
    check(p, without=[*APART, "workers change nothing"])
    (verdict,) = examine(p, without=APART, start_method="spawn").broken
    assert ("workers change nothing", 0) == (verdict.law, verdict.number)
    assert "cannot be sent to a worker process" in verdict.counterexample


def test_the_plants_are_at_least_a_dozen_of_every_kind():
    assert 12 <= len(FAULTS)
    assert {law for law in LAWS if law not in (*ONLY_THE_LIBRARY, "orders are the same in another process")} <= {
        law for _, law, _ in FAULTS.values()
    }


@pytest.mark.parametrize(
    "name, p",
    [
        ("digits", "digits.digits"),
        ("fold", "kfold.folds[2]"),
        (
            "corpus",
            "fdm.pipeline(fdm.clean(corpus.tokenize, vocabulary=64).each(few_files), *corpus.corpus.stages[1:])",
        ),
    ],
)
def test_the_examples_keep_all_laws(name, p, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    import corpus
    import digits
    import kfold

    made = eval(p, {"fdm": fdm, "digits": digits, "kfold": kfold, "corpus": corpus, "few_files": faults.few_files})
    report = check(made, store=tmp_path, without=APART if name == "fold" else [])  # the functions are those of digits
    assert {"holds"} == {verdict.outcome for verdict in report.results} or name == "corpus"
    skipped = {verdict.law for verdict in report.results if verdict.outcome == "skipped"}
    assert skipped <= {"measures find the same facts again", KEYLESS, UNDRAWN, ONCE}


@settings(max_examples=10)
@given(pipelines())
def test_any_pipeline_keeps_all_laws_within_a_process(p):
    check(p, without=[*APART, "workers change nothing"])


@settings(max_examples=2)
@given(pipelines(), st.integers(1, 4))
def test_any_pipeline_keeps_all_laws_with_workers_and_other_processes(p, world_size):
    context = fdm.RankContext(world_size - 1, world_size)
    check(p, workers=2, threads=1, context=context, steps=2)


def test_workers_begin_as_the_options_say(tmp_path):
    check(whole(fdm.transform(doubled)), workers=1, start_method="spawn", without=APART)


def test_many_kinds_of_batches_keep_all_laws():
    for p in (
        fdm.pipeline(fdm.load(faults.pairs, n=19), fdm.shuffle(), fdm.batch(2)),
        fdm.pipeline(fdm.load(faults.pairs, n=19), fdm.batch(4, collate=faults.collated), fdm.transfer()),
        fdm.pipeline(fdm.load(faults.pairs, n=19), fdm.augment(fdm.ambient(faults.shaken)), fdm.batch(4)),
        fdm.pipeline(fdm.load(faults.sequences, n=33), fdm.shuffle(), fdm.batch(4), fdm.transform(faults.padded)),
        fdm.pipeline(fdm.load(faults.pairs, n=19)),
        fdm.pipeline(fdm.load(faults.pairs, n=19), fdm.batch(4, drop_last=True)),
        fdm.pipeline(fdm.load(faults.pairs, n=1), fdm.batch(4)),
    ):
        check(p, without=APART)


def test_what_is_not_there_is_skipped_with_the_reason():
    report = examine(fdm.pipeline(fdm.load(faults.pairs, n=0), fdm.batch(4)), without=APART)
    why = {verdict.law: verdict.why for verdict in report.results if verdict.outcome == "skipped"}
    assert report.passed
    assert "nothing is measured" == why["measures find the same facts again"]
    assert "nothing is augmented" == why[UNDRAWN]
    assert "there are no examples" == why[IMPURE]
    assert "there are no batches" == why["workers change nothing"]


def test_a_law_is_skipped_where_no_other_process_can_have_the_pipeline():
    report = examine(whole(fdm.transform(faults.Unpicklable(1))), steps=1)
    skipped = {verdict.law for verdict in report.results if verdict.why == "no other process can have the pipeline"}
    assert {law for law in LAWS if law.endswith("in another process")} == skipped


def test_the_smallest_example_is_named():
    (verdict,) = examine(each(fdm.transform(faults.failing_at_seven)), splits=["train", "val"], without=APART).broken
    assert ", epoch 0, example 7: ZeroDivisionError: seven is not for me" in verdict.counterexample
    (verdict,) = examine(whole(fdm.transform(faults.logarithm)), without=APART).broken
    example = int(re.search(r"example (\d+): log\[0\] is (nan|-inf)$", verdict.counterexample)[1])
    assert 0 <= example <= 3


def test_a_report_is_a_table_and_plain_values():
    report = examine(whole(fdm.transform(faults.timed)), without=APART)
    lines = str(report).splitlines()
    assert ["law", "verdict", "stage", "counterexample"] == lines[0].split()
    row = next(line for line in lines if line.startswith(IMPURE))
    assert re.match(
        IMPURE + r" +broken +5 transform faults\.timed\(\) +split 'train', epoch 0, example \d+: at is ", row
    )
    assert max(map(len, lines)) < 300
    assert all(line == line.rstrip() for line in lines)
    assert f"{len(LAWS) - len(APART)} laws: " in lines[-1]
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain == report.to_dict()
    assert plain["passed"] is False
    assert {"law", "outcome", "number", "stage", "counterexample", "why", "remedy"} == plain["results"][0].keys()
    assert [law for law in LAWS if law not in APART] == [each["law"] for each in plain["results"]]


def test_a_check_raises_the_table_as_an_assertion_that_can_be_sent():
    with pytest.raises(AssertionError, match=f"{IMPURE} +broken +5 transform") as caught:
        check(whole(fdm.transform(faults.timed)), without=APART)
    assert isinstance(caught.value, fdm.LawError)
    assert IMPURE in [verdict.law for verdict in caught.value.report.broken]
    sent = pickle.loads(pickle.dumps(caught.value))
    assert (str(caught.value), caught.value.report) == (str(sent), sent.report)


def test_laws_can_be_left_out():
    check(whole(fdm.transform(faults.logarithm)), without=["batches are finite", *APART])
    with pytest.raises(fdm.ParameterError, match="did you mean 'batches are finite'"):
        check(whole(fdm.transform(doubled)), without=["batch is finite"])


def test_what_cannot_be_is_refused():
    p = whole(fdm.transform(doubled))
    with pytest.raises(fdm.UnknownNameError, match="did you mean 'train'"):
        examine(p, splits=["trian"])
    with pytest.raises(fdm.ParameterError, match="steps is an integer of at least 1, not 0"):
        examine(p, steps=0)
    with pytest.raises(fdm.ParameterError, match="did you mean 'steps'"):
        check(p, stpes=3)
    with pytest.raises(fdm.ParameterError, match="did you mean 'workers'"):
        examine(p, worker=1)
    with pytest.raises(fdm.PipelineError, match="takes a Pipeline"):
        examine("digits")
    with pytest.raises(fdm.PipelineError, match="no source"):
        examine(fdm.pipeline(fdm.batch(3)))
    with pytest.raises(fdm.DataError, match="but there are 40 examples"):
        examine(fdm.pipeline(ROWS, fdm.split({"train": 3}), fdm.batch(3)))


def test_an_examination_leaves_the_global_random_state_alone():
    def state():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = state()
    report = examine(each(fdm.transform(faults.noisy)), without=APART)
    assert not report.passed
    assert before == state()


def test_what_is_kept_is_taken_from_the_store(tmp_path):
    journal = tmp_path / "journal"
    p = fdm.pipeline(fdm.clean(faults.journaled, journal=str(journal)), fdm.batch(4))
    check(p, store=tmp_path / "store", steps=1)
    assert "cleaned\n" == journal.read_text()


SCRIPT = """
import sys
import torch
import fdm
from fdm.testing import check, example_table

def doubled(item):
    return {**item, "double": item["row"] * 2}

p = fdm.pipeline(fdm.load(example_table, n=20), fdm.transform(doubled), fdm.batch(4))
"""


def ran(*command, folder, given=""):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, *command]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, input=given)


def test_a_script_can_check_functions_of_its_own_and_of_a_loaded_file_without_hypothesis(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "apart.py").write_text(SCRIPT)
    script = """
        import importlib.util, sys
        sys.modules["hypothesis"] = None

        import fdm.testing

        def tripled(item):
            return {**item, "triple": item["row"] * 3}

        if __name__ == "__main__":
            spec = importlib.util.spec_from_file_location("apart", "deep/apart.py")
            sys.modules["apart"] = module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            print(fdm.testing.check(fdm.pipeline(module.p, fdm.transform(tripled)), steps=1))
            try:
                fdm.testing.pipelines
            except ImportError as error:
                print(error)
    """
    (tmp_path / "own.py").write_text(textwrap.dedent(script))
    told = ran("own.py", folder=tmp_path)
    assert 0 == told.returncode, told.stderr
    assert "batches are the same in another process          holds" in told.stdout
    assert "fdm.testing.pipelines is a Hypothesis strategy; install hypothesis" in told.stdout


def test_functions_that_are_in_no_file_are_blamed(tmp_path):
    told = ran("-", folder=tmp_path, given=SCRIPT + "\nprint(check(p, steps=1))\n")
    assert 0 != told.returncode
    row = next(line for line in told.stderr.splitlines() if line.startswith("functions can be imported"))
    assert re.search(r"broken   1 transform \S+\.doubled\(\)", row)
    assert "belongs below `if __name__ == '__main__':`" in row


@given(pipelines(), st.data())
def test_snapshots_of_data_are_places_that_loaders_start_from(p, draw):
    with fdm.open(p) as data:
        splits = [split for split in data.splits if len(data.loader(split))]
        if not splits:
            return
        snapshot = draw.draw(snapshots(data))
        assert snapshot.split in splits
        loader = data.loader(snapshot.split, start=snapshot)
        assert snapshot == loader.snapshot(0)
        assert splits[-1] == draw.draw(snapshots(data, splits[-1])).split


@given(snapshots())
def test_snapshots_of_nothing_survive_being_saved(snapshot):
    assert snapshot == fdm.Snapshot.from_dict(json.loads(json.dumps(snapshot.to_dict())))


@settings(max_examples=1)
@given(st.data())
def test_snapshots_of_data_without_steps_are_refused(draw):
    with fdm.open(fdm.pipeline(fdm.load(faults.pairs, n=0), fdm.batch(4))) as data:
        with pytest.raises(fdm.DataError, match="no steps of any split"):
            draw.draw(snapshots(data))
        with pytest.raises(fdm.DataError, match="no steps of split 'all'"):
            draw.draw(snapshots(data, "all"))
