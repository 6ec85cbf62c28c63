"""Indexes the labelled images of a data set, in byte order of the name, whatever form it is held in."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import BadImagesError, shorten
from assay.images.class_labels import ClassLabels, label_by_class
from assay.images.class_lists import (
    find_class_file,
    lists_classes,
    read_class_file,
    replace_classes,
    sort_classes,
)
from assay.images.class_subsets import ClassSubset, choose_subset
from assay.images.classes import Classes
from assay.images.forms.class_folders import FOLDER_NAMES
from assay.images.forms.folder import FolderOptions
from assay.images.forms.recognise import list_images
from assay.images.label_files import (
    NO_LABEL_FILE,
    LabelFile,
    LabelOptions,
    list_label_names,
    read_label_file,
)
from assay.images.label_names import get_base_name, match_label_names, normalise_name
from assay.images.labels import find_canonical_label, find_val_number
from assay.images.listing import (
    DEFAULT_READ_OPTIONS,
    KnowsName,
    LabelKind,
    LabelledImage,
    Listing,
    ReadOptions,
)

_LISTED = 5
_TRAINING_NAME = re.compile(r"n[0-9]{8}_[0-9]+\.JPEG")


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
        classes: The model's classes, named as the images or --classes name them where its record does not.
        subset: The classes among which the images are scored besides; None for the model's alone.
        label_error: Why the images have no labels, though their data set names their classes; mostly None.
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
    classes: Classes
    subset: ClassSubset | None = None
    label_error: BadImagesError | None = None
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
    classes: Classes,
    labels: LabelOptions = NO_LABEL_FILE,
    reading: ReadOptions = DEFAULT_READ_OPTIONS,
) -> ImageIndex:
    """Index the images at `path` with their labels.

    Labels come from a label file where one is given, else from the data set itself (the names of class
    folders, a column, `.cls` files, a CSV), else from the built-in table of the 50,000 ImageNet
    validation images.

    Args:
        path: A folder, an archive, Parquet files, WebDataset shards or a list of paths.
        classes: The classes of the model.
        labels: The label file, if there is one, how numbers are read, and what numbers the classes.
        reading: Whether links are followed, and how the images are read later.

    Raises:
        BadImagesError: No images, an archive that is damaged, labels that cannot be those of the images, a
            label file that cannot be used or names none of the images, or a list of classes that is not of
            the model's.
    """
    classes, class_file = _choose_classes(path, classes, labels)
    if labels.path and labels.classes == "sorted":
        where, names = f"--labels {labels.path}: the labels", list_label_names(labels.path, labels)
        classes = replace_classes(classes, sort_classes(where, names, classes.count), where)
    file = read_label_file(labels.path, classes, labels) if labels.path else None
    options = FolderOptions(
        knows_name=_make_name_test(file),
        any_class_folders=file is not None,
        follow_links=reading.follow_links,
    )
    listing = list_images(path, options)
    if file is None and listing.label_file is not None:
        labels = dataclasses.replace(labels, path=listing.label_file)
        file = read_label_file(listing.label_file, classes, labels)
    surplus: tuple[str, ...] = ()
    if file is not None:
        images, surplus = _label_by_file(path, listing.images, file, labels)
        form = f"label file {labels.path.name} ({file.form})" if labels.path else ""
        labelled = ClassLabels(images=images, source=form, kind="file", classes=classes)
    else:
        labelled = _label_without_file(path, listing, classes, labels)
    source = labelled.source + _describe_numbering(class_file, labels)
    notes = (
        *listing.notes,
        *labelled.notes,
        *_note_gaps(labelled.images, listing.ignored, surplus),
        *_note_labels(labelled.images, classes),
        *_note_training_images(labelled.images, classes),
    )
    return ImageIndex(
        path=path,
        form=listing.form,
        label_source=source,
        label_kind=labelled.kind,
        classes=labelled.classes,
        subset=choose_subset(
            labelled.classes,
            (image.label for image in labelled.images),
            labelled.kind,
            labels.subset,
        ),
        label_error=labelled.error,
        images=labelled.images
        if listing.in_storage_order
        else tuple(sorted(labelled.images, key=_byte_order)),
        ignored=listing.ignored,
        identity=listing.identity,
        notes=notes,
        archive_notes=listing.notes,
        labels_without_image=surplus,
        reading=reading,
    )


def _choose_classes(path: Path, classes: Classes, labels: LabelOptions) -> tuple[Classes, Path | None]:
    """The model's classes, as --classes names them, or where nothing else does a `classes.txt`."""
    if isinstance(labels.classes, Path):
        listed = read_class_file(labels.classes, classes.count)
        return replace_classes(classes, listed, f"--classes {labels.classes}"), labels.classes
    if labels.classes is None and not (classes.names or classes.synsets):
        found = find_class_file(path)
        if found is not None and lists_classes(found, classes.count):
            return read_class_file(found, classes.count), found
    return classes, None


