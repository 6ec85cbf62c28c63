"""Calibration error: whether a network that says 80 % is right 80 % of the time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
_SMALLEST_BITS = 1074  # every float is a multiple of 2 ** -1074
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
    """Confidences and hits of a bin; the confidences' sum is exact, in units of the smallest float."""

    image_count: int = 0
    hits: int = 0
    units: int = 0

    def add(self, confidence: float, *, is_hit: bool) -> None:
        numerator, denominator = confidence.as_integer_ratio()
        self.units += numerator << (_SMALLEST_BITS - denominator.bit_length() + 1)
        self.image_count += 1
        self.hits += is_hit

    @property
    def confidence(self) -> float:
        """The sum of the confidences, rounded once, as `math.fsum` gives it of all of them."""
        return self.units / (1 << _SMALLEST_BITS)


class CalibrationCount:
    """Gathers confidences, one prediction after the other, as each kind of outputs would give them.

    Args:
        label_offset: The class of label 0.
    """

    def __init__(self, label_offset: int = 0) -> None:
        self._label_offset = label_offset
        self._bins: dict[OutputKind, list[_Sums]] = {
            kind: [_Sums() for _ in range(BIN_COUNT)] for kind in ("logits", "probabilities")
        }
        self._search = OutputKindSearch()
        self._count = 0
        self._lacks_log_sum = self._lacks_sum = False

    def add(self, row: Prediction) -> None:
        """Count an image; one that failed or has no label is passed over."""
        if row.status != OK or row.label is None:
            return
        self._search.add(row)
        self._count += 1
        self._lacks_log_sum = self._lacks_log_sum or row.log_sum_exp is None
        self._lacks_sum = self._lacks_sum or row.logit_sum is None
        is_hit = find_label_rank(row, self._label_offset) == 0
        for kind, sums in self._bins.items():
            if kind == "probabilities" and not self._search.are_probabilities:
                continue  # one image that has none is enough
            confidence = compute_probability(row, kind)
            if confidence is not None:
                sums[find_bin(confidence)].add(confidence, is_hit=is_hit)

    def to_error(self, stated: ScoreKind = "logits") -> CalibrationError:
        """The calibration error over all images that were counted.

        Args:
            stated: What the model record says that the outputs are; see `reconcile_outputs`.
        """
        count = self._count
        if not count or self._lacks_log_sum:
            reason = NO_SUMS if self._lacks_log_sum else NO_IMAGES
            known_count = sum(one.image_count for one in self._bins["logits"])
            return CalibrationError(ece=None, image_count=known_count, missing=reason)
        kind = reconcile_outputs(self._search.kind, stated)
        if kind == "scores":
            return CalibrationError(
                ece=None,
                image_count=count,
                missing=NOT_LOGITS if self._lacks_sum else _explain_missing(self._search, stated),
                outputs="" if self._lacks_sum else "scores",
            )
        return _summarise(self._bins[kind], count, "" if self._lacks_sum else kind)


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
    count = CalibrationCount(label_offset)
    for row in predictions:
        count.add(row)
    return count.to_error(stated)


def _explain_missing(search: OutputKindSearch, stated: ScoreKind) -> str:
    """Why scores of this kind have no calibration error."""
    if stated == "logits":
        return NO_PROBABILITIES
    is_as_stated = stated == "sigmoid" and search.are_scores
    return NO_CONFIDENCE if is_as_stated else NOT_AS_STATED.format(stated=stated)


def _summarise(
    sums: Sequence[_Sums], count: int, outputs: Literal["", "logits", "probabilities", "scores"]
) -> CalibrationError:
    ece = math.fsum(abs(one.hits - one.confidence) for one in sums) / count
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
    count = found.image_count
    return CalibrationBin(
        low=number / BIN_COUNT,
        high=(number + 1) / BIN_COUNT,
        image_count=count,
        hits=found.hits,
        confidence=round(found.confidence / count, DIGITS) if count else None,
    )
