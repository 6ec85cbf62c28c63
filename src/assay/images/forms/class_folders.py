"""Labels from the folders that images lie in: named by synset, or by number."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

from assay.errors import BadImagesError
from assay.images.labels import find_val_number, read_synset_labels
from assay.images.listing import KnowsName, LabelKind, LabelledImage, Listing, is_image_path

SYNSET = re.compile(r"n[0-9]{8}")
NUMBER = re.compile(r"[0-9]{1,5}")
_KAGGLE_VAL = "Data/CLS-LOC/val/"


def sort_out_files(
    where: str, container: str, files: Iterable[LabelledImage], knows_name: KnowsName
) -> Listing:
    """Sort out which files are images, with the labels that their folders give.

    Folders named by synset are classes by that name, never by their place: a set may hold some classes
    only. So are folders named by number, where all images lie in such.

    Args:
        where: What is listed, for messages.
        container: What holds the files, in words.
        files: All files, without labels.
        knows_name: Tells whether a name without a suffix is an image's.

    Raises:
        BadImagesError: Folders named like synsets that do not exist.
    """
    files = list(files)
    images = [file for file in files if is_image_path(file.relative_path, knows_name)]
    kaggle = [image for image in images if _KAGGLE_VAL in image.relative_path]
    images = kaggle or images
    folders = {_get_folder(image) for image in images}
    form, label_source = container, ""
    label_kind: LabelKind | None = None
    if synsets := {folder for folder in folders if SYNSET.fullmatch(folder)}:
        _refuse_unknown(where, synsets)
        labels = read_synset_labels()
        images = [
            _label(image, labels[_get_folder(image)]) for image in images if _get_folder(image) in synsets
        ]
        form, label_source = f"{container}, a folder for each synset", "the folders' synsets"
        label_kind = "synsets"
    elif (
        folders and all(NUMBER.fullmatch(folder) for folder in folders) and not _is_accident(folders, images)
    ):
        images = [_label(image, int(_get_folder(image))) for image in images]
        form, label_source = f"{container}, a folder for each class number", "the folders' numbers"
        label_kind = "numbers"
    kept = {image.relative_path for image in images}
    return Listing(
        form=form,
        images=tuple(images),
        label_source=label_source,
        label_kind=label_kind,
        ignored=tuple(sorted({file.relative_path for file in files} - kept)),
    )


def _get_folder(image: LabelledImage) -> str:
    return image.relative_path.rpartition("/")[0].rpartition("/")[2]


def _label(image: LabelledImage, label: int) -> LabelledImage:
    return dataclasses.replace(image, label=label)


def _is_accident(folders: set[str], images: Sequence[LabelledImage]) -> bool:
    """Tell whether the number is no class: one folder `2012` of ImageNet validation images, say."""
    return len(folders) == 1 and all(find_val_number(image.name) for image in images)


def _refuse_unknown(where: str, synsets: set[str]) -> None:
    unknown = sorted(synsets - read_synset_labels().keys())
    if unknown:
        raise BadImagesError(
            f"{where}: {len(unknown)} folders are named like synsets but are none of the 1000 of "
            f"ImageNet: {', '.join(unknown[:3])}",
            hint="remove them, or give --labels and one flat folder",
        )
