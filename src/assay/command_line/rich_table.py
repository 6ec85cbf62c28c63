"""A table as text of some width."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from assay.errors import escape_controls
from assay.report.tables.table import Table


def print_table(table: Table, stream: TextIO, *, is_terminal: bool) -> None:
    """Write a table and its notes, behind an empty line: as wide as the terminal, else 80 columns."""
    console = Console(file=stream, force_terminal=is_terminal, width=None if is_terminal else 80, emoji=False)
    console.print()
    console.print(_make_rich_table(table))
    for note in table.notes:
        console.print(f"- {escape_controls(note)}", markup=False, highlight=False)


def _make_rich_table(table: Table) -> RichTable:
    rich_table = RichTable(
        box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold"
    )
    for column, name in enumerate(table.header):
        is_figure = not table.is_text and (column or name == "Batch")
        rich_table.add_column(name, justify="right" if is_figure else "left")
    for row in table.rows:
        rich_table.add_row(*(Text(escape_controls(cell).replace("\n", "\\n")) for cell in row))
    return rich_table
