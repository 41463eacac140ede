"""Packing: every value once, as full as best-fit decreasing, other partners in every epoch, at any positions."""

from bisect import bisect_left, insort
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fdm
from fdm._orders.packing import Joined, Packing, best_fit, packing_of


keys = st.integers(0, 2**64 - 1)
limits = st.none() | st.integers(1, 6)
document_lengths = st.lists(st.integers(0, 40) | st.integers(0, 5), max_size=60)
capacities = st.integers(1, 30)


def sequences_of(plan, key, positions=None):
    """The pieces (document, start, stop) of each sequence."""
    positions = np.arange(plan.size) if positions is None else np.array(positions, dtype=np.int64)
    documents, starts, stops, offsets = plan.pieces(positions, key)
    assert {np.dtype(np.int64)} == {array.dtype for array in (documents, starts, stops, offsets)}
    pieces = list(zip(documents.tolist(), starts.tolist(), stops.tolist(), strict=True))
    return [pieces[first:last] for first, last in pairwise(offsets.tolist())]


def values_of(sequences):
    return Counter((document, at) for sequence in sequences for document, *cut in sequence for at in range(*cut))


def every_value(lengths):
    return Counter((document, at) for document, length in enumerate(lengths) for at in range(length))


def best_fit_document_by_document(rests, length, most):
    """What each sequence holds, long ones first, and where it fits best: the least space, then the fewest documents."""
    sequences, spaces = [], []  # spaces: what is left, how many documents, which sequence
    for rest in sorted(rests, reverse=True):
        at = bisect_left(spaces, (rest, 0, 0))
        free, used, number = spaces.pop(at) if at < len(spaces) else (length, 0, len(sequences))
        sequences[number:] = sequences[number:] or [[]]
        sequences[number].append(rest)
        if used + 1 != most:
            insort(spaces, (free - rest, used + 1, number))
    return Counter(tuple(sequence) for sequence in sequences)


def joined_and_cut(lengths, length):
    values = [(document, at) for document, count in enumerate(lengths) for at in range(count)]
    return [values[start : start + length] for start in range(0, len(values), length)]


# Whole documents


@given(document_lengths, capacities, limits, st.none() | keys)
@example([], 4, None, 1)
@example([0, 0], 4, None, 1)
@example([3], 4, None, 1)
@example([9, 12, 4], 4, None, 1)
@example([1, 1, 1], 1, None, 1)
@example([1, 1, 1], 4, 1, 1)
def test_every_value_is_in_one_sequence(lengths, length, most, key):
    packing = packing_of(np.array(lengths, dtype=np.int64), length, most)
    sequences = sequences_of(packing, key)
    assert every_value(lengths) == values_of(sequences)
    assert sum(lengths) == packing.values
    assert all(0 < sum(stop - start for _, start, stop in sequence) <= length for sequence in sequences)
    assert all(0 < len(sequence) <= (most or length) for sequence in sequences)


