"""Changes over time: found where they were planted, and not where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from assay.measure.change_points import find_level_changes, find_steps


def test_a_level_that_drops_once_and_rises_once_changes_twice() -> None:
    noise = np.random.default_rng(1).normal(1, 0.005, 36)
    level = np.repeat([100.0, 90.0, 95.0], 12)
    changes = find_level_changes((level * noise).tolist(), 0.05)
    assert [change.place for change in changes] == [12, 24]
    assert changes[0].ratio == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("values", [[], [5.0], [5.0] * 30, [5.0, 4.0, 3.0, 2.0, 1.0]])
def test_equal_or_too_few_values_show_no_change(values: list[float]) -> None:
    assert find_level_changes(values, 0.05) == []


def test_values_without_a_change_show_one_no_oftener_than_was_accepted() -> None:
    """Of 60 histories at 5 %, more than 8 would be over the 99.7 % quantile of the binomial."""
    rng = np.random.default_rng(7)
    alarms = sum(bool(find_level_changes(rng.normal(100, 1, 20).tolist(), 0.05)) for _ in range(60))
    assert alarms <= 8


def test_steps_are_found_by_holms_procedure() -> None:
    """0.01 <= 0.05 / 4, 0.016 <= 0.05 / 3, 0.03 > 0.05 / 2."""
    changes = find_steps([0.03, 0.01, 0.9, 0.016], 0.05)
    assert [change.place for change in changes] == [2, 4]
