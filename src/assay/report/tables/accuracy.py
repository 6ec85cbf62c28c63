"""The report's tables of accuracy: measured and published, failures, calibration."""

from __future__ import annotations

from assay.measure.accuracy.accuracy import Accuracy, TopKAccuracy
from assay.measure.accuracy.calibration_error import CalibrationError
from assay.models.record import ModelRecord
from assay.report.sentences import describe_calibration, describe_doubts, list_figures
from assay.report.tables.table import Table
from assay.runs.results_file import Metrics


def make_accuracy_table(metrics: Metrics, record: ModelRecord) -> Table:
    """The measured accuracy and, each with its source, the published ones."""
    accuracy = metrics.accuracy
    rows = [("measured here", name, *_topk_cells(topk, accuracy)) for name, topk in list_figures(metrics)]
    for published in record.published_accuracy:
        who = f"published: {published.source}"
        who += f" ({published.setting})" if published.setting else ""
        rows.append((who, "Top-1", "of 50,000", f"{published.top1_percent:g}", ""))
        if published.top5_percent is not None:
            rows.append((who, "Top-5", "of 50,000", f"{published.top5_percent:g}", ""))
    notes = ["Failed images count as wrong."] if accuracy.failed_count else []
    if record.published_accuracy and accuracy.image_count != 50_000:
        notes.append("The published figures are over other images than the measured one.")
    notes += describe_doubts(record.published_accuracy)
    header = ("Accuracy", "", "right", "%", "95 % interval")
    return Table(title="Accuracy", header=header, rows=tuple(rows), notes=tuple(notes))


def _topk_cells(topk: TopKAccuracy, accuracy: Accuracy) -> tuple[str, str, str]:
    low, high = topk.interval_percent
    return (
        f"{topk.hits:,} of {accuracy.image_count:,}",
        f"{topk.percent:.2f}",
        f"{low:.2f} to {high:.2f}",
    )


def make_failure_table(accuracy: Accuracy) -> Table:
    """How many images failed for each reason."""
    rows = tuple((reason, f"{count:,}") for reason, count in accuracy.failures.items())
    return Table(title="Failed images", header=("Reason", "Images"), rows=rows)


def make_calibration_table(found: CalibrationError) -> Table:
    """Return the bins that hold images: how sure the network is, and how often it is right."""
    rows = tuple(
        (
            f"{100 * one.low:.1f} to {100 * one.high:.1f}",
            f"{one.image_count:,}",
            f"{100 * one.confidence:.1f}",
            f"{100 * one.hits / one.image_count:.1f}",
        )
        for one in found.bins
        if one.confidence is not None
    )
    header = ("Probability of Top-1, %", "Images", "mean %", "right %")
    return Table(title="Reliability", header=header, rows=rows, notes=(describe_calibration(found),))
