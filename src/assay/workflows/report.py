"""Run folders to pages."""

from __future__ import annotations

from pathlib import Path

from assay.errors import BadInputError
from assay.files import write_file
from assay.report.markdown import render_report
from assay.report.results_file import Benchmark, Manifest, Metrics, read_result
from assay.workflows.run_folder import REPORT_FILE


def write_report(run_folder: Path) -> Path:
    """Write `report.md` from what the run folder holds, and return its path.

    Raises:
        BadInputError: The folder holds no run, or one of its files cannot be read.
    """
    manifest = read_result(run_folder, Manifest)
    if manifest is None:
        raise BadInputError(f"{run_folder} holds no run: manifest.json is missing")
    page = render_report(manifest, read_result(run_folder, Metrics), read_result(run_folder, Benchmark))
    path = run_folder / REPORT_FILE
    write_file(path, page.encode("utf-8"))
    return path
