"""Rank contexts: what launchers tell, what contradicts itself, and what torch.distributed knows better."""

import itertools
import pickle
import re

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fdm
from fdm.testing import contexts


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
        ({**OTHER, **TORCHRUN, "TORCHELASTIC_RUN_ID": "none", **SLURM, **OPEN_MPI}, (5, 8, 1, 4)),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, (0, 1, 0, 1)),
        ({"RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "x"}, (0, 1, 0, 1)),
        ({**SLURM, "LOCAL_RANK": "1", "WORLD_SIZE": "2"}, (6, 9, 2, 3)),
    ],
    ids=["none", "others", "torchrun", "SLURM", "Open MPI", "all", "Lightning", "no world size", "Lightning in SLURM"],
)
def test_the_context_is_what_a_complete_launcher_tells(environ, expected):
    assert fdm.RankContext(*expected, device="cpu") == fdm.RankContext.from_env(environ)
    assert fdm.RankContext(*expected, device="cpu") == fdm.RankContext.from_env(dict(reversed(environ.items())))


def numbers(context):
    """The numbers of a context, in the order of the launchers' variables."""
    return context.rank, context.world_size, context.local_rank, context.local_world_size


def written(launcher, context):
    """The variables that a launcher gives the process of this context."""
    return dict(zip(launcher, map(str, numbers(context)), strict=True))


launchers = st.sampled_from(LAUNCHERS)


@given(launchers, contexts(max_world_size=64))
def test_what_a_launcher_tells_a_process_is_read_back(launcher, context):
    assert context == fdm.RankContext.from_env({**OTHER, **written(launcher, context)})


@given(contexts(max_world_size=64), st.sets(launchers.map(LAUNCHERS.index)))
def test_launchers_that_tell_the_same_agree(context, which):
    environ = {name: value for each in which for name, value in written(LAUNCHERS[each], context).items()}
    assert (context if which else fdm.RankContext()) == fdm.RankContext.from_env(environ)


@given(contexts(), st.sampled_from([SLURM, OPEN_MPI]))
def test_a_rank_that_is_exported_from_another_launcher_takes_its_local_rank(context, launcher):
    exported = {"RANK": str(context.rank), "WORLD_SIZE": str(context.world_size)}
    assert context == fdm.RankContext.from_env({**written(launcher, context), **exported})


def wrong_values(context):
    """For each variable of a launcher, by its place, a value that the others contradict."""
    rank, world_size, local_rank, local_world_size = numbers(context)
    too_small = st.integers(0, rank), st.integers(0, local_rank)
    return (
        st.integers(world_size, world_size + 9),
        too_small[0],
        st.integers(local_world_size, local_world_size + 9),
        too_small[1] | st.integers(world_size + 1, world_size + 9),
    )


@given(launchers, contexts(), st.integers(0, 3), st.data())
def test_a_variable_that_contradicts_the_others_is_named_with_its_value(launcher, context, place, data):
    wrong = str(data.draw(wrong_values(context)[place] | st.sampled_from(["", "x", "-1", "1.5", "9" * 5000])))
    name = list(launcher)[place]
    with pytest.raises(fdm.ContextError) as caught:
        fdm.RankContext.from_env({**written(launcher, context), name: wrong})
    assert re.search(rf"(?<!\w){name}='?{re.escape(wrong)}\b" if wrong else f"{name}=''", str(caught.value))


def test_a_contradiction_tells_what_would_be_right_and_how_to_mend_it():
    with pytest.raises(fdm.ContextError, match=r"^RANK=4 is not below WORLD_SIZE=4; ranks count from 0.*unset"):
        fdm.RankContext.from_env({"RANK": "4", "WORLD_SIZE": "4"})


@given(contexts(), contexts(), st.sampled_from([(0, 1), (0, 2), (1, 2)]))
def test_two_launchers_that_disagree_are_both_named_unless_one_may_have_started_the_other(one, other, pair):
    first, second = (LAUNCHERS[place] for place in pair)
    inner, outer = (other, one) if pair == (1, 2) else (one, other)
    environ = {**written(first, one), **written(second, other)}
    if (one.rank, one.world_size) == (other.rank, other.world_size):
        assert numbers(one) == numbers(fdm.RankContext.from_env(environ))
    elif inner.world_size > outer.world_size and (
        pair == (1, 2) or inner.rank in range(inner.world_size)[started_by(inner, outer)]
    ):
        assert inner == fdm.RankContext.from_env(environ)
    else:
        with pytest.raises(fdm.ContextError) as caught:
            fdm.RankContext.from_env(environ)
        for name in [*list(first)[:2], *list(second)[:2]]:
            assert f"{name}={environ[name]}" in str(caught.value)


def started_by(inner, outer):
    """The ranks of the inner launcher that this process of the outer one starts, where all start equally many."""
    each, rest = divmod(inner.world_size, outer.world_size)
    return slice(0) if rest else slice(outer.rank * each, (outer.rank + 1) * each)


