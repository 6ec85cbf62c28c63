"""`assay runs`, `report`, `compare`, `bundle`, `verify`: what runs found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal  # noqa: F401 - read with the shared flags

from assay.command_line.flags import GateFlags, ShowFlags, make_help
from assay.command_line.outcome import EXIT_GATE_FAILED, Outcome, choose_status
from assay.defaults import DEFAULT_MARGIN_POINTS
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.report.tables.table import Table


@dataclass(frozen=True, kw_only=True)
class ReportFlags(ShowFlags):
    """Flags of `assay report`."""

    output: Annotated[
        Path | None, make_help("Folder for one report of several runs; ./report if not given.", "-o")
    ] = None


@dataclass(frozen=True, kw_only=True)
class CompareFlags(ShowFlags, GateFlags):
    """Flags of `assay compare`."""

    margin: Annotated[float, make_help("Loss of Top-1 that does not matter, in percentage points.")] = (
        DEFAULT_MARGIN_POINTS
    )


@dataclass(frozen=True, kw_only=True)
class BundleFlags(ShowFlags):
    """Flags of `assay bundle`."""

    overwrite: Annotated[bool, make_help("Replace a file that is there.")] = False


def runs(folder: Path = Path("runs"), /, flags: ShowFlags = ShowFlags()) -> Outcome:  # noqa: ARG001
    """List the runs in a folder, the newest first.

    Args:
        folder: The folder that holds them.
    """
    from assay.report.tables.run_list import make_run_table
    from assay.workflows.results.list_runs import list_runs

    found = list_runs(folder)
    unreadable = [f"Unreadable: {run.error}" for run in found if run.error]
    return Outcome(lines=[make_run_table(found, folder), *unreadable], document={"runs": found})


def report(*folders: Path, flags: ReportFlags = ReportFlags()) -> Outcome:
    """Write a run's report anew, or one report of several runs.

    Args:
        folders: The run folders; the others are compared with the first.
    """
    from assay.report.document import describe_contents
    from assay.workflows.results.report import write_joint_report, write_report

    if not folders:
        raise UsageError("assay report: no run folder given")
    if len(folders) == 1 and flags.output is None:
        written = write_report(folders[0])
    else:
        written = write_joint_report(folders, flags.output or Path("report"))
    document = {"report": str(written.path), **describe_contents(written.contents)}
    contents = written.contents
    lines = [*contents.differences, f"{written.path}", contents.verdict]
    return Outcome(lines=lines, document=document)


def compare(a: str, b: Path, /, flags: CompareFlags = CompareFlags()) -> Outcome:
    """Compare run B with run A, or with what a record publishes.

    Args:
        a: The reference: a run folder, or the name or TOML file of a model record.
        b: The run folder that is compared with it.
    """
    from assay.report.sentences import describe_gates
    from assay.report.tables.comparison import (
        describe_comparison,
        describe_subsets,
        make_flip_table,
        make_speed_table,
    )
    from assay.report.text import wrap_lines
    from assay.workflows.results.compare import compare_runs

    if not Path(a).is_dir():
        return _compare_with_published(a, b, flags)
    found = compare_runs(Path(a), b, flags.margin, flags.to_gates())
    compared = found.comparison
    tables = [
        make_flip_table(compared, found.class_names, found.label_offset),
        make_speed_table(found.speeds),
    ]
    lines: list[str | Table] = [
        *wrap_lines(
            *(f"Note: {note}" for note in found.notes),
            *(f"Differs: {difference}" for difference in found.differences),
        ),
        *(table for table in tables if table is not None),
        "",
        f"B {b} against A {a}",
        *wrap_lines(
            f"Verdict: {found.verdict.sentence}",
            *describe_comparison(compared),
            *describe_subsets(found.subsets),
            *describe_gates(found.gates),
            f"A page of both: assay report {a} {b}",
        ),
    ]
    return Outcome(
        lines=lines,
        document={"comparison": found, "gates": found.gates},
        exit_status=choose_status((gate.outcome for gate in found.gates), flags.cannot_tell),
        gates=found.gates,
        sentences=(f"B {b} against A {a}", found.verdict.sentence),
    )


def _compare_with_published(model: str, run: Path, flags: CompareFlags) -> Outcome:
    if flags.gate or flags.margin != DEFAULT_MARGIN_POINTS:
        raise UsageError(
            f"assay compare {model}: --gate and --margin are for two runs, and {model} is no folder",
            hint="assay evaluate --gate published judges a run by what its model record publishes",
        )
    from assay.report.tables.comparison import make_published_table
    from assay.workflows.results.compare import compare_with_published

    found = compare_with_published(model, run)
    rows = [(each.published, each.is_within) for each in found]
    table = make_published_table(rows, found[0].top1, found[0].top5)
    return Outcome(lines=[table], document={"published": found})


def bundle(run: Path, file: Path | None = None, /, flags: BundleFlags = BundleFlags()) -> Outcome:
    """Write a finished run into one zip file that proves its figures.

    Args:
        run: The run folder.
        file: The zip file to write; the folder's name with .zip if none is given.
    """
    from assay.workflows.results.bundle import write_bundle

    path = file or run.with_name(f"{run.name}.zip")
    if path.exists() and not flags.overwrite:
        raise UsageError(f"{path} exists already", hint="replace it with --overwrite")
    index = write_bundle(run, path)
    line = f"{path}: {len(index.files):,} files, {path.stat().st_size:,} bytes"
    return Outcome(lines=[line], document={"bundle": str(path), "files": index.files})


def verify(file: Path, /, flags: ShowFlags = ShowFlags()) -> Outcome:  # noqa: ARG001 - main reads --json
    """Compute a bundle's figures again; fail if one differs.

    Args:
        file: A file of `assay bundle`.
    """
    from assay.report.tables.verification import make_check_table
    from assay.workflows.results.verify import LIMIT_OF_PROOF, differs, verify_bundle

    checks = verify_bundle(file)
    differing = [check for check in checks if differs(check)]
    verdict = f"{len(differing)} of {len(checks)} checks differ" if differing else "Every figure is the same"
    return Outcome(
        lines=[LIMIT_OF_PROOF, make_check_table(checks), f"{verdict}: {file}"],
        document={"checks": checks, "same": not differing},
        exit_status=EXIT_GATE_FAILED if differing else 0,
    )
