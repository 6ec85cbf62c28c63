"""The speeds of a bundle, derived again from the times of its calls."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from assay.measure.speed.recommendation import recommend_batch_sizes
from assay.measure.speed.several_devices import compute_total_rates
from assay.measure.speed.throughput import ThroughputRow, measure_latency
from assay.measure.speed.validity import Validity, judge_validity
from assay.runs.results_file import Benchmark

LONGEST_PAUSE = 2.0
"""A repeat takes at most so many times the time of its calls: the last caller is waited for."""
LONGEST_START_S = 1.0
"""How long the callers of a repeat can wait besides until they run, on a busy machine."""
LONGEST_LOOK_S = 0.2
"""What the looks at the machine before and after a repeat can take, on a busy one."""
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
        or not _is_judged_right(row.validity, row.images_per_second.values)
        or not math.isclose(
            row.validity.measured_s,
            math.fsum(row.image_count / max(rate, 1e-9) for rate in row.images_per_second.values),
        )
    ]
    differing += [
        f"batch {row.batch_size}, several devices"
        for row in benchmark.devices
        if row.total.values != compute_total_rates(row.image_counts, row.seconds)
        or row.total.median != statistics.median(row.total.values)
        or not _is_judged_right(row.validity, row.total.values)
        or not math.isclose(row.validity.measured_s, math.fsum(row.seconds))
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
    if row.validity is not None and not (
        _is_judged_right(row.validity, rates.values) and _can_last(row.validity.measured_s, row)
    ):
        yield "VALID or not"


def _is_judged_right(said: Validity, rates: Sequence[float]) -> bool:
    return said == judge_validity(rates, said.warm_up_s, said.measured_s, said.machine)


def _can_last(measured_s: float, row: ThroughputRow) -> bool:
    """Whether all repeats can have taken so long: images over rates, and the looks at the machine."""
    rates = row.images_per_second.values
    repeats = zip(rates, row.call_ms, strict=False)
    took_s = math.fsum(row.batch_size * len(call_ms) / max(rate, 1e-9) for rate, call_ms in repeats)
    longest_s = LONGEST_PAUSE * took_s + LONGEST_LOOK_S * len(rates)
    return row.clock != "call" or took_s / _ROUNDING <= measured_s <= longest_s


def _can_be(rate: float, call_ms: tuple[float, ...], row: ThroughputRow) -> bool:
    """Whether a repeat's images per second can come of its calls: a caller's follow one another."""
    callers = row.caller_count if row.clock == "call" else 1
    image_count, called_s = row.batch_size * len(call_ms), max(math.fsum(call_ms), 1e-6) / 1000 / callers
    longest_s = LONGEST_PAUSE * called_s + LONGEST_START_S
    return row.clock == "pipeline" or image_count / longest_s <= rate <= image_count / called_s * _ROUNDING
