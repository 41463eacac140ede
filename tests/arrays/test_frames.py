"""Tables of other libraries: pandas, polars, Arrow and Hugging Face's datasets; values are the same, or refused."""

import numpy as np
import pytest
import torch

import fdm


pa = pytest.importorskip("pyarrow")

N = 1000
rng = np.random.default_rng(0)


def texts(n):
    return ["" if i % 7 == 0 else f"text {i} " * (i % 5) + "é" for i in range(n)]


def arrow_columns():
    numbers = {
        name: pa.array(rng.integers(0, 100, N), type=getattr(pa, name)())
        for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
    }
    lists = [list(range(i % 4)) for i in range(N)]
    return {
        **numbers,
        "half": pa.array(rng.random(N).astype(np.float16)),
        "float": pa.array(rng.random(N), type=pa.float32()),
        "double": pa.array([float("nan") if i % 3 == 0 else i / 7 for i in range(N)], type=pa.float64()),
        "bool": pa.array([i % 3 == 0 for i in range(N)]),
        "utf8": pa.array(texts(N)),
        "large": pa.array(texts(N), type=pa.large_string()),
        "view": pa.array(texts(N), type=pa.string_view()),
        "binary": pa.array([text.encode() for text in texts(N)]),
        "binary_view": pa.array([text.encode() for text in texts(N)], type=pa.binary_view()),
        "fixed": pa.array([f"{i:04}".encode() for i in range(N)], type=pa.binary(4)),
        "list": pa.array(lists, type=pa.list_(pa.int32())),
        "large_list": pa.array(lists, type=pa.large_list(pa.float32())),
        "list_view": pa.array(lists, type=pa.list_view(pa.int64())),
        "fixed_list": pa.array([[i, i + 1] for i in range(N)], type=pa.list_(pa.int16(), 2)),
        "boxes": pa.array([[[i, 2]] * (i % 3) for i in range(N)], type=pa.list_(pa.list_(pa.int16(), 2))),
        "words": pa.array(texts(N)).dictionary_encode(),
        "codes": pa.array([i % 5 * 10 for i in range(N)]).dictionary_encode(),
    }


def plain(column):
    if isinstance(column, torch.Tensor):
        return column.tolist()
    return [row.tolist() if isinstance(row, torch.Tensor) else row for row in column.tolist()]


def assert_same(table, expected):
    assert list(table.keys()) == list(expected)
    for name, values in expected.items():
        np.testing.assert_equal(plain(table[name]), values, err_msg=name)


@pytest.fixture(scope="module")
def whole():
    return pa.table(arrow_columns())


