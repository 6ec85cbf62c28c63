"""The shards of a run that several processes computed, to its metrics and report."""

from __future__ import annotations

from pathlib import Path

from assay.errors import UsageError
from assay.inference.identity import compute_fingerprint
from assay.inference.shards import list_shard_files
from assay.runs.folder import RunFolder, RunResult
from assay.runs.listener import SILENT
from assay.runs.locks import lock_run
from assay.runs.results_file import Manifest, read_result
from assay.workflows.evaluate.evaluate import list_missing, write_metrics
from assay.workflows.results.report import write_report

_LISTED = 5


def merge_run(path: Path) -> RunResult:
    """Write metrics and report of a run whose shards are all there; neither images nor model are needed.

    Raises:
        UsageError: It is no run, a process works on it, or shards are missing.
    """
    manifest = read_result(path, Manifest)
    if manifest is None or manifest.identity is None or manifest.image_set is None:
        raise UsageError(
            f"{path}: holds no run with predictions", hint="assay evaluate … --shard 1/4 begins one"
        )
    file_names = list_shard_files(manifest.image_set.image_count, manifest.identity.shard_size)
    with lock_run(path, None):
        missing = list_missing(path, file_names, compute_fingerprint(manifest.identity))
        if missing:
            more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
            raise UsageError(
                f"{path}: {len(missing)} of {len(file_names)} shards are missing: "
                f"{', '.join(missing[:_LISTED])}{more}",
                hint="assay evaluate … --resume computes them",
            )
        metrics = write_metrics(path, manifest, file_names)
        RunFolder(path, manifest, SILENT).finish("finished")
    write_report(path)
    return RunResult(folder=path, manifest=manifest, metrics=metrics)
