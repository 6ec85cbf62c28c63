"""Calibration error: whether a network that says 80 % is right 80 % of the time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from assay.images.prepare import OK
from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import find_label_rank

BIN_COUNT = 15  # as Guo et al. have it
DIGITS = 9  # of what is stored: another machine's exp() may differ in the last bit
NO_SUMS = "the predictions lack log_sum_exp: an older assay wrote them; run again with --overwrite"
NOT_LOGITS = "the network's outputs look like probabilities, not logits: over 0, and at most 1 together"
NO_IMAGES = "no image was scored"


class CalibrationBin(msgspec.Struct, frozen=True, kw_only=True):
    """The images whose Top-1 has a probability over `low`, up to and with `high`; the first bin has 0 too.

    `confidence` is their mean probability, None where there is no image.
    """

    low: float
    high: float
    image_count: int
    hits: int
    confidence: float | None


class CalibrationError(msgspec.Struct, frozen=True, kw_only=True):
    """The expected calibration error, a share between 0 and 1, with its bins.

    Where it could not be computed `ece` is None, and `missing` says why.
    """

    ece: float | None
    image_count: int
    bins: tuple[CalibrationBin, ...] = ()
    missing: str = ""


@dataclass(kw_only=True)
class _Sums:
    """Confidences and hits of a bin, while they are gathered."""

    confidences: list[float] = field(default_factory=list)
    hits: int = 0


def compute_confidence(row: Prediction) -> float:
    """Return the softmax probability of the likeliest class; 1 at most, where rounding went above.

    Raises:
        ValueError: The prediction has no `log_sum_exp`, or no classes.
    """
    if row.log_sum_exp is None or not row.top_logits:
        raise ValueError(f"{row.relative_path} has no log_sum_exp")
    return min(math.exp(row.top_logits[0] - row.log_sum_exp), 1.0)


def measure_calibration_error(predictions: Iterable[Prediction], label_offset: int = 0) -> CalibrationError:
    """Return the expected calibration error over 15 bins of equal width; failed images are left out.

    The mean, weighted by images, of the distance between a bin's accuracy and its mean confidence: Guo et
    al., On Calibration of Modern Neural Networks, ICML 2017, equation 3. The predictions are gone through
    once.

    Args:
        predictions: Of the run.
        label_offset: The class of label 0.
    """
    sums = [_Sums() for _ in range(BIN_COUNT)]
    lacks_sum, are_shares = False, True
    for row in predictions:
        if row.status != OK or row.label is None:
            continue
        are_shares = are_shares and _look_like_shares(row.top_logits)
        if row.log_sum_exp is None:
            lacks_sum = True
            continue
        confidence = compute_confidence(row)
        found = sums[find_bin(confidence)]
        found.confidences.append(confidence)
        found.hits += find_label_rank(row, label_offset) == 0
    count = sum(len(one.confidences) for one in sums)
    reason = NO_SUMS if lacks_sum else NO_IMAGES if not count else NOT_LOGITS if are_shares else ""
    if reason:
        return CalibrationError(ece=None, image_count=count, missing=reason)
    ece = math.fsum(abs(one.hits - math.fsum(one.confidences)) for one in sums) / count
    return CalibrationError(
        ece=round(ece, DIGITS),
        image_count=count,
        bins=tuple(_make_bin(number, one) for number, one in enumerate(sums)),
    )


def _look_like_shares(top_logits: Sequence[float]) -> bool:
    return min(top_logits) >= 0 and sum(top_logits) <= 1.001


def find_bin(confidence: float) -> int:
    """Return the bin, 0 to 14, that a confidence of 0 to 1 falls into; a bin holds its upper end.

    >>> find_bin(0.0), find_bin(0.5), find_bin(1.0)
    (0, 7, 14)
    """
    return max(math.ceil(confidence * BIN_COUNT) - 1, 0)


def _make_bin(number: int, found: _Sums) -> CalibrationBin:
    count = len(found.confidences)
    return CalibrationBin(
        low=number / BIN_COUNT,
        high=(number + 1) / BIN_COUNT,
        image_count=count,
        hits=found.hits,
        confidence=round(math.fsum(found.confidences) / count, DIGITS) if count else None,
    )
