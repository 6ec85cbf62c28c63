"""The stored predictions of a run to its metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import UNSET, UnsetType

from assay.images.real_labels import RealLabels
from assay.inference.shards import StoredPredictions
from assay.measure.accuracy.accuracy import (
    Accuracy,
    AccuracyCount,
    ClassCounts,
    measure_accuracy,
    measure_real_accuracy,
    measure_subset_accuracy,
)
from assay.measure.accuracy.agreement import measure_agreement
from assay.measure.accuracy.answers import BatchAccuracy, BatchChoice, compare_answers
from assay.measure.accuracy.calibration_error import CalibrationCount
from assay.measure.accuracy.cascade import CascadePart, count_answers, measure_part
from assay.runs.class_names import find_classes
from assay.runs.results_file import Metrics
from assay.runs.stored import PredictedRun


def compute_metrics(
    run: PredictedRun,
    real_labels: RealLabels | None = None,
    reference: str = "",
    batches: Sequence[BatchChoice] = (),
) -> Metrics:
    """The accuracy of a run whose shards are all there; they are read one at a time.

    Args:
        run: The run.
        real_labels: ReaL labels to score by besides, if there are any.
        reference: Name of what predicted the same images too; empty where nothing did.
        batches: The batch sizes that the same images were predicted at, the first in the run's predictions.
    """
    predictions, offset, stop = run.predictions, run.label_offset, run.manifest.early_stop
    other = run.reference if reference else None
    is_cascade = bool(run.manifest.cascade)
    classes, subset = find_classes(run.manifest), run.image_set.class_subset
    counts = AccuracyCount(offset), ClassCounts(offset), CalibrationCount(offset)
    for row in predictions:
        for count in counts:
            count.add(row)
    over_all, by_class, calibration = counts
    accuracy = over_all.to_accuracy(classes.count)
    return Metrics(
        accuracy=accuracy,
        subset=measure_subset_accuracy(predictions, offset, subset.name, len(subset.labels))
        if subset
        else None,
        limited_from=run.image_set.limited_from,
        stopped_from=stop.of_count if stop else None,
        real=measure_real_accuracy(predictions, real_labels, offset) if real_labels else None,
        agreement=measure_agreement(reference, other, predictions, offset) if other else None,
        calibration_error=calibration.to_error(run.model.output.scores),
        batches=tuple(_measure_batches(run, accuracy, batches)),
        per_class=by_class.to_list(classes.names),
        answered_by=count_answers(predictions) if is_cascade else UNSET,
        cascade=_measure_cascade(run, other),
    )


def _measure_batches(
    run: PredictedRun, accuracy: Accuracy, batches: Sequence[BatchChoice]
) -> Iterator[BatchAccuracy]:
    """The accuracy at each batch size, the first of which is the run's own."""
    offset, shard_size = run.label_offset, run.identity.shard_size
    for number, batch in enumerate(batches):
        size, predictions = batch.batch_size, run.read_batch(batch.batch_size) if number else run.predictions
        whole, rest = divmod(run.image_count, shard_size)
        yield BatchAccuracy(
            batch_size=size,
            is_best=batch.is_best,
            is_proven=batch.is_proven,
            full_call_count=whole * (shard_size // size) + rest // size,
            accuracy=measure_accuracy(predictions, offset, class_count=accuracy.class_count)
            if number
            else accuracy,
            same=compare_answers(run.predictions, predictions, offset) if number else None,
        )


def _measure_cascade(run: PredictedRun, exact: StoredPredictions | None) -> list[CascadePart] | UnsetType:
    """How accurate a cascade and both of its models alone are; unset where not all three were run."""
    cascade, fast, offset = run.manifest.cascade, run.fast, run.label_offset
    if not cascade or fast is None or exact is None:
        return UNSET
    return [
        measure_part("fast", cascade.fast, fast, exact, offset),
        measure_part("exact", cascade.exact, exact, exact, offset),
        measure_part("cascade", "", run.predictions, exact, offset),
    ]
