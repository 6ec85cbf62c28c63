"""Whether two ways give the same answers, counted without labels and told apart with them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from assay.images.preprocessed_image import OK
from assay.inference.predictions import NO_LABEL, Prediction
from assay.measure.accuracy.answers import compare_answers, compute_share_interval


def make_rows(*answers: int | None, label: int | None = 0) -> list[Prediction]:
    """A row for each image; None for one that failed."""
    return [
        Prediction(
            name=f"{number}.jpg",
            relative_path=f"{number}.jpg",
            label=label,
            status="broken" if answer is None else OK if label is not None else NO_LABEL,
            top_classes=() if answer is None else (answer, 7),
            top_logits=() if answer is None else (2.0, 1.0),
        )
        for number, answer in enumerate(answers)
    ]


def test_lost_and_won_are_told_by_the_labels() -> None:
    found = compare_answers(make_rows(0, 1, 1, 0), make_rows(1, 0, 2, 0))
    assert found.same_top1_count == 1
    assert [[flip.relative_path for flip in flips] for flips in (found.lost, found.won, found.changed)] == [
        ["0.jpg"],
        ["1.jpg"],
        ["2.jpg"],
    ]


def test_images_without_a_label_are_compared_too() -> None:
    found = compare_answers(make_rows(0, 1, label=None), make_rows(0, 2, label=None))
    assert (found.image_count, found.same_top1_count, found.failed_count) == (2, 1, 0)
    assert [flip.label for flip in found.changed] == [-1]


def test_an_image_that_failed_agrees_with_nothing_not_even_with_its_own_failure() -> None:
    found = compare_answers(make_rows(None, None, 0), make_rows(None, 0, None))
    assert (found.image_count, found.same_top1_count, found.failed_count) == (3, 0, 3)
    assert len(found.differing) == 3
    assert found.max_logit_difference is None


def test_runs_without_a_common_image_are_not_compared() -> None:
    with pytest.raises(ValueError, match="no image in common"):
        compare_answers([], make_rows(0))


@pytest.mark.parametrize(("count", "total"), [(0, 10), (10, 10), (99, 100), (497, 500)])
def test_the_interval_is_scipys_exact_one(count: int, total: int) -> None:
    exact = stats.binomtest(count, total).proportion_ci(method="exact")
    assert np.allclose(compute_share_interval(count, total), (100 * exact.low, 100 * exact.high), atol=1e-6)
