"""What a verdict says: what is known first, then what is not ruled out, then the speed and the need."""

from __future__ import annotations

import pytest

from assay.inference.predictions import Prediction
from assay.measure.accuracy.comparison import Comparison, compare_predictions
from assay.measure.accuracy.coverage import Coverage, ImageList
from assay.measure.accuracy.paired import measure_paired_accuracy
from assay.measure.accuracy.verdict import (
    Names,
    choose_speed,
    count_needed_images,
    describe_ratio,
    judge_loss,
    write_verdict,
)
from assay.measure.speed.comparison import compare_speeds
from speed_rows import make_speed_row

NAMES = Names(reference="fp32", candidate="int8")
SLOW = make_speed_row(30, 31, 32, 33, 34, batch_size=8)
FAST = make_speed_row(90, 91, 92, 93, 94, batch_size=8)


def make_comparison(both: int, lost: int, won: int, neither: int, same: int | None = None) -> Comparison:
    count = both + lost + won + neither
    return Comparison(
        image_count=count,
        same_top1_count=count - lost - won if same is None else same,
        paired=measure_paired_accuracy(both, lost, won, neither),
        lost=(),
        won=(),
        changed=(),
        max_logit_difference=9.01e-06,
        mean_logit_difference=1e-06,
    )


def test_same_answers_are_said_first_and_then_what_they_rule_out() -> None:
    """With no difference in 160 images, 1 - 0.05 ** (1 / 160) = 1.855 % bounds the share of them."""
    verdict = write_verdict(make_comparison(140, 0, 0, 20), Names(reference="torch", candidate="this model"))
    assert verdict.sentence == (
        "Same answer as torch on all 160 images; their top-5 logits differ by at most 9.1e-06. "
        "A difference in more than 1.9 % of images is ruled out (95 %)."
    )
    assert verdict.outcome == "cannot tell"


def test_equal_logits_are_called_equal() -> None:
    rows = [
        Prediction(name="a", relative_path="a", label=1, status="ok", top_classes=(1,), top_logits=(2.0,))
    ]
    assert "; their top-5 logits are equal." in write_verdict(compare_predictions(rows, rows), NAMES).sentence


def test_a_difference_is_said_with_its_interval_and_the_images_then_the_speed() -> None:
    verdict = write_verdict(
        make_comparison(700, 10, 4, 286), NAMES, speed=compare_speeds(SLOW, FAST), calibrated_count=300
    )
    assert verdict.sentence == (
        "int8 is 0.60 points below fp32 on 1,000 images (95 %: 1.38 below to 0.17 above): 10 lost, 4 won. "
        "A loss of more than 0.1 points is not ruled out. 300 of these images served for calibration. "
        "2.9 times as fast (batch 8)."
    )


@pytest.mark.parametrize(
    ("table", "outcome", "says"),
    [
        ((39_000, 500, 300, 10_200), "loses", "int8 is 0.40 points below fp32"),
        ((39_000, 300, 700, 10_000), "as accurate", "int8 is 0.80 points above fp32"),
        ((39_400, 60, 60, 10_480), "as accurate", "A loss of more than 0.1 points is ruled out (95 %)."),
        ((39_400, 60, 60, 10_480), "as accurate", "int8 is as often right as fp32"),
        ((85, 4, 4, 7), "cannot tell", "A loss of more than 0.1 points is not ruled out."),
    ],
)
def test_worse_better_and_undecided_are_told_apart(
    table: tuple[int, int, int, int], outcome: str, says: str
) -> None:
    verdict = write_verdict(make_comparison(*table), NAMES)
    assert verdict.outcome == outcome
    assert says in verdict.sentence


def test_how_many_images_would_settle_it_comes_last_and_only_where_imagenet_has_them() -> None:
    few = write_verdict(make_comparison(4_500, 6, 4, 490), NAMES, margin_points=0.1).sentence
    assert few.endswith("About 17,128 images would settle it at 0.1 points.")
    assert "would settle" not in write_verdict(make_comparison(85, 4, 4, 7), NAMES).sentence


