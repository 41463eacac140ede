"""Packed columns: documents and sequences come out as they were put in, with their positions and segments."""

import copy
import io
import pickle
from itertools import pairwise

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import fdm
from fdm._arrays.differences import copied, difference
from fdm._arrays.packed import gather_columns, gather_pieces, joined, ranges
from fdm._batches.collate import collate
from fdm._batches.rows import row_counts
from fdm._batches.transfer import move


DTYPES = [
    getattr(torch, name)
    for name in (
        *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "bfloat16"),
        *(
            "float32",
            "float64",
            "complex64",
            "complex128",
            "float8_e4m3fn",
            "float8_e5m2",
            "float8_e8m0fnu",
        ),
    )
    if hasattr(torch, name)
]


def values_like(dtype, *shape):
    """Different values of a dtype, in as far as it has them."""
    raw = torch.arange(1, 1 + int(np.prod(shape)) * dtype.itemsize, dtype=torch.uint8) % 2
    return (
        torch.arange(int(np.prod(shape))).reshape(shape).remainder(2).bool()
        if dtype == torch.bool
        else (raw.view(dtype).reshape(shape))
    )


def bits(tensor):
    return tensor.contiguous().view(torch.uint8) if tensor.ndim else tensor.reshape(1).view(torch.uint8)