def _label_without_file(path: Path, listing: Listing, classes: Classes, labels: LabelOptions) -> ClassLabels:
    """Label the images by what the data set calls their classes, else by ImageNet's names of images.

    Raises:
        BadImagesError: As `label_by_class`; or there are no names of classes that could be sorted.
    """
    by_name = ClassLabels(
        images=tuple(
            dataclasses.replace(image, label=find_canonical_label(image.name)) for image in listing.images
        ),
        source="built-in table of the ImageNet validation images",
        kind="names",
        classes=classes,
    )
    if listing.label_kind is None:
        if labels.classes == "sorted":
            raise BadImagesError(
                f"--images {path}: no names of classes to sort", hint="leave --classes out, or give a file"
            )
        return by_name
    labelled = label_by_class(path, listing, classes, labels)
    has_val_names = any(image.label is not None for image in by_name.images)
    are_no_classes = labelled.error is not None and listing.label_source == FOLDER_NAMES
    return by_name if are_no_classes and has_val_names else labelled


def _describe_numbering(class_file: Path | None, labels: LabelOptions) -> str:
    """What numbers the classes, in words, where it is not the model itself."""
    if class_file is not None:
        return f", numbered by {class_file.name}"
    return ", numbered in their sorted order" if labels.classes == "sorted" else ""


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


def _note_labels(images: Sequence[LabelledImage], classes: Classes) -> list[str]:
    """Write a sentence on labels that are not the published ones of the ImageNet validation images."""
    if not classes.are_imagenets:
        return []
    pairs = [(image.label, find_canonical_label(image.name)) for image in images if image.label is not None]
    differing = sum(published is not None and label != published for label, published in pairs)
    known = sum(published is not None for _, published in pairs)
    return [f"{differing:,} of {known:,} labels are not the published ones"] if differing else []


def _note_training_images(images: Sequence[LabelledImage], classes: Classes) -> list[str]:
    """Write a sentence on images that networks were trained on, as in Imagenette's val folder."""
    count = sum(bool(_TRAINING_NAME.fullmatch(image.name)) for image in images)
    if not (count and classes.are_imagenets):
        return []
    return [
        f"{count:,} of {len(images):,} images have names of ImageNet's training images: networks trained on "
        "ImageNet have seen them, and score too well"
    ]


def _name_first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(shorten(get_base_name(name), 80) for name in names[:_LISTED]) + more


def _byte_order(image: LabelledImage) -> tuple[bytes, bytes]:
    return os.fsencode(image.name), os.fsencode(image.relative_path)


def require_labels(index: ImageIndex) -> None:
    """Refuse images that cannot be scored: without any label, or with labels of other classes.

    Raises:
        BadImagesError: No image has a label, or the labels are ImageNet's and the model has other classes.
    """
    if index.label_error is not None:
        raise index.label_error
    if index.label_kind == "names" and not index.classes.are_imagenets:
        raise BadImagesError(
            f"--images {index.path}: the labels ({index.label_source}) are of 1000 classes, "
            f"the model has {index.classes.count}",
            hint="give --labels FILE with lines `NAME index`",
        )
    if all(image.label is None for image in index.images):
        raise BadImagesError(
            f"--images {index.path}: no labels: {index.images[0].name} is not the name of an ImageNet "
            "validation image",
            hint="give --labels FILE with lines `NAME index`, or one folder for each class",
        )
