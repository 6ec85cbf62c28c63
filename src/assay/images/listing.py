"""What a data set holds: its images, each with a way to read it, and what else was found there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assay.defaults import MAX_FILE_MIB, MAX_PIXELS
from assay.errors import shorten

JPEG_SUFFIXES = frozenset({".jpeg", ".jpg", ".jfif", ".jpe", ".mpo"})
IMAGE_SUFFIXES = JPEG_SUFFIXES | {
    ".png",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".webp",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
}
# What systems leave beside images: macOS, Synology's file server
LITTER_FOLDERS = frozenset({"__MACOSX", "@eaDir"})
INNER_FOLDERS = ("val", "validation", "valid", "test", "train", "images")
"""Names of folders that hold a data set's images and are no classes, the likeliest to be meant first."""

MAX_FILE_BYTES = MAX_FILE_MIB * 2**20

KnowsName = Callable[[str], bool]
"""Tells whether a file name is an image's though its suffix, or the lack of one, does not say so."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How images are read. One that is over a limit is a failed image.

    Args:
        max_pixels: Width times height at most, told from the image's header.
        max_file_bytes: Encoded size at most.
        follow_links: Whether links that lead out of a folder are followed.
    """

    max_pixels: int = MAX_PIXELS
    max_file_bytes: int = MAX_FILE_BYTES
    follow_links: bool = False


DEFAULT_READ_OPTIONS = ReadOptions()


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledImage:
    """One image that is to be scored.

    Args:
        relative_path: Its path in the data set with `/` as separator; unique, its identity.
        label: Its class, counted from 0; None where no label was found for it.
        class_name: What the data set itself calls its class: a name, a synset or a number; mostly empty.
        size_bytes: Size of the encoded image; 0 where that is not known before it is read.
        read_bytes: Returns the encoded image; may raise OSError.
        fault: Why it cannot be scored, where that is known before it is read; mostly empty.
    """

    relative_path: str
    label: int | None = None
    class_name: str = ""
    size_bytes: int
    read_bytes: Callable[[], bytes]
    fault: str = ""

    @property
    def name(self) -> str:
        """Its file name; names need not be unique."""
        return self.relative_path.rpartition("/")[2]


LabelKind = Literal["file", "synsets", "numbers", "classes", "names"]
"""Where labels come from: a label file; synsets, class numbers or names of classes that the data set itself
holds; or the names of ImageNet's validation images, by the built-in table."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What was found in one form of data set.

    Args:
        form: The form, in words.
        images: The images, with the labels or names of classes that the form itself holds, if it holds any.
        label_source: What the form's own labels are, in words; empty where it holds none.
        label_kind: The same as a value: synsets, numbers or classes; None where it holds none.
        class_names: What the form calls the classes that it numbers, in that order; mostly empty.
        label_file: The label file that belongs to the form, if there is one.
        ignored: Relative paths of what is no image.
        in_storage_order: Whether the images are to be read in the order they are stored in, since
            reading them in another is slow.
        identity: What tells two data sets apart besides paths, labels and sizes.
        notes: What was odd, a sentence each.
    """

    form: str
    images: Sequence[LabelledImage]
    label_source: str = ""
    label_kind: LabelKind | None = None
    class_names: tuple[str, ...] = ()
    label_file: Path | None = None
    ignored: tuple[str, ...] = ()
    in_storage_order: bool = False
    identity: str = ""
    notes: tuple[str, ...] = ()


def find_inner_folder(folders: Iterable[str]) -> str | None:
    """Find the only folder of a data set that holds nothing else, such as `val`; None where there is none.

    >>> find_inner_folder(["val", ".cache"])
    'val'
    >>> find_inner_folder(["train", "val"])
    >>> find_inner_folder(["crane"])
    """
    found = [name for name in folders if not name.startswith(".") and name not in LITTER_FOLDERS]
    return found[0] if len(found) == 1 and found[0].lower() in INNER_FOLDERS else None


def note_inner_folder(name: str) -> str:
    """Say that the images of the only folder inside are used."""
    return f"no images in the folder itself: those in {name}, its only folder, are used"


def note_folders_beside(names: Sequence[str]) -> tuple[str, ...]:
    """Say that folders beside images are not read, where there are any that are shown."""
    shown = [name for name in names if not name.startswith(".") and name not in LITTER_FOLDERS]
    if not shown:
        return ()
    more = f" and {len(shown) - 1:,} more" if len(shown) > 1 else ""
    return (f"folders beside the images are not read: {shorten(shown[0], 80)}{more}",)


def note_deeper_folders(paths: Sequence[str]) -> tuple[str, ...]:
    """Say that folders inside class folders are not read, where there are any."""
    if not paths:
        return ()
    more = f" and {len(paths) - 1:,} more" if len(paths) > 1 else ""
    return (f"folders inside class folders are not read: {shorten(paths[0], 80)}{more}",)


def is_image_path(relative_path: str, knows_name: KnowsName) -> bool:
    """Tell whether a file is an image by its name: by its suffix or, with another or none, by being known.

    macOS leaves a `._NAME` beside every NAME on foreign file systems: those are none.
    """
    *folders, name = relative_path.split("/")
    if name.startswith("._") or LITTER_FOLDERS & {*folders}:
        return False
    stem, _, suffix = name.rpartition(".")
    return (bool(stem) and f".{suffix.lower()}" in IMAGE_SUFFIXES) or knows_name(name)
