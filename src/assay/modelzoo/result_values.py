"""Reads the values of the inference tools' result files: txt, bin and npy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assay.ahead import map_ahead
from assay.arrays import Logits
from assay.errors import BadInputError
from assay.modelzoo.result_files import RESULT_HINT, ResultFile
from assay.processors import count_processors

BLOCK_SIZE = 16  # files that are parsed together: their text fits a processor's cache
_IMAGENET_COUNTS = (1000, 1001)


def count_classes(file: ResultFile) -> int:
    """Return how many values a result file holds.

    Raises:
        BadInputError: It is no result of one image.
    """
    return len(_read_row(file.path))


def read_logits(files: Sequence[ResultFile], class_count: int) -> Iterator[Logits]:
    """Yield the values of the files, in order and in blocks, float32 (N, classes).

    Raises:
        BadInputError: A file that is empty, has several lines or rows, another number of values, or a value
            that is no finite number; the file is named.
    """
    blocks = [files[start : start + BLOCK_SIZE] for start in range(0, len(files), BLOCK_SIZE)]
    threads = count_processors()
    with ThreadPoolExecutor(threads, "read") as executor:
        yield from map_ahead(executor, partial(_read_block, class_count=class_count), blocks, 2 * threads)


def _read_block(files: Sequence[ResultFile], class_count: int) -> Logits:
    if files[0].path.suffix == ".txt":
        lines = [_read_text(file.path) for file in files]
        values = parse_lines(lines, class_count)
        if values is not None and np.isfinite(values).all():
            return values  # (N, classes)
    return np.stack([_read_finite(file.path, class_count) for file in files])  # (N, classes)


def parse_lines(lines: Sequence[bytes], value_count: int) -> Logits | None:
    """Return the numbers of lines as the tool writes them, float32 (lines, values), or None for other lines.

    A blank stands behind each number. As `float` reads them, and many times as fast.

    >>> parse_lines([b"12.335938 -0.500000 "], 2)
    array([[12.335938, -0.5     ]], dtype=float32)
    """
    text = b"".join(lines)
    whole = all(line.count(b" ") == value_count and line.endswith(b" ") for line in lines)
    if not whole or not text.isascii():
        return None
    ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord(" ")).astype(np.int32)
    offsets = np.concatenate((np.zeros(1, dtype=np.int32), ends + 1))
    fields = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(text))
    try:
        values = pc.cast(pc.ascii_rtrim(fields, characters=" "), pa.float64())
    except pa.ArrowInvalid:
        return None
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        logits: Logits = values.to_numpy().astype(np.float32).reshape(len(lines), value_count)
    return logits


def _read_text(path: Path) -> bytes:
    """Return the one line of a file, without its end."""
    try:
        with path.open("rb", buffering=0) as file:
            content = file.read().rstrip(b"\r\n")
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error}", hint=RESULT_HINT) from error
    line_count = content.count(b"\n") + 1
    if line_count > 1:
        raise BadInputError(
            f"{path}: expected one line, found {line_count}",
            hint="it holds a whole batch, or the results of two runs",
        )
    return content


def _read_finite(path: Path, class_count: int) -> Logits:
    logits = _read_row(path)
    if len(logits) != class_count:
        raise BadInputError(
            f"{path}: {len(logits)} values; the first file has {class_count}",
            hint="cut short, or results of different networks in one folder",
        )
    if not np.isfinite(logits).all():
        raise BadInputError(f"{path}: a value is NaN or infinite", hint="the network is broken")
    return logits


def _read_row(path: Path) -> Logits:
    if path.suffix == ".txt":
        return _parse_values(_read_text(path), path)
    rows = _load_npy(path) if path.suffix == ".npy" else _load_bin(path)
    if rows.ndim == 0 or rows.size == 0 or rows.size != rows.shape[-1]:
        raise BadInputError(
            f"{path}: expected one image's values, found shape {rows.shape}", hint=RESULT_HINT
        )
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        return rows.astype(np.float32).reshape(-1)  # (classes,)


def _parse_values(line: bytes, path: Path) -> Logits:
    try:
        if b"_" in line:  # float() allows 1_000
            raise ValueError("an underscore is no part of a number")  # noqa: TRY301
        values = np.array([float(field) for field in line.split()], dtype=np.float64)  # (classes,)
    except ValueError as error:
        raise BadInputError(f"{path}: {error}", hint=RESULT_HINT) from error
    if not len(values):
        raise BadInputError(f"{path}: expected numbers parted by blanks, found none", hint=RESULT_HINT)
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _load_npy(path: Path) -> npt.NDArray[np.number]:
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadInputError(f"{path} cannot be read: {error}", hint=RESULT_HINT) from error
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "fiu":
        raise BadInputError(f"{path}: expected an array of numbers", hint=RESULT_HINT)
    return rows


def _load_bin(path: Path) -> npt.NDArray[np.number]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error}", hint=RESULT_HINT) from error
    if len(content) % 4:
        raise BadInputError(f"{path}: the size is not that of float32 values", hint="it was cut short")
    rows = np.frombuffer(content, dtype=np.float32)  # (classes,)
    if any(rows.size > count and rows.size % count == 0 for count in _IMAGENET_COUNTS):
        raise BadInputError(
            f"{path}: {rows.size} values, as of several images: a bin file does not tell",
            hint="infer with one image for each file, or with --outfmt NPY",
        )
    return rows
