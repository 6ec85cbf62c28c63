"""What a run found as lines and tables for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from assay.report.contents import Contents
from assay.report.tables.table import Table
from assay.runs.place import PAGE_FILE

WIDTH = 80


def render_text(contents: Contents, folder: Path) -> list[str | Table]:
    """What a run found: details first; the verdict, the figures and where the page is come last.

    A terminal shows the end of it.
    """
    page = folder / PAGE_FILE
    remark = [contents.remark] if contents.remark else []
    return [
        *wrap_lines(contents.title, *contents.notes, *contents.findings),
        *contents.short_tables,
        "",
        *wrap_lines(*remark),
        *wrap_lines(f"Verdict: {contents.verdict}", *(card.line for card in contents.cards)),
        f"Report: {page}" if page.is_file() else f"Results: {folder}",
    ]


def wrap_lines(*lines: str) -> Iterator[str]:
    """Yield lines of at most 80 columns, what goes on indented."""
    for line in lines:
        yield from textwrap.wrap(line, WIDTH, subsequent_indent="  ") or [""]
