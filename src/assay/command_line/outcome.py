"""What a command found, for the command line to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.report.tables.table import Table

EXIT_GATE_FAILED = 1
EXIT_SOME_IMAGES_FAILED = 3


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command found: lines and tables for people, a document for programs, the exit status."""

    lines: Sequence[str | Table]
    document: dict[str, object]
    exit_status: int = 0
