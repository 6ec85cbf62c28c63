"""The images that a user names, and the index of them: read, labelled, and cut to a limit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from assay.errors import BadImagesError, UsageError
from assay.images.class_subsets import check_subset_choice
from assay.images.classes import Classes
from assay.images.label_files import NO_LABEL_FILE, LabelOptions
from assay.images.listing import DEFAULT_READ_OPTIONS, ReadOptions
from assay.images.sources import ImageIndex, index_images, list_unlabelled, require_labels
from assay.images.stored_index import (
    StoredImages,
    compute_key,
    find_stored_index,
    hash_classes,
    is_index,
    read_index,
    write_index,
)
from assay.images.subset import limit_images


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """Which images, with which labels.

    Args:
        path: A folder, an archive, Parquet files, WebDataset shards, a list of paths or a URL.
        labels: The label file, if there is one, and how it is read.
        reading: How images are read.
        limit: Images at most, drawn by their names; None means all.
    """

    path: Path
    labels: LabelOptions = NO_LABEL_FILE
    reading: ReadOptions = DEFAULT_READ_OPTIONS
    limit: int | None = None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """What is read: the images, and the label file and list of classes if there are any."""
        lists = (self.labels.path, self.labels.classes)
        return (self.path, *(path for path in lists if isinstance(path, Path)))


@dataclass(frozen=True, kw_only=True)
class StoredPlace:
    """Where the index of a run is stored.

    Args:
        path: Its file.
        is_shared: Whether other processes work by it too: it is believed then as long as no file was added,
            removed or renamed, and each image is compared with it when it is read.
    """

    path: Path
    is_shared: bool = False

    def find(self, request: ImageRequest, classes: Classes) -> ImageIndex | None:
        """The index of the same request, where one is stored and nothing changed since; else None."""
        if not self.path.is_file():
            return None
        return find_stored_index(self.path, _compute_key(request, classes), looks_at_files=not self.is_shared)


def store_index(path: Path, index: ImageIndex, request: ImageRequest, classes: Classes) -> ImageIndex:
    """Write the index of a request into a file, and give it back with its images read from there.

    One that is there already is left. Where its images are held in a form that has no such file, it stays in
    memory.
    """
    if isinstance(index.images, StoredImages) and index.images.path == path:
        return index
    written = write_index(path, index, _compute_key(request, classes), classes)
    return read_index(path) if written else index


def _open_index(request: ImageRequest, classes: Classes) -> ImageIndex:
    """The index that the request names instead of images.

    Raises:
        UsageError: Labels are given beside it.
        BadImagesError: It is damaged, made for another model's classes, or the images changed since.
    """
    path, labels = request.path, request.labels
    if labels.path or labels.classes or labels.offset or labels.subset:
        raise UsageError(
            f"--images {path}: an index, whose images have their labels",
            hint="give --labels, --classes and --label-offset to assay index",
        )
    index = read_index(path)
    again = "assay index writes it again"
    if not isinstance(index.images, StoredImages) or index.images.described.made_for != hash_classes(classes):
        raise BadImagesError(f"--images {path}: was made for the classes of another model", hint=again)
    if not index.images.described.source.is_unchanged(index.images, looks_at_files=True):
        raise BadImagesError(f"--images {path}: the images in {index.path} changed since", hint=again)
    reading = dataclasses.replace(request.reading, follow_links=index.reading.follow_links)
    return dataclasses.replace(index, reading=reading)


def _compute_key(request: ImageRequest, classes: Classes) -> str:
    return compute_key(request.path, classes, request.labels, request.reading, request.limit)


def index_requested_images(
    request: ImageRequest, classes: Classes, stored: StoredPlace | None = None
) -> ImageIndex:
    """The images of a request, with the labels that are known of them.

    Args:
        request: Which images.
        classes: The classes of the model.
        stored: Where an index of the same request may be: it is used as long as nothing changed.

    Raises:
        UsageError: A limit below 1, or no known set of classes.
        BadImagesError: As `index_images`.
    """
    check_subset_choice(request.labels.subset)
    if stored is not None and (found := stored.find(request, classes)) is not None:
        return found
    if is_index(request.path):
        return limit_images(_open_index(request, classes), request.limit)
    index = index_images(request.path, classes, request.labels, request.reading)
    return limit_images(index, request.limit)


def index_unlabelled_images(request: ImageRequest, classes: Classes) -> ImageIndex:
    """The images of a request, to be predicted: whatever labels they have are not looked at.

    Args:
        request: Which images.
        classes: The classes of the model.

    Raises:
        UsageError: A limit below 1.
        BadImagesError: As `list_unlabelled`.
    """
    index = list_unlabelled(request.path, classes, request.labels.classes, request.reading)
    return limit_images(index, request.limit)


def index_labelled_images(
    request: ImageRequest, classes: Classes, stored: StoredPlace | None = None
) -> ImageIndex:
    """The images of a request, to be scored: every one must have a label that the model can give.

    Args:
        request: Which images.
        classes: The classes of the model.
        stored: As of `index_requested_images`.

    Raises:
        UsageError: A limit below 1.
        BadImagesError: As `index_images` and `require_labels`.
    """
    index = index_requested_images(request, classes, stored)
    require_labels(index)
    return index
