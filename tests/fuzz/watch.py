"""Runs a fuzzer: holds each input to limits of time and memory, and counts what becomes of the inputs.

Time is the processor's, not the clock's: on a busy machine a fuzzer waits, and a wait is no find.
"""

from __future__ import annotations

import atexit
import collections
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import atheris

MAX_SECONDS = 10.0  # of processor time, for one input
MAX_GROWTH_KIB = 2**20  # of the process's peak memory, by one input
PAUSE_S = 60.0  # between two lines of counts


class Watch:
    """A reader of bytes, with counts of what became of them.

    Args:
        read: Reads one input.
        refusals: The errors that a damaged input may end in.
    """

    def __init__(self, read: Callable[[bytes], object], refusals: tuple[type[Exception], ...]) -> None:
        self.read, self.refusals = read, refusals
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.slowest_s = self.printed = 0.0

    def __call__(self, content: bytes) -> None:
        began, peak = time.process_time(), peak_kib()
        try:
            self.read(content)
            self.outcomes["read"] += 1
        except self.refusals as error:
            self.outcomes[f"{type(error).__name__} (exit {getattr(error, 'exit_status', '-')})"] += 1
        took = time.process_time() - began
        self.slowest_s = max(self.slowest_s, took)
        assert took < MAX_SECONDS, f"{took:.1f} s of processor time for one input"
        assert peak_kib() - peak < MAX_GROWTH_KIB, f"{(peak_kib() - peak) >> 10} MiB for one input"
        if time.monotonic() - self.printed > PAUSE_S:
            self.print_counts()

    def print_counts(self) -> None:
        self.printed = time.monotonic()
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.most_common())
        sys.stderr.write(
            f"counts: {counts}; slowest {self.slowest_s:.2f} s of processor time, "
            f"peak {peak_kib() >> 10} MiB, {time.process_time():.0f} s of processor time in all\n"
        )
        sys.stderr.flush()


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fuzz(
    read: Callable[[bytes], object],
    refusals: tuple[type[Exception], ...],
    write_seeds: Callable[[Path], None],
    *options: str,
) -> None:
    """Run the fuzzer with the options of its command line, a folder or a find first; it does not return."""
    place = Path(sys.argv[1])
    write_seeds(Path(tempfile.mkdtemp()) if place.is_file() else place)
    watch = Watch(read, refusals)
    atexit.register(watch.print_counts)
    atheris.Setup([*sys.argv, *options], watch)
    atheris.Fuzz()
