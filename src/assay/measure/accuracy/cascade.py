"""Which threshold a cascade needs, and what it leaves: from what both models say of the same images."""

from __future__ import annotations

import collections
import itertools
import math
import statistics
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from assay.engines.cascade.margins import compute_margins, recover_logits
from assay.engines.cascade.record import CascadeCount
from assay.images.preprocessed_image import OK
from assay.inference.predictions import NO_LABEL, AnsweredBy, Prediction
from assay.measure.accuracy.accuracy import TopKAccuracy, measure_accuracy
from assay.measure.accuracy.binomial_bound import compute_upper_bound
from assay.models.record import ScoreKind

NEAR = 4  # changes: above such a margin hardly any answer changes
CALIBRATED_CHANGE = 1.15  # of other images to those calibrated on: EfficientNet-Lite0, 50 and 50 photographs


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedAnswer:
    """What both models say of one image.

    Args:
        relative_path: The image.
        margin: Of the fast model's two largest logits; not a number where it gave none.
        change: By how much the differences between the likeliest classes' logits are other in the two models,
            on average, 0 or more; not a number where one of the two gave no answer.
        is_same: Whether both name the same class.
        is_failed: Whether the exact model gave no answer: with a cascade the image fails, or is not the same.
    """

    relative_path: str
    margin: float
    change: float
    is_same: bool
    is_failed: bool


def pair_answers(
    fast: Iterable[Prediction], exact: Iterable[Prediction], kind: ScoreKind
) -> Iterator[PairedAnswer]:
    """What both models say of each image, in order.

    Args:
        fast: The fast model's predictions of some images.
        exact: The exact model's of the same.
        kind: What the scores are taken for.

    Raises:
        ValueError: They are not of the same images.
    """
    for one, other in zip(fast, exact, strict=True):
        if one.relative_path != other.relative_path:
            raise ValueError(f"expected the same image, found {one.relative_path} and {other.relative_path}")
        has_fast, has_exact = _is_answered(one), _is_answered(other)
        yield PairedAnswer(
            relative_path=one.relative_path,
            margin=_compute_margin(one.top_logits[:2], kind) if has_fast else math.nan,
            change=_compute_change(one, other, kind) if has_fast and has_exact else math.nan,
            is_same=has_fast and has_exact and one.top_classes[0] == other.top_classes[0],
            is_failed=not has_exact,
        )


def _is_answered(row: Prediction) -> bool:
    return row.status in (OK, NO_LABEL) and bool(row.top_classes)


def _compute_margin(pair: Sequence[float], kind: ScoreKind) -> float:
    return float(compute_margins(np.array([pair], dtype=np.float32), kind)[0])