# As SLURM 22.05 and Open MPI 5 write them; the step of an interactive shell has a number of its own.
BATCH = {
    "SLURM_JOB_ID": "7",
    "SLURM_PROCID": "0",
    "SLURM_NTASKS": "4",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_TASKS_PER_NODE": "4",
}
TASK = {**BATCH, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "4"}
SHELL = {**TASK, "SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}
SMALLER = {**TASK, "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2"}
LAST = fdm.RankContext(3, 4, 3, 4)
RUN_ID = {"TORCHELASTIC_RUN_ID": "none"}


@pytest.mark.parametrize(
    "environ, expected",
    [
        (TASK, (0, 4, 0, 4)),
        (SHELL, (0, 1, 0, 1)),
        ({**SMALLER, "SLURM_NTASKS_PER_NODE": "4"}, (0, 2, 0, 2)),
        ({**TASK, "SLURM_PROCID": "2", **written(TORCHRUN, LAST), **RUN_ID}, numbers(LAST)),
        ({**BATCH, **written(TORCHRUN, LAST), **RUN_ID}, numbers(LAST)),
        ({**BATCH, **written(TORCHRUN, LAST)}, numbers(LAST)),
        ({**SHELL, **written(TORCHRUN, LAST)}, numbers(LAST)),
        ({**BATCH, **written(OPEN_MPI, LAST)}, numbers(LAST)),
        ({**BATCH, **written(OPEN_MPI, fdm.RankContext(1, 2, 1, 2))}, (1, 2, 1, 2)),
        ({**SHELL, **written(OPEN_MPI, LAST)}, numbers(LAST)),
        (
            {
                **TASK,
                "SLURM_STEP_NUM_TASKS": "3",
                "SLURM_PROCID": "2",
                **written(OPEN_MPI, fdm.RankContext(7, 8, 1, 2)),
            },
            (7, 8, 1, 2),
        ),
    ],
    ids=[
        "srun",
        "salloc's shell",
        "srun -n 2 in a job of 4 tasks per node",
        "srun torchrun",
        "torchrun in a batch script",
        "another launcher in a batch script",
        "another launcher in salloc's shell",
        "mpirun in a batch script",
        "mpirun -n 2 in a batch script of 4 tasks",
        "mpirun in salloc's shell",
        "mpirun's third daemon on the last of four machines",
    ],
)
def test_the_innermost_launcher_of_a_job_is_believed(environ, expected):
    assert fdm.RankContext(*expected) == fdm.RankContext.from_env(environ)


@pytest.mark.parametrize(
    "outer, inner",
    [
        ({**TASK, "SLURM_PROCID": "1"}, {"RANK": "0", "WORLD_SIZE": "4"}),
        ({**TASK, "SLURM_PROCID": "1"}, {"RANK": "0", "WORLD_SIZE": "1"}),
        ({**TASK, "SLURM_PROCID": "1"}, written(OPEN_MPI, fdm.RankContext())),
        (written(OPEN_MPI, LAST), {"RANK": "0", "WORLD_SIZE": "8"}),
    ],
    ids=["exported in the batch script", "exported for one process", "sbatch in mpirun", "exported before mpirun"],
)
def test_variables_that_all_tasks_share_are_refused(outer, inner):
    with pytest.raises(fdm.ContextError, match=r"disagree.*Unset"):
        fdm.RankContext.from_env({**outer, **inner})


def laid_out(layout):
    """Numbers of tasks on each node, as SLURM writes them."""
    runs = [(tasks, len(list(nodes))) for tasks, nodes in itertools.groupby(layout)]
    return ",".join(f"{tasks}(x{nodes})" if nodes > 1 else str(tasks) for tasks, nodes in runs)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=6), st.sampled_from(["SLURM", "SLURM_STEP"]), st.data())
def test_slurm_tells_the_local_world_by_its_layout(layout, prefix, data):
    node = data.draw(st.integers(0, len(layout) - 1))
    local = data.draw(st.integers(0, layout[node] - 1))
    context = fdm.RankContext(sum(layout[:node]) + local, sum(layout), local, layout[node])
    environ = {**written(SLURM, context), "SLURM_NTASKS_PER_NODE": str(sum(layout) + 1), "SLURM_NODEID": str(node)}
    name = f"{prefix}_TASKS_PER_NODE"
    assert context == fdm.RankContext.from_env({**environ, name: laid_out(layout)})
    for wrong in ("", "2(x)", "x", f"{laid_out(layout)},"):
        changed = {**environ, "SLURM_NODEID": "99", name: wrong}
        with pytest.raises(fdm.ContextError, match=f"^{name}="):
            fdm.RankContext.from_env(changed)
    with pytest.raises(fdm.ContextError, match=f"SLURM_NODEID=99 is not below {len(layout)}.*{name}="):
        fdm.RankContext.from_env({**environ, "SLURM_NODEID": "99", name: laid_out(layout)})


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


@pytest.mark.parametrize(
    "told",
    [
        {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"},
        {"RANK": "x", "WORLD_SIZE": "1", "LOCAL_RANK": "0"},
        {"RANK": "1", "WORLD_SIZE": "1"},
        {"LOCAL_RANK": "1", "WORLD_SIZE": "1"},
        {**SLURM, **OPEN_MPI},
    ],
    ids=str,
)
def test_variables_that_do_not_fit_do_not_disturb_a_group(environ, group, told):
    environ(told)
    assert fdm.RankContext(0, 1, 0, 1, own_device(0)) == fdm.RankContext.detect()


def test_without_a_group_detect_refuses_what_contradicts_itself(environ):
    environ({"RANK": "1", "WORLD_SIZE": "1"})
    with pytest.raises(fdm.ContextError, match="RANK=1 is not below WORLD_SIZE=1"):
        fdm.RankContext.detect()
