"""Keeps what native code writes to stdout and stderr: the only place where some runtimes give reasons."""

from __future__ import annotations

import os
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
