"""Reads the label files that users have, in whatever form: class indices from 0, by image name.

```text
NAME 65              blanks, tabs or commas between; quoted names; synsets instead of indices
file,label           CSV with a header line
ImageId,Prediction…  LOC_val_solution.csv of Kaggle: the first synset of each line
490                  the devkit's ground truth: 50,000 lines, one ILSVRC2012 ID each
```

A file whose numbers are something else, image numbers or classes from 1, say, is refused.
"""

from __future__ import annotations

import csv
import functools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import BadImagesError
from assay.images.labels import (
    IMAGENET_VAL_COUNT,
    find_val_number,
    read_canonical_labels,
    read_devkit_labels,
    read_synset_labels,
    read_synsets,
)

MAX_LABEL_FILE_BYTES = 64 * 2**20

_INDEX = re.compile(r"[0-9]{1,9}")
_SYNSET = re.compile(r"n[0-9]{8}")
_SYNSET_TAIL = re.compile(r"_n[0-9]{8}$")  # as in ILSVRC2012_val_00000001_n01751748.JPEG
_KAGGLE_COLUMNS = ("imageid", "predictionstring")
_NAME_COLUMNS = {"name", "filename", "file", "image", "imageid", "imagename", "path", "imagepath", "filepath"}
_LABEL_COLUMNS = {"label", "labelid", "class", "classid", "classindex", "index", "target", "synset", "wnid"}
_EXPECTED = "expected lines `NAME index`, the index from 0 in the order of the sorted synsets"


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Which label file, and how it is read.

    Args:
        path: The label file, or None where the labels come from elsewhere.
        offset: What the file's indices begin with; it is subtracted from each.
        trusted: Whether labels that contradict the published ones of ImageNet are believed.
        max_bytes: A larger file is refused.
    """

    path: Path | None = None
    offset: int = 0
    trusted: bool = False
    max_bytes: int = MAX_LABEL_FILE_BYTES


NO_LABEL_FILE = LabelOptions()


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """Labels by image name as the file writes it, which form the file has, and how many lines repeat one."""

    labels: dict[str, int]
    form: str
    repeated_count: int


@dataclass(frozen=True, slots=True)
class _Row:
    line_number: int
    name: str
    label: str


def read_label_file(path: Path, label_count: int, options: LabelOptions = NO_LABEL_FILE) -> LabelFile:
    """Return the labels of a file in any of the known forms.

    Args:
        path: The label file.
        label_count: Number of classes; labels go from 0 to `label_count` - 1.
        options: Its offset, and whether it is trusted.

    Raises:
        BadImagesError: Unreadable, no text, a malformed line (named), two labels for one name, labels out
            of range, or numbers that are no class indices from the offset.
    """
    text = _read_text(path, options.max_bytes)
    lines = [
        (number, line)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip() and not line.startswith("# ")
    ]
    if not lines:
        raise BadImagesError(f"{path} holds no labels", hint=_EXPECTED)
    if all(_INDEX.fullmatch(line.strip()) for _, line in lines):
        return _read_ground_truth(path, [int(line) for _, line in lines], options.offset)
    form, rows = _split_lines(path, lines)
    _check_numbers(path, rows, label_count, options)
    labels = _index_labels(path, rows, label_count, options.offset)
    return LabelFile(labels=labels, form=form, repeated_count=len(rows) - len(labels))


def _read_text(path: Path, max_bytes: int) -> str:
    if path.is_dir():
        raise BadImagesError(
            f"label file {path} cannot be read: it is a folder",
            hint="give the images with --images, a file with lines `NAME index` with --labels",
        )
    try:
        size_bytes = path.stat().st_size
        if size_bytes > max_bytes:
            raise BadImagesError(
                f"label file {path} has {size_bytes:,} bytes, over {max_bytes:,}: is it one?",
                hint="--max-label-mib, if it is",
            )
        content = path.read_bytes()
    except OSError as error:
        raise BadImagesError(
            f"label file {path} cannot be read: {error.strerror}",
            hint="give a file with lines `NAME index`",
        ) from error
    name = "UTF-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "UTF-8"
    try:
        text = content.decode("utf-8-sig" if name == "UTF-8" else name)
    except UnicodeDecodeError as error:
        raise BadImagesError(
            f"label file {path} is not {name} text (byte {error.start})",
            hint="save it as UTF-8",
        ) from error
    if "\0" in text:
        raise BadImagesError(f"label file {path} holds zero bytes: no text", hint="save it as UTF-8")
    if text.startswith("version https://git-lfs"):
        raise BadImagesError(f"{path} is a Git LFS pointer, not the labels", hint="git lfs pull")
    if text.lstrip().startswith("[["):
        raise BadImagesError(
            f"{path} holds ReaL labels, several classes to an image",
            hint="--real-labels scores by them, besides the labels",
        )
    if text.lstrip().startswith(("[", "{", "<")):
        raise BadImagesError(f"{path} is JSON or XML: not a form of label file that is read", hint=_EXPECTED)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_ground_truth(path: Path, numbers: list[int], label_offset: int) -> LabelFile:
    if len(numbers) != IMAGENET_VAL_COUNT:
        raise BadImagesError(
            f"{path}: {len(numbers):,} lines of a number alone; the devkit's ground truth has 50,000",
            hint=_EXPECTED,
        )
    if label_offset:
        raise BadImagesError(
            f"{path} holds ILSVRC2012 IDs, which have no offset", hint="leave --label-offset out"
        )
    devkit, canonical = read_devkit_labels(), read_canonical_labels()
    labels = [devkit[number - 1] if 1 <= number <= len(devkit) else -1 for number in numbers]
    differing = sum(label != right for label, right in zip(labels, canonical, strict=True))
    if differing:
        raise BadImagesError(
            f"{path}: {differing:,} of 50,000 lines are not the ILSVRC2012 ID of their image's class",
            hint=_EXPECTED,
        )
    names = (f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, IMAGENET_VAL_COUNT + 1))
    return LabelFile(
        labels=dict(zip(names, labels, strict=True)), form="devkit ground truth", repeated_count=0
    )


def _split_lines(path: Path, lines: list[tuple[int, str]]) -> tuple[str, list[_Row]]:
    """Return the form, and the name and the label that each line holds."""
    header = _normalise_columns(re.split(r"[,\s]+", lines[0][1].strip()))
    tail = lines[-1][1].rpartition(",")[2].strip(" \t\"'")
    has_header = bool(_NAME_COLUMNS & {*header}) and len(header) > 1 and not _is_label(header[-1])
    has_commas = "," in lines[0][1] if has_header else "," in lines[-1][1] and _is_label(tail)
    split = _split_commas if has_commas else _split_blanks
    fields = [split(path, *line) for line in lines]
    place, width = _find_columns(path, _normalise_columns(fields[0])) if has_header else ((0, 1), 2)
    rows = []
    for (number, _), found in list(zip(lines, fields, strict=True))[has_header:]:
        if len(found) != width:
            raise BadImagesError(
                f"{path}, line {number}: expected {width} fields, found {len(found)}", hint=_EXPECTED
            )
        rows.append(_Row(number, found[place[0]], found[place[1]]))
    if tuple(header) == _KAGGLE_COLUMNS:
        rows = [_Row(row.line_number, row.name, row.label.split()[0] if row.label else "") for row in rows]
        return "Kaggle's solution", rows
    return ("CSV" if has_commas else "text") + (" with a header" if has_header else ""), rows


def _normalise_columns(fields: list[str]) -> list[str]:
    return [re.sub(r"[^a-z0-9]", "", field.lower()) for field in fields]


def _find_columns(path: Path, header: list[str]) -> tuple[tuple[int, int], int]:
    if tuple(header) == _KAGGLE_COLUMNS:
        return (0, 1), 2
    names = [place for place, column in enumerate(header) if column in _NAME_COLUMNS]
    labels = [place for place, column in enumerate(header) if column in _LABEL_COLUMNS]
    if len(names) != 1 or len(labels) != 1:
        raise BadImagesError(
            f"{path}: the header {', '.join(header)} does not tell one column of names and one of labels",
            hint="call them name and label",
        )
    return (names[0], labels[0]), len(header)


def _split_commas(path: Path, number: int, line: str) -> list[str]:
    try:
        (fields,) = csv.reader([line], skipinitialspace=True, strict=True)
    except csv.Error as error:
        raise BadImagesError(f"{path}, line {number}: {error}", hint=_EXPECTED) from error
    return [field.strip() for field in fields]


def _split_blanks(path: Path, number: int, line: str) -> list[str]:
    fields = line.rsplit(maxsplit=1)
    if len(fields) != 2:
        raise BadImagesError(
            f"{path}, line {number}: expected a name and a label, found {line.strip()[:60]!r}", hint=_EXPECTED
        )
    name = fields[0].strip()
    quoted = len(name) > 2 and name[0] == name[-1] and name[0] in "\"'"
    return [name[1:-1] if quoted else name, fields[1].strip("\"'")]


def _is_label(text: str) -> bool:
    return bool(_INDEX.fullmatch(text) or _SYNSET.fullmatch(text))


def _check_numbers(path: Path, rows: list[_Row], label_count: int, options: LabelOptions) -> None:
    """Refuse numbers that are the images' own, or ILSVRC2012 IDs, or classes from 1, or in another order."""
    rows = [row for row in rows if _INDEX.fullmatch(row.label)]
    numbers = [int(row.label) for row in rows]
    in_names = [find_val_number(row.name) for row in rows]
    counted = len(rows) > label_count and numbers == list(range(1, len(rows) + 1))
    if counted or (len(rows) > 1 and numbers == in_names):
        raise BadImagesError(
            f"{path}: the numbers are those of the images, not of their classes, as in CLS-LOC/val.txt",
            hint="give a file of labels, or LOC_val_solution.csv",
        )
    if label_count == len(read_synsets()) and not options.trusted:
        refuse_other_class_order(f"{path}", list(zip(numbers, in_names, strict=True)), options.offset)
    if not options.offset and numbers and 0 not in numbers and max(numbers) == label_count:
        line_number = rows[numbers.index(label_count)].line_number
        raise BadImagesError(
            f"{path}, line {line_number}: label {label_count} is out of range: expected 0 to "
            f"{label_count - 1}; no label is 0: they seem to count from 1",
            hint="--label-offset 1, if they do",
        )


