"""Two runs over the same images: who changed, for better and for worse, and what that proves."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from assay.images.preprocessed_image import OK
from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import find_label_rank
from assay.measure.accuracy.coverage import Coverage, Pairing
from assay.measure.accuracy.paired import PairedAccuracy, measure_paired_accuracy


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """An image whose likeliest class differs between the runs, with the logit of it in each.

    Where the image failed in one of them, that run has neither class nor logit, and `failure` says why.
    """

    relative_path: str
    label: int
    reference_class: int | None
    candidate_class: int | None
    logits: tuple[float | None, float | None]
    failure: str = ""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How the candidate's predictions compare with the reference's, over the labelled images of both.

    A failed image is a wrong one. `lost`, `won` and `changed` list the images that only the reference has
    right, that only the candidate has right, and that both have wrong in another way; an image that failed
    in both is in none of them, nor among those with the same Top-1. Logit differences are over the classes
    that both list among their five likeliest. `coverage` says which images failed or are not compared.
    """

    image_count: int
    same_top1_count: int
    coverage: Coverage = Coverage()
    paired: PairedAccuracy
    lost: tuple[Flip, ...]
    won: tuple[Flip, ...]
    changed: tuple[Flip, ...]
    max_logit_difference: float
    mean_logit_difference: float


def compare_predictions(
    reference: Iterable[Prediction], candidate: Iterable[Prediction], label_offset: int = 0
) -> Comparison:
    """How the candidate compares with the reference; each is gone through once.

    Images are matched by relative path. One that failed counts as wrong in the run that it failed in; one
    that has no label, or is in one run only, is not compared.

    Args:
        reference: Its rows are kept in memory.
        candidate: The other run.
        label_offset: The class of label 0.

    Raises:
        ValueError: No image with a label is in both, or one has another label in the other.
    """
    pairing, tally = Pairing(reference), _Tally(label_offset)
    for reference_row, candidate_row in pairing.pair(candidate):
        tally.add(reference_row, candidate_row)
    if not tally.image_count:
        raise ValueError("the two runs have no labelled image in common")
    flips, differences = tally.flips, tally.logit_differences
    lost, won = len(flips["lost"]), len(flips["won"])
    return Comparison(
        image_count=tally.image_count,
        same_top1_count=tally.same_count,
        coverage=pairing.coverage,
        paired=measure_paired_accuracy(
            tally.both_count, lost, won, tally.image_count - tally.both_count - lost - won
        ),
        lost=tuple(flips["lost"]),
        won=tuple(flips["won"]),
        changed=tuple(flips["changed"]),
        max_logit_difference=max(differences, default=0.0),
        mean_logit_difference=statistics.fmean(differences) if differences else 0.0,
    )


@dataclass
class _Tally:
    """Counts over pairs of rows of the same image."""

    label_offset: int
    image_count: int = 0
    both_count: int = 0
    same_count: int = 0
    flips: dict[str, list[Flip]] = field(default_factory=lambda: {"lost": [], "won": [], "changed": []})
    logit_differences: array[float] = field(default_factory=lambda: array("d"))  # 8 bytes each

    def add(self, reference: Prediction, candidate: Prediction) -> None:
        """Count one image."""
        self.image_count += 1
        self.logit_differences.extend(_compare_logits(reference, candidate))
        is_right = [find_label_rank(row, self.label_offset) == 0 for row in (reference, candidate)]
        self.both_count += all(is_right)
        tops = [row.top_classes[0] if row.status == OK else None for row in (reference, candidate)]
        if tops[0] != tops[1]:
            kind = "lost" if is_right[0] else "won" if is_right[1] else "changed"
            self.flips[kind].append(make_flip(reference, candidate))
        elif tops[0] is not None:
            self.same_count += 1


def _compare_logits(reference: Prediction, candidate: Prediction) -> list[float]:
    logits = dict(zip(reference.top_classes, reference.top_logits, strict=True))
    return [
        abs(logits[number] - logit)
        for number, logit in zip(candidate.top_classes, candidate.top_logits, strict=True)
        if number in logits
    ]


def make_flip(reference: Prediction, candidate: Prediction) -> Flip:
    """What two rows say of one image; -1 as its label where it has none."""
    rows = (reference, candidate)
    classes, logits = zip(
        *((row.top_classes[0], row.top_logits[0]) if row.top_classes else (None, None) for row in rows),
        strict=True,
    )
    return Flip(
        relative_path=candidate.relative_path,
        label=-1 if candidate.label is None else candidate.label,
        reference_class=classes[0],
        candidate_class=classes[1],
        logits=logits,
        failure=next((row.status for row in rows if not row.top_classes), ""),
    )
