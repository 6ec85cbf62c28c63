"""All images of a data set in columns in memory, about 60 bytes an image, labelled and sorted by columns."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute as pc

from assay.arrow import make_array, view_mask, view_numbers
from assay.images.labels import find_val_number
from assay.images.listing import LabelledImage
from assay.images.members import gather_members
from assay.images.rows import MAYBE_VAL, NO_LABEL, STRETCH, ImageRows, ImageSource, Int64s, Stretch, Texts

Rows = npt.NDArray[np.bool_] | Int64s
"""Which rows: a mask, or their numbers."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a table; see `Stretch`. None stands for no class, no fault or no label at all.

    Args:
        class_labels: The label of each class, by its number; only where `labels` is None.
    """

    names: pyarrow.LargeBinaryArray
    folders: npt.NDArray[np.int32]
    sizes: Int64s
    places: Int64s
    classes: npt.NDArray[np.int32] | None = None
    faults: npt.NDArray[np.int32] | None = None
    labels: Int64s | None = None
    class_labels: Int64s | None = None

    def find_labels(self, rows: Rows | slice) -> Int64s:
        """The labels of those rows."""
        if self.labels is not None:
            return self.labels[rows]
        if self.class_labels is not None and self.classes is not None:
            return self.class_labels[self.classes[rows]]
        return np.full(len(self.folders[rows]), NO_LABEL)

    def take(self, rows: Rows) -> Columns:
        """Those rows, in that order."""
        picked = (
            self.names.filter(view_mask(rows.astype(np.bool_)))
            if rows.dtype == np.bool_
            else self.names.take(view_numbers(rows))
        )
        same = self.classes is self.folders  # class folders: one column serves both
        folders = self.folders[rows]
        return Columns(
            names=picked,
            folders=folders,
            sizes=self.sizes[rows],
            places=self.places[rows],
            classes=folders if same else None if self.classes is None else self.classes[rows],
            faults=None if self.faults is None else self.faults[rows],
            labels=None if self.labels is None else self.labels[rows],
            class_labels=self.class_labels,
        )


class ImageTable(ImageRows):
    """Images in memory. Nothing changes it: what relabels or sorts gives another, which shares columns.

    Args:
        columns: The images, in the order of the listing.
        texts: What the numbers in the columns stand for.
        source: Opens the images.
        order: The rows in the order of the sequence; None for that of the listing.
    """

    def __init__(
        self, columns: Columns, texts: Texts, source: ImageSource, order: Int64s | None = None
    ) -> None:
        super().__init__(texts, source)
        self.columns = columns
        self._order = order

    def __len__(self) -> int:
        return len(self.columns.names)

    def read(self, start: int, stop: int) -> Stretch:
        """See `ImageRows.read`."""
        rows = np.arange(start, stop) if self._order is None else self._order[start:stop]
        found, count = self.columns.take(rows), stop - start
        nothing = np.zeros(count, dtype=np.int32)
        return Stretch(
            names=found.names,
            folders=found.folders,
            sizes=found.sizes,
            places=found.places,
            classes=nothing if found.classes is None else found.classes,
            faults=nothing if found.faults is None else found.faults,
            labels=found.find_labels(slice(None)),
        )

    @property
    def labels(self) -> Int64s:
        """The labels in the order of the listing, `NO_LABEL` where there is none, (N,)."""
        return self.columns.find_labels(slice(None))

    @property
    def class_names(self) -> list[str]:
        """The names of classes that images have, sorted."""
        codes = self.columns.classes
        used = [] if codes is None else list_values(codes)
        return sorted({name for number in used if (name := self.texts.classes[number])})

    def select(self, rows: Rows) -> ImageTable:
        """Those images, rows of the listing, in that order."""
        return ImageTable(self.columns.take(rows), self.texts, self.source)

    def pick(self, numbers: Int64s) -> ImageTable:
        """The images of those places in the sequence, in that order."""
        return self.select(numbers if self._order is None else self._order[numbers])

    def with_labels(self, labels: Int64s | None) -> ImageTable:
        """The same images with these labels, in the order of the listing."""
        return self._replace(labels=labels, class_labels=None)

    def with_classes(self, names: Iterable[str]) -> ImageTable:
        """The same images with these names of classes, in the order of the listing."""
        numbers: dict[str, int] = {"": 0}
        codes = np.fromiter((numbers.setdefault(name, len(numbers)) for name in names), np.int32)
        return self._with_class_numbers(tuple(numbers), codes)

    def class_by_folder(self, names: Sequence[str]) -> ImageTable:
        """The same images, each with the class name that its folder stands for, by the folder's number."""
        return self._with_class_numbers(tuple(names), self.columns.folders)

    def with_faults(self, faults: Iterable[str]) -> ImageTable:
        """The same images with these faults, in the order of the listing."""
        numbers: dict[str, int] = {"": 0}
        codes = np.fromiter((numbers.setdefault(fault, len(numbers)) for fault in faults), np.int32)
        return self._replace(texts=replace(self.texts, faults=tuple(numbers)), faults=codes)

    def label_by_class(self, found: Mapping[str, int]) -> ImageTable:
        """Label each image by the name of its class; those of other names keep what they have."""
        codes = self.columns.classes
        if codes is None:
            return self
        of_class = np.array([found.get(name, NO_LABEL) for name in self.texts.classes], dtype=np.int64)
        if not self._has_labels:
            return self._replace(class_labels=of_class)
        labels = of_class[codes]  # (N,)
        return self.with_labels(np.where(labels == NO_LABEL, self.labels, labels))

    def label_by_val_number(self, labels: Sequence[int]) -> ImageTable:
        """Label each ImageNet validation image by the number in its name, counted from 1, and no other."""
        found = self.find_val_numbers()
        if not found:
            return self.with_labels(None)
        of_row = np.full(len(self), NO_LABEL)
        of_row[list(found)] = [labels[number - 1] for number in found.values()]
        return self.with_labels(of_row)

    def shift_labels(self, offset: int) -> ImageTable:
        """The same images, each label less by an offset."""
        if not self._has_labels or not offset:
            return self
        labels = self.labels
        return self.with_labels(np.where(labels == NO_LABEL, labels, labels - offset))

    def class_by_label(self, names: Sequence[str]) -> ImageTable:
        """The same images without labels, but with the class names that their labels are the numbers of."""
        labels = self.labels
        codes = np.where(labels == NO_LABEL, 0, labels + 1).astype(np.int32)
        texts = replace(self.texts, classes=("", *names))
        return self._replace(texts=texts, classes=codes, labels=None, class_labels=None)

    def match(self, pattern: str) -> npt.NDArray[np.bool_]:
        """Which names a regular expression of RE2 finds something in, in the order of the listing."""
        matches = np.empty(len(self), dtype=np.bool_)
        for start in range(0, len(self), STRETCH):
            names = self.columns.names[start : start + STRETCH]
            found = pc.cast(pc.match_substring_regex(names, pattern), pyarrow.uint8())
            matches[start : start + STRETCH] = np.from_dlpack(found)
        return matches

    def order_rows(self, mask: npt.NDArray[np.bool_]) -> Int64s:
        """The rows of the listing that a mask of it has, in the order of the sequence."""
        return np.flatnonzero(mask) if self._order is None else self._order[mask[self._order]]

    def list_used_labels(self) -> list[int]:
        """The labels that images have, sorted, each once."""
        labels, class_labels, codes = self.columns.labels, self.columns.class_labels, self.columns.classes
        if labels is not None:
            used = list_values(labels)
        elif class_labels is not None and codes is not None:
            used = [int(class_labels[code]) for code in list_values(codes)]
        else:
            used = []
        return sorted({*used} - {NO_LABEL})

    def pair_with_val_numbers(self) -> list[tuple[int, int]]:
        """The label of each labelled ImageNet validation image, with the number in its name."""
        numbers = self.find_val_numbers()
        labels = self.columns.find_labels(np.array(list(numbers), dtype=np.int64)).tolist()
        pairs = zip(labels, numbers.values(), strict=True)
        return [(label, number) for label, number in pairs if label != NO_LABEL]

    def find_val_numbers(self) -> dict[int, int]:
        """The number in the name of each ImageNet validation image, by its row."""
        rows = np.flatnonzero(self.match(MAYBE_VAL)).tolist()
        found = ((row, find_val_number(self.get_name(row))) for row in rows)
        return {row: number for row, number in found if number is not None}

    def get_name(self, row: int) -> str:
        """The file name of a row of the listing."""
        name: bytes = self.columns.names[row].as_py()
        return os.fsdecode(name)

    def get_path(self, row: int) -> str:
        """The relative path of a row of the listing."""
        folder: str = self.texts.folders[self.columns.folders[row]]
        return folder + self.get_name(row)

    def sort(self) -> ImageTable:
        """The same images in byte order of their names, those of one name in byte order of their paths."""
        folders = [os.fsencode(folder) for folder in self.texts.folders]
        used = sorted((folders[number], number) for number in list_values(self.columns.folders))
        if any(later.startswith(one) for (one, _), (later, _) in itertools.pairwise(used)):
            return self._sort_by_paths(folders)
        ranks = np.zeros(len(folders), dtype=np.int32)
        ranks[[number for _, number in used]] = np.arange(len(used))
        first = _sort_stably(ranks[self.columns.folders])
        if first is None and _are_sorted(self.columns.names):
            return self
        if first is None:
            order = _sort_texts(self.columns.names)
        else:
            order = first[_sort_texts(self.columns.names.take(view_numbers(first)))]
        return ImageTable(self.columns, self.texts, self.source, order)

    def _sort_by_paths(self, folders: Sequence[bytes]) -> ImageTable:
        """As `sort`, where a folder of images lies in another: names decide too which path comes first."""
        numbers = view_numbers(self.columns.folders)
        prefixes = make_array(folders, pyarrow.large_binary()).take(numbers)
        nothing = make_array([b""], pyarrow.large_binary())[0]
        paths = pc.binary_join_element_wise(prefixes, self.columns.names, nothing)
        table = pyarrow.table({"name": self.columns.names, "path": paths})
        order = pc.sort_indices(table, sort_keys=[("name", "ascending"), ("path", "ascending")])
        return ImageTable(self.columns, self.texts, self.source, np.from_dlpack(order).view(np.int64))

    @property
    def _has_labels(self) -> bool:
        return self.columns.labels is not None or self.columns.class_labels is not None

    def _with_class_numbers(self, names: tuple[str, ...], codes: npt.NDArray[np.int32]) -> ImageTable:
        labels = self.labels if self._has_labels else None
        texts = replace(self.texts, classes=names)
        return self._replace(texts=texts, classes=codes, labels=labels, class_labels=None)

    def _replace(self, *, texts: Texts | None = None, **columns: object) -> ImageTable:
        changed = replace(self.columns, **columns)  # type: ignore[arg-type]  # fields of `Columns`
        return ImageTable(changed, texts or self.texts, self.source, self._order)


