"""Which mistakes a run made: the most confident ones, and which classes it takes for which."""

from __future__ import annotations

import collections
import heapq
import math
from collections.abc import Iterable

import msgspec

from assay.images.preprocessed_image import OK
from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import find_label_rank
from assay.measure.accuracy.outputs import OutputKind


class ConfusedPair(msgspec.Struct, frozen=True, kw_only=True):
    """How often images of one label were taken for another class, which is numbered as labels are."""

    label: int
    predicted: int
    count: int


class Mistakes(msgspec.Struct, frozen=True, kw_only=True):
    """The most confident mistakes, the most confident first, and the most frequent confusions."""

    confident: tuple[Prediction, ...]
    confused: tuple[ConfusedPair, ...]


def find_mistakes(
    predictions: Iterable[Prediction],
    label_offset: int = 0,
    *,
    outputs: OutputKind = "logits",
    count: int = 30,
    pair_count: int = 20,
) -> Mistakes:
    """List the mistakes of a run, whose predictions are gone through once.

    Args:
        predictions: Of the run.
        label_offset: The class of label 0.
        outputs: What the network's outputs are.
        count: How many confident mistakes.
        pair_count: How many confusions.
    """
    pairs: collections.Counter[tuple[int, int]] = collections.Counter()

    def list_wrong() -> Iterable[Prediction]:
        for row in predictions:
            if row.status == OK and row.label is not None and find_label_rank(row, label_offset) != 0:
                pairs[row.label, row.top_classes[0] - label_offset] += 1
                yield row

    confident = heapq.nlargest(
        count, list_wrong(), key=lambda row: (compute_margin(row, outputs), row.relative_path)
    )
    return Mistakes(
        confident=tuple(confident),
        confused=tuple(
            ConfusedPair(label=label, predicted=predicted, count=times)
            for (label, predicted), times in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[
                :pair_count
            ]
        ),
    )


def compute_margin(row: Prediction, outputs: OutputKind = "logits") -> float:
    """Compute by how much the likeliest class is above the second; 0 where there is but one.

    The difference of two logits, which is the logarithm of how many times as likely the network holds the
    first; of probabilities this logarithm, infinite where the second is 0; of scores their difference.
    """
    if len(row.top_logits) < 2:
        return 0.0
    first, second = row.top_logits[:2]
    if outputs == "probabilities":
        return math.log(first / second) if second > 0 else math.inf
    return first - second
