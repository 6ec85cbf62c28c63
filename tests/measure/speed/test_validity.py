from __future__ import annotations

import statistics

import pytest

from assay.measure.speed.machine_use import MachineUse
from assay.measure.speed.validity import judge_validity

QUIET = MachineUse(processors=2, processor_quota=2.0, others_percent=1.0, throttle_count=0)
STEADY = [100.0, 101.0, 99.0, 100.0, 100.0]


def test_a_row_that_keeps_every_rule_is_valid() -> None:
    found = judge_validity(STEADY, 1.0, 10.0, QUIET)
    assert (found.is_valid, found.reasons) == (True, ())
    assert found.variation_percent == pytest.approx(100 * statistics.stdev(STEADY) / 100)


@pytest.mark.parametrize(
    ("rates", "warm_up_s", "measured_s", "machine", "reason"),
    [
        (STEADY, 0.1, 10.0, QUIET, "warmed up for less than 0.2 s"),
        (STEADY, 1.0, 2.9, QUIET, "measured for less than 3 s"),
        ([100.0, 104.0, 96.0], 1.0, 10.0, QUIET, "vary by more than 2.5 %"),
        (STEADY, 1.0, 10.0, MachineUse(processors=2, others_percent=5.1), "others took more than 5 %"),
        (STEADY, 1.0, 10.0, MachineUse(processors=2, processor_quota=1.5), "a control group allows less"),
        (STEADY, 1.0, 10.0, MachineUse(processors=2, frequency_change_percent=11.0), "frequency changed"),
        (STEADY, 1.0, 10.0, MachineUse(processors=2, throttle_count=1), "throttled for its heat"),
    ],
)
def test_each_rule_that_is_not_kept_is_a_reason(
    rates: list[float], warm_up_s: float, measured_s: float, machine: MachineUse, reason: str
) -> None:
    found = judge_validity(rates, warm_up_s, measured_s, machine)
    assert not found.is_valid
    assert len(found.reasons) == 1
    assert reason in found.reasons[0]


def test_what_the_machine_does_not_tell_is_no_reason() -> None:
    assert judge_validity(STEADY, 1.0, 10.0, MachineUse(processors=2)).is_valid