def test_a_ratio_is_candidate_over_reference_and_marked_where_a_figure_is_invalid() -> None:
    assert describe_ratio(compare_speeds(FAST, SLOW)) == "0.35 times as fast (batch 8)."
    invalid = make_speed_row(90, 91, 92, 93, 94, batch_size=8, is_valid=False)
    assert describe_ratio(compare_speeds(SLOW, invalid)) == "2.9 ! times as fast (batch 8; ! INVALID)."


def test_a_ratio_says_what_is_proven_of_it() -> None:
    """Loads of their own give an interval; one load on each side may be 30 % apart without any reason."""
    assert (
        describe_ratio(compare_speeds(SLOW, SLOW))
        == "1.00 times as fast (batch 8), which two loads of one model may be too."
    )
    loads = [
        make_speed_row(*values, batch_size=8, fresh_processes=True)
        for values in ((10, 11, 12, 13, 14), (12, 12, 12, 12.1, 12), (30, 31, 32, 33, 34))
    ]
    assert (
        describe_ratio(compare_speeds(loads[0], loads[1]))
        == "1.01 times as fast (batch 8; 95 %: 0.88 to 1.16), so no difference is proven."
    )
    assert (
        describe_ratio(compare_speeds(loads[0], loads[2]))
        == "2.7 times as fast (batch 8; 95 %: 2.32 to 3.11)."
    )


def test_the_speed_of_a_verdict_is_the_fastest_valid_one() -> None:
    invalid = make_speed_row(200, 201, 202, 203, 204, batch_size=64, is_valid=False)
    pairs = [compare_speeds(SLOW, FAST), compare_speeds(SLOW, invalid)]
    assert choose_speed(pairs) is pairs[0]
    assert choose_speed([]) is None


def test_images_that_failed_in_both_or_are_in_one_run_alone_are_not_claimed() -> None:
    found = make_comparison(80, 0, 0, 20, same=98)
    both = Coverage(failed_in_both=ImageList(count=2, first=("a", "b")))
    only = Coverage(only_in_reference=ImageList(count=5, first=("c",)))
    sentences = [
        write_verdict(
            Comparison(
                image_count=100,
                same_top1_count=100 - coverage.failed_count,
                coverage=coverage,
                paired=found.paired,
                lost=(),
                won=(),
                changed=(),
                max_logit_difference=0.0,
                mean_logit_difference=0.0,
            ),
            NAMES,
        ).sentence
        for coverage in (both, only)
    ]
    assert sentences[0].startswith("Same answer as fp32 on all 98 images that both answered;")
    assert sentences[1].startswith("Same answer as fp32 on all 100 labelled images that both have;")


@pytest.mark.parametrize(
    ("share_percent", "margin", "expected"),
    [(0.2, 0.1, 17_128), (1, 0.1, 85_639), (1, 0.5, 3_426), (3, 0.25, 41_107), (6, 1, 5_139)],
)
def test_the_images_that_a_margin_needs_are_those_of_the_facts(
    share_percent: float, margin: float, expected: int
) -> None:
    differing = round(50_000 * share_percent / 100)
    paired = measure_paired_accuracy(39_000, differing // 2, differing - differing // 2, 11_000 - differing)
    assert count_needed_images(paired, margin) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("table", "limit", "outcome", "end"),
    [
        ((97, 1, 0, 2), 1, "cannot tell", "1 lost, 0 won. About 857 images would settle it at 1 points."),
        ((97, 1, 0, 2), 6, "within", "1 lost, 0 won."),
        ((39_400, 60, 60, 10_480), 0.1, "within", "60 lost, 60 won."),
        ((39_000, 500, 300, 10_200), 0.1, "not within", "500 lost, 300 won."),
        ((39_000, 500, 300, 10_200), 0.4, "cannot tell", "500 lost, 300 won."),
        ((12, 0, 0, 0), 0, "cannot tell", "No number of images proves that nothing at all is lost."),
    ],
)
def test_a_loss_is_within_a_limit_only_where_its_whole_interval_is(
    table: tuple[int, int, int, int], limit: float, outcome: str, end: str
) -> None:
    """A loss that is measured as no more than the limit proves nothing by itself: 1 of 100 lost, say."""
    verdict = judge_loss(measure_paired_accuracy(*table), limit, NAMES)
    assert (verdict.outcome, verdict.limit_points) == (outcome, limit)
    assert verdict.sentence.endswith(end)
