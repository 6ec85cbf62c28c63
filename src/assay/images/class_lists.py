"""Lists of a model's classes beside its record: a file of their names, or the sorted names of the folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from assay.errors import BadImagesError, shorten
from assay.files import decode_json
from assay.images.classes import SYNSET, Classes, make_classes

CLASS_FILE = "classes.txt"
MAX_CLASS_FILE_BYTES = 16 * 2**20
_SYNSET_AND_NAME = re.compile(r"(n[0-9]{8})[\s,:]+(\S.*)")
_JSON_LIST: Any = list[str] | dict[str, str | int | tuple[str, str]]  # mypy takes a union for no type
_MOST_DIGITS = 6
_NUMBER_FIRST = re.compile(r"([0-9]{1,6})[\s,:]+(\S.*)")
_NUMBER_LAST = re.compile(r"(.*\S)[\s,:]+([0-9]{1,6})")

ClassList = Path | Literal["sorted"] | None
"""What numbers the classes: a file, the sorted names of the images' classes, or the model alone."""


def read_class_file(path: Path, count: int) -> Classes:
    """The classes that a file lists, in the order of the labels.

    A class a line: its name, its synset, or its synset and its name; a number from 0 or 1 may stand before,
    or one from 0 behind. JSON: a list of names, or names by number or numbers by name, or a pair of synset
    and name by number.

    Args:
        path: The file.
        count: How many classes the model has.

    Raises:
        BadImagesError: It cannot be read, names another number of classes, or one twice.
    """
    text = _read_text(path)
    names = _read_json(path, text) if text.lstrip().startswith(("[", "{")) else _read_lines(text)
    if len(names) != count:
        raise BadImagesError(
            f"{path} lists {len(names):,} classes, the model has {count:,}",
            hint="list every class of the model, one a line, in the order of its labels",
        )
    if twice := sorted({name for name in names if names.count(name) > 1})[:1]:
        raise BadImagesError(
            f"{path} lists {shorten(twice[0])} twice", hint="give each class a name of its own"
        )
    pairs = [_SYNSET_AND_NAME.fullmatch(name) for name in names]
    if all(pairs):
        synsets = tuple(pair[1] for pair in pairs if pair)
        return make_classes(count, tuple(pair[2] for pair in pairs if pair), synsets)
    if all(SYNSET.fullmatch(name) for name in names):
        return make_classes(count, (), tuple(names))
    return Classes(count=count, names=tuple(names))


def replace_classes(classes: Classes, listed: Classes, where: str) -> Classes:
    """The model's classes as a list names them: others than the model's own, in no other order.

    The synsets stay where every name of the list is one of the model's own.

    Args:
        classes: The model's own; 1000 that nobody named are taken for ImageNet's.
        listed: The list.
        where: What holds it, for messages.

    Raises:
        BadImagesError: The list has the model's own names in another order.
    """
    names = listed.names or listed.synsets
    own = [classes.find_labels(name) for name in names]
    for label, found in enumerate(own):
        if found and label not in found:
            raise BadImagesError(
                f"{where}: {shorten(names[label])} is class {label} there, and class {found[0]} of the model",
                hint="leave --classes out: the model names its classes itself; or correct its record",
            )
    if listed.synsets or not all(own):
        return listed
    return Classes(count=listed.count, names=listed.names, synsets=classes.synsets)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CLASS_FILE_BYTES + 1)
        if len(content) > MAX_CLASS_FILE_BYTES or b"\0" in content:
            raise BadImagesError(
                f"--classes {path} is no list of classes", hint="give a text file with a name in each line"
            )
        return content.decode("utf-8-sig")
    except OSError as error:
        raise BadImagesError(
            f"--classes {path} cannot be read: {error.strerror}",
            hint="give a text file with a name in each line, or the word sorted",
        ) from error
    except UnicodeDecodeError as error:
        raise BadImagesError(
            f"--classes {path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8"
        ) from error


def _read_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("# ")]
    before = [_NUMBER_FIRST.fullmatch(line) for line in lines]
    if all(before):
        pairs = [(int(found[1]), found[2]) for found in before if found]
        if (names := _order(pairs, starts=(0, 1))) is not None:
            return names
    behind = [_NUMBER_LAST.fullmatch(line) for line in lines]
    if all(behind):
        pairs = [(int(found[2]), found[1]) for found in behind if found]
        if (names := _order(pairs, starts=(0,))) is not None:
            return names
    return lines


