"""The laws of splits: disjoint, covering, and made of values alone."""

import random
import tracemalloc
from contextlib import suppress
from fractions import Fraction
from itertools import product
from statistics import median
from time import perf_counter

import attrs
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fdm
from fdm._orders.order import written_out
from fdm._splits.sizes import exact_sizes
from fdm._splits.splits import resolve_splits


NAMES = ("train", "val", "test", "calibration", "unused")


def resolved(source, *stages):
    sources = source if isinstance(source, dict) else {"all": source}
    return resolve_splits(list(enumerate(stages)), sources)


def made(source, *stages):
    """The example ids of every split."""
    return {name: written_out(examples.order).tolist() for name, examples in resolved(source, *stages).items()}


def joined(splits):
    return sorted(index for ids in splits.values() for index in ids)


def sizes_of(splits):
    return [len(ids) for ids in splits.values()]


def table(**columns):
    return fdm.Table({name: torch.tensor(column) for name, column in columns.items()})


def counts_in(splits, values, value):
    return [sum(values[index] == value for index in ids) for ids in splits.values()]


def named(sizes):
    return dict(zip(NAMES, sizes, strict=False))


@st.composite
def counts(draw, most=200, splits=5):
    cuts = draw(st.lists(st.integers(0, most), min_size=1, max_size=splits).map(sorted))
    return named(np.diff([0, *cuts]).tolist())


@st.composite
def fractions(draw):
    """Percentages that sum to 100, as floats; the last may be None."""
    cuts = draw(st.lists(st.integers(0, 100), max_size=4).map(sorted))
    sizes = [int(percent) / 100 for percent in np.diff([0, *cuts, 100])]
    return named([*sizes[:-1], draw(st.sampled_from([sizes[-1], None]))])


seeds = st.integers(-(2**70), 2**70)
lengths = st.integers(0, 300)
labels = st.lists(st.integers(0, 6), max_size=150)


# Sizes


@given(counts(), seeds, st.booleans())
def test_counts_are_kept_and_cut_a_source_into_disjoint_splits_that_cover_it(into, seed, shuffle):
    n = sum(into.values())
    splits = made(range(n), fdm.split(into, seed=seed, shuffle=shuffle))
    assert list(range(n)) == joined(splits)
    assert into == {name: len(ids) for name, ids in splits.items()}


@given(fractions(), lengths, seeds)
def test_fractions_are_kept_within_one_and_cut_a_source_into_disjoint_splits_that_cover_it(into, n, seed):
    splits = made(range(n), fdm.split(into, seed=seed))
    assert list(range(n)) == joined(splits)
    assert all(size is None or abs(len(splits[name]) - Fraction(str(size)) * n) < 1 for name, size in into.items())


@given(fractions(), st.integers(0, 10**12))
def test_fractions_of_any_number_of_examples_sum_to_it(into, n):
    sizes = exact_sizes(fdm.split(into).into, n)
    shares = [Fraction(str(size)) * n for size in into.values() if size is not None]
    assert n == sum(sizes)
    assert all(abs(size - share) < 1 for size, share in zip(sizes, shares, strict=False))


@given(st.integers(0, 50), st.integers(0, 100), st.integers(0, 400))
def test_counts_beside_fractions_are_exact_and_none_takes_the_rest(count, percent, more):
    n = 2 * count + more
    into = {"train": percent / 200, "val": count, "test": None}
    train, val, test = exact_sizes(fdm.split(into).into, n)
    assert (count, n) == (val, train + val + test)
    assert abs(train - Fraction(percent, 200) * n) < 1


def test_a_split_of_size_zero_is_empty():
    splits = made(range(5), fdm.split({"train": 0, "val": 0.0, "test": None}))
    assert [0, 0, 5] == sizes_of(splits)


@pytest.mark.parametrize("parts", [3, 6, 7, 9, 11])
def test_fractions_that_floats_cannot_hold_still_account_for_every_example(parts):
    into = {str(part): 1 / parts for part in range(parts)}
    assert [len(piece) for piece in np.array_split(range(100), parts)] == sizes_of(made(range(100), fdm.split(into)))


