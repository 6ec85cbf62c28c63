"""The original get_info script's output: a line `INDEX PATH WIDTH HEIGHT` for each file of a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from assay.errors import BadImagesError, UndecodableImageError
from assay.files import refuse_same_file, write_file
from assay.images.decode import read_shown_size
from assay.images.listing import IMAGE_SUFFIXES

BIN_SUFFIXES = frozenset({".bin"})


def write_bin_info(folder: str, info_path: Path, width: int, height: int) -> int:
    """Write the info file of a folder of `.bin` files, which are all of that size; return the lines.

    Args:
        folder: The folder; its text stands in every line as it is given.
        info_path: The file to write, whole or not at all.
        width: Of every image, in pixels.
        height: Of every image, in pixels.

    Raises:
        BadImagesError: No `.bin` file there, or a path with white space.
    """
    return _write_info(folder, info_path, BIN_SUFFIXES, lambda _: (width, height))


def write_image_info(folder: str, info_path: Path) -> int:
    """Write the info file of a folder of images, sizes read from their headers; return the lines.

    The sizes are turned as EXIF says: the original read them with OpenCV, which turns.

    Raises:
        BadImagesError: No image there, a header that cannot be read, or a path with white space.
    """
    return _write_info(folder, info_path, IMAGE_SUFFIXES, _read_size)


def _write_info(
    folder: str, info_path: Path, suffixes: Iterable[str], find_size: Callable[[Path], tuple[int, int]]
) -> int:
    names = _list_names(folder, suffixes)
    if info_path.exists():
        refuse_same_file(info_path, *(Path(folder) / name for name in names))
    prefix = folder.rstrip("/") or "/"
    lines = []
    for index, name in enumerate(names):
        path = f"{prefix}/{name}" if prefix != "/" else f"/{name}"
        if re.search(r"\s", path):
            raise BadImagesError(
                f"{path!r}: white space in the path would break its line of the info file",
                hint="rename it, or the folder",
            )
        width, height = find_size(Path(path))
        lines.append(f"{index} {path} {width} {height}\n")
    write_file(info_path, os.fsencode("".join(lines)))
    return len(lines)


def _list_names(folder: str, suffixes: Iterable[str]) -> list[str]:
    """The names of the folder's files with one of the suffixes, in byte order."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except OSError as error:
        raise BadImagesError(f"folder {folder} cannot be listed: {error.strerror}") from error
    wanted = [name for name in names if Path(name).suffix.lower() in suffixes and not name.startswith(".")]
    if not wanted:
        raise BadImagesError(f"{folder}: no files there", hint=f"looked for {', '.join(sorted(suffixes))}")
    return sorted(wanted, key=os.fsencode)


def _read_size(path: Path) -> tuple[int, int]:
    try:
        return read_shown_size(path)
    except UndecodableImageError as error:
        raise BadImagesError(
            f"{path}: its size cannot be read: {error}", hint="remove or replace it"
        ) from error
