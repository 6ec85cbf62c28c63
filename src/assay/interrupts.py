"""Ends a process within two seconds of SIGINT or SIGTERM, whatever it is doing."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

EXIT_INTERRUPTED = 130
PATIENCE_S = 1.5
_exit_callbacks: list[Callable[[], None]] = []


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does: with KeyboardInterrupt, so that what is open is closed.

    Python hears of a signal only between two of its own steps. Where the main thread is inside a runtime
    for longer than that, the process ends without waiting: whatever is written is written whole or not at
    all. Outside the main thread the block runs as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = threading.Event()
    reading, writing = socket.socketpair()  # not a pipe: Windows wakes by sockets alone
    writing.setblocking(False)
    before = signal.signal(signal.SIGTERM, _interrupt)
    wakeup_before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end_when_signalled, args=(reading, ended), name="signals", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(wakeup_before)
        signal.signal(signal.SIGTERM, before)
        writing.close()  # which ends the thread


@contextmanager
def on_forced_exit(callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback`, from another thread, should the process be ended inside the block without waiting."""
    _exit_callbacks.append(callback)
    try:
        yield
    finally:
        _exit_callbacks.remove(callback)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_when_signalled(reading: socket.socket, ended: threading.Event) -> None:
    """Wait for a signal, give the main thread its time, then end the process."""
    while received := reading.recv(1):
        if received[0] in (signal.SIGINT, signal.SIGTERM):
            time.sleep(PATIENCE_S)
            if not ended.is_set():
                for callback in tuple(_exit_callbacks):
                    with suppress(OSError):  # a full disk, say: the process ends all the same
                        callback()
                sys.stderr.write("assay: interrupted; what was done is kept\n  continue with --resume\n")
                sys.stderr.flush()
            os._exit(EXIT_INTERRUPTED)
    reading.close()