@given(document_lengths, capacities, limits, keys)
def test_what_is_not_longer_than_a_sequence_is_whole(lengths, length, most, key):
    pieces = Counter()
    for sequence in sequences_of(packing_of(np.array(lengths, dtype=np.int64), length, most), key):
        pieces.update(document for document, *_ in sequence)
    assert {n: -(-count // length) for n, count in enumerate(lengths) if count} == dict(pieces)


@given(document_lengths, capacities, limits, st.none() | keys)
def test_sequences_are_those_of_best_fit_decreasing(lengths, length, most, key):
    packing = packing_of(np.array(lengths, dtype=np.int64), length, most)
    full = sum(count // length for count in lengths)
    naive = best_fit_document_by_document([count % length for count in lengths if count % length], length, most)
    assert full + naive.total() == packing.size
    held = Counter(
        tuple(sorted((stop - start for _, start, stop in sequence), reverse=True))
        for sequence in sequences_of(packing, key)
    )
    assert naive + Counter({(length,): full}) == held


@given(st.dictionaries(st.integers(1, 50), st.integers(1, 10**6), min_size=1), st.integers(50, 80), limits)
def test_patterns_hold_each_rest_as_often_as_it_is_there(histogram, length, most):
    rests = sorted(histogram)
    used = Counter()
    for count, content in best_fit(rests, [histogram[rest] for rest in rests], length, most):
        held = Counter()
        while content is not None:
            held[rests[content[0]]] += content[1]
            content = content[2]  # noqa: PLW2901 - what was there before
        assert sum(rest * each for rest, each in held.items()) <= length
        used.update({rest: count * each for rest, each in held.items()})
    assert histogram == used


@given(document_lengths, capacities, limits, keys, keys)
def test_epochs_have_equally_many_sequences_of_the_same_lengths(lengths, length, most, one, other):
    packing = packing_of(np.array(lengths, dtype=np.int64), length, most)
    held = [
        Counter(tuple(sorted(stop - start for _, start, stop in sequence)) for sequence in sequences_of(packing, key))
        for key in (one, other)
    ]
    assert held[0] == held[1]
    assert packing.size == held[0].total()


plans = st.one_of(
    st.builds(
        lambda lengths, length, most: packing_of(np.array(lengths, dtype=np.int64), length, most),
        document_lengths,
        capacities,
        limits,
    ),
    st.builds(
        lambda lengths, length, first: Joined(length, first + np.cumsum([0, *lengths])),
        document_lengths,
        capacities,
        st.integers(0, 100),
    ),
)


@given(plans, st.none() | keys, st.data())
def test_a_sequence_does_not_depend_on_the_others_asked_for(plan, key, data):
    whole = sequences_of(plan, key)
    chosen = data.draw(st.lists(st.integers(0, plan.size - 1), max_size=8)) if plan.size else []
    assert [whole[position] for position in chosen] == sequences_of(plan, key, chosen)
    assert [whole[position] for position in chosen] == [sequences_of(plan, key, [at])[0] for at in chosen]


@given(plans)
def test_without_a_key_documents_stand_in_their_order_within_a_sequence(plan):
    for sequence in sequences_of(plan, None):
        assert sorted(sequence) == sequence


@given(plans)
def test_density_is_the_share_of_places_with_a_value(plan):
    values = values_of(sequences_of(plan, None)).total()
    assert plan.density == (values / (plan.size * plan.length) if plan.size else 1.0)


@given(document_lengths, capacities, limits, st.none() | keys)
def test_a_packing_is_the_same_again_from_its_arrays(lengths, length, most, key):
    packing = packing_of(np.array(lengths, dtype=np.int64), length, most)
    arrays = packing.arrays()
    assert all(isinstance(array, np.ndarray) and array.ndim == 1 for array in arrays.values())
    again = Packing.from_arrays({name: array.copy() for name, array in arrays.items()})
    assert (packing.size, packing.length, packing.most) == (again.size, again.length, again.most)
    assert sequences_of(packing, key) == sequences_of(again, key)
    assert packing.digest() == again.digest()


def test_a_packing_is_read_from_a_mapped_file(tmp_path):
    packing = packing_of(np.arange(200), 32)
    for name, array in packing.arrays().items():
        np.save(tmp_path / name, array)
    mapped = {path.stem: np.load(path, mmap_mode="r") for path in tmp_path.glob("*.npy")}
    assert sequences_of(packing, 5) == sequences_of(Packing.from_arrays(mapped), 5)


def test_the_digest_tells_histograms_and_limits_apart_and_no_orders():
    lengths = np.array([3, 5, 9, 9, 0, 2])
    digest = packing_of(lengths, 4).digest()
    assert digest == packing_of(lengths[::-1], 4).digest()
    others = [
        packing_of(lengths, 5),
        packing_of(lengths, 4, most=2),
        packing_of(lengths[:-1], 4),
        packing_of(np.append(lengths, 4), 4),
    ]
    assert 5 == len({digest, *(other.digest() for other in others)})
    assert len(digest) == 16


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_lengths_are_integers_of_any_dtype(dtype):
    lengths = np.array([3, 127, 0, 64, 5, 90], dtype=dtype)
    before = lengths.copy()
    packing = packing_of(lengths, 60)
    assert every_value(lengths.tolist()) == values_of(sequences_of(packing, 9))
    assert before.tolist() == lengths.tolist()


@pytest.mark.parametrize(
    "lengths, length",
    [
        ([2**31 - 1, 2**31, 2**31 + 1, 1], 2**31 - 1),
        ([2**31 - 1, 2**31 - 2, 1], 2**31),
        ([2**40, 3, 2**33], 2**16),
        ([65_535, 65_536, 65_537, 1], 65_536),
        ([65_535, 65_536, 65_537, 1], 65_537),
        ([5, 6], 2**70),
    ],
)
def test_lengths_beyond_small_integers_are_cut_where_they_should_be(lengths, length):
    packing = packing_of(np.array(lengths, dtype=np.int64), length)
    ends = Counter()
    for at in range(0, packing.size, 2**16):
        documents, starts, stops, offsets = packing.pieces(np.arange(at, min(at + 2**16, packing.size)), 3)
        used = np.add.reduceat(stops - starts, offsets[:-1])
        assert used.max() <= length
        for document, count in zip(documents.tolist(), (stops - starts).tolist(), strict=True):
            ends[document] += count
        assert (stops <= np.array(lengths)[documents]).all()
        if at >= 2**18:  # the first of many full pieces tell enough
            return
    assert dict(enumerate(lengths)) == ends


@pytest.mark.parametrize("limit", [0, -1, 2.5, True, None, "4"])
def test_lengths_that_are_none_are_refused(limit):
    with pytest.raises(fdm.DataError, match="pack: length is an integer of at least 1"):
        packing_of(np.array([3]), limit)
    if limit is not None:
        with pytest.raises(fdm.DataError, match="pack: most is an integer of at least 1"):
            packing_of(np.array([3]), 4, limit)


def test_negative_lengths_are_refused_with_the_document():
    with pytest.raises(fdm.DataError, match="document 1 has -2"):
        packing_of(np.array([3, -2]), 4)


# Joined and cut


@given(document_lengths, capacities, st.integers(0, 1000))
def test_joined_documents_are_cut_into_windows(lengths, length, first):
    joined = Joined(length, first + np.cumsum([0, *lengths]))
    windows = joined_and_cut(lengths, length)
    assert len(windows) == joined.size
    sequences = sequences_of(joined, None)
    assert windows == [[(document, at) for document, *cut in pieces for at in range(*cut)] for pieces in sequences]
    assert all(start < stop for sequence in sequences for _, start, stop in sequence)
    assert all(len({document for document, *_ in sequence}) == len(sequence) for sequence in sequences)


@given(document_lengths, capacities, keys)
def test_joined_sequences_are_permuted_by_a_key(lengths, length, key):
    joined = Joined(length, np.cumsum([0, *lengths]))
    natural, permuted = sequences_of(joined, None), sequences_of(joined, key)
    assert sorted(natural) == sorted(permuted)


def test_joined_digests_tell_sizes_apart():
    offsets = np.array([0, 3, 5])
    others = Joined(4, offsets), Joined(5, offsets), Joined(4, np.array([0, 3, 6])), Joined(4, np.array([0, 2, 3, 5]))
    assert 4 == len({joined.digest() for joined in others})
    assert Joined(4, offsets).digest() == Joined(4, offsets + 7).digest()


# Many documents


def lognormal(count, mean, seed=0):
    """Lengths as documents of text have them."""
    return np.maximum(1, np.random.default_rng(seed).lognormal(np.log(mean) - 0.5, 1, count)).astype(np.int64)


def test_a_million_documents_fill_their_sequences():
    lengths = lognormal(10**6, 500)
    packing = packing_of(lengths, 4096)
    assert packing.density >= 0.999
    assert lengths.sum() == packing.values
    seen = np.zeros(len(lengths), dtype=np.int64)
    used = []
    for start in range(0, packing.size, 2**14):
        documents, starts, stops, offsets = packing.pieces(np.arange(start, min(start + 2**14, packing.size)), key=1)
        np.add.at(seen, documents, stops - starts)
        used.append(np.add.reduceat(stops - starts, offsets[:-1]))
    assert np.array_equal(lengths, seen)
    assert np.concatenate(used).max() <= 4096
    assert lengths.sum() == np.concatenate(used).sum()


def places_of(packing, count, key):
    """The sequence that each document is in, and the documents that stand beside another one in theirs."""
    documents, _, _, offsets = packing.pieces(np.arange(packing.size), key)
    sequences = np.repeat(np.arange(packing.size), np.diff(offsets))
    places = np.empty(count, dtype=np.int64)
    places[documents] = sequences
    beside = sequences[1:] == sequences[:-1]
    return places, documents[:-1][beside], documents[1:][beside]


def test_documents_have_other_mates_in_every_epoch():
    lengths = np.minimum(lognormal(100_000, 500), 2047)
    packing = packing_of(lengths, 2048)
    _, one, other = places_of(packing, len(lengths), key=1)
    places, *_ = places_of(packing, len(lengths), key=2)
    assert len(one) > 50_000
    assert (places[one] == places[other]).mean() < 0.05


def test_partners_are_those_of_permutations_drawn_anew():
    lengths = np.repeat([60, 40], 50)  # 50 pairs of a long and a short one: each of 50 partners equally likely
    packing = packing_of(lengths, 100)
    assert 50 == packing.size
    met, places = np.zeros((50, 50), dtype=np.int64), np.zeros((100, 50), dtype=np.int64)
    first = Counter()
    for key in range(1000):
        documents, *_ = packing.pieces(np.arange(50), key)
        pairs = np.sort(documents.reshape(50, 2), axis=1)
        met[pairs[:, 0], pairs[:, 1] - 50] += 1
        places[documents, np.repeat(np.arange(50), 2)] += 1
        first[bool(documents[0] < 50)] += 1
    for counts, expected in ((met, 20), (places, 20)):
        square = ((counts - expected) ** 2).sum() / expected
        freedom = counts.size - counts.shape[0] - counts.shape[1] + 1
        assert abs(square - freedom) < 4 * np.sqrt(2 * counts.size)
    assert 400 < first[True] < 600  # the longer one is not always first