SHAPES = {
    "table": lambda t: t,
    "one batch": lambda t: t.combine_chunks().to_batches()[0],
    "chunks": lambda t: pa.Table.from_batches(t.to_batches(max_chunksize=77)),
    "reader": lambda t: t.to_reader(max_chunksize=64),
    "slice": lambda t: t.slice(13, 501),
    "slices of slices": lambda t: pa.concat_tables([t.slice(5, 3), t.slice(0, 0), t.slice(700)]).slice(1),
    "batch cut": lambda t: t.combine_chunks().to_batches()[0].slice(9, 100),
    "empty": lambda t: t.slice(0, 0),
    "no chunks": lambda t: t.schema.empty_table(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_arrow_tables_are_read_as_they_are_however_they_are_cut(whole, shape):
    given = SHAPES[shape](whole)
    expected = (SHAPES[shape](whole)).read_all() if shape == "reader" else given
    table = fdm.Table.of(given)
    assert_same(table, expected.to_pydict())
    dtypes = [table[name].dtype for name in ("uint64", "half", "float", "bool")]
    assert [torch.uint64, torch.float16, torch.float32, torch.bool] == dtypes
    assert table["fixed_list"].shape == (len(table), 2)
    assert table["boxes"].values.shape[1:] == (2,)


def test_a_struct_array_cut_is_read_where_it_was_cut(whole):
    struct = whole.select(["int8", "utf8", "list", "bool"]).to_struct_array().combine_chunks()
    assert_same(
        fdm.Table.of(struct.slice(11, 50)), whole.select(["int8", "utf8", "list", "bool"]).slice(11, 50).to_pydict()
    )


def test_columns_of_arrow_are_columns_of_a_table(whole):
    table = fdm.Table({"a": whole["utf8"], "b": whole["int16"].combine_chunks(), "c": torch.arange(N)})
    assert table["a"].tolist() == texts(N)
    assert table["b"].dtype == torch.int16


def test_tensors_of_the_canonical_extension_keep_their_shape():
    array = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    table = fdm.Table.of(pa.table({"a": pa.FixedShapeTensorArray.from_numpy_ndarray(array)}))
    assert table["a"].tolist() == array.tolist()


def column(values, kind=None):
    return lambda: pa.table({"ok": pa.array([0] * len(values)), "a": pa.array(values, type=kind)})


REFUSED = {
    "null": (column([1, None]), "'a' has no value in row 1 .*fill_null.*drop_nulls"),
    "null in the second chunk": (
        lambda: pa.concat_tables([column([1, 2])(), column([3, None], pa.int64())()]),
        "'a' has no value in row 3",
    ),
    "null after a cut": (lambda: column([None, 1, 2, None])().slice(1), "'a' has no value in row 2"),
    "null text": (column(["a", None]), "'a' has no value in row 1"),
    "null bool": (column([True, False, None]), "'a' has no value in row 2"),
    "nulls alone": (column([None, None]), "'a' has no value in row 0"),
    "null list": (column([[1], None]), "'a' has no value in row 1"),
    "null in a list": (column([[1], [2, 3], [4, None]]), "'a' has no value in row 2"),
    "null in a fixed list": (column([[1, 2], [3, None]], pa.list_(pa.int64(), 2)), "'a' has no value in row 1"),
    "null word": (lambda: pa.table({"a": pa.array(["a", None]).dictionary_encode()}), "'a' has no value in row 1"),
    "null among words": (
        lambda: pa.table({"a": pa.DictionaryArray.from_arrays(pa.array([0, 0, 1]), pa.array(["a", None]))}),
        "'a' has no value in row 2",
    ),
    "null struct": (
        lambda: pa.StructArray.from_arrays([pa.array([1, 2])], ["a"], mask=pa.array([False, True])),
        "the table has no value in row 1",
    ),
    "timestamps": (column([1], pa.timestamp("us", "UTC")), "'a' has dates.*int64"),
    "dates": (column([1], pa.date32()), "'a' has dates"),
    "durations": (column([1], pa.duration("s")), "'a' has dates"),
    "decimals": (column([1], pa.decimal128(5)), "'a' has decimals.*float64"),
    "structs": (column([{"x": 1}]), "'a' has structs.*flatten.*unnest"),
    "maps": (column([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "'a' has maps"),
    "lists of lists": (column([[[1], [2, 3]]]), "'a' has lists of lists"),
    "lists of text": (column([["a"]]), "'a' has lists of str"),
    "lists of structs": (column([[{"x": 1}]]), "'a' has structs"),
    "run ends": (lambda: pa.table({"a": pa.RunEndEncodedArray.from_arrays([2], [7])}), "'a' has a type"),
    "unions": (
        lambda: pa.table({"a": pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])])}),
        "'a' has a type",
    ),
    "an extension": (lambda: pa.table({"a": pa.array([b"0" * 16], pa.uuid())}), "'a' is of the extension type 'arrow.uuid'"),
    "twins": (lambda: pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), "several columns 'a'"),
    "a column alone": (lambda: pa.chunked_array([[1, 2]]), "is one column; name it"),
    "an array alone": (lambda: pa.array([1, 2]), "is one column; name it"),
    "no columns": (lambda: pa.table({}), "no columns"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_tensors_do_not_hold_is_refused_by_column_and_row(kind):
    make, message = REFUSED[kind]
    with pytest.raises(fdm.DataError, match=message):
        fdm.Table.of(make())


def test_a_stream_that_fails_says_why():
    def batches():
        yield pa.record_batch({"a": [1]})
        msg = "the disk is gone"
        raise ValueError(msg)

    reader = pa.RecordBatchReader.from_batches(pa.schema({"a": pa.int64()}), batches())
    with pytest.raises(fdm.DataError, match=r"RecordBatchReader cannot be read: .*the disk is gone"):
        fdm.Table.of(reader)


def test_values_outlive_what_they_were_read_from():
    table = fdm.Table.of(pa.table({"a": np.arange(100_000), "b": texts(100_000)}))
    pa.array(np.zeros(1_000_000))
    assert table["a"].sum().item() == 99_999 * 50_000
    assert table["b"][99_999] == texts(100_000)[-1]


def test_polars_frames_are_tables():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {
            "n": [1, 2, 3],
            "x": [0.5, float("nan"), 2.0],
            "ok": [True, False, True],
            "name": ["a", "", "a longer text that is not inline"],
            "word": pl.Series(["u", "v", "u"], dtype=pl.Categorical),
            "kind": pl.Series(["u", "v", "u"], dtype=pl.Enum(["v", "u"])),
            "tokens": [[1, 2], [], [3]],
            "pair": pl.Series([[1, 2], [3, 4], [5, 6]], dtype=pl.Array(pl.Int16, 2)),
            "raw": [b"a", b"", b"c" * 20],
        }
    )
    assert_same(fdm.Table.of(frame), frame.to_dict(as_series=False))
    assert_same(fdm.Table.of(frame.slice(1).reverse()), frame.slice(1).reverse().to_dict(as_series=False))
    assert fdm.Table({"a": frame["name"]})["a"].tolist() == frame["name"].to_list()
    with pytest.raises(fdm.DataError, match="LazyFrame; collect it"):
        fdm.Table.of(frame.lazy())
    with pytest.raises(fdm.DataError, match="'n' has no value in row 3"):
        fdm.Table.of(pl.DataFrame({"n": [1, 2, 3, None]}))
    with pytest.raises(fdm.DataError, match="'d' has dates"):
        fdm.Table.of(pl.select(d=pl.date(2024, 1, 1)))


