"""The speeds of a bundle, derived again from the times of its calls."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from assay.measure.speed.recommendation import recommend_batch_sizes
from assay.measure.speed.several_devices import compute_total_rates
from assay.measure.speed.throughput import ThroughputRow, measure_latency
from assay.measure.speed.validity import judge_validity
from assay.runs.results_file import Benchmark

LONGEST_PAUSE = 2.0
"""A repeat takes at most so many times the time of its calls: the last caller is waited for."""
_ROUNDING = 1.0001


def list_inconsistent_rows(benchmark: Benchmark) -> list[str]:
    """Name the rows that are not what the times of their calls give, each with what differs."""
    differing = [
        f"batch {row.batch_size}, {row.clock} clock: {faults}"
        for row in benchmark.rows
        if (faults := " and ".join(_find_faults(row)))
    ]
    differing += [
        f"batch {row.batch_size}, pipeline clock"
        for row in benchmark.pipelines
        if row.images_per_second.median != statistics.median(row.images_per_second.values)
        or row.validity
        != judge_validity(
            row.images_per_second.values,
            row.validity.warm_up_s,
            row.validity.measured_s,
            row.validity.machine,
        )
    ]
    differing += [
        f"batch {row.batch_size}, several devices"
        for row in benchmark.devices
        if row.total.values != compute_total_rates(row.image_counts, row.seconds)
        or row.total.median != statistics.median(row.total.values)
        or row.validity
        != judge_validity(
            row.total.values, row.validity.warm_up_s, row.validity.measured_s, row.validity.machine
        )
    ]
    for bound in {found.max_latency_ms for found in benchmark.recommended}:
        said = [found for found in benchmark.recommended if found.max_latency_ms == bound]
        if said != recommend_batch_sizes(benchmark.rows, bound):
            differing.append(f"the batch size recommended for {bound:g} ms")
    return differing


def _find_faults(row: ThroughputRow) -> Iterator[str]:
    rates, calls = row.images_per_second, [value for repeat in row.call_ms for value in repeat]
    if (
        not calls
        or len(rates.values) != len(row.call_ms)
        or rates.median != statistics.median(rates.values)
        or not all(
            _can_be(rate, call_ms, row) for rate, call_ms in zip(rates.values, row.call_ms, strict=True)
        )
    ):
        yield "images per second"
    if calls and row.latency_ms != measure_latency(calls):
        yield "latency"
    judged = row.validity
    if judged is not None and judged != judge_validity(
        rates.values, judged.warm_up_s, judged.measured_s, judged.machine
    ):
        yield "VALID or not"


def _can_be(rate: float, call_ms: tuple[float, ...], row: ThroughputRow) -> bool:
    """Whether a repeat's images per second can come of its calls: a caller's follow one another."""
    callers = row.caller_count if row.clock == "call" else 1
    fastest = 1000 * row.batch_size * len(call_ms) * callers / max(math.fsum(call_ms), 1e-6)
    return row.clock == "pipeline" or fastest / LONGEST_PAUSE <= rate <= fastest * _ROUNDING
