"""What the pages of a Parquet column unpack to, told by their own headers before any is unpacked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from assay.errors import SourceError

_HEADER_BYTES = (2**10, 2**16, 2**24)  # read of a page's header: one with statistics may be long
_HELD_BYTES = 2**26  # what one batch may unpack to, where each row repeats all of its page
_MOST_ROWS = 4096
# Types of Thrift's compact protocol, as they stand in the headers
_BYTE, _DOUBLE, _BINARY, _STRUCT = 3, 7, 8, 12
_BOOLEANS, _INTEGERS, _LISTS = (1, 2), (4, 5, 6), (9, 10)


def read_column(
    source: Path, file: pq.ParquetFile, group: int, column: str, most_bytes: int
) -> Iterator[Any]:
    """Read a column of a row group as arrays of some rows each, never more of it than `most_bytes`.

    A page that is packed well, and a dictionary whose every value stands for many rows, unpack to far more
    than the file's own sizes say: the pages' headers are read first, and what comes out is counted.

    Args:
        source: The file.
        file: The same, opened.
        group: The row group's number.
        column: Its path in the schema, with dots between.
        most_bytes: What the column may unpack to.

    Raises:
        SourceError: It unpacks to more.
        pyarrow.ArrowException, OSError: It is damaged.
    """
    too_much = SourceError(
        f"row group {group} of {source.name}: its column {column} unpacks to more than {most_bytes:,} bytes",
        hint="write it again with smaller row groups",
    )
    with source.open("rb") as content:
        page_bytes = sum(_list_page_sizes(content, file.metadata.row_group(group), column))
    if page_bytes > most_bytes:
        raise too_much
    rows = max(1, min(_MOST_ROWS, _HELD_BYTES // max(1, page_bytes)))
    read_bytes = 0
    for batch in file.iter_batches(batch_size=rows, row_groups=[group], columns=[column]):
        read_bytes += batch.nbytes
        if read_bytes > most_bytes:
            raise too_much
        yield batch.column(0)


def _list_page_sizes(source: BinaryIO, group: pq.RowGroupMetaData, path: str) -> Iterator[int]:
    """Yield what each page of the columns at `path` unpacks to by its header; Arrow unpacks no more."""
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema == path or column.path_in_schema.startswith(f"{path}."):
            starts = (column.dictionary_page_offset, column.data_page_offset)
            start = min(place for place in starts if place)
            end = start + column.total_compressed_size
            while start < end:
                header_bytes, unpacked, packed = _read_header(source, start)
                yield unpacked
                start += header_bytes + packed


def _read_header(source: BinaryIO, start: int) -> tuple[int, int, int]:
    """Length of the page header at `start`, and what its page takes unpacked and packed.

    Raises:
        OSError: No header is there.
    """
    for size in _HEADER_BYTES:
        content = os.pread(source.fileno(), size, start)
        try:
            fields, end = _parse_struct(content, 0)
        except (IndexError, RecursionError):
            continue
        unpacked, packed = fields.get(2), fields.get(3)
        if isinstance(unpacked, int) and isinstance(packed, int) and unpacked >= 0 and packed >= 0:
            return end, unpacked, packed
        break
    raise OSError(f"no page begins at byte {start:,}")


def _parse_struct(content: bytes, place: int) -> tuple[dict[int, object], int]:
    """The numbers of a struct by field, and where it ends; IndexError where it is cut short."""
    fields: dict[int, object] = {}
    number = 0
    while head := content[place]:
        place += 1
        if head >> 4:
            number += head >> 4
        else:
            number, place = _parse_integer(content, place)
        fields[number], place = _parse_value(content, place, head & 15)
    return fields, place + 1


def _parse_value(content: bytes, place: int, kind: int) -> tuple[object, int]:
    if kind in _BOOLEANS:
        return None, place
    if kind in _INTEGERS:
        return _parse_integer(content, place)
    if kind == _STRUCT:
        return _parse_struct(content, place)
    if kind in _LISTS:
        return None, _skip_list(content, place)
    if kind == _BINARY:
        length, place = _parse_varint(content, place)
    elif kind in (_BYTE, _DOUBLE):
        length = 1 if kind == _BYTE else 8
    else:  # a map: no header has one
        raise IndexError(place)
    return None, _skip(content, place, length)


def _skip_list(content: bytes, place: int) -> int:
    head = content[place]
    count, place = head >> 4, place + 1
    if count == 15:
        count, place = _parse_varint(content, place)
    for _ in range(count):
        boolean = head & 15 in _BOOLEANS  # takes a byte in a list
        place = _skip(content, place, 1) if boolean else _parse_value(content, place, head & 15)[1]
    return place


def _skip(content: bytes, place: int, length: int) -> int:
    if place + length > len(content):
        raise IndexError(place)
    return place + length


def _parse_integer(content: bytes, place: int) -> tuple[int, int]:
    """A signed number, which is stored in zigzag."""
    value, place = _parse_varint(content, place)
    return (value >> 1) ^ -(value & 1), place


def _parse_varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128 or shift > 63:
            return value, place
