"""Images to one `.bin` file each, as the original preprocess script writes them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assay.ahead import map_ahead
from assay.errors import SourceError, UsageError
from assay.files import escape_name, is_unfinished
from assay.images.classes import read_classes
from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage, ReadOptions
from assay.images.prepare import count_images, preprocess_image
from assay.images.preprocessed_image import PreprocessedImage
from assay.images.read import Patience
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
from assay.runs.listener import Listener, Progress
from assay.runs.place import Mode

AHEAD_PER_THREAD = 4
MOST_FAILURES_IN_A_ROW = 3
Preprocess = Callable[..., PreprocessedImage]
"""Given an image and `patience`, preprocesses it."""


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
        SourceError: The place that holds the images failed for some; the files of the others are written.
        UsageError: The folders lie in one another, the folder holds something else, or too little space.
    """
    _check_apart(images, folder)
    index = index_images(images, read_classes(record), reading=reading)
    planned = plan_bin_files(index.images)
    size_bytes = compute_bin_size(record)
    whole = _prepare_folder(folder, planned, size_bytes, mode)
    missing = {name: image for name, image in planned.items() if name not in whole}
    _check_space(folder, len(missing) * size_bytes)
    preprocess = partial(preprocess_image, record=record, options=reading)
    failures = _write_missing(folder, missing, preprocess, listener)
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
            hint="continue with --resume, begin again with --overwrite, or choose another",
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
    """Write the files; gives the images that have none by their own fault.

    Raises:
        SourceError: Images have none since their source failed; after three in a row, the rest is not tried.
    """
    failures: list[FailedImage] = []
    failed_sources: list[SourceError] = []
    failed_in_a_row = 0
    report = partial(Progress, task="Preprocessing", unit="images", total=len(missing))
    listener.advance(report(done=0))
    with closing(_write_each(folder, missing, preprocess)) as outcomes:
        for done, outcome in enumerate(outcomes, start=1):
            listener.advance(report(done=done))
            failed_in_a_row = failed_in_a_row + 1 if isinstance(outcome, SourceError) else 0
            if isinstance(outcome, SourceError):
                failed_sources.append(outcome)
            elif outcome is not None:
                failures.append(outcome)
            if failed_in_a_row == MOST_FAILURES_IN_A_ROW:
                break
    if failed_sources:
        raise _summarise(failed_sources, len(missing) - done)
    return tuple(failures)


def _summarise(failed: Sequence[SourceError], untried_count: int) -> SourceError:
    untried = f", {untried_count:,} were not tried" if untried_count else ""
    return SourceError(
        f"{count_images(len(failed))} could not be read{untried}; the files of the others are written. "
        f"{failed[0].message}",
        hint="--resume writes what is missing",
    )


def _write_each(
    folder: Path, missing: Mapping[str, LabelledImage], preprocess: Preprocess
) -> Generator[FailedImage | SourceError | None]:
    """Write the files, and yield in their order what failed: the image, its source, or nothing."""
    threads = count_processors()
    with ThreadPoolExecutor(threads, "preprocess") as executor, Patience() as patience:
        write = partial(_write_one, folder=folder, preprocess=partial(preprocess, patience=patience))
        yield from map_ahead(executor, write, missing.items(), AHEAD_PER_THREAD * threads)


def _write_one(
    item: tuple[str, LabelledImage], folder: Path, preprocess: Preprocess
) -> FailedImage | SourceError | None:
    name, source = item
    try:
        preprocessed = preprocess(source)
    except SourceError as error:
        return error
    if preprocessed.image is None:
        return FailedImage(relative_path=escape_name(source.relative_path), status=preprocessed.status)
    write_bin_file(folder / name, preprocessed.image)
    return None
