"""Labels of what a data set itself calls its classes: its folders, samples or a column of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import BadImagesError, quote
from assay.images.class_lists import describe_order, replace_classes, sort_classes
from assay.images.class_subsets import RELATIVES, are_objectnets, has_one_order, list_synsets
from assay.images.classes import Classes, find_synset
from assay.images.forms.class_folders import NUMBER
from assay.images.label_files import LabelOptions, refuse_numbers_of_relatives, refuse_other_class_order
from assay.images.listing import LabelKind, Listing
from assay.images.table import ImageTable, make_table

_LISTED = 3
_LEAST_AMBIGUOUS = 11  # so many numbers sort otherwise as text


@dataclass(frozen=True, kw_only=True)
class ClassLabels:
    """Images with the labels of what their data set calls their classes.

    Args:
        images: The images.
        source: Where the labels come from, in words.
        kind: The same as a value.
        classes: The classes of the model, with the names that the data set gives them where it has none.
        error: Why there are none; None where there are.
        notes: What a user should know of them, a sentence each.
        surplus: Names that only a label file has.
    """

    images: ImageTable
    source: str
    kind: LabelKind
    classes: Classes
    error: BadImagesError | None = None
    notes: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()


def label_by_class(path: Path, listing: Listing, classes: Classes, options: LabelOptions) -> ClassLabels:
    """Label the images of a listing by what it calls their classes.

    Args:
        path: Where the data set is, for messages.
        listing: Its images, whose classes have a name, a synset or a number.
        classes: The model's classes.
        options: What numbers begin with, whether they are believed, and what numbers the classes.

    Raises:
        BadImagesError: Numbers that cannot be labels, an offset of what is no number, or --classes sorted
            where the names cannot be sorted so.
    """
    where = f"--images {path}: {listing.label_source}"
    images = make_table(listing.images)
    names = images.class_names
    if options.classes == "sorted":
        listed = sort_classes(where, names or listing.class_names, classes.count)
        classes = replace_classes(classes, listed, where)
    if names and listing.label_kind == "numbers" and not set(names) <= set(classes.names):
        numbers = {name: int(name) for name in names if NUMBER.fullmatch(name)}
        listing, names = dataclasses.replace(listing, images=images.label_by_class(numbers)), []
    if not names and (options.offset or not listing.class_names):
        return _label_by_number(where, listing, classes, options)
    if not names:
        return _label_by_numbered_name(where, listing, classes, options)
    if options.offset:
        kind = "synsets" if listing.label_kind == "synsets" else "names"
        raise BadImagesError(f"{where}: {kind} have no offset", hint="leave --label-offset out")
    return _label_by_name(where, listing, classes, {name: classes.find_labels(name) for name in names})


def _label_by_name(
    where: str, listing: Listing, classes: Classes, found: Mapping[str, Sequence[int]]
) -> ClassLabels:
    kind: LabelKind = "synsets" if listing.label_kind == "synsets" else "classes"
    error = _explain_unknown(where, classes, found)
    images = make_table(listing.images)
    if error is None:
        images = images.with_labels(None).label_by_class({name: labels[0] for name, labels in found.items()})
    return ClassLabels(images=images, source=listing.label_source, kind=kind, classes=classes, error=error)


def _explain_unknown(
    where: str, classes: Classes, found: Mapping[str, Sequence[int]]
) -> BadImagesError | None:
    """Why these names are not labels; None where each is one class of the model."""
    unknown = [name for name, labels in found.items() if not labels]
    if shared := [(name, labels) for name, labels in found.items() if len(labels) > 1]:
        name, labels = shared[0]
        return BadImagesError(
            f"{where}: {quote(name)} names {len(labels)} classes of the model: "
            f"{', '.join(map(classes.describe, labels))}",
            hint="name the folders by synset or number, or give --labels FILE",
        )
    if not unknown:
        return None
    if not (classes.names or classes.synsets):
        return BadImagesError(
            f"{where} are no labels yet: the {classes.count:,} classes of the model have no names",
            hint=_show_ways_out(where, list(found), classes.count),
        )
    if classes.are_imagenets and are_objectnets(list(found)):
        return BadImagesError(
            f"{where} are ObjectNet's: nine of its classes are two or three of ImageNet's, any of which is "
            "right, and 200 of its 313 are none",
            hint="score it with ObjectNet's own mapping; assay knows one right class an image",
        )
    if classes.are_imagenets and all(map(find_synset, unknown)):
        return BadImagesError(
            f"{where}: {len(unknown):,} are named like synsets but are none of the 1000 of ImageNet: "
            f"{', '.join(unknown[:_LISTED])}",
            hint="remove them, or give --labels and one flat folder",
        )
    if not classes.synsets and all(map(find_synset, unknown)):
        return BadImagesError(
            f"{where}: the synsets of the {classes.count:,} classes of the model are not known",
            hint="output.class_synsets of the model record, or --classes FILE with a synset in each line, "
            "in the order of the labels",
        )
    said = [
        quote(name) + (f" (did you mean {close}?)" if (close := classes.suggest(name)) else "")
        for name in unknown[:_LISTED]
    ]
    more = f" and {len(unknown) - _LISTED:,} more" if len(unknown) > _LISTED else ""
    return BadImagesError(
        f"{where}: {len(unknown):,} of {len(found):,} are no classes of the model: {', '.join(said)}{more}",
        hint="rename them, or --classes FILE with the names of all classes, one a line, in the order of "
        "the labels",
    )


def _show_ways_out(where: str, names: Sequence[str], count: int) -> str:
    """What to do where nothing says which class has which label."""
    by_file = "--classes FILE with the names, one a line, in the order of the labels"
    try:
        ordered = sort_classes(where, names, count)
    except BadImagesError as error:
        return f"{by_file} ({error.message.removeprefix(f'{where}: ')})"
    order = describe_order(ordered.names or ordered.synsets)
    return f"--classes sorted, if the model was trained with them in this order: {order}; else {by_file}"


def _label_by_number(where: str, listing: Listing, classes: Classes, options: LabelOptions) -> ClassLabels:
    """Label images by class numbers, checked and counted from 0."""
    if options.subset in RELATIVES and not options.trusted:
        return _label_by_place(where, listing, classes, options.subset)
    images = make_table(listing.images)
    numbers = images.list_used_labels()
    if classes.are_imagenets and not options.trusted:
        refuse_other_class_order(where, images.pair_with_val_numbers(), options.offset)
        refuse_numbers_of_relatives(where, numbers)
    low, high = min(numbers, default=options.offset), max(numbers, default=options.offset)
    if not options.unbounded and (low < options.offset or high >= options.offset + classes.count):
        from_one = low == 1 and high == classes.count and not options.offset
        raise BadImagesError(
            f"{where}: labels from {low} to {high}, expected {options.offset} to "
            f"{options.offset + classes.count - 1}",
            hint="--label-offset 1, if they count from 1" if from_one else "give --labels FILE",
        )
    note = (
        "the folders' numbers are taken for class indices; torchvision's ImageFolder and Keras sort them as "
        "text (0, 1, 10, 2): if the model was trained so, --classes FILE with the numbers in that order"
    )
    sorts_otherwise = high - options.offset >= _LEAST_AMBIGUOUS - 1
    is_ambiguous = bool(images.class_names) and not classes.names and sorts_otherwise
    return ClassLabels(
        images=images.shift_labels(options.offset),
        source=listing.label_source,
        kind="numbers",
        classes=classes,
        notes=(note,) if is_ambiguous else (),
    )


def _label_by_place(where: str, listing: Listing, classes: Classes, subset: str) -> ClassLabels:
    """Label images by numbers that are places in the sorted synsets of one of ImageNet's relatives.

    Raises:
        BadImagesError: The numbers are not its places, or its published list has another order too.
    """
    synsets = list_synsets(subset)
    images = make_table(listing.images)
    numbers = images.list_used_labels()
    if not has_one_order(subset) or not all(0 <= number < len(synsets) for number in numbers):
        why = (
            "whose published list is not sorted"
            if not has_one_order(subset)
            else f"of {len(synsets)} classes"
        )
        raise BadImagesError(
            f"{where}: are they places in {subset}, {why}, or indices of the model's {classes.count:,}?",
            hint="name the classes by synset; or --trust-labels, if they are indices of the model's classes",
        )
    named = images.class_by_label(synsets)
    source = f"{listing.label_source}, as places in {subset}"
    listing = dataclasses.replace(listing, images=named, label_source=source, label_kind="synsets")
    return _label_by_name(
        where, listing, classes, {synset: classes.find_labels(synset) for synset in synsets}
    )


def _label_by_numbered_name(
    where: str, listing: Listing, classes: Classes, options: LabelOptions
) -> ClassLabels:
    """Label images by numbers of classes that the data set names: by name, else by a list as long."""
    names, images = listing.class_names, make_table(listing.images)
    used = images.list_used_labels()
    if not all(0 <= label < len(names) for label in used):
        return _label_by_number(where, listing, classes, options)
    found = {names[label]: classes.find_labels(names[label]) for label in used}
    error = _explain_unknown(where, classes, found)
    if error is None:
        named = images.class_by_label(names)
        source = f"{listing.label_source}, by the names of its classes"
        return _label_by_name(
            where, dataclasses.replace(listing, images=named, label_source=source), classes, found
        )
    if len(names) != classes.count:
        return ClassLabels(
            images=images.with_labels(None),
            source=listing.label_source,
            kind="numbers",
            classes=classes,
            error=error,
        )
    labelled = _label_by_number(where, listing, classes, options)
    if not (classes.names or classes.synsets):
        classes = dataclasses.replace(classes, names=names)
    return dataclasses.replace(labelled, classes=classes)
