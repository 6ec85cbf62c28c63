"""Matches results with labels, and writes the original scoring script's `result.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from assay.errors import BadImagesError, GateFailedError
from assay.measure.accuracy import Accuracy, ClassAccuracy

BACKGROUND_CLASS_COUNT = 1001  # the original lowers the labels' classes by one for such networks
LISTED_NAMES = 5
NO_RESULT = "no result"


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How results and labels fit together; the first names of what is missing and what is surplus."""

    label_count: int
    result_count: int
    missing_count: int
    surplus_count: int
    missing: tuple[str, ...]
    surplus: tuple[str, ...]


class ScoreMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """`metrics.json` of a score: as of an evaluation, and the coverage."""

    schema_version: int = 1
    accuracy: Accuracy
    coverage: Coverage
    per_class: list[ClassAccuracy]


def key_labels(labels: Mapping[str, int], source: Path) -> dict[str, int]:
    """Return the labels by the text before the first dot of the file name, as the original names results.

    Raises:
        BadImagesError: Two names with the same text have different labels; both are named.
    """
    keyed: dict[str, int] = {}
    names: dict[str, str] = {}
    for name, label in labels.items():
        key = Path(name).name.split(".")[0]
        if keyed.setdefault(key, label) != label:
            raise BadImagesError(
                f"{source}: {names[key]} and {name} have results of one name, but two labels"
            )
        names.setdefault(key, name)
    return keyed


def get_label_offset(class_count: int) -> int:
    """Return the class of label 0: 1 for 1001 classes, which begin with a background class, else 0."""
    return 1 if class_count == BACKGROUND_CLASS_COUNT else 0


def measure_coverage(labels: Mapping[str, int], stems: list[str]) -> Coverage:
    """Return which labels have no result, and which results have no label."""
    found = set(stems)
    missing = [name for name in labels if name not in found]
    surplus = [stem for stem in stems if stem not in labels]
    return Coverage(
        label_count=len(labels),
        result_count=len(stems),
        missing_count=len(missing),
        surplus_count=len(surplus),
        missing=tuple(missing[:LISTED_NAMES]),
        surplus=tuple(surplus[:LISTED_NAMES]),
    )


def require_coverage(coverage: Coverage, *, allow_missing: bool) -> None:
    """Refuse a score that leaves labels out.

    Raises:
        GateFailedError: Labels without a result, and they were not allowed; or not one that has one.
    """
    if coverage.missing_count == coverage.label_count:
        raise GateFailedError(
            f"not one of {coverage.result_count:,} results has a label, such as {coverage.surplus[0]}",
            hint="give the label file of these images",
        )
    if coverage.missing_count and not allow_missing:
        raise GateFailedError(
            f"{coverage.missing_count:,} of {coverage.label_count:,} labels have no result, such as "
            f"{coverage.missing[0]}",
            hint="run the inference on all images, or score what is there with --allow-missing",
        )


def encode_original_result(accuracy: Accuracy, class_count: int) -> bytes:
    """Return `result.json` as the original writes it: the percentages are over the results that are there."""
    hits = [getattr(accuracy, f"top{k}").hits for k in range(1, 6)]
    value = [
        {"key": "Number of images", "value": str(accuracy.scored_count)},
        {"key": "Number of classes", "value": str(class_count)},
    ]
    value += [
        {"key": f"Top{k} accuracy", "value": f"{round(100 * count / accuracy.scored_count, 2)}%"}
        for k, count in enumerate(hits, start=1)
    ]
    return json.dumps({"title": "Overall statistical evaluation", "value": value}).encode("ascii")
