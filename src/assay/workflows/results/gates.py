"""A run put to its gates, before its report is written."""

from __future__ import annotations

from collections.abc import Sequence

from assay.images.labels import IMAGENET_VAL_COUNT
from assay.measure.accuracy.coverage import Coverage
from assay.measure.gates import Evidence, Gate, GateResult
from assay.measure.judge_together import judge_gates
from assay.runs.folder import RunFolder
from assay.runs.own_rows import select_float_rows, select_rows
from assay.runs.results_file import Benchmark, Manifest, Metrics


def judge_run(
    run: RunFolder, gates: Sequence[Gate], metrics: Metrics | None = None, benchmark: Benchmark | None = None
) -> tuple[GateResult, ...]:
    """Judge a run by its gates, record that in its manifest, and return it.

    A process that has a share of the run records nothing before all shares are done.

    Args:
        run: The run folder.
        gates: What the run must show.
        metrics: Its accuracy, if it was measured.
        benchmark: Its speed, if it was measured.
    """
    evidence = collect_evidence(run.manifest, metrics, benchmark)
    stop = run.manifest.early_stop
    certain = {found.gate: found for found in stop.gates} if stop else {}
    judged = tuple(certain.get(found.gate, found) for found in judge_gates(gates, evidence))
    if run.share is None or metrics is not None:
        run.record_gates(judged)
    return judged


def collect_evidence(manifest: Manifest, metrics: Metrics | None, benchmark: Benchmark | None) -> Evidence:
    """What gates are judged by: the run's main model, not what it is compared with."""
    agreement = metrics.agreement if metrics else None
    images = manifest.image_set
    are_val = images is not None and images.image_count == images.val_image_count <= IMAGENET_VAL_COUNT
    is_whole = (
        are_val
        and metrics is not None
        and metrics.accuracy.image_count == IMAGENET_VAL_COUNT
        and metrics.accuracy.failed_count == 0
    )
    return Evidence(
        accuracy=metrics.accuracy if metrics else None,
        is_whole=is_whole,
        is_part=are_val and not is_whole,
        record=manifest.model,
        paired=agreement.paired if agreement else None,
        coverage=agreement.coverage if agreement else Coverage(),
        rows=select_rows(manifest, benchmark),
        reference_rows=select_float_rows(manifest, benchmark),
        answers=[batch.same for batch in metrics.batches if batch.same] if metrics else (),
    )
