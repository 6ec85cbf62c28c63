"""What a search over a record found: the changes that were taken, everything that was tried, the outcome."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from assay.diagnose.search import Attempt, Step, compute_gain, count_images_needed, differ, is_better
from assay.diagnose.settle import Search
from assay.diagnose.stage import State
from assay.diagnose.view import Change, list_changes
from assay.measure.accuracy.accuracy import TopKAccuracy, make_topk
from assay.measure.accuracy.paired import PairedAccuracy, measure_paired_accuracy

Outcome = Literal["nothing", "explained", "helps", "undecided"]
_ONE_CLASS_SHARE = 0.5  # of the images in one class: no network that works does that to a mixed sample
_CHANCE_PERCENT = 5.0
_LEAST_EXPLAINED = 50.0  # percent of the loss
_SUSPECT, _SUSPECT_POINTS = 0.005, 4.0  # p-value before Holm, and points, of what a larger sample may prove
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
        explained_percent: How much of the loss, from the reference to Top-1 as given, the changes win back;
            None without a reference, or a loss.
        reference_percent: What Top-1 should be, where that is known, and where it comes from.
        excluded_points: No hypothesis that was shown 64 images or more gains more than this (95 %), the
            others scored worse; None where one was taken, or all scored worse.
        alternatives: Hypotheses of another kind that may be right in place of what was taken; without any,
            those that a larger sample may prove.
        images_needed: Images that would tell these from what was taken; None where there are none.
        equals: Hypotheses of the same kind as what was taken, which cannot be told from it.
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
    explained_percent: float | None = None
    alternatives: tuple[str, ...] = ()
    images_needed: int | None = None
    equals: tuple[str, ...] = ()
    trials: tuple[HypothesisTrial, ...] = ()
    remarks: tuple[str, ...] = ()


def conclude(search: Search, reference: tuple[float, str] | None) -> RecordFinding:
    """What a search amounts to.

    Args:
        search: The states it began and ended with, and all that was tried.
        reference: What Top-1 should be, in percent, and where that is from.
    """
    start, end = search.start, search.end
    changes = (*list_changes(start.view, end.view), *_list_label_changes(start, end))
    trials = tuple(
        _describe(attempt, step, number)
        for number, step in enumerate(search.steps, start=1)
        for attempt in step.attempts
    )
    suspects = _list_suspects(search)
    rivals = [attempt for attempt, _ in search.ties] or suspects
    needed = [count_images_needed(differ(other, end)) for _, other in search.ties]
    needed += [] if search.ties else [_count_to_prove(search.steps[-1], one) for one in suspects]
    before, after = _measure(start), _measure(end)
    return RecordFinding(
        outcome=_judge(bool(changes), search, suspects, reference),
        changes=changes,
        image_count=start.count,
        has_labels=start.label_map is not None,
        before=before,
        after=after,
        paired=pair(start, end),
        reference_percent=reference[0] if reference else None,
        reference_source=reference[1] if reference else "",
        excluded_points=None if changes or start.label_map is None else _find_excluded(trials),
        explained_percent=_explain(before, after, reference),
        alternatives=tuple(one.hypothesis.name for one in rivals),
        images_needed=max((count for count in needed if count), default=None),
        equals=tuple(one.hypothesis.name for step in search.steps for one in step.equals),
        trials=trials,
        remarks=tuple(_remark(search)),
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
    has_changes: bool,
    search: Search,
    suspects: Sequence[Attempt],
    reference: tuple[float, str] | None,
) -> Outcome:
    if search.ties:
        return "undecided"
    if not has_changes:
        return "undecided" if suspects else "nothing"
    before, after = _measure(search.start), _measure(search.end)
    if suspects or (after is not None and after.percent < _CHANCE_PERCENT):
        return "helps"
    explained = _explain(before, after, reference)
    if after is None or reference is None or explained is None:
        return "explained"
    return (
        "explained"
        if explained >= _LEAST_EXPLAINED and after.interval_percent[1] >= reference[0]
        else "helps"
    )


def _explain(
    before: TopKAccuracy | None, after: TopKAccuracy | None, reference: tuple[float, str] | None
) -> float | None:
    """How much of the loss is won back, in percent; None where nothing says what Top-1 should be."""
    if before is None or after is None or reference is None or before.percent >= reference[0]:
        return None
    return 100 * (after.percent - before.percent) / (reference[0] - before.percent)


def _list_suspects(search: Search) -> list[Attempt]:
    """Hypotheses that nothing proves, after all the changes, but that a larger sample may prove."""
    last = search.steps[-1]
    if last.taken is not None:
        return []
    suspects = [
        one
        for one in last.attempts
        if one.p_value < _SUSPECT
        and is_better(last.state, one.state)
        and _wins_enough(pair(last.state, one.state))
    ]
    return sorted(suspects, key=lambda one: -compute_gain(last.state, one.state))


def _wins_enough(paired: PairedAccuracy | None) -> bool:
    """Whether so many images are won that it is worth a word where nothing is proven."""
    return paired is None or paired.difference_points >= _SUSPECT_POINTS


def _count_to_prove(step: Step, attempt: Attempt) -> int | None:
    return count_images_needed(differ(step.state, attempt.state), len(step.attempts))


def _measure(state: State) -> TopKAccuracy | None:
    is_right = state.scores.is_right
    return None if is_right is None else make_topk(int(is_right.sum()), len(is_right), len(is_right))


def _list_label_changes(old: State, new: State) -> list[Change]:
    one, other = old.label_map, new.label_map
    if one is None or other is None or old.has_labels_of(new):
        return []
    return [
        Change(
            factor=other.factor, old=one.value if one.factor == other.factor else "as given", new=other.value
        )
    ]


def _describe(attempt: Attempt, step: Step, number: int) -> HypothesisTrial:
    gains = differ(step.state, attempt.state)
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    mean = float(gains.mean())
    return HypothesisTrial(
        step=number,
        family=attempt.hypothesis.family,
        name=attempt.hypothesis.name,
        changes=(
            *list_changes(step.state.view, attempt.state.view),
            *_list_label_changes(step.state, attempt.state),
        ),
        image_count=len(gains),
        paired=pair(step.state, attempt.state),
        score_gain=mean,
        score_interval=(mean - 1.96 * error, mean + 1.96 * error),
        p_value=attempt.holm_p,
        images_needed=count_images_needed(gains),
        is_taken=step.taken is attempt,
    )


def _find_excluded(trials: Sequence[HypothesisTrial]) -> float | None:
    """The largest gain of Top-1, in points, that a hypothesis which was not dropped may still have."""
    left = [trial for trial in trials if trial.image_count >= _LEAST_TOLD]
    return max((trial.paired.interval_points[1] for trial in left if trial.paired), default=None)


def _remark(search: Search) -> list[str]:
    """What the answers themselves say, at the end of the search."""
    state = search.end
    answers, is_right = state.scores.answers, state.scores.is_right
    if (answers == -2).any():
        return [f"{int((answers == -2).sum())} images have logits that are not finite"]
    classes, counts = np.unique(answers, return_counts=True)
    commonest = int(classes[counts.argmax()])
    if counts.max() > max(_ONE_CLASS_SHARE, 2 / state.log_p.shape[1]) * len(answers):
        return _remark_one_answer(state, commonest, int(counts.max()))
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


def _remark_one_answer(state: State, answer: int, count: int) -> list[str]:
    """That most images get one answer: of photographs that are all of one class it is none to wonder at."""
    is_right = state.scores.is_right
    if is_right is not None and 2 * int((is_right & (state.scores.answers == answer)).sum()) >= count:
        return []
    told = f"{count} of {len(state.scores.answers)} images get one answer, class {answer}"
    if is_right is None:
        return [f"{told}: unless they are alike, the input is wrong, or never reaches the network"]
    return [
        f"{told}, and most of them are of other classes: the input is wrong, or never reaches the network"
    ]
