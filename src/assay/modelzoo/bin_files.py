"""The original preprocess script's output: one `.bin` file for each image, float32 (3, height, width)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from assay.arrays import Images, Pixels
from assay.errors import BadImagesError
from assay.files import PART_SUFFIX
from assay.images.listing import LabelledImage
from assay.models.record import ModelRecord

FILE_MODE = 0o640  # the newest inference tool refuses what others may write to
FOLDER_MODE = 0o750
MAX_NAME_BYTES = 255  # of Linux's file systems
MAX_TOOL_ENTRIES = 100_000
_TOOL_PATH = re.compile(r"[A-Za-z0-9_\-/.]*")


def compute_bin_size(record: ModelRecord) -> int:
    """The bytes of one `.bin` file: 602,112 for a 3x224x224 network."""
    return 4 * record.input.channels * record.input.height * record.input.width


def name_bin_file(image_name: str) -> str:
    """The name the original script gives: the text before the first dot, and `.bin`.

    >>> name_bin_file("cat.v2.JPEG")
    'cat.bin'
    """
    return image_name.split(".")[0] + ".bin"


def plan_bin_files(images: Iterable[LabelledImage]) -> dict[str, LabelledImage]:
    """The images by the name of their `.bin` file, in order.

    Raises:
        BadImagesError: Two images would get the same name, both named; or one gets none, or too long a one.
    """
    planned: dict[str, LabelledImage] = {}
    for image in images:
        name = name_bin_file(image.name)
        if len(os.fsencode(f".{name}{PART_SUFFIX}")) > MAX_NAME_BYTES:
            raise BadImagesError(f"{image.relative_path}: too long a name for a .bin file", hint="shorten it")
        if name == ".bin":
            raise BadImagesError(f"{image.relative_path}: no text before the first dot to name a .bin by")
        first = planned.setdefault(name, image)
        if first is not image:
            raise BadImagesError(
                f"{first.relative_path} and {image.relative_path} would both become {name}",
                hint="a .bin file is named by the text before the first dot: rename one of them",
            )
    return planned


def write_bin_file(path: Path, image: Images | Pixels) -> None:
    """Write one preprocessed image, float32 (3, height, width), or its pixels, whole or not at all."""
    write_tool_file(path, image.tobytes())


def write_tool_file(path: Path, content: bytes) -> None:
    """Write one of many small files, whole or not at all, with the mode that the inference tool wants.

    The bytes are not forced to disk one file after the other: that would take longer than all the rest,
    and after a power cut short files are found by their size.
    """
    temporary = path.with_name(f".{path.name}{PART_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            temporary.chmod(FILE_MODE)  # whatever the umask is
            file.write(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def list_tool_objections(folder: Path, names: Sequence[str]) -> list[str]:
    """Why the newest inference tool would refuse the folder or files in it; empty where it would not.

    Its rules (ais_bench of 2024 and later): paths of letters, digits and `_ - / .` alone, at most 100,000
    files in a folder.
    """
    objections = []
    if not _TOOL_PATH.fullmatch(str(folder.resolve())):
        objections.append(f"the path {folder.resolve()} holds more than letters, digits and _ - / .")
    objections += [
        f"the name {name} holds more than letters, digits and _ - ."
        for name in names
        if not _TOOL_PATH.fullmatch(name)
    ]
    if len(names) > MAX_TOOL_ENTRIES:
        objections.append(f"{len(names):,} files in one folder; it takes {MAX_TOOL_ENTRIES:,}")
    return objections
