"""What a comparison of two models says: what is known, what is not ruled out, how fast, how many images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import msgspec

from assay.defaults import DEFAULT_MARGIN_POINTS
from assay.images.labels import IMAGENET_VAL_COUNT
from assay.measure.accuracy.accuracy import compute_wilson_interval
from assay.measure.accuracy.agreement import Agreement
from assay.measure.accuracy.comparison import Comparison
from assay.measure.accuracy.coverage import describe_scope
from assay.measure.accuracy.paired import PairedAccuracy, compute_difference_interval
from assay.measure.speed.comparison import SpeedComparison

ALPHA, POWER = 0.05, 0.9  # one-sided
Outcome = Literal["as accurate", "loses", "cannot tell"]
LossOutcome = Literal["within", "not within", "cannot tell"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison proves about a margin in percentage points of Top-1, and the text that says it."""

    outcome: Outcome
    margin_points: float
    sentence: str


class LossVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the loss is proven to be within a limit in percentage points of Top-1, and the text."""

    outcome: LossOutcome
    limit_points: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the two models that are compared are called."""

    reference: str
    candidate: str


def write_verdict(
    found: Agreement | Comparison,
    names: Names,
    *,
    speed: SpeedComparison | None = None,
    calibrated_count: int = 0,
    margin_points: float = DEFAULT_MARGIN_POINTS,
) -> Verdict:
    """The verdict on a candidate; whatever shows one shows this text.

    Args:
        found: How its answers compare with the reference's on the same images.
        names: What the two are called.
        speed: How its speed compares, where both were measured.
        calibrated_count: How many of the images served to calibrate one of them.
        margin_points: The largest loss of Top-1 that does not matter, in percentage points, over 0.
    """
    outcome = judge_difference(found.paired, margin_points)
    sentences = [
        *_describe_answers(found, names, outcome, margin_points),
        *([f"{calibrated_count:,} of these images served for calibration."] if calibrated_count else []),
        *([describe_ratio(speed)] if speed else []),
        *(_describe_need(found.paired, margin_points) if outcome == "cannot tell" else []),
    ]
    return Verdict(outcome=outcome, margin_points=margin_points, sentence=" ".join(sentences))


def _describe_answers(
    found: Agreement | Comparison, names: Names, outcome: Outcome, margin_points: float
) -> Iterator[str]:
    coverage, paired = found.coverage, found.paired
    answered_count = found.image_count - coverage.failed_count
    is_answered_by_one = coverage.failed_in_reference.count or coverage.failed_in_candidate.count
    if found.same_top1_count == answered_count and answered_count and not is_answered_by_one:
        yield _describe_same(found, names, answered_count)
        bound = 100 * (1 - ALPHA ** (1 / answered_count))
        yield f"A difference in more than {_round_up(bound)} % of images is ruled out (95 %)."
        return
    scope = describe_scope(coverage, found.image_count) or f" on {found.image_count:,} images"
    yield f"{describe_difference(paired, names, scope.removeprefix(','))}."
    if outcome == "cannot tell":
        yield f"A loss of more than {margin_points:g} points is not ruled out."
    elif outcome == "as accurate" and paired.interval_points[0] <= 0:
        yield f"A loss of more than {margin_points:g} points is ruled out (95 %)."


def _describe_same(found: Agreement | Comparison, names: Names, answered_count: int) -> str:
    both = " that both answered" if found.coverage.failed_count else ""
    scope = (
        describe_scope(found.coverage, answered_count).removeprefix(", on the ").removesuffix(" both have")
    )
    images = f"{scope} both have" if scope else f"{answered_count:,} images{both}"
    logits = (
        f"their top-5 logits differ by at most {_round_up(found.max_logit_difference)}"
        if found.max_logit_difference
        else "their top-5 logits are equal"
    )
    return f"Same answer as {names.reference} on all {images}; {logits}."


def describe_difference(paired: PairedAccuracy, names: Names, scope: str = "") -> str:
    """How much better or worse the candidate is, with the interval and the counts; no full stop.

    >>> from assay.measure.accuracy.paired import measure_paired_accuracy
    >>> found = measure_paired_accuracy(both=700, lost=10, won=4, neither=286)
    >>> describe_difference(found, Names(reference="fp32", candidate="int8"))
    'int8 is 0.60 points below fp32 (95 %: 1.38 below to 0.17 above): 10 lost, 4 won'
    """
    difference = paired.difference_points
    if paired.lost_count == paired.won_count:
        known = f"{names.candidate} is as often right as {names.reference}{scope}"
    else:
        side = "below" if difference < 0 else "above"
        known = f"{names.candidate} is {abs(difference):.2f} points {side} {names.reference}{scope}"
    low, high = map(_name_side, paired.interval_points)
    return f"{known} (95 %: {low} to {high}): {paired.lost_count:,} lost, {paired.won_count:,} won"


