"""Several gates put to one run: what each says, where all of them together may fail a good run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec

from assay.measure.baseline import ERROR
from assay.measure.gates import Evidence, Gate, GateResult, judge_gate


def judge_gates(gates: Sequence[Gate], evidence: Evidence) -> tuple[GateResult, ...]:
    """What gates say of a run, together.

    Each pass of a gate that decides at 95 % is wrong with a chance of at most 5 %, and so is the pass of all
    of them. A fail needs one gate alone, so that more gates would fail more good runs: the fails are tested
    by Holm's procedure (Scand. J. Stat. 6 (1979) 65), with a chance of at most 5 % over all.
    """
    parts = [part for gate in gates for part in _split(gate, evidence)]
    open_tests = {str(part) for part in parts if part.is_test}
    count, judged = len(open_tests), dict[str, GateResult]()
    while open_tests:
        strict = dataclasses.replace(evidence, fail_error=ERROR / len(open_tests))
        tried = {str(part): judge_gate(part, strict) for part in parts if str(part) in open_tests}
        failed = {text for text, found in tried.items() if found.outcome == "fail"}
        judged.update(tried)
        if not failed:
            break
        open_tests -= failed
    return tuple(
        _note_correction(judged.get(str(part)) or judge_gate(part, evidence), part, count, evidence)
        for part in parts
    )


def _split(gate: Gate, evidence: Evidence) -> list[Gate]:
    """A gate for each part of the comparison with a baseline; others as they are."""
    if gate.kind != "no-worse" or not evidence.baseline:
        return [gate]
    return [
        dataclasses.replace(gate, text=f"{gate.text} ({part.name})", part=part.name)
        for part in evidence.baseline
    ]


def _note_correction(found: GateResult, gate: Gate, count: int, evidence: Evidence) -> GateResult:
    """Say where a gate alone would fail, and does not among several."""
    if found.outcome == "cannot tell" and judge_gate(gate, evidence).outcome == "fail":
        reason = f"{found.reason}; alone it would fail, not as one of {count} that decide at 95 % (Holm)"
        return msgspec.structs.replace(found, reason=reason)
    return found