def test_pandas_frames_are_tables():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "n": np.array([1, 2, 3], dtype="int32"),
            "x": [0.5, float("nan"), 2.0],
            "ok": [True, False, True],
            "name": ["a", "", "c"],
            "object": pd.Series(["a", "b", "c"], dtype=object),
            "int": pd.array([1, 2, 3], dtype="Int16"),
            "float": pd.array([1.5, 2, 3], dtype="Float32"),
            "bool": pd.array([True, False, True], dtype="boolean"),
            "word": pd.Categorical(["u", "v", "u"]),
            "number": pd.Categorical([7, 8, 7]),
            "tokens": [[1, 2], [], [3]],
            "array": [np.zeros(2), np.ones(1), np.ones(0)],
            "arrow": pd.array([1, 2, 3], dtype=pd.ArrowDtype(pa.int8())),
            "texts": pd.array(["a", "b", "c"], dtype=pd.ArrowDtype(pa.string())),
            "sparse": pd.arrays.SparseArray([0, 0, 1]),
        }
    )
    table = fdm.Table.of(frame)
    expected = {name: [v.tolist() if isinstance(v, np.ndarray) else v for v in values] for name, values in frame.to_dict("list").items()}  # fmt: skip
    assert_same(table, expected)
    dtypes = {name: table[name].dtype for name in ("n", "int", "float", "bool", "arrow")}
    assert list(dtypes.values()) == [torch.int32, torch.int16, torch.float32, torch.bool, torch.int8]
    filtered = frame[frame["n"] > 1]
    assert fdm.Table.of(filtered)["n"].tolist() == [2, 3]
    assert fdm.Table({"a": filtered["name"]})["a"].tolist() == ["", "c"]
    assert fdm.Table.of(pd.DataFrame({"a": [1]})[:0])["a"].dtype == torch.int64


PANDAS = {
    "Int64": (lambda pd: pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), "'a' has no value in row 1 .*dropna"),
    "str": (lambda pd: pd.DataFrame({"a": pd.array(["a", None], dtype="str")}), "'a' has no value in row 1"),
    "category": (lambda pd: pd.DataFrame({"a": pd.Categorical(["u", None])}), "'a' has no value in row 1"),
    "object with None": (lambda pd: pd.DataFrame({"a": pd.Series(["a", None], dtype=object)}), "'a' has no value in row 1"),
    "object with NaN": (lambda pd: pd.DataFrame({"a": pd.Series(["a", np.nan], dtype=object)}), "'a' has no value in row 1"),
    "object with NA": (lambda pd: pd.DataFrame({"a": pd.Series(["a", pd.NA], dtype=object)}), "'a' has no value in row 1"),
    "mixed": (lambda pd: pd.DataFrame({"a": pd.Series([1, "1"], dtype=object)}), "an int in row 0 and a str in row 1"),
    "dates": (lambda pd: pd.DataFrame({"a": pd.to_datetime(["2024-01-01"])}), "'a' has dtype datetime64.*int64"),
    "zoned dates": (lambda pd: pd.DataFrame({"a": pd.to_datetime(["2024-01-01"], utc=True)}), "'a' has, in row 0, a Timestamp"),
    "periods": (lambda pd: pd.DataFrame({"a": pd.period_range("2024", periods=1, freq="D")}), "'a' has, in row 0, a Period"),
    "an index of its own": (lambda pd: pd.DataFrame({"a": [1], "id": [7]}).set_index("id"), "index of its own, 'id'.*reset_index"),
    "twins": (lambda pd: pd.DataFrame([[1, 2]], columns=["a", "a"]), "several columns 'a'"),
    "numbered columns": (lambda pd: pd.DataFrame([[1, 2]]), "column names are strings, not 0"),
    "a series": (lambda pd: pd.Series([1]), "a Series; name the column"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PANDAS)
def test_what_pandas_has_and_tensors_do_not_is_refused_by_column_and_row(kind):
    pd = pytest.importorskip("pandas")
    make, message = PANDAS[kind]
    with pytest.raises(fdm.DataError, match=message):
        fdm.Table.of(make(pd))


def test_datasets_of_hugging_face_are_tables_in_their_own_order():
    datasets = pytest.importorskip("datasets")
    rows = {"n": [1, 2, 3, 4], "name": ["a", "b", "c", "d"], "tokens": [[1], [], [2, 3], [4]]}
    dataset = datasets.Dataset.from_dict(rows)
    assert_same(fdm.Table.of(dataset), rows)
    assert_same(
        fdm.Table.of(dataset.with_format("torch").select([3, 0])),
        {"n": [4, 1], "name": ["d", "a"], "tokens": [[4], [1]]},
    )
    with pytest.raises(fdm.DataError, match="'n' has no value in row 1"):
        fdm.Table.of(datasets.Dataset.from_dict({"n": [1, None]}))
    with pytest.raises(fdm.DataError, match=r"fdm.Table.of\(.*\) reads it"):
        fdm.Table(dataset)
