"""What a user should know of the images of a data set and their labels, a sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from assay.errors import shorten
from assay.images.classes import Classes
from assay.images.label_names import get_base_name
from assay.images.labels import read_canonical_labels
from assay.images.rows import NO_LABEL, count_unlabelled
from assay.images.table import ImageTable

_LISTED = 5
_TRAINING_NAME = r"^n[0-9]{8}_[0-9]+\.JPEG$"


def note_images(
    images: ImageTable, ignored: Sequence[str], labels_without_image: Sequence[str], classes: Classes
) -> tuple[str, ...]:
    """Sentences on gaps in the labels, and on labels and names that are not what they should be."""
    return (
        *note_gaps(images, ignored, labels_without_image),
        *(_note_labels(images) if classes.are_imagenets else ()),
        *(_note_training_images(images) if classes.are_imagenets else ()),
    )


def note_gaps(images: ImageTable, ignored: Sequence[str], labels_without_image: Sequence[str]) -> list[str]:
    """Sentences on images without a label, labels without an image, and other files."""
    notes = []
    if 0 < count_unlabelled(images) < len(images):
        rows = images.order_rows(images.labels == NO_LABEL)
        listed = _name_first([images.get_path(row) for row in rows[:_LISTED].tolist()], len(rows))
        notes.append(f"{len(rows):,} images have no label, are not scored: {listed}")
    if labels_without_image:
        listed = _name_first(labels_without_image, len(labels_without_image))
        notes.append(f"{len(labels_without_image):,} labels have no image: {listed}")
    if ignored:
        notes.append(f"{len(ignored):,} other files are ignored: {_name_first(ignored, len(ignored))}")
    return notes


def _note_labels(images: ImageTable) -> list[str]:
    """A sentence on labels that are not the published ones of the ImageNet validation images."""
    pairs, published = images.pair_with_val_numbers(), read_canonical_labels()
    differing = sum(label != published[number - 1] for label, number in pairs)
    return [f"{differing:,} of {len(pairs):,} labels are not the published ones"] if differing else []


def _note_training_images(images: ImageTable) -> list[str]:
    """A sentence on images that networks were trained on, as in Imagenette's val folder."""
    count = int(images.match(_TRAINING_NAME).sum())
    if not count:
        return []
    return [
        f"{count:,} of {len(images):,} images have names of ImageNet's training images: networks trained on "
        "ImageNet have seen them, and score too well"
    ]


def _name_first(names: Sequence[str], count: int) -> str:
    more = f" and {count - _LISTED:,} more" if count > _LISTED else ""
    return ", ".join(shorten(get_base_name(name), 80) for name in names[:_LISTED]) + more
