"""Gathering and exact reductions: dataset order on any number of ranks, the same bits everywhere, and no rank hangs."""

import json
import math
import os
import random
import subprocess
import sys
from collections import OrderedDict
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import attrs
import gatherers as tasks
import numpy as np
import pytest
import torch
from gatherers import Ranks, below, evaluated, numbers, to_disk
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import fdm
from fdm._collectives import spools
from fdm._collectives.gather import _packed
from fdm._collectives.reduce import exact_sum
from fdm.store._tables import DTYPES, STAND_INS, open_tables


POOLS = {}


@pytest.fixture(params=[1, 2, 3, 4])
def pool(request):
    return ranks(request.param)


def ranks(size):
    if size not in POOLS:
        POOLS[size] = Ranks(size)
    return POOLS[size]


def doomed(size):
    """Ranks that no other test may have afterwards."""
    ranks(size)
    return POOLS.pop(size)


@pytest.fixture(scope="module", autouse=True)
def _ended():
    yield
    while POOLS:
        POOLS.popitem()[1].close()


def each(pool):
    return range(len(pool.pipes))


@attrs.frozen
class Scored:
    score: object
    words: object


def values(ids):
    """Values of all kinds that are made of ids."""
    ids = torch.as_tensor(ids, dtype=torch.int64)
    return {
        "tensor": torch.stack([ids, -ids], 1),
        "arrays": (ids.numpy() * 0.5, np.array([f"n{number}" for number in ids.tolist()])),
        "record": Scored(ids.bfloat16(), fdm.Ragged.of([f"w{number}" * (number % 3) for number in ids.tolist()])),
        "objects": [{"id": number} for number in ids.tolist()],
    }


def plain(tree):
    """The same as values that can be compared."""
    return {
        "tensor": tree["tensor"].tolist(),
        "arrays": tuple(array.tolist() for array in tree["arrays"]),
        "record": (tree["record"].score.tolist(), tree["record"].words.tolist()),
        "objects": tree["objects"],
    }


@st.composite
def partitions(draw):
    """Distinct ids, shuffled, in batches."""
    ids = draw(st.lists(st.integers(0, 10**12), unique=True, max_size=30))
    cuts = sorted(draw(st.lists(st.integers(0, len(ids)), max_size=6)))
    return [ids[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(ids)], strict=True)]


@given(partitions())
def test_whatever_the_batches_what_is_gathered_is_the_values_in_the_order_of_the_ids(batches):
    found = fdm.gather([values(ids) for ids in batches], batches)
    assert plain(values(sorted(chain(*batches)))) == plain(found)
    assert isinstance(found["record"], Scored)


@given(partitions())
def test_one_piece_is_sorted_by_its_ids(batches):
    ids = [*chain(*batches)]
    assert plain(values(sorted(ids))) == plain(fdm.gather(values(ids), torch.tensor(ids, dtype=torch.int64)))


@pytest.mark.parametrize("dtype", [*DTYPES, torch.complex128], ids=str)
def test_tensors_of_every_dtype_are_gathered(dtype):
    value = torch.arange(6).reshape(3, 2).to(dtype)
    found = fdm.gather(value, np.array([2, 0, 1]))
    assert (dtype, (3, 2)) == (found.dtype, tuple(found.shape))
    assert torch.equal(value.view(torch.uint8)[[1, 2, 0]], found.view(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.complex64], ids=str)
def test_one_value_of_a_wider_tensor_is_gathered(dtype):
    wide = torch.arange(20).reshape(4, 5).to(dtype)
    for one in (wide[:1, 0], wide[:1, ::2], wide.T[:1]):
        packed_dtype, shape, raw = _packed(one)
        assert torch.equal(one, torch.from_numpy(raw.copy()).view(packed_dtype).reshape(shape))


def test_what_is_gathered_is_no_view_and_has_no_gradient():
    value = torch.ones(3, requires_grad=True)
    found = fdm.gather(value * 2, [0, 1, 2])
    assert not found.requires_grad
    same = fdm.gather(kept := torch.arange(3), [0, 1, 2])
    same += 1
    assert [0, 1, 2] == kept.tolist()