def list_values(numbers: npt.NDArray[np.integer[Any]]) -> list[int]:
    """The numbers, each once, sorted; found a stretch at a time, since numpy would copy them all."""
    found: set[int] = set()
    for start in range(0, len(numbers), STRETCH):
        found.update(numbers[start : start + STRETCH].tolist())
    return sorted(found)


def _sort_stably(numbers: npt.NDArray[np.int32]) -> Int64s | None:
    """The order that sorts them; None where they are sorted."""
    return None if (numbers[1:] >= numbers[:-1]).all() else np.argsort(numbers, kind="stable")


def _are_sorted(texts: pyarrow.LargeBinaryArray) -> bool:
    """Whether none is before the one in front of it."""
    falls = pc.greater(texts[:-1], texts[1:])
    return not pc.any(falls).as_py()


def _sort_texts(texts: pyarrow.LargeBinaryArray) -> Int64s:
    """The order that sorts them; equal ones stay in theirs."""
    return np.asarray(np.from_dlpack(pc.array_sort_indices(texts))).view(np.int64)


@dataclass(frozen=True, kw_only=True)
class _Readers:
    """What reads each image, where nothing less can tell."""

    readers: Sequence[Callable[[], bytes]]

    def open(self, _relative_path: str, _size_bytes: int, place: int) -> Callable[[], bytes]:
        """See `ImageSource.open`."""
        return self.readers[place]


