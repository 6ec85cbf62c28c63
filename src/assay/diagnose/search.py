"""The search: label maps on every answer, one hypothesis at a time, and a step only where Top-1 rises too."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from assay.arrays import Images, Logits
from assay.diagnose.evidence import (
    SIGNIFICANT,
    Scores,
    adjust_by_holm,
    compute_log_probabilities,
    compute_paired_p,
    score_outputs,
)
from assay.diagnose.hypotheses import Hypothesis, list_hypotheses, list_joint_hypotheses
from assay.diagnose.label_maps import LabelMap, find_label_map
from assay.diagnose.view import Photograph, View, make_images

RACE_COUNTS = (16, 32, 64, 128)  # images after which hypotheses that cannot win are dropped
SURVIVOR_COUNT = 200  # what colour, values, layout and orientation need at most; geometry takes all images
MOST_STEPS = 5
LEAST_GAIN = 0.03  # of the mean score: less is not worth a name
LEAST_SHARE = 0.005  # of the images, that must be won on balance
CHANCE = 0.1  # of Top-1: below it, two faults may hide one another
_LABEL_FREE = frozenset({"colour", "values", "layout", "orientation"})  # what probabilities alone can tell
_DETAILS = frozenset({"geometry", "filter"})
_BATCH = 32
_DROP_ERRORS = 2.5  # standard errors

Predict = Callable[[Images], Logits]
"""Runs the network on float32 (N, channels, height, width)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """A view, the place of its label map, and what they give on the first photographs."""

    view: View
    label_map: int
    log_p: NDArray[np.float64]
    scores: Scores

    @property
    def count(self) -> int:
        """How many photographs were shown."""
        return len(self.log_p)


@dataclass(frozen=True, kw_only=True, eq=False)
class Attempt:
    """A hypothesis, what it gave, and its p-value after Holm: 1 where it was dropped on the way."""

    hypothesis: Hypothesis
    state: State
    p_value: float
    is_proven: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What was tried against a state, and the attempt that was taken, None where none was.

    `ties` are attempts of another kind that are as good as the one taken.
    """

    state: State
    attempts: tuple[Attempt, ...]
    taken: Attempt | None
    ties: tuple[Attempt, ...] = ()


class Stage:
    """Shows photographs to a network.

    Args:
        photographs: In random order, so that the first of them are a sample of all.
        predict: Runs the network.
        maps: The label maps, the record's own first; empty where there are no labels.
    """

    def __init__(
        self, photographs: Sequence[Photograph], predict: Predict, maps: tuple[LabelMap, ...]
    ) -> None:
        self.photographs = photographs
        self.maps = maps
        self._predict = predict
        self._labels = np.array([one.label for one in photographs], dtype=np.int64) if maps else None

    def show(self, view: View, label_map: int, count: int, known: State | None = None) -> State:
        """Show the first photographs; those that `known` has in the same view are not shown again."""
        parts = [known.log_p] if known else []
        for first in range(known.count if known else 0, min(count, len(self.photographs)), _BATCH):
            images = make_images(self.photographs[first : min(first + _BATCH, count)], view)
            parts.append(compute_log_probabilities(self._predict(images)))
        return self._judge(view, label_map, np.concatenate(parts))

    def relabel(self, state: State) -> State:
        """The same answers under the label map that fits them, mostly the one they have."""
        if self._labels is None:
            return state
        labels = self._labels[: state.count]
        best = find_label_map(state.scores.answers, labels, self.maps, state.label_map)
        return state if best == state.label_map else self._judge(state.view, best, state.log_p)

    def _judge(self, view: View, label_map: int, log_p: NDArray[np.float64]) -> State:
        classes = None
        if self._labels is not None:
            classes = self.maps[label_map].classes[self._labels[: len(log_p)]]
        return State(view=view, label_map=label_map, log_p=log_p, scores=score_outputs(log_p, classes))


def climb(stage: Stage, start: State, hear: Callable[[str], None]) -> tuple[State, list[Step]]:
    """Take the best step that is proven, again and again, until there is none, or others may be as good.

    Args:
        stage: The photographs and the network.
        start: The record as given, shown all photographs, under the label map that fits.
        hear: Told what is being done.
    """
    state, steps = start, []
    for number in range(1, MOST_STEPS + 1):
        hypotheses = _choose_hypotheses(stage, state)
        hear(f"Step {number}: {len(hypotheses)} hypotheses")
        step = take_step(stage, state, hypotheses)
        steps.append(step)
        if step.taken is None:
            break
        known = step.taken.state
        state = stage.show(known.view, known.label_map, len(stage.photographs), known)
        if step.ties:
            break
    return state, steps


def take_step(stage: Stage, state: State, hypotheses: Sequence[Hypothesis]) -> Step:
    """Race the hypotheses against a state on the same photographs, and choose among those that are proven."""
    tried = {place: _show(stage, state, one, RACE_COUNTS[0], None) for place, one in enumerate(hypotheses)}
    racing = set(tried)
    for count in (*RACE_COUNTS[1:], SURVIVOR_COUNT, len(stage.photographs)):
        racing = {place for place in racing if _may_gain(state, tried[place])}
        for place in racing:
            if count <= SURVIVOR_COUNT or hypotheses[place].family in _DETAILS:
                tried[place] = _show(stage, state, hypotheses[place], count, tried[place])
    p_values = [compute_paired_p(differ(state, tried[place])) if place in racing else 1.0 for place in tried]
    adjusted = adjust_by_holm(p_values, len(p_values))
    attempts = tuple(
        Attempt(
            hypothesis=one,
            state=tried[place],
            p_value=p_value,
            is_proven=p_value < SIGNIFICANT and _is_better(state, tried[place]),
        )
        for place, (one, p_value) in enumerate(zip(hypotheses, adjusted, strict=True))
    )
    taken, ties = _choose(state, attempts, racing)
    return Step(state=state, attempts=attempts, taken=taken, ties=ties)


def differ(state: State, other: State) -> NDArray[np.float64]:
    """What the other state's scores gain on the photographs that both were shown, (N,)."""
    count = min(state.count, other.count)
    return other.scores.scores[:count] - state.scores.scores[:count]


