"""Run folders to pages: one run to its own report, several to one report with a column each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.errors import AssayError, UsageError
from assay.files import write_file
from assay.measure.accuracy.agreement import measure_agreement
from assay.report.contents import Contents, gather_contents
from assay.report.html import render_page
from assay.report.markdown import render_contents, render_report
from assay.report.named_run import Gallery, NamedRun
from assay.runs.folder import PAGE_FILE, REPORT_FILE
from assay.runs.results_file import FILE_NAMES, Manifest, encode_json
from assay.runs.stored import StoredRun, find_stored_run, read_run_files
from assay.workflows.results.gallery import collect_gallery
from assay.workflows.results.matching_runs import describe_differences

CONTENTS_FILE = "report.json"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, kw_only=True)
class WrittenReport:
    """Where a page is, and what it says."""

    path: Path
    contents: Contents


def write_report(run_folder: Path) -> WrittenReport:
    """Write `report.md` and `report.html` from what the run folder holds.

    Raises:
        BadInputError: The folder holds no run, or one of its files cannot be read.
    """
    run = _read_run(run_folder, "")
    text = render_report(run.manifest, run.metrics, run.benchmark, run.gallery)
    write_file(run_folder / REPORT_FILE, text.encode("utf-8"))
    contents = gather_contents([run])
    page = render_page(contents)
    write_file(run_folder / PAGE_FILE, page.encode("utf-8", "backslashreplace"))
    return WrittenReport(path=run_folder / PAGE_FILE, contents=contents)


def write_joint_report(run_folders: Sequence[Path], folder: Path) -> WrittenReport:
    """Write one report of several runs, as HTML, Markdown and JSON; the others are compared with the first.

    Raises:
        UsageError: More runs than letters, or the folder is a run's own.
        BadInputError: A folder holds no run, or one of its files cannot be read.
    """
    if len(run_folders) > len(LETTERS):
        raise UsageError(f"{len(run_folders)} runs; one report takes at most {len(LETTERS)}")
    if (folder / FILE_NAMES[Manifest]).exists():
        raise UsageError(f"{folder} is a run folder, whose own report is there", hint="give another -o DIR")
    runs = [_read_run(path, letter) for path, letter in zip(run_folders, LETTERS, strict=False)]
    runs = [runs[0], *(_compare_with_first(runs[0], run) for run in runs[1:])]
    contents = gather_contents(runs)
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / CONTENTS_FILE, encode_json(describe_contents(contents)))
    write_file(folder / REPORT_FILE, render_contents(contents).encode("utf-8", "backslashreplace"))
    write_file(folder / PAGE_FILE, render_page(contents).encode("utf-8", "backslashreplace"))
    return WrittenReport(path=folder / PAGE_FILE, contents=contents)


def describe_contents(contents: Contents) -> dict[str, Any]:
    """Return what a report says as a JSON document; thumbnails stay out."""
    return {
        "schema_version": 1,
        "title": contents.title,
        "remark": contents.remark,
        "verdict": contents.verdict,
        "cards": contents.cards,
        "lines": contents.lines,
        "tables": contents.tables,
        "runs": [
            {
                "name": run.name,
                "folder": run.folder,
                "metrics": run.metrics,
                "benchmark": run.benchmark,
                "agreement": run.agreement,
            }
            for run in contents.runs
        ],
        "pictures": [
            {"run": name, **dataclasses.asdict(dataclasses.replace(picture, thumbnail=""))}
            for name, picture in contents.pictures
        ],
    }


def _read_run(folder: Path, name: str) -> NamedRun:
    files, stored = read_run_files(folder), find_stored_run(folder)
    return NamedRun(
        name=name,
        folder=str(folder) if name else "",
        manifest=files.manifest,
        metrics=files.metrics,
        benchmark=files.benchmark,
        gallery=collect_gallery(stored) if stored else Gallery(),
    )


def _compare_with_first(first: NamedRun, run: NamedRun) -> NamedRun:
    """The run with how it agrees with the first, or with a note why that cannot be said."""
    try:
        reference, candidate = StoredRun.open(Path(first.folder)), StoredRun.open(Path(run.folder))
        notes = describe_differences(reference, candidate)
        agreement = measure_agreement(
            first.name, reference.predictions, candidate.predictions, candidate.label_offset
        )
    except (AssayError, ValueError) as error:
        note = f"Not compared with {first.name}: {error}"
        return dataclasses.replace(run, gallery=dataclasses.replace(run.gallery, note=note))
    gallery = collect_gallery(candidate, reference.predictions)
    notes = [f"Against {first.name}: {note}" for note in notes] + ([gallery.note] if gallery.note else [])
    gallery = dataclasses.replace(gallery, note="; ".join(notes))
    return dataclasses.replace(run, agreement=agreement, gallery=gallery)
