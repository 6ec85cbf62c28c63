"""A finished run put to its gates: the results go into its manifest and its report."""

from __future__ import annotations

from collections.abc import Sequence

from assay.images.labels import IMAGENET_VAL_COUNT
from assay.measure.gates import Evidence, GateResult, judge_gate
from assay.runs.folder import RunResult
from assay.runs.results_file import write_result
from assay.workflows.results.report import write_report


def judge_run(result: RunResult, gates: Sequence[str]) -> list[GateResult]:
    """Return what each gate says of the run, and write it into the manifest and the report.

    Raises:
        UsageError: A gate that is none.
    """
    evidence = collect_evidence(result)
    stop = result.manifest.early_stop
    certain = {found.gate: found for found in stop.gates} if stop else {}
    found = [certain.get(gate) or judge_gate(gate, evidence) for gate in gates]
    if found:
        result.manifest.gates = found
        write_result(result.folder, result.manifest)
        write_report(result.folder)
    return found


def collect_evidence(result: RunResult) -> Evidence:
    """Return what gates are judged by: the run's main model, not what it is compared with."""
    manifest, metrics = result.manifest, result.metrics
    rows = result.benchmark.rows if result.benchmark else []
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
        paired=metrics.agreement.paired if metrics and metrics.agreement else None,
        rows=[row for row in rows if row.precision == manifest.precision],
    )
