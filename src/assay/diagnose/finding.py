"""What a search over a record found: the changes that were taken, everything that was tried, the outcome."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from assay.diagnose.search import Attempt, Stage, State, Step, count_images_needed, differ
from assay.diagnose.view import Change, list_changes
from assay.measure.accuracy.accuracy import TopKAccuracy, make_topk
from assay.measure.accuracy.paired import PairedAccuracy, measure_paired_accuracy

Outcome = Literal["nothing", "explained", "helps", "undecided"]
_ONE_CLASS_SHARE = 0.5  # of the images in one class: no network that works does that to a mixed sample
_CHANCE_PERCENT = 5.0
_LEAST_TOLD = 64  # images from which an interval is told


class HypothesisTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A hypothesis against the record as it stood in that step, on the same images.

    `score_gain` is the mean gain of log p(label), without labels of the largest probability, with its 95 %
    interval; `p_value` that of a paired t-test after Holm, 1 where it was dropped on the way.
    `images_needed` gives that test a power of 80 %.
    """

    step: int
    family: str
    name: str
    changes: tuple[Change, ...]
    image_count: int
    paired: PairedAccuracy | None
    score_gain: float
    score_interval: tuple[float, float]
    p_value: float
    images_needed: int | None
    is_taken: bool


class RecordFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found about a record.

    Args:
        outcome: "nothing" in it explains a loss; the changes "explained" it; the change "helps" but leaves
            most of it; or it is "undecided" between the change and `alternatives`.
        changes: What to change, in the order of the record.
        image_count: Images that were shown.
        has_labels: Whether they have labels; without, the probabilities alone decided.
        before: Top-1 with the record as given; None without labels.
        after: Top-1 with the changes.
        paired: The same images with and without them.
        reference_percent: What Top-1 should be, where that is known, and where it comes from.
        excluded_points: No hypothesis that was shown 64 images or more gains more than this (95 %), the
            others scored worse; None where one was taken, or all scored worse.
        alternatives: Hypotheses of another kind that are as good as the one that was taken.
        trials: All that was tried.
        remarks: What else is to be known.
    """

    outcome: Outcome
    changes: tuple[Change, ...]
    image_count: int
    has_labels: bool
    before: TopKAccuracy | None
    after: TopKAccuracy | None
    paired: PairedAccuracy | None
    reference_percent: float | None = None
    reference_source: str = ""
    excluded_points: float | None = None
    alternatives: tuple[str, ...] = ()
    trials: tuple[HypothesisTrial, ...] = ()
    remarks: tuple[str, ...] = ()


def conclude(
    stage: Stage, given: State, end: State, steps: Sequence[Step], reference: tuple[float, str] | None
) -> RecordFinding:
    """What the steps from the record as given to the last state amount to.

    Args:
        stage: The photographs and the label maps.
        given: The record as given, under its own label map, shown all photographs.
        end: The last state, shown all photographs.
        steps: All that was tried.
        reference: What Top-1 should be, in percent, and where that is from.
    """
    changes = (*list_changes(given.view, end.view), *_list_label_changes(stage, given, end))
    ties = tuple(attempt.hypothesis.name for step in steps for attempt in step.ties)
    trials = tuple(
        _describe(stage, attempt, step, number)
        for number, step in enumerate(steps, start=1)
        for attempt in step.attempts
    )
    after = _measure(end)
    return RecordFinding(
        outcome=_judge(bool(changes), bool(ties), after, reference),
        changes=changes,
        image_count=given.count,
        has_labels=bool(stage.maps),
        before=_measure(given),
        after=after,
        paired=pair(given, end),
        reference_percent=reference[0] if reference else None,
        reference_source=reference[1] if reference else "",
        excluded_points=None if changes or not stage.maps else _find_excluded(trials),
        alternatives=ties,
        trials=trials,
        remarks=tuple(_remark(end)),
    )


def pair(one: State, other: State) -> PairedAccuracy | None:
    """The other state against the one, on the images both were shown; None without labels."""
    if one.scores.is_right is None or other.scores.is_right is None:
        return None
    count = min(one.count, other.count)
    first, second = one.scores.is_right[:count], other.scores.is_right[:count]
    return measure_paired_accuracy(
        both=int((first & second).sum()),
        lost=int((first & ~second).sum()),
        won=int((~first & second).sum()),
        neither=int((~first & ~second).sum()),
    )


def _judge(
    has_changes: bool, has_ties: bool, after: TopKAccuracy | None, reference: tuple[float, str] | None
) -> Outcome:
    if has_ties:
        return "undecided"
    if not has_changes:
        return "nothing"
    if after is not None and reference is not None and after.interval_percent[1] < reference[0]:
        return "helps"
    return "explained"


def _measure(state: State) -> TopKAccuracy | None:
    is_right = state.scores.is_right
    return None if is_right is None else make_topk(int(is_right.sum()), len(is_right), len(is_right))


def _list_label_changes(stage: Stage, given: State, end: State) -> list[Change]:
    if given.label_map == end.label_map:
        return []
    old, new = stage.maps[given.label_map], stage.maps[end.label_map]
    if new.factor == old.factor:
        return [Change(factor=new.factor, old=old.value, new=new.value)]
    return [Change(factor=new.factor, old="as given", new=new.value)]


def _describe(stage: Stage, attempt: Attempt, step: Step, number: int) -> HypothesisTrial:
    gains = differ(step.state, attempt.state)
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    mean = float(gains.mean())
    return HypothesisTrial(
        step=number,
        family=attempt.hypothesis.family,
        name=attempt.hypothesis.name,
        changes=(
            *list_changes(step.state.view, attempt.state.view),
            *_list_label_changes(stage, step.state, attempt.state),
        ),
        image_count=len(gains),
        paired=pair(step.state, attempt.state),
        score_gain=mean,
        score_interval=(mean - 1.96 * error, mean + 1.96 * error),
        p_value=attempt.p_value,
        images_needed=count_images_needed(gains),
        is_taken=step.taken is attempt,
    )


def _find_excluded(trials: Sequence[HypothesisTrial]) -> float | None:
    """The largest gain of Top-1, in points, that a hypothesis which was not dropped may still have."""
    left = [trial for trial in trials if trial.image_count >= _LEAST_TOLD]
    return max((trial.paired.interval_points[1] for trial in left if trial.paired), default=None)


def _remark(state: State) -> list[str]:
    """What the answers themselves say."""
    answers, is_right = state.scores.answers, state.scores.is_right
    classes, counts = np.unique(answers, return_counts=True)
    if (answers == -2).any():
        return [f"{int((answers == -2).sum())} images have logits that are not finite"]
    if counts.max() > _ONE_CLASS_SHARE * len(answers):
        share = f"{int(counts.max())} of {len(answers)}"
        return [f"{share} images get one answer, class {int(classes[counts.argmax()])}: the input is wrong"]
    if is_right is None or 100 * is_right.mean() >= _CHANCE_PERCENT:
        return []
    class_count = state.log_p.shape[1]
    varied = len(classes) > min(len(answers), class_count) / 2
    if varied and float(state.scores.entropies.mean()) < np.log(class_count) / 2:
        return [
            "the answers are sure and differ from image to image, but are wrong: the labels are of other "
            "classes or in an order that is none of those known"
        ]
    return []
