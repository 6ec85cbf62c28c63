"""Agreement: whether two sets of predictions say the same of the same images."""

from __future__ import annotations

import collections
from collections.abc import Iterable

import msgspec

from assay.images.batches import OK
from assay.inference.predictions import Prediction
from assay.measure.accuracy import find_label_rank
from assay.measure.paired import PairedAccuracy, measure_paired_accuracy

LISTED_DIFFERENCES = 20


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How many images have the same likeliest class in two runs; the first differing ones by path.

    `paired` compares which of the two is right where.
    """

    reference: str
    image_count: int
    same_top1_count: int
    max_logit_difference: float
    differing_images: tuple[str, ...]
    paired: PairedAccuracy


def measure_agreement(
    reference_name: str,
    reference: Iterable[Prediction],
    candidate: Iterable[Prediction],
    label_offset: int = 0,
) -> Agreement:
    """Return how far `candidate` says what `reference` says, over the images that both could score.

    Images are matched by relative path; each set is gone through once. `max_logit_difference` is over the
    largest logits of the images.

    Raises:
        ValueError: The two have no scored image in common.
    """
    by_path = {
        row.relative_path: (row.top_classes[0], row.top_logits[0], find_label_rank(row, label_offset) == 0)
        for row in reference
        if row.status == OK
    }
    counts: collections.Counter[tuple[bool, bool]] = collections.Counter()
    differing: list[str] = []
    same_count = 0
    largest = 0.0
    for row in candidate:
        its = by_path.get(row.relative_path)
        if row.status != OK or its is None:
            continue
        top_class, top_logit, is_right = its
        largest = max(largest, abs(top_logit - row.top_logits[0]))
        counts[is_right, find_label_rank(row, label_offset) == 0] += 1
        if top_class == row.top_classes[0]:
            same_count += 1
        elif len(differing) < LISTED_DIFFERENCES:
            differing.append(row.relative_path)
    if not counts:
        raise ValueError("the two sets of predictions have no scored image in common")
    return Agreement(
        reference=reference_name,
        image_count=counts.total(),
        same_top1_count=same_count,
        max_logit_difference=largest,
        differing_images=tuple(differing),
        paired=measure_paired_accuracy(
            both=counts[True, True],
            lost=counts[True, False],
            won=counts[False, True],
            neither=counts[False, False],
        ),
    )
