"""The stored predictions of a run to its metrics."""

from __future__ import annotations

from assay.images.real_labels import RealLabels
from assay.measure.accuracy.accuracy import (
    measure_accuracy,
    measure_class_accuracy,
    measure_real_accuracy,
    measure_subset_accuracy,
)
from assay.measure.accuracy.agreement import measure_agreement
from assay.measure.accuracy.calibration_error import measure_calibration_error
from assay.runs.class_names import find_classes
from assay.runs.results_file import Metrics
from assay.runs.stored import PredictedRun


def compute_metrics(run: PredictedRun, real_labels: RealLabels | None = None, reference: str = "") -> Metrics:
    """The accuracy of a run whose shards are all there; they are read one at a time.

    Args:
        run: The run.
        real_labels: ReaL labels to score by besides, if there are any.
        reference: Name of what predicted the same images too; empty where nothing did.
    """
    predictions, offset, stop = run.predictions, run.label_offset, run.manifest.early_stop
    other = run.reference if reference else None
    classes, subset = find_classes(run.manifest), run.image_set.class_subset
    return Metrics(
        accuracy=measure_accuracy(predictions, offset, class_count=classes.count),
        subset=measure_subset_accuracy(predictions, offset, subset.name, len(subset.labels))
        if subset
        else None,
        limited_from=run.image_set.limited_from,
        stopped_from=stop.of_count if stop else None,
        real=measure_real_accuracy(predictions, real_labels, offset) if real_labels else None,
        agreement=measure_agreement(reference, other, predictions, offset) if other else None,
        calibration_error=measure_calibration_error(predictions, offset, run.model.output.scores),
        per_class=measure_class_accuracy(predictions, offset, classes.names),
    )
