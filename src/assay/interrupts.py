"""Ends a process within two seconds of SIGINT or SIGTERM, whatever it is doing."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

EXIT_INTERRUPTED = 130
PATIENCE_S = 1.5
_PR_SET_PDEATHSIG = 1  # prctl(2): kept by execve
_EXECUTE = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)
_exit_callbacks: list[Callable[[], None]] = []
_forking = threading.local()
_can_resume = threading.Event()


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


def end_with_parent(parent: int) -> None:
    """Let this process be killed as soon as its parent is gone, however that ends (on Linux).

    Args:
        parent: The parent's number; where that has ended already, this process does so too.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(EXIT_INTERRUPTED)


def wrap_command(command: Sequence[str]) -> list[str]:
    """The command of another program, so that it is killed as soon as this process is gone.

    Raises:
        FileNotFoundError: There is no such program.
    """
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    if sys.platform != "linux":
        return [*command]
    return [sys.executable, "-IS", "-c", _EXECUTE, str(os.getpid()), *command]


def say_resume(*, is_option: bool) -> None:
    """Let the message of an interruption name --resume, where the command that runs now has it."""
    if is_option:
        _can_resume.set()
    else:
        _can_resume.clear()


def describe_interruption() -> tuple[str, str]:
    """What a command says that was ended by a signal, and how it goes on; empty where it does not."""
    if _can_resume.is_set():
        return "interrupted; what was done is kept", "continue with --resume"
    return "interrupted; nothing is half-written", ""


@contextmanager
def on_forced_exit(callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback`, from another thread, should the process be ended inside the block without waiting."""
    _exit_callbacks.append(callback)
    try:
        yield
    finally:
        _exit_callbacks.remove(callback)


def _hold_signals() -> None:
    """Let signals wait while this thread forks: the child's would be heard here until it is set apart."""
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _set_child_apart() -> None:
    """Let a fork of this process, such as a library makes, die alone: its signals would end its parent."""
    if signal.getsignal(signal.SIGTERM) is _interrupt:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _release_signals()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(
        before=_hold_signals, after_in_parent=_release_signals, after_in_child=_set_child_apart
    )


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
                sys.stderr.write("assay: " + "\n  ".join(filter(None, describe_interruption())) + "\n")
                sys.stderr.flush()
            os._exit(EXIT_INTERRUPTED)
    reading.close()
