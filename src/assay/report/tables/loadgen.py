"""The report's table of what MLPerf LoadGen found."""

from __future__ import annotations

from collections.abc import Iterator

from assay.measure.accuracy.accuracy import describe_topk
from assay.report.tables.table import Table
from assay.report.tables.throughput import mark
from assay.runs.results_file import Benchmark


def make_loadgen_tables(benchmark: Benchmark) -> Iterator[Table]:
    """Yield a table of LoadGen's scenarios, where they were run."""
    if not benchmark.loadgen:
        return
    rows = tuple(
        (
            row.scenario,
            "VALID" if row.is_valid else "INVALID",
            row.metric,
            "" if row.value is None else f"{row.value:,.2f}{mark(is_valid=row.is_valid)}",
            f"{row.query_count:,}",
        )
        for row in benchmark.loadgen
    )
    yield Table(
        title="MLPerf LoadGen",
        header=("Scenario", "Result", "Metric", "Value", "Queries"),
        rows=rows,
        notes=tuple(_make_notes(benchmark)),
    )


def _make_notes(benchmark: Benchmark) -> Iterator[str]:
    yield "Not a result of MLPerf: measured by its load generator, not submitted and not reviewed."
    if benchmark.loadgen_accuracy is not None:
        accuracy = benchmark.loadgen_accuracy
        for name, topk in accuracy.shown:
            yield f"AccuracyOnly: {describe_topk(name, topk, accuracy)}"
    for row in benchmark.loadgen:
        if row.imported_sha256:
            yield f"{row.scenario}: imported from {row.log_folder}, sha256 {row.imported_sha256}."
        if row.target_rate is not None and row.target_latency_ms is not None:
            yield (
                f"{row.scenario}: {row.target_rate:.2f} queries/s were asked for; 99 % had to be answered "
                f"within {row.target_latency_ms:g} ms."
            )
        yield from (f"{row.scenario}: {reason}" for reason in row.reasons)
        if row.falls_short_of:
            yield f"{row.scenario}: short of MLPerf's rules: {'; '.join(row.falls_short_of)}."
