"""Percentiles of latencies, how sure they are, and what MLPerf's early stopping makes of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

CONFIDENCE = 0.95
EARLY_STOPPING_RISK = 0.01  # MLPerf: 99 % sure that the percentile is no larger than what is reported


def compute_percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that `percent` % of the values do not exceed.

    >>> compute_percentile([15, 20, 35, 40, 50], 30)
    20

    Args:
        values: At least one.
        percent: Over 0, up to 100.
    """
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


def compute_percentile_interval(values: Sequence[float], percent: float) -> tuple[float, float] | None:
    """An interval that holds the true percentile with at least 95 %, whatever the distribution.

    Two order statistics, by the binomial distribution of how many values lie below the percentile (Hahn and
    Meeker, Statistical Intervals, 2nd edition, 5.2). None where there are too few values for that.

    Args:
        values: At least one; independent of one another, which calls of one repeat are only about.
        percent: Between 0 and 100.
    """
    tail = (1 - CONFIDENCE) / 2
    count, share = len(values), percent / 100
    lower = find_largest_count(count, share, tail) + 1  # P(fewer than `lower` below) <= tail
    upper = count - find_largest_count(count, 1 - share, tail)
    if lower < 1 or upper > count:
        return None
    ordered = sorted(values)
    return ordered[lower - 1], ordered[upper - 1]


def estimate_early_stopping(values: Sequence[float], percent: float) -> float | None:
    """The latency that MLPerf's early stopping reports for a percentile; None where it has too few.

    With t the largest number of values over the percentile that is still too few to be likely, t - 1 of the
    slowest are dropped and the slowest left is reported (MLPerf inference rules, early stopping).

    Args:
        values: One for each query.
        percent: Between 0 and 100.
    """
    excess = find_largest_count(len(values), 1 - percent / 100, EARLY_STOPPING_RISK)
    return None if excess < 1 else sorted(values)[len(values) - excess]


def find_largest_count(trials: int, share: float, probability: float) -> int:
    """The largest count that so few successes or fewer have at most that probability; -1 if none.

    Args:
        trials: At least 1.
        share: The chance of a success in each, between 0 and 1.
        probability: Between 0 and 1.
    """
    total = 0.0
    for count in range(trials + 1):
        total += math.exp(_log_binomial(count, trials, share))
        if total > probability:
            return count - 1
    return trials


def _log_binomial(count: int, trials: int, share: float) -> float:
    return (
        math.lgamma(trials + 1)
        - math.lgamma(count + 1)
        - math.lgamma(trials - count + 1)
        + count * math.log(share)
        + (trials - count) * math.log1p(-share)
    )
