"""Writes `report.md`: a report as Markdown."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from assay.errors import escape_controls
from assay.report.contents import Contents
from assay.report.tables.runs import make_picture_table
from assay.report.tables.table import Table


def render_markdown(contents: Contents) -> str:
    """A report as Markdown; what a single run left out is named as not run."""
    lines = [f"# {escape_markdown(contents.title)}", ""]
    if contents.remark:
        lines += [f"> **{escape_markdown(contents.remark)}**", ""]
    if contents.differences:
        lines += [*(f"- {escape_markdown(line)}" for line in contents.differences), ""]
    lines += [f"**{escape_markdown(contents.verdict)}**", ""]
    lines += [
        f"- {escape_markdown(line)}" for line in (*(card.line for card in contents.cards), *contents.lines)
    ]
    lines.append("")
    for title in contents.not_run:
        lines += [f"## {title}", "", "Not run.", ""]
    for table in (*contents.tables, *_list_picture_tables(contents)):
        lines += render_table(table)
    return "\n".join(lines) + "\n"


def _list_picture_tables(contents: Contents) -> Iterator[Table]:
    is_joint = len(contents.runs) > 1
    for run in contents.runs:
        is_reference = is_joint and run is contents.runs[0]
        table = make_picture_table(run.gallery, "" if is_reference else contents.reference)
        if table is not None:
            yield dataclasses.replace(table, title=f"{run.name}: {table.title}") if run.name else table


def render_table(table: Table) -> Iterator[str]:
    """Yield the lines of a table under its title as a heading."""
    yield f"## {escape_markdown(table.title)}"
    yield ""
    yield _render_row(table.header)
    yield _render_row(("---",) * len(table.header))
    yield from (_render_row(row) for row in table.rows)
    yield ""
    for note in table.notes:
        yield f"- {escape_markdown(note)}"
    if table.notes:
        yield ""


def _render_row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(escape_markdown(cell) for cell in cells)} |"


def escape_markdown(cell: str) -> str:
    """Return the text so that Markdown shows it as it is."""
    return re.sub(r"([\\|*<\[`])", r"\\\1", escape_controls(cell.replace("\n", " ")))
