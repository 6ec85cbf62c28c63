"""The batch size that is fastest within a bound on latency."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from assay.measure.speed.throughput import ThroughputRow, find_best_row


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """The fastest batch size and number of callers whose calls keep a bound; None where none does.

    `p99_ms` is the upper end of the 95 % interval of p99 where `is_bound`, else p99 itself: there were too
    few calls for an interval. `is_valid` is False where no VALID row keeps the bound and an INVALID one does.
    """

    engine: str
    device: str
    precision: str
    max_latency_ms: float
    batch_size: int | None = None
    caller_count: int | None = None
    images_per_second: float | None = None
    p99_ms: float | None = None
    is_bound: bool = False
    is_valid: bool = True


def recommend_batch_sizes(rows: Iterable[ThroughputRow], max_latency_ms: float) -> list[Recommendation]:
    """The fastest VALID row within the bound for each model, on the `call` clock; else an INVALID one.

    Args:
        rows: Those on another clock are passed over.
        max_latency_ms: Bound on the 99th percentile, ms.
    """
    by_model: dict[tuple[str, str, str], list[ThroughputRow]] = {}
    for row in rows:
        if row.clock == "call":
            by_model.setdefault((row.engine, row.device, row.precision), []).append(row)
    return [_recommend(model_rows, max_latency_ms) for model_rows in by_model.values()]


def _recommend(rows: list[ThroughputRow], max_latency_ms: float) -> Recommendation:
    first = rows[0]
    none = Recommendation(
        engine=first.engine, device=first.device, precision=first.precision, max_latency_ms=max_latency_ms
    )
    within = list(_list_within(rows, max_latency_ms))
    if not within:
        return none
    best = find_best_row(within)
    return msgspec.structs.replace(
        none,
        batch_size=best.batch_size,
        caller_count=best.caller_count,
        images_per_second=best.images_per_second.median,
        p99_ms=_find_p99(best),
        is_bound="p99" in best.latency_ms.intervals,
        is_valid=best.is_valid,
    )


def _list_within(rows: list[ThroughputRow], max_latency_ms: float) -> Iterator[ThroughputRow]:
    return (row for row in rows if _find_p99(row) <= max_latency_ms)


def _find_p99(row: ThroughputRow) -> float:
    interval = row.latency_ms.intervals.get("p99")
    return row.latency_ms.p99 if interval is None else interval[1]
