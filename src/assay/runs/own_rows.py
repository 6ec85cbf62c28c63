"""Which rows of a benchmark are of a run's own model, and which of the float model beside it."""

from __future__ import annotations

from assay.engines.cascade.record import CascadeRecord, name_model
from assay.measure.speed.throughput import ThroughputRow
from assay.runs.results_file import Benchmark, Manifest

INT8 = "int8"


def select_rows(manifest: Manifest, benchmark: Benchmark | None) -> list[ThroughputRow]:
    """Return the speeds of the run's main model, not of the float model beside it."""
    main = (manifest.engine, manifest.device, manifest.precision)
    rows = benchmark.rows if benchmark else []
    return [row for row in rows if (row.engine, row.device, row.precision) == main]


def select_float_rows(manifest: Manifest, benchmark: Benchmark | None) -> list[ThroughputRow]:
    """Return the speeds of the float model that an int8 run or a cascade measured beside its main model."""
    rows = benchmark.rows if benchmark else []
    if isinstance(manifest.cascade, CascadeRecord):
        exact = manifest.cascade.exact
        return [row for row in rows if name_model(row.engine, row.precision, row.device) == exact]
    if manifest.precision != INT8:
        return []
    main = (manifest.engine, manifest.device)
    return [row for row in rows if (row.engine, row.device) == main and row.precision != INT8]