@pytest.mark.parametrize(
    "given_values, ids, words",
    [
        (torch.zeros(3), [1, 2], "values has 3 rows for 2 ids"),
        ({"a": {"b": [1]}}, [1, 2], r"values\['a'\]\['b'\] has 1 rows for 2 ids"),
        ([torch.zeros(2), torch.zeros(3)], [[0, 1], [2]], r"values\[1\] has 3 rows for 1 ids"),
        ([torch.zeros(2)], [[0, 1], [2]], "a list of 2 pieces, so values is a list of as many.* not 1 pieces"),
        (torch.tensor(1.0), [1], "which has no rows"),
        ("text", [1], "values is a str"),
        ({}, [1], "holds nothing that has rows"),
        (torch.zeros(1), [0.5], "ids are integers"),
        (torch.zeros(1), [True], "ids are integers"),
        (torch.zeros(2), [1, [2]], "ids are integers"),
        (torch.zeros(2), torch.zeros(2, 1).long(), "ids are integers"),
        (torch.zeros(3), [4, 7, 4], r"id 4 comes 2 times \(from rank 0, rank 0\).*DistributedSampler"),
        ([torch.zeros(1), torch.zeros(1, 2)], [[0], [1]], r"values is .* shape \(\) in one batch and .* \(2,\)"),
        ([{"a": [1]}, {"b": [1]}], [[0], [1]], r"values\['a'\] is a list in one batch and not there in another"),
    ],
)
def test_what_cannot_be_gathered_is_told(given_values, ids, words):
    with pytest.raises(fdm.DataError, match=words):
        fdm.gather(given_values, ids)


def test_nothing_at_all_is_an_empty_list_and_no_rows_keep_their_structure():
    assert [] == fdm.gather([], [])
    found = fdm.gather({"x": torch.empty(0, 3)}, [])
    assert (0, 3) == found["x"].shape


@pytest.mark.parametrize("seed", [0, 1])
def test_every_rank_gets_all_values_in_the_order_of_the_data(pool, seed):
    rng = random.Random(seed)
    ids = rng.sample(range(1000), 41)
    owners = [rng.choice(each(pool)) for _ in ids]  # with four ranks and few ids, any may have none
    mine = [[number for number, owner in zip(ids, owners, strict=True) if owner == rank] for rank in each(pool)]
    found = pool.run(*((fdm.gather, values(own), own) for own in mine))
    assert [plain(values(sorted(ids)))] * len(mine) == [plain(ended.value) for ended in found]


def test_a_rank_without_examples_takes_what_the_others_give(pool):
    nothing = ([], []), (torch.empty(0), []), ([{"other": []}], [torch.empty(0)])
    for which, empty in enumerate(nothing):
        given_to = [empty if rank == which % len(each(pool)) else (values([rank]), [rank]) for rank in each(pool)]
        if len(given_to) == 1:
            continue
        found = pool.run(*((fdm.gather, *args) for args in given_to))
        wanted = plain(values([args[1][0] for args in given_to if args is not empty]))
        assert [wanted] * len(given_to) == [plain(ended.value) for ended in found]


def test_without_any_examples_every_rank_gets_the_same(pool):
    assert [[]] * len(each(pool)) == [ended.value for ended in pool.run(*[(fdm.gather, [], [])] * len(each(pool)))]
    first = [(fdm.gather, [], [])] * (len(each(pool)) - 1) + [(fdm.gather, torch.empty(0, 2), [])]
    assert [(0, 2)] * len(each(pool)) == [tuple(ended.value.shape) for ended in pool.run(*first)]


