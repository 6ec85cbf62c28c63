"""Hugging Face's form: Parquet files with a column of encoded images and one of labels."""

from __future__ import annotations

import collections
import functools
import hashlib
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow
import pyarrow.compute

from assay.errors import BadImagesError, SourceError, UndecodableImageError, blame_file, shorten
from assay.files import decode_json
from assay.images.forms.local_file import LocalFile, describe_file
from assay.images.forms.parquet_pages import PagedFile
from assay.images.listing import LabelledImage, Listing

MAX_ROW_GROUP_BYTES = 2**30
MAX_TEXT_BYTES = 2**28  # of the paths in a file, and of the labels
_SMALL_COUNT = 10**5  # so many rows may take less than a byte each
_IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp")
_LABEL_COLUMNS = ("label", "labels", "cls", "fine_label")
_KEPT_GROUPS = 2
_VALIDATION = ("validation", "val", "valid")
_LAYOUT = "expected a column image, of structs of bytes and path or of bytes, and a column label"


def list_parquet(where: Path, paths: Sequence[Path]) -> Listing:
    """List the images in Parquet files, in the order they are stored in: a row group is read whole.

    Where the files' names tell splits apart, the validation split is used.

    Raises:
        BadImagesError: A file is damaged, or has no such columns; or no split is the validation's.
    """
    chosen = _choose_split(where, sorted(paths))
    files = [_ParquetFile(path) for path in chosen]
    paths_in_files = [path for file in files for path in file.paths]
    names_are_unique = len(set(paths_in_files)) == len(paths_in_files) and all(paths_in_files)
    images = tuple(image for file in files for image in file.make_images(prefixed=not names_are_unique))
    if len({file.class_names for file in files}) > 1:
        raise BadImagesError(
            f"--images {where}: its files name the classes differently", hint="give one of them"
        )
    identity = hashlib.sha256("".join(file.identity for file in files).encode()).hexdigest()
    is_numbered = any(image.label is not None for image in images)
    is_named = any(image.class_name for image in images)
    return Listing(
        form=f"Parquet, {len(files)} file" + ("s" if len(files) > 1 else ""),
        images=images,
        label_source="the label column" if is_numbered or is_named else "",
        label_kind="classes" if is_named else "numbers" if is_numbered else None,
        class_names=files[0].class_names,
        ignored=tuple(path.name for path in sorted(set(paths) - set(chosen))),
        in_storage_order=True,
        identity=identity,
    )


def _choose_split(where: Path, paths: list[Path]) -> list[Path]:
    by_split: dict[str, list[Path]] = collections.defaultdict(list)
    for path in paths:
        by_split[path.name.split("-")[0].removesuffix(".parquet")].append(path)
    for split in _VALIDATION:
        if split in by_split:
            return by_split[split]
    if (len(by_split) > 1 and len(by_split) < len(paths)) or {"train", "test"} <= by_split.keys():
        raise BadImagesError(
            f"--images {where}: holds the splits {shorten(', '.join(sorted(by_split)))}; none is the "
            "validation's",
            hint="give the files of one split: a folder of their own, or one file",
        )
    return paths


class _Features(msgspec.Struct, frozen=True):
    features: dict[str, Any] = {}


class _Description(msgspec.Struct, frozen=True):
    """What Hugging Face's datasets writes into the schema's metadata, so far as it is read."""

    info: _Features = _Features()