def _order(pairs: Sequence[tuple[int, str]], starts: Sequence[int]) -> list[str] | None:
    """The names in the order of their numbers; None where those do not count the names from a start on."""
    numbers = sorted(number for number, _ in pairs)
    are_counted = any(numbers == list(range(start, start + len(pairs))) for start in starts)
    are_different = len({name for _, name in pairs}) == len(pairs)
    return [name for _, name in sorted(pairs)] if are_counted and are_different else None


def _read_json(path: Path, text: str) -> list[str]:
    """The names of a JSON list, of `{"0": "cat"}`, `{"cat": 0}` or `{"0": ["n02123045", "tabby"]}`."""
    hint = 'expected ["cat", "dog"], {"0": "cat", "1": "dog"} or {"cat": 0, "dog": 1}'
    try:
        found: list[str] | dict[str, str | int | tuple[str, str]] = decode_json(text, kind=_JSON_LIST)
    except msgspec.DecodeError as error:
        raise BadImagesError(f"--classes {path}: {shorten(error)}", hint=hint) from error
    if isinstance(found, list):
        return found
    pairs: list[tuple[int, str]] = []
    for key, value in found.items():
        if isinstance(value, int):
            pairs.append((value, key))
        elif key.isascii() and key.isdigit() and len(key) <= _MOST_DIGITS:
            pairs.append((int(key), value if isinstance(value, str) else " ".join(value)))
    names = _order(pairs, starts=(0,)) if len(pairs) == len(found) else None
    if names is None:
        raise BadImagesError(f"--classes {path}: the numbers do not count the classes from 0", hint=hint)
    return names


def find_class_file(images: Path) -> Path | None:
    """The `classes.txt` in the folder of the images or beside it; None where there is none."""
    places = (images / CLASS_FILE, images.parent / CLASS_FILE)
    return next((place for place in places if place.is_file()), None)


def lists_classes(path: Path, count: int) -> bool:
    """Whether a file that nobody gave lists the classes of the model: as many, each once."""
    try:
        read_class_file(path, count)
    except BadImagesError:
        return False
    return True


def sort_classes(where: str, names: Iterable[str], count: int) -> Classes:
    """The classes that are numbered by their sorted names, as torchvision's ImageFolder and Keras do.

    Args:
        where: What holds the names, for messages.
        names: Of all classes.
        count: How many classes the model has.

    Raises:
        BadImagesError: Another number of names, or names that timm sorts into another order.
    """
    ordered = sorted(set(names))
    if len(ordered) != count:
        raise BadImagesError(
            f"{where}: {len(ordered):,} classes, the model has {count:,}: --classes sorted needs all of them",
            hint="--classes FILE with the names of all classes, one a line, in the order of the labels",
        )
    natural = sorted(ordered, key=_split_numbers)
    if natural != ordered:
        place = next(
            place for place, pair in enumerate(zip(ordered, natural, strict=True)) if len({*pair}) > 1
        )
        raise BadImagesError(
            f"{where}: class {place} is {shorten(ordered[place])} where names are sorted as text "
            f"(torchvision, Keras), and {shorten(natural[place])} where by numbers and without case (timm)",
            hint="--classes FILE with the names, one a line, in the order that the model was trained with",
        )
    if all(SYNSET.fullmatch(name) for name in ordered):
        return make_classes(count, (), tuple(ordered))
    return Classes(count=count, names=tuple(ordered))


def _split_numbers(name: str) -> list[tuple[bool, int, str]]:
    """What timm sorts folders by (timm/data/readers/reader_image_folder.py, natural_key)."""
    return [
        (False, int(part), "") if part.isdecimal() else (True, 0, part)
        for part in re.split(r"([0-9]+)", name.lower())
    ]


def describe_order(names: Iterable[str], most: int = 6) -> str:
    """The first names of an order with their labels, for messages."""
    listed = [f"{label} {shorten(name, 40)}" for label, name in enumerate(names)]
    return ", ".join(listed[:most]) + (f" … {listed[-1]}" if len(listed) > most else "")