def refuse_other_class_order(where: str, pairs: Sequence[tuple[int, int | None]], label_offset: int) -> None:
    """Refuse numbers of ImageNet validation images that have nothing to do with the published labels.

    Args:
        where: What holds them, for messages.
        pairs: Each number with that of its image, None for one that is no ImageNet validation image.
        label_offset: What the numbers begin with.

    Raises:
        BadImagesError: They are ILSVRC2012 IDs, or count from 1, or are in another class order.
    """
    canonical, devkit = read_canonical_labels(), (-1, *read_devkit_labels())
    known = [(number, canonical[image - 1]) for number, image in pairs if image and image <= len(canonical)]
    if len(known) < 5:
        return
    as_labels = sum(number - label_offset == label for number, label in known) / len(known)
    from_one = sum(number - 1 == label for number, label in known) / len(known)
    as_ids = sum(devkit[min(number, 1000)] == label for number, label in known) / len(known)
    if as_ids > 0.9:
        raise BadImagesError(
            f"{where}: the numbers are ILSVRC2012 IDs, as in the devkit", hint="give the devkit's own file"
        )
    if from_one > 0.9 and label_offset != 1:
        raise BadImagesError(f"{where}: the labels count from 1", hint="--label-offset 1")
    if len(known) >= 100 and as_labels < 0.02:
        raise BadImagesError(
            f"{where}: {as_labels:.1%} of {len(known):,} labels are the published ones: another class order",
            hint="labels are places in the sorted synsets: give synsets as labels, or --trust-labels",
        )


