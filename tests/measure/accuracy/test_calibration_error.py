from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
import scipy.special
import scipy.stats

from assay.inference.predictions import Prediction, compute_log_sum_exp, rank_top_classes
from assay.measure.accuracy.calibration_error import (
    NO_IMAGES,
    NO_PROBABILITIES,
    NO_SUMS,
    NOT_LOGITS,
    CalibrationError,
    measure_calibration_error,
)
from assay.models.record import ScoreKind
from assay.report.sentences import describe_calibration

OFFSET = 1


@pytest.fixture(scope="module")
def logits() -> npt.NDArray[np.float32]:
    """2,000 images of 12 classes, the first of which is a background class; some overflow a float32 exp."""
    generator = np.random.default_rng(5)
    drawn = generator.normal(0, 3, (2000, 12))  # (2000, 12)
    drawn[::7] += 90
    return drawn.astype(np.float32)


@pytest.fixture(scope="module")
def labels() -> npt.NDArray[np.int64]:
    return np.random.default_rng(6).integers(0, 11, 2000)


def predict(outputs: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> list[Prediction]:
    return [
        Prediction(
            name=f"{number}",
            relative_path=f"{number}",
            label=int(label),
            status="ok",
            top_classes=tuple(top.tolist()),
            top_logits=tuple(row[top].tolist()),
            log_sum_exp=compute_log_sum_exp(row),
            logit_sum=float(row.sum()),
            lowest_logit=float(row.min()),
        )
        for number, (row, label, top) in enumerate(
            zip(outputs, labels, rank_top_classes(outputs), strict=True)
        )
    ]


@pytest.fixture(scope="module")
def predictions(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> list[Prediction]:
    return predict(logits, labels)


def round_bins(found: CalibrationError) -> list[tuple[int, int, float]]:
    return [(one.image_count, one.hits, round(one.confidence or 0, 4)) for one in found.bins]


def test_the_error_is_what_scipy_and_numpy_give(
    predictions: list[Prediction], logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> None:
    shares = scipy.special.softmax(logits.astype(np.float64), axis=1)
    confidence = shares.max(axis=1)
    right = shares.argmax(axis=1) == labels + OFFSET
    edges = np.linspace(0, 1, 16)
    counts, means, accuracies = (
        scipy.stats.binned_statistic(confidence, values, statistic, bins=edges).statistic
        for values, statistic in ((confidence, "count"), (confidence, "mean"), (right, "mean"))
    )
    expected = np.nansum(counts / counts.sum() * np.abs(accuracies - means))

    found = measure_calibration_error(predictions, OFFSET)
    assert found.ece == pytest.approx(expected, abs=1e-5)
    assert found.image_count == 2000
    assert [one.image_count for one in found.bins] == counts.tolist()
    for one, mean, accuracy in zip(found.bins, means, accuracies, strict=True):
        if one.image_count:
            assert one.confidence == pytest.approx(mean, abs=1e-4)
            assert one.hits / one.image_count == pytest.approx(accuracy)
        else:
            assert one.confidence is None


def test_a_network_that_is_sure_and_wrong_has_an_error_of_one(predictions: list[Prediction]) -> None:
    sure = [
        dataclasses.replace(row, top_classes=(1, 2), top_logits=(50.0, 1.0), log_sum_exp=50.0, label=9)
        for row in predictions[:10]
    ]
    assert measure_calibration_error(sure, OFFSET).ece == 1.0


def test_failed_images_are_left_out(predictions: list[Prediction]) -> None:
    failed = Prediction(name="x", relative_path="x", label=1, status="not decodable")
    assert measure_calibration_error([*predictions, failed], OFFSET) == measure_calibration_error(
        predictions, OFFSET
    )


def test_a_missing_calibration_error_has_its_reason(predictions: list[Prediction]) -> None:
    old = dataclasses.replace(predictions[0], log_sum_exp=None)
    found = measure_calibration_error([*predictions, old], OFFSET)
    assert (found.ece, found.missing, found.bins) == (None, NO_SUMS, ())
    assert measure_calibration_error([]).missing == NO_IMAGES


def test_predictions_of_an_older_assay_that_look_like_probabilities_have_none(
    predictions: list[Prediction],
) -> None:
    old = dataclasses.replace(
        predictions[0], top_logits=(0.9, 0.05), log_sum_exp=2.6, logit_sum=None, lowest_logit=None
    )
    found = measure_calibration_error([old])
    assert (found.ece, found.missing, found.outputs) == (None, NOT_LOGITS, "")
    older = [dataclasses.replace(row, logit_sum=None, lowest_logit=None) for row in predictions]
    assert measure_calibration_error(older, OFFSET).ece == measure_calibration_error(predictions, OFFSET).ece


@pytest.mark.parametrize("form", ["float32", "float16", "8 bits", "log-softmax"])
def test_probabilities_have_the_error_of_the_logits_they_were_made_of(
    predictions: list[Prediction], logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], form: str
) -> None:
    exact = scipy.special.log_softmax(logits.astype(np.float64), axis=1)
    outputs = {
        "float32": np.exp(exact),
        "float16": np.exp(exact).astype(np.float16),
        "8 bits": np.round(255 * np.exp(exact)) / 255,
        "log-softmax": exact,
    }[form].astype(np.float32)
    found = measure_calibration_error(predict(outputs, labels), OFFSET)
    expected = measure_calibration_error(predictions, OFFSET)
    assert found.outputs == ("logits" if form == "log-softmax" else "probabilities")
    assert found.ece == pytest.approx(expected.ece, abs=3e-3 if form == "8 bits" else 5e-4)
    if form in ("float32", "log-softmax"):
        assert round_bins(found) == round_bins(expected)


def test_a_sigmoids_scores_have_no_calibration_error(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> None:
    scores = scipy.special.expit(logits.astype(np.float64) - 3).astype(np.float32)
    found = measure_calibration_error(predict(scores, labels), OFFSET)
    assert (found.ece, found.missing, found.outputs) == (None, NO_PROBABILITIES, "scores")


@pytest.mark.parametrize("shift", [0.0, -1e4, 3.3e38])
def test_the_log_of_the_sum_is_stable(logits: npt.NDArray[np.float32], shift: float) -> None:
    row = (logits[1].astype(np.float64) + shift).astype(np.float32)
    expected = np.float32(scipy.special.logsumexp(row.astype(np.float64)))
    assert compute_log_sum_exp(row) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("stated", ["probabilities", "sigmoid"])
def test_outputs_that_are_not_what_the_record_says_have_none_and_name_the_key(
    predictions: list[Prediction], stated: ScoreKind
) -> None:
    found = measure_calibration_error(predictions, OFFSET, stated)
    assert found.ece is None
    assert f"output.scores = '{stated}'" in found.missing


def test_probabilities_of_a_record_that_says_logits_are_taken_as_such_and_the_line_says_so(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> None:
    shares = scipy.special.softmax(logits.astype(np.float64), axis=1).astype(np.float32)
    found = measure_calibration_error(predict(shares, labels), OFFSET, "logits")
    assert found.outputs == "probabilities"
    assert "set output.scores = 'probabilities'" in describe_calibration(found, "logits")
    assert "set output.scores" not in describe_calibration(found, "probabilities")
