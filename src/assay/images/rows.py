"""Images held in columns, and made into `LabelledImage` a stretch at a time, as they are asked for."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute as pc

from assay.arrow import make_array, view_numbers
from assay.images.labels import find_val_number
from assay.images.listing import LabelledImage

STRETCH = 16_384
"""Images whose columns are read at once."""
NO_LABEL = np.iinfo(np.int64).min
# Strict enough to pass over nearly all other names; `find_val_number` decides
MAYBE_VAL = r"2012_(?i:val)_[0-9]{8}"
Int64s = npt.NDArray[np.int64]


class ImageSource(Protocol):
    """What opens the images of a data set; two that were listed at once share one."""

    def open(self, relative_path: str, size_bytes: int, place: int, /) -> Callable[[], bytes]:
        """Give what reads an image.

        Args:
            relative_path: Its path in the data set.
            size_bytes: Its size as it was listed.
            place: What else the source must know of it, which the source alone understands.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The columns of some images that follow one another.

    Args:
        names: Their file names, as bytes (N,).
        folders: The number of the folder of each, int32 (N,).
        sizes: Their encoded sizes, (N,).
        places: See `ImageSource.open`, (N,).
        classes: The number of the class name of each, int32 (N,).
        faults: The number of the fault of each, int32 (N,).
        labels: Their labels, `NO_LABEL` where there is none, (N,).
    """

    names: pyarrow.LargeBinaryArray
    folders: npt.NDArray[np.int32]
    sizes: Int64s
    places: Int64s
    classes: npt.NDArray[np.int32]
    faults: npt.NDArray[np.int32]
    labels: Int64s


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What the numbers in the columns stand for.

    Args:
        folders: The folders, each with the `/` at its end; "" for the data set's own.
        classes: Names of classes, "" for none; only this where no image has any.
        faults: Why images cannot be scored, the first of them "".
    """

    folders: tuple[str, ...]
    classes: tuple[str, ...] = ("",)
    faults: tuple[str, ...] = ("",)


class ImageRows(Sequence[LabelledImage]):
    """A sequence of images whose columns lie somewhere.

    Args:
        texts: What the numbers in the columns stand for.
        source: Opens the images.
    """

    def __init__(self, texts: Texts, source: ImageSource) -> None:
        self.texts = texts
        self.source = source

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, start: int, stop: int) -> Stretch:
        """The columns of the images from `start` to before `stop`, both within the sequence."""

    @overload
    def __getitem__(self, key: int) -> LabelledImage: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[LabelledImage]: ...
    def __getitem__(self, key: int | slice) -> LabelledImage | Sequence[LabelledImage]:
        if isinstance(key, slice):
            return ImageSlice(self, range(len(self))[key])
        number = range(len(self))[key]
        return self.make(number, number + 1)[0]

    def __iter__(self) -> Iterator[LabelledImage]:
        for start in range(0, len(self), STRETCH):
            yield from self.make(start, min(start + STRETCH, len(self)))

    def __reduce__(self) -> tuple[object, ...]:
        """Sent to another process, they are a list."""
        return list, (list(self),)

    def stretches(self) -> Iterator[Stretch]:
        """All columns, one stretch after the other."""
        for start in range(0, len(self), STRETCH):
            yield self.read(start, min(start + STRETCH, len(self)))

    def make(self, start: int, stop: int) -> list[LabelledImage]:
        """The images from `start` to before `stop`."""
        found, texts = self.read(start, stop), self.texts
        paths = [
            texts.folders[folder] + os.fsdecode(name)
            for folder, name in zip(found.folders.tolist(), found.names.to_pylist(), strict=True)
        ]
        return [
            LabelledImage(
                relative_path=path,
                label=None if label == NO_LABEL else label,
                class_name=texts.classes[class_number],
                size_bytes=size,
                read_bytes=self.source.open(path, size, place),
                fault=texts.faults[fault],
            )
            for path, label, class_number, size, place, fault in zip(
                paths,
                found.labels.tolist(),
                found.classes.tolist(),
                found.sizes.tolist(),
                found.places.tolist(),
                found.faults.tolist(),
                strict=True,
            )
        ]


class ImageSlice(Sequence[LabelledImage]):
    """Some of the images of `rows`, made when they are asked for; sent to another process they are a list."""

    def __init__(self, rows: ImageRows, numbers: range) -> None:
        self._rows = rows
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, key: int) -> LabelledImage: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[LabelledImage]: ...
    def __getitem__(self, key: int | slice) -> LabelledImage | Sequence[LabelledImage]:
        if isinstance(key, slice):
            return ImageSlice(self._rows, self._numbers[key])
        return self._rows[self._numbers[key]]

    def __iter__(self) -> Iterator[LabelledImage]:
        if self._numbers.step != 1:
            yield from (self._rows[number] for number in self._numbers)
            return
        for start in range(self._numbers.start, self._numbers.stop, STRETCH):
            yield from self._rows.make(start, min(start + STRETCH, self._numbers.stop))

    def __reduce__(self) -> tuple[object, ...]:
        return list, (list(self),)


def iterate_labels(images: Sequence[LabelledImage]) -> Iterator[int | None]:
    """The label of each image, in order."""
    if not isinstance(images, ImageRows):
        yield from (image.label for image in images)
        return
    for stretch in images.stretches():
        yield from (None if label == NO_LABEL else label for label in stretch.labels.tolist())


def count_unlabelled(images: Sequence[LabelledImage]) -> int:
    """How many of them have no label."""
    if not isinstance(images, ImageRows):
        return sum(image.label is None for image in images)
    return sum(int((stretch.labels == NO_LABEL).sum()) for stretch in images.stretches())


def count_val_images(images: Sequence[LabelledImage]) -> int:
    """How many of them have the name of an ImageNet validation image."""
    if not isinstance(images, ImageRows):
        return sum(find_val_number(image.name) is not None for image in images)
    count = 0
    for stretch in images.stretches():
        maybe = stretch.names.filter(pc.match_substring_regex(stretch.names, MAYBE_VAL))
        count += sum(find_val_number(os.fsdecode(name)) is not None for name in maybe.to_pylist())
    return count


def join_lines(stretch: Stretch, texts: Texts) -> bytes:
    """A line `PATH NUL SIZE` for each image of a stretch, in order."""
    folders = [os.fsencode(folder) for folder in texts.folders]
    used, codes = np.unique(stretch.folders, return_inverse=True)
    prefixes = make_array([folders[number] for number in used.tolist()], pyarrow.large_binary())
    sizes = pc.cast(pc.cast(view_numbers(stretch.sizes), pyarrow.large_string()), pyarrow.large_binary())
    nul, end, nothing = make_array([b"\0", b"\n", b""], pyarrow.large_binary())
    lines = pc.binary_join_element_wise(
        prefixes.take(view_numbers(codes)), stretch.names, nul, sizes, end, nothing
    )
    return b"".join(lines.to_pylist())
