"""Agreement: whether two sets of predictions say the same of the same images."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from assay.inference.predictions import Prediction
from assay.measure.accuracy.comparison import compare_predictions
from assay.measure.accuracy.coverage import Coverage
from assay.measure.accuracy.paired import PairedAccuracy

LISTED_DIFFERENCES = 20


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How many images have the same likeliest class in two runs; the first differing ones, lost ones first.

    `paired` compares which of the two is right where; a failed image is a wrong one. `coverage` says which
    images failed or are not compared.
    """

    reference: str
    image_count: int
    same_top1_count: int
    max_logit_difference: float
    differing_images: tuple[str, ...]
    paired: PairedAccuracy
    coverage: Coverage = Coverage()


def measure_agreement(
    reference_name: str,
    reference: Iterable[Prediction],
    candidate: Iterable[Prediction],
    label_offset: int = 0,
) -> Agreement:
    """How far `candidate` says what `reference` says, over the labelled images of both.

    Raises:
        ValueError: As `compare_predictions`.
    """
    found = compare_predictions(reference, candidate, label_offset)
    flips = (*found.lost, *found.won, *found.changed)
    return Agreement(
        reference=reference_name,
        image_count=found.image_count,
        same_top1_count=found.same_top1_count,
        max_logit_difference=found.max_logit_difference,
        differing_images=tuple(flip.relative_path for flip in flips[:LISTED_DIFFERENCES]),
        paired=found.paired,
        coverage=found.coverage,
    )
