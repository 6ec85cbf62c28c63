"""What a run found as lines and tables for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from assay.report.contents import Contents
from assay.report.tables.table import Table

WIDTH = 80
_SHOWN_SUFFIXES = {".json", ".md", ".html"}


def render_text(contents: Contents, folder: Path) -> list[str | Table]:
    """What a run found: accuracy, agreement, throughput, the verdict, and the result files in its folder."""
    files = sorted(file for file in folder.iterdir() if file.suffix in _SHOWN_SUFFIXES)
    head = [contents.remark, ""] if contents.remark else []
    sentences = (*(card.line for card in contents.cards), *contents.findings, *contents.notes)
    return [
        *wrap_lines(*head, contents.title, *sentences),
        *contents.short_tables,
        "",
        *wrap_lines(f"Verdict: {contents.verdict}"),
        *(f"{file}" for file in files),
    ]


def wrap_lines(*lines: str) -> Iterator[str]:
    """Yield lines of at most 80 columns, what goes on indented."""
    for line in lines:
        yield from textwrap.wrap(line, WIDTH, subsequent_indent="  ") or [""]
