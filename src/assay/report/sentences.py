"""What a report says in sentences: one line each, for a page, a terminal or Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from assay.engines.engine import SessionDescription
from assay.images.labels import IMAGENET_VAL_COUNT
from assay.measure.accuracy.accuracy import Accuracy, FailedImage, RealAccuracy, TopKAccuracy, describe_topk
from assay.measure.accuracy.agreement import Agreement
from assay.measure.accuracy.calibration_error import BIN_COUNT, CalibrationError
from assay.measure.accuracy.coverage import describe_coverage
from assay.measure.gates import GateResult
from assay.models.calibration import CalibrationRecord
from assay.models.record import ModelRecord, PublishedAccuracy, PublishedThroughput, ScoreKind
from assay.runs.results_file import DeviceUse, ImageSet, Metrics

_LISTED_FAILURES = 20
_LEAST_IMAGES = 50  # from which a low accuracy says something of the model
_FAR_BELOW_POINTS = 5.0  # more than engines, decoders and a sample of images cost
_NEAR_CHANCE_PERCENT = 20.0


def list_figures(metrics: Metrics) -> list[tuple[str, TopKAccuracy]]:
    """Top-1 and Top-5 by name, of all classes and, where the images are of a set of some, of those."""
    accuracy, subset = metrics.accuracy, metrics.subset
    if subset is None:
        return accuracy.shown
    of = f" of all {accuracy.class_count:,} classes" if accuracy.class_count else " of all classes"
    return [*((f"{name}{of}", topk) for name, topk in accuracy.shown), *subset.shown]


def describe_agreement(agreement: Agreement) -> str:
    """Return one line: how many images have the same Top-1 as the reference, of those that both answered."""
    answered = agreement.image_count - agreement.coverage.failed_count
    differing = answered - agreement.same_top1_count
    of_which = " that both answered" if agreement.coverage.failed_count else ""
    verdict = f"on every image{of_which}" if differing == 0 else f"on all{of_which} but {differing:,}"
    return f"Same Top-1 as {agreement.reference} {verdict}: {agreement.same_top1_count:,} of {answered:,}"


def describe_paired(agreement: Agreement, name: str = "this run") -> list[str]:
    """What failed or is not compared, then a line on who is right where, and one on the difference."""
    paired = agreement.paired
    low, high = paired.interval_points
    return [
        *describe_coverage(agreement.coverage, agreement.reference, name),
        f"Against {agreement.reference} on the same images: {paired.lost_count:,} lost, "
        f"{paired.won_count:,} won, exact McNemar p = {paired.p_value:.2g}",
        f"Top-1 difference {paired.difference_points:+.2f} points (95 %: {low:+.2f} to {high:+.2f})",
    ]


def describe_gates(gates: Sequence[GateResult]) -> list[str]:
    """Return a line for each gate: what it says, and why."""
    return [f"Gate {gate.gate}: {gate.outcome} ({gate.reason})" for gate in gates]


def describe_devices(devices: Mapping[str, DeviceUse]) -> str:
    """What each of several devices computed, and which of them failed."""
    parts = [
        f"{name} {use.image_count:,} images" + (f" until it failed ({use.failure})" if use.failure else "")
        for name, use in sorted(devices.items())
    ]
    return f"Computed by several devices: {'; '.join(parts)}"


def describe_session(found: SessionDescription) -> str:
    """What a session ran on and in: runtime, device, threads, its input, its layers' arithmetic."""
    parts = [found.runtime, found.device_name]
    if found.thread_count is not None:
        parts.append(f"{found.thread_count} threads")
    if found.stream_count is not None:
        parts.append(f"{found.stream_count} streams")
    if found.takes_pixels:
        parts.append("normalises the pixels itself")
    if found.computed_in:
        layers = ", ".join(f"{count} in {kind}" for kind, count in found.computed_in.items())
        parts.append(f"computing layers: {layers}")
    return "; ".join(parts)


