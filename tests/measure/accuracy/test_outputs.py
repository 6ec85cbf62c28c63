"""What a network's outputs are, judged by all images, and the probability that they give a class."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import scipy.special

from assay.inference.predictions import Prediction, compute_log_sum_exp, rank_top_classes
from assay.measure.accuracy.mistakes import compute_margin
from assay.measure.accuracy.outputs import compute_probability, recognise_outputs, reconcile_outputs
from assay.models.record import ScoreKind


def predict(*rows: list[float]) -> list[Prediction]:
    outputs = np.array(rows, dtype=np.float32)
    return [
        Prediction(
            name=f"{number}",
            relative_path=f"{number}",
            label=0,
            status="ok",
            top_classes=tuple(top.tolist()),
            top_logits=tuple(row[top].tolist()),
            log_sum_exp=compute_log_sum_exp(row),
            logit_sum=float(row.sum()),
            lowest_logit=float(row.min()),
        )
        for number, (row, top) in enumerate(zip(outputs, rank_top_classes(outputs), strict=True))
    ]


SHARES, SIGMOID, LOGITS = [0.7, 0.2, 0.1, 0.0], [0.9, 0.8, 0.1, 0.0], [3.0, -1.0, 0.5, 2.0]


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([SHARES, [0.25] * 4], "probabilities"),
        ([SHARES, [0.71, 0.2, 0.1, 0.0]], "probabilities"),
        ([SHARES, SIGMOID], "scores"),
        ([SIGMOID, SIGMOID], "scores"),
        ([[0.1, 0.05, 0.02, 0.0]], "scores"),
        ([SHARES, SHARES, LOGITS], "logits"),
        ([[0.7, 0.6, -0.3, 0.0]], "logits"),
        ([[1.5, -0.5, 0.0, 0.0]], "logits"),
        ([np.log([0.7, 0.1, 0.1, 0.1]).tolist()], "logits"),
    ],
)
def test_outputs_are_probabilities_only_where_those_of_every_image_are(
    rows: list[list[float]], kind: str
) -> None:
    assert recognise_outputs(predict(*rows)) == kind


@pytest.mark.parametrize(
    ("rows", "stated", "taken"),
    [
        ([SHARES], "logits", "probabilities"),
        ([SHARES], "probabilities", "probabilities"),
        ([SIGMOID], "probabilities", "scores"),
        ([LOGITS], "probabilities", "scores"),
        ([SHARES], "sigmoid", "scores"),
        ([LOGITS], "sigmoid", "scores"),
    ],
)
def test_outputs_are_taken_for_what_the_record_says_unless_they_contradict_it(
    rows: list[list[float]], stated: ScoreKind, taken: str
) -> None:
    """A record that does not say it says logits: there the outputs decide."""
    assert reconcile_outputs(recognise_outputs(predict(*rows)), stated) == taken


def test_images_without_a_label_decide_what_the_outputs_are() -> None:
    unlabelled = [dataclasses.replace(row, label=None, status="no label") for row in predict(SHARES, LOGITS)]
    assert recognise_outputs(unlabelled) == "logits"
    assert recognise_outputs(unlabelled[:1]) == "probabilities"
    assert recognise_outputs([]) == "logits"


def test_failed_images_do_not_decide_what_the_outputs_are() -> None:
    failed = Prediction(name="x", relative_path="x", label=0, status="not decodable")
    assert recognise_outputs([*predict(SHARES), failed]) == "probabilities"


def test_the_probability_is_the_output_or_the_softmax_or_unknown() -> None:
    (shares, logits) = predict(SHARES, LOGITS)
    assert [compute_probability(shares, "probabilities", rank) for rank in range(4)] == pytest.approx(SHARES)
    expected = sorted(scipy.special.softmax(LOGITS), reverse=True)
    assert [compute_probability(logits, "logits", rank) for rank in range(4)] == pytest.approx(expected)
    assert compute_probability(shares, "scores") is None


def test_the_log_softmax_gives_the_same_probabilities_as_the_logits() -> None:
    (logits, logs) = predict(LOGITS, scipy.special.log_softmax(LOGITS).tolist())
    assert compute_probability(logs, "logits") == pytest.approx(compute_probability(logits, "logits"))


def test_the_margin_of_probabilities_is_that_of_the_logits_they_were_made_of() -> None:
    (logits, shares) = predict(LOGITS, scipy.special.softmax(LOGITS).tolist())
    assert compute_margin(shares, "probabilities") == pytest.approx(compute_margin(logits), rel=1e-5)
    (certain,) = predict([1.0, 0.0, 0.0, 0.0])
    assert compute_margin(certain, "probabilities") == math.inf
