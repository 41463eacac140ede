"""Rank contexts in processes that real launchers start: before their process group, and in it."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import fdm


# Each process writes its context before and in its group to a file of its own.
SCRIPT = """
import datetime, json, os, sys
from pathlib import Path
import torch, torch.distributed as dist
import fdm

folder, size = Path(sys.argv[1]), int(sys.argv[2])


def numbers():
    found = fdm.RankContext.detect()
    assert torch.accelerator.is_available() or found.device == "cpu"
    return [found.rank, found.world_size, found.local_rank, found.local_world_size]


def tell(name, **group):
    before = numbers()
    dist.init_process_group("gloo", timeout=datetime.timedelta(minutes=5), **group)
    told = {"before": before, "after": numbers(), "rank": dist.get_rank()}
    dist.destroy_process_group()
    (folder / f"{name}.json").write_text(json.dumps(told))


def tell_by_file(rank):
    tell(rank, init_method=(folder / "group").as_uri(), rank=rank, world_size=size)


if __name__ == "__main__":
    if "--spawn" in sys.argv:
        torch.multiprocessing.spawn(tell_by_file, nprocs=size)
    elif "--by-file" in sys.argv:
        tell_by_file(fdm.RankContext.from_env(os.environ).rank)
    else:
        tell(os.environ["RANK"])
"""
LIGHTNING = """
import json, sys, warnings
from pathlib import Path
import lightning.pytorch as pl
from lit import PLAIN, Notes, trainer
import fdm, fdm.lightning


class Tells(pl.Callback):
    def on_train_start(self, trainer, module):
        found = fdm.RankContext.detect()
        told = [found.rank, found.world_size, found.local_rank, found.local_world_size]
        (Path(sys.argv[1]) / f"{trainer.global_rank}.json").write_text(json.dumps({"after": told, "before": BEFORE}))


found = fdm.RankContext.detect()
BEFORE = [found.rank, found.world_size, found.local_rank, found.local_world_size]
warnings.filterwarnings("ignore", ".*LeafSpec")
runs = trainer(callbacks=[Tells()], max_steps=1, strategy="ddp", devices=2)
runs.fit(Notes(), datamodule=fdm.lightning.datamodule(PLAIN))
"""
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_", "SLURM_", "OMPI_", "PMIX_", "TORCHELASTIC_", "MASTER_", "NODE_RANK")


@pytest.fixture
def script(tmp_path):
    """The script, in a folder of its own."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def environment(variables=()):
    """The environment of this process without a launcher's variables, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLES)}
    here = Path(__file__).parent
    paths = [str(here.parents[1]), str(here.parent / "helpers"), str(here), os.environ.get("PYTHONPATH", "")]
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1", **dict(variables)}


def start(command, folder, variables=()):
    """A process with these variables."""
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([str(part) for part in command], cwd=folder, env=environment(variables), **output)


def told(folder, *processes):
    """What the processes told, by rank, when all of them have ended well."""
    try:
        for process in processes:
            output, _ = process.communicate(timeout=400)
            assert 0 == process.returncode, output
    finally:
        for process in processes:
            process.kill()
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def machine(size):
    """The contexts of one machine's ranks."""
    return [[rank, size, rank, size] for rank in range(size)]


def free_port():
    """A port of this machine that nothing listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def torchrun(script, size, *options):
    """The command that starts ranks of the script."""
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", size, "--master-addr", "127.0.0.1"]
    return [*run, *options, script, script.parent, size]


@pytest.mark.parametrize("size", [1, 3])
def test_torchrun_tells_its_processes_before_their_group_what_the_group_tells(script, size):
    ranks = told(script.parent, start(torchrun(script, size, "--master-port", free_port()), script.parent))
    assert machine(size) == [rank["before"] for rank in ranks] == [rank["after"] for rank in ranks]
    assert list(range(size)) == [rank["rank"] for rank in ranks]


def slurm(rank, size, nodes=1):
    """The variables of a SLURM task, with equally many tasks on each node."""
    layout = f"{size // nodes}(x{nodes})" if nodes > 1 else str(size)
    return {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": str(rank),
        "SLURM_NTASKS": str(size),
        "SLURM_STEP_NUM_TASKS": str(size),
        "SLURM_LOCALID": str(rank % (size // nodes)),
        "SLURM_NODEID": str(rank // (size // nodes)),
        "SLURM_TASKS_PER_NODE": layout,
        "SLURM_STEP_TASKS_PER_NODE": layout,
    }


def test_torchrun_on_two_machines_that_slurm_starts_is_believed_before_slurm(script):
    port = free_port()
    options = ["--nnodes", 2, "--master-port", port]
    starts = [
        start(torchrun(script, 1, *options, "--node-rank", rank), script.parent, slurm(rank, 2, nodes=2))
        for rank in range(2)
    ]
    ranks = told(script.parent, *starts)
    assert [[0, 2, 0, 1], [1, 2, 0, 1]] == [rank["before"] for rank in ranks] == [rank["after"] for rank in ranks]


def test_slurms_tasks_know_their_machine_before_their_group_and_in_it(script):
    command = [sys.executable, script, script.parent, 4, "--by-file"]
    ranks = told(script.parent, *[start(command, script.parent, slurm(rank, 4, nodes=2)) for rank in range(4)])
    expected = [[rank, 4, rank % 2, 2] for rank in range(4)]
    assert expected == [rank["before"] for rank in ranks] == [rank["after"] for rank in ranks]


@pytest.mark.parametrize("variables", [{}, {**slurm(0, 1), "LOCAL_RANK": "x"}], ids=["none", "srun"])
def test_spawned_processes_know_their_group_whatever_started_their_parent(script, variables):
    command = [sys.executable, script, script.parent, 2, "--spawn"]
    ranks = told(script.parent, start(command, script.parent, variables))
    assert [[0, 1, 0, 1]] * 2 == [rank["before"] for rank in ranks]
    assert machine(2) == [rank["after"] for rank in ranks]


def test_lightnings_own_launcher_is_none_until_it_has_a_group(tmp_path):
    (tmp_path / "fit.py").write_text(LIGHTNING)
    ranks = told(tmp_path, start([sys.executable, "fit.py", tmp_path], tmp_path, {"PYTHONWARNINGS": "default"}))
    assert [[0, 1, 0, 1]] * 2 == [rank["before"] for rank in ranks]
    assert machine(2) == [rank["after"] for rank in ranks]


def has_open_mpi():
    """Whether `mpirun` is there and Open MPI's."""
    if shutil.which("mpirun") is None:
        return False
    version = subprocess.run(["mpirun", "--version"], capture_output=True, text=True).stdout
    return "Open MPI" in version or "OpenRTE" in version


