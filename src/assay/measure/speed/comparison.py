"""Two runs' speeds at the same batch size: which is faster, and whether their loads prove it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from assay.measure.speed.between_loads import LOAD_FACTOR, RatioEstimate, estimate_ratio
from assay.measure.speed.throughput import ThroughputRow, find_best_row

ALPHA = 0.05  # of the t test, two-sided
SpeedOutcome = Literal["faster", "slower", "cannot tell"]


class SpeedComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The speeds of two runs at one batch size on one clock; `ratio` is candidate over reference.

    `load_counts` says how many loads of the model each side was measured on. From three in all, `interval`
    is the 95 % interval of the ratio and `p_value` that of no difference; else nothing says how far two
    loads of one model differ, and both are None. Where one side is INVALID the outcome is "cannot tell", and
    `reason` says why it is.
    """

    batch_size: int
    clock: str
    reference: float
    candidate: float
    reference_is_valid: bool
    candidate_is_valid: bool
    ratio: float
    load_counts: tuple[int, int]
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    outcome: SpeedOutcome
    reason: str = ""


def compare_benchmarks(
    reference: Iterable[ThroughputRow], candidate: Iterable[ThroughputRow]
) -> list[SpeedComparison]:
    """How the speeds compare at every batch size and clock that both were measured at.

    Of several numbers of callers, the fastest VALID one is taken.
    """
    one, other = _group_rows(reference), _group_rows(candidate)
    common = sorted(set(one) & set(other), key=lambda key: (key[1], key[0]))
    return [compare_speeds(find_best_row(one[key]), find_best_row(other[key])) for key in common]


def _group_rows(rows: Iterable[ThroughputRow]) -> dict[tuple[int, str], list[ThroughputRow]]:
    grouped: dict[tuple[int, str], list[ThroughputRow]] = {}
    for row in rows:
        grouped.setdefault((row.batch_size, row.clock), []).append(row)
    return grouped


def compare_speeds(reference: ThroughputRow, candidate: ThroughputRow) -> SpeedComparison:
    """Whether the candidate is faster: by Student's t test of the loads' logarithms, at 5 %.

    Of one load on each side, it is where the ratio is more than `LOAD_FACTOR`. What is INVALID is neither.

    Args:
        reference: A row of the one run.
        candidate: The row of the other, at the same batch size on the same clock.
    """
    sides = reference.load_speeds, candidate.load_speeds
    found = estimate_ratio(*sides)
    medians = reference.images_per_second.median, candidate.images_per_second.median
    ratio = found.ratio if found else medians[1] / medians[0]
    reasons = [
        f"{name} is INVALID: {row.invalid_reasons}"
        for name, row in (("A", reference), ("B", candidate))
        if not row.is_valid
    ]
    return SpeedComparison(
        batch_size=candidate.batch_size,
        clock=candidate.clock,
        reference=medians[0],
        candidate=medians[1],
        reference_is_valid=reference.is_valid,
        candidate_is_valid=candidate.is_valid,
        ratio=ratio,
        load_counts=(len(sides[0]), len(sides[1])),
        interval=found.interval if found else None,
        p_value=_compute_p(found) if found else None,
        outcome="cannot tell" if reasons else _judge(ratio, found),
        reason="; ".join(reasons),
    )


def _compute_p(found: RatioEstimate) -> float:
    return 2 * min(found.compute_p_above(1), found.compute_p_below(1))


def _judge(ratio: float, found: RatioEstimate | None) -> SpeedOutcome:
    is_other = _compute_p(found) <= ALPHA if found else not 1 / LOAD_FACTOR <= ratio <= LOAD_FACTOR
    if not is_other:
        return "cannot tell"
    return "faster" if ratio > 1 else "slower"
