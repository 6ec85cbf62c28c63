"""A result folder of the inference tool and a label file to the original's `result.json`, and metrics."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from assay.errors import UsageError
from assay.files import encode_json, refuse_same_file, write_file
from assay.images.classes import make_classes
from assay.images.label_files import NO_LABEL_FILE, LabelFile, LabelOptions, read_label_file
from assay.images.preprocessed_image import OK
from assay.inference.predictions import Prediction, rank_top_classes
from assay.measure.accuracy.accuracy import measure_accuracy, measure_class_accuracy
from assay.modelzoo.result_files import ResultFile, find_result_files
from assay.modelzoo.result_values import Values, check_value_type, count_classes, read_values
from assay.modelzoo.scoring import (
    NO_RESULT,
    ScoreCoverage,
    ScoreMetrics,
    encode_original_result,
    get_label_offset,
    match_results,
    measure_coverage,
    refuse_padding,
    require_coverage,
)
from assay.modelzoo.value_types import ValueType
from assay.runs.listener import Listener, Progress

METRICS_FILE = "metrics.json"


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How a result folder is scored.

    Args:
        allow_missing: Whether labels without a result are scored as wrong instead of refused.
        labels: How the label file is read.
        dtype: The type of the values in `.bin` files; None for float32, which is checked.
    """

    allow_missing: bool = False
    labels: LabelOptions = NO_LABEL_FILE
    dtype: ValueType | None = None


DEFAULT_SCORE_OPTIONS = ScoreOptions()


@dataclass(frozen=True, kw_only=True)
class Score:
    """What was scored, and where it is written."""

    result_path: Path
    class_count: int
    metrics: ScoreMetrics


def score_results(
    results: Path,
    labels: Path,
    result_path: Path,
    listener: Listener,
    options: ScoreOptions = DEFAULT_SCORE_OPTIONS,
) -> Score:
    """Score a result folder; the files are written only when the score is complete.

    Args:
        results: The folder with `NAME_0.txt`, `.bin` or `.npy` files.
        labels: A label file of any form that `label_files.py` lists.
        result_path: The original's `result.json`; `metrics.json` is put beside it.
        listener: Hears what was found, and how far it is.
        options: How labels and values are read.

    Raises:
        BadInputError: The results or the labels cannot be used; the file is named.
        GateFailedError: Labels without a result, and they were not allowed.
        UsageError: The result would be called `metrics.json`, or a type was given for files that hold theirs.
    """
    if result_path.name == METRICS_FILE:
        raise UsageError(f"{result_path}: {METRICS_FILE} is written beside it", hint="give it another name")
    files = find_result_files(results)
    _refuse_to_overwrite((result_path, result_path.with_name(METRICS_FILE)), labels, files)
    dtype = check_value_type(files, options.dtype)
    class_count = count_classes(files[0], dtype)
    offset = get_label_offset(class_count)
    label_file = read_label_file(labels, make_classes(class_count - offset, (), ()), options.labels)
    matched = match_results(files, label_file.labels)
    coverage = measure_coverage(label_file.labels, files, matched)
    listener.announce(f"results: {len(files):,}, classes: {class_count:,}")
    _announce(label_file, coverage, listener)
    require_coverage(coverage, allow_missing=options.allow_missing)
    blocks = read_values(list(matched.values()), class_count, dtype)
    predictions = _predict(matched, label_file.labels, _refuse_padded(blocks, results), listener)
    predictions += _make_missing(label_file.labels, matched)
    accuracy = measure_accuracy(predictions, offset, class_count=class_count - offset)
    metrics = ScoreMetrics(
        accuracy=accuracy, coverage=coverage, per_class=measure_class_accuracy(predictions, offset)
    )
    write_file(result_path.with_name(METRICS_FILE), encode_json(metrics))
    write_file(result_path, encode_original_result(accuracy, class_count))
    return Score(result_path=result_path, class_count=class_count, metrics=metrics)


def _refuse_to_overwrite(outputs: Sequence[Path], labels: Path, files: Sequence[ResultFile]) -> None:
    there = [output for output in outputs if output.exists()]
    for output in there:
        refuse_same_file(output, labels)
    numbers = {output.stat().st_ino for output in there}
    alike = [Path(file.path) for file in files if _read_number(file.path) in numbers] if there else []
    for output in there:
        refuse_same_file(output, *alike)


def _read_number(path: str) -> int:
    """The number of a file on its device, 0 where it is gone; without a `Path`, which takes longer."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116
    except OSError:
        return 0


def _announce(label_file: LabelFile, coverage: ScoreCoverage, listener: Listener) -> None:
    repeated = f", {label_file.repeated_count:,} lines repeat one" if label_file.repeated_count else ""
    listener.announce(f"labels: {coverage.label_count:,}, form: {label_file.form}{repeated}")
    if coverage.missing_count:
        listener.announce(
            f"without a result: {coverage.missing_count:,}, first {', '.join(coverage.missing)}"
        )
    if coverage.surplus_count:
        listener.announce(f"without a label: {coverage.surplus_count:,}, first {', '.join(coverage.surplus)}")


def _refuse_padded(blocks: Iterator[Values], results: Path) -> Iterator[Values]:
    """Yield the blocks, (N, classes), and raise behind the last one where their last values are padding."""
    used: npt.NDArray[np.bool_] | None = None
    has_negatives = False
    for block in blocks:
        if used is None or not used.all():
            nonzero = (block != 0).any(axis=0)  # (classes,)
            used = nonzero if used is None else used | nonzero
        has_negatives = has_negatives or bool((block < 0).any())
        yield block
    if used is not None:
        refuse_padding(f"{results}", used, has_negatives=has_negatives)


def _predict(
    matched: Mapping[str, ResultFile],
    labels: Mapping[str, int],
    blocks: Iterator[Values],
    listener: Listener,
) -> list[Prediction]:
    predictions: list[Prediction] = []
    pairs = iter(matched.items())
    listener.advance(Progress(task="Scoring", unit="results", done=0, total=len(matched)))
    for values in blocks:
        predictions += [
            Prediction(
                name=file.name,
                relative_path=file.name,
                label=labels[name],
                status=OK,
                top_classes=tuple(classes),
            )
            for classes, (name, file) in zip(rank_top_classes(values).tolist(), pairs, strict=False)
        ]
        listener.advance(Progress(task="Scoring", unit="results", done=len(predictions), total=len(matched)))
    return predictions


def _make_missing(labels: Mapping[str, int], matched: Mapping[str, ResultFile]) -> list[Prediction]:
    return [
        Prediction(name=name, relative_path=name, label=label, status=NO_RESULT)
        for name, label in labels.items()
        if name not in matched
    ]
