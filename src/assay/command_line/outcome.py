"""What a command found, for the command line to show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from assay.measure.accuracy.verdict import LossOutcome
    from assay.measure.gates import GateOutcome, GateResult
    from assay.report.tables.table import Table
    from assay.runs.folder import RunResult

EXIT_GATE_FAILED = 1
EXIT_SOME_IMAGES_FAILED = 3
EXIT_CANNOT_TELL = 6
CannotTell = Literal["pass", "fail"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command found: lines and tables for people, a document for programs, the exit status.

    `gates` and `sentences`, which say the result in few words, go where pipelines read them.
    """

    lines: Sequence[str | Table]
    document: dict[str, object]
    exit_status: int = 0
    gates: Sequence[GateResult] = ()
    sentences: Sequence[str] = ()


def describe_run(result: RunResult, cannot_tell: CannotTell | None = None) -> Outcome:
    """What a run found, and whether its gates passed; `cannot_tell` as in `choose_status`."""
    import msgspec

    from assay.report.contents import gather_contents
    from assay.report.document import describe_results
    from assay.report.named_run import NamedRun
    from assay.report.text import render_text

    gates = result.gates or result.manifest.gates  # a share judges what its manifest does not record
    manifest = msgspec.structs.replace(result.manifest, gates=list(gates))
    run = NamedRun(name="", manifest=manifest, metrics=result.metrics, benchmark=result.benchmark)
    failed_count = result.metrics.accuracy.failed_count if result.metrics else 0
    contents = gather_contents([run])
    return Outcome(
        lines=render_text(contents, result.folder),
        document={
            "run": str(result.folder),
            "verdict": contents.verdict,
            "weights_key": result.manifest.weights_key,
            **describe_results(result.metrics, result.benchmark, result.gates),
        },
        exit_status=choose_status((gate.outcome for gate in result.gates), cannot_tell)
        or (EXIT_SOME_IMAGES_FAILED if failed_count else 0),
        gates=result.gates,
        sentences=(contents.verdict, *(card.line for card in contents.cards)),
    )


def choose_status(outcomes: Iterable[GateOutcome | LossOutcome], cannot_tell: CannotTell | None) -> int:
    """The exit status that gates ask for: a fail before a "cannot tell", which has its own.

    Args:
        outcomes: What the gates said.
        cannot_tell: What "cannot tell" counts as, where it is not to have its own status.
    """
    found = set(outcomes)
    if found & {"fail", "not within"} or ("cannot tell" in found and cannot_tell == "fail"):
        return EXIT_GATE_FAILED
    return EXIT_CANNOT_TELL if "cannot tell" in found and cannot_tell is None else 0
