"""The runs in a folder, the newest first: what was run when, how accurate and how fast it was."""

from __future__ import annotations

from pathlib import Path

from assay.errors import BadInputError, UsageError
from assay.measure.speed.throughput import ThroughputRow, find_best_row
from assay.runs.listed import ListedRun
from assay.runs.own_rows import select_rows
from assay.runs.results_file import FILE_NAMES, Manifest, RunFiles, read_run_files


def list_runs(folder: Path) -> list[ListedRun]:
    """The runs in a folder, or the run that it is.

    Raises:
        UsageError: There is no such folder, or it holds no runs.
    """
    name = FILE_NAMES[Manifest]
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="give the folder that holds the runs")
    places = [folder] if (folder / name).is_file() else [path.parent for path in folder.glob(f"*/{name}")]
    if not places:
        raise UsageError(f"{folder}: no runs there", hint="give the folder that holds them, such as runs")
    return sorted(map(_read, places), key=lambda run: (run.started, run.path), reverse=True)


def _read(path: Path) -> ListedRun:
    try:
        files = read_run_files(path)
    except BadInputError as error:
        return ListedRun(path=path, status="unreadable", error=error.message)
    manifest = files.manifest
    return ListedRun(
        path=path,
        started=manifest.started,
        status=manifest.status,
        model=manifest.model.name if manifest.model else "",
        engine=manifest.engine,
        device=manifest.device,
        precision=manifest.precision,
        accuracy=files.metrics.accuracy if files.metrics else None,
        best=_find_best(files),
    )


def _find_best(files: RunFiles) -> ThroughputRow | None:
    rows = select_rows(files.manifest, files.benchmark)
    called = [row for row in rows if row.clock == "call"]  # figures of two clocks are not compared
    return find_best_row(called or rows) if rows else None
