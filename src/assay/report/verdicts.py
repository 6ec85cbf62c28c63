"""The verdict of a report: on one run, and on each of several against the first."""

from __future__ import annotations

from collections.abc import Iterator

from assay.measure.accuracy.accuracy import Accuracy
from assay.measure.accuracy.agreement import Agreement
from assay.measure.accuracy.verdict import Names, choose_speed, write_verdict
from assay.measure.speed.comparison import SpeedComparison, compare_benchmarks
from assay.measure.speed.throughput import ThroughputRow, find_best_row
from assay.report.named_run import NamedRun
from assay.report.tables.throughput import show_rate
from assay.runs.own_rows import select_float_rows, select_rows
from assay.runs.results_file import Manifest


def write_run_verdict(run: NamedRun) -> str:
    """What a single run shows: its gates, then its answers against its reference's, then its speed."""
    if run.metrics is None and not (run.benchmark and run.benchmark.rows):
        return "Only other tools' speeds were read." if run.benchmark else "Nothing was measured yet."
    return " ".join([*_describe_gates(run.manifest), *_describe_run(run)])


def _describe_gates(manifest: Manifest) -> Iterator[str]:
    if manifest.gates:
        failed = [gate for gate in manifest.gates if gate.outcome != "pass"]
        named = ", ".join(f"{gate.gate} ({gate.outcome})" for gate in failed)
        every = ", ".join(gate.gate for gate in manifest.gates)
        yield f"Not every gate passes: {named}." if failed else f"Passes every gate: {every}."


def _describe_run(run: NamedRun) -> Iterator[str]:
    manifest, metrics = run.manifest, run.metrics
    rows = select_rows(manifest, run.benchmark)
    if metrics is not None and metrics.agreement is not None:
        own = f"{manifest.engine} {manifest.precision}"
        names = name_models(metrics.agreement.reference, own)
        speed = choose_speed(compare_benchmarks(select_float_rows(manifest, run.benchmark), rows))
        yield _write(metrics.agreement, names, speed, manifest)
        if speed is not None:
            return
    elif metrics is not None:
        yield _describe_accuracy(metrics.accuracy)
    if rows or (run.benchmark and run.benchmark.rows):
        yield describe_rate(find_best_row(rows or run.benchmark.rows))  # type: ignore[union-attr]


def _describe_accuracy(accuracy: Accuracy) -> str:
    low, high = accuracy.top1.interval_percent
    failed = f"; {accuracy.failed_count:,} failed, counted as wrong" if accuracy.failed_count else ""
    return (
        f"Top-1 {accuracy.top1.percent:.2f} % of {accuracy.image_count:,} images "
        f"(95 %: {low:.2f} to {high:.2f}{failed})."
    )


def describe_rate(row: ThroughputRow) -> str:
    """How fast the fastest batch is; marked where that is INVALID."""
    clock = "" if row.clock == "call" else f", {row.clock} clock"
    invalid = "" if row.is_valid else "; ! INVALID"
    return f"{show_rate(row)} images/s (batch {row.batch_size}{clock}{invalid})."


def write_verdict_on(run: NamedRun, first: NamedRun) -> str:
    """The verdict on one of several runs, against the first; empty where they were not compared."""
    if run.agreement is None:
        return ""
    pairs = compare_benchmarks(
        select_rows(first.manifest, first.benchmark), select_rows(run.manifest, run.benchmark)
    )
    names = Names(reference=first.name, candidate=run.name)
    return _write(run.agreement, names, choose_speed(pairs), run.manifest, first.manifest)


def _write(found: Agreement, names: Names, speed: SpeedComparison | None, *manifests: Manifest) -> str:
    count = count_calibrated(*manifests)
    return write_verdict(found, names, speed=speed, calibrated_count=count).sentence


def count_calibrated(*manifests: Manifest) -> int:
    """How many of the images of these runs served to calibrate one of their models."""
    return max(one.image_set.calibrated_count if one.image_set else 0 for one in manifests)


def name_models(reference: str, candidate: str) -> Names:
    """What two models are called by the words that they do not share; by all where one has no other.

    >>> name_models("openvino fp32", "openvino int8").candidate
    'int8'
    >>> name_models("torch", "openvino fp32").candidate
    'openvino fp32'
    """
    words = reference.split(), candidate.split()
    own = [" ".join(w for w in one if w not in other) for one, other in (words, words[::-1])]
    return (
        Names(reference=own[0], candidate=own[1])
        if all(own)
        else Names(reference=reference, candidate=candidate)
    )


def name_runs(reference: Manifest, candidate: Manifest) -> Names:
    """What two runs are called by what differs in them: model, engine, precision, device; else A and B."""
    described = [
        f"{one.model.name if one.model else ''} {one.engine} {one.precision} {one.device}"
        for one in (reference, candidate)
    ]
    if sorted(described[0].split()) == sorted(described[1].split()):
        return Names(reference="A", candidate="B")
    names = name_models(*described)
    return Names(reference=f"A ({names.reference})", candidate=f"B ({names.candidate})")
