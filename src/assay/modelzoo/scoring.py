"""Matches results with labels, ranks them, and writes the original scoring script's `result.json`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from assay.errors import BadInputError, GateFailedError, shorten
from assay.images.label_names import get_base_name, get_stem, normalise_name
from assay.inference.predictions import TOP_K
from assay.measure.accuracy.accuracy import Accuracy, ClassAccuracy
from assay.modelzoo.result_files import MSAME_TAIL, ResultFile

BACKGROUND_CLASS_COUNT = 1001  # the original raises the labels by one for such networks
LISTED_NAMES = 5
NO_RESULT = "no result"


class ScoreCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """How results and labels fit together; the first names of what is missing and what is surplus."""

    label_count: int
    result_count: int
    scored_count: int
    missing_count: int
    surplus_count: int
    missing: tuple[str, ...]
    surplus: tuple[str, ...]


class ScoreMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """`metrics.json` of a score: as of an evaluation, and the coverage."""

    schema_version: int = 1
    accuracy: Accuracy
    coverage: ScoreCoverage
    per_class: list[ClassAccuracy]


def _cut_msame_tail(stem: str) -> str:
    """The image's name of a result that msame wrote, NAME_output_0; "" for any other."""
    return stem.removesuffix(MSAME_TAIL) if stem.endswith(MSAME_TAIL) else ""


# From the strictest to the laxest: what is compared of a label's name, and of a result's
_WAYS: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (get_base_name, str),
    (get_stem, str),
    (lambda name: get_base_name(name).split(".")[0], str),
    (normalise_name, normalise_name),
    (get_base_name, _cut_msame_tail),
    (get_stem, _cut_msame_tail),
    (lambda name: get_base_name(name).split(".")[0], _cut_msame_tail),
)


def match_results(files: Sequence[ResultFile], label_names: Iterable[str]) -> dict[str, ResultFile]:
    """The result of each label's name that has one.

    Names are compared exactly, then without suffix, then up to the first dot, then without a synset at the
    end and without regard to case, then as msame names its results; a result takes the first way that gives
    it a label.

    Raises:
        BadInputError: A result that fits several labels, or a label that fits several results.
    """
    names = list(label_names)
    matched: dict[str, ResultFile] = {}
    left = list(files)
    for read_label_key, read_result_key in _WAYS:
        if not left:
            break
        keyed: dict[str, list[str]] = defaultdict(list)
        for name in names:
            keyed[read_label_key(name)].append(name)
        unmatched = []
        for file in left:
            key = read_result_key(file.stem)
            found = keyed.get(key) if key else None
            if found:
                _add_match(matched, file, found)
            else:
                unmatched.append(file)
        left = unmatched
    return matched


def _add_match(matched: dict[str, ResultFile], file: ResultFile, names: list[str]) -> None:
    if len(names) > 1:
        raise BadInputError(
            f"{file.path} may be the result of {shorten(names[0])} and of {shorten(names[1])}: "
            "the label file names both",
            hint="keep one of them in the label file",
        )
    other = matched.setdefault(names[0], file)
    if other is not file:
        raise BadInputError(
            f"{other.path} and {file.name} are both results of {shorten(names[0])}",
            hint="keep the one to score",
        )


def get_label_offset(class_count: int) -> int:
    """The class of label 0: 1 for 1001 classes, which begin with a background class, else 0."""
    return 1 if class_count == BACKGROUND_CLASS_COUNT else 0


def measure_coverage(
    labels: Mapping[str, int], files: Sequence[ResultFile], matched: Mapping[str, ResultFile]
) -> ScoreCoverage:
    """Which labels have no result, and which results have no label."""
    missing = [name for name in labels if name not in matched]
    taken = {file.stem for file in matched.values()}
    surplus = [file.stem for file in files if file.stem not in taken]
    return ScoreCoverage(
        label_count=len(labels),
        result_count=len(files),
        scored_count=len(matched),
        missing_count=len(missing),
        surplus_count=len(surplus),
        missing=tuple(map(shorten, missing[:LISTED_NAMES])),
        surplus=tuple(map(shorten, surplus[:LISTED_NAMES])),
    )


def require_coverage(coverage: ScoreCoverage, *, allow_missing: bool) -> None:
    """Refuse a score that leaves labels out.

    Raises:
        GateFailedError: Labels without a result, and they were not allowed; or not one that has one.
    """
    if not coverage.scored_count:
        raise GateFailedError(
            f"not one of {coverage.result_count:,} results has a label, such as {coverage.surplus[0]}; "
            f"the labels are of {coverage.missing[0]} and others",
            hint="give the label file of these images",
        )
    if coverage.missing_count and not allow_missing:
        raise GateFailedError(
            f"{coverage.missing_count:,} of {coverage.label_count:,} labels have no result, such as "
            f"{coverage.missing[0]}",
            hint="run the inference on all images, or score what is there with --allow-missing",
        )


def refuse_padding(where: str, used: npt.NDArray[np.bool_], *, has_negatives: bool) -> None:
    """Refuse values that fill up the classes: they are 0 in every result, above all negative values.

    Args:
        where: What holds them, for messages.
        used: Which classes have another value than 0 in some result, (classes,).
        has_negatives: Whether some result has a negative value.

    Raises:
        BadInputError: The last values are 0 in every result, and no others are.
    """
    count = int(used.sum())
    if has_negatives and count < len(used) and used[:count].all():
        raise BadInputError(
            f"{where}: the last {len(used) - count} of {len(used)} values are 0 in every result: padding, "
            "which would rank above negative values",
            hint=f"cut the results to the network's classes ({count}, it seems)",
        )


def encode_original_result(accuracy: Accuracy, class_count: int) -> bytes:
    """`result.json` as the original writes it: the percentages are over the results that are there."""
    hits = [getattr(accuracy, f"top{k}").hits for k in range(1, min(TOP_K, class_count) + 1)]
    value = [
        {"key": "Number of images", "value": str(accuracy.scored_count)},
        {"key": "Number of classes", "value": str(class_count)},
    ]
    value += [
        {"key": f"Top{k} accuracy", "value": _format_percent(count, accuracy.scored_count)}
        for k, count in enumerate(hits, start=1)
    ]
    return json.dumps({"title": "Overall statistical evaluation", "value": value}).encode("ascii")


def _format_percent(hits: int, count: int) -> str:
    share = np.float64(hits) / count  # the original's order of operations, and NumPy's rounding
    return f"{np.round(share * 100, 2)!s}%"
