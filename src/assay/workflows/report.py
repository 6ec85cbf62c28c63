"""Run folders to pages."""

from __future__ import annotations

from pathlib import Path

from assay.errors import BadInputError
from assay.files import write_file
from assay.report.html import render_page
from assay.report.markdown import render_report
from assay.report.results_file import Benchmark, Manifest, Metrics, read_result
from assay.workflows.gallery import collect_gallery
from assay.workflows.run_folder import PAGE_FILE, REPORT_FILE


def write_report(run_folder: Path) -> Path:
    """Write `report.md` and `report.html` from what the run folder holds, and return the second's path.

    Raises:
        BadInputError: The folder holds no run, or one of its files cannot be read.
    """
    manifest = read_result(run_folder, Manifest)
    if manifest is None:
        raise BadInputError(f"{run_folder} holds no run: manifest.json is missing")
    metrics, benchmark = read_result(run_folder, Metrics), read_result(run_folder, Benchmark)
    text = render_report(manifest, metrics, benchmark)
    write_file(run_folder / REPORT_FILE, text.encode("utf-8"))
    page = render_page(manifest, metrics, benchmark, collect_gallery(run_folder, manifest))
    write_file(run_folder / PAGE_FILE, page.encode("utf-8", "backslashreplace"))
    return run_folder / PAGE_FILE
