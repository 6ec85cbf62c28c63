"""Reads the result folders of the inference tools, of every generation: txt, bin and npy files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from assay.arrays import Logits
from assay.errors import BadInputError

# The number of the output, from 0 or 1; one of more digits belongs to the image's name
_RESULT_NAME = re.compile(r"(?P<stem>.+)_(?P<output>[0-9]{1,3})")
_SAMPLE_NAME = re.compile(r"sample_id_[0-9]+_output_(?P<output>[0-9]+)")  # the tool of May 2022
_SUFFIXES = (".txt", ".bin", ".npy")
_SUMMARY_NAMES = ("sumary.json", "summary.json")  # the first generation's spelling, and the right one
DECIMALS = 6  # of C's %f
MAX_WIDTH = 9  # characters before the dot: with the decimals still exact in a float64
_IMAGENET_COUNTS = (1000, 1001)
_AGAIN = "run the inference again"
_HINT = "expected NAME_0.txt, .bin or .npy as the inference tool writes them, one file for each image"


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """One result file, the stem of its image, and the number of the output where the name has one."""

    stem: str
    output: int | None
    path: Path


def find_result_files(folder: Path) -> list[ResultFile]:
    """Return the result files of a folder, in byte order of their names.

    Where a summary lies in the folder or beside it, every file that it names must be there.

    Raises:
        BadInputError: No such folder, no result files, several outputs of one network, two kinds of
            files, names that do not say the image, two images for one file, or a file missing that the
            summary names.
    """
    names = sorted(_list_result_names(folder), key=os.fsencode)
    inputs = _read_summaries(folder, set(names))
    files = [_identify(folder, name, inputs) for name in names]
    _check_together(folder, files)
    return files


def _list_result_names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            listed = list(entries)
    except OSError as error:
        raise BadInputError(f"result folder {folder} cannot be listed: {error.strerror}") from error
    names = [entry.name for entry in listed if entry.name.endswith(_SUFFIXES) and entry.is_file()]
    if not names:
        below = sorted(entry.name for entry in listed if entry.is_dir())
        hint = f"give the folder that holds them, such as {folder / below[0]}" if below else _HINT
        raise BadInputError(f"{folder}: no result files there", hint=hint)
    return names


def _identify(folder: Path, name: str, inputs: dict[str, str]) -> ResultFile:
    path = folder / name
    base = name[:-4]  # without the suffix
    sample = _SAMPLE_NAME.fullmatch(base)
    if sample and name not in inputs:
        raise BadInputError(
            f"{path}: the name does not say which image it is of, and no summary file does",
            hint=f"put the run's summary.json into {folder}, or infer with a newer tool",
        )
    if sample:
        stem = inputs[name].rpartition(".")[0] or inputs[name]
        return ResultFile(stem=stem, output=int(sample["output"]), path=path)
    match = _RESULT_NAME.fullmatch(base)
    if not match:
        return ResultFile(stem=base, output=None, path=path)
    return ResultFile(stem=match["stem"], output=int(match["output"]), path=path)


def _check_together(folder: Path, files: list[ResultFile]) -> None:
    first: dict[str, ResultFile] = {}
    alone = "keep the ones to score in a folder of their own"
    for file in files:
        other = first.setdefault(file.stem, file)
        if other.path.suffix == file.path.suffix and other is not file:
            raise BadInputError(
                f"{other.path} and {file.path.name} are both results of {file.stem}: "
                "several outputs of one network, or of one image",
                hint=alone,
            )
    suffixes = sorted({file.path.suffix[1:] for file in files})
    if len(suffixes) > 1:
        raise BadInputError(f"{folder}: several kinds of files: {', '.join(suffixes)}", hint=alone)
    outputs = sorted({file.output for file in files if file.output is not None})
    if len(outputs) > 1:
        listed = ", ".join(map(str, outputs[:5]))
        raise BadInputError(f"{folder}: results of several outputs of one network: {listed}", hint=alone)


def _read_summaries(folder: Path, present: set[str]) -> dict[str, str]:
    """Return the input file's name for every result file that a summary names."""
    inputs: dict[str, str] = {}
    beside = folder.with_name(f"{folder.resolve().name}_summary.json")
    for path in (*(folder / name for name in _SUMMARY_NAMES), beside):
        if path.is_file():
            inputs |= _read_summary(path)
    missing = sorted(inputs.keys() - present)
    if missing:
        raise BadInputError(
            f"{folder}: {len(missing):,} files are missing that the summary names, such as {missing[0]}",
            hint=_AGAIN,
        )
    return inputs


def _read_summary(path: Path) -> dict[str, str]:
    inputs: dict[str, str] = {}
    try:
        entries = json.loads(path.read_bytes()).get("filesinfo", {}).values()
        pairs = [(Path(out).name, str(entry["infiles"][0])) for entry in entries for out in entry["outfiles"]]
    except (OSError, ValueError, AttributeError, LookupError, TypeError) as error:
        raise BadInputError(f"summary {path} cannot be read: {error!r}", hint=_AGAIN) from error
    for name, source in pairs:
        if inputs.setdefault(name, source) != source:
            raise BadInputError(
                f"{path}: {inputs[name]} and {source} have both been written to {name}",
                hint="names must differ before their first dot; rename one and run the inference again",
            )
    return {name: Path(source).name for name, source in inputs.items()}


