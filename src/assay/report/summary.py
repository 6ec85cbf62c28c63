"""The result of a run as lines and tables for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from assay.measure.accuracy.accuracy import FailedImage
from assay.measure.gates import GateResult
from assay.report.sentences import (
    describe_agreement,
    describe_gates,
    describe_images,
    describe_paired,
    describe_real,
    describe_topk,
)
from assay.report.tables.accuracy import make_failure_table
from assay.report.tables.benchmark import make_benchmark_tables
from assay.report.tables.table import Table
from assay.report.tables.throughput import make_throughput_tables
from assay.runs.results_file import Benchmark, Manifest, Metrics

WIDTH = 80
LISTED_FAILURES = 20


def summarise_run(
    folder: Path, manifest: Manifest, metrics: Metrics | None, benchmark: Benchmark | None
) -> list[str | Table]:
    """Return what a run found: accuracy, agreement, throughput, and where the files are."""
    items: list[str | Table] = []
    if manifest.remark:
        items += [*textwrap.wrap(manifest.remark, WIDTH), ""]
    if manifest.model is not None:
        items.append(f"{manifest.model.name} on {manifest.engine} ({manifest.device}, {manifest.precision})")
    if metrics is not None:
        items.append(describe_topk("Top-1", metrics.accuracy.top1, metrics.accuracy))
        items.append(describe_topk("Top-5", metrics.accuracy.top5, metrics.accuracy))
        if metrics.real is not None:
            items += describe_real(metrics.real)
        if metrics.agreement is not None:
            items.append(describe_agreement(metrics.agreement))
            items += describe_paired(metrics.agreement)
        if manifest.image_set is not None:
            lines = describe_images(manifest.image_set)
            items += [part for line in lines for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ")]
        if metrics.accuracy.failures:
            items.append(make_failure_table(metrics.accuracy))
    if benchmark is not None and manifest.model is not None:
        items += [*make_throughput_tables(benchmark.rows, manifest.model), ""]
    if benchmark is not None:
        items += [*make_benchmark_tables(benchmark)]
    items += [
        part
        for line in describe_gates(manifest.gates)
        for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ")
    ]
    items += [f"{file}" for file in sorted(folder.iterdir()) if file.suffix in {".json", ".md", ".html"}]
    return items


def list_findings(
    metrics: Metrics | None, benchmark: Benchmark | None, gates: Sequence[GateResult]
) -> dict[str, object]:
    """Return what a run found by name, for the JSON document; None for what was not run."""
    benchmarked = ("rows", "loadgen", "loading", "recommended", "imported")
    speed = {name: getattr(benchmark, name) if benchmark else None for name in benchmarked}
    return {
        "accuracy": metrics.accuracy if metrics else None,
        "real": metrics.real if metrics else None,
        "agreement": metrics.agreement if metrics else None,
        "benchmark": speed.pop("rows"),
        **speed,
        "gates": gates,
    }


def summarise_failures(failures: Sequence[FailedImage]) -> list[str]:
    """Return a line for each failed image with its reason, and how many more there are."""
    lines = [f"Failed: {image.relative_path}: {image.status}" for image in failures[:LISTED_FAILURES]]
    more = len(failures) - len(lines)
    return [*lines, f"and {more:,} more"] if more else lines
