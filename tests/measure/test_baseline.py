"""A run against its baseline, and several gates that may each fail a good run by chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from scipy import stats

from assay.measure.accuracy.accuracy import Accuracy, make_topk
from assay.measure.accuracy.paired import measure_paired_accuracy
from assay.measure.baseline import BaselinePart, choose_clocks, judge_part
from assay.measure.gates import Evidence, judge_gate, parse_gate
from assay.measure.judge_together import judge_gates

REPEATS = (100.0, 101.0, 99.0, 100.5, 99.5)
STEADY = (1.0, 1.01, 0.99, 1.005, 0.995)  # runs, as multiples of the first


def make_accuracy(hits: int, count: int, class_count: int = 1000) -> Accuracy:
    top = make_topk(hits, count, count)
    return Accuracy(
        image_count=count, scored_count=count, failed_count=0, top1=top, top2=top, top3=top, top4=top,
        top5=top, noted_count=0, failures={}, failed_images=(), class_count=class_count,
    )  # fmt: skip


def make_speed(runs: Sequence[float] = STEADY, *candidates: float, problem: str = "") -> BaselinePart:
    """Runs of the baseline as multiples of the same repeats, and candidates likewise."""
    before, own = (
        tuple(tuple(factor * rate for rate in REPEATS) for factor in side)
        for side in (runs, candidates or (1.0,))
    )
    return BaselinePart(name="speed, batch 1, call clock", baseline=before, candidate=own, problem=problem)


@pytest.mark.parametrize(
    ("candidate", "outcome"),
    [(1.0, "pass"), (1.2, "pass"), (0.97, "pass"), (0.96, "fail"), (0.93, "fail"), (0.5, "fail")],
)
def test_a_speed_passes_within_the_margin_and_fails_where_it_is_slower(
    candidate: float, outcome: str
) -> None:
    """Runs differ by 0.8 %, so that 5 + 1 show 1.8 %: t(0.95; 4) is 2.13, the root of 1.2 is 1.095."""
    assert judge_part(make_speed(STEADY, candidate), 0.1, 5, 0.05)[0] == outcome


@pytest.mark.parametrize("candidate", [0.9, 1.0, 1.05])
def test_what_runs_differ_by_themselves_is_neither_a_fail_nor_a_pass(candidate: float) -> None:
    """The repeats of each run agree within 1 %, the runs of the baseline lie up to 15 % apart."""
    outcome, reason = judge_part(make_speed((1.0, 0.9, 1.05, 0.95, 1.0), candidate), 0.1, 5, 0.05)
    assert outcome == "cannot tell"
    assert "one run differs from the next by" in reason


def test_one_run_on_each_side_cannot_tell_and_the_reason_says_what_to_do() -> None:
    outcome, reason = judge_part(make_speed((1.0,), 0.5), 0.1, 5, 0.05)
    assert outcome == "cannot tell"
    assert "make the baseline of 5 runs" in reason
    loads = dataclasses.replace(make_speed((1.0,), 0.5), unit="load")
    assert "--fresh-processes" in judge_part(loads, 0.1, 5, 0.05)[1]


def test_an_undecided_speed_says_how_many_runs_would_settle_it_or_what_can_be_proven() -> None:
    """2 (1.645 + 0.842)^2 s^2 / ln(0.95)^2 with s = 2.4 % and 10 %: 2.7 and 47 runs on each side."""
    some = judge_part(make_speed((1.0, 1.0345), 0.99), 0.1, 5, 0.05)[1]
    assert "takes about 3 runs on each side" in some
    spread = (0.9, 1.1, 1.0, 1.0, 1.0)
    assert "with 5 on each side" in judge_part(make_speed(spread, 0.9), 0.1, 5, 0.05)[1]


def test_several_runs_of_the_candidate_prove_more_than_one() -> None:
    unsteady = (1.0, 1.03, 0.97, 1.02, 0.98)
    assert judge_part(make_speed(unsteady, 0.95), 0.1, 5, 0.05)[0] == "cannot tell"
    assert judge_part(make_speed(unsteady, 0.95, 0.94, 0.96), 0.1, 5, 0.05)[0] == "fail"


def test_what_is_invalid_is_neither_passed_nor_failed() -> None:
    part = make_speed(STEADY, 0.5, problem="the run is INVALID: others took more")
    assert judge_part(part, 0.1, 5, 0.05) == ("cannot tell", "the run is INVALID: others took more")


@pytest.mark.parametrize(
    ("lost", "won", "outcome"),
    [(0, 0, "pass"), (0, 9, "pass"), (10, 10, "cannot tell"), (20, 5, "fail"), (6, 2, "cannot tell")],
)
def test_an_accuracy_fails_by_the_exact_test_and_passes_where_nothing_is_lost(
    lost: int, won: int, outcome: str
) -> None:
    """One-sided binomial tails: 20 of 25 is 0.002, 6 of 8 is 0.14."""
    paired = measure_paired_accuracy(both=700, lost=lost, won=won, neither=300 - lost - won)
    assert judge_part(BaselinePart(name="accuracy", paired=paired), 0.1, 5, 0.05)[0] == outcome
    if lost > won:
        p_value = stats.binomtest(lost, lost + won, alternative="greater").pvalue
        assert (p_value <= 0.05) == (outcome == "fail")


def test_a_loss_within_the_margin_passes() -> None:
    paired = measure_paired_accuracy(both=39_000, lost=10, won=8, neither=10_982)
    assert judge_part(BaselinePart(name="accuracy", paired=paired), 0.1, 5, 0.05)[0] == "pass"


def test_a_fail_by_chance_is_no_likelier_with_many_speeds_than_with_one() -> None:
    """13 of 15 lost is p = 0.0037 one-sided: a fail alone and among 13 tests, not among 14 (0.05 / 14)."""
    paired = measure_paired_accuracy(both=700, lost=13, won=2, neither=285)
    part = BaselinePart(name="accuracy", paired=paired)
    speeds = [dataclasses.replace(make_speed(), name=f"speed {number}") for number in range(13)]
    gates = [parse_gate("no-worse-than:baseline")]
    for count, outcome in ((0, "fail"), (12, "fail"), (13, "cannot tell")):
        found = judge_gates(gates, Evidence(baseline=[part, *speeds[:count]]))
        assert found[0].outcome == outcome
        assert [one.outcome for one in found[1:]] == ["pass"] * count
    assert "alone it would fail, not as one of 14" in found[0].reason


def test_holm_lets_the_next_fail_at_the_level_that_is_left() -> None:
    """p = 0.0037 and 0.031: against 0.025 the first fails, then the second against 0.05."""
    parts = [
        BaselinePart(name=f"{lost} {won}", paired=measure_paired_accuracy(700, lost, won, 300 - lost - won))
        for lost, won in ((13, 2), (5, 0), (5, 5))
    ]
    gates = [parse_gate("no-worse-than:baseline")]
    assert [one.outcome for one in judge_gates(gates, Evidence(baseline=parts[:1]))] == ["fail"]
    first_two = judge_gates(gates, Evidence(baseline=parts[:2]))
    assert [found.outcome for found in first_two] == ["fail", "fail"]
    last_two = judge_gates(gates, Evidence(baseline=parts[1:]))
    assert [found.outcome for found in last_two] == ["cannot tell", "cannot tell"]


def test_without_a_baseline_the_gate_cannot_tell() -> None:
    (found,) = judge_gates([parse_gate("no-worse-than:baseline")], Evidence())
    assert (found.outcome, "assay history add" in found.reason) == ("cannot tell", True)


@pytest.mark.parametrize(
    ("hits", "count", "outcome"),
    [(800, 1000, "cannot tell"), (830, 1000, "pass"), (700, 1000, "fail")],
)
def test_an_absolute_gate_over_a_sample_is_decided_by_its_interval(
    hits: int, count: int, outcome: str
) -> None:
    evidence = Evidence(accuracy=make_accuracy(hits, count))
    found = judge_gate(parse_gate("top1>=79"), evidence)
    assert found.outcome == outcome
    assert f"{hits} of {count:,}" in found.reason


@pytest.mark.parametrize(("hits", "outcome"), [(39_250, "pass"), (39_249, "fail")])
def test_an_absolute_gate_over_the_whole_validation_set_is_decided_by_the_count(
    hits: int, outcome: str
) -> None:
    evidence = Evidence(accuracy=make_accuracy(hits, 50_000), is_whole=True)
    assert judge_gate(parse_gate("top1>=78.5"), evidence).outcome == outcome


def test_top5_among_five_classes_says_nothing() -> None:
    evidence = Evidence(accuracy=make_accuracy(100, 100, class_count=5))
    assert judge_gate(parse_gate("top5>=90"), evidence).outcome == "cannot tell"


def test_margins_of_a_baseline_are_read_from_the_gate() -> None:
    read = [parse_gate(f"no-worse-than:baseline{text}") for text in ("", ":0.5", ":3%", ":0.5:3%")]
    assert [(gate.bound, gate.speed_bound) for gate in read] == [(0.1, 5), (0.5, 5), (0.1, 3), (0.5, 3)]


def test_a_speed_on_the_call_clock_is_left_out_where_the_device_tells_it_too() -> None:
    names = ["speed, batch 1, call clock", "speed, batch 1, device clock", "speed, batch 4, call clock"]
    assert choose_clocks(names) == names[1:]
