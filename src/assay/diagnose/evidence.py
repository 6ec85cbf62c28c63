"""What a view of the photographs gives, and whether it beats another on the same photographs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.arrays import Logits

SIGNIFICANT = 0.05
_SMALLEST = 1e-30  # the least probability whose logarithm is taken
_SUM_TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What a view gives, row by row of the photographs.

    Args:
        answers: The likeliest class, int64 (N,).
        scores: What is compared: log p(label), or without labels the largest probability, float64 (N,).
        is_right: Whether the answer is the label's class, (N,); None without labels.
        entropies: Of the probabilities, in nats, float64 (N,).
    """

    answers: NDArray[np.int64]
    scores: NDArray[np.float64]
    is_right: NDArray[np.bool_] | None
    entropies: NDArray[np.float64]


def compute_log_probabilities(outputs: Logits) -> NDArray[np.float64]:
    """The log-probability of every class, float64 (N, classes); of rows of probabilities their logarithm."""
    rows: NDArray[np.float64] = outputs.astype(np.float64)
    if are_probabilities(outputs):
        return np.log(np.maximum(rows, _SMALLEST))
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return rows


def are_probabilities(outputs: Logits) -> bool:
    """Whether every row is one of probabilities: none below 0, and a sum of 1."""
    return bool(outputs.min() >= -1e-3 and (np.abs(outputs.sum(axis=1) - 1) <= _SUM_TOLERANCE).all())


def find_answers(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """The likeliest class of each image, (N,); -1 where its scores are not finite."""
    finite: NDArray[np.bool_] = np.isfinite(scores)
    answers: NDArray[np.int64] = np.where(finite.min(axis=1), scores.argmax(axis=1), -1)
    return answers


def score_outputs(log_p: NDArray[np.float64], classes: NDArray[np.int64] | None) -> Scores:
    """Score the rows by the class that each label means; by the largest probability without labels.

    Args:
        log_p: As `compute_log_probabilities`; a row that is not finite counts as wrong, and as unlikely.
        classes: The network's class of each label, (N,), -1 where there is none.
    """
    is_finite: NDArray[np.bool_] = np.isfinite(log_p)
    sound = is_finite.min(axis=1)  # (N,)
    log_p = np.where(sound[:, None], log_p, math.log(_SMALLEST))
    answers = np.where(sound, log_p.argmax(axis=1), -2)
    entropies = -(np.exp(log_p) * log_p).sum(axis=1)
    if classes is None:
        scores = np.exp(log_p.max(axis=1))
        return Scores(answers=answers, scores=scores, is_right=None, entropies=entropies)
    found = log_p[np.arange(len(log_p)), np.maximum(classes, 0)]
    scores = np.maximum(np.where(classes >= 0, found, math.log(_SMALLEST)), math.log(_SMALLEST))
    return Scores(answers=answers, scores=scores, is_right=answers == classes, entropies=entropies)


def compute_paired_p(differences: NDArray[np.float64]) -> float:
    """The two-sided p-value of Student's paired t-test: that the differences have a mean of 0."""
    count = len(differences)
    deviation = float(differences.std(ddof=1)) if count > 1 else 0.0
    mean = float(differences.mean())
    if deviation == 0:
        return 1.0 if mean == 0 or count < 2 else 0.0
    return compute_t_p(abs(mean) / deviation * math.sqrt(count), count - 1)


def compute_gain_p(differences: NDArray[np.float64]) -> float:
    """The one-sided p-value of the same test: that the differences have a mean of 0 or less."""
    half = compute_paired_p(differences) / 2
    return half if differences.mean() > 0 else 1 - half


def compute_t_p(t: float, freedom: int) -> float:
    """The two-sided p-value of Student's t with so many degrees of freedom, at least 1.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.

    >>> round(compute_t_p(2.0, 10), 4), round(compute_t_p(2.0, 9), 4)
    (0.0734, 0.0766)
    """
    angle = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2
    term = total = cosine if is_odd else 1.0
    if freedom == 1:
        total = 0.0
    for k in range(3 if is_odd else 2, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    inside = 2 / math.pi * (angle + sine * total) if is_odd else sine * total
    return max(1 - inside, 0.0)


def adjust_by_holm(p_values: Sequence[float], tried: int) -> list[float]:
    """Holm's adjusted p-values, in the order given; `tried` counts those that were dropped early too."""
    adjusted, running = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, p_values[place] * (tried - rank)))
        adjusted[place] = running
    return adjusted