@pytest.mark.parametrize("rest", [0, 0.0, None])
def test_fractions_a_rounding_error_off_one_leave_an_empty_rest(rest):
    for near_one in ({"a": 0.1 + 0.2, "b": 0.7}, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}):
        splits = made(range(10), fdm.split({**near_one, "rest": rest}))
        assert (10, 0) == (len(joined(splits)), len(splits["rest"]))


@pytest.mark.parametrize(
    "into, come_to, remedy",
    [
        ({"train": 5, "val": 4}, "9", "rest"),
        ({"train": 5, "val": 6}, "11", "smaller"),
        ({"train": 11, "val": None}, "11", "smaller"),
        ({"train": 0.5, "val": 4}, "9", "rest"),
        ({"train": 0.5, "val": 6, "test": None}, "11", "smaller"),
    ],
)
def test_sizes_that_do_not_sum_are_refused_with_the_numbers_and_a_remedy(into, come_to, remedy):
    with pytest.raises(fdm.DataError, match=rf"come to {come_to}, but there are 10 examples.*{remedy}") as caught:
        made(range(10), fdm.split(into))
    assert "in stage 0, split" in caught.value.__notes__


@given(counts(), seeds)
def test_without_shuffle_splits_are_cut_in_order(into, seed):
    ids = list(range(sum(into.values())))
    splits = made(ids, fdm.split(into, shuffle=False, seed=seed))
    assert ids == [index for split in splits.values() for index in split]


def test_shuffled_splits_are_ranges_of_one_permutation():
    two = made(range(100), fdm.split({"a": 60, "b": 40}))
    three = made(range(100), fdm.split({"a": 60, "b": 30, "c": 10}))
    assert two["a"] == three["a"]
    assert two["b"] == three["b"] + three["c"]
    assert list(range(60)) != sorted(two["a"])


# Stratify and groups


@given(labels, fractions(), seeds)
def test_stratify_keeps_each_class_within_one_example_and_the_sizes_exact(classes, into, seed):
    n, stage = len(classes), fdm.split(into, stratify="label", seed=seed)
    splits, sizes = made(table(label=classes), stage), exact_sizes(stage.into, n)
    assert list(range(n)) == joined(splits)
    assert sizes == sizes_of(splits)
    for label in set(classes):
        shares = [Fraction(classes.count(label) * size, n) for size in sizes]
        found = counts_in(splits, classes, label)
        assert all(abs(count - share) < 1 for count, share in zip(found, shares, strict=True))


def by_number(source):
    return {index: index % 3 for index in range(len(source))}


def as_set(source):
    return set(range(len(source)))


@pytest.mark.parametrize("by", [by_number, as_set])
@pytest.mark.parametrize("argument", ["groups", "stratify", "key"])
def test_what_has_no_value_for_each_example_in_order_is_refused(argument, by):
    with pytest.raises(fdm.DataError, match="one number or string for each of the 12 examples"):
        made(table(label=list(range(12))), fdm.split({"a": 0.5, "b": None}, **{argument: by}))


def by_label(source):
    return [example["label"] for example in source]


def by_first_letter(source):
    return [example["label"][0] for example in source]


