"""The search: one hypothesis at a time on the same photographs, and a step only where Top-1 rises too."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from assay.diagnose.evidence import SIGNIFICANT, adjust_by_holm, compute_gain_p, compute_paired_p
from assay.diagnose.hypotheses import Hypothesis, list_hypotheses, list_joint_hypotheses
from assay.diagnose.stage import Stage, State
from assay.diagnose.view import Family

RACE_COUNTS = (8, 16, 32, 64, 128)  # images after which hypotheses that cannot win are dropped
SURVIVOR_COUNT = 200  # what colour, values, layout and orientation need at most; geometry takes all images
MOST_STEPS = 6
LEAST_GAIN = 0.03  # of the mean score: less is not worth a name
LEAST_SHARE = 0.005  # of the images, that must be won on balance
CHANCE = 0.1  # of Top-1: below it, two faults may hide one another
_LABEL_FREE = frozenset({"output", "colour", "values", "layout", "orientation"})  # what probabilities tell
_DETAILS = frozenset({"geometry", "filter", "decoding"})
_LEAST_DEVIATION = 0.2  # of gains, from image to image
_DROP_ERRORS = 2.0  # standard errors below what must be reached, or below the best


@dataclass(frozen=True, kw_only=True, eq=False)
class Attempt:
    """A hypothesis and what it gave.

    `p_value` is that of a paired t-test, one-sided, `holm_p` after Holm: 1 where it was dropped on the way.
    `families` are those that it changes, "labels" among them where the answers fit another label map.
    """

    hypothesis: Hypothesis
    state: State
    families: tuple[Family, ...]
    p_value: float
    holm_p: float
    is_proven: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What was tried against a state, and the attempt that was taken, None where none was.

    `ties` are attempts of another kind that were as good as the one taken, `equals` those of the same kind.
    """

    state: State
    attempts: tuple[Attempt, ...]
    taken: Attempt | None
    ties: tuple[Attempt, ...] = ()
    equals: tuple[Attempt, ...] = ()


def climb(stage: Stage, start: State, hear: Callable[[str], None]) -> tuple[State, list[Step]]:
    """Take the best step that is proven, again and again, until there is none.

    Args:
        stage: The photographs and the network.
        start: The record as given, shown all photographs.
        hear: Told what is being done.
    """
    state, steps = start, []
    for number in range(1, MOST_STEPS + 1):
        hypotheses = _choose_hypotheses(stage, state)
        hear(f"Step {number}: {len(hypotheses)} hypotheses")
        step = take_step(stage, state, hypotheses)
        if step.taken is None and _is_at_chance(state):
            joint = list_joint_hypotheses(state.view)
            hear(f"Step {number}: Top-1 is near chance; two things at once, {len(joint)} hypotheses")
            steps.append(step)
            step = take_step(stage, state, joint)
        steps.append(step)
        if step.taken is None:
            break
        known = step.taken.state
        state = stage.show(known.view, known.label_map, known=known)
    return state, steps


def take_step(stage: Stage, state: State, hypotheses: Sequence[Hypothesis]) -> Step:
    """Race the hypotheses against a state on the same photographs, and choose among those that are proven."""
    # of answers that are mostly wrong a few do not tell which label map fits
    first = 1 if _is_at_chance(state) else 0
    tried = {
        place: _show(stage, state, one, RACE_COUNTS[first], None) for place, one in enumerate(hypotheses)
    }
    racing = set(tried)
    for count in (*RACE_COUNTS[first + 1 :], SURVIVOR_COUNT, len(stage.photographs)):
        racing = _keep(state, tried, racing)
        for place in racing:
            if count <= SURVIVOR_COUNT or hypotheses[place].family in _DETAILS:
                tried[place] = _show(stage, state, hypotheses[place], count, tried[place])
    return _choose(state, _test(state, hypotheses, tried, racing), racing)


def differ(state: State, other: State) -> NDArray[np.float64]:
    """What the other state's scores gain on the photographs that both were shown, (N,)."""
    count = min(state.count, other.count)
    return other.scores.scores[:count] - state.scores.scores[:count]


def is_better(state: State, other: State) -> bool:
    """Whether a gain is worth a name, and Top-1 rises too; without labels, the entropy must fall."""
    one, two, count = state.scores, other.scores, min(state.count, other.count)
    if compute_gain(state, other) < LEAST_GAIN:
        return False
    if one.is_right is None or two.is_right is None:
        return float(two.entropies[:count].mean()) < float(one.entropies[:count].mean())
    before, after = one.is_right[:count], two.is_right[:count]
    won, lost = int((after & ~before).sum()), int((before & ~after).sum())
    if before.mean() < CHANCE and after.mean() < CHANCE:
        return False  # to be less sure of wrong answers is no gain
    return won > 2 * lost and won - lost >= LEAST_SHARE * count


def compute_gain(state: State, other: State) -> float:
    """The mean of what the other state's scores gain."""
    return float(differ(state, other).mean())