def same(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(bits(one), bits(other))


def all_same(ones, others):
    return [len(one) for one in ones] == [len(other) for other in others] and all(
        same(one, other)
        for left, right in zip(ones, others, strict=True)
        for one, other in zip(left, right, strict=True)
    )


@st.composite
def sequences_of_documents(draw, least=0):
    """Sequences as lists of documents, at least one of which has a document."""
    tail = draw(st.lists(st.integers(1, 2), max_size=2))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    lengths = draw(st.lists(st.lists(st.integers(least, 4), max_size=4), min_size=1, max_size=5))
    lengths[0] = lengths[0] or [1]
    return [[torch.randint(1, 99, (count, *tail), generator=generator) for count in each] for each in lengths]


def naive_rows(sequences, of_document, to):
    """A row for each sequence: what is said of each document's values, and 0 up to the width."""
    rows = [[value for n, doc in enumerate(each) for value in of_document(n, doc)] for each in sequences]
    width = max(map(len, rows)) if to is None else to
    return [row + [0] * (width - len(row)) for row in rows]


@given(sequences_of_documents(), st.sampled_from([None, 16, 20]))
def test_padded_mask_positions_and_segments_are_the_naive_ones(sequences, to):
    packed = fdm.Packed.of(sequences)
    assert naive_rows(sequences, lambda _, doc: [True] * len(doc), to) == packed.mask(to=to).tolist()
    assert naive_rows(sequences, lambda _, doc: range(len(doc)), to) == packed.positions(to=to).tolist()
    assert naive_rows(sequences, lambda n, doc: [n + 1] * len(doc), to) == packed.segments(to=to).tolist()
    padded, mask = packed.padded(7, to=to), packed.mask(to=to)
    assert torch.equal(packed.values, padded[mask])
    assert (padded[~mask] == 7).all()
    assert (*mask.shape, *packed.values.shape[1:]) == padded.shape
    assert torch.int64 == packed.positions().dtype == packed.segments().dtype


@given(sequences_of_documents(least=1))
def test_segments_change_where_positions_are_0(sequences):
    packed = fdm.Packed.of(sequences)
    for positions, segments, mask in zip(packed.positions(), packed.segments(), packed.mask(), strict=True):
        changes = [one != other for one, other in pairwise([0, *segments[mask].tolist()])]
        assert [position == 0 for position in positions[mask].tolist()] == changes


@given(sequences_of_documents())
def test_boundaries_are_the_cumulative_lengths_of_the_documents(sequences):
    packed = fdm.Packed.of(sequences)
    lengths = [len(document) for each in sequences for document in each]
    assert np.cumsum([0, *lengths]).tolist() == packed.boundaries.tolist()
    assert torch.int32 == packed.boundaries.dtype
    assert max(lengths) == packed.longest
    assert type(packed.longest) is int
    assert [sum(map(len, each)) for each in sequences] == packed.lengths.tolist()
    cut = [packed.values[start:stop] for start, stop in pairwise(packed.boundaries.tolist())]
    assert all_same([[document for each in sequences for document in each]], [cut])


@given(sequences_of_documents())
def test_sequences_come_out_as_they_were_put_in(sequences):
    packed = fdm.Packed.of(sequences)
    assert len(sequences) == len(packed) == len(list(packed))
    assert all_same(sequences, packed.tolist())
    for number, each in enumerate(packed):
        assert isinstance(each, fdm.Packed)
        assert all_same([sequences[number]], each.tolist())
        assert all_same([sequences[number]], packed[number - len(packed)].tolist())


@given(sequences_of_documents(), st.data())
def test_indices_are_the_naive_choice_of_sequences(sequences, data):
    chosen = data.draw(st.lists(st.integers(-len(sequences), len(sequences) - 1), max_size=8))
    for form in (list, tuple, np.array, torch.tensor):
        assert all_same([sequences[i] for i in chosen], fdm.Packed.of(sequences)[form(chosen)].tolist())
    cut = data.draw(st.slices(len(sequences)))
    assert all_same(sequences[cut], fdm.Packed.of(sequences)[cut].tolist())
    mask = data.draw(st.lists(st.booleans(), min_size=len(sequences), max_size=len(sequences)))
    naive = [each for each, is_chosen in zip(sequences, mask, strict=True) if is_chosen]
    assert all_same(naive, fdm.Packed.of(sequences)[torch.tensor(mask)].tolist())


def test_a_sequence_that_is_not_there_is_no_index():
    packed = fdm.Packed.of([[torch.tensor([1])]])
    for index in (1, -2, [0, 1]):
        with pytest.raises(IndexError):
            packed[index]
    with pytest.raises(fdm.DataError, match="Packed is indexed"):
        packed["a"]


def test_what_is_read_shares_nothing_with_what_it_is_read_from():
    packed = fdm.Packed.of([[torch.tensor([1, 2])], [torch.tensor([3])]])
    for read in (packed[0], packed[:], packed[[0, 1]]):
        read.values.zero_()
        read.documents.zero_()
    packed.tolist()[0][0].zero_()
    packed.padded().zero_()
    assert [1, 2, 3] == packed.values.tolist()


@pytest.mark.parametrize("shape", [[], [2], [2, 3]], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_of_all_dtypes_are_padded_gathered_and_joined(dtype, shape):
    values = values_like(dtype, 6, *shape)
    packed = fdm.Packed.of([[values[:3], values[3:4]], [values[4:]]])
    padded = packed.padded(1)
    assert (2, 4, *shape) == padded.shape
    assert same(values[:4], padded[0])
    assert same(values[4:], padded[1, :2])
    assert (padded[1, 2:].to(torch.complex128 if dtype.is_complex else torch.float64) == 1).all()
    assert all_same(packed.tolist(), joined(list(packed)).tolist())
    ragged = fdm.Ragged.of([values[:3], values[3:]])
    arrays = (np.array([1, 0]), np.array([1, 0]), np.array([3, 2]), np.array([0, 2]))
    assert all_same([[values[4:6], values[:2]]], gather_pieces(ragged, *arrays).tolist())


def test_fills_that_are_no_values_of_the_dtype_are_refused():
    packed = fdm.Packed.of([[torch.tensor([1, 2], dtype=torch.uint8)], [torch.tensor([3], dtype=torch.uint8)]])
    for fill in (-1, 256, 0.5):
        with pytest.raises(fdm.DataError, match="no value of dtype"):
            packed.padded(fill)
    assert [[1, 2], [3, 255]] == packed.padded(255).tolist()


@pytest.mark.parametrize(
    "column", [fdm.Packed.of([[torch.arange(3)], [torch.arange(2)]]), fdm.Ragged.of([torch.arange(3), torch.arange(2)])]
)
def test_a_width_is_an_integer_that_all_fit_into(column):
    methods = [column.padded, column.mask]
    methods += [column.positions, column.segments] if isinstance(column, fdm.Packed) else []
    for method in methods:
        assert (2, 3) == method(to=3).shape
        assert (2, 5) == method(to=np.int64(5)).shape
        with pytest.raises(fdm.DataError, match=r"to is 2, but the longest (row|sequence) has 3 values"):
            method(to=2)
        for width in (-1, 2.5, True, "4"):
            with pytest.raises(fdm.DataError, match="padded: to is an integer of at least 0"):
                method(to=width)
    assert [[0, 1, 2, 9], [0, 1, 9, 9]] == column.padded(9, to=4).tolist()


def test_no_sequences_and_empty_ones_have_shapes():
    none = fdm.Packed.of([])
    assert 0 == len(none) == none.longest
    assert (0, 0) == none.padded().shape == none.mask().shape == none.positions().shape == none.segments().shape
    assert (0, 7) == none.padded(to=7).shape
    assert [0] == none.boundaries.tolist()
    assert [] == none.tolist() == none[:].tolist() == none[[]].tolist()
    empty = fdm.Packed.of([[], [torch.tensor([5])], []])
    assert [[0], [5], [0]] == empty.padded().tolist()
    assert [[0], [1], [0]] == empty.segments().tolist()
    assert [[]] == empty[0].tolist()
    assert (0, 4, 2) == fdm.Packed(torch.zeros(0, 2), torch.zeros(1).long(), torch.zeros(1).long()).padded(to=4).shape


@pytest.mark.parametrize(
    "values, documents, sequences, message",
    [
        ([1, 2], torch.tensor([0, 2]), torch.tensor([0, 1]), "values of a Packed are a tensor"),
        (torch.arange(2), [0, 2], torch.tensor([0, 1]), "documents of a Packed are a tensor"),
        (torch.arange(2), torch.tensor([0, 2]), [0, 1], "sequences of a Packed are a tensor"),
        (torch.tensor(2), torch.tensor([0, 2]), torch.tensor([0, 1]), "one dimension or more"),
        (torch.arange(2), torch.tensor([0, 2]).int(), torch.tensor([0, 1]), "int64"),
        (torch.arange(2), torch.tensor([0, 2]), torch.tensor([]).long(), "one more than there are"),
        (torch.arange(2), torch.tensor([0, 3]), torch.tensor([0, 1]), "documents of a Packed rise from 0 .* values, 2"),
        (torch.arange(2), torch.tensor([0, 3, 2]), torch.tensor([0, 2]), "documents of a Packed rise"),
        (torch.arange(2), torch.tensor([1, 2]), torch.tensor([0, 1]), "documents of a Packed rise"),
        (
            torch.arange(2),
            torch.tensor([0, 2]),
            torch.tensor([0, 2]),
            "sequences of a Packed rise from 0 .* documents, 1",
        ),
        (torch.arange(2).to_sparse(), torch.tensor([0, 2]), torch.tensor([0, 1]), "sparse"),
    ],
)
def test_boundaries_that_do_not_fit_are_refused(values, documents, sequences, message):
    with pytest.raises(fdm.DataError, match=message):
        fdm.Packed(values, documents, sequences)


def test_documents_that_are_no_tensors_are_refused():
    for documents in (["a"], [b"a"], [3], [torch.zeros(1), torch.zeros(1, 2)]):
        with pytest.raises(fdm.DataError):
            fdm.Packed.of([documents])


def test_boundaries_beyond_32_bits_are_refused():
    count = 2**31
    values = torch.zeros(1, dtype=torch.uint8).expand(count)
    packed = fdm.Packed(values, torch.tensor([0, count]), torch.tensor([0, 1]))
    assert count == packed.longest
    with pytest.raises(fdm.DataError, match="take fewer sequences"):
        packed.boundaries  # noqa: B018 - the property is what is tested
    fits = fdm.Packed(values[1:], torch.tensor([0, count - 1]), torch.tensor([0, 1]))
    assert [0, count - 1] == fits.boundaries.tolist()


def test_it_is_immutable_copied_and_pickled():
    packed = fdm.Packed.of([[torch.arange(3), torch.arange(2)], [torch.arange(4)]])
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        packed.values = packed.values
    buffer = io.BytesIO()
    torch.save(packed, buffer)
    buffer.seek(0)
    for again in (
        pickle.loads(pickle.dumps(packed)),
        copy.copy(packed),
        copy.deepcopy(packed),
        torch.load(buffer, weights_only=False),
        copied(packed),
        attrs.evolve(packed),
    ):
        assert type(again) is fdm.Packed
        assert difference(packed, again) is None
        assert (packed.longest, packed.padded().tolist()) == (again.longest, again.padded().tolist())
    assert b"cfdm\nPacked" in pickle.dumps(packed, protocol=0)
    assert "Packed(2 sequences of 3 documents, int64, 9 values)" == repr(packed)
    assert "Packed(1 sequences of 1 documents, float32 x 2, 4 values)" == repr(fdm.Packed.of([[torch.zeros(4, 2)]]))


def test_differences_name_the_place():
    one = fdm.Packed.of([[torch.tensor([1, 2])]])
    assert "values[1]" in difference({"x": one}, {"x": fdm.Packed.of([[torch.tensor([1, 3])]])})
    assert "documents" in difference(one, fdm.Packed.of([[torch.tensor([1]), torch.tensor([2])]]))


def test_it_moves_as_tensors_do():
    packed = fdm.Packed.of([[torch.arange(3), torch.arange(2)], [torch.arange(4)]])
    halves = packed.to(torch.float16)
    assert torch.float16 == halves.values.dtype
    assert torch.int64 == halves.documents.dtype == halves.sequences.dtype
    assert packed.positions().tolist() == halves.positions().tolist()
    moved = move({"tokens": packed, "rest": [packed]}, "meta")
    assert {"meta"} == {
        tensor.device.type for each in (moved["tokens"], *moved["rest"]) for tensor in (each.values, each.documents)
    }


def test_shapes_on_a_device_are_known_without_a_look_at_it():
    # Of a meta tensor no value can be read, as none should be of one on a device: reading waits for it.
    packed = fdm.Packed.of([[torch.arange(3), torch.arange(2)], [torch.arange(4)]]).to("meta")
    shapes = {packed.padded().shape, packed.mask().shape, packed.positions().shape, packed.segments().shape}
    assert {(2, 5)} == shapes
    assert (2, 8) == packed.padded(to=8).shape
    assert (4, 4) == (*packed.boundaries.shape, packed.longest)
    assert "meta" == packed.positions().device.type


def test_examples_are_collated_into_a_batch():
    packed = fdm.Packed.of([[torch.arange(3), torch.arange(2)], [torch.arange(4)]])
    batch = collate([{"tokens": each, "n": n} for n, each in enumerate(packed)], {})
    assert difference({"tokens": packed, "n": torch.tensor([0, 1])}, batch) is None
    ragged = fdm.Ragged.of([torch.arange(3)])
    assert difference({"tokens": packed}, collate([{"tokens": each} for each in packed], {"tokens": ragged})) is None
    assert difference(packed, collate(list(packed), {})) is None
    with pytest.raises(fdm.DataError, match="'tokens' of the examples is a"):
        collate([{"tokens": packed[0]}, {"tokens": torch.arange(3)}], {})


@given(sequences_of_documents(), st.sampled_from([None, 20]))
def test_values_with_gradients_are_padded_likewise(sequences, to):
    packed = fdm.Packed.of(sequences).to(torch.float64)
    values = packed.values.clone().requires_grad_()
    padded = fdm.Packed(values, packed.documents, packed.sequences).padded(3, to=to)
    assert torch.equal(packed.padded(3, to=to), padded)
    (padded**2).sum().backward()
    assert torch.equal(2 * packed.values, values.grad)


# Pieces of ragged rows


@st.composite
def pieces_of_rows(draw):
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=8))
    pieces = []
    for row in draw(st.lists(st.integers(0, len(lengths) - 1), max_size=12)):
        start = draw(st.integers(0, lengths[row]))
        pieces.append((row, start, draw(st.integers(start, lengths[row]))))
    cuts = sorted(draw(st.lists(st.integers(0, len(pieces)), max_size=4)))
    return lengths, pieces, [0, *cuts, len(pieces)]


