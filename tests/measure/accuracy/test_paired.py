"""Paired statistics against scipy, and against published examples."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.measure.accuracy.paired import (
    compute_difference_interval,
    compute_mcnemar_p,
    measure_paired_accuracy,
)

COUNTS = st.integers(0, 400)


@given(COUNTS, COUNTS)
def test_mcnemars_p_is_that_of_the_binomial_test(lost: int, won: int) -> None:
    expected = stats.binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert compute_mcnemar_p(lost, won) == pytest.approx(expected, rel=1e-9)


def test_mcnemars_p_is_exact_for_thousands_of_differing_images() -> None:
    assert compute_mcnemar_p(2600, 2400) == pytest.approx(stats.binomtest(2400, 5000).pvalue, rel=1e-8)


@pytest.mark.parametrize(
    ("table", "expected"),
    [((36, 2, 12, 0), (0.0569, 0.3404)), ((36, 12, 2, 0), (-0.3404, -0.0569))],
)
def test_the_interval_is_the_published_one(
    table: tuple[int, int, int, int], expected: tuple[float, float]
) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 2635, table II: cells 36, 12, 2, 0 by method 10."""
    assert compute_difference_interval(*table) == pytest.approx(expected, abs=5e-5)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_the_interval_holds_the_difference_and_turns_with_the_roles(
    both: int, lost: int, won: int, neither: int
) -> None:
    count = both + lost + won + neither
    if count == 0:
        return
    low, high = compute_difference_interval(both, lost, won, neither)
    assert -1 - 1e-12 <= low <= (won - lost) / count + 1e-12
    assert (won - lost) / count - 1e-12 <= high <= 1 + 1e-12
    swapped = compute_difference_interval(both, won, lost, neither)
    assert (low, high) == pytest.approx((-swapped[1], -swapped[0]), abs=1e-12)


def test_the_interval_nears_the_normal_one_for_many_images() -> None:
    """At 50,000 images of which 1 % differ: half a width of 0.088 points (facts, section 13)."""
    low, high = compute_difference_interval(39_300, 250, 250, 10_200)
    assert 100 * (high - low) / 2 == pytest.approx(100 * 1.96 * math.sqrt(0.01 / 50_000), rel=0.02)


def test_the_difference_is_candidate_less_reference_in_points() -> None:
    paired = measure_paired_accuracy(both=80, lost=5, won=3, neither=12)
    assert (paired.image_count, paired.lost_count, paired.won_count) == (100, 5, 3)
    assert paired.difference_points == pytest.approx(-2.0)
    assert paired.interval_points[0] < -2 < paired.interval_points[1]
