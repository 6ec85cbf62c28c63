"""Indexes the labelled images of a data set, in byte order of the name, whatever form it is held in."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import BadImagesError, shorten
from assay.images.forms.folder import FolderOptions
from assay.images.forms.recognise import list_images
from assay.images.label_files import (
    NO_LABEL_FILE,
    LabelFile,
    LabelOptions,
    read_label_file,
    refuse_other_class_order,
)
from assay.images.label_names import get_base_name, match_label_names, normalise_name
from assay.images.labels import find_canonical_label, find_val_number, read_synsets
from assay.images.listing import (
    DEFAULT_READ_OPTIONS,
    KnowsName,
    LabelKind,
    LabelledImage,
    Listing,
    ReadOptions,
)

_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class ImageIndex:
    """The images of a data set.

    Args:
        path: Where the data set is.
        form: The form the data set is held in, in words.
        label_source: Where the labels come from, in words.
        label_kind: The same as a value.
        images: The images, in byte order of the name; those of a gzipped archive and of Parquet files
            as they are stored.
        ignored: Relative paths of files that are not scored: no images, or beside the class folders.
        class_count: How many classes the labels count, where that is known from their source.
        identity: What tells two data sets apart besides paths, labels and sizes.
        notes: What a user should know of them, a sentence each.
        archive_notes: What was odd about the archive that holds them; also among the notes.
        labels_without_image: Names that only the label file has.
        limited_from: How many images there were before a limit cut them; None where none did.
        reading: How the images are read.
    """

    path: Path
    form: str
    label_source: str
    label_kind: LabelKind
    class_count: int | None
    images: tuple[LabelledImage, ...]
    ignored: tuple[str, ...] = ()
    identity: str = ""
    notes: tuple[str, ...] = ()
    archive_notes: tuple[str, ...] = ()
    labels_without_image: tuple[str, ...] = ()
    limited_from: int | None = None
    reading: ReadOptions = DEFAULT_READ_OPTIONS


def index_images(
    path: Path,
    label_count: int,
    labels: LabelOptions = NO_LABEL_FILE,
    reading: ReadOptions = DEFAULT_READ_OPTIONS,
) -> ImageIndex:
    """Index the images at `path` with their labels.

    Labels come from a label file where one is given, else from the data set itself (the names of class
    folders, a column, `.cls` files, a CSV), else from the built-in table of the 50,000 ImageNet
    validation images.

    Args:
        path: A folder, an archive, Parquet files, WebDataset shards or a list of paths.
        label_count: Number of classes of the model.
        labels: The label file, if there is one, and how numbers are read.
        reading: Whether links are followed, and how the images are read later.

    Raises:
        BadImagesError: No images, an archive that is damaged, labels that cannot be those of the images, or
            a label file that cannot be used or names none of the images.
    """
    file = read_label_file(labels.path, label_count, labels) if labels.path else None
    options = FolderOptions(
        knows_name=_make_name_test(file),
        any_class_folders=file is not None,
        follow_links=reading.follow_links,
    )
    listing = list_images(path, options)
    if file is None and listing.label_file is not None:
        labels = dataclasses.replace(labels, path=listing.label_file)
        file = read_label_file(listing.label_file, label_count, labels)
    surplus: tuple[str, ...] = ()
    if file is not None:
        images, surplus = _label_by_file(path, listing.images, file, labels)
        label_source = f"label file {labels.path.name} ({file.form})" if labels.path else ""
        label_kind: LabelKind = "file"
    elif listing.label_kind is not None:
        images = _shift_own_labels(path, listing, label_count, labels)
        label_source, label_kind = listing.label_source, listing.label_kind
    else:
        images = tuple(
            dataclasses.replace(image, label=find_canonical_label(image.name)) for image in listing.images
        )
        label_source, label_kind = "built-in table of the ImageNet validation images", "names"
    notes = (
        *listing.notes,
        *_note_gaps(images, listing.ignored, surplus),
        *_note_labels(images, label_count),
    )
    return ImageIndex(
        path=path,
        form=listing.form,
        label_source=label_source,
        label_kind=label_kind,
        class_count=len(read_synsets()) if label_kind in {"synsets", "names"} else None,
        images=images if listing.in_storage_order else tuple(sorted(images, key=_byte_order)),
        ignored=listing.ignored,
        identity=listing.identity,
        notes=notes,
        archive_notes=listing.notes,
        labels_without_image=surplus,
        reading=reading,
    )


def _make_name_test(file: LabelFile | None) -> KnowsName:
    """Make what tells whether a name with an unusual suffix, or none, is an image's.

    The label file names it, with that suffix; or it has no suffix and is a name of ImageNet's.
    """
    known = {normalise_name(name) for name in file.labels} if file else set()

    def knows_name(name: str) -> bool:
        return normalise_name(name) in known or ("." not in name and find_val_number(name) is not None)

    return knows_name


def _label_by_file(
    path: Path, images: Sequence[LabelledImage], file: LabelFile, labels: LabelOptions
) -> tuple[tuple[LabelledImage, ...], tuple[str, ...]]:
    """Label the images by a file; also gives the file's names that have no image."""
    names = match_label_names(file.labels, [image.relative_path for image in images])
    if not names:
        raise BadImagesError(
            f"--labels {labels.path}: names none of the {len(images)} images in {path}",
            hint=f"expected lines `NAME index` with the images' file names, such as {images[0].name}",
        )
    labelled = tuple(
        dataclasses.replace(
            image,
            label=file.labels[names[image.relative_path]] if image.relative_path in names else None,
        )
        for image in images
    )
    matched = set(names.values())
    return labelled, tuple(name for name in file.labels if name not in matched)


