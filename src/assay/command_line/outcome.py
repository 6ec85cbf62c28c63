"""What a command found, for the command line to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.measure.gates import GateResult
    from assay.report.tables.table import Table
    from assay.runs.folder import RunResult

EXIT_GATE_FAILED = 1
EXIT_SOME_IMAGES_FAILED = 3


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command found: lines and tables for people, a document for programs, the exit status."""

    lines: Sequence[str | Table]
    document: dict[str, object]
    exit_status: int = 0


def describe_run(result: RunResult) -> Outcome:
    """What a run found, and whether its gates passed."""
    from assay.report.summary import list_findings, summarise_run

    failed_count = result.metrics.accuracy.failed_count if result.metrics else 0
    return Outcome(
        lines=summarise_run(result.folder, result.manifest, result.metrics, result.benchmark),
        document={
            "run": str(result.folder),
            **list_findings(result.metrics, result.benchmark, result.gates),
        },
        exit_status=choose_status(result.gates) or (EXIT_SOME_IMAGES_FAILED if failed_count else 0),
    )


def choose_status(judged: Sequence[GateResult]) -> int:
    """The exit status that gates ask for: only a pass passes."""
    return 0 if all(gate.outcome == "pass" for gate in judged) else EXIT_GATE_FAILED
