"""Predictions on disk: one Parquet file for each fixed stretch of the sorted images.

Its metadata bind a shard to its run (the fingerprint), its place in it (the file's name) and its content (a
sha256 of each column), so that a damaged or misplaced one is not taken for what it was.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assay.arrow import make_array
from assay.errors import BadInputError, quote, shorten
from assay.files import decode_json, hash_file, write_file
from assay.images.listing import LabelledImage
from assay.inference.predictions import Prediction

_FINGERPRINT_KEY = b"assay.fingerprint"
MISSING = "missing"
_FILE_KEY = b"assay.file"
_COLUMNS_KEY = b"assay.columns"  # the sha256 of each column, by its name
_SCHEMA = pyarrow.schema(
    [
        pyarrow.field("name", pyarrow.string()),
        pyarrow.field("relative_path", pyarrow.string()),
        pyarrow.field("label", pyarrow.int32()),
        pyarrow.field("status", pyarrow.string()),
        pyarrow.field("note", pyarrow.string()),
        pyarrow.field("top_classes", pyarrow.list_(pyarrow.int32())),
        pyarrow.field("top_logits", pyarrow.list_(pyarrow.float32())),
        pyarrow.field("log_sum_exp", pyarrow.float32()),
        pyarrow.field("logit_sum", pyarrow.float32()),
        pyarrow.field("lowest_logit", pyarrow.float32()),
        pyarrow.field("subset_classes", pyarrow.list_(pyarrow.int32())),
    ]
)
# columns that shards of earlier versions lack
_LATER_NAMES = {"log_sum_exp", "logit_sum", "lowest_logit", "subset_classes"}
_ANSWERED_BY_FIELD = pyarrow.field("answered_by", pyarrow.string())  # of a cascade alone
# What reading a damaged file was seen to raise: Parquet itself, its metadata, a text that is no UTF-8.
_READ_ERRORS = (OSError, pyarrow.ArrowException, msgspec.DecodeError, ValueError, TypeError, KeyError)
_LOGITS_FIELD = pyarrow.field("logits", pyarrow.list_(pyarrow.float32()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A stretch of the sorted images; its number names its file."""

    number: int
    images: Sequence[LabelledImage]

    @property
    def file_name(self) -> str:
        """Its file in the folder `predictions`."""
        return name_shard_file(self.number)


@dataclass(frozen=True, kw_only=True)
class StoredPredictions:
    """The predictions of several shards, read from disk a shard at a time, as often as they are wanted."""

    paths: Sequence[Path]

    def __iter__(self) -> Iterator[Prediction]:
        for path in self.paths:
            yield from read_shard(path)

    def read_table(self) -> pyarrow.Table:
        """All of them in one table, a row for each image; columns that a shard lacks are null in its rows.

        Raises:
            BadInputError: A file is missing or no Parquet.
        """
        try:
            tables = [_read_whole(path).replace_schema_metadata() for path in self.paths]
            return pyarrow.concat_tables(tables, promote_options="default")
        except _READ_ERRORS as error:
            raise BadInputError(
                f"predictions cannot be read: {shorten(error)}",
                hint="run `assay evaluate` again with --overwrite",
            ) from error


def name_shard_file(number: int) -> str:
    """Name a shard's file in the folder `predictions`.

    >>> name_shard_file(42)
    'part-00042.parquet'
    """
    return f"part-{number:05d}.parquet"


