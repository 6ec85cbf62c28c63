"""What a workflow tells about its progress while it runs; the library itself prints nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
FIRST_WORD_S = 10.0
LONGEST_PAUSE_S = 60.0


@contextmanager
def announce_wait(listener: Listener, task: str, first_s: float = FIRST_WORD_S) -> Iterator[None]:
    """Announce that a task still runs, after ten seconds and then less and less often: runtimes say nothing.

    Args:
        listener: Hears it, from another thread.
        task: What is waited for, such as `compiling model.onnx`.
        first_s: How long the task runs until that is said first, seconds.
    """
    ended = threading.Event()
    began = time.perf_counter()

    def tell() -> None:
        pause_s = first_s
        while not ended.wait(pause_s):
            listener.announce(f"Still {task}, {time.perf_counter() - began:.0f} s so far; Ctrl-C ends it")
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    teller = threading.Thread(target=tell, name="wait", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