def _compute_change(fast: Prediction, exact: Prediction, kind: ScoreKind) -> float:
    """The mean over all pairs of classes that both have among their five likeliest; nan where none."""
    found = dict(zip(exact.top_classes, exact.top_logits, strict=True))
    both = [
        (logit, found[number])
        for number, logit in zip(fast.top_classes, fast.top_logits, strict=True)
        if number in found
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        logits = recover_logits(np.array(both, dtype=np.float32).reshape(-1, 2), kind)  # (classes, 2)
        moved = (logits[:, 0] - logits[:, 1]).tolist()
    pairs = [abs(one - other) for one, other in itertools.combinations(moved, 2)]
    return statistics.fmean(pairs) if pairs else math.nan


def count_cascade(answers: Sequence[PairedAnswer], threshold: float) -> CascadeCount:
    """What a threshold leaves of these images, and hands on; a failed image is a different one."""
    failed = sum(answer.is_failed for answer in answers)
    kept = [answer for answer in answers if answer.margin > threshold]
    different = failed + sum(not answer.is_same and not answer.is_failed for answer in kept)
    upper = compute_upper_bound(different, len(answers)) if answers else None
    return CascadeCount(
        image_count=len(answers),
        failed_count=failed,
        fast_different_count=sum(not answer.is_same for answer in answers),
        different_count=different,
        handed_on_count=len(answers) - len(kept),
        upper_percent=None if upper is None else 100 * upper,
    )


def choose_by_noise(
    answers: Sequence[PairedAnswer], max_share: float, calibrated: Collection[str] = ()
) -> float:
    """The threshold that a model of the changes asks for, so that few images are enough to choose one.

    The margin of an image changes by as much as other differences between its likeliest classes do, either
    way, with a tail that falls off exponentially (EfficientNet-Lite0 in int8: kurtosis 4 to 7, against 6);
    small margins are as frequent as each other. Then images with a margin above t have other answers at a
    rate of density * change / 2 * exp(-t / change).

    Args:
        answers: The images to choose on.
        max_share: Different answers to be left at most, as a share of all images, 0 to 1.
        calibrated: Relative paths of those that the fast model was calibrated on.
    """
    changes = [
        answer.change * (CALIBRATED_CHANGE if answer.relative_path in calibrated else 1)
        for answer in answers
        if math.isfinite(answer.change)
    ]
    change = statistics.fmean(changes) if changes else 0.0
    if change == 0:
        return 0.0
    near = NEAR * change
    density = max(1, sum(answer.margin <= near for answer in answers)) / len(answers) / near
    return max(0.0, change * math.log(density * change / 2 / max_share))


def choose_by_count(answers: Sequence[PairedAnswer], max_share: float) -> float:
    """The lowest threshold of which the images prove that no larger share is left.

    Where none can, the lowest that leaves no different answer that was seen. Going down from "hand on
    everything", the different answers left can only become more, and their bound with them: the thresholds
    are a fixed sequence, and the last that passes before the first that fails needs no correction for their
    number (Maurer, Hothorn and Lehmacher 1995).

    Args:
        answers: The images to choose on.
        max_share: Different answers to be left at most, as a share of all images, 0 to 1.
    """
    failed = sum(answer.is_failed for answer in answers)
    wrong = sorted(
        (
            answer.margin
            for answer in answers
            if not (answer.is_same or answer.is_failed or math.isnan(answer.margin))
        ),
        reverse=True,
    )
    allowed = 0  # different answers that may be left besides failed images
    while allowed < len(wrong) and _proves(failed + allowed + 1, len(answers), max_share):
        allowed += 1
    return wrong[allowed] if allowed < len(wrong) else 0.0


def _proves(count: int, image_count: int, max_share: float) -> bool:
    return compute_upper_bound(count, image_count) <= max_share


class CascadePart(msgspec.Struct, frozen=True, kw_only=True):
    """How accurate one of a cascade's models is alone, or the cascade, over the images of a run.

    `same_top1_count` images have the exact model's Top-1; one that failed in either has not.
    """

    role: Literal["fast", "exact", "cascade"]
    name: str
    image_count: int
    top1: TopKAccuracy
    top5: TopKAccuracy
    same_top1_count: int


def measure_part(
    role: Literal["fast", "exact", "cascade"],
    name: str,
    rows: Iterable[Prediction],
    exact: Iterable[Prediction],
    label_offset: int,
) -> CascadePart:
    """How accurate the predictions of one part of a cascade are, and how many are the exact model's.

    Args:
        role: Which part.
        name: What it is called.
        rows: Its predictions.
        exact: The exact model's, of the same images in the same order.
        label_offset: The class of label 0.
    """
    accuracy = measure_accuracy(rows, label_offset)
    pairs = zip(rows, exact, strict=True)
    same = sum(_is_answered(one) and one.top_classes[:1] == other.top_classes[:1] for one, other in pairs)
    return CascadePart(
        role=role,
        name=name,
        image_count=accuracy.image_count,
        top1=accuracy.top1,
        top5=accuracy.top5,
        same_top1_count=same,
    )


def count_answers(rows: Iterable[Prediction]) -> dict[AnsweredBy, int]:
    """How many images each model of a cascade answered; those that failed before are in neither count."""
    counts: collections.Counter[AnsweredBy | None] = collections.Counter(row.answered_by for row in rows)
    return {"fast": counts["fast"], "exact": counts["exact"]}
