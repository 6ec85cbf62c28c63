"""Calibration error: whether a network that says 80 % is right 80 % of the time."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from assay.images.preprocessed_image import OK
from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import find_label_rank
from assay.measure.accuracy.outputs import (
    OutputKind,
    OutputKindSearch,
    compute_probability,
    reconcile_outputs,
)
from assay.models.record import ScoreKind

BIN_COUNT = 15  # as Guo et al. have it
DIGITS = 9  # of what is stored: another machine's exp() may differ in the last bit
NO_SUMS = "the predictions lack log_sum_exp: an older assay wrote them; run again with --overwrite"
NOT_LOGITS = "the network's outputs look like probabilities, not logits: over 0, and at most 1 together"
NO_PROBABILITIES = (
    "the network's outputs lie between 0 and 1 but do not sum to 1: the scores of a sigmoid, or small logits"
)
NOT_AS_STATED = (
    "the model record says output.scores = {stated!r}, but the network's outputs are not: set it to what "
    "they are"
)
NO_CONFIDENCE = "a sigmoid scores each class by itself: its outputs are no shares of one another"
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

    Where it could not be computed `ece` is None, and `missing` says why. `outputs` says what the network's
    outputs are: of logits the softmax is the confidence, probabilities are it themselves. Empty where an
    older assay wrote the predictions.
    """

    ece: float | None
    image_count: int
    bins: tuple[CalibrationBin, ...] = ()
    missing: str = ""
    outputs: Literal["", "logits", "probabilities", "scores"] = ""


@dataclass(kw_only=True)
class _Sums:
    """Confidences and hits of a bin, while they are gathered."""

    confidences: array[float] = field(default_factory=lambda: array("d"))  # 8 bytes an image
    hits: int = 0


def measure_calibration_error(
    predictions: Iterable[Prediction], label_offset: int = 0, stated: ScoreKind = "logits"
) -> CalibrationError:
    """Measure the expected calibration error over 15 bins of equal width; failed images are left out.

    The mean, weighted by images, of the distance between a bin's accuracy and its mean confidence: Guo et
    al., On Calibration of Modern Neural Networks, ICML 2017, equation 3. The predictions are gone through
    once, with the confidences that each kind of outputs would give.

    Args:
        predictions: Of the run.
        label_offset: The class of label 0.
        stated: What the model record says that the outputs are; see `reconcile_outputs`.
    """
    bins: dict[OutputKind, list[_Sums]] = {
        kind: [_Sums() for _ in range(BIN_COUNT)] for kind in ("logits", "probabilities")
    }
    search = OutputKindSearch()
    count, lacks_log_sum, lacks_sum = 0, False, False
    for row in predictions:
        if row.status != OK or row.label is None:
            continue
        search.add(row)
        count += 1
        lacks_log_sum = lacks_log_sum or row.log_sum_exp is None
        lacks_sum = lacks_sum or row.logit_sum is None
        _add_to_bins(bins, row, label_offset)
    if not count or lacks_log_sum:
        reason = NO_SUMS if lacks_log_sum else NO_IMAGES
        return CalibrationError(ece=None, image_count=_count(bins["logits"]), missing=reason)
    kind = reconcile_outputs(search.kind, stated)
    if kind == "scores":
        return CalibrationError(
            ece=None,
            image_count=count,
            missing=NOT_LOGITS if lacks_sum else _explain_missing(search, stated),
            outputs="" if lacks_sum else "scores",
        )
    return _summarise(bins[kind], count, "" if lacks_sum else kind)


def _explain_missing(search: OutputKindSearch, stated: ScoreKind) -> str:
    """Why scores of this kind have no calibration error."""
    if stated == "logits":
        return NO_PROBABILITIES
    is_as_stated = stated == "sigmoid" and search.are_scores
    return NO_CONFIDENCE if is_as_stated else NOT_AS_STATED.format(stated=stated)


def _add_to_bins(bins: dict[OutputKind, list[_Sums]], row: Prediction, label_offset: int) -> None:
    """Count the image in the bin of its confidence, once for each kind of outputs."""
    is_hit = find_label_rank(row, label_offset) == 0
    for kind, sums in bins.items():
        confidence = compute_probability(row, kind)
        if confidence is not None:
            found = sums[find_bin(confidence)]
            found.confidences.append(confidence)
            found.hits += is_hit


def _count(sums: Sequence[_Sums]) -> int:
    return sum(len(one.confidences) for one in sums)


def _summarise(
    sums: Sequence[_Sums], count: int, outputs: Literal["", "logits", "probabilities", "scores"]
) -> CalibrationError:
    ece = math.fsum(abs(one.hits - math.fsum(one.confidences)) for one in sums) / count
    return CalibrationError(
        ece=round(ece, DIGITS),
        image_count=count,
        bins=tuple(_make_bin(number, one) for number, one in enumerate(sums)),
        outputs=outputs,
    )


def find_bin(confidence: float) -> int:
    """Find the bin, 0 to 14, that a confidence of 0 to 1 falls into; a bin holds its upper end.

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
