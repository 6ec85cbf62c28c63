"""A bundle proven: every figure in it is computed again from its predictions and timings."""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from assay.errors import BadInputError
from assay.inference.identity import compute_fingerprint
from assay.inference.shards import StoredPredictions, list_shard_files
from assay.measure.accuracy.accuracy import measure_accuracy, measure_class_accuracy
from assay.measure.accuracy.agreement import measure_agreement
from assay.measure.accuracy.calibration_error import measure_calibration_error
from assay.measure.speed.throughput import ThroughputRow, measure_latency
from assay.report.markdown import render_report
from assay.report.tables.verification import Check
from assay.runs.folder import PREDICTIONS_FOLDER, REFERENCE_FOLDER, REPORT_FILE
from assay.runs.results_file import Benchmark, Manifest, Metrics, read_result
from assay.workflows.evaluate.evaluate import list_missing, read_predictions
from assay.workflows.results.bundle import BUNDLE_FILE, BundleIndex
from assay.workflows.results.gallery import collect_gallery

MAX_BYTES = 8 * 2**30  # unpacked: two million images with all their logits
OK = "same"
NOT_HERE = "not computed again: the labels are not in the bundle"


def verify_bundle(bundle: Path) -> list[Check]:
    """Return what was computed again, and where it differs from what the bundle says.

    Raises:
        BadInputError: The file is no bundle, or a file in it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="assay-verify-") as folder:
        run = Path(folder)
        checks = [_check_hashes(_unpack(bundle, run), run)]
        manifest, metrics = read_result(run, Manifest), read_result(run, Metrics)
        if manifest is None or manifest.identity is None or manifest.image_set is None or metrics is None:
            raise BadInputError(f"{bundle} lacks manifest.json or metrics.json", hint="make the bundle again")
        names = list_parts(manifest)
        checks.append(_check_parts(run, names, manifest))
        if checks[-1].found == OK:
            checks += _check_metrics(run, names, manifest, metrics)
        benchmark = read_result(run, Benchmark)
        if benchmark is not None:
            checks.append(_check_timings(benchmark))
        checks.append(_check_report(run, manifest, metrics, benchmark))
    return checks


def _unpack(bundle: Path, run: Path) -> BundleIndex:
    try:
        with zipfile.ZipFile(bundle) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if sum(entry.file_size for entry in entries) > MAX_BYTES:
                raise BadInputError(f"{bundle} unpacks to more than {MAX_BYTES:,} bytes")
            for entry in entries:
                path = PurePosixPath(entry.filename)
                if path.is_absolute() or ".." in path.parts or len(path.parts) > 2:
                    raise BadInputError(f"{bundle} holds {entry.filename!r}, which is no path of a bundle")
                target = run / path
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(archive.read(entry))
        return msgspec.json.decode((run / BUNDLE_FILE).read_bytes(), type=BundleIndex)
    except (OSError, zipfile.BadZipFile, msgspec.DecodeError, NotImplementedError, RuntimeError) as error:
        raise BadInputError(
            f"{bundle} cannot be read as a bundle: {error}", hint="expected a file of `assay bundle`"
        ) from error


def _check_hashes(index: BundleIndex, run: Path) -> Check:
    present = {
        path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run.rglob("*")
        if path.is_file() and path.name != BUNDLE_FILE
    }
    names = sorted(set(present) | set(index.files))
    differing = [name for name in names if present.get(name) != index.files.get(name)]
    return Check(what=f"sha256 of {len(index.files):,} files", found=", ".join(differing[:3]) or OK)


def list_parts(manifest: Manifest) -> list[str]:
    """Return the names of the parts that the metrics are computed from."""
    if manifest.early_stop is not None:
        return manifest.early_stop.shards
    if manifest.identity is None or manifest.image_set is None:
        return []
    return list_shard_files(manifest.image_set.image_count, manifest.identity.shard_size)


def _choose_folder(manifest: Manifest) -> str:
    return manifest.early_stop.folder if manifest.early_stop else PREDICTIONS_FOLDER


def _check_parts(run: Path, names: list[str], manifest: Manifest) -> Check:
    """Find parts of the predictions that are missing or of another run."""
    fingerprint = compute_fingerprint(manifest.identity) if manifest.identity else ""
    missing = list_missing(run, names, fingerprint, _choose_folder(manifest))
    found = f"missing or of another run: {', '.join(missing[:3])}" if missing else OK
    return Check(what=f"{len(names):,} parts of the predictions", found=found)


def _check_metrics(run: Path, names: list[str], manifest: Manifest, metrics: Metrics) -> Iterator[Check]:
    offset = manifest.model.output.label_offset if manifest.model else 0
    predictions = read_predictions(run, names, _choose_folder(manifest))
    accuracy = measure_accuracy(predictions, offset)
    yield Check(what="accuracy, with its intervals", found=_find_difference(metrics.accuracy, accuracy))
    per_class = measure_class_accuracy(predictions, offset)
    yield Check(what="hits of every class", found=_find_difference(metrics.per_class, per_class))
    if metrics.calibration_error is not None:
        calibration = measure_calibration_error(predictions, offset)
        yield Check(what="calibration error", found=_find_difference(metrics.calibration_error, calibration))
    if metrics.real is not None:
        yield Check(what="accuracy by ReaL labels", found=NOT_HERE)
    if metrics.agreement is not None:
        paths = [run / REFERENCE_FOLDER / name for name in names]
        if not all(path.is_file() for path in paths):
            yield Check(what="agreement", found="the reference's predictions are missing")
            return
        reference = StoredPredictions(paths=paths)
        again = measure_agreement(metrics.agreement.reference, reference, predictions, offset)
        yield Check(what="agreement and paired test", found=_find_difference(metrics.agreement, again))


def _check_timings(benchmark: Benchmark) -> Check:
    """Find a median or percentile that is not that of the raw values beside it."""
    differing = [
        f"batch {row.batch_size}, {row.clock} clock" for row in benchmark.rows if not _is_consistent(row)
    ]
    return Check(what=f"{len(benchmark.rows):,} rows of timings", found=", ".join(differing[:3]) or OK)


def _is_consistent(row: ThroughputRow) -> bool:
    calls = [value for repeat in row.call_ms for value in repeat]
    return (
        row.images_per_second.median == statistics.median(row.images_per_second.values)
        and len(row.images_per_second.values) == len(row.call_ms)
        and row.latency_ms == measure_latency(calls)
    )


def _check_report(run: Path, manifest: Manifest, metrics: Metrics, benchmark: Benchmark | None) -> Check:
    path = run / REPORT_FILE
    if not path.is_file():
        return Check(what="report.md", found="missing")
    gallery = collect_gallery(run, manifest, with_thumbnails=False)
    same = path.read_text(encoding="utf-8") == render_report(manifest, metrics, benchmark, gallery)
    return Check(what="report.md", found=OK if same else "not what these results give")


def _find_difference(said: object, computed: object) -> str:
    """Return the first place where two results differ, with both values; `same` where they do not."""
    return next(_walk(msgspec.to_builtins(said), msgspec.to_builtins(computed), ""), OK)


def _walk(said: object, computed: object, place: str) -> Iterator[str]:
    if isinstance(said, dict) and isinstance(computed, dict):
        for key in [*said, *(key for key in computed if key not in said)]:
            yield from _walk(said.get(key), computed.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(said, list | tuple) and isinstance(computed, list | tuple) and len(said) == len(computed):
        for number, (one, other) in enumerate(zip(said, computed, strict=True)):
            yield from _walk(one, other, f"{place}[{number}]")
    elif said != computed:
        yield f"{place}: it says {said}, the predictions give {computed}"