def as_arrays(pieces, offsets):
    documents, starts, stops = np.array(pieces, dtype=np.int64).reshape(-1, 3).T
    return documents, starts, stops, np.array(offsets)


@given(pieces_of_rows(), st.integers(1, 100), st.sampled_from([[], [2]]))
def test_gathered_pieces_are_the_naive_ones(drawn, scale, tail):
    lengths, pieces, offsets = drawn  # scaled up, pieces are long enough to be gathered as slices
    pieces = [(row, start * scale, stop * scale) for row, start, stop in pieces]
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, 99, (length * scale, *tail), generator=generator) for length in lengths]
    gathered = gather_pieces(fdm.Ragged.of(rows), *as_arrays(pieces, offsets))
    naive = [[rows[row][start:stop] for row, start, stop in pieces[a:b]] for a, b in pairwise(offsets)]
    assert all_same(naive, gathered.tolist())


@pytest.mark.parametrize("length", [3, 3000])
def test_columns_of_equal_lengths_are_gathered_alike(length):
    tokens = fdm.Ragged.of([torch.arange(length), torch.arange(length, 2 * length)])
    loss = fdm.Ragged.of([row.float() for row in tokens])
    arrays = as_arrays([(1, 0, length), (0, 1, length - 1)], [0, 1, 2])
    columns = gather_columns({"tokens": tokens, "loss": loss}, *arrays)
    assert ["tokens", "loss"] == list(columns)
    assert difference(columns["tokens"].to(torch.float32), columns["loss"]) is None
    assert difference(columns["tokens"], gather_pieces(tokens, *arrays)) is None


