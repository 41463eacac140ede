"""Parts on clusters: Dask and Ray run them as a pool of processes does, whatever dies in between."""

import collections
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import fdm


# Read when ray is imported: without a cluster of many machines its servers listen on 127.0.0.1 alone, so they need no
# token, which would be kept in the home folder.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="kills processes with POSIX signals")]
PARTS = 60


def names(n):
    return [f"part {number}" for number in range(n)]


def eight():
    return names(8)


def sixty():
    return names(PARTS)


def number_of(part):
    return int(part.split()[-1])


def journal(folder, part):
    """One short line in one write, so that the lines of many processes do not mix."""
    with (Path(folder) / "journal").open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {part}\n")


def journaled(folder):
    """The process and the part of every attempt."""
    file = Path(folder) / "journal"
    return [line.split(" ", 1) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def attempts(folder):
    return collections.Counter(part for _, part in journaled(folder))


def one_row(part):
    return fdm.Table({"number": torch.tensor([number_of(part)]), "name": fdm.Ragged.of([part])})


def out_of_order(part, *, folder):
    journal(folder, part)
    time.sleep(0.1 * (number_of(part) % 3 == 0))
    return {"even" if number_of(part) % 2 == 0 else "odd": one_row(part)}


def slow(part, *, folder):
    journal(folder, part)
    time.sleep(0.05)
    return one_row(part)


def deadly_once(part, *, folder):
    journal(folder, part)
    time.sleep(0.05)
    died = Path(folder) / "died"
    if number_of(part) == 20 and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return one_row(part)


def poison(part, *, folder):
    journal(folder, part)
    if number_of(part) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return one_row(part)


def faulty(part, *, folder):
    journal(folder, part)
    time.sleep(0.02)
    if number_of(part) == 5 and not (Path(folder) / "mended").exists():
        raise ZeroDivisionError(part)
    return one_row(part)


@contextmanager
def dask_executor():
    dask = pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    # A part that ends its worker is given back at once, in place of being tried on three workers more.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
            env={"PYTHONPATH": paths()},
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        yield executor


@contextmanager
def ray_executor():
    ray = pytest.importorskip("ray")
    import fdm.ray

    # The paths of its sockets may have 107 characters, which leaves no room for pytest's folders.
    with tempfile.TemporaryDirectory() as folder:
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=100 * 2**20,
            runtime_env={"env_vars": {"PYTHONPATH": paths()}},
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        try:
            yield fdm.ray.RayExecutor()
        finally:
            ray.shutdown()


def paths():
    """Where workers find this module."""
    return os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))


ENGINES = {"dask": dask_executor, "ray": ray_executor}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    with ENGINES[request.param]() as executor:
        yield executor


def opened(tmp_path, stage, pool):
    return fdm.open(fdm.pipeline(stage), store=tmp_path / "store", pool=pool)


def column(data, source="all", name="number"):
    return data._prepared.sources[source][name].tolist()


def check_complete(tmp_path, data):
    """All parts are there once and in order, the store is whole, and nothing half-made is left."""
    store = tmp_path / "store"
    assert list(range(PARTS)) == column(data)
    assert names(PARTS) == column(data, name="name")
    assert [] == fdm.store.verify(store)
    assert [] == [*(store / ".kept").iterdir(), *(store / ".staging").iterdir()]


def check_few_attempts(tmp_path):
    found = attempts(tmp_path)
    assert set(names(PARTS)) == set(found)
    assert 0 <= sum(found.values()) - PARTS <= 4


def test_parts_are_concatenated_in_order_per_source_whatever_finishes_first(tmp_path, engine):
    data = opened(tmp_path, fdm.clean(out_of_order, folder=str(tmp_path)).each(eight), engine)
    assert [0, 2, 4, 6] == column(data, "even")
    assert [1, 3, 5, 7] == column(data, "odd")
    assert collections.Counter(names(8)) == attempts(tmp_path)
    assert str(os.getpid()) not in {process for process, _ in journaled(tmp_path)}


def test_the_store_has_the_same_bytes_as_after_the_default_pool(tmp_path, engine):
    stage = fdm.clean(out_of_order, folder=str(tmp_path)).each(eight)
    contents = []
    for name, pool in {"engine": engine, "default": None}.items():
        fdm.open(fdm.pipeline(stage), store=tmp_path / name, pool=pool)
        files = [path for path in sorted((tmp_path / name).glob("clean-*/*")) if path.name != "manifest.json"]
        contents.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert 3 == len(contents[0])
    assert contents[1] == contents[0]


def test_a_worker_that_kills_itself_costs_a_handful_of_parts(tmp_path, engine):
    check_complete(tmp_path, opened(tmp_path, fdm.clean(deadly_once, folder=str(tmp_path)).each(sixty), engine))
    check_few_attempts(tmp_path)
    assert 2 == attempts(tmp_path)["part 20"]


def test_a_worker_that_is_killed_costs_a_handful_of_parts(tmp_path, engine):
    killed = []

    def kill_one():
        while len(journaled(tmp_path)) < PARTS // 3:
            time.sleep(0.01)
        killed.append(journaled(tmp_path)[-1][0])
        os.kill(int(killed[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    data = opened(tmp_path, fdm.clean(slow, folder=str(tmp_path)).each(sixty), engine)
    killer.join()
    check_complete(tmp_path, data)
    check_few_attempts(tmp_path)
    assert len({process for process, _ in journaled(tmp_path)}) > 2  # another took the place of the one killed


def test_a_part_that_always_kills_its_worker_is_named_and_the_others_are_saved(tmp_path, engine):
    stage = fdm.clean(poison, folder=str(tmp_path)).each(eight)
    with pytest.raises(fdm.PoisonError, match="part 'part 3' was lost 3 times") as caught:
        opened(tmp_path, stage, engine)
    assert any("in stage 0, clean test_engines.poison" in note for note in caught.value.__notes__)
    assert 3 == attempts(tmp_path)["part 3"]
    kept = [path for path in (tmp_path / "store" / ".kept").glob("clean-poison-*/*") if "." not in path.name]
    assert len(attempts(tmp_path)) - 1 == len(kept) >= 3
    assert [] == list((tmp_path / "store").glob("clean-*"))


def test_an_error_keeps_its_type_and_names_its_part_and_the_rerun_makes_only_what_is_missing(tmp_path, engine):
    stage = fdm.clean(faulty, folder=str(tmp_path)).each(sixty)
    with pytest.raises(ZeroDivisionError) as caught:
        opened(tmp_path, stage, engine)
    notes = "\n".join(caught.value.__notes__)
    assert "part 'part 5' failed; finished parts are saved" in notes
    assert "in stage 0, clean test_engines.faulty" in notes
    assert "raise ZeroDivisionError(part)" in notes
    assert sum(attempts(tmp_path).values()) < PARTS  # no part is begun after the error
    (tmp_path / "mended").touch()
    check_complete(tmp_path, opened(tmp_path, stage, engine))
    assert {"part 5": 2} == {part: times for part, times in attempts(tmp_path).items() if times > 1}
