"""Whether a run was finished before, and is as it was: then nothing of it is computed again."""

from __future__ import annotations

from assay.files import hash_file
from assay.inference.shards import hash_shards
from assay.measure.gates import Gate
from assay.runs.folder import RunFolder
from assay.runs.place import PAGE_FILE, REPORT_FILE
from assay.runs.results_file import FILE_NAMES, Metrics, read_result
from assay.runs.stored import PredictedRun

_DECISIVE = (
    "assay_version",
    "model",
    "identity",
    "image_set",
    "engine",
    "engine_version",
    "device",
    "precision",
    "pixel_check",
    "evaluated_batch_size",
    "cascade",
)
"""What of a manifest decides the metrics and the report's figures."""


def find_finished(run: RunFolder, gates: tuple[Gate, ...]) -> Metrics | None:
    """The metrics of a run that was finished before; None where anything has changed since.

    The shards and `metrics.json` are compared with their hashes in the manifest; where it has none of the
    shards, each is read and compared with its own.

    Args:
        run: The run, whose manifest says by now what would be computed.
        gates: What it must show.
    """
    before, now = run.before, run.manifest
    if before is None or run.share is not None or before.status != "finished" or before.early_stop:
        return None
    if any(getattr(before, name) != getattr(now, name) for name in _DECISIVE):
        return None
    if [result.gate for result in before.gates] != [str(gate) for gate in gates]:
        return None
    files = [run.path / name for name in (FILE_NAMES[Metrics], REPORT_FILE, PAGE_FILE)]
    if not all(file.is_file() for file in files) or hash_file(files[0]) != before.metrics_sha256:
        return None
    if not _are_whole(PredictedRun.from_manifest(run.path, now), before.predictions_sha256):
        return None
    return read_result(run.path, Metrics)


def _are_whole(run: PredictedRun, predictions_sha256: str) -> bool:
    if predictions_sha256:
        return hash_shards(run.predictions.paths) == predictions_sha256
    return not run.list_missing()