class _ImageColumn:
    """The images of one file, a row group at a time; sent to another process, it is opened there once.

    Args:
        whole: The file as it was when it was listed.
        bytes_path: The path in the schema of the images' bytes.
        pages: The file, where it is open already.
    """

    def __init__(self, whole: LocalFile, bytes_path: str, pages: PagedFile | None = None) -> None:
        self._whole = whole
        self._bytes_path = bytes_path
        self._pages = pages
        self._lock = threading.Lock()
        self._groups: collections.OrderedDict[int, list[Any]] = collections.OrderedDict()

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self._whole, self._bytes_path)

    def read(self, group: int, row: int) -> bytes:
        with self._lock:
            column = self._groups.get(group)
            if column is None:
                column = self._groups[group] = self._read_group(group)
                while len(self._groups) > _KEPT_GROUPS:
                    self._groups.popitem(last=False)
        content = column[row].as_py()
        if content is None:
            raise UndecodableImageError("no bytes in its row, only a path perhaps")
        if isinstance(content, list) and None in content:
            raise UndecodableImageError("a byte is missing from its row")
        return bytes(content)

    def _read_group(self, group: int) -> list[Any]:
        """Read the images of a row group, a value of Arrow for each row.

        Raises:
            SourceError: The file changed since it was listed, or the group unpacks to more than its limit.
            OSError: It cannot be read, or the group is damaged: no fault of one image.
        """
        path = self._whole.path
        try:
            self._pages = pages = self._pages or PagedFile(self._whole.path)
            expected = pages.file.metadata.row_group(group).num_rows
            found = pages.read_column(group, self._bytes_path, MAX_ROW_GROUP_BYTES)
            rows = [value for array in found for value in self._take_bytes(array)]
        except SourceError:
            raise
        except Exception as error:
            self._whole.check(path.stat())  # Arrow raises anything on a damaged file
            raise OSError(f"row group {group} of {path.name}: {shorten(error)}") from error
        self._whole.check(path.stat())
        if len(rows) != expected:
            raise OSError(f"row group {group} of {path.name}: {len(rows):,} of {expected:,} rows")
        return rows

    def _take_bytes(self, column: Any) -> Any:
        """The images' bytes in a part of the image column; none where a row is null."""
        return (
            pyarrow.compute.struct_field(column, "bytes") if self._bytes_path.endswith(".bytes") else column
        )


@functools.lru_cache(maxsize=8)
def _reopen(whole: LocalFile, bytes_path: str) -> _ImageColumn:
    """The column in a process that it was sent to: the same one for every shard."""
    return _ImageColumn(whole, bytes_path)


