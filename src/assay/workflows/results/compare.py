"""Two runs compared image by image, or a run with what was published."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.defaults import DEFAULT_MARGIN_POINTS
from assay.errors import BadInputError, UsageError
from assay.images.labels import IMAGENET_VAL_COUNT
from assay.measure.accuracy.accuracy import SubsetAccuracy, TopKAccuracy
from assay.measure.accuracy.comparison import Comparison, compare_predictions
from assay.measure.accuracy.coverage import describe_coverage
from assay.measure.accuracy.verdict import Names, Verdict, choose_speed, write_verdict
from assay.measure.baseline import compare_with_baseline
from assay.measure.gates import Gate, GateResult
from assay.measure.judge_together import judge_gates
from assay.measure.speed.comparison import SpeedComparison, compare_benchmarks
from assay.models.read_record import read_model_record
from assay.models.record import PublishedAccuracy
from assay.report.differences import Difference, list_differences
from assay.report.verdicts import count_calibrated, name_runs
from assay.runs.class_names import find_classes
from assay.runs.own_rows import select_rows
from assay.runs.stored import StoredRun
from assay.workflows.results.gates import collect_evidence
from assay.workflows.results.matching_runs import check_comparable


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """How run B compares with run A.

    Args:
        names: What the two are called.
        notes: What must be known first: images that failed or are missing in one of them.
        differences: What else is not the same.
        comparison: Image by image.
        verdict: What it proves.
        speeds: At every batch size and clock that both have.
        gates: What each gate says of run B.
        subsets: Of A and B, the accuracy among a set of some classes; None where it was not measured.
        class_names: What the classes of the changed images are called, by label.
        label_offset: The class of label 0.
    """

    names: Names
    notes: tuple[str, ...]
    differences: tuple[Difference, ...]
    comparison: Comparison
    verdict: Verdict
    speeds: tuple[SpeedComparison, ...]
    gates: tuple[GateResult, ...]
    subsets: tuple[SubsetAccuracy | None, SubsetAccuracy | None]
    class_names: Mapping[int, str]
    label_offset: int


@dataclass(frozen=True, kw_only=True)
class PublishedComparison:
    """How a run's accuracy lies to one that was published: a statement on 50,000 images, not a paired one."""

    published: PublishedAccuracy
    top1: TopKAccuracy
    top5: TopKAccuracy
    is_within: bool


def compare_runs(
    reference_path: Path,
    candidate_path: Path,
    margin_points: float = DEFAULT_MARGIN_POINTS,
    gates: Sequence[Gate] = (),
) -> RunComparison:
    """How the candidate's run compares with the reference's.

    Args:
        reference_path: The reference's run folder.
        candidate_path: The candidate's.
        margin_points: The largest loss of Top-1 that does not matter, in percentage points, over 0.
        gates: What the candidate must show.

    Raises:
        UsageError: A folder that holds no finished predictions, or a margin that is not over 0.
        BadInputError: Runs that cannot be compared: no image in common, other labels, other classes.
    """
    if not 0 < margin_points < math.inf:
        raise UsageError(f"--margin is {margin_points:g}; expected percentage points over 0, such as 0.1")
    reference, candidate = StoredRun.open(reference_path), StoredRun.open(candidate_path)
    check_comparable(reference, candidate)
    try:
        comparison = compare_predictions(reference.predictions, candidate.predictions, candidate.label_offset)
    except ValueError as error:
        raise BadInputError(
            f"{candidate_path} cannot be compared with {reference_path}: {error}",
            hint="compare runs over the same images and labels",
        ) from error
    evidence = collect_evidence(candidate.manifest, candidate.metrics, candidate.benchmark)
    reference_rows = select_rows(reference.manifest, reference.benchmark)
    parts = compare_with_baseline(comparison.paired, comparison.coverage, reference_rows, evidence.rows)
    evidence = dataclasses.replace(
        evidence,
        paired=comparison.paired,
        coverage=comparison.coverage,
        reference_rows=reference_rows,
        baseline=parts,
    )
    names = name_runs(reference.manifest, candidate.manifest)
    speeds = tuple(compare_benchmarks(evidence.reference_rows, evidence.rows))
    return RunComparison(
        names=names,
        notes=tuple(describe_coverage(comparison.coverage, "A", "B")),
        differences=tuple(list_differences(reference.manifest, candidate.manifest)),
        comparison=comparison,
        verdict=write_verdict(
            comparison,
            names,
            speed=choose_speed(speeds),
            calibrated_count=count_calibrated(reference.manifest, candidate.manifest),
            margin_points=margin_points,
        ),
        speeds=speeds,
        gates=judge_gates(gates, evidence),
        subsets=(reference.metrics.subset, candidate.metrics.subset),
        class_names=_name_classes(comparison, candidate),
        label_offset=candidate.label_offset,
    )


def _name_classes(comparison: Comparison, run: StoredRun) -> dict[int, str]:
    """The name and synset of every class that a changed image has or is taken for, by label."""
    classes = find_classes(run.manifest)
    flips = (*comparison.lost, *comparison.won, *comparison.changed)
    taken = {number for flip in flips for number in (flip.reference_class, flip.candidate_class)}
    labels = {flip.label for flip in flips} | {
        number - run.label_offset for number in taken if number is not None
    }
    return {label: classes.describe(label) for label in sorted(labels)}


def compare_with_published(model: str, run: Path) -> list[PublishedComparison]:
    """How a run over the 50,000 images lies to each accuracy that a model record publishes.

    Raises:
        BadModelError: No such record.
        UsageError: The record publishes none, or the run is over other images.
    """
    record = read_model_record(model)
    stored = StoredRun.open(run)
    if not record.published_accuracy:
        raise UsageError(f"{model} publishes no accuracy")
    metrics = stored.metrics
    if not metrics.accuracy.image_count == stored.image_set.val_image_count == IMAGENET_VAL_COUNT:
        raise UsageError(
            f"{run} is over {metrics.accuracy.image_count:,} images; the published accuracy is over the "
            f"{IMAGENET_VAL_COUNT:,} of ImageNet's validation set",
            hint="run all of them, or compare with a run over the same images",
        )
    top1, top5 = metrics.accuracy.top1, metrics.accuracy.top5
    return [
        PublishedComparison(
            published=published,
            top1=top1,
            top5=top5,
            is_within=_holds(top1, published.top1_percent)
            and (published.top5_percent is None or _holds(top5, published.top5_percent)),
        )
        for published in record.published_accuracy
    ]


def _holds(topk: TopKAccuracy, percent: float) -> bool:
    low, high = topk.interval_percent
    return low <= percent <= high
