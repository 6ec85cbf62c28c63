"""What runtimes say: captured from stdout and stderr, where some give reasons, and quoted on one line."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class NativeOutput:
    """What was written, once the block has ended."""

    text: str = ""


@contextmanager
def capture_native_output() -> Iterator[NativeOutput]:
    """Keep what this process writes to its file descriptors 1 and 2 until the block ends."""
    said = NativeOutput()
    with tempfile.TemporaryFile() as file:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = {number: os.dup(number) for number in (1, 2)}
        try:
            for number in kept:
                os.dup2(file.fileno(), number)
            yield said
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
            file.seek(0)
            said.text = file.read().decode("utf-8", "replace")


LONGEST_QUOTE = 240  # characters
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PLACE_IN_SOURCE = re.compile(r"^(Exception from \S+:\d+:?|Check '.*' failed at \S+:\d+:?)\s*")
_TEMPORARY_PATH = re.compile(re.escape(tempfile.gettempdir()) + r"/[^\s'\":,)]*/")


def quote(said: object) -> str:
    r"""The first line with a reason of what a runtime said, cut to one short line for a message.

    Left out are terminal codes, the runtime's own source lines and paths of temporary folders.

    >>> quote("Exception from src/core.cpp:93:\nCheck 'a == b' failed at src/node.cpp:7:\n\x1b[31mno room")
    'no room'
    """
    lines = [_TERMINAL_CODES.sub("", line).strip() for line in str(said).splitlines()]
    reasons = [reason for line in lines if (reason := _PLACE_IN_SOURCE.sub("", line).strip())]
    reason = _TEMPORARY_PATH.sub("", reasons[0] if reasons else "no reason given")
    return reason if len(reason) <= LONGEST_QUOTE else f"{reason[: LONGEST_QUOTE - 1]}…"
