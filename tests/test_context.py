"""Rank contexts: what launchers tell, what contradicts itself, and what torch.distributed knows better."""

import pickle

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm


TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SLURM = {"SLURM_PROCID": "6", "SLURM_NTASKS": "9", "SLURM_LOCALID": "2", "SLURM_NTASKS_PER_NODE": "3"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "7",
    "OMPI_COMM_WORLD_SIZE": "10",
    "OMPI_COMM_WORLD_LOCAL_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "5",
}
OTHER = {"PATH": "/bin", "SLURM_JOB_ID": "77", "MASTER_ADDR": "localhost"}
LAUNCHERS = [TORCHRUN, SLURM, OPEN_MPI]
ALL = {**TORCHRUN, **SLURM, **OPEN_MPI}


@pytest.mark.parametrize(
    "environ, expected",
    [
        ({}, (0, 1, 0, 1)),
        (OTHER, (0, 1, 0, 1)),
        (TORCHRUN, (5, 8, 1, 4)),
        (SLURM, (6, 9, 2, 3)),
        (OPEN_MPI, (7, 10, 3, 5)),
        ({**OTHER, **ALL}, (5, 8, 1, 4)),
        ({**OPEN_MPI, **SLURM}, (6, 9, 2, 3)),
    ],
    ids=["none", "others", "torchrun", "SLURM", "Open MPI", "torchrun first", "SLURM second"],
)
def test_the_context_is_what_the_launcher_tells_torchrun_before_slurm_before_open_mpi(environ, expected):
    assert fdm.RankContext(*expected, device="cpu") == fdm.RankContext.from_env(environ)


def test_the_order_of_the_variables_does_not_count():
    assert fdm.RankContext.from_env(ALL) == fdm.RankContext.from_env(dict(reversed(ALL.items())))


@given(st.data())
def test_every_rank_that_torchrun_can_start_has_its_context(data):
    local_world, machines = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    machine, local = data.draw(st.integers(0, machines - 1)), data.draw(st.integers(0, local_world - 1))
    expected = (machine * local_world + local, machines * local_world, local, local_world)
    found = fdm.RankContext.from_env(dict(zip(TORCHRUN, map(str, expected), strict=True)))
    assert expected == (found.rank, found.world_size, found.local_rank, found.local_world_size)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_that_tells_nothing_of_the_machine_is_believed(launcher):
    names = list(launcher)
    bare = {name: launcher[name] for name in names[:2]}
    found = fdm.RankContext.from_env(bare)
    assert (int(bare[names[0]]), int(bare[names[1]]), 0) == (found.rank, found.world_size, found.local_rank)
    local = fdm.RankContext.from_env({**bare, names[2]: "1"})
    assert local.local_rank == 1 < local.local_world_size


@pytest.mark.parametrize("wrong", ["", "x", "-1", "1.0", "1e3", "0x1", "2(x3)", "²"])
@pytest.mark.parametrize("name", [*TORCHRUN, *SLURM, *OPEN_MPI])
def test_a_variable_that_is_no_number_is_refused_by_name(name, wrong):
    (launcher,) = [launcher for launcher in LAUNCHERS if name in launcher]
    with pytest.raises(fdm.ContextError, match=f"{name}=.*not a number"):
        fdm.RankContext.from_env({**launcher, name: wrong})


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_rank_beyond_the_world_is_refused(launcher):
    rank, world, local, local_world = launcher
    for changed in ({rank: launcher[world]}, {world: "0"}, {local: launcher[local_world]}, {local_world: "0"}):
        with pytest.raises(fdm.ContextError):
            fdm.RankContext.from_env({**launcher, **changed})


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 1},
        {"rank": 2, "world_size": 2},
        {"local_rank": 1},
        {"rank": -1},
        {"world_size": 0},
        {"local_world_size": 0},
        {"rank": "0"},
        {"rank": 0.0},
        {"world_size": True},
        {"world_size": None},
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_refused_by_name(wrong):
    with pytest.raises(fdm.ContextError, match="|".join(wrong)):
        fdm.RankContext(**wrong)
    with pytest.raises(ValueError, match="|".join(wrong)):
        fdm.RankContext(**wrong)


def test_a_context_is_a_frozen_value():
    context = fdm.RankContext(1, 4, 1, 2, "cuda:1")
    with pytest.raises(AttributeError):
        context.rank = 0
    assert context == pickle.loads(pickle.dumps(context)) == fdm.RankContext(1, 4, 1, 2, torch.device("cuda:1"))
    assert {context} == {fdm.RankContext(1, 4, 1, 2, "cuda:1")}
    assert context != attrs.evolve(context, rank=0)
    assert fdm.RankContext() == fdm.RankContext(0, 1, 0, 1, "cpu")


def own_device(local_rank):
    """The device that a process of this machine takes."""
    if not torch.accelerator.is_available():
        return "cpu"
    return f"{torch.accelerator.current_accelerator()}:{local_rank % torch.accelerator.device_count()}"


@pytest.fixture
def environ(monkeypatch):
    """A function that makes the environment tell these launcher variables and no others."""
    for name in ALL:
        monkeypatch.delenv(name, raising=False)

    def tell(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return tell


@pytest.mark.parametrize("launcher", [{}, *LAUNCHERS])
def test_detect_reads_the_environment_of_this_process(environ, launcher):
    environ(launcher)
    expected = fdm.RankContext.from_env(launcher)
    assert attrs.evolve(expected, device=own_device(expected.local_rank)) == fdm.RankContext.detect()


def test_an_executor_has_the_context_of_its_process_unless_it_is_given_one(environ):
    environ(TORCHRUN)
    assert fdm.RankContext.detect() == fdm.Executor().context
    assert fdm.RankContext(2, 3) == fdm.Executor(context=fdm.RankContext(2, 3)).context


@pytest.fixture
def group(tmp_path):
    """An initialised gloo group of this process alone."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("launcher", [{}, *LAUNCHERS])
def test_detect_believes_an_initialised_group_before_the_environment(environ, group, launcher):
    environ(launcher)
    assert fdm.RankContext(0, 1, 0, 1, own_device(0)) == fdm.RankContext.detect()


def test_detect_takes_what_the_group_does_not_know_from_a_launcher_that_agrees(environ, group):
    environ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"})
    assert fdm.RankContext(0, 1, 0, 2, own_device(0)) == fdm.RankContext.detect()
