"""Two sets of predictions for the same images: who is right where, and how sure the difference is."""

from __future__ import annotations

import math

import msgspec

from assay.measure.accuracy.accuracy import compute_wilson_interval


class PairedAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Top-1 of a candidate and of its reference over the same images.

    `lost_count` images only the reference has right, `won_count` only the candidate. `difference_points`
    is candidate less reference in percentage points, with its 95 % interval (Newcombe's method 10);
    `p_value` is that of the exact McNemar test, two-sided.
    """

    image_count: int
    both_count: int
    lost_count: int
    won_count: int
    difference_points: float
    interval_points: tuple[float, float]
    p_value: float


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One model that was tried: so many layers in float, and how it does against the float model."""

    float_layer_count: int
    paired: PairedAccuracy

    @property
    def drop_points(self) -> float:
        """Percentage points of Top-1 that the int8 model loses."""
        return -self.paired.difference_points


def measure_paired_accuracy(both: int, lost: int, won: int, neither: int) -> PairedAccuracy:
    """How two sets of predictions compare over the same images.

    Args:
        both: Images that both have right.
        lost: Images that only the reference has right.
        won: Images that only the candidate has right.
        neither: Images that neither has right.
    """
    count = both + lost + won + neither
    low, high = compute_difference_interval(both, lost, won, neither)
    return PairedAccuracy(
        image_count=count,
        both_count=both,
        lost_count=lost,
        won_count=won,
        difference_points=100 * (won - lost) / count,
        interval_points=(100 * low, 100 * high),
        p_value=compute_mcnemar_p(lost, won),
    )


def compute_mcnemar_p(lost: int, won: int) -> float:
    """The p-value of the exact McNemar test, two-sided: a fair coin for every image that differs.

    McNemar, Psychometrika 12 (1947) 153, in its exact form: twice the smaller binomial tail, at most 1.

    >>> compute_mcnemar_p(0, 0), compute_mcnemar_p(5, 0)
    (1.0, 0.0625)
    """
    count = lost + won
    logs = (
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) - count * math.log(2)
        for k in range(min(lost, won) + 1)
    )
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def compute_difference_interval(
    both: int, lost: int, won: int, neither: int, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of candidate less reference, as two fractions between -1 and 1.

    Newcombe, Statistics in Medicine 17 (1998) 2635, method 10: from both Wilson intervals and the
    correlation of the two, with his continuity correction of it.

    >>> low, high = compute_difference_interval(both=36, lost=2, won=12, neither=0)
    >>> round(low, 4), round(high, 4)
    (0.0569, 0.3404)

    Args:
        both: Images that both have right.
        lost: Images that only the reference has right.
        won: Images that only the candidate has right.
        neither: Images that neither has right.
        confidence: Between 0 and 1.

    Raises:
        ValueError: No image.
    """
    count = both + lost + won + neither
    candidate, reference = (both + won) / count if count else 0.0, (both + lost) / count if count else 0.0
    low1, high1 = compute_wilson_interval(both + won, count, confidence)
    low2, high2 = compute_wilson_interval(both + lost, count, confidence)
    correlation = _correlate(both, lost, won, neither)
    below = _combine(candidate - low1, high2 - reference, correlation)
    above = _combine(high1 - candidate, reference - low2, correlation)
    difference = candidate - reference
    return difference - below, difference + above


def _correlate(both: int, lost: int, won: int, neither: int) -> float:
    """Phi of the fourfold table, its numerator drawn towards 0 by half the count where positive."""
    margins = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    if margins == 0:
        return 0.0
    numerator = float(both * neither - lost * won)
    if numerator > 0:
        numerator = max(numerator - (both + lost + won + neither) / 2, 0)
    return numerator / math.sqrt(margins)


def _combine(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(one * one - 2 * correlation * one * other + other * other, 0.0))
