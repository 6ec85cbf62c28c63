"""Reads the values of the inference tools' result files: txt, bin and npy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt

from assay.ahead import map_ahead
from assay.errors import BadInputError, UsageError, blame_file, quote, shorten
from assay.modelzoo.result_files import RESULT_HINT, ResultFile
from assay.modelzoo.value_types import ValueType, find_other_type, holds_bit_patterns
from assay.processors import count_processors

try:
    from assay.modelzoo import _numbers as _compiled
except ImportError:  # assay was installed without a C compiler
    _compiled = None  # type: ignore[assignment]

BLOCK_SIZE = 16  # files that are parsed together: their text fits a processor's cache
READ_BYTES = 1 << 16  # at once: more than 1,001 numbers are
CHECKED_FILES = 64  # whose type is looked at, spread over all
_IMAGENET_COUNTS = (1000, 1001)

Values = npt.NDArray[np.floating]
"""Float32; float64 where the file holds more digits than float32, so that no two values become equal."""


def check_value_type(files: Sequence[ResultFile], dtype: ValueType | None) -> ValueType:
    """The type of the values in `.bin` files, which is float32 unless `dtype` is another.

    Args:
        files: All of a kind, at least one.
        dtype: What the user says they are; None for float32, which is checked.

    Raises:
        UsageError: A type was given for files that hold theirs.
        BadInputError: The values are of another type than float32, and the user did not say so.
    """
    step = -(-len(files) // CHECKED_FILES)
    checked = files[::step]
    path, suffix = checked[0].path, checked[0].suffix
    if suffix != ".bin":
        if dtype is not None:
            raise UsageError(f"--dtype {dtype}: {path} holds its type", hint="--dtype is for .bin files")
        if suffix == ".txt":
            _refuse_bit_patterns([file.path for file in checked])
        return "float32"
    contents = [] if dtype else [_read_bytes(file.path) for file in checked]
    other = find_other_type(contents) if contents else ""
    if other:
        raise BadInputError(
            f"{path}: {len(contents[0]):,} bytes that are no float32 logits; they look like {other}",
            hint="--dtype says the type of .bin files (such as --dtype float16); "
            "or infer again with float32 output, or with --outfmt NPY",
        )
    return dtype or "float32"


def _refuse_bit_patterns(paths: Sequence[str]) -> None:
    if all(holds_bit_patterns(_read_text(path)) for path in paths):
        raise BadInputError(
            f"{paths[0]}: whole numbers that are float16 values bit by bit, as of ais_bench --pipeline",
            hint="infer again with --outfmt BIN or NPY",
        )


def count_classes(file: ResultFile, dtype: ValueType = "float32") -> int:
    """Count the values in a result file.

    Raises:
        BadInputError: It is no result of one image.
    """
    return len(_read_row(file, dtype))


def read_values(
    files: Sequence[ResultFile], class_count: int, dtype: ValueType = "float32"
) -> Iterator[Values]:
    """Yield the values of the files, in order and in blocks, (N, classes).

    Args:
        files: All of a kind.
        class_count: Of every file.
        dtype: Of the values in `.bin` files.

    Raises:
        BadInputError: A file that is empty, has several lines or rows, another number of values, or a value
            that is no finite number; the file is named.
    """
    blocks = [files[start : start + BLOCK_SIZE] for start in range(0, len(files), BLOCK_SIZE)]
    threads = count_processors()
    read = partial(_read_block, class_count=class_count, dtype=dtype)
    with ThreadPoolExecutor(threads, "read") as executor:
        yield from map_ahead(executor, read, blocks, 2 * threads)


def _read_block(files: Sequence[ResultFile], class_count: int, dtype: ValueType) -> Values:
    if files[0].suffix == ".txt":
        values = parse_lines(tuple(_read_bytes(file.path) for file in files), class_count)
        if values is not None and np.isfinite(values).all():
            return values  # (N, classes)
    return np.stack([_read_finite(file, class_count, dtype) for file in files])  # (N, classes)


def parse_lines(lines: tuple[bytes, ...], value_count: int) -> npt.NDArray[np.float64] | None:
    """The numbers of lines as the tool writes them, as `float` reads them, (lines, values).

    None for other lines, and where the C extension is not there: `float` reads those, or says what is wrong.

    >>> parse_lines((b"12.335938 -0.500000 ",), 2)
    array([[12.335938, -0.5     ]])
    """
    if _compiled is None:
        return None
    values = np.empty((len(lines), value_count))  # (lines, values)
    return values if _compiled.parse_lines(lines, values) else None


def _read_bytes(path: str) -> bytes:
    """The content of a file, by the fewest calls of the system: they take as long as parsing it does."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            content = os.read(file, READ_BYTES)
            while len(content) >= READ_BYTES and (more := os.read(file, len(content))):
                content += more
        finally:
            os.close(file)
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}", hint=RESULT_HINT) from error
    return content


