"""Reads the result folders of the inference tools, of every generation whose files are named by image."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.arrays import Logits
from assay.errors import BadInputError

_RESULT_NAME = re.compile(r"(?P<stem>.+)_(?P<output>\d+)\.(?P<kind>txt|bin|npy)")
_SUMMARY_NAMES = ("sumary.json", "summary.json")  # the first generation's spelling, and the right one
DECIMALS = 6  # of C's %f
MAX_WIDTH = 9  # digits before the dot: with the decimals still exact in a float64
_AGAIN = "run the inference again"
_HINT = "expected NAME_0.txt, .bin or .npy as the inference tool writes them, one file for each image"


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """One result file, and the stem of the image it belongs to."""

    stem: str
    path: Path


def find_result_files(folder: Path) -> list[ResultFile]:
    """Return the result files of a folder, in byte order of their names.

    Where a summary lies in the folder or beside it, every file that it names must be there.

    Raises:
        BadInputError: No such folder, no result files, several outputs of one network, two kinds of
            files, names that do not say the image, two files for one image, or a file missing that the
            summary names.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError as error:
        raise BadInputError(f"result folder {folder} cannot be listed: {error.strerror}") from error
    matches = {name: _RESULT_NAME.fullmatch(name) for name in names if _is_result(name)}
    if not matches:
        raise BadInputError(f"{folder}: no result files there", hint=_HINT)
    _check_names(folder, matches)
    _check_summary(folder, set(matches))
    files = [
        ResultFile(stem=match["stem"].split(".")[0], path=folder / name)
        for name, match in matches.items()
        if match
    ]
    _check_duplicates(files)
    return files


def _is_result(name: str) -> bool:
    return name.endswith((".txt", ".bin", ".npy"))


def _check_names(folder: Path, matches: dict[str, re.Match[str] | None]) -> None:
    odd = [name for name, match in matches.items() if not match or name.startswith("sample_id_")]
    if odd:
        raise BadInputError(f"{folder / odd[0]}: the name does not say which image it is of", hint=_HINT)
    for group, meaning in (("output", "outputs of one network"), ("kind", "kinds of files")):
        found = sorted({match[group] for match in matches.values() if match})
        if len(found) > 1:
            raise BadInputError(
                f"{folder}: results of several {meaning}: {', '.join(found)}",
                hint="keep the ones to score in a folder of their own",
            )


def _check_duplicates(files: list[ResultFile]) -> None:
    first: dict[str, ResultFile] = {}
    for file in files:
        if first.setdefault(file.stem, file) is not file:
            raise BadInputError(
                f"{first[file.stem].path} and {file.path.name} are both results of {file.stem}",
                hint="keep the one to score",
            )


def _check_summary(folder: Path, present: set[str]) -> None:
    beside = folder.with_name(f"{folder.name}_summary.json")
    for path in (*(folder / name for name in _SUMMARY_NAMES), beside):
        if not path.is_file():
            continue
        try:
            entries = json.loads(path.read_text(encoding="utf-8")).get("filesinfo", {}).values()
            named = {Path(file).name for entry in entries for file in entry["outfiles"]}
        except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
            raise BadInputError(f"summary {path} cannot be read: {error!r}", hint=_AGAIN) from error
        missing = sorted(named - present)
        if missing:
            raise BadInputError(
                f"{folder}: {len(missing)} files are missing that {path.name} names, such as {missing[0]}",
                hint=_AGAIN,
            )


def read_logits(files: list[ResultFile]) -> Iterator[Logits]:
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
                hint="results of different networks do not belong in one folder",
            )
        if not np.isfinite(logits).all():
            raise BadInputError(f"{file.path}: a value is NaN or infinite", hint="the network is broken")
        yield logits


def _read_row(path: Path) -> Logits:
    try:
        content = path.read_bytes()
        if path.suffix == ".txt":
            return _parse_text(content, path)
        is_npy = path.suffix == ".npy"
        rows = np.load(path, allow_pickle=False) if is_npy else np.frombuffer(content, np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise BadInputError(f"{path} cannot be read: {error}", hint=_HINT) from error
    values = np.asarray(rows, dtype=np.float32)
    if values.size == 0 or values.size != values.shape[-1]:
        raise BadInputError(f"{path}: expected one image's values, found shape {values.shape}", hint=_HINT)
    return values.reshape(-1)  # (classes,)


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
        values = np.array([float(field) for field in content.split()], dtype=np.float32)  # (classes,)
    except ValueError as error:
        raise BadInputError(f"{path}: {error}", hint=_HINT) from error
    if not len(values):
        raise BadInputError(f"{path}: expected numbers parted by blanks, found none", hint=_HINT)
    return values


def parse_fixed_point(line: bytes) -> Logits | None:
    """Return the numbers of a line as `%f ` writes them, or None for a line of any other form.

    All at once and several times as fast as one by one: the digits make a whole number, and that over a
    million is the nearest float64, as any correct parser gives.

    >>> parse_fixed_point(b"12.335938 -0.500000 ")
    array([12.335938, -0.5     ], dtype=float32)
    """
    text = np.frombuffer(line, dtype=np.uint8)
    ends = np.flatnonzero(text == ord(" "))
    if not len(ends) or ends[-1] != len(text) - 1:
        return None
    starts = np.concatenate(([0], ends[:-1] + 1))
    negative = text[starts] == ord("-")
    dots = ends - DECIMALS - 1
    widths = dots - starts - negative  # digits before the dot
    if widths.min() < 1 or widths.max() > MAX_WIDTH or (text[dots] != ord(".")).any():
        return None
    number = np.zeros(len(ends), dtype=np.int64)
    for width in range(int(widths.max()), 0, -1):
        number = 10 * number + np.where(widths >= width, text[dots - width] - np.uint8(ord("0")), 0)
    digits = text[ends[:, None] - np.arange(DECIMALS, 0, -1)] - np.uint8(ord("0"))  # (numbers, 6)
    number = number * 10**DECIMALS + digits @ (10 ** np.arange(DECIMALS - 1, -1, -1))
    if not _is_plain(text):
        return None
    values: Logits = (np.where(negative, -number, number) / 10**DECIMALS).astype(np.float32)  # (numbers,)
    return np.copysign(values, np.where(negative, -1, 1), dtype=np.float32)  # -0.000000 stays negative


def _is_plain(text: np.ndarray) -> bool:
    """Return whether there are digits, dots, blanks and hyphens alone, hyphens only where a number begins."""
    digits = (text >= ord("0")) & (text <= ord("9"))
    hyphens = np.flatnonzero(text == ord("-"))
    dots, blanks = np.count_nonzero(text == ord(".")), np.count_nonzero(text == ord(" "))
    at_start = (hyphens == 0) | (text[hyphens - 1] == ord(" "))
    plain = np.count_nonzero(digits) + len(hyphens) + dots + blanks == len(text)
    return bool(plain and dots == blanks and at_start.all())
