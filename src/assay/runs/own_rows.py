"""Which rows of a benchmark are of a run's own model, and which of the float model beside it."""

from __future__ import annotations

import msgspec

from assay.engines.cascade.record import CascadeRecord, name_model
from assay.measure.speed.throughput import ThroughputRow
from assay.runs.results_file import Benchmark, Manifest

INT8 = "int8"


def select_rows(manifest: Manifest, benchmark: Benchmark | None) -> list[ThroughputRow]:
    """Return the speeds of the run's main model, not of the float model beside it.

    Of several devices they are the slowest one's, and name its kind alone, as of `select_float_rows`.
    """
    device, rows = _find_rows(manifest, benchmark)
    main = (manifest.engine, device, manifest.precision)
    return [row for row in rows if (row.engine, row.device, row.precision) == main]


def select_float_rows(manifest: Manifest, benchmark: Benchmark | None) -> list[ThroughputRow]:
    """Return the speeds of the float model that an int8 run or a cascade measured beside its main model."""
    device, rows = _find_rows(manifest, benchmark)
    if isinstance(manifest.cascade, CascadeRecord):
        exact = manifest.cascade.exact
        return [row for row in rows if name_model(row.engine, row.precision, row.device) == exact]
    if manifest.precision != INT8:
        return []
    main = (manifest.engine, device)
    return [row for row in rows if (row.engine, row.device) == main and row.precision != INT8]


def _find_rows(manifest: Manifest, benchmark: Benchmark | None) -> tuple[str, list[ThroughputRow]]:
    """What rows call the run's device, and the rows; of several devices, the slowest at each batch size."""
    if benchmark is None or not benchmark.devices:
        return manifest.device, benchmark.rows if benchmark else []
    slowest: dict[tuple[object, ...], ThroughputRow] = {}
    for row in benchmark.rows:
        named = msgspec.structs.replace(row, device=_name_kind(row.device))
        key = (row.engine, named.device, row.precision, row.clock, row.batch_size, row.caller_count)
        before = slowest.setdefault(key, named)
        if row.images_per_second.median < before.images_per_second.median:
            slowest[key] = named
    return _name_kind(manifest.device), list(slowest.values())


def _name_kind(device: str) -> str:
    return device.partition(":")[0]
