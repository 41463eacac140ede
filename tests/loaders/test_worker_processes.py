"""Worker processes beside threads, in daemonic processes, under any filter of warnings, and after their parent's death."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import fdm
from fdm.testing import examine, example_table


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
METHODS = multiprocessing.get_all_start_methods() if hasattr(os, "fork") else []
HEAD = """
    import os, sys, threading, time
    import fdm

    def numbers(n):
        return list(range(n))

    def printed(item):
        print("worker", os.getpid(), file=sys.stderr, flush=True)
        return item

    def loop(**options):
        with fdm.open(fdm.pipeline(fdm.load(numbers, n=8), fdm.transform(printed), fdm.batch(2)), **options) as data:
            found = [batch.tolist() for batch in data.loader("all")]
        assert [[0, 1], [2, 3], [4, 5], [6, 7]] == found
"""


def script(folder, body, head=HEAD):
    path = folder / "script.py"
    path.write_text(textwrap.dedent(head) + textwrap.dedent(body))
    return path


def ran(folder, body, *options, **kwargs):
    command = [sys.executable, *options, script(folder, body)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **kwargs)


NOISE = """
    def noise():
        while True:
            print("x" * 1000, file=sys.stderr)

    def noisy():
        threading.Thread(target=noise, daemon=True).start()
"""


def test_beside_threads_a_script_with_a_main_part_forks_no_worker(tmp_path):
    body = """
        if __name__ == "__main__":
            noisy()
            for _ in range(2):
                loop(workers=2)
            print("ended", flush=True)
            os._exit(0)
    """
    found = ran(tmp_path, textwrap.dedent(NOISE) + textwrap.dedent(body), "-W", "error")
    assert ("ended", 0) == (found.stdout.strip(), found.returncode), found.stderr[-2000:]


@pytest.mark.parametrize("how", ["no main part", "fork"])
def test_a_fork_beside_threads_is_warned_of_with_the_remedy_and_does_not_hang_on_standard_streams(how, tmp_path):
    body = f"""
        import warnings
        noisy()
        for _ in range(4):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                loop(workers=2{", start_method='fork'" if how == "fork" else ""})
            (warning,) = caught
            assert warning.category is RuntimeWarning
            assert "(noise" in str(warning.message) or "noise)" in str(warning.message), warning.message
            assert "start_method='forkserver'" in str(warning.message)
        print("ended", flush=True)
        os._exit(0)
    """
    found = ran(tmp_path, textwrap.dedent(NOISE) + textwrap.dedent(body))
    assert ("ended", 0) == (found.stdout.strip(), found.returncode), found.stderr[-2000:]


ONE_FOR_ANOTHER = """
    def noise():
        while True:
            print("x" * 1000)

    threading.Thread(target=noise, daemon=True).start()
    answer = os.dup(2)
    {one}
    for _ in range(4):
        loop(workers=2, start_method="fork")
    os.write(answer, b"ended")
    os._exit(0)