def count_images_needed(differences: NDArray[np.float64], tried: int = 1) -> int | None:
    """Images that give a one-sided test at 5 % a power of 80 %; None where there is no difference.

    Args:
        differences: Of scores, image by image.
        tried: Hypotheses among which the test must find this one: Holm's strictest step.
    """
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if mean == 0:
        return None
    normal = NormalDist()
    factor = normal.inv_cdf(1 - SIGNIFICANT / tried) + normal.inv_cdf(0.8)
    return math.ceil((factor * deviation / mean) ** 2)


def _choose_hypotheses(stage: Stage, state: State) -> list[Hypothesis]:
    hypotheses = list_hypotheses(state.view, stage.photographs, tuple(stage.outputs))
    if stage.maps is None:
        return [one for one in hypotheses if one.family in _LABEL_FREE]
    labels = Hypothesis(
        family="labels", name="labels from another number or in another order", view=state.view
    )
    return [labels, *hypotheses]


def _is_at_chance(state: State) -> bool:
    is_right = state.scores.is_right
    return is_right is not None and bool(is_right.mean() < CHANCE)


def _show(stage: Stage, state: State, hypothesis: Hypothesis, count: int, known: State | None) -> State:
    if hypothesis.family == "labels":
        return stage.relabel(state, state.label_map)
    return stage.relabel(stage.show(hypothesis.view, state.label_map, count, known), state.label_map)


def _keep(state: State, tried: Mapping[int, State], racing: Collection[int]) -> set[int]:
    """Those that may still turn out to be worth a name, and to be as good as the best."""
    left = {place for place in racing if _may_gain(differ(state, tried[place]), LEAST_GAIN)}
    if not left:
        return left
    best = tried[max(left, key=lambda place: compute_gain(state, tried[place]))]
    return {place for place in left if _may_gain(differ(best, tried[place]), 0.0)}


def _may_gain(gains: NDArray[np.float64], least: float) -> bool:
    """Whether the mean of more gains may be at least so much; it may where nothing differs so far.

    A few images tell little of a fault that hurts only some, however much they agree.
    """
    error = max(float(gains.std(ddof=1)), _LEAST_DEVIATION) / math.sqrt(len(gains))
    return not gains.any() or float(gains.mean()) + _DROP_ERRORS * error >= least


def _test(
    state: State, hypotheses: Sequence[Hypothesis], tried: Mapping[int, State], racing: Collection[int]
) -> tuple[Attempt, ...]:
    p_values = [compute_gain_p(differ(state, tried[place])) if place in racing else 1.0 for place in tried]
    adjusted = adjust_by_holm(p_values, len(p_values))
    return tuple(
        Attempt(
            hypothesis=one,
            state=tried[place],
            families=_list_families(state, one, tried[place]),
            p_value=p_values[place],
            holm_p=holm_p,
            is_proven=holm_p < SIGNIFICANT and is_better(state, tried[place]),
        )
        for place, (one, holm_p) in enumerate(zip(hypotheses, adjusted, strict=True))
    )


def _list_families(state: State, hypothesis: Hypothesis, found: State) -> tuple[Family, ...]:
    families = hypothesis.list_families()
    if hypothesis.family == "labels" or found.has_labels_of(state):
        return families
    return (*families, "labels")


def _choose(state: State, attempts: tuple[Attempt, ...], racing: Collection[int]) -> Step:
    """The best of those that change least and gain half of what the best gains, and those that equal it."""
    proven = [one for one in attempts if one.is_proven]
    if not proven:
        return Step(state=state, attempts=attempts, taken=None)
    gains = {one: compute_gain(state, one.state) for one in attempts}
    largest = max(gains[one] for one in proven)
    near = [one for one in proven if gains[one] >= largest / 2]
    fewest = min(len(one.families) for one in near)
    best = max((one for one in near if len(one.families) == fewest), key=gains.__getitem__)
    rivals = [attempts[place] for place in racing if _equals(attempts[place], best, state)]
    leader = max([best, *rivals], key=gains.__getitem__)
    same = [one for one in (best, *rivals) if one.families == leader.families]
    # the most usual of those that differ by nothing worth a name
    taken = next(one for one in attempts if one in same and gains[leader] - gains[one] < LEAST_GAIN / 3)
    others = sorted((one for one in rivals if one is not taken), key=gains.__getitem__, reverse=True)
    return Step(
        state=state,
        attempts=attempts,
        taken=taken,
        ties=tuple(one for one in others if one.families != taken.families),
        equals=tuple(one for one in others if one.families == taken.families),
    )


def _equals(one: Attempt, best: Attempt, state: State) -> bool:
    """Whether a hypothesis that changes no more may be as good as the best, proven or not."""
    return (
        one is not best
        and len(one.families) <= len(best.families)
        and 2 * compute_gain(state, one.state) >= compute_gain(state, best.state)
        and is_better(state, one.state)
        and compute_paired_p(differ(one.state, best.state)) > SIGNIFICANT
    )
