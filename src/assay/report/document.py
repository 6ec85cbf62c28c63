"""What a report says, and what a run found, as JSON documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from assay.measure.gates import GateResult
from assay.report.contents import Contents
from assay.runs.results_file import Benchmark, Metrics


def describe_contents(contents: Contents) -> dict[str, Any]:
    """What a report says; thumbnails stay out."""
    return {
        "schema_version": 1,
        "title": contents.title,
        "remark": contents.remark,
        "differences": contents.differences,
        "verdict": contents.verdict,
        "cards": contents.cards,
        "lines": contents.lines,
        "tables": contents.tables,
        "runs": [
            {
                "name": run.name,
                "folder": run.folder,
                "metrics": run.metrics,
                "benchmark": run.benchmark,
                "agreement": run.agreement,
            }
            for run in contents.runs
        ],
        "pictures": [
            {"run": name, **dataclasses.asdict(dataclasses.replace(picture, thumbnail=""))}
            for name, picture in contents.pictures
        ],
    }


def describe_results(
    metrics: Metrics | None, benchmark: Benchmark | None, gates: Sequence[GateResult]
) -> dict[str, object]:
    """What a run found, by name; None for what was not run."""
    benchmarked = ("rows", "loadgen", "loading", "recommended", "imported", "pipelines")
    speed = {name: getattr(benchmark, name) if benchmark else None for name in benchmarked}
    return {
        "accuracy": metrics.accuracy if metrics else None,
        "subset": metrics.subset if metrics else None,
        "real": metrics.real if metrics else None,
        "agreement": metrics.agreement if metrics else None,
        **select_cascade_results(metrics),
        "benchmark": speed.pop("rows"),
        **speed,
        "gates": gates,
    }


def select_cascade_results(metrics: Metrics | None) -> dict[str, object]:
    """What the run of a cascade found besides; other runs have no such keys."""
    if metrics is None:
        return {}
    found = {"answered_by": metrics.answered_by, "cascade": metrics.cascade}
    return {name: value for name, value in found.items() if value is not UNSET}
