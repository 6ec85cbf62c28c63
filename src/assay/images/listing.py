"""What a data set holds: its images, each with a way to read it, and what else was found there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from assay.images.decode import MAX_PIXELS

IMAGE_SUFFIXES = frozenset(
    {".jpeg", ".jpg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)
# What systems leave beside images: macOS, Synology's file server
_LITTER_FOLDERS = frozenset({"__MACOSX", "@eaDir"})

MAX_FILE_BYTES = 64 * 2**20

KnowsName = Callable[[str], bool]
"""Tells whether a file name without a suffix is an image's."""


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
        size_bytes: Size of the encoded image; 0 where that is not known before it is read.
        read_bytes: Returns the encoded image; may raise OSError.
        fault: Why it cannot be scored, where that is known before it is read; mostly empty.
    """

    relative_path: str
    label: int | None = None
    size_bytes: int
    read_bytes: Callable[[], bytes]
    fault: str = ""

    @property
    def name(self) -> str:
        """Its file name; names need not be unique."""
        return self.relative_path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What was found in one form of data set.

    Args:
        form: The form, in words.
        images: The images; their labels are those that the form itself holds, if it holds any.
        label_source: What the form's own labels are, in words; empty where it holds none.
        label_file: The label file that belongs to the form, if there is one.
        ignored: Relative paths of what is no image.
        in_storage_order: Whether the images are to be read in the order they are stored in, since
            reading them in another is slow.
        identity: What tells two data sets apart besides paths, labels and sizes.
        notes: What was odd, a sentence each.
    """

    form: str
    images: tuple[LabelledImage, ...]
    label_source: str = ""
    label_file: Path | None = None
    ignored: tuple[str, ...] = ()
    in_storage_order: bool = False
    identity: str = ""
    notes: tuple[str, ...] = ()


def is_image_path(relative_path: str, knows_name: KnowsName) -> bool:
    """Return whether a file is an image by its name: by its suffix or, without one, by being known.

    macOS leaves a `._NAME` beside every NAME on foreign file systems: those are none.
    """
    *folders, name = relative_path.split("/")
    if name.startswith("._") or _LITTER_FOLDERS & {*folders}:
        return False
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        return knows_name(name)
    return f".{suffix.lower()}" in IMAGE_SUFFIXES
