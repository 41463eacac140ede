"""Parts in parallel: order, resuming, failures, and workers that die."""

import collections
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import fdm
from fdm._prepare import parts as _parts


def names(n):
    return [f"part {number}" for number in range(n)]


def ten():
    return names(10)


def two_hundred():
    return names(200)


def no_parts():
    return []


def twins():
    return ["a", "a"]


def numbers():
    return [1, 2]


def number_of(part):
    return int(part.split()[-1])


def journal(folder, part):
    with (Path(folder) / "journal").open("a", encoding="utf-8") as file:
        file.write(f"{part}\n")


def journaled(folder):
    return collections.Counter((Path(folder) / "journal").read_text(encoding="utf-8").splitlines())


def clean_part(part, *, folder):
    journal(folder, part)
    rows = number_of(part) % 3
    return fdm.Table(
        {
            "number": torch.full((rows,), number_of(part)),
            "name": fdm.Ragged.of([part] * rows) if rows else fdm.Ragged.of([""])[:0],
        }
    )


def out_of_order(part, *, folder):
    time.sleep(0.05 * (number_of(part) % 3 == 0))
    return {"even" if number_of(part) % 2 == 0 else "odd": fdm.Table({"number": torch.tensor([number_of(part)])})}


def stage_of(upstream):
    return [str(row) for row in upstream["number"].tolist()]


def double(upstream, part):
    assert int(part) in upstream["number"].tolist()
    return fdm.Table({"double": torch.tensor([2 * int(part)])})


def deadly_once(part, *, folder):
    journal(folder, part)
    time.sleep(0.005)
    died = Path(folder) / "died"
    if number_of(part) == 60 and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return fdm.Table({"number": torch.tensor([number_of(part)])})


def poison(part, *, folder):
    journal(folder, part)
    if number_of(part) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return fdm.Table({"number": torch.tensor([number_of(part)])})


