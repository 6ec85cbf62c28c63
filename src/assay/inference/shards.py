"""Predictions on disk: one Parquet file for each fixed stretch of the sorted images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as pq

from assay.errors import BadInputError, shorten
from assay.files import write_in_place_of
from assay.images.listing import LabelledImage
from assay.inference.predictions import Prediction

_FINGERPRINT_KEY = b"assay.fingerprint"
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
_LOGITS_FIELD = pyarrow.field("logits", pyarrow.list_(pyarrow.float32()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A stretch of the sorted images; its number names its file."""

    number: int
    images: tuple[LabelledImage, ...]

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
            tables = [pq.read_table(path).replace_schema_metadata() for path in self.paths]
            return pyarrow.concat_tables(tables, promote_options="default")
        except (OSError, pyarrow.ArrowException) as error:
            raise BadInputError(
                f"predictions cannot be read: {error}", hint="run `assay evaluate` again with --overwrite"
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
        Shard(number=number, images=tuple(images[start : start + shard_size]))
        for number, start in enumerate(starts)
    ]


def write_shard(
    path: Path, predictions: Sequence[Prediction], fingerprint: str, *, keep_logits: bool = False
) -> None:
    """Write one shard's predictions, whole or not at all, with the run's fingerprint in its metadata."""
    schema = _SCHEMA.append(_LOGITS_FIELD) if keep_logits else _SCHEMA
    columns = [[getattr(row, name) for row in predictions] for name in schema.names]
    table = pyarrow.table(columns, schema=schema.with_metadata({_FINGERPRINT_KEY: fingerprint}))
    with write_in_place_of(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_shard(path: Path, *, keep_logits: bool = False) -> list[Prediction]:
    """Read the predictions of one shard, with all logits only where they are asked for.

    Raises:
        BadInputError: The file is missing, no Parquet, or has other columns.
    """
    try:
        absent = _LATER_NAMES - set(pq.read_schema(path).names)
        columns = None if keep_logits else [name for name in _SCHEMA.names if name not in absent]
        rows = pq.read_table(path, columns=columns).to_pylist()
        return [_make_prediction(row) for row in rows]
    except (OSError, pyarrow.ArrowException, TypeError, KeyError) as error:
        raise BadInputError(
            f"predictions {path} cannot be read: {shorten(error)}",
            hint="run `assay evaluate` again with --overwrite",
        ) from error


def _make_prediction(row: dict[str, object]) -> Prediction:
    for name in ("top_classes", "top_logits", "subset_classes"):
        row[name] = tuple(row.get(name, ()))  # type: ignore[arg-type]  # a list, by the schema
    if row.get("logits") is not None:
        row["logits"] = np.array(row["logits"], dtype=np.float32)  # (classes,)
    return Prediction(**row)  # type: ignore[arg-type]  # columns are the fields, by the schema


def has_shard(path: Path, fingerprint: str) -> bool:
    """Tell whether the shard is there, whole, and of a run with this fingerprint."""
    if not path.exists():
        return False
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pyarrow.ArrowException):  # cut short by a full disk, say: it is made again
        return False
    return bool(metadata.get(_FINGERPRINT_KEY) == fingerprint.encode())
