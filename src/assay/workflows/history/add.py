"""Runs added to a history, and put to their gates against its baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import UsageError
from assay.measure.gates import Evidence, Gate, GateResult
from assay.measure.judge_together import judge_gates
from assay.runs.history_file import HistoryRun, add_runs
from assay.runs.results_file import read_run_files
from assay.workflows.history.baseline import list_parts, list_unmeasured
from assay.workflows.history.verified_run import read_verified_run
from assay.workflows.results.gates import collect_evidence


@dataclass(frozen=True, kw_only=True)
class AddedRuns:
    """What was added: the numbers of the runs, what is said of them, what the gates say."""

    numbers: tuple[int, ...]
    sentences: tuple[str, ...]
    gates: tuple[GateResult, ...]


def add_to_history(
    path: Path, folders: Sequence[Path], *, gates: Sequence[Gate], note: str = "", is_baseline: bool = False
) -> AddedRuns:
    """Add finished runs, verified, and judge them against the baseline that was there.

    A run that fails its gates is added too: it is what was measured.

    Args:
        path: The history; made if it is not there.
        folders: The run folders; several are judged together against the baseline.
        gates: What they must show; other gates than the one on the baseline are for one run alone.
        note: What a person says of them.
        is_baseline: Whether later runs are compared with them.

    Raises:
        UsageError: A run that is not finished; gates for one run alone with several; no place to write.
        BadInputError: A run or the history cannot be read, or a figure is not what its predictions give.
    """
    alone = [gate for gate in gates if gate.kind != "no-worse"]
    if alone and len(folders) > 1:
        raise UsageError(
            f"--gate {alone[0]} is for one run, and {len(folders)} are given", hint="add them one by one"
        )
    runs = [read_verified_run(folder, note=note, is_baseline=is_baseline) for folder in folders]
    history = add_runs(path, runs)
    numbers = {run.sha256: run.number for run in history}
    return AddedRuns(
        numbers=tuple(numbers[run.sha256] for run in runs),
        sentences=(
            *(_describe(run, numbers[run.sha256], path) for run in runs),
            *(list_unmeasured(history, runs) if len(gates) > len(alone) else ()),
        ),
        gates=judge_gates(gates, _collect(folders, history, runs)) if gates else (),
    )


def _collect(folders: Sequence[Path], history: Sequence[HistoryRun], runs: Sequence[HistoryRun]) -> Evidence:
    parts = list_parts(history, runs)
    if len(folders) > 1:
        return Evidence(baseline=parts)
    files = read_run_files(folders[0])
    evidence = collect_evidence(files.manifest, files.metrics, files.benchmark)
    return dataclasses.replace(evidence, baseline=parts)


def _describe(run: HistoryRun, number: int, path: Path) -> str:
    found = []
    if run.accuracy is not None:
        hits, count = run.accuracy.top1_hits, run.accuracy.image_count
        found.append(f"Top-1 {hits:,} of {count:,} ({100 * hits / count:.2f} %)")
    invalid = sum(bool(speed.invalid) for speed in run.speeds)
    if run.speeds:
        marks = f", {invalid} INVALID" if invalid else ""
        found.append(f"{len(run.speeds)} {'speed' if len(run.speeds) == 1 else 'speeds'}{marks}")
    role = ", baseline" if run.is_baseline else ""
    return f"{path}, run {number}{role}: {', '.join(found)}, computed again from {run.folder}"