def _index_labels(path: Path, rows: list[_Row], label_count: int, label_offset: int) -> dict[str, int]:
    labels: dict[str, int] = {}
    first: dict[str, _Row] = {}
    for row in rows:
        where = f"{path}, line {row.line_number}"
        if not row.name:
            raise BadImagesError(f"{where}: no name", hint=_EXPECTED)
        label = _parse_label(row.label, where, label_count, label_offset)
        if labels.setdefault(row.name, label) != label:
            raise BadImagesError(
                f"{path}: {row.name} has label {first[row.name].label} in line {first[row.name].line_number} "
                f"and {row.label} in line {row.line_number}",
                hint="keep one line for each image",
            )
        first.setdefault(row.name, row)
    return labels


def _parse_label(text: str, where: str, label_count: int, label_offset: int) -> int:
    if _SYNSET.fullmatch(text):
        if label_offset:
            raise BadImagesError(f"{where}: a synset has no offset", hint="leave --label-offset out")
        if text not in read_synset_labels():
            raise BadImagesError(f"{where}: {text} is not one of the 1000 ImageNet synsets")
        label = read_synset_labels()[text]
    elif _INDEX.fullmatch(text):
        label = int(text) - label_offset
    else:
        raise BadImagesError(
            f"{where}: expected an index or a synset as label, found {text[:60]!r}",
            hint="names of classes are no labels: two of ImageNet's classes are called crane",
        )
    if not 0 <= label < label_count:
        last = label_offset + label_count - 1
        raise BadImagesError(
            f"{where}: label {text} is out of range: expected {label_offset} to {last}",
            hint="labels count from 0, or from --label-offset",
        )
    return label