def count_images_needed(differences: NDArray[np.float64]) -> int | None:
    """Images that give a two-sided test at 5 % a power of 80 %; None where there is no difference."""
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if mean == 0:
        return None
    normal = NormalDist()
    factor = normal.inv_cdf(1 - SIGNIFICANT / 2) + normal.inv_cdf(0.8)
    return math.ceil((factor * deviation / mean) ** 2)


def _choose_hypotheses(stage: Stage, state: State) -> list[Hypothesis]:
    hypotheses = list_hypotheses(state.view, stage.photographs)
    if not stage.maps:
        return [one for one in hypotheses if one.family in _LABEL_FREE]
    if state.scores.is_right is not None and state.scores.is_right.mean() < CHANCE:
        hypotheses += list_joint_hypotheses(state.view)
    return hypotheses


def _show(stage: Stage, state: State, hypothesis: Hypothesis, count: int, known: State | None) -> State:
    label_map = known.label_map if known else state.label_map
    return stage.relabel(stage.show(hypothesis.view, label_map, count, known))


def _may_gain(state: State, other: State) -> bool:
    """Whether the other state may still turn out to be worth a name."""
    gains = differ(state, other)
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return float(gains.mean()) + _DROP_ERRORS * error > LEAST_GAIN


def _is_better(state: State, other: State) -> bool:
    """Whether a gain is worth a name, and Top-1 rises too; without labels, the entropy must fall."""
    one, two, count = state.scores, other.scores, other.count
    if float(differ(state, other).mean()) < LEAST_GAIN:
        return False
    if one.is_right is None or two.is_right is None:
        return float(two.entropies.mean()) < float(one.entropies[:count].mean())
    won = int((two.is_right & ~one.is_right[:count]).sum())
    lost = int((one.is_right[:count] & ~two.is_right).sum())
    if one.is_right[:count].mean() < CHANCE and two.is_right.mean() < CHANCE:
        return False  # to be less sure of wrong answers is no gain
    return won > 2 * lost and won - lost >= LEAST_SHARE * count


def _choose(
    state: State, attempts: Sequence[Attempt], racing: Collection[int]
) -> tuple[Attempt | None, tuple[Attempt, ...]]:
    """The best of the simplest that are proven, and those of another kind that may be as good."""
    proven = [one for one in attempts if one.is_proven]
    if not proven:
        return None, ()
    best = max(proven, key=lambda one: _gain(state, one))
    rivals = [attempts[place] for place in racing if _may_equal(state, attempts[place], best)]
    simple = [one for one in rivals if one.hypothesis.family != "joint" and one.is_proven] or [best]
    best = max(simple, key=lambda one: _gain(state, one))
    family = [one for one in simple if one.hypothesis.family == best.hypothesis.family]
    # the most usual of those that differ by nothing worth a name, such as 127 / 128 for 0.5
    taken = next(one for one in family if _gain(state, best) - _gain(state, one) < LEAST_GAIN / 3)
    others = {"joint", taken.hypothesis.family}
    if all(one.hypothesis.family in others for one in rivals):
        return taken, ()
    first, *ties = sorted(rivals, key=lambda one: -_gain(state, one))
    return first, tuple(ties)


def _may_equal(state: State, one: Attempt, best: Attempt) -> bool:
    """Whether a hypothesis may be as good as the best: half as good here, and not proven worse."""
    if _gain(state, one) < _gain(state, best) / 2:
        return False
    return compute_paired_p(differ(one.state, best.state)) > SIGNIFICANT


def _gain(state: State, attempt: Attempt) -> float:
    return float(differ(state, attempt.state).mean())
