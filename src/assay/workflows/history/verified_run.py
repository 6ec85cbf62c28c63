"""A run folder as a history keeps it, once its figures have been computed again."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from assay.errors import BadInputError, UsageError, blame_file
from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import find_label_rank
from assay.measure.environment import Machine
from assay.measure.speed.throughput import PipelineRow, ThroughputRow
from assay.report.tables.verification import Check
from assay.runs.history_file import HistoryRun, ResultSeries, StoredAccuracy, StoredSpeed
from assay.runs.results_file import Benchmark, Manifest, RunFiles, read_run_files
from assay.runs.stored import StoredRun
from assay.workflows.results.verify import check_results, check_timings, differs

NOT_JUDGED = "nothing says whether it is VALID"


def read_verified_run(folder: Path, *, note: str = "", is_baseline: bool = False) -> HistoryRun:
    """A finished run, its accuracy from its predictions, its speeds as the times of its calls bear them out.

    Args:
        folder: The run folder.
        note: What a person says of it, such as a commit.
        is_baseline: Whether later runs are compared with it.

    Raises:
        UsageError: The run is not finished, was cut, or lacks predictions that its figures are of.
        BadInputError: No run, nothing measured, or a figure is not what its predictions and times give.
    """
    files = read_run_files(folder)
    if files.manifest.status != "finished":
        raise UsageError(
            f"{folder}: the run is {files.manifest.status}, not finished", hint="finish it with --resume"
        )
    if files.manifest.early_stop is not None:
        raise UsageError(
            f"{folder}: {files.manifest.early_stop.sentence}",
            hint="complete it with --resume and without --stop-when-certain",
        )
    stored = StoredRun.open(folder) if files.metrics is not None else None
    with blame_file(BadInputError, f"{folder} holds results that contradict one another"):
        _refuse_differing(folder, _check(files, stored))
    run = HistoryRun(
        sha256=_hash_results(files),
        added=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        started=files.manifest.started,
        folder=str(folder.absolute()),
        note=note,
        is_baseline=is_baseline,
        manifest=files.manifest,
        accuracy=_store_accuracy(stored) if stored else None,
        speeds=tuple(_store_speeds(files.manifest, files.benchmark)),
    )
    if run.accuracy is None and not run.speeds:
        raise BadInputError(f"{folder} measured neither an accuracy nor a speed of its own")
    return run


def _check(files: RunFiles, stored: StoredRun | None) -> Iterator[Check]:
    if stored is not None:
        yield from check_results(stored, stored.list_missing())
    elif files.benchmark is not None:
        yield check_timings(files.benchmark)


def _refuse_differing(folder: Path, checks: Iterable[Check]) -> None:
    differing = [check for check in checks if differs(check)]
    if differing:
        raise BadInputError(
            f"{folder} says what its predictions and times do not give: "
            + "; ".join(f"{check.what}: {check.found}" for check in differing[:3]),
            hint="run it again; figures that cannot be computed again are not taken into a history",
        )


def _hash_results(files: RunFiles) -> str:
    results = [files.manifest.started, files.manifest.identity, files.metrics, files.benchmark]
    return hashlib.sha256(msgspec.json.encode(results, order="deterministic")).hexdigest()


def _store_accuracy(run: StoredRun) -> StoredAccuracy:
    identity, output, manifest = run.identity, run.model.output, run.manifest
    images = hashlib.sha256()
    for text in (identity.images, identity.labels, f"{identity.limited_from}", f"{output.class_count}"):
        images.update(f"{text}\n".encode())
    is_right = []
    for row in run.predictions:
        images.update(f"{row.relative_path}\0{row.label}\n".encode("utf-8", "surrogateescape"))
        is_right.append(_is_right(row, run.label_offset))
    found = run.metrics.accuracy
    return StoredAccuracy(
        series=_name_series(manifest, manifest.engine, manifest.device, manifest.precision),
        images=images.hexdigest(),
        preprocessing=identity.preprocessing,
        image_count=found.image_count,
        failed_count=found.failed_count,
        top1_hits=sum(is_right),
        is_right=np.packbits(np.array(is_right, dtype=bool)).tobytes(),
        notes=run.image_set.notes,
    )


def _is_right(row: Prediction, label_offset: int) -> bool:
    return find_label_rank(row, label_offset) == 0


def _store_speeds(manifest: Manifest, benchmark: Benchmark | None) -> Iterator[StoredSpeed]:
    for row in benchmark.rows if benchmark else ():
        setting = ", each repeat in a fresh process" * row.fresh_processes
        setting += f", one of {row.card_devices} devices of a card" * (row.card_devices > 1)
        yield _store_speed(manifest, row, row.clock, row.caller_count, setting)
    for pipeline in benchmark.pipelines if benchmark else ():
        yield _store_speed(manifest, pipeline, "pipeline", 1, f", {pipeline.image_count:,} images")


def _store_speed(
    manifest: Manifest, row: ThroughputRow | PipelineRow, clock: str, caller_count: int, setting: str
) -> StoredSpeed:
    invalid = row.validity.reasons if row.validity else (NOT_JUDGED,)
    if row.validity and not row.validity.is_valid and not invalid:
        invalid = ("no reason is given",)
    return StoredSpeed(
        series=_name_series(manifest, row.engine, row.device, row.precision),
        batch_size=row.batch_size,
        clock=clock,
        caller_count=caller_count,
        setting=setting,
        images_per_second=row.images_per_second.values,
        invalid=invalid,
    )


def _name_series(manifest: Manifest, engine: str, device: str, precision: str) -> ResultSeries:
    return ResultSeries(
        model=manifest.model.name if manifest.model else "unknown model",
        engine=engine,
        device=device,
        precision=precision,
        machine=_name_machine(manifest),
    )


def _name_machine(manifest: Manifest) -> str:
    """The processor and how much of it, and the chips of the sessions that are others."""
    machine: Machine = manifest.machine
    quota = "" if machine.processor_quota is None else f", {machine.processor_quota:g} of their time"
    chips = sorted({one.device_name for one in manifest.sessions.values()} - {machine.processor, ""})
    return "; ".join([f"{machine.processor}, {machine.processors} processors{quota}", *chips])
