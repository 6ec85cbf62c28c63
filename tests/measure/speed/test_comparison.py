"""Comparisons of speeds: what the loads of two models prove, and what one load of each does not."""

from __future__ import annotations

import pytest

from assay.measure.speed.comparison import compare_benchmarks, compare_speeds
from speed_rows import make_speed_row

SLOW = (10, 10.1, 10.2, 10.3, 10.4)
FAST = (12, 12.1, 12.2, 12.3, 12.4)


def test_loads_of_their_own_prove_a_difference_and_bound_the_ratio() -> None:
    """Of the logarithms: 0.179 apart, 1.45 % from load to load, t(0.975; 8) = 2.306: 2.1 % to each side."""
    slow, fast = (make_speed_row(*values, fresh_processes=True) for values in (SLOW, FAST))
    found = compare_speeds(slow, fast)
    assert (found.outcome, found.load_counts) == ("faster", (5, 5))
    assert found.interval == pytest.approx((1.172, 1.220), abs=0.002)
    assert compare_speeds(fast, slow).outcome == "slower"
    mixed = [make_speed_row(*values, fresh_processes=True) for values in ((10, 12, 11, 13, 10.5), SLOW)]
    assert compare_speeds(*mixed).outcome == "cannot tell"


def test_repeats_of_one_load_on_each_side_prove_no_small_difference() -> None:
    found = compare_speeds(make_speed_row(*SLOW), make_speed_row(*FAST))
    assert (found.outcome, found.interval, found.p_value) == ("cannot tell", None, None)
    assert found.ratio == pytest.approx(12.2 / 10.2)
    doubled = make_speed_row(*(2 * value for value in SLOW))
    assert compare_speeds(make_speed_row(*SLOW), doubled).outcome == "faster"
    assert compare_speeds(doubled, make_speed_row(*SLOW)).outcome == "slower"


@pytest.mark.parametrize(("valid_a", "valid_b", "named"), [(False, True, "A"), (True, False, "B")])
def test_what_is_invalid_is_neither_faster_nor_slower(valid_a: bool, valid_b: bool, named: str) -> None:
    found = compare_speeds(
        make_speed_row(*SLOW, is_valid=valid_a, fresh_processes=True),
        make_speed_row(*FAST, is_valid=valid_b, fresh_processes=True),
    )
    assert found.p_value is not None and found.p_value < 0.05
    assert found.outcome == "cannot tell"
    assert found.reason == f"{named} is INVALID: measured for less than 3 s"
    assert (found.reference_is_valid, found.candidate_is_valid) == (valid_a, valid_b)


def test_of_several_numbers_of_callers_the_fastest_valid_one_is_compared() -> None:
    rows = [make_speed_row(*FAST, is_valid=False), make_speed_row(*SLOW), make_speed_row(1, 2, 3, 4, 5)]
    found = compare_benchmarks(rows, [make_speed_row(*FAST), make_speed_row(*FAST, batch_size=2)])
    assert [(each.reference, each.candidate, each.outcome) for each in found] == [(10.2, 12.2, "cannot tell")]
