"""Progress as bars in a terminal."""

from __future__ import annotations

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
from rich.text import Text

from assay.errors import escape_controls
from assay.runs.listener import Listener, Progress


class _RateColumn(ProgressColumn):
    """Shows done units per second, such as `17.4 images/s`."""

    def render(self, task: Task) -> Text:
        """Return the rate as text."""
        rate = task.finished_speed or task.speed
        return Text(f"{rate:.1f} {task.fields['unit']}/s" if rate else "")


class BarListener(Listener):
    """Shows steps as lines and tasks as bars; for a terminal."""

    def __init__(self) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True, emoji=False),
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
