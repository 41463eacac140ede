"""Arrow: columns of what offers the Arrow C interface, read by its documented structures, with no package of Arrow's.

The interface is a contract on memory: https://arrow.apache.org/docs/format/CDataInterface.html and, for streams,
CStreamInterface.html. Buffers are copied, so that nothing outlives what the producer lends.
"""

import ctypes
from collections.abc import Iterator
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int64, c_void_p
from typing import Any

from toolz import frequencies

from .._errors import DataError
from .arrow_values import Chunk, Cut, Field, check_nulls, column_of, empty_chunk, metadata_of
from .ragged import Column, joined_columns


class _Schema(Structure):
    pass


class _Array(Structure):
    pass


class _Stream(Structure):
    pass


_Schema._fields_ = [
    ("format", c_char_p),
    ("name", c_char_p),
    ("metadata", c_void_p),
    ("flags", c_int64),
    ("n_children", c_int64),
    ("children", POINTER(POINTER(_Schema))),
    ("dictionary", POINTER(_Schema)),
    ("release", CFUNCTYPE(None, POINTER(_Schema))),
    ("private_data", c_void_p),
]
_Array._fields_ = [
    ("length", c_int64),
    ("null_count", c_int64),
    ("offset", c_int64),
    ("n_buffers", c_int64),
    ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)),
    ("children", POINTER(POINTER(_Array))),
    ("dictionary", POINTER(_Array)),
    ("release", CFUNCTYPE(None, POINTER(_Array))),
    ("private_data", c_void_p),
]
_Stream._fields_ = [
    ("get_schema", CFUNCTYPE(c_int, POINTER(_Stream), POINTER(_Schema))),
    ("get_next", CFUNCTYPE(c_int, POINTER(_Stream), POINTER(_Array))),
    ("get_last_error", CFUNCTYPE(c_char_p, POINTER(_Stream))),
    ("release", CFUNCTYPE(None, POINTER(_Stream))),
    ("private_data", c_void_p),
]


def is_arrow(thing: Any) -> bool:
    """Whether it offers the Arrow C interface."""
    return hasattr(thing, "__arrow_c_stream__") or hasattr(thing, "__arrow_c_array__")


def arrow_columns(thing: Any) -> dict[str, Column]:
    """The columns of a table, a batch or a stream of batches.

    Raises `DataError` for values that are null, by column and row, and for types that tensors do not have.
    """
    field, parts, rows = None, list[list[Column]](), 0
    for field, chunk in _chunks(thing):
        _check_table(field, thing)
        whole = _cut(field, chunk, "the table", rows)
        check_nulls(whole)
        columns = zip(field.children, chunk.children, strict=True)
        parts.append([column_of(_column_within(whole, of, inner)) for of, inner in columns])
        rows += chunk.length
    assert field is not None, "a stream without batches has an empty one"
    return {
        of.name: joined_columns(column) for of, column in zip(field.children, zip(*parts, strict=True), strict=True)
    }


def arrow_column(thing: Any, what: str) -> Column:
    """The column of an array, or of a chunked one."""
    columns, rows = list[Column](), 0
    for field, chunk in _chunks(thing):
        columns.append(column_of(_cut(field, chunk, what, rows)))
        rows += chunk.length
    return joined_columns(columns)


def _cut(field: Field, chunk: Chunk, what: str, first: int) -> Cut:
    return Cut(field, chunk, chunk.offset, chunk.length, what, lambda place: first + place)


def _column_within(whole: Cut, field: Field, chunk: Chunk) -> Cut:
    """A column of a batch, which may be a cut of its columns."""
    return Cut(field, chunk, chunk.offset + whole.start, whole.length, f"column {field.name!r}", whole.row)


def _check_table(field: Field, thing: Any) -> None:
    kind = type(thing).__name__
    if field.format != "+s":
        msg = f"Table.of takes a table of Arrow, and a {kind} is one column; name it: fdm.Table({{name: column}})"
        raise DataError(msg)
    if not field.children:
        msg = f"the {kind} has no columns"
        raise DataError(msg)
    twice = [name for name, times in frequencies([child.name for child in field.children]).items() if times > 1]
    if twice:
        msg = f"the {kind} has several columns {twice[0]!r}; rename them, since a table has one of each name"
        raise DataError(msg)


def _chunks(thing: Any) -> Iterator[tuple[Field, Chunk]]:
    """What is offered, chunk by chunk, each to be read before the next is asked for; at least one, which may be empty."""
    if not hasattr(thing, "__arrow_c_stream__"):
        schema, array = thing.__arrow_c_array__()
        yield (
            _field(_pointed(schema, b"arrow_schema", _Schema)),
            _chunk(_pointed(array, b"arrow_array", _Array)),
        )
        return
    capsule = thing.__arrow_c_stream__()  # it releases the stream when it is let go
    stream = _pointed(capsule, b"arrow_array_stream", _Stream)
    schema = _Schema()
    _check_done(stream.get_schema(byref(stream), byref(schema)), stream, thing)
    try:
        field = _field(schema)
    finally:
        schema.release(byref(schema))
    count = 0
    while True:
        array = _Array()
        _check_done(stream.get_next(byref(stream), byref(array)), stream, thing)
        if not array.release:
            break
        try:
            yield field, _chunk(array)
        finally:
            array.release(byref(array))
        count += 1
    if not count:
        yield field, empty_chunk(field)


def _check_done(code: int, stream: Any, thing: Any) -> None:
    if code:
        text = stream.get_last_error(byref(stream)) or b"it says nothing more"
        msg = f"the {type(thing).__name__} cannot be read: {text.decode(errors='replace')} (error {code})"
        raise DataError(msg)


def _pointed(capsule: Any, name: bytes, kind: type[Structure]) -> Any:
    """The structure that a capsule of this name points to."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = c_void_p, [ctypes.py_object, c_char_p]
    return kind.from_address(get(capsule, name))


def _field(schema: Any) -> Field:
    return Field(
        (schema.format or b"").decode(),
        (schema.name or b"").decode(),
        metadata_of(schema.metadata),
        tuple(_field(schema.children[at].contents) for at in range(schema.n_children)),
        _field(schema.dictionary.contents) if schema.dictionary else None,
    )


def _chunk(array: Any) -> Chunk:
    return Chunk(
        array.length,
        array.offset,
        array.null_count,
        tuple(array.buffers[at] for at in range(array.n_buffers)),
        tuple(_chunk(array.children[at].contents) for at in range(array.n_children)),
        _chunk(array.dictionary.contents) if array.dictionary else None,
    )
