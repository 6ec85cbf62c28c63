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
from assay.measure.accuracy.outputs import OutputKind, OutputKindSearch, reconcile_outputs
from assay.models.record import ScoreKind


class ConfusedPair(msgspec.Struct, frozen=True, kw_only=True):
    """How often images of one label were taken for another class, which is numbered as labels are."""

    label: int
    predicted: int
    count: int


class Mistakes(msgspec.Struct, frozen=True, kw_only=True):
    """The most confident mistakes, the most confident first, and the most frequent confusions.

    `outputs` is what the network's outputs are taken for.
    """

    confident: tuple[Prediction, ...]
    confused: tuple[ConfusedPair, ...]
    outputs: OutputKind


class _Surest:
    """The mistakes with the largest margins, so many at most, where the outputs are of a kind."""

    def __init__(self, count: int, outputs: OutputKind) -> None:
        self._count = count
        self._outputs = outputs
        # by margin and path; the number decides before rows are compared
        self._heap: list[tuple[float, str, int, Prediction]] = []

    def add(self, row: Prediction, number: int) -> None:
        entry = (compute_margin(row, self._outputs), row.relative_path, -number, row)
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    @property
    def rows(self) -> tuple[Prediction, ...]:
        return tuple(row for *_, row in sorted(self._heap, reverse=True))


def find_mistakes(
    predictions: Iterable[Prediction],
    label_offset: int = 0,
    *,
    stated: ScoreKind = "logits",
    count: int = 30,
    pair_count: int = 20,
) -> Mistakes:
    """List the mistakes of a run, whose predictions are gone through once.

    Args:
        predictions: Of the run.
        label_offset: The class of label 0.
        stated: What the model record says that the outputs are; see `reconcile_outputs`.
        count: How many confident mistakes.
        pair_count: How many confusions.
    """
    pairs: collections.Counter[tuple[int, int]] = collections.Counter()
    search, by_logits, by_ratio = (
        OutputKindSearch(),
        _Surest(count, "logits"),
        _Surest(count, "probabilities"),
    )
    for number, row in enumerate(predictions):
        if not row.top_classes:
            continue
        search.add(row)
        if row.status != OK or row.label is None or find_label_rank(row, label_offset) == 0:
            continue
        pairs[row.label, row.top_classes[0] - label_offset] += 1
        by_logits.add(row, number)
        if search.are_probabilities:
            by_ratio.add(row, number)
    outputs = reconcile_outputs(search.kind, stated)
    frequent = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:pair_count]
    return Mistakes(
        confident=by_ratio.rows if outputs == "probabilities" else by_logits.rows,
        confused=tuple(
            ConfusedPair(label=label, predicted=predicted, count=times)
            for (label, predicted), times in frequent
        ),
        outputs=outputs,
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
