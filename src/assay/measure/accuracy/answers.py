"""Whether two ways of running a model give each image the same answer; no labels are needed for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np

from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import Accuracy, find_label_rank
from assay.measure.accuracy.binomial_bound import compute_upper_bound
from assay.measure.accuracy.comparison import Flip, make_flip

TWO_SIDED = 0.975  # each bound of a 95 % interval


class SameAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """How many images have the same likeliest class in a reference and in a candidate.

    An image that failed in either, or in both, has not: `failed_count`. `same_top5_count` images have the
    same five likeliest classes in the same order. `interval_percent` is the exact 95 % interval of the share
    of those with the same Top-1. `lost`, `won` and `changed` list all the others: those that only the
    reference has right, that only the candidate has right, and the rest, with those without a label (-1).
    The logit difference is over all classes where both keep their logits, else over those that both list
    among their five likeliest; None where no image was answered by both.
    """

    image_count: int
    same_top1_count: int
    same_top5_count: int
    interval_percent: tuple[float, float]
    failed_count: int
    lost: tuple[Flip, ...]
    won: tuple[Flip, ...]
    changed: tuple[Flip, ...]
    max_logit_difference: float | None
    is_over_all_logits: bool

    @property
    def percent(self) -> float:
        """The share of images with the same Top-1."""
        return 100 * self.same_top1_count / self.image_count

    @property
    def differing(self) -> tuple[Flip, ...]:
        """All images that have not the same Top-1, lost ones first."""
        return (*self.lost, *self.won, *self.changed)


@dataclass(frozen=True, kw_only=True)
class BatchChoice:
    """A batch size to evaluate at; `is_best` and `is_proven` as in `BatchAccuracy`."""

    batch_size: int
    is_best: bool = False
    is_proven: bool = True


class BatchAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """The accuracy of a run at one of several batch sizes, and how its answers agree with the first one's.

    `is_best` says that the benchmark of the run found it the fastest; `is_proven` that its row was VALID.
    `full_call_count` calls held so many images; the last of each shard holds what is left.
    `same` is None for the first, which is what the others are compared with.
    """

    batch_size: int
    is_best: bool = False
    is_proven: bool = True
    full_call_count: int
    accuracy: Accuracy
    same: SameAnswers | None = None


def compare_answers(
    reference: Iterable[Prediction], candidate: Iterable[Prediction], label_offset: int = 0
) -> SameAnswers:
    """How far the candidate answers as the reference does, over the images that both have, by their paths.

    Args:
        reference: Its rows are kept in memory.
        candidate: The other way; gone through once.
        label_offset: The class of label 0.

    Raises:
        ValueError: They have no image in common.
    """
    rows = {row.relative_path: row for row in reference}
    pairs = [(rows[row.relative_path], row) for row in candidate if row.relative_path in rows]
    if not pairs:
        raise ValueError("they have no image in common")
    answered = [(one, other) for one, other in pairs if one.top_classes and other.top_classes]
    same = [(one, other) for one, other in answered if one.top_classes[0] == other.top_classes[0]]
    flips: dict[str, list[Flip]] = {"lost": [], "won": [], "changed": []}
    for one, other in pairs:
        if not (one.top_classes and other.top_classes) or one.top_classes[0] != other.top_classes[0]:
            is_lost, is_won = (find_label_rank(row, label_offset) == 0 for row in (one, other))
            flips["lost" if is_lost else "won" if is_won else "changed"].append(make_flip(one, other))
    are_kept = all(row.logits is not None for pair in answered for row in pair)
    return SameAnswers(
        image_count=len(pairs),
        same_top1_count=len(same),
        same_top5_count=sum(one.top_classes == other.top_classes for one, other in same),
        interval_percent=compute_share_interval(len(same), len(pairs)),
        failed_count=len(pairs) - len(answered),
        lost=tuple(flips["lost"]),
        won=tuple(flips["won"]),
        changed=tuple(flips["changed"]),
        max_logit_difference=max((_find_difference(*pair) for pair in answered), default=None),
        is_over_all_logits=bool(answered) and are_kept,
    )


def compute_share_interval(count: int, total: int) -> tuple[float, float]:
    """The exact 95 % interval of a share, in percent (Clopper and Pearson).

    >>> low, high = compute_share_interval(99, 100)
    >>> round(low, 2), round(high, 2)
    (94.55, 99.97)
    """
    low = 100 * (1 - compute_upper_bound(total - count, total, TWO_SIDED))
    return low, 100 * compute_upper_bound(count, total, TWO_SIDED)


def _find_difference(one: Prediction, other: Prediction) -> float:
    """The largest difference of a logit of an image."""
    if one.logits is not None and other.logits is not None:
        return float(np.abs(one.logits.astype(np.float64) - other.logits).max())
    logits = dict(zip(one.top_classes, one.top_logits, strict=True))
    pairs = zip(other.top_classes, other.top_logits, strict=True)
    return max((abs(logits[number] - logit) for number, logit in pairs if number in logits), default=0.0)