def _read_text(path: str) -> bytes:
    """The one line of a file, without its end."""
    content = _read_bytes(path).rstrip(b"\r\n")
    if b"\n" not in content and b"\r" not in content:
        return content
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    single = all(len(line.split()) == 1 for line in lines)
    raise BadInputError(
        f"{path}: expected one line, found {len(lines)}" + (", with one value each" if single else ""),
        hint="write the values of an image on one line, with blanks between"
        if single
        else "it holds a whole batch, or the results of two runs",
    )


def _read_finite(file: ResultFile, class_count: int, dtype: ValueType) -> Values:
    path, values = file.path, _read_row(file, dtype)
    if len(values) != class_count:
        raise BadInputError(
            f"{path}: {len(values)} values; the first file has {class_count}",
            hint="cut short, or results of different networks in one folder",
        )
    if not np.isfinite(values).all():
        raise BadInputError(f"{path}: a value is NaN or infinite", hint="the network is broken")
    return values


def _read_row(file: ResultFile, dtype: ValueType) -> Values:
    """The values of a file, (classes,)."""
    path = file.path
    if file.suffix == ".txt":
        return _parse_values(_read_text(path), path)
    rows = _load_npy(path) if file.suffix == ".npy" else _load_bin(path, dtype)
    kept = rows[..., 0, 0] if rows.ndim == 4 and rows.shape[2:] == (1, 1) else rows  # (1, classes)
    if kept.ndim == 0 or kept.size == 0 or kept.size != kept.shape[-1]:
        raise BadInputError(
            f"{path}: expected one image's values, found shape {rows.shape}", hint=RESULT_HINT
        )
    fits_float32 = rows.dtype.itemsize <= 2 or rows.dtype.newbyteorder("=") == np.float32
    values: Values = kept.reshape(-1).astype(np.float32 if fits_float32 else np.float64)  # (classes,)
    return values


def _parse_values(line: bytes, path: str) -> Values:
    if b"," in line:
        found = quote(line.decode("latin-1"))
        raise BadInputError(
            f"{path}: expected numbers with blanks between, found commas: {found}", hint=RESULT_HINT
        )
    try:
        if b"_" in line:  # float() allows 1_000
            raise ValueError("an underscore is no part of a number")  # noqa: TRY301
        values = np.array([float(field) for field in line.split()], dtype=np.float64)  # (classes,)
    except ValueError as error:
        raise BadInputError(f"{path}: {shorten(error)}", hint=RESULT_HINT) from error
    if not len(values):
        raise BadInputError(f"{path}: expected numbers with blanks between, found none", hint=RESULT_HINT)
    return values


def _load_npy(path: str) -> npt.NDArray[np.number]:
    with blame_file(BadInputError, f"{path} cannot be read", hint=RESULT_HINT):
        rows = np.load(path, mmap_mode="r", allow_pickle=False)  # else it takes the memory that it says
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "fiu":
        found = str(rows.dtype) if isinstance(rows, np.ndarray) else "several arrays"
        raise BadInputError(f"{path}: expected an array of numbers, found {shorten(found)}", hint=RESULT_HINT)
    return rows


def _load_bin(path: str, dtype: ValueType) -> npt.NDArray[np.number]:
    content = _read_bytes(path)
    item_size = np.dtype(dtype).itemsize
    if len(content) % item_size:
        raise BadInputError(
            f"{path}: {len(content):,} bytes are no whole number of {dtype} values", hint="it was cut short"
        )
    rows = np.frombuffer(content, dtype=dtype)  # (classes,)
    if any(rows.size > count and rows.size % count == 0 for count in _IMAGENET_COUNTS):
        raise BadInputError(
            f"{path}: {rows.size} {dtype} values, as of several images or of another type: "
            "a bin file does not tell",
            hint="infer with one image for each file, or with --outfmt NPY; --dtype says the type",
        )
    return rows