def read_logits(files: Sequence[ResultFile]) -> Iterator[Logits]:
    """Yield the values of each file, float32 (classes,), in order.

    Raises:
        BadInputError: A file that is empty, has several lines or rows, another number of values than the
            first, or a value that is no finite number; the file is named.
    """
    class_count = None
    for file in files:
        logits = _read_row(file.path)
        class_count = class_count or len(logits)
        if len(logits) != class_count:
            raise BadInputError(
                f"{file.path}: {len(logits)} values; {files[0].path.name} has {class_count}",
                hint="cut short, or results of different networks in one folder",
            )
        if not np.isfinite(logits).all():
            raise BadInputError(f"{file.path}: a value is NaN or infinite", hint="the network is broken")
        yield logits


def _read_row(path: Path) -> Logits:
    try:
        if path.suffix == ".txt":
            with path.open("rb", buffering=0) as file:
                return _parse_text(file.read(), path)
        rows = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.fromfile(path, np.float32)
        if path.suffix == ".bin" and path.stat().st_size != rows.nbytes:
            raise BadInputError(f"{path}: the size is not that of float32 values", hint="it was cut short")
    except (OSError, ValueError, EOFError) as error:
        raise BadInputError(f"{path} cannot be read: {error}", hint=_HINT) from error
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "fiu":
        raise BadInputError(f"{path}: expected an array of numbers", hint=_HINT)
    if rows.ndim == 0 or rows.size == 0 or rows.size != rows.shape[-1]:
        raise BadInputError(f"{path}: expected one image's values, found shape {rows.shape}", hint=_HINT)
    if path.suffix == ".bin" and any(
        rows.size > count and rows.size % count == 0 for count in _IMAGENET_COUNTS
    ):
        raise BadInputError(
            f"{path}: {rows.size} values, as of several images: a bin file does not tell",
            hint="infer with one image for each file, or with --outfmt NPY",
        )
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        return rows.astype(np.float32).reshape(-1)  # (classes,)


def _parse_text(content: bytes, path: Path) -> Logits:
    content = content.rstrip(b"\r\n")
    line_count = content.count(b"\n") + 1
    if line_count > 1:
        raise BadInputError(
            f"{path}: expected one line, found {line_count}",
            hint="it holds a whole batch, or the results of two runs",
        )
    values = parse_fixed_point(content)
    if values is not None:
        return values
    try:
        if b"_" in content:  # float() allows 1_000
            raise ValueError("an underscore is no part of a number")  # noqa: TRY301
        values = np.array([float(field) for field in content.split()], dtype=np.float64)  # (classes,)
    except ValueError as error:
        raise BadInputError(f"{path}: {error}", hint=_HINT) from error
    if not len(values):
        raise BadInputError(f"{path}: expected numbers parted by blanks, found none", hint=_HINT)
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def parse_fixed_point(line: bytes) -> Logits | None:
    """Return the numbers of a line as `%f ` writes them, or None for a line of any other form.

    All at once: without its dots the line is whole numbers, and such a number over a million is the
    nearest float64, as any correct parser gives.

    >>> parse_fixed_point(b"12.335938 -0.500000 ")
    array([12.335938, -0.5     ], dtype=float32)
    """
    if not line.endswith(b" ") or line.translate(None, b"0123456789-. "):
        return None
    text = np.frombuffer(line, dtype=np.uint8)
    ends = np.flatnonzero(text == ord(" "))
    dots = ends - DECIMALS - 1
    starts = np.concatenate((np.zeros(1, dtype=ends.dtype), ends[:-1] + 1))
    widths = dots - starts  # the sign included
    if widths.min() < 1 or widths.max() > MAX_WIDTH or not _is_fixed_point(text, starts, dots):
        return None
    numbers = np.fromstring(line.translate(None, b"."), dtype=np.int64, sep=" ")
    values: Logits = (numbers / 10**DECIMALS).astype(np.float32)  # (numbers,)
    return values  # -0.000000 has lost its sign, which ranks nothing


def _is_fixed_point(
    text: npt.NDArray[np.uint8], starts: npt.NDArray[np.intp], dots: npt.NDArray[np.intp]
) -> bool:
    """Return whether the dots stand there alone, a digit before each, hyphens only where a number begins."""
    dot_count, hyphen_count = np.count_nonzero(text == ord(".")), np.count_nonzero(text == ord("-"))
    return bool(
        dot_count == len(dots)
        and (text[dots] == ord(".")).all()
        and (text[dots - 1] >= ord("0")).all()  # the other characters of a line are smaller
        and hyphen_count == np.count_nonzero(text[starts] == ord("-"))
    )
