"""A run in a line, as lists of runs show it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from assay.measure.accuracy.accuracy import Accuracy
from assay.measure.speed.throughput import ThroughputRow


class ListedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a line.

    Args:
        path: Its folder.
        started: When, in UTC, as ISO 8601 has it; empty where it cannot be read.
        status: How it ended, or that it is running, or was killed; `unreadable` where a file is damaged.
        model: What its model record is called; empty before it is known, as the next three.
        engine: What ran it.
        device: On what.
        precision: In what.
        accuracy: None where it was not measured.
        best: The fastest row of its main model that is VALID, else the fastest; None where there is none.
        error: Why it cannot be read.
    """

    path: Path
    started: str = ""
    status: str
    model: str = ""
    engine: str = ""
    device: str = ""
    precision: str = ""
    accuracy: Accuracy | None = None
    best: ThroughputRow | None = None
    error: str = ""