@pytest.mark.parametrize("length", [4, 1000])
def test_pieces_of_a_mapped_file_are_copies(tmp_path, length):
    save_file({"values": torch.arange(4 * length), "offsets": torch.arange(5) * length}, tmp_path / "a.safetensors")
    file = load_file(tmp_path / "a.safetensors")
    ragged = fdm.Ragged(file["values"], file["offsets"])
    arrays = as_arrays([(0, 0, length), (1, 0, length), (3, 1, 3)], [0, 2, 3])
    gathered = gather_pieces(ragged, *arrays)
    assert [*range(2 * length), 3 * length + 1, 3 * length + 2] == gathered.values.tolist()
    gathered.values.zero_()
    assert list(range(4 * length)) == ragged.values.tolist()


def test_strings_are_gathered_as_their_bytes():
    gathered = gather_pieces(fdm.Ragged.of(["abc", "de"]), *as_arrays([(1, 0, 2), (0, 1, 3)], [0, 2]))
    assert b"debc" == bytes(gathered.values.tolist())


def test_ranges_are_the_naive_ones():
    starts, counts = np.array([5, 0, 7, 2]), np.array([2, 0, 3, 1])
    naive = [number for start, count in zip(starts, counts, strict=True) for number in range(start, start + count)]
    assert naive == ranges(starts, counts).tolist()
    assert [] == ranges(np.array([], dtype=int), np.array([], dtype=int)).tolist()


def test_a_packed_column_crosses_the_device_boundary_and_has_rows_like_any():
    packed = fdm.Packed.of([[torch.tensor([1, 2]), torch.tensor([3])], [torch.tensor([4])]])
    moved = move({"tokens": packed, "n": torch.tensor([1, 2])}, "cpu", ())
    assert difference(packed, moved["tokens"]) is None
    assert frozenset({2}) == row_counts(moved)
    on_meta = move({"tokens": packed}, "meta", ())["tokens"]
    assert "meta" == on_meta.values.device.type == on_meta.documents.device.type
