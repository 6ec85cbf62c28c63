"""Shows progress on stderr and results on stdout: bars and tables for people, one JSON document else."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from assay.command_line.streams import drain
from assay.errors import escape_controls
from assay.files import SCHEMA_VERSION, encode_json
from assay.runs.listener import Listener, Progress

if TYPE_CHECKING:
    from assay.report.tables.table import Table

LINES_PER_TASK = 10  # where stderr is no terminal


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
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield LineListener(sys.stderr)
        return
    from assay.command_line.bars import BarListener

    bars = BarListener()
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
    """Write lines and tables to the stream; tables as wide as its terminal, else 80 columns."""
    text = io.StringIO()  # rich would end the process when the stream's reader has gone
    for item in items:
        if isinstance(item, str):
            text.write(f"{escape_controls(item)}\n")
        else:
            from assay.command_line.rich_table import print_table

            print_table(item, text, is_terminal=stream.isatty())
    stream.write(text.getvalue())