class _ParquetFile:
    """One file: its rows' paths and labels, and its images."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._whole = describe_file(path, path.stat())
        with blame_file(
            BadImagesError, f"--images {path}: cannot be read as Parquet", hint="download it again"
        ):
            self._pages = PagedFile(path)
            self._file = self._pages.file
            self._check_groups()
            bytes_path, path_column = self._find_image_columns()
            self._images = _ImageColumn(self._whole, bytes_path, self._pages)
            self._label_column = self._find_column(_LABEL_COLUMNS)
            self.paths = self._read_paths(path_column)
            self._labels = self._read_labels()
            self.class_names = self._read_class_names()
        metadata = self._file.metadata
        sizes = [metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)]
        self.identity = f"{path.name} {self._whole.size_bytes} {metadata.num_rows} {sizes}"

    def make_images(self, *, prefixed: bool) -> list[LabelledImage]:
        """Make the rows' images; named by their place in the file where the paths do not tell them apart."""
        names = [f"{self._path.name}/{row:08d}" for row in range(len(self.paths))] if prefixed else self.paths
        rows_in_groups = [
            (group, row)
            for group in range(self._file.metadata.num_row_groups)
            for row in range(self._file.metadata.row_group(group).num_rows)
        ]
        return [
            LabelledImage(
                relative_path=name,
                label=label if isinstance(label, int) else None,
                class_name=label if isinstance(label, str) else "",
                size_bytes=0,
                read_bytes=partial(self._images.read, *place),
            )
            for name, label, place in zip(names, self._labels, rows_in_groups, strict=True)
        ]

    def _read_text(self, column: str) -> list[Any]:
        """A column of paths or labels, as Python has its values."""
        rows: list[Any] = []
        left = MAX_TEXT_BYTES
        for group in range(self._file.metadata.num_row_groups):
            for array in self._pages.read_column(group, column, left):
                left -= array.nbytes
                rows += array.to_pylist()
        if len(rows) != self._file.metadata.num_rows:
            raise ValueError(f"{len(rows):,} values in {column}, expected {self._file.metadata.num_rows:,}")
        return rows

    def _find_column(self, names: Sequence[str]) -> str | None:
        return next((name for name in names if name in self._file.schema_arrow.names), None)

    def _find_image_columns(self) -> tuple[str, str | None]:
        """Find the path of the images' bytes in the schema, and that of their paths, if there are any."""
        name = self._find_column(_IMAGE_COLUMNS)
        schema = self._file.schema_arrow
        kind: Any = schema.field(name).type if name else None
        if name and pyarrow.types.is_struct(kind):
            fields = {field.name: field.type for field in kind}
            if _holds_bytes(fields.get("bytes")):
                return f"{name}.bytes", f"{name}.path" if _holds_text(fields.get("path")) else None
        if name and _holds_bytes(kind):
            return name, None
        found = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise BadImagesError(f"--images {self._path}: no column of images: {shorten(found)}", hint=_LAYOUT)

    def _read_paths(self, path_column: str | None) -> list[str]:
        if path_column is None:
            return [""] * self._file.metadata.num_rows
        rows = self._read_text(path_column)
        return [(row or {}).get("path") or "" for row in rows]  # a row may be null

    def _read_labels(self) -> Sequence[int | str | None]:
        if self._label_column is None:
            return [None] * self._file.metadata.num_rows
        kind: Any = self._file.schema_arrow.field(self._label_column).type
        if pyarrow.types.is_dictionary(kind):
            kind = kind.value_type
        if not (_holds_text(kind) or pyarrow.types.is_integer(kind)):
            raise BadImagesError(
                f"--images {self._path}: the column {self._label_column} holds {kind}, no indices or names",
                hint="give --labels FILE",
            )
        labels = self._read_text(self._label_column)
        return [None if label in (-1, "") else label for label in labels]  # -1 marks the test split

    def _read_class_names(self) -> tuple[str, ...]:
        """What the data set calls the classes that it numbers (ClassLabel of Hugging Face's datasets)."""
        metadata = self._file.schema_arrow.metadata or {}
        try:
            described = decode_json(metadata.get(b"huggingface", b"{}"), kind=_Description)
        except msgspec.DecodeError:
            return ()
        feature = described.info.features.get(self._label_column or "")
        names = feature.get("names") if isinstance(feature, dict) else None
        return tuple(map(str, names)) if isinstance(names, list) else ()

    def _check_groups(self) -> None:
        metadata = self._file.metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        rows = [group.num_rows for group in groups]
        if min(rows, default=0) < 0 or sum(rows) != metadata.num_rows:
            raise ValueError(f"its footer promises {metadata.num_rows:,} rows, its groups {sum(rows):,}")
        largest = max((group.total_byte_size for group in groups), default=0)
        if largest > MAX_ROW_GROUP_BYTES:
            raise BadImagesError(
                f"--images {self._path}: a row group of {largest:,} bytes, over {MAX_ROW_GROUP_BYTES:,}, "
                "would have to be held in memory",
                hint="write it again with smaller row groups",
            )
        if metadata.num_rows > max(_SMALL_COUNT, self._whole.size_bytes):
            raise BadImagesError(
                f"--images {self._path}: {metadata.num_rows:,} rows in {self._whole.size_bytes:,} bytes: no "
                "images take so little"
            )


def _holds_bytes(kind: Any) -> bool:
    """Whether values of this type of Arrow are bytes, or lists of them."""
    types = pyarrow.types
    if kind is not None and (types.is_list(kind) or types.is_large_list(kind)):
        return bool(kind.value_type == pyarrow.uint8())
    return kind is not None and (types.is_binary(kind) or types.is_large_binary(kind))


def _holds_text(kind: Any) -> bool:
    return kind is not None and (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))
