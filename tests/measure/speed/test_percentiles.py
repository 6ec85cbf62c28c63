"""Percentiles and their intervals, against scipy and LoadGen's own output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.measure.speed.percentiles import (
    compute_percentile,
    compute_percentile_interval,
    estimate_early_stopping,
    find_largest_count,
)


@given(st.integers(1, 400), st.sampled_from([0.01, 0.1, 0.5, 0.9, 0.99]), st.sampled_from([0.01, 0.025, 0.5]))
def test_the_largest_count_is_that_of_the_binomial_distribution(
    trials: int, share: float, probability: float
) -> None:
    count = find_largest_count(trials, share, probability)
    slack = 1e-9
    assert count == -1 or stats.binom.cdf(count, trials, share) <= probability + slack
    assert count == trials or stats.binom.cdf(count + 1, trials, share) > probability - slack


@pytest.mark.parametrize(("count", "percent", "dropped"), [(344, 90, 20), (2_001, 90, 167), (10_001, 99, 76)])
def test_early_stopping_drops_as_many_as_loadgen(count: int, percent: float, dropped: int) -> None:
    """As LoadGen printed them (facts on evaluation, section 13)."""
    values = list(map(float, range(1, count + 1)))
    assert estimate_early_stopping(values, percent) == count - dropped


@pytest.mark.parametrize(("percent", "fewest"), [(90, 64), (99, 662)])
def test_early_stopping_needs_as_many_queries_as_loadgen(percent: float, fewest: int) -> None:
    assert estimate_early_stopping([1.0] * (fewest - 1), percent) is None
    assert estimate_early_stopping([1.0] * fewest, percent) == 1.0


@given(st.integers(1, 500), st.sampled_from([50.0, 90.0, 99.0]))
def test_the_interval_holds_the_percentile_with_its_confidence(count: int, percent: float) -> None:
    """P(X_(l) <= percentile <= X_(u)) is the binomial's probability of l to u - 1 values below."""
    values = list(map(float, range(1, count + 1)))
    interval = compute_percentile_interval(values, percent)
    if interval is None:
        # not even the extremes are sure enough
        below, above = (percent / 100) ** count, (1 - percent / 100) ** count
        assert max(below, above) > 0.025 - 1e-12
        return
    low, high = map(int, interval)
    share = percent / 100
    covered = stats.binom.cdf(high - 1, count, share) - stats.binom.cdf(low - 1, count, share)
    assert covered >= 0.95 - 1e-9
    assert low <= compute_percentile(values, percent) <= high


def test_the_interval_of_a_median_is_that_of_the_binomial_distribution() -> None:
    """Of 100 values, the 40th and the 61st or nearer: binomial(100, 1/2), 2.5 % in each tail."""
    low, high = compute_percentile_interval(list(map(float, range(1, 101))), 50) or (0.0, 0.0)
    assert (low, high) == (40, 61)
