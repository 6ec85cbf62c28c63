"""Progress as bars in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from assay.errors import escape_controls
from assay.runs.listener import Listener, Progress

NARROW = 10  # columns of the bar: what is left goes to the words


class _DoneColumn(ProgressColumn):
    """Shows how much is done, how fast, and how long it takes: `40 of 160 images, 17.4/s, 7 s left`."""

    def render(self, task: Task) -> Text:
        """The figures as text."""
        unit = task.fields["unit"]
        of_total = f" of {task.total:,.0f}" if task.total else ""
        parts = [f"{task.completed:,.0f}{of_total} {unit}"]
        if rate := task.finished_speed or task.speed:
            parts.append(f"{rate:.1f}/s")
        if task.time_remaining is not None and not task.finished:
            parts.append(f"{_show_seconds(task.time_remaining)} left")
        return Text(", ".join(parts))


def _show_seconds(seconds: float) -> str:
    """A time as people say it.

    >>> _show_seconds(59), _show_seconds(90), _show_seconds(3700)
    ('59 s', '1 min 30 s', '1 h 01 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class BarListener(Listener):
    """Shows steps as lines and tasks as bars; for a terminal."""

    def __init__(self) -> None:
        self._bars = Bars(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=NARROW),
            _DoneColumn(table_column=Column(no_wrap=True)),
            TextColumn(
                "{task.fields[detail]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
            ),
            console=Console(stderr=True, emoji=False),
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def announce(self, text: str) -> None:
        """Show the line above the bars."""
        self._bars.console.print(escape_controls(text), markup=False, highlight=False)

    def advance(self, progress: Progress) -> None:
        """Move the task's bar; one that has nothing to do has none."""
        if not progress.done and not progress.total:
            return
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
