"""Reads the label files that users have, in whatever form: class indices from 0, by image name.

```text
NAME 65              blanks, tabs or commas between; quoted names; synsets instead of indices
file,label           CSV, or columns between tabs or blanks, with a header line
ImageId,Prediction…  LOC_val_solution.csv of Kaggle: the first synset of each line
NAME SYNSET X Y X Y  Tiny-ImageNet's val_annotations.txt: the synset, not the box
490                  the devkit's ground truth: 50,000 lines, one ILSVRC2012 ID each
```

More columns without a header are refused, and so is a file whose numbers are something else than class
indices, such as image numbers or classes from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.defaults import MAX_FILE_MIB
from assay.errors import BadImagesError, quote, shorten
from assay.images.label_lines import EXPECTED, INDEX, SYNSET, LabelRow, split_label_lines
from assay.images.labels import (
    IMAGENET_VAL_COUNT,
    find_val_number,
    read_canonical_labels,
    read_devkit_labels,
    read_synset_labels,
    read_synsets,
)

MAX_LABEL_FILE_BYTES = MAX_FILE_MIB * 2**20


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


def read_label_file(path: Path, label_count: int, options: LabelOptions = NO_LABEL_FILE) -> LabelFile:
    """Read the labels of a file in any of the known forms.

    Args:
        path: The label file.
        label_count: Number of classes; labels go from 0 to `label_count` - 1.
        options: Its offset, and whether it is trusted.

    Raises:
        BadImagesError: Unreadable, no text, a malformed line (named), two labels for one name, labels out
            of range, synsets for a model of other classes than ImageNet's, or numbers that are no class
            indices from the offset.
    """
    text = _read_text(path, options.max_bytes)
    lines = [
        (number, line)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip() and not line.startswith("# ")
    ]
    if not lines:
        raise BadImagesError(f"{path} holds no labels", hint=EXPECTED)
    if all(INDEX.fullmatch(line.strip()) for _, line in lines):
        return _read_ground_truth(path, [int(line) for _, line in lines], options.offset)
    form, rows = split_label_lines(path, lines)
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
        raise BadImagesError(f"{path} is JSON or XML: not a form of label file that is read", hint=EXPECTED)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_ground_truth(path: Path, numbers: list[int], label_offset: int) -> LabelFile:
    if len(numbers) != IMAGENET_VAL_COUNT:
        raise BadImagesError(
            f"{path}: {len(numbers):,} lines of a number alone; the devkit's ground truth has 50,000",
            hint=EXPECTED,
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
            hint=EXPECTED,
        )
    names = (f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, IMAGENET_VAL_COUNT + 1))
    return LabelFile(
        labels=dict(zip(names, labels, strict=True)), form="devkit ground truth", repeated_count=0
    )


def _check_numbers(path: Path, rows: list[LabelRow], label_count: int, options: LabelOptions) -> None:
    """Refuse numbers that are the images' own, or ILSVRC2012 IDs, or classes from 1, or in another order."""
    rows = [row for row in rows if INDEX.fullmatch(row.label)]
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


def _index_labels(path: Path, rows: list[LabelRow], label_count: int, label_offset: int) -> dict[str, int]:
    labels: dict[str, int] = {}
    first: dict[str, LabelRow] = {}
    for row in rows:
        where = f"{path}, line {row.line_number}"
        name = row.name.removeprefix("./")
        if not name:
            raise BadImagesError(f"{where}: no name", hint=EXPECTED)
        label = _parse_label(row.label, where, label_count, label_offset)
        earlier = first.setdefault(name, row)
        if labels.setdefault(name, label) != label:
            raise BadImagesError(
                f"{path}: {shorten(name)} has label {earlier.label} in line {earlier.line_number} "
                f"and {row.label} in line {row.line_number}",
                hint="keep one line for each image",
            )
    return labels


def _parse_label(text: str, where: str, label_count: int, label_offset: int) -> int:
    if SYNSET.fullmatch(text):
        if label_offset:
            raise BadImagesError(f"{where}: a synset has no offset", hint="leave --label-offset out")
        if text not in read_synset_labels():
            raise BadImagesError(f"{where}: {text} is not one of the 1000 ImageNet synsets")
        if label_count != len(read_synsets()):
            raise BadImagesError(
                f"{where}: {text} is a synset, whose label is its place among ImageNet's 1000; the model has "
                f"{label_count} classes",
                hint="give the classes as indices from 0, in the model's own order",
            )
        label = read_synset_labels()[text]
    elif INDEX.fullmatch(text):
        label = int(text) - label_offset
    else:
        raise BadImagesError(
            f"{where}: expected an index or a synset as label, found {quote(text)}",
            hint="names of classes are no labels: two of ImageNet's classes are called crane",
        )
    if not 0 <= label < label_count:
        last = label_offset + label_count - 1
        raise BadImagesError(
            f"{where}: label {text} is out of range: expected {label_offset} to {last}",
            hint="labels count from 0, or from --label-offset",
        )
    return label
