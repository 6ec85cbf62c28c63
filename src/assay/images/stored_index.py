"""The index of images as an Arrow file: written once, read by range while nothing changed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow
from pyarrow import ipc

from assay import __version__
from assay.arrow import view_numbers
from assay.errors import BadImagesError, shorten
from assay.files import write_in_place_of
from assay.images.class_lists import find_class_file
from assay.images.class_subsets import ClassSubset
from assay.images.classes import Classes
from assay.images.label_files import LabelOptions
from assay.images.listing import LabelKind, LabelledImage, ReadOptions
from assay.images.rows import STRETCH, ImageRows, Stretch, Texts
from assay.images.sources import ImageIndex
from assay.images.stored_sources import StoredArchives, StoredFolder, store_source

INDEX_FILE = "images.arrow"
_KEY = b"assay.index"
_MAGIC = b"ARROW1"
_SCHEMA = pyarrow.schema(
    [
        pyarrow.field("name", pyarrow.large_binary(), nullable=False),
        pyarrow.field("folder", pyarrow.int32(), nullable=False),
        pyarrow.field("size_bytes", pyarrow.int64(), nullable=False),
        pyarrow.field("place", pyarrow.int64(), nullable=False),
        pyarrow.field("class", pyarrow.int32(), nullable=False),
        pyarrow.field("fault", pyarrow.int32(), nullable=False),
        pyarrow.field("label", pyarrow.int64(), nullable=False),
    ]
)
# What reading a damaged file was seen to raise
_READ_ERRORS = (OSError, pyarrow.ArrowException, msgspec.DecodeError, ValueError, TypeError, KeyError)


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an `ImageIndex` besides its images."""

    path: Path
    form: str
    label_source: str
    label_kind: LabelKind
    classes: Classes
    subset: ClassSubset | None
    ignored: tuple[str, ...]
    identity: str
    notes: tuple[str, ...]
    archive_notes: tuple[str, ...]
    labels_without_image: tuple[str, ...]
    limited_from: int | None
    reading: ReadOptions


class _Described(msgspec.Struct, frozen=True, kw_only=True):
    """What an index says besides its columns."""

    key: str
    made_for: str
    index: _Kept
    source: StoredFolder | StoredArchives
    texts: Texts
    image_count: int


class StoredImages(ImageRows):
    """The images of an index on disk; a stretch of them is in memory at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: Any = ipc.open_file(pyarrow.OSFile(str(path)))
        self.described = _decode(self._reader.schema.metadata[_KEY])
        super().__init__(self.described.texts, self.described.source.make())
        self._lock = threading.Lock()
        self._last: tuple[int, Any] = (-1, None)
        if self._reader.num_record_batches != -(-len(self) // STRETCH):
            raise ValueError("not all images are there")

    def __len__(self) -> int:
        return self.described.image_count

    def read(self, start: int, stop: int) -> Stretch:
        """See `ImageRows.read`."""
        with self._lock:
            pieces = [
                self._read_piece(number, start, stop)
                for number in range(start // STRETCH, -(-stop // STRETCH))
            ]
        table = pyarrow.Table.from_batches(pieces, schema=_SCHEMA).combine_chunks()
        names, *numbers = (column.chunk(0) for column in table.columns)
        columns: list[Any] = [np.from_dlpack(column) for column in numbers]  # `to_numpy` imports pandas
        folders, sizes, places, classes, faults, labels = columns
        return Stretch(
            names=names,
            folders=folders,
            sizes=sizes,
            places=places,
            classes=classes,
            faults=faults,
            labels=labels,
        )

    def _read_piece(self, number: int, start: int, stop: int) -> Any:
        """The rows of a batch that are from `start` to before `stop`; the last batch read is kept."""
        if self._last[0] != number:
            self._last = (number, self._reader.get_batch(number))
        first = number * STRETCH
        begin = max(start - first, 0)
        return self._last[1].slice(begin, min(stop - first, STRETCH) - begin).replace_schema_metadata()


def write_index(path: Path, index: ImageIndex, key: str, classes: Classes) -> bool:
    """Write the index, whole or not at all; False where its images are in a form that has no such file.

    Args:
        path: The file.
        index: What is written.
        key: Of its request.
        classes: Of the model that it was made for.
    """
    images = index.images
    source = store_source(index.path, images.source) if isinstance(images, ImageRows) else None
    if not isinstance(images, ImageRows) or source is None:
        return False
    described = _Described(
        key=key,
        made_for=hash_classes(classes),
        index=_Kept(**{name: getattr(index, name) for name in _Kept.__struct_fields__}),
        source=source,
        texts=images.texts,
        image_count=len(images),
    )
    schema = _SCHEMA.with_metadata({_KEY: _encode(described)})
    options = ipc.IpcWriteOptions(compression="zstd", use_threads=False)  # each takes memory
    with (
        write_in_place_of(path) as temporary,
        pyarrow.OSFile(str(temporary), "wb") as file,
        ipc.new_file(file, schema, options=options) as writer,
    ):
        for one in images.stretches():
            numbers = one.folders, one.sizes, one.places, one.classes, one.faults, one.labels
            columns = [one.names, *(view_numbers(column) for column in numbers)]
            writer.write_batch(pyarrow.record_batch(columns, schema=_SCHEMA))
    return True


def _encode(described: _Described) -> bytes:
    """As JSON, which holds what is no UTF-8 in a path too, as msgspec's own does not."""
    return json.dumps(msgspec.to_builtins(described, enc_hook=str), ensure_ascii=True).encode()


