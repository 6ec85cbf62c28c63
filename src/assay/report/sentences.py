"""The report's tables and sentences, as plain text cells that any page or terminal can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.engines.engine import SessionDescription
from assay.images.labels import IMAGENET_VAL_COUNT
from assay.measure.accuracy.accuracy import Accuracy, RealAccuracy, TopKAccuracy
from assay.measure.accuracy.agreement import Agreement
from assay.measure.gates import GateResult
from assay.models.record import ModelRecord
from assay.runs.results_file import ImageSet, Manifest


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text: every row has as many cells as the header. Notes stand below it.

    Its columns after the first are figures, set to the right, unless `is_text`.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    is_text: bool = False


def describe_topk(name: str, topk: TopKAccuracy, accuracy: Accuracy) -> str:
    """Return one line: counts first, then the percentage, then its interval.

    Where images failed, the percentage of the scored ones follows.
    """
    low, high = topk.interval_percent
    line = (
        f"{name}  {topk.hits:,} of {accuracy.image_count:,}  {topk.percent:.2f} %  "
        f"(95 %: {low:.2f} to {high:.2f})"
    )
    if topk.percent_of_scored is not None:
        line += f"; of scored: {topk.percent_of_scored:.2f} %"
    return line


def describe_agreement(agreement: Agreement) -> str:
    """Return one line: how many images have the same Top-1 as the reference."""
    differing = agreement.image_count - agreement.same_top1_count
    verdict = "on every image" if differing == 0 else f"on all but {differing:,}"
    return (
        f"Same Top-1 as {agreement.reference} {verdict}: "
        f"{agreement.same_top1_count:,} of {agreement.image_count:,}"
    )


def describe_paired(agreement: Agreement) -> list[str]:
    """Return a line on who is right where, and one on the difference."""
    paired = agreement.paired
    low, high = paired.interval_points
    return [
        f"Against {agreement.reference} on the same images: {paired.lost_count:,} lost, "
        f"{paired.won_count:,} won, exact McNemar p = {paired.p_value:.2g}",
        f"Top-1 difference {paired.difference_points:+.2f} points (95 %: {low:+.2f} to {high:+.2f})",
    ]


def describe_gates(gates: Sequence[GateResult]) -> list[str]:
    """Return a line for each gate: what it says, and why."""
    return [f"Gate {gate.gate}: {gate.outcome} ({gate.reason})" for gate in gates]


def describe_session(found: SessionDescription) -> str:
    """Return what a session ran on and in: runtime, device, threads, its input, its layers' arithmetic."""
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
    """Return a line each for Top-1 and Top-5 by ReaL labels, and how many images have none."""
    return [
        describe_topk("ReaL Top-1", real.accuracy.top1, real.accuracy),
        describe_topk("ReaL Top-5", real.accuracy.top5, real.accuracy),
        f"Without ReaL labels, left out of these two: {real.excluded_count:,}",
    ]


def describe_images(image_set: ImageSet) -> list[str]:
    """Return what a reader must know of the images before the figures: a subset, and what was odd."""
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


def make_accuracy_table(accuracy: Accuracy, record: ModelRecord) -> Table:
    """Return the measured accuracy and, each with its source, the published ones."""
    rows = [("measured here", "Top-1", *_topk_cells(accuracy.top1, accuracy))]
    rows.append(("measured here", "Top-5", *_topk_cells(accuracy.top5, accuracy)))
    for published in record.published_accuracy:
        who = f"published: {published.source}"
        who += f" ({published.setting})" if published.setting else ""
        rows.append((who, "Top-1", "of 50,000", f"{published.top1_percent:g}", ""))
        rows.append((who, "Top-5", "of 50,000", f"{published.top5_percent:g}", ""))
    notes = ["Failed images count as wrong."] if accuracy.failed_count else []
    if record.published_accuracy and accuracy.image_count != 50_000:
        notes.append("The published figures are over other images than the measured one.")
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
    """Return how many images failed for each reason."""
    rows = tuple((reason, f"{count:,}") for reason, count in accuracy.failures.items())
    return Table(title="Failed images", header=("Reason", "Images"), rows=rows)


def make_machine_table(manifest: Manifest) -> Table:
    """Return the machine and software that the run was made with."""
    machine = manifest.machine
    quota = "" if machine.processor_quota is None else f", limited to {machine.processor_quota:g}"
    rows = [
        ("Processor", f"{machine.processor}, {machine.processors} processors{quota}"),
        ("Memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("System", machine.system),
        ("Load average at the start", f"{machine.load_average:.2f}"),
        ("Python", machine.python),
        ("assay", manifest.assay_version),
    ]
    rows += [(name, version) for name, version in machine.packages.items()]
    check = manifest.pixel_check
    verdict = f"differ: {', '.join(check.differing)}" if check.differing else "as verified"
    rows.append(("Pixels of the built-in JPEGs", f"{verdict} ({check.pillow_jpeg})"))
    return Table(title="Machine and software", header=("What", "Found"), rows=tuple(rows), is_text=True)


def make_hash_table(manifest: Manifest) -> Table:
    """Return the sha256 of what went in and what came out."""
    rows = tuple(manifest.hashes.items())
    return Table(title="sha256", header=("What", "sha256"), rows=rows, is_text=True)
