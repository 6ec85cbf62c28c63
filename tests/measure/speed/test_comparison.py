"""Comparisons of speeds, against scipy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.measure.speed.comparison import compare_benchmarks, compare_speeds, compute_rank_sum_p
from speed_rows import make_speed_row

SLOW = (10, 10.1, 10.2, 10.3, 10.4)
FAST = (12, 12.1, 12.2, 12.3, 12.4)
VALUES = st.lists(st.integers(1, 10_000), min_size=1, max_size=8, unique=True)


@given(VALUES, VALUES)
def test_the_rank_sum_test_is_scipys(one: list[int], other: list[int]) -> None:
    shifted = tuple(value + 0.5 for value in other)  # no ties: scipy's exact test has none
    expected = stats.mannwhitneyu(one, shifted, method="exact").pvalue
    assert compute_rank_sum_p(tuple(map(float, one)), shifted) == pytest.approx(expected, rel=1e-9)


def test_speeds_are_called_different_only_when_the_repeats_are() -> None:
    faster = compare_speeds(make_speed_row(*SLOW), make_speed_row(*FAST))
    assert faster.outcome == "faster"
    assert faster.ratio == pytest.approx(12.2 / 10.2)
    assert compare_speeds(make_speed_row(*FAST), make_speed_row(*SLOW)).outcome == "slower"
    mixed = compare_speeds(make_speed_row(10, 12, 11, 13, 10.5), make_speed_row(10.2, 12.4, 11.3, 13.1, 9.9))
    assert mixed.outcome == "cannot tell"


@pytest.mark.parametrize(("valid_a", "valid_b", "named"), [(False, True, "A"), (True, False, "B")])
def test_what_is_invalid_is_neither_faster_nor_slower(valid_a: bool, valid_b: bool, named: str) -> None:
    found = compare_speeds(make_speed_row(*SLOW, is_valid=valid_a), make_speed_row(*FAST, is_valid=valid_b))
    assert found.p_value < 0.05
    assert found.outcome == "cannot tell"
    assert found.reason == f"{named} is INVALID: measured for less than 3 s"
    assert (found.reference_is_valid, found.candidate_is_valid) == (valid_a, valid_b)


def test_of_several_numbers_of_callers_the_fastest_valid_one_is_compared() -> None:
    rows = [make_speed_row(*FAST, is_valid=False), make_speed_row(*SLOW), make_speed_row(1, 2, 3, 4, 5)]
    found = compare_benchmarks(rows, [make_speed_row(*FAST), make_speed_row(*FAST, batch_size=2)])
    assert [(each.reference, each.candidate, each.outcome) for each in found] == [(10.2, 12.2, "faster")]