def _decode(text: bytes) -> _Described:
    return msgspec.convert(json.loads(text), _Described, dec_hook=lambda kind, value: kind(value))


def read_index(path: Path) -> ImageIndex:
    """The index in a file, whose images are read from it when they are asked for.

    Raises:
        BadImagesError: It is no index, or damaged.
    """
    try:
        images = StoredImages(path)
    except _READ_ERRORS as error:
        raise BadImagesError(
            f"{path} cannot be read as an index of images: {shorten(error)}",
            hint="assay index writes it again",
        ) from error
    return ImageIndex(images=images, **msgspec.structs.asdict(images.described.index))


def find_stored_images(path: Path, root: Path, relative_paths: Collection[str]) -> dict[str, LabelledImage]:
    """Those images that the index in a file holds, by their paths; none without such an index."""
    if not path.is_file():
        return {}
    try:
        index = read_index(path)
    except BadImagesError:
        return {}
    images = index.images
    if index.path != root or not isinstance(images, StoredImages):
        return {}
    wanted = {os.fsencode(name.rpartition("/")[2]) for name in relative_paths}
    found: dict[str, LabelledImage] = {}
    for start in range(0, len(images), STRETCH):
        names = images.read(start, min(start + STRETCH, len(images))).names
        for row, name in enumerate(names.to_pylist(), start):
            if name in wanted and (image := images[row]).relative_path in relative_paths:
                found[image.relative_path] = image
    return found


def find_stored_index(path: Path, key: str, *, looks_at_files: bool) -> ImageIndex | None:
    """The index in a file where it is of the same request and nothing changed since; else None.

    Args:
        path: The file, which may be missing.
        key: Of the request.
        looks_at_files: Whether each image is looked at too: that a file was added, removed or renamed, its
            folder tells; that one was written to, it alone.
    """
    if not path.is_file():
        return None
    try:
        index = read_index(path)
    except BadImagesError:
        return None
    images = index.images
    if not isinstance(images, StoredImages) or images.described.key != key:
        return None
    return index if images.described.source.is_unchanged(images, looks_at_files=looks_at_files) else None


def compute_key(
    path: Path, classes: Classes, labels: LabelOptions, reading: ReadOptions, limit: int | None
) -> str:
    """The sha256, 64 hex digits, of all that decides an index besides the images: request and files."""
    files = [labels.path, labels.classes if isinstance(labels.classes, Path) else None, find_class_file(path)]
    parts = (
        [__version__, os.fsencode(path.resolve()), classes.count, classes.names, classes.synsets],
        [hashlib.sha256(file.read_bytes()).hexdigest() if file and file.is_file() else "" for file in files],
        [None if file is None else os.fsencode(file) for file in files],
        [labels.offset, labels.trusted, labels.unbounded, str(labels.classes), labels.subset],
        [dataclasses.asdict(reading), limit],
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def hash_classes(classes: Classes) -> str:
    """The sha256 of the classes of a model, 64 hex digits."""
    return hashlib.sha256(msgspec.json.encode([classes.count, classes.names, classes.synsets])).hexdigest()


def is_index(path: Path) -> bool:
    """Whether a path is that of an Arrow file, as indices are."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC
