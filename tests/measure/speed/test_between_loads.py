"""Ratios of speeds that were measured anew several times, against scipy."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from assay.measure.speed.between_loads import (
    compute_t_quantile,
    compute_t_tail,
    count_needed,
    estimate_ratio,
    find_provable,
)

REFERENCE, CANDIDATE = (10.0, 11.0, 10.4, 10.7), (12.0, 11.2)


@pytest.mark.parametrize("degrees", [1, 2, 3, 8, 9, 30])
def test_tails_and_quantiles_of_t_are_scipys(degrees: int) -> None:
    for value in (-3.0, -0.1, 0.0, 0.5, 6.0):
        assert compute_t_tail(value, 1.0, degrees) == pytest.approx(stats.t.sf(value, degrees), rel=1e-9)
    assert compute_t_quantile(0.975, degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


def test_the_ratio_is_students_two_sample_test_of_the_logarithms() -> None:
    found = estimate_ratio(REFERENCE, CANDIDATE)
    assert found is not None
    logs = [[math.log(speed) for speed in side] for side in (CANDIDATE, REFERENCE)]
    expected = stats.ttest_ind(*logs, alternative="greater")
    low, high = stats.ttest_ind(*logs).confidence_interval()
    assert found.compute_p_above(1) == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.compute_p_below(1) == pytest.approx(1 - expected.pvalue, rel=1e-9)
    assert found.interval == pytest.approx((math.exp(low), math.exp(high)), rel=1e-9)


def test_of_one_load_on_each_side_no_error_can_be_told() -> None:
    assert estimate_ratio((10.0,), (20.0,)) is None
    assert estimate_ratio((10.0, 11.0), (20.0,)) is not None


def test_so_many_loads_prove_the_margin_in_four_of_five_cases() -> None:
    """With t instead of the normal distribution a little less often: 0.76 for 5 on each side."""
    assert count_needed(0.03, 0.95, 0.05) == 5
    assert count_needed(0.1, 0.95, 0.05) == 47
    assert find_provable(0.03, 5, 0.05) > 0.95 > find_provable(0.03, 4, 0.05)
