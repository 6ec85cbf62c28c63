"""How sure a network is of its answer: the margin between its two likeliest classes, in logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.arrays import Logits
from assay.models.record import ScoreKind

Margins = NDArray[np.float64]


def compute_margins(scores: Logits, kind: ScoreKind) -> Margins:
    """The largest logit of each row less the second largest, float64 (N,), 0 or more; 0 for a tie.

    It is the logarithm of the ratio of their probabilities, so probabilities are taken to logarithms first,
    and those of a sigmoid to logits. Not a number where a score of the row is not finite or is no such
    probability.

    >>> compute_margins(np.array([[1.0, 4.0, 2.5]], dtype=np.float32), "logits")
    array([1.5])
    """
    finite = np.isfinite(scores).all(axis=1)  # (N,)
    with np.errstate(divide="ignore", invalid="ignore"):
        top = recover_logits(np.partition(scores, -2, axis=1)[:, -2:], kind)  # (N, 2), the largest last
        margins = top[:, 1] - top[:, 0]  # (N,)
    return np.where(finite, margins, np.nan)


def recover_logits(scores: Logits, kind: ScoreKind) -> Margins:
    """The logits of scores, but for what is added to all of a row, in float64; their shape stays."""
    values = scores.astype(np.float64)
    if kind == "logits":
        return values
    return np.asarray(np.log(values) - (np.log1p(-values) if kind == "sigmoid" else 0))
