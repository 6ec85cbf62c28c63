"""A result folder of the inference tool and a label file to the original's `result.json`, and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.errors import UsageError
from assay.files import write_file
from assay.images.batches import OK
from assay.images.labels import read_label_file
from assay.inference.predictions import Prediction, rank_top_classes
from assay.measure.accuracy import measure_accuracy, measure_class_accuracy
from assay.modelzoo.result_reader import ResultFile, find_result_files, read_logits
from assay.modelzoo.scoring import (
    NO_RESULT,
    ScoreMetrics,
    encode_original_result,
    get_label_offset,
    key_labels,
    measure_coverage,
    require_coverage,
)
from assay.report.results_file import encode_json
from assay.workflows.listener import Listener, Progress

METRICS_FILE = "metrics.json"
_RANKED_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Score:
    """What was scored, and where it is written."""

    result_path: Path
    class_count: int
    metrics: ScoreMetrics


def score_results(
    results: Path, labels: Path, result_path: Path, *, allow_missing: bool, listener: Listener
) -> Score:
    """Score a result folder; the files are written only when the score is complete.

    Args:
        results: The folder with `NAME_0.txt`, `.bin` or `.npy` files.
        labels: Lines `NAME index`.
        result_path: The original's `result.json`; `metrics.json` is put beside it.
        allow_missing: Whether labels without a result are scored as wrong instead of refused.
        listener: Hears how far it is.

    Raises:
        BadInputError: The results or the labels cannot be used; the file is named.
        GateFailedError: Labels without a result, and they were not allowed.
        UsageError: The result would be called `metrics.json`.
    """
    if result_path.name == METRICS_FILE:
        raise UsageError(f"{result_path}: {METRICS_FILE} is written beside it", hint="give it another name")
    files = find_result_files(results)
    class_count = len(next(read_logits(files[:1])))
    offset = get_label_offset(class_count)
    by_stem = key_labels(read_label_file(labels, class_count - offset), labels)
    coverage = measure_coverage(by_stem, [file.stem for file in files])
    require_coverage(coverage, allow_missing=allow_missing)
    predictions = _predict([file for file in files if file.stem in by_stem], by_stem, listener)
    predictions += _make_missing(by_stem, {file.stem for file in files})
    accuracy = measure_accuracy(predictions, offset)
    metrics = ScoreMetrics(
        accuracy=accuracy, coverage=coverage, per_class=measure_class_accuracy(predictions, offset)
    )
    write_file(result_path.with_name(METRICS_FILE), encode_json(metrics))
    write_file(result_path, encode_original_result(accuracy, class_count))
    return Score(result_path=result_path, class_count=class_count, metrics=metrics)


def _predict(files: list[ResultFile], labels: dict[str, int], listener: Listener) -> list[Prediction]:
    predictions: list[Prediction] = []
    rows = read_logits(files)
    for start in range(0, len(files), _RANKED_AT_ONCE):
        part = files[start : start + _RANKED_AT_ONCE]
        logits = np.stack([next(rows) for _ in part])  # (N, classes)
        top_classes = rank_top_classes(logits)  # (N, 5)
        predictions += [
            Prediction(
                name=file.path.name,
                relative_path=file.path.name,
                label=labels[file.stem],
                status=OK,
                top_classes=tuple(classes.tolist()),
            )
            for file, classes in zip(part, top_classes, strict=True)
        ]
        listener.advance(Progress(task="Scoring", unit="results", done=len(predictions), total=len(files)))
    return predictions


def _make_missing(labels: dict[str, int], present: set[str]) -> list[Prediction]:
    return [
        Prediction(name=name, relative_path=name, label=label, status=NO_RESULT)
        for name, label in labels.items()
        if name not in present
    ]
