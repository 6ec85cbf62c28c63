"""Sets of some of a model's classes: ImageNet's relatives, known by their synsets, or those of the images."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Iterable

import msgspec

from assay.errors import BadImagesError, UsageError, quote
from assay.images.classes import Classes
from assay.images.listing import LabelKind
from assay.models.tables.read import read_class_subsets

_OBJECTNET = "objectnet-113"
_TITLES = {
    "imagenet-a": "ImageNet-A",
    "imagenet-r": "ImageNet-R",
    "imagenette": "Imagenette",
    "imagewoof": "Imagewoof",
    "imagewang": "Imagewang",
    "tiny-imagenet": "Tiny-ImageNet",
    "imagenet-100-cmc": "ImageNet-100 (CMC's list)",
    "imagenet-100-kaggle": "ImageNet-100 (Kaggle's list)",
    "mini-imagenet": "mini-ImageNet",
}
THESE_IMAGES = "these images"
RELATIVES = frozenset(_TITLES)
"""The sets that are known by name."""
CHOICES = (*_TITLES, "images", "none")
"""What may be asked for: a known set, the classes of the images, or none."""
_LEAST_OF_OBJECTNET = 20  # of its 113 names: ordinary words, some of which any data set may have


class ClassSubset(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the classes of a model: whose they are, and their labels, sorted."""

    name: str
    labels: tuple[int, ...]

    def __str__(self) -> str:
        return f"the {len(self.labels):,} classes of {self.name}"


def check_subset_choice(choice: str | None) -> None:
    """Refuse what names no set of classes.

    Raises:
        UsageError: It is none.
    """
    if choice is not None and choice not in CHOICES:
        close = difflib.get_close_matches(choice, CHOICES, n=1)
        raise UsageError(
            f"--subset {quote(choice)}: no known set of classes",
            hint=f"did you mean {close[0]}?" if close else f"known: {', '.join(CHOICES)}",
        )


def choose_subset(
    classes: Classes, labels: Iterable[int | None], kind: LabelKind, choice: str | None
) -> ClassSubset | None:
    """The classes among which the images are scored besides; None where that says nothing more.

    Without a choice, a known set that the images' classes are exactly. Images that are named as ImageNet's
    validation images are a sample of all classes, whichever theirs are.

    Args:
        classes: The model's classes.
        labels: Of the images.
        kind: Where the labels come from.
        choice: One of `CHOICES`, or None.

    Raises:
        BadImagesError: The set asked for is not among the model's classes, or images are of other classes.
    """
    found = {label for label in labels if label is not None}
    if choice == "none" or not found or len(found) == classes.count:
        return None
    if choice == "images":
        return ClassSubset(name=THESE_IMAGES, labels=tuple(sorted(found)))
    if choice is not None:
        return _require_subset(classes, found, choice)
    if kind == "names" or not classes.synsets:
        return None
    synsets = {classes.synsets[label] for label in found}
    known = next((name for name in _TITLES if set(list_synsets(name)) == synsets), None)
    return ClassSubset(name=_TITLES[known], labels=tuple(sorted(found))) if known else None


def _require_subset(classes: Classes, found: Collection[int], choice: str) -> ClassSubset | None:
    title = _TITLES[choice]
    labels = [classes.find_labels(synset) if classes.synsets else () for synset in list_synsets(choice)]
    if not all(labels):
        raise BadImagesError(
            f"--subset {choice}: {sum(not one for one in labels):,} of its {len(labels):,} synsets are no "
            "classes of the model",
            hint="output.class_synsets of the model record names the synsets of its classes",
        )
    subset = ClassSubset(name=title, labels=tuple(sorted(label for (label, *_) in labels)))
    if others := sorted(set(found) - set(subset.labels)):
        raise BadImagesError(
            f"--subset {choice}: {len(others):,} classes of the images are none of {title}'s: "
            f"{', '.join(map(classes.describe, others[:3]))}",
            hint="--subset images scores among the classes of the images",
        )
    return None if len(subset.labels) == classes.count else subset


@functools.cache
def list_synsets(subset: str) -> tuple[str, ...]:
    """The synsets of a known set, in the order of its sorted folders."""
    rows = [row for row in read_class_subsets() if row.subset == subset]
    return tuple(row.synset for row in sorted(rows, key=lambda row: row.folder_position))


@functools.cache
def has_one_order(subset: str) -> bool:
    """Whether the list of a known set is sorted: then a number is the same class in list and folders."""
    rows = [row for row in read_class_subsets() if row.subset == subset]
    return all(row.folder_position == row.list_position for row in rows)


def are_objectnets(names: Collection[str]) -> bool:
    """Whether these are names of ObjectNet's classes, nine of which are several of ImageNet's at once."""
    known = {
        _simplify(row.name.partition(" -> ")[0]) for row in read_class_subsets() if row.subset == _OBJECTNET
    }
    return len(known & {_simplify(name) for name in names}) >= _LEAST_OF_OBJECTNET


def _simplify(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
