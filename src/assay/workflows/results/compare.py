"""Two runs compared image by image, or a run with what was published."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import BadInputError, UsageError
from assay.images.labels import IMAGENET_VAL_COUNT
from assay.measure.accuracy.accuracy import TopKAccuracy
from assay.measure.accuracy.comparison import (
    Comparison,
    SpeedComparison,
    Verdict,
    compare_predictions,
    compare_speeds,
    judge_difference,
)
from assay.measure.accuracy.coverage import describe_coverage
from assay.measure.gates import Gate, GateResult, judge_gate
from assay.models.record import PublishedAccuracy, read_model_record
from assay.runs.results_file import Benchmark, Manifest, Metrics, read_result
from assay.workflows.evaluate.evaluate import read_predictions
from assay.workflows.results.gates import collect_evidence, select_rows
from assay.workflows.results.matching_runs import compare_manifests, list_parts


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """How run B compares with run A.

    Args:
        notes: What must be known first: images that failed or are missing in one of them, then what else
            is not the same.
        comparison: Image by image.
        verdict: What it proves.
        speeds: At every batch size and clock that both have.
    """

    notes: tuple[str, ...]
    comparison: Comparison
    verdict: Verdict
    speeds: tuple[SpeedComparison, ...]


@dataclass(frozen=True, kw_only=True)
class PublishedComparison:
    """How a run's accuracy lies to one that was published: a statement on 50,000 images, not a paired one."""

    published: PublishedAccuracy
    top1: TopKAccuracy
    top5: TopKAccuracy
    is_within: bool


def compare_runs(reference: Path, candidate: Path, margin_points: float) -> RunComparison:
    """Return how the candidate's run compares with the reference's.

    Raises:
        UsageError: A folder that holds no finished predictions, or a margin that is not over 0.
        BadInputError: Runs that cannot be compared: no image in common, other labels, other classes.
    """
    if margin_points <= 0:
        raise UsageError(f"--margin is {margin_points:g}; expected percentage points over 0, such as 0.1")
    its, mine = _read_manifest(reference), _read_manifest(candidate)
    notes = compare_manifests(its, mine)
    offset = mine.model.output.label_offset if mine.model else 0
    try:
        comparison = compare_predictions(
            read_predictions(reference, list_parts(reference, its)),
            read_predictions(candidate, list_parts(candidate, mine)),
            offset,
        )
    except ValueError as error:
        raise BadInputError(
            f"{candidate} cannot be compared with {reference}: {error}",
            hint="compare runs over the same images and labels",
        ) from error
    return RunComparison(
        notes=(*describe_coverage(comparison.coverage, "A", "B"), *notes),
        comparison=comparison,
        verdict=judge_difference(comparison.paired, margin_points),
        speeds=tuple(_compare_benchmarks(reference, candidate)),
    )


def compare_with_published(model: str, run: Path) -> list[PublishedComparison]:
    """Return how a run over the 50,000 images lies to each accuracy that a model record publishes.

    Raises:
        BadModelError: No such record.
        UsageError: The record publishes none, or the run is over other images.
    """
    record = read_model_record(model)
    manifest, metrics = _read_manifest(run), read_result(run, Metrics)
    images = manifest.image_set
    if not record.published_accuracy or metrics is None or images is None:
        raise UsageError(f"{model} publishes no accuracy, or {run} has none")
    if not metrics.accuracy.image_count == images.val_image_count == IMAGENET_VAL_COUNT:
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
            is_within=_holds(top1, published.top1_percent) and _holds(top5, published.top5_percent),
        )
        for published in record.published_accuracy
    ]


def judge_comparison(
    found: RunComparison, reference: Path, candidate: Path, gates: Sequence[Gate]
) -> list[GateResult]:
    """Return what each gate says of the candidate, compared with the reference."""
    benchmarks = [read_result(run, Benchmark) for run in (reference, candidate)]
    manifest, metrics = _read_manifest(candidate), read_result(candidate, Metrics)
    evidence = dataclasses.replace(
        collect_evidence(manifest, metrics, benchmarks[1]),
        paired=found.comparison.paired,
        coverage=found.comparison.coverage,
        reference_rows=select_rows(_read_manifest(reference), benchmarks[0]),
    )
    return [judge_gate(gate, evidence) for gate in gates]


def _holds(topk: TopKAccuracy, percent: float) -> bool:
    low, high = topk.interval_percent
    return low <= percent <= high


def _read_manifest(run: Path) -> Manifest:
    manifest = read_result(run, Manifest)
    if manifest is None or manifest.identity is None or manifest.image_set is None:
        raise UsageError(
            f"{run}: holds no run with predictions", hint="expected a folder of `assay run` or `evaluate`"
        )
    return manifest


def _compare_benchmarks(reference: Path, candidate: Path) -> list[SpeedComparison]:
    """Return the speeds at every batch size and clock that both runs measured; the main model's alone."""
    rates = [_read_rates(run) for run in (reference, candidate)]
    common = sorted(set(rates[0]) & set(rates[1]), key=lambda key: (key[1], key[0]))
    return [
        compare_speeds(size, clock, rates[0][size, clock], rates[1][size, clock]) for size, clock in common
    ]


def _read_rates(run: Path) -> dict[tuple[int, str], tuple[float, ...]]:
    benchmark, manifest = read_result(run, Benchmark), read_result(run, Manifest)
    if manifest is None:
        return {}
    rows = select_rows(manifest, benchmark)
    return {(row.batch_size, row.clock): row.images_per_second.values for row in rows}