class StubbornError(Exception):
    """Cannot be unpickled."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def faulty(part, *, folder):
    journal(folder, part)
    if number_of(part) == 5 and not (Path(folder) / "mended").exists():
        raise ZeroDivisionError(part)
    return fdm.Table({"number": torch.tensor([number_of(part)])})


def stubborn(part):
    raise StubbornError(part, "more")


def uneven(part):
    return fdm.Table({"number": torch.zeros(1, number_of(part) + 1)})


def other_columns(part):
    return fdm.Table({"a" if part == "part 0" else "b": torch.zeros(1)})


def sometimes_named(part):
    table = fdm.Table({"a": torch.zeros(1)})
    return table if part == "part 0" else {"x": table}


def empty(part):
    return fdm.Table({"a": torch.zeros(0)})


def no_table(part):
    return [1, 2]


def slow(part, *, folder):
    journal(folder, part)
    time.sleep(0.05)
    return fdm.Table({"number": torch.tensor([number_of(part)])})


def opened(tmp_path, stage, **options):
    return fdm.open(fdm.pipeline(stage), store=tmp_path / "store", **options)


def column(data, source="all", name="number"):
    return data._prepared.sources[source][name].tolist()


def test_the_result_is_the_concatenation_in_the_order_of_the_parts(tmp_path):
    data = opened(tmp_path, fdm.clean(clean_part, folder=str(tmp_path)).each(ten))
    assert [1, 2, 2, 4, 5, 5, 7, 8, 8] == column(data)
    assert [f"part {number}" for number in column(data)] == column(data, name="name")
    assert collections.Counter(names(10)) == journaled(tmp_path)


def test_parts_are_concatenated_per_source_name_whatever_finishes_first(tmp_path):
    data = opened(tmp_path, fdm.clean(out_of_order, folder=str(tmp_path)).each(ten))
    assert [0, 2, 4, 6, 8] == column(data, "even")
    assert [1, 3, 5, 7, 9] == column(data, "odd")


def test_parts_may_come_from_what_the_clean_before_made(tmp_path):
    p = fdm.pipeline(fdm.clean(clean_part, folder=str(tmp_path)).each(ten), fdm.clean(double).each(stage_of_set))
    assert [2, 4, 8, 10, 14, 16] == column(fdm.open(p, store=tmp_path / "store"), name="double")


def stage_of_set(upstream):
    return sorted(set(stage_of(upstream)))


def test_any_executor_serves_as_pool(tmp_path):
    stage = fdm.clean(clean_part, folder=str(tmp_path)).each(ten)
    expected = [1, 2, 2, 4, 5, 5, 7, 8, 8]
    with ThreadPoolExecutor(2) as pool:
        assert expected == column(fdm.open(fdm.pipeline(stage), store=tmp_path / "threads", pool=pool))
        assert 3 == pool.submit(abs, -3).result()  # it is the user's, and not shut down
    with ProcessPoolExecutor(2) as pool:
        assert expected == column(fdm.open(fdm.pipeline(stage), store=tmp_path / "processes", pool=pool))
    made = fdm.open(fdm.pipeline(stage), store=tmp_path / "made", pool=lambda: ThreadPoolExecutor(3))
    assert expected == column(made)
    with pytest.raises(fdm.PipelineError, match=r"pool is a .* or a function that makes one"):
        fdm.open(fdm.pipeline(stage), store=tmp_path / "bad", pool=lambda: 3)


def test_killing_a_worker_in_the_middle_of_200_parts_costs_a_handful(tmp_path):
    stage = fdm.clean(deadly_once, folder=str(tmp_path)).each(two_hundred)
    data = opened(tmp_path, stage, pool=four_processes)
    assert list(range(200)) == column(data)
    times = journaled(tmp_path)
    assert set(names(200)) == set(times)
    assert sum(times.values()) - 200 <= 8


def four_processes():
    return ProcessPoolExecutor(4)


def test_a_part_that_always_kills_its_worker_is_named_and_the_others_are_saved(tmp_path):
    stage = fdm.clean(poison, folder=str(tmp_path)).each(ten)
    with pytest.raises(fdm.PoisonError, match="part 'part 3' was lost 3 times"):
        opened(tmp_path, stage)
    assert 3 == journaled(tmp_path)["part 3"]
    assert [] == list((tmp_path / "store").glob("clean-*"))


def test_a_given_pool_that_breaks_is_reported_and_the_rerun_goes_on(tmp_path):
    stage = fdm.clean(deadly_once, folder=str(tmp_path)).each(two_hundred)
    with (
        ProcessPoolExecutor(2) as pool,
        pytest.raises(Exception, match="terminated abruptly") as caught,
    ):
        opened(tmp_path, stage, pool=pool)
    assert any("fdm cannot make another" in note for note in caught.value.__notes__)
    assert list(range(200)) == column(opened(tmp_path, stage))
    assert sum(journaled(tmp_path).values()) <= 208


def test_an_error_names_its_part_keeps_its_type_and_loses_no_other_part(tmp_path):
    stage = fdm.clean(faulty, folder=str(tmp_path)).each(two_hundred)
    with pytest.raises(ZeroDivisionError) as caught:
        opened(tmp_path, stage)
    notes = "\n".join(caught.value.__notes__)
    assert "part 'part 5' failed; finished parts are saved" in notes
    assert "in stage 0, clean test_each.faulty" in notes
    assert "raise ZeroDivisionError(part)" in notes
    begun = journaled(tmp_path)
    assert len(begun) < 200  # no part is begun after the error
    (tmp_path / "mended").touch()
    assert list(range(200)) == column(opened(tmp_path, stage))
    again = journaled(tmp_path)
    assert {"part 5": 2} == {part: times for part, times in again.items() if times > 1}


def test_errors_that_cannot_be_pickled_arrive_as_their_text(tmp_path):
    with pytest.raises(RuntimeError, match="StubbornError: part 0 and more"):
        opened(tmp_path, fdm.clean(stubborn).each(ten))


@pytest.mark.parametrize(
    "stage, message",
    [
        (fdm.clean(uneven).each(ten), "rows of .*one dtype and shape"),
        (fdm.clean(other_columns).each(ten), "tables of one source have the same columns"),
        (fdm.clean(sometimes_named).each(ten), "some parts returned a Table and some a mapping"),
        (fdm.clean(empty).each(ten), "all parts returned empty tables"),
        (fdm.clean(no_table).each(ten), "row 0 is an int; a stream is one of examples"),
        (fdm.clean(empty).each(no_parts), "there are no parts"),
        (fdm.clean(empty).each(twins), "the part 'a' is listed twice"),
        (fdm.clean(empty).each(numbers), "a list of names of parts, strings"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, stage, message):
    with pytest.raises(fdm.DataError, match=message):
        opened(tmp_path, stage)


def test_interrupting_stops_the_workers_and_keeps_what_is_finished(tmp_path):
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import fdm, test_each
if __name__ == "__main__":
    stage = fdm.clean(test_each.slow, folder={str(tmp_path)!r}).each(test_each.two_hundred)
    fdm.open(fdm.pipeline(stage), store={str(tmp_path / "store")!r})
"""
    file = tmp_path / "script.py"
    file.write_text(script)
    process = subprocess.Popen([sys.executable, str(file)], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "journal").exists() or sum(journaled(tmp_path).values()) < 20:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=300)[1]
    assert "KeyboardInterrupt" in stderr
    begun = sum(journaled(tmp_path).values())
    time.sleep(0.3)
    assert begun == sum(journaled(tmp_path).values())  # no worker is left
    stage = fdm.clean(slow, folder=str(tmp_path)).each(two_hundred)
    assert list(range(200)) == column(opened(tmp_path, stage))
    assert sum(journaled(tmp_path).values()) <= 200 + 2 * os.cpu_count() + 1


