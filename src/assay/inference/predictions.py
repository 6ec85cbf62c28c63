"""Predictions: one row for each image, ranked so that ties are always broken the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from assay.arrays import Logits
from assay.files import escape_name
from assay.images.preprocessed_image import OK, PreprocessedImage

TOP_K = 5
NON_FINITE = "logits are not finite"
NO_LABEL = "no label"
AnsweredBy = Literal["fast", "exact"]
"""Which model of a cascade answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What the network said of one image.

    Args:
        name: The image's file name.
        relative_path: Its path in the data set.
        label: Its class, or None where it has no label.
        status: `ok`, or the reason it failed.
        note: What was odd about it; mostly empty.
        top_classes: The likeliest classes, the likeliest first; empty where it failed.
        top_logits: Their logits.
        log_sum_exp: The logarithm of the sum of exp over all its logits: a logit less this is the logarithm
            of its softmax probability. None where it failed, or where an older assay wrote it.
        logit_sum: The sum of all its logits, which is 1 where they are probabilities. None likewise.
        lowest_logit: The lowest of all its logits. None likewise.
        subset_classes: The likeliest of the subset of classes that is scored besides; mostly empty.
        answered_by: Which model of a cascade answered; None without one, or where the image failed before.
        logits: All logits, float32 (classes,), where they are kept.
    """

    name: str
    relative_path: str
    label: int | None
    status: str
    note: str = ""
    top_classes: tuple[int, ...] = ()
    top_logits: tuple[float, ...] = ()
    log_sum_exp: float | None = None
    logit_sum: float | None = None
    lowest_logit: float | None = None
    subset_classes: tuple[int, ...] = ()
    answered_by: AnsweredBy | None = None
    logits: Logits | None = None


def rank_top_classes(logits: npt.NDArray[np.floating], count: int = TOP_K) -> npt.NDArray[np.int32]:
    """Rank the `count` largest logits of each row, largest first, int32 (N, count).

    Equal logits rank by class index, the lowest first. Fewer columns where there are fewer classes.

    >>> rank_top_classes(np.array([[1.0, 3.0, 3.0, 2.0]], dtype=np.float32), 3)
    array([[1, 2, 3]], dtype=int32)
    """
    if not np.isfinite(logits).all():
        order = np.argsort(-logits, axis=1, kind="stable")[:, :count]  # (N, count)
        return order.astype(np.int32)
    # A sort of 1,000 costs thirty times what five searches do; argmax finds the lowest index of equals.
    left, rows = logits.copy(), np.arange(len(logits))
    ranked = np.empty((len(logits), min(count, logits.shape[1])), dtype=np.int32)  # (N, count)
    for rank in range(ranked.shape[1]):
        ranked[:, rank] = left.argmax(axis=1)
        left[rows, ranked[:, rank]] = -np.inf
    return ranked


def rank_among(logits: Logits, classes: Sequence[int]) -> npt.NDArray[np.int32]:
    """Rank some of the classes alone, the likeliest first, as `rank_top_classes` does: int32 (N, at most 5).

    >>> rank_among(np.array([[9.0, 3.0, 3.0, 2.0]], dtype=np.float32), [1, 2, 3])
    array([[1, 2, 3]], dtype=int32)
    """
    numbers = np.asarray(classes, dtype=np.int32)  # (subset,)
    if not numbers.size:
        return np.empty((len(logits), 0), dtype=np.int32)
    ranked: npt.NDArray[np.int32] = numbers[rank_top_classes(logits[:, numbers])]  # (N, 5)
    return ranked


def compute_log_sum_exp(logits: Logits) -> float:
    """Compute log(sum(exp(logits))) of finite logits (classes,), computed in float64, rounded to float32.

    >>> round(compute_log_sum_exp(np.array([1000.0, 1000.0], dtype=np.float32)), 3)
    1000.693
    """
    exact = logits.astype(np.float64)  # (classes,)
    largest = exact.max()  # taken out, so that exp cannot overflow
    return float(np.float32(largest + np.log(np.exp(exact - largest).sum())))


def make_predictions(
    batch: Sequence[PreprocessedImage],
    logits: Logits,
    *,
    keep_logits: bool,
    subset: Sequence[int] = (),
    handed_on: npt.NDArray[np.bool_] | None = None,
) -> list[Prediction]:
    """Make a prediction for every image of the batch, in order.

    Args:
        batch: All images of the batch, those that failed to decode among them.
        logits: float32 (N, classes), one row for each image that did not fail, in order.
        keep_logits: Whether a prediction carries all its logits.
        subset: Classes among which the images are ranked besides, sorted.
        handed_on: Which rows the exact model of a cascade answered, (N,); None without a cascade.

    Raises:
        ValueError: Another number of rows.
    """
    expected = sum(preprocessed.image is not None for preprocessed in batch)
    if len(logits) != expected:
        raise ValueError(f"expected a row of logits for each of {expected} images, found {len(logits)}")
    top_classes = rank_top_classes(logits)  # (N, 5)
    top_logits = np.take_along_axis(logits, top_classes, axis=1)  # (N, 5)
    subset_classes = rank_among(logits, subset)  # (N, 5) or (N, 0)
    sums = logits.sum(axis=1, dtype=np.float64).astype(np.float32)  # (N,)
    finite: list[bool] = np.all(np.isfinite(logits), axis=1).tolist()
    answered_by = _name_answering(handed_on, len(logits))
    rows = iter(range(len(logits)))
    predictions = []
    for preprocessed in batch:
        row = next(rows) if preprocessed.image is not None else None
        if row is None or not finite[row]:
            predictions.append(_make_failure(preprocessed, None if row is None else answered_by[row]))
            continue
        predictions.append(
            Prediction(
                name=escape_name(preprocessed.source.name),
                relative_path=escape_name(preprocessed.source.relative_path),
                label=preprocessed.source.label,
                status=OK if preprocessed.source.label is not None else NO_LABEL,
                note=preprocessed.note,
                top_classes=tuple(top_classes[row].tolist()),
                top_logits=tuple(top_logits[row].tolist()),
                log_sum_exp=compute_log_sum_exp(logits[row]),
                logit_sum=float(sums[row]),
                lowest_logit=float(logits[row].min()),
                subset_classes=tuple(subset_classes[row].tolist()),
                answered_by=answered_by[row],
                logits=logits[row] if keep_logits else None,
            )
        )
    return predictions


def _name_answering(handed_on: npt.NDArray[np.bool_] | None, count: int) -> list[AnsweredBy | None]:
    """Which model answered each row."""
    if handed_on is None:
        return [None] * count
    return ["exact" if is_exact else "fast" for is_exact in handed_on.tolist()]


def _make_failure(preprocessed: PreprocessedImage, answered_by: AnsweredBy | None) -> Prediction:
    return Prediction(
        name=escape_name(preprocessed.source.name),
        relative_path=escape_name(preprocessed.source.relative_path),
        label=preprocessed.source.label,
        status=preprocessed.status if preprocessed.image is None else NON_FINITE,
        note=preprocessed.note,
        answered_by=answered_by,
    )
