"""Run folders to pages: one run to its own report, several to one report with a column each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import AssayError, UsageError, shorten
from assay.files import encode_json, write_file
from assay.measure.accuracy.agreement import measure_agreement
from assay.report.contents import Contents, gather_contents
from assay.report.document import describe_contents
from assay.report.html import render_page
from assay.report.markdown import render_markdown
from assay.report.named_run import Gallery, NamedRun
from assay.runs.place import PAGE_FILE, REPORT_FILE
from assay.runs.results_file import FILE_NAMES, Manifest, read_run_files
from assay.runs.stored import StoredRun, find_stored_run
from assay.workflows.results.gallery import collect_gallery
from assay.workflows.results.matching_runs import check_comparable

CONTENTS_FILE = "report.json"
LONGEST_NAME = 30
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, kw_only=True)
class WrittenReport:
    """Where a page is, and what it says."""

    path: Path
    contents: Contents


def write_report(run_folder: Path, *, opens_urls: bool = False) -> WrittenReport:
    """Write `report.md` and `report.html` from what the run folder holds.

    Args:
        run_folder: The run folder.
        opens_urls: Whether the images are fetched for thumbnails where they are behind a URL: only where the
            user named that URL in this command.

    Raises:
        BadInputError: The folder holds no run, or one of its files cannot be read.
    """
    return _write_pages(gather_contents([_read_run(run_folder, "", opens_urls=opens_urls)]), run_folder)


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
    runs = [_read_run(path, name) for path, name in zip(run_folders, name_runs(run_folders), strict=True)]
    runs = [runs[0], *(_compare_with_first(runs[0], run) for run in runs[1:])]
    contents = gather_contents(runs)
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / CONTENTS_FILE, encode_json(describe_contents(contents)))
    return _write_pages(contents, folder)


def name_runs(run_folders: Sequence[Path]) -> list[str]:
    """A letter for each run, with what its folder's path has and the others' have not.

    >>> name_runs([Path("runs/fp32"), Path("runs/int8")]), name_runs([Path("a/run"), Path("b/run")])
    (['A (fp32)', 'B (int8)'], ['A (a)', 'B (b)'])
    """
    paths = [list(path.absolute().parts) for path in run_folders]
    while len({tuple(parts[-1:]) for parts in paths}) == 1 and all(paths):
        paths = [parts[:-1] for parts in paths]
    names = [shorten(parts[-1], LONGEST_NAME) if parts else "" for parts in paths]
    return [f"{letter} ({name})" if name else letter for letter, name in zip(LETTERS, names, strict=False)]


def _write_pages(contents: Contents, folder: Path) -> WrittenReport:
    write_file(folder / REPORT_FILE, render_markdown(contents).encode("utf-8", "backslashreplace"))
    write_file(folder / PAGE_FILE, render_page(contents).encode("utf-8", "backslashreplace"))
    return WrittenReport(path=folder / PAGE_FILE, contents=contents)


def _read_run(folder: Path, name: str, *, opens_urls: bool = False) -> NamedRun:
    files, stored = read_run_files(folder), find_stored_run(folder)
    return NamedRun(
        name=name,
        folder=str(folder) if name else "",
        manifest=files.manifest,
        metrics=files.metrics,
        benchmark=files.benchmark,
        gallery=collect_gallery(stored, opens_urls=opens_urls) if stored else Gallery(),
    )


def _compare_with_first(first: NamedRun, run: NamedRun) -> NamedRun:
    """The run with how it agrees with the first, or with a note why that cannot be said."""
    try:
        reference, candidate = StoredRun.open(Path(first.folder)), StoredRun.open(Path(run.folder))
        check_comparable(reference, candidate)
        agreement = measure_agreement(
            first.name, reference.predictions, candidate.predictions, candidate.label_offset
        )
    except (AssayError, ValueError) as error:
        return dataclasses.replace(run, notes=(f"Not compared with {first.name}: {error}",))
    return dataclasses.replace(
        run,
        agreement=agreement,
        gallery=collect_gallery(candidate, reference.predictions),
    )
