"""Speeds of several loads or runs on two sides: their ratio, against how far those of one side differ."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LOAD_FACTOR = 1.3
"""How far two loads of one model are taken to lie apart at most, where their own spread was not measured.

The furthest of 20 pairs of runs, on two cores of a shared machine, was 1.28.
"""
POWER = 0.8  # of `count_needed`: how often so many prove what is so


@dataclass(frozen=True, kw_only=True)
class RatioEstimate:
    """The ratio of two speeds, candidate over reference, with what is known of its error.

    Args:
        log_ratio: The difference of the mean logarithms.
        deviation: The standard deviation of one logarithm, pooled over both sides: about the relative
            deviation of one speed from the next.
        standard_error: Of `log_ratio`.
        degrees: Degrees of freedom of `deviation`, at least 1.
    """

    log_ratio: float
    deviation: float
    standard_error: float
    degrees: int

    @property
    def ratio(self) -> float:
        """The ratio of the geometric means."""
        return math.exp(self.log_ratio)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the ratio."""
        reach = compute_t_quantile(0.975, self.degrees) * self.standard_error
        return math.exp(self.log_ratio - reach), math.exp(self.log_ratio + reach)

    def compute_p_above(self, bound: float) -> float:
        """The one-sided p-value that the ratio is over the bound, which is over 0."""
        return compute_t_tail(self.log_ratio - math.log(bound), self.standard_error, self.degrees)

    def compute_p_below(self, bound: float) -> float:
        """The one-sided p-value that the ratio is under the bound, which is over 0."""
        return compute_t_tail(math.log(bound) - self.log_ratio, self.standard_error, self.degrees)


def estimate_ratio(reference: Sequence[float], candidate: Sequence[float]) -> RatioEstimate | None:
    """The ratio of two speeds that were each measured anew several times; None where no error can be told.

    Student's two-sample t statistic of the logarithms. One value is that of one load or run: its repeats
    share what differs from the next, so that they are not values of their own (Georges, Buytaert and
    Eeckhout, OOPSLA 2007, 57; Kalibera and Jones, ISMM 2013, 63). With one candidate it is the prediction
    interval of one more value. It assumes that the logarithms are about normal, that they vary as much on
    one side as on the other, and that neighbours in time are no more alike than others.

    Args:
        reference: The speed of each load or run, at least one.
        candidate: Likewise.
    """
    degrees = len(reference) + len(candidate) - 2
    if degrees < 1 or min(*reference, *candidate) <= 0:
        return None
    sides = [[math.log(speed) for speed in side] for side in (reference, candidate)]
    means = [statistics.fmean(side) for side in sides]
    squares = sum((one - mean) ** 2 for side, mean in zip(sides, means, strict=True) for one in side)
    deviation = math.sqrt(squares / degrees)
    return RatioEstimate(
        log_ratio=means[1] - means[0],
        deviation=deviation,
        standard_error=deviation * math.sqrt(sum(1 / len(side) for side in sides)),
        degrees=degrees,
    )


def count_needed(deviation: float, margin: float, error: float) -> int:
    """About how many values on each side prove that equal speeds are within a margin, in 80 % of cases.

    Args:
        deviation: Of one logarithm.
        margin: The ratio that is to be ruled out, under 1.
        error: The chance to be wrong, one-sided.
    """
    return max(2, math.ceil(2 * (_sum_quantiles(error) * deviation / math.log(margin)) ** 2))


def find_provable(deviation: float, count: int, error: float) -> float:
    """The ratio under 1 that so many values on each side rule out where speeds are equal, in 80 % of cases.

    Args:
        deviation: Of one logarithm.
        count: At least 1.
        error: The chance to be wrong, one-sided.
    """
    return math.exp(-_sum_quantiles(error) * deviation * math.sqrt(2 / count))


def _sum_quantiles(error: float) -> float:
    normal = statistics.NormalDist()
    return normal.inv_cdf(1 - error) + normal.inv_cdf(POWER)


def compute_t_tail(difference: float, standard_error: float, degrees: int) -> float:
    """How likely Student's t is at least `difference / standard_error`.

    Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.

    >>> round(compute_t_tail(2.132, 1.0, 4), 3), round(compute_t_tail(-6.314, 1.0, 1), 3)
    (0.05, 0.95)

    Args:
        difference: Any number.
        standard_error: 0 or more.
        degrees: At least 1.
    """
    angle = math.atan2(abs(difference), standard_error * math.sqrt(degrees))
    cosine, term, total = math.cos(angle), 1.0, 0.0
    for power in range(degrees % 2, degrees - 1, 2):
        total += term * cosine**power
        term *= (power + 1) / (power + 2)
    within = math.sin(angle) * total
    if degrees % 2:
        within = 2 / math.pi * (angle + within)
    return 0.5 * (1 - within) if difference > 0 else 0.5 * (1 + within)


def compute_t_quantile(share: float, degrees: int) -> float:
    """The value that Student's t is below with that chance, over 0.5, by bisection.

    >>> round(compute_t_quantile(0.975, 8), 3)
    2.306
    """
    low, high = 0.0, 1.0
    while compute_t_tail(high, 1.0, degrees) > 1 - share:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if compute_t_tail(middle, 1.0, degrees) > 1 - share else (low, middle)
    return high
