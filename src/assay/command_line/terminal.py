"""Shows progress on stderr and results on stdout: bars and tables for people, one JSON document else."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table as RichTable
from rich.text import Text

from assay.command_line.streams import drain
from assay.errors import escape_controls
from assay.report.tables.table import Table
from assay.runs.listener import Listener, Progress
from assay.runs.results_file import SCHEMA_VERSION, encode_json

LINES_PER_TASK = 10  # where stderr is no terminal


class _RateColumn(ProgressColumn):
    """Shows done units per second, such as `17.4 images/s`."""

    def render(self, task: Task) -> Text:
        """Return the rate as text."""
        rate = task.finished_speed or task.speed
        return Text(f"{rate:.1f} {task.fields['unit']}/s" if rate else "")


class BarListener(Listener):
    """Shows steps as lines and tasks as bars; for a terminal."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[detail]}"),
            console=console,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def announce(self, text: str) -> None:
        """Show the line above the bars."""
        self._bars.console.print(escape_controls(text), markup=False, highlight=False)

    def advance(self, progress: Progress) -> None:
        """Move the task's bar."""
        if progress.task not in self._tasks:
            self._bars.start()
            self._tasks[progress.task] = self._bars.add_task(
                progress.task, total=progress.total or None, unit=progress.unit, detail=""
            )
        task = self._tasks[progress.task]
        self._bars.update(
            task, completed=progress.done, detail=progress.detail, refresh=progress.done == progress.total
        )
        if progress.total and progress.done >= progress.total:
            self._bars.stop()
            self._bars.remove_task(self._tasks.pop(progress.task))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bars.stop()


class LineListener(Listener):
    """Writes steps as lines, and each task as a line every 10 %; for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tenths: dict[str, int] = {}
        self._starts: dict[str, float] = {}

    def announce(self, text: str) -> None:
        """Write the line; where its reader went or there is no space, it is lost and the work goes on."""
        try:
            print(escape_controls(text), file=self._stream, flush=True)
        except OSError:
            drain(self._stream)

    def advance(self, progress: Progress) -> None:
        """Write a line when another tenth of the task is done."""
        start = self._starts.setdefault(progress.task, time.perf_counter())
        tenth = LINES_PER_TASK * progress.done // progress.total if progress.total else 0
        if tenth <= self._tenths.get(progress.task, 0):
            return
        self._tenths[progress.task] = tenth
        elapsed = max(time.perf_counter() - start, 1e-9)
        rate = progress.done / elapsed
        left = (progress.total - progress.done) / rate
        detail = f", {progress.detail}" if progress.detail else ""
        self.announce(
            f"{progress.task}: {progress.done:,} of {progress.total:,} {progress.unit}, "
            f"{rate:.1f} {progress.unit}/s, {left:.0f} s left{detail}"
        )


@contextmanager
def open_listener(*, quiet: bool) -> Iterator[Listener]:
    """Give what shows a workflow's progress on stderr: bars in a terminal, lines else, or nothing."""
    if quiet:
        yield Listener()
        return
    console = Console(stderr=True)
    if not console.is_terminal or os.environ.get("TERM") == "dumb":
        yield LineListener(sys.stderr)
        return
    bars = BarListener(console)
    try:
        yield bars
    finally:
        bars.close()


@contextmanager
def keep_stdout_for_result() -> Iterator[TextIO]:
    """Give a stream to the real stdout, while everything else that is written there goes to stderr.

    Runtimes print from C++; their words must not end up in the middle of a JSON document.
    """
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(real), "w", encoding="utf-8", errors="backslashreplace") as stream:
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(real, 1)
        os.close(real)


def write_document(document: dict[str, object], stream: TextIO) -> None:
    """Write one JSON document with its schema version."""
    stream.write(encode_json({"schema_version": SCHEMA_VERSION, **document}).decode("utf-8"))
    stream.flush()


def write_lines(items: Sequence[str | Table], stream: TextIO) -> None:
    """Write lines and tables to the stream, as wide as its terminal, else 80 columns."""
    text = io.StringIO()  # rich would end the process when the stream's reader has gone
    is_terminal = stream.isatty()
    console = Console(file=text, force_terminal=is_terminal, width=None if is_terminal else 80)
    for item in items:
        if isinstance(item, str):
            console.print(item, markup=False, highlight=False, soft_wrap=True)
            continue
        console.print()
        console.print(_make_rich_table(item))
        for note in item.notes:
            console.print(f"- {note}", markup=False, highlight=False)
    stream.write(text.getvalue())


def _make_rich_table(table: Table) -> RichTable:
    rich_table = RichTable(
        box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold"
    )
    for column, name in enumerate(table.header):
        is_figure = not table.is_text and (column or name == "Batch")
        rich_table.add_column(name, justify="right" if is_figure else "left")
    for row in table.rows:
        rich_table.add_row(*(Text(cell) for cell in row))
    return rich_table
