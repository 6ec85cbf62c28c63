"""Indexes the labelled images of a data set, in byte order of the name, whatever form it is held in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.errors import BadImagesError
from assay.images.class_labels import ClassLabels, label_by_class
from assay.images.class_lists import (
    ClassList,
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
from assay.images.index_notes import note_gaps, note_images
from assay.images.label_files import (
    NO_LABEL_FILE,
    LabelFile,
    LabelOptions,
    list_label_names,
    read_label_file,
)
from assay.images.label_names import match_label_names, normalise_name
from assay.images.labels import find_val_number, read_canonical_labels
from assay.images.listing import (
    DEFAULT_READ_OPTIONS,
    KnowsName,
    LabelKind,
    LabelledImage,
    Listing,
    ReadOptions,
)
from assay.images.rows import NO_LABEL, count_unlabelled
from assay.images.table import ImageTable, make_table


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
    images: Sequence[LabelledImage]
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
    file = read_label_file(labels.path, classes, labels) if labels.path else None
    listing = list_images(path, _choose_folder_options(file, reading))
    if file is None and listing.label_file is not None:
        labels = dataclasses.replace(labels, path=listing.label_file)
        file = read_label_file(listing.label_file, classes, labels)
    if file is None:
        labelled = _label_without_file(path, listing, classes, labels)
    else:
        labelled = _label_by_file(path, make_table(listing.images), file, labels, classes)
    images = labelled.images if listing.in_storage_order else labelled.images.sort()
    notes = note_images(images, listing.ignored, labelled.surplus, classes)
    return ImageIndex(
        path=path,
        form=listing.form,
        label_source=labelled.source + _describe_numbering(class_file, labels),
        label_kind=labelled.kind,
        classes=labelled.classes,
        subset=choose_subset(labelled.classes, images.list_used_labels(), labelled.kind, labels.subset),
        label_error=labelled.error,
        images=images,
        ignored=listing.ignored,
        identity=listing.identity,
        notes=(*listing.notes, *labelled.notes, *notes),
        archive_notes=listing.notes,
        labels_without_image=labelled.surplus,
        reading=reading,
    )


def _choose_folder_options(file: LabelFile | None, reading: ReadOptions) -> FolderOptions:
    return FolderOptions(
        knows_name=_make_name_test(file),
        any_class_folders=file is not None,
        follow_links=reading.follow_links,
    )


def list_unlabelled(
    path: Path, classes: Classes, names: ClassList = None, reading: ReadOptions = DEFAULT_READ_OPTIONS
) -> ImageIndex:
    """Index the images at `path` without their labels; folders in it are gone into, whatever they are called.

    Args:
        path: As of `index_images`.
        classes: The classes of the model.
        names: The file that names them, if there is one.
        reading: Whether links are followed, and how the images are read later.

    Raises:
        BadImagesError: No images, an archive that is damaged, or a list of classes that is not the model's.
    """
    classes, _ = _choose_classes(path, classes, LabelOptions(classes=names))
    options = _choose_folder_options(None, reading)
    options = dataclasses.replace(options, any_class_folders=True, beside_images=True)
    listing = list_images(path, options)
    images = make_table(listing.images).with_labels(None)
    images = images if listing.in_storage_order else images.sort()
    return ImageIndex(
        path=path,
        form=listing.form,
        label_source="",
        label_kind="names",
        classes=classes,
        images=images,
        ignored=listing.ignored,
        identity=listing.identity,
        notes=(*listing.notes, *note_gaps(images, listing.ignored, ())),
        archive_notes=listing.notes,
        reading=reading,
    )


def _choose_classes(path: Path, classes: Classes, labels: LabelOptions) -> tuple[Classes, Path | None]:
    """The model's classes, as --classes names or sorts them, or where nothing else does a `classes.txt`."""
    if labels.path and labels.classes == "sorted":
        where, names = f"--labels {labels.path}: the labels", list_label_names(labels.path, labels)
        return replace_classes(classes, sort_classes(where, names, classes.count), where), None
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
    images = make_table(listing.images)
    by_name = ClassLabels(
        images=images.label_by_val_number(read_canonical_labels()),
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
    has_val_names = bool(by_name.images.list_used_labels())
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
    path: Path, images: ImageTable, file: LabelFile, labels: LabelOptions, classes: Classes
) -> ClassLabels:
    """Label the images by a file."""
    paths = [images.get_path(row) for row in range(len(images))]
    names = match_label_names(file.labels, paths)
    if not names:
        raise BadImagesError(
            f"--labels {labels.path}: names none of the {len(images)} images in {path}",
            hint=f"expected lines `NAME index` with the images' file names, such as {images.get_name(0)}",
        )
    found = (file.labels[names[path]] if path in names else NO_LABEL for path in paths)
    matched = set(names.values())
    return ClassLabels(
        images=images.with_labels(np.fromiter(found, dtype=np.int64, count=len(images))),
        source=f"label file {labels.path.name} ({file.form})" if labels.path else "",
        kind="file",
        classes=classes,
        surplus=tuple(name for name in file.labels if name not in matched),
    )


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
    if count_unlabelled(index.images) == len(index.images):
        raise BadImagesError(
            f"--images {index.path}: no labels: {index.images[0].name} is not the name of an ImageNet "
            "validation image",
            hint="give --labels FILE with lines `NAME index`, or one folder for each class",
        )