def _name_side(points: float) -> str:
    return f"{abs(points):.2f} {'below' if points < 0 else 'above'}"


def describe_ratio(speed: SpeedComparison) -> str:
    """How fast the candidate is against the reference, at one batch size; marked where that is INVALID."""
    clock = "" if speed.clock == "call" else f", {speed.clock} clock"
    place = f"batch {speed.batch_size}{clock}"
    ratio = f"{speed.ratio:.1f}" if speed.ratio >= 2 else f"{speed.ratio:.2f}"
    if speed.reason:
        return f"{ratio} ! times as fast ({place}; ! INVALID)."
    if speed.interval is not None:
        low, high = speed.interval
        unproven = "" if speed.outcome != "cannot tell" else ", so no difference is proven"
        return f"{ratio} times as fast ({place}; 95 %: {low:.2f} to {high:.2f}){unproven}."
    if speed.outcome == "cannot tell":
        return f"{ratio} times as fast ({place}), which two loads of one model may be too."
    return f"{ratio} times as fast ({place})."


def choose_speed(speeds: Iterable[SpeedComparison]) -> SpeedComparison | None:
    """The comparison that a verdict states: VALID before INVALID, the call clock, the fastest candidate."""
    return max(
        speeds,
        key=lambda speed: (not speed.reason, speed.clock == "call", speed.candidate),
        default=None,
    )


def _round_up(value: float) -> str:
    """At two digits, and never below the value: what it bounds stays bounded.

    >>> _round_up(1.8549), _round_up(9.01e-06), _round_up(0.5)
    ('1.9', '9.1e-06', '0.5')
    """
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(round(value / unit, 6)) * unit:.2g}"


def judge_difference(paired: PairedAccuracy, margin_points: float) -> Outcome:
    """What the difference proves: no loss beyond the margin, a loss, or neither.

    Args:
        paired: The comparison.
        margin_points: The largest loss that does not matter, in percentage points, over 0.
    """
    low, high = paired.interval_points
    if low >= -margin_points:
        return "as accurate"
    return "loses" if high < 0 else "cannot tell"


def judge_limit(paired: PairedAccuracy, limit_points: float) -> LossOutcome:
    """Whether the candidate is proven to lose no more than the limit, or more, by the 95 % interval.

    Args:
        paired: The comparison.
        limit_points: The largest loss that is allowed, in percentage points, 0 or more.
    """
    low, high = paired.interval_points
    if low >= -limit_points:
        return "within"
    return "not within" if high < -limit_points else "cannot tell"


def judge_loss(paired: PairedAccuracy, limit_points: float, names: Names) -> LossVerdict:
    """As `judge_limit`, with the text that says it."""
    outcome = judge_limit(paired, limit_points)
    need = _describe_need(paired, limit_points) if outcome == "cannot tell" else ()
    return LossVerdict(
        outcome=outcome,
        limit_points=limit_points,
        sentence=" ".join([f"{describe_difference(paired, names)}.", *need]),
    )


def is_loss_proven(paired: PairedAccuracy, limit_points: float, error: float) -> bool:
    """Whether more than the limit is lost, with a chance of at most `error` that it is not."""
    both, lost, won = paired.both_count, paired.lost_count, paired.won_count
    neither = paired.image_count - both - lost - won
    high = compute_difference_interval(both, lost, won, neither, 1 - error)[1]
    return 100 * high < -limit_points


def _describe_need(paired: PairedAccuracy, margin_points: float) -> Iterator[str]:
    """How many images would settle it, where ImageNet has so many."""
    if margin_points == 0:
        yield "No number of images proves that nothing at all is lost."
        return
    needed = count_needed_images(paired, margin_points)
    if paired.image_count < needed <= IMAGENET_VAL_COUNT:
        about = "About" if paired.lost_count + paired.won_count else "At most about"
        yield f"{about} {needed:,} images would settle it at {margin_points:g} points."


def count_needed_images(paired: PairedAccuracy, margin_points: float) -> int:
    """Return about how many images prove that nothing beyond the margin is lost, if nothing is.

    From the share of images that only one of the two has right: (z_alpha + z_power)^2 share / margin^2, at
    5 % one-sided and 90 % power (Liu et al., Statistics in Medicine 21 (2002) 231). Where no image differs,
    the upper end of the share's 95 % interval stands for it.
    """
    differing = paired.lost_count + paired.won_count
    share = differing / paired.image_count
    if differing == 0:
        share = compute_wilson_interval(0, paired.image_count)[1]
    z = NormalDist().inv_cdf(1 - ALPHA) + NormalDist().inv_cdf(POWER)
    return math.ceil(z * z * share / (margin_points / 100) ** 2)
