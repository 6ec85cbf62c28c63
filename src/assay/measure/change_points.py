"""Where figures over time change, beyond what chance makes of figures that do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEAST_POINTS = 6  # below it no order of the values is rare enough
PERMUTATIONS = 1999


@dataclass(frozen=True, kw_only=True)
class ChangePoint:
    """From the figure at `place` on, figures are others.

    `p_value` is that of as large a change by chance; `ratio` is the median after it over the one before.
    """

    place: int
    p_value: float
    ratio: float = 1.0


def find_level_changes(values: Sequence[float], error: float) -> list[ChangePoint]:
    """Where the level of values over 0 changes, by place.

    The place with the largest difference of mean ranks before and after it (standardised, as in Pettitt,
    Applied Statistics 28 (1979) 126) is a change where fewer than `error` of the permutations of the values
    have as large a one anywhere; then the stretches before and after it are searched in the same way. So
    the chance that values without any change show one is at most `error`. The permutations are always the
    same, so that one history gives one answer.

    Args:
        values: In order of time.
        error: Between 0 and 1.
    """
    return sorted(_search(np.asarray(values, dtype=float), 0, error), key=lambda change: change.place)


def _search(values: npt.NDArray[np.float64], start: int, error: float) -> list[ChangePoint]:
    count = len(values)
    if count < LEAST_POINTS:
        return []
    ranks = _rank(values)
    found = _compute_statistics(ranks[None, :])[0]  # (splits,)
    place = int(found.argmax()) + 1
    rng = np.random.default_rng(0)
    permutations = max(PERMUTATIONS, math.ceil(2 / error))  # enough that one can be as rare
    shuffled = rng.permuted(np.tile(ranks, (permutations, 1)), axis=1)  # (permutations, values)
    larger = int((_compute_statistics(shuffled).max(axis=1) >= found[place - 1] - 1e-9).sum())
    p_value = (larger + 1) / (permutations + 1)
    if p_value > error:
        return []
    ratio = float(np.median(values[place:]) / np.median(values[:place]))
    return [
        *_search(values[:place], start, error),
        ChangePoint(place=start + place, p_value=p_value, ratio=ratio),
        *_search(values[place:], start + place, error),
    ]


def _rank(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean ranks, equal values sharing theirs, (values,)."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return (ends - (counts - 1) / 2)[inverse]  # (values,)


def _compute_statistics(ranks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The standardised difference of mean ranks at every split, (rows, values - 1)."""
    count = ranks.shape[1]
    before = np.arange(1, count)  # (splits,)
    sums = ranks.cumsum(axis=1)[:, :-1]  # (rows, splits)
    expected = before * (count + 1) / 2
    deviation = np.sqrt(before * (count - before) * (count + 1) / 12)
    statistics: npt.NDArray[np.float64] = np.abs(sums - expected) / deviation  # (rows, splits)
    return statistics


def find_steps(p_values: Sequence[float], error: float) -> list[ChangePoint]:
    """Which steps from one run to the next are changes, by Holm's procedure over all of them.

    Args:
        p_values: Of the test of each run against the one before it; the first is of the second run.
        error: The chance at most that any of the steps found is by chance.
    """
    changes = []
    for number, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] > error / (len(p_values) - number):
            break
        changes.append(ChangePoint(place=place + 1, p_value=p_values[place]))
    return sorted(changes, key=lambda change: change.place)
