"""The shards of a run that several processes computed, to its metrics and report."""

from __future__ import annotations

from pathlib import Path

import msgspec

from assay.runs.folder import RunFolder, RunResult
from assay.runs.listener import SILENT
from assay.runs.locks import lock_run
from assay.runs.results_file import Manifest, Metrics, read_result, write_result
from assay.runs.stored import PredictedRun
from assay.workflows.results.metrics import compute_metrics
from assay.workflows.results.report import write_report


def merge_run(path: Path) -> RunResult:
    """Write metrics and report of a run whose shards are all there; neither images nor model are needed.

    How it agrees with its reference is computed again; what it scores by ReaL labels cannot be, and stays.

    Raises:
        UsageError: Not a run with predictions, a process works on it, or shards are missing.
    """
    PredictedRun.from_manifest(path, read_result(path, Manifest))  # no lock in a folder that holds no run
    with lock_run(path, None):
        run = PredictedRun.from_manifest(path, read_result(path, Manifest))
        run.refuse_missing()
        before = read_result(path, Metrics)
        reference = before.agreement.reference if before and before.agreement else ""
        metrics = compute_metrics(run, reference=reference)
        if before and before.accuracy == metrics.accuracy:
            metrics = msgspec.structs.replace(metrics, real=before.real)
        write_result(path, metrics)
        folder = RunFolder(path, run.manifest, SILENT)
        folder.finish("finished")
    write_report(path)
    return RunResult(folder=path, manifest=folder.manifest, metrics=metrics)