@pytest.mark.parametrize("stratify", ["label", by_label, by_first_letter])
def test_stratify_takes_columns_and_functions_and_labels_of_any_type(stratify):
    source = [{"label": label} for label in ["dog", "cat", "dog", "bird"] * 25]
    splits = made(source, fdm.split({"train": 0.8, "val": 0.2}, stratify=stratify))
    for label, there in (("dog", 50), ("cat", 25), ("bird", 25)):
        found = [sum(source[index]["label"] == label for index in ids) for ids in splits.values()]
        assert [there * 4 // 5, there // 5] == found


def test_stratified_splits_are_shuffled():
    classes = [0] * 50 + [1] * 50
    train = made(table(label=classes), fdm.split({"train": 0.5, "val": None}, stratify="label"))["train"]
    assert sorted(train) != train
    assert set(train[:10]) - set(range(50))
    assert sorted(train) != [*range(25), *range(50, 75)]


def has_a_single_group(splits, groups):
    """Whether a split has one group alone, which may not leave it."""
    return any(len({groups[index] for index in ids}) == 1 for ids in splits.values())


@given(labels, fractions(), seeds)
def test_groups_stay_whole_and_sizes_come_within_the_largest_group(groups, into, seed):
    n, stage = len(groups), fdm.split(into, groups="group", seed=seed)
    splits = made(table(group=groups), stage)
    assert list(range(n)) == joined(splits)
    assert all(sum(count > 0 for count in counts_in(splits, groups, group)) == 1 for group in set(groups))
    largest = max((groups.count(group) for group in groups), default=1)
    near = all(abs(f - s) < largest for f, s in zip(sizes_of(splits), exact_sizes(stage.into, n), strict=True))
    assert near or has_a_single_group(splits, groups)


@pytest.mark.parametrize("of_group", [[3, 1, 1, 1], [1, 1, 1, 3], [1, 2, 1, 5, 1]])
def test_sizes_that_whole_groups_can_reach_are_reached(of_group):
    groups = [group for group, size in enumerate(of_group) for _ in range(size)]
    half = len(groups) // 2
    assert [half, half] == sizes_of(made(table(group=groups), fdm.split({"train": half, "val": half}, groups="group")))


def dealt(of_group, sizes, by_class=None, seed=0):
    """The groups of each split, where groups have so many examples (of each class) and splits are to have these sizes."""
    members = [
        (group, label)
        for group, counts in enumerate(by_class or [[n] for n in of_group])
        for label in np.repeat(range(len(counts)), counts)
    ]
    source = table(group=[group for group, _ in members], label=[int(label) for _, label in members])
    stratify = None if by_class is None else "label"
    splits = made(source, fdm.split(named(sizes), groups="group", stratify=stratify, seed=seed))
    return [{members[index][0] for index in ids} for ids in splits.values()]


def measured(deal, of_group, sizes, by_class=None):
    """What is to be least, one after the other: splits without groups, deviations of classes, of sizes, the largest."""
    by_class = np.array(by_class or [[n] for n in of_group])
    sums = np.array([by_class[list(groups)].sum(axis=0) for groups in deal])
    apart = sums * sum(sizes) - np.outer(sizes, by_class.sum(axis=0))  # in n-ths
    empty = sum(size > 0 and not groups for size, groups in zip(sizes, deal, strict=True))
    of_sizes = abs(apart.sum(axis=1))
    return empty, int(abs(apart).sum()), int(of_sizes.sum()), int(of_sizes.max())


def ways(groups, sizes):
    """All ways to put so many groups into splits, but for those of size 0."""
    open_splits = [number for number, size in enumerate(sizes) if size]
    for into in product(open_splits, repeat=groups):
        yield [{group for group, split in enumerate(into) if split == number} for number in range(len(sizes))]


@st.composite
def deals(draw, classes=1):
    cells = st.lists(st.integers(0, 9), min_size=classes, max_size=classes).filter(any)
    by_class = draw(st.lists(cells, min_size=1, max_size=6))
    n = sum(map(sum, by_class))
    cuts = draw(st.lists(st.integers(0, n), max_size=3).map(sorted))
    return by_class, np.diff([0, *cuts, n]).tolist()


@settings(max_examples=150)
@given(deals(), seeds)
def test_of_few_groups_none_of_all_ways_comes_nearer(deal, seed):
    by_class, sizes = deal
    of_group = [count for (count,) in by_class]
    best = min(measured(way, of_group, sizes) for way in ways(len(of_group), sizes))
    assert best == measured(dealt(of_group, sizes, seed=seed), of_group, sizes)


@settings(max_examples=100)
@given(deals(classes=2) | deals(classes=3), seeds)
def test_of_few_groups_with_classes_none_of_all_ways_comes_nearer(deal, seed):
    by_class, sizes = deal
    best = min(measured(way, None, sizes, by_class) for way in ways(len(by_class), sizes))
    assert best == measured(dealt(None, sizes, by_class, seed=seed), None, sizes, by_class)


@given(st.lists(st.integers(1, 30), min_size=2, max_size=12), st.integers(2, 6), seeds, st.booleans())
def test_no_fold_is_empty_where_there_are_groups_enough(of_group, k, seed, stratify):
    assume(len(of_group) >= k)
    groups = [group for group, size in enumerate(of_group) for _ in range(size)]
    source = table(group=groups, label=[group % 3 for group in groups])
    by = {"stratify": "label"} if stratify else {}
    folds = [made(source, fdm.fold(k, index, groups="group", seed=seed, **by))["val"] for index in range(k)]
    assert all(folds)
    assert list(range(len(groups))) == sorted(index for fold in folds for index in fold)


@pytest.mark.parametrize("of_group", [[90, 5, 5], [5, 90, 5], [98, 1, 1], [4, 3, 3], [40, 30, 30]])
def test_no_split_is_empty_where_there_are_groups_enough(of_group):
    assert [1, 1, 1] == [len(groups) for groups in dealt(of_group, [0.8, 0.1, None])]


def test_where_groups_are_too_few_as_few_splits_as_can_be_are_empty():
    assert [0, 1, 1] == sorted(len(groups) for groups in dealt([50, 50], [0.4, 0.3, None]))


def test_a_split_of_size_zero_gets_no_group():
    for sizes in ([7, 0, 7], [0, 7, 7], [7, 7, 0], [0, 14, 0], [0.5, 0.0, 0.5]):
        deal = dealt([5, 5, 4], sizes)
        assert [bool(size) for size in sizes] == [bool(groups) for groups in deal]


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("of", [20, 300, 5_000])
def test_many_groups_come_as_near_as_whole_groups_can(of, classes):
    draw = np.random.default_rng(of)
    by_class = (draw.pareto(1.5, (of, classes)) * 4 + (np.arange(classes) == 0)).astype(int)
    by_class = [[int(count) for count in counts] for counts in by_class if counts.sum()]
    n = sum(map(sum, by_class))
    sizes = exact_sizes(fdm.split({"train": 0.7, "val": 0.2, "test": None}).into, n)
    empty, apart, *_ = measured(dealt(None, sizes, by_class), None, sizes, by_class)
    assert 0 == empty
    assert apart <= (0 if classes == 1 and of > 20 else 4 * 3 * classes) * n


@pytest.mark.parametrize("by", [{}, {"stratify": "label"}], ids=["groups", "groups and classes"])
def test_ten_times_as_many_groups_do_not_take_a_hundred_times_as_long(by):
    seconds = []
    for n in (10_000, 100_000):
        draw = np.random.default_rng(0)
        groups, classes = draw.integers(0, n, 3 * n), draw.integers(0, 5, 3 * n)
        source = fdm.Table({"group": torch.from_numpy(groups), "label": torch.from_numpy(classes)})
        begun = perf_counter()
        sizes = sizes_of(made(source, fdm.split({"train": 0.8, "val": 0.1, "test": None}, groups="group", **by)))
        seconds.append(perf_counter() - begun)
        assert max(abs(np.array(sizes) - [2.4 * n, 0.3 * n, 0.3 * n])) < (1 if not by else 10)
    assert seconds[1] < 100 * seconds[0]


def test_groups_of_one_keep_the_sizes_exact():
    splits = made(table(group=list(range(97))), fdm.split({"train": 0.7, "val": 0.2, "test": None}, groups="group"))
    assert exact_sizes(fdm.split({"train": 0.7, "val": 0.2, "test": None}).into, 97) == sizes_of(splits)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), min_size=1, max_size=40), fractions(), seeds)
