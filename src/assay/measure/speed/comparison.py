"""Two runs' speeds at the same batch size: which is faster, and whether the repeats prove it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from assay.measure.speed.throughput import ThroughputRow, find_best_row

ALPHA = 0.05  # of the rank-sum test, two-sided
SpeedOutcome = Literal["faster", "slower", "cannot tell"]


class SpeedComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The speeds of two runs at one batch size on one clock; `ratio` is candidate over reference.

    Where one of them is INVALID the outcome is "cannot tell", and `reason` says why it is.
    """

    batch_size: int
    clock: str
    reference: float
    candidate: float
    reference_is_valid: bool
    candidate_is_valid: bool
    ratio: float
    p_value: float
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
    """Whether the candidate is faster: by the exact rank-sum test over the repeats, at 5 %.

    Mann and Whitney, Ann. Math. Stat. 18 (1947) 50, two-sided. What is INVALID is neither faster nor slower.

    Args:
        reference: A row of the one run.
        candidate: The row of the other, at the same batch size on the same clock.
    """
    spreads = reference.images_per_second, candidate.images_per_second
    p_value = compute_rank_sum_p(spreads[0].values, spreads[1].values)
    reasons = [
        f"{name} is INVALID: {row.invalid_reasons}"
        for name, row in (("A", reference), ("B", candidate))
        if not row.is_valid
    ]
    outcome: SpeedOutcome = "cannot tell"
    if p_value <= ALPHA and not reasons:
        outcome = "faster" if spreads[1].median > spreads[0].median else "slower"
    return SpeedComparison(
        batch_size=candidate.batch_size,
        clock=candidate.clock,
        reference=spreads[0].median,
        candidate=spreads[1].median,
        reference_is_valid=reference.is_valid,
        candidate_is_valid=candidate.is_valid,
        ratio=spreads[1].median / spreads[0].median,
        p_value=p_value,
        outcome=outcome,
        reason="; ".join(reasons),
    )


def compute_rank_sum_p(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the two-sided p-value of the exact rank-sum test, equal values counted as half.

    >>> round(compute_rank_sum_p((1.0, 2.0, 3.0, 4.0, 5.0), (6.0, 7.0, 8.0, 9.0, 10.0)), 4)
    0.0079

    Args:
        one: Some values, at least one.
        other: Likewise.
    """
    wins = sum((a < b) + 0.5 * (a == b) for a in one for b in other)
    least = math.floor(min(wins, len(one) * len(other) - wins))
    counts = _count_rank_sums(len(one), len(other))
    return min(1.0, 2 * sum(counts[: least + 1]) / sum(counts))


def compute_faster_p(slower: Sequence[float], faster: Sequence[float]) -> float:
    """The one-sided p-value of the exact rank-sum test that `faster` is so, equal values counted as half.

    >>> round(compute_faster_p((1.0, 2.0, 3.0, 4.0, 5.0), (6.0, 7.0, 8.0, 9.0, 10.0)), 4)
    0.004

    Args:
        slower: Some values, at least one.
        faster: Likewise.
    """
    losses = sum((a > b) + 0.5 * (a == b) for a in slower for b in faster)
    counts = _count_rank_sums(len(slower), len(faster))
    return sum(counts[: math.ceil(losses) + 1]) / sum(counts)


def _count_rank_sums(one: int, other: int) -> list[int]:
    """Return in how many orders of the values each number of wins comes about, from 0 to one * other.

    The coefficients of the Gaussian binomial, by multiplying and dividing polynomials.
    """
    counts = [1] + [0] * (one * other)
    for number in range(1, one + 1):
        factor = other + number
        for place in range(len(counts) - 1, factor - 1, -1):
            counts[place] -= counts[place - factor]
        for place in range(number, len(counts)):
            counts[place] += counts[place - number]
    return counts
