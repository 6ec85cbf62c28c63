"""What a workflow tells about its progress while it runs; the library itself prints nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a task has come.

    Args:
        task: What is being done, in a few words; names the task.
        unit: What is counted: images, repeats, bytes.
        done: How many of them are done.
        total: How many there are, 0 where that is not known.
        detail: Anything else worth seeing now, such as the running Top-1.
    """

    task: str
    unit: str
    done: int
    total: int
    detail: str = ""


class Listener:
    """Hears what a workflow tells, and does nothing with it; others overwrite its methods."""

    def announce(self, text: str) -> None:
        """Hear one line about a step that begins or a result that is there."""

    def advance(self, progress: Progress) -> None:
        """Hear how far a task has come."""


SILENT = Listener()