def list_shard_files(image_count: int, shard_size: int) -> list[str]:
    """Name the files that so many images' predictions are in.

    >>> list_shard_files(2049, 1024)
    ['part-00000.parquet', 'part-00001.parquet', 'part-00002.parquet']
    """
    return [name_shard_file(number) for number in range(-(-image_count // shard_size))]


def cut_shards(images: Sequence[LabelledImage], shard_size: int) -> list[Shard]:
    """Cut the images into stretches of `shard_size`, the last one shorter where they do not divide."""
    starts = range(0, len(images), shard_size)
    return [
        Shard(number=number, images=images[start : start + shard_size]) for number, start in enumerate(starts)
    ]


def write_shard(
    path: Path, predictions: Sequence[Prediction], fingerprint: str, *, keep_logits: bool = False
) -> None:
    """Write one shard's predictions, whole or not at all, with what binds them to their run and place."""
    write_file(path, encode_shard(path.name, predictions, fingerprint, keep_logits=keep_logits))


def encode_shard(
    file_name: str, predictions: Sequence[Prediction], fingerprint: str, *, keep_logits: bool = False
) -> bytes:
    """The content of one shard's file, which names itself, the run and the sha256 of each column."""
    schema = _SCHEMA
    if any(row.answered_by for row in predictions):
        schema = schema.append(_ANSWERED_BY_FIELD)
    if keep_logits:
        schema = schema.append(_LOGITS_FIELD)
    columns = [make_array([getattr(row, field.name) for row in predictions], field.type) for field in schema]
    table = pyarrow.table(columns, schema=schema)
    table = table.replace_schema_metadata(
        {
            _FINGERPRINT_KEY: fingerprint,
            _FILE_KEY: file_name,
            _COLUMNS_KEY: msgspec.json.encode(_hash_columns(table)),
        }
    )
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    return content.getvalue()


def read_shard(path: Path, *, keep_logits: bool = False) -> list[Prediction]:
    """Read the predictions of one shard, with all logits only where they are asked for.

    Raises:
        BadInputError: The file is missing, no Parquet, damaged, or has other columns.
    """
    try:
        with _open_file(path) as file:
            found = file.schema_arrow.names
            needed = [name for name in _SCHEMA.names if name not in _LATER_NAMES or name in found]
            optional = [name for name in (_ANSWERED_BY_FIELD.name,) if name in found]
            table = _read_checked(file, path, None if keep_logits else [*needed, *optional])
        return _make_predictions(table)
    except _READ_ERRORS as error:
        raise BadInputError(
            f"predictions {path} cannot be read: {shorten(error)}",
            hint="run `assay evaluate` again with --overwrite",
        ) from error


def _make_predictions(table: pyarrow.Table) -> list[Prediction]:
    names = table.column_names
    columns = [_list_column(name, table[name].combine_chunks()) for name in names]
    return [Prediction(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def _list_column(name: str, column: pyarrow.Array) -> list[Any]:
    """The values of a column as they stand in predictions."""
    values: list[Any] = column.to_pylist()
    if name == _LOGITS_FIELD.name:
        return [value if value is None else np.array(value, dtype=np.float32) for value in values]
    if pyarrow.types.is_list(column.type):
        return [() if value is None else tuple(value) for value in values]
    return values


def _hash_columns(table: pyarrow.Table) -> dict[str, str]:
    """The sha256 of what is in each column: of its values, however they are packed."""
    return {name: _hash_column(table[name].combine_chunks()) for name in table.column_names}


def _hash_column(column: pyarrow.Array) -> str:
    sha256 = hashlib.sha256()
    if pyarrow.types.is_list(column.type):
        sha256.update(repr(pc.list_value_length(column).to_pylist()).encode())
        sha256.update(np.from_dlpack(pc.list_flatten(column)).tobytes())  # `asarray` imports pandas
    else:
        sha256.update(repr(column.to_pylist()).encode("utf-8", "surrogatepass"))
    return sha256.hexdigest()


def _open_file(path: Path) -> pq.ParquetFile:
    """The file, to be read by this thread alone: others cost memory, and a shard is small."""
    return pq.ParquetFile(path, pre_buffer=False)  # `read_table` imports pandas


def _read_whole(path: Path) -> pyarrow.Table:
    with _open_file(path) as file:
        return _read_checked(file, path)


def _read_checked(file: pq.ParquetFile, path: Path, columns: Sequence[str] | None = None) -> pyarrow.Table:
    """Read those columns, or all, of a file of predictions.

    Raises:
        BadInputError: The file is in another's place, or a column is not what was written; shards of earlier
            versions do not tell.
    """
    table = file.read(columns, use_threads=False)
    if absent := [name for name in columns or () if name not in table.column_names]:
        raise pyarrow.ArrowInvalid(f"no column {absent[0]}")
    metadata = table.schema.metadata or {}
    stored = metadata.get(_COLUMNS_KEY)
    if original := _find_original(path, metadata):
        raise BadInputError(
            f"predictions {path} are a copy of {original}",
            hint="assay run or evaluate with --resume computes them again",
        )
    if stored is not None:
        expected = decode_json(stored, kind=dict[str, str])
        for name, found in _hash_columns(table).items():
            if expected.get(name) != found:
                raise BadInputError(
                    f"predictions {path} are damaged: column {quote(name)} is not what was written",
                    hint="assay run or evaluate with --resume computes them again",
                )
    return table


def _find_original(path: Path, metadata: dict[bytes, bytes]) -> str:
    """The name that the file was written under, if it is another; earlier versions' shards do not tell."""
    name = metadata.get(_FILE_KEY, path.name.encode()).decode("utf-8", "replace")
    return "" if name == path.name else shorten(name, 40)


def hash_shards(paths: Sequence[Path]) -> str:
    """The sha256 of the sha256 of each file, in order; "" where one cannot be read.

    It tells that they are as they were far sooner than a look at their values.
    """
    sha256 = hashlib.sha256()
    try:
        for path in paths:
            sha256.update(f"{hash_file(path)}\n".encode())
    except OSError:
        return ""
    return sha256.hexdigest()


def find_fault(path: Path, fingerprint: str) -> str:
    """Why the shard is not there, whole, of a run with this fingerprint and in its place; "" where it is."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return MISSING
    stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
    return _find_fault(path, fingerprint, stamp)


@functools.lru_cache(maxsize=200_000)  # so many shards of 1,024 are 200 million images
def _find_fault(path: Path, fingerprint: str, _stamp: tuple[int, int, int]) -> str:
    """As `find_fault`, of the file as it is at that stamp: it is read once in a process."""
    try:
        with _open_file(path) as file:
            metadata = file.schema_arrow.metadata or {}
            if metadata.get(_FINGERPRINT_KEY) != fingerprint.encode():
                return "of another run"
            if (_FILE_KEY in metadata) != (_COLUMNS_KEY in metadata):
                return "damaged"
            if original := _find_original(path, metadata):
                return f"a copy of {original}"
            _read_checked(file, path)
    except (*_READ_ERRORS, BadInputError):
        return "damaged"  # cut short by a full disk, say
    return ""


def has_shard(path: Path, fingerprint: str) -> bool:
    """Tell whether the shard is there, whole, of a run with this fingerprint and in its place."""
    return not find_fault(path, fingerprint)