def test_stratify_with_groups_keeps_groups_whole_and_each_class_within_its_largest_group(members, into, seed):
    groups = [group for group, (_, size) in enumerate(members) for _ in range(size)]
    classes = [label for label, size in members for _ in range(size)]
    n, stage = len(groups), fdm.split(into, stratify="label", groups="group", seed=seed)
    splits = made(table(group=groups, label=classes), stage)
    assert list(range(n)) == joined(splits)
    assert all(sum(count > 0 for count in counts_in(splits, groups, group)) == 1 for group in set(groups))
    for label in set(classes):
        largest = max(size for of, size in members if of == label)
        shares = [classes.count(label) * size / n for size in exact_sizes(stage.into, n)]
        found = counts_in(splits, classes, label)
        near = all(abs(count - share) < largest + 1e-9 for count, share in zip(found, shares, strict=True))
        assert near or has_a_single_group(splits, groups)


@pytest.mark.parametrize("by", ["stratify", "groups", "key"])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(by):
    with pytest.raises(fdm.UnknownNameError, match=r"no column 'lable' \(did you mean 'label'\?\)"):
        made(table(label=[1, 2]), fdm.split({"train": 0.5, "val": None}, **{by: "lable"}))


def too_few(source):
    return [0]


@pytest.mark.parametrize("by", ["stratify", "groups", "key"])
def test_a_function_that_does_not_tell_of_each_example_is_refused(by):
    with pytest.raises(fdm.DataError, match=r"one number or string for each of the 3 examples"):
        made([1, 2, 3], fdm.split({"train": 0.5, "val": None}, **{by: too_few}))


