"""Reads the label files that users have, in whatever form: class indices from 0, by image name.

```text
NAME 65              blanks, tabs or commas between; quoted names; synsets or class names instead of indices
file,label           CSV, or columns between tabs or blanks, with a header line
ImageId,Prediction…  LOC_val_solution.csv of Kaggle: the first synset of each line
NAME SYNSET X Y X Y  Tiny-ImageNet's val_annotations.txt: the synset, not the box
490                  the devkit's ground truth: 50,000 lines, one ILSVRC2012 ID each
```

More columns without a header are refused, and so is a file whose numbers are something else than class
indices, such as image numbers or classes from 1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.defaults import MAX_FILE_MIB
from assay.errors import BadImagesError, quote, shorten
from assay.images.class_lists import ClassList
from assay.images.classes import SYNSET, Classes, find_synset
from assay.images.label_lines import EXPECTED, INDEX, LabelRow, split_label_lines
from assay.images.labels import (
    IMAGENET_VAL_COUNT,
    find_val_number,
    read_canonical_labels,
    read_devkit_labels,
)

RELATIVE_COUNTS = {
    10: "Imagenette",
    20: "Imagewang",
    100: "ImageNet-100",
    200: "ImageNet-A, ImageNet-R or Tiny-ImageNet",
}
MAX_LABEL_FILE_BYTES = MAX_FILE_MIB * 2**20


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Which label file, and how it is read.

    Args:
        path: The label file, or None where the labels come from elsewhere.
        offset: What the file's indices begin with; it is subtracted from each.
        trusted: Whether labels that contradict the published ones of ImageNet are believed.
        unbounded: Whether numbers that are no class of the model's are kept: they are examined, not scored.
        classes: What numbers the classes, where the model does not name them: a file, or their sorted names.
        subset: Among which of the model's classes the images are scored besides: one of `CHOICES` of
            `class_subsets`; None for a known set that is recognised.
        max_bytes: A larger file is refused.
    """

    path: Path | None = None
    offset: int = 0
    trusted: bool = False
    unbounded: bool = False
    classes: ClassList = None
    subset: str | None = None
    max_bytes: int = MAX_LABEL_FILE_BYTES


NO_LABEL_FILE = LabelOptions()


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """Labels by image name as the file writes it, which form the file has, and how many lines repeat one."""

    labels: dict[str, int]
    form: str
    repeated_count: int


def read_label_file(path: Path, classes: Classes, options: LabelOptions = NO_LABEL_FILE) -> LabelFile:
    """Read the labels of a file in any of the known forms.

    Args:
        path: The label file.
        classes: The model's classes: labels are their indices, names or synsets.
        options: Its offset, and whether it is trusted.

    Raises:
        BadImagesError: Unreadable, no text, a malformed line (named), two labels for one name, labels out
            of range, names or synsets that are no class of the model's, or numbers that are no class indices
            from the offset.
    """
    lines = _read_lines(path, options.max_bytes)
    if all(INDEX.fullmatch(line.strip()) for _, line in lines):
        return _read_ground_truth(path, [int(line.strip()) for _, line in lines], options.offset)
    form, rows = split_label_lines(
        path, lines, lambda text: bool(classes.find_labels(text)) and not find_synset(text)
    )
    _check_numbers(path, rows, classes, options)
    labels = _index_labels(path, rows, classes, options)
    return LabelFile(labels=labels, form=form, repeated_count=len(rows) - len(labels))


def list_label_names(path: Path, options: LabelOptions) -> set[str]:
    """The labels of a file as it writes them: the names of classes that nothing numbers yet.

    Raises:
        BadImagesError: As `read_label_file`.
    """
    lines = _read_lines(path, options.max_bytes)
    return {row.label for row in split_label_lines(path, lines, lambda text: bool(text.strip()))[1]}


def _read_lines(path: Path, max_bytes: int) -> list[tuple[int, str]]:
    """Number and text of every line that is not empty, at least one."""
    lines = [
        (number, line)
        for number, line in enumerate(_read_text(path, max_bytes).split("\n"), start=1)
        if line.strip() and not line.startswith("# ")
    ]
    if not lines:
        raise BadImagesError(f"{path} holds no labels", hint=EXPECTED)
    return lines


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


