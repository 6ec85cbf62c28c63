"""The processes of a session, as the operating system calls what one process has started, and their end."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

_PATIENCE_S = 2.0
_PAUSE_S = 0.02


def list_session(session: int) -> list[int]:
    """The ids of the processes in that session that have not ended, sorted.

    Empty on systems without `/proc`.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(folder.name))
    return sorted(found)


def end_session(session: int, *, but: int | None = None) -> None:
    """End the processes in that session at once and wait until they are gone, two seconds at most.

    Args:
        session: Its id.
        but: A process that is left alone.
    """
    until = time.monotonic() + _PATIENCE_S
    while others := [process for process in list_session(session) if process != but]:
        for process in others:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if time.monotonic() > until:
            return
        time.sleep(_PAUSE_S)
