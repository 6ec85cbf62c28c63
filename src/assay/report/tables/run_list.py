"""What `assay runs` shows: a line for each run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.measure.accuracy.accuracy import Accuracy
from assay.measure.speed.throughput import ThroughputRow
from assay.report.tables.table import Table
from assay.report.tables.throughput import show_rate
from assay.runs.listed import ListedRun

_STATUS = {"finished": "", "running": "not finished"}


def make_run_table(runs: Sequence[ListedRun], folder: Path) -> Table:
    """A row for each run: when, what, how accurate, how fast."""
    notes = ["Started: UTC. Top-1: of so many images. Images/s: the fastest batch, VALID before INVALID."]
    if any(run.best is not None and not run.best.is_valid for run in runs):
        notes.append("! INVALID: assay report RUN says why.")
    if any(run.status == "running" for run in runs):
        notes.append("not finished: still running, or killed; --resume goes on.")
    return Table(
        title=f"Runs in {folder}",
        header=("Run", "Started", "Model", "Engine", "Top-1", "Images/s"),
        rows=tuple(_make_row(run) for run in runs),
        notes=tuple(notes),
        is_text=True,
    )


def _make_row(run: ListedRun) -> tuple[str, ...]:
    status = _STATUS.get(run.status, run.status)
    engine = " ".join(filter(None, (run.engine, run.device, run.precision)))
    return (
        run.path.name or str(run.path.resolve().name),
        run.started[:16].replace("T", " "),
        run.model,
        engine,
        _show_accuracy(run.accuracy) or status,
        _show_speed(run.best) if run.accuracy is None or not status else f"{_show_speed(run.best)} {status}",
    )


def _show_accuracy(accuracy: Accuracy | None) -> str:
    return f"{accuracy.top1.percent:.2f} % of {accuracy.image_count:,}" if accuracy else ""


def _show_speed(best: ThroughputRow | None) -> str:
    return f"{show_rate(best)} (batch {best.batch_size}, {best.clock} clock)" if best else ""