FINE = torch.zeros(1), [0]
BAD = {
    "another number of rows": (torch.zeros(2), [5]),
    "another dtype": (torch.zeros(1).double(), [5]),
    "another shape": (torch.zeros(1, 4), [5]),
    "another structure": ({"x": torch.zeros(1)}, [5]),
    "no ids": (torch.zeros(1), ["five"]),
    "an id that another has": (torch.zeros(1), [0]),
    "an id of its own twice": (torch.zeros(2), [5, 5]),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_what_is_wrong_on_one_rank_is_an_error_on_every_rank_and_the_group_goes_on(bad):
    pool = ranks(3)
    found = pool.run((fdm.gather, *FINE), (fdm.gather, [], []), (fdm.gather, *bad))
    assert ["DataError"] * 3 == [ended.kind for ended in found]
    assert 1 == len({ended.words for ended in found})
    assert "rank 2" in found[0].words
    assert [10, 10, 10] == [ended.value for ended in pool.run(*((fdm.total, n) for n in (1, 2, 7)))]


def test_an_id_that_comes_twice_is_named_with_its_ranks():
    found = ranks(4).run(*((fdm.gather, torch.zeros(2), [rank, 10 + rank // 2]) for rank in range(4)))
    assert all("id 10 comes 2 times (from rank 0, rank 1)" in ended.words for ended in found)


def test_objects_that_cannot_travel_fail_where_they_are_and_let_no_rank_wait():
    found = ranks(2).run((fdm.gather, [1], [0]), (fdm.gather, [Sent()], [1]))
    assert ["PreparationError", "TypeError"] == [ended.kind for ended in found]
    assert "rank 1: TypeError: made to stay" in found[0].words


class Sent:
    """What arrives as an object that cannot be pickled again."""

    def __reduce__(self):
        return tasks.stays, ()


def test_a_process_outside_the_group_is_told_so_and_a_group_of_some_ranks_works():
    found = ranks(3).run(*((tasks.of_pair, rank) for rank in range(3)))
    assert ["", "ContextError", ""] == [ended.kind for ended in found]
    assert [(2, ["r2", "r0"])] * 2 == [found[0].value, found[2].value]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_predictions_come_back_in_order_and_means_are_those_of_one_process(pool, batch_size, tmp_path):
    world = len(each(pool))
    sizes = range(3 * world * batch_size + 1)
    found = [ended.value for ended in pool.run(*[(evaluated, sizes, batch_size, str(tmp_path))] * world)]
    for n, of_ranks in zip(sizes, zip(*found, strict=True), strict=True):
        table = numbers(n)
        steps, predicted, means = zip(*of_ranks, strict=True)
        assert n < world or 1 == len(set(steps))
        assert (n == 0) == (max(steps) == 0)
        for of_rank, mean in zip(predicted, means, strict=True):
            if n == 0:
                assert [] == of_rank
                assert all(math.isnan(value) for value in mean.values())
                continue
            assert (table["x"] % 3).tolist() == of_rank["class"].tolist()
            assert [str(x) for x in table["x"].tolist()] == of_rank["text"]
            correct = int((table["x"] % 3 == table["label"]).sum())
            assert {"a": correct / n, "l": table["x"].sum().item() / 4 / n} == mean


# Reductions.


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(), min_size=1, max_size=8), st.randoms())
def test_sums_are_rounded_once_and_do_not_depend_on_the_order(terms, rng):
    found = exact_sum(terms)
    whole = sum(map(Fraction, terms))
    if all(isinstance(term, int) for term in terms):
        assert whole == found
        assert isinstance(found, int)
    elif math.isfinite(found):
        assert float(whole) == found
    else:
        with pytest.raises(OverflowError):
            float(whole)
    assert found == exact_sum(rng.sample(terms, len(terms)))


@given(st.lists(st.floats(), min_size=1, max_size=6), st.randoms())
def test_sums_of_infinities_and_nans_do_not_depend_on_the_order(terms, rng):
    found, again = exact_sum(terms), exact_sum(rng.sample(terms, len(terms)))
    assert found == again or (math.isnan(found) and math.isnan(again))


def test_totals_are_exact_and_the_same_bits_on_every_rank(pool):
    world = len(each(pool))
    rng = np.random.default_rng(world)
    floats = [rng.normal(size=(2, 3)) * 10.0 ** rng.integers(-20, 20, (2, 3)) for _ in each(pool)]
    given_to = [
        {"big": 2**70 + rank, "n": rank, "f": {"t": torch.tensor(own), "i": torch.tensor([rank, 2**61])}}
        for rank, own in enumerate(floats)
    ]
    given_to[0]["n"] = 0.5  # an int and a float are both numbers
    if world == 4:
        given_to[3]["f"]["i"] = torch.tensor([3, -(2**61)])
    found = [ended.value for ended in pool.run(*((fdm.total, value) for value in given_to))]
    for value in found:
        assert world * 2**70 + sum(each(pool)) == value["big"]
        assert sum(each(pool)) + 0.5 == value["n"]
        assert [sum(each(pool)), sum(of["f"]["i"][1].item() for of in given_to)] == value["f"]["i"].tolist()
        assert torch.int64 == value["f"]["i"].dtype
        wanted = [math.fsum(column) for column in zip(*(own.ravel() for own in floats), strict=True)]
        assert (wanted, (2, 3)) == (value["f"]["t"].ravel().tolist(), tuple(value["f"]["t"].shape))


def test_entries_are_summed_by_name_in_whatever_order_and_kind_of_dict_they_come():
    one, other = {"a": 1, "b": {"c": 10, "d": 100}}, OrderedDict(b={"d": 200, "c": 20}, a=2)
    totals = [ended.value for ended in ranks(2).run((fdm.total, one), (fdm.total, other))]
    assert [{"a": 3, "b": {"c": 30, "d": 300}}] * 2 == totals
    assert {"a": 1.0, "b": {"c": 5.0}} == fdm.mean(OrderedDict(a=2, b=MappingProxyType({"c": 10})), 2)


def test_a_mean_is_of_all_examples_and_not_of_the_means(pool):
    given_to = [({"loss": float(rank), "hits": torch.tensor([rank, 1])}, rank) for rank in each(pool)]
    found = [ended.value for ended in pool.run(*((fdm.mean, *args) for args in given_to))]
    count = sum(each(pool))
    for value in found:
        if count:
            assert 1.0 == value["loss"]
            assert [1.0, len(each(pool)) / count] == value["hits"].tolist()
        else:
            assert math.isnan(value["loss"])
            assert value["hits"].isnan().all()
        assert torch.float64 == value["hits"].dtype


def test_means_take_one_count_or_as_many_as_totals():
    assert {"a": 0.5, "b": 2.0} == fdm.mean({"a": 1, "b": 4}, {"a": 2, "b": 2})
    found = fdm.mean(torch.tensor([1, 2, 3]), torch.tensor([2, 0, 4]))
    assert [0.5, 0.75] == found[[0, 2]].tolist()
    assert math.isnan(found[1])
    assert [0.5] == fdm.mean(torch.tensor([2.0]), torch.tensor(4)).tolist()
    assert 0.5 == fdm.mean(2**2000, 2**2001)
    assert (math.inf, -math.inf) == (fdm.mean(2**2000, 1), fdm.mean(-(2**2000), 1))
    assert {} == fdm.total({})
    for total, count in (({"a": 1}, {"b": 1}), (1, {"a": 1}), (torch.zeros(2), torch.zeros(3)), ({"a": 1}, {})):
        with pytest.raises(fdm.DataError, match="count is one number for all, or has total's structure"):
            fdm.mean(total, count)


@pytest.mark.parametrize(
    "value", [{"a": 1}, torch.zeros(2), torch.tensor(0), "one", [1], None, 1j, np.zeros(2)], ids=repr
)
def test_ranks_that_sum_different_things_all_raise(value):
    pool = ranks(3)
    found = pool.run((fdm.total, 1), (fdm.total, 2), (fdm.total, value))
    assert ["DataError"] * 3 == [ended.kind for ended in found]
    assert "rank 2" in found[0].words
    assert "fdm.total" in found[0].words
    assert [6] * 3 == [ended.value for ended in pool.run(*[(fdm.total, 2)] * 3)]


def test_integers_beyond_a_tensor_are_refused_rather_than_wrapped():
    found = ranks(2).run(*[(fdm.total, {"n": torch.tensor([2**62])})] * 2)
    assert ["DataError"] * 2 == [ended.kind for ended in found]
    assert f"value['n'] sums to {2**63}, which is no int64" in found[0].words


# On disk.


@given(partitions(), st.sampled_from([1, 20_000, 2**25]), st.sampled_from([1, 300, 2**24]))
def test_a_table_is_what_would_be_gathered(tmp_path_factory, batches, spool, block):
    folder = tmp_path_factory.mktemp("results") / "table"
    pieces = ((columns(ids), ids) for ids in batches)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spools, "SPOOL", spool)
        patched.setattr(spools, "BLOCK", block)
        table = fdm.gather_to(folder, pieces)
    ids = sorted(chain(*batches))
    wanted = columns(ids)
    assert ids == table["id"].tolist()
    assert ["id", *wanted] == list(table.keys())
    assert wanted["logits"].tolist() == table["logits"].tolist()
    assert wanted["flag"].tolist() == table["flag"].tolist()
    assert list(wanted["name"]) == table["name"].tolist()
    assert [row.tolist() for row in wanted["tokens"]] == [row.tolist() for row in table["tokens"].tolist()]
    assert table.is_mapped
    assert ["table"] == below(folder.parent)
    assert ids == load_file(next(folder.glob("*.safetensors")))["0"].tolist()
    assert ids == open_tables(folder)["all"]["id"].tolist()


@pytest.mark.filterwarnings("ignore:ComplexHalf")  # torch says so of any tensor of complex32
@pytest.mark.parametrize("dtype", [*DTYPES, *STAND_INS], ids=str)
def test_columns_of_every_dtype_come_back_from_disk_bit_by_bit(tmp_path, dtype):
    raw = torch.randint(0, 256, (6 * dtype.itemsize,), dtype=torch.uint8)
    value = raw.view(dtype).reshape(3, 2) if dtype != torch.bool else (raw > 99).reshape(3, 2)
    pieces = [(value[:1], [5]), (value[1:], [7, 0])]
    table = fdm.gather_to(tmp_path / "results", pieces)
    assert (dtype, [0, 5, 7]) == (table["value"].dtype, table["id"].tolist())
    assert torch.equal(value.view(torch.uint8)[[2, 0, 1]], table["value"].view(torch.uint8))


def test_pieces_without_rows_need_not_be_like_those_that_have_some(tmp_path):
    nothing = {"x": torch.empty(0), "name": []}
    full = {"x": torch.tensor([[1, 2]]), "name": ["a"]}
    table = fdm.gather_to(tmp_path / "results", [(nothing, []), (full, [3]), (nothing, [])])
    assert ["Table(1 rows: id int64, x int64 2, name ragged str)"] == [repr(table)]
    empty = fdm.gather_to(tmp_path / "empty", [(nothing, []), ({"x": torch.empty(0, 3)}, [])])
    assert ["Table(0 rows: id int64, x float32, name ragged tensor)"] == [repr(empty)]


def test_ranks_without_rows_need_not_be_like_those_that_have_some(tmp_path):
    full, nothing = [({"name": ["b", "a"]}, [3, 1])], [({"name": []}, [])]
    tables = [
        ended.value
        for ended in ranks(3).run(*((fdm.gather_to, str(tmp_path / "r"), own) for own in (nothing, full, [])))
    ]
    assert [["a", "b"]] * 3 == [table["name"].tolist() for table in tables]


def columns(ids):
    ids = torch.as_tensor(ids, dtype=torch.int64)
    return {
        "logits": torch.stack([ids.float(), -ids.float()], 1),
        "flag": ids % 2 == 0,
        "name": [f"n{number}" for number in ids.tolist()],
        "tokens": fdm.Ragged.of([torch.arange(number % 4, dtype=torch.int16) for number in ids.tolist()]),
    } | ({} if len(ids) else {"name": fdm.Ragged.of([])})


def test_one_tensor_is_the_column_value_and_memory_may_be_used_again(tmp_path):
    same = torch.zeros(2)

    def pieces():
        for number in range(3):
            same.fill_(number)
            yield same, [2 * number + 1, 2 * number]

    table = fdm.gather_to(tmp_path / "results", pieces())
    assert [0, 0, 1, 1, 2, 2] == table["value"].tolist()


@pytest.mark.parametrize("names", [["file"], ["folder"]])
def test_nothing_is_overwritten(tmp_path, names):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("mine")
    target = tmp_path / "folder" / "file" if names == ["file"] else tmp_path / "folder"
    with pytest.raises(fdm.StoreError, match="nothing is ever overwritten"):
        fdm.gather_to(target, [(torch.zeros(1), [0])])
    assert "mine" == (tmp_path / "folder" / "file").read_text()
    assert ["folder"] == below(tmp_path)


@pytest.mark.parametrize(
    "pieces, words",
    [
        ([torch.zeros(2)], "a piece is a pair"),
        ([({"id": torch.zeros(1)}, [0])], "values have a column 'id'"),
        ([({"x": torch.zeros(1)}, [0, 1])], "column 'x' has 1 rows for 2 ids"),
        ([({"x": torch.zeros(1)}, [0]), ({"y": torch.zeros(1)}, [1])], "column 'x' is .*not there in this one"),
        ([({"x": torch.zeros(1)}, [0]), ({"x": torch.zeros(1, 2)}, [1])], r"column 'x' is .*\(2,\) in this one"),
        ([({"x": torch.tensor(1.0)}, [0])], "column 'x' is tensor"),
        ([(torch.zeros(2), [4, 4])], r"id 4 comes 2 times \(from rank 0, rank 0\)"),
        ([(torch.zeros(2), [4, 3]), (torch.zeros(1), [4])], "id 4 comes 2 times"),
    ],
)
def test_pieces_that_do_not_fit_are_told_and_leave_nothing(tmp_path, pieces, words):
    with pytest.raises(fdm.DataError, match=words):
        fdm.gather_to(tmp_path / "results", pieces)
    assert [] == below(tmp_path)


def test_every_rank_maps_the_same_table(pool, tmp_path):
    world = len(each(pool))
    ids = random.Random(0).sample(range(10_000), 300)
    mine = [ids[rank::world] if rank != 1 else [] for rank in each(pool)]  # rank 1 has no batches
    found = pool.run(*((to_disk, str(tmp_path / "new" / "results"), own, 7) for own in mine))
    wanted = sorted(chain(*mine))
    assert [(wanted, [2 * n for n in wanted], [f"n{n}" for n in wanted])] * world == [ended.value for ended in found]
    assert ["results"] == below(tmp_path / "new")


def test_without_any_results_the_table_has_no_rows(pool, tmp_path):
    found = pool.run(*[(fdm.gather_to, str(tmp_path / "results"), [])] * len(each(pool)))
    assert [0] * len(found) == [len(ended.value) for ended in found]
    assert ["id"] == list(found[0].value.keys())


def test_an_error_of_one_rank_is_raised_on_all_though_they_would_go_on_for_ever(tmp_path):
    folder = str(tmp_path / "results")
    found = ranks(3).run(
        (to_disk, folder, [0, 1], 1, "go on"), (to_disk, folder, [2], 1, "fail"), (to_disk, folder, [3], 1, "go on")
    )
    assert ["PreparationError", "KeyError", "PreparationError"] == [ended.kind for ended in found]
    assert all("no such model" in ended.words for ended in found)
    assert "rank 1: KeyError" in found[0].words
    assert [] == below(tmp_path)


def test_results_of_ranks_must_fit_together(tmp_path):
    pool, folder = ranks(2), str(tmp_path / "results")
    twice = pool.run(*[(fdm.gather_to, folder, [(torch.zeros(1), [3])])] * 2)
    assert all("id 3 comes 2 times (from rank 0, rank 1)" in ended.words for ended in twice)
    found = pool.run((fdm.gather_to, folder, [(torch.zeros(1), [3])]), (fdm.gather_to, folder, [([b"x"], [4])]))
    assert all("column 'value' is a tensor" in ended.words for ended in found)
    assert ["DataError"] * 4 == [ended.kind for ended in [*twice, *found]]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine").touch()
    assert ["StoreError"] * 2 == [ended.kind for ended in pool.run(*[(to_disk, folder, [], 1)] * 2)]
    assert ["results"] == below(tmp_path)


def test_ranks_that_share_no_file_system_are_told_so_before_any_work(tmp_path):
    given_to = [(to_disk, str(tmp_path / f"machine{rank}" / "results"), [rank], 1, "go on") for rank in range(2)]
    found = ranks(2).run(*given_to)
    assert ["StoreError"] * 2 == [ended.kind for ended in found]
    assert all("is not seen on rank 1; gather_to needs one folder" in ended.words for ended in found)
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_where_a_rank_is_killed_the_others_are_told_and_nothing_is_published(tmp_path):
    folder = str(tmp_path / "results")
    pool = doomed(3)
    found = pool.run(*((to_disk, folder, [rank], 1, "die" if rank == 1 else "end") for rank in range(3)))
    pool.close()
    assert "dead" == found[1].kind
    assert all(found[rank].kind != "" for rank in (0, 2))
    assert "in fdm.gather_to on rank 0, which waits for every rank of its group" in found[0].words
    assert [] == below(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_what_the_group_says_of_a_dead_rank_is_told_with_a_note():
    pool = Ranks(2)
    found = pool.run(*[(tasks.dying, fdm.mean, 1, 1)] * 2)
    pool.close()
    assert "dead" == found[1].kind
    assert "PreparationError" == found[0].kind
    assert "the ranks could not exchange values: " in found[0].words
    assert "in fdm.mean on rank 0, which waits for every rank" in found[0].words


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_a_killed_merge_publishes_nothing_and_the_next_one_sweeps_up(tmp_path):
    folder = tmp_path / "results"
    pool = doomed(2)
    found = pool.run(*((tasks.to_disk_and_die_in_the_merge, str(folder), [rank, 5 + rank]) for rank in range(2)))
    pool.close()
    assert "dead" == found[0].kind
    assert "in fdm.gather_to on rank 1" in found[1].words
    assert not folder.exists()
    (left,) = below(tmp_path)
    assert left.startswith(".fdm-gather-results.")
    assert [0, 1] == fdm.gather_to(folder, [(torch.zeros(2), [1, 0])])["id"].tolist()
    assert ["results"] == below(tmp_path)


UNLIKE = [
    ("gather", "total"),
    ("total", "mean"),
    ("mean", "gather"),
    ("gather_to", "gather"),
    ("total", "gather_to"),
    ("gather_to", "mean"),
]


@pytest.mark.parametrize("here, there", UNLIKE, ids=map(str, UNLIKE))
def test_ranks_at_different_calls_are_told_both_and_go_on_together(here, there, tmp_path):
    rows = [
        (tasks.calls, str(tmp_path / "r"), *calls) for calls in ((here, "total"), (there, "total"), (here, "total"))
    ]
    for ended in ranks(3).run(*rows):
        (words, after) = ended.value
        assert f"not at the same call: fdm.{here} on ranks 0, 2; fdm.{there} on rank 1. Every rank" in words
        assert "" == after
    assert [] == below(tmp_path)


def test_a_call_too_many_an_interrupted_one_and_one_of_torchs_are_told(tmp_path):
    def told(*calls):
        return [ended.value for ended in ranks(2).run(*((tasks.calls, str(tmp_path / "r"), *own) for own in calls))]

    twice = told(["total", "gather"], ["total", "total"])
    assert [["", ""], ["", ""]] != twice
    assert all(words == "" and "fdm.gather on rank 0; fdm.total on rank 1" in more for words, more in twice)
    ((interrupted,), (other,)) = told(["gather"], ["second exchange"])
    assert interrupted == other
    assert "fdm.gather on rank 0; fdm.gather, exchange 2 on rank 1" in interrupted
    ((words,), _) = told(["mean"], ["all_gather_object"])
    assert "fdm.mean on rank 0; a collective call of torch's on rank 1" in words
    assert [["", ""]] * 2 == told(["gather", "mean"], ["gather", "mean"])


MEMORY = """
import json, resource, sys, torch, fdm

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def pieces(megabytes, rows=4):
    for ids in torch.randperm(megabytes).split(rows):
        yield {"x": ids.float()[:, None].expand(-1, 2**18), "name": [f"n{number}" for number in ids.tolist()]}, ids

folder = sys.argv[1]
fdm.gather_to(folder + "/warm", pieces(8))
before = peak()
table = fdm.gather_to(folder + "/results", pieces(200))
used = peak() - before
assert table["id"].tolist() == list(range(200))
assert [table[row]["x"][7].item() for row in (0, 99, 199)] == [0.0, 99.0, 199.0]
print(json.dumps(used))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told in other units, or not at all")
def test_results_larger_than_the_memory_that_they_take(tmp_path):
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert 0 == ran.returncode, ran.stderr
    assert json.loads(ran.stdout) < 150  # of 200 MB of results


def test_masked_values_and_ids_are_refused():
    masked = np.ma.masked_array([1, 2], mask=[0, 1])
    with pytest.raises(fdm.DataError, match="a value is a masked array with 1 of 2"):
        fdm.gather({"x": masked}, ids=[0, 1])
    with pytest.raises(fdm.DataError, match="given as ids is a masked array with 1 of 2"):
        fdm.gather({"x": [1, 2]}, ids=masked)
    assert [2, 1] == fdm.gather(np.ma.masked_array([1, 2], mask=False), ids=[1, 0]).tolist()
