"""Splits the lines of a label file into names and labels; a line that can be read in two ways is refused."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import BadImagesError, quote, shorten
from assay.images.classes import SYNSET

INDEX = re.compile(r"[0-9]{1,9}")
EXPECTED = "expected lines `NAME index`, the index from 0 in the order of the sorted synsets"

_KAGGLE_COLUMNS = ["imageid", "predictionstring"]
_NAME_COLUMNS = {"name", "filename", "file", "image", "imageid", "imagename", "path", "imagepath", "filepath"}
_LABEL_COLUMNS = {"label", "labelid", "class", "classid", "classindex", "index", "target", "synset", "wnid"}
_CLASS_NAME_COLUMNS = {"classname", "labelname", "category"}  # where no other holds the label
IsName = Callable[[str], bool]
"""Tells whether a text is the name of a class."""
_NUMBER = r"-?[0-9]{1,6}(?:\.[0-9]+)?"
_TINY_IMAGENET = re.compile(rf"(?P<name>\S.*?)\s+(?P<label>n[0-9]{{8}})(?:\s+{_NUMBER}){{4}}")
_KAGGLE_BOX = rf"n[0-9]{{8}}(?:\s+{_NUMBER}){{4}}"
_KAGGLE_VALUE = re.compile(rf"{_KAGGLE_BOX}(?:\s+{_KAGGLE_BOX})*")
_QUOTED = re.compile(r"""(?P<mark>["'])(?P<name>.+)(?P=mark)\s+(?P<label>\S+)""")
_HAS_MORE_BEHIND = re.compile(
    r".*\.(?:jpe?g|png|bmp|gif|tiff?|webp|p[pgn]m|bin|npy)\s.*", re.IGNORECASE | re.DOTALL
)
_ENDS_IN_SUFFIX = re.compile(r".*\.[A-Za-z][A-Za-z0-9]{0,7}")
_TWO_COLUMNS = (
    "give two columns, `NAME index`, or a header that names them; "
    "a name with blanks needs a suffix such as .JPEG, quotes, or a tab behind it"
)


@dataclass(frozen=True, slots=True)
class LabelRow:
    """What a line says: a name and a label, both as written."""

    line_number: int
    name: str
    label: str


def split_label_lines(
    path: Path, lines: Sequence[tuple[int, str]], is_name: IsName = lambda _: False
) -> tuple[str, list[LabelRow]]:
    """The form of the file in words, and its rows.

    Args:
        path: The label file, for messages.
        lines: Number and text of every line that is not empty, at least one.
        is_name: Tells whether a text is the name of a class.

    Raises:
        BadImagesError: A line that holds more, or less, than a name and a label, or a header that does not
            tell which columns hold them; the line is named.
    """
    if all(_TINY_IMAGENET.fullmatch(line.strip()) for _, line in lines):
        return "Tiny-ImageNet's annotations", [_split_annotation(number, line) for number, line in lines]
    first = lines[0][1]
    separator = next((mark for mark in ",\t" if mark in first), None)
    header = _normalise_columns(_split_fields(path, *lines[0], separator))
    if len(header) > 1 and _NAME_COLUMNS & {*header} and not is_label(header[-1]):
        return _split_table(path, header, lines, separator, is_name)
    if any(_ends_as_csv(line, is_name) for line in (lines[-1][1], first)):
        fields = [(number, _split_fields(path, number, line, ",")) for number, line in lines]
        rows = [_make_row(path, number, found, (0, 1), 2) for number, found in fields]
        return "CSV", [_refuse_third_column(path, row) for row in rows]
    return "text", _split_blanks(path, lines, is_name)


def is_label(text: str) -> bool:
    """Whether the text is an index or a synset."""
    return bool(INDEX.fullmatch(text) or SYNSET.fullmatch(text))


def _split_annotation(number: int, line: str) -> LabelRow:
    name, label, *_ = line.strip().rsplit(maxsplit=5)
    return LabelRow(number, name.strip(), label)


def _split_fields(path: Path, number: int, line: str, separator: str | None) -> list[str]:
    """The fields of a line: between commas or tabs, quoted as in CSV, or between any blanks."""
    if separator is None:
        return line.split()
    try:
        (fields,) = csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True)
    except csv.Error as error:
        raise BadImagesError(
            f"{path}, line {number}: {shorten(error)}: {quote(line)}", hint=EXPECTED
        ) from error
    return [field.strip() for field in fields]


def _normalise_columns(fields: Sequence[str]) -> list[str]:
    return [re.sub(r"[^a-z0-9]", "", field.lower()) for field in fields]


def _split_table(
    path: Path,
    header: list[str],
    lines: Sequence[tuple[int, str]],
    separator: str | None,
    is_name: IsName,
) -> tuple[str, list[LabelRow]]:
    """The form and the rows of a file with a header."""
    places = _find_columns(path, header)
    if separator is None and places == (0, 1) and len(header) == 2:
        return "text with a header", _split_blanks(path, lines[1:], is_name)
    rows = [
        _make_row(path, number, _split_fields(path, number, line, separator), places, len(header))
        for number, line in lines[1:]
    ]
    if header == _KAGGLE_COLUMNS:
        return "Kaggle's solution", [_read_solution(path, row) for row in rows]
    return ("CSV" if separator == "," else "text") + " with a header", rows