def _check_numbers(path: Path, rows: list[LabelRow], classes: Classes, options: LabelOptions) -> None:
    """Refuse numbers that are the images' own, or ILSVRC2012 IDs, or classes from 1, or in another order."""
    rows = [row for row in rows if INDEX.fullmatch(row.label)]
    numbers = [int(row.label) for row in rows]
    in_names = [find_val_number(row.name) for row in rows]
    counted = len(rows) > classes.count and numbers == list(range(1, len(rows) + 1))
    if counted or (len(rows) > 1 and numbers == in_names):
        raise BadImagesError(
            f"{path}: the numbers are those of the images, not of their classes, as in CLS-LOC/val.txt",
            hint="give a file of labels, or LOC_val_solution.csv",
        )
    if classes.are_imagenets and not options.trusted:
        refuse_other_class_order(f"{path}", list(zip(numbers, in_names, strict=True)), options.offset)
        refuse_numbers_of_relatives(f"{path}", numbers)
    if options.unbounded:
        return
    if not options.offset and numbers and 0 not in numbers and max(numbers) == classes.count:
        line_number = rows[numbers.index(classes.count)].line_number
        raise BadImagesError(
            f"{path}, line {line_number}: label {classes.count} is out of range: expected 0 to "
            f"{classes.count - 1}; no label is 0: they seem to count from 1",
            hint="--label-offset 1, if they do",
        )


def refuse_other_class_order(
    where: str, pairs: Sequence[tuple[int, int | None]] | Sequence[tuple[int, int]], label_offset: int
) -> None:
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


def refuse_numbers_of_relatives(where: str, numbers: Collection[int]) -> None:
    """Refuse the numbers 0 to 199, say, that sets of 200 of ImageNet's classes give these, not ImageNet.

    Taken for ImageNet's own they would score 0.1 %: timm issue 2456.

    Args:
        where: What holds them, for messages.
        numbers: The labels of all images.

    Raises:
        BadImagesError: They are such.
    """
    found = {*numbers}
    if len(found) in RELATIVE_COUNTS and found == {*range(len(found))}:
        raise BadImagesError(
            f"{where}: the labels are the numbers 0 to {len(found) - 1}, all of them: those of a set of "
            f"{len(found)} classes (such as {RELATIVE_COUNTS[len(found)]}), not of ImageNet's 1000?",
            hint="name the classes by synset; or --subset NAME, if they are the places of its folders; "
            "or --trust-labels, if they are indices of ImageNet's 1000",
        )


def _index_labels(
    path: Path, rows: list[LabelRow], classes: Classes, options: LabelOptions
) -> dict[str, int]:
    labels: dict[str, int] = {}
    first: dict[str, LabelRow] = {}
    for row in rows:
        where = f"{path}, line {row.line_number}"
        name = row.name.removeprefix("./")
        if not name:
            raise BadImagesError(f"{where}: no name", hint=EXPECTED)
        label = _parse_label(row.label, where, classes, options)
        earlier = first.setdefault(name, row)
        if labels.setdefault(name, label) != label:
            raise BadImagesError(
                f"{path}: {shorten(name)} has label {earlier.label} in line {earlier.line_number} "
                f"and {row.label} in line {row.line_number}",
                hint="keep one line for each image",
            )
    return labels


def _parse_label(text: str, where: str, classes: Classes, options: LabelOptions) -> int:
    label_offset = options.offset
    if not INDEX.fullmatch(text):
        return _find_named(text, where, classes, label_offset)
    label = int(text) - label_offset
    if classes.is_name(text) and (named := classes.find_labels(text)) != (label,):
        raise BadImagesError(
            f"{where}: {text} is the name of class {named[0]} of the model, and the index of another",
            hint="write the names of classes that are numbers into folders' names, or give indices alone",
        )
    if not 0 <= label < (2 * classes.count if options.unbounded else classes.count):
        last = label_offset + classes.count - 1
        raise BadImagesError(
            f"{where}: label {text} is out of range: expected {label_offset} to {last}",
            hint="labels count from 0, or from --label-offset",
        )
    return label


def _find_named(text: str, where: str, classes: Classes, label_offset: int) -> int:
    """The label of a class that is written as its synset or name."""
    kind = "a synset" if SYNSET.fullmatch(text) else "a name"
    found = classes.find_labels(text)
    if label_offset and (found or SYNSET.fullmatch(text)):
        raise BadImagesError(f"{where}: {kind} has no offset", hint="leave --label-offset out")
    if len(found) == 1:
        return found[0]
    if found:
        raise BadImagesError(
            f"{where}: {quote(text)} names {len(found)} classes of the model: "
            f"{', '.join(map(classes.describe, found))}",
            hint="give the index or the synset of the class",
        )
    if SYNSET.fullmatch(text) and classes.are_imagenets:
        raise BadImagesError(f"{where}: {text} is not one of the 1000 ImageNet synsets")
    if SYNSET.fullmatch(text) and not classes.synsets:
        raise BadImagesError(
            f"{where}: {text} is a synset; the model has {classes.count} classes of unknown synsets",
            hint="--classes FILE with the synsets of its classes, one a line, in the order of the labels",
        )
    close = classes.suggest(text)
    raise BadImagesError(
        f"{where}: expected an index or a synset as label, or the name of a class, found {quote(text)}",
        hint=f"did you mean {close}?" if close else "--classes FILE names the classes of the model",
    )
