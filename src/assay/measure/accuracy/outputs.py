"""What a network's outputs are: logits, probabilities of its own, or scores that are neither for sure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from assay.inference.predictions import Prediction
from assay.models.record import ScoreKind

OutputKind = Literal["logits", "probabilities", "scores"]
"""Scores lie between 0 and 1 as probabilities do, but do not sum to 1: a sigmoid's, or small logits."""

SUM_TOLERANCE = 0.02  # of the sum of 1000 probabilities that were rounded to float16 or to 8 bits
RANGE_TOLERANCE = 1e-3


class OutputKindSearch:
    """Finds what a network's outputs are from one prediction after the other; every image counts."""

    def __init__(self) -> None:
        self._count = 0
        self.are_scores = True
        self.are_probabilities = True

    def add(self, row: Prediction) -> None:
        """Take a prediction of an image that did not fail into account."""
        self._count += 1
        if row.logit_sum is None or row.lowest_logit is None:  # an older assay wrote it: the top five tell
            self.are_probabilities = False
            self.are_scores = self.are_scores and _look_like_shares(row.top_logits)
            return
        is_in_range = row.lowest_logit >= -RANGE_TOLERANCE and row.top_logits[0] <= 1 + RANGE_TOLERANCE
        self.are_scores = self.are_scores and is_in_range
        self.are_probabilities = self.are_probabilities and abs(row.logit_sum - 1) <= SUM_TOLERANCE

    @property
    def kind(self) -> OutputKind:
        """What the outputs are, judged by all images so far; logits where there was none."""
        if not self.are_scores or not self._count:
            return "logits"
        return "probabilities" if self.are_probabilities else "scores"


def reconcile_outputs(found: OutputKind, stated: ScoreKind) -> OutputKind:
    """What outputs are taken for, given what those of every image look like and what the record says.

    A record that says logits may say it by default, so the outputs decide. What it says otherwise holds, and
    where the outputs contradict it they are scores of which nothing is known.
    """
    if stated == "logits":
        return found
    return found if found == stated == "probabilities" else "scores"


def recognise_outputs(predictions: Iterable[Prediction]) -> OutputKind:
    """Find what the outputs of a run are: probabilities where those of every image are.

    One image whose logits happen to look like probabilities decides nothing.

    Args:
        predictions: Of the run; failed images are passed over, those without a label are not.
    """
    search = OutputKindSearch()
    for row in predictions:
        if row.top_classes:
            search.add(row)
    return search.kind


def compute_probability(row: Prediction, outputs: OutputKind, rank: int = 0) -> float | None:
    """Compute the probability, 0 to 1, that the network gives the class of a rank, 0 for the likeliest.

    The softmax of logits, or the output itself where it is a probability. None where neither holds, or
    where an older assay did not store what the softmax needs.
    """
    if outputs == "probabilities":
        return min(max(row.top_logits[rank], 0.0), 1.0)
    if outputs == "scores" or row.log_sum_exp is None:
        return None
    return min(math.exp(row.top_logits[rank] - row.log_sum_exp), 1.0)


def _look_like_shares(top_logits: Sequence[float]) -> bool:
    return min(top_logits) >= 0 and sum(top_logits) <= 1.001