def get_base_name(name: str) -> str:
    """Return the file name of a path, parted by slashes of either kind."""
    return name.replace("\\", "/").rpartition("/")[2]


def get_stem(name: str) -> str:
    """Return the file name of a path without its suffix."""
    base = get_base_name(name)
    return base.rpartition(".")[0] or base


def normalise_name(name: str) -> str:
    """Return the text before the first dot of the file name, without a synset at its end, in lower case.

    >>> normalise_name("val/ILSVRC2012_val_00000001_n01751748.jpeg")
    'ilsvrc2012_val_00000001'
    """
    return unicodedata.normalize("NFC", _SYNSET_TAIL.sub("", get_base_name(name).split(".")[0]).lower())


# From the strictest to the laxest: what is compared of a label's name, and of an image's path
_WAYS: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (str, str),
    (str, get_base_name),
    (str, get_stem),
    (get_base_name, get_base_name),
    (get_stem, get_stem),
    (normalise_name, normalise_name),
)


def make_label_finder(labels: Mapping[str, int]) -> Callable[[str], int | None]:
    """Return what finds an image's label by its relative path: as written, else ever more laxly.

    >>> make_label_finder({"val/cat.JPEG": 3})("cat.jpg")
    3

    The function raises:
        BadImagesError: Names with different labels fit equally well.
    """

    @functools.cache
    def tabulate(read_key: Callable[[str], str]) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for name, label in labels.items():
            same = names.setdefault(read_key(name), [name])
            if labels[same[0]] != label:
                same.append(name)
        return names

    def find_label(relative_path: str) -> int | None:
        for read_label_key, read_image_key in _WAYS:
            names = tabulate(read_label_key).get(read_image_key(relative_path))
            if names and len(names) > 1:
                raise BadImagesError(
                    f"{relative_path}: {names[0]} and {names[1]} of the label file fit it equally well, "
                    f"with labels {labels[names[0]]} and {labels[names[1]]}",
                    hint="write the images' relative paths into the label file",
                )
            if names:
                return labels[names[0]]
        return None

    return find_label