def describe_real(real: RealAccuracy) -> list[str]:
    """A line each for Top-1 and Top-5 by ReaL labels, and how many images have none."""
    return [
        *(describe_topk(f"ReaL {name}", topk, real.accuracy) for name, topk in real.accuracy.shown),
        f"Without ReaL labels, left out of these two: {real.excluded_count:,}"
        + (f"; the labels' file has sha256 {real.labels_sha256[:12]}…" if real.labels_sha256 else ""),
    ]


def describe_images(image_set: ImageSet) -> list[str]:
    """What a reader must know of the images before the figures: a subset, and what was odd."""
    lines = []
    if image_set.limited_from is not None:
        lines.append(
            f"Cut by --limit to {image_set.image_count:,} of {image_set.limited_from:,} images, "
            "drawn by their names"
        )
    if image_set.val_image_count == image_set.image_count != IMAGENET_VAL_COUNT:
        lines.append(
            f"A subset: {image_set.image_count:,} of the {IMAGENET_VAL_COUNT:,} ImageNet validation images"
        )
    return [*lines, *(f"Note: {note}" for note in image_set.notes)]


def describe_doubts(published: Iterable[PublishedAccuracy | PublishedThroughput]) -> list[str]:
    """Which published figures cannot be right as they stand, and why; mostly nothing."""
    names: dict[str, list[str]] = {}
    for one in published:
        if one.doubt:
            name = one.setting or one.source if isinstance(one, PublishedAccuracy) else one.device
            names.setdefault(one.doubt, []).append(name)
    return [f"Doubtful as published, {'; '.join(each)}: {doubt}." for doubt, each in names.items()]


def describe_calibration(found: CalibrationError | None, stated: ScoreKind | None = None) -> str:
    """Return one line: the expected calibration error, or why there is none.

    Args:
        found: It.
        stated: What the model record says that the network's outputs are; a contradiction is said.
    """
    if found is None:
        return "Calibration error: not computed by the assay that wrote metrics.json; evaluate again"
    if found.ece is None:
        return f"Calibration error: none, since {found.missing}"
    own = ", of the network's own outputs, which are probabilities" * (found.outputs == "probabilities")
    if own and stated == "logits":
        own += " though the model record says logits: set output.scores = 'probabilities'"
    return (
        f"Expected calibration error {100 * found.ece:.2f} % over {found.image_count:,} images, "
        f"{BIN_COUNT} bins (Guo et al. 2017){own}"
    )


def describe_failures(failures: Sequence[FailedImage]) -> list[str]:
    """A line for each failed image with its reason, and how many more there are than the first twenty."""
    lines = [f"Failed: {image.relative_path}: {image.status}" for image in failures[:_LISTED_FAILURES]]
    more = len(failures) - len(lines)
    return [*lines, f"and {more:,} more"] if more else lines


def describe_quantised(path: str, made: CalibrationRecord) -> list[str]:
    """Return a line on how an int8 file was made, and one that names the layers kept in float."""
    layers = "1 layer" if len(made.float_layers) == 1 else f"{len(made.float_layers)} layers"
    named = [f"Kept in float: {', '.join(made.float_layers)}"] if made.float_layers else []
    unusable = f" ({len(made.unusable)} more cannot be decoded)" if made.unusable else ""
    return [
        f"{path}: int8 by {made.tool}, calibrated on {len(made.images)} images{unusable}, "
        f"weights in {made.weight_range} range, {layers} kept in float",
        *named,
    ]


def describe_shortfall(accuracy: Accuracy, record: ModelRecord) -> list[str]:
    """Where to look for the cause, where Top-1 is near chance or far below every published figure."""
    published = [one.top1_percent for one in record.published_accuracy if not one.doubt]
    low, high = accuracy.top1.interval_percent
    if accuracy.image_count < _LEAST_IMAGES:
        return []
    if published and high < min(published) - _FAR_BELOW_POINTS:
        what = f"far below what is published ({min(published):.2f} %)"
    elif low < 200 / record.label_count and high < _NEAR_CHANCE_PERCENT:
        what = "near chance"
    else:
        return []
    return [f"Top-1 is {what}: assay diagnose RUN --images PATH looks for the cause."]
