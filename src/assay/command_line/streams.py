"""The standard streams where one is closed, full, or has lost its reader; imports nothing heavy."""

from __future__ import annotations

import os
import sys
from typing import TextIO, cast

STDIN, STDOUT, STDERR = 0, 1, 2


def fill_closed_streams() -> frozenset[int]:
    """Open the null device in the place of standard streams that were closed, and return which they were.

    Else the next file that is opened gets the number of stdout, and runtimes print into it.
    """
    closed = set()
    for number in (STDIN, STDOUT, STDERR):  # in order: the lowest free number is given
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            closed.add(number)
    if sys.stdin is None:
        sys.stdin = _open_again(STDIN, "r")
    if sys.stdout is None:
        sys.stdout = _open_again(STDOUT, "w")
    if sys.stderr is None:
        sys.stderr = _open_again(STDERR, "w")
    return frozenset(closed)


def _open_again(number: int, mode: str) -> TextIO:
    return cast("TextIO", os.fdopen(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False))


def drain(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere, after a write to it failed."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def write_to_stderr(text: str) -> None:
    """Write to stderr; where nobody can read it any more, it is lost, and nothing else is."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        drain(sys.stderr)


def describe_failure(error: OSError | None) -> str:
    """Say why stdout could not be written; "" where its reader went, who has seen enough."""
    if isinstance(error, BrokenPipeError):
        return ""
    reason = error.strerror if error is not None else "it is closed"
    return f"the result cannot be written to stdout: {reason}; the command itself has ended"