def _find_columns(path: Path, header: list[str]) -> tuple[int, int]:
    """The places of the name and of the label."""
    if header == _KAGGLE_COLUMNS:
        return 0, 1
    names = [place for place, column in enumerate(header) if column in _NAME_COLUMNS]
    known = _LABEL_COLUMNS if _LABEL_COLUMNS & {*header} else _CLASS_NAME_COLUMNS
    labels = [place for place, column in enumerate(header) if column in known]
    if len(names) != 1 or len(labels) != 1:
        raise BadImagesError(
            f"{path}: the header {shorten(', '.join(header))} does not tell one column of names and one of "
            "labels",
            hint="call them name and label",
        )
    return names[0], labels[0]


def _make_row(
    path: Path, number: int, fields: Sequence[str], places: tuple[int, int], width: int
) -> LabelRow:
    if len(fields) != width:
        raise BadImagesError(
            f"{path}, line {number}: expected {width} columns, found {len(fields)}: "
            f"{quote(' '.join(fields))}",
            hint=_TWO_COLUMNS if width == 2 else "expected as many columns as the header has",
        )
    return LabelRow(number, fields[places[0]], fields[places[1]])


def _read_solution(path: Path, row: LabelRow) -> LabelRow:
    if not _KAGGLE_VALUE.fullmatch(row.label):
        raise BadImagesError(
            f"{path}, line {row.line_number}: expected a synset and the four numbers of its box, "
            f"found {quote(row.label)}",
            hint="give LOC_val_solution.csv as Kaggle has it",
        )
    return LabelRow(row.line_number, row.name, row.label.split()[0])


def _refuse_third_column(path: Path, row: LabelRow) -> LabelRow:
    """A row of two clear columns, unless its name is an image's with more behind: `cat.JPEG 3`."""
    is_one_word = len(row.name.split()) == 1
    if not is_one_word and _HAS_MORE_BEHIND.fullmatch(row.name) and not _ENDS_IN_SUFFIX.fullmatch(row.name):
        raise BadImagesError(
            f"{path}, line {row.line_number}: expected a name and a label, found three columns: "
            f"{quote(f'{row.name} {row.label}')}",
            hint=_TWO_COLUMNS,
        )
    return row


def _split_blanks(path: Path, lines: Sequence[tuple[int, str]], is_name: IsName) -> list[LabelRow]:
    """The rows of lines with blanks or tabs between name and label, and perhaps in the name."""
    rows = []
    joined = []
    for number, line in lines:
        pair = _split_clear_pair(line.strip(), is_name)
        if pair is None:
            pair = _split_name_with_blanks(path, number, line.strip())
            joined.append(number)
        row = LabelRow(number, pair[0], pair[1].strip("\"'"))
        rows.append(row if line.lstrip()[0] in "\"'" else _refuse_third_column(path, row))
    if rows and len(joined) == len(rows) and all(is_label(row.name.split()[0]) for row in rows):
        raise BadImagesError(
            f"{path}: every line begins with a number or a synset, as {quote(lines[0][1])}: "
            "a column of its own, or of the name?",
            hint=_TWO_COLUMNS,
        )
    return rows


def _split_clear_pair(line: str, is_name: IsName) -> tuple[str, str] | None:
    """Name and label of a line that can be read in one way only; None for another."""
    if line[0] in "\"'" and (quoted := _QUOTED.fullmatch(line)):
        return quoted["name"], quoted["label"]
    fields = line.split()
    if len(fields) == 2:
        return fields[0], fields[1]
    columns = [column.strip() for column in re.split(r"\t+", line)]
    if len(columns) == 2 and _is_label_or_name(columns[1], is_name):
        return columns[0], columns[1]
    named = [
        (" ".join(fields[:place]), " ".join(fields[place:]))
        for place in range(1, len(fields) - 1)
        if _ENDS_IN_SUFFIX.fullmatch(fields[place - 1]) and is_name(" ".join(fields[place:]))
    ]
    return named[0] if len(named) == 1 else None


def _is_label_or_name(text: str, is_name: IsName) -> bool:
    bare = text.strip(" \t\"'")
    return is_label(bare) or is_name(bare)


def _ends_as_csv(line: str, is_name: IsName) -> bool:
    """Whether what stands behind a comma is a label, or in quotes with commas in it the name of a class."""
    if "," not in line:
        return False
    if is_label(line.rpartition(",")[2].strip(" \t\"'")):
        return True
    try:
        (fields,) = csv.reader([line], skipinitialspace=True, strict=True)
    except csv.Error:
        return False
    return len(fields) == 2 and is_name(fields[1].strip())


def _split_name_with_blanks(path: Path, number: int, line: str) -> tuple[str, str]:
    """Name and label of `my cat.JPEG 3`: of the name's words the last alone ends in a suffix."""
    words = line.split()
    if len(words) < 2:
        raise BadImagesError(
            f"{path}, line {number}: expected a name and a label, found {quote(line)}", hint=EXPECTED
        )
    suffixed = [bool(_ENDS_IN_SUFFIX.fullmatch(word)) for word in words[:-1]]
    if not suffixed[-1] or any(suffixed[:-1]) or len(re.split(r"\t+", line)) > 2:
        raise BadImagesError(
            f"{path}, line {number}: expected a name and a label, found {len(words)} columns: {quote(line)}",
            hint=_TWO_COLUMNS,
        )
    name, label = line.rsplit(maxsplit=1)
    return name.strip(), label
