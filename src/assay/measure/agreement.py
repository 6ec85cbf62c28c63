"""Agreement: whether two sets of predictions say the same of the same images."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from assay.images.batches import OK
from assay.inference.predictions import Prediction

LISTED_DIFFERENCES = 20


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How many images have the same likeliest class in two runs; the first differing ones by path."""

    reference: str
    image_count: int
    same_top1_count: int
    max_logit_difference: float
    differing_images: tuple[str, ...]


def measure_agreement(
    reference_name: str, reference: Iterable[Prediction], candidate: Iterable[Prediction]
) -> Agreement:
    """Return how far `candidate` says what `reference` says, over the images that both could score.

    Images are matched by relative path. `max_logit_difference` is over the largest logits of the images.

    Raises:
        ValueError: The two have no scored image in common.
    """
    by_path = {row.relative_path: row for row in reference if row.status == OK}
    pairs = [
        (by_path[row.relative_path], row)
        for row in candidate
        if row.status == OK and row.relative_path in by_path
    ]
    if not pairs:
        raise ValueError("the two sets of predictions have no scored image in common")
    differing = [mine.relative_path for its, mine in pairs if its.top_classes[0] != mine.top_classes[0]]
    return Agreement(
        reference=reference_name,
        image_count=len(pairs),
        same_top1_count=len(pairs) - len(differing),
        max_logit_difference=max(abs(its.top_logits[0] - mine.top_logits[0]) for its, mine in pairs),
        differing_images=tuple(differing[:LISTED_DIFFERENCES]),
    )
