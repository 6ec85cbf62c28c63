"""What tools noted in a model file: class names, ultralytics' own entries, and ONNX's of the image."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

LONGEST_LITERAL = 4_000_000  # characters; 21,843 names take 600,000
_NAME_KEYS = (
    "names",
    "class_names",
    "labels",
    "classes",
    "categories",
    "id2label",
    "model_info.labels",
    "character",
)


@dataclass(frozen=True, kw_only=True)
class UltralyticsNotes:
    """What ultralytics noted in an export of its own.

    Args:
        version: Of ultralytics, "8.3.40".
        task: "classify" for a classifier.
        size: Height and width of the input; None where it is not noted.
    """

    version: str
    task: str
    size: tuple[int, int] | None

    @property
    def release(self) -> tuple[int, ...]:
        """The version's first two numbers; empty where it is not one."""
        found = re.match(r"(\d+)\.(\d+)", self.version)
        return (int(found[1]), int(found[2])) if found else ()


def read_ultralytics(metadata: Mapping[str, str]) -> UltralyticsNotes | None:
    """What ultralytics noted, or None in a file that it did not write."""
    if metadata.get("author") != "Ultralytics" or "task" not in metadata:
        return None
    size = read_literal(metadata.get("imgsz", ""))
    sizes = [size, size] if isinstance(size, int) else size
    is_size = isinstance(sizes, (list, tuple)) and len(sizes) == 2 and all(isinstance(n, int) for n in sizes)
    return UltralyticsNotes(
        version=metadata.get("version", ""),
        task=metadata["task"],
        size=(sizes[0], sizes[1]) if is_size and isinstance(sizes, (list, tuple)) else None,
    )


def find_class_names(metadata: Mapping[str, str], class_count: int | None) -> tuple[str, tuple[str, ...]]:
    """The key of the metadata that names every class, and the names; empty where there is none.

    Taken are a list, or a map of index to name, as JSON or as Python writes it, and names separated by line
    ends, commas or blanks: always as many as there are classes.
    """
    for key in _NAME_KEYS:
        names = _read_names(metadata.get(key, ""))
        if names and len(names) == class_count and all(names):
            return key, names
    return "", ()


def read_literal(text: str) -> object:
    """The value that a text writes as Python or JSON does; None where it writes none. Nothing is run."""
    if len(text) > LONGEST_LITERAL:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return None


def _read_names(text: str) -> tuple[str, ...]:
    value = read_literal(text)
    if isinstance(value, dict):
        try:
            numbered = {int(key): str(name) for key, name in value.items()}
        except (ValueError, TypeError):
            return ()
        return (
            tuple(numbered[key] for key in sorted(numbered))
            if sorted(numbered) == [*range(len(numbered))]
            else ()
        )
    if isinstance(value, (list, tuple)):
        return tuple(map(str, value))
    for separator in ("\n", ",", " "):
        if separator in text.strip():
            return tuple(name.strip() for name in text.strip().split(separator))
    return ()
