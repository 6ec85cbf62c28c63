"""A Parquet file whose columns are read only so far as their pages' own headers allow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from assay.errors import SourceError

MAX_FOOTER_BYTES = 2**26
_MAGIC = b"PAR1"
_HEADER_BYTES = (2**10, 2**16, 2**24)  # read of a page's header: one with statistics may be long
_HELD_BYTES = 2**26  # what one batch may unpack to, where each row repeats all of its page
_MOST_ROWS = 4096
_LIMITS = {"thrift_string_size_limit": 2**25, "thrift_container_size_limit": 10**5}
# Types of Thrift's compact protocol, and fields of Parquet's structs (parquet.thrift)
_BYTE, _DOUBLE, _BINARY, _STRUCT = 3, 7, 8, 12
_BOOLEANS, _INTEGERS, _LISTS = (1, 2), (4, 5, 6), (9, 10)
_ROW_GROUPS, _COLUMNS, _METADATA = 4, 1, 3
_PATH, _PACKED_BYTES, _DATA_START, _DICTIONARY_START = 3, 7, 9, 11
_PAGE_BYTES, _PAGE_PACKED_BYTES = 2, 3


class PagedFile:
    """A Parquet file, whose footer is read here besides: Arrow ends the process on some that are damaged.

    Raises:
        Anything at all: It is damaged.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq  # with its file systems 9 MiB, which other forms do without

        self._path = path
        self._chunks = _list_chunks(path)
        self.file = pq.ParquetFile(path, **_LIMITS)

    def read_column(self, group: int, column: str, most_bytes: int) -> Iterator[Any]:
        """Read a column of a row group as arrays of some rows each, never more of it than `most_bytes`.

        A page that is packed well, and a dictionary whose every value stands for many rows, unpack to far
        more than the footer says: the pages' headers are read first, and what comes out is counted.

        Args:
            group: The row group's number.
            column: The column's path in the schema, with dots between.
            most_bytes: What the column may unpack to.

        Raises:
            SourceError: It unpacks to more.
            Anything else: It is damaged.
        """
        too_much = SourceError(
            f"row group {group} of {self._path.name}: its column {column} unpacks to more than "
            f"{most_bytes:,} bytes",
            hint="write it again with smaller row groups",
        )
        page_bytes = sum(self._list_page_sizes(group, column))
        if page_bytes > most_bytes:
            raise too_much
        rows = max(1, min(_MOST_ROWS, _HELD_BYTES // max(1, page_bytes)))
        read_bytes = 0
        for batch in self.file.iter_batches(batch_size=rows, row_groups=[group], columns=[column]):
            read_bytes += batch.nbytes
            if read_bytes > most_bytes:
                raise too_much
            yield batch.column(0)

    def _list_page_sizes(self, group: int, column: str) -> Iterator[int]:
        """Yield what each page of the column unpacks to by its header; Arrow unpacks no more."""
        with self._path.open("rb") as source:
            for path, start, size in self._chunks[group]:
                place, end = start, start + size
                while path.startswith(f"{column}.") and place < end:
                    header_bytes, unpacked, packed = _read_header(source, place)
                    yield unpacked
                    place += header_bytes + packed


def _list_chunks(path: Path) -> list[list[tuple[str, int, int]]]:
    """For each row group its columns: path with a dot behind it, where the pages begin, their bytes."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        tail = os.pread(file.fileno(), 8, max(0, end - 8))
        size = int.from_bytes(tail[:4], "little")
        if tail[4:] != _MAGIC or size > min(end - 8, MAX_FOOTER_BYTES):
            raise ValueError("its footer is cut short, damaged or encrypted")
        footer, _ = _parse_struct(os.pread(file.fileno(), size, end - 8 - size), 0)
    return [
        [_describe_chunk(chunk[_METADATA]) for chunk in group[_COLUMNS]]
        for group in footer.get(_ROW_GROUPS, [])
    ]


def _describe_chunk(column: dict[int, Any]) -> tuple[str, int, int]:
    path = b".".join(column[_PATH]).decode("utf-8")
    starts = [column[_DATA_START], column.get(_DICTIONARY_START, 0)]
    return f"{path}.", min(start for start in starts if start), column[_PACKED_BYTES]


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
        unpacked, packed = fields.get(_PAGE_BYTES), fields.get(_PAGE_PACKED_BYTES)
        if isinstance(unpacked, int) and isinstance(packed, int) and unpacked >= 0 and packed >= 0:
            return end, unpacked, packed
        break
    raise OSError(f"no page begins at byte {start:,}")


def _parse_struct(content: bytes, place: int) -> tuple[dict[int, Any], int]:
    """The values of a struct by field, and where it ends; IndexError where it is cut short."""
    fields: dict[int, Any] = {}
    number = 0
    while head := content[place]:
        place += 1
        if head >> 4:
            number += head >> 4
        else:
            number, place = _parse_integer(content, place)
        kind = head & 15
        fields[number], place = (None, place) if kind in _BOOLEANS else _parse_value(content, place, kind)
    return fields, place + 1


def _parse_value(content: bytes, place: int, kind: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _parse_integer(content, place)
    if kind == _STRUCT:
        return _parse_struct(content, place)
    if kind in _LISTS:
        return _parse_list(content, place)
    if kind == _BINARY:
        length, place = _parse_varint(content, place)
    elif kind in (*_BOOLEANS, _BYTE, _DOUBLE):  # a boolean takes a byte in a list
        length = 8 if kind == _DOUBLE else 1
    else:  # a map: Parquet has none
        raise IndexError(f"damaged at byte {place:,} of a structure")
    if place + length > len(content):
        raise IndexError(f"damaged at byte {place:,} of a structure")
    return content[place : place + length], place + length


def _parse_list(content: bytes, place: int) -> tuple[list[Any], int]:
    head = content[place]
    count, place = head >> 4, place + 1
    if count == 15:
        count, place = _parse_varint(content, place)
    values = []
    for _ in range(count):
        value, place = _parse_value(content, place, head & 15)
        values.append(value)
    return values, place


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