def _shift_own_labels(
    path: Path, listing: Listing, label_count: int, labels: LabelOptions
) -> tuple[LabelledImage, ...]:
    """Label the images as the data set does itself, checked and counted from 0."""
    where = f"--images {path}: {listing.label_source}"
    if listing.label_kind == "synsets":
        if labels.offset:
            raise BadImagesError(f"{where}: synsets have no offset", hint="leave --label-offset out")
        return listing.images
    numbers = [image.label for image in listing.images if image.label is not None]
    if label_count == len(read_synsets()) and not labels.trusted:
        pairs = [
            (image.label, find_val_number(image.name)) for image in listing.images if image.label is not None
        ]
        refuse_other_class_order(where, pairs, labels.offset)
    low, high = min(numbers, default=labels.offset), max(numbers, default=labels.offset)
    if low < labels.offset or high >= labels.offset + label_count:
        from_one = low == 1 and high == label_count and not labels.offset
        raise BadImagesError(
            f"{where}: labels from {low} to {high}, expected {labels.offset} to "
            f"{labels.offset + label_count - 1}",
            hint="--label-offset 1, if they count from 1" if from_one else "give --labels FILE",
        )
    return tuple(
        image if image.label is None else dataclasses.replace(image, label=image.label - labels.offset)
        for image in listing.images
    )


def _note_gaps(
    images: Sequence[LabelledImage], ignored: Sequence[str], labels_without_image: Sequence[str]
) -> list[str]:
    """Write sentences on images without a label, labels without an image, and other files."""
    notes = []
    unlabelled = [image.relative_path for image in images if image.label is None]
    if unlabelled and len(unlabelled) < len(images):
        notes.append(f"{len(unlabelled):,} images have no label, are not scored: {_name_first(unlabelled)}")
    if labels_without_image:
        listed = _name_first(labels_without_image)
        notes.append(f"{len(labels_without_image):,} labels have no image: {listed}")
    if ignored:
        notes.append(f"{len(ignored):,} other files are ignored: {_name_first(ignored)}")
    return notes


def _note_labels(images: Sequence[LabelledImage], label_count: int) -> list[str]:
    """Write a sentence on labels that are not the published ones of the ImageNet validation images."""
    if label_count != len(read_synsets()):
        return []
    pairs = [(image.label, find_canonical_label(image.name)) for image in images if image.label is not None]
    differing = sum(published is not None and label != published for label, published in pairs)
    known = sum(published is not None for _, published in pairs)
    return [f"{differing:,} of {known:,} labels are not the published ones"] if differing else []


def _name_first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(shorten(get_base_name(name), 80) for name in names[:_LISTED]) + more


def _byte_order(image: LabelledImage) -> tuple[bytes, bytes]:
    return os.fsencode(image.name), os.fsencode(image.relative_path)


def require_labels(index: ImageIndex, label_count: int) -> None:
    """Refuse images that cannot be scored: without any label, or with labels of other classes.

    Args:
        index: The images.
        label_count: Number of classes of the model.

    Raises:
        BadImagesError: No image has a label, or the labels are ImageNet's and the model has other classes.
    """
    if index.class_count not in (None, label_count):
        raise BadImagesError(
            f"--images {index.path}: the labels ({index.label_source}) are of {index.class_count} classes, "
            f"the model has {label_count}",
            hint="give --labels FILE with lines `NAME index`",
        )
    if all(image.label is None for image in index.images):
        raise BadImagesError(
            f"--images {index.path}: no labels: {index.images[0].name} is not the name of an ImageNet "
            "validation image",
            hint="give --labels FILE with lines `NAME index`, or one folder for each synset",
        )
