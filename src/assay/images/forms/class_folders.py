"""Which files of a data set are images, and what the folders that they lie in say of their classes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable

import numpy as np
import numpy.typing as npt

from assay.images.classes import find_synset
from assay.images.labels import find_val_number
from assay.images.listing import (
    IMAGE_SUFFIXES,
    INNER_FOLDERS,
    LITTER_FOLDERS,
    KnowsName,
    LabelKind,
    LabelledImage,
    Listing,
    is_image_path,
)
from assay.images.table import ImageTable, list_values, matches_suffix

NUMBER = re.compile(r"[0-9]{1,5}")
IMAGE_FOLDER = "images"
"""What Tiny-ImageNet calls the folder inside each class folder that holds its images."""
FOLDER_NAMES = "the folders' names"
"""Where labels come from that are names of folders: of classes, or of anything else."""
_IMAGE_NAME = matches_suffix(IMAGE_SUFFIXES)
_SYNSET_NAME = r"(?s)^n[0-9]{8}([_ ,.:-].*)?$"  # as `find_synset` has it
_KAGGLE_VAL = "Data/CLS-LOC/val/"
_KINDS: dict[LabelKind, tuple[str, str]] = {
    "synsets": ("a folder for each synset", "the folders' synsets"),
    "numbers": ("a folder for each class number", "the folders' numbers"),
    "classes": ("a folder for each class", FOLDER_NAMES),
}


def sort_out_files(container: str, files: Iterable[LabelledImage], knows_name: KnowsName) -> Listing:
    """Sort out which files are images, with what their folders call their classes.

    Folders named by synset are classes by that name, never by their place: a set may hold some classes
    only. So are folders of other names, where all images lie in such, and none in one that data sets have
    for something else, such as `val`.

    Args:
        container: What holds the files, in words.
        files: All files, without labels.
        knows_name: Tells whether a name without a suffix is an image's.
    """
    files = list(files)
    images = [file for file in files if is_image_path(file.relative_path, knows_name)]
    kaggle = [image for image in images if _KAGGLE_VAL in image.relative_path]
    images = kaggle or images
    kind = _recognise_kind({get_class_folder(image.relative_path) for image in images}, images)
    form, label_source = container, ""
    if kind is not None:
        named = [
            dataclasses.replace(image, class_name=get_class_folder(image.relative_path)) for image in images
        ]
        images = [image for image in named if kind != "synsets" or find_synset(image.class_name)]
        form, label_source = f"{container}, {_KINDS[kind][0]}", _KINDS[kind][1]
    elif images and all(find_synset(image.name) for image in images):
        images = [dataclasses.replace(image, class_name=find_synset(image.name)) for image in images]
        label_source, kind = "the synsets in the images' names", "synsets"
    kept = {image.relative_path for image in images}
    return Listing(
        form=form,
        images=tuple(images),
        label_source=label_source,
        label_kind=kind,
        ignored=tuple(sorted({file.relative_path for file in files} - kept)),
    )


def sort_out_table(container: str, files: ImageTable, knows_name: KnowsName) -> Listing:
    """As `sort_out_files`, of files in columns: those of a folder and its class folders."""
    is_image = _find_images(files, knows_name)
    images = files if is_image.all() else files.select(is_image)
    folder_names = [get_class_folder(folder) for folder in images.texts.folders]
    used = {folder_names[number] for number in list_values(images.columns.folders)}
    kind = _recognise_kind(used, images)
    form, label_source = container, ""
    if kind is not None:
        codes = images.columns.folders
        if kind == "synsets":
            is_class = np.array([bool(find_synset(name)) for name in folder_names])
            if not (kept := is_class[codes]).all():
                images = images.select(kept)
                is_image[is_image] = kept
        images = images.class_by_folder(folder_names)
        form, label_source = f"{container}, {_KINDS[kind][0]}", _KINDS[kind][1]
    elif len(images) and images.match(_SYNSET_NAME).all():
        images = images.with_classes(find_synset(image.name) for image in images)
        label_source, kind = "the synsets in the images' names", "synsets"
    ignored = np.flatnonzero(~is_image).tolist()
    return Listing(
        form=form,
        images=images,
        label_source=label_source,
        label_kind=kind,
        ignored=tuple(sorted(files.get_path(row) for row in ignored)),
    )


def _find_images(files: ImageTable, knows_name: KnowsName) -> npt.NDArray[np.bool_]:
    """Which of the files are images, as `is_image_path` has it."""
    is_image = files.match(_IMAGE_NAME)
    is_litter = files.match(r"^\._")
    for row in np.flatnonzero(~is_image & ~is_litter).tolist():
        is_image[row] = knows_name(files.get_name(row))
    return is_image & ~is_litter


def _recognise_kind(folders: set[str], images: Iterable[LabelledImage]) -> LabelKind | None:
    """What the folders of the images are named by; None where they are no class folders."""
    if any(map(find_synset, folders)):
        return "synsets"
    if not folders or "" in folders:
        return None
    if all(NUMBER.fullmatch(folder) for folder in folders):
        return None if _is_accident(folders, images) else "numbers"
    return None if any(folder.lower() in INNER_FOLDERS for folder in folders) else "classes"


def get_class_folder(relative_path: str) -> str:
    """The name of the folder that a path lies in, or of the one around its folder `images`."""
    folders = [name for name in relative_path.split("/")[:-1] if not name.endswith(".tar")]
    if folders[1:] and folders[-1] == IMAGE_FOLDER and folders[-2].lower() not in INNER_FOLDERS:
        folders.pop()
    return folders[-1] if folders else ""


def choose_class_test(
    folders: Collection[str], *, beside_images: bool, any_name: bool
) -> Callable[[str], bool]:
    """Choose what tells which folders of a data set are class folders.

    Args:
        folders: The names of its folders.
        beside_images: Whether images lie beside them: then those named by synset alone are.
        any_name: Whether folders of whatever name are, as a label file names the images in them; else those
            that data sets have for something else, such as `val`, are none, and no named one beside them.
    """
    if beside_images:
        return lambda name: bool(find_synset(name))
    visible = {name for name in folders if not name.startswith(".") and name not in LITTER_FOLDERS}
    if any_name or not any(name.lower() in INNER_FOLDERS for name in visible):
        return visible.__contains__
    return lambda name: bool(find_synset(name) or NUMBER.fullmatch(name))


def _is_accident(folders: set[str], images: Iterable[LabelledImage]) -> bool:
    """Tell whether the number is no class: one folder `2012` of ImageNet validation images, say."""
    return len(folders) == 1 and all(find_val_number(image.name) for image in images)
