"""A bundle proven: every figure in it is computed again from its predictions and timings."""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from assay.errors import BadInputError, UsageError, quote, shorten
from assay.measure.speed.throughput import ThroughputRow, measure_latency
from assay.report.contents import gather_contents
from assay.report.markdown import render_markdown
from assay.report.named_run import Gallery, NamedRun
from assay.report.tables.verification import Check
from assay.runs.place import REPORT_FILE
from assay.runs.results_file import Benchmark
from assay.runs.stored import StoredRun
from assay.workflows.results.bundle import BUNDLE_FILE, BundleIndex
from assay.workflows.results.gallery import collect_gallery
from assay.workflows.results.metrics import compute_metrics

MAX_BYTES = 8 * 2**30  # unpacked: two million images with all their logits
OK = "same"
NOT_HERE = "not computed again: the labels are not in the bundle"


def verify_bundle(bundle: Path) -> list[Check]:
    """What was computed again, and where it differs from what the bundle says.

    Raises:
        BadInputError: Not a bundle, or a file in it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="assay-verify-") as folder:
        path = Path(folder)
        checks = [_check_hashes(_unpack(bundle, path), path)]
        try:
            run = StoredRun.open_unchecked(path)
        except UsageError as error:
            raise BadInputError(
                f"{bundle} lacks manifest.json, metrics.json or predictions", hint="make the bundle again"
            ) from error
        missing = run.list_missing()
        checks.append(_check_shards(run, missing))
        if not missing:
            checks += _check_metrics(run)
        if run.benchmark is not None:
            checks.append(_check_timings(run.benchmark))
        checks.append(_check_report(run, missing))
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
                    raise BadInputError(
                        f"{bundle} holds {quote(entry.filename)}, which is no path of a bundle"
                    )
                target = run / path
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(archive.read(entry))
        return msgspec.json.decode((run / BUNDLE_FILE).read_bytes(), type=BundleIndex)
    except (OSError, zipfile.BadZipFile, msgspec.DecodeError, NotImplementedError, RuntimeError) as error:
        raise BadInputError(
            f"{bundle} cannot be read as a bundle: {shorten(error)}", hint="expected a file of `assay bundle`"
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


def _check_shards(run: StoredRun, missing: Sequence[str]) -> Check:
    found = f"missing or of another run: {', '.join(missing[:3])}" if missing else OK
    return Check(what=f"{len(run.shards):,} shards of the predictions", found=found)


def _check_metrics(run: StoredRun) -> Iterator[Check]:
    said = run.metrics
    again = compute_metrics(run, reference=said.agreement.reference if said.agreement else "")
    yield Check(what="accuracy, with its intervals", found=_find_difference(said.accuracy, again.accuracy))
    yield Check(what="hits of every class", found=_find_difference(said.per_class, again.per_class))
    if said.calibration_error is not None:
        found = _find_difference(said.calibration_error, again.calibration_error)
        yield Check(what="calibration error", found=found)
    if said.real is not None:
        yield Check(what="accuracy by ReaL labels", found=NOT_HERE)
    if said.agreement is not None and again.agreement is None:
        yield Check(what="agreement", found="the reference's predictions are missing")
    elif said.agreement is not None:
        found = _find_difference(said.agreement, again.agreement)
        yield Check(what="agreement and paired test", found=found)


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


def _check_report(run: StoredRun, missing: Sequence[str]) -> Check:
    path = run.path / REPORT_FILE
    if not path.is_file():
        return Check(what="report.md", found="missing")
    named = NamedRun(
        name="",
        manifest=run.manifest,
        metrics=run.metrics,
        benchmark=run.benchmark,
        gallery=Gallery() if missing else collect_gallery(run, with_thumbnails=False),
    )
    expected = render_markdown(gather_contents([named])).encode("utf-8", "backslashreplace")
    same = path.read_bytes() == expected
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
