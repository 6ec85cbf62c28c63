"""`assay history`: results over time, put to a baseline and shown as trends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from assay.command_line.flags import GateFlags, ShowFlags, make_help
from assay.command_line.outcome import Outcome, choose_status
from assay.command_line.parse import refuse_unused
from assay.errors import UsageError
from assay.files import refuse_same_file

ADD_FLAGS = ("baseline", "note", "gate", "junit", "cannot_tell")


@dataclass(frozen=True, kw_only=True)
class HistoryFlags(ShowFlags, GateFlags):
    """Flags of `assay history`."""

    file: Annotated[Path, make_help("The history, an SQLite file; `add` makes it.")] = Path("history.sqlite")
    baseline: Annotated[
        bool, make_help("With add: later runs are compared with these, by no-worse-than:baseline.")
    ] = False
    note: Annotated[str, make_help("With add: what to say of the runs, such as a commit.")] = ""
    output: Annotated[
        Path | None, make_help("With show: the page; beside the history, with .html, if not given.", "-o")
    ] = None


def history(
    action: Literal["add", "show"], /, *folders: Path, flags: HistoryFlags = HistoryFlags()
) -> Outcome:
    """Keep results over time, compare with a baseline, show trends.

    Args:
        action: add runs to the history and put them to their gates; or show it as trends with their changes.
        folders: With add: the run folders; several of one model are judged together.
    """
    return _add(folders, flags) if action == "add" else _show(folders, flags)


def _add(folders: tuple[Path, ...], flags: HistoryFlags) -> Outcome:
    from assay.report.sentences import describe_gates
    from assay.report.text import wrap_lines
    from assay.workflows.history.add import add_to_history

    refuse_unused(flags, ["output"], "with add")
    if not folders:
        raise UsageError("assay history add: no run folder given")
    refuse_same_file(flags.file, *folders)
    added = add_to_history(
        flags.file, folders, gates=flags.to_gates(), note=flags.note, is_baseline=flags.baseline
    )
    return Outcome(
        lines=[*wrap_lines(*added.sentences, *describe_gates(added.gates))],
        document={"history": str(flags.file), "runs": added.numbers, "gates": added.gates},
        exit_status=choose_status((gate.outcome for gate in added.gates), flags.cannot_tell),
        gates=added.gates,
        sentences=added.sentences,
    )


def _show(folders: tuple[Path, ...], flags: HistoryFlags) -> Outcome:
    from assay.report.text import wrap_lines
    from assay.report.trend import describe_trends, make_trend_table
    from assay.workflows.history.trends import write_trend_page

    refuse_unused(flags, ADD_FLAGS, "with show")
    if folders:
        raise UsageError(
            f"assay history show: {folders[0]} is one too many", hint="give the history by --file"
        )
    page = flags.output or flags.file.with_suffix(".html")
    refuse_same_file(page, flags.file)
    trends = write_trend_page(flags.file, page)
    return Outcome(
        lines=[make_trend_table(trends), "", *wrap_lines(*describe_trends(trends)), f"{page}"],
        document={"trends": trends, "page": str(page)},
    )