def make_table(images: Sequence[LabelledImage]) -> ImageTable:
    """The images as a table; one already is itself."""
    if isinstance(images, ImageTable):
        return images
    if isinstance(images, ImageRows):
        return _gather(images)
    folders: dict[str, int] = {}
    codes = [
        folders.setdefault(image.relative_path.removesuffix(image.name), len(folders)) for image in images
    ]
    has_labels = any(image.label is not None for image in images)
    readers = [image.read_bytes for image in images]
    source, places = gather_members(readers) or (_Readers(readers=readers), np.arange(len(images)))
    columns = Columns(
        names=make_array([os.fsencode(image.name) for image in images], pyarrow.large_binary()),
        folders=np.array(codes, dtype=np.int32),
        sizes=np.array([image.size_bytes for image in images], dtype=np.int64),
        places=places,
        labels=np.array(
            [NO_LABEL if image.label is None else image.label for image in images], dtype=np.int64
        )
        if has_labels
        else None,
    )
    table = ImageTable(columns, Texts(folders=tuple(folders)), source)
    table = table.with_classes(image.class_name for image in images)
    return table.with_faults(image.fault for image in images)


def _gather(images: ImageRows) -> ImageTable:
    found = list(images.stretches())

    def join(name: str) -> Any:
        return np.concatenate([getattr(one, name) for one in found])

    columns = Columns(
        names=pyarrow.concat_arrays([one.names for one in found]),
        folders=join("folders"),
        sizes=join("sizes"),
        places=join("places"),
        classes=join("classes"),
        faults=join("faults"),
        labels=join("labels"),
    )
    return ImageTable(columns, images.texts, images.source)


def matches_suffix(suffixes: Iterable[str]) -> str:
    """A regular expression of RE2 for names that have one of the suffixes and something before it."""
    return rf"(?is)^.+\.({'|'.join(re.escape(suffix.removeprefix('.')) for suffix in sorted(suffixes))})$"