"""


@pytest.mark.parametrize("one", ["sys.stderr = sys.stdout", "sys.stdout = sys.stderr"])
def test_a_standard_stream_that_stands_in_for_another_is_renewed_with_it(one, tmp_path):
    found = ran(tmp_path, ONE_FOR_ANOTHER.format(one=one), "-W", "ignore")
    assert found.returncode == 0
    assert "ended" in found.stderr
    assert "Traceback" not in found.stdout + found.stderr


def test_a_thread_that_waits_for_standard_input_keeps_no_worker_from_its_work(tmp_path):
    body = """
        threading.Thread(target=sys.stdin.readline, daemon=True).start()
        time.sleep(0.5)
        loop(workers=2, start_method="fork")
        print("ended", flush=True)
        os._exit(0)
    """
    read, write = os.pipe()
    try:
        found = ran(tmp_path, body, stdin=read)
    finally:
        os.close(read)
        os.close(write)
    assert ("ended", 0) == (found.stdout.strip(), found.returncode), found.stderr[-2000:]
    assert "begin by fork while other threads run" in found.stderr


def test_what_cannot_be_sent_is_forked_beside_threads_with_a_warning(tmp_path):
    body = """
        class Held(list):
            def __reduce__(self):
                raise TypeError("this stays here")

        def held():
            return Held(range(8))

        if __name__ == "__main__":
            import warnings
            threading.Thread(target=time.sleep, args=(1000,), daemon=True, name="sleeper").start()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                with fdm.open(fdm.pipeline(fdm.load(held), fdm.batch(2)), workers=2) as data:
                    assert 4 == len(list(data.loader("all")))
            assert all("(sleeper)" in str(warning.message) for warning in caught), caught
            print("ended", flush=True)
    """
    found = ran(tmp_path, body)
    assert ("ended", 0) == (found.stdout.strip(), found.returncode), found.stderr[-2000:]


def test_threads_that_hold_nothing_a_worker_wants_change_nothing(tmp_path):
    body = """
        from tqdm import tqdm

        if __name__ == "__main__":
            for _ in tqdm(range(3), file=open(os.devnull, "w")):
                pass
            assert any("TMonitor" in type(thread).__name__ for thread in threading.enumerate())
            from fdm._processes.start import other_threads, start_method
            assert [] == other_threads(), other_threads()
            with fdm.open(fdm.pipeline(fdm.load(numbers, n=8), fdm.batch(2)), workers=1, start_method="fork") as one:
                next(iter(one.loader("all")))  # whose queues are fed by a thread
                loop(workers=1)
            print("ended", flush=True)
    """
    found = ran(tmp_path, body, "-W", "error::RuntimeWarning")
    assert ("ended", 0) == (found.stdout.strip(), found.returncode), found.stderr[-2000:]


def test_parts_beside_threads_are_cleaned_as_ever(tmp_path):
    body = """
        import torch

        def parts():
            return ["a", "b", "c"]

        def clean_part(part):
            print("worker", file=sys.stderr)
            return fdm.Table({"x": torch.arange(2)})

        if __name__ == "__main__":
            noisy()
            for number in range(3):
                p = fdm.pipeline(fdm.clean(clean_part).each(parts), fdm.batch(2))
                with fdm.open(p, store=f"store{number}") as data:
                    assert 6 == data.splits["all"]
            print("ended", flush=True)
            os._exit(0)
    """
    found = ran(tmp_path, textwrap.dedent(NOISE) + textwrap.dedent(body), "-W", "error", cwd=tmp_path)
    assert ("ended", 0) == (found.stdout.strip(), found.returncode), found.stderr[-2000:]


@pytest.mark.parametrize("method", METHODS)
def test_no_warning_comes_of_what_the_user_did_not_make(method, tmp_path):
    body = f"""
        if __name__ == "__main__":
            loop(workers=len(os.sched_getaffinity(0)) + 2, start_method={method!r})
            print("ended", flush=True)
    """
    found = ran(tmp_path, body, "-W", "error")
    assert ("ended", 0) == (found.stdout.strip(), found.returncode), found.stderr[-2000:]
    assert "Warning" not in found.stderr


# Daemonic processes


def in_a_daemon(what, folder):
    try:
        return what(folder)
    except Exception as error:  # noqa: BLE001 - told to the test
        return type(error).__name__, str(error)


def with_workers(folder):
    with fdm.open(fdm.pipeline(fdm.load(example_table, n=8), fdm.batch(4)), workers=2) as data:
        return [len(batch["row"]) for batch in data.loader("all")]


def with_threads(folder):
    with fdm.open(fdm.pipeline(fdm.load(example_table, n=8), fdm.batch(4)), threads=2) as data:
        return [len(batch["row"]) for batch in data.loader("all")]


def few():
    return ["one", "two"]


def part_of(part):
    return example_table(2)


def with_parts(folder):
    with fdm.open(fdm.pipeline(fdm.clean(part_of).each(few), fdm.batch(4)), store=folder) as data:
        return data.splits["all"]


def examined(folder):
    results = examine(fdm.pipeline(fdm.load(example_table, n=8), fdm.batch(4)), workers=1).results
    return [verdict.counterexample or verdict.why for verdict in results if verdict.outcome != "holds"]


def test_a_daemonic_process_is_told_what_to_use_in_place_of_worker_processes(tmp_path):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for what, remedy in ((with_workers, "use threads="), (with_parts, "pool=ThreadPoolExecutor()")):
            kind, text = pool.apply(in_a_daemon, (what, tmp_path / "store"))
            assert "WorkerError" == kind
            assert "this is a daemonic process" in text
            assert remedy in text
            assert "concurrent.futures.ProcessPoolExecutor" in text
        assert [4, 4] == pool.apply(in_a_daemon, (with_threads, tmp_path))
        assert any("daemonic process" in why for why in pool.apply(in_a_daemon, (examined, tmp_path)))


# Processes that outlive their parent


WAYS = {
    "idle": ("item", 1),
    "computing": ("slept(item)", 1),
    "blocked": ("torch.zeros(200_000).numpy().tobytes()", 8),
}


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def all_end(pids):
    until = time.monotonic() + 60
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return [] == left


def killed(path):
    """The processes whose numbers a script told before it was killed: its own first."""
    running = subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        pids = [int(pid) for pid in running.stdout.readline().split()]
        time.sleep(0.5)
    finally:
        running.kill()
        running.wait()
        running.stdout.close()
    return pids


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes as Linux lists them")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS)
def test_workers_end_with_a_parent_that_is_killed_whatever_they_are_doing(method, way, tmp_path):
    value, prefetch = WAYS[way]
    body = f"""
        import multiprocessing
        import torch

        def slept(item):
            if item > 1:
                time.sleep(3600)
            return item

        def as_said(item):
            return {value}

        def as_list(found):
            return found

        if __name__ == "__main__":
            p = fdm.pipeline(fdm.load(numbers, n=100), fdm.transform(as_said), fdm.batch(1, collate=as_list))
            data = fdm.open(p, workers=2, prefetch={prefetch}, start_method={method!r})
            batches = iter(data.loader("all"))
            next(batches)
            lingering = multiprocessing.get_context("fork").Process(target=time.sleep, args=(100,))
            lingering.start()  # which has all that this process had open
            print(*(child.pid for child in multiprocessing.active_children() if child is not lingering), flush=True)
            time.sleep(3600)
    """
    pids = killed(script(tmp_path, body))
    assert 2 == len(pids)
    assert all_end(pids)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes as Linux lists them")
def test_processes_of_parts_end_with_a_parent_that_is_killed(tmp_path):
    body = f"""
        import multiprocessing

        def parts():
            return [str(number) for number in range(100)]

        def endless(part):
            path = os.path.join({str(tmp_path)!r}, f"{{os.getpid()}}.pid")
            open(path, "w").close()
            time.sleep(3600)

        def tell():
            while not any(name.endswith(".pid") for name in os.listdir({str(tmp_path)!r})):
                time.sleep(0.1)
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)

        if __name__ == "__main__":
            threading.Thread(target=tell, daemon=True).start()
            fdm.open(fdm.pipeline(fdm.clean(endless).each(parts), fdm.batch(2)), store={str(tmp_path / "store")!r})
    """
    pids = killed(script(tmp_path, body))
    assert pids
    assert all_end(pids)