@pytest.mark.skipif(not has_open_mpi(), reason="Open MPI is not installed")
def test_mpirun_in_a_batch_script_is_believed_before_slurm(script):
    command = ["mpirun", "--oversubscribe", "-n", 2, sys.executable, script, script.parent, 2, "--by-file"]
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    # Only what fdm reads: with more of SLURM's variables mpirun would ask SLURM for its machines.
    batch = {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_LOCALID": "0"}
    ranks = told(script.parent, start(command, script.parent, root | batch))
    assert [[0, 2], [1, 2]] == [rank["before"][:2] for rank in ranks]
    assert [rank["before"] for rank in ranks] == [rank["after"] for rank in ranks]
    # Open MPI's local ranks need not be in the order of the ranks.
    assert [[0, 2], [1, 2]] == sorted(rank["after"][2:] for rank in ranks)


RAY_TRAIN = """
import json, os, sys
from pathlib import Path
import fdm


def numbers():
    found = fdm.RankContext.detect()
    return [found.rank, found.world_size, found.local_rank, found.local_world_size]


def train(folder):
    os.environ |= {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}  # as where SLURM started Ray
    (Path(folder["into"]) / f"{numbers()[0]}.json").write_text(json.dumps(numbers()))


if __name__ == "__main__":
    import ray, ray.train
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    assert numbers() == [0, 1, 0, 1]  # outside of Ray Train's workers
    os.environ |= {"RANK": "1", "WORLD_SIZE": "2"}
    assert numbers() == [1, 2, 0, 1]
    del os.environ["RANK"], os.environ["WORLD_SIZE"]
    ray.init(num_cpus=3, include_dashboard=False, _node_ip_address="127.0.0.1")
    run = ray.train.RunConfig(storage_path=sys.argv[1] + "/results")
    scale = ray.train.ScalingConfig(num_workers=2)
    DataParallelTrainer(train, train_loop_config={"into": sys.argv[1]}, scaling_config=scale, run_config=run).fit()
    ray.shutdown()
"""


def has_ray_train():
    """Whether `ray.train` can be imported, which needs more than Ray."""
    return 0 == subprocess.run([sys.executable, "-c", "import ray.train"], capture_output=True).returncode


def test_ray_trains_workers_are_told_by_ray_alone(tmp_path):
    if not has_ray_train():
        pytest.skip("ray.train cannot be imported: it needs pandas and pyarrow")
    (tmp_path / "fit.py").write_text(RAY_TRAIN)
    quiet = {"RAY_USAGE_STATS_ENABLED": "0"}
    ranks = told(tmp_path, start([sys.executable, "fit.py", tmp_path], tmp_path, quiet))
    assert machine(2) == ranks


def test_detect_imports_no_ray(script):
    check = "import sys, fdm; fdm.RankContext.detect(); print([name for name in sys.modules if name.startswith('ray')])"
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, env=environment())
    assert "[]" == ran.stdout.strip(), ran.stderr


def test_a_process_of_contradicting_launchers_ends_with_an_error_that_names_them(script):
    variables = {**slurm(1, 2), "RANK": "0", "WORLD_SIZE": "2"}
    ran = start([sys.executable, "-c", "import fdm; fdm.Executor()"], script.parent, variables)
    output, _ = ran.communicate(timeout=400)
    assert 0 != ran.returncode
    message = "torchrun and SLURM disagree: RANK=0 and WORLD_SIZE=2, but SLURM_PROCID=1 and SLURM_STEP_NUM_TASKS=2"
    assert f"{fdm.ContextError.__name__}: {message}" in output
