"""Which class every image belongs to: the built-in ImageNet table, and label files."""

from __future__ import annotations

import functools
import gzip
import re
from importlib import resources
from pathlib import Path

import numpy as np

from assay.errors import BadImagesError

MAX_LABEL_FILE_BYTES = 64 * 2**20
IMAGENET_VAL_COUNT = 50_000
_VAL_NAME = re.compile(r"ILSVRC2012_val_(\d{8})", re.IGNORECASE)


@functools.cache
def read_synsets() -> tuple[str, ...]:
    """Return the 1000 ImageNet synsets, sorted; the place of one is its label.

    >>> read_synsets()[0], read_synsets()[999]
    ('n01440764', 'n15075141')
    """
    return tuple(_read_table("ilsvrc2012_synsets.txt.gz").decode("ascii").split())


@functools.cache
def read_canonical_labels() -> tuple[int, ...]:
    """Return the labels of ILSVRC2012_val_00000001 to …_00050000, in that order, 0 to 999."""
    return tuple(np.frombuffer(_read_table("ilsvrc2012_val_labels_u16.gz"), dtype="<u2").tolist())


def _read_table(name: str) -> bytes:
    return gzip.decompress(resources.files("assay.images").joinpath(name).read_bytes())


def find_canonical_label(name: str) -> int | None:
    """Return the label of an ImageNet validation image by its file name, or None for another name.

    >>> find_canonical_label("ILSVRC2012_val_00000001.JPEG")
    65
    >>> find_canonical_label("cat.jpg") is None
    True
    """
    match = _VAL_NAME.fullmatch(Path(name).stem)
    number = int(match.group(1)) if match else 0
    return read_canonical_labels()[number - 1] if 1 <= number <= IMAGENET_VAL_COUNT else None


def read_label_file(path: Path, label_count: int) -> dict[str, int]:
    r"""Return the labels of a file of lines `NAME index` (or `NAME synset`), by name as written there.

    Fields are parted by blanks or tabs; the last one is the label, so names may hold blanks. Empty
    lines and lines that begin with "# " are passed over.

    Args:
        path: The label file, UTF-8 with or without a byte-order mark.
        label_count: Number of classes; labels go from 0 to `label_count` - 1.

    Raises:
        BadImagesError: Unreadable, not text, a malformed line (named), a label out of range, or two
            labels for one name.
    """
    labels: dict[str, int] = {}
    line_numbers: dict[str, int] = {}
    for number, line in enumerate(_read_lines(path), start=1):
        if not line.strip() or line.startswith("# "):
            continue
        name, label = _parse_line(line, f"{path}, line {number}", label_count)
        if labels.setdefault(name, label) != label:
            first = line_numbers[name]
            raise BadImagesError(
                f"{path}: {name} has label {labels[name]} in line {first} and {label} in line {number}",
                hint="keep one line for each image",
            )
        line_numbers.setdefault(name, number)
    if not labels:
        raise BadImagesError(f"{path} holds no labels", hint="expected lines `NAME index`")
    return labels


def _read_lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_LABEL_FILE_BYTES:
            raise BadImagesError(f"{path} is larger than 64 MiB: this is no label file")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadImagesError(
            f"label file {path} cannot be read: {error.strerror}", hint="give a file with lines `NAME index`"
        ) from error
    except UnicodeDecodeError as error:
        raise BadImagesError(
            f"label file {path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _parse_line(line: str, where: str, label_count: int) -> tuple[str, int]:
    fields = line.rsplit(maxsplit=1)
    if len(fields) != 2:
        raise BadImagesError(f"{where}: expected `NAME index`, found {line.strip()[:60]!r}")
    name, text = fields[0].strip(), fields[1]
    if re.fullmatch(r"n\d{8}", text):
        return name, _check_range(_find_synset(text, where), where, label_count)
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise BadImagesError(f"{where}: expected an index or a synset as label, found {text[:60]!r}")
    return name, _check_range(int(text), where, label_count)


def _check_range(label: int, where: str, label_count: int) -> int:
    if label >= label_count:
        raise BadImagesError(
            f"{where}: label {label} is out of range: expected 0 to {label_count - 1}",
            hint="labels count from 0; a file that counts from 1 must be lowered by 1 first",
        )
    return label


def _find_synset(synset: str, where: str) -> int:
    if synset not in read_synsets():
        raise BadImagesError(f"{where}: {synset} is not one of the 1000 ImageNet synsets")
    return read_synsets().index(synset)


def match_label(labels: dict[str, int], relative_path: str) -> int | None:
    """Return an image's label: by its relative path, else its file name, else its stem; else None.

    >>> match_label({"cat": 3}, "pets/cat.JPEG")
    3
    """
    path = Path(relative_path)
    for key in (relative_path, path.name, path.stem):
        if key in labels:
            return labels[key]
    return None
