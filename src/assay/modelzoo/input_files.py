"""Reads input folders as the inference tool does: its files, its order, its batches."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.arrays import Images
from assay.errors import BadInputError, blame_file
from assay.models.record import ModelRecord

INPUT_SUFFIXES = (".npy", ".NPY", ".bin", ".BIN")
_DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True, kw_only=True)
class InputBatch:
    """The files of one run of the network.

    Args:
        paths: The files whose results are written, in order.
        padding_count: How often the first of them stands behind the last, to fill the batch.
    """

    paths: tuple[str, ...]
    padding_count: int


@dataclass(frozen=True, kw_only=True)
class InputPlan:
    """How the files of an input are run.

    Args:
        batches: In order.
        rows_per_file: Images in one file, at least 1.
        file_bytes: Size of the values in one file.
        tensor_bytes: Size of the values of one run.
        batch_size: Images in one run.
    """

    batches: tuple[InputBatch, ...]
    rows_per_file: int
    file_bytes: int
    tensor_bytes: int
    batch_size: int


def list_input_files(source: str) -> list[str]:
    """The input files of a folder in the tool's order, or those of a list separated by commas as it is.

    The order is natural and regardless of case: `img_9.bin` before `img_10.bin`. Folders below and other
    files are passed over.

    Raises:
        BadInputError: No such folder or file, none in the folder, or two files that would get one name.
    """
    if os.path.isdir(source):  # noqa: PTH112 - the path's text, as it is given, goes into the summary
        names = sorted(entry.name for entry in os.scandir(source) if entry.name.endswith(INPUT_SUFFIXES))
        paths = sorted((os.path.join(source, name) for name in names), key=_natural_order)  # noqa: PTH118
        if not paths:
            raise BadInputError(f"--input {source}: no files there", hint="looked for *.npy and *.bin")
    else:
        paths = [part.strip() for part in source.split(",")]
        missing = [path for path in paths if not Path(path).is_file()]
        if missing:
            raise BadInputError(f"--input {missing[0]}: no such folder or file")
        wrong = [path for path in paths if not path.endswith(INPUT_SUFFIXES)]
        if wrong:
            raise BadInputError(f"--input {wrong[0]}: expected a .bin or .npy file, or a folder of them")
    _check_stems(paths)
    return paths


def _natural_order(path: str) -> list[tuple[int, str]]:
    """What paths are sorted by: runs of digits as numbers, letters regardless of case."""
    parts = _DIGITS.split(path)
    return [(int(part), "") if place % 2 else (0, part.lower()) for place, part in enumerate(parts)]


def get_result_stem(path: str) -> str:
    """The name of a file up to its first dot: what its results are named by.

    >>> get_result_stem("in/a.v2.bin")
    'a'
    """
    return Path(path).name.split(".")[0]


def _check_stems(paths: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for path in paths:
        other = first.setdefault(get_result_stem(path), path)
        if other is not path:
            raise BadInputError(
                f"{other} and {path}: both results would be named {get_result_stem(path)}_0",
                hint="a result is named by the text before the first dot: rename one of the files",
            )


def plan_batches(paths: Sequence[str], record: ModelRecord, batch_size: int | None) -> InputPlan:
    """How the files are put together into runs of the network.

    As many files share a run as fill the batch; the last run is filled with copies of its first file.

    Args:
        paths: The files, in order, at least one.
        record: The network's input.
        batch_size: Images in one run; None means those of one file.

    Raises:
        BadInputError: A file that is no whole number of images, does not divide the batch, or has another
            size than the first.
    """
    row_bytes = 4 * record.input.channels * record.input.height * record.input.width
    file_bytes = _measure_file(paths[0], record)
    if not file_bytes or file_bytes % row_bytes:
        raise BadInputError(
            f"{paths[0]}: {file_bytes:,} bytes of values; a float32 image of the model has {row_bytes:,}",
            hint="preprocess the images for this model: assay preprocess --model",
        )
    for path in paths[1:]:
        found = _measure_file(path, record)
        if found != file_bytes:
            raise BadInputError(
                f"{path}: {found:,} bytes of values; {paths[0]} has {file_bytes:,}",
                hint="cut short, or of another model: make it again (assay preprocess --resume)",
            )
    rows_per_file = file_bytes // row_bytes
    batch_size = batch_size or rows_per_file
    if batch_size % rows_per_file:
        raise BadInputError(
            f"{paths[0]} holds {rows_per_file} images, which do not divide a batch of {batch_size}",
            hint="use another --batchsize",
        )
    return InputPlan(
        batches=_cut_batches(paths, batch_size // rows_per_file),
        rows_per_file=rows_per_file,
        file_bytes=file_bytes,
        tensor_bytes=batch_size * row_bytes,
        batch_size=batch_size,
    )


def _cut_batches(paths: Sequence[str], files_per_batch: int) -> tuple[InputBatch, ...]:
    starts = range(0, len(paths), files_per_batch)
    parts = [tuple(paths[start : start + files_per_batch]) for start in starts]
    return tuple(InputBatch(paths=part, padding_count=files_per_batch - len(part)) for part in parts)


def _measure_file(path: str, record: ModelRecord) -> int:
    """The bytes of the values in a file, from its size or its header."""
    try:
        if path.endswith((".bin", ".BIN")):
            return os.stat(path).st_size  # noqa: PTH116 - 50,000 of them
        return _open_npy(path, record).nbytes
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}") from error


def _open_npy(path: str, record: ModelRecord) -> np.ndarray:
    with blame_file(BadInputError, f"{path} is no .npy file"):
        values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    row_shape = (record.input.channels, record.input.height, record.input.width)
    if values.dtype != np.float32 or (values.ndim > 2 and values.shape[-3:] != row_shape):
        expected = ", ".join(map(str, row_shape))
        raise BadInputError(
            f"{path}: expected float32 (N, {expected}), found {values.dtype} {values.shape}",
            hint="the tool would read the bytes as float32 whatever they are",
        )
    return values


def read_batch(batch: InputBatch, plan: InputPlan, record: ModelRecord) -> Images:
    """The images of one run, float32 (batch, channels, height, width), padded.

    Raises:
        BadInputError: A file that cannot be read, or has changed its size.
    """
    shape = (plan.batch_size, record.input.channels, record.input.height, record.input.width)
    images = np.empty(shape, dtype=np.float32)
    for place, path in enumerate(batch.paths):
        start = place * plan.rows_per_file
        images[start : start + plan.rows_per_file] = _read_values(path, plan, record)
    filled = len(batch.paths) * plan.rows_per_file
    for start in range(filled, plan.batch_size, plan.rows_per_file):
        images[start : start + plan.rows_per_file] = images[: plan.rows_per_file]
    return images


def _read_values(path: str, plan: InputPlan, record: ModelRecord) -> Images:
    try:
        if path.endswith((".bin", ".BIN")):
            values = np.frombuffer(Path(path).read_bytes(), dtype=np.uint8)
        else:
            values = np.ascontiguousarray(_open_npy(path, record)).reshape(-1).view(np.uint8)
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}") from error
    if values.nbytes != plan.file_bytes:
        raise BadInputError(f"{path}: has changed: {values.nbytes:,} bytes, it had {plan.file_bytes:,}")
    shape = (plan.rows_per_file, record.input.channels, record.input.height, record.input.width)
    return values.view(np.float32).reshape(shape)  # (rows, channels, height, width)
