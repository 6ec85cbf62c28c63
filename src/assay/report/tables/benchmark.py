"""The report's tables beside those of speed: what loading cost, what is recommended, what was imported."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from assay.measure.speed.loading import LoadCost
from assay.measure.speed.recommendation import Recommendation
from assay.measure.speed.several_devices import SeveralDevicesRow
from assay.report.tables.loadgen import make_loadgen_tables
from assay.report.tables.table import Table
from assay.report.tables.throughput import format_rate, mark
from assay.runs.results_file import Benchmark


def make_benchmark_tables(benchmark: Benchmark) -> Iterator[Table]:
    """Yield the tables of what a benchmark found besides images per second, LoadGen's among them."""
    if benchmark.recommended:
        yield _make_recommendation_table(benchmark.recommended)
    by_model: dict[tuple[str, str, int], list[SeveralDevicesRow]] = {}
    for row in benchmark.devices:
        by_model.setdefault((row.engine, row.precision, row.caller_count), []).append(row)
    yield from map(_make_devices_table, by_model.values())
    if benchmark.loading:
        yield _make_loading_table(benchmark)
    yield from make_loadgen_tables(benchmark)
    if benchmark.imported:
        yield _make_imported_table(benchmark)


def _make_recommendation_table(recommended: Sequence[Recommendation]) -> Table:
    notes = []
    for one in recommended:
        if one.batch_size is None:
            notes.append(f"None of the measured batch sizes keeps {one.max_latency_ms:g} ms on {one.engine}.")
            continue
        if not one.is_valid:
            notes.append(
                f"{one.engine}: no VALID row keeps {one.max_latency_ms:g} ms; ! marks one that is INVALID."
            )
        if not one.is_bound:
            notes.append(f"{one.engine}: too few calls for an interval of p99, so p99 itself was compared.")
    return Table(
        title="Recommended batch size",
        header=("Model", "p99 within", "Batch", "Callers", "Images/s", "p99 up to"),
        rows=tuple(map(_make_recommendation_row, recommended)),
        notes=(
            "The fastest VALID row whose p99, at the upper end of its 95 % interval, is within; call clock.",
            *notes,
        ),
    )


def _make_recommendation_row(one: Recommendation) -> tuple[str, ...]:
    name, bound = f"{one.engine} on {one.device}, {one.precision}", f"{one.max_latency_ms:g} ms"
    if one.images_per_second is None or one.p99_ms is None:
        return name, bound, "none", "", "", ""
    rate = f"{format_rate(one.images_per_second)}{mark(is_valid=one.is_valid)}"
    return name, bound, f"{one.batch_size}", f"{one.caller_count}", rate, f"{one.p99_ms:.1f} ms"


def _make_devices_table(of_model: Sequence[SeveralDevicesRow]) -> Table:
    """Images per second of each device, alone and while all compute, and in sum."""
    first = of_model[0]
    return Table(
        title=f"Several devices: {first.engine}, {first.precision}",
        header=("Batch", "Device", "Alone images/s", "At once images/s", "of alone"),
        rows=tuple(cells for row in of_model for cells in _make_devices_rows(row)),
        notes=(
            f"Medians of {len(first.total.values)} repeats, call clock. Alone: the others wait; at once: "
            "all begin a repeat together. all: the sum of what each gives alone, and all images of a repeat "
            "over the time until the last device was done. What is missing to 100 % is this machine's limit, "
            "not the devices'.",
            *(
                f"INVALID (!), batch {row.batch_size}: {'; '.join(row.validity.reasons)}."
                for row in of_model
                if not row.validity.is_valid
            ),
        ),
    )


def _make_devices_rows(row: SeveralDevicesRow) -> Iterator[tuple[str, ...]]:
    batch = f"{row.batch_size}"
    for name, alone in row.alone.items():
        rates = (alone.median, row.at_once[name].median)
        yield batch, name, *map(format_rate, rates), f"{100 * rates[1] / rates[0]:.0f} %"
    total = f"{format_rate(row.total.median)}{mark(is_valid=row.validity.is_valid)}"
    yield batch, "all", format_rate(row.alone_sum), total, f"{row.percent_of_sum:.0f} %"


def _make_loading_table(benchmark: Benchmark) -> Table:
    by_model: dict[str, list[LoadCost]] = {}
    for cost in benchmark.loading:
        by_model.setdefault(f"{cost.engine} on {cost.device}, {cost.precision}", []).append(cost)
    return Table(
        title="Loading and memory",
        header=("Model", "Loads", "Load ms", "First call ms", "Then ms", "Loaded MiB", "Peak MiB"),
        rows=tuple(_make_loading_row(name, costs, benchmark) for name, costs in by_model.items()),
        notes=(
            "Medians over the loads. First call: one caller, before any warm-up, at the smallest batch; "
            "then: p50 of that batch afterwards, all callers at once.",
            "Memory is resident memory of the whole process: after loading, and its peak at the end.",
        ),
    )


def _make_loading_row(name: str, costs: Sequence[LoadCost], benchmark: Benchmark) -> tuple[str, ...]:
    first = costs[0]
    steady = [
        f"{row.latency_ms.p50:.1f}{mark(is_valid=row.is_valid)}"
        for row in benchmark.rows
        if (row.engine, row.device, row.precision) == (first.engine, first.device, first.precision)
        and row.clock == "call"
        and row.batch_size == first.first_call_batch_size
    ]
    return (
        name,
        f"{len(costs)}",
        f"{statistics.median(cost.load_ms for cost in costs):.0f}",
        f"{statistics.median(cost.first_call_ms for cost in costs):.1f}",
        steady[0] if steady else "not measured",
        _format_memory([cost.memory_loaded_bytes for cost in costs]),
        _format_memory([cost.peak_memory_bytes for cost in costs]),
    )


def _format_memory(sizes: Sequence[int | None]) -> str:
    told = [size for size in sizes if size is not None]
    return f"{statistics.median(told) / (1 << 20):,.0f}" if told else "unknown"


def _make_imported_table(benchmark: Benchmark) -> Table:
    rows = tuple(
        (
            f"{row.tool} (imported)",
            row.device or "device not named",
            f"{row.batch_size}",
            row.clock,
            format_rate(row.images_per_second),
            *(f"{row.latency_ms[name]:.2f}" if name in row.latency_ms else "" for name in ("p50", "p99")),
            f"{row.call_count:,}",
        )
        for row in benchmark.imported
    )
    return Table(
        title="Imported results",
        header=("Tool", "Device", "Batch", "Clock", "Images/s", "p50 ms", "p99 ms", "Calls"),
        rows=rows,
        notes=(
            "Not measured by assay, and not judged VALID or INVALID: read from files of other tools.",
            *(
                f"{row.tool}, batch {row.batch_size}: {row.how}. File {row.source_file}, sha256 {row.sha256}."
                for row in benchmark.imported
            ),
        ),
    )