# Keys


KEYED = fdm.split({"train": 0.6, "val": 0.3, "test": None}, key="id")


def placed(ids, stage=KEYED):
    """The split of each id."""
    return {ids[index]: name for name, split in made([{"id": i} for i in ids], stage).items() for index in split}


KEYS = {
    "strings": st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    "integers": st.integers(-(2**63), 2**63 - 1),
    "unsigned": st.integers(0, 1000) | st.integers(2**63, 2**64 - 1),
    "bytes": st.binary().map(lambda key: key.rstrip(b"\0")),
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
@given(data=st.data())
def test_data_that_grows_or_is_sorted_anew_moves_no_example_between_keyed_splits(keys, data):
    ids = data.draw(st.lists(keys, unique=True))
    before = data.draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
    after = placed(data.draw(st.permutations(ids)))
    assert {key: after[key] for key in before} == placed(before)


@pytest.mark.parametrize("newcomer", [300, 70_000, 2**40, 2**63, -1])
def test_an_integer_key_stays_in_its_split_beside_integers_of_any_size(newcomer):
    before = placed(list(range(100)))
    after = placed([*range(100), newcomer])
    assert before == {key: after[key] for key in before}


@pytest.mark.parametrize("newcomer", ["x", 7.5, float("nan")])
def test_keys_of_another_type_are_refused_or_move_no_integer_key(newcomer):
    before = placed(list(range(100)))
    with suppress(fdm.DataError):
        after = placed([*range(100), newcomer])
        assert before == {key: after[key] for key in before}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_a_key_is_placed_by_its_value_and_not_by_its_dtype(dtype):
    ids = torch.arange(100)
    assert made(fdm.Table({"id": ids}), KEYED) == made(fdm.Table({"id": ids.to(dtype)}), KEYED)
    assert made(fdm.Table({"id": ids}), KEYED) == made([{"id": index} for index in range(100)], KEYED)


@pytest.mark.parametrize(
    "ids", [range(20_000), range(0, 20_000 * 4096, 4096), [f"img_{i:06}.png" for i in range(20_000)]]
)
def test_keyed_splits_have_the_sizes_that_chance_gives_them(ids):
    sizes = dict.fromkeys(("train", "val", "test"), 0)
    for name in placed(list(ids)).values():
        sizes[name] += 1
    for size, fraction in zip(sizes.values(), (0.6, 0.3, 0.1), strict=True):
        assert abs(size - 20_000 * fraction) < 5 * (20_000 * fraction * (1 - fraction)) ** 0.5


def test_examples_with_one_key_are_in_one_split():
    splits = made([{"id": f"patient {index % 20}"} for index in range(200)], KEYED)
    assert list(range(200)) == joined(splits)
    assert 20 == sum(len({index % 20 for index in ids}) for ids in splits.values())


def test_another_seed_places_keys_anew():
    other = fdm.split({"train": 0.6, "val": 0.3, "test": None}, key="id", seed=1)
    assert placed(list(range(100))) != placed(list(range(100)), other)


def test_no_examples_make_empty_keyed_splits():
    assert {"train": [], "val": [], "test": []} == made([], KEYED)


# Functions


def odd_and_even(source):
    return {"odd": range(1, len(source), 2), "even": np.arange(0, len(source), 2, dtype=np.uint8)}


def by_masks(source):
    odd = torch.arange(len(source)) % 2 == 1
    return {"odd": odd, "even": (~odd).tolist()}


def reversed_order(source):
    return {"all": torch.arange(len(source)).flip(0), "none": []}


def by_label_of_table(source):
    return {"low": torch.nonzero(source["label"] < 3).flatten(), "high": np.asarray(source["label"]) >= 3}


@pytest.mark.parametrize("function", [odd_and_even, by_masks])
def test_a_function_gives_indices_or_masks_as_lists_ranges_arrays_or_tensors(function):
    assert {"odd": [1, 3, 5], "even": [0, 2, 4, 6]} == made(range(7), fdm.split(function))


def test_the_order_of_a_function_is_kept():
    assert {"all": [3, 2, 1, 0], "none": []} == made(range(4), fdm.split(reversed_order))


def test_a_function_reads_columns_of_the_whole_source_and_of_a_split_of_it():
    source = table(label=[5, 1, 4, 2, 3, 0])
    assert {"low": [1, 3, 5], "high": [0, 2, 4]} == made(source, fdm.split(by_label_of_table))
    first = fdm.split({"start": 2, "rest": None}, shuffle=False)
    nested = made(source, first, fdm.split(by_label_of_table, of="rest"))
    assert {"start": [0, 1], "low": [3, 5], "high": [2, 4]} == nested


def overlapping(source):
    return {"train": [0, 1, 2], "val": [2, 3, 4]}


def repeating(source):
    return {"train": [0, 1, 2, 2], "val": [3, 4]}


def reaching_out(source):
    return {"train": [0, 1, 2, 3, 5], "val": [4]}


def counting_from_the_end(source):
    return {"train": [0, 1, 2, 3], "val": [-1]}


def forgetting(source):
    return {"train": [0, 1], "val": [4]}


def fractional(source):
    return {"train": [0.0, 1.0, 2.0, 3.0, 4.0]}


def of_names(source):
    return {"train": ["0", "1", "2", "3", "4"]}


def nested_lists(source):
    return {"train": [[0, 1], [2, 3]], "val": [[4]]}


def uneven_lists(source):
    return {"train": [[0, 1], [2, 3, 4]]}


def one_number(source):
    return {"train": 0}


def nothing(source):
    return {"train": None}


def a_set(source):
    return {"train": {0, 1, 2, 3, 4}}


def short_mask(source):
    return {"train": [True, True]}


def no_mapping(source):
    return [0, 1, 2, 3, 4]


def no_splits(source):
    return {}


def numbered(source):
    return {0: [0, 1, 2, 3, 4]}


@pytest.mark.parametrize(
    "function, message",
    [
        (overlapping, r"overlapping: splits overlap: example 2 is in 'train' and in 'val'"),
        (repeating, r"repeating: splits overlap: example 2 is in 'train' and in 'train'"),
        (reaching_out, r"'train' has the index 5, but the 5 examples count from 0 to 4"),
        (counting_from_the_end, r"'val' has the index -1"),
        (forgetting, r"forgetting: 2 examples are in no split, example 2 first"),
        (fractional, r"'train' are integers in one dimension, not float64"),
        (of_names, r"'train' are integers in one dimension"),
        (nested_lists, r"'train' are integers in one dimension, not int64 of shape \(2, 2\)"),
        (uneven_lists, r"'train' are integers in one dimension"),
        (one_number, r"'train' are integers in one dimension"),
        (nothing, r"'train' are integers in one dimension"),
        (a_set, r"'train' are integers in one dimension"),
        (short_mask, r"'train' are integers in one dimension, not bool of shape \(2,\)"),
        (no_mapping, r"no_mapping returns a mapping"),
        (no_splits, r"no_splits returns a mapping"),
        (numbered, r"numbered returns a mapping"),
    ],
)
def test_what_a_function_may_not_return_is_refused_by_name(function, message):
    with pytest.raises(fdm.DataError, match=message):
        made(range(5), fdm.split(function))


# Nested splits, folds and aliases


@pytest.mark.parametrize(
    "options", [{}, {"shuffle": False}, {"stratify": "label"}, {"groups": "group"}, {"key": "group"}]
)
def test_nested_splits_divide_what_they_are_of_into_positions_in_the_source(options):
    source = table(label=[index % 3 for index in range(90)], group=[index // 4 for index in range(90)])
    outer = fdm.split({"development": 0.7, "test": None}, seed=5)
    before = made(source, outer)
    after = made(source, outer, fdm.split({"train": 0.8, "val": None}, of="development", **options))
    assert ["train", "val", "test"] == list(after)
    assert before["test"] == after["test"]
    assert sorted(before["development"]) == sorted(after["train"] + after["val"])
    assert len(after["train"]) > len(after["val"]) > 0


def test_a_nested_split_reads_the_columns_of_its_own_examples():
    source = table(label=[index % 2 for index in range(100)])
    outer = fdm.split({"development": 60, "test": 40}, stratify="label")
    splits = made(source, outer, fdm.split({"train": 40, "val": 20}, of="development", stratify="label"))
    assert [20, 10, 20] == counts_in(splits, [index % 2 for index in range(100)], 1)


def test_a_split_may_keep_the_name_of_what_it_divides():
    splits = made({"train": range(10), "test": range(4)}, fdm.split({"train": 8, "val": 2}, of="train"))
    assert {"train": 8, "val": 2, "test": 4} == {name: len(ids) for name, ids in splits.items()}
    assert list(range(10)) == sorted(splits["train"] + splits["val"])
    assert list(range(4)) == splits["test"]


@given(st.integers(2, 7), labels, seeds, st.sampled_from([{}, {"stratify": "label"}, {"groups": "label"}]))
def test_folds_partition_the_source_and_train_is_the_rest(k, classes, seed, by):
    n = len(classes) + k
    classes = [*classes, *range(k)]
    folds = [made(table(label=classes), fdm.fold(k, index, seed=seed, **by)) for index in range(k)]
    assert list(range(n)) == sorted(index for fold in folds for index in fold["val"])
    assert all(list(range(n)) == sorted(fold["train"] + fold["val"]) for fold in folds)
    if "groups" not in by:
        assert [len(piece) for piece in np.array_split(range(n), k)] == [len(fold["val"]) for fold in folds]
    for label in set(classes):
        found = [counts_in({"val": fold["val"]}, classes, label)[0] for fold in folds]
        if "stratify" in by:
            assert all(
                abs(count - Fraction(classes.count(label) * len(fold["val"]), n)) < 1
                for count, fold in zip(found, folds, strict=True)
            )
        if "groups" in by:
            assert [classes.count(label)] == [count for count in found if count]


def test_more_folds_than_examples_are_refused():
    with pytest.raises(fdm.DataError, match="3 examples of 'all' do not make 4 folds"):
        made(range(3), fdm.fold(4, 0))


def test_a_fold_of_a_split_is_of_its_examples():
    outer = fdm.split({"development": 30, "test": 10})
    splits = made(range(40), outer, fdm.fold(5, 2, of="development"))
    assert sorted(made(range(40), outer)["development"]) == sorted(splits["train"] + splits["val"])
    assert [24, 6, 10] == sizes_of(splits)


def test_an_alias_is_the_same_examples_in_the_same_order():
    splits = made(range(20), fdm.split({"train": 15, "test": 5}), fdm.alias(predict="test"), fdm.alias(again="predict"))
    assert splits["test"] == splits["predict"] == splits["again"]
    assert ["train", "test", "predict", "again"] == list(splits)


def test_an_alias_knows_all_that_it_stands_for():
    found = resolved({"test": range(5)}, fdm.alias(predict="test"), fdm.alias(again="predict"))
    assert ("again", "predict", "test") == found["again"].names


# Names


@pytest.mark.parametrize(
    "stage, message",
    [
        (fdm.split({"train": 0.5, "test": None}, of="train"), r"split of 'train' makes 'test', but there is already"),
        (fdm.fold(2, 0, of="test"), r"fold of 'test' makes 'train', but there is already"),
        (fdm.alias(test="train"), r"alias: there is already a split 'test'"),
    ],
)
def test_names_that_clash_are_refused(stage, message):
    with pytest.raises(fdm.DataError, match=message):
        made({"train": range(10), "test": range(10)}, stage)


@pytest.mark.parametrize("stage", [fdm.split({"a": None}, of="tset"), fdm.fold(2, 0, of="tset"), fdm.alias(a="tset")])
def test_a_split_of_something_unknown_is_refused_with_what_there_is(stage):
    message = r"no split 'tset' \(did you mean 'test'\?\); the splits are 'test', 'train'"
    with pytest.raises(fdm.UnknownNameError, match=message):
        made({"train": range(10), "test": range(10)}, stage)


@pytest.mark.parametrize("stage", [fdm.split({"a": None}), fdm.fold(2, 0)])
def test_of_several_sources_one_must_be_named(stage):
    with pytest.raises(fdm.DataError, match=r"several sources \('test', 'train'\); say which one"):
        made({"train": range(10), "test": range(10)}, stage)


def test_other_sources_pass_through_under_their_own_names():
    splits = made({"train": range(10), "test": range(3)}, fdm.split({"fit": 0.5, "val": None}, of="train"))
    assert ["fit", "val", "test"] == list(splits)
    assert list(range(3)) == splits["test"]


# Purity


STAGES = [
    fdm.split({"train": 0.5, "val": None}),
    fdm.split({"train": 0.5, "val": None}, stratify="label"),
    fdm.split({"train": 0.5, "val": None}, groups="label"),
    fdm.split({"train": 0.5, "val": None}, key="label"),
    fdm.fold(3, 1),
    fdm.fold(3, 1, stratify="label"),
    fdm.fold(3, 1, groups="label"),
]


def global_states():
    return random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()


@pytest.mark.parametrize("stage", STAGES)
def test_a_split_neither_reads_nor_moves_the_global_random_state(stage):
    source = table(label=[index % 17 for index in range(100)])
    first = made(source, stage)
    random.seed(1)
    torch.manual_seed(1)
    np.random.seed(1)
    before = global_states()
    assert first == made(source, stage)
    assert before == global_states()


@pytest.mark.parametrize("stage", STAGES)
def test_another_seed_gives_another_split(stage):
    source = table(label=[index % 17 for index in range(100)])
    found = {tuple(sorted(made(source, attrs.evolve(stage, seed=seed))["train"])) for seed in (0, 1, 2, -1, 2**64)}
    assert 5 == len(found)


def test_split_and_fold_of_one_seed_are_independent():
    cut = made(range(1000), fdm.split({"train": 500, "val": 500}))["val"]
    fold = made(range(1000), fdm.fold(2, 0))["val"]
    assert abs(len(set(cut) & set(fold)) - 250) < 5 * (1000 / 16) ** 0.5


# Cost


HUGE = 10**9
CHEAP = [
    (fdm.split({"train": 0.9, "val": 0.05, "test": None}),),
    (fdm.split({"train": 0.9, "val": None}, shuffle=False),),
    (fdm.fold(5, 2),),
    (fdm.split({"rest": 0.9, "test": None}), fdm.fold(5, 2, of="rest"), fdm.alias(predict="test")),
]


def looked_up(n, stages):
    examples = resolved(range(n), *stages)["train"].order
    return examples.at(np.linspace(0, examples.size - 1, 128).astype(np.int64))


@pytest.mark.parametrize("stages", CHEAP)
def test_splits_of_a_billion_examples_take_no_memory(stages):
    looked_up(10**4, stages)  # what is imported and cached once does not count
    tracemalloc.start()
    try:
        found = looked_up(HUGE, stages)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 128 == len(np.unique(found))
    assert peak < 200_000


@pytest.mark.parametrize("stages", CHEAP)
def test_splits_of_a_billion_examples_take_no_longer_than_those_of_ten_thousand(stages):
    seconds = {n: [] for n in (10**4, HUGE)}
    for _ in range(30):
        for n, taken in seconds.items():
            begun = perf_counter()
            looked_up(n, stages)
            taken.append(perf_counter() - begun)
    assert median(seconds[HUGE]) < 10 * median(seconds[10**4])


def test_splits_of_a_billion_examples_are_disjoint_where_they_meet():
    splits = resolved(range(HUGE), fdm.split({"train": 0.9, "val": 0.05, "test": None}))
    assert [900_000_000, 50_000_000, 50_000_000] == [examples.order.size for examples in splits.values()]
    ends = [order.at(np.array([0, 1, order.size - 2, order.size - 1])) for order in (e.order for e in splits.values())]
    assert 12 == len(np.unique(np.concatenate(ends)))


def packed_numbers():
    return fdm.Table({"x": torch.zeros(8, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)})


@pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this torch has no such dtype")
@pytest.mark.parametrize(
    "stages",
    [
        [fdm.split({"a": 4, "b": None}, stratify="x")],
        [fdm.split({"a": 4, "b": None}, groups="x")],
        [fdm.split({"a": 0.5, "b": None}, key="x")],
        [fdm.sample("x"), fdm.batch(2)],
    ],
)
def test_a_column_of_which_torch_makes_no_numbers_is_refused_with_the_remedy(stages):
    with pytest.raises(
        fdm.DataError, match=r"float4_e2m1fn_x2, of which torch makes no numbers.*\.view\(torch.uint8\)"
    ):
        fdm.open(fdm.pipeline(fdm.load(packed_numbers), *stages)).loader("all", epoch=0)
