"""What so many events in so many trials prove of the rate, without an approximation."""

from __future__ import annotations

import math

CONFIDENCE = 0.95


def compute_upper_bound(count: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided upper bound of a rate, 0 to 1, after `count` events in `trials`.

    Clopper and Pearson, Biometrika 26 (1934) 404: the largest rate at which so few events, or fewer, still
    have the probability 1 - confidence.

    >>> round(compute_upper_bound(0, 2995), 5), round(compute_upper_bound(1, 100), 4)
    (0.001, 0.0466)

    Args:
        count: Events, 0 to `trials`.
        trials: At least 1.
        confidence: Between 0 and 1.

    Raises:
        ValueError: `trials` below 1, or `count` outside 0 to `trials`.
    """
    if not 0 <= count <= trials or trials < 1:
        raise ValueError(f"expected 0 <= count <= trials and trials >= 1, found {count} and {trials}")
    if count == trials:
        return 1.0
    low, high = count / trials, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        if _sum_probabilities(count, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def count_needed_trials(rate: float, confidence: float = CONFIDENCE) -> int:
    """The fewest trials without one event that prove a rate of at most `rate`.

    >>> count_needed_trials(0.001), count_needed_trials(0.01)
    (2995, 299)

    Raises:
        ValueError: A rate that is not between 0 and 1.
    """
    if not 0 < rate < 1:
        raise ValueError(f"expected a rate between 0 and 1, found {rate}")
    return math.ceil(math.log(1 - confidence) / math.log1p(-rate))


def _sum_probabilities(count: int, trials: int, rate: float) -> float:
    """The probability of at most `count` events."""
    if rate >= 1:
        return 0.0
    whole = math.lgamma(trials + 1)
    logs = (
        whole
        - math.lgamma(events + 1)
        - math.lgamma(trials - events + 1)
        + events * math.log(rate)
        + (trials - events) * math.log1p(-rate)
        for events in range(count + 1)
    )
    return math.fsum(map(math.exp, logs))