def test_a_bar_counts_the_parts(tmp_path, capfd):
    opened(tmp_path, fdm.clean(clean_part, folder=str(tmp_path)).each(ten), progress=True)
    assert "10/10" in capfd.readouterr().err
    opened(tmp_path, fdm.clean(clean_part, folder=str(tmp_path)).each(two_hundred))
    assert "" == capfd.readouterr().err


def large(part):
    return fdm.Table({"x": torch.zeros(1_000_000, 4)})


def test_the_whole_may_be_larger_than_what_is_held_in_memory(tmp_path):
    script = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import fdm, test_each
if __name__ == "__main__":
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    p = fdm.pipeline(fdm.clean(test_each.large).each(test_each.ten))
    n = fdm.open(p, store={str(tmp_path / "store")!r}).splits["all"]
    print(n, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    file = tmp_path / "script.py"
    file.write_text(script)
    ran = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True)
    rows, grown = map(int, ran.stdout.split())
    assert 10_000_000 == rows
    assert grown < 400  # megabytes resident of 160 in all; mapped pages of parts count while they are copied


def test_stages_run_by_parts_print_and_replace_like_others():
    stage = fdm.clean(clean_part, folder="x").each(ten)
    p = fdm.pipeline(stage, fdm.batch(2))
    assert "each test_each.ten()" in str(p)
    assert stage != fdm.clean(clean_part, folder="x")
    assert fdm.fingerprint(p) != fdm.fingerprint(
        fdm.pipeline(fdm.clean(clean_part, folder="x").each(twins), fdm.batch(2))
    )
    with pytest.raises(fdm.PipelineError, match="importable name, not a lambda"):
        fdm.clean(clean_part, folder="x").each(lambda: ["a"])
    with pytest.raises(fdm.ParameterError, match="missing a required argument: 'folder'"):
        fdm.pipeline(fdm.clean(clean_part).each(ten))


def test_threads_of_the_pool_do_not_outlive_it(tmp_path):
    before = threading.active_count()
    opened(tmp_path, fdm.clean(clean_part, folder=str(tmp_path)).each(ten))
    assert before == threading.active_count()


class Elsewhere(Executor):
    """As workers on machines that do not share the store: calls succeed, and nothing appears here."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_result(None)
        return future


def test_workers_that_do_not_share_the_store_are_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(_parts, "_PATIENCE", 0.2)
    with pytest.raises(
        fdm.StoreError, match=r"10 parts, 'part 0' first, .* the store must be a folder that all workers share"
    ):
        opened(tmp_path, fdm.clean(clean_part, folder=str(tmp_path)).each(ten), pool=Elsewhere())
