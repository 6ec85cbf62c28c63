"""Finds the labelled images of a data set, in byte order of the name."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from assay.errors import BadImagesError
from assay.images.label_files import NO_LABEL_FILE, LabelOptions, make_label_finder, read_label_file
from assay.images.labels import find_canonical_label, read_synset_labels, read_synsets

IMAGE_SUFFIXES = frozenset(
    {".jpeg", ".jpg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)
_SYNSET = re.compile(r"n\d{8}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledImage:
    """One image that is to be scored.

    Args:
        name: Its file name; names need not be unique.
        relative_path: Its path in the data set with `/` as separator; unique, its identity.
        label: Its class, counted from 0; None where no label was found for it.
        size_bytes: Size of the encoded image.
        read_bytes: Returns the encoded image; may raise OSError.
    """

    name: str
    relative_path: str
    label: int | None
    size_bytes: int
    read_bytes: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class ImageIndex:
    """The images of a data set.

    Args:
        form: The form the data set is held in, in words.
        label_source: Where the labels come from, in words.
        images: The images, in byte order of the name.
        ignored: Relative paths of files that are not scored: no images, or beside the class folders.
        class_count: How many classes the labels count, where that is known from their source.
    """

    form: str
    label_source: str
    class_count: int | None
    images: tuple[LabelledImage, ...]
    ignored: tuple[str, ...] = ()


def index_images(path: Path, label_count: int, labels: LabelOptions = NO_LABEL_FILE) -> ImageIndex:
    """Return the images at `path` with their labels.

    Labels come from a label file where one is given, else from the folders' synsets, else from the
    built-in table of the 50,000 ImageNet validation images.

    Args:
        path: A folder of images, or of folders named by synset.
        label_count: Number of classes of the model.
        labels: The label file, if there is one.

    Raises:
        BadImagesError: No such folder, no images, a folder that is no known synset, or a label file that
            cannot be used or names none of the images.
    """
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise BadImagesError(f"--images {path}: expected a folder of images, found {found}")
    synset_folders = sorted(name for name in _list_names(path) if _is_synset_folder(path / name))
    listed = list(_list_class_folders(path, synset_folders) if synset_folders else _list_folder(path, ""))
    files = sorted(
        (file for file in listed if _is_image(file[0], in_folders=bool(synset_folders))), key=_byte_order
    )
    if not files:
        raise BadImagesError(
            f"--images {path}: no images there",
            hint=f"looked in it and in folders named by synset for {', '.join(sorted(IMAGE_SUFFIXES))}",
        )
    find_label, label_source = _choose_labels(labels, synset_folders, label_count)
    images = tuple(_make_image(path, relative, size, find_label) for relative, size in files)
    if labels.path is not None and all(image.label is None for image in images):
        raise BadImagesError(
            f"--labels {labels.path}: names none of the {len(images)} images in {path}",
            hint=f"expected lines `NAME index` with the images' file names, such as {images[0].name}",
        )
    return ImageIndex(
        form="a folder for each synset" if synset_folders else "one folder",
        label_source=label_source,
        class_count=None if labels.path else len(read_synsets()),
        images=images,
        ignored=tuple(sorted({relative for relative, _ in listed} - {relative for relative, _ in files})),
    )


def _list_names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names, not paths: 50,000 of them
    except OSError as error:
        raise BadImagesError(f"folder {folder} cannot be listed: {error.strerror}") from error


def _is_synset_folder(path: Path) -> bool:
    return bool(_SYNSET.fullmatch(path.name)) and path.is_dir()


def _is_image(relative_path: str, *, in_folders: bool) -> bool:
    """Return whether a file is an image to score: by its suffix and, among class folders, its place."""
    folder, _, name = relative_path.rpartition("/")
    if in_folders and not folder:
        return False
    # macOS leaves a "._NAME" beside every NAME on foreign file systems
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith("._")  # noqa: PTH122


def _list_folder(root: Path, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield (relative path, size in bytes) of what is no folder, pipe, socket or device in root/prefix."""
    for name in _list_names(root / prefix):
        file = root / prefix / name
        try:
            status = file.stat()
        except OSError:  # a broken link, say: reading it fails later, and that is its row's status
            yield prefix + name, 0
            continue
        if stat.S_ISREG(status.st_mode):
            yield prefix + name, status.st_size


def _list_class_folders(root: Path, synset_folders: list[str]) -> Iterator[tuple[str, int]]:
    unknown = sorted(set(synset_folders) - set(read_synsets()))
    if unknown:
        raise BadImagesError(
            f"--images {root}: {len(unknown)} folders are named like synsets but are none of the 1000 of "
            f"ImageNet: {', '.join(unknown[:3])}",
            hint="remove them, or give --labels and one flat folder",
        )
    for synset in synset_folders:
        yield from _list_folder(root, f"{synset}/")
    yield from _list_folder(root, "")


def _byte_order(file: tuple[str, int]) -> tuple[bytes, bytes]:
    relative_path = file[0]
    return os.fsencode(relative_path.rpartition("/")[2]), os.fsencode(relative_path)


def _choose_labels(
    labels: LabelOptions, synset_folders: list[str], label_count: int
) -> tuple[Callable[[str], int | None], str]:
    """Return what finds a label by relative path, and where the labels come from in words."""
    if labels.path is not None:
        file = read_label_file(labels.path, label_count, labels)
        return make_label_finder(file.labels), f"label file {labels.path.name} ({file.form})"
    if synset_folders:
        index = read_synset_labels()
        return lambda relative_path: index[relative_path.partition("/")[0]], "the folders' synsets"
    return find_canonical_label, "built-in table of the ImageNet validation images"


def _make_image(
    root: Path, relative_path: str, size_bytes: int, find_label: Callable[[str], int | None]
) -> LabelledImage:
    return LabelledImage(
        name=relative_path.rpartition("/")[2],
        relative_path=relative_path,
        label=find_label(relative_path),
        size_bytes=size_bytes,
        read_bytes=(root / relative_path).read_bytes,
    )


def require_labels(index: ImageIndex, path: Path, label_count: int) -> None:
    """Refuse images that cannot be scored: without any label, or with labels of other classes.

    Args:
        index: The images.
        path: Where they are.
        label_count: Number of classes of the model.

    Raises:
        BadImagesError: No image has a label, or the labels are ImageNet's and the model has other classes.
    """
    if index.class_count not in (None, label_count):
        raise BadImagesError(
            f"--images {path}: the labels ({index.label_source}) are of {index.class_count} classes, "
            f"the model has {label_count}",
            hint="give --labels FILE with lines `NAME index`",
        )
    if all(image.label is None for image in index.images):
        raise BadImagesError(
            f"--images {path}: no labels: {index.images[0].name} is no ImageNet validation image's name",
            hint="give --labels FILE with lines `NAME index`, or one folder for each synset",
        )
