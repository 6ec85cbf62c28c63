"""Images to one `.bin` file each, as the original preprocess script writes them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assay.ahead import map_ahead
from assay.errors import UsageError
from assay.files import escape_name, is_unfinished
from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage, ReadOptions
from assay.images.prepare import PreprocessedImage, preprocess_image
from assay.images.sources import index_images
from assay.measure.accuracy.accuracy import FailedImage
from assay.models.record import ModelRecord
from assay.modelzoo.bin_files import (
    FOLDER_MODE,
    compute_bin_size,
    list_tool_objections,
    plan_bin_files,
    write_bin_file,
)
from assay.processors import count_processors
from assay.runs.folder import Mode
from assay.runs.listener import Listener, Progress

AHEAD_PER_THREAD = 4
Preprocess = Callable[[LabelledImage], PreprocessedImage]


@dataclass(frozen=True, kw_only=True)
class PreprocessedFolder:
    """What became of the images.

    Args:
        folder: The folder of the `.bin` files.
        written_count: Files written now.
        kept_count: Files that were there already, whole.
        failures: Images that have no file, and why.
        ignored: Relative paths of what is no image.
        tool_objections: Why the newest inference tool would refuse the folder; mostly empty.
    """

    folder: str
    written_count: int
    kept_count: int
    failures: tuple[FailedImage, ...]
    ignored: tuple[str, ...]
    tool_objections: tuple[str, ...]


def preprocess_to_bins(
    images: Path,
    folder: Path,
    record: ModelRecord,
    mode: Mode,
    listener: Listener,
    reading: ReadOptions = DEFAULT_READ_OPTIONS,
) -> PreprocessedFolder:
    """Write a `.bin` file for each image; one that cannot be decoded has none and is listed.

    Args:
        images: The folder of images, or of class folders; labels are not needed.
        folder: The folder of the `.bin` files; made where it is missing, with the mode 0750.
        record: Size and preprocessing.
        mode: What happens to `.bin` files that are there: `new` refuses them, `resume` keeps the whole
            ones, `overwrite` deletes them.
        listener: Hears how far it is.
        reading: How images are read.

    Raises:
        BadImagesError: No images, or two that would get the same name.
        UsageError: The folders lie in one another, the folder holds something else, or too little space.
    """
    _check_apart(images, folder)
    index = index_images(images, record.label_count, reading=reading)
    planned = plan_bin_files(index.images)
    size_bytes = compute_bin_size(record)
    whole = _prepare_folder(folder, planned, size_bytes, mode)
    missing = {name: image for name, image in planned.items() if name not in whole}
    _check_space(folder, len(missing) * size_bytes)
    failures = _write_missing(
        folder, missing, partial(preprocess_image, record=record, options=reading), listener
    )
    return PreprocessedFolder(
        folder=str(folder),
        written_count=len(missing) - len(failures),
        kept_count=len(whole),
        failures=failures,
        ignored=tuple(map(escape_name, index.ignored)),
        tool_objections=tuple(map(escape_name, list_tool_objections(folder, list(planned)))),
    )


def _check_apart(images: Path, folder: Path) -> None:
    source, target = images.resolve(), folder.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise UsageError(
            f"{folder}: the .bin files must not lie in the folder of the images, nor it in theirs",
            hint="choose another folder",
        )


def _prepare_folder(
    folder: Path, planned: Mapping[str, LabelledImage], size_bytes: int, mode: Mode
) -> set[str]:
    """Make the folder, clear it as the mode says, and return the names of files that are whole."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(FOLDER_MODE)  # whatever the umask is
    present = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    if present and mode == "new":
        raise UsageError(
            f"{folder}: is not empty",
            hint="go on with --resume, begin again with --overwrite, or choose another",
        )
    foreign = sorted(name for name in present if not name.endswith(".bin") and not is_unfinished(name))
    if mode == "resume":
        foreign += sorted(name for name in present if name.endswith(".bin") and name not in planned)
    if foreign:
        raise UsageError(
            f"{folder}: holds {len(foreign)} files that are not of these images, such as {foreign[0]}",
            hint="choose another folder, or remove them",
        )
    whole = {name for name, size in present.items() if mode == "resume" and size == size_bytes}
    for name in present.keys() - whole:
        (folder / name).unlink()
    return {name for name in whole if name in planned}


def _check_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise UsageError(
            f"{folder}: {needed_bytes:,} bytes are needed, {free_bytes:,} are free",
            hint="make room, or let `assay run` stream the images: it needs no .bin files",
        )


def _write_missing(
    folder: Path, missing: Mapping[str, LabelledImage], preprocess: Preprocess, listener: Listener
) -> tuple[FailedImage, ...]:
    threads = count_processors()
    failures = []
    report = partial(Progress, task="Preprocessing", unit="images", total=len(missing))
    listener.advance(report(done=0))
    with ThreadPoolExecutor(threads, "preprocess") as executor:
        write = partial(_write_one, folder=folder, preprocess=preprocess)
        results = map_ahead(executor, write, missing.items(), AHEAD_PER_THREAD * threads)
        for done, failure in enumerate(results, start=1):
            listener.advance(report(done=done))
            if failure is not None:
                failures.append(failure)
    return tuple(failures)


def _write_one(item: tuple[str, LabelledImage], folder: Path, preprocess: Preprocess) -> FailedImage | None:
    name, source = item
    preprocessed = preprocess(source)
    if preprocessed.image is None:
        return FailedImage(relative_path=escape_name(source.relative_path), status=preprocessed.status)
    write_bin_file(folder / name, preprocessed.image)
    return None
